"""The way of an event to its listeners: at once, or behind the record of it.

With a durable store nobody is told what could be forgotten. Events are told in their order, so what needs no record
(progress) waits behind what does. The engine never waits for any of this: it goes on, and only telling is late.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context

from .event_broadcast import REPLACEABLE
from .events import (
    Event,
    NodeFinished,
    NodeSaid,
    NodesCached,
    NodeShown,
    NodeStarted,
    PromptQueued,
    PromptStarted,
    StartPutOff,
)
from .failpoints import reach
from .store import JobStore, StoreRefused, StoreUnavailable

log = logging.getLogger("studio.store")

RETRY_SECONDS = 1.0
PACE = 0.008
"""Seconds that events of nodes may wait for more to be written with them. Sockets are written to every 10 ms, too."""
_CAN_WAIT = frozenset({NodesCached, NodeStarted, NodeFinished, NodeShown, NodeSaid, PromptQueued, StartPutOff})
"""Somebody waits for what the others say: a start, an end, a cancel."""


def _can_wait(event: Event) -> bool:
    return event.__class__ in _CAN_WAIT or (event.__class__ is PromptStarted
                                            and event.is_on_record)


class EventJournal:
    """Writes events in batches, one at a time: what comes meanwhile is the next one.

    :param tell: called with each event, in order, once it is on record.
    """

    def __init__(self, store: JobStore, tell: Callable[[Event], None], loop: asyncio.AbstractEventLoop,
                 context: Context) -> None:
        self._store = store
        self._tell = tell
        self._loop = loop
        self._context = context
        self._untold: deque[Event] = deque()
        self._batch: list[Event] = []
        self._is_due = False
        """A batch is being written, or will be in a moment."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._last = 0
        """Sequence of the newest event that has to be written."""
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._asking: set[asyncio.Future[None]] = set()
        self._trouble: StoreUnavailable | None = None

    @property
    def trouble(self) -> StoreUnavailable | None:
        """What is in the way of writing now."""
        return self._trouble

    def publish(self, event: Event) -> None:
        """Tell an event as soon as it may be told."""
        if self._is_closed:
            self._tell(event)
            return
        self._store.take(event)
        if not self._store.is_durable:
            self._tell(event)
        elif isinstance(event, REPLACEABLE):
            if not self._untold:
                self._tell(event)
            elif self._trouble is None:
                self._untold.append(event)
        else:
            self._untold.append(event)
            self._batch.append(event)
            self._last = event.sequence
            if not _can_wait(event):
                self._write_soon()
            elif self._timer is None and not self._is_due:
                self._timer = self._loop.call_later(PACE, self._write_soon, context=self._context)

    def when_told(self, function: Callable[[], None]) -> None:
        """Have a function called once all that was published so far is told."""
        if self._untold:
            self._waiting.append((self._last, function))
        else:
            function()

    async def told(self) -> None:
        """Wait until all that was published so far is told.

        :raises StoreUnavailable: it cannot be written now.
        """
        if not self._untold:
            return
        if self._trouble is not None:
            raise self._trouble
        await self._future_of_telling()

    async def close(self) -> None:
        """Write and tell what is there, if it can be written at all. What comes afterwards is told, and not kept."""
        while self._untold and self._trouble is None:
            with contextlib.suppress(StoreUnavailable):  # it was logged
                await self._future_of_telling()
        self._is_closed = True

    def _future_of_telling(self) -> "asyncio.Future[None]":
        """Done once all that was published so far is told, or with what is in the way."""
        self._write_soon()
        future: asyncio.Future[None] = self._loop.create_future()
        self._asking.add(future)
        future.add_done_callback(self._asking.discard)
        self.when_told(lambda: None if future.done() else future.set_result(None))
        return future

    # -- batches ----------------------------------------------------------------------------------------------------

    def _write_soon(self) -> None:
        """Two turns from now: a prompt that starts in the next turn is recorded together with its arrival."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._loop.call_soon, self._write, context=self._context)

    def _write(self) -> None:
        if not self._batch:
            self._is_due = False
            return
        batch, self._batch = self._batch, []
        self._store.write(batch, lambda trouble: self._written(batch, trouble))

    def _written(self, batch: list[Event], trouble: StoreUnavailable | None) -> None:
        if isinstance(trouble, StoreRefused):  # trying again would hold up everybody for ever
            log.error("events %d to %d are told and not kept: %s", batch[0].sequence, batch[-1].sequence, trouble)
        elif trouble is not None:
            self._put_off(batch, trouble)
            return
        if self._trouble is not None:
            log.warning("the store can be written to again")
            self._trouble = None
        self._is_due = False
        if not all(map(_can_wait, self._batch)):
            self._is_due = True
            self._write()
        elif self._batch:
            self._timer = self._loop.call_later(PACE, self._write_soon, context=self._context)
        reach("before-telling")
        self._tell_up_to(batch[-1].sequence)

    def _put_off(self, batch: list[Event], trouble: StoreUnavailable) -> None:
        """Nothing of it is written: it is tried again until it is."""
        if self._trouble is None:
            log.error("%s; what happens is told to nobody until it can be kept", trouble)
        self._trouble = trouble
        self._batch = batch + self._batch
        for future in list(self._asking):
            if not future.done():
                future.set_exception(trouble)
        if not self._is_closed:
            self._loop.call_later(RETRY_SECONDS, self._write, context=self._context)

    def _tell_up_to(self, sequence: int) -> None:
        untold, waiting = self._untold, self._waiting
        while untold and (untold[0].sequence <= sequence or isinstance(untold[0], REPLACEABLE)):
            event = untold[0]
            self._tell(event)
            untold.popleft()  # only now: what a listener publishes comes behind it
            while waiting and waiting[0][0] <= event.sequence:
                waiting.popleft()[1]()
