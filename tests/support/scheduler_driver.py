"""Stands where the engine stands, without a loop: tells a scheduler facts, takes its commands, and checks its laws.

What it checks comes from the commands and events alone; `Scheduler.validate` looks inside as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from execution import (
    Event,
    NodeError,
    NodeFailed,
    NodeFinished,
    NodesCached,
    NodeStarted,
    Outcome,
    OutputCache,
    PromptDropped,
    PromptFinished,
    PromptQueued,
    PromptStarted,
    commands,
    stimuli,
)
from execution.events import PromptEvent, StartPutOff
from execution.identifiers import CallId, NodeId, PromptId
from execution.node_values import OutputRecord
from execution.prompt_graph import GraphNode, Link
from execution.scheduler import Scheduler, SchedulerSettings
from execution.signatures import Signature, is_lasting
from tests.support.random_graphs import OUTPUTS_OF_A_NODE, POOLS

AnyCall = (commands.CallNode | commands.TakeFingerprints | commands.StoreStart | commands.WaitToRetry
           | commands.LookUpOutputs | commands.ReleaseToRetry)


class SchedulerDriver:
    """A scheduler, and what an engine would know of it.

    :param cache: by default one in which everything has room.
    :param records_at_once: starts of prompts are on record as soon as they are told; else `start_recorded` says when.
    :param has_disk: the cache has a slower tier. It never writes or drops by itself: `write_outputs` and `drop_outputs`
        say when.
    :param has_outside: it has one that does not say what it has, and keeps at once what it is given.
    """

    def __init__(self, *, max_running_prompts: int = 4, cache: OutputCache | None = None,
                 most_moved_at_once: int = 32, records_at_once: bool = True, has_disk: bool = False,
                 has_outside: bool = False) -> None:
        self._records_at_once = records_at_once
        self.cache = OutputCache() if cache is None else cache  # an empty one is false
        if has_disk:
            self.cache.on_disk = set()
        self.disk: dict[Signature, tuple[Any, ...]] = {}
        """What the slower tier has."""
        self.to_write: list[commands.StoreOutputs] = []
        """What it was given and has not written yet."""
        self.scheduler = Scheduler(
            SchedulerSettings(max_running_prompts=max_running_prompts, pools=POOLS,
                              most_moved_at_once=most_moved_at_once), self.cache)
        self.turn_is_due = False
        """The scheduler wants to be told of the next turn."""
        self._is_serial = max_running_prompts == 1
        self.open: dict[CallId, AnyCall] = {}
        """Calls that have not had their ending."""
        self.cancelled: set[CallId] = set()
        self.abandoned: dict[CallId, AnyCall] = {}
        """Calls that have ended for their prompt, while their code has not."""
        self.left_lane: set[CallId] = set()
        self.chains_ended: list[CallId] = []
        """Calls whose threads were told not to go on by themselves."""
        self.owner: dict[CallId, PromptId] = {}
        self.calls: list[commands.CallNode] = []
        self.events: dict[PromptId, list[Event]] = {}
        self.submitted: dict[PromptId, stimuli.PromptSubmitted] = {}
        self.values: dict[tuple[PromptId, NodeId], tuple[Any, ...]] = {}
        """What the calls of nodes returned last, by the prompt and node that each was for."""
        self.returned_by: dict[CallId, commands.CallNode] = {}
        """Calls that returned outputs."""
        self._endings: set[CallId] = set()
        self.outside: dict[Signature, OutputRecord] = {}
        """What the tier has that does not say so."""
        self.asked_outside: list[commands.SignedCall] = []
        self._has_outside = has_outside
        if has_outside:
            self.apply(stimuli.OutsideTierChanged(is_there=True))

    # -- facts --------------------------------------------------------------------------------------------------

    def submit(self, submitted: stimuli.PromptSubmitted) -> None:
        self.submitted[submitted.prompt_id] = submitted
        self.events[submitted.prompt_id] = []
        self.apply(submitted)

    def start_prompts(self) -> None:
        self.pass_turn()

    def pass_turn(self) -> None:
        self.turn_is_due = False
        self.apply(stimuli.TurnPassed())

    def cancel(self, prompt_id: str | None) -> None:
        self.apply(stimuli.CancelRequested(prompt_id=None if prompt_id is None else PromptId(prompt_id)))

    def return_(self, call_id: CallId, outputs: tuple[Any, ...] | None = None, blocked: Iterable[str] = (),
                goes_on: bool = False) -> None:
        """A call returned.

        :param goes_on: its thread has begun with the call that it was to go on with.
        """
        call = self._ended(call_id)
        assert isinstance(call, commands.CallNode)
        if outputs is None:
            outputs = tuple(f"{call.definition.class_type}#{call_id}.{slot}" for slot in range(OUTPUTS_OF_A_NODE))
        self.returned_by[call_id] = call
        self.values[self.owner[call_id], call.node_id] = outputs
        record = OutputRecord(tuple([value] for value in outputs))
        if goes_on:
            self._begin_next(call, record)
        self.apply(stimuli.NodeReturned(call_id=call_id, record=record, blocked=list(blocked), goes_on=goes_on,
                                        copy=outputs if call.is_worth_a_copy else None))

    def _begin_next(self, call: commands.CallNode, record: OutputRecord) -> None:
        then = call.then
        assert then is not None
        then.inputs = {name: record.values(then.awaited[name]) if name in then.awaited else values
                       for name, values in then.inputs.items()}
        assert then.definition.needs == call.definition.needs, "it has the tokens of the one before it"
        if self.owner[call.call_id] == call.prompt_id:
            self._check_call(then)
        self.calls.append(then)
        assert then.call_id not in self.owner, "ids of calls are never used again"
        self.open[then.call_id] = then
        self.owner[then.call_id] = self.owner[call.call_id]

    def fail(self, call_id: CallId, out_of_memory: bool = False, is_transient: bool = False) -> None:
        call = self._ended(call_id)
        node_id = call.node_ids[-1] if isinstance(call, commands.TakeFingerprints) else None
        self.apply(stimuli.NodeRaised(call_id=call_id, node_id=node_id, error=NodeError(
            exception_type="ValueError", exception_message="no\n", out_of_memory=out_of_memory,
            is_transient=is_transient)))

    def lose(self, call_id: CallId) -> None:
        self._ended(call_id)
        self.apply(stimuli.NodeLost(call_id=call_id, reason="the machine is gone"))

    def end_cancelled(self, call_id: CallId) -> None:
        """A call stopped: it was told to, or it asked for an interrupt itself."""
        self._ended(call_id)
        self.apply(stimuli.NodeCancelled(call_id=call_id))

    def want(self, call_id: CallId, names: Iterable[str]) -> None:
        self._ended(call_id)
        self.apply(stimuli.InputsWanted(call_id=call_id, names=list(names)))

    def expand(self, call_id: CallId, nodes: list[GraphNode], pieces: list[list[Link | list[Any]]]) -> None:
        call = self._ended(call_id)
        assert isinstance(call, commands.CallNode)
        self.apply(stimuli.NodeExpanded(call_id=call_id, nodes=nodes, pieces=pieces, fingerprints={},
                                         scope=call.scope))

    def take_fingerprints(self, call_id: CallId, fingerprints: dict[NodeId, Any]) -> None:
        self._ended(call_id)
        self.apply(stimuli.FingerprintsTaken(call_id=call_id, fingerprints=fingerprints))

    def abandon(self, call_id: CallId) -> None:
        """A cancelled call did not stop in time."""
        assert call_id in self.cancelled
        self.abandoned[call_id] = self._ended(call_id)
        self.apply(stimuli.NodeAbandoned(call_id=call_id))

    def code_returned(self, call_id: CallId) -> None:
        """The code of an abandoned call has really ended."""
        del self.abandoned[call_id]
        self.apply(stimuli.CallReturned(call_id=call_id))

    def leave_lane(self, call_id: CallId) -> None:
        """A plain call returned an awaitable."""
        self.left_lane.add(call_id)
        self.apply(stimuli.CallLeftLane(call_id=call_id))

    def start_recorded(self, call_id: CallId) -> None:
        """It is on record that a prompt has started."""
        self._ended(call_id)
        self.apply(stimuli.StartStored(call_id=call_id))

    def retry(self, call_id: CallId) -> None:
        """The time before a node is tried again is over."""
        self._ended(call_id)
        self.apply(stimuli.RetryDue(call_id=call_id))

    def write_outputs(self) -> None:
        """The slower tier has written what it was given first."""
        stored = self.to_write.pop(0)
        self.disk[stored.signature] = stored.copy
        self.apply(stimuli.OutputsStored(signatures=[stored.signature]))

    def drop_outputs(self, signature: Signature, is_told: bool = True) -> None:
        """It has lost them, and says so, or not: a file that is damaged, say."""
        del self.disk[signature]
        if is_told:
            self.apply(stimuli.OutputsDropped(signatures=[signature]))

    def look_up(self, call_id: CallId) -> None:
        """Outputs were looked up."""
        call = self._ended(call_id)
        assert isinstance(call, commands.LookUpOutputs)
        outputs, record = self.disk.get(call.signature), None
        if outputs is not None:
            record = OutputRecord(tuple([one] for one in outputs))
        elif call.outside is not None:
            record = self.outside.get(call.signature)
        if record is None:
            self.apply(stimuli.OutputsMissing(call_id=call_id))
        else:
            self.apply(stimuli.OutputsFound(call_id=call_id, record=record))

    def be_overdue(self, call_id: CallId) -> None:
        """A call takes longer than it may."""
        self.apply(stimuli.CallOverdue(call_id=call_id, error=NodeError(
            exception_type="TimeoutError", exception_message="late\n")))

    def _ended(self, call_id: CallId) -> AnyCall:
        assert call_id not in self._endings, "the driver ends a call once"
        self._endings.add(call_id)
        return self.open.pop(call_id)

    # -- commands -----------------------------------------------------------------------------------------------

    def apply(self, stimulus: stimuli.Stimulus) -> None:
        """Tell the scheduler, take its commands, and check."""
        starts: list[CallId] = []
        for command in self.scheduler.apply(stimulus):
            match command:
                case commands.CallNode():
                    self._check_call(command)
                    self.calls.append(command)
                    self._took_on(command)
                case commands.TakeFingerprints() | commands.WaitToRetry() | commands.ReleaseToRetry():
                    self._took_on(command)
                case commands.LookUpOutputs():
                    if command.outside is not None:
                        assert is_lasting(command.signature)
                        assert (command.prompt_id, command.outside.node_id, command.signature) not in {
                            (one.prompt_id, one.node_id, one.signature) for one in self.asked_outside}, \
                            "a prompt asks once"
                        self.asked_outside.append(command.outside)
                    else:
                        assert self.cache.on_disk is not None
                        assert command.signature in self.cache.on_disk
                    self._took_on(command)
                case commands.OfferOutputs(call, record):
                    assert self._has_outside
                    assert is_lasting(call.signature)
                    self.outside[call.signature] = record
                case commands.StoreOutputs():
                    assert is_lasting(command.signature)
                    self.to_write.append(command)
                case commands.StoreStart(call_id):
                    self._took_on(command)
                    starts.append(call_id)
                case commands.ComeBack():
                    self.turn_is_due = True
                case commands.CancelCall(call_id):
                    assert call_id in self.open, "only what runs is cancelled"
                    assert call_id not in self.cancelled, "a call is cancelled once"
                    self.cancelled.add(call_id)
                case commands.EndChain(call_id):
                    assert call_id in self.open
                    call = self.open[call_id]
                    assert isinstance(call, commands.CallNode)
                    assert call.then is not None
                    self.chains_ended.append(call_id)
                case commands.HandOverCall(call_id, prompt_id, node_id):
                    assert call_id in self.open
                    assert call_id not in self.cancelled
                    assert prompt_id != self.owner[call_id]
                    assert node_id in self.submitted[prompt_id].scope.nodes
                    self.owner[call_id] = prompt_id
                case Event():
                    self._check_event(command)
        self.scheduler.validate()
        self._check_pools()
        if self._records_at_once:
            for call_id in starts:
                self.start_recorded(call_id)

    def _took_on(self, call: AnyCall) -> None:
        assert call.call_id not in self.owner, "ids of calls are never used again"
        assert call.prompt_id in self.running()
        self.open[call.call_id] = call
        self.owner[call.call_id] = call.prompt_id

    def _check_call(self, call: commands.CallNode) -> None:
        """A call gets what its sources gave out, and none of its sources is missing."""
        graph_node = call.scope.nodes[call.node_id]
        for link in graph_node.links.values():
            spec = call.interface.spec(link.name)
            if spec is not None and spec.wants_link:
                assert call.inputs[link.name] == (graph_node.inputs[link.name],)
                continue
            (value,) = call.inputs[link.name]
            if link.name in call.unevaluated:
                assert spec is not None
                assert spec.is_lazy
                assert value is None
                continue
            own = self.values.get((call.prompt_id, link.source))
            source_class = call.scope.nodes[link.source].class_type
            if own is not None and value == own[link.slot]:
                continue
            # Another call of the same signature: what its own gave was let go before somebody wanted it again.
            if "Expander" not in source_class and isinstance(value, str) and "#" in value:
                assert value.startswith(f"{source_class}#")
                assert value.endswith(f".{link.slot}")
        assert set(call.inputs) == set(graph_node.inputs)

    def _check_event(self, event: Event) -> None:
        if not isinstance(event, PromptEvent):
            return
        before = self.events[event.prompt_id]
        kinds = [type(one) for one in before]
        assert PromptFinished not in kinds, "the end of a prompt is its last event"
        assert PromptDropped not in kinds
        match event:
            case PromptQueued():
                assert not before
                assert event.remaining == len(self.unfinished())
            case PromptStarted():
                assert kinds in ([PromptQueued], [PromptQueued, StartPutOff])
                assert event.is_on_record is (self.submitted[event.prompt_id].is_start_on_record
                                              and StartPutOff not in kinds)
                if self._is_serial or self.submitted[event.prompt_id].suspects:
                    assert not self.running()
                line = self.submitted[event.prompt_id].line
                assert line is None or line not in [self.submitted[one].line for one in self.running()]
            case StartPutOff():
                assert kinds == [PromptQueued]
                assert self.submitted[event.prompt_id].is_start_on_record
            case NodesCached():
                assert NodesCached not in kinds or self._has_outside or self.cache.on_disk is not None
                assert event.prompt_id not in self._unrecorded(), "it is on record first"
            case NodeStarted():
                assert NodeFailed not in kinds or self.submitted[event.prompt_id].goes_on_after_errors
                assert not any(isinstance(one, NodeFailed) and one.place == event.place for one in before)
            case NodeFinished() if not event.from_cache:
                assert any(isinstance(one, NodeStarted) and one.place == event.place for one in before)
            case NodeFailed():
                assert NodeFailed not in kinds or self.submitted[event.prompt_id].goes_on_after_errors
            case PromptFinished():
                self._check_end(event, before)
        before.append(event)
        if isinstance(event, PromptFinished):
            assert event.remaining == len(self.unfinished())

    def _unrecorded(self) -> set[PromptId]:
        """Prompts that have started, which is not on record yet."""
        return {call.prompt_id for call in self.open.values() if isinstance(call, commands.StoreStart)}

    def _check_end(self, event: PromptFinished, before: list[Event]) -> None:
        assert not [call_id for call_id in self.open if self.owner[call_id] == event.prompt_id], \
            "each call has ended or was abandoned"
        failed = [one for one in before if isinstance(one, NodeFailed)]
        if self.submitted[event.prompt_id].goes_on_after_errors:
            assert not failed or event.outcome in (Outcome.FAILED, Outcome.PARTLY_SUCCEEDED, Outcome.INTERRUPTED)
            assert failed or event.outcome in (Outcome.SUCCEEDED, Outcome.INTERRUPTED)
        else:
            assert bool(failed) == (event.outcome is Outcome.FAILED)
        if event.outcome is Outcome.PARTLY_SUCCEEDED:
            finished = {one.place.node_id for one in before if isinstance(one, NodeFinished)}
            assert finished & set(self.submitted[event.prompt_id].outputs)
        assert (event.interrupted is not None) == (event.outcome is Outcome.INTERRUPTED)
        if event.outcome is Outcome.SUCCEEDED:
            finished = {one.place.node_id for one in before if isinstance(one, NodeFinished)}
            assert finished >= set(self.submitted[event.prompt_id].outputs)

    def _check_pools(self) -> None:
        held = dict.fromkeys(POOLS, 0)
        for call in (*self.open.values(), *self.abandoned.values()):
            if isinstance(call, commands.CallNode) and call.call_id not in self.left_lane \
                    and call.part is not commands.CallPart.CHECK:
                for pool, tokens in call.definition.needs:
                    held[pool] += POOLS[pool] if call.is_alone else tokens
        assert {pool: taken for pool, (taken, _) in self.scheduler.pools.snapshot().items()} == held

    # -- looking ------------------------------------------------------------------------------------------------

    def running(self) -> list[PromptId]:
        """Prompts that have started and not finished, as their events say."""
        return [prompt_id for prompt_id, told in self.events.items()
                if any(isinstance(event, PromptStarted) for event in told) and not self._is_over(told)]

    def unfinished(self) -> list[PromptId]:
        """Prompts that were accepted and have neither finished nor been dropped."""
        return [prompt_id for prompt_id, told in self.events.items() if not self._is_over(told)]

    @staticmethod
    def _is_over(told: list[Event]) -> bool:
        return bool(told) and isinstance(told[-1], (PromptFinished, PromptDropped))

    def call_of(self, prompt_id: str, node_id: str) -> CallId:
        """The open call of a node."""
        return next(call_id for call_id, call in self.open.items() if isinstance(call, commands.CallNode)
                    and self.owner[call_id] == prompt_id and call.node_id == node_id)

    def called(self, prompt_id: str | None = None) -> list[str]:
        """Nodes that were called so far, of one prompt or of all, in this order."""
        return [call.node_id for call in self.calls if prompt_id is None or call.prompt_id == prompt_id]

    def outcome_of(self, prompt_id: str) -> Outcome | None:
        last = self.events[PromptId(prompt_id)][-1]
        return last.outcome if isinstance(last, PromptFinished) else None

    def story(self, prompt_id: str) -> list[str]:
        """The events of a prompt, in words."""
        return [f"{type(event).__name__} {event.place.node_id}" if hasattr(event, "place") else type(event).__name__
                for event in self.events[PromptId(prompt_id)]]

    def forget_values(self) -> None:
        """Hold no value of any node any more, so that a test can see whether somebody else does."""
        self.calls.clear()
        self.values.clear()
        self.returned_by.clear()

    def check_nothing_is_left(self) -> None:
        """All prompts are over: nothing of them may stay behind."""
        scheduler = self.scheduler
        assert not self.open
        assert not self.abandoned
        assert self.unfinished() == []
        assert (scheduler.remaining, scheduler.running(), scheduler.pending()) == (0, [], [])
        assert all(taken == 0 for taken, _ in scheduler.pools.snapshot().values())
        assert not scheduler._calls
        assert not scheduler._shared
        assert scheduler._busy == 0
