"""What a store of prompts can do, and what it is asked.

A job is a prompt from the moment it was queued. While it waits and runs the store holds it as open; once it has ended
it is history. A prompt that is submitted again under an id that has ended is a new run of it: each run is kept, and
the newest is the one that is shown.

A durable store is written before anybody is told: a job before its submission is answered, an event before it goes to
listeners. Whoever reads sees what was written, and nothing that is only about to be.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from msgspec import Raw, Struct

from ..errors import StudioError
from ..events import Event, NodeFailed, NodePlace, Outcome
from ..identifiers import ClientId, NodeId, PromptId
from ..run_rules import USUAL_RULES, RunRules
from .outbox import EndNotice, Outbox

T = TypeVar("T")


class JobState(StrEnum):
    """Where a prompt is on its way. Spelled as clients read it."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATE_OF = {Outcome.SUCCEEDED: JobState.COMPLETED, Outcome.FAILED: JobState.FAILED,
             Outcome.INTERRUPTED: JobState.CANCELLED, Outcome.CANCELLED: JobState.CANCELLED,
             Outcome.POISONED: JobState.FAILED, Outcome.PARTLY_SUCCEEDED: JobState.FAILED}


class StoreUnavailable(StudioError):
    """Nothing can be written now: the disk is full, say. What was accepted before is kept; what asks now is not."""


class StoreRefused(StoreUnavailable):
    """This change cannot be written as it is, now or later. Others can."""


class StoreUnusable(StudioError):
    """The store cannot be opened: another process has it, it is damaged, or a newer version has written it. A sentence
    for whoever starts the server."""


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
    attempt: int = 0
    """How often it was started. More than once only if the process ended while it ran."""
    failures: Sequence[NodeFailed] = ()
    """All nodes that failed, if it goes on after errors; `failure` is the first."""
    is_cancelled: bool = False
    """It was told to stop."""
    retry_of: PromptId | None = None
    node_times: dict[NodeId, tuple[int, int]] = {}
    """For each node that was called: when that began, and when it ended or 0."""
    reason: str = ""
    """A sentence on why it ended as it did, where neither a node nor a client is the reason."""
    end_notice: EndNotice | None = None
    """Who wants to hear of its end."""

    @property
    def state(self) -> JobState:
        if self.outcome is not None:
            return _STATE_OF[self.outcome]
        return JobState.IN_PROGRESS if self.started_at else JobState.PENDING

    @property
    def has_history(self) -> bool:
        """It has ended, and not while it waited: then it is a job and no history."""
        return self.outcome is not None and self.outcome is not Outcome.CANCELLED

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


MOST_ENTRIES = 10_000
"""Entries of the history that are given out at once."""


class JobOrder(StrEnum):
    """What a list of jobs is sorted by."""

    CREATED_AT = "created_at"
    DURATION = "execution_duration"


class JobQuery(Struct, frozen=True, kw_only=True):
    """Which jobs are wanted, and in which order. Made so that a database can answer it."""

    states: frozenset[JobState] | None = None
    """None for any."""
    workflow_id: str | None = None
    client_id: ClientId | None = None
    outcomes: frozenset[Outcome] | None = None
    """None for any, and for jobs that have none yet."""
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


class NewJob(Struct, kw_only=True, gc=False):
    """A prompt that was checked and is about to be queued."""

    entry: HistoryEntry
    """Its `prompt` is what clients are shown."""
    submitted: bytes
    """The prompt as it was posted, as JSON: it is submitted again from this."""
    targets: Sequence[str] | None = None
    line: str | None = None
    content_key: str | None = None
    rules: RunRules = USUAL_RULES
    idempotency_key: str | None = None
    """Whoever submits with this key again means this job."""
    had_secrets: bool = False
    """Something came with it that is written nowhere."""
    starts_at: int = 0
    """If not 0, its start is put on record with it, at this place in the order of events: it will start at once, or
    StartPutOff is told."""
    is_first_run: bool = False
    """No job had its id before: the engine has just made that up."""
    node_errors: Mapping[str, Any] = {}
    """What was wrong with outputs that are left out, as whoever submitted it was told."""


class UnfinishedJob(Struct, kw_only=True):
    """A job that had not ended when the process did."""

    job: NewJob
    """With `entry.started_at` if it ran, and the number of its starts in `entry.attempt`."""
    open_nodes: Sequence[NodeId] = ()
    """Nodes that had started and not ended, so that one of them may be what ended the process."""
    is_cancelled: bool = False
    """A client was told that it would stop."""
    was_started: bool = False
    """By a process that ended while it ran, or left it to the next in peace: who was told waits for its end."""
    judgings: int = 0
    """How often the process ended while it was judged, the last times in a row that it was."""


