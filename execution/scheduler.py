"""All prompts, and which call may run when. Facts go in, instructions come out; nothing here waits or knows time.

`Scheduler.apply` is the only way its state changes. What it holds:

- the queue of pending prompts, and the running ones (`PromptRun`: states of their nodes),
- calls (`Call`): waiting for tokens, running, cancelled, or abandoned by their prompt but not by their thread,
- the pools' tokens, and the cache of outputs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, cast

from . import commands, events, stimuli
from .call_chains import CallChains
from .commands import CallPart
from .errors import DependencyCycleError, ImpossibleResourcesError, InvariantViolated, StudioError
from .events import NodeError, Outcome
from .identifiers import CallId, NodeId, PromptId
from .node_interface import CodeOf, codes_of
from .node_values import OutputRecord
from .output_cache import CacheRule, OutputCache
from .pending_prompts import PendingPrompts
from .prompt_run import Call, CallState, NodeRun, NodeState, PromptRun
from .resource_pools import Needs, ResourcePools
from .run_rules import NO_LIMITS
from .signatures import Signature
from .token_queues import TokenQueues

MOST_OPEN_PROMPTS = 256
MOST_MEMORY_FAILURES = 3
"""Nodes in a row that run out of memory, alone too, before their pool is paused."""
LONGEST_BACKOFF = 60.0
"""Seconds before a node is tried again, at most."""
MOST_SIGNED_AT_ONCE = 256
"""Nodes of a prompt that may be signed while the loop waits; larger ones are signed on a thread."""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A pending or running prompt, as it is shown."""

    prompt_id: PromptId
    number: int | float
    prompt: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    outputs: Sequence[NodeId]


@dataclass
class SchedulerSettings:
    max_running_prompts: int = 4
    """Prompts beside each other that have a call on a lane or waiting for tokens. With 1, prompts run strictly
    one after the other, as on a serial host."""
    pools: Mapping[str, int] = field(default_factory=lambda: {"gpu": 1, "cpu": 2})
    retry_backoff: float = 1.0
    """Seconds before a node is tried again after a transient error; twice as many each further time."""
    most_moved_at_once: int = 32
    """Nodes that one stimulus moves on. The others follow in the next turns, so that a wide layer holds up nobody."""


