"""Single decisions of the scheduler, one story each; `test_scheduler_properties.py` has everything at random."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from execution import CacheRule, NodeFailed, NodeFinished, NodeId, NodesCached, Outcome, OutputCache, commands, stimuli
from execution.errors import InvariantViolated
from execution.identifiers import CallId, PromptId
from execution.prompt_graph import GraphNode, Link, parse_links
from execution.scheduler import MOST_OPEN_PROMPTS
from tests.support.node_definitions import node
from tests.support.random_graphs import CLASSES, submission_of
from tests.support.scheduler_driver import SchedulerDriver


def started(*prompts: dict[str, Any], **options: Any) -> SchedulerDriver:
    """A scheduler to which these prompts were submitted, as p0, p1 …"""
    driver = SchedulerDriver(**options)
    for index, prompt in enumerate(prompts):
        driver.submit(submission_of(prompt, f"p{index}"))
    driver.start_prompts()
    return driver


def expand(driver: SchedulerDriver, call_id: CallId, added: dict[str, Any], *results: tuple[str, int]) -> None:
    call = driver.open[call_id]
    assert isinstance(call, commands.CallNode)
    nodes = [GraphNode(NodeId(node_id), entry["class_type"], entry["inputs"], parse_links(entry["inputs"]))
             for node_id, entry in added.items()]
    for graph_node in nodes:
        call.scope.definitions[graph_node.class_type] = CLASSES[graph_node.class_type]
        call.scope.interfaces[graph_node.class_type] = CLASSES[graph_node.class_type].describe()
    driver.expand(call_id, nodes, [[Link("", NodeId(source), slot)] for source, slot in results])


def show(*sources: str) -> dict[str, Any]:
    return node("Show", **{name: [source, 0] for name, source in zip("abcd", sources, strict=False)})


def test_a_submission_is_answered_before_its_prompt_starts() -> None:
    driver = SchedulerDriver()
    driver.submit(submission_of({"1": node("Async"), "2": show("1")}, "p0"))
    assert driver.story("p0") == ["PromptQueued"]
    assert driver.open == {}
    driver.start_prompts()
    assert driver.story("p0") == ["PromptQueued", "PromptStarted", "NodesCached", "NodeStarted 1"]


def test_smaller_numbers_start_first_and_arrival_decides_between_equal_ones() -> None:
    driver = SchedulerDriver(max_running_prompts=1)
    for name, number in (("late", 5), ("early", -1), ("second", 2), ("third", 2)):
        driver.submit(submission_of({"1": node("Show", a=name)}, name, number))
    assert [entry.prompt_id for entry in driver.scheduler.pending()] == ["early", "second", "third", "late"]
    driver.start_prompts()
    order = []
    while driver.open:
        (call,) = driver.open.values()
        order.append(call.prompt_id)
        driver.return_(call.call_id)
    assert order == ["early", "second", "third", "late"]


def test_tokens_go_to_the_longer_remaining_path_within_a_prompt() -> None:
    driver = started({"short": node("Plain", a="short"), "long": node("Plain", a="long"),
                      "1": node("Async", a=["long", 0]), "2": node("Async", a=["1", 0]), "3": show("short", "2")})
    assert driver.called() == ["long"]


def test_a_call_that_needs_much_is_not_starved_by_those_that_need_little() -> None:
    driver = started({"1": node("Cpu", a=1), "2": show("1")}, {"1": node("Wide", a=1), "2": show("1")},
                     {"1": node("Cpu", a=2), "2": show("1")}, {"1": node("Plain", a=1), "2": show("1")})
    assert [(call.prompt_id, call.node_id) for call in driver.calls] == [("p0", "1"), ("p3", "1")], \
        "the little one behind it waits, others pools go on"
    driver.return_(driver.call_of("p0", "1"))
    assert driver.call_of("p1", "1") in driver.open
    assert driver.called("p2") == []
    driver.return_(driver.call_of("p1", "1"))
    assert driver.called("p2") == ["1"]


def test_the_place_of_a_waiting_shared_call_is_the_heirs_after_a_hand_over() -> None:
    busy, shared = {"1": node("Plain", a="busy"), "2": show("1")}, {"1": node("Plain", a="shared"), "2": show("1")}
    driver = SchedulerDriver(max_running_prompts=9)
    for name, prompt, number in (("busy", busy, 0), ("owner", shared, 1), ("heir", shared, 3),
                                 ("between", {"1": node("Plain", a="between"), "2": show("1")}, 2)):
        driver.submit(submission_of(prompt, name, number))
    driver.start_prompts()
    driver.cancel("owner")
    assert driver.outcome_of("owner") is Outcome.INTERRUPTED
    driver.return_(driver.call_of("busy", "1"))
    assert driver.calls[-1].prompt_id != "heir"
    driver.return_(driver.call_of("between", "1"))
    assert driver.called("heir") == ["1"]


def test_a_waiting_shared_call_moves_up_to_the_place_of_a_better_prompt_that_wants_it_too() -> None:
    driver = SchedulerDriver(max_running_prompts=9)
    for name, number in (("busy", 0), ("between", 2), ("late", 3), ("better", 1)):
        tag = "shared" if name in ("late", "better") else name
        driver.submit(submission_of({"1": node("Plain", a=tag), "2": show("1")}, name, number))
        driver.start_prompts()
    driver.return_(driver.call_of("busy", "1"))
    assert driver.calls[-1].prompt_id == "better"
    driver.cancel("better")
    driver.return_(driver.call_of("late", "1"))
    assert driver.called("late") == ["2"]
    assert driver.called("between") == ["1"]


def test_a_running_shared_call_is_handed_over_with_its_name() -> None:
    driver = started({"a": node("Async"), "2": show("a")}, {"b": node("Async"), "2": show("b")})
    (call_id,) = driver.open
    driver.cancel("p0")
    assert driver.owner[call_id] == "p1"
    assert call_id not in driver.cancelled
    assert driver.outcome_of("p0") is Outcome.INTERRUPTED
    driver.return_(call_id)
    assert driver.called("p1") == ["2"]


def test_a_prompt_that_only_awaits_holds_no_place_and_one_with_calls_on_lanes_does() -> None:
    awaiting = {"1": node("Async"), "2": node("Private"), "3": show("1", "2")}
    plain = [{"1": node("Plain", a=index), "2": show("1")} for index in range(3)]
    driver = started(awaiting, *plain, max_running_prompts=2)
    assert driver.running() == ["p0", "p1", "p2"]
    driver.return_(driver.call_of("p1", "1"))
    assert driver.running() == ["p0", "p1", "p2", "p3"], "p1 only awaits now"


def test_at_most_so_many_prompts_are_open() -> None:
    driver = started(*({"1": node("Private", a=index), "2": show("1")} for index in range(MOST_OPEN_PROMPTS + 2)))
    assert len(driver.running()) == MOST_OPEN_PROMPTS


def test_an_abandoned_call_frees_its_prompts_place_but_not_its_token() -> None:
    driver = started({"1": node("Plain", a=1), "2": show("1")}, {"1": node("Plain", a=2), "2": show("1")},
                     max_running_prompts=1)
    (call_id,) = driver.open
    driver.cancel("p0")
    assert driver.outcome_of("p0") is None
    driver.abandon(call_id)
    assert driver.outcome_of("p0") is Outcome.INTERRUPTED
    assert driver.running() == ["p1"]
    assert driver.open == {}
    driver.code_returned(call_id)
    assert driver.called("p1") == ["1"]


def test_a_plain_call_that_goes_on_awaiting_gives_its_token_and_place_back() -> None:
    driver = started({"1": node("Plain", a=1), "2": show("1")}, {"1": node("Plain", a=2), "2": show("1")},
                     max_running_prompts=1)
    driver.leave_lane(driver.call_of("p0", "1"))
    assert driver.running() == ["p0"], "one after the other, still"
    driver = started({"1": node("Plain", a=1), "2": show("1")}, {"1": node("Plain", a=2), "2": show("1")})
    driver.leave_lane(driver.call_of("p0", "1"))
    assert driver.called("p1") == ["1"]


def test_lazy_inputs_are_evaluated_only_when_they_are_wanted() -> None:
    driver = started({"x": node("Async", a="x"), "y": node("Async", a="y"), "a": node("Async", a="a"),
                      "lazy": node("Lazy", a=["a", 0], lazy_x=["x", 0], lazy_y=["y", 1]), "end": show("lazy")})
    assert driver.called() == ["a"]
    driver.return_(driver.call_of("p0", "a"))
    first = driver.open[driver.call_of("p0", "lazy")]
    assert isinstance(first, commands.CallNode)
    assert first.unevaluated == ["lazy_x", "lazy_y"]
    assert first.inputs["lazy_x"] == (None,)
    driver.want(first.call_id, ["lazy_y"])
    driver.return_(driver.call_of("p0", "y"), ("y0", "y1"))
    second = driver.open[driver.call_of("p0", "lazy")]
    assert isinstance(second, commands.CallNode)
    assert (second.inputs["lazy_y"], second.unevaluated) == (["y1"], ["lazy_x"])
    driver.return_(second.call_id)
    assert "x" not in driver.called()


def test_an_expansion_completes_with_what_its_links_lead_to() -> None:
    driver = started({"1": node("Expander"), "2": show("1")})
    expand(driver, driver.call_of("p0", "1"), {"1.a": node("Async", a=1), "1.b": node("Async", a=["1.a", 1])},
           ("1.b", 1))
    driver.return_(driver.call_of("p0", "1.a"), ("a0", "a1"))
    call = driver.open[driver.call_of("p0", "1.b")]
    assert isinstance(call, commands.CallNode)
    assert call.inputs == {"a": ["a1"]}
    driver.return_(call.call_id, ("b0", "b1"))
    last = driver.open[driver.call_of("p0", "2")]
    assert isinstance(last, commands.CallNode)
    assert last.inputs == {"a": ["b1"]}
    driver.return_(last.call_id)
    assert driver.outcome_of("p0") is Outcome.SUCCEEDED


class Holder:
    """A value whose end can be seen."""


def test_an_expanded_node_lets_go_of_its_inputs() -> None:
    driver = started({"0": node("Async"), "1": node("Expander", a=["0", 0]), "2": show("1")},
                     cache=OutputCache(CacheRule.NONE))
    value = Holder()
    seen = weakref.ref(value)
    driver.return_(driver.call_of("p0", "0"), (value, None))
    expand(driver, driver.call_of("p0", "1"), {"1.a": node("Async", a="other")}, ("1.a", 0))
    driver.forget_values()
    del value
    gc.collect()
    assert seen() is None


def test_within_an_expansion_too_the_longer_path_goes_first() -> None:
    driver = started({"1": node("Expander"), "2": show("1")})
    expand(driver, driver.call_of("p0", "1"), {
        "short": node("Plain", a="short"), "long": node("Plain", a="long"), "next": node("Async", a=["long", 0]),
        "last": node("Show", a=["next", 0], b=["short", 0])}, ("short", 0), ("last", 0))
    assert driver.called()[-1] == "long"


def test_output_nodes_of_an_expansion_run_though_no_result_leads_to_them_and_others_do_not() -> None:
    driver = started({"1": node("Expander"), "2": show("1")})
    expand(driver, driver.call_of("p0", "1"),
           {"1.a": node("Async"), "1.shown": node("Show", a=1), "1.unneeded": node("Async", a=2)}, ("1.a", 0))
    assert set(driver.called()) == {"1", "1.a", "1.shown"}
    driver.return_(driver.call_of("p0", "1.a"))
    assert "2" not in driver.called(), "the expansion is not done"
    driver.return_(driver.call_of("p0", "1.shown"))
    assert driver.called()[-1] == "2"


def test_an_expansion_may_result_in_a_node_of_the_prompt_itself() -> None:
    driver = started({"0": node("Async"), "1": node("Expander"), "2": show("1")})
    expand(driver, driver.call_of("p0", "1"), {}, ("0", 0))
    driver.return_(driver.call_of("p0", "0"), ("zero", "one"))
    (call,) = driver.open.values()
    assert isinstance(call, commands.CallNode)
    assert call.inputs == {"a": ["zero"]}


@pytest.mark.parametrize(("added", "results", "kind"), [
    ({"0": node("Async")}, [("0", 0)], "execution.DuplicateNodeError"),
    ({}, [("nowhere", 0)], "execution.NodeNotFoundError"),
    ({"1.a": node("Async", a=["nowhere", 0])}, [("1.a", 0)], "execution.NodeNotFoundError"),
    ({"1.a": node("Async", a=["1", 0])}, [("1.a", 0)], "graph.DependencyCycleError"),
    ({"1.a": node("Async", a=["1.b", 0]), "1.b": node("Async", a=["1.a", 0])}, [("1.a", 0)],
     "graph.DependencyCycleError"),
    ({}, [("2", 0)], "graph.DependencyCycleError"),
])
def test_an_expansion_that_cannot_be_fails_its_prompt(added: dict[str, Any], results: Any, kind: str) -> None:
    driver = started({"0": node("Async"), "1": node("Expander"), "2": show("0", "1")})
    driver.return_(driver.call_of("p0", "0"))
    expand(driver, driver.call_of("p0", "1"), added, *results)
    assert driver.outcome_of("p0") is Outcome.FAILED
    (failed,) = [event for event in driver.events[PromptId("p0")]
                 if isinstance(event, NodeFailed)]
    assert failed.error.exception_type == kind
    driver.check_nothing_is_left()


def test_a_shared_call_that_expands_releases_the_others_to_run_it_themselves() -> None:
    driver = started({"a": node("Expander"), "2": show("a")}, {"b": node("Expander"), "2": show("b")})
    assert driver.called() == ["a"]
    expand(driver, driver.call_of("p0", "a"), {"a.1": node("Async", a=1)}, ("a.1", 0))
    assert driver.called("p0") == ["a", "a.1"]
    assert driver.called("p1") == ["b"]


def test_an_expansion_of_a_call_that_was_handed_over_brings_its_classes_along() -> None:
    driver = started({"a": node("Expander"), "2": show("a")}, {"b": node("Expander"), "2": show("b")})
    (call_id,) = driver.open
    driver.cancel("p0")
    expand(driver, call_id, {"b.1": node("Plain", a=1)}, ("b.1", 0))
    assert driver.called("p1") == ["b.1"]


def test_what_is_cached_when_a_prompt_starts_is_told_in_the_order_of_the_prompt() -> None:
    prompt = {"2": show("1"), "1": node("Async")}
    driver = started(prompt)
    driver.return_(driver.call_of("p0", "1"))
    driver.return_(driver.call_of("p0", "2"))
    driver.submit(submission_of(prompt, "again"))
    driver.start_prompts()
    told = driver.events[PromptId("again")]
    assert [event.nodes for event in told if isinstance(event, NodesCached)] == [["2", "1"]]
    assert [(event.place.node_id, event.from_cache) for event in told if isinstance(event, NodeFinished)] == [
        ("2", True)]
    assert driver.outcome_of("again") is Outcome.SUCCEEDED


def test_what_a_prompt_computed_before_it_failed_stays_cached() -> None:
    prompt = {"1": node("Async"), "2": node("Async", a=["1", 0]), "3": show("2")}
    driver = started(prompt)
    driver.return_(driver.call_of("p0", "1"))
    driver.fail(driver.call_of("p0", "2"))
    assert driver.outcome_of("p0") is Outcome.FAILED
    driver.submit(submission_of(prompt, "again"))
    driver.start_prompts()
    assert driver.called("again") == ["2"]


def test_outputs_of_a_node_are_held_while_somebody_waits_for_them_even_without_a_cache() -> None:
    driver = started({"1": node("Async"), "2": node("Async", a=["1", 0]), "3": node("Async", a=["1", 0], b=["2", 0]),
                      "4": show("3")}, cache=OutputCache(CacheRule.NONE))
    driver.return_(driver.call_of("p0", "1"), ("kept", ""))
    driver.return_(driver.call_of("p0", "2"))
    call = driver.open[driver.call_of("p0", "3")]
    assert isinstance(call, commands.CallNode)
    assert call.inputs["a"] == ["kept"]


def test_freeing_memory_while_a_prompt_runs_takes_nothing_from_it() -> None:
    driver = started({"1": node("Async"), "2": node("Async", a=["1", 0]), "3": show("2")})
    driver.return_(driver.call_of("p0", "1"))
    driver.apply(stimuli.MemoryWanted())
    driver.return_(driver.call_of("p0", "2"))
    driver.return_(driver.call_of("p0", "3"))
    assert driver.outcome_of("p0") is Outcome.SUCCEEDED
    driver.apply(stimuli.MemoryWanted())
    assert len(driver.cache) == 0


def test_the_node_that_ran_longest_is_named_by_an_interrupt() -> None:
    driver = started({"1": node("Private", a=1), "2": node("Private", a=2), "3": show("1", "2")})
    longest = driver.calls[0].node_id
    for call_id in list(driver.open):
        driver.cancel("p0")
        driver.end_cancelled(call_id)
    last = driver.events[driver.calls[0].prompt_id][-1]
    assert last.interrupted.node_id == longest  # type: ignore[attr-defined]
    assert last.interrupted_type == "Private"  # type: ignore[attr-defined]


@pytest.mark.parametrize("stimulus", [
    stimuli.NodeCancelled(call_id=CallId(99)), stimuli.CallReturned(call_id=CallId(99))])
def test_an_ending_of_a_call_that_does_not_run_is_a_broken_invariant(stimulus: stimuli.Stimulus) -> None:
    with pytest.raises(InvariantViolated, match="call 99"):
        SchedulerDriver().apply(stimulus)


def test_a_call_ends_once() -> None:
    driver = started({"1": node("Async"), "2": show("1")})
    (call_id,) = driver.open
    driver.return_(call_id)
    with pytest.raises(InvariantViolated):
        driver.apply(stimuli.NodeCancelled(call_id=call_id))


def test_a_prompt_that_is_active_cannot_be_submitted_again() -> None:
    driver = started({"1": node("Show")})
    with pytest.raises(InvariantViolated, match="p0"):
        driver.apply(submission_of({"1": node("Show")}, "p0"))


def test_what_nobody_handles_is_a_broken_invariant() -> None:
    class Unknown(stimuli.Stimulus):
        pass

    with pytest.raises(InvariantViolated, match="Unknown"):
        SchedulerDriver().apply(Unknown())
