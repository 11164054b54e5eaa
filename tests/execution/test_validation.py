"""Every problem that a prompt can have, one by one, and how they are told together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from execution import EveryType, ExecutionBlocker, NodeDefinition, PromptRejected
from execution.node_interface import NodeInterface
from execution.resource_pools import ResourcePools
from execution.validation import (
    MOST_REPORTED_ERRORS,
    MOST_REPORTED_NODES,
    CheckedGraph,
    Verdict,
    add_answer,
    check_graph,
    conclude,
    read_graph,
    types_fit,
)
from tests.support.node_definitions import define, node, registry_of


class AnyType(str):
    """A type as packs write it: never different from anything."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __ne__(self, other: object) -> bool:
        return False


def nothing() -> None: ...


COLORS = ("WHITE", "BLACK", "NOISE")


def classes() -> list[NodeDefinition]:
    def out(class_type: str, declared: Any, **more: Any) -> NodeDefinition:
        return define(class_type, nothing, required={"x": declared}, optional={}, is_output=True, **more)

    return [
        define("Int", nothing, outputs=("INT",), optional={}),
        define("Pair", nothing, outputs=("IMAGE", "INT"), optional={}),
        define("Choice", nothing, outputs=(["a", "b"],), optional={}),
        define("Wild", nothing, outputs=(AnyType("ANY"),), optional={}),
        define("Star", nothing, outputs=("*",), optional={}),
        define("Match", nothing, outputs=(EveryType("MATCHED"),), optional={}),
        define("Pass", nothing, required={"x": ("*",)}, optional={}, outputs=("IMAGE",)),
        define("Mix", nothing, required={"a": ("*",)}, optional={"b": ("*",)}),
        out("ShowImage", ("IMAGE", {"tooltip": "t"})),
        out("ShowInt", ("INT", {"min": 1, "max": 10})),
        out("ShowFloat", ("FLOAT", {"min": 0.0, "max": 1.0})),
        out("ShowText", ("STRING",)),
        out("ShowFlag", ("BOOLEAN",)),
        out("ShowColor", (COLORS,)),
        out("ShowMany", (tuple(str(number) for number in range(30)),)),
        out("ShowSome", (("a", "b"), {"multiple": True})),
        out("ShowCombo", ("COMBO",)),
        out("ShowEither", ("MASK,IMAGE",)),
        out("ShowAny", ("*",)),
        out("ShowGreedy", ("GIANT",), needs={"gpu": 5}),
        define("ShowTwo", nothing, required={"a": ("INT", {"max": 5}), "b": ("IMAGE",)}, optional={"c": (COLORS,)},
               is_output=True),
    ]


def checked(prompt: Any, more: Sequence[NodeDefinition] = (), targets: Sequence[str] | None = None,
            broken: Mapping[str, BaseException] | None = None) -> CheckedGraph:
    read = read_graph(prompt, registry_of([*classes(), *more]))
    interfaces: dict[str, NodeInterface] = {
        name: definition.describe() for name, definition in read.definitions.items() if name not in (broken or {})}
    return check_graph(read, interfaces, broken or {}, targets, ResourcePools({"gpu": 1}).impossible)


def verdict_on(prompt: Any, more: Sequence[NodeDefinition] = (), answers: Sequence[Any] = (),
               **options: Any) -> Verdict:
    graph = checked(prompt, more, **options)
    for call, answer in zip(graph.validators, answers, strict=True):
        add_answer(graph, call, answer)
    return conclude(graph)


def rejection_of(prompt: Any, more: Sequence[NodeDefinition] = (), answers: Sequence[Any] = (),
                 **options: Any) -> PromptRejected:
    with pytest.raises(PromptRejected) as caught:
        verdict_on(prompt, more, answers, **options)
    return caught.value


def only_error(prompt: Any, node_id: str = "1", **options: Any) -> dict[str, Any]:
    """The one error of a prompt, which must be of this node."""
    node_errors = rejection_of(prompt, **options).node_errors
    assert list(node_errors) == [node_id]
    (error,) = node_errors[node_id]["errors"]
    assert isinstance(error, dict)
    return error