class Scheduler:
    """Decides. See the module's docstring for what it holds.

    :param code_of: asked for the code of classes, if signatures are to mean the same in the next process.
    """

    def __init__(self, settings: SchedulerSettings, cache: OutputCache, code_of: CodeOf | None = None) -> None:
        self.pools = ResourcePools(settings.pools)
        self.cache = cache
        self._code_of = code_of
        self._most_busy = settings.max_running_prompts
        self._most_moved = settings.most_moved_at_once
        self._retry_backoff = settings.retry_backoff
        self._memory_failures: dict[str, int] = {}
        self._moves_left = 0
        self._unmoved: dict[PromptId, PromptRun] = {}  # running ones with nodes that wait for nothing but a turn
        self._most_open = 1 if settings.max_running_prompts == 1 else MOST_OPEN_PROMPTS
        self._pending = PendingPrompts()
        self._runs: dict[PromptId, PromptRun] = {}  # pending and running
        self._running: dict[PromptId, PromptRun] = {}
        self._busy = 0
        self._starting_soon: list[PromptRun] = []
        """Submitted in this turn, with their starts on record."""
        self._is_paused = False
        self._has_outside_tier = False
        self._alone: PromptRun | None = None
        """A running prompt beside which no other starts."""
        self._calls: dict[CallId, Call] = {}
        self._shared: dict[Signature, Call] = {}
        self._waiting = TokenQueues(self.pools)
        self._arrivals = count()
        self._call_ids = map(CallId, count(1))
        self._chains = CallChains(cache, self._waiting, self._shared, partial(next, self._call_ids))
        self._starts = count(1)
        self._out: list[commands.Command | events.Event] = []
        self._tokens_moved = False

    # -- what others may look at ----------------------------------------------------------------------------

    @property
    def remaining(self) -> int:
        """Pending and running prompts together."""
        return len(self._runs)

    @property
    def is_paused(self) -> bool:
        """No prompt starts."""
        return self._is_paused

    def knows(self, prompt_id: PromptId) -> bool:
        return prompt_id in self._runs

    def is_running(self, prompt_id: PromptId) -> bool:
        return prompt_id in self._running

    def running(self) -> list[QueueEntry]:
        return [_entry(run) for run in self._running.values()]

    def pending(self) -> list[QueueEntry]:
        """Pending prompts, the next one first."""
        return [_entry(run) for run in self._pending.in_order()]

    @property
    def waiting(self) -> int:
        """Pending prompts."""
        return len(self._pending)

    def has_room(self, beside: int) -> bool:
        """Whether a prompt that came now would start at once.

        :param beside: how many are about to come before it.
        """
        return (not self._pending and not self._is_paused and self._alone is None
                and self._busy + beside < self._most_busy and len(self._running) + beside < self._most_open)

    def position_of(self, prompt_id: PromptId) -> int | None:
        """The place of a pending prompt in the queue: 1 is the next one. None if it does not wait."""
        return self._pending.position_of(prompt_id)

    def is_movable(self, prompt_id: PromptId) -> bool:
        """Whether it waits, and not at the front because it ran when an earlier process ended."""
        run = self._runs.get(prompt_id)
        return run is not None and prompt_id not in self._running and not run.attempt

    def place_of(self, prompt_id: PromptId, node_id: NodeId) -> events.NodePlace | None:
        """Where a node of a running prompt stands."""
        run = self._running.get(prompt_id)
        return run.place(node_id) if run is not None and node_id in run.scope.nodes else None

    def latest_node(self, prompt_id: PromptId) -> NodeId | None:
        """What to show for the node of a prompt that was started last, if it still runs."""
        run = self._running.get(prompt_id)
        calls = [] if run is None else [call for call in run.calls.values()
                                        if call.state is CallState.RUNNING and not call.is_lookup]
        nodes = [node for call in sorted(calls, key=lambda one: one.order) for node in call.nodes if node.run is run]
        return nodes[-1].place.display_id if nodes else None

    def heirs_of(self, signatures: set[Signature]) -> dict[Signature, PromptId]:
        """For those of the signatures that a running prompt has, one such prompt."""
        heirs: dict[Signature, PromptId] = {}
        for run in self._running.values():
            if run.ending is None:
                for signature in signatures.intersection(run.signatures.values()):
                    heirs.setdefault(signature, run.prompt_id)
        return heirs

    # -- the one way in ---------------------------------------------------------------------------------------

    def apply(self, stimulus: stimuli.Stimulus) -> list[commands.Command | events.Event]:
        """Take a fact, and say what to do about it; an event among the commands is to be announced."""
        handler = _HANDLERS.get(stimulus.__class__)
        if handler is None:
            raise InvariantViolated(f"nobody handles {type(stimulus).__name__}")
        self._moves_left = self._most_moved
        handler(self, stimulus)
        if self._tokens_moved:
            self._tokens_moved = False
            self._grant_tokens()
        if self._pending:
            self._start_prompts(stimulus)
        if self._starting_soon and stimulus.__class__ is not stimuli.PromptSubmitted:
            self._put_off_starts()
        out, self._out = self._out, []
        return out

    # -- prompts come and go ----------------------------------------------------------------------------------

    def _prompt_submitted(self, submitted: stimuli.PromptSubmitted) -> None:
        if submitted.prompt_id in self._runs:
            raise InvariantViolated(f"prompt {submitted.prompt_id} is active already")
        run = PromptRun(submitted, next(self._arrivals), self._code_of)
        if self._has_outside_tier and self.cache.rule is not CacheRule.NONE:
            run.asked_outside = set()
        self._runs[run.prompt_id] = run
        self._pending.add(run)
        if run.is_start_on_record:
            self._starting_soon.append(run)
        self._announce(events.PromptQueued(
            prompt_id=run.prompt_id, client_id=run.client_id, number=run.number, prompt=run.scope.submitted,
            extra_data=run.scope.extra_data, outputs=run.outputs, remaining=self.remaining, attempt=run.attempt,
            is_restored=submitted.is_restored))
        self._out.append(commands.ComeBack())

    def _turn_passed(self, _: stimuli.TurnPassed) -> None:
        """Go on with what was put off. Prompts that may start are started by `apply`."""
        for run in list(self._unmoved.values()):
            movable, run.movable = run.movable, []
            del self._unmoved[run.prompt_id]
            self._move_on(run, movable)
            self._settle(run)
            if self._moves_left <= 0:
                break
        if self._unmoved:
            self._out.append(commands.ComeBack())

    def _pending_removed(self, removed: stimuli.PendingRemoved) -> None:
        gone = self._pending.remove(None if removed.prompt_ids is None else set(removed.prompt_ids))
        for run in gone:
            del self._runs[run.prompt_id]
            if run.was_started:  # somebody saw that in an earlier process, and waits for its end
                place = run.place(run.outputs[0])
                self._announce(events.PromptFinished(
                    prompt_id=run.prompt_id, outcome=Outcome.INTERRUPTED, remaining=self.remaining,
                    interrupted=place, interrupted_type=run.class_of(place.real_id)))
            else:
                self._announce(events.PromptDropped(prompt_id=run.prompt_id, remaining=self.remaining))
        if gone or removed.prompt_ids is None:
            self._announce(events.QueueChanged(remaining=self.remaining))

    def _pending_moved(self, moved: stimuli.PendingMoved) -> None:
        prompt_id = moved.prompt_id
        if not self.is_movable(prompt_id):
            raise InvariantViolated(f"prompt {prompt_id} cannot be moved")
        numbers: Mapping[PromptId, int | float] = {}
        if moved.number is not None:
            numbers = {prompt_id: moved.number}
        elif moved.position is not None and moved.position != self.position_of(prompt_id):
            numbers = self._pending.numbers_to_be_at(prompt_id, moved.position)
        self._pending.renumber(numbers)
        for one, number in numbers.items():
            self._announce(events.PromptMoved(prompt_id=one, number=number))
        if numbers:
            self._announce(events.QueueChanged(remaining=self.remaining))

    def _start_prompts(self, stimulus: stimuli.Stimulus) -> None:
        # A submission answers first: its prompt starts with the turn that it asked for.
        if stimulus.__class__ is stimuli.PromptSubmitted:
            return
        while self._busy < self._most_busy and len(self._running) < self._most_open and self._alone is None \
                and not self._is_paused:
            run = self._pending.take_next()
            if run is None:
                return
            if run.suspects and self._running:  # it waits until it can be alone
                self._pending.put_back(run)
                return
            self._start(run)
            if self._tokens_moved:
                self._tokens_moved = False
                self._grant_tokens()

    def _put_off_starts(self) -> None:
        """Of prompts whose start is on record, since there was room when they came, and which wait after all."""
        runs, self._starting_soon = self._starting_soon, []
        for run in runs:
            if run.prompt_id in self._runs and run.prompt_id not in self._running:
                run.is_start_on_record = False
                self._announce(events.StartPutOff(prompt_id=run.prompt_id))

    def _start(self, run: PromptRun) -> None:
        self._running[run.prompt_id] = run
        if run.suspects:
            self._alone = run
        self._announce(events.PromptStarted(prompt_id=run.prompt_id, remaining=self.remaining,
                                            is_on_record=run.is_start_on_record))
        if run.is_start_on_record:
            self._prepare(run)
            return
        # As busy as it will be: else a whole queue would be started while the first ones are put on record.
        call = self._new_call(run, None, (), on_lane=run.has_plain_nodes)
        self._begin(call)
        self._out.append(commands.StoreStart(call.call_id, run.prompt_id))

    def _start_stored(self, stored: stimuli.StartStored) -> None:
        call = self._end(stored.call_id)
        if call is not None:
            self._prepare(call.run)

    def _prepare(self, run: PromptRun) -> None:
        """Learn the signatures of a prompt, which has started, and launch it."""
        asked = run.needs_fingerprints()
        is_large = len(run.order) > MOST_SIGNED_AT_ONCE
        if not asked and not is_large:
            self._launch(run)
            return
        call = self._new_call(run, None, (), on_lane=is_large or run.has_plain_checks(asked))
        self._begin(call)
        self._out.append(commands.TakeFingerprints(
            call.call_id, run.prompt_id, asked, run.scope, given=dict(run.fingerprints),
            sign_order=run.order if is_large else (), run_label=run.label,
            codes=codes_of(run.definitions, run.code_of)))

    def _launch(self, run: PromptRun) -> None:
        """Signatures are known now, so it can be told what is cached and what has to run."""
        run.started = True
        try:
            if not run.signatures:
                run.sign(run.order)
            signatures = run.signatures
            if self.cache.has_rules_to_keep:
                self.cache.begin_prompt(set(signatures.values()), self._signatures_in_use(but=run))
            else:
                self.cache.begin_prompt((), ())
            cache = self.cache
            cached = [node_id for node_id in run.scope.nodes if signatures[node_id] in cache]
            self._announce(events.NodesCached(prompt_id=run.prompt_id, nodes=cached))
            run.shown_at_end = [node_id for node_id in cached if self._is_shown_again(run, node_id)]
            movable = run.stage_roots(cache)
            run.suspects.difference_update(cached)
            self._let_others_start(run)
        except Exception as error:  # a prompt that cannot be started must not be one that runs for ever
            self._fail(run, run.outputs[0], _own_error(error))
            return
        for node_id in run.outputs:
            node = run.nodes[node_id]
            if node.state is NodeState.DONE:
                self._announce_finished(node, cast(OutputRecord, node.record), from_cache=True)
        self._advance(run, movable)
        self._settle(run)

    def _pause_requested(self, requested: stimuli.PauseRequested) -> None:
        if not requested.is_paused:
            self._resume_pools()
        if self._is_paused is not requested.is_paused:
            self._is_paused = requested.is_paused
            self._announce(events.QueueChanged(remaining=self.remaining))

    def _let_others_start(self, run: PromptRun) -> None:
        """Once a prompt that ran when the process ended is past the nodes that may have been the reason."""
        if self._alone is run and not run.suspects:
            self._alone = None

    def _signatures_in_use(self, but: PromptRun | None = None) -> list[set[Signature]]:
        return [set(run.signatures.values()) for run in self._running.values()
                if run is not but and run.ending is None]

    def _settle(self, run: PromptRun) -> None:
        """Finish the prompt if nothing is left of it."""
        if run.prompt_id not in self._running:
            return
        if run.ending is None:
            if not run.started:
                return
            if not run.roots_left:
                run.ending = Outcome.SUCCEEDED
                if run.has_failures:
                    run.ending = Outcome.PARTLY_SUCCEEDED if run.has_roots_done() else Outcome.FAILED
                    self._stop(run)
                self._forget_unmoved(run)
            elif run.movable:
                return
            elif not run.calls:
                self._fail_with_cycle(run)
                return
            else:
                return
        if run.calls or run.waits_for:
            return
        if run.ending is Outcome.SUCCEEDED:
            self._show_again(run)
        del self._running[run.prompt_id]
        del self._runs[run.prompt_id]
        self._pending.finished(run)
        run.suspects.clear()
        self._let_others_start(run)
        self.cache.end_prompt()
        place = run.interrupted.place if run.interrupted else run.place(run.outputs[0])
        was_interrupted = run.ending is Outcome.INTERRUPTED
        self._announce(events.PromptFinished(
            prompt_id=run.prompt_id, outcome=run.ending, remaining=self.remaining, executed=run.executed,
            interrupted=place if was_interrupted else None,
            interrupted_type=run.class_of(place.real_id) if was_interrupted else ""))
        self._out.append(commands.KeepInstances({} if self.cache.rule is CacheRule.NONE else
                                                {node_id: one.class_type for node_id, one in run.scope.nodes.items()}))
        run.dissolve()

    @staticmethod
    def _is_shown_again(run: PromptRun, node_id: NodeId) -> bool:
        definition = run.definitions[run.class_of(node_id)]
        return definition.is_shown_again and not definition.is_output

    def _show_again(self, run: PromptRun) -> None:
        for node_id in run.shown_at_end:
            record = self.cache.lookup(run.signatures[node_id])
            if record is not None and record.ui is not None:
                self._announce(events.NodeFinished(prompt_id=run.prompt_id, place=run.place(node_id), ui=record.ui,
                                                   is_output=False, from_cache=True))

    # -- a prompt ends before it is done ----------------------------------------------------------------------

    def _fail_with_cycle(self, run: PromptRun) -> None:
        cycle = run.find_cycle()
        blamed = next((node for node in cycle if node.place.parent_id is not None), None)
        blamed = blamed or (cycle[0] if cycle else next(run.unfinished()))
        self._fail(run, blamed.place.node_id, NodeError(
            exception_type="graph.DependencyCycleError", exception_message="Dependency cycle detected",
            current_inputs=()))

    def _break(self, node: NodeRun, error: NodeError) -> None:
        """A node fails, and with it its prompt, or what depends on it."""
        run = node.run
        if not run.goes_on_after_errors or run.ending is not None:
            self._fail(run, node.place.node_id, error)
            return
        self._announce_failed(run, node.place.node_id, error)
        if node.call is not None:  # it goes on, and nobody wants what it returns
            self._let_go(node.call, node)
        run.give_up(node)
        self._advance(run, [])
        self._settle(run)

    def _give_up_dead_ends(self, run: PromptRun) -> None:
        """What wants outputs of a node that failed fails with it."""
        while run.dead_ends:
            run.give_up(run.dead_ends.pop())

    def _let_go(self, call: Call, node: NodeRun) -> None:
        """One node of a prompt that goes on does not wait for its call any more."""
        call.nodes.remove(node)
        if not any(one.run is node.run for one in call.nodes):
            node.run.calls.pop(call.call_id, None)
            self._detached(call, node.run)

    def _announce_failed(self, run: PromptRun, node_id: NodeId, error: NodeError) -> None:
        run.has_failures = True
        place = run.place(node_id)
        self._announce(events.NodeFailed(
            prompt_id=run.prompt_id, place=place, node_type=run.class_of(place.real_id), error=error,
            executed=list(run.executed), known=list(run.scope.nodes)))

    def _fail(self, run: PromptRun, node_id: NodeId, error: NodeError) -> None:
        if run.ending is None:
            run.ending = Outcome.FAILED
            self._announce_failed(run, node_id, error)
            self._stop(run)
        self._settle(run)

    def _cancel_requested(self, requested: stimuli.CancelRequested) -> None:
        if requested.prompt_id is None:
            runs = list(self._running.values())
        else:
            runs = [run for run in (self._running.get(requested.prompt_id),) if run is not None]
        for run in runs:
            if run.ending is None:
                self._announce(events.CancelAccepted(prompt_id=run.prompt_id))
            self._interrupt(run, None)

    def _interrupt(self, run: PromptRun, node: NodeRun | None) -> None:
        if run.ending is None:
            run.ending = Outcome.INTERRUPTED
            run.interrupted = node or self._longest_running(run)
            self._stop(run)
        self._settle(run)

    def _longest_running(self, run: PromptRun) -> NodeRun | None:
        running = [call for call in run.calls.values() if call.state is CallState.RUNNING and not call.is_lookup]
        if running:
            first = min(running, key=lambda call: call.order)
            return next((node for node in first.nodes if node.run is run), None)
        return next(run.unfinished(), None)

    def _stop(self, run: PromptRun) -> None:
        """Let go of all calls of a prompt; those that nobody else waits for are cancelled."""
        for call in list(run.calls.values()):
            if call.state is CallState.WAITING or call.state is CallState.RUNNING:
                call.nodes = [node for node in call.nodes if node.run is not run]
                self._detached(call, run)
        run.calls.clear()
        self._forget_unmoved(run)
        for node in run.nodes.values():
            if node.state is not NodeState.DONE and node.state is not NodeState.STOPPED:
                node.move(NodeState.STOPPED)
                node.call = None
        self._waiting.forget_withdrawn()

    def _forget_unmoved(self, run: PromptRun) -> None:
        run.movable = []
        run.to_look_up = []
        self._unmoved.pop(run.prompt_id, None)

    def _detached(self, call: Call, run: PromptRun) -> None:
        """A prompt does not wait for this call any more."""
        if call.nodes:
            if call.run is run:
                self._hand_over(call)
            return
        self._unshare(call)
        if call.state is CallState.WAITING:
            self._close(call)
            return
        call.state = CallState.CANCELLING
        run.waits_for.add(call.call_id)
        self._cancel(call)

    def _cancel(self, call: Call) -> None:
        """Of what nobody wants any more."""
        call.nodes = []
        self._out.append(commands.CancelCall(call.call_id))

    def _hand_over(self, call: Call) -> None:
        heir = call.nodes[0]
        self._take_place_of(call, heir.run)
        if call.state is CallState.RUNNING:
            self._end_chain(call)
            self._out.append(commands.HandOverCall(call.call_id, heir.run.prompt_id, heir.place.node_id))
        elif call.part is CallPart.FUNCTION and not heir.is_checked:  # the heir may want other inputs than it has
            self._unshare(call)
            self._close(call)
            for node in call.nodes:
                node.run.calls.pop(call.call_id, None)
                self._ask_for_call(node)
        else:  # its place in the queue for tokens is the heir's now
            self._queue_for_tokens(call)

    def _take_place_of(self, call: Call, run: PromptRun) -> None:
        """A call takes a place of this prompt from now on."""
        if call.on_lane:
            self._count_lane(call.run, -1)
            self._count_lane(run, +1)
        call.run = run

    # -- nodes become ready, and their calls start --------------------------------------------------------------

    def _advance(self, run: PromptRun, movable: list[NodeRun]) -> None:
        """Move on every node of a prompt that waits for nothing, behind those that were put off already."""
        if run.to_look_up:
            self._look_up_wanted(run)
        if run.movable:
            run.movable += movable
        else:
            self._move_on(run, movable)

    def _move_on(self, run: PromptRun, movable: list[NodeRun]) -> None:
        """Move on nodes and whatever that sets free, as many as this stimulus may. Iterative."""
        index = 0
        while index < len(movable):
            if self._moves_left <= 0:
                if not self._unmoved:
                    self._out.append(commands.ComeBack())
                run.movable = movable[index:]
                self._unmoved[run.prompt_id] = run
                return
            self._moves_left -= 1
            node = movable[index]
            index += 1
            if node.state is NodeState.EXPANDED:
                record = run.expansion_record(node)
                run.executed.append(node.place.node_id)
                self._keep(node, record)
                self._offer(node, record)
                movable += self._complete(node, record, ui_was_shown=True)
            elif node.state is NodeState.WAITING:
                movable += self._ready(node)

    def _ready(self, node: NodeRun) -> list[NodeRun]:
        """All sources are there: take the outputs from the cache, join a call, or ask for one of its own."""
        run = node.run
        if run.ending is not None:
            return []
        record = self.cache.lookup(node.signature)
        if record is not None:
            return self._complete(node, record, from_cache=True)
        node.move(NodeState.READY)
        self._call_or_join(node)
        return []

    def _call_or_join(self, node: NodeRun) -> None:
        shared = self._shared.get(node.signature)
        if shared is not None and self._may_share(node):
            self._join(node, shared)
        elif self.cache.lies_on_disk(node.signature) or node.run.may_be_outside(node):
            self._look_up(node)
        else:
            self._ask_for_call(node)

    def _join(self, node: NodeRun, shared: Call) -> None:
        owner = shared.nodes[0].run
        is_better = (node.run.number, node.run.arrival) < (owner.number, owner.arrival)
        if is_better and shared.state is CallState.WAITING and shared.part is CallPart.WHOLE:
            shared.nodes.insert(0, node)  # it waits at the better place
            self._take_place_of(shared, node.run)
            self._queue_for_tokens(shared)
        else:
            shared.nodes.append(node)
            if is_better:  # what follows in the better prompt comes before what its thread would go on with
                self._end_chain(shared)
        node.run.calls[shared.call_id] = shared
        node.call = shared
        if shared.is_lookup:
            if node.run.asked_outside is not None:
                node.run.asked_outside.add(node.signature)
        elif shared.state is CallState.RUNNING:
            self._running_now(node, shared)

    def _look_up_wanted(self, run: PromptRun) -> None:
        """Look for outputs elsewhere before anything is done for the sake of what they are made of."""
        nodes, run.to_look_up = run.to_look_up, []
        for node in nodes:
            if node.state is NodeState.WAITING and run.ending is None:
                node.move(NodeState.READY)
                # Never a call of its function: that may come to be called for this node, whose sources nobody wants.
                shared = self._shared.get(node.signature)
                if shared is not None and shared.is_lookup and self._may_share(node):
                    self._join(node, shared)
                else:
                    self._look_up(node)

    def _look_up(self, node: NodeRun) -> None:
        """Ask the slower tier of the cache. It is a call without tokens, during which everything else goes on."""
        call = self._new_call(node.run, node, (), on_lane=False)
        call.is_lookup = True
        node.call = call
        self._offer_to_share(call, node)
        outside = None
        if node.run.asked_outside is not None and node.may_outlive_prompt and (
                node.signature not in node.run.asked_outside or not self.cache.lies_on_disk(node.signature)):
            node.run.asked_outside.add(node.signature)
            outside = _signed(node)
        self._begin(call)
        self._out.append(commands.LookUpOutputs(call.call_id, node.run.prompt_id, node.signature, outside))

    def _ask_for_call(self, node: NodeRun) -> None:
        definition, needs = node.definition, node.definition.needs
        part = CallPart.WHOLE
        if definition.checks_apart:
            part = CallPart.FUNCTION if node.is_checked else CallPart.CHECK
        if part is CallPart.CHECK:
            needs = ()
        elif node.runs_alone:
            needs = self.pools.whole(needs)
        call = self._new_call(node.run, node, needs, on_lane=not definition.is_async and part is not CallPart.CHECK)
        call.part = part
        node.call = call
        if self._may_share(node):
            call.shared_as = node.signature
            self._shared[node.signature] = call
        if needs:
            self._queue_for_tokens(call)
        else:
            self._start_call(call)

    def _offer_to_share(self, call: Call, node: NodeRun) -> None:
        """Others may join a call, unless there is one of its signature already."""
        if self._may_share(node) and node.signature not in self._shared:
            call.shared_as = node.signature
            self._shared[node.signature] = call

    def _may_share(self, node: NodeRun) -> bool:
        """Limits that a prompt sets for its own calls would be those of every prompt that waits for one of them."""
        return (self.cache.rule is not CacheRule.NONE and node.interface.is_shareable
                and not node.definition.is_output and node.run.scope.limits == NO_LIMITS)

    def _new_call(self, run: PromptRun, node: NodeRun | None, needs: Needs, on_lane: bool) -> Call:
        call = Call(next(self._call_ids), run, node, needs, on_lane)
        self._calls[call.call_id] = call
        run.calls[call.call_id] = call
        if on_lane:
            self._count_lane(run, +1)
        return call

    def _queue_for_tokens(self, call: Call) -> None:
        self._waiting.add(call)
        self._tokens_moved = True
        for other in self._chains.behind(call):
            self._end_chain(other)

    def _grant_tokens(self) -> None:
        while (call := self._waiting.next_granted()) is not None:
            self._start_call(call)

    def _start_call(self, call: Call) -> None:
        self._begin(call)
        for node in call.nodes:
            self._running_now(node, call)
        owner = call.nodes[0]
        inputs, unevaluated = owner.run.inputs_of(owner, self.cache)
        command = commands.CallNode(
            call.call_id, owner.run.prompt_id, owner.place.node_id, owner.definition, owner.interface,
            owner.run.scope, inputs, unevaluated, call.part, owner.is_worth_a_copy(self.cache),
            is_alone=owner.runs_alone)
        if call.needs and len(call.nodes) == 1:
            self._chains.plan(call, command)
        self._out.append(command)

    def _go_on(self, call: Call) -> Call:
        """The thread of a call has returned, and has begun with the next one: that has the tokens now. Nobody wants it
        yet."""
        then = self._chains.next_of(call)
        then.run = call.run
        self._calls[then.call_id] = then
        self._count_lane(then.run, +1)
        then.tokens_held, call.tokens_held = call.tokens_held, False
        then.state = CallState.CANCELLING
        then.run.waits_for.add(then.call_id)
        return then

    def _want_call(self, call: Call) -> None:
        """Its node is to be called, and that is what its thread has begun with."""
        (node,) = call.nodes
        node.run.waits_for.discard(call.call_id)
        node.run.calls[call.call_id] = call
        node.move(NodeState.READY)
        node.call = call
        self._offer_to_share(call, node)
        self._begin(call)
        self._running_now(node, call)

    def _end_chain(self, call: Call) -> None:
        if self._chains.end(call):
            self._out.append(commands.EndChain(call.call_id))

    def _begin(self, call: Call) -> None:
        call.state = CallState.RUNNING
        call.order = next(self._starts)

    def _running_now(self, node: NodeRun, call: Call) -> None:
        node.move(NodeState.RUNNING)
        if call.part is CallPart.FUNCTION and node.is_checked:
            return  # told when its check began
        self._out.append(events.NodeStarted(prompt_id=node.run.prompt_id, place=node.place))

    # -- calls end ----------------------------------------------------------------------------------------------

    def _node_returned(self, returned: stimuli.NodeReturned) -> None:
        then = self._go_on(self._calls[returned.call_id]) if returned.goes_on else None
        call = self._end(returned.call_id)
        if call is None:
            if then is not None:
                self._cancel(then)
            return
        if self._memory_failures:
            for pool, _ in call.needs:
                self._memory_failures.pop(pool, None)
        record = returned.record
        owner = call.nodes[0]
        self._keep(owner, record)
        if not returned.blocked:
            self._offer(owner, record)
        if returned.copy is not None:
            self._out.append(commands.StoreOutputs(owner.run.prompt_id, owner.signature, returned.copy))
        for node in call.nodes:
            for message in returned.blocked:
                self._announce_blocked(node, message)
            node.run.executed.append(node.place.node_id)
            movable = self._complete(node, record)
            if then is not None and then.nodes[0] in movable and then.nodes[0].state is NodeState.WAITING:
                movable.remove(then.nodes[0])
                self._want_call(then)
            self._advance(node.run, movable)
        if then is not None and then.state is CallState.CANCELLING:
            self._cancel(then)
        self._settle_all(call)

    def _node_expanded(self, expanded: stimuli.NodeExpanded) -> None:
        call = self._end(expanded.call_id)
        if call is None:
            return
        owner, *others = call.nodes
        for message in expanded.blocked:
            self._announce_blocked(owner, message)
        if expanded.ui is not None:
            self._announce(events.NodeShown(prompt_id=owner.run.prompt_id, place=owner.place, ui=expanded.ui))
        owner.move(NodeState.EXPANDED)
        owner.call = None
        self._ask_again(others)
        run = owner.run
        try:
            self._refuse_impossible(expanded)
            movable = run.expand(owner, expanded, self.cache)
        except Exception as error:  # nobody has checked what a node makes: its prompt must end whatever it is
            self._break(owner, _own_error(error))
        else:
            self._show_cached(run, expanded)
            self._give_up_dead_ends(run)
            self._advance(run, movable)
        self._settle_all(call)

    def _show_cached(self, run: PromptRun, expanded: stimuli.NodeExpanded) -> None:
        """Output nodes of a subgraph whose results the cache has are shown, as those of the prompt are."""
        for graph_node in expanded.nodes:
            node = run.nodes.get(graph_node.node_id)
            if node is not None and node.state is NodeState.DONE and node.definition.is_output \
                    and node.record is not None and not node.is_repeat and len(node.story) == 2:
                self._announce_finished(node, node.record, from_cache=True)

    def _refuse_impossible(self, expanded: stimuli.NodeExpanded) -> None:
        """Expansions are not validated. A call that can never have its tokens would keep others from theirs."""
        for node in expanded.nodes:
            problem = self.pools.impossible(expanded.scope.definitions[node.class_type].needs)
            if problem is not None:
                raise ImpossibleResourcesError(f"{node.class_type} of node {node.node_id}: {problem}")

    def _inputs_wanted(self, wanted: stimuli.InputsWanted) -> None:
        call = self._end(wanted.call_id)
        if call is None:
            return
        for node in call.nodes:
            node.move(NodeState.WAITING)
            node.call = None
            node.is_checked = not wanted.names
        for node in call.nodes:
            if node.run.ending is None:
                try:
                    movable = node.run.want_inputs(node, wanted.names, self.cache)
                except StudioError as error:
                    self._break(node, _own_error(error))
                else:
                    self._give_up_dead_ends(node.run)
                    self._advance(node.run, movable)
        self._settle_all(call)

    def _ask_again(self, nodes: Iterable[NodeRun]) -> None:
        """A shared call ended in a way that only its owner can use: the others run by themselves."""
        for node in nodes:
            node.move(NodeState.READY)
            self._ask_for_call(node)

    def _node_raised(self, raised: stimuli.NodeRaised) -> None:
        call = self._end(raised.call_id)
        waits_for_memory = False
        if call is not None:
            if not call.nodes:  # change checks
                self._fail(call.run, raised.node_id or call.run.outputs[0], raised.error)
            for node in list(call.nodes):
                node.call = None
                if raised.error.out_of_memory and node.run.ending is None and not node.runs_alone:
                    self._try_alone(node, raised.error)
                    waits_for_memory = True
                elif raised.error.is_transient and node.run.ending is None and node.retries < node.definition.retries:
                    self._retry_later(node, raised.error)
                else:
                    self._break(node, raised.error)
            if raised.error.out_of_memory and any(node.runs_alone and node.call is None for node in call.nodes):
                self._count_memory_failure(call)
        if raised.error.out_of_memory:  # now: what failed needs its outputs no more
            self.cache.drop_unused(self._signatures_in_use())
            if not waits_for_memory:
                self._out.append(commands.ReleaseMemory())

    def _try_alone(self, node: NodeRun, error: NodeError) -> None:
        """It ran out of memory: once more, when what is kept has been dropped, and with nothing beside it."""
        node.runs_alone = True
        node.move(NodeState.READY)
        call = self._new_call(node.run, node, (), on_lane=False)
        node.call = call
        self._begin(call)
        self._announce(events.NodeRetried(prompt_id=node.run.prompt_id, place=node.place, error=error, attempt=2,
                                          most_attempts=2, seconds=0))
        self._out.append(commands.ReleaseToRetry(call.call_id, node.run.prompt_id))

    def _count_memory_failure(self, call: Call) -> None:
        """Alone, too, it ran out of memory. What comes next may do no better: somebody has to look."""
        for pool, _ in call.needs:
            self._memory_failures[pool] = self._memory_failures.get(pool, 0) + 1
            if self._memory_failures[pool] >= MOST_MEMORY_FAILURES:
                for chained in self._chains.calls():
                    self._end_chain(chained)
                self.pools.pause(pool, f"{MOST_MEMORY_FAILURES} nodes in a row ran out of memory, each of them alone, "
                                       "too. It goes on when the queue is resumed or memory is freed")
                self._announce(events.QueueChanged(remaining=self.remaining))

    def _resume_pools(self) -> None:
        self._memory_failures.clear()
        if self.pools.resume():
            self._tokens_moved = True
            self._announce(events.QueueChanged(remaining=self.remaining))

    def _retry_later(self, node: NodeRun, error: NodeError) -> None:
        node.retries += 1
        seconds = min(self._retry_backoff * 2 ** (node.retries - 1), LONGEST_BACKOFF)
        node.move(NodeState.READY)
        call = self._new_call(node.run, node, (), on_lane=False)
        node.call = call
        self._begin(call)
        self._announce(events.NodeRetried(
            prompt_id=node.run.prompt_id, place=node.place, error=error, attempt=node.retries + 1,
            most_attempts=node.definition.retries + 1, seconds=seconds))
        self._out.append(commands.WaitToRetry(call.call_id, node.run.prompt_id, node.place.node_id, node.definition,
                                              seconds))

    def _retry_due(self, due: stimuli.RetryDue) -> None:
        call = self._end(due.call_id)
        if call is None:
            return
        for node in call.nodes:
            self._call_or_join(node)
        self._settle_all(call)

    def _outputs_found(self, found: stimuli.OutputsFound) -> None:
        call = self._end(found.call_id)
        if call is None:
            return
        self._keep(call.nodes[0], found.record)
        for node in call.nodes:
            if node.place.parent_id is None:
                self._announce(events.NodesCached(prompt_id=node.run.prompt_id, nodes=[node.place.node_id]))
            self._advance(node.run, self._complete(node, found.record, from_cache=True, from_disk=True))
        self._settle_all(call)

    def _outputs_missing(self, missing: stimuli.OutputsMissing) -> None:
        """They have to be made after all, and what they are made of before them."""
        call = self._end(missing.call_id)
        if call is None:
            return
        for node in call.nodes:
            self._outputs_dropped(stimuli.OutputsDropped(signatures=[node.signature]))
            node.move(NodeState.WAITING)
            node.call = None
        for node in list(call.nodes):
            run = node.run
            if run.ending is None and node.state is NodeState.WAITING:
                try:
                    movable = run.want_sources(node, self.cache)
                except StudioError as error:
                    self._break(node, _own_error(error))
                else:
                    self._give_up_dead_ends(run)
                    self._advance(run, movable)
        self._settle_all(call)

    def _outputs_stored(self, stored: stimuli.OutputsStored) -> None:
        if self.cache.on_disk is not None:
            self.cache.on_disk.update(stored.signatures)

    def _outputs_dropped(self, dropped: stimuli.OutputsDropped) -> None:
        if self.cache.on_disk is not None:
            self.cache.on_disk.difference_update(dropped.signatures)

    def _outside_tier_changed(self, changed: stimuli.OutsideTierChanged) -> None:
        self._has_outside_tier = changed.is_there
        if self._code_of is None:
            self._code_of = changed.code_of

    def _call_overdue(self, overdue: stimuli.CallOverdue) -> None:
        """It is cancelled as any other call; its node has failed already."""
        call = self._calls.get(overdue.call_id)
        if call is not None and call.state is CallState.RUNNING:
            for node in list(call.nodes):
                self._break(node, overdue.error)

    def _node_lost(self, lost: stimuli.NodeLost) -> None:
        self._node_raised(stimuli.NodeRaised(call_id=lost.call_id, error=NodeError(
            exception_type="NodeLost", exception_message=lost.reason)))

    def _node_cancelled(self, cancelled: stimuli.NodeCancelled) -> None:
        call = self._end(cancelled.call_id)
        if call is None:
            return
        for node in call.nodes:  # the node itself asked for an interrupt
            self._interrupt(node.run, node)
        if not call.nodes:
            self._interrupt(call.run, None)

    def _fingerprints_taken(self, taken: stimuli.FingerprintsTaken) -> None:
        call = self._end(taken.call_id)
        if call is None:
            return
        call.run.fingerprints.update(taken.fingerprints)
        if taken.signatures is not None:
            call.run.signatures = taken.signatures
        self._launch(call.run)

    def _node_abandoned(self, abandoned: stimuli.NodeAbandoned) -> None:
        call = self._calls.get(abandoned.call_id)
        if call is None or call.state is not CallState.CANCELLING:
            return  # it ended in the meantime
        call.state = CallState.ABANDONED
        self._chains.leave(call)
        self._leave_lane(call)
        self._cancelled_call_ended(call)

    def _call_returned(self, returned: stimuli.CallReturned) -> None:
        call = self._calls.pop(returned.call_id, None)
        if call is None or call.state is not CallState.ABANDONED:
            raise InvariantViolated(f"call {returned.call_id} returned without having been abandoned")
        self._give_back(call)

    def _call_left_lane(self, left: stimuli.CallLeftLane) -> None:
        call = self._calls.get(left.call_id)
        if call is not None and call.state is not CallState.ABANDONED:
            self._chains.leave(call)
            self._give_back(call)
            self._leave_lane(call)

    def _memory_wanted(self, _: stimuli.MemoryWanted) -> None:
        self._resume_pools()
        self._drop_unused()

    def _drop_unused(self) -> None:
        self.cache.drop_unused(self._signatures_in_use())
        self._out.append(commands.ReleaseMemory())

    # -- small steps --------------------------------------------------------------------------------------------

    def _end(self, call_id: CallId) -> Call | None:
        """Take a call off the books. None if nobody waits for it any more: it was cancelled or abandoned."""
        call = self._calls.get(call_id)
        if call is None or call.state is CallState.WAITING:
            raise InvariantViolated(f"call {call_id} ended, but does not run")
        if call.state is CallState.ABANDONED:
            self._call_returned(stimuli.CallReturned(call_id=call_id))
            return None
        if call.on_lane:
            self._chains.leave(call)
        self._unshare(call)
        self._close(call)
        call.run.calls.pop(call_id, None)
        for node in call.nodes:
            node.run.calls.pop(call_id, None)
        if call.state is CallState.CANCELLING:
            self._cancelled_call_ended(call)
            return None
        return call

    def _close(self, call: Call) -> None:
        del self._calls[call.call_id]
        self._give_back(call)
        self._leave_lane(call)

    def _give_back(self, call: Call) -> None:
        if call.tokens_held:
            call.tokens_held = False
            self.pools.give_back(call.needs)
            self._tokens_moved = True

    def _leave_lane(self, call: Call) -> None:
        if call.on_lane:
            call.on_lane = False
            self._count_lane(call.run, -1)

    def _count_lane(self, run: PromptRun, change: int) -> None:
        before = run.lane_calls
        run.lane_calls = before + change
        if not before:
            self._busy += 1
        elif not run.lane_calls:
            self._busy -= 1

    def _unshare(self, call: Call) -> None:
        if call.shared_as is not None and self._shared.get(call.shared_as) is call:
            del self._shared[call.shared_as]

    def _cancelled_call_ended(self, call: Call) -> None:
        call.run.waits_for.discard(call.call_id)
        self._settle(call.run)

    def _settle_all(self, call: Call) -> None:
        if len(call.nodes) == 1:
            self._settle(call.nodes[0].run)
            return
        for run in {node.run.prompt_id: node.run for node in call.nodes}.values():
            self._settle(run)

    def _keep(self, node: NodeRun, record: OutputRecord) -> None:
        """Put outputs into the cache. Those of an expansion live as long as the node that was expanded."""
        place = node.place
        top = node.run.signatures[place.real_id] if place.parent_id is not None else None
        self.cache.store(node.signature, record, lives_with=top)

    def _offer(self, node: NodeRun, record: OutputRecord) -> None:
        """Outputs of a call that has run, for the tier that does not say what it has."""
        if node.run.asked_outside is not None and node.may_outlive_prompt:
            self._out.append(commands.OfferOutputs(_signed(node), record))

    def _complete(self, node: NodeRun, record: OutputRecord, *, ui_was_shown: bool = False,
                  from_cache: bool = False, from_disk: bool = False) -> list[NodeRun]:
        self._announce_finished(node, record, from_cache=from_cache, from_disk=from_disk, ui_was_shown=ui_was_shown)
        if node.run.suspects:
            node.run.suspects.discard(node.place.node_id)
            self._let_others_start(node.run)
        return node.run.complete(node, record)

    def _announce(self, event: events.Event) -> None:
        self._out.append(event)

    def _announce_finished(self, node: NodeRun, record: OutputRecord, *, from_cache: bool, from_disk: bool = False,
                           ui_was_shown: bool = False) -> None:
        self._announce(events.NodeFinished(
            prompt_id=node.run.prompt_id, place=node.place, ui=record.ui, is_output=node.definition.is_output,
            from_cache=from_cache, from_disk=from_disk, ui_was_shown=ui_was_shown))

    def _announce_blocked(self, node: NodeRun, message: str) -> None:
        self._announce(events.NodeBlocked(
            prompt_id=node.run.prompt_id, place=node.place, message=message,
            node_type=node.graph_node.class_type, executed=list(node.run.executed)))

    def validate(self) -> None:
        """Assert what must always hold. For tests."""
        held: dict[str, int] = {}
        lanes: dict[PromptId, int] = {}
        for call in self._calls.values():
            if call.tokens_held:
                for pool, tokens in call.needs:
                    held[pool] = held.get(pool, 0) + tokens
            if call.on_lane:
                lanes[call.run.prompt_id] = lanes.get(call.run.prompt_id, 0) + 1
            if call.state is CallState.WAITING:
                assert call.nodes
                assert not call.tokens_held
            if call.state is CallState.RUNNING:
                assert call.nodes or not call.run.started
                assert bool(call.needs) == call.tokens_held or not call.on_lane
            if call.is_lookup:
                assert not call.needs
                assert all(node.state is NodeState.READY for node in call.nodes)
        for pool, (taken, capacity) in self.pools.snapshot().items():
            assert held.get(pool, 0) == taken <= capacity, pool
        for run in self._running.values():
            run.validate()
            assert not run.to_look_up
            assert run.lane_calls == lanes.get(run.prompt_id, 0)
            assert run.calls or run.waits_for or run.movable, f"{run.prompt_id} waits for nothing and has not finished"
            for node in run.nodes.values():
                if node.call is not None:
                    assert node in node.call.nodes
                    assert node.call.call_id in self._calls
        assert self._unmoved == {run.prompt_id: run for run in self._running.values() if run.movable}
        assert self._busy == sum(run.lane_calls > 0 for run in self._running.values())
        for signature, call in self._shared.items():
            assert call.shared_as == signature
            assert call.call_id in self._calls
        self._chains.validate(self._calls)
        self.cache.validate()


