"""Calls nodes: to run them, and to ask which lazy inputs they want. Coroutine or thread, the rest of the engine cannot
tell. What else nodes are asked is in `node_hooks.py`; the expressions that run their code in `node_code.py`.

Every call that is started ends in exactly one stimulus. Where a coroutine's task or a thread's job ends, `_end` is
called once; a task cancelled before its first step never enters its own `try`, so a cancelled task is watched from
outside as well.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from . import stimuli
from .call_slices import Joined, Slice, join_results, slices_of
from .call_watch import CallWatch
from .commands import CallNode, CallPart, TakeFingerprints, WaitToRetry
from .errors import NodeInputError
from .events import NodeError
from .identifiers import CallId, NodeId, PromptId
from .node_code import NodeCode, enter_call, exit_as_value
from .node_context import CallDesk, InterruptProcessing, NodeCall, OpenCalls, books_of_open_calls
from .node_errors import describe_error
from .node_hooks import CallerSettings, HookLate, NodeHooks
from .node_instances import NodeInstances
from .node_interface import NodeDefinition, revisions_of
from .node_lanes import CallTimedOut, LoopMailbox, NodeLanes, ThreadLane
from .node_registry import NodeRegistry
from .node_values import NodeResult, OutputRecord
from .prompt_graph import parse_expansion
from .signatures import Signature, sign_all
from .value_size import TakesLong, is_light, refuse_what_takes_long

log = logging.getLogger("studio.nodes")

LONGEST_TO_GO_ON = 0.05
"""Seconds that a call may have taken whose thread goes on by itself."""
CONSTRUCTION_THREADS = 4
COPYING_THREADS = 2


class NodeCaller(Protocol):
    """Runs calls, here or elsewhere. Endings go to the `ended` that it was made with."""

    def start(self, command: CallNode) -> None: ...

    def take_fingerprints(self, command: TakeFingerprints) -> None: ...

    def wait_to_retry(self, command: WaitToRetry) -> None: ...

    def cancel(self, call_id: CallId) -> None: ...

    def hand_over(self, call_id: CallId, prompt_id: PromptId, node_id: NodeId) -> None: ...

    def end_chain(self, call_id: CallId) -> None: ...


class CopiesOutputs(Protocol):
    """Takes copies of outputs before anybody else has them. Called on any thread but the loop's."""

    after: float
    """Seconds that a call took, from which its outputs are worth it."""

    def copy(self, record: OutputRecord) -> Any:
        """None if it is not to be had. Never raises."""
        ...


class _OpenCall(NodeCall):
    """A call from its start to its end."""

    instance: Any = None
    task: "asyncio.Task[None] | None" = None
    timer: asyncio.TimerHandle | None = None
    is_abandoned = False
    is_constructed = False
    """Its instance is there: what fails from now on fails with its inputs."""

    watch: CallWatch | None = None
    began: float = 0.0
    """When its own code began, by the caller's clock."""
    then: "_OpenCall | None" = None
    """What its thread may go on with by itself. Not open before it does."""
    chain: "_Chain | None" = None

    def __init__(self, command: CallNode | TakeFingerprints | WaitToRetry, node_id: NodeId, definition: NodeDefinition,
                 desk: CallDesk) -> None:
        self.call_id = command.call_id
        self.prompt_id = command.prompt_id
        self.node_id = node_id
        self.definition = definition
        self.desk = desk
        self.command = command


class _Chain:
    """Whether the thread that runs these calls may still go on by itself."""

    is_over = False


class AbandonedCall(Struct, frozen=True, kw_only=True):
    """A call that did not stop when it was cancelled, and still holds its tokens."""

    prompt_id: PromptId
    node_id: NodeId
    class_type: str
    needs: tuple[tuple[str, int], ...]
    since: float
    """Seconds, by the caller's clock."""


class _Returned(Struct):
    """What a plain function returned for each slice. If there are awaitables the call goes on as an async one."""

    slices: list[Slice]
    returned: list[Any]


