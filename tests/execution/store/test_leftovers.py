"""What a database says of the jobs that had not ended when the process before did."""

from __future__ import annotations

from typing import Any

import pytest

from execution import (
    CancelAccepted,
    JobQuery,
    JobState,
    NodeError,
    NodeFailed,
    NodeShown,
    PromptDropped,
    PromptId,
    PromptMoved,
    PromptRequeued,
    PromptStarted,
)
from execution.events import StartPutOff
from execution.store import Leftovers, NewJob
from tests.execution.store.conftest import OpenSqlite
from tests.execution.store.told_jobs import (
    P,
    Telling,
    finished,
    names,
    new_job,
    node_finished,
    node_started,
    place,
    queued,
    started,
    written,
)


async def left_by(opened: OpenSqlite, *events: Any) -> Leftovers:
    store, _ = await opened()
    await Telling(store)(*events)
    await store.close()
    return (await opened())[1]


def ids(leftovers: Leftovers) -> list[str]:
    return [str(left.job.entry.prompt_id) for left in leftovers.unfinished]


async def test_a_new_database_holds_nothing(opened: OpenSqlite) -> None:
    _, leftovers = await opened()
    assert (list(leftovers.unfinished), leftovers.next_number, leftovers.last_sequence) == ([], 0, 0)


async def test_running_ones_come_in_the_order_of_their_starts_then_pending_ones_by_their_numbers(
        opened: OpenSqlite) -> None:
    leftovers = await left_by(
        opened, queued("third", number=3), queued("first", number=-1), queued("second", number=1.5),
        queued("runs", number=7), queued("ran", number=2), queued("runs too", number=1), queued("dropped", number=0),
        queued("twin", number=3), queued("moved", number=9), started("runs"), started("ran"), finished("ran"),
        started("runs too"), PromptDropped(prompt_id=PromptId("dropped")),
        PromptMoved(prompt_id=PromptId("moved"), number=1))
    assert ids(leftovers) == ["runs", "runs too", "first", "moved", "second", "third", "twin"]


async def test_numbers_go_on_above_those_that_were_counted(opened: OpenSqlite) -> None:
    leftovers = await left_by(opened, queued("a", number=4), queued("b", number=-11), queued("c", number=99.5),
                              queued("d", number=10**30))
    assert leftovers.next_number == 12


async def test_a_job_comes_back_with_all_that_it_came_with(opened: OpenSqlite) -> None:
    store, _ = await opened()
    job = new_job(queued(P, number=-2, client_id=None, extra_data={"a": [1, 2.0]}), targets=["1"], line="tab",
                  content_key="body", had_secrets=True)
    await store.add(job)
    await store.close()
    (left,) = (await opened())[1].unfinished
    assert (left.job.targets, left.job.line, left.job.content_key, left.job.had_secrets) == (["1"], "tab", "body", True)
    entry = left.job.entry
    assert (entry.client_id, entry.number, entry.extra_data) == (None, -2, {"a": [1, 2.0]})
    assert (entry.outputs_wanted, entry.started_at, entry.attempt, entry.queued_at) == (["1"], 0, 0, 1)
    assert (list(left.open_nodes), left.is_cancelled, left.job.submitted) == ([], False, b'{"1":{}}')


async def test_nodes_that_had_started_and_not_ended_are_named(opened: OpenSqlite) -> None:
    error = NodeError(exception_type="ValueError", exception_message="no")
    leftovers = await left_by(
        opened, queued(P), started(P), node_started("ended"), node_started("open"), node_finished("ended"),
        node_started("expanded"), NodeShown(prompt_id=P, place=place("expanded"), ui={}), node_started("failed"),
        NodeFailed(prompt_id=P, place=place("failed"), node_type="A", executed=[], known=[], error=error),
        node_started("last"))
    (left,) = leftovers.unfinished
    assert list(left.open_nodes) == ["open", "last"]


