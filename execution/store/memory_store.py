"""A store that forgets when the process ends."""

import asyncio
import copy
from collections import deque
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
from .job_store import HistoryEntry, JobOrder, JobPage, JobQuery

MOST_ENTRIES = 10_000
_OF_NO_INTEREST = frozenset({NodeStarted, NodeProgressed})
"""By far the most frequent events, so they are told apart first."""


class MemoryStore:
    """Keeps the newest entries.

    :param bound: entries kept, each run of a prompt being one; the oldest goes first.
    """

    def __init__(self, bound: int = MOST_ENTRIES) -> None:
        self._bound = bound
        self._open: dict[PromptId, HistoryEntry] = {}  # in the order of arrival
        self._ended: dict[tuple[PromptId, int], HistoryEntry] = {}  # by id and run, in the order of their ends
        self._runs: dict[PromptId, deque[HistoryEntry]] = {}  # the same by id, in the order of their newest ends

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
        runs = self._runs.pop(entry.prompt_id, None) or deque()
        if runs:
            entry.run = runs[-1].run + 1
        runs.append(entry)
        self._runs[entry.prompt_id] = runs
        self._ended[entry.prompt_id, entry.run] = entry
        if len(self._ended) > self._bound:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._ended.pop(next(iter(self._ended)))
        runs = self._runs[oldest.prompt_id]
        runs.popleft()
        if not runs:
            del self._runs[oldest.prompt_id]

    # -- looking ----------------------------------------------------------------------------------------------------

    def get(self, prompt_id: PromptId) -> HistoryEntry | None:
        runs = self._runs.get(prompt_id)
        return None if runs is None else runs[-1]

    def runs(self, prompt_id: PromptId) -> Sequence[HistoryEntry]:
        return list(self._runs.get(prompt_id, ()))

    def entries(self) -> Sequence[HistoryEntry]:
        return [runs[-1] for runs in self._runs.values()]

    def delete(self, prompt_ids: Sequence[PromptId]) -> None:
        for prompt_id in prompt_ids:
            for entry in self._runs.pop(prompt_id, ()):
                del self._ended[prompt_id, entry.run]

    def clear(self) -> None:
        self._ended.clear()
        self._runs.clear()

    def job(self, prompt_id: PromptId) -> HistoryEntry | None:
        return self._open.get(prompt_id) or self.get(prompt_id)

    async def find_jobs(self, query: JobQuery) -> JobPage:
        """What is open is copied before the thread starts, since it changes on the loop meanwhile."""
        still_open = [copy.copy(entry) for entry in self._open.values()]
        ended = self.entries()
        return await asyncio.to_thread(_find, query, still_open, ended)


def _find(query: JobQuery, still_open: Sequence[HistoryEntry], ended: Sequence[HistoryEntry]) -> JobPage:
    running = sorted((entry for entry in still_open if entry.started_at), key=lambda entry: entry.started_at)
    pending = sorted((entry for entry in still_open if not entry.started_at), key=lambda entry: entry.number)
    active = {entry.prompt_id for entry in still_open}
    found = [entry for entry in (*running, *pending, *(one for one in ended if one.prompt_id not in active))
             if (query.states is None or entry.state in query.states)
             and (query.workflow_id is None or entry.workflow_id == query.workflow_id)]
    if query.order is JobOrder.DURATION:
        found.sort(key=lambda entry: entry.duration, reverse=query.descending)
    else:
        found.sort(key=lambda entry: entry.created_at or 0, reverse=query.descending)
    end = None if query.limit is None else query.offset + query.limit
    return JobPage(found[query.offset:end], len(found))


def _packed(prompt: Mapping[str, Any] | msgspec.Raw) -> Mapping[str, Any] | msgspec.Raw:
    """A prompt as one object instead of thousands, which the collector of garbage would visit again and again."""
    try:
        return msgspec.Raw(msgspec.json.encode(prompt))
    except (TypeError, UnicodeEncodeError, RecursionError):
        return prompt
