"""What is written: each change is one step within a transaction. Runs on the writer's thread."""

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ..events import (
    CancelAccepted,
    Event,
    PromptDropped,
    PromptFinished,
    PromptMoved,
    PromptQueued,
    PromptRequeued,
    PromptStarted,
    StartPutOff,
)
from ..identifiers import ClientId, PromptId
from .event_codec import KINDS_LOGGED, encode_event
from .job_rows import ENDED, PENDING, RUNNING, bare_end_of, ending_of, insertion_of
from .job_store import HistoryEntry, JobState, NewJob
from .sqlite_outbox import drop_jobs, put_into_outbox
from .sqlite_writer import Facts

log = logging.getLogger("studio.store")

_LARGEST_NUMBER = 2**53
_OPEN = "prompt_id = :prompt_id AND rank < 2"
_OF_JOBS = frozenset({PromptQueued, PromptStarted, PromptRequeued, StartPutOff, CancelAccepted, PromptMoved,
                      PromptFinished, PromptDropped})
"""Events that change the row of their job. Of all others there are many more, so they are told apart first."""
_INSERTIONS = {count: f"INSERT INTO events VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * count)}"
               for count in (256, 128, 64, 32, 16, 8, 4, 2, 1)}
"""By the number of events."""


class AddJob:
    """A job that was accepted."""

    has_events = False
    is_light = False

    def __init__(self, job: NewJob) -> None:
        self._job = job
        self.run = 1
        """Known once it was applied."""

    def apply(self, db: sqlite3.Connection, facts: Facts) -> None:
        prompt_id = self._job.entry.prompt_id
        self.run = 1
        if not self._job.is_first_run:
            (last,) = db.execute("SELECT max(run) FROM jobs WHERE prompt_id = ?", (prompt_id,)).fetchone()
            if last is not None:
                db.execute("UPDATE jobs SET is_newest = 0 WHERE prompt_id = ? AND is_newest", (prompt_id,))
            self.run = (last or 0) + 1
        values = insertion_of(self._job, self.run)
        db.execute(_insertion(tuple(values)), values)
        number = self._job.entry.number
        if isinstance(number, int) and abs(number) < _LARGEST_NUMBER:
            facts.note("next_number", abs(number) + 1)

    apply_alone = apply


@cache
def _insertion(names: tuple[str, ...]) -> str:
    return f"INSERT INTO jobs ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"


class WriteEvents:
    """What happened: for the log, and in the rows of the jobs.

    :param owners: the clients of the prompts.
    :param entries: by the sequence of the event that ended it, what is known of a job.
    """

    has_events = True
    is_light = False

    def __init__(self, events: Sequence[Event], owners: Mapping[PromptId, ClientId | None],
                 entries: Mapping[int, HistoryEntry]) -> None:
        self._events = events
        self._owners = owners
        self._entries = entries

    def apply(self, db: sqlite3.Connection, facts: Facts) -> None:
        self._apply(db, facts, self._events)

    def apply_alone(self, db: sqlite3.Connection, facts: Facts) -> None:
        for event in self._events:
            self._apply_event(db, facts, event)

    def _apply_event(self, db: sqlite3.Connection, facts: Facts, event: Event) -> None:
        """Something of a batch cannot be written, now or later. The rest of it is, and of an end at least that it is
        one: a prompt that stays open would run again."""
        db.execute("SAVEPOINT event")
        try:
            self._apply(db, facts, [event])
        except sqlite3.OperationalError:
            raise
        except Exception as error:
            log.exception("event %d, %s, is told and not kept", event.sequence, type(event).__name__)
            db.execute("ROLLBACK TO event")
            if event.sequence in self._entries:
                self._end_job(db, self._entries[event.sequence].prompt_id, event, error)
        db.execute("RELEASE event")

    def _apply(self, db: sqlite3.Connection, facts: Facts, events: Sequence[Event]) -> None:
        rows: list[tuple[Any, ...]] = []
        size, owners = 0, self._owners
        ended = {self._entries[event.sequence].prompt_id for event in events if event.sequence in self._entries}
        for event in events:
            kind = event.__class__
            prompt_id: PromptId | None = getattr(event, "prompt_id", None)
            if (name := KINDS_LOGGED.get(kind)) is not None:
                owner = None if prompt_id is None else owners.get(prompt_id)
                body = encode_event(event)
                size += len(body)
                rows.append((event.sequence, event.at, prompt_id, owner, name, body))
            if kind in _OF_JOBS and prompt_id is not None and not (kind is PromptStarted and prompt_id in ended):
                self._change_job(db, prompt_id, event)
        _insert_events(db, rows)
        facts.note("event_bytes", size)
        facts.note("last_sequence", events[-1].sequence)

    def _change_job(self, db: sqlite3.Connection, prompt_id: PromptId, event: Event) -> None:
        values: dict[str, Any] = {"prompt_id": prompt_id, "at": event.at, "sequence": event.sequence}
        match event:
            case PromptStarted():
                db.execute("UPDATE jobs SET state = :state, rank = :rank, position = :sequence, started_at = :at, "
                           f"attempt = attempt + :more, was_started = 1 WHERE {_OPEN}",
                           {**values, "state": JobState.IN_PROGRESS.value, "rank": RUNNING,
                            "more": 0 if event.is_on_record else 1})
            case PromptQueued() if event.is_restored:
                db.execute("UPDATE jobs SET state = :state, rank = :rank, position = number, started_at = 0 "
                           f"WHERE {_OPEN}", {**values, "state": JobState.PENDING.value, "rank": PENDING})
            case PromptRequeued() | StartPutOff():
                db.execute("UPDATE jobs SET state = :state, rank = :rank, position = number, started_at = 0, "
                           f"attempt = attempt - 1 WHERE {_OPEN}",
                           {**values, "state": JobState.PENDING.value, "rank": PENDING})
            case CancelAccepted():
                db.execute(f"UPDATE jobs SET is_cancelled = 1 WHERE {_OPEN}", values)
            case PromptMoved():
                db.execute(f"UPDATE jobs SET number = :number, position = :number WHERE {_OPEN}",
                           {**values, "number": event.number})
            case PromptFinished() | PromptDropped():
                self._end_job(db, prompt_id, event)

    def _end_job(self, db: sqlite3.Connection, prompt_id: PromptId, event: Event,
                 trouble: Exception | None = None) -> None:
        """:param trouble: what was in the way of writing all of it; then as little as can be is written."""
        entry = self._entries.get(event.sequence)
        key = None
        if entry is not None and (trouble is not None or entry.end_notice is not None):
            row = db.execute(f"SELECT submitted, key FROM jobs WHERE {_OPEN}", {"prompt_id": prompt_id}).fetchone()
            if row is not None:
                key = row[1]
                entry = entry if trouble is None else bare_end_of(entry, row[0], trouble)
        changed = 0 if entry is None else db.execute(
            "UPDATE jobs SET state = :state, rank = :rank, position = :position, outcome = :outcome, "
            "has_history = :has_history, duration = :duration, started_at = :started_at, ended_at = :ended_at, "
            "attempt = :attempt, details = :details, "
            "prompt = CASE submitted WHEN :prompt THEN NULL ELSE :prompt END, "
            "bytes = bytes + length(:details) + CASE submitted WHEN :prompt THEN 0 ELSE length(:prompt) END "
            f"WHERE {_OPEN}", {**ending_of(entry, event.sequence), "prompt_id": prompt_id}).rowcount
        if not changed:
            log.error("prompt %s ended (%s), but no job of that id is open: it is not recorded twice", prompt_id,
                      type(event).__name__)
        elif entry is not None and key is not None:
            put_into_outbox(db, key, entry)


