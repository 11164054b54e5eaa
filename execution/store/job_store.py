"""What a store of prompts can do."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Raw, Struct

from ..events import Event, NodeFailed, NodePlace, Outcome
from ..identifiers import ClientId, NodeId, PromptId


class HistoryEntry(Struct, kw_only=True):
    """One prompt that ended."""

    prompt_id: PromptId
    client_id: ClientId | None
    number: int | float
    prompt: Mapping[str, Any] | Raw
    """As JSON once the prompt has ended."""
    extra_data: Mapping[str, Any]
    outputs_wanted: Sequence[NodeId]
    queued_at: int
    """This and the following times are milliseconds since the epoch."""
    started_at: int = 0
    cached_at: int = 0
    ended_at: int = 0
    cached: Sequence[NodeId] = ()
    outputs: dict[NodeId, Mapping[str, Any]] = {}
    """What nodes showed, in the order in which they did."""
    places: dict[NodeId, NodePlace] = {}
    outcome: Outcome | None = None
    failure: NodeFailed | None = None
    executed: Sequence[NodeId] = ()
    interrupted: NodePlace | None = None
    interrupted_type: str = ""


class JobStore(Protocol):
    """Folds events into history. Called on the loop; it must not wait."""

    def take(self, event: Event) -> None: ...

    def get(self, prompt_id: PromptId) -> HistoryEntry | None: ...

    def entries(self) -> Sequence[HistoryEntry]:
        """All entries, the one that ended first at the front."""
        ...

    def delete(self, prompt_ids: Sequence[PromptId]) -> None: ...

    def clear(self) -> None: ...
