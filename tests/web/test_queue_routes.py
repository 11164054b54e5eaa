"""/queue and /history: shapes, removing, pages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.live_server import Live, echo, shared_loop

NO_OBJECTS = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"null",
    b'"clear"',
    b"\xff",
    b'{"clear": 1}',
    b'{"clear": "yes"}',
    b'{"clear": null}',
    b'{"delete": null}',
    b'{"delete": "id"}',
    b'{"delete": {}}',
    b'{"delete": 5}',
    b'{"clear": true, "delete": 5}',
    b'{"clear": NaN}',
    b'{"clear": true, "delete": ' + b"[" * 1000 + b"]" * 1000 + b"}",
]


async def test_a_queue_item_has_five_members(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked(prompt_id="runs", client_id="me", number=2.5)
        await live.accepted(echo("3"), prompt_id="waits")
        said = (await live.get("/queue")).json()
        assert list(said) == ["queue_running", "queue_pending"]
        number, prompt_id, prompt, extra_data, outputs = said["queue_running"][0]
        assert (number, prompt_id, prompt, outputs) == (2.5, "runs", {"g": {"class_type": "Gate", "inputs": {}}}, ["g"])
        assert set(extra_data) == {"client_id", "create_time"}
        assert said["queue_pending"][0][:3] == [0, "waits", echo(3)]
        assert set(said["queue_pending"][0][3]) == {"create_time"}


async def test_what_waits_can_be_removed_and_what_runs_cannot(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked(prompt_id="runs")
        for prompt_id in "abc":
            await live.accepted(echo(1), prompt_id=prompt_id)
        answer = await live.post("/queue", {"delete": ["b", "runs", "unknown", 5, None, ["a"], "b"]})
        assert (answer.status, answer.body, "Content-Type" in answer.headers) == (200, b"", False)
        said = (await live.get("/queue")).json()
        assert [item[1] for item in said["queue_pending"]] == ["a", "c"]
        assert [item[1] for item in said["queue_running"]] == ["runs"]
        assert (await live.post("/queue", {"clear": True})).status == 200
        assert (await live.get("/queue")).json()["queue_pending"] == []
        live.gate.opened.set()
        await live.finished("runs")
        assert list((await live.get("/history")).json()) == ["runs"]


@pytest.mark.parametrize("body", [{}, {"clear": False}, {"delete": []}, {"delete": ["unknown"]}, {"other": 1}])
@pytest.mark.parametrize("path", ["/queue", "/history"])
async def test_what_asks_for_nothing_changes_nothing(serve: Any, path: str, body: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.run(1)
        await live.blocked()
        await live.accepted(echo(1))
        before = await live.state()
        answer = await live.post(path, body)
        assert (answer.status, answer.body) == (200, b"")
        assert await live.state() == before


async def test_what_is_not_understood_is_refused_whole(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.run(1)
        await live.blocked()
        await live.accepted(echo(1))
        before = await live.state()
        for path in ("/queue", "/history"):
            for body in NO_OBJECTS:
                answer = await live.post(path, body)
                assert answer.status == 400, (path, body)
                assert answer.error
        assert await live.state() == before


# -- history -------------------------------------------------------------------------------------------------


async def test_a_history_entry(live: Live) -> None:
    said = await live.accepted({"1": echo(4)["1"]}, prompt_id="h", client_id="me", extra_data={"foo": 1})
    entry = await live.finished("h")
    assert list(entry) == ["prompt", "outputs", "status", "meta"]
    number, prompt_id, prompt, extra_data, outputs = entry["prompt"]
    assert (number, prompt_id, prompt, outputs) == (said["number"], "h", echo(4), ["1"])
    assert set(extra_data) == {"foo", "client_id", "create_time"}
    assert entry["outputs"] == {"1": {"value": [4]}}
    assert entry["meta"] == {"1": {"node_id": "1", "display_node": "1", "parent_node": None, "real_node_id": "1"}}
    status = entry["status"]
    assert (status["status_str"], status["completed"]) == ("success", True)
    assert [kind for kind, _ in status["messages"]] == ["execution_start", "execution_cached", "execution_success"]
    assert [set(data) for _, data in status["messages"]] == [
        {"prompt_id", "timestamp"},
        {"nodes", "prompt_id", "timestamp"},
        {"prompt_id", "timestamp"},
    ]
    assert (await live.get("/history/h")).json() == {"h": entry}


async def test_a_failure_in_history(live: Live) -> None:
    said = await live.accepted({"1": {"class_type": "KeepsSecrets", "inputs": {"fails": True}}})
    entry = await live.finished(said["prompt_id"])
    assert (entry["outputs"], entry["meta"], entry["status"]["status_str"]) == ({}, {}, "error")
    kind, data = entry["status"]["messages"][-1]
    assert kind == "execution_error"
    assert (data["node_id"], data["node_type"], data["exception_type"]) == ("1", "KeepsSecrets", "RuntimeError")
    assert data["exception_message"].startswith("as it was told")


@shared_loop
@pytest.mark.parametrize(
    "prompt_id", ["unknown", "%2F", "%2e%2e", "%ff", "%00", "%F0%9F%A6%86", "a" * 1000, "%22", "null"]
)
async def test_an_id_that_nobody_knows_has_no_history(shared: Live, prompt_id: str) -> None:
    import yarl

    answer = await shared.get(yarl.URL(f"{shared.running.url}/history/{prompt_id}", encoded=True))
    assert (answer.status, answer.body) == (200, b"{}")


async def test_what_waits_or_runs_has_no_history(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked(prompt_id="runs")
        await live.accepted(echo(1), prompt_id="waits")
        for prompt_id in ("runs", "waits"):
            assert (await live.get(f"/history/{prompt_id}")).json() == {}


PAGES: list[tuple[str, list[int]]] = [
    ("", list(range(15))),
    ("max_items=2", [13, 14]),
    ("max_items=2&offset=1", [1, 2]),
    ("offset=2", list(range(2, 15))),
    ("offset=0", list(range(15))),
    ("offset=99", []),
    ("offset=-1", list(range(15))),
    ("offset=-99", list(range(15))),
    ("max_items=0", []),
    ("max_items=-1", []),
    ("max_items=99", list(range(15))),
    ("max_items=0&offset=3", []),
    ("max_items=3&offset=-1", [12, 13, 14]),
    ("max_items=3&offset=14", [14]),
    ("max_items=3&offset=15", []),
    ("max_items=" + "9" * 50, list(range(15))),
    ("offset=" + "9" * 50, []),
    ("offset=-" + "9" * 50, list(range(15))),
    ("max_items=9" + "9" * 50 + "&offset=9" + "9" * 50, []),
    ("max_items=%202%20", [13, 14]),
    ("max_items=2&max_items=5", [13, 14]),
    ("other=1", list(range(15))),
]
NO_PAGES = [
    "max_items=",
    "offset=",
    "max_items=x",
    "offset=1.5",
    "max_items=1e3",
    "offset=null",
    "max_items=0x10",
    "max_items=%00",
    "max_items=1" + "%20" * 30 + "x",
    "offset=" + "9" * 5000,
    "max_items[]=1&offset=[]",
    "offset=--1",
    "offset=%ff",
    "offset=1%202",
    "max_items=nan",
    "offset=" + "7" * 20 + "x",
]


async def test_pages_of_history(live: Live) -> None:
    ids = [await live.run(number) for number in range(15)]
    for query, expected in PAGES:
        answer = await live.get(f"/history?{query}")
        assert (answer.status, list(answer.json())) == (200, [ids[index] for index in expected]), query
    for query in NO_PAGES:
        answer = await live.get(f"/history?{query}")
        assert answer.error["type"] == "invalid_query", query
        assert len(answer.body) < 500


async def test_history_can_be_removed(live: Live) -> None:
    ids = [await live.run(number) for number in range(4)]
    answer = await live.post("/history", {"delete": [ids[1], "unknown", 5, None, ids[1]]})
    assert (answer.status, answer.body) == (200, b"")
    assert list((await live.get("/history")).json()) == [ids[0], ids[2], ids[3]]
    assert (await live.post("/history", {"clear": True, "delete": [ids[0]]})).status == 200
    assert (await live.get("/history")).json() == {}


async def test_clearing_history_spares_what_runs(live: Live) -> None:
    await live.blocked(prompt_id="runs")
    await live.post("/history", {"clear": True, "delete": ["runs"]})
    live.gate.opened.set()
    assert (await live.finished("runs"))["status"]["completed"]
