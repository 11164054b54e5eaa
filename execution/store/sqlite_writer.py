"""The one thread that writes. All changes that wait when it is free go into one transaction, and are answered after its
commit: many that come together cost one wait for the disk.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from ..failpoints import reach
from ..node_lanes import LoopMailbox
from .job_store import StoreRefused, StoreUnavailable
from .sqlite_file import BUSY_SECONDS, FileHeld, trouble_of

log = logging.getLogger("studio.store")


_KEEP = ("INSERT INTO facts VALUES {rows} ON CONFLICT DO UPDATE SET value = CASE excluded.name "
         "WHEN 'event_bytes' THEN value + excluded.value ELSE max(value, excluded.value) END")


class Facts:
    """Numbers that are kept beside the rows, written once for all changes of a transaction. One of bytes is added to
    what was there; of any other the largest stays."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}

    def note(self, name: str, value: int) -> None:
        before = self._values.get(name)
        if before is not None:
            value = before + value if name == "event_bytes" else max(before, value)
        self._values[name] = value

    def write(self, db: sqlite3.Connection) -> None:
        if self._values:
            db.execute(_KEEP.format(rows=", ".join(["(?, ?)"] * len(self._values))),
                       [one for fact in self._values.items() for one in fact])


class Change(Protocol):
    """Something to be written, in as few statements as can be: the interpreter is let go of for each, and while nodes
    run it takes up to a switch interval to get it back."""

    has_events: bool
    is_light: bool
    """It need not outlive a loss of power, only the process: its commit does not wait for the disk."""

    def apply(self, db: sqlite3.Connection, facts: Facts) -> None:
        """On the thread, within a transaction; again in another one if that could not be committed."""
        ...

    def apply_alone(self, db: sqlite3.Connection, facts: Facts) -> None:
        """The same where that has failed with some other error than the database's. What of it can be written is."""
        ...


Answer = Callable[[StoreUnavailable | None], None]
"""Called on the loop, once the change is written or it is known that it is not."""

GATHER = 0.001
"""Seconds that a change waits for others while many come: a transaction costs more than a change."""
CROWD = 1.5
"""Changes that come beside another one, on the average of the last few times, from which they are waited for."""
PAUSE = 0.05
"""Seconds between two tries to write while another program holds the file."""


class _Waiting(NamedTuple):
    change: Change
    answer: Answer
    until: float
    """When it is given up, if the file is held by another program until then."""


