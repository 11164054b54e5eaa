"""Classes whose inputs depend on what a node is given, as validation sees them; no generation of nodes is needed."""

from collections.abc import Mapping
from typing import Any

from execution import NodeInterface, PromptRejected
from execution.validation import check_graph, conclude, read_graph
from tests.support.node_definitions import define, node, registry_of, spec_of


def describe() -> NodeInterface:
    """`count` says how many of `row.0`, `row.1` … there are; each is a whole number."""
    def for_given(inputs: Mapping[str, Any]) -> NodeInterface:
        count = inputs.get("count", 0)
        rows = {f"row.{index}": ("INT", {"max": 9}) for index in range(count if isinstance(count, int) else 0)}
        misfits = [name for name in inputs if name.startswith("row.") and not name[4:].isdigit()]
        return NodeInterface({"count": ("INT", {}), **rows}, {}, spec_of, has_groups=True, misfits=misfits)

    return NodeInterface({}, {"count": ("INT", {})}, spec_of, for_given=for_given, has_groups=True)


def nothing(**inputs: Any) -> None:
    return None


REGISTRY = registry_of([define("Rows", nothing, describe=describe, is_output=True)])


def reports(prompt: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(type, details, input) of what is wrong with the node `1`."""
    read = read_graph(prompt, REGISTRY)
    interfaces = {name: definition.describe() for name, definition in read.definitions.items()}
    checked = check_graph(read, interfaces, {}, None, lambda needs: None)
    try:
        errors = conclude(checked).node_errors
    except PromptRejected as rejected:
        errors = rejected.node_errors
    found = errors.get("1", {"errors": []})["errors"]
    return [(one["type"], one["details"], one["extra_info"].get("input_name", "")) for one in found]


def test_what_a_node_is_given_decides_what_else_it_needs() -> None:
    assert reports({"1": node("Rows", count=0)}) == []
    assert reports({"1": node("Rows", count=2, **{"row.0": 1})}) == [("required_input_missing", "1", "row.1")]


def test_nodes_of_one_class_are_checked_each_by_its_own_inputs() -> None:
    prompt = {"1": node("Rows", count=1, **{"row.0": 10}), "2": node("Rows", count=0, **{"row.0": 10})}
    assert reports(prompt) == [("value_bigger_than_max", "row.0", "row.0")]


def test_constants_are_converted_by_what_they_turn_out_to_be() -> None:
    prompt = {"1": node("Rows", count=1, **{"row.0": "7", "row.1": "7"})}
    assert reports(prompt) == []
    assert prompt["1"]["inputs"] == {"count": 1, "row.0": 7, "row.1": "7"}


def test_names_that_fit_nowhere_are_told_of() -> None:
    assert reports({"1": node("Rows", count=0, **{"row.x": 1})}) == [("invalid_dynamic_input", "row.x", "row.x")]