# -- the prompt as a whole ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prompt", "kind", "message", "details"), [
    (None, "no_prompt", "No prompt provided", "No prompt provided"),
    ({}, "prompt_no_outputs", "Prompt has no outputs", ""),
    ([], "prompt_no_outputs", "Prompt has no outputs", ""),
    ({"1": node("Int")}, "prompt_no_outputs", "Prompt has no outputs", ""),
])
def test_prompts_with_nothing_to_do(prompt: Any, kind: str, message: str, details: str) -> None:
    rejected = rejection_of(prompt)
    assert rejected.error == {"type": kind, "message": message, "details": details, "extra_info": {}}
    assert rejected.node_errors == {}


@pytest.mark.parametrize("prompt", ["text", 5, [1], True, 2.5])
def test_what_is_no_graph_at_all(prompt: Any) -> None:
    assert rejection_of(prompt).error["type"] == "invalid_prompt"


@pytest.mark.parametrize(("targets", "outputs"), [
    (None, ["1", "2"]), (["2"], ["2"]), (["2", "1"], ["1", "2"]), (["1", "unheard of", "3"], ["1"])])
def test_targets_limit_the_outputs(targets: list[str] | None, outputs: list[str]) -> None:
    prompt = {"1": node("ShowInt", x=1), "2": node("ShowInt", x=2), "3": node("Int")}
    assert verdict_on(prompt, targets=targets).outputs == outputs


@pytest.mark.parametrize("targets", [[], ["3"], ["unheard of"]])
def test_targets_that_are_no_outputs_leave_nothing_to_do(targets: list[str]) -> None:
    assert rejection_of({"1": node("ShowInt", x=1), "3": node("Int")}, targets=targets).error["type"] == \
        "prompt_no_outputs"


# -- classes that are missing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("entry", "class_type", "title", "message"), [
    (node("Nope"), "Nope", "Nope", "Node 'Nope' not found. The custom node may not be installed."),
    ({**node("Nope"), "_meta": {"title": "Mine"}}, "Nope", "Mine",
     "Node 'Mine' not found. The custom node may not be installed."),
    ({"inputs": {}}, None, "ID #7", "Node 'ID #7' has no class_type. The workflow may be corrupted or a custom node "
                                    "is missing."),
    ({"class_type": None, "_meta": {"title": "Mine"}}, None, "Mine",
     "Node 'Mine' has no class_type. The workflow may be corrupted or a custom node is missing."),
    ("text", None, "ID #7", "Node 'ID #7' has no class_type. The workflow may be corrupted or a custom node is "
                            "missing."),
])
def test_a_node_whose_class_is_missing(entry: Any, class_type: Any, title: str, message: str) -> None:
    error = rejection_of({"1": node("ShowInt", x=1), "7": entry}).error
    assert (error["type"], error["message"], error["details"]) == ("missing_node_type", message, "Node ID '#7'")
    info = error["extra_info"]
    assert (info["node_id"], info["class_type"], info["node_title"]) == ("7", class_type, title)


def test_all_missing_classes_are_named_at_once() -> None:
    error = rejection_of({"1": node("Nope"), "2": node("Gone"), "3": node("Nope")}).error
    assert "'Nope'" in error["message"]
    assert "'Gone'" in error["message"]
    assert [one["node_id"] for one in error["extra_info"]["missing_nodes"]] == ["1", "2", "3"]
    assert error["extra_info"]["missing_count"] == 3


def test_a_long_list_of_missing_classes_is_cut_and_says_so() -> None:
    error = rejection_of({str(index): node(f"Nope{index}") for index in range(5000)}).error
    assert len(error["extra_info"]["missing_nodes"]) == MOST_REPORTED_NODES
    assert error["extra_info"]["missing_count"] == 5000
    assert len(str(error)) < 40_000


# -- inputs ---------------------------------------------------------------------------------------------------------


def test_a_required_input_that_is_missing() -> None:
    assert only_error({"1": node("ShowImage")}) == {
        "type": "required_input_missing", "message": "Required input is missing", "details": "x",
        "extra_info": {"input_name": "x"}}


