"""What nodes are asked beside being run: what they declare, whether their inputs are good, whether they changed.

Plain hooks run on two kinds of threads, so that a POST never waits for a change check: validators and declarations
on four, change checks on one for each pack. None holds a token. A hook that does not answer in time is an error
that names it; what it does afterwards concerns nobody.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from msgspec import Struct

from .identifiers import NodeId
from .node_code import NodeCode, exit_as_value
from .node_interface import Hook, NodeDefinition, NodeInterface, PromptScope
from .node_lanes import CallTimedOut, StepClock, ThreadLane
from .node_registry import NodeRegistry
from .node_values import ExecutionBlocker
from .prompt_graph import GraphNode
from .run_rules import NO_LIMITS, TimeLimits
from .validation import ValidatorCall

log = logging.getLogger("studio.nodes")

VALIDATION_THREADS = 4


class CallerSettings(Struct, frozen=True, kw_only=True):
    """How long whoever calls nodes waits for them."""

    cancel_grace: float = 5.0
    """Seconds that a cancelled async node has for cleaning up."""
    plain_grace: float = 1.0
    """Seconds that a cancelled plain node has for coming to a point where it stops."""
    hook_timeout: float = 60.0
    """Seconds for a declaration, a validator or a change check."""
    limits: TimeLimits = NO_LIMITS
    """For calls of nodes of which neither the prompt nor the class says anything."""


class HookLate(Exception):
    """A change check did not answer in time."""

    def __init__(self, node_id: NodeId, sentence: str) -> None:
        super().__init__(sentence)
        self.node_id = node_id


class NodeHooks:
    """Asks nodes. Everything async here is to be awaited on the loop that it was made on."""

    def __init__(self, registry: NodeRegistry, code: NodeCode, settings: CallerSettings) -> None:
        self._registry = registry
        self._code = code
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._validation_lane = ThreadLane("validation", VALIDATION_THREADS)
        self._fingerprint_lanes: dict[str, ThreadLane] = {}
        self._left_behind: set[asyncio.Task[Any]] = set()
        """Async hooks that neither answered in time nor stopped when they were cancelled."""

    def close(self) -> None:
        for lane in (self._validation_lane, *self._fingerprint_lanes.values()):
            lane.close()

    # -- declarations -------------------------------------------------------------------------------------------

    def declarations_of(self, definitions: Mapping[str, NodeDefinition],
                 clock: StepClock) -> tuple[dict[str, NodeInterface], dict[str, BaseException]]:
        """What classes declare now, and why some could not. Plain code: call it on a thread.

        :param clock: of this call; each class is a step of its own, by name.
        """
        interfaces: dict[str, NodeInterface] = {}
        failed: dict[str, BaseException] = {}
        for name, definition in definitions.items():
            clock.restart(name)
            try:
                interfaces[name] = self._code.run_apart(definition.describe, {})
            except BaseException as error:
                failed[name] = error
        return interfaces, failed

    async def learn_classes(self, class_types: set[str], scope: PromptScope) -> None:
        """Have classes that an expansion brings declare themselves, unless the prompt knows them.

        :raises KeyError: there is no such class. :raises TimeoutError: one did not answer.
        """
        new: dict[str, NodeDefinition] = {}
        for name in sorted(class_types - scope.interfaces.keys()):
            definition = self._registry.get(name)
            if definition is None:
                raise KeyError(f"an expansion names the class {name!r}, which does not exist")
            new[name] = definition
        if new:
            clock = StepClock()
            try:
                interfaces, failed = await self.on_validation_lane(lambda: self.declarations_of(new, clock), clock)
            except CallTimedOut:
                raise self._late(new[clock.step], "declaration") from None
            for error in failed.values():
                raise error
            scope.definitions.update(new)
            scope.interfaces.update(interfaces)

    def info_of(self, definition: NodeDefinition) -> Mapping[str, Any]:
        """How clients are told of a class. Plain code: call it on a thread."""
        try:
            info: Mapping[str, Any] = self._code.run_apart(definition.info, {})
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

    async def compute(self, function: Callable[[], Any]) -> Any:
        """Something of ours that takes its time, on the same threads, however long it takes."""
        return await self._validation_lane.call(function)

    # -- validators ---------------------------------------------------------------------------------------------

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
        return self._code.run_apart(self._hook(call).call, self._validator_arguments(call, scope))

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
        tasks = [self._loop.create_task(one, context=self._code.context.copy()) for one in coroutines]
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
        try:
            answers[index] = await self._answer_of(self._hook(call), self._validator_arguments(call, scope))
        except CallTimedOut:
            answers[index] = self._late(call.definition, "validator")
        except BaseException as error:
            if _is_being_cancelled():
                raise
            answers[index] = error

    async def _answer_of(self, hook: Hook, arguments: Mapping[str, Any]) -> Any:
        """What an async hook answers. It has a task of its own, so that one that will not stop holds up nobody.

        :raises CallTimedOut: it did not answer in time.
        """
        task = self._loop.create_task(exit_as_value(self._code.begin(hook.call, arguments)))
        patience = self._settings.hook_timeout
        try:
            await asyncio.wait((task,), timeout=patience)
        except asyncio.CancelledError:
            patience = self._settings.cancel_grace
            raise
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,), timeout=min(patience, self._settings.cancel_grace))
            if not task.done():
                self._left_behind.add(task)
                task.add_done_callback(self._left_behind.discard)
        if not task.done() or task.cancelling():
            raise CallTimedOut
        answer = task.result()
        if isinstance(answer, (KeyboardInterrupt, SystemExit)):
            raise answer
        return answer

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

    # -- change checks ------------------------------------------------------------------------------------------

    async def fingerprints(self, nodes: Iterable[GraphNode], scope: PromptScope) -> dict[NodeId, Any]:
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
                answer = await lane.call(partial(self._code.run_apart, hook.call, arguments),
                                         timeout=self._settings.hook_timeout)
            except CallTimedOut:
                raise HookLate(node.node_id, str(self._late(definition, "change check"))) from None
            except BaseException as error:
                if _is_being_cancelled():
                    raise
                answer = self._unknown_fingerprint(node, definition, error)
            found[node.node_id] = scope.fingerprints[node.node_id] = _fingerprint(answer)

    async def _fingerprint_async(self, node: GraphNode, definition: NodeDefinition, scope: PromptScope,
                                 found: dict[NodeId, Any]) -> None:
        hook = definition.fingerprint
        assert hook is not None
        try:
            answer = await self._answer_of(hook, self._fingerprint_arguments(node, definition, scope))
        except CallTimedOut:
            raise HookLate(node.node_id, str(self._late(definition, "change check"))) from None
        except BaseException as error:
            if _is_being_cancelled():
                raise
            answer = self._unknown_fingerprint(node, definition, error)
        found[node.node_id] = scope.fingerprints[node.node_id] = _fingerprint(answer)

    @staticmethod
    def _unknown_fingerprint(node: GraphNode, definition: NodeDefinition, error: BaseException) -> float:
        log.warning("the change check of node %s (%s) raised %s: it runs each time", node.node_id,
                    definition.class_type, type(error).__name__, exc_info=error)
        return math.nan


def _is_being_cancelled() -> bool:
    """Whether a CancelledError was meant for this task, and not made up by what it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _fingerprint(answer: Any) -> Any:
    """A change check's answer as it counts: wrapped, since None and no check differ, and a blocker counts as None."""
    return [None if isinstance(answer, ExecutionBlocker) else answer]
