"""The two expressions that run code of a node: `run`, off the loop, for what is plain, and `begin` for coroutines.

Also what keeps such code from ending the server: plain code on the thread of the loop is refused, and a task that
somebody's code makes and leaves by `SystemExit` or `KeyboardInterrupt` fails like any other.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextvars import copy_context
from typing import Any

from .errors import InvariantViolated
from .node_context import CurrentNodeContext, NodeCall, enter_node


class NodeCode:
    """Runs code of nodes. To be made on the loop's thread, in the context that nodes are to begin with.

    :param before_call: called on a thread before plain code of a node runs there.
    """

    def __init__(self, before_call: Callable[[], None] | None = None) -> None:
        self.context = copy_context()
        """Of the server. Each call gets a copy."""
        self._loop_thread = threading.get_ident()
        self._before_call = before_call

    def run(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call plain code of a node, never on the loop's thread."""
        if threading.get_ident() == self._loop_thread:
            raise InvariantViolated(f"plain code of a node on the thread of the loop: {function!r}")
        if self._before_call is not None:
            self._before_call()
        return function(**arguments)

    def run_apart(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """The same in a context that no other call has been in."""
        return self.context.copy().run(self.run, function, arguments)

    def run_for(self, call: NodeCall, index: int | None, function: Callable[..., Any],
                arguments: Mapping[str, Any]) -> Any:
        """The same, as code of this call at this index."""
        return self.context.copy().run(self._run_within, call, index, function, arguments)

    def _run_within(self, call: NodeCall, index: int | None, function: Callable[..., Any],
                    arguments: Mapping[str, Any]) -> Any:
        enter_call(call, index)
        return self.run(function, arguments)

    @staticmethod
    def begin(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call a coroutine function of a node: what it returns is to be awaited."""
        return function(**arguments)


def enter_call(call: NodeCall, index: int | None) -> None:
    """The rest of this context is code of a call."""
    enter_node(CurrentNodeContext("", "", index, call=call))


async def exit_as_value(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What would end the loop, were it to end a task, is returned."""
    try:
        return await coroutine
    except (KeyboardInterrupt, SystemExit) as error:
        return error


class ExitInTask(RuntimeError):
    """A task raised SystemExit or KeyboardInterrupt, which asyncio would let end the whole loop."""


class _WithoutExit(Coroutine[Any, Any, Any]):
    """A coroutine whose exits are errors. Not an `async def` around it: that would leave the inner one without its
    `throw` when the task is cancelled before its first step."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        try:
            return self._inner.send(value)
        except (KeyboardInterrupt, SystemExit) as error:
            raise ExitInTask(f"{type(error).__name__}({error}) in a task") from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._inner.throw(*error)
        except (KeyboardInterrupt, SystemExit) as left:
            raise ExitInTask(f"{type(left).__name__}({left}) in a task") from left

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:  # cr_frame and the like, for whoever prints a task
        return getattr(self._inner, name)

    def __repr__(self) -> str:
        return repr(self._inner)


def contain_exits(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """From now on no task of this loop, whoever makes it, ends the loop by SystemExit or KeyboardInterrupt.

    :returns: puts back what was there before.
    """
    before = loop.get_task_factory()
    make: Any = before or (lambda loop, coroutine, **options: asyncio.Task(coroutine, loop=loop, **options))

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        return make(loop, _WithoutExit(coroutine) if asyncio.iscoroutine(coroutine) else coroutine, **options)

    loop.set_task_factory(factory)
    return lambda: loop.set_task_factory(before)
