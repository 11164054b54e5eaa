"""Jobs and what is told of them, and a way to feed a store as the engine does."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from execution import (
    ClientId,
    Event,
    HistoryEntry,
    JobStore,
    NodeFinished,
    NodeId,
    NodePlace,
    NodeStarted,
    Outcome,
    PromptFinished,
    PromptId,
    PromptQueued,
    PromptStarted,
)
from execution.store import JobPage, NewJob, StoreUnavailable

P, Q = PromptId("p"), PromptId("q")


def place(node_id: str) -> NodePlace:
    return NodePlace(NodeId(node_id), NodeId(node_id), None, NodeId(node_id))


def queued(prompt_id: PromptId | str = P, at: int = 1, **fields: Any) -> PromptQueued:
    return PromptQueued(**{
        "at": at, "prompt_id": prompt_id, "client_id": ClientId("me"), "number": 3, "prompt": {"1": {}},
        "extra_data": {"x": 1}, "outputs": [NodeId("1")], "remaining": 1, **fields})


def started(prompt_id: PromptId | str = P, at: int = 2) -> Event:
    return PromptStarted(at=at, prompt_id=PromptId(prompt_id), remaining=1)


def node_started(node_id: str, prompt_id: PromptId | str = P, at: int = 3) -> Event:
    return NodeStarted(at=at, prompt_id=PromptId(prompt_id), place=place(node_id))


def node_finished(node_id: str, prompt_id: PromptId | str = P, at: int = 4, **fields: Any) -> Event:
    return NodeFinished(**{"at": at, "prompt_id": prompt_id, "place": place(node_id), "ui": None, "is_output": False,
                           **fields})


def finished(prompt_id: PromptId | str = P, **fields: Any) -> Event:
    return PromptFinished(**{"prompt_id": prompt_id, "outcome": Outcome.SUCCEEDED, "remaining": 0, **fields})


def new_job(arrival: PromptQueued | None = None, **fields: Any) -> NewJob:
    """The job that is about to be told of."""
    arrival = arrival or queued()
    submitted = fields.pop("submitted", None) or msgspec.json.encode(arrival.prompt)
    entry = HistoryEntry(
        prompt_id=arrival.prompt_id, client_id=arrival.client_id, number=arrival.number,
        prompt=msgspec.Raw(submitted), extra_data=arrival.extra_data, outputs_wanted=arrival.outputs,
        queued_at=arrival.at)
    return NewJob(entry=entry, submitted=submitted, **fields)


class Telling:
    """Feeds a store as the engine does: a job is added before its arrival is told, each event is taken and then
    written, in batches."""

    def __init__(self, store: JobStore, sequence: int = 0) -> None:
        self.store = store
        self.sequence = sequence

    async def __call__(self, *events: Event) -> JobStore:
        batch: list[Event] = []
        for event in events:
            if isinstance(event, PromptQueued) and not event.is_restored:
                await self._write(batch)
                batch = []
                await self.store.add(new_job(event))
            self.take(event)
            batch.append(event)
        await self._write(batch)
        return self.store

    def take(self, event: Event) -> None:
        self.sequence += 1
        event.sequence = self.sequence
        self.store.take(event)

    async def _write(self, batch: list[Event]) -> None:
        trouble = await written(self.store, batch)
        assert trouble is None, trouble


async def written(store: JobStore, events: list[Event]) -> StoreUnavailable | None:
    """Write events that were taken, and wait for the answer."""
    if not events:
        return None
    answer: asyncio.Future[StoreUnavailable | None] = asyncio.get_running_loop().create_future()
    store.write(events, answer.set_result)
    return await answer


def names(page: JobPage | list[HistoryEntry] | Any) -> list[str]:
    jobs = page.jobs if isinstance(page, JobPage) else page
    return [str(entry.prompt_id) for entry in jobs]
