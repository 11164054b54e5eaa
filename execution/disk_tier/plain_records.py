"""The plain form of outputs: a text that says how they are built, and the bytes of what is large. Nothing is pickled.

Values of the language keep their types: None, truth values, numbers, texts, bytes, lists, tuples and dicts, exactly
these and no subclass. Anything else is a *leaf* if somebody knows its plain form, a tensor, say; else the outputs have
none.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from ..node_values import OutputRecord
from ..value_size import measure

_DEEPEST = 50
_MOST_ITEMS = 200_000
"""in containers"""
_MOST_TEXT = 16 * 2**20

Buffer = bytes | bytearray | memoryview


class NotPlain(Exception):
    """Something among the outputs has no plain form. Says what."""


class Leaf(Struct, frozen=True):
    """What is known of a value that is bytes and a shape."""

    dtype: str
    """As the safetensors format names it."""
    shape: tuple[int, ...]
    length: int
    """In bytes."""
    note: str = ""
    """Whatever else is needed to make it again."""


class PlainForms(Protocol):
    """Knows the plain forms of values that are not of the language itself. Called on threads."""

    def leaf_of(self, value: Any) -> Leaf | None:
        """None if a value has no plain form. Copies nothing."""
        ...

    def content_of(self, value: Any) -> Buffer:
        """A copy of its bytes, as many as were described."""
        ...

    def make(self, leaf: Leaf, content: bytearray) -> Any:
        """The value again, which may go on using this memory."""
        ...


class RecordCopy(Struct, frozen=True):
    """Outputs as they were at one moment."""

    text: str
    leaves: Sequence[Leaf]
    contents: Sequence[Buffer]

    @property
    def length(self) -> int:
        """Bytes, roughly."""
        return len(self.text) + sum(leaf.length for leaf in self.leaves)


class RecordPlan:
    """What a copy of outputs will take, before any of it is copied.

    :raises NotPlain: they cannot be copied.
    """

    def __init__(self, record: OutputRecord, forms: PlainForms) -> None:
        self._forms = forms
        self._items_left = _MOST_ITEMS
        self._leaves: list[Leaf] = []
        self._values: list[Any] = []
        self._numbers: dict[int, int] = {}
        """Objects that are there already: the same one several times is one again afterwards."""
        shown = None if record.ui is None else dict(record.ui)
        parts = [[self._encode(value, 0) for value in values] for values in record.outputs]
        try:
            self._text = json.dumps([parts, self._encode(shown, 0)])
        except ValueError as error:  # an integer of thousands of digits
            raise NotPlain(str(error)) from None
        if len(self._text) > _MOST_TEXT:
            raise NotPlain(f"{len(self._text)} characters of text")

    @property
    def length(self) -> int:
        return len(self._text) + sum(leaf.length for leaf in self._leaves)

    def taken(self) -> RecordCopy:
        """The copy."""
        return RecordCopy(self._text, self._leaves, [
            bytes(value) if isinstance(value, (bytes, bytearray)) else self._forms.content_of(value)
            for value in self._values])

    def _encode(self, value: Any, depth: int) -> Any:
        """JSON that says how a value is built: lists are never what they seem, their first member names the kind."""
        kind = value.__class__
        if value is None or kind in (bool, int, float, str):
            return value
        if kind in (list, tuple, dict):
            self._items_left -= len(value)
            if depth > _DEEPEST or self._items_left < 0:
                raise NotPlain("containers that are too deep or too large")
            if kind is dict:
                return ["dict", *[[self._encode(key, depth + 1), self._encode(item, depth + 1)]
                                  for key, item in value.items()]]
            return [kind.__name__, *[self._encode(item, depth + 1) for item in value]]
        return [kind.__name__ if kind in (bytes, bytearray) else "leaf", self._number_of(value, kind)]

    def _number_of(self, value: Any, kind: type) -> int:
        number = self._numbers.get(id(value))
        if number is not None:
            return number
        leaf: Leaf | None
        if kind in (bytes, bytearray):
            leaf = Leaf("U8", (len(value),), len(value))
        else:
            leaf = self._forms.leaf_of(value)
        if leaf is None:
            raise NotPlain(f"a value of type {kind.__module__}.{kind.__qualname__}")
        number = self._numbers[id(value)] = len(self._leaves)
        self._leaves.append(leaf)
        self._values.append(value)  # held: else another object may get its identity
        return number


def record_of(text: str, leaves: Sequence[Leaf], contents: Sequence[bytearray], forms: PlainForms) -> OutputRecord:
    """Outputs again, with their size.

    :raises Exception: this is no plain form of outputs.
    """
    parts, shown = json.loads(text)
    builder = _Builder(leaves, contents, forms)
    outputs = tuple([builder.value_of(value) for value in values] for values in parts)
    ui: Mapping[str, Any] | None = builder.value_of(shown)
    return OutputRecord(outputs, ui, measure(outputs))


class _Builder:
    def __init__(self, leaves: Sequence[Leaf], contents: Sequence[bytearray], forms: PlainForms) -> None:
        self._leaves = leaves
        self._contents = contents
        self._forms = forms
        self._made: dict[int, Any] = {}

    def value_of(self, encoded: Any) -> Any:
        if encoded.__class__ is not list:
            return encoded
        kind, *items = encoded
        if kind == "dict":
            return {self.value_of(key): self.value_of(item) for key, item in items}
        if kind in ("list", "tuple"):
            values = [self.value_of(item) for item in items]
            return tuple(values) if kind == "tuple" else values
        (number,) = items
        if number not in self._made:
            self._made[number] = self._make(kind, number)
        return self._made[number]

    def _make(self, kind: str, number: int) -> Any:
        content = self._contents[number]
        match kind:
            case "bytes":
                return bytes(content)
            case "bytearray":
                return content
            case "leaf":
                return self._forms.make(self._leaves[number], content)
        raise ValueError(f"{kind!r} is no kind of value")