@pytest.mark.parametrize("value", [["1", 0, 0], ["1"], [], [1, 2, 3]])
def test_a_list_that_is_no_link(value: list[Any]) -> None:
    assert only_error({"1": node("ShowImage", x=value)}) == {
        "type": "bad_linked_input", "details": "x",
        "message": "Bad linked input, must be a length-2 list of [node_id, slot_index]",
        "extra_info": {"input_name": "x", "input_config": ["IMAGE", {"tooltip": "t"}], "received_value": value}}


def test_a_link_between_types_that_do_not_fit() -> None:
    assert only_error({"1": node("ShowImage", x=["2", 0]), "2": node("Int")}) == {
        "type": "return_type_mismatch", "message": "Return type mismatch between linked nodes",
        "details": "x, received_type(INT) mismatch input_type(IMAGE)",
        "extra_info": {"input_name": "x", "input_config": ["IMAGE", {"tooltip": "t"}], "received_type": "INT",
                       "linked_node": ["2", 0]}}


@pytest.mark.parametrize(("class_type", "value", "details", "exception"), [
    ("ShowInt", "abc", "x, abc, invalid literal for int() with base 10: 'abc'",
     "invalid literal for int() with base 10: 'abc'"),
    ("ShowInt", None, "x, None, int() argument must be a string, a bytes-like object or a real number, not 'NoneType'",
     "int() argument must be a string, a bytes-like object or a real number, not 'NoneType'"),
    ("ShowFloat", "1,5", "x, 1,5, could not convert string to float: '1,5'",
     "could not convert string to float: '1,5'"),
])
def test_a_constant_that_cannot_be_converted(class_type: str, value: Any, details: str, exception: str) -> None:
    error = only_error({"1": node(class_type, x=value)})
    assert (error["type"], error["details"]) == ("invalid_input_type", details)
    assert error["message"] == f"Failed to convert an input value to a {class_type[4:].upper()} value"
    assert error["extra_info"]["received_value"] == value
    assert error["extra_info"]["exception_message"] == exception
    assert error["extra_info"]["input_name"] == "x"


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "1e400", "nan"])
def test_a_number_that_is_none_is_refused_for_an_int(value: Any) -> None:
    assert only_error({"1": node("ShowInt", x=value)})["type"] == "invalid_input_type"


@pytest.mark.parametrize(("class_type", "value", "converted"), [
    ("ShowInt", 7.9, 7), ("ShowInt", "7", 7), ("ShowInt", True, 1), ("ShowFloat", 1, 1.0), ("ShowFloat", "0.5", 0.5),
    ("ShowText", None, "None"), ("ShowText", 5, "5"), ("ShowFlag", "false", True), ("ShowFlag", "", False),
    ("ShowInt", {"__value__": "3"}, 3), ("ShowAny", {"__value__": [1, 2]}, [1, 2]),
])
def test_constants_are_converted_in_place(class_type: str, value: Any, converted: Any) -> None:
    prompt = {"1": node(class_type, x=value)}
    assert verdict_on(prompt).node_errors == {}
    assert prompt["1"]["inputs"]["x"] == converted
    assert type(prompt["1"]["inputs"]["x"]) is type(converted)


@pytest.mark.parametrize(("class_type", "value", "kind", "message"), [
    ("ShowInt", 0, "value_smaller_than_min", "Value 0 smaller than min of 1"),
    ("ShowInt", 11, "value_bigger_than_max", "Value 11 bigger than max of 10"),
    ("ShowFloat", 1.5, "value_bigger_than_max", "Value 1.5 bigger than max of 1.0"),
    ("ShowFloat", -0.5, "value_smaller_than_min", "Value -0.5 smaller than min of 0.0"),
])
def test_a_number_out_of_range(class_type: str, value: float, kind: str, message: str) -> None:
    error = only_error({"1": node(class_type, x=value)})
    assert (error["type"], error["message"], error["details"]) == (kind, message, "x")
    assert error["extra_info"]["received_value"] == value