async def test_only_the_last_start_counts_for_the_nodes(opened: OpenSqlite) -> None:
    leftovers = await left_by(
        opened, queued(P), started(P), node_started("before"), queued(P, is_restored=True, attempt=1), started(P),
        node_started("now"))
    (left,) = leftovers.unfinished
    assert (list(left.open_nodes), left.job.entry.attempt) == (["now"], 2)


async def test_a_crash_before_it_was_started_again_is_still_the_one_of_its_last_start(opened: OpenSqlite) -> None:
    leftovers = await left_by(opened, queued(P), started(P), node_started("suspect"),
                              queued(P, is_restored=True, attempt=1))
    (left,) = leftovers.unfinished
    assert (list(left.open_nodes), left.job.entry.attempt, left.job.entry.started_at) == (["suspect"], 1, 0)


async def test_who_was_put_back_on_good_terms_is_under_no_suspicion(opened: OpenSqlite) -> None:
    leftovers = await left_by(opened, queued(P), started(P), node_started("1"), PromptRequeued(prompt_id=P))
    (left,) = leftovers.unfinished
    assert (list(left.open_nodes), left.job.entry.attempt, left.job.entry.started_at) == ([], 0, 0)


@pytest.mark.parametrize("and_then", [[], [PromptRequeued(prompt_id=P)]])
async def test_a_cancel_that_was_accepted_stays_one(opened: OpenSqlite, and_then: list[Any]) -> None:
    leftovers = await left_by(opened, queued(P), started(P), CancelAccepted(prompt_id=P), *and_then)
    (left,) = leftovers.unfinished
    assert left.is_cancelled
    assert left.job.entry.is_cancelled


async def test_the_next_store_goes_on_with_them(opened: OpenSqlite) -> None:
    await left_by(opened, queued("a"), started("a"), queued("b"))
    store, leftovers = await opened()
    told = Telling(store, leftovers.last_sequence)
    await told(queued("a", is_restored=True, attempt=1), queued("b", is_restored=True), started("b"), finished("b"),
               started("a"), finished("a"))
    assert names(await store.entries()) == ["b", "a"]
    entry = await store.get(PromptId("a"))
    assert entry is not None
    assert (entry.attempt, entry.queued_at) == (2, 1)


async def test_the_last_sequence_survives(opened: OpenSqlite) -> None:
    leftovers = await left_by(opened, queued(P), started(P), finished(P))
    assert leftovers.last_sequence == 3


async def test_what_was_ever_started_is_known_however_the_process_ended(opened: OpenSqlite) -> None:
    leftovers = await left_by(opened, queued("runs"), queued("ran"), queued("waits"), started("runs"), started("ran"),
                              PromptRequeued(prompt_id=PromptId("ran")))
    assert [(str(left.job.entry.prompt_id), left.job.entry.attempt, left.was_started)
            for left in leftovers.unfinished] == [("runs", 1, True), ("ran", 0, True), ("waits", 0, False)]


# -- judged at a start ----------------------------------------------------------------------------------------------


