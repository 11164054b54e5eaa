"""The thread that writes: what it puts into one transaction, and what it does when it cannot write."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from execution.store import StoreUnavailable, sqlite_writer
from execution.store.open_jobs import OpenJobs
from execution.store.sqlite_changes import AddJob, WriteEvents
from execution.store.sqlite_file import open_file
from execution.store.sqlite_writer import Facts, SqliteWriter
from tests.execution.store.told_jobs import P, finished, new_job, node_finished, node_started, queued, started


class Put:
    """A change that adds a row; one at a closed door waits until it is opened."""

    has_events = False

    def __init__(self, value: int | None, door: threading.Event | None = None, *, is_light: bool = False) -> None:
        self.is_light = is_light
        self._value = value
        self._door = door

    def apply(self, db: sqlite3.Connection, facts: Facts) -> None:
        if self._door is not None:
            self._door.wait(30)
        db.execute("INSERT INTO rows VALUES (?)", (self._value,))

    def apply_alone(self, db: sqlite3.Connection, facts: Facts) -> None:
        self.apply(db, facts)


class Held(Put):
    """One that another program keeps from being written alone, once."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.tries = 0

    def apply(self, db: sqlite3.Connection, facts: Facts) -> None:
        self.tries += 1
        if self.tries == 2:
            raise sqlite3.OperationalError("database is locked")
        super().apply(db, facts)


