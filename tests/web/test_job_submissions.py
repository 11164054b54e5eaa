"""Submitting once whatever is repeated, waiting for the result, and a queue that is full."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import pytest
import yarl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from execution import Engine
from tests.web.live_server import Answer, Live, echo, shared_loop

GATE = {"g": {"class_type": "Gate", "inputs": {}}}
PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
"""Of built-in nodes: a server that starts again has them when it takes up what was left."""
PARTLY_WRONG: dict[str, Any] = {**PICTURE, "3": {"class_type": "PreviewImage", "inputs": {}}}
STORES = pytest.mark.parametrize("store", ["disk", "memory"])
many = settings(max_examples=60, suppress_health_check=list(HealthCheck))


async def keyed(live: Live, graph: Any, key: str = "k", path: str = "/prompt", **fields: Any) -> Answer:
    return await live.post(path, {"prompt": graph, **fields}, headers={"Idempotency-Key": key})


async def waited(live: Live, graph: Any, seconds: Any, path: str = "/prompt", **fields: Any) -> Answer:
    return await live.post(path, {"prompt": graph, **fields}, headers={"Prefer": f"wait={seconds}"})


async def ids(live: Live) -> list[str]:
    return [one["id"] for one in (await live.get("/api/jobs")).json()["jobs"]]


# -- idempotency keys ----------------------------------------------------------------------------------------


@STORES
async def test_a_repeated_submission_is_answered_alike_and_queued_once(serve: Any, store: str) -> None:
    async with serve(store=store, max_running_prompts=1) as live:
        await live.blocked(prompt_id="runs")
        first = await keyed(live, echo(1), client_id="me")
        again = await keyed(live, echo(1), client_id="me")
        assert (first.status, again.status) == (200, 200)
        assert first.json() == again.json()
        live.gate.opened.set()
        await live.finished(first.json()["prompt_id"])
        assert (await keyed(live, echo(1), client_id="me")).json() == first.json(), "after its end as well"
        assert sorted(await ids(live)) == sorted(["runs", first.json()["prompt_id"]])
        other_key = await keyed(live, echo(1), "k2", client_id="me")
        assert other_key.json()["prompt_id"] != first.json()["prompt_id"]


@STORES
@pytest.mark.parametrize("change", [
    {"prompt": echo(2)}, {"client_id": "other"}, {"extra_data": {"x": 1}}, {"partial_execution_targets": ["1"]},
    {"number": 5}, {"front": True}, {"prompt_id": "mine"}, {"on_error": "continue_independent"}, {"run_timeout": 9}])
async def test_another_body_under_a_key_is_a_conflict(serve: Any, store: str, change: dict[str, Any]) -> None:
    async with serve(store=store) as live:
        said = (await keyed(live, echo(1))).json()
        await live.finished(said["prompt_id"])
        before = await live.state()
        answer = await live.post("/prompt", {"prompt": echo(1), **change}, headers={"Idempotency-Key": "k"})
        assert answer.status == 409
        assert answer.error["type"] == "idempotency_key_in_use"
        assert await live.state() == before


async def test_many_at_once_with_one_key_are_one_job(live: Live) -> None:
    answers = await asyncio.gather(*(keyed(live, GATE) for _ in range(20)))
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].status == 200
    assert (await live.get("/prompt")).json()["exec_info"]["queue_remaining"] == 1


async def test_of_different_bodies_at_once_with_one_key_one_wins(live: Live) -> None:
    answers = await asyncio.gather(*(
        keyed(live, {"g": {"class_type": "Gate", "inputs": {"tag": str(index)}}}) for index in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert (await live.get("/prompt")).json()["exec_info"]["queue_remaining"] == 1


async def test_a_refused_body_leaves_its_key_free(live: Live) -> None:
    answers = await asyncio.gather(*(keyed(live, echo(-1)) for _ in range(5)))
    assert {answer.status for answer in answers} == {400}
    assert (await keyed(live, echo(1))).status == 200


@pytest.fixture
def never_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission that came before is answered from what is on record of it."""
    async def check(*_: Any) -> NoReturn:
        raise AssertionError("judged again")

    monkeypatch.setattr(Engine, "check", check)


@pytest.mark.usefixtures("never_judged_again")
@STORES
async def test_what_was_wrong_with_some_outputs_is_said_again(serve: Any, store: str) -> None:
    async with serve(store=store) as live:
        first = await keyed(live, PARTLY_WRONG)
        assert set(first.json()["node_errors"]) == {"3"}
        await live.finished(first.json()["prompt_id"])
        assert (await keyed(live, PARTLY_WRONG)).json() == first.json()


