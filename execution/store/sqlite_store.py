"""A store in one SQLite file, which outlives the process however that ends.

One thread writes, a few read; the loop never waits for the disk. What is written and how, `sqlite_writer.py` and
`sqlite_changes.py` say; the form of the file, the migrations.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from ..clock import Clock, SystemClock
from ..events import Event, NodeFailed, NodeFinished, NodeShown, NodeStarted
from ..identifiers import ClientId, NodeId, PromptId
from ..node_lanes import ThreadLane
from .event_codec import decode_event
from .job_rows import COLUMNS, PENDING, RUNNING, entry_of, new_job_of
from .job_store import (
    HistoryEntry,
    JobPage,
    JobQuery,
    Leftovers,
    LoggedEvent,
    NewJob,
    StoreRefused,
    StoreUnavailable,
    StoreUnusable,
    UnfinishedJob,
)
from .open_jobs import OpenJobs
from .outbox import Outbox, is_owed
from .sqlite_changes import AddJob, DeleteHistory, NoteJudging, WriteEvents, prune
from .sqlite_file import BUSY_SECONDS, MIGRATIONS, close_file, damaged, open_file
from .sqlite_lists import find, history_of, history_page
from .sqlite_outbox import SqliteOutbox
from .sqlite_writer import SqliteWriter

T = TypeVar("T")

READERS = 3
_LARGEST = 2**63 - 1
PRUNE_SECONDS = 60.0
"""Between two looks for what is older than is kept."""
ADD_SECONDS = 1.0
"""How long a submission waits for another program that holds the file, before it is refused: somebody waits for the
answer. What has happened waits longer."""
ONE_TRY = 0.2
"""Seconds after which the writer looks who has waited long enough."""
MOST_EVENTS = 200_000
MOST_EVENT_BYTES = 256 * 2**20
"""Of the bodies of events: what nodes show is in them."""


class KeepRule(Struct, frozen=True, kw_only=True):
    """How much of what has ended is kept. None is without bound."""

    max_age_ms: int | None = None
    max_bytes: int | None = None


class SqliteStore:
    """Keeps jobs, history and the log of events in a file.

    :param most_events: how many events the log holds.
    :param most_event_bytes: how many bytes of them; whichever bound is reached first counts.
    :param busy_seconds: how long another program that holds the file is waited for.
    """

    is_durable = True

    def __init__(self, path: Path, *, keep: KeepRule | None = None, most_events: int = MOST_EVENTS,
                 most_event_bytes: int = MOST_EVENT_BYTES, clock: Clock | None = None,
                 migrations: Path = MIGRATIONS, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._keep = keep or KeepRule()
        self._most_events = most_events
        self._most_event_bytes = most_event_bytes
        self._clock = clock or SystemClock()
        self._migrations = migrations
        self._busy_seconds = busy_seconds
        self._open = OpenJobs()
        self._ending: dict[int, HistoryEntry] = {}
        """Jobs whose end is not written yet, by the sequence of the event that ended them."""
        self._lane = ThreadLane("store-reader", READERS)
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._pruned_at = -1e9
        self._is_closed = False
        self.outbox: Outbox = SqliteOutbox(self._read, lambda change: self._writer.put_and_wait(change))
        self._leaving: list[DeleteHistory] = []
        """What is being deleted."""
        self._judged: PromptId | None = None

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self, loop: asyncio.AbstractEventLoop) -> Leftovers:
        db, leftovers = await self._lane.call(self._open_now)
        self._writer = SqliteWriter(db, loop, self._let_go, self._prune_now_and_then, self._busy_seconds)
        for left in leftovers.unfinished:
            self._open.expect(left.job.entry)
        return leftovers

    def _open_now(self) -> tuple[sqlite3.Connection, Leftovers]:
        path = self._path
        db = open_file(path, self._migrations, self._busy_seconds)
        try:
            leftovers = _leftovers_in(db)
        except (sqlite3.DatabaseError, msgspec.MsgspecError, ValueError) as error:
            raise StoreUnusable(damaged(path, str(error))) from None
        finally:
            db.close()
        return _writing(path), leftovers

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self._writer.close()
        self._lane.close()

    def _let_go(self, db: sqlite3.Connection) -> None:
        """On the writer's thread. Who writes goes last, since it leaves the file alone in its folder."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                break
        close_file(db)

    def _prune_now_and_then(self, db: sqlite3.Connection) -> None:
        now = self._clock.monotonic()
        if now - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = now
            self.prune_on(db)

    def prune_on(self, db: sqlite3.Connection) -> None:
        """Drop what is not kept any more."""
        age = self._keep.max_age_ms
        prune(db, None if age is None else self._clock.now_ms() - age, self._keep.max_bytes, self._most_events,
              self._most_event_bytes)

    # -- writing ----------------------------------------------------------------------------------------------------

    async def add(self, job: NewJob) -> None:
        change = AddJob(job)
        await self._writer.put_and_wait(change, ADD_SECONDS)
        job.entry.run = change.run
        self._open.expect(job.entry)

    async def note_judging(self, prompt_id: PromptId | None) -> None:
        before, self._judged = self._judged, prompt_id
        await self._writer.put_and_wait(NoteJudging(prompt_id, before))

    def take(self, event: Event) -> None:
        entry = self._open.take(event)
        if entry is not None:
            self._ending[event.sequence] = entry

    def write(self, events: Sequence[Event], written: Callable[[StoreUnavailable | None], None]) -> None:
        owners: dict[PromptId, ClientId | None] = {}
        ended: dict[int, HistoryEntry] = {}
        for event in events:
            prompt_id: PromptId | None = getattr(event, "prompt_id", None)
            if prompt_id is not None and prompt_id not in owners:
                owners[prompt_id] = self._open.client_of(prompt_id)
            if event.sequence in self._ending:
                ended[event.sequence] = self._ending[event.sequence]

        def answer(trouble: StoreUnavailable | None) -> None:
            if trouble is None or isinstance(trouble, StoreRefused):  # then nobody tries again
                for sequence, entry in ended.items():
                    self._ending.pop(sequence, None)
                    self._open.forget(entry.prompt_id)
                    self.outbox.made += is_owed(entry)
            written(trouble)

        self._writer.put(WriteEvents(events, owners, ended), answer)

    def delete(self, prompt_ids: Sequence[PromptId]) -> "asyncio.Future[None]":
        return self._delete(DeleteHistory(list(prompt_ids)))

    def clear(self) -> "asyncio.Future[None]":
        return self._delete(DeleteHistory(None))

    def _delete(self, change: DeleteHistory) -> "asyncio.Future[None]":
        self._leaving.append(change)
        future = asyncio.ensure_future(self._writer.put_and_wait(change))

        def done(_: "asyncio.Future[None]") -> None:
            self._leaving.remove(change)
            if not future.cancelled():
                future.exception()  # nobody may be waiting for it

        future.add_done_callback(done)
        return future

    # -- reading ----------------------------------------------------------------------------------------------------

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        return await self._lane.call(lambda: self._read_now(function))

    def _read_now(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """On any thread that may wait.

        :raises StoreUnavailable: the file cannot be read.
        """
        try:
            db = self._reader()
            try:
                answer = function(db)
            except BaseException:
                db.close()
                raise
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the database cannot be read ({error})") from error
        if self._is_closed:
            db.close()
        else:
            self._idle.put(db)
        return answer

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._idle.get_nowait()
        except Empty:
            return sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None,
                                   timeout=self._busy_seconds, check_same_thread=False)

    async def get(self, prompt_id: PromptId) -> HistoryEntry | None:
        return next(iter(await self._read(lambda db: history_of(db, prompt_id))), None)

    async def runs(self, prompt_id: PromptId) -> Sequence[HistoryEntry]:
        return await self._read(lambda db: history_of(db, prompt_id)[::-1])

    async def entries(self, limit: int | None = None, offset: int | None = None) -> Sequence[HistoryEntry]:
        return await self._read(lambda db: history_page(db, limit, offset))

    def history_now(self, prompt_id: PromptId | None = None) -> Sequence[HistoryEntry]:
        leaving = list(self._leaving)  # whoever cannot await deleting cannot wait for it either
        if prompt_id is not None:
            found = self._read_now(lambda db: history_of(db, prompt_id)[:1])
        else:
            found = self._read_now(lambda db: history_page(db, None, None))
        return [entry for entry in found if not any(one.concerns(entry.prompt_id) for one in leaving)]

    async def job(self, prompt_id: PromptId) -> HistoryEntry | None:
        entry = self._open.get(prompt_id)
        if entry is None:
            rows = await self._read(lambda db: _rows(db, "WHERE prompt_id = ? AND is_newest", prompt_id))
            return entry_of(rows[0]) if rows else None
        if entry.outcome is not None:  # that is not on record yet
            entry.outcome, entry.ended_at = None, 0
        return entry

    async def job_to_repeat(self, prompt_id: PromptId) -> NewJob | None:
        rows = await self._read(lambda db: _rows(db, "WHERE prompt_id = ? AND is_newest", prompt_id))
        return new_job_of(rows[0]) if rows else None

    async def job_of_key(self, key: str) -> NewJob | None:
        rows = await self._read(lambda db: _rows(db, "WHERE idempotency_key = ?", key))
        return new_job_of(rows[0]) if rows else None

    async def find_jobs(self, query: JobQuery) -> JobPage:
        return JobPage(*await self.map_jobs(query, lambda entry: entry))

    async def map_jobs(self, query: JobQuery, function: Callable[[HistoryEntry], T]) -> tuple[Sequence[T], int]:
        running: dict[int, HistoryEntry] = {}
        """By their places: the rows of jobs that run do not say what they have shown so far."""
        place = count()

        def made_of(entry: HistoryEntry) -> T | None:
            here = next(place)
            if entry.started_at and entry.outcome is None:
                running[here] = entry
                return None
            return function(entry)

        found, total = await self._read(lambda db: find(db, query, made_of))
        made: list[Any] = found
        if running:
            entries = [self._as_it_is(entry) for entry in running.values()]
            for here, one in zip(running, await asyncio.to_thread(lambda: list(map(function, entries))), strict=True):
                made[here] = one
        return made, total

    def _as_it_is(self, entry: HistoryEntry) -> HistoryEntry:
        known = self._open.get(entry.prompt_id)
        if known is None or known.outcome is not None or known.run != entry.run:
            return entry
        known.started_at = entry.started_at  # both from one moment, or the list would not fit its filter
        return known

    async def events_since(self, sequence: int, limit: int,
                           prompt_id: PromptId | None = None) -> Sequence[LoggedEvent]:
        return await self._read(lambda db: _events(db, sequence, limit, prompt_id))

    async def oldest_event(self) -> int:
        return await self._read(lambda db: int(_fact(db, "oldest_event")))


