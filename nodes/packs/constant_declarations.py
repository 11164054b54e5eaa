"""Classes that would declare the same inputs again: those need not be asked again.

`INPUT_TYPES` is code of a pack, so it is called on a thread, once for each prompt that has its class, and for small
prompts that is a good part of what they cost. The bytecode of most of them does nothing but put together constants,
plain globals and plain attributes of the class. What such a function answered it answers again, until one of these
changes.
"""

import dis
import inspect
import marshal
from collections.abc import Callable, Mapping, Sequence
from operator import is_
from types import CodeType, FunctionType
from typing import Any

from execution import NodeInterface

_HARMLESS = frozenset({
    "RESUME", "NOP", "CACHE", "EXTENDED_ARG", "POP_TOP", "COPY", "SWAP", "LOAD_CONST", "LOAD_SMALL_INT",
    "RETURN_CONST", "RETURN_VALUE", "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "STORE_FAST",
    "BUILD_TUPLE", "BUILD_LIST", "BUILD_MAP", "BUILD_CONST_KEY_MAP", "LIST_EXTEND", "DICT_UPDATE", "LIST_TO_TUPLE"})
"""Neither calls, nor looks anything up, nor jumps: a function of these ends, and knows nothing but its constants."""
_LOADS_LOCAL = frozenset({"LOAD_FAST", "LOAD_FAST_BORROW"})
_UNUSUAL = (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE
            | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR)
_LARGEST = 32 * 2**10
"""Bytes of the plain values that a declaration reads, written down. To compare more is nothing for the loop."""
_WITHOUT_REFERENCES = 2
"""The version of the format in which equal values are equal bytes."""
_FURTHER_FACTS = ("NOT_IDEMPOTENT", "API_NODE")
_NOTHING = object()


class ConstantDeclaration:
    """Asks a class what it declares, and knows when that would be answered again.

    :param describe: asks the class, on any thread but the loop's.
    """

    __slots__ = ("_describe", "_known", "_node_class", "_read")

    def __init__(self, node_class: type, describe: Callable[[], NodeInterface]) -> None:
        self._node_class = node_class
        self._describe = describe
        self._read: tuple[CodeType | None, _Names | None] = None, None
        """The code that was looked at last, and what it reads; None if it does more than that."""
        self._known: tuple[list[Any], bytes, NodeInterface] | None = None

    def ask(self) -> NodeInterface:
        """What the class declares now. Plain code of the class; raises what it raises."""
        __tracebackhide__ = True  # an error of the class is told without this frame
        facts = self._facts()
        values = None if facts is None else _written(facts[1])
        interface = self._describe()
        self._known = None if facts is None or values is None else (facts[0], values, interface)
        return interface

    def known(self) -> NodeInterface | None:
        """What the class would declare if it were asked. None if it was never asked, or if that may have changed. Runs
        no code of the class."""
        known = self._known
        if known is None:
            return None
        facts = self._facts()
        if facts is None or not all(map(is_, facts[0], known[0])) or _written(facts[1]) != known[1]:
            self._known = None  # until it is asked again: what has changed may be large now
            return None
        return known[2]

    def _facts(self) -> tuple[list[Any], list[Any]] | None:
        """What the declaration depends on: objects that have to be the same, and values that have to be equal. None if
        that cannot be told."""
        node_class = self._node_class
        if type(node_class) is not type:
            return None  # it may answer anything about itself
        method = _attribute(node_class, "INPUT_TYPES")
        kind = type(method)
        function = method.__func__ if kind is classmethod or kind is staticmethod else None
        if type(function) is not FunctionType:
            return None
        code = function.__code__
        read, names = self._read
        if code is not read:
            names = _names_in(code, 1 if kind is classmethod else 0)
            self._read = code, names  # in one step: it is asked on several threads
        if names is None:
            return None
        objects = [function, code, *[_attribute(node_class, name) for name in _FURTHER_FACTS]]
        values = [_global(function.__globals__, name) for name in names.of_globals]
        values += [_attribute(node_class, name) for name in names.of_attributes]
        return objects, values


class _Names:
    """Names that a function reads: globals, and attributes of its class."""

    def __init__(self) -> None:
        self.of_globals: dict[str, None] = {}
        self.of_attributes: dict[str, None] = {}


def has_plain_types(types: Any) -> bool:
    """Whether comparing these output types with others runs no code of a pack, now or ever."""
    return type(types) is tuple and all(type(one) is str for one in types)


def _names_in(code: CodeType, parameters: int) -> _Names | None:
    """What code reads that does nothing but put together what it reads and its constants; None if it does more."""
    if code.co_argcount != parameters or code.co_kwonlyargcount or code.co_flags & _UNUSUAL or code.co_freevars:
        return None
    names = _Names()
    is_class_on_top = False
    for instruction in dis.get_instructions(code):
        word, value = instruction.opname, instruction.argval
        if word == "LOAD_GLOBAL":
            names.of_globals[value] = None
        elif word == "LOAD_ATTR" and is_class_on_top:
            names.of_attributes[value] = None
        elif word not in _HARMLESS or (word == "STORE_FAST" and value in code.co_varnames[:parameters]):
            return None
        is_class_on_top = word in _LOADS_LOCAL and value in code.co_varnames[:parameters]
    return names


def _attribute(node_class: type, name: str) -> Any:
    """An attribute as it lies in the class or one above it. Runs no code."""
    for owner in node_class.__mro__:
        found = owner.__dict__.get(name, _NOTHING)
        if found is not _NOTHING:
            return found
    return _NOTHING


def _global(names: Mapping[str, Any], name: str) -> Any:
    return names.get(name, _NOTHING)


def _written(values: Sequence[Any]) -> bytes | None:
    """Equal for equal plain values of the same types in the same order; None if one is something else, or large. Runs
    no code of theirs. Arrays of bytes count as those bytes."""
    try:
        written = marshal.dumps(values, _WITHOUT_REFERENCES)
    except (ValueError, RuntimeError):  # the latter: it grew on another thread meanwhile
        return None
    return written if len(written) <= _LARGEST else None
