"""The log of events: what is in it, and how it is read."""

from __future__ import annotations

import pytest

from execution import NodeId, NodeProgressed, Outcome, PromptId, QueueChanged
from tests.execution.store.conftest import OpenSqlite
from tests.execution.store.told_jobs import Q, Telling, finished, node_finished, node_started, place, queued, started

P = PromptId("p")


def progress(prompt_id: PromptId = P) -> NodeProgressed:
    return NodeProgressed(prompt_id=prompt_id, place=place("1"), value=1, maximum=2)


async def test_events_come_in_their_order_page_by_page(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await Telling(store)(queued(P), queued(Q), started(P), node_started("1"), node_finished("1"), finished(P))
    sequences, since = [], 0
    while page := await store.events_since(since, 4):
        assert len(page) <= 4
        sequences += [one.event.sequence for one in page]
        since = sequences[-1]
    assert sequences == [1, 2, 3, 4, 5, 6]
    assert [one.event.sequence for one in await store.events_since(4, 100)] == [5, 6]
    assert await store.events_since(10**30, 10**30) == []


async def test_events_of_one_prompt(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await Telling(store)(queued(P), queued(Q), started(P), QueueChanged(remaining=1), started(Q), finished(P))
    assert [(type(one.event).__name__, one.event.sequence) for one in await store.events_since(1, 100, P)] == [
        ("PromptStarted", 3), ("PromptFinished", 6)]
    assert [type(one.event).__name__ for one in await store.events_since(3, 1)] == ["QueueChanged"]
    assert [one.client_id for one in await store.events_since(3, 1)] == [None]


async def test_progress_is_not_logged_and_its_number_is_known_to_be_used(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await Telling(store)(queued(P), started(P), progress())
    assert [type(one.event).__name__ for one in await store.events_since(0, 100)] == ["PromptQueued", "PromptStarted"]
    await store.close()
    assert (await opened())[1].last_sequence == 3


async def test_ending_what_is_not_open_is_noted_and_changes_nothing(opened: OpenSqlite,
                                                                    caplog: pytest.LogCaptureFixture) -> None:
    store, _ = await opened()
    told = Telling(store)
    await told(queued(P), started(P), finished(P, at=9, executed=[NodeId("1")]))
    events = [queued(P, is_restored=True), finished(P, at=11, outcome=Outcome.FAILED)]
    await told(*events)
    (entry,) = await store.runs(P)
    assert (entry.outcome, entry.ended_at, list(entry.executed)) == (Outcome.SUCCEEDED, 9, ["1"])
    assert "not recorded twice" in caplog.text