def _writing(path: Path) -> sqlite3.Connection:
    """The connection of the writer's thread, which is another one than that which opens it."""
    writer = sqlite3.connect(path, timeout=ONE_TRY, isolation_level=None, check_same_thread=False)
    writer.execute("PRAGMA synchronous = FULL")
    writer.execute("PRAGMA wal_autocheckpoint = 8000")  # pages: 32 MB, most of which are written over many times
    writer.execute("PRAGMA foreign_keys = ON")
    return writer


# -- on threads of readers ------------------------------------------------------------------------------------------


def _rows(db: sqlite3.Connection, rest: str, *values: Any) -> list[tuple[Any, ...]]:
    return db.execute(f"SELECT {COLUMNS} FROM jobs {rest}", values).fetchall()


def _fact(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else int(row[0])


def _events(db: sqlite3.Connection, sequence: int, limit: int, prompt_id: PromptId | None) -> list[LoggedEvent]:
    only, values = ("AND prompt_id = ? ", [prompt_id]) if prompt_id is not None else ("", [])
    found = db.execute("SELECT sequence, at, client_id, kind, body FROM events WHERE sequence > ? "
                       f"{only}ORDER BY sequence LIMIT ?",
                       [min(sequence, _LARGEST), *values, min(limit, _LARGEST)]).fetchall()
    return [LoggedEvent(client_id=None if client_id is None else ClientId(client_id), event=decode_event(kind, body))
            for _, _, client_id, kind, body in found]


# -- when it is opened ------------------------------------------------------------------------------------------------


def _leftovers_in(db: sqlite3.Connection) -> Leftovers:
    # A start that was told comes in its place; of those that were not, nobody knows in which order they were.
    running = _rows(db, "WHERE rank = ? ORDER BY was_started DESC, iif(was_started, position, number), key", RUNNING)
    pending = _rows(db, "WHERE rank = ? ORDER BY number, key", PENDING)
    told = {prompt_id for prompt_id, in db.execute("SELECT prompt_id FROM jobs WHERE rank < 2 AND was_started")}
    unfinished = [_unfinished(db, row, row[0] in told) for row in (*running, *pending)]
    by_id = {left.job.entry.prompt_id: left for left in unfinished}
    for prompt_id, judgings, was_started in db.execute(
            "SELECT prompt_id, judgings, was_started FROM jobs WHERE rank < 2"):
        left = by_id[prompt_id]
        left.judgings, left.was_started = judgings, bool(was_started)
    return Leftovers(
        unfinished=unfinished,
        next_number=_fact(db, "next_number"), last_sequence=_fact(db, "last_sequence"))


def _unfinished(db: sqlite3.Connection, row: tuple[Any, ...], was_started: bool) -> UnfinishedJob:
    """:param was_started: it is in the log that this run of it was started; else what is there is of older runs."""
    job = new_job_of(row)
    if not job.entry.attempt or not was_started:
        return UnfinishedJob(job=job, is_cancelled=job.entry.is_cancelled)
    prompt_id = job.entry.prompt_id
    (start,) = db.execute("SELECT coalesce(max(sequence), 0) FROM events WHERE prompt_id = ? "
                          "AND kind = 'PromptStarted'", (prompt_id,)).fetchone()
    open_nodes: dict[NodeId, None] = {}
    for logged in _events(db, start, -1, prompt_id):
        event = logged.event
        if isinstance(event, NodeStarted):
            open_nodes[event.place.node_id] = None
        elif isinstance(event, (NodeFinished, NodeFailed, NodeShown)):  # the last goes on as a subgraph
            open_nodes.pop(event.place.node_id, None)
    return UnfinishedJob(job=job, open_nodes=list(open_nodes), is_cancelled=job.entry.is_cancelled)