def _insert_events(db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    first = 0
    for count, insertion in _INSERTIONS.items():
        while len(rows) - first >= count:
            some = rows[first:first + count]
            first += count
            db.execute(insertion, [one for row in some for one in row])


class NoteJudging:
    """Which job is judged from now on, and which one is past it."""

    has_events = False
    is_light = True

    def __init__(self, now: PromptId | None, before: PromptId | None) -> None:
        self._now = now
        self._before = before

    def apply(self, db: sqlite3.Connection, facts: Facts) -> None:
        for prompt_id, judgings in ((self._before, "0"), (self._now, "judgings + 1")):
            if prompt_id is not None:
                db.execute(f"UPDATE jobs SET judgings = {judgings} WHERE {_OPEN}", {"prompt_id": prompt_id})

    apply_alone = apply


class DeleteHistory:
    """Forget jobs that have ended: these, or all."""

    has_events = False
    is_light = False

    def __init__(self, prompt_ids: Sequence[PromptId] | None) -> None:
        self._prompt_ids = prompt_ids

    def concerns(self, prompt_id: PromptId) -> bool:
        return self._prompt_ids is None or prompt_id in self._prompt_ids

    def apply(self, db: sqlite3.Connection, facts: Facts) -> None:
        if self._prompt_ids is None:
            drop_jobs(db)
            return
        for prompt_id in self._prompt_ids:
            drop_jobs(db, "prompt_id = ?", (prompt_id,))

    apply_alone = apply


def prune(db: sqlite3.Connection, ended_before: int | None, most_bytes: int | None, most_events: int,
          most_event_bytes: int) -> None:
    """Drop what is older, and the oldest of what is more, than is kept. Open jobs stay."""
    facts = Facts()
    db.execute("BEGIN IMMEDIATE")
    try:
        last = _last_to_drop(db, ended_before, most_bytes)
        if last is not None:
            drop_jobs(db, "position <= ?", (last,))
        _drop_events(db, facts, most_events, most_event_bytes)
        facts.write(db)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("PRAGMA incremental_vacuum(1000)")


def _drop_events(db: sqlite3.Connection, facts: Facts, most_events: int, most_bytes: int) -> None:
    """The oldest go first. What goes is measured, and what stays is not looked at: its bytes are counted on."""
    (last,) = db.execute("SELECT max(sequence) FROM (SELECT sequence FROM events ORDER BY sequence DESC "
                         "LIMIT 1 OFFSET ?)", (most_events,)).fetchone()
    row = db.execute("SELECT value FROM facts WHERE name = 'event_bytes'").fetchone()
    surplus = (0 if row is None else int(row[0])) - most_bytes
    gone = 0
    for sequence, size in db.execute("SELECT sequence, length(body) FROM events ORDER BY sequence"):
        if gone >= surplus and (last is None or sequence > last):
            break
        last, gone = max(sequence, last or 0), gone + size
    if last is not None:
        db.execute("DELETE FROM events WHERE sequence <= ?", (last,))
        facts.note("event_bytes", -gone)
        facts.note("oldest_event", last + 1)


def _last_to_drop(db: sqlite3.Connection, ended_before: int | None, most_bytes: int | None) -> int | None:
    """The position of the youngest job that is not kept, if there is one. The first to have ended are dropped first."""
    surplus = -1
    if most_bytes is not None:
        (total,) = db.execute(f"SELECT coalesce(sum(bytes), 0) FROM jobs WHERE rank = {ENDED}").fetchone()
        surplus = total - most_bytes
    last = None
    for position, ended_at, size in db.execute(
            f"SELECT position, ended_at, bytes FROM jobs WHERE rank = {ENDED} ORDER BY position"):
        if surplus <= 0 and (ended_before is None or ended_at >= ended_before):
            break
        last, surplus = position, surplus - size
    return last
