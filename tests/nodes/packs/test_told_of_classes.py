"""What `/object_info` shows because of the attributes of a class, and what it does not show without them."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.packs.class_nodes import define_class_node

ALWAYS = {"input", "input_order", "is_input_list", "output", "output_is_list", "output_name", "name", "display_name",
          "description", "python_module", "category", "output_node", "has_intermediate_output", "search_aliases"}


def told(**attributes: Any) -> dict[str, Any]:
    declared = {"RETURN_TYPES": ("IMAGE", "INT"), "FUNCTION": "run", "INPUT_TYPES": classmethod(lambda cls: {}),
                "run": lambda self: ()}
    return dict(define_class_node("Mine", type("Mine", (), {**declared, **attributes}), "custom_nodes.a").info())


def test_without_attributes_these_are_told() -> None:
    said = told()
    assert set(said) == ALWAYS
    assert (said["name"], said["display_name"], said["category"], said["description"]) == ("Mine", "Mine", "sd", "")
    assert (said["output_name"], said["output_is_list"]) == (["IMAGE", "INT"], [False, False])
    assert (said["is_input_list"], said["has_intermediate_output"], said["output_node"]) == (False, False, False)
    assert (said["search_aliases"], said["python_module"], said["input"]) == ([], "custom_nodes.a", {})


@pytest.mark.parametrize(("attributes", "shown"), [
    ({"INPUT_IS_LIST": (True,)}, {"is_input_list": True}),
    ({"HAS_INTERMEDIATE_OUTPUT": True}, {"has_intermediate_output": True}),
    ({"SEARCH_ALIASES": ["x", "y"]}, {"search_aliases": ["x", "y"]}),
    ({"DEV_ONLY": True}, {"dev_only": True}),
    ({"ESSENTIALS_CATEGORY": "basics"}, {"essentials_category": "basics"}),
    ({"ESSENTIALS_CATEGORY": None}, {"essentials_category": None}),
    ({"DEPRECATED": True}, {"deprecated": True}),
    ({"EXPERIMENTAL": True}, {"experimental": True}),
    ({"API_NODE": False}, {"api_node": False}),
    ({"API_NODE": True}, {"api_node": True}),
    ({"OUTPUT_TOOLTIPS": ("a", "b")}, {"output_tooltips": ["a", "b"]}),
    ({"OUTPUT_IS_LIST": (True, False)}, {"output_is_list": [True, False]}),
    ({"RETURN_NAMES": ("picture", "count")}, {"output_name": ["picture", "count"]}),
    ({"DESCRIPTION": "why"}, {"description": "why"}),
    ({"CATEGORY": "a/b"}, {"category": "a/b"}),
    ({"OUTPUT_NODE": True}, {"output_node": True}),
])
def test_an_attribute_is_told(attributes: dict[str, Any], shown: dict[str, Any]) -> None:
    said = told(**attributes)
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()
            if key in shown} == shown
    assert set(said) == ALWAYS | set(shown)


@pytest.mark.parametrize("name", ["DEV_ONLY", "DEPRECATED", "EXPERIMENTAL"])
def test_what_is_only_told_when_it_is_so(name: str) -> None:
    assert set(told(**{name: False})) == ALWAYS
