"""Runs prompts: one coroutine's worth of work on the loop that it was opened on.

The engine checks what is submitted, tells the scheduler what happened, and performs what it commands. It owns the
caller of nodes, the progress desk and the broadcast of events; it knows nothing of HTTP and nothing of the
generations of nodes.
"""

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from msgspec import Raw, Struct

from . import commands, stimuli
from .clock import Clock, SystemClock
from .disk_tier import DiskTier
from .errors import EngineClosed, PromptConflict, PromptRejected
from .event_broadcast import EventBroadcast, Listener, Subscription
from .event_journal import EventJournal
from .events import (
    Event,
    NodeProgressed,
    ProgressRow,
    PromptDropped,
    PromptFinished,
    PromptMoved,
    PromptQueued,
    PromptRequeued,
    StartPutOff,
)
from .failpoints import reach
from .identifiers import CallId, ClientId, NodeId, PromptId
from .node_caller import LocalNodeCaller
from .node_code import contain_exits
from .node_hooks import CallerSettings
from .node_interface import CodeOf, NodeDefinition, NodeInterface, PromptScope
from .node_lanes import StepClock
from .node_registry import NodeRegistry
from .node_values import OutputRecord
from .output_cache import CacheRule, OutputCache
from .progress import EncodePreview, ProgressDesk, ProgressTables
from .restored_jobs import (
    EndOfLeftover,
    events_of_the_end,
    fields_of_submission,
    reason_to_end,
    suspects_of,
)
from .run_rules import USUAL_RULES, RunRules
from .scheduler import QueueEntry, Scheduler, SchedulerSettings
from .slower_tiers import OutsideTier, SlowerTiers
from .store import EndNotice, HistoryEntry, JobStore, MemoryStore, NewJob, StoreUnavailable, UnfinishedJob
from .store.event_codec import encode
from .validation import CheckedGraph, Verdict, add_answer, check_graph, conclude, read_graph

log = logging.getLogger("studio.engine")

MOST_CHECKED_IN_PLACE = 64
"""Nodes of a prompt that is checked on the loop, if it is small."""
SEQUENCE_JUMP = 1_000_000
"""Between the last number of an event that is on record and the first one of the next process."""

_OF_ENTRIES = frozenset({PromptQueued, PromptMoved, PromptFinished})

T = TypeVar("T")


class PromptSubmission(Struct, kw_only=True):
    """A prompt as it is handed in. The engine may change `prompt`: constants are converted in place."""

    prompt: Any
    client_id: ClientId | None = None
    prompt_id: PromptId | None = None
    number: float | None = None
    """Smaller ones run first; by default the engine counts."""
    line: str | None = None
    """Prompts of one line run one after the other, whatever else may run side by side."""
    front: bool = False
    """Run before whatever was counted so far."""
    extra_data: dict[str, Any] = {}
    secrets: dict[str, Any] = {}
    """Handed to nodes, shown to nobody."""
    targets: Sequence[str] | None = None
    """Only these output nodes."""
    content_key: str | None = None
    """Equal for equal bodies: tells a repeated submission from another prompt under the same id."""
    rules: RunRules = USUAL_RULES
    idempotency_key: str | None = None
    """Kept with the job. Whoever hands it in again finds the job by it."""
    retry_of: PromptId | None = None
    """The job that this one repeats."""
    end_notice: EndNotice | None = None
    """Who wants to hear of its end."""
    is_small: bool = False
    """Whoever hands it in knows that looking at all of it takes no time worth a thread."""
    submitted: bytes = b""
    """The prompt as JSON, as it was before anything was converted. The engine writes it down if it has to."""


class Accepted(Struct, kw_only=True):
    """The answer to a submission that runs, perhaps without some of its outputs."""

    prompt_id: PromptId
    number: int | float
    node_errors: Mapping[str, Any] = {}


class QueueSnapshot(Struct, frozen=True):
    running: Sequence[QueueEntry]
    pending: Sequence[QueueEntry]
    """The next one first."""