class LocalNodeCaller:
    """Calls nodes in this process.

    :param ended: takes the stimulus of each ending, on the loop.
    :param settle: called with a call and a continuation before its ending is told, so that what it reported last
        goes first; with False that is dropped instead, and nothing is waited for.
    :param before_call: called on a thread before plain code of a node runs there.
    :param now: seconds, by the clock that the desk goes by.
    :param copier: takes copies of the outputs of calls that are worth one.
    """

    def __init__(self, *, registry: NodeRegistry, ended: Callable[[stimuli.Stimulus], None],
                 desk: CallDesk, settle: Callable[[NodeCall, Callable[[], None], bool], None],
                 capacity: Callable[[str], int], settings: CallerSettings,
                 before_call: Callable[[], None] | None = None, now: Callable[[], float] = time.monotonic,
                 copier: CopiesOutputs | None = None) -> None:
        self._now = now
        self._copier = copier
        self._copying_lane = ThreadLane("copies", COPYING_THREADS)
        self._registry = registry
        self._tell = ended
        self._desk = desk
        self._settle = settle
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._code = NodeCode(before_call)
        self.hooks = NodeHooks(registry, self._code, settings)
        self.mailbox = LoopMailbox(self._loop, self._code.context)
        self._lanes = NodeLanes(capacity)
        self._construction_lane = ThreadLane("constructors", CONSTRUCTION_THREADS)
        self._constructions: list[tuple[_OpenCall, asyncio.Future[Any]]] = []
        self._error_lane = ThreadLane("errors", 1)
        self.instances = NodeInstances()
        self.keeps_instances = True
        """Whether an instance stays for the next prompt that has its node."""
        self.abandoned: dict[CallId, AbandonedCall] = {}
        self._call_stopped = asyncio.Event()
        self._open: OpenCalls[_OpenCall] = OpenCalls()
        books_of_open_calls.add(self._open)

    # -- commands -----------------------------------------------------------------------------------------------

    def start(self, command: CallNode) -> None:
        definition = command.definition
        call = _OpenCall(command, command.node_id, definition, self._desk)
        self._open_call(call, definition, command)
        if definition.is_async:
            call.task = self._own_task(self._run_async(call, command))
        elif command.part is CallPart.CHECK:
            call.task = self._own_task(self._run_check(call, command))
        else:
            call.instance = self.instances.take(command.node_id, definition, command.call_id)
            if command.then is not None:
                self._prepare_chain(call, command.then)
            held = [call]  # by the thread alone, which lets go of it when it goes on
            self._lanes.lane_for(definition.needs).submit(lambda: self._run_plain(held.pop()))

    def _open_call(self, call: _OpenCall, definition: NodeDefinition, command: CallNode) -> None:
        self._open[command.call_id] = call
        limits = command.scope.limits.over(definition.limits).over(self._settings.limits)
        if limits.run_timeout or limits.idle_timeout:
            call.watch = CallWatch(call, limits, self._now, self._overdue)

    def _prepare_chain(self, call: _OpenCall, following: CallNode) -> None:
        chain = call.chain = _Chain()
        command: CallNode | None = following
        while command is not None:
            then = call.then = _OpenCall(command, command.node_id, command.definition, self._desk)
            then.chain = chain
            then.instance = self.instances.take(command.node_id, command.definition, command.call_id)
            call, command = then, command.then

    def end_chain(self, call_id: CallId) -> None:
        call = self._open.get(call_id)
        if call is not None and call.chain is not None:
            call.chain.is_over = True

    def take_fingerprints(self, command: TakeFingerprints) -> None:
        node_id = command.node_ids[0] if command.node_ids else next(iter(command.scope.nodes))
        call = _OpenCall(command, node_id, command.scope.definitions[command.scope.nodes[node_id].class_type],
                         self._desk)
        self._open[command.call_id] = call
        call.task = self._own_task(self._run_fingerprints(call, command))

    def wait_to_retry(self, command: WaitToRetry) -> None:
        call = _OpenCall(command, command.node_id, command.definition, self._desk)
        self._open[command.call_id] = call
        call.task = self._own_task(self._wait(call, command.seconds))

    async def _wait(self, call: _OpenCall, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._end(call, stimuli.RetryDue(call_id=call.call_id))

    def _overdue(self, call: NodeCall, error: NodeError) -> None:
        self._tell(stimuli.CallOverdue(call_id=call.call_id, error=error))

    def cancel(self, call_id: CallId) -> None:
        call = self._open.get(call_id)
        if call is None or call.is_cancelled:
            return
        call.is_cancelled = True
        if call.chain is not None:
            call.chain.is_over = True
        grace = self._settings.plain_grace
        if call.task is not None:
            grace = self._settings.cancel_grace
            call.task.cancel()
            call.task.add_done_callback(lambda _: self._end(call, stimuli.NodeCancelled(call_id=call_id)))
        call.timer = self._loop.call_later(grace, self._abandon, call)

    def hand_over(self, call_id: CallId, prompt_id: PromptId, node_id: NodeId) -> None:
        call = self._open.get(call_id)
        if call is not None:
            call.prompt_id, call.node_id = prompt_id, node_id

    def run_aside(self, function: Callable[[], None]) -> None:
        """Run something that takes its time on a thread that no node waits for."""
        self._construction_lane.submit(function)

    async def close(self) -> None:
        """Cancel what runs and wait until each call has ended, or is abandoned when its grace is over."""
        for call_id in list(self._open):
            self.cancel(call_id)
        while not all(call.is_abandoned for call in self._open.values()):
            self._call_stopped.clear()
            await self._call_stopped.wait()
        books_of_open_calls.discard(self._open)
        self._lanes.close()
        self.hooks.close()
        self._construction_lane.close()
        self._error_lane.close()
        self._copying_lane.close()

    # -- async nodes --------------------------------------------------------------------------------------------

    async def _run_async(self, call: _OpenCall, command: CallNode) -> None:
        definition = call.definition
        call.began = self._now()
        try:
            instance = self._instance_at_once(call)
            if instance is None:
                instance = await self._construct(call)
            call.instance = instance
            call.is_constructed = True
            slices = self._slices(command)
            ending: stimuli.CallEnding
            if definition.lazy_check is not None and (wanted := await self._lazy_inputs(call, slices)):
                ending = stimuli.InputsWanted(call_id=call.call_id, names=wanted)
            else:
                function = definition.function(instance)
                if len(slices) == 1 and slices[0].blocker is None:
                    enter_call(call, slices[0].index)
                    results: list[NodeResult | None] = [
                        definition.read_result(await self._code.begin(function, slices[0].arguments))]
                else:
                    returned = await self._gather(call, slices, function)
                    results = [None if one.blocker is not None else definition.read_result(value)
                               for one, value in zip(slices, returned, strict=True)]
                joined = await self._join(definition, slices, results)
                if joined.expansion is None and not self._is_worth_a_copy(call):
                    ending = _returned(call, joined, None)
                else:
                    ending = await self._returned(call, joined)
        except BaseException as error:
            ending = await self._ending_by(call, error)
        self._end(call, ending)

    async def _join(self, definition: NodeDefinition, slices: Sequence[Slice],
                    results: Sequence[NodeResult | None]) -> Joined:
        """Join results; what would take the loop's time is done on a thread."""
        if len(results) == 1 and (only := results[0]) is not None and is_light(only.outputs, only.ui):
            return join_results(definition, slices, results)
        try:
            for result in results:
                if result is not None:
                    refuse_what_takes_long(result.outputs, result.ui)
        except TakesLong:
            return await self._construction_lane.call(partial(join_results, definition, slices, results))
        return join_results(definition, slices, results)

    def _instance_at_once(self, call: _OpenCall) -> Any | None:
        """An instance that is there, or made without code of the node; None if there is neither."""
        definition = call.definition
        instance = self.instances.take(call.node_id, definition, call.call_id)
        if instance is None and definition.creates_in_place:
            return definition.create()
        return instance

    async def _run_check(self, call: _OpenCall, command: CallNode) -> None:
        """Ask the async check of a plain node; its function is another call, once it wants no more."""
        try:
            call.instance = self._instance_at_once(call)
            if call.instance is None:
                call.instance = await self._construct(call)
            call.is_constructed = True
            ending: stimuli.CallEnding = stimuli.InputsWanted(
                call_id=call.call_id, names=await self._lazy_inputs(call, self._slices(command)))
        except BaseException as error:
            ending = await self._ending_by(call, error)
        self._end(call, ending)

    def _own_task(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """A task that lets nothing out, so that the loop's factory need not see to it."""
        return asyncio.Task(coroutine, loop=self._loop, context=self._code.context.copy())

    async def _gather(self, call: _OpenCall, slices: Sequence[Slice],
                      function: Callable[..., Coroutine[Any, Any, Any]]) -> list[Any]:
        """Run all indices side by side. The first that failed, in index order, is raised once all have ended."""
        tasks: list[asyncio.Task[Any] | None] = []
        for one in slices:
            if one.blocker is not None:
                tasks.append(None)
                continue
            context = self._code.context.copy()
            context.run(enter_call, call, one.index)
            running = exit_as_value(self._code.begin(function, one.arguments))
            tasks.append(self._loop.create_task(running, context=context))
        answers = iter(await asyncio.gather(*(one for one in tasks if one is not None), return_exceptions=True))
        results = [None if task is None else next(answers) for task in tasks]
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    async def _lazy_inputs(self, call: _OpenCall, slices: Sequence[Slice]) -> list[str]:
        """Lazy inputs that an async node, or one with an async check, asks for."""
        definition = call.definition
        command = call.command
        assert isinstance(command, CallNode)
        assert definition.lazy_check is not None
        check = definition.lazy_check(call.instance)
        answers: list[Any] = []
        for one in slices:
            if one.blocker is None:
                if definition.lazy_check_is_async:
                    enter_call(call, one.index)
                    answers.append(await self._code.begin(check, one.arguments))
                else:
                    context = self._code.context.copy()
                    context.run(enter_call, call, one.index)
                    answers.append(await self._return_of(self._loop.create_task(self._construction_lane.call(
                        partial(context.run, self._code.run, check, one.arguments)))))
        return _unevaluated_among(answers, command)

    async def _construct(self, call: _OpenCall) -> Any:
        """An instance whose constructor is plain code: those asked for in one turn of the loop share one hop."""
        future = self._loop.create_future()
        self._constructions.append((call, future))
        if len(self._constructions) == 1:
            self._loop.call_soon(self._submit_constructions, context=self._code.context)
        return await self._return_of(future)

    @staticmethod
    async def _return_of(future: "asyncio.Future[Any]") -> Any:
        """What comes from a thread, which is waited for even when the call is cancelled: until it returns it uses the
        instance, and the tokens are not free."""
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait((future,))
            if not future.cancelled():
                future.exception()  # nobody else looks at it
            raise

    def _submit_constructions(self) -> None:
        wanted, self._constructions = self._constructions, []

        def job() -> None:
            for call, future in wanted:
                made, failure = None, None
                try:
                    if call.is_cancelled:
                        raise InterruptProcessing
                    made = self._code.run_for(call, None, call.definition.create, {})
                except BaseException as error:
                    failure = error
                self.mailbox.post(_answer, (future, made, failure))

        self._construction_lane.submit(job)

    # -- plain nodes --------------------------------------------------------------------------------------------

    def _run_plain(self, call: _OpenCall) -> None:
        """On a thread of the lane whose token the call holds."""
        following: _OpenCall | None = call
        while following is not None:
            call = following
            try:
                outcome: Any = self._outcome_of(call, self._call_plain(call))
            except BaseException as error:
                outcome = self._ending_of(call, error)
            following = self._following(call, outcome)
            self.mailbox.post(self._plain_done, (call, outcome))
            outcome = None  # a value of the node may lead to this frame: an error that it caught, say

    def _following(self, call: _OpenCall, outcome: Any) -> _OpenCall | None:
        """On the thread that a call has returned from: what it goes on with, if with anything. To a call that took long
        a hop is nothing; and what one told last goes out before its end, which takes turns of the loop."""
        then = call.then
        if (then is None or outcome.__class__ is not stimuli.NodeReturned or call.is_cancelled or call.has_reported
                or then.chain.is_over or self._now() - call.began > LONGEST_TO_GO_ON):  # type: ignore[union-attr]
            return None
        command = then.command
        assert isinstance(command, CallNode)
        command.inputs = {name: outcome.record.values(command.awaited[name]) if name in command.awaited else values
                          for name, values in command.inputs.items()}
        outcome.goes_on = True
        call.went_on_with = then
        return then

    def _call_plain(self, call: _OpenCall) -> "stimuli.InputsWanted | _Returned":
        call.began = self._now()
        if call.is_cancelled:
            raise InterruptProcessing
        command = call.command
        assert isinstance(command, CallNode)
        definition = call.definition
        if call.instance is None:
            call.instance = self._code.run_for(call, None, definition.create, {})
        call.is_constructed = True
        slices = self._slices(command)
        if definition.lazy_check is not None and command.part is CallPart.WHOLE:
            check = definition.lazy_check(call.instance)
            answers = [self._code.run_for(call, one.index, check, one.arguments)
                       for one in slices if one.blocker is None]
            if wanted := _unevaluated_among(answers, command):
                return stimuli.InputsWanted(call_id=call.call_id, names=wanted)
        function = definition.function(call.instance)
        returned: list[Any] = []
        for one in slices:
            if one.blocker is not None:
                returned.append(None)
                continue
            if call.is_cancelled:
                raise InterruptProcessing
            returned.append(self._code.run_for(call, one.index, function, one.arguments))
        return _Returned(slices, returned)

    def _outcome_of(self, call: _OpenCall,
                    what: "stimuli.InputsWanted | _Returned") -> "stimuli.CallEnding | Joined | _Returned":
        """What the code of a plain node comes to; the same if it is to be awaited. Apart from where that is called: its
        frame may live as long as what it returned."""
        if isinstance(what, stimuli.InputsWanted):
            return what
        slices, returned = what.slices, what.returned
        if any(inspect.isawaitable(value) for value in returned):
            return what
        definition = call.definition
        results = [None if one.blocker is not None else definition.read_result(value)
                   for one, value in zip(slices, returned, strict=True)]
        joined = join_results(definition, slices, results)
        if joined.expansion is not None:
            return joined
        return _returned(call, joined, self._copy(joined.record) if self._is_worth_a_copy(call) else None)

    def _plain_done(self, letter: "tuple[_OpenCall, Any]") -> None:
        """On the loop: a plain call has come back from its thread."""
        call, outcome = letter
        if isinstance(outcome, stimuli.CallEnding):
            self._end(call, outcome)
        elif call.is_cancelled:  # it would go on, on the loop
            if isinstance(outcome, _Returned):
                _close_coroutines(outcome.returned)
            self._end(call, stimuli.NodeCancelled(call_id=call.call_id))
        else:
            is_awaited = isinstance(outcome, _Returned)
            rest = partial(self._await_returned if is_awaited else self._expanded, call, outcome)
            returned = outcome.returned if is_awaited else ()
            call.task = self._own_task(self._finish(call, rest, returned))
            if returned:  # it may be cancelled before its first step
                call.task.add_done_callback(lambda _: _close_coroutines(returned))

    async def _finish(self, call: _OpenCall, rest: Callable[[], Awaitable[stimuli.CallEnding]],
                      returned: Sequence[Any]) -> None:
        try:
            ending = await rest()
        except BaseException as error:
            _close_coroutines(returned)
            ending = await self._ending_by(call, error)
        self._end(call, ending)

    async def _await_returned(self, call: _OpenCall, awaited: _Returned) -> stimuli.CallEnding:
        """A plain function returned awaitables: they are awaited here, after its tokens were given back."""
        definition = call.definition
        self._tell(stimuli.CallLeftLane(call_id=call.call_id))
        results: list[NodeResult | None] = []
        for one, value in zip(awaited.slices, awaited.returned, strict=True):
            if one.blocker is not None:
                results.append(None)
                continue
            if inspect.isawaitable(value):
                enter_call(call, one.index)
                value = await value
            results.append(definition.read_result(value))
        joined = await self._join(definition, awaited.slices, results)
        return await self._returned(call, joined)

    # -- change checks ------------------------------------------------------------------------------------------

    async def _run_fingerprints(self, call: _OpenCall, command: TakeFingerprints) -> None:
        nodes = [command.scope.nodes[node_id] for node_id in command.node_ids]
        try:
            fingerprints = await self.hooks.fingerprints(nodes, command.scope)
            signatures: dict[NodeId, Signature] | None = None
            if command.sign_order:
                scope = command.scope
                sign = partial(
                    sign_all, command.sign_order, scope.nodes, {}, run=command.run_label,
                    fingerprints={**command.given, **fingerprints}, revisions=revisions_of(scope.definitions),
                    codes=command.codes,
                    identities={name: one.has_own_identity for name, one in scope.interfaces.items()})
                signatures = await self.hooks.compute(sign)
            ending: stimuli.CallEnding = stimuli.FingerprintsTaken(
                call_id=command.call_id, fingerprints=fingerprints, signatures=signatures)
        except HookLate as late:
            ending = stimuli.NodeRaised(call_id=command.call_id, node_id=late.node_id, error=NodeError(
                exception_type="TimeoutError", exception_message=f"{late}\n"))
        except BaseException as error:
            ending = await self._ending_by(call, error)
        self._end(call, ending)

    # -- endings ------------------------------------------------------------------------------------------------

    def _slices(self, command: CallNode) -> list[Slice]:
        definition = command.definition
        hidden = definition.hidden_values(command.interface, command.scope, command.node_id, False) \
            if command.interface.hidden else {}
        slices = slices_of(command.inputs, hidden, definition.input_is_list)
        if definition.input_is_list:
            for name in command.unevaluated:  # a tuple tells it from a list with one None in it
                slices[0].arguments[name] = (None,)
        return slices

    async def _returned(self, call: _OpenCall, joined: Joined) -> stimuli.CallEnding:
        """The ending of a call that returned, on the loop. A copy of its outputs takes a thread, and is there before
        the ending is told: a consumer may change them in place."""
        if joined.expansion is not None:
            return await self._expanded(call, joined)
        copy = None
        if self._is_worth_a_copy(call):
            copy = await self._copying_lane.call(partial(self._copy, joined.record))
        return _returned(call, joined, copy)

    def _is_worth_a_copy(self, call: _OpenCall) -> bool:
        command = call.command
        return (self._copier is not None and isinstance(command, CallNode) and command.is_worth_a_copy
                and self._now() - call.began >= self._copier.after)

    def _copy(self, record: OutputRecord) -> Any:
        return None if self._copier is None else self._copier.copy(record)

    async def _expanded(self, call: _OpenCall, joined: Joined) -> stimuli.CallEnding:
        """The ending of a call whose results hold a subgraph: its classes have to be known first."""
        command = call.command
        assert isinstance(command, CallNode)
        assert joined.pieces is not None
        assert joined.expansion is not None
        scope = command.scope
        nodes = parse_expansion(joined.expansion)
        await self.hooks.learn_classes({node.class_type for node in nodes}, scope)
        asked = [node for node in nodes if node.given_fingerprint is None
                 and scope.definitions[node.class_type].fingerprint is not None]
        fingerprints: dict[NodeId, Any] = {node.node_id: node.given_fingerprint for node in nodes
                                           if node.given_fingerprint is not None}
        if asked:
            try:
                fingerprints.update(await self.hooks.fingerprints(asked, scope))
            except HookLate as late:
                raise TimeoutError(str(late)) from None
        return stimuli.NodeExpanded(
            call_id=call.call_id, nodes=nodes, pieces=joined.pieces, fingerprints=fingerprints, scope=scope,
            ui=joined.record.ui, blocked=joined.blocked, size=joined.record.size)

    async def _ending_by(self, call: _OpenCall, error: BaseException) -> stimuli.CallEnding:
        """The same from the loop: it takes a thread, since values have plain code of their own to say what they are."""
        if self._was_stopped_by(call, error):
            return stimuli.NodeCancelled(call_id=call.call_id)
        try:
            return await self._error_lane.call(partial(self._ending_of, call, error),
                                               timeout=self._settings.hook_timeout)
        except CallTimedOut:
            return stimuli.NodeRaised(call_id=call.call_id, error=NodeError(
                exception_type=type(error).__name__, exception_message="(it does not say more in time)\n"))
        except asyncio.CancelledError:
            return stimuli.NodeCancelled(call_id=call.call_id)

    @staticmethod
    def _was_stopped_by(call: _OpenCall, error: BaseException) -> bool:
        return isinstance(error, InterruptProcessing) or (
            isinstance(error, asyncio.CancelledError) and call.is_cancelled)

    def _ending_of(self, call: _OpenCall, error: BaseException) -> stimuli.CallEnding:
        """How a call ended that raised. On a thread."""
        if self._was_stopped_by(call, error):
            return stimuli.NodeCancelled(call_id=call.call_id)
        command = call.command
        inputs = command.inputs if isinstance(command, CallNode) and call.is_constructed else {}
        described = describe_error(error, inputs, call.definition.transient_errors)
        # A frame of the node holds its inputs, and through them memory, for as long as the exception lives.
        error.__traceback__ = None
        return stimuli.NodeRaised(call_id=call.call_id, error=described)

    def _abandon(self, call: _OpenCall) -> None:
        """A cancelled call did not stop in time: its prompt goes on without it."""
        if call.has_ended or call.is_abandoned or call.went_on_with is not None:
            return  # in the last case it has returned, and that is on its way
        call.is_abandoned = True
        self._return_instance(call, None)
        self._leave_chain(call)
        self._call_stopped.set()
        self.abandoned[call.call_id] = AbandonedCall(
            prompt_id=call.prompt_id, node_id=call.node_id, class_type=call.definition.class_type,
            needs=call.definition.needs, since=self._now())
        log.warning("node %s (%s) did not stop when it was cancelled; it keeps its tokens until it returns",
                    call.node_id, call.definition.class_type)
        self._tell(stimuli.NodeAbandoned(call_id=call.call_id))

    def _end(self, call: _OpenCall, ending: stimuli.CallEnding) -> None:
        """The code of a call has ended. Tells so once, after what it reported last."""
        if call.has_ended:
            return
        call.has_ended = True
        following = call.went_on_with
        if following is not None:
            self._pass_thread_to(following, call)
        elif call.then is not None:
            self._leave_chain(call)
        if self._open[call.call_id] is call:
            del self._open[call.call_id]
        call.task = None  # its context holds the call: a circle that would live until the next collection
        if call.timer is not None:
            call.timer.cancel()
        if call.watch is not None:
            call.watch.stop()
            call.watch = None
        self._call_stopped.set()
        told: stimuli.Stimulus = ending
        if call.is_abandoned:
            if following is not None:
                return  # that holds the tokens now
            self.abandoned.pop(call.call_id, None)
            told = stimuli.CallReturned(call_id=call.call_id)
        else:
            # One whose node is called again with the inputs that it wanted has to be the same all the while.
            stays = self.keeps_instances or isinstance(ending, stimuli.InputsWanted)
            self._return_instance(call, call.instance if stays else None)
        if call.has_reported:
            # If it went on, that was after it had returned: the end of the next one may be here already.
            self._settle(call, lambda: self._tell(told), following is None)
        else:
            self._tell(told)

    def _pass_thread_to(self, following: NodeCall, call: _OpenCall) -> None:
        """What runs on the thread of a call now is a call like any other. If nobody waits for the thread any more, it
        takes the place of the one that was abandoned."""
        assert isinstance(following, _OpenCall)
        assert isinstance(following.command, CallNode)
        call.then = call.went_on_with = None
        if call.is_abandoned:
            self._return_instance(following, None)
            following.call_id = call.call_id
            following.is_cancelled = following.is_abandoned = True
            self._open[call.call_id] = following
        else:
            self._open_call(following, following.definition, following.command)

    def _leave_chain(self, call: _OpenCall) -> None:
        """What will not run on the thread of a call gives back its instance."""
        then, call.then = call.then, None
        while then is not None:
            self._return_instance(then, None if call.is_abandoned else then.instance)
            then = then.then

    def _return_instance(self, call: _OpenCall, instance: Any) -> None:
        command = call.command
        if command.__class__ is CallNode:
            # Under its first name, which is no longer that of the call if it passed to another prompt.
            self.instances.give_back(command.node_id, call.definition, call.call_id, instance)


def _close_coroutines(values: Iterable[Any]) -> None:
    """Nobody will await these."""
    for value in values:
        if inspect.iscoroutine(value):
            value.close()


def _returned(call: _OpenCall, joined: Joined, copy: Any) -> stimuli.NodeReturned:
    return stimuli.NodeReturned(call_id=call.call_id, record=joined.record, blocked=joined.blocked, copy=copy)


def _unevaluated_among(answers: Iterable[Any], command: CallNode) -> list[str]:
    """Inputs that lazy checks named and that have no value yet.

    :raises NodeInputError: one of them is no input of the node at all.
    """
    names: dict[str, None] = {}
    for answer in answers:
        if isinstance(answer, list):
            for name in answer:
                names[name] = None
    for name in names:
        if name not in command.inputs:
            raise NodeInputError(f"Node {command.node_id} says it needs input {name}, but there is no input to that "
                                 "node at all")
    return [name for name in names if name in command.unevaluated]


def _answer(letter: "tuple[asyncio.Future[Any], Any, BaseException | None]") -> None:
    future, made, failure = letter
    if future.done():
        return
    if isinstance(failure, StopIteration):  # a future takes none
        failure = RuntimeError("StopIteration raised")
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(made)