@pytest.mark.parametrize("value", [1, 10, 5])
def test_the_ends_of_a_range_belong_to_it(value: int) -> None:
    assert verdict_on({"1": node("ShowInt", x=value)}).outputs == ["1"]


def test_the_value_behind_a_link_is_not_compared_with_the_range() -> None:
    assert verdict_on({"1": node("ShowInt", x=["2", 0]), "2": node("Int")}).node_errors == {}


@pytest.mark.parametrize(("class_type", "value", "details"), [
    ("ShowColor", "GREEN", "x: 'GREEN' not in ['WHITE', 'BLACK', 'NOISE']"),
    ("ShowColor", 5, "x: 5 not in ['WHITE', 'BLACK', 'NOISE']"),
    ("ShowMany", "zzz", "x: 'zzz' not in (list of length 30)"),
    ("ShowSome", {"__value__": ["x", "a", "y"]}, "x: 'x', 'y' not in ['a', 'b']"),
    ("ShowSome", "a", "x: 'a' not in ['a', 'b']"),
])
def test_a_value_that_is_none_of_the_choices(class_type: str, value: Any, details: str) -> None:
    error = only_error({"1": node(class_type, x=value)})
    assert (error["type"], error["message"], error["details"]) == ("value_not_in_list", "Value not in list", details)
    assert (error["extra_info"]["input_config"] is None) == (class_type == "ShowMany")


def test_choices_are_accepted() -> None:
    assert verdict_on({"1": node("ShowColor", x="BLACK"), "2": node("ShowMany", x="29"),
                       "3": node("ShowSome", x={"__value__": ["b", "a"]})}).node_errors == {}


def test_undeclared_inputs_are_ignored() -> None:
    assert verdict_on({"1": node("ShowInt", x=1, other="?", link=["2", 0]), "2": node("Int")}).node_errors == {}


def test_a_need_that_can_never_be_met_is_told_in_a_sentence() -> None:
    error = only_error({"1": node("ShowGreedy", x=1)})
    assert error["type"] == "impossible_resources"
    assert "it needs 5 of pool 'gpu', which has 1" in error["details"]


# -- links to what is not there -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "details", "exception"), [
    (["9", 0], "'9'", "KeyError"),
    (["2", 5], "tuple index out of range", "IndexError"),
    (["2", -2], "tuple index out of range", "IndexError"),
    (["2", "0"], "tuple indices must be integers or slices, not str", "TypeError"),
    (["2", 0.5], "tuple indices must be integers or slices, not float", "TypeError"),
    (["2", None], "tuple indices must be integers or slices, not NoneType", "TypeError"),
    ([{}, 0], "{}", "KeyError"),
])
def test_a_broken_link_of_an_output_node(value: Any, details: str, exception: str) -> None:
    error = only_error({"1": node("ShowInt", x=value), "2": node("Int")})
    assert (error["type"], error["message"]) == ("exception_during_validation", "Exception when validating node")
    assert (error["details"], error["extra_info"]["exception_type"]) == (details, exception)
    assert isinstance(error["extra_info"]["traceback"], list)


def test_a_broken_link_further_up_names_the_input_that_led_there() -> None:
    error = only_error({"1": node("ShowImage", x=["2", 0]), "2": node("Pass", x=["9", 0])}, "2")
    assert (error["type"], error["message"]) == ("exception_during_inner_validation",
                                                 "Exception when validating inner node")
    info = error["extra_info"]
    assert (info["input_name"], info["input_config"], info["linked_node"]) == (
        "x", ["IMAGE", {"tooltip": "t"}], ["2", 0])
    assert (info["exception_type"], info["exception_message"]) == ("KeyError", "'9'")


def test_a_negative_slot_counts_from_the_end() -> None:
    assert verdict_on({"1": node("ShowInt", x=["2", -1]), "2": node("Pair")}).node_errors == {}


@pytest.mark.parametrize("entry", [{"class_type": "ShowInt"}, {"class_type": "ShowInt", "inputs": None},
                                   {"class_type": "ShowInt", "inputs": [1]}])
