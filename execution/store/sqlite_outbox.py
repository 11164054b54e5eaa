"""The outbox in the database: what is owed, read by threads of readers and written by the writer's."""

import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from ..identifiers import PromptId
from .event_codec import decode
from .job_rows import COLUMNS, ENDED, OWED, entry_of
from .job_store import HistoryEntry
from .outbox import Delivery, DeliveryState, EndNotice, is_owed
from .sqlite_writer import Change, Facts

T = TypeVar("T")

_DELIVERY = ("deliveries.id, prompt_id, run, notice, deliveries.receiver, made_at, next_try_at, deliveries.state, "
             "tries, last_error")
# Receivers are stepped through by the index: what it costs does not grow with what is owed to one of them.
_FIRST_OF_EACH = """
WITH RECURSIVE receivers (name) AS (
    SELECT min(receiver) FROM deliveries WHERE state = 'pending'
    UNION ALL
    SELECT (SELECT min(receiver) FROM deliveries WHERE state = 'pending' AND receiver > name)
    FROM receivers WHERE name IS NOT NULL)
SELECT {columns} FROM receivers
JOIN deliveries ON deliveries.rowid = (
    SELECT rowid FROM deliveries WHERE state = 'pending' AND receiver = name AND id NOT IN ({under_way})
    ORDER BY next_try_at LIMIT 1)
JOIN jobs ON jobs.key = deliveries.job
WHERE name NOT IN ({busy}) ORDER BY next_try_at LIMIT ?
"""


class Read(Protocol):
    """Has a function called with a connection, on a thread of a reader."""

    def __call__(self, function: Callable[[sqlite3.Connection], T]) -> Awaitable[T]: ...


class SqliteOutbox:
    """:param write: returns when a change is written, or raises StoreUnavailable."""

    def __init__(self, read: Read, write: Callable[[Change], Awaitable[None]]) -> None:
        self.made = 0
        self._read = read
        self._write = write

    async def next_deliveries(self, limit: int, busy_receivers: Collection[str],
                              under_way: Collection[str]) -> Sequence[Delivery]:
        busy, started = list(busy_receivers), list(under_way)
        query = _FIRST_OF_EACH.format(columns=_DELIVERY, under_way=_marks(started), busy=_marks(busy))
        return await self._read(
            lambda db: [_delivery_of(row) for row in db.execute(query, [*started, *busy, limit]).fetchall()])

    async def job_of(self, delivery_id: str) -> HistoryEntry | None:
        query = f"SELECT {COLUMNS} FROM jobs WHERE key = (SELECT job FROM deliveries WHERE id = ?)"
        row = await self._read(lambda db: db.execute(query, (delivery_id,)).fetchone())
        return None if row is None else entry_of(row)

    async def delivery_of(self, prompt_id: PromptId, run: int) -> Delivery | None:
        query = (f"SELECT {_DELIVERY} FROM jobs JOIN deliveries ON deliveries.job = jobs.key "
                 "WHERE prompt_id = ? AND run = ? AND rank = ?")
        row = await self._read(lambda db: db.execute(query, (prompt_id, run, ENDED)).fetchone())
        return None if row is None else _delivery_of(row)

    async def note(self, delivery: Delivery) -> None:
        await self._write(NoteDelivery(delivery))


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _delivery_of(row: tuple[Any, ...]) -> Delivery:
    delivery_id, prompt_id, run, notice, receiver, made_at, next_try_at, state, tries, last_error = row
    return Delivery(id=delivery_id, prompt_id=PromptId(prompt_id), run=run, receiver=receiver, made_at=made_at,
                    address=decode(notice, EndNotice).address, next_try_at=next_try_at, state=DeliveryState(state),
                    tries=tries, last_error=last_error)


# -- on the writer's thread, within a transaction -------------------------------------------------------------------


def put_into_outbox(db: sqlite3.Connection, job: int, entry: HistoryEntry) -> None:
    """What is owed for the end of a job, in the transaction that records the end.

    :param job: the key of its row.
    """
    if entry.end_notice is not None and is_owed(entry):
        db.execute("INSERT INTO deliveries (id, job, receiver, state, made_at, next_try_at) VALUES (?, ?, ?, ?, ?, ?)",
                   (str(uuid.uuid4()), job, entry.end_notice.receiver, DeliveryState.PENDING.value, entry.ended_at,
                    entry.ended_at))


def drop_jobs(db: sqlite3.Connection, condition: str = "1", values: Sequence[Any] = ()) -> None:
    """Delete jobs that have ended. One that somebody has yet to be told of is only shown no more; it goes when that is
    over."""
    ended = f"rank = {ENDED} AND ({condition})"  # spelled out, as the conditions of indexes are
    db.execute(f"UPDATE jobs SET rank = {OWED}, is_newest = 0, has_history = 0, idempotency_key = NULL WHERE {ended} "
               "AND EXISTS (SELECT 1 FROM deliveries WHERE job = jobs.key AND deliveries.state = 'pending')", values)
    db.execute(f"DELETE FROM jobs WHERE {ended}", values)


class NoteDelivery:
    """How a try went."""

    has_events = False
    is_light = False

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def apply(self, db: sqlite3.Connection, facts: Facts) -> None:
        known = self._delivery
        db.execute("UPDATE deliveries SET state = ?, tries = ?, next_try_at = ?, last_error = ? WHERE id = ?",
                   (known.state.value, known.tries, known.next_try_at, known.last_error, known.id))
        if known.state is not DeliveryState.PENDING:  # with it goes the row of the delivery
            db.execute("DELETE FROM jobs WHERE rank = ? AND key = (SELECT job FROM deliveries WHERE id = ?)",
                       (OWED, known.id))

    apply_alone = apply
