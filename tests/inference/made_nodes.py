"""Nodes in a line or two, for tests, and doors at which they stop until the test lets them on."""

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from execution import get_current_node
from nodes.packs.class_nodes import define_class_node
from tests.inference.studio_client import StudioClient, connect
from tests.support.studio import RunningStudio, running_studio

HIDDEN = {"unique_id": "UNIQUE_ID", "prompt": "PROMPT", "dynprompt": "DYNPROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}


class AnyType(str):
    """The type of many packs that fits every other."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False

    __eq__ = str.__eq__
    __hash__ = str.__hash__


ANY = AnyType("*")


def make_node(function: Callable[..., Any], *, returns: tuple[Any, ...] = ("*",), output: bool = False,
              types: dict[str, Any] | None = None, **attributes: Any) -> type:
    """A node class around a function. Its inputs are the parameters: those with a default are optional, and those
    called `unique_id`, `prompt`, `dynprompt` and `extra_pnginfo` hidden.

    :param types: declarations of inputs that are not of any type.
    :param attributes: more attributes of the class; functions that take `cls` become class methods.
    """
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    hidden: dict[str, str] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD or name == "self":
            continue
        if name in HIDDEN:
            hidden[name] = HIDDEN[name]
        elif parameter.default is parameter.empty:
            required[name] = (types or {}).get(name, ("*",))
        else:
            optional[name] = (types or {}).get(name, ("*",))
    takes_self = "self" in inspect.signature(function).parameters
    declared = {"required": required, "optional": optional, "hidden": hidden}
    members = {name: classmethod(value) if inspect.isfunction(value) and first_parameter(value) == "cls" else value
               for name, value in attributes.items()}
    return type(function.__name__, (), {
        "INPUT_TYPES": classmethod(lambda cls: declared), "RETURN_TYPES": returns, "FUNCTION": "run",
        "CATEGORY": "tests", "OUTPUT_NODE": output, "run": function if takes_self else staticmethod(function),
        **members})


def first_parameter(function: Callable[..., Any]) -> str:
    return next(iter(inspect.signature(function).parameters), "")


def source(*outputs: Any, as_list: bool = False, **attributes: Any) -> type:
    """A node without inputs that gives these outputs; with `as_list` each is a list to go through."""
    def give() -> tuple[Any, ...]:
        return outputs

    if as_list:
        attributes["OUTPUT_IS_LIST"] = (True,) * len(outputs)
    return make_node(give, returns=("*",) * len(outputs), **attributes)


class Shown:
    """What an output node was called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.indices: list[int | None] = []

    @property
    def values(self) -> list[Any]:
        """The argument `a` of each call."""
        return [call["a"] for call in self.calls]

    def node(self, **attributes: Any) -> type:
        """An output node that takes `a`, perhaps `b`, and its own id."""
        def show(a: Any, b: Any = None, unique_id: Any = None, **more: Any) -> dict[str, Any]:
            self.calls.append({"a": a, "b": b, **more})
            context = get_current_node()
            assert context is not None
            self.indices.append(context.list_index)
            return {"ui": {"shown": [str(a)]}}

        return make_node(show, output=True, returns=(), **attributes)


class Door:
    """Where nodes stop until the test opens it; from the loop (`stop`) and from any thread (`stop_plain`)."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrivals = asyncio.Semaphore(0)
        self._for_tasks = asyncio.Event()
        self._for_threads = threading.Event()

    async def stop(self) -> None:
        self._arrivals.release()
        await self._for_tasks.wait()

    def stop_plain(self) -> None:
        self._loop.call_soon_threadsafe(self._arrivals.release)
        if not self._for_threads.wait(30):
            raise TimeoutError("nobody opened the door")

    async def reached(self, times: int = 1) -> None:
        """Wait until as many came to the door."""
        for _ in range(times):
            await self._arrivals.acquire()

    def open(self) -> None:
        self._for_tasks.set()
        self._for_threads.set()


class Meeting:
    """Passed only when as many come as are expected: who is run after another, waits for ever."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._all_here = asyncio.Event()

    async def join(self) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._all_here.set()
        await self._all_here.wait()


def add_nodes(studio: RunningStudio, **classes: type) -> None:
    for name, node_class in classes.items():
        studio.studio.registry.add(define_class_node(name, node_class, "tests"))


@contextlib.asynccontextmanager
async def studio_with(settings: dict[str, Any] | None = None,
                      **classes: type) -> AsyncIterator[tuple[RunningStudio, StudioClient]]:
    """A server with these nodes, and a client."""
    async with running_studio(**(settings or {})) as studio, connect(studio.url) as client:
        add_nodes(studio, **classes)
        yield studio, client
