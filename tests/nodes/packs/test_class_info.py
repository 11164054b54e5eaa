"""What `/object_info` shows of a class is made again when, and only when, the class answers something else."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.packs.class_nodes import define_class_node


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth of several values is ambiguous")

    __hash__ = None  # type: ignore[assignment]


def node_class(types: Any) -> Any:
    class Node:
        RETURN_TYPES: Any = ("INT",)
        FUNCTION = "run"
        asked = 0

        @classmethod
        def INPUT_TYPES(cls) -> Any:
            cls.asked += 1
            return types() if callable(types) else types

        def run(self) -> None: ...

    return Node


def test_the_same_answer_is_the_same_object_though_the_class_is_asked() -> None:
    one = node_class(lambda: {"required": {"a": (["x", "y"], {})}})
    info = define_class_node("Node", one, "tests").info
    first = info()
    assert info() is first
    assert one.asked == 2


def test_choices_that_change_in_place_are_seen() -> None:
    choices = ["x"]
    info = define_class_node("Node", node_class({"required": {"a": (choices, {})}}), "tests").info
    first = info()
    choices.append("y")
    assert first["input"]["required"]["a"][0] == ["x"]
    assert info()["input"]["required"]["a"][0] == ["x", "y"]


def test_outputs_that_change_are_seen() -> None:
    one = node_class({"required": {}})
    info = define_class_node("Node", one, "tests").info
    assert info()["output"] == ["INT"]
    one.RETURN_TYPES = ("FLOAT", "INT")
    assert info()["output"] == ["FLOAT", "INT"]


def test_what_does_not_compare_is_made_again() -> None:
    info = define_class_node("Node", node_class(lambda: {"required": {"a": ("X", {"default": Incomparable()})}}),
                             "tests").info
    assert info()["input_order"] == info()["input_order"] == {"required": ["a"]}


def test_a_class_that_raises_once_is_asked_again() -> None:
    answers: list[Any] = [{"required": {}}, OSError("gone"), {"required": {"b": ("INT",)}}]

    def answer() -> Any:
        said = answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    info = define_class_node("Node", node_class(answer), "tests").info
    assert info()["input"] == {"required": {}}
    with pytest.raises(OSError, match="gone"):
        info()
    assert info()["input"] == {"required": {"b": ("INT",)}}


@pytest.mark.parametrize(("declared", "shown", "is_root"), [
    (True, True, True), (1, True, False), (False, False, False), ("yes", False, False)])
def test_what_equals_true_is_shown_as_an_output_node_but_only_true_itself_makes_a_root(
        declared: Any, shown: bool, is_root: bool) -> None:
    one = node_class({})
    one.OUTPUT_NODE = declared
    definition = define_class_node("Node", one, "tests")
    assert definition.info()["output_node"] is shown
    assert definition.is_output is is_root
