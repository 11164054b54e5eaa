from typing import Any

import pytest
from hypothesis import given

from execution.identifiers import NodeId
from execution.prompt_graph import (
    GraphNode,
    Link,
    is_link,
    order_by_sources,
    parse_expansion,
    parse_links,
    remaining_paths,
)
from tests.support.random_graphs import prompts


def graph(**sources: str) -> dict[NodeId, GraphNode]:
    """A graph by the sources of each node: `graph(a="", b="a a", c="a b")`."""
    made = {}
    for node_id, names in sources.items():
        inputs: dict[str, Any] = {f"in{index}": [source, 0] for index, source in enumerate(names.split())}
        made[NodeId(node_id)] = GraphNode(NodeId(node_id), "Any", inputs, parse_links(inputs))
    return made


def ids(*names: str) -> list[NodeId]:
    return [NodeId(name) for name in names]


def test_sources_come_before_those_that_need_them() -> None:
    nodes = graph(d="b c", b="a", c="a", a="", unneeded="d")
    ordering = order_by_sources(nodes, ids("d"))
    assert ordering.order == ["a", "b", "c", "d"]
    assert ordering.cycles == []


@given(prompts(max_nodes=12))
def test_every_node_has_its_place_after_its_sources(prompt: dict[str, Any]) -> None:
    nodes = {NodeId(node_id): GraphNode(NodeId(node_id), "Any", entry["inputs"], parse_links(entry["inputs"]))
             for node_id, entry in prompt.items()}
    order, cycles = order_by_sources(nodes, list(reversed(nodes)))
    assert not cycles
    assert sorted(order) == sorted(nodes)
    for node_id in order:
        for link in nodes[node_id].links.values():
            assert order.index(link.source) < order.index(node_id)


def test_a_link_to_nowhere_and_a_root_that_does_not_exist_are_passed_over() -> None:
    assert order_by_sources(graph(a="ghost"), ids("a", "phantom")).order == ["a"]


@pytest.mark.parametrize(("nodes", "cycle"), [
    (graph(a="a"), {"a"}),
    (graph(a="b", b="a"), {"a", "b"}),
    (graph(out="c", a="c", b="a", c="b"), {"a", "b", "c"}),
])
def test_a_cycle_is_reported_once_with_just_its_nodes(nodes: dict[NodeId, GraphNode], cycle: set[str]) -> None:
    ordering = order_by_sources(nodes, list(nodes))
    assert [set(one) for one in ordering.cycles] == [cycle]
    assert sorted(ordering.order) == sorted(nodes)


def test_two_cycles_are_both_reported() -> None:
    ordering = order_by_sources(graph(out="a c", a="b", b="a", c="d", d="c"), ids("out"))
    assert sorted(sorted(one) for one in ordering.cycles) == [["a", "b"], ["c", "d"]]


def line(length: int) -> dict[NodeId, GraphNode]:
    return graph(**{f"n{index}": f"n{index - 1}" if index else "" for index in range(length)})


def test_a_line_of_50_000_nodes_needs_no_recursion() -> None:
    nodes = line(50_000)
    order, cycles = order_by_sources(nodes, ids("n49999"))
    assert (order[0], order[-1], len(order), cycles) == ("n0", "n49999", 50_000, [])
    assert remaining_paths(nodes, order)[NodeId("n0")] == 50_000


def test_a_cycle_through_50_000_nodes_is_found() -> None:
    nodes = line(50_000)
    nodes[NodeId("n0")] = graph(n0="n49999")[NodeId("n0")]
    assert len(order_by_sources(nodes, ids("n49999")).cycles[0]) == 50_000


def test_the_longest_way_to_an_end_counts() -> None:
    nodes = graph(a="", b="a", c="b", d="a c", alone="")
    order = order_by_sources(nodes, list(nodes)).order
    assert remaining_paths(nodes, order) == {"a": 4, "b": 3, "c": 2, "d": 1, "alone": 1}


@pytest.mark.parametrize("value", [["1", 0], ["1", 2.0], ["1", -1]])
def test_what_is_a_link(value: object) -> None:
    assert is_link(value)
    assert list(parse_links({"a": value})) == ["a"]


@pytest.mark.parametrize("value", [["1"], ["1", 0, 0], [1, 0], ["1", "0"], ["1", True], ("1", 0), "1", None, []])
def test_what_only_looks_like_a_link(value: object) -> None:
    assert not is_link(value)
    assert not parse_links({"a": value})


def test_links_are_parsed_in_the_order_of_the_inputs() -> None:
    links = parse_links({"a": 1, "b": ["x", 2], "c": ["y", 1.0]})
    assert list(links.values()) == [Link("b", NodeId("x"), 2), Link("c", NodeId("y"), 1)]


def test_an_expansion_is_parsed_with_all_that_its_nodes_say() -> None:
    first, second = parse_expansion({
        "1": {"class_type": "A", "inputs": {"x": ["2", 0], "y": 3}, "is_changed": 5, "override_display_id": 7},
        "2": {"class_type": "B"}})
    assert (first.node_id, first.class_type, first.inputs) == ("1", "A", {"x": ["2", 0], "y": 3})
    assert list(first.links) == ["x"]
    assert (first.given_fingerprint, first.override_display_id) == (5, "7")
    assert (second.inputs, second.override_display_id) == ({}, None)


@pytest.mark.parametrize("entry", ["a text", {}, {"class_type": 3}, None])
def test_an_expansion_with_a_node_that_is_none_is_refused(entry: Any) -> None:
    with pytest.raises(TypeError, match="node '1'"):
        parse_expansion({"1": entry})