async def test_a_key_outlives_the_server(serve: Any, tmp_path: Path) -> None:
    async with serve(base_directory=tmp_path) as live:
        ended = await keyed(live, PICTURE, "ended")
        await live.finished(ended.json()["prompt_id"])
        await live.post("/api/queue/pause")
        waits = await keyed(live, PICTURE, "waits")
    async with serve(base_directory=tmp_path, on_start="paused") as live:
        before = sorted(await ids(live))
        assert (await keyed(live, PICTURE, "ended")).json() == ended.json()
        assert (await keyed(live, PICTURE, "waits")).json() == waits.json()
        assert (await keyed(live, echo(3), "ended")).status == 409
        assert sorted(await ids(live)) == before
        assert [item[1] for item in (await live.get("/queue")).json()["queue_pending"]] == [waits.json()["prompt_id"]]


@pytest.mark.usefixtures("never_judged_again")
@pytest.mark.parametrize("prompt_id", [None, "mine"])
async def test_what_was_wrong_with_some_outputs_outlives_the_server(serve: Any, tmp_path: Path,
                                                                    prompt_id: str | None) -> None:
    body = {"prompt": PARTLY_WRONG, "prompt_id": prompt_id}
    async with serve(base_directory=tmp_path, on_start="paused") as live:
        waits = await live.post("/prompt", body, headers={"Idempotency-Key": "k"})
        assert set(waits.json()["node_errors"]) == {"3"}
    async with serve(base_directory=tmp_path, on_start="paused") as live:
        assert (await live.post("/prompt", body, headers={"Idempotency-Key": "k"})).json() == waits.json()
        if prompt_id is not None:
            assert (await live.post("/prompt", body)).json() == waits.json()
        await live.post("/api/queue/resume")
        await live.finished(waits.json()["prompt_id"])
    async with serve(base_directory=tmp_path) as live:
        assert (await live.post("/prompt", body, headers={"Idempotency-Key": "k"})).json() == waits.json()


async def test_a_key_is_forgotten_with_its_job(live: Live) -> None:
    first = (await keyed(live, echo(1))).json()["prompt_id"]
    await live.finished(first)
    await live.post("/history", {"delete": [first]})
    assert (await keyed(live, echo(1))).json()["prompt_id"] != first


@shared_loop
@pytest.mark.parametrize("key", ["", " ", "k" * 256, "a\tb", "\x80"])
async def test_what_is_no_key(shared: Live, key: str) -> None:
    before = await ids(shared)
    for path in ("/prompt", "/api/jobs"):
        assert (await keyed(shared, echo(1), key, path)).error["type"] == "invalid_idempotency_key"
    assert await ids(shared) == before


@shared_loop
async def test_two_keys_are_none(shared: Live) -> None:
    answer = await shared.post("/prompt", {"prompt": echo(1)},
                               headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert answer.error["type"] == "invalid_idempotency_key"


@shared_loop
@many
@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2fff, exclude_characters="\x7f"), max_size=300))
@example("é☃")
@example("k" * 255)
async def test_any_key(shared: Live, key: str) -> None:
    first = await keyed(shared, echo(1), key)
    if first.status == 200:
        assert (await keyed(shared, echo(1), key)).json() == first.json()
        assert (await keyed(shared, echo(2), key)).status == 409
    else:
        assert first.error["type"] == "invalid_idempotency_key"


# -- waiting -------------------------------------------------------------------------------------------------


async def test_who_prefers_to_wait_is_answered_with_the_result(live: Live) -> None:
    answer = await waited(live, echo(7), 60)
    job = answer.json()
    assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=60")
    assert (job["status"], job["outcome"], job["progress"], job["node_errors"]) == ("completed", "succeeded", 100.0, {})
    assert job["outputs"] == {"1": {"value": [7]}}
    same = (await live.get(f"/api/jobs/{job['id']}")).json()
    assert {**same, "node_errors": {}} == job


async def test_an_end_that_is_bad_is_a_result_too(live: Live) -> None:
    failed = (await waited(live, {"1": {"class_type": "KeepsSecrets", "inputs": {"fails": True}}}, 60)).json()
    assert (failed["status"], failed["outcome"]) == ("failed", "failed")
    assert [error["node_id"] for error in failed["errors"]] == ["1"]
    waiting = asyncio.ensure_future(waited(live, GATE, 60, prompt_id="runs"))
    await live.gate.entered.wait()
    await live.post("/api/jobs/runs/cancel")
    assert (await waiting).json()["outcome"] == "interrupted"


