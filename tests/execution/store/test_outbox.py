"""What is owed to whoever wants to hear of an end: kept with the end, for as long as it takes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from execution import (
    Delivery,
    DeliveryState,
    EndNotice,
    JobState,
    JobStore,
    Outcome,
    PromptDropped,
    PromptId,
    SqliteStore,
)
from tests.execution.store.conftest import OpenSqlite
from tests.execution.store.told_jobs import P, Telling, finished, new_job, queued, started, written

ALL = [JobState.COMPLETED.value, JobState.FAILED.value, JobState.CANCELLED.value]


async def queue(told: Telling, prompt_id: str = P, receiver: str = "here", **fields: Any) -> None:
    job = new_job(queued(prompt_id))
    job.entry.end_notice = EndNotice(**{"address": f"to {receiver}", "receiver": receiver, "states": ALL, **fields})
    await told.store.add(job)
    await told(queued(prompt_id, is_restored=True), started(prompt_id))


async def end(told: Telling, prompt_id: str = P, receiver: str = "here", at: int = 9, **fields: Any) -> None:
    """Run a prompt whose end somebody wants to hear of."""
    await queue(told, prompt_id, receiver, **fields)
    await told(finished(prompt_id, at=at))


async def owed(store: JobStore, limit: int = 10, busy: Any = (), under_way: Any = ()) -> list[Delivery]:
    return list(await store.outbox.next_deliveries(limit, busy, under_way))


async def test_an_end_that_somebody_waits_for_is_owed(told: Telling) -> None:
    store = told.store
    await queue(told)
    assert (await owed(store), store.outbox.made) == ([], 0)
    await told(finished(at=9))
    (delivery,) = await owed(store)
    assert (delivery.prompt_id, delivery.run, delivery.address, delivery.receiver) == (P, 1, "to here", "here")
    assert (delivery.made_at, delivery.next_try_at, delivery.tries, delivery.state) == (9, 9, 0, DeliveryState.PENDING)
    assert store.outbox.made == 1
    entry = await store.outbox.job_of(delivery.id)
    assert entry is not None
    assert (entry.prompt_id, entry.outcome, entry.ended_at) == (P, Outcome.SUCCEEDED, 9)
    assert await store.outbox.delivery_of(P, 1) == delivery
    assert await store.outbox.delivery_of(P, 2) is None
    assert await store.outbox.job_of("unknown") is None


@pytest.mark.parametrize(("outcome", "state"), [
    (Outcome.SUCCEEDED, "completed"), (Outcome.FAILED, "failed"), (Outcome.INTERRUPTED, "cancelled"),
    (Outcome.POISONED, "failed"), (Outcome.PARTLY_SUCCEEDED, "failed")])
async def test_only_the_ends_that_were_asked_for(told: Telling, outcome: Outcome, state: str) -> None:
    await queue(told, "wanted", states=[state])
    await queue(told, "unwanted", states=[one for one in ALL if one != state])
    await told(finished("wanted", outcome=outcome), finished("unwanted", outcome=outcome))
    assert [one.prompt_id for one in await owed(told.store)] == ["wanted"]
    assert told.store.outbox.made == 1


async def test_a_job_that_is_dropped_while_it_waits(told: Telling) -> None:
    job = new_job(queued())
    job.entry.end_notice = EndNotice(address="x", receiver="x", states=["cancelled"])
    await told.store.add(job)
    await told(queued(is_restored=True), PromptDropped(prompt_id=P, at=4))
    assert [one.made_at for one in await owed(told.store)] == [4]


async def test_the_soonest_of_each_receiver_comes_in_turn(told: Telling) -> None:
    store = told.store
    for prompt_id, receiver, at in (("a1", "a", 5), ("a2", "a", 2), ("a3", "a", 8), ("b1", "b", 1), ("c1", "c", 3)):
        await end(told, prompt_id, receiver, at)
    found = await owed(store)
    assert [one.prompt_id for one in found] == ["b1", "a2", "c1"]
    assert [one.prompt_id for one in await owed(store, limit=2)] == ["b1", "a2"]
    assert [one.prompt_id for one in await owed(store, busy=["b", "none"])] == ["a2", "c1"]
    assert [one.prompt_id for one in await owed(store, under_way=[found[1].id])] == ["b1", "c1", "a1"]


async def test_what_is_noted_of_a_try(told: Telling) -> None:
    store = told.store
    await end(told, "late", at=1)
    await end(told, "next", at=2)
    (delivery,) = await owed(store)
    tried = replace(delivery, tries=1, next_try_at=50, last_error="It was busy.")
    await store.outbox.note(tried)
    assert [one.prompt_id for one in await owed(store)] == ["next"]
    assert await store.outbox.delivery_of(PromptId("late"), 1) == tried
    for state in (DeliveryState.DELIVERED, DeliveryState.FAILED):
        await store.outbox.note(replace((await owed(store))[0], state=state))
    assert await owed(store) == []
    states = [found.state for name in ("next", "late")
              if (found := await store.outbox.delivery_of(PromptId(name), 1)) is not None]
    assert states == [DeliveryState.DELIVERED, DeliveryState.FAILED]


@pytest.mark.parametrize("how", ["delete", "clear"])
@pytest.mark.parametrize("last", [DeliveryState.DELIVERED, DeliveryState.FAILED])
async def test_a_job_that_is_deleted_is_shown_no_more_and_still_delivered(told: Telling, how: str,
                                                                           last: DeliveryState) -> None:
    store = told.store
    await end(told)
    await (store.delete([P]) if how == "delete" else store.clear())
    assert (await store.job(P), await store.get(P), await store.runs(P), await store.entries()) == (None, None, [], [])
    assert await store.outbox.delivery_of(P, 1) is None
    (delivery,) = await owed(store)
    entry = await store.outbox.job_of(delivery.id)
    assert entry is not None
    assert entry.ended_at == 9
    await store.outbox.note(replace(delivery, state=last))
    assert (await owed(store), await store.outbox.job_of(delivery.id)) == ([], None)


async def test_a_job_that_was_told_is_deleted_with_what_is_known_of_that(told: Telling) -> None:
    store = told.store
    await end(told)
    (delivery,) = await owed(store)
    await store.outbox.note(replace(delivery, state=DeliveryState.DELIVERED))
    await store.delete([P])
    assert (await store.outbox.delivery_of(P, 1), await store.outbox.job_of(delivery.id)) == (None, None)


async def test_each_run_of_an_id_is_owed_by_itself(told: Telling) -> None:
    await end(told, receiver="first", at=1)
    await end(told, receiver="second", at=2)
    assert [(one.run, one.address) for one in await owed(told.store)] == [(1, "to first"), (2, "to second")]


# -- in a database --------------------------------------------------------------------------------------------------


async def test_what_is_owed_outlives_the_process(opened: OpenSqlite) -> None:
    store, _ = await opened()
    told = Telling(store)
    await end(told)
    (delivery,) = await owed(store)
    tried = replace(delivery, tries=3, next_try_at=77, last_error="It was away.")
    await store.outbox.note(tried)
    await queue(told, "open", states=["failed"])
    await store.close()
    store, leftovers = await opened()
    assert await owed(store) == [tried]
    assert [one.job.entry.end_notice for one in leftovers.unfinished] == [
        EndNotice(address="to here", receiver="here", states=["failed"])]
    await Telling(store, 100)(queued("open", is_restored=True), finished("open", outcome=Outcome.FAILED, at=5))
    assert [one.prompt_id for one in await owed(store)] == ["open"]


async def test_an_end_that_cannot_be_written_owes_nothing(opened: OpenSqlite, path: Any) -> None:
    import sqlite3

    store, _ = await opened(busy_seconds=0)
    told = Telling(store)
    await queue(told)
    ending = finished(at=9)
    told.take(ending)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await written(store, [ending]) is not None
    assert (await owed(store), store.outbox.made) == ([], 0)
    other.execute("ROLLBACK")
    other.close()
    assert await written(store, [ending]) is None
    assert (len(await owed(store)), store.outbox.made) == (1, 1)


async def test_pruning_leaves_what_is_owed(opened: OpenSqlite) -> None:
    from execution import KeepRule
    from tests.support.manual_clock import ManualClock

    clock = ManualClock()
    store, _ = await opened(keep=KeepRule(max_age_ms=1000), clock=clock)
    told = Telling(store)
    await end(told, at=clock.now_ms())
    clock.advance(100)
    await told(queued("more"), started("more"))  # the writer prunes when it has written
    while await store.job(P) is not None:
        await told(queued("yet more"), started("yet more"), finished("yet more", at=clock.now_ms()))
    (delivery,) = await owed(store)
    assert await store.outbox.job_of(delivery.id) is not None
    assert isinstance(store, SqliteStore)
