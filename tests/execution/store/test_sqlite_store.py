"""The store in a file: from its opening to its end, by whatever the process ends, and on a disk that does not obey."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from execution import HistoryEntry, JobQuery, JobState, PromptId
from execution.failpoints import VARIABLE
from execution.store import StoreUnavailable, sqlite_store
from tests.execution.store.conftest import OpenSqlite
from tests.execution.store.told_jobs import (
    P,
    Q,
    Telling,
    finished,
    names,
    new_job,
    node_finished,
    queued,
    started,
    written,
)

ROOT = Path(__file__).resolve().parents[3]
MANY_PAGES = 2**30


# -- from its opening to its end --------------------------------------------------------------------------------------


async def test_all_is_there_when_it_is_opened_again(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await Telling(store)(queued(P), started(P), node_finished("1", ui={"a": [1]}, is_output=True), finished(P, at=9),
                         queued(Q))
    await store.close()
    store, leftovers = await opened()
    entry = await store.get(P)
    assert entry is not None
    assert (entry.ended_at, entry.outputs, entry.state) == (9, {"1": {"a": [1]}}, JobState.COMPLETED)
    assert [left.job.entry.prompt_id for left in leftovers.unfinished] == [Q]
    waiting = await store.job(Q)
    assert waiting is not None
    assert waiting.state is JobState.PENDING
    assert names(await store.find_jobs(JobQuery(descending=False))) == ["q", "p"]


async def test_what_is_under_way_is_written_before_it_is_closed(opened: OpenSqlite) -> None:
    store, _ = await opened()
    told = Telling(store)
    await told(queued(P))
    answers: list[StoreUnavailable | None] = []
    for event in (started(P), finished(P)):
        told.take(event)
        store.write([event], answers.append)
    await store.close()
    assert answers == [None, None]
    store, _ = await opened()
    assert names(await store.entries()) == ["p"]


async def test_its_threads_end_with_it(opened: OpenSqlite) -> None:
    before = set(threading.enumerate())
    store, _ = await opened()
    await asyncio.gather(*(store.entries() for _ in range(9)), store.add(new_job()))
    mine = [thread for thread in threading.enumerate() if thread not in before and "store" in thread.name]
    assert mine
    await store.close()
    for thread in mine:
        await asyncio.to_thread(thread.join, 10)
    assert not any(thread.is_alive() for thread in mine)


async def test_a_closed_store_answers_that_it_is(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.add(new_job())
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.entries()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.delete([P])


async def test_a_file_that_was_closed_needs_no_other_beside_it(opened: OpenSqlite, path: Path) -> None:
    store, _ = await opened()
    await Telling(store)(queued(P), finished(P))
    await asyncio.gather(*(store.entries() for _ in range(5)))
    await store.close()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


async def test_many_jobs_at_once_share_their_commits(opened: OpenSqlite, path: Path) -> None:
    store, _ = await opened()
    await store.add(new_job())
    before = store._writer.commits
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # so that the writer waits while they come
    adding = [asyncio.ensure_future(store.add(new_job(queued(f"{number}")))) for number in range(40)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in adding)
    other.execute("ROLLBACK")
    other.close()
    await asyncio.gather(*adding)
    assert store._writer.commits - before <= 2


async def test_a_commit_waits_for_the_disk(opened: OpenSqlite) -> None:
    store, _ = await opened()
    (synchronous,) = store._writer._db.execute("PRAGMA synchronous").fetchone()
    (journal,) = store._writer._db.execute("PRAGMA journal_mode").fetchone()
    assert (synchronous, journal) == (2, "wal"), "2 is FULL"


async def test_a_run_knows_its_number_from_its_beginning(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await Telling(store)(queued(P), finished(P), queued(P))
    entry = await store.job(P)
    assert entry is not None
    assert entry.run == 2
    (listed,) = (await store.find_jobs(JobQuery())).jobs
    assert listed.run == 2


async def test_reading_from_threads_while_it_writes_sees_whole_steps(opened: OpenSqlite) -> None:
    store, _ = await opened()
    told = Telling(store)
    is_over = threading.Event()
    seen: list[list[str]] = []

    def read() -> None:
        while not is_over.is_set():
            entries = store.history_now()
            seen.append(names(entries))
            assert all(entry.ended_at for entry in entries)

    readers = [asyncio.ensure_future(asyncio.to_thread(read)) for _ in range(4)]
    expected = [f"{number}" for number in range(60)]
    try:
        for name in expected:
            await told(queued(name), started(name), finished(name, at=5))
            page = await store.find_jobs(JobQuery())
            assert page.total == len(page.jobs)
    finally:
        is_over.set()
    await asyncio.gather(*readers)
    assert seen
    assert all(one == expected[:len(one)] for one in seen)


async def test_a_submission_gives_up_before_what_has_happened_does(opened: OpenSqlite, path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "ADD_SECONDS", 0.0)
    store, _ = await opened()
    told = Telling(store)
    await told(queued(P))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        told.take(event := started(P))
        writing = asyncio.ensure_future(written(store, [event]))
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="another program"):
            await store.add(new_job(queued(Q)))
        assert not writing.done()
        other.execute("ROLLBACK")
    assert await writing is None
    assert names(await store.find_jobs(JobQuery())) == ["p"]


async def test_of_many_jobs_that_are_listed_few_are_in_memory_at_once(opened: OpenSqlite) -> None:
    store, _ = await opened()
    many = [f"{number}" for number in range(1_500)]
    await asyncio.gather(*(store.add(new_job(queued(name))) for name in many))
    told = Telling(store)
    for name in many:
        told.take(event := finished(name))
        store.write([event], lambda trouble: None)
    await store.delete([])
    alive: list[int] = []

    def entries() -> int:
        return sum(type(one) is HistoryEntry for one in gc.get_objects())

    def look(entry: HistoryEntry) -> None:
        alive.append(0 if len(alive) % 500 else entries())

    gc.collect()
    before = entries()
    assert (await store.map_jobs(JobQuery(), look))[1] == len(alive) == len(many)
    assert max(alive) - before < 20


# -- the process ends -------------------------------------------------------------------------------------------------

WRITES_UNTIL_IT_IS_KILLED = """
import asyncio, itertools, sys
from pathlib import Path
from execution import SqliteStore
from tests.execution.store.told_jobs import Telling, finished, new_job, queued, started, written

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open(asyncio.get_running_loop())
    told = Telling(store)

    async def submit(who):
        for number in itertools.count():
            name = f"{who}-{number}"
            arrival = queued(name)
            await store.add(new_job(arrival))
            print("added", name, flush=True)
            events = [arrival, started(name), finished(name, at=5)]
            for event in events:
                told.take(event)
            if await written(store, events) is None:
                print("ended", name, flush=True)

    await asyncio.gather(*(submit(who) for who in range(6)))

