"""The one place where a node is called: to run it, to ask which lazy inputs it wants, to have it declare, validate
or fingerprint. Coroutine or thread, the rest of the engine cannot tell.

Every call that is started ends in exactly one stimulus. Where a coroutine's task or a thread's job ends, `_end` is
called once; a task cancelled before its first step never enters its own `try`, so a cancelled task is watched from
outside as well.
"""

import asyncio
import inspect
import logging
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from . import stimuli
from .call_slices import Joined, Slice, join_results, slices_of
from .commands import CallNode, TakeFingerprints
from .errors import InvariantViolated, NodeInputError, NodeNotFoundError
from .events import NodeError
from .identifiers import CallId, NodeId, PromptId
from .node_context import (
    CurrentNodeContext,
    InterruptProcessing,
    NodeCall,
    OpenCalls,
    ProgressReport,
    books_of_open_calls,
    enter_node,
)
from .node_errors import describe_error
from .node_instances import NodeInstances
from .node_interface import Hook, NodeDefinition, NodeInterface, PromptScope
from .node_lanes import CallTimedOut, LoopMailbox, NodeLanes, StepClock, ThreadLane
from .node_registry import NodeRegistry
from .node_values import ExecutionBlocker, NodeResult
from .prompt_graph import GraphNode, parse_expansion
from .signatures import Signature, sign_all
from .validation import ValidatorCall

log = logging.getLogger("studio.nodes")

VALIDATION_THREADS = 4


class NodeCaller(Protocol):
    """Runs calls, here or elsewhere. Endings go to the `ended` that it was made with."""

    def start(self, command: CallNode) -> None: ...

    def take_fingerprints(self, command: TakeFingerprints) -> None: ...

    def cancel(self, call_id: CallId) -> None: ...

    def hand_over(self, call_id: CallId, prompt_id: PromptId, node_id: NodeId) -> None: ...


class CallerSettings(Struct, frozen=True, kw_only=True):
    cancel_grace: float = 5.0
    """Seconds that a cancelled async node has for cleaning up."""
    plain_grace: float = 1.0
    """Seconds that a cancelled plain node has for coming to a point where it stops."""
    hook_timeout: float = 60.0
    """Seconds for a declaration, a validator or a change check."""


class _OpenCall(NodeCall):
    """A call from its start to its end."""

    instance: Any = None
    task: "asyncio.Task[None] | None" = None
    timer: asyncio.TimerHandle | None = None
    is_abandoned = False
    has_its_inputs = False
    """An async check of lazy inputs was asked, and wants no more."""

    def __init__(self, command: CallNode | TakeFingerprints, node_id: NodeId, definition: NodeDefinition,
                 report: ProgressReport) -> None:
        self.call_id = command.call_id
        self.prompt_id = command.prompt_id
        self.node_id = node_id
        self.definition = definition
        self.report = report
        self.command = command


class _CheckIsAsync(Struct):
    """A plain function whose check of lazy inputs is a coroutine: that is asked on the loop first."""

    slices: list[Slice]


class _Awaited(Struct):
    """A plain function returned awaitables: the call goes on as an async one."""

    slices: list[Slice]
    returned: list[Any]


