"""What has ended is kept within bounds: by its age, by its bytes, by the number and the bytes of events."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from execution import CancelAccepted, JobQuery, KeepRule, NodeShown, PromptDropped, PromptId, SqliteStore
from execution.store.sqlite_file import open_file
from execution.store.sqlite_store import PRUNE_SECONDS
from tests.execution.store.conftest import OpenSqlite
from tests.execution.store.told_jobs import Telling, finished, names, place, queued, started
from tests.support.manual_clock import ManualClock

DAY = 86_400_000


async def write_nothing(store: SqliteStore) -> None:
    await store.delete([PromptId("unheard of")])


async def let_it_prune(store: SqliteStore, clock: ManualClock) -> None:
    """It does so when it has nothing to write, on the thread that writes: what is written next comes behind it."""
    while store._pruned_at != clock.monotonic():
        await write_nothing(store)
    await write_nothing(store)


async def kept_of(opened: OpenSqlite, clock: ManualClock, *events: Any,
                  **options: Any) -> tuple[SqliteStore, list[str]]:
    store, _ = await opened(clock=clock, **options)
    await let_it_prune(store, clock)  # the first look is over
    await Telling(store)(*events)
    clock.advance(PRUNE_SECONDS)
    await let_it_prune(store, clock)
    return store, names(await store.find_jobs(JobQuery(descending=False)))


def one(name: str, at: int, size: int = 0) -> list[Any]:
    return [queued(name, prompt={"1": "x" * size}), started(name, at=at), finished(name, at=at)]


async def test_by_age_and_never_what_is_open(opened: OpenSqlite) -> None:
    clock = ManualClock(start=100 * 86_400)
    now = clock.now_ms()
    store, kept = await kept_of(
        opened, clock, queued("runs"), started("runs", at=1), queued("waits", at=1), *one("old", now - 4 * DAY),
        queued("dropped"), PromptDropped(prompt_id=PromptId("dropped"), at=now - 3 * DAY), *one("young", now - DAY),
        keep=KeepRule(max_age_ms=2 * DAY))
    assert kept == ["runs", "waits", "young"]
    assert await store.job(PromptId("old")) is None
    assert await store.job_to_repeat(PromptId("dropped")) is None
    clock.advance(2 * 86_400)
    await let_it_prune(store, clock)
    assert names(await store.find_jobs(JobQuery(descending=False))) == ["runs", "waits"]


async def test_by_bytes_the_oldest_first_and_never_what_is_open(opened: OpenSqlite) -> None:
    clock = ManualClock()
    _, kept = await kept_of(
        opened, clock, queued("open", prompt={"1": "x" * 100_000}), *one("a", 5, 30_000), *one("b", 6, 30_000),
        *one("c", 7, 30_000), *one("d", 8, 100), keep=KeepRule(max_bytes=50_000))
    assert kept == ["open", "c", "d"]
    store, _ = await opened(clock=clock, keep=KeepRule(max_bytes=0))
    await let_it_prune(store, clock)
    assert names(await store.find_jobs(JobQuery())) == ["open"]


async def test_everything_is_kept_by_default(opened: OpenSqlite) -> None:
    _, kept = await kept_of(opened, ManualClock(), *one("a", 1), *one("b", 2))
    assert kept == ["a", "b"]


async def test_it_looks_once_in_a_while(opened: OpenSqlite) -> None:
    clock = ManualClock()
    store, _ = await opened(clock=clock, keep=KeepRule(max_bytes=0))
    await let_it_prune(store, clock)
    clock.advance(PRUNE_SECONDS - 1)
    await Telling(store)(*one("a", 1))
    for _ in range(3):
        await write_nothing(store)
    assert names(await store.find_jobs(JobQuery())) == ["a"]
    clock.advance(1)
    await let_it_prune(store, clock)
    assert names(await store.find_jobs(JobQuery())) == []


async def test_the_log_holds_the_newest_events_and_says_where_it_begins(opened: OpenSqlite) -> None:
    clock = ManualClock()
    store, _ = await kept_of(opened, clock, queued("p"), started("p"),
                             *(CancelAccepted(prompt_id=PromptId("p")) for _ in range(8)), most_events=4)
    assert [logged.event.sequence for logged in await store.events_since(0, 100)] == [7, 8, 9, 10]
    assert await store.oldest_event() == 7
    await Telling(store, 10)(finished("p"))
    clock.advance(PRUNE_SECONDS)
    await let_it_prune(store, clock)
    assert await store.oldest_event() == 8
    await store.close()
    store, leftovers = await opened(clock=clock, most_events=0)
    await let_it_prune(store, clock)
    assert (list(await store.events_since(0, 100)), await store.oldest_event()) == ([], 12)
    assert leftovers.last_sequence == 11
    await store.close()
    assert (await opened())[1].last_sequence == 11, "it outlives the events"


def shown(size: int) -> NodeShown:
    return NodeShown(prompt_id=PromptId("p"), place=place("1"), ui={"text": ["x" * size]})


async def test_the_log_is_bounded_in_bytes_too_and_the_oldest_go_first(opened: OpenSqlite) -> None:
    clock = ManualClock()
    store, _ = await kept_of(opened, clock, queued("p"), started("p"), *(shown(10_000) for _ in range(6)),
                             most_event_bytes=35_000)
    assert [logged.event.sequence for logged in await store.events_since(0, 100)] == [6, 7, 8]
    assert await store.oldest_event() == 6
    await store.close()
    store, _ = await opened(clock=clock, most_event_bytes=35_000)
    await let_it_prune(store, clock)
    await Telling(store, 8)(shown(10_000))
    clock.advance(PRUNE_SECONDS)
    await let_it_prune(store, clock)
    assert [logged.event.sequence for logged in await store.events_since(0, 100)] == [7, 8, 9]
    assert await store.oldest_event() == 7, "bytes are counted on from one process to the next"


@pytest.mark.parametrize(("most_events", "kept"), [(5, [6, 7, 8]), (2, [7, 8])])
async def test_of_two_bounds_the_one_that_is_reached_first_counts(opened: OpenSqlite, most_events: int,
                                                                  kept: list[int]) -> None:
    store, _ = await kept_of(opened, ManualClock(), queued("p"), started("p"), *(shown(10_000) for _ in range(6)),
                             most_event_bytes=35_000, most_events=most_events)
    assert [logged.event.sequence for logged in await store.events_since(0, 100)] == kept
    assert await store.oldest_event() == kept[0]


async def test_what_is_dropped_is_counted_off(opened: OpenSqlite, path: Path) -> None:
    store, _ = await kept_of(opened, ManualClock(), queued("p"), started("p"), *(shown(1_000) for _ in range(6)),
                             most_events=3, most_event_bytes=2_500)
    await store.close()
    assert len(counted_and_real(path)) == 1


async def test_a_log_of_the_first_form_is_counted_once(opened: OpenSqlite, path: Path, forms: Sequence[Path]) -> None:
    await asyncio.to_thread(lambda: open_file(path, forms[1]).close())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO events VALUES (1, 1, NULL, NULL, 'QueueChanged', ?)", (b'{"remaining":0}',))
    await (await opened())[0].close()
    assert counted_and_real(path) == {15}


def counted_and_real(path: Path) -> set[int]:
    """The bytes of the log as they are counted, and as they are."""
    with closing(sqlite3.connect(path)) as db:
        return {value for (value,) in db.execute("SELECT value FROM facts WHERE name = 'event_bytes' "
                                                 "UNION ALL SELECT sum(length(body)) FROM events")}


async def test_a_log_that_never_dropped_anything_has_no_beginning(opened: OpenSqlite) -> None:
    store, _ = await kept_of(opened, ManualClock(), *one("a", 1))
    assert await store.oldest_event() == 0


async def test_jobs_are_taken_while_it_prunes(opened: OpenSqlite) -> None:
    clock = ManualClock()
    store, _ = await opened(clock=clock, keep=KeepRule(max_bytes=0))
    told = Telling(store)
    for turn in range(5):
        clock.advance(PRUNE_SECONDS)
        await told(*(event for number in range(4) for event in one(f"{turn}-{number}", 5)))
    clock.advance(PRUNE_SECONDS)
    await asyncio.gather(let_it_prune(store, clock), store.entries())
    assert list(await store.entries()) == []
