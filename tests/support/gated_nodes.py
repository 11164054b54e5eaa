"""Nodes that stop at a door, so that a test can look before it opens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from execution import CurrentNodeContext, NodeDefinition, check_interrupted, get_current_node
from tests.support.node_definitions import define

LONGEST_WAIT = 30.0
"""Seconds after which a thread gives up at a door that no test opens: a guard, never reached in a test that passes."""


class GatedCall:
    """One call of a gated node, standing at the door until `let_go` or `fail`."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.context: CurrentNodeContext | None = get_current_node()
        self.thread = threading.get_ident()
        self.was_cancelled = False
        """It saw a `CancelledError`, or stopped at `check_interrupted`."""
        self.has_ended = False
        self._door = threading.Event()
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._on_open: Callable[[], None] = lambda: None

    def let_go(self, outcome: Any = None) -> None:
        """Open the door: the node returns `outcome`. From any thread."""
        self._outcome = outcome
        self._door.set()
        self._on_open()

    def fail(self, error: BaseException) -> None:
        """Open the door: the node raises `error`."""
        self._error = error
        self.let_go()

    def _leave(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._outcome


class GatedNode:
    """A class of nodes whose calls stop at a door.

    :param plain: its function is plain, so that it blocks a thread.
    :param stops: as a plain node, it asks `check_interrupted` while it stands there.
    :param options: of `define`.
    """

    def __init__(self, class_type: str, *, plain: bool = False, stops: bool = False, **options: Any) -> None:
        self.calls: list[GatedCall] = []
        """All calls so far, in the order in which they arrived."""
        self.cleans_up: asyncio.Event | None = None
        """If set, an async call that is cancelled waits for it before it ends."""
        self._stops = stops
        self._is_open = False
        self._outcome: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._lock = threading.Lock()
        self.definition: NodeDefinition = define(class_type, self._block if plain else self._wait, **options)

    async def arrived(self, count: int = 1) -> list[GatedCall]:
        """Wait until so many calls have come to the door, those that went on since included."""
        return await self._until(lambda: len(self.calls) >= count)

    async def ended(self, count: int = 1) -> list[GatedCall]:
        """Wait until the code of so many calls has ended, however it did."""
        return await self._until(lambda: sum(call.has_ended for call in self.calls) >= count)

    async def _until(self, is_so: Callable[[], bool]) -> list[GatedCall]:
        self._loop = asyncio.get_running_loop()
        while not is_so():
            self._changed.clear()
            if not is_so():
                await self._changed.wait()
        return self.calls

    def open(self, outcome: Any = None) -> None:
        """Let everybody through, those that are still to come as well."""
        with self._lock:
            self._is_open, self._outcome = True, outcome
            calls = list(self.calls)
        for call in calls:
            call.let_go(outcome)

    def _arrive(self, arguments: dict[str, Any]) -> GatedCall:
        call = GatedCall(arguments)
        with self._lock:
            self.calls.append(call)
            if self._is_open:
                call.let_go(self._outcome)
        self._tell()
        return call

    def _end(self, call: GatedCall) -> None:
        call.has_ended = True
        self._tell()

    def _tell(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    async def _wait(self, **arguments: Any) -> Any:
        loop, opened = asyncio.get_running_loop(), asyncio.Event()
        call = self._arrive(arguments)
        call._on_open = lambda: loop.call_soon_threadsafe(opened.set)
        if call._door.is_set():
            opened.set()
        try:
            await opened.wait()
        except asyncio.CancelledError:
            call.was_cancelled = True
            if self.cleans_up is not None:
                await self.cleans_up.wait()
            raise
        finally:
            self._end(call)
        return call._leave()

    def _block(self, **arguments: Any) -> Any:
        call = self._arrive(arguments)
        try:
            if not self._stops:
                if not call._door.wait(LONGEST_WAIT):
                    raise TimeoutError("no test opened this door")
                return call._leave()
            while not call._door.wait(0.001):
                check_interrupted()
            return call._leave()
        except Exception:
            call.was_cancelled = self._stops and not call._door.is_set()
            raise
        finally:
            self._end(call)
