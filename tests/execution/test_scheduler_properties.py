"""The scheduler against random prompts, endings in random order, and everything that can happen in between."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution import CacheRule, NodeFinished, NodeId, NodeStarted, Outcome, OutputCache, commands, stimuli
from execution.prompt_graph import GraphNode, Link, is_link, parse_links
from execution.signatures import Signature, sign_all
from tests.support.random_graphs import (
    CLASSES,
    EXPANDERS,
    LAZY,
    OUTPUTS_OF_A_NODE,
    SHOWING,
    SIMPLE,
    equal_nodes,
    lines,
    nodes,
    prompts,
    submission_of,
)
from tests.support.scheduler_driver import SchedulerDriver

MOST_EXPANSIONS = 6
FEW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=300)
FEWER = settings(FEW, max_examples=150)

CACHES = st.sampled_from([
    lambda: OutputCache(), lambda: OutputCache(), lambda: OutputCache(CacheRule.NONE),
    lambda: OutputCache(CacheRule.CLASSIC), lambda: OutputCache(CacheRule.COUNT, 3)])


LINES = st.sampled_from([None, None, "a", "b"])
LINE_OF_ALL = ("Plain", "Plain", "Named", "PlainLazy", "Cpu", "Async")


class Chaos:
    """Draws what happens next, until every prompt is over."""

    def __init__(self, data: st.DataObject, driver: SchedulerDriver,
                 submissions: list[stimuli.PromptSubmitted]) -> None:
        self._data = data
        self.driver = driver
        self._to_come = submissions
        self._expansions_left = MOST_EXPANSIONS
        self._expanded: dict[tuple[str, str], tuple[list[GraphNode], list[list[Link | list[Any]]]]] = {}

    def run(self) -> None:
        driver = self.driver
        while self._to_come or driver.unfinished() or driver.abandoned:
            self._disturb()
            if driver.turn_is_due and self._one_in(3):
                driver.pass_turn()
            elif self._to_come and (not driver.open or self._one_in(2)):
                driver.submit(self._to_come.pop(0))
                if not self._one_in(3):
                    driver.start_prompts()
            elif driver.open:
                self._end(self._pick(sorted(driver.open)))
            elif driver.turn_is_due or (driver.scheduler.pending() and not driver.running()):
                driver.pass_turn()
            elif driver.abandoned:
                driver.code_returned(self._pick(sorted(driver.abandoned)))
            elif driver.scheduler.pools.paused:
                driver.apply(stimuli.PauseRequested(is_paused=False))
            elif driver.unfinished():
                raise AssertionError(f"nothing can happen any more, but these wait: {driver.unfinished()}")

    def _disturb(self) -> None:
        driver = self.driver
        match self._draw(st.integers(0, 80)):
            case 71:
                driver.cancel(None)
            case 72 | 73 | 74 if driver.running():
                driver.cancel(self._pick(driver.running()))
            case 75:
                driver.apply(stimuli.PendingRemoved(prompt_ids=None))
            case 76 if driver.unfinished():
                driver.apply(stimuli.PendingRemoved(prompt_ids=[self._pick(driver.unfinished())]))
            case 77:
                driver.apply(stimuli.MemoryWanted())
            case 78 | 79 if driver.abandoned:
                driver.code_returned(self._pick(sorted(driver.abandoned)))
            case 66 | 67 if driver.to_write:
                driver.write_outputs()
            case 68 if driver.disk:
                driver.drop_outputs(self._pick(sorted(driver.disk)), is_told=self._one_in(2))
            case 69 | 70 if driver.open:
                driver.be_overdue(self._pick(sorted(driver.open)))
            case 80:
                driver.cancel(self._pick([*driver.unfinished(), "unheard of"]))

    def _end(self, call_id: Any) -> None:
        driver, call = self.driver, self.driver.open[call_id]
        if isinstance(call, commands.StoreStart):
            driver.start_recorded(call_id)
            return
        if isinstance(call, commands.LookUpOutputs):
            driver.end_cancelled(call_id) if call_id in driver.cancelled else driver.look_up(call_id)
            return
        if isinstance(call, commands.ReleaseToRetry):
            driver.retry(call_id)
            return
        if isinstance(call, commands.WaitToRetry):
            driver.end_cancelled(call_id) if call_id in driver.cancelled else driver.retry(call_id)
            return
        if isinstance(call, commands.CallNode) and call.then is not None and self._goes_on(call_id):
            driver.return_(call_id, goes_on=True)
            return
        fate = self._draw(st.integers(0, 59))
        if call_id in driver.cancelled and fate < 50:
            driver.end_cancelled(call_id) if fate < 30 else driver.abandon(call_id)
        elif fate in (56, 57):
            driver.fail(call_id, out_of_memory=self._one_in(2), is_transient=self._one_in(2))
        elif fate == 58:
            driver.end_cancelled(call_id)
        elif fate == 59:
            driver.lose(call_id)
        elif isinstance(call, commands.TakeFingerprints):
            driver.take_fingerprints(call_id, {node_id: [self._draw(st.sampled_from([1, 2, math.nan]))]
                                               for node_id in call.node_ids})
        elif fate in (54, 55) and not call.definition.is_async and call_id not in driver.left_lane:
            driver.leave_lane(call_id)
        elif call.part is commands.CallPart.CHECK:
            driver.want(call_id, list(call.unevaluated)[:self._draw(st.integers(0, len(call.unevaluated)))])
        elif fate < 48 and call.unevaluated and call.part is commands.CallPart.WHOLE:
            count = self._draw(st.integers(1, len(call.unevaluated)))
            driver.want(call_id, list(call.unevaluated)[:count])
        elif call.definition.class_type in EXPANDERS and self._expansions_left:
            self._expansions_left -= 1
            self._expand(call)
        else:
            driver.return_(call_id, blocked=["blocked"] if fate == 53 else [])

    def _goes_on(self, call_id: Any) -> bool:
        """Whether its thread went on: perhaps just before it was told to do nothing of the kind."""
        driver = self.driver
        if call_id in driver.left_lane:
            return False
        return self._one_in(4 if call_id in driver.chains_ended or call_id in driver.cancelled else 2)

    def _expand(self, call: commands.CallNode) -> None:
        key = (self.driver.owner[call.call_id], call.node_id)
        if key not in self._expanded:  # a node that runs twice in a prompt expands to the same
            self._expanded[key] = self._expansion_for(call)
        graph_nodes, pieces = self._expanded[key]
        for graph_node in graph_nodes:
            definition = CLASSES[graph_node.class_type]
            call.scope.definitions[graph_node.class_type] = definition
            call.scope.interfaces.setdefault(graph_node.class_type, definition.describe())
        self.driver.expand(call.call_id, graph_nodes, pieces)

    def _expansion_for(self, call: commands.CallNode) -> tuple[list[GraphNode], list[list[Link | list[Any]]]]:
        outside = list(call.scope.nodes)
        added: dict[str, dict[str, Any]] = {}
        for number in range(self._draw(st.integers(0, 4))):
            new_id = f"{call.node_id}.{number}"
            if self._one_in(25):
                new_id = self._pick(outside)  # taken already
            sources = [*added, *outside] if self._one_in(3) else list(added)
            added[new_id] = self._draw(nodes(st.sampled_from([*CLASSES, *EXPANDERS]), sources))
        pieces: list[list[Link | list[Any]]] = []
        for _ in range(OUTPUTS_OF_A_NODE):
            match self._draw(st.integers(0, 5)):
                case 0:
                    pieces.append([["a constant"]])
                case 1:
                    pieces.append([Link("", NodeId(self._pick([*added, *outside, "nowhere"])), 0)])
                case _:
                    pieces.append([Link("", NodeId(self._pick([*added, outside[0]])), 1)])
        return [GraphNode(NodeId(node_id), entry["class_type"], entry["inputs"], parse_links(entry["inputs"]))
                for node_id, entry in added.items()], pieces

    def _draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self._data.draw(strategy)

    def _pick(self, options: list[Any]) -> Any:
        return options[self._draw(st.integers(0, len(options) - 1))]

    def _one_in(self, chances: int) -> bool:
        return bool(self._draw(st.integers(1, chances)) == chances)


def several(strategy: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[stimuli.PromptSubmitted]]:
    """Up to four prompts, some of them the same one again."""
    def submissions(drawn: list[tuple[dict[str, Any], bool, int, str | None]]) -> list[stimuli.PromptSubmitted]:
        made, previous = [], None
        for index, (prompt, is_again, number, line) in enumerate(drawn):
            previous = previous if is_again and previous is not None else prompt
            made.append(submission_of({node_id: {**entry, "inputs": dict(entry["inputs"])}
                                       for node_id, entry in previous.items()}, f"p{index}", number, line=line))
        return made

    one = st.tuples(strategy, st.booleans(), st.integers(-2, 2), LINES)
    return st.lists(one, min_size=1, max_size=4).map(submissions)


@FEW
@given(st.data(), several(prompts(min_nodes=3) | lines()), CACHES, st.sampled_from([4, 2, 1]),
       st.sampled_from([32, 1, 2]),
       st.booleans(), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)), st.booleans(), st.booleans(),
       st.sets(st.integers(0, 3)))
def test_whatever_happens_every_prompt_ends_once_and_nothing_is_left(
        data: st.DataObject, submissions: list[stimuli.PromptSubmitted], cache: Any, max_running: int,
        most_moved: int, records_at_once: bool, requeued: set[int], go_on: set[int], has_disk: bool,
        has_outside: bool, on_record: set[int]) -> None:
    for index, submitted in enumerate(submissions):
        submitted.goes_on_after_errors = index in go_on
        submitted.is_start_on_record = index in on_record and index not in requeued
    for index in requeued & set(range(len(submissions))):  # they ran when the process before this one ended
        submissions[index].attempt = 1
        submissions[index].suspects = list(submissions[index].scope.nodes)[:1]
    driver = SchedulerDriver(max_running_prompts=max_running, cache=cache(), most_moved_at_once=most_moved,
                             records_at_once=records_at_once, has_disk=has_disk, has_outside=has_outside)
    Chaos(data, driver, submissions).run()
    driver.check_nothing_is_left()


@FEWER
@given(st.data(), several(prompts(classes=(*SIMPLE, "Named", "Watched", "Private")) | lines(LINE_OF_ALL)),
       st.sampled_from([4, 2, 1]), st.sampled_from([32, 1]))
def test_prompts_without_trouble_succeed_and_call_each_node_after_its_sources(
        data: st.DataObject, submissions: list[stimuli.PromptSubmitted], max_running: int, most_moved: int) -> None:
    driver = SchedulerDriver(max_running_prompts=max_running, most_moved_at_once=most_moved)
    run_undisturbed(data, driver, submissions)
    for submitted in submissions:
        assert driver.outcome_of(submitted.prompt_id) is Outcome.SUCCEEDED
        assert_sources_came_first(driver, submitted.prompt_id)
    driver.check_nothing_is_left()


@FEWER
@given(st.data(), several(prompts(classes=(*SIMPLE, "Named")) | lines(LINE_OF_ALL)), CACHES)
def test_each_call_gets_the_values_that_the_graph_says_shared_and_cached_or_not(
        data: st.DataObject, submissions: list[stimuli.PromptSubmitted], cache: Any) -> None:
    driver = SchedulerDriver(cache=cache())
    run_undisturbed(data, driver, submissions, computed=True)
    for call in driver.calls:
        if call.call_id in driver.returned_by:
            given_values = {name: values[0] for name, values in call.inputs.items()}
            assert same(given_values, expected_inputs(call.scope.nodes, call.node_id))
    assert all(driver.outcome_of(one.prompt_id) is Outcome.SUCCEEDED for one in submissions)


@FEWER
@given(several(lines(("Plain", "Plain", "Named", "PlainLazy"))), CACHES, st.sampled_from([4, 1]))
def test_threads_that_go_on_by_themselves_call_the_nodes_in_the_order_in_which_tokens_are_granted(
        submissions: list[stimuli.PromptSubmitted], cache: Any, max_running: int) -> None:
    orders = []
    for goes_on in (False, True):
        driver = SchedulerDriver(max_running_prompts=max_running, cache=cache())
        for one in submissions:
            driver.submit(submission_of(one.scope.submitted, one.prompt_id, one.number, line=one.line))  # type: ignore[arg-type]
        while driver.unfinished():
            if not driver.open:
                driver.pass_turn()
                continue
            (call_id,) = driver.open  # there is one token
            call = driver.open[call_id]
            assert isinstance(call, commands.CallNode)
            if wanted := [name for name in wanted_by(call.scope.nodes[call.node_id]) if name in call.unevaluated]:
                driver.want(call_id, wanted)
            else:
                driver.return_(call_id, computed_outputs(call), goes_on=goes_on and call.then is not None
                               and call_id not in driver.chains_ended)
        orders.append([(call.prompt_id, call.node_id) for call in driver.calls])
        driver.check_nothing_is_left()
    assert orders[0] == orders[1]


@FEWER
@given(st.data(), prompts(classes=(*SIMPLE, "Named"), max_nodes=10) | lines(LINE_OF_ALL))
def test_equal_nodes_of_a_prompt_are_called_once(data: st.DataObject, prompt: dict[str, Any]) -> None:
    driver = SchedulerDriver(cache=OutputCache(CacheRule.BYTES))
    run_undisturbed(data, driver, [submission_of(prompt, "p")])
    returned = [call.node_id for call in driver.returned_by.values()]
    for group in equal_nodes(prompt):
        if prompt[next(iter(group))]["class_type"] not in SHOWING:
            assert sum(node_id in group for node_id in returned) <= 1


@FEWER
# What a lazy input wants may be gone already: it is kept for consumers known so far.
@given(st.data(), prompts(classes=("Async", "Plain", "Cpu", "Both"), max_nodes=10) | lines(("Plain", "Cpu")))
def test_without_a_cache_every_node_that_is_needed_is_called_once(data: st.DataObject, prompt: dict[str, Any]) -> None:
    driver = SchedulerDriver(cache=OutputCache(CacheRule.NONE))
    run_undisturbed(data, driver, [submission_of(prompt, "p")])
    returned = sorted(call.node_id for call in driver.returned_by.values())
    assert returned == sorted(set(returned))
    needed = {node_id for node_id, one in prompt.items() if one["class_type"] in SHOWING}
    to_see = list(needed)
    while to_see:
        for value in prompt[to_see.pop()]["inputs"].values():
            if is_link(value) and value[0] not in needed:
                needed.add(value[0])
                to_see.append(value[0])
    assert returned == sorted(needed)


@FEWER
@given(st.data(), several(prompts(classes=SIMPLE) | lines(("Plain", "PlainLazy"))))
def test_what_one_prompt_computed_no_later_prompt_computes_again(
        data: st.DataObject, submissions: list[stimuli.PromptSubmitted]) -> None:
    driver = SchedulerDriver()
    run_undisturbed(data, driver, submissions)
    calls = len(driver.calls)
    for submitted in submissions:
        again = submission_of(submitted.scope.submitted, f"{submitted.prompt_id} again")  # type: ignore[arg-type]
        run_undisturbed(data, driver, [again])
        assert driver.outcome_of(again.prompt_id) is Outcome.SUCCEEDED
    called_again = [call for call in driver.calls[calls:] if not depends_on_nan(call.scope.nodes, call.node_id)]
    assert called_again == []


@FEWER
@given(st.data(), several(prompts(classes=(*SIMPLE, "Named"))), CACHES, st.sampled_from([32, 1]),
       st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_after_a_restart_only_what_did_not_reach_the_disk_is_computed_again(
        data: st.DataObject, submissions: list[stimuli.PromptSubmitted], cache: Any, most_moved: int,
        lost: set[int], damaged: set[int]) -> None:
    before = SchedulerDriver(cache=cache(), has_disk=True)
    run_undisturbed(data, before, submissions, computed=True)
    while before.to_write:
        before.write_outputs()
    after = SchedulerDriver(cache=cache(), most_moved_at_once=most_moved, has_disk=True)
    after.disk = {signature: outputs for index, (signature, outputs) in enumerate(sorted(before.disk.items()))
                  if index not in lost}
    after.apply(stimuli.OutputsStored(signatures=list(after.disk)))
    for index, signature in enumerate(list(after.disk)):
        if index in damaged:  # nobody knows yet
            after.drop_outputs(signature, is_told=False)
    undamaged = set(after.disk)
    again = [submission_of(one.scope.submitted, f"{one.prompt_id} again")  # type: ignore[arg-type]
             for one in submissions]
    run_undisturbed(data, after, again, computed=True)
    assert all(after.outcome_of(one.prompt_id) is Outcome.SUCCEEDED for one in again)
    for call in after.returned_by.values():
        assert call.node_id in needed_without(undamaged, after.submitted[call.prompt_id])
        given_values = {name: values[0] for name, values in call.inputs.items()}
        assert same(given_values, expected_inputs(call.scope.nodes, call.node_id))
    after.check_nothing_is_left()


def needed_without(known: set[Signature], submitted: stimuli.PromptSubmitted) -> set[NodeId]:
    """Nodes that are on a way to an output, with none in between or itself whose outputs are known."""
    scope = submitted.scope
    signatures = sign_all(submitted.order, scope.nodes, {}, fingerprints={}, run="",
                          identities={name: one.has_own_identity for name, one in scope.interfaces.items()})
    needed: set[NodeId] = set()
    pending = list(submitted.outputs)
    while pending:
        node_id = pending.pop()
        if node_id not in needed and signatures[node_id] not in known:
            needed.add(node_id)
            pending += [link.source for link in scope.nodes[node_id].links.values()]
    return needed


@FEWER
@given(st.data(), prompts(classes=("Async", "Plain", "Cpu", "AsyncDisk", "Unlimited"), min_nodes=3),
       st.sets(st.integers(0, 2), max_size=2))
def test_a_cancel_takes_no_shared_call_away_from_prompts_that_go_on(
        data: st.DataObject, prompt: dict[str, Any], cancelled: set[int]) -> None:
    driver = SchedulerDriver()
    for index in range(3):
        driver.submit(submission_of(prompt, f"p{index}"))
    driver.start_prompts()
    to_cancel = [f"p{index}" for index in cancelled]
    while driver.open:
        if to_cancel and data.draw(st.booleans()):
            driver.cancel(to_cancel.pop())
        else:
            call_id = data.draw(st.sampled_from(sorted(driver.open)))
            driver.end_cancelled(call_id) if call_id in driver.cancelled else driver.return_(call_id)
    survivors = [f"p{index}" for index in range(3) if index not in cancelled]
    assert all(driver.outcome_of(prompt_id) is Outcome.SUCCEEDED for prompt_id in survivors)
    started = [call for call in driver.calls if call.definition.class_type not in SHOWING
               and not depends_on_nan(call.scope.nodes, call.node_id)]
    for group in equal_nodes(prompt):
        assert sum(call.node_id in group for call in started) <= 1, "a shared call is never started anew"
    driver.check_nothing_is_left()


def run_undisturbed(data: st.DataObject, driver: SchedulerDriver, submissions: list[stimuli.PromptSubmitted],
                    computed: bool = False) -> None:
    """Let all calls succeed, in random order; lazy inputs are wanted as `wanted_by` says."""
    to_come = list(submissions)
    while to_come or driver.unfinished():
        if to_come and (not driver.open or data.draw(st.booleans())):
            driver.submit(to_come.pop(0))
        elif not driver.open:
            driver.start_prompts()
        else:
            call_id = data.draw(st.sampled_from(sorted(driver.open)))
            call = driver.open[call_id]
            if isinstance(call, commands.LookUpOutputs):
                driver.look_up(call_id)
            elif isinstance(call, commands.TakeFingerprints):
                driver.take_fingerprints(call_id, {node_id: [1] for node_id in call.node_ids})
            elif wanted := [name for name in wanted_by(call.scope.nodes[call.node_id]) if name in call.unevaluated]:
                driver.want(call_id, wanted)
            elif call.part is commands.CallPart.CHECK:
                driver.want(call_id, [])
            else:
                goes_on = call.then is not None and call_id not in driver.chains_ended and data.draw(st.booleans())
                driver.return_(call_id, computed_outputs(call) if computed else None, goes_on=goes_on)


def wanted_by(graph_node: GraphNode) -> list[str]:
    """Lazy inputs that a node asks for: told by its constants, so that equal nodes want the same."""
    return [name for name in LAZY if is_link(graph_node.inputs.get(name))
            and (name == LAZY[0] or graph_node.inputs.get("a") in (1, "text"))]


def computed_outputs(call: commands.CallNode) -> tuple[Any, ...]:
    return outputs_for(call.definition.class_type, call.node_id, {name: values[0] for name, values in
                                                                  call.inputs.items()})


def outputs_for(class_type: str, node_id: str, inputs: dict[str, Any]) -> tuple[Any, ...]:
    """What a node computes: a value that tells its class and all that it was made of."""
    own = node_id if class_type == "Named" else ""
    # Numbers are told as the cache tells them apart: 1, 1.0 and True are one constant.
    made_of = tuple((name, value + 0 if isinstance(value, (bool, int, float)) else value)
                    for name, value in sorted(inputs.items()))
    return tuple((class_type, own, made_of, slot) for slot in range(OUTPUTS_OF_A_NODE))


def expected_inputs(graph: dict[NodeId, GraphNode], node_id: NodeId) -> dict[str, Any]:
    """What a node of a graph should be called with."""
    graph_node = graph[node_id]
    interface = CLASSES[graph_node.class_type].describe()
    wanted, inputs = wanted_by(graph_node), {}
    for name, value in graph_node.inputs.items():
        spec = interface.spec(name)
        assert spec is not None
        if not is_link(value) or spec.wants_link:
            inputs[name] = value
        elif spec.is_lazy and name not in wanted:
            inputs[name] = UNKNOWN
        else:
            source = NodeId(value[0])
            inputs[name] = outputs_for(graph[source].class_type, source, expected_inputs(graph, source))[value[1]]
    return inputs


UNKNOWN = "(None, or what another node wanted)"


def same(left: Any, right: Any) -> bool:
    """Equal, where NaN equals itself, and what nobody asked for may be there by chance."""
    if right == UNKNOWN:
        return True
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (tuple, list)) and isinstance(right, (tuple, list)):
        return len(left) == len(right) and all(same(*pair) for pair in zip(left, right, strict=True))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right)


def depends_on_nan(graph: dict[NodeId, GraphNode], node_id: NodeId) -> bool:
    return any(depends_on_nan(graph, NodeId(value[0])) if is_link(value)
               else isinstance(value, float) and math.isnan(value) for value in graph[node_id].inputs.values())


def assert_sources_came_first(driver: SchedulerDriver, prompt_id: str) -> None:
    """Whatever was called in a prompt was called after all that it needed had finished there."""
    finished: set[str] = set()
    started: set[str] = set()
    scope = driver.submitted[prompt_id].scope
    for event in driver.events[prompt_id]:
        if isinstance(event, NodeFinished):
            finished.add(event.place.node_id)
        elif isinstance(event, NodeStarted):
            graph_node = scope.nodes[event.place.node_id]
            interface = scope.interfaces[graph_node.class_type]
            for link in graph_node.links.values():
                spec = interface.spec(link.name)
                if spec is not None and not spec.is_lazy and link.source in started:
                    assert link.source in finished, (event.place.node_id, link.source)
            started.add(event.place.node_id)
