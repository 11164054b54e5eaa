"""Jobs that have not ended: what events say of them, folded into one entry each."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..events import (
    CancelAccepted,
    Event,
    NodeFailed,
    NodeFinished,
    NodeProgressed,
    NodesCached,
    NodeShown,
    NodeStarted,
    Outcome,
    PromptDropped,
    PromptFinished,
    PromptMoved,
    PromptQueued,
    PromptRequeued,
    PromptStarted,
)
from ..identifiers import ClientId, NodeId, PromptId
from .event_codec import encode
from .job_store import HistoryEntry

_OF_NO_INTEREST = frozenset({NodeProgressed})
"""By far the most frequent events, so they are told apart first."""


class OpenJobs:
    """Entries in the order of their arrival. Whoever looks gets copies."""

    def __init__(self) -> None:
        self._entries: dict[PromptId, HistoryEntry] = {}
        self._left: dict[PromptId, tuple[int, int]] = {}
        """Starts and attempts of jobs that were left to the next engine. They may still end before this one closes."""

    def __iter__(self) -> Iterator[HistoryEntry]:
        return iter(self._entries.values())

    def get(self, prompt_id: PromptId) -> HistoryEntry | None:
        entry = self._entries.get(prompt_id)
        return None if entry is None else snapshot_of(entry)

    def client_of(self, prompt_id: PromptId) -> ClientId | None:
        entry = self._entries.get(prompt_id)
        return None if entry is None else entry.client_id

    def expect(self, entry: HistoryEntry) -> None:
        """The job that the next PromptQueued of this id is about, as far as the event does not say it."""
        self._entries[entry.prompt_id] = entry

    def forget(self, prompt_id: PromptId) -> HistoryEntry | None:
        self._left.pop(prompt_id, None)
        return self._entries.pop(prompt_id, None)

    def take(self, event: Event) -> HistoryEntry | None:
        """Fold an event. Returns the entry of a job that has ended with it, which stays until it is forgotten."""
        kind = event.__class__
        if kind is NodeStarted:
            self._started(event)  # type: ignore[arg-type]
        elif kind is NodeFinished or kind is NodeShown:
            self._shown(event)  # type: ignore[arg-type]
        elif kind not in _OF_NO_INTEREST:
            return self._take_rare(event)
        return None

    def _started(self, event: NodeStarted) -> None:
        times = self._entries[event.prompt_id].node_times
        known = times.get(event.place.node_id)
        if known is None or known[1]:
            times[event.place.node_id] = event.at, 0

    def _shown(self, event: NodeFinished | NodeShown) -> None:
        entry = self._entries[event.prompt_id]
        ui: Mapping[str, Any] | None = event.ui
        node_id = event.place.node_id
        if ui is not None:
            entry.outputs[node_id] = ui
            entry.places[node_id] = event.place
        if event.__class__ is NodeFinished:
            _end_node(entry, node_id, event.at)

    def _take_rare(self, event: Event) -> HistoryEntry | None:
        match event:
            case PromptQueued():
                self._queued(event)
            case PromptStarted():
                entry = self._entries[event.prompt_id]
                entry.started_at, entry.attempt = event.at, entry.attempt + 1
                self._left.pop(event.prompt_id, None)
            case NodesCached():
                entry = self._entries[event.prompt_id]
                entry.cached, entry.cached_at = [*entry.cached, *event.nodes], entry.cached_at or event.at
            case NodeFailed():
                entry = self._entries[event.prompt_id]
                entry.failure = entry.failure or event
                entry.failures = [*entry.failures, event]
                _end_node(entry, event.place.node_id, event.at)
            case PromptMoved():
                self._entries[event.prompt_id].number = event.number
            case CancelAccepted():
                self._entries[event.prompt_id].is_cancelled = True
            case PromptRequeued():
                entry = self._entries[event.prompt_id]
                self._left[event.prompt_id] = entry.started_at, entry.attempt
                entry.started_at, entry.attempt = 0, entry.attempt - 1
            case PromptDropped():
                entry = self._entries[event.prompt_id]
                entry.outcome, entry.ended_at, entry.reason = Outcome.CANCELLED, event.at, event.reason
                entry.prompt = packed(entry.prompt)
                return entry
            case PromptFinished():
                return self._finished(event)
        return None

    def _queued(self, event: PromptQueued) -> None:
        known = self._entries.get(event.prompt_id)
        entry = HistoryEntry(
            prompt_id=event.prompt_id, client_id=event.client_id, number=event.number, prompt=event.prompt,
            extra_data=event.extra_data, outputs_wanted=event.outputs, queued_at=event.at, attempt=event.attempt)
        if known is not None and known.outcome is None:
            entry.queued_at, entry.run, entry.retry_of = known.queued_at, known.run, known.retry_of
            entry.end_notice = known.end_notice
        self._entries[event.prompt_id] = entry

    def _finished(self, event: PromptFinished) -> HistoryEntry:
        entry = self._entries[event.prompt_id]
        entry.prompt = packed(entry.prompt)
        entry.outcome, entry.executed, entry.ended_at = event.outcome, event.executed, event.at
        entry.interrupted, entry.interrupted_type = event.interrupted, event.interrupted_type
        entry.reason = event.reason
        if event.prompt_id in self._left:
            entry.started_at, entry.attempt = self._left.pop(event.prompt_id)
        return entry


def _end_node(entry: HistoryEntry, node_id: NodeId, at: int) -> None:
    times = entry.node_times.get(node_id)
    if times is not None and not times[1]:
        entry.node_times[node_id] = times[0], at


def snapshot_of(entry: HistoryEntry) -> HistoryEntry:
    """A copy that does not change any more."""
    taken = copy.copy(entry)
    taken.outputs, taken.places = dict(entry.outputs), dict(entry.places)
    taken.node_times = dict(entry.node_times)
    return taken


def packed(prompt: Mapping[str, Any] | msgspec.Raw) -> msgspec.Raw:
    """A prompt as one object instead of thousands, which the collector of garbage would visit again and again."""
    return msgspec.Raw(encode(prompt))
