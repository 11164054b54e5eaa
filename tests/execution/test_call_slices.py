"""Lists in and lists out. Numbers in comments are rows of the traps that node authors know."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from execution import ExecutionBlocker, NodeDefinition, NodeResult
from execution.call_slices import Joined, Slice, join_results, slices_of
from execution.errors import DuplicateNodeError
from execution.identifiers import NodeId
from execution.prompt_graph import Link
from tests.support.node_definitions import define

SILENT = ExecutionBlocker(None)


def arguments_of(inputs: Mapping[str, Sequence[Any]], hidden: Mapping[str, Any] | None = None,
                 input_is_list: bool = False) -> list[dict[str, Any]]:
    return [one.arguments for one in slices_of(inputs, hidden or {}, input_is_list)]


def node(outputs: int = 1, output_is_list: Sequence[bool] = ()) -> NodeDefinition:
    return define("Any", lambda: None, outputs=("*",) * outputs, output_is_list=output_is_list)


def joined(*results: NodeResult | None, definition: NodeDefinition | None = None,
           blockers: Sequence[ExecutionBlocker | None] | None = None) -> Joined:
    """Join results; None stands for an index that was blocked."""
    slices = [Slice({}, index, SILENT if result is None else None) for index, result in enumerate(results)]
    for one, blocker in zip(slices, blockers or (), strict=False):
        one.blocker = blocker
    return join_results(definition or node(), slices, results)


def outputs_of(*results: NodeResult | None, definition: NodeDefinition | None = None) -> tuple[list[Any], ...]:
    return tuple(list(values) for values in joined(*results, definition=definition).record.outputs)


def returns(*outputs: Any) -> NodeResult:
    return NodeResult(outputs=outputs)


def test_a_node_is_called_for_each_index_and_short_lists_repeat_their_last() -> None:  # 1
    assert arguments_of({"a": [1, 2, 3], "b": ["a", "b"]}) == [
        {"a": 1, "b": "a"}, {"a": 2, "b": "b"}, {"a": 3, "b": "b"}]
    assert [one.index for one in slices_of({"a": [1, 2]}, {}, False)] == [0, 1]


def test_hidden_values_count_as_lists_of_one() -> None:
    assert arguments_of({"a": [1, 2]}, {"id": "7"}) == [{"a": 1, "id": "7"}, {"a": 2, "id": "7"}]
    assert arguments_of({}, {"id": "7"}) == [{"id": "7"}]


@pytest.mark.parametrize(("inputs", "hidden"), [
    ({"a": []}, {"id": "7"}), ({"a": [], "b": [1]}, {}), ({"a": [1, 2], "b": []}, {}),
])
def test_an_empty_list_beside_anything_else_fails(inputs: Any, hidden: Any) -> None:  # 2
    with pytest.raises(IndexError, match="list index out of range"):
        slices_of(inputs, hidden, False)


@pytest.mark.parametrize("inputs", [{"a": []}, {"a": [], "b": []}, {}])
def test_with_nothing_to_go_by_it_is_called_once_without_arguments(inputs: Any) -> None:  # 3
    (only,) = slices_of(inputs, {}, False)
    assert (only.arguments, only.index, only.blocker) == ({}, None, None)


def test_a_node_that_takes_lists_is_called_once_with_all_of_them() -> None:  # 4
    assert arguments_of({"a": [], "b": (1, 2)}, {"id": "7"}, True) == [{"a": [], "b": [1, 2], "id": ["7"]}]
    assert slices_of({"a": []}, {}, True)[0].index == 0


def test_a_list_that_a_node_takes_is_its_own_to_change() -> None:
    values = [1, 2]
    arguments_of({"a": values}, None, True)[0]["a"].append(3)
    assert values == [1, 2]


def test_only_blocked_indices_are_left_out() -> None:  # 5
    slices = slices_of({"a": [1, SILENT, 3]}, {}, False)
    assert [one.blocker for one in slices] == [None, SILENT, None]
    assert [one.index for one in slices] == [0, 1, 2]


def test_any_blocker_blocks_a_node_that_takes_lists() -> None:  # 6
    (only,) = slices_of({"a": [1, SILENT, 3], "b": [2]}, {}, True)
    assert only.blocker is SILENT


def test_the_first_blocker_of_an_index_speaks() -> None:
    first, second = ExecutionBlocker("first"), ExecutionBlocker("second")
    (only,) = slices_of({"a": [first], "b": [second]}, {}, False)
    assert only.blocker is first


def test_an_output_that_was_not_given_reads_as_none() -> None:  # 7
    record = joined(returns(1), definition=node(2)).record
    assert list(record.values(0)) == [1]
    assert list(record.values(1)) == [None]


def test_missing_outputs_keep_the_places_of_other_indices() -> None:
    assert outputs_of(returns(1, "a"), returns(2), returns(3, "c"), definition=node(2)) == (
        [1, 2, 3], ["a", None, "c"])


def test_results_of_indices_are_joined_in_their_order() -> None:
    assert outputs_of(returns(1, "a"), returns(2, "b"), definition=node(2)) == ([1, 2], ["a", "b"])


def test_a_string_in_ui_is_a_list_of_its_characters() -> None:  # 9
    assert joined(NodeResult(outputs=(), ui={"text": "abc"})).record.ui == {"text": ["a", "b", "c"]}


def test_ui_of_indices_is_joined_key_by_key() -> None:
    both = joined(NodeResult(outputs=(), ui={"x": [1]}), NodeResult(outputs=(), ui={"x": [2, 3], "more": [4]}))
    assert both.record.ui == {"x": [1, 2, 3]}


def test_ui_whose_keys_differ_fails() -> None:  # 10
    with pytest.raises(KeyError, match="x"):
        joined(NodeResult(outputs=(), ui={"x": [1]}), NodeResult(outputs=(), ui={"y": [2]}))


@pytest.mark.parametrize("ui", [{"x": [{1, 2}]}, {"x": [object()]}, {"x": [b"bytes"]}, {"x": 5}])
def test_ui_that_cannot_be_sent_fails_the_node(ui: Any) -> None:  # 11
    with pytest.raises(TypeError):
        joined(NodeResult(outputs=(), ui=ui))


def test_nan_may_be_shown() -> None:
    shown = joined(NodeResult(outputs=(), ui={"x": [math.nan]})).record.ui
    assert shown is not None
    assert math.isnan(shown["x"][0])


def test_empty_ui_is_none() -> None:
    assert joined(NodeResult(outputs=(), ui={})).record.ui is None


def test_a_list_output_is_only_iterated() -> None:  # 12
    torch = pytest.importorskip("torch")
    rows = outputs_of(returns(torch.tensor([[1], [2]])), definition=node(1, (True,)))[0]
    assert [tuple(row.shape) for row in rows] == [(1,), (1,)]
    assert outputs_of(returns("ab"), definition=node(1, (True,))) == (["a", "b"],)
    with pytest.raises(TypeError, match="iterable"):
        outputs_of(returns(5), definition=node(1, (True,)))


def test_list_outputs_of_several_indices_are_flat() -> None:  # 13
    assert outputs_of(returns([1, 10]), returns([2, 20]), definition=node(1, (True,))) == ([1, 10, 2, 20],)
    assert outputs_of(returns([]), returns([2]), definition=node(1, (True,))) == ([2],)


def test_outputs_beyond_a_short_output_is_list_are_cut() -> None:
    assert outputs_of(returns([1], [2]), definition=node(2, (True,))) == ([1],)


def test_a_blocker_in_a_list_output_is_one_item() -> None:
    assert outputs_of(returns(SILENT), returns([2]), definition=node(1, (True,))) == ([SILENT, 2],)


def test_a_node_that_blocks_itself_blocks_every_output() -> None:
    blocker = ExecutionBlocker("why")
    result = joined(NodeResult(blocker=blocker), definition=node(2))
    assert result.record.outputs == ([blocker], [blocker])
    assert result.blocked == [], "it tells its consumers, not the client"


def test_a_blocked_index_gives_silent_blockers_and_tells_its_message() -> None:
    result = joined(None, returns(2), None, blockers=[ExecutionBlocker("why"), None, SILENT])
    first, second, third = result.record.outputs[0]
    assert (first.message, second, third.message) == (None, 2, None)
    assert result.blocked == ["why"]


def test_a_wholly_blocked_call_blocks_as_many_outputs_as_are_declared() -> None:
    assert [len(values) for values in joined(None, definition=node(3)).record.outputs] == [1, 1, 1]


EXPANSION = {"x": {"class_type": "A", "inputs": {}}}


def test_an_expansion_has_its_links_in_place_of_outputs() -> None:
    result = joined(NodeResult(outputs=(["x", 1], "constant", ["x", 0, 0]), expansion=EXPANSION), definition=node(3))
    assert result.expansion == EXPANSION
    assert result.pieces == [[Link("", NodeId("x"), 1)], [("constant",)], [(["x", 0, 0],)]]


def test_only_indices_that_expand_have_links() -> None:
    result = joined(returns(["x", 1]), NodeResult(outputs=(["x", 1],), expansion=EXPANSION))
    assert result.pieces == [[(["x", 1],), Link("", NodeId("x"), 1)]]


def test_an_expansion_without_nodes_gives_its_constants() -> None:
    result = joined(NodeResult(outputs=(7,), expansion={}))
    assert (result.expansion, result.pieces) == ({}, [[(7,)]])


def test_expansions_of_several_indices_are_joined_unless_ids_repeat() -> None:  # 51
    other = {"y": {"class_type": "B", "inputs": {}}}
    result = joined(NodeResult(outputs=(1,), expansion=EXPANSION), NodeResult(outputs=(2,), expansion=other))
    assert result.expansion == {**EXPANSION, **other}
    with pytest.raises(DuplicateNodeError, match="duplicate node x"):
        joined(NodeResult(outputs=(1,), expansion=EXPANSION), NodeResult(outputs=(2,), expansion=EXPANSION))


def test_ui_of_an_expanding_node_is_kept() -> None:
    result = joined(NodeResult(outputs=(1,), expansion=EXPANSION, ui={"x": [1]}))
    assert result.record.ui == {"x": [1]}


def test_outputs_are_measured_where_the_node_ran() -> None:
    assert joined(returns(b"12345")).record.size.own_bytes >= 5
