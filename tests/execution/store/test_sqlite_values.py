"""What was put into the database comes out as it was, as far as JSON has it."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from execution import (
    ClientId,
    Engine,
    HistoryEntry,
    NodeError,
    NodeFailed,
    NodeId,
    Outcome,
    PromptFinished,
    PromptId,
    PromptSubmission,
    SqliteStore,
)
from execution.store import EndNotice
from tests.execution.store.conftest import OpenSqlite
from tests.execution.store.told_jobs import (
    P,
    Q,
    Telling,
    finished,
    new_job,
    node_finished,
    place,
    queued,
    started,
    written,
)
from tests.support.node_definitions import define, node, registry_of, show

HALF = "cut within an emoji: \ud83d"


async def kept(opened: OpenSqlite, *events: Any) -> HistoryEntry:
    store, _ = await opened()
    await Telling(store)(*events)
    await store.close()
    store, _ = await opened()
    entry = await store.get(P)
    assert entry is not None
    return entry


@pytest.mark.parametrize("number", [0, -7, 2**62, 1.5, 2.0, -1e300])
async def test_numbers_of_prompts(opened: OpenSqlite, number: float) -> None:
    entry = await kept(opened, queued(P, number=number), finished(P))
    assert (entry.number, type(entry.number)) == (number, type(number))


@pytest.mark.parametrize(("number", "about"), [(10**30, 1e30), (-10**400, -sys.float_info.max)])
async def test_whole_numbers_too_large_for_the_database_become_floating(opened: OpenSqlite, number: int,
                                                                        about: float) -> None:
    entry = await kept(opened, queued(P, number=number), finished(P))
    assert (entry.number, type(entry.number)) == (about, float)


@pytest.mark.parametrize("ui", [
    {"whole": [1, -1, 2**53 + 1, 10**30], "broken": [1.0, 0.1, 1e300], "nothing": [None], "yes": [True, False]},
    {"текст": ["日本語", "\x00", "a\"b\\c\n", ""]},
    {"half": [HALF]},
    {"deep": [[[[{"a": {"b": []}}]]]], "empty": {}},
])
async def test_what_nodes_show(opened: OpenSqlite, ui: dict[str, Any]) -> None:
    entry = await kept(opened, queued(P), node_finished("1", ui=ui, is_output=True), finished(P))
    assert entry.outputs == {"1": ui}
    assert repr(entry.outputs) == repr({"1": ui}), "types too"


class Foreign:
    def __repr__(self) -> str:
        return "<foreign>"


class Rude:
    """Says nothing of itself."""

    def __repr__(self) -> str:
        raise RuntimeError("rude")


ROUND: list[Any] = []
ROUND.append(ROUND)


class Words(str):
    pass


@pytest.mark.parametrize(("value", "read"), [
    (math.nan, None), (math.inf, None), ([Foreign(), math.nan], ["<foreign>", None]), (Foreign(), "<foreign>"),
    (Rude(), "<Rude>"), (ROUND, [None]), ({1: "a", None: "b"}, {"1": "a", "null": "b"}), ((1, (2,)), [1, [2]]),
    (Words("words"), "words"), ([HALF, Foreign()], [HALF, "<foreign>"]),
])
async def test_what_is_no_json_is_kept_as_well_as_it_can_be(opened: OpenSqlite, value: Any, read: Any) -> None:
    error = NodeError(exception_type="ValueError", exception_message=HALF, current_inputs={"x": value})
    failure = NodeFailed(prompt_id=P, place=place("2"), node_type="A", executed=[], known=[], error=error)
    entry = await kept(
        opened, queued(P, extra_data={"x": value}), node_finished("1", ui={"shown": [value]}, is_output=True), failure,
        finished(P, outcome=Outcome.FAILED))
    assert entry.outputs == {"1": {"shown": [read]}}
    assert entry.failure is not None
    assert (entry.failure.error.current_inputs, entry.failure.error.exception_message) == ({"x": read}, HALF)
    assert entry.extra_data == {"x": read}


@pytest.mark.parametrize("levels", [150, 250, 900, 990, 2_000, 100_000])
async def test_values_nested_without_measure_do_not_stop_the_store(opened: OpenSqlite, levels: int) -> None:
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    shown = node_finished("1", ui={"deep": deep, "flat": [1]}, is_output=True)
    entry = await kept(opened, queued(P), shown, finished(P))
    assert entry.outputs["1"]["flat"] == [1]


async def test_a_prompt_that_changed_is_shown_as_it_ran_and_submitted_as_it_came(opened: OpenSqlite) -> None:
    store, _ = await opened()
    arrival = queued(P, prompt={"1": {"inputs": {"x": 7}}})
    await store.add(new_job(arrival, submitted=b'{"1":{"inputs":{"x":"7"}}}'))
    told = Telling(store)
    arrival.is_restored = True
    await told(arrival, finished(P))
    entry, again = await store.get(P), await store.job_to_repeat(P)
    assert entry is not None
    assert again is not None
    assert msgspec.json.decode(entry.prompt) == {"1": {"inputs": {"x": 7}}}
    assert again.submitted == b'{"1":{"inputs":{"x":"7"}}}'


async def test_a_client_and_a_time_that_no_column_holds(opened: OpenSqlite) -> None:
    extra_data = {"create_time": 10**30, "extra_pnginfo": {"workflow": {"id": HALF}}}
    entry = await kept(opened, queued(P, client_id=None, extra_data=extra_data), finished(P))
    assert (entry.client_id, entry.created_at, entry.workflow_id) == (None, 10**30, HALF)


async def test_secrets_are_nowhere_in_the_folder(path: Path) -> None:
    """Of a prompt that ran, one that failed, and one that waits."""
    secret = "hush-" + "x" * 20
    seen: list[str] = []

    async def fails(x: int) -> int:
        seen.append("called")
        raise ValueError("no")

    ended: dict[str, asyncio.Event] = {name: asyncio.Event() for name in ("good", "bad")}
    engine = Engine(registry_of([show(), define("Fails", fails)]), store=SqliteStore(path))
    async with engine:
        engine.add_listener(lambda event: ended[event.prompt_id].set() if isinstance(event, PromptFinished) else None)
        for name, prompt in (("good", {"1": node("Show", x=1)}),
                             ("bad", {"1": node("Fails", x=1), "2": node("Show", x=["1", 0])})):
            await engine.submit(PromptSubmission(prompt=prompt, prompt_id=PromptId(name), client_id=ClientId("me"),
                                                 submitted=msgspec.json.encode(prompt), secrets={"api_key": secret}))
            await ended[name].wait()
        await engine.submit(PromptSubmission(prompt={"1": node("Show", x=2)}, secrets={"api_key": secret},
                                             submitted=b'{"1":{"class_type":"Show","inputs":{"x":2}}}'))
        assert seen == ["called"]
        files = [one for one in path.parent.iterdir() if one.is_file()]
        assert {one.name for one in files} >= {"jobs.db", "jobs.db-wal"}
        assert not [one.name for one in files if secret.encode() in one.read_bytes()]
    assert secret.encode() not in path.read_bytes()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM jobs WHERE had_secrets").fetchone() == (3,)
    db.close()


async def test_the_values_of_events_come_back(opened: OpenSqlite) -> None:
    store, _ = await opened()
    told = Telling(store)
    error = NodeError(exception_type="E", exception_message=HALF, traceback=["a", "b"])
    failure = NodeFailed(at=5, prompt_id=P, place=place("2"), node_type="A", executed=[NodeId("1")],
                         known=[NodeId("2")], error=error)
    events = [queued(P, number=2.0), started(P), node_finished("1", ui={"a": [1.0, HALF]}, is_output=True), failure,
              finished(P, outcome=Outcome.FAILED, executed=[NodeId("1")], reason="why")]
    await told(*events)
    logged = await store.events_since(0, 100)
    assert [one.client_id for one in logged] == ["me"] * 5
    assert [one.event for one in logged][1:] == events[1:]
    arrival = logged[0].event
    assert repr(arrival) == repr(queued(P, number=2.0, sequence=1, prompt={}, extra_data={})), "its job has the rest"


# -- what the database does not take ----------------------------------------------------------------------------------


async def test_of_an_end_that_cannot_be_written_it_is_on_record_that_it_is_one(opened: OpenSqlite) -> None:
    store, _ = await opened()
    notice = EndNotice(address="http://there", receiver="there", states=["completed"])
    job = new_job(queued(P, prompt={"1": {"class_type": "A"}}))
    job.entry.end_notice = notice
    await store.add(job)
    told = Telling(store, 10)
    events = [queued(P, is_restored=True), started(P), queued(Q, is_restored=True)]
    await store.add(new_job(queued(Q)))
    for event in events:
        told.take(event)
    assert await written(store, events) is None
    entry = store._open._entries[P]
    entry.attempt = 2**80
    ends = [finished(P, at=7), started(Q), finished(Q, at=8)]
    for event in ends:
        told.take(event)
    assert await written(store, ends) is None
    assert store.outbox.made == 1
    await store.close()

    store, leftovers = await opened()
    assert list(leftovers.unfinished) == []
    kept_entry = await store.get(P)
    assert kept_entry is not None
    assert (kept_entry.outcome, kept_entry.started_at, kept_entry.ended_at) == (Outcome.SUCCEEDED, 2, 7)
    assert kept_entry.reason.startswith("Its record could not be kept: ")
    assert msgspec.json.decode(kept_entry.prompt) == {"1": {"class_type": "A"}}  # type: ignore[arg-type]
    (delivery,) = await store.outbox.next_deliveries(9, (), ())
    assert delivery.prompt_id == P
    other = await store.get(Q)
    assert other is not None
    assert (other.ended_at, other.reason) == (8, ""), "what was written with it is whole"
    assert [type(one.event).__name__ for one in await store.events_since(13, 9)] == ["PromptStarted", "PromptFinished"]