async def test_what_is_taken_from_the_queue_has_ended(live: Live) -> None:
    await live.post("/api/queue/pause")
    waiting = asyncio.ensure_future(waited(live, echo(1), 60, prompt_id="waits"))
    with_events = live.running.engine.subscribe()
    try:
        while not (await live.get("/queue")).json()["queue_pending"]:
            await anext(with_events)
    finally:
        with_events.close()
    await live.post("/api/jobs/waits/cancel")
    assert (await waiting).json()["outcome"] == "cancelled"


async def test_what_takes_longer_is_answered_as_usual(live: Live) -> None:
    answer = await waited(live, GATE, 0, prompt_id="runs")
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait=0")
    assert set(answer.json()) == {"prompt_id", "number", "node_errors"}
    assert (await live.get("/api/jobs/runs")).json()["status"] in ("pending", "in_progress")


async def test_who_goes_away_while_waiting_cancels_nothing(live: Live) -> None:
    waiting = asyncio.ensure_future(waited(live, GATE, 60, prompt_id="runs"))
    await live.gate.entered.wait()
    waiting.cancel()
    await asyncio.wait((waiting,))
    live.gate.opened.set()
    assert (await live.finished("runs"))["status"]["completed"]


async def test_who_waits_does_not_hold_up_the_end_of_the_server(serve: Any) -> None:
    async with aiohttp.ClientSession() as others, asyncio.timeout(20):
        async with serve() as live:
            waiting = asyncio.ensure_future(others.post(
                f"{live.running.url}/prompt", json={"prompt": GATE}, headers={"Prefer": "wait=300"}))
            await live.gate.entered.wait()
        async with await waiting as answer:
            assert answer.status == 202


async def test_a_repeat_that_waits_is_answered_with_the_result(live: Live) -> None:
    said = (await keyed(live, echo(5))).json()
    both = {"Idempotency-Key": "k", "Prefer": "respond-async, wait=60"}
    job = (await live.post("/prompt", {"prompt": echo(5)}, headers=both)).json()
    assert (job["id"], job["outcome"]) == (said["prompt_id"], "succeeded")
    assert await ids(live) == [said["prompt_id"]]


@shared_loop
@pytest.mark.parametrize("seconds", ["", "x", "-1", "1.5", "nan", "1e9", "٣", "0x1"])
async def test_what_is_no_number_of_seconds(shared: Live, seconds: str) -> None:
    before = await ids(shared)
    assert (await waited(shared, echo(1), seconds)).error["type"] == "invalid_preference"
    assert await ids(shared) == before, "nothing was queued"


@shared_loop
@pytest.mark.parametrize(("said", "applied"), [
    ("wait=5", "wait=5"), ("WAIT = 5", "wait=5"), ('wait="5"', "wait=5"), ("handling=lenient, wait=7; x=1", "wait=7"),
    ("wait=2, wait=9", "wait=2"), ("wait=301", "wait=300"), ("wait=" + "9" * 5000, "wait=300")])
async def test_spellings_of_a_preference(shared: Live, said: str, applied: str) -> None:
    answer = await shared.post("/prompt", {"prompt": echo(1)}, headers={"Prefer": said})
    assert (answer.status, answer.headers["Preference-Applied"]) == (200, applied)


@shared_loop
@pytest.mark.parametrize("said", ["", "respond-async", "waiting=5", ",,;=,"])
async def test_other_preferences_are_passed_over(shared: Live, said: str) -> None:
    answer = await shared.post("/prompt", {"prompt": echo(1)}, headers={"Prefer": said})
    assert set(answer.json()) == {"prompt_id", "number", "node_errors"}
    assert "Preference-Applied" not in answer.headers


# -- as a job ------------------------------------------------------------------------------------------------


async def test_a_job_that_was_made_is_answered_with_where_it_is(live: Live) -> None:
    await live.post("/api/queue/pause")
    answer = await live.post("/api/jobs", {"prompt": echo(1), "prompt_id": "a/b ü"})
    assert (answer.status, answer.headers["Location"]) == (201, "/api/jobs/a%2Fb%20%C3%BC")
    job = answer.json()
    assert (job["id"], job["status"], job["queue_position"]) == ("a/b ü", "pending", 1)
    found = await live.get(yarl.URL(live.running.url + answer.headers["Location"], encoded=True))
    assert found.json()["id"] == "a/b ü"
    again = await live.post("/api/jobs", {"prompt": echo(1), "prompt_id": "a/b ü"})
    assert (again.status, again.json()["id"]) == (201, "a/b ü")