asyncio.run(main())
"""


@pytest.mark.parametrize("failpoint", ["", "before-commit:15", "after-commit:15"])
async def test_what_was_acknowledged_survives_a_kill(opened: OpenSqlite, path: Path, failpoint: str) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITES_UNTIL_IT_IS_KILLED, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: failpoint})
    assert child.stdout is not None
    said: list[str] = []
    while line := await child.stdout.readline():  # what it has said when it dies is read to the end
        said.append(line.decode())
        if not failpoint and len(said) == 150:
            child.kill()
    assert await child.wait() == -signal.SIGKILL
    told = [tuple(line.split()) for line in said if line.endswith("\n")]
    added = {name for what, name in told if what == "added"}
    ended = {name for what, name in told if what == "ended"}
    assert len(ended) > 5
    store, leftovers = await opened()
    kept_as_ended = set(names(await store.entries()))
    open_ones = {str(left.job.entry.prompt_id) for left in leftovers.unfinished}
    assert ended <= kept_as_ended
    assert added <= kept_as_ended | open_ones
    assert not kept_as_ended & open_ones
    assert (await store.find_jobs(JobQuery())).total == len(kept_as_ended | open_ones)
    for name in ended:
        logged = await store.events_since(0, 10, PromptId(name))
        assert [type(one.event).__name__ for one in logged] == ["PromptQueued", "PromptStarted", "PromptFinished"]


# -- a disk that does not obey ----------------------------------------------------------------------------------------


async def test_a_full_disk_is_told_and_nothing_is_half_written(opened: OpenSqlite) -> None:
    store, _ = await opened()
    told = Telling(store)
    await told(queued(P), started(P))
    db = store._writer._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        await store.add(new_job(queued(Q), submitted=b'{"large":"' + b"x" * 100_000 + b'"}'))
    shown = node_finished("1", ui={"large": ["x" * 100_000]}, is_output=True)
    end = finished(P)
    told.take(shown)
    told.take(end)
    trouble = await written(store, [shown, end])
    assert isinstance(trouble, StoreUnavailable)
    assert len(await store.events_since(0, 100)) == 2
    assert (await store.get(P), await store.job_to_repeat(Q)) == (None, None)
    still = await store.job(P)
    assert still is not None
    assert still.state is JobState.IN_PROGRESS, "it is shown as what is on record"
    db.execute(f"PRAGMA max_page_count = {MANY_PAGES}")
    assert await written(store, [shown, end]) is None
    await store.add(new_job(queued(Q)))
    entry = await store.get(P)
    assert entry is not None
    assert len(entry.outputs["1"]["large"][0]) == 100_000
    assert (await store.find_jobs(JobQuery())).total == 2


async def test_another_program_that_holds_the_file_is_waited_for_and_named(opened: OpenSqlite, path: Path) -> None:
    store, _ = await opened(busy_seconds=0.05)
    await store.add(new_job())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable, match="another program holds the database"):
        await store.add(new_job(queued(Q)))
    assert await store.job_to_repeat(P) is not None, "reading goes on"
    other.execute("ROLLBACK")
    other.close()
    await store.add(new_job(queued(Q)))
    assert (await store.find_jobs(JobQuery())).total == 2


async def test_a_job_whose_key_is_taken_is_refused_and_the_others_are_not(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await store.add(new_job(idempotency_key="key"))
    answers = await asyncio.gather(
        store.add(new_job(queued("a"))), store.add(new_job(queued("b"), idempotency_key="key")),
        store.add(new_job(queued("c"))), return_exceptions=True)
    assert [isinstance(answer, StoreUnavailable) for answer in answers] == [False, True, False]
    assert sorted(names(await store.find_jobs(JobQuery()))) == ["a", "c", "p"]
    again = await store.job_of_key("key")
    assert again is not None
    assert again.entry.prompt_id == P


async def test_a_file_that_cannot_be_read_any_more_is_said_to_be(opened: OpenSqlite, path: Path) -> None:
    store, _ = await opened()
    for number in range(30):
        await store.add(new_job(queued(f"{number}", prompt={"1": "x" * 3_000})))
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * (path.stat().st_size - 2 * 4096))
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await store.find_jobs(JobQuery())
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await asyncio.to_thread(store.history_now, P)
