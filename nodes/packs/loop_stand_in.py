"""The server's loop, as code on another thread may use it.

Packs that ask for the running loop when they are imported find one. At the start that is the loop itself, since
they are imported on it. A pack that is loaded anew while prompts run is imported on a thread, where this stands in.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopStandIn:
    """Answers as the loop does. What starts something is handed over to the loop's thread and waited for.

    A pack may keep it: called on the loop's own thread it is as good as the loop.

    :param loop: runs on the thread that makes this.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def create_task(self, coroutine: Coroutine[Any, Any, T], **options: Any) -> "asyncio.Task[T]":
        return self._on_loop(lambda: self._loop.create_task(coroutine, **options))

    def create_future(self) -> "asyncio.Future[Any]":
        return self._loop.create_future()

    def call_soon(self, callback: Callable[..., Any], *arguments: Any,
                  context: contextvars.Context | None = None) -> asyncio.Handle:
        return self._on_loop(lambda: self._loop.call_soon(callback, *arguments, context=context))

    def call_later(self, delay: float, callback: Callable[..., Any], *arguments: Any,
                   context: contextvars.Context | None = None) -> asyncio.TimerHandle:
        return self._on_loop(lambda: self._loop.call_later(delay, callback, *arguments, context=context))

    def call_at(self, when: float, callback: Callable[..., Any], *arguments: Any,
                context: contextvars.Context | None = None) -> asyncio.TimerHandle:
        return self._on_loop(lambda: self._loop.call_at(when, callback, *arguments, context=context))

    def run_in_executor(self, executor: Any, function: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
        return self._on_loop(lambda: self._loop.run_in_executor(executor, function, *arguments))

    def _on_loop(self, start: Callable[[], T]) -> T:
        if threading.get_ident() == self._thread:
            return start()
        started: Future[T] = Future()

        def answer() -> None:
            try:
                started.set_result(start())
            except BaseException as error:
                started.set_exception(error)

        self._loop.call_soon_threadsafe(answer)
        return started.result()


@contextlib.contextmanager
def running_loop_stands_in(stand_in: LoopStandIn) -> Iterator[None]:
    """Have this thread find the stand-in when it asks for the running loop."""
    asyncio._set_running_loop(stand_in)  # type: ignore[arg-type]
    try:
        yield
    finally:
        asyncio._set_running_loop(None)
