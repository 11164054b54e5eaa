"""A durable store that writes when a test says so, and fails when it is told to. It keeps nothing but notes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from execution import Event, HistoryEntry, JobQuery, PromptId
from execution.store import JobPage, Leftovers, LoggedEvent, NewJob, StoreUnavailable

T = TypeVar("T")
Written = Callable[[StoreUnavailable | None], None]


class ScriptedStore:
    """Stands where a store stands.

    :param leftovers: what it finds when it is opened.
    :param at_once: it writes as soon as the loop gets to it; otherwise at `write_next` and `let_in`.
    """

    is_durable = True

    def __init__(self, leftovers: Leftovers | None = None, *, at_once: bool = True) -> None:
        self._leftovers = leftovers or Leftovers()
        self.at_once = at_once
        self.trouble: StoreUnavailable | None = None
        self.jobs: list[NewJob] = []
        self.judged: list[PromptId | None] = []
        self.events: list[Event] = []
        """What was written, in this order."""
        self.batches: deque[tuple[Sequence[Event], Written]] = deque()
        """What waits to be written."""
        self.is_closed = False
        self._door = asyncio.Event()

    async def open(self, loop: asyncio.AbstractEventLoop) -> Leftovers:
        self._loop = loop
        return self._leftovers

    async def close(self) -> None:
        self.is_closed = True

    async def add(self, job: NewJob) -> None:
        if not self.at_once:
            await self._door.wait()
        if self.trouble is not None:
            raise self.trouble
        self.jobs.append(job)

    def let_in(self) -> None:
        """Keep the jobs that wait to be kept."""
        self._door.set()

    async def note_judging(self, prompt_id: PromptId | None) -> None:
        self.judged.append(prompt_id)
        if self.trouble is not None:
            raise self.trouble

    def take(self, event: Event) -> None:
        pass

    def write(self, events: Sequence[Event], written: Written) -> None:
        self.batches.append((list(events), written))
        if self.at_once:
            self._loop.call_soon(self.write_next)

    def write_next(self) -> None:
        """Write the next batch, or say what is in the way."""
        events, written = self.batches.popleft()
        if self.trouble is None:
            self.events += events
        written(self.trouble)

    def kinds(self, prompt_id: str) -> list[str]:
        """What was written of a prompt."""
        return [type(event).__name__ for event in self.events if getattr(event, "prompt_id", None) == prompt_id]

    # -- what nobody asks here --------------------------------------------------------------------------------------

    def delete(self, prompt_ids: Sequence[PromptId]) -> asyncio.Future[None]:
        raise NotImplementedError

    def clear(self) -> asyncio.Future[None]:
        raise NotImplementedError

    async def get(self, prompt_id: PromptId) -> HistoryEntry | None:
        raise NotImplementedError

    async def runs(self, prompt_id: PromptId) -> Sequence[HistoryEntry]:
        raise NotImplementedError

    async def entries(self, limit: int | None = None, offset: int | None = None) -> Sequence[HistoryEntry]:
        raise NotImplementedError

    def history_now(self, prompt_id: PromptId | None = None) -> Sequence[HistoryEntry]:
        raise NotImplementedError

    async def job(self, prompt_id: PromptId) -> HistoryEntry | None:
        raise NotImplementedError

    async def job_to_repeat(self, prompt_id: PromptId) -> NewJob | None:
        raise NotImplementedError

    async def job_of_key(self, key: str) -> NewJob | None:
        raise NotImplementedError

    async def find_jobs(self, query: JobQuery) -> JobPage:
        raise NotImplementedError

    async def map_jobs(self, query: JobQuery, function: Callable[[HistoryEntry], T]) -> tuple[Sequence[T], int]:
        raise NotImplementedError

    async def events_since(self, sequence: int, limit: int,
                           prompt_id: PromptId | None = None) -> Sequence[LoggedEvent]:
        raise NotImplementedError

    async def oldest_event(self) -> int:
        raise NotImplementedError