class BusyPool(Struct, frozen=True, kw_only=True):
    """A pool that gives nothing out: an abandoned call keeps its tokens until its code returns, or it is paused."""

    pool: str
    tokens: int
    prompt_id: PromptId | None = None
    node_id: NodeId | None = None
    class_type: str = ""
    seconds: float = 0.0
    reason: str = ""
    """Why it is paused."""

    @property
    def sentence(self) -> str:
        if self.reason:
            return f"{self.pool} paused: {self.reason}"
        return f"{self.pool} busy with an abandoned node {self.class_type} ({self.node_id}), {self.seconds:.0f} s"


class EngineSettings(Struct, frozen=True, kw_only=True):
    scheduler: SchedulerSettings = SchedulerSettings()
    caller: CallerSettings = CallerSettings()
    max_attempts: int = 2
    """Starts of a prompt during which the process may end, until it is taken to be the reason."""


class Engine:
    """An async context manager: everything that it starts has ended when it is left.

    :param encode_preview: makes bytes of preview pictures, on a thread.
    :param before_call: called on a thread before plain code of a node runs there.
    :param release_memory: called, on a thread, after outputs were dropped because memory was short.
    :param disk_tier: where outputs of unfinished prompts outlive the process.
    :param code_of: answers what tells the code of a class from other code, so that outputs of older code are not taken
        for those of the present one. None says that code never changes.
    """

    def __init__(self, registry: NodeRegistry, settings: EngineSettings | None = None, *,
                 cache: OutputCache | None = None, store: JobStore | None = None, clock: Clock | None = None,
                 encode_preview: EncodePreview | None = None, before_call: Callable[[], None] | None = None,
                 release_memory: Callable[[], None] | None = None, disk_tier: DiskTier | None = None,
                 code_of: CodeOf | None = None) -> None:
        self.registry = registry
        self._settings = settings or EngineSettings()
        self._scheduler = Scheduler(self._settings.scheduler, cache if cache is not None else OutputCache(), code_of)
        self._disk_tier = disk_tier
        self._tiers = SlowerTiers(disk_tier, self._looked_up)
        self.history: JobStore = store if store is not None else MemoryStore()
        self._clock = clock or SystemClock()
        self._encode_preview = encode_preview
        self._before_call = before_call
        self._release_memory = release_memory
        self._broadcast = EventBroadcast()
        self._leftovers: Sequence[UnfinishedJob] = ()
        self._last_before = 0
        self._entries: dict[PromptId, QueueEntry] = {}
        """As long as an end that is on its way is not told, its prompt is shown as one that runs."""
        self._ending: dict[PromptId, QueueEntry] = {}
        self._admissions: set[asyncio.Task[None]] = set()
        self._arrival_listeners: list[Callable[[PromptQueued], None]] = []
        self._starting = 0
        """Prompts that are put on record now, with their starts."""
        self._sequence = 0
        self._told = 0
        self._counter = 0
        self._stimuli: deque[stimuli.Stimulus] = deque()
        self._is_applying = False
        self._is_open = False
        self._admitted: dict[PromptId, tuple[str | None, asyncio.Future[Accepted]]] = {}
        self._turn_is_due = False

    # -- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "Engine":
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        leftovers = await self.history.open(self._loop)
        self._leftovers = leftovers.unfinished
        self._last_before = leftovers.last_sequence
        self._counter = leftovers.next_number
        self._sequence = leftovers.last_sequence
        if self._sequence:  # a jump, so that no number that somebody may have seen is used again
            self._sequence += SEQUENCE_JUMP
        self._told = self._sequence
        self._journal = EventJournal(self.history, self._tell, self._loop, self._context)
        self._desk = ProgressDesk(self._clock, self._publish, self._scheduler.place_of, self._encode_preview)
        self._tables = ProgressTables(self._publish)
        self._caller = LocalNodeCaller(
            registry=self.registry, ended=self._apply, desk=self._desk, settle=self._desk.settle,
            capacity=self._scheduler.pools.capacity, settings=self._settings.caller,
            before_call=self._before_call, now=self._clock.monotonic, copier=self._disk_tier)
        self._caller.keeps_instances = self._scheduler.cache.rule is not CacheRule.NONE
        self._desk.use(self._caller.mailbox)
        self._tiers.open(self._context)
        self._stop_containing = contain_exits(self._loop)
        if self._disk_tier is not None:
            self._scheduler.cache.on_disk = set()
            await self._disk_tier.open(
                [one.job.entry.prompt_id for one in leftovers.unfinished],
                stored=lambda signatures: self._apply(stimuli.OutputsStored(signatures=signatures)),
                dropped=lambda signatures: self._apply(stimuli.OutputsDropped(signatures=signatures)))
        self._is_open = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self._is_open = False
        if self._admissions:
            await asyncio.wait(self._admissions)
        if self.history.is_durable:
            await self._leave_to_the_next()
        self._apply(stimuli.PendingRemoved(prompt_ids=None))
        self._apply(stimuli.CancelRequested(prompt_id=None))
        await self._caller.close()
        await self._tiers.close(self._settings.caller.cancel_grace)
        self._stop_containing()
        self._desk.close()
        self._tables.close()
        if self._disk_tier is not None:
            await self._disk_tier.close()
        await self.history.close()

    async def _leave_to_the_next(self) -> None:
        """What waits or runs is taken up by the next engine that opens the store: nothing that happens from now on is
        put on record."""
        self._apply(stimuli.PauseRequested(is_paused=True))
        for entry in self._scheduler.running():
            self._publish(PromptRequeued(prompt_id=entry.prompt_id))
        await self._journal.close()
        if self._disk_tier is not None:
            self._disk_tier.leave()

    # -- prompts --------------------------------------------------------------------------------------------------

    async def submit(self, submission: PromptSubmission) -> Accepted:
        """Check a prompt and queue it.

        :raises PromptRejected: it cannot run; every reason is in it.
        :raises PromptConflict: its id belongs to another prompt that is queued or running.
        :raises EngineClosed: the engine is shutting down.
        """
        if not self._is_open:
            raise EngineClosed
        prompt_id = PromptId(str(uuid.uuid4())) if submission.prompt_id is None else submission.prompt_id
        known = self._admitted.get(prompt_id)
        if known is not None:
            content_key, accepted = known
            self._number_of(submission)
            if content_key is None or content_key != submission.content_key:
                raise PromptConflict(f"prompt_id {prompt_id} belongs to another prompt that is queued or running")
            return await asyncio.shield(accepted)
        future: asyncio.Future[Accepted] = self._loop.create_future()
        self._admitted[prompt_id] = (submission.content_key, future)
        try:
            accepted_now = await self._admit(submission, prompt_id)
        except BaseException as error:
            del self._admitted[prompt_id]
            future.set_exception(error if isinstance(error, Exception) else EngineClosed())
            future.exception()  # nobody may be waiting for it
            raise
        future.set_result(accepted_now)
        return accepted_now

    def take_number(self) -> int:
        """The next of the numbers that prompts without one of their own are queued by. Refused ones use one up, too."""
        counted = self._counter
        self._counter += 1
        return counted

    def _number_of(self, submission: PromptSubmission) -> int | float:
        if submission.number is not None:
            return submission.number
        counted = self.take_number()
        return -counted if submission.front else counted

    async def check(self, submission: PromptSubmission) -> Verdict:
        """All that is asked of a prompt before it is queued, without queueing it.

        :raises PromptRejected: it cannot run; every reason is in it.
        """
        prompt_id = PromptId(str(uuid.uuid4())) if submission.prompt_id is None else submission.prompt_id
        return (await self._judge(submission, prompt_id))[2]

    async def _admit(self, submission: PromptSubmission, prompt_id: PromptId) -> Accepted:
        if self._journal.trouble is not None:
            raise self._journal.trouble
        try:
            checked, scope, verdict = await self._judge(submission, prompt_id)
        except PromptRejected:
            self._number_of(submission)
            raise
        number = self._number_of(submission)  # only now: whoever has a smaller one is put on record before
        if not self._is_open:
            raise EngineClosed
        stimulus = stimuli.PromptSubmitted(
            prompt_id=prompt_id, client_id=submission.client_id, line=submission.line, number=number, scope=scope,
            outputs=verdict.outputs, order=checked.whole_order,
            goes_on_after_errors=submission.rules.goes_on_after_errors)
        if self.history.is_durable and submission.line is None and self._scheduler.has_room(self._starting):
            stimulus.is_start_on_record = True
            self._starting += 1  # until it is on record
        recording = self._record(submission, stimulus, verdict.node_errors)
        if self.history.is_durable:
            # Not to be cancelled in between: what is on record has to be queued.
            task = self._loop.create_task(recording)
            self._admissions.add(task)
            task.add_done_callback(self._admissions.discard)
            await asyncio.shield(task)
        else:
            await recording
        return Accepted(prompt_id=prompt_id, number=number, node_errors=verdict.node_errors)

    async def _record(self, submission: PromptSubmission, stimulus: stimuli.PromptSubmitted,
                      node_errors: Mapping[str, Any]) -> None:
        starts = stimulus.is_start_on_record
        try:
            await self.history.add(self._new_job(submission, stimulus, node_errors))
        finally:
            self._starting -= starts
        reach("job-added")
        if self._is_open:
            self._apply(stimulus)
        elif starts:
            self._publish(StartPutOff(prompt_id=stimulus.prompt_id))

    def _new_job(self, submission: PromptSubmission, stimulus: stimuli.PromptSubmitted,
                 node_errors: Mapping[str, Any]) -> NewJob:
        scope = stimulus.scope
        return NewJob(
            entry=HistoryEntry(
                prompt_id=stimulus.prompt_id, client_id=stimulus.client_id, number=stimulus.number,
                prompt=Raw(submission.submitted), extra_data=scope.extra_data, outputs_wanted=stimulus.outputs,
                queued_at=self._clock.now_ms(), retry_of=submission.retry_of,
                end_notice=submission.end_notice),
            submitted=submission.submitted, targets=submission.targets, line=submission.line,
            content_key=submission.content_key, had_secrets=bool(scope.secrets), rules=submission.rules,
            idempotency_key=submission.idempotency_key, is_first_run=submission.prompt_id is None,
            node_errors=node_errors, starts_at=self._sequence + 1 if stimulus.is_start_on_record else 0)

    async def restore(self) -> None:
        """Take up what had not ended when the process before this one did. To be called once all nodes are known.

        Nothing starts before all of it is judged: if the process ends meanwhile, it is known by whose nodes."""
        leftovers, self._leftovers = self._leftovers, ()
        judged: list[stimuli.PromptSubmitted] = []
        for left in leftovers:
            verdict: EndOfLeftover | stimuli.PromptSubmitted | None = reason_to_end(left, self._settings.max_attempts)
            if verdict is None:
                await self._note_judging(left.job.entry.prompt_id)
                verdict = await self._judge_again(left)
            if isinstance(verdict, EndOfLeftover):
                for event in events_of_the_end(left, verdict, self.remaining):
                    self._publish(event)
            else:
                judged.append(verdict)
        await self._note_judging(None)
        for stimulus in judged:
            self._apply(stimulus)

    async def _note_judging(self, prompt_id: PromptId | None) -> None:
        with contextlib.suppress(StoreUnavailable):  # it is judged all the same
            await self.history.note_judging(prompt_id)

    async def _judge_again(self, left: UnfinishedJob) -> EndOfLeftover | stimuli.PromptSubmitted:
        """How it is queued again, or why that cannot be."""
        entry = left.job.entry
        submission = PromptSubmission(**fields_of_submission(left.job))
        try:
            checked, scope, verdict = await self._judge(submission, entry.prompt_id)
        except PromptRejected as refusal:
            return EndOfLeftover.rejected(refusal)
        if left.job.had_secrets and any(one.takes_secrets for one in scope.interfaces.values()):
            return EndOfLeftover.without_secrets()
        accepted: asyncio.Future[Accepted] = self._loop.create_future()
        accepted.set_result(Accepted(prompt_id=entry.prompt_id, number=entry.number,
                                     node_errors=left.job.node_errors))
        self._admitted[entry.prompt_id] = (left.job.content_key, accepted)
        return stimuli.PromptSubmitted(
            prompt_id=entry.prompt_id, client_id=entry.client_id, line=left.job.line, number=entry.number,
            scope=scope, outputs=verdict.outputs, order=checked.whole_order, is_restored=True,
            attempt=entry.attempt, was_started=left.was_started,
            suspects=suspects_of(left, checked.nodes, checked.whole_order, verdict.outputs),
            goes_on_after_errors=left.job.rules.goes_on_after_errors)

    async def _judge(self, submission: PromptSubmission,
                     prompt_id: PromptId) -> tuple[CheckedGraph, PromptScope, Verdict]:
        checked = await self._check(submission)
        scope = PromptScope(prompt_id, submission.prompt, {**submission.extra_data}, checked.nodes,
                            checked.definitions, checked.interfaces)
        scope.secrets = submission.secrets
        scope.limits = submission.rules.limits
        if checked.validators:
            answers = await self._caller.hooks.ask_validators(checked.validators, scope)
            for call, answer in zip(checked.validators, answers, strict=True):
                add_answer(checked, call, answer)
        verdict = await self._caller.hooks.on_validation_lane(lambda: conclude(checked)) if checked.errors \
            else conclude(checked)
        return checked, scope, verdict

    async def _check(self, submission: PromptSubmission) -> CheckedGraph:
        """Everything about a prompt that needs no answer of a validator, on a thread: classes are asked what they
        declare, which is plain code of theirs, and a large graph takes its time. A hop costs more than all of this for
        a small prompt of classes that need not be asked."""
        if submission.is_small and submission.prompt.__class__ is dict \
                and len(submission.prompt) <= MOST_CHECKED_IN_PLACE:
            checked_at_once = self._check_in_place(submission)
            if checked_at_once is not None:
                return checked_at_once
        clock = StepClock()

        def check() -> CheckedGraph:
            if not submission.submitted:
                submission.submitted = encode(submission.prompt)
            read = read_graph(submission.prompt, self.registry)
            interfaces, failed = self._caller.hooks.declarations_of(read.definitions, clock)
            return check_graph(read, interfaces, failed, submission.targets,
                               self._scheduler.pools.impossible)

        try:
            checked: CheckedGraph = await self._caller.hooks.on_validation_lane(check, clock)
        except TimeoutError:
            asked = clock.step
            raise PromptRejected({
                "type": "node_does_not_answer", "details": asked, "extra_info": {"class_type": asked},
                "message": f"Node class {asked!r} did not say within "
                           f"{self._settings.caller.hook_timeout:g} s which inputs it takes."}) from None
        return checked

    def _check_in_place(self, submission: PromptSubmission) -> CheckedGraph | None:
        """The same on the loop; None if one of the classes has to be asked what it declares."""
        read = read_graph(submission.prompt, self.registry)
        interfaces: dict[str, NodeInterface] = {}
        for name, definition in read.definitions.items():
            known = definition.describe_in_place() if definition.describe_in_place is not None else None
            if known is None:
                return None
            interfaces[name] = known
        if not submission.submitted:
            submission.submitted = encode(submission.prompt)
        return check_graph(read, interfaces, {}, submission.targets, self._scheduler.pools.impossible)

    def interrupt(self, prompt_id: PromptId | None = None) -> bool:
        """Stop a running prompt, or all of them. Pending ones stay.

        :returns: whether something runs that will stop.
        """
        found = bool(self._scheduler.running()) if prompt_id is None else self._scheduler.is_running(prompt_id)
        self._apply(stimuli.CancelRequested(prompt_id=prompt_id))
        return found

    def cancel(self, prompt_ids: Sequence[PromptId]) -> bool:
        """Stop these wherever they are: take them from the queue, or interrupt them. None of them starts any more.

        :returns: whether one of them was waiting or running.
        """
        waiting = [one for one in prompt_ids if self._scheduler.knows(one) and not self._scheduler.is_running(one)]
        running = [one for one in prompt_ids if self._scheduler.is_running(one)]
        if waiting:  # first: what ends below makes room, and none of these may start in it
            self.remove_pending(waiting)
        for prompt_id in running:
            self.interrupt(prompt_id)
        return bool(waiting or running)

    def remove_pending(self, prompt_ids: Sequence[PromptId] | None = None) -> None:
        """Take prompts from the queue before they run; None takes all of them."""
        self._apply(stimuli.PendingRemoved(prompt_ids=prompt_ids))

    def move(self, prompt_id: PromptId, *, number: float | None = None, position: int | None = None) -> None:
        """Give a pending prompt another place in the queue: that of a number, or a position, 1 being the next one.

        :raises PromptConflict: it does not wait, or comes first whatever its number is.
        """
        if not self._scheduler.is_movable(prompt_id):
            raise PromptConflict("It ran when the server stopped, and is started again before all others."
                                 if self.position_of(prompt_id) else "It does not wait in the queue any more.")
        self._apply(stimuli.PendingMoved(prompt_id=prompt_id, number=number, position=position))

    def pause(self) -> None:
        """Start no more prompts. Those that run go on."""
        self._apply(stimuli.PauseRequested(is_paused=True))

    def resume(self) -> None:
        self._apply(stimuli.PauseRequested(is_paused=False))

    @property
    def is_paused(self) -> bool:
        return self._scheduler.is_paused

    async def told(self) -> None:
        """Wait until all that has happened so far is on record and told.

        :raises StoreUnavailable: nothing can be put on record now.
        """
        await self._journal.told()

    def in_order(self, function: Callable[[], None]) -> None:
        """Have a function called as soon as all that has happened so far is told: what others tell clients of a
        prompt does not overtake it. On the loop."""
        self._journal.when_told(function)

    def free_memory(self) -> None:
        """Drop at once all outputs and instances that no running prompt holds."""
        self._caller.instances.clear()
        self._apply(stimuli.MemoryWanted())

    def use_outside_tier(self, tier: OutsideTier | None, code_of: CodeOf | None = None) -> None:
        """Look for outputs that are not in memory in a tier of somebody else, and give it new ones, from the next
        prompt on; None ends it. On the loop.

        :param code_of: as for the engine itself, if that has none.
        """
        self._tiers.outside = tier
        self._apply(stimuli.OutsideTierChanged(is_there=tier is not None, code_of=code_of))

    @property
    def hook_timeout(self) -> float:
        """Seconds that whatever is asked beside running nodes may take."""
        return self._settings.caller.hook_timeout

    # -- nodes ------------------------------------------------------------------------------------------------------

    async def ask_nodes(self, function: Callable[[], T]) -> T:
        """Run something that asks nodes what they declare, off the loop.

        :raises TimeoutError: it took longer than `hook_timeout`.
        """
        answer: T = await self._caller.hooks.on_validation_lane(function)
        return answer

    async def ask_nodes_in_turn(self, questions: Sequence[Callable[[], Any]]) -> list[Any]:
        """The same for many questions. An exception stands for itself, a TimeoutError for what takes too long."""
        return await self._caller.hooks.ask_in_turn(questions, lambda _: TimeoutError())

    def info_of(self, definition: NodeDefinition) -> Mapping[str, Any]:
        """How clients are told of a class. Within `ask_nodes`; raises what the class raises."""
        return self._caller.hooks.info_of(definition)

    def post(self, function: Callable[[Any], None], argument: Any) -> None:
        """Have a function called on the loop, from any thread: after all that nodes told before, and before the end
        of a node that asks for it."""
        self._caller.mailbox.post(function, argument)

    # -- looking ----------------------------------------------------------------------------------------------------

    @property
    def remaining(self) -> int:
        """Pending and running prompts together."""
        return self._scheduler.remaining

    @property
    def waiting(self) -> int:
        """Pending prompts."""
        return self._scheduler.waiting

    def position_of(self, prompt_id: PromptId) -> int | None:
        """The place of a pending prompt in the queue, 1 being the next one. None if it does not wait."""
        return self._scheduler.position_of(prompt_id)

    def is_admitted(self, prompt_id: PromptId) -> bool:
        """Whether an id belongs to a prompt that is being checked, waits or runs."""
        return prompt_id in self._admitted

    def snapshot(self) -> QueueSnapshot:
        """What is queued. A prompt whose end is not told yet is shown as one that runs."""
        return QueueSnapshot([*self._ending.values(), *self._scheduler.running()], self._scheduler.pending())

    @property
    def last_before(self) -> int:
        """Sequence of the last event that is on record of the process before this one; 0 if there was none."""
        return self._last_before

    @property
    def last_told(self) -> int:
        """Sequence of the newest event that listeners were told of."""
        return self._told

    def progress_of(self, prompt_id: PromptId) -> Mapping[NodeId, ProgressRow]:
        """How far the nodes of a running prompt are."""
        return self._tables.rows_of(prompt_id)

    def previews_of(self, prompt_id: PromptId) -> Sequence[NodeProgressed]:
        """The last preview of each of its nodes that run."""
        return self._tables.previews_of(prompt_id)

    def running_node_of(self, prompt_id: PromptId) -> NodeId | None:
        """What to show for the node of a prompt that was started last, if it still runs."""
        return self._scheduler.latest_node(prompt_id)

    def pools(self) -> dict[str, tuple[int, int]]:
        """Pool -> (tokens held, tokens)."""
        return self._scheduler.pools.snapshot()

    def busy_pools(self) -> list[BusyPool]:
        """Pools that are paused, and those of which abandoned calls still hold tokens, whoever waits for them."""
        now = self._clock.monotonic()
        paused = [BusyPool(pool=pool, tokens=0, reason=reason) for pool, reason in self._scheduler.pools.paused.items()]
        return [*paused, *self._abandoned_pools(now)]

    def _abandoned_pools(self, now: float) -> list[BusyPool]:
        return [BusyPool(pool=pool, tokens=tokens, prompt_id=call.prompt_id, node_id=call.node_id,
                         class_type=call.class_type, seconds=round(now - call.since, 1))
                for call in self._caller.abandoned.values() for pool, tokens in call.needs]

    def subscribe(self, bound: int = 10_000) -> Subscription:
        """All events from now on, as an async iterator."""
        return self._broadcast.subscribe(bound)

    def add_listener(self, listener: Listener, kinds: Collection[type[Event]] | None = None) -> None:
        """Have a function called with each event, or each of these classes, on the loop. It must not wait."""
        self._broadcast.add_listener(listener, kinds)

    def remove_listener(self, listener: Listener) -> None:
        self._broadcast.remove_listener(listener)

    def add_arrival_listener(self, listener: Callable[[PromptQueued], None]) -> None:
        """Have a function called with each prompt that is queued, before anything of it is called: it is on record
        then. Listeners of events are told later, once the event is written. It must not wait; what it raises is
        logged."""
        self._arrival_listeners = [*self._arrival_listeners, listener]

    def remove_arrival_listener(self, listener: Callable[[PromptQueued], None]) -> None:
        self._arrival_listeners = [one for one in self._arrival_listeners if one != listener]

    # -- the way of a stimulus ------------------------------------------------------------------------------------

    def _apply(self, stimulus: stimuli.Stimulus) -> None:
        """Tell the scheduler, and do what it says, in order. What that leads to at once is told afterwards."""
        self._stimuli.append(stimulus)
        if self._is_applying:
            return
        self._is_applying = True
        try:
            while self._stimuli:
                for command in self._scheduler.apply(self._stimuli.popleft()):
                    kind = command.__class__
                    if kind is commands.CallNode:
                        self._caller.start(command)  # type: ignore[arg-type]
                    elif isinstance(command, Event):
                        self._publish(command)
                    else:
                        self._perform(command)
        finally:
            self._is_applying = False

    def _perform(self, command: commands.Command) -> None:
        match command:
            case commands.CancelCall(call_id):
                if self._tiers.forget(call_id):
                    self._apply(stimuli.NodeCancelled(call_id=call_id))
                else:
                    self._caller.cancel(call_id)
            case commands.LookUpOutputs():
                self._tiers.look_up(command)
            case commands.OfferOutputs(call, record):
                self._tiers.store(call, record)
            case commands.StoreOutputs(prompt_id, signature, copy):
                assert self._disk_tier is not None
                self._disk_tier.store(prompt_id, signature, copy)
            case commands.EndChain(call_id):
                self._caller.end_chain(call_id)
            case commands.HandOverCall(call_id, prompt_id, node_id):
                self._caller.hand_over(call_id, prompt_id, node_id)
            case commands.StoreStart(call_id):
                self._journal.when_told(partial(self._apply, stimuli.StartStored(call_id=call_id)))
            case commands.WaitToRetry():
                self._caller.wait_to_retry(command)
            case commands.TakeFingerprints():
                self._caller.take_fingerprints(command)
            case commands.ComeBack():
                if not self._turn_is_due:
                    self._turn_is_due = True
                    self._loop.call_soon(self._tell_of_turn, context=self._context)
            case commands.KeepInstances(nodes):
                self._caller.instances.keep_only(nodes)
            case commands.ReleaseToRetry(call_id):
                self._caller.run_aside(partial(self._release_for, call_id))
            case commands.ReleaseMemory():
                if self._release_memory is not None:
                    self._caller.run_aside(self._release_memory)
            case _:
                raise AssertionError(f"nobody performs {command!r}")

    def _looked_up(self, call_id: CallId, record: OutputRecord | None) -> None:
        if record is None:
            self._apply(stimuli.OutputsMissing(call_id=call_id))
        else:
            self._apply(stimuli.OutputsFound(call_id=call_id, record=record))

    def _release_for(self, call_id: CallId) -> None:
        """On a thread. The node that waits for it goes on in any case."""
        try:
            if self._release_memory is not None:
                self._release_memory()
        finally:
            self.post(self._apply, stimuli.RetryDue(call_id=call_id))

    def _tell_of_turn(self) -> None:
        self._turn_is_due = False
        self._apply(stimuli.TurnPassed())

    def _publish(self, event: Event) -> None:
        self._tables.note(event)  # first: the last table of a prompt goes out before its end
        self._sequence += 1
        event.sequence = self._sequence
        event.at = self._clock.now_ms()
        if event.__class__ is PromptQueued:
            self._tell_of_arrival(event)
        if self.history.is_durable and event.__class__ in _OF_ENTRIES:
            self._note_entry(event)
        self._journal.publish(event)

    def _note_entry(self, event: Event) -> None:
        if isinstance(event, PromptQueued):
            self._entries[event.prompt_id] = QueueEntry(event.prompt_id, event.number, event.prompt, event.extra_data,
                                                        event.outputs)
        elif isinstance(event, PromptMoved):
            self._entries[event.prompt_id] = replace(self._entries[event.prompt_id], number=event.number)
        elif isinstance(event, PromptFinished):
            self._ending[event.prompt_id] = self._entries[event.prompt_id]

    def _tell_of_arrival(self, event: PromptQueued) -> None:
        for listener in self._arrival_listeners:
            try:
                listener(event)
            except Exception:  # the prompt runs all the same
                log.exception("a listener failed on the arrival of prompt %s", event.prompt_id)

    def _tell(self, event: Event) -> None:
        self._told = event.sequence
        kind = event.__class__
        if kind is PromptFinished or kind is PromptDropped:
            prompt_id: PromptId = event.prompt_id  # type: ignore[attr-defined]
            self._admitted.pop(prompt_id, None)
            self._entries.pop(prompt_id, None)
            self._ending.pop(prompt_id, None)
            if self._disk_tier is not None:  # only now: until its end is on record it may be taken up again
                self._disk_tier.end_job(prompt_id, self._scheduler.heirs_of)
        self._broadcast.publish(event)