class LocalNodeCaller:
    """Calls nodes in this process.

    :param ended: takes the stimulus of each ending, on the loop.
    :param settle: called with a call and a continuation before its ending is told, so that what it reported last
        goes first.
    :param before_call: called on a thread before plain code of a node runs there.
    """

    def __init__(self, *, registry: NodeRegistry, ended: Callable[[stimuli.Stimulus], None],
                 report: ProgressReport, settle: Callable[[NodeCall, Callable[[], None]], None],
                 capacity: Callable[[str], int], settings: CallerSettings,
                 before_call: Callable[[], None] | None = None) -> None:
        self._registry = registry
        self._tell = ended
        self._report = report
        self._settle = settle
        self._settings = settings
        self._before_call = before_call
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._context = copy_context()
        self.mailbox = LoopMailbox(self._loop, self._context)
        self._lanes = NodeLanes(capacity)
        self._validation_lane = ThreadLane("validation", VALIDATION_THREADS)
        self._fingerprint_lanes: dict[str, ThreadLane] = {}
        self._construction_lane = ThreadLane("constructors", VALIDATION_THREADS)
        self._constructions: list[tuple[_OpenCall, asyncio.Future[Any]]] = []
        self._error_lane = ThreadLane("errors", 1)
        self.instances = NodeInstances()
        self._call_stopped = asyncio.Event()
        self._open: OpenCalls[_OpenCall] = OpenCalls()
        books_of_open_calls.add(self._open)

    # -- commands -----------------------------------------------------------------------------------------------

    def start(self, command: CallNode) -> None:
        definition = command.definition
        call = _OpenCall(command, command.node_id, definition, self._report)
        self._open[command.call_id] = call
        if definition.is_async:
            call.task = self._loop.create_task(self._run_async(call, command), context=self._context.copy())
        else:
            call.instance = self.instances.take(command.node_id, definition, command.call_id)
            self._lanes.lane_for(definition.needs).submit(lambda: self._run_plain(call))

    def take_fingerprints(self, command: TakeFingerprints) -> None:
        node_id = command.node_ids[0] if command.node_ids else next(iter(command.scope.nodes))
        call = _OpenCall(command, node_id, command.scope.definitions[command.scope.nodes[node_id].class_type],
                         self._report)
        self._open[command.call_id] = call
        call.task = self._loop.create_task(self._run_fingerprints(call, command), context=self._context.copy())

    def cancel(self, call_id: CallId) -> None:
        call = self._open.get(call_id)
        if call is None or call.is_cancelled:
            return
        call.is_cancelled = True
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
        for lane in (self._validation_lane, self._construction_lane, self._error_lane,
                     *self._fingerprint_lanes.values()):
            lane.close()

    # -- async nodes --------------------------------------------------------------------------------------------

    async def _run_async(self, call: _OpenCall, command: CallNode) -> None:
        definition = call.definition
        try:
            instance = self.instances.take(command.node_id, definition, command.call_id)
            if instance is None:
                instance = definition.create() if definition.creates_in_place else await self._construct(call)
            call.instance = instance
            slices = self._slices(command)
            ending: stimuli.CallEnding
            if definition.lazy_check is not None and (wanted := await self._lazy_inputs(call, slices)):
                ending = stimuli.InputsWanted(call_id=call.call_id, names=wanted)
            else:
                function = definition.function(instance)
                if len(slices) == 1 and slices[0].blocker is None:
                    enter_node(CurrentNodeContext("", "", slices[0].index, call=call))
                    results: list[NodeResult | None] = [
                        definition.read_result(await function(**slices[0].arguments))]
                else:
                    returned = await self._gather(call, slices, function)
                    results = [None if one.blocker is not None else definition.read_result(value)
                               for one, value in zip(slices, returned, strict=True)]
                joined = join_results(definition, slices, results)
                ending = _returned(call, joined) if joined.expansion is None else await self._expanded(call, joined)
        except BaseException as error:
            ending = await self._ending_by(call, error)
        self._end(call, ending)

    async def _gather(self, call: _OpenCall, slices: Sequence[Slice],
                      function: Callable[..., Coroutine[Any, Any, Any]]) -> list[Any]:
        """Run all indices side by side. The first that failed, in index order, is raised once all have ended."""
        tasks: list[asyncio.Task[Any] | None] = []
        for one in slices:
            if one.blocker is not None:
                tasks.append(None)
                continue
            context = self._context.copy()
            context.run(self._enter, call, one.index)
            tasks.append(self._loop.create_task(_contained(function(**one.arguments)), context=context))
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
                    self._enter(call, one.index)
                    answers.append(await check(**one.arguments))
                else:
                    context = self._context.copy()
                    context.run(self._enter, call, one.index)
                    answers.append(await self._return_of(self._loop.create_task(self._construction_lane.call(
                        partial(context.run, self._plain, check, one.arguments)))))
        return _unevaluated_among(answers, command)

    async def _construct(self, call: _OpenCall) -> Any:
        """An instance whose constructor is plain code: those asked for in one turn of the loop share one hop."""
        future = self._loop.create_future()
        self._constructions.append((call, future))
        if len(self._constructions) == 1:
            self._loop.call_soon(self._submit_constructions, context=self._context)
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
                    made = self._context.copy().run(self._plain_in_context, call, None, call.definition.create, {})
                except BaseException as error:
                    failure = error
                self.mailbox.post(_answer, (future, made, failure))

        self._construction_lane.submit(job)

    # -- plain nodes --------------------------------------------------------------------------------------------

    def _run_plain(self, call: _OpenCall) -> None:
        """On a thread of the lane whose token the call holds."""
        try:
            outcome: Any = self._call_plain(call)
        except BaseException as error:
            outcome = self._ending_of(call, error)
        self.mailbox.post(self._plain_done, (call, outcome))

    def _call_plain(self, call: _OpenCall) -> "stimuli.CallEnding | Joined | _Awaited | _CheckIsAsync":
        if call.is_cancelled:
            raise InterruptProcessing
        command = call.command
        assert isinstance(command, CallNode)
        definition = call.definition
        if call.instance is None:
            context = self._context.copy()
            call.instance = context.run(self._plain_in_context, call, None, definition.create, {})
        slices = self._slices(command)
        if definition.lazy_check is not None and not call.has_its_inputs:
            if definition.lazy_check_is_async:
                return _CheckIsAsync(slices)
            check = definition.lazy_check(call.instance)
            answers = [self._context.copy().run(self._plain_in_context, call, one.index, check, one.arguments)
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
            returned.append(self._context.copy().run(
                self._plain_in_context, call, one.index, function, one.arguments))
        if any(inspect.isawaitable(value) for value in returned):
            return _Awaited(slices, returned)
        results = [None if one.blocker is not None else definition.read_result(value)
                   for one, value in zip(slices, returned, strict=True)]
        return join_results(definition, slices, results)

    def _plain_in_context(self, call: _OpenCall, index: int | None, function: Callable[..., Any],
                          arguments: dict[str, Any]) -> Any:
        self._enter(call, index)
        return self._plain(function, arguments)

    def _plain(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call plain code of a node, never on the loop's thread."""
        if threading.get_ident() == self._loop_thread:
            raise InvariantViolated(f"plain code of a node on the thread of the loop: {function!r}")
        if self._before_call is not None:
            self._before_call()
        return function(**arguments)

    def _plain_done(self, letter: "tuple[_OpenCall, Any]") -> None:
        """On the loop: a plain call has come back from its thread."""
        call, outcome = letter
        if isinstance(outcome, stimuli.CallEnding):
            self._end(call, outcome)
        elif isinstance(outcome, Joined) and outcome.expansion is None:
            self._end(call, _returned(call, outcome))
        elif call.is_cancelled:  # it would go on, on the loop
            if isinstance(outcome, _Awaited):
                _close_coroutines(outcome.returned)
            self._end(call, stimuli.NodeCancelled(call_id=call.call_id))
        elif isinstance(outcome, _CheckIsAsync):
            call.task = self._loop.create_task(self._check_then_run(call, outcome.slices),
                                               context=self._context.copy())
        else:
            rest, returned = (self._await_returned(call, outcome), outcome.returned) \
                if isinstance(outcome, _Awaited) else (self._expanded(call, outcome), ())
            call.task = self._loop.create_task(self._finish(call, rest, returned), context=self._context.copy())

    async def _check_then_run(self, call: _OpenCall, slices: Sequence[Slice]) -> None:
        """Ask an async check of lazy inputs; if it wants no more, go back to the thread. The token is held
        meanwhile."""
        try:
            wanted = await self._lazy_inputs(call, slices)
        except BaseException as error:
            self._end(call, await self._ending_by(call, error))
            return
        if wanted:
            self._end(call, stimuli.InputsWanted(call_id=call.call_id, names=wanted))
            return
        call.task = None
        call.has_its_inputs = True
        self._lanes.lane_for(call.definition.needs).submit(lambda: self._run_plain(call))

    async def _finish(self, call: _OpenCall, rest: Awaitable[stimuli.CallEnding], returned: Sequence[Any]) -> None:
        try:
            ending = await rest
        except BaseException as error:
            _close_coroutines(returned)
            ending = await self._ending_by(call, error)
        self._end(call, ending)

    async def _await_returned(self, call: _OpenCall, awaited: _Awaited) -> stimuli.CallEnding:
        """A plain function returned awaitables: they are awaited here, after its tokens were given back."""
        definition = call.definition
        self._tell(stimuli.CallLeftLane(call_id=call.call_id))
        results: list[NodeResult | None] = []
        for one, value in zip(awaited.slices, awaited.returned, strict=True):
            if one.blocker is not None:
                results.append(None)
                continue
            if inspect.isawaitable(value):
                self._enter(call, one.index)
                value = await value
            results.append(definition.read_result(value))
        joined = join_results(definition, awaited.slices, results)
        return _returned(call, joined) if joined.expansion is None else await self._expanded(call, joined)

    # -- hooks --------------------------------------------------------------------------------------------------

    def _ask(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call a plain hook, in a context that no other one has been in."""
        return self._context.copy().run(self._plain, function, arguments)

    def describe(self, definitions: Mapping[str, NodeDefinition],
                 clock: StepClock) -> tuple[dict[str, NodeInterface], dict[str, BaseException]]:
        """What classes declare now, and why some could not. Plain code: call it on a thread.

        :param clock: of this call; each class is a step of its own, by name.
        """
        interfaces: dict[str, NodeInterface] = {}
        failed: dict[str, BaseException] = {}
        for name, definition in definitions.items():
            clock.restart(name)
            try:
                interfaces[name] = self._ask(definition.describe, {})
            except BaseException as error:
                failed[name] = error
        return interfaces, failed

    def info_of(self, definition: NodeDefinition) -> Mapping[str, Any]:
        """How clients are told of a class. Plain code: call it on a thread."""
        try:
            info: Mapping[str, Any] = self._ask(definition.info, {})
        except Exception:
            raise
        except BaseException as error:  # what would end the server
            raise RuntimeError(f"{definition.class_type} raised {type(error).__name__}") from error
        return info

    async def on_validation_lane(self, function: Callable[[], Any], clock: StepClock | None = None) -> Any:
        """Run something that asks nodes for declarations, on the validators' threads.

        :raises TimeoutError: it, or a step of it, took longer than `hook_timeout`.
        """
        return await self._validation_lane.call(function, timeout=self._settings.hook_timeout, clock=clock)

    async def ask_validators(self, calls: Sequence[ValidatorCall], scope: PromptScope) -> list[Any]:
        """The answers of nodes' validators in the order of `calls`; an exception stands for itself."""
        answers: list[Any] = [None] * len(calls)
        plain = [index for index, call in enumerate(calls) if not self._hook(call).is_async]
        async with self._side_by_side([self._validate_async(index, call, scope, answers)
                                       for index, call in enumerate(calls) if self._hook(call).is_async]):
            told = await self.ask_in_turn(
                [partial(self._validate_plain, calls[index], scope) for index in plain],
                lambda position: self._late(calls[plain[position]].definition, "validator"))
        for index, answer in zip(plain, told, strict=True):
            answers[index] = answer
        return answers

    def _validate_plain(self, call: ValidatorCall, scope: PromptScope) -> Any:
        return self._ask(self._hook(call).call, self._validator_arguments(call, scope))

    async def ask_in_turn(self, questions: Sequence[Callable[[], Any]],
                          late: Callable[[int], BaseException]) -> list[Any]:
        """The answers of plain hooks, asked in one hop on the validators' threads. An exception stands for itself.

        :param late: what stands for a question, by its place, that has no answer after `hook_timeout`; those behind it
            are asked in a further hop.
        """
        answers: list[Any] = []
        while len(answers) < len(questions):
            answers += await self._ask_some(questions[len(answers):])
            if len(answers) < len(questions):
                answers.append(late(len(answers)))
        return answers

    async def _ask_some(self, questions: Sequence[Callable[[], Any]]) -> list[Any]:
        """The answers to the questions before the first that has none in time."""
        told: list[Any] = []
        clock = StepClock()

        def job() -> None:
            for position, question in enumerate(questions):
                clock.restart(position)
                try:
                    told.append(question())
                except BaseException as error:
                    told.append(error)

        try:
            await self.on_validation_lane(job, clock)
        except CallTimedOut:
            return told[:clock.step]  # a copy: the hook that was given up comes back some day
        return told

    @asynccontextmanager
    async def _side_by_side(self, coroutines: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        """Run hooks, each in a context of its own, beside what is inside. The first failure cancels the others, and all
        have ended when this is left."""
        tasks = [self._loop.create_task(one, context=self._context.copy()) for one in coroutines]
        try:
            yield
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _validate_async(self, index: int, call: ValidatorCall, scope: PromptScope,
                              answers: list[Any]) -> None:
        limit = asyncio.timeout(self._settings.hook_timeout)
        try:
            async with limit:
                answers[index] = await self._hook(call).call(**self._validator_arguments(call, scope))
        except BaseException as error:
            if not limit.expired() and _is_being_cancelled():
                raise
            answers[index] = self._late(call.definition, "validator") if limit.expired() else error

    @staticmethod
    def _hook(call: ValidatorCall) -> Hook:
        hook = call.definition.validate
        assert hook is not None
        return hook

    def _validator_arguments(self, call: ValidatorCall, scope: PromptScope) -> dict[str, Any]:
        interface = scope.interfaces[call.definition.class_type]
        if not interface.hidden:
            return call.arguments
        return {**call.arguments, **self._hidden_for_hook(self._hook(call), call.definition, interface, scope,
                                                          call.node_id)}

    @staticmethod
    def _hidden_for_hook(hook: Hook, definition: NodeDefinition, interface: NodeInterface, scope: PromptScope,
                         node_id: NodeId) -> dict[str, Any]:
        wrap = definition.input_is_list
        return {name: [value] if wrap else value
                for name, value in definition.hidden_values(interface, scope, node_id, True).items()
                if hook.takes(name)}

    def _late(self, definition: NodeDefinition, what: str) -> TimeoutError:
        return TimeoutError(f"the {what} of {definition.class_type} ({definition.origin}) did not answer within "
                            f"{self._settings.hook_timeout:g} s")

    async def _run_fingerprints(self, call: _OpenCall, command: TakeFingerprints) -> None:
        nodes = [command.scope.nodes[node_id] for node_id in command.node_ids]
        try:
            fingerprints = await self._fingerprints(nodes, command.scope)
            signatures: dict[NodeId, Signature] | None = None
            if command.sign_order:
                scope = command.scope
                sign = partial(
                    sign_all, command.sign_order, scope.nodes, {}, run=command.run_label,
                    fingerprints={**command.given, **fingerprints},
                    identities={name: one.has_own_identity for name, one in scope.interfaces.items()})
                signatures = await self._validation_lane.call(sign)
            ending: stimuli.CallEnding = stimuli.FingerprintsTaken(
                call_id=command.call_id, fingerprints=fingerprints, signatures=signatures)
        except _HookLate as late:
            ending = stimuli.NodeRaised(call_id=command.call_id, node_id=late.node_id, error=NodeError(
                exception_type="TimeoutError", exception_message=f"{late}\n"))
        except BaseException as error:
            ending = await self._ending_by(call, error)
        self._end(call, ending)

    async def _fingerprints(self, nodes: Iterable[GraphNode], scope: PromptScope) -> dict[NodeId, Any]:
        """Ask change checks: plain ones one at a time for each pack, async ones side by side."""
        found: dict[NodeId, Any] = {}
        plain: dict[str, list[tuple[GraphNode, NodeDefinition]]] = {}
        waiting = []
        for node in nodes:
            definition = scope.definitions[node.class_type]
            if definition.fingerprint is None:
                continue
            if definition.fingerprint.is_async:
                waiting.append(self._fingerprint_async(node, definition, scope, found))
            else:
                plain.setdefault(definition.origin, []).append((node, definition))
        waiting += [self._fingerprint_plain(origin, group, scope, found) for origin, group in plain.items()]
        async with self._side_by_side(waiting):
            pass
        return found

    def _fingerprint_arguments(self, node: GraphNode, definition: NodeDefinition,
                               scope: PromptScope) -> dict[str, Any]:
        hook, interface = definition.fingerprint, scope.interfaces[node.class_type]
        assert hook is not None
        linked = node.links
        wrap = definition.input_is_list
        arguments: dict[str, Any] = {}
        for name, value in node.inputs.items():
            if interface.spec(name) is not None and hook.takes(name):
                value = None if name in linked else value
                arguments[name] = (None,) if wrap and name in linked else [value] if wrap else value
        arguments.update(self._hidden_for_hook(hook, definition, interface, scope, node.node_id))
        return arguments

    async def _fingerprint_plain(self, origin: str, group: list[tuple[GraphNode, NodeDefinition]],
                                 scope: PromptScope, found: dict[NodeId, Any]) -> None:
        lane = self._fingerprint_lanes.get(origin)
        if lane is None:
            lane = self._fingerprint_lanes[origin] = ThreadLane("fingerprints", 1)
        for node, definition in group:
            hook = definition.fingerprint
            assert hook is not None
            arguments = self._fingerprint_arguments(node, definition, scope)
            try:
                answer = await lane.call(partial(self._ask, hook.call, arguments),
                                         timeout=self._settings.hook_timeout)
            except CallTimedOut:
                raise _HookLate(node.node_id, str(self._late(definition, "change check"))) from None
            except BaseException as error:
                if _is_being_cancelled():
                    raise
                answer = self._unknown_fingerprint(node, definition, error)
            found[node.node_id] = scope.fingerprints[node.node_id] = _fingerprint(answer)

    async def _fingerprint_async(self, node: GraphNode, definition: NodeDefinition, scope: PromptScope,
                                 found: dict[NodeId, Any]) -> None:
        hook = definition.fingerprint
        assert hook is not None
        limit = asyncio.timeout(self._settings.hook_timeout)
        try:
            async with limit:
                answer = await hook.call(**self._fingerprint_arguments(node, definition, scope))
        except BaseException as error:
            if limit.expired():
                raise _HookLate(node.node_id, str(self._late(definition, "change check"))) from None
            if _is_being_cancelled():
                raise
            answer = self._unknown_fingerprint(node, definition, error)
        found[node.node_id] = scope.fingerprints[node.node_id] = _fingerprint(answer)

    @staticmethod
    def _unknown_fingerprint(node: GraphNode, definition: NodeDefinition, error: BaseException) -> float:
        log.warning("the change check of node %s (%s) raised %s: it runs each time", node.node_id,
                    definition.class_type, type(error).__name__, exc_info=error)
        return math.nan

    # -- endings ------------------------------------------------------------------------------------------------

    def _slices(self, command: CallNode) -> list[Slice]:
        definition = command.definition
        hidden = definition.hidden_values(command.interface, command.scope, command.node_id, False) \
            if command.interface.hidden else {}
        return slices_of(command.inputs, hidden, definition.input_is_list)

    @staticmethod
    def _enter(call: _OpenCall, index: int | None) -> None:
        enter_node(CurrentNodeContext("", "", index, call=call))

    async def _expanded(self, call: _OpenCall, joined: Joined) -> stimuli.CallEnding:
        """The ending of a call whose results hold a subgraph: its classes have to be known first."""
        command = call.command
        assert isinstance(command, CallNode)
        assert joined.pieces is not None
        assert joined.expansion is not None
        scope = command.scope
        nodes = parse_expansion(joined.expansion)
        await self._learn_classes({node.class_type for node in nodes}, scope)
        asked = [node for node in nodes if node.given_fingerprint is None
                 and scope.definitions[node.class_type].fingerprint is not None]
        fingerprints: dict[NodeId, Any] = {node.node_id: node.given_fingerprint for node in nodes
                                           if node.given_fingerprint is not None}
        if asked:
            try:
                fingerprints.update(await self._fingerprints(asked, scope))
            except _HookLate as late:
                raise TimeoutError(str(late)) from None
        return stimuli.NodeExpanded(
            call_id=call.call_id, nodes=nodes, pieces=joined.pieces, fingerprints=fingerprints, scope=scope,
            ui=joined.record.ui, blocked=joined.blocked, size=joined.record.size)

    async def _learn_classes(self, class_types: set[str], scope: PromptScope) -> None:
        """Have classes that an expansion brings declare themselves, unless the prompt knows them."""
        new: dict[str, NodeDefinition] = {}
        for name in sorted(class_types - scope.interfaces.keys()):
            definition = self._registry.get(name)
            if definition is None:
                raise NodeNotFoundError(f"an expansion names the class {name!r}, which does not exist")
            new[name] = definition
        if new:
            clock = StepClock()
            try:
                interfaces, failed = await self.on_validation_lane(lambda: self.describe(new, clock), clock)
            except CallTimedOut:
                raise self._late(new[clock.step], "declaration") from None
            for error in failed.values():
                raise error
            scope.definitions.update(new)
            scope.interfaces.update(interfaces)

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
        inputs = command.inputs if isinstance(command, CallNode) else {}
        described = describe_error(error, inputs)
        # A frame of the node holds its inputs, and through them memory, for as long as the exception lives.
        error.__traceback__ = None
        return stimuli.NodeRaised(call_id=call.call_id, error=described)

    def _abandon(self, call: _OpenCall) -> None:
        """A cancelled call did not stop in time: its prompt goes on without it."""
        if call.has_ended or call.is_abandoned:
            return
        call.is_abandoned = True
        self._return_instance(call, None)
        self._call_stopped.set()
        log.warning("node %s (%s) did not stop when it was cancelled; it keeps its tokens until it returns",
                    call.node_id, call.definition.class_type)
        self._tell(stimuli.NodeAbandoned(call_id=call.call_id))

    def _end(self, call: _OpenCall, ending: stimuli.CallEnding) -> None:
        """The code of a call has ended. Tells so once, after what it reported last."""
        if call.has_ended:
            return
        call.has_ended = True
        del self._open[call.call_id]
        call.task = None  # its context holds the call: a circle that would live until the next collection
        if call.timer is not None:
            call.timer.cancel()
        self._call_stopped.set()
        told: stimuli.Stimulus = ending
        if call.is_abandoned:
            told = stimuli.CallReturned(call_id=call.call_id)
        else:
            self._return_instance(call, call.instance)
        if call.has_reported:
            self._settle(call, lambda: self._tell(told))
        else:
            self._tell(told)


    def _return_instance(self, call: _OpenCall, instance: Any) -> None:
        command = call.command
        if command.__class__ is CallNode:
            # Under its first name, which is no longer that of the call if it passed to another prompt.
            self.instances.give_back(command.node_id, call.definition, call.call_id, instance)


class _HookLate(Exception):
    """A change check did not answer in time."""

    def __init__(self, node_id: NodeId, sentence: str) -> None:
        super().__init__(sentence)
        self.node_id = node_id


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What would end the loop, were it to end a task, is returned."""
    try:
        return await coroutine
    except (KeyboardInterrupt, SystemExit) as error:
        return error


def _close_coroutines(values: Iterable[Any]) -> None:
    """Nobody will await these."""
    for value in values:
        if inspect.iscoroutine(value):
            value.close()


def _is_being_cancelled() -> bool:
    """Whether a CancelledError was meant for this task, and not made up by what it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _returned(call: _OpenCall, joined: Joined) -> stimuli.NodeReturned:
    return stimuli.NodeReturned(call_id=call.call_id, record=joined.record, blocked=joined.blocked)


def _fingerprint(answer: Any) -> Any:
    """A change check's answer as it counts: wrapped, since None and no check differ, and a blocker counts as None."""
    return [None if isinstance(answer, ExecutionBlocker) else answer]


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

