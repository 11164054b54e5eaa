from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

import pytest

from execution import CurrentNodeContext, GraphBuilder
from execution.graph_builder import LONGEST_ID, add_graph_prefix, fit_id

T = TypeVar("T")


def apart(function: Callable[[], T]) -> T:
    """Run in a context of its own, as each call of a node does."""
    return copy_context().run(function)


def ids_built(node_id: str, index: int | None, builders: int = 1) -> list[str]:
    def build() -> list[str]:
        with CurrentNodeContext("p", node_id, index):
            return [GraphBuilder().node("A").id for _ in range(builders)]

    return apart(build)


def test_ids_begin_with_node_index_and_number_of_the_builder() -> None:
    assert ids_built("4", 0) == ["4.0.0.1"]
    assert ids_built("4", 2) == ["4.2.0.1"]
    assert ids_built("4", None) == ["4.0.0.1"]
    assert ids_built("4", 1, builders=3) == ["4.1.0.1", "4.1.1.1", "4.1.2.1"]


def test_ids_are_the_same_in_every_run() -> None:
    assert ids_built("4", 0, builders=2) == ids_built("4", 0, builders=2)


def test_two_calls_that_build_in_turns_keep_their_own_prefixes() -> None:
    first, second = copy_context(), copy_context()
    first.run(CurrentNodeContext("p", "1", 0).__enter__)
    second.run(CurrentNodeContext("p", "2", 0).__enter__)
    built = [context.run(lambda: GraphBuilder().prefix) for context in (first, second, first, second)]
    assert built == ["1.0.0.", "2.0.0.", "1.0.1.", "2.0.1."]


def test_nodes_are_numbered_unless_they_are_named() -> None:
    graph = GraphBuilder("g.")
    assert [graph.node("A").id, graph.node("B", "own").id, graph.node("C").id] == ["g.1", "g.own", "g.2"]
    assert graph.node("B", "own") is graph.lookup_node("own")
    assert graph.lookup_node("unheard of") is None


def test_the_finished_graph_is_what_a_node_returns() -> None:
    graph = GraphBuilder("g.")
    source = graph.node("Source", seed=3)
    target = graph.node("Target", image=source.out(1), unset=None)
    target.set_input("more", 5)
    target.set_input("unset", None)
    target.set_override_display_id("7")
    assert target.get_input("more") == 5
    assert graph.finalize() == {
        "g.1": {"class_type": "Source", "inputs": {"seed": 3}},
        "g.2": {"class_type": "Target", "inputs": {"image": ["g.1", 1], "more": 5}, "override_display_id": "7"}}


@pytest.mark.parametrize(("new_value", "inputs"), [
    (["other", 0], {"a": ["other", 0], "b": ["g.1", 1], "c": 1}), (None, {"b": ["g.1", 1], "c": 1}),
])
def test_replacing_an_output_moves_its_links_or_removes_them(new_value: Any, inputs: dict[str, Any]) -> None:
    graph = GraphBuilder("g.")
    source = graph.node("Source")
    target = graph.node("Target", a=source.out(0), b=source.out(1), c=1)
    graph.replace_node_output("1", 0, new_value)
    assert target.inputs == inputs


def test_a_removed_node_is_gone() -> None:
    graph = GraphBuilder("g.")
    graph.node("A")
    graph.remove_node("1")
    graph.remove_node("1")
    assert graph.finalize() == {}


def test_a_prefix_can_be_chosen_and_allotted() -> None:
    def choose() -> tuple[str, str, str]:
        GraphBuilder.set_default_prefix("root", 3, 5)
        return GraphBuilder().prefix, GraphBuilder.alloc_prefix(), GraphBuilder.alloc_prefix("r", 1, 2)

    assert apart(choose) == ("root.3.5.", "root.3.6.", "r.1.2.")


def test_ids_stay_as_they_are_up_to_their_longest() -> None:
    assert fit_id("x" * LONGEST_ID) == "x" * LONGEST_ID


def test_longer_ids_keep_their_first_levels_and_a_digest_of_all_of_it() -> None:
    long_id = ".".join(["4.0.0.1"] * 40)
    fitted = fit_id(long_id)
    assert len(fitted) <= LONGEST_ID
    assert fitted.startswith("4.0.0.1.4.0.0.1.")
    assert fit_id(long_id) == fitted
    assert fit_id(long_id + "1") != fitted
    assert len(fit_id("x" * 500)) <= LONGEST_ID


def test_a_loop_of_a_thousand_turns_has_short_ids_that_all_differ() -> None:
    seen, node_id = set(), "4"
    for _ in range(1000):
        node_id = ids_built(node_id, 0)[0]
        seen.add(node_id)
    assert len(seen) == 1000
    assert max(map(len, seen)) <= LONGEST_ID


def test_a_long_id_is_found_by_the_name_it_was_built_with() -> None:
    graph = GraphBuilder("p" * 200 + ".")
    node = graph.node("A", "1")
    assert graph.lookup_node("1") is node
    assert list(graph.finalize()) == [node.id]


def test_a_prefix_for_a_whole_graph_moves_the_links_into_it() -> None:
    graph = {"1": {"class_type": "A", "inputs": {}},
             "2": {"class_type": "B", "inputs": {"in": ["1", 0], "out": ["elsewhere", 0], "x": 3}}}
    moved, outputs = add_graph_prefix(graph, (["2", 0], ["elsewhere", 1], 5), "p.")
    assert moved == {"p.1": {"class_type": "A", "inputs": {}},
                     "p.2": {"class_type": "B", "inputs": {"in": ["p.1", 0], "out": ["elsewhere", 0], "x": 3}}}
    assert outputs == (["p.2", 0], ["elsewhere", 1], 5)
    assert graph["2"]["inputs"]["in"] == ["1", 0], "the graph itself is left alone"  # type: ignore[index]
