"""What later versions of the protocol changed about validation, as clients see it: one test for each sentence."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.packs.class_nodes import define_class_node
from tests.web.live_server import Live


def add(live: Live, name: str, *, returns: tuple[Any, ...] = ("INT",), checks: Any = None, **inputs: Any) -> None:
    """A class that shows nothing and takes these inputs, all of them optional."""
    def take(self: Any, **given: Any) -> tuple[Any, ...]:
        return tuple(0 for _ in returns)

    body: dict[str, Any] = {
        "INPUT_TYPES": classmethod(lambda cls: {"required": {}, "optional": inputs}), "RETURN_TYPES": returns,
        "FUNCTION": "take", "take": take, "OUTPUT_NODE": True, "CATEGORY": "tests"}
    if checks is not None:
        body["VALIDATE_INPUTS"] = classmethod(checks)
    live.running.studio.registry.add(define_class_node(name, type(name, (), body), "tests"))


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


async def errors(live: Live, graph: Any, node_id: str = "1") -> list[tuple[str, str, Any]]:
    """Type, details and extra_info of what is wrong with a node; nothing if the prompt is accepted."""
    answer = await live.submit(graph)
    if answer.status == 200 and not answer.json()["node_errors"]:
        return []
    return [(one["type"], one["details"], one["extra_info"])
            for one in answer.json()["node_errors"][node_id]["errors"]]


OPTIONS = {"options": ["p", "q"]}


@pytest.mark.parametrize(("declared", "is_checked"), [
    ((["p", "q"], {}), True), (("COMBO", OPTIONS), True), (("COMBO", {**OPTIONS, "remote": {"route": "/x"}}), False),
    (("COMBO", {**OPTIONS, "remote_combo": {"route": "/x"}}), False), (("COMBO", {}), False), (("COMBO",), False),
])
async def test_choices_are_checked_where_they_can_be_known(live: Live, declared: Any, is_checked: bool) -> None:
    add(live, "Takes", c=declared)
    found = [one[:2] for one in await errors(live, {"1": node("Takes", c="z")})]
    assert found == ([("value_not_in_list", "c: 'z' not in ['p', 'q']")] if is_checked else [])
    assert await errors(live, {"1": node("Takes", c="p")}) == []


async def test_each_member_of_a_multiple_choice_is_checked(live: Live) -> None:
    add(live, "Takes", c=("COMBO", {"options": ["a", "b"], "multiselect": True}))
    (error,) = await errors(live, {"1": node("Takes", c={"__value__": ["x", "a", "y"]})})
    assert error[:2] == ("value_not_in_list", "c: 'x', 'y' not in ['a', 'b']")
    assert await errors(live, {"1": node("Takes", c={"__value__": ["b", "a"]})}) == []


async def test_more_than_twenty_choices_are_counted(live: Live) -> None:
    add(live, "Takes", c=("COMBO", {"options": [str(number) for number in range(30)]}))
    (error,) = await errors(live, {"1": node("Takes", c="x")})
    assert error == ("value_not_in_list", "c: 'x' not in (list of length 30)",
                     {"input_name": "c", "input_config": None, "received_value": "x"})


@pytest.mark.parametrize(("given", "taken", "fits"), [
    ("INT", "*", True), ("*", "INT", True), ("INT", "IMAGE,*", True), ("MASK,*", "INT", True),
    ("COMFY_MATCHTYPE_V3", "INT", True), ("INT", "COMFY_MATCHTYPE_V3", True), (["a", "b"], "COMBO", True),
    ("INT", "IMAGE,MASK", False), (["a", "b"], "INT", False),
])
async def test_links_between_types(live: Live, given: Any, taken: Any, fits: bool) -> None:
    add(live, "Gives", returns=(given,))
    add(live, "Takes", x=(taken, {}))
    found = [one[0] for one in await errors(live, {"1": node("Takes", x=["2", 0]), "2": node("Gives")})]
    assert found == ([] if fits else ["return_type_mismatch"])


async def test_each_node_of_a_cycle_is_told_which_way_it_goes(live: Live) -> None:
    add(live, "Mix", x=("*", {}))
    answer = await live.submit({"0": node("Mix", x=["1", 0]), "1": node("Mix", x=["0", 0])})
    said = answer.json()
    assert (answer.status, said["error"]["type"]) == (400, "prompt_outputs_failed_validation")
    assert set(said["node_errors"]) == {"0", "1"}
    for node_id, told in said["node_errors"].items():
        (error,) = told["errors"]
        assert (error["type"], error["message"]) == ("dependency_cycle", "Dependency cycle detected")
        assert error["details"] in ("0 (Mix) -> 1 (Mix) -> 0 (Mix)", "1 (Mix) -> 0 (Mix) -> 1 (Mix)")
        assert error["extra_info"]["node_id"] == node_id
        assert set(error["extra_info"]["cycle_nodes"]) == {"0", "1"}


async def test_two_thousand_links_in_a_row_run(live: Live) -> None:
    graph = {"0": node("Echo", value=1)} | {
        str(index): node("Echo", value=[str(index - 1), 0]) for index in range(1, 2001)}
    prompt_id = (await live.accepted(graph))["prompt_id"]
    assert (await live.finished(prompt_id))["outputs"]["2000"] == {"value": [1]}


@pytest.mark.parametrize("entry", ["text", 5, None, [], ["class_type"], {}])
async def test_a_node_that_is_no_object_or_has_no_class(live: Live, entry: Any) -> None:
    error = (await live.submit({"7": entry})).error
    assert (error["type"], error["details"]) == ("missing_node_type", "Node ID '#7'")
    assert error["message"].startswith("Node 'ID #7' has no class_type.")
    assert error["extra_info"].items() >= {"node_id": "7", "class_type": None, "node_title": "ID #7"}.items()


@pytest.mark.parametrize("prompt", [[], [1], [{"class_type": "Echo", "inputs": {}}]])
async def test_a_list_is_no_prompt(live: Live, prompt: Any) -> None:
    assert (await live.submit(prompt)).error["type"] in ("prompt_no_outputs", "invalid_prompt")


@pytest.mark.parametrize(("answer", "details"), [("not today", "not today"), (False, "")])
async def test_a_validator_that_received_no_input_can_refuse(live: Live, answer: Any, details: str) -> None:
    add(live, "Judges", checks=lambda cls: answer, x=("INT", {}))
    assert await errors(live, {"1": node("Judges", x=1)}) == [("custom_validation_failed", details, {})]


async def test_a_source_that_is_missing_is_a_key_error_still(live: Live) -> None:
    add(live, "Takes", x=("*", {}))
    ((kind, details, info),) = await errors(live, {"1": node("Takes", x=["9", 0])})
    assert (kind, details, info["exception_type"]) == ("exception_during_validation", "'9'", "KeyError")


async def test_targets_that_name_nothing_leave_no_outputs(live: Live) -> None:
    answer = await live.submit({"1": node("Echo", value=1)}, partial_execution_targets=[])
    assert answer.error["type"] == "prompt_no_outputs"
