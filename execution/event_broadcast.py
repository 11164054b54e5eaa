"""Bounded fan-out of events. A listener cannot hurt the run, nor another listener."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection

from .events import Event, NodeProgressed, ProgressTabled

log = logging.getLogger("studio.events")

Listener = Callable[[Event], None]

REPLACEABLE = (NodeProgressed, ProgressTabled)


class SubscriberTooSlow(Exception):
    """A subscriber read so slowly that an event that must not be lost did not fit its buffer."""


class Subscription:
    """An async iterator over events from now on. Progress is dropped first when it is read too slowly.

    :raises SubscriberTooSlow: while iterating, once a state event was lost.
    """

    def __init__(self, broadcast: "EventBroadcast", bound: int) -> None:
        self._broadcast = broadcast
        self._bound = bound
        self._buffer: deque[Event] = deque()
        self._is_there = asyncio.Event()
        self._has_lost = False
        self._is_closed = False

    def take(self, event: Event) -> None:
        if self._has_lost:
            return
        if len(self._buffer) >= self._bound:
            if isinstance(event, REPLACEABLE):
                return
            kept = [one for one in self._buffer if not isinstance(one, REPLACEABLE)]
            if len(kept) == len(self._buffer):
                self._has_lost = True
            self._buffer = deque(kept)
        if not self._has_lost:
            self._buffer.append(event)
        self._is_there.set()

    def close(self) -> None:
        self._is_closed = True
        self._broadcast.remove_listener(self.take)
        self._is_there.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._buffer:
            if self._has_lost:
                raise SubscriberTooSlow
            if self._is_closed:
                raise StopAsyncIteration
            self._is_there.clear()
            await self._is_there.wait()
        return self._buffer.popleft()


class EventBroadcast:
    """Hands each event to its listeners, in the order in which they came."""

    def __init__(self) -> None:
        self._listeners: list[tuple[Listener, Collection[type[Event]] | None]] = []
        self._takers: dict[type[Event], list[Listener]] = {}
        """Of each class of events, as far as there were any. A new list for each change: `publish` may be going
        through the old one."""

    def add_listener(self, listener: Listener, kinds: Collection[type[Event]] | None = None) -> None:
        """Have `listener(event)` called, on the loop, for each event. It must not wait; if it raises, it is
        removed and the error is logged.

        :param kinds: classes of the events that it is called for; None for all. Those below them do not count.
        """
        self._listeners.append((listener, kinds))
        self._takers = {}

    def remove_listener(self, listener: Listener) -> None:
        self._listeners = [one for one in self._listeners if one[0] != listener]
        self._takers = {}

    def _takers_of(self, kind: type[Event]) -> list[Listener]:
        takers = self._takers[kind] = [listener for listener, kinds in self._listeners
                                       if kinds is None or kind in kinds]
        return takers

    def subscribe(self, bound: int = 10_000) -> Subscription:
        subscription = Subscription(self, bound)
        self.add_listener(subscription.take)
        return subscription

    def publish(self, event: Event) -> None:
        broken: list[Listener] | None = None
        kind = event.__class__
        takers = self._takers.get(kind)
        for listener in self._takers_of(kind) if takers is None else takers:
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %s and is removed", type(event).__name__)
                broken = [*(broken or ()), listener]
        for listener in broken or ():
            self.remove_listener(listener)