def test_a_node_without_inputs(entry: Any) -> None:
    error = only_error({"1": entry})
    assert (error["type"], error["details"], error["extra_info"]["exception_type"]) == (
        "exception_during_validation", "'inputs'", "KeyError")


@pytest.mark.parametrize("error", [ValueError("no types"), SystemExit("bye")])
def test_a_class_that_cannot_say_what_it_takes(error: BaseException) -> None:
    found = only_error({"1": node("ShowInt", x=1)}, broken={"ShowInt": error})
    assert (found["type"], found["details"]) == ("exception_during_validation", str(error))


def test_an_exception_that_cannot_be_printed_is_told_all_the_same() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    found = only_error({"1": node("ShowInt", x=1)}, broken={"ShowInt": Unprintable()})
    assert found["details"] == "(Unprintable, which cannot be printed)"


# -- cycles and depth -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prompt", "cycle"), [
    ({"show": node("ShowAny", x=["0", 0]), "0": node("Mix", a=["1", 0]), "1": node("Mix", a=["0", 0])}, {"0", "1"}),
    ({"show": node("ShowAny", x=["0", 0]), "0": node("Mix", a=["0", 0])}, {"0"}),
])
def test_each_node_of_a_cycle_is_told(prompt: Any, cycle: set[str]) -> None:
    rejected = rejection_of(prompt)
    assert rejected.error["type"] == "prompt_outputs_failed_validation"
    assert set(rejected.node_errors) == cycle
    for node_id, told in rejected.node_errors.items():
        (error,) = told["errors"]
        assert (error["type"], error["message"]) == ("dependency_cycle", "Dependency cycle detected")
        assert error["extra_info"]["node_id"] == node_id
        assert set(error["extra_info"]["cycle_nodes"]) == cycle
        shown = error["details"].split(" -> ")
        assert len(shown) == len(cycle) + 1
        assert shown[0] == shown[-1]
        assert shown[0].endswith(" (Mix)")


def test_an_output_beside_a_cycle_runs() -> None:
    verdict = verdict_on({"good": node("ShowInt", x=1), "bad": node("ShowAny", x=["0", 0]),
                          "0": node("Mix", a=["0", 0])})
    assert verdict.outputs == ["good"]
    assert verdict.node_errors["0"]["dependent_outputs"] == ["bad"]


def test_a_line_of_20_000_nodes_is_checked_without_recursion() -> None:
    prompt = {"0": node("Star")}
    for index in range(1, 20_000):
        prompt[str(index)] = node("Mix", a=[str(index - 1), 0])
    prompt["end"] = node("ShowAny", x=["19999", 0])
    assert verdict_on(prompt).outputs == ["end"]
    prompt["0"]["inputs"] = None
    assert list(rejection_of(prompt).node_errors) == ["0"]


# -- several problems, several outputs ------------------------------------------------------------------------------


def test_every_problem_of_a_node_is_told() -> None:
    rejected = rejection_of({"1": node("ShowTwo", a=9, c="GREEN")})
    assert {error["type"] for error in rejected.node_errors["1"]["errors"]} == {
        "required_input_missing", "value_bigger_than_max", "value_not_in_list"}
    assert rejected.node_errors["1"]["class_type"] == "ShowTwo"


def test_the_prompt_error_has_the_lines_of_the_outputs_own_errors() -> None:
    rejected = rejection_of({"1": node("ShowImage"), "2": node("ShowInt", x=0)})
    assert rejected.error["details"] == "Required input is missing: x\nValue 0 smaller than min of 1: x"
    assert rejection_of({"1": node("ShowImage", x=["2", 0]), "2": node("Pass")}).error["details"] == ""


def test_a_good_output_runs_though_another_is_bad() -> None:
    verdict = verdict_on({"1": node("ShowInt", x=1), "2": node("ShowImage")})
    assert verdict.outputs == ["1"]
    assert list(verdict.node_errors) == ["2"]


def test_a_bad_node_names_all_outputs_that_need_it_and_they_have_no_entry_of_their_own() -> None:
    rejected = rejection_of({"1": node("ShowImage", x=["3", 0]), "2": node("ShowAny", x=["3", 0]), "3": node("Pass")})
    assert list(rejected.node_errors) == ["3"]
    assert rejected.node_errors["3"]["dependent_outputs"] == ["1", "2"]


