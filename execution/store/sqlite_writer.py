"""The one thread that writes. All changes that wait when it is free go into one transaction, and are answered after its
commit: many that come together cost one wait for the disk.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from ..failpoints import reach
from .job_store import StoreRefused, StoreUnavailable
from .sqlite_file import trouble_of

log = logging.getLogger("studio.store")


class Change(Protocol):
    """Something to be written."""

    has_events: bool
    is_light: bool
    """It need not outlive a loss of power, only the process: its commit does not wait for the disk."""

    def apply(self, db: sqlite3.Connection) -> None:
        """On the thread, within a transaction; again in another one if that could not be committed."""
        ...


Answer = Callable[[StoreUnavailable | None], None]
"""Called on the loop, once the change is written or it is known that it is not."""


class SqliteWriter:
    """Takes changes on the loop.

    :param db: used on the thread alone, and closed there by `finish`.
    :param aside: called on the thread when it has nothing to write, within no transaction.
    """

    def __init__(self, db: sqlite3.Connection, loop: asyncio.AbstractEventLoop,
                 finish: Callable[[sqlite3.Connection], None], aside: Callable[[sqlite3.Connection], None]) -> None:
        self._db = db
        self._loop = loop
        self._finish = finish
        self._aside = aside
        self._changes: SimpleQueue[tuple[Change, Answer] | None] = SimpleQueue()
        self.commits = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="studio-store-writer", daemon=True)
        self._thread.start()

    def put(self, change: Change, answer: Answer) -> None:
        if self._is_closed:
            self._loop.call_soon(answer, StoreUnavailable("the store is closed"))
        else:
            self._changes.put((change, answer))

    async def put_and_wait(self, change: Change) -> None:
        """:raises StoreUnavailable: it is not written."""
        future: asyncio.Future[None] = self._loop.create_future()
        self.put(change, lambda trouble: _settle(future, trouble))
        await future

    async def close(self) -> None:
        """Write what is there, and end."""
        self._is_closed = True
        self._changes.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        goes_on = True
        while goes_on:
            group: list[tuple[Change, Answer]] = []
            first = self._changes.get()
            goes_on = first is not None
            if first is not None:
                group.append(first)
                goes_on = self._take_the_rest(group)
                self._answer(group, self._write(group))
            if self._changes.empty():
                try:
                    self._aside(self._db)
                except Exception:  # its thread must not end: every change would wait for ever
                    log.warning("old entries of the store could not be dropped", exc_info=True)
        self._finish(self._db)

    def _take_the_rest(self, group: list[tuple[Change, Answer]]) -> bool:
        """Whether more may come."""
        while True:
            try:
                another = self._changes.get_nowait()
            except Empty:
                return True
            if another is None:
                return False
            group.append(another)

    def _write(self, group: Sequence[tuple[Change, Answer]]) -> list[StoreUnavailable | None]:
        """What is in the way of each change, or None."""
        try:
            self._commit([change for change, _ in group])
        except sqlite3.OperationalError as error:
            return [trouble_of(error)] * len(group)
        except Exception as error:
            if len(group) > 1:  # one of them cannot be written as it is: the others need not suffer for it
                return [trouble for one in group for trouble in self._write([one])]
            log.exception("a change cannot be written to the store")
            return [StoreRefused(f"the store refuses it: {error}")]
        return [None] * len(group)

    def _commit(self, changes: Sequence[Change]) -> None:
        if not all(change.is_light for change in changes):
            self._commit_now(changes)
            return
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            self._commit_now(changes)
        finally:
            self._db.execute("PRAGMA synchronous = FULL")

    def _commit_now(self, changes: Sequence[Change]) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                change.apply(db)
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

    def _answer(self, group: Sequence[tuple[Change, Answer]], troubles: Sequence[StoreUnavailable | None]) -> None:
        answers = [(answer, trouble) for (_, answer), trouble in zip(group, troubles, strict=True)]

        def tell() -> None:
            for answer, trouble in answers:
                try:
                    answer(trouble)
                except Exception:
                    log.exception("an answer of the store was not taken")

        try:
            self._loop.call_soon_threadsafe(tell)
        except RuntimeError:
            pass  # the loop is closed: nobody waits


def _settle(future: "asyncio.Future[None]", trouble: StoreUnavailable | None) -> None:
    if future.done():
        return
    if trouble is None:
        future.set_result(None)
    else:
        future.set_exception(trouble)