class SqliteWriter:
    """Takes changes on the loop.

    :param db: used on the thread alone, and closed there by `finish`.
    :param aside: called on the thread when it has nothing to write, within no transaction.
    """

    def __init__(self, db: sqlite3.Connection, loop: asyncio.AbstractEventLoop,
                 finish: Callable[[sqlite3.Connection], None], aside: Callable[[sqlite3.Connection], None],
                 patience: float = BUSY_SECONDS) -> None:
        self._db = db
        self._loop = loop
        self._mailbox = LoopMailbox(loop, copy_context())
        self._finish = finish
        self._aside = aside
        self._patience = patience
        self._changes: SimpleQueue[_Waiting | None] = SimpleQueue()
        self.commits = 0
        self._is_closed = False
        self._is_over = False
        """No change comes after those that were taken."""
        self._crowd = 0.0
        self._thread = threading.Thread(target=self._work, name="studio-store-writer", daemon=True)
        self._thread.start()

    def put(self, change: Change, answer: Answer, patience: float | None = None) -> None:
        """:param patience: seconds that another program which holds the file is waited for."""
        if self._is_closed:
            self._loop.call_soon(answer, StoreUnavailable("the store is closed"))
        else:
            patience = self._patience if patience is None else min(patience, self._patience)
            self._changes.put(_Waiting(change, answer, time.monotonic() + patience))

    async def put_and_wait(self, change: Change, patience: float | None = None) -> None:
        """:raises StoreUnavailable: it is not written, nor will it be."""
        future: asyncio.Future[None] = self._loop.create_future()
        self.put(change, lambda trouble: _settle(future, trouble), patience)
        await future

    async def close(self) -> None:
        """Write what is there, and end."""
        self._is_closed = True
        self._changes.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        group: list[_Waiting] = []
        while True:
            self._take(group)
            if not group:
                break
            group = self._write(group)
            if not group and self._changes.empty():
                try:
                    self._aside(self._db)
                except sqlite3.OperationalError as error:
                    log.warning("old entries of the store could not be dropped: %s", trouble_of(error))
                except Exception:  # its thread must not end: every change would wait for ever
                    log.warning("old entries of the store could not be dropped", exc_info=True)
        self._finish(self._db)

    def _take(self, group: list[_Waiting]) -> None:
        """All changes that are there, in the end none. Waits for one, or a moment if some are to be tried again."""
        if self._is_over and not group:
            return
        try:
            one = self._changes.get(timeout=PAUSE if group else None)
            if one is not None and CROWD <= self._crowd > self._changes.qsize():
                time.sleep(GATHER)
            while one is not None:
                group.append(one)
                one = self._changes.get_nowait()
            self._is_over = True
        except Empty:
            pass
        self._crowd += (len(group) - 1 - self._crowd) / 8

    def _write(self, group: Sequence[_Waiting]) -> list[_Waiting]:
        """Write changes and answer them. Returns those that have to wait for another program, and still may."""
        now = time.monotonic()
        again, answers = [], []
        for one, trouble in zip(group, self._try([one.change for one in group]), strict=True):
            if isinstance(trouble, FileHeld) and now < one.until:
                again.append(one)
            else:
                answers.append((one.answer, trouble))
        self._mailbox.post(_tell, answers)  # all in one turn of the loop: none is a start ahead of the others
        return again

    def _try(self, changes: Sequence[Change], is_alone: bool = False) -> list[StoreUnavailable | None]:
        """What is in the way of each change, or None."""
        try:
            self._commit(changes, is_alone)
        except sqlite3.OperationalError as error:
            return [trouble_of(error)] * len(changes)
        except Exception as error:
            if len(changes) > 1:  # one of them cannot be written as it is: the others need not suffer for it
                return self._try_each(changes)
            if not is_alone:
                return self._try(changes, is_alone=True)
            log.exception("a change cannot be written to the store")
            return [StoreRefused(f"the store refuses it: {error}")]
        return [None] * len(changes)

    def _try_each(self, changes: Sequence[Change]) -> list[StoreUnavailable | None]:
        """In their order: none overtakes one that has to wait."""
        troubles: list[StoreUnavailable | None] = []
        for change in changes:
            held = troubles[-1] if troubles and isinstance(troubles[-1], FileHeld) else None
            troubles += [held] if held is not None else self._try([change])
        return troubles

    def _commit(self, changes: Sequence[Change], is_alone: bool) -> None:
        if not all(change.is_light for change in changes):
            self._commit_now(changes, is_alone)
            return
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            self._commit_now(changes, is_alone)
        finally:
            self._db.execute("PRAGMA synchronous = FULL")

    def _commit_now(self, changes: Sequence[Change], is_alone: bool) -> None:
        db, facts = self._db, Facts()
        db.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                if is_alone:
                    change.apply_alone(db, facts)
                else:
                    change.apply(db, facts)
            facts.write(db)
            if any(change.has_events for change in changes):
                reach("before-commit")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self.commits += 1
        if any(change.has_events for change in changes):
            reach("after-commit")


def _tell(answers: Sequence[tuple[Answer, StoreUnavailable | None]]) -> None:
    for answer, trouble in answers:
        try:
            answer(trouble)
        except Exception:
            log.exception("an answer of the store was not taken")


def _settle(future: "asyncio.Future[None]", trouble: StoreUnavailable | None) -> None:
    if future.done():
        return
    if trouble is None:
        future.set_result(None)
    else:
        future.set_exception(trouble)
