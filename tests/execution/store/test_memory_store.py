"""What the store in memory does alone: it keeps no more than so many entries."""

from __future__ import annotations

from execution import Event, MemoryStore
from tests.execution.store.told_jobs import P, Q, Telling, finished, names, queued


async def test_the_bound_counts_runs_and_the_oldest_goes_first() -> None:
    store = MemoryStore(bound=2)
    told = Telling(store)
    await told(queued(P), finished(P, at=1), queued(Q), finished(Q, at=2), queued(P), finished(P, at=3))
    assert [entry.ended_at for entry in await store.runs(P)] == [3]
    assert names(await store.entries()) == ["q", "p"]
    for number in range(5):
        await told(queued(P), finished(P, at=10 + number))
    assert [(entry.run, entry.ended_at) for entry in await store.runs(P)] == [(6, 13), (7, 14)]
    assert names(await store.entries()) == ["p"]


async def test_what_was_submitted_goes_with_the_last_run_of_it() -> None:
    store = MemoryStore(bound=2)
    told = Telling(store)
    events: list[Event] = [queued(P), finished(P), queued(Q), finished(Q), queued(Q), finished(Q)]
    await told(*events)
    assert await store.job_to_repeat(P) is None
    assert await store.job_to_repeat(Q) is not None


async def test_nothing_is_logged() -> None:
    store = MemoryStore()
    await Telling(store)(queued(P), finished(P))
    assert (list(await store.events_since(0, 10)), await store.oldest_event()) == ([], 0)
