"""Doing a job again, giving it another place in the queue, and stopping the queue."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from execution import PromptMoved, QueueChanged
from nodes.packs.class_nodes import define_class_node
from tests.web.live_server import Answer, Live, echo, shared_loop
from tests.web.test_job_submissions import GATE, PICTURE, STORES

SECRET = "sk-never-to-be-seen"
many = settings(max_examples=60, suppress_health_check=list(HealthCheck))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8)


def said_why(answer: Answer, status: int) -> str:
    """The sentence of a refusal."""
    assert answer.status == status, (answer.status, answer.body[:300])
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    text: str = answer.json()["error"]
    assert len(text) > 5
    return text


async def job(live: Live, prompt_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await live.get(f"/api/jobs/{prompt_id}")).json()
    return found


async def pending(live: Live) -> list[str]:
    return [item[1] for item in (await live.get("/queue")).json()["queue_pending"]]


# -- again ---------------------------------------------------------------------------------------------------


class Counts:
    """Counts its calls, and fails until it is told not to."""

    CATEGORY = "tests"
    RETURN_TYPES = ("INT",)
    FUNCTION = "count"
    OUTPUT_NODE = True
    calls: list[int]
    fails = False

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("INT", {})}}

    async def count(self, value: int) -> dict[str, Any]:
        self.calls.append(value)
        if type(self).fails:
            raise RuntimeError("as it was told")
        return {"ui": {"value": [value]}, "result": (value,)}


def add_counters(live: Live) -> tuple[Any, Any]:
    """`First` and `Second`, each with calls of its own."""
    found = []
    for name in ("First", "Second"):
        node_class = type(name, (Counts,), {"calls": []})
        live.running.studio.registry.add(define_class_node(name, node_class, "tests"))
        found.append(node_class)
    return found[0], found[1]


CHAIN = {"1": {"class_type": "First", "inputs": {"value": 4}},
         "2": {"class_type": "Second", "inputs": {"value": ["1", 0]}}}


@STORES
async def test_a_retry_is_a_new_job_that_does_only_what_is_left(serve: Any, store: str) -> None:
    async with serve(store=store) as live:
        first, second = add_counters(live)
        second.fails = True
        await live.accepted(CHAIN, prompt_id="old", client_id="me", extra_data={"x": 1},
                            partial_execution_targets=["2"])
        await live.finished("old")
        second.fails = False
        answer = await live.post("/api/jobs/old/retry", b"", headers={"Prefer": "wait=60"})
        new = answer.json()
        assert (answer.status, answer.headers["Location"]) == (201, f"/api/jobs/{new['id']}")
        assert (new["retry_of"], new["outcome"]) == ("old", "succeeded")
        assert new["id"] != "old"
        assert (first.calls, second.calls) == ([4], [4, 4])
        assert new["workflow"]["prompt"] == CHAIN
        extra_data = new["workflow"]["extra_data"]
        assert (extra_data["x"], extra_data["client_id"], extra_data["create_time"]) == (1, "me", new["create_time"])
        assert new["create_time"] >= (await job(live, "old"))["create_time"]
        assert "retry_of" not in await job(live, "old")
        assert (await job(live, "old"))["outcome"] == "failed", "it stays what it was"
        listed = {one["id"]: one.get("retry_of") for one in (await live.get("/api/jobs")).json()["jobs"]}
        assert listed == {"old": None, new["id"]: "old"}
        assert (await live.post(f"/api/jobs/{new['id']}/retry", b"")).json()["retry_of"] == new["id"]


async def test_a_cancelled_job_can_be_tried_again_while_it_waits_for_nobody(live: Live) -> None:
    await live.post("/api/queue/pause")
    await live.accepted(echo(3), prompt_id="old")
    await live.post("/api/jobs/old/cancel")
    new = (await live.post("/api/jobs/old/retry", b"")).json()
    assert (new["status"], new["retry_of"], new["queue_position"]) == ("pending", "old", 1)
    await live.post("/api/queue/resume")
    assert (await live.finished(new["id"]))["outputs"] == {"1": {"value": [3]}}


async def test_a_retry_takes_fresh_keys_and_shows_none(live: Live) -> None:
    graph = {"1": {"class_type": "KeepsSecrets", "inputs": {"fails": True}}}
    await live.accepted(graph, prompt_id="old", extra_data={"api_key_comfy_org": "sk-old", "x": 1})
    await live.finished("old")
    answer = await live.post("/api/jobs/old/retry", {"extra_data": {"api_key_comfy_org": SECRET, "y": 2}},
                             headers={"Prefer": "wait=60"})
    assert SECRET.encode() not in answer.body
    assert {"x": 1, "y": 2}.items() <= answer.json()["workflow"]["extra_data"].items()
    assert live.secrets.given == [(None, "sk-old"), (None, SECRET)]
    await live.post("/api/jobs/old/retry", b"", headers={"Prefer": "wait=60"})
    assert live.secrets.given[-1] == (None, None), "nothing was kept"


async def test_a_retry_outlives_the_server(serve: Any, tmp_path: Path) -> None:
    async with serve(base_directory=tmp_path) as live:
        await live.accepted(PICTURE, prompt_id="old")
        await live.finished("old")
        await live.post("/api/queue/pause")
        new = (await live.post("/api/jobs/old/retry", b"")).json()["id"]
    async with serve(base_directory=tmp_path) as live:
        await live.finished(new)
        assert (await job(live, new))["retry_of"] == "old"
        again = (await live.post("/api/jobs/old/retry", b"", headers={"Prefer": "wait=60"})).json()
        assert (again["retry_of"], again["outcome"]) == ("old", "succeeded")


async def test_a_repeated_retry_is_one(live: Live) -> None:
    await live.run(1, prompt_id="old")
    once = {"Idempotency-Key": "k"}
    first = (await live.post("/api/jobs/old/retry", b"", headers=once)).json()["id"]
    assert (await live.post("/api/jobs/old/retry", b"", headers=once)).json()["id"] == first
    other = await live.post("/api/jobs/old/retry", {"extra_data": {"x": 1}}, headers=once)
    assert other.status == 409


async def test_what_cannot_be_tried_again(serve: Any) -> None:
    async with serve(max_running_prompts=1, max_queue=1) as live:
        await live.run(1, prompt_id="old")
        await live.blocked(prompt_id="runs")
        await live.accepted(echo(1), prompt_id="waits")
        for prompt_id in ("runs", "waits"):
            said_why(await live.post(f"/api/jobs/{prompt_id}/retry", b""), 409)
        said_why(await live.post("/api/jobs/unknown/retry", b""), 404)
        assert (await live.post("/api/jobs/old/retry", b"")).status == 429
        assert await pending(live) == ["waits"]


@shared_loop
@many
@given(st.binary(max_size=40) | ANY_JSON.map(lambda value: json.dumps(value).encode())
       | ANY_JSON.map(lambda value: json.dumps({"extra_data": value}).encode()))
@example(b'{"extra_data": {"api_key_comfy_org": NaN}}')
@example(b"[" * 100_000)
@example(b'{"extra_data": {"extra_pnginfo": 5, "client_id": [], "create_time": "x"}}')
async def test_any_body_that_asks_for_a_retry(shared: Live, body: bytes) -> None:
    if (await shared.get("/api/jobs/old")).status == 404:
        await shared.run(1, prompt_id="old")
    answer = await shared.post("/api/jobs/old/retry", body, headers={"Prefer": "wait=60"})
    if answer.status == 201:
        assert answer.json()["outcome"] == "succeeded"
    else:
        said_why(answer, 400)


# -- another place in the queue ------------------------------------------------------------------------------


async def queued(live: Live, *prompt_ids: str, **fields: Any) -> None:
    await live.post("/api/queue/pause")
    for index, prompt_id in enumerate(prompt_ids):
        await live.accepted(echo(index), prompt_id=prompt_id, **fields)


async def move(live: Live, prompt_id: str, **place: Any) -> dict[str, Any]:
    answer = await live.ask("PATCH", f"/api/jobs/{prompt_id}", data=json.dumps(place).encode())
    assert answer.status == 200, answer.body
    moved: dict[str, Any] = answer.json()
    return moved


@STORES
async def test_a_job_moves_in_the_queue_and_runs_at_its_new_place(serve: Any, store: str) -> None:
    async with serve(store=store, max_running_prompts=1) as live:
        await queued(live, "a", "b", "c", "d")
        moved = await move(live, "d", position=1)
        assert (moved["id"], moved["status"], moved["queue_position"]) == ("d", "pending", 1)
        assert await pending(live) == ["d", "a", "b", "c"]
        assert (await move(live, "a", position=3))["queue_position"] == 3
        assert await pending(live) == ["d", "b", "a", "c"]
        assert (await move(live, "d", position=10**30))["queue_position"] == 4
        assert (await move(live, "c", number=-7))["priority"] == -7.0
        order = ["c", "b", "a", "d"]
        assert await pending(live) == order
        items = (await live.get("/queue")).json()["queue_pending"]
        assert [item[0] for item in items] == [(await job(live, item[1]))["priority"] for item in items]
        positions = [(await job(live, one))["queue_position"] for one in order]
        assert positions == [1, 2, 3, 4]
        listed = (await live.get("/api/jobs?status=pending&sort_order=asc")).json()["jobs"]
        assert {one["id"]: one["priority"] for one in listed} == {item[1]: item[0] for item in items}
        await live.post("/api/queue/resume")
        await live.finished("d")
        assert list((await live.get("/history")).json()) == order


@STORES
async def test_jobs_of_one_number_can_be_put_between_each_other(serve: Any, store: str) -> None:
    async with serve(store=store) as live:
        await queued(live, "a", "b", "c", "d", number=5)
        await move(live, "d", position=2)
        assert await pending(live) == ["a", "d", "b", "c"]
        await move(live, "a", position=4)
        assert await pending(live) == ["d", "b", "c", "a"]


async def test_places_outlive_the_server(serve: Any, tmp_path: Path) -> None:
    async with serve(base_directory=tmp_path) as live:
        await live.post("/api/queue/pause")
        for prompt_id in "abcd":
            await live.accepted(PICTURE, prompt_id=prompt_id, number=1)
        await move(live, "d", position=1)
        await move(live, "a", position=3)
        order = await pending(live)
        assert order == ["d", "b", "a", "c"]
    async with serve(base_directory=tmp_path, on_start="paused") as live:
        assert await pending(live) == order


async def test_clients_are_told_that_the_queue_has_changed(live: Live) -> None:
    await queued(live, "a", "b")
    await live.running.engine.told()
    with contextlib.closing(live.running.engine.subscribe()) as events:
        await move(live, "b", position=1)
        moved, changed = await anext(events), await anext(events)
        assert isinstance(moved, PromptMoved)
        assert (moved.prompt_id, isinstance(changed, QueueChanged)) == ("b", True)
        await move(live, "b", position=1)
        await live.post("/api/queue/resume")
        assert isinstance(await anext(events), QueueChanged), "nothing is told of a move that changes nothing"
        assert not isinstance(await anext(events), PromptMoved)


async def test_what_runs_or_has_ended_does_not_move(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.run(1, prompt_id="old")
        await live.blocked(prompt_id="runs")
        await live.accepted(echo(1), prompt_id="gone")
        await live.post("/api/jobs/gone/cancel")
        before = await live.state()
        for prompt_id, status in (("old", 409), ("runs", 409), ("gone", 409), ("unknown", 404)):
            for body in (b'{"number": 1}', b'{"position": 1}'):
                said_why(await live.ask("PATCH", f"/api/jobs/{prompt_id}", data=body), status)
        assert await live.state() == before


@shared_loop
@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b"{}", b'{"number": NaN}', b'{"number": 1e999}', b'{"number": "1"}',
    b'{"number": true}', b'{"number": []}', b'{"number": 1' + b"0" * 400 + b"}", b'{"position": 0}',
    b'{"position": -1}', b'{"position": 1.5}', b'{"position": 1.0}', b'{"position": true}', b'{"position": "1"}',
    b'{"position": 1, "number": 1}', b'{"number": 1, "x": 2}', b'{"x": 2}', b'{"number": null}', b"[" * 100_000])
async def test_what_is_no_place(shared: Live, body: bytes) -> None:
    if not await pending(shared):
        await queued(shared, "a", "b")
    before = await shared.state()
    said_why(await shared.ask("PATCH", "/api/jobs/b", data=body), 400)
    assert await shared.state() == before
    await shared.post("/api/queue/resume")


@shared_loop
@many
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 7)
                          | st.floats(allow_nan=False, allow_infinity=False)), max_size=6))
@example([("a", 1e308), ("b", 1.7976931348623157e308), ("c", 4), ("d", 4)])
@example([("a", -1e308), ("b", 1e308), ("c", 2), ("a", 3), ("a", 1)])
@example([("a", 5e-324), ("b", 0.0), ("c", 3), ("d", 3), ("e", 3)])
async def test_whatever_is_moved_the_queue_stands_as_it_was_asked_for(shared: Live, moves: list[Any]) -> None:
    await shared.post("/queue", {"clear": True})
    await queued(shared, *"abcde")
    for prompt_id, place in moves:
        if isinstance(place, int):
            order = [one for one in await pending(shared) if one != prompt_id]
            order.insert(place - 1, prompt_id)
            moved = await move(shared, prompt_id, position=place)
            assert moved["queue_position"] == min(place, 5)
            assert await pending(shared) == order
        else:
            assert (await move(shared, prompt_id, number=place))["priority"] == place
    items = (await shared.get("/queue")).json()["queue_pending"]
    assert [item[0] for item in items] == sorted(item[0] for item in items)
    await shared.post("/queue", {"clear": True})


# -- stopping the queue --------------------------------------------------------------------------------------


async def test_while_the_queue_is_paused_nothing_starts_and_what_runs_goes_on(live: Live) -> None:
    await live.blocked(prompt_id="runs")
    assert (await live.get("/api/queue/state")).json() == {"is_paused": False, "running": 1, "pending": 0}
    assert "is_paused" not in (await live.get("/queue")).json()
    assert (await live.post("/api/queue/pause")).json() == {"is_paused": True}
    assert (await live.post("/api/queue/pause", b"anything")).json() == {"is_paused": True}
    await live.accepted(echo(1), prompt_id="waits")
    assert (await live.get("/api/queue/state")).json() == {"is_paused": True, "running": 1, "pending": 1}
    live.gate.opened.set()
    await live.finished("runs")
    assert (await job(live, "waits"))["status"] == "pending"
    queue = (await live.get("/queue")).json()
    assert (queue["is_paused"], queue["queue_running"], len(queue["queue_pending"])) == (True, [], 1)
    assert (await live.post("/api/queue/resume")).json() == {"is_paused": False}
    await live.finished("waits")
    assert (await live.get("/api/queue/state")).json() == {"is_paused": False, "running": 0, "pending": 0}


@shared_loop
async def test_the_queue_is_stopped_by_post_alone(shared: Live) -> None:
    before = (await shared.get("/api/queue/state")).json()
    for path in ("/api/queue/pause", "/api/queue/resume"):
        assert (await shared.get(path)).status in (404, 405)
    assert (await shared.get("/api/queue/state")).json() == before
    assert (await shared.post("/api/queue/state")).status == 405


# -- cancelling ----------------------------------------------------------------------------------------------


async def test_cancelling_what_waits_never_touches_what_runs(serve: Any) -> None:
    async with serve(max_running_prompts=2) as live:
        await live.blocked(prompt_id="runs")
        await live.post("/api/queue/pause")
        waiting = [f"w{index}" for index in range(6)]
        for prompt_id in waiting:
            await live.accepted(GATE, prompt_id=prompt_id)
        assert (await live.post("/api/jobs/w0/cancel")).json() == {"cancelled": True}
        assert (await live.post("/api/jobs/cancel", {"job_ids": waiting})).json() == {"cancelled": True}
        assert (await job(live, "runs"))["running_nodes"] == ["g"]
        assert {(await job(live, one))["outcome"] for one in waiting} == {"cancelled"}
        live.gate.opened.set()
        assert (await live.finished("runs"))["status"]["completed"]
        assert list((await live.get("/history")).json()) == ["runs"]


@STORES
async def test_jobs_are_found_by_client_and_outcome(serve: Any, store: str) -> None:
    async with serve(store=store) as live:
        await live.run(1, prompt_id="mine", client_id="me")
        await live.run(2, prompt_id="yours", client_id="you")
        await live.accepted({"1": {"class_type": "KeepsSecrets", "inputs": {"fails": True}}}, prompt_id="failed",
                            client_id="me")
        await live.finished("failed")
        await queued(live, "gone", "waits", client_id="me")
        await live.post("/api/jobs/gone/cancel")

        async def listed(query: str) -> set[str]:
            said = (await live.get(f"/api/jobs?{query}")).json()
            assert said["pagination"]["total"] == len(said["jobs"])
            return {one["id"] for one in said["jobs"]}

        assert await listed("client_id=me") == {"mine", "failed", "gone", "waits"}
        assert await listed("client_id=") == {"mine", "yours", "failed", "gone", "waits"}
        assert await listed("outcome=succeeded,%20Cancelled") == {"mine", "yours", "gone"}
        assert await listed("outcome=succeeded&client_id=you") == {"yours"}
        assert await listed("outcome=poisoned") == set()
        assert await listed("outcome=failed&status=failed") == {"failed"}
        refused = await live.get("/api/jobs?outcome=done")
        assert said_why(refused, 400) == ("Invalid outcome value(s): done. Valid values: succeeded, failed, "
                                          "partial_success, interrupted, cancelled, poisoned")