async def test_who_was_judged_when_the_process_ended_is_known_and_counted(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await Telling(store)(queued("a"), queued("b"), queued("c"))
    for times in (1, 2):
        await store.note_judging(PromptId("a"))
        await store.note_judging(PromptId("b"))
        await store.close()
        store, leftovers = await opened()
        assert {left.job.entry.prompt_id: left.judgings for left in leftovers.unfinished} == {
            "a": 0, "b": times, "c": 0}
    for prompt_id in ("a", "b", "c", None):
        await store.note_judging(None if prompt_id is None else PromptId(prompt_id))
    await store.close()
    assert [left.judgings for left in (await opened())[1].unfinished] == [0, 0, 0]


# -- starts that are put on record with the job ------------------------------------------------------------------------


def soon(prompt_id: str, at: int, number: int = 0) -> NewJob:
    """A job that is about to start, at this place in the order of events."""
    return new_job(queued(prompt_id, number=number, at=1000), starts_at=at)


async def test_what_was_about_to_start_has_started_once_although_nothing_of_it_was_told(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await store.add(soon("b", 5, number=2))
    await store.add(soon("a", 5, number=1))
    await store.add(new_job(queued("waits", number=0)))
    page = await store.find_jobs(JobQuery(states=[JobState.IN_PROGRESS]))
    assert sorted(names(page)) == ["a", "b"]
    await store.close()
    _, leftovers = await opened()
    assert ids(leftovers) == ["a", "b", "waits"], "nobody knows which of them was first, so their numbers decide"
    assert [left.job.entry.attempt for left in leftovers.unfinished] == [1, 1, 0]
    assert leftovers.unfinished[0].job.entry.started_at == 1000
    assert [left.was_started for left in leftovers.unfinished] == [False, False, False], "it was told to nobody"


async def test_a_start_that_is_told_later_counts_once(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await store.add(soon("a", 1))
    await store.add(soon("b", 1, number=-1))
    telling = Telling(store)
    for event in (queued("a"), queued("b")):
        telling.take(event)
        assert await written(store, [event]) is None
    await telling(PromptStarted(prompt_id=PromptId("a"), remaining=2, is_on_record=True), node_started("1", "a"))
    await store.close()
    _, leftovers = await opened()
    assert ids(leftovers) == ["a", "b"], "what was told comes first"
    first = leftovers.unfinished[0]
    assert (first.job.entry.attempt, first.was_started, first.open_nodes) == (1, True, ["1"])


async def test_one_that_has_to_wait_after_all_waits_as_if_nothing_had_been(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await store.add(soon("a", 1, number=3))
    await store.add(new_job(queued("b", number=2)))
    telling = Telling(store)
    arrival = queued("a", number=3)
    telling.take(arrival)
    assert await written(store, [arrival]) is None
    await telling(StartPutOff(prompt_id=PromptId("a")))
    assert sorted(names(await store.find_jobs(JobQuery(states=[JobState.PENDING])))) == ["a", "b"]
    await store.close()
    _, leftovers = await opened()
    assert ids(leftovers) == ["b", "a"]
    assert [(left.job.entry.attempt, left.job.entry.started_at) for left in leftovers.unfinished] == [(0, 0), (0, 0)]


async def test_the_start_and_end_of_a_prompt_in_one_batch_leave_one_attempt(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await store.add(soon("a", 1))
    telling = Telling(store)
    events = [queued("a", at=1001), PromptStarted(prompt_id=PromptId("a"), remaining=1, is_on_record=True, at=1002),
              node_started("1", "a", at=1003), node_finished("1", "a", at=1004), finished("a", at=1005)]
    for event in events:
        telling.take(event)
    assert await written(store, events) is None
    entry = await store.job(PromptId("a"))
    assert entry is not None
    assert (entry.attempt, entry.started_at, entry.ended_at, entry.state) == (1, 1002, 1005, JobState.COMPLETED)
    assert len(await store.events_since(0, 100, PromptId("a"))) == len(events)


async def test_nodes_of_an_older_run_are_not_those_of_one_that_was_about_to_start(opened: OpenSqlite) -> None:
    store, _ = await opened()
    telling = Telling(store)
    await telling(queued(P), started(P), node_started("1", P), finished(P))
    await store.add(soon("p", telling.sequence + 1))
    await store.close()
    _, leftovers = await opened()
    (left,) = leftovers.unfinished
    assert (left.job.entry.run, list(left.open_nodes)) == (2, [])
    store, _ = await opened()
    await Telling(store, 100)(queued("p", is_restored=True, attempt=1))
    await store.close()
    _, leftovers = await opened()
    (left,) = leftovers.unfinished
    assert (left.job.entry.attempt, list(left.open_nodes), left.was_started) == (1, [], False)