def test_nodes_that_no_output_needs_are_not_checked() -> None:
    assert verdict_on({"1": node("ShowInt", x=1), "2": node("Pass")}).node_errors == {}


def test_long_lists_of_errors_are_cut_and_say_so() -> None:
    wide = define("Wide", nothing, required={f"in{index}": ("INT",) for index in range(100)}, optional={},
                  is_output=True)
    rejected = rejection_of({str(index): node("Wide") for index in range(300)}, [wide])
    assert len(rejected.node_errors) == MOST_REPORTED_NODES
    assert rejected.error["extra_info"]["omitted_nodes"] == 200
    for told in rejected.node_errors.values():
        assert (len(told["errors"]), told["omitted_errors"]) == (MOST_REPORTED_ERRORS, 80)


def test_a_long_list_of_dependent_outputs_is_cut_and_says_so() -> None:
    prompt = {f"out{index}": node("ShowImage", x=["bad", 0]) for index in range(150)}
    told = rejection_of({**prompt, "bad": node("Pass")}).node_errors["bad"]
    assert len(told["dependent_outputs"]) == MOST_REPORTED_NODES
    assert told["omitted_outputs"] == 50


def test_a_long_value_comes_back_cut() -> None:
    error = only_error({"1": node("ShowColor", x="G" * 100_000)})
    assert len(str(error)) < 20_000


# -- types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("received", "expected", "fits"), [
    ("INT", "INT", True), ("INT", "FLOAT", False), ("IMAGE", "MASK,IMAGE", True), ("IMAGE,LATENT", "MASK, IMAGE", True),
    ("INT", "MASK,IMAGE", False), ("*", "INT", True), ("INT", "*", True), ("INT", "IMAGE,*", True),
    (EveryType("X"), "INT", True), ("INT", EveryType("X"), True), (EveryType("X,Y"), ["a"], True),
    (["a"], EveryType("X"), True), ("X", "INT", False),
    (AnyType("X"), "INT", True), ("INT", AnyType("X"), True),
    (["a", "b"], "COMBO", True), (["a"], ["a"], True), (["a"], ["b"], False), (["a"], "INT", False),
    ("INT", ["a"], False), ("*", ["a"], True), (["a"], "*", True),
])
def test_which_types_fit(received: Any, expected: Any, fits: bool) -> None:
    assert types_fit(received, expected) is fits


