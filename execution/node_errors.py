"""What an exception of a node says, put into words that keep nothing alive and can always be sent."""

import traceback
from collections.abc import Mapping, Sequence
from types import CodeType, TracebackType
from typing import Any

from .errors import StudioError
from .events import NodeError
from .node_context import TransientError

_LONGEST_VALUE = 10_000
_MOST_VALUES = 100
_MOST_BITS = 1024
"""of a number: Python refuses to write out very large ones"""
_OWN_FILES = ("node_caller.py", "node_code.py", "node_hooks.py")

_OUT_OF_MEMORY_HINT = ("The machine ran out of memory. Cached outputs were dropped; a smaller batch or picture may "
                       "fit now. The queue goes on.")


def describe_error(error: BaseException, inputs: Mapping[str, Sequence[Any]],
                   transient: tuple[type[BaseException], ...] = ()) -> NodeError:
    """An exception, its traceback from the node's own code on, and the inputs that the node was called with.

    :param transient: what the node calls transient beside `TransientError`.
    """
    kind = type(error)
    # Errors of the engine are named as clients know them, wherever they are defined.
    module = "execution" if isinstance(error, StudioError) else kind.__module__
    name = kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
    out_of_memory = isinstance(error, MemoryError) or any(
        one.__name__ == "OutOfMemoryError" for one in kind.__mro__)
    hint = _OUT_OF_MEMORY_HINT if out_of_memory else ""
    lines = traceback.format_tb(part_of_node(error.__traceback__))
    if isinstance(error, BaseExceptionGroup):
        lines += [line for one in error.exceptions for line in _format_safely(one)]
    return NodeError(
        exception_type=name, exception_message=f"{text_of(error)}\n{hint}", traceback=lines,
        current_inputs={name: [_shown(value) for value in list(values)[:_MOST_VALUES]]
                        for name, values in inputs.items()},
        out_of_memory=out_of_memory, is_transient=isinstance(error, (TransientError, *transient)))


def part_of_node(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of whoever calls nodes, unless there are no others."""
    part = trace
    while part is not None and _calls_nodes(part.tb_frame.f_code):
        part = part.tb_next
    return part if part is not None else trace


def _calls_nodes(code: CodeType) -> bool:
    """Whether a frame is one of the engine's, or a function of an adapter says that it only passes a call on."""
    return code.co_filename.endswith(_OWN_FILES) or "__tracebackhide__" in code.co_varnames


def _format_safely(error: BaseException) -> list[str]:
    try:
        return traceback.format_exception(error)
    except BaseException:
        return [f"{type(error).__name__}: (cannot be printed)\n"]


def text_of(value: object) -> str:
    """What a value of a node says of itself, whatever it does when it is asked: one may raise SystemExit even then."""
    try:
        return str(value)
    except BaseException:
        return f"({type(value).__name__}, which cannot be printed)"


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, (bool, float)) or (
            isinstance(value, int) and value.bit_length() < _MOST_BITS):
        return value
    text = value if isinstance(value, str) else text_of(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
