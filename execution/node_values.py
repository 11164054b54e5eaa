"""What passes between nodes, and what one call of a node leaves behind. The engine never looks inside a value."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct


class ExecutionBlocker:
    """Given out by a node in the place of an output: whoever consumes it is not called.

    With a message, each direct consumer tells the client about it; without one, they are skipped silently.
    """

    __slots__ = ("message",)

    def __init__(self, message: str | None = None) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"ExecutionBlocker({self.message!r})"


class ValueSize(Struct, frozen=True, gc=False):
    """How large the outputs of one call are, as far as can be told without knowing their types."""

    own_bytes: int = 0
    """Bytes that belong to these outputs alone."""
    shared: Mapping[int, int] = {}
    """Storages that other outputs may hold as well: an identity, and its bytes."""
    is_known: bool = True
    """False if there is something among the outputs whose size cannot be told."""


NO_SIZE = ValueSize()


class OutputRecord(Struct, frozen=True, gc=False):
    """The outputs of a node: the values of each output, and what it shows to people. There may be millions of them: the
    collector of garbage, which holds up the loop, has nothing to look at in those of plain values."""

    outputs: tuple[Sequence[Any], ...]
    ui: Mapping[str, Any] | None = None
    size: ValueSize = NO_SIZE

    def values(self, slot: int) -> Sequence[Any]:
        """The values of one output. An output that was never given out reads as None."""
        try:
            return self.outputs[slot]
        except IndexError:
            return NOTHING


NOTHING: Sequence[Any] = (None,)


class NodeResult(Struct):
    """What one call returned, in the engine's own words."""

    outputs: Sequence[Any] | None = None
    """One value an output, or None if there are none."""
    ui: Mapping[str, Any] | None = None
    expansion: Mapping[str, Any] | None = None
    """Nodes that take the place of this one: id -> {class_type, inputs}."""
    blocker: ExecutionBlocker | None = None
    """Stands for every output."""
