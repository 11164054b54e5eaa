"""What a store of prompts can do, and what it is asked.

A job is a prompt from the moment it was queued. While it waits and runs the store holds it as open; once it has ended
it is history. A prompt that is submitted again under an id that has ended is a new run of it: each run is kept, and
the newest is the one that is shown.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Raw, Struct

from ..events import Event, NodeFailed, NodePlace, Outcome
from ..identifiers import ClientId, NodeId, PromptId


class JobState(StrEnum):
    """Where a prompt is on its way. Spelled as clients read it."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATE_OF = {Outcome.SUCCEEDED: JobState.COMPLETED, Outcome.FAILED: JobState.FAILED,
             Outcome.INTERRUPTED: JobState.CANCELLED}


class HistoryEntry(Struct, kw_only=True):
    """One run of a prompt: open, or ended once it has an outcome."""

    prompt_id: PromptId
    run: int = 1
    """Counts the runs of this id, from 1. With the id it names the entry."""
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

    @property
    def state(self) -> JobState:
        if self.outcome is not None:
            return _STATE_OF[self.outcome]
        return JobState.IN_PROGRESS if self.started_at else JobState.PENDING

    @property
    def created_at(self) -> int | None:
        """When it was submitted, as whoever submitted it wrote into `extra_data`; None if nobody did."""
        time = self.extra_data.get("create_time")
        return time if time.__class__ is int else None

    @property
    def stopped_at(self) -> int:
        """When what ended it happened, 0 while it is open. A node that failed is earlier than the end of its prompt,
        which waits for the calls beside it."""
        if self.outcome is Outcome.FAILED and self.failure is not None:
            return self.failure.at
        return self.ended_at

    @property
    def duration(self) -> int:
        """Milliseconds from its start to what ended it; 0 where one of the two is unknown."""
        return self.stopped_at - self.started_at if self.started_at and self.stopped_at else 0

    @property
    def workflow_id(self) -> str | None:
        """The id of the workflow that a front end made the prompt of, as it says in `extra_data`."""
        found: Any = self.extra_data
        for key in ("extra_pnginfo", "workflow", "id"):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, str) and found else None


class JobOrder(StrEnum):
    """What a list of jobs is sorted by."""

    CREATED_AT = "created_at"
    DURATION = "execution_duration"


class JobQuery(Struct, frozen=True, kw_only=True):
    """Which jobs are wanted, and in which order. Made so that a database can answer it."""

    states: frozenset[JobState] | None = None
    """None for any."""
    workflow_id: str | None = None
    order: JobOrder = JobOrder.CREATED_AT
    descending: bool = True
    offset: int = 0
    """Never negative."""
    limit: int | None = None


class JobPage(Struct, frozen=True):
    """A part of the jobs that a query means."""

    jobs: Sequence[HistoryEntry]
    """Those that are open are copies, which do not change any more."""
    total: int
    """All that the query means, on this page or not."""


class JobStore(Protocol):
    """Folds events into jobs and history. Called on the loop; only what is a coroutine may wait."""

    def take(self, event: Event) -> None: ...

    def get(self, prompt_id: PromptId) -> HistoryEntry | None:
        """The newest run that has ended."""
        ...

    def runs(self, prompt_id: PromptId) -> Sequence[HistoryEntry]:
        """All runs of an id that have ended, the oldest first."""
        ...

    def entries(self) -> Sequence[HistoryEntry]:
        """The newest run of each id that has one, the one that ended first at the front."""
        ...

    def delete(self, prompt_ids: Sequence[PromptId]) -> None:
        """Forget all runs of these that have ended."""
        ...

    def clear(self) -> None:
        """Forget all that have ended."""
        ...

    def job(self, prompt_id: PromptId) -> HistoryEntry | None:
        """The run that is open, or the newest one."""
        ...

    async def find_jobs(self, query: JobQuery) -> JobPage:
        """Jobs that a query means, each id once. Equal ones stand in the order: running, pending (the next first),
        ended (the oldest first)."""
        ...
