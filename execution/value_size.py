"""How large values are. Known: tensors, arrays, bytes, plain data, and containers of these.

No library is imported for it: tensors are told by what they offer.
"""

from collections.abc import Sequence
from typing import Any

from .node_values import NO_SIZE, ExecutionBlocker, ValueSize

_SMALL = frozenset({int, float, bool, type(None), complex, ExecutionBlocker})
_LARGE = 1000
"""Bytes from which it is worth knowing that several outputs hold the same object."""
_DEEPEST = 50
_MOST_ITEMS = 200_000
"""in containers. Counting takes its time, for async nodes that of the loop; more are not looked at."""


_FEW_ITEMS = 1000
_SHORT_TEXT = 100_000


class TakesLong(Exception):
    """These values are for a thread to look at, not for the loop."""


class _Unknown(Exception):
    """A value whose size cannot be told."""


class _Storages(dict[int, int]):
    """Shared storages that were found, and how many more items of containers may be looked at."""

    items_left = _MOST_ITEMS


def is_light(outputs: Sequence[Any] | None, ui: Any) -> bool:
    """Whether it is plain at first sight that looking at them takes no time: a few numbers."""
    if ui is not None:
        return False
    if outputs is not None:
        if len(outputs) > _FEW_ITEMS:
            return False
        for value in outputs:
            if value.__class__ not in _SMALL:
                return False
    return True


def refuse_what_takes_long(*values: Any) -> None:
    """Look at a few items only. Objects of nodes count as long: code of theirs may be asked for their size.

    :raises TakesLong: there are many items, long texts, or foreign objects that are neither tensors nor arrays.
    """
    items_left = _FEW_ITEMS
    found = list(values)
    while found:
        value = found.pop()
        items_left -= 1
        if items_left < 0:
            raise TakesLong
        if value.__class__ in _SMALL:
            continue
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            if len(value) > items_left:
                raise TakesLong
            found.extend(value)
            if isinstance(value, dict):
                found.extend(value.values())
        elif isinstance(value, str):
            if len(value) > _SHORT_TEXT:
                raise TakesLong
        elif not (isinstance(value, (bytes, bytearray, memoryview))
                  or hasattr(value, "untyped_storage") or hasattr(value, "__array_interface__")):
            raise TakesLong


def measure(outputs: Sequence[Sequence[Any]]) -> ValueSize:
    """Bytes of all values of all outputs; a tensor's storage counts once, however many views there are."""
    for values in outputs:
        for value in values:
            if value.__class__ not in _SMALL:
                break
        else:
            continue
        break
    else:
        return NO_SIZE  # numbers: not worth counting
    shared = _Storages()
    own, known = 0, True
    for values in outputs:
        for value in values:
            try:
                own += _add(value, shared, 0)
            except _Unknown:
                known = False
    return ValueSize(own, dict(shared) if shared else NO_SIZE.shared, known)


def _add(value: Any, shared: _Storages, depth: int) -> int:
    """Own bytes of a value; shared storages are put into `shared`."""
    kind = value.__class__
    if kind in _SMALL:
        return 32
    if kind is str:
        return _add_whole(value, 4 * len(value), shared)
    if isinstance(value, (bytes, bytearray)):
        return _add_whole(value, len(value), shared)
    if isinstance(value, memoryview):
        return _add(value.obj, shared, depth + 1) if isinstance(value.obj, (bytes, bytearray)) else value.nbytes
    if depth > _DEEPEST:
        raise _Unknown
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        shared.items_left -= len(value)
        if shared.items_left < 0:
            raise _Unknown
        if isinstance(value, dict):
            return 64 + sum(16 + _add(key, shared, depth + 1) + _add(item, shared, depth + 1)
                            for key, item in value.items())
        return 64 + sum(8 + _add(item, shared, depth + 1) for item in value)
    return _add_object(value, shared, depth)


def _add_whole(value: object, held: int, shared: _Storages) -> int:
    """Own bytes of an object that is in one piece: a large one is a storage by itself."""
    if held < _LARGE:
        return 50 + held
    shared[id(value)] = held
    return 50


def _add_object(value: Any, shared: _Storages, depth: int) -> int:
    told = getattr(value, "_comfy_cache_tensors", None)
    if callable(told):
        return 64 + sum(_add(tensor, shared, depth + 1) for tensor in told())
    storage = getattr(value, "untyped_storage", None)
    if callable(storage):  # a tensor
        try:
            held = storage()
            shared[held.data_ptr() or id(value)] = held.nbytes()
        except (RuntimeError, NotImplementedError):  # sparse or meta tensors have no storage of their own
            raise _Unknown from None
        return 64
    if hasattr(value, "__array_interface__"):  # an array; views share the memory of their base
        base = value
        while getattr(base, "base", None) is not None and hasattr(base.base, "__array_interface__"):
            base = base.base
        shared[base.__array_interface__["data"][0] or id(base)] = int(base.nbytes)
        return 64
    parameters, buffers = getattr(value, "parameters", None), getattr(value, "buffers", None)
    if callable(parameters) and callable(buffers):  # a module
        return 64 + sum(_add(one, shared, depth + 1) for group in (parameters(), buffers()) for one in group)
    raise _Unknown