class LoggedEvent(Struct, frozen=True, kw_only=True):
    """An event of the log."""

    client_id: ClientId | None
    """Of its prompt, if it belongs to one."""
    event: Event


class Leftovers(Struct, kw_only=True):
    """What a store holds when it is opened."""

    unfinished: Sequence[UnfinishedJob] = ()
    """The running ones in the order of their starts, then those that wait, the next first."""
    next_number: int = 0
    """Above all numbers that were counted before."""
    last_sequence: int = 0
    """No event that was told has a larger one."""


class JobStore(Protocol):
    """Keeps jobs, their history, and a log of events. Called on the loop; what may wait for a disk is a coroutine, or
    hands out a future that need not be awaited."""

    is_durable: bool
    """Whether anything is left of it when the process ends. If not, `write` has nothing to do."""
    outbox: Outbox
    """Who has yet to be told of an end. What an end owes is kept in one step with it."""

    async def open(self, loop: asyncio.AbstractEventLoop) -> Leftovers:
        """To be called once, before anything else.

        :raises StoreUnusable: with a sentence.
        """
        ...

    async def close(self) -> None:
        """Write what is there, and let go."""
        ...

    # -- writing ----------------------------------------------------------------------------------------------------

    async def add(self, job: NewJob) -> None:
        """Keep a job. It is written when this returns.

        :raises StoreUnavailable: it is not kept.
        """
        ...

    async def note_judging(self, prompt_id: PromptId | None) -> None:
        """Put on record which open job is judged from now on, if any, and that the one before it is past that.

        :raises StoreUnavailable: it is not on record.
        """
        ...

    def take(self, event: Event) -> None:
        """Fold an event into the open jobs, as soon as it happens."""
        ...

    def write(self, events: Sequence[Event], written: Callable[[StoreUnavailable | None], None]) -> None:
        """Write events that were taken, with what they change, in one step.

        :param written: called on the loop once: with None when all of it is written, or with what is in the way. Then
            nothing of it is, and it has to be written again.
        """
        ...

    def delete(self, prompt_ids: Sequence[PromptId]) -> "asyncio.Future[None]":
        """Forget all runs of these that have ended."""
        ...

    def clear(self) -> "asyncio.Future[None]":
        """Forget all that have ended."""
        ...

    # -- reading ----------------------------------------------------------------------------------------------------

    async def get(self, prompt_id: PromptId) -> HistoryEntry | None:
        """The newest run that was started and has ended."""
        ...

    async def runs(self, prompt_id: PromptId) -> Sequence[HistoryEntry]:
        """All runs of an id that were started and have ended, the oldest first."""
        ...

    async def entries(self, limit: int | None = None, offset: int | None = None) -> Sequence[HistoryEntry]:
        """The newest run of each id that was started and has ended, the one that ended first at the front.

        :param limit: at most so many: the last ones, or from `offset` on. Never more than `MOST_ENTRIES`.
        """
        ...

    def history_now(self, prompt_id: PromptId | None = None) -> Sequence[HistoryEntry]:
        """`entries`, or what `get` finds, for code that cannot await. Waits for the disk: to be called on a thread."""
        ...

    async def job(self, prompt_id: PromptId) -> HistoryEntry | None:
        """The run that is open (a copy), or the newest one, whether it was started or not."""
        ...

    async def job_to_repeat(self, prompt_id: PromptId) -> NewJob | None:
        """The newest run of an id, with all that it was submitted with but its secrets."""
        ...

    async def job_of_key(self, key: str) -> NewJob | None:
        """The job that was submitted with this idempotency key."""
        ...

    async def find_jobs(self, query: JobQuery) -> JobPage:
        """Jobs that a query means, each id once. Equal ones stand in the order: running, pending (the next first),
        ended (the oldest first)."""
        ...

    async def map_jobs(self, query: JobQuery, function: Callable[[HistoryEntry], T]) -> tuple[Sequence[T], int]:
        """What a function makes of each job that `find_jobs` would find, and how many jobs there are in all. It is
        called on a thread. A durable store holds few of the jobs in memory at once, however many there are."""
        ...

    async def events_since(self, sequence: int, limit: int,
                           prompt_id: PromptId | None = None) -> Sequence[LoggedEvent]:
        """Events of the log behind a place in it, the oldest first; of all prompts, or of one. Empty if nothing is
        logged."""
        ...

    async def oldest_event(self) -> int:
        """The sequence of the oldest event that the log still holds: `events_since` anything before it has a gap.
        0 if none was ever dropped."""
        ...