def _entry(run: PromptRun) -> QueueEntry:
    return QueueEntry(run.prompt_id, run.number, run.scope.submitted, run.scope.extra_data, run.outputs)


def _signed(node: NodeRun) -> commands.SignedCall:
    definition = node.definition
    is_list = definition.output_is_list or [False] * len(definition.output_types)
    return commands.SignedCall(node.run.prompt_id, node.place.node_id, node.graph_node.class_type, node.signature,
                               tuple(map(bool, is_list)))


def _own_error(error: Exception) -> NodeError:
    """An error that the scheduler found in what a node asked for."""
    name = type(error).__name__
    module = "graph" if isinstance(error, DependencyCycleError) else "execution"
    return NodeError(exception_type=f"{module}.{name}", exception_message=f"{error}\n")


_HANDLERS: dict[type, Callable[[Scheduler, Any], None]] = {
    stimuli.PromptSubmitted: Scheduler._prompt_submitted,
    stimuli.StartStored: Scheduler._start_stored,
    stimuli.PauseRequested: Scheduler._pause_requested,
    stimuli.RetryDue: Scheduler._retry_due,
    stimuli.OutputsFound: Scheduler._outputs_found,
    stimuli.OutputsMissing: Scheduler._outputs_missing,
    stimuli.OutputsStored: Scheduler._outputs_stored,
    stimuli.OutputsDropped: Scheduler._outputs_dropped,
    stimuli.OutsideTierChanged: Scheduler._outside_tier_changed,
    stimuli.CallOverdue: Scheduler._call_overdue,
    stimuli.TurnPassed: Scheduler._turn_passed,
    stimuli.CancelRequested: Scheduler._cancel_requested,
    stimuli.PendingRemoved: Scheduler._pending_removed,
    stimuli.PendingMoved: Scheduler._pending_moved,
    stimuli.MemoryWanted: Scheduler._memory_wanted,
    stimuli.NodeReturned: Scheduler._node_returned,
    stimuli.NodeExpanded: Scheduler._node_expanded,
    stimuli.InputsWanted: Scheduler._inputs_wanted,
    stimuli.NodeRaised: Scheduler._node_raised,
    stimuli.NodeLost: Scheduler._node_lost,
    stimuli.NodeCancelled: Scheduler._node_cancelled,
    stimuli.FingerprintsTaken: Scheduler._fingerprints_taken,
    stimuli.NodeAbandoned: Scheduler._node_abandoned,
    stimuli.CallReturned: Scheduler._call_returned,
    stimuli.CallLeftLane: Scheduler._call_left_lane,
}
