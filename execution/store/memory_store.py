"""A store that forgets when the process ends."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..events import (
    Event,
    NodeFailed,
    NodeFinished,
    NodeProgressed,
    NodesCached,
    NodeShown,
    NodeStarted,
    PromptDropped,
    PromptFinished,
    PromptQueued,
    PromptStarted,
)
from ..identifiers import PromptId
from .job_store import HistoryEntry

MOST_ENTRIES = 10_000
_OF_NO_INTEREST = frozenset({NodeStarted, NodeProgressed})
"""By far the most frequent events, so they are told apart first."""


class MemoryStore:
    """Keeps the newest entries.

    :param bound: entries kept; the oldest goes first.
    """

    def __init__(self, bound: int = MOST_ENTRIES) -> None:
        self._bound = bound
        self._open: dict[PromptId, HistoryEntry] = {}
        self._ended: dict[PromptId, HistoryEntry] = {}

    def take(self, event: Event) -> None:
        kind = event.__class__
        if kind is NodeFinished or kind is NodeShown:
            ui: Mapping[str, Any] | None = event.ui  # type: ignore[attr-defined]
            if ui is not None:
                self._show(event, ui)  # type: ignore[arg-type]
        elif kind not in _OF_NO_INTEREST:
            self._take_rare(event)

    def _show(self, event: NodeFinished | NodeShown, ui: Mapping[str, Any]) -> None:
        entry = self._open[event.prompt_id]
        entry.outputs[event.place.node_id] = ui
        entry.places[event.place.node_id] = event.place

    def _take_rare(self, event: Event) -> None:
        match event:
            case PromptQueued():
                self._open[event.prompt_id] = HistoryEntry(
                    prompt_id=event.prompt_id, client_id=event.client_id, number=event.number, prompt=event.prompt,
                    extra_data=event.extra_data, outputs_wanted=event.outputs, queued_at=event.at)
            case PromptStarted():
                self._open[event.prompt_id].started_at = event.at
            case NodesCached():
                entry = self._open[event.prompt_id]
                entry.cached, entry.cached_at = event.nodes, event.at
            case NodeFailed():
                self._open[event.prompt_id].failure = event
            case PromptDropped():
                del self._open[event.prompt_id]
            case PromptFinished():
                self._finish(event)

    def _finish(self, event: PromptFinished) -> None:
        entry = self._open.pop(event.prompt_id)
        entry.prompt = _packed(entry.prompt)
        entry.outcome, entry.executed, entry.ended_at = event.outcome, event.executed, event.at
        entry.interrupted, entry.interrupted_type = event.interrupted, event.interrupted_type
        self._ended.pop(entry.prompt_id, None)
        self._ended[entry.prompt_id] = entry
        if len(self._ended) > self._bound:
            del self._ended[next(iter(self._ended))]

    def get(self, prompt_id: PromptId) -> HistoryEntry | None:
        return self._ended.get(prompt_id)

    def entries(self) -> Sequence[HistoryEntry]:
        return list(self._ended.values())

    def delete(self, prompt_ids: Sequence[PromptId]) -> None:
        for prompt_id in prompt_ids:
            self._ended.pop(prompt_id, None)

    def clear(self) -> None:
        self._ended.clear()


def _packed(prompt: Mapping[str, Any] | msgspec.Raw) -> Mapping[str, Any] | msgspec.Raw:
    """A prompt as one object instead of thousands, which the collector of garbage would visit again and again."""
    try:
        return msgspec.Raw(msgspec.json.encode(prompt))
    except (TypeError, UnicodeEncodeError, RecursionError):
        return prompt