class Connection:
    """One that fails at a statement when it is told to."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("CREATE TABLE rows (value INTEGER NOT NULL)")
        self.fails_at = ""
        self.trouble = "disk I/O error"
        self.done: list[str] = []

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if self.fails_at and statement.startswith(self.fails_at):
            raise sqlite3.OperationalError(self.trouble)
        self.done.append(statement)
        return self._db.execute(statement, *values)

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def close(self) -> None:
        self._db.close()


@pytest.fixture
def db(path: Path) -> Connection:
    return Connection(path)


@pytest.fixture
async def writer(db: Connection) -> AsyncIterator[SqliteWriter]:
    made = SqliteWriter(db, asyncio.get_running_loop(), lambda db: db.close(), lambda db: None)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


async def rows_after(writer: SqliteWriter, path: Path) -> list[int]:
    await writer.close()
    db = sqlite3.connect(path)
    try:
        return [value for value, in db.execute("SELECT value FROM rows ORDER BY rowid")]
    finally:
        db.close()


async def test_what_comes_while_it_writes_goes_into_one_transaction(writer: SqliteWriter, path: Path) -> None:
    door = threading.Event()
    first = asyncio.ensure_future(writer.put_and_wait(Put(0, door)))
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(writer.put_and_wait(Put(number))) for number in range(1, 51)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in (first, *others))
    door.set()
    await asyncio.gather(first, *others)
    assert writer.commits <= 2
    assert await rows_after(writer, path) == list(range(51)), "in the order in which they came"


async def test_one_that_cannot_be_written_fails_alone(writer: SqliteWriter, path: Path) -> None:
    door = threading.Event()
    values: list[int | None] = [1, 2, None, 4]
    first = asyncio.ensure_future(writer.put_and_wait(Put(0, door)))
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(writer.put_and_wait(Put(value))) for value in values]
    await asyncio.sleep(0)
    door.set()
    await first
    answers = await asyncio.gather(*others, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["NoneType", "NoneType", "StoreRefused", "NoneType"]
    assert await rows_after(writer, path) == [0, 1, 2, 4]


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT", "COMMIT"])
async def test_nothing_is_half_written_and_it_works_again_afterwards(writer: SqliteWriter, db: Connection, path: Path,
                                                                     statement: str) -> None:
    await writer.put_and_wait(Put(1))
    db.fails_at = statement
    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        await writer.put_and_wait(Put(2))
    db.fails_at = ""
    await writer.put_and_wait(Put(3))
    assert await rows_after(writer, path) == [1, 3]


async def test_while_another_program_holds_the_file_each_waits_as_long_as_it_may(writer: SqliteWriter, db: Connection,
                                                                                 path: Path) -> None:
    db.fails_at, db.trouble = "BEGIN", "database is locked"
    patient = asyncio.ensure_future(writer.put_and_wait(Put(1)))
    with pytest.raises(StoreUnavailable, match="another program"):
        await writer.put_and_wait(Put(2), patience=0)
    other = asyncio.ensure_future(writer.put_and_wait(Put(3)))
    with pytest.raises(StoreUnavailable, match="another program"):
        await writer.put_and_wait(Put(4), patience=0)
    assert not patient.done()
    assert not other.done()
    db.fails_at = ""
    await asyncio.gather(patient, other)
    assert await rows_after(writer, path) == [1, 3], "in their order, and nothing that was refused"


async def test_one_that_cannot_be_written_lets_nobody_overtake_who_waits(writer: SqliteWriter, path: Path) -> None:
    door = threading.Event()
    first = asyncio.ensure_future(writer.put_and_wait(Put(0, door)))
    await asyncio.sleep(0)
    held = Held(1)
    others = [asyncio.ensure_future(writer.put_and_wait(one)) for one in (held, Put(None), Put(3))]
    await asyncio.sleep(0)
    door.set()
    answers = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["NoneType", "NoneType", "StoreRefused", "NoneType"]
    assert held.tries > 2
    assert await rows_after(writer, path) == [0, 1, 3]


async def test_who_waits_for_another_program_is_told_when_it_ends(db: Connection, path: Path) -> None:
    writer = SqliteWriter(db, asyncio.get_running_loop(), lambda db: db.close(), lambda db: None,  # type: ignore[arg-type]
                          patience=0)
    db.fails_at, db.trouble = "BEGIN", "database is locked"
    answer = asyncio.ensure_future(writer.put_and_wait(Put(1)))
    await asyncio.sleep(0)
    assert await rows_after(writer, path) == []
    with pytest.raises(StoreUnavailable, match="another program"):
        await answer


@pytest.mark.parametrize("fails", [False, True])
async def test_only_what_is_light_does_not_wait_for_the_disk(writer: SqliteWriter, db: Connection, fails: bool) -> None:
    db.fails_at = "INSERT" if fails else ""
    for is_light in (False, True, False):
        await asyncio.wait([asyncio.ensure_future(writer.put_and_wait(Put(1, is_light=is_light)))])
    told = [one for one in db.done if one.startswith("PRAGMA") or one == "BEGIN IMMEDIATE"]
    assert told == ["BEGIN IMMEDIATE", "PRAGMA synchronous = NORMAL", "BEGIN IMMEDIATE", "PRAGMA synchronous = FULL",
                    "BEGIN IMMEDIATE"]


async def test_what_is_left_is_written_before_it_ends_and_nothing_afterwards(writer: SqliteWriter, path: Path) -> None:
    answers: list[StoreUnavailable | None] = []
    for number in range(20):
        writer.put(Put(number), answers.append)
    assert await rows_after(writer, path) == list(range(20))
    assert answers == [None] * 20
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.put_and_wait(Put(20))


async def test_whatever_goes_wrong_aside_it_goes_on(db: Connection) -> None:
    def fails(_: Any) -> None:
        raise RuntimeError("aside")

    writer = SqliteWriter(db, asyncio.get_running_loop(), lambda db: db.close(), fails)  # type: ignore[arg-type]
    await writer.put_and_wait(Put(1))
    await writer.put_and_wait(Put(2))
    await writer.close()


async def test_an_answer_that_raises_does_not_keep_the_others_from_theirs(writer: SqliteWriter) -> None:
    def raises(_: StoreUnavailable | None) -> None:
        raise RuntimeError("an answer")

    writer.put(Put(1), raises)
    await writer.put_and_wait(Put(2))


async def test_in_a_crowd_a_change_waits_for_others(writer: SqliteWriter, path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    waiting, door = asyncio.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        assert seconds == sqlite_writer.GATHER
        loop.call_soon_threadsafe(waiting.set)
        assert door.wait(30)

    monkeypatch.setattr(sqlite_writer.time, "sleep", sleep)
    await writer.put_and_wait(Put(0))
    assert not waiting.is_set(), "nobody else came so far"
    writer._crowd = sqlite_writer.CROWD + 1
    first = asyncio.ensure_future(writer.put_and_wait(Put(1)))
    await waiting.wait()
    second = asyncio.ensure_future(writer.put_and_wait(Put(2)))
    await asyncio.sleep(0)
    commits = writer.commits
    door.set()
    await asyncio.gather(first, second)
    assert writer.commits == commits + 1
    assert await rows_after(writer, path) == [0, 1, 2]


async def test_a_crowd_is_noticed_and_forgotten(writer: SqliteWriter) -> None:
    for _ in range(20):
        door = threading.Event()
        together = [asyncio.ensure_future(writer.put_and_wait(Put(0, door))) for _ in range(8)]
        await asyncio.sleep(0)
        door.set()
        await asyncio.gather(*together)
    assert writer._crowd > sqlite_writer.CROWD
    for number in range(50):
        await writer.put_and_wait(Put(number))
    assert writer._crowd < sqlite_writer.CROWD


def test_facts_grow_or_add_up(tmp_path: Path) -> None:
    with closing(open_file(tmp_path / "facts.db")) as db:
        for values in ([("last_sequence", 5), ("event_bytes", 10)], [("last_sequence", 3), ("event_bytes", 7)]):
            facts = Facts()
            for name, value in values:
                facts.note(name, value)
                facts.note(name, value - 1)
            facts.write(db)
        Facts().write(db)
        found = dict(db.execute("SELECT name, value FROM facts WHERE name IN ('last_sequence', 'event_bytes')"))
    assert found == {"last_sequence": 5, "event_bytes": 10 + 9 + 7 + 6}


def test_a_prompt_takes_few_statements(tmp_path: Path) -> None:
    """The interpreter is let go of for each, and has to be waited for afterwards."""
    statements: list[str] = []
    told = [queued(P), started(P), *[event for number in range(5) for event in (
        node_started(str(number)), node_finished(str(number)))], finished(P, at=9)]
    for sequence, event in enumerate(told, 1):
        event.sequence = sequence
    jobs = OpenJobs()
    job = new_job(queued(P))
    job.is_first_run = True
    jobs.expect(job.entry)
    entries = {event.sequence: entry for event in told if (entry := jobs.take(event)) is not None}
    with closing(open_file(tmp_path / "few.db")) as db:
        facts = Facts()
        db.set_trace_callback(statements.append)
        AddJob(job).apply(db, facts)
        WriteEvents(told, {}, entries).apply(db, facts)
        facts.write(db)
        db.set_trace_callback(None)
        assert db.execute("SELECT count(*) FROM events").fetchone() == (len(told),)
        assert db.execute("SELECT state FROM jobs").fetchall() == [("completed",)]
    assert len([one for one in statements if not one.startswith("--")]) <= 8, statements