def test_a_type_whose_comparison_fails_fits_nothing() -> None:
    class Odd(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __ne__(self, other: object) -> bool:
            raise RuntimeError("no opinion")

    assert not types_fit(Odd("X"), "X")


@pytest.mark.parametrize(("source", "target"), [
    ("Wild", "ShowImage"), ("Star", "ShowImage"), ("Match", "ShowInt"), ("Choice", "ShowCombo"), ("Int", "ShowAny")])
def test_links_of_types_that_fit_are_accepted(source: str, target: str) -> None:
    assert verdict_on({"1": node(target, x=["2", 0]), "2": node(source)}).node_errors == {}


# -- validators -----------------------------------------------------------------------------------------------------


def validated(validate: Callable[..., Any], **inputs: Any) -> NodeDefinition:
    return define("Judge", nothing, required=inputs or {"n": ("INT", {"max": 5})}, optional={"c": (COLORS,)},
                  is_output=True, validate=validate, outputs=("INT",))


def test_a_validator_gets_the_constants_that_it_names_and_none_for_links() -> None:
    graph = checked({"1": node("Judge", n=3, c=["2", 0]), "2": node("Choice")},
                    [validated(lambda n, c, absent=None: True)])
    (call,) = graph.validators
    assert (call.node_id, call.arguments) == ("1", {"n": 3, "c": None})


def test_inputs_that_a_validator_names_are_not_checked_for_range_but_others_are() -> None:
    judge = validated(lambda n: True)
    assert verdict_on({"1": node("Judge", n=50)}, [judge], [True]).node_errors == {}
    assert only_error({"1": node("Judge", n=50, c="GREEN")}, more=[judge], answers=[True])["type"] == \
        "value_not_in_list"


def test_a_validator_that_takes_everything_replaces_all_checks() -> None:
    judge = validated(lambda **everything: True)
    assert verdict_on({"1": node("Judge", n=50, c="GREEN")}, [judge], [True]).node_errors == {}


def test_constants_are_converted_before_a_validator_sees_them() -> None:
    (call,) = checked({"1": node("Judge", n="7")}, [validated(lambda n: True)]).validators
    assert call.arguments == {"n": 7}


@pytest.mark.parametrize(("answer", "details"), [
    ("Invalid image file: a.png", "n - Invalid image file: a.png"), (False, "n"), (None, "n - None"), (1, "n - 1")])
def test_an_answer_that_is_not_true_refuses(answer: Any, details: str) -> None:
    error = only_error({"1": node("Judge", n=3)}, more=[validated(lambda n: True)], answers=[answer])
    assert error == {"type": "custom_validation_failed", "message": "Custom validation failed for node",
                     "details": details, "extra_info": {"input_name": "n"}}


@pytest.mark.parametrize("answer", [True, ExecutionBlocker(None)])
def test_an_answer_that_accepts(answer: Any) -> None:
    assert verdict_on({"1": node("Judge", n=3)}, [validated(lambda n: True)], [answer]).outputs == ["1"]


def test_a_refusal_is_told_once_for_each_input_that_was_judged() -> None:
    told = rejection_of({"1": node("Judge", n=3, c="BLACK")}, [validated(lambda n, c: True)], ["no"]).node_errors["1"]
    assert [error["details"] for error in told["errors"]] == ["n - no", "c - no"]


@pytest.mark.parametrize(("answer", "details"), [("no", "no"), (False, "")])
def test_a_refusal_without_any_input_is_told_once(answer: Any, details: str) -> None:
    error = only_error({"1": node("Judge", n=3)}, more=[validated(lambda absent=None: True)], answers=[answer])
    assert (error["type"], error["details"], error["extra_info"]) == ("custom_validation_failed", details, {})


def test_a_validator_that_raises_is_told_by_where_its_node_stands() -> None:
    judge = validated(lambda n: True)
    own = only_error({"1": node("Judge", n=3)}, more=[judge], answers=[ValueError("blew up")])
    assert (own["type"], own["details"], own["extra_info"]["exception_type"]) == (
        "exception_during_validation", "blew up", "ValueError")
    inner = define("Inner", nothing, required={"n": ("INT",)}, optional={}, outputs=("INT",), validate=lambda n: True)
    up = only_error({"1": node("ShowInt", x=["2", 0]), "2": node("Inner", n=3)}, "2", more=[inner],
                    answers=[ValueError("blew up")])
    assert (up["type"], up["extra_info"]["linked_node"]) == ("exception_during_inner_validation", ["2", 0])


def test_a_validator_that_asks_for_types_judges_them_itself() -> None:
    judge = validated(lambda input_types: True, n=("IMAGE",))
    graph = checked({"1": node("Judge", n=["2", 0]), "2": node("Int")}, [judge])
    assert graph.errors == {}
    assert graph.validators[0].arguments == {"input_types": {"n": "INT"}}


def test_a_validator_of_a_node_that_takes_lists_gets_lists() -> None:
    judge = define("Judge", nothing, required={"n": ("INT",), "m": ("*",)}, optional={}, is_output=True,
                   validate=lambda n, m, input_types: True, input_is_list=True)
    (call,) = checked({"1": node("Judge", n=3, m=["2", 0]), "2": node("Int")}, [judge]).validators
    assert call.arguments == {"n": [3], "m": (None,), "input_types": [{"m": "INT"}]}


def test_a_node_that_several_outputs_need_is_judged_once() -> None:
    graph = checked({"1": node("ShowInt", x=["3", 0]), "2": node("ShowInt", x=["3", 0]), "3": node("Judge", n=1)},
                    [validated(lambda n: True)])
    assert [call.node_id for call in graph.validators] == ["3"]