async def test_a_job_that_is_waited_for(live: Live) -> None:
    done = await waited(live, echo(3), 60, "/api/jobs")
    assert (done.status, done.json()["outputs"]) == (201, {"1": {"value": [3]}})
    running = await waited(live, GATE, 0, "/api/jobs")
    assert (running.status, running.json()["outputs_count"]) == (202, 0)
    assert running.headers["Location"] == f"/api/jobs/{running.json()['id']}"


@shared_loop
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"prompt": 5}', b'{"prompt": {}, "number": NaN}'])
async def test_a_job_that_makes_no_sense_is_refused_as_a_prompt_is(shared: Live, body: bytes) -> None:
    made, posted = await shared.post("/api/jobs", body), await shared.post("/prompt", body)
    assert (made.status, made.error) == (posted.status, posted.error)


# -- a full queue --------------------------------------------------------------------------------------------


@STORES
async def test_a_full_queue_says_when_to_come_again(serve: Any, store: str) -> None:
    async with serve(store=store, max_queue=2, max_running_prompts=1) as live:
        await live.blocked(prompt_id="runs")
        kept = [await keyed(live, echo(1), "one"), await live.submit(echo(2), prompt_id="two")]
        assert [answer.status for answer in kept] == [200, 200]
        before = await live.state()
        for path in ("/prompt", "/api/jobs"):
            refused = await live.post(path, {"prompt": echo(3)})
            assert refused.status == 429
            assert refused.error["type"] == "queue_full"
            assert int(refused.headers["Retry-After"]) > 0
        assert await live.state() == before
        assert (await keyed(live, echo(1), "one")).json() == kept[0].json(), "a repeat is not one more"
        assert (await live.submit(echo(2), prompt_id="two")).json() == kept[1].json()
        live.gate.opened.set()
        await live.finished("two")
        assert (await live.submit(echo(3))).status == 200


async def test_many_at_once_do_not_pass_the_bound(serve: Any) -> None:
    async with serve(max_queue=3) as live:
        await live.post("/api/queue/pause")
        answers = await asyncio.gather(*(live.submit(echo(index)) for index in range(20)))
        assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 17
        assert len((await live.get("/queue")).json()["queue_pending"]) == 3


async def test_refused_prompts_take_no_place(serve: Any) -> None:
    async with serve(max_queue=1) as live:
        for _ in range(3):
            assert (await live.submit(echo(-1))).status == 400
        assert (await live.submit(echo(1))).status == 200


async def test_nought_is_no_bound(serve: Any) -> None:
    async with serve(max_queue=0) as live:
        await live.post("/api/queue/pause")
        answers = await asyncio.gather(*(live.submit(echo(index)) for index in range(20)))
        assert {answer.status for answer in answers} == {200}


# -- and how much of what was is told ------------------------------------------------------------------------


async def test_the_history_gives_at_most_ten_thousand_entries(serve: Any, tmp_path: Path) -> None:
    async with serve(base_directory=tmp_path) as live:
        await live.finished((await live.accepted(PICTURE, prompt_id="first"))["prompt_id"])
    await asyncio.to_thread(_repeat_in_the_file, tmp_path / "user" / "__studio" / "queue.sqlite3", 10_001)
    async with serve(base_directory=tmp_path) as live:
        said = list((await live.get("/history")).json())
        assert (len(said), said[0], said[-1]) == (10_000, "p2", "p10001"), "the newest"
        assert list((await live.get("/history?max_items=20000&offset=0")).json())[:2] == ["first", "p1"]
        assert len((await live.get("/history?max_items=3")).json()) == 3
        page = (await live.get("/api/jobs?limit=2")).json()
        assert page["pagination"] == {"offset": 0, "limit": 2, "total": 10_002, "has_more": True}


def _repeat_in_the_file(path: Path, count: int) -> None:
    """Put more jobs that ended beside the only one."""
    db = sqlite3.connect(path)
    names = [row[1] for row in db.execute("PRAGMA table_info(jobs)") if row[1] != "key"]
    changed = {"prompt_id": "'p' || number_of_it", "position": "position + number_of_it"}
    values = ", ".join(changed.get(name, f"jobs.{name}") for name in names)
    with db:
        db.execute(f"WITH RECURSIVE many(number_of_it) AS (SELECT 1 UNION ALL SELECT number_of_it + 1 FROM many "
                   f"WHERE number_of_it < ?) INSERT INTO jobs ({', '.join(names)}) "
                   f"SELECT {values} FROM many, (SELECT * FROM jobs) AS jobs", (count,))
    db.close()
