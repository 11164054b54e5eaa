"""A store that forgets when the process ends."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..events import Event
from ..identifiers import PromptId
from .job_store import (
    MOST_ENTRIES,
    HistoryEntry,
    JobOrder,
    JobPage,
    JobQuery,
    Leftovers,
    LoggedEvent,
    NewJob,
    StoreUnavailable,
)
from .memory_outbox import MemoryOutbox
from .open_jobs import OpenJobs
from .outbox import Outbox

T = TypeVar("T")


class MemoryStore:
    """Keeps the newest entries.

    :param bound: entries kept, each run of a prompt being one; the oldest goes first.
    """

    is_durable = False

    def __init__(self, bound: int = MOST_ENTRIES) -> None:
        self._bound = bound
        self._open = OpenJobs()
        self._ended: dict[tuple[PromptId, int], HistoryEntry] = {}  # by id and run, in the order of their ends
        self._runs: dict[PromptId, deque[HistoryEntry]] = {}  # the same by id, in the order of their newest ends
        self._submitted: dict[PromptId, NewJob] = {}
        self._by_key: dict[str, NewJob] = {}
        self._keys_of: dict[PromptId, list[str]] = {}
        self._owed = MemoryOutbox(bound)
        self.outbox: Outbox = self._owed

    async def open(self, loop: asyncio.AbstractEventLoop) -> Leftovers:
        return Leftovers()

    async def close(self) -> None:
        pass

    # -- writing ----------------------------------------------------------------------------------------------------

    async def add(self, job: NewJob) -> None:
        self._submitted[job.entry.prompt_id] = job
        if job.idempotency_key is not None:
            self._by_key[job.idempotency_key] = job
            self._keys_of.setdefault(job.entry.prompt_id, []).append(job.idempotency_key)
        self._open.expect(job.entry)

    async def note_judging(self, prompt_id: PromptId | None) -> None:
        pass

    def take(self, event: Event) -> None:
        entry = self._open.take(event)
        if entry is not None:
            self._open.forget(entry.prompt_id)
            self._keep(entry)

    def write(self, events: Sequence[Event], written: Callable[[StoreUnavailable | None], None]) -> None:
        written(None)

    def _keep(self, entry: HistoryEntry) -> None:
        runs = self._runs.pop(entry.prompt_id, None) or deque()
        if runs:
            entry.run = runs[-1].run + 1
        runs.append(entry)
        self._runs[entry.prompt_id] = runs
        self._ended[entry.prompt_id, entry.run] = entry
        self._owed.take(entry)
        if len(self._ended) > self._bound:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._ended.pop(next(iter(self._ended)))
        self._owed.forget(oldest)
        runs = self._runs[oldest.prompt_id]
        runs.popleft()
        if not runs:
            del self._runs[oldest.prompt_id]
            self._forget_submission(oldest.prompt_id)

    def _forget_submission(self, prompt_id: PromptId) -> None:
        if self._open.get(prompt_id) is None:
            self._submitted.pop(prompt_id, None)
            for key in self._keys_of.pop(prompt_id, ()):
                self._by_key.pop(key, None)

    def delete(self, prompt_ids: Sequence[PromptId]) -> "asyncio.Future[None]":
        for prompt_id in prompt_ids:
            for entry in self._runs.pop(prompt_id, ()):
                del self._ended[prompt_id, entry.run]
                self._owed.forget(entry)
            self._forget_submission(prompt_id)
        return _done()

    def clear(self) -> "asyncio.Future[None]":
        ended = list(self._runs)
        for entry in self._ended.values():
            self._owed.forget(entry)
        self._ended.clear()
        self._runs.clear()
        for prompt_id in ended:
            self._forget_submission(prompt_id)
        return _done()

    # -- reading ----------------------------------------------------------------------------------------------------

    async def get(self, prompt_id: PromptId) -> HistoryEntry | None:
        return self._newest(prompt_id)

    def _newest(self, prompt_id: PromptId) -> HistoryEntry | None:
        return next((entry for entry in reversed(self._runs.get(prompt_id, ())) if entry.has_history), None)

    async def runs(self, prompt_id: PromptId) -> Sequence[HistoryEntry]:
        return [entry for entry in self._runs.get(prompt_id, ()) if entry.has_history]

    async def entries(self, limit: int | None = None, offset: int | None = None) -> Sequence[HistoryEntry]:
        return self._entries(limit, offset)

    def _entries(self, limit: int | None, offset: int | None) -> Sequence[HistoryEntry]:
        newest = {id(self._newest(prompt_id)) for prompt_id in list(self._runs)}
        return page_of([entry for entry in list(self._ended.values()) if id(entry) in newest], limit, offset)

    def history_now(self, prompt_id: PromptId | None = None) -> Sequence[HistoryEntry]:
        if prompt_id is None:
            return self._entries(None, None)
        entry = self._newest(prompt_id)
        return [] if entry is None else [entry]

    async def job(self, prompt_id: PromptId) -> HistoryEntry | None:
        runs = self._runs.get(prompt_id)
        return self._open.get(prompt_id) or (None if runs is None else runs[-1])

    async def job_to_repeat(self, prompt_id: PromptId) -> NewJob | None:
        entry = await self.job(prompt_id)
        return None if entry is None else self._submitted.get(prompt_id)

    async def job_of_key(self, key: str) -> NewJob | None:
        return self._by_key.get(key)

    async def find_jobs(self, query: JobQuery) -> JobPage:
        return JobPage(*await self.map_jobs(query, lambda entry: entry))

    async def map_jobs(self, query: JobQuery, function: Callable[[HistoryEntry], T]) -> tuple[Sequence[T], int]:
        """What is open is copied before the thread starts, since it changes on the loop meanwhile."""
        still_open = [entry for one in self._open if (entry := self._open.get(one.prompt_id)) is not None]
        ended = [runs[-1] for runs in self._runs.values()]
        return await asyncio.to_thread(_find, query, still_open, ended, function)

    async def events_since(self, sequence: int, limit: int,
                           prompt_id: PromptId | None = None) -> Sequence[LoggedEvent]:
        return ()

    async def oldest_event(self) -> int:
        return 0


def page_of(entries: Sequence[HistoryEntry], limit: int | None, offset: int | None) -> Sequence[HistoryEntry]:
    """A page of entries that stand oldest first: the last ones, or those from an offset on."""
    most = MOST_ENTRIES if limit is None else min(limit, MOST_ENTRIES)
    if offset is None:
        return entries[-most:] if most else ()
    return entries[offset:offset + most]


def _find(query: JobQuery, still_open: Sequence[HistoryEntry], ended: Sequence[HistoryEntry],
          function: Callable[[HistoryEntry], T]) -> tuple[list[T], int]:
    running = sorted((entry for entry in still_open if entry.started_at), key=lambda entry: entry.started_at)
    pending = sorted((entry for entry in still_open if not entry.started_at), key=lambda entry: entry.number)
    active = {entry.prompt_id for entry in still_open}
    found = [entry for entry in (*running, *pending, *(one for one in ended if one.prompt_id not in active))
             if (query.states is None or entry.state in query.states)
             and (query.workflow_id is None or entry.workflow_id == query.workflow_id)
             and (query.client_id is None or entry.client_id == query.client_id)
             and (query.outcomes is None or entry.outcome in query.outcomes)]
    if query.order is JobOrder.DURATION:
        found.sort(key=lambda entry: entry.duration, reverse=query.descending)
    else:
        found.sort(key=lambda entry: entry.created_at or 0, reverse=query.descending)
    end = None if query.limit is None else query.offset + query.limit
    return [function(entry) for entry in found[query.offset:end]], len(found)


def _done() -> "asyncio.Future[None]":
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
