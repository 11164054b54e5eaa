"""Inputs that stand for several: what is declared for what a node is given, and how the function gets it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution import ExecutionBlocker
from nodes.packs.schema import io_words as io
from nodes.packs.schema_nodes import HIDDEN, define_schema_node
from tests.support.schema_nodes import schema_node

PICTURES = io.Autogrow.Input("pics", io.Autogrow.TemplatePrefix(io.Image.Input("image"), "image", min=1, max=4))
NAMED = io.Autogrow.Input("by", io.Autogrow.TemplateNames(io.Float.Input("part", lazy=True), ["left", "right"], min=0))
MODE = io.DynamicCombo.Input("mode", [
    io.DynamicCombo.Option("fixed", [io.Int.Input("size", min=1), io.String.Input("name", optional=True)]),
    io.DynamicCombo.Option("free", [io.Float.Input("size"), NAMED]), io.DynamicCombo.Option("none", [])])
REFERENCE = io.DynamicSlot.Input(io.Image.Input("ref"), [io.Float.Input("weight", default=1.0)])
ROWS = io._DynamicGroup.Input("rows", [io.String.Input("name"), io.Int.Input("n", optional=True)], min=1, max=3)


def returns_inputs(cls: Any, **inputs: Any) -> Any:
    return io.NodeOutput(inputs)


def declared(inputs: dict[str, Any], *groups: Any) -> tuple[set[str], dict[str, Any], list[str]]:
    """(what has to be there, the type of what is, misfits) of a node with these groups that is given these inputs."""
    definition = define_schema_node("N", schema_node(returns_inputs, inputs=groups), "tests")
    interface = definition.describe().for_given(inputs)
    specs = {name: interface.spec(name) for name in inputs}
    return (set(interface.required_names), {name: str(spec.type) for name, spec in specs.items() if spec is not None},
            list(interface.misfits))


def handed_over(flat: dict[str, Any], *groups: Any, **schema: Any) -> dict[str, Any]:
    """What the function of a node with these groups gets."""
    definition = define_schema_node("N", schema_node(returns_inputs, inputs=groups, **schema), "tests")
    definition.describe()
    result = definition.read_result(definition.function(definition.create())(**flat))
    assert result.outputs is not None
    return result.outputs[0]


@pytest.mark.parametrize(("inputs", "required", "types"), [
    ({}, {"pics.image0"}, {}),
    ({"pics.image0": 1, "pics.image3": 1}, {"pics.image0"}, {"pics.image0": "IMAGE", "pics.image3": "IMAGE"}),
    ({"pics.image4": 1, "pics": 2, "pics.": 3, "pics.image01": 4}, {"pics.image0"}, {})])
def test_as_many_inputs_as_there_are(inputs: dict[str, Any], required: set[str], types: dict[str, str]) -> None:
    assert declared(inputs, PICTURES) == (required, types, [])


@pytest.mark.parametrize(("inputs", "required", "types"), [
    ({}, {"mode"}, {}),
    ({"mode": "fixed"}, {"mode", "mode.size"}, {"mode": "COMFY_DYNAMICCOMBO_V3"}),
    ({"mode": "free", "mode.size": 1, "mode.name": "x", "mode.by.left": 2}, {"mode", "mode.size"},
     {"mode": "COMFY_DYNAMICCOMBO_V3", "mode.size": "FLOAT", "mode.by.left": "FLOAT"}),
    ({"mode": "none", "mode.size": 1}, {"mode"}, {"mode": "COMFY_DYNAMICCOMBO_V3"}),
    ({"mode": {}, "mode.size": 1}, {"mode"}, {"mode": "COMFY_DYNAMICCOMBO_V3"})])
def test_the_inputs_of_the_chosen_option(inputs: dict[str, Any], required: set[str], types: dict[str, str]) -> None:
    assert declared(inputs, MODE) == (required, types, [])


def test_a_socket_that_brings_inputs_when_it_is_linked() -> None:
    assert declared({"ref.weight": 1}, REFERENCE) == (set(), {}, [])
    assert declared({"ref": ["1", 0]}, REFERENCE) == ({"ref.weight"}, {"ref": "IMAGE"}, [])


@pytest.mark.parametrize(("inputs", "required", "misfits"), [
    ({}, set(), ["rows"]),
    ({"rows.0.name": "a"}, {"rows.0.name"}, []),
    ({"rows.2.n": 1}, {"rows.2.name"}, []),
    ({"rows.00.name": "a", "rows.3.name": "a", "rows.0.other": 1, "rows.x.name": 1, "rows.0": 1, "rows.².name": 1},
     set(), ["rows.00.name", "rows.3.name", "rows.0.other", "rows.x.name", "rows.0", "rows.².name", "rows"])])
def test_rows_are_strict_about_their_names(inputs: dict[str, Any], required: set[str], misfits: list[str]) -> None:
    found = declared(inputs, ROWS)
    assert (found[0], found[2]) == (required, misfits)


@pytest.mark.parametrize(("groups", "flat", "nested"), [
    ([PICTURES], {}, {"pics": {}}),
    ([PICTURES], {"pics.image2": 5, "pics.image9": 6, "pics": 7}, {"pics": {"image2": 5}}),
    ([MODE], {}, {}),
    ([MODE], {"mode": "fixed", "mode.size": 64}, {"mode": {"mode": "fixed", "size": 64}}),
    ([MODE], {"mode": "free", "mode.size": 1, "mode.name": "not of it", "mode.by.left": 2},
     {"mode": {"mode": "free", "size": 1, "by": {"left": 2}}}),
    ([MODE], {"mode": "none", "mode.size": 1}, {"mode": {"mode": "none"}}),
    ([REFERENCE], {"ref.weight": 1}, {}),
    ([REFERENCE], {"ref": 3, "ref.weight": 1}, {"ref": {"ref": 3, "weight": 1}}),
    ([ROWS], {}, {"rows": []}),
    ([ROWS], {"rows.0.name": "a", "rows.2.n": 3},
     {"rows": [{"name": "a", "n": None}, {"name": None, "n": None}, {"name": None, "n": 3}]}),
    ([io.Int.Input("n"), PICTURES], {"n": 1, "other": 2, "pics.image0": 3},
     {"n": 1, "other": 2, "pics": {"image0": 3}}),
])
def test_the_function_gets_groups_nested(groups: list[Any], flat: dict[str, Any], nested: dict[str, Any]) -> None:
    assert handed_over(flat, *groups) == nested


def test_a_node_that_takes_lists_gets_lists_at_the_leaves() -> None:
    flat = {"mode": ["fixed"], "mode.size": [1, 2], "pics.image0": [3, 4]}
    assert handed_over(flat, MODE, PICTURES, is_input_list=True) == {
        "mode": {"mode": ["fixed"], "size": [1, 2]}, "pics": {"image0": [3, 4]}}


def test_a_check_of_lazy_inputs_learns_under_which_name_to_ask() -> None:
    asked: list[Any] = []

    def check(cls: Any, mode: Any, plain: Any) -> list[str]:
        asked.append((mode, plain))
        return [name for value, name in mode["by"].values() if value is None]

    node_class = schema_node(returns_inputs, inputs=[MODE, io.Int.Input("plain")], lazy_check=check)
    definition = define_schema_node("N", node_class, "tests")
    assert definition.lazy_check is not None
    wanted = definition.lazy_check(definition.create())(
        **{"mode": "free", "mode.size": 1.5, "mode.by.left": None, "plain": 2})
    assert wanted == ["mode.by.left"]
    mode = {"mode": ("free", "mode"), "size": (1.5, "mode.size"), "by": {"left": (None, "mode.by.left")}}
    assert asked == [(mode, 2)]
    assert definition.describe().spec("mode.by.left").is_lazy  # type: ignore[union-attr]


def test_a_validator_names_a_group_to_get_all_of_it() -> None:
    def validate(cls: Any, mode: Any) -> bool:
        return mode["size"] < 10

    node_class = schema_node(returns_inputs, inputs=[MODE, PICTURES], validate=validate)
    hook = define_schema_node("N", node_class, "tests").validate
    assert hook is not None
    assert [hook.takes(name) for name in ("mode", "mode.size", "pics.image0", HIDDEN)] == [True, True, False, True]
    assert hook.call(**{"mode": "fixed", "mode.size": 12}) is False


def test_what_can_never_work_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="repeated 100 times at most"):
        io.Autogrow.TemplatePrefix(io.Image.Input("i"), "i", max=101)
    with pytest.raises(ValueError, match="5 of 2"):
        io.Autogrow.TemplateNames(io.Image.Input("i"), ["a", "b"], min=5)
    with pytest.raises(ValueError, match="100 rows at most"):
        io._DynamicGroup.Input("g", [], max=1000)
    with pytest.raises(ValueError, match="how many inputs"):
        schema_node(returns_inputs, inputs=[io.AutogrowDynamic.Input("a", io.Int.Input("n"))]).GET_SCHEMA()


def test_the_older_form_of_autogrow_is_plain_inputs() -> None:
    older = io.AutogrowDynamic.Input("a", io.Int.Input("n", min=0), min=1, max=3)
    assert schema_node(returns_inputs, inputs=[older]).INPUT_TYPES() == {
        "required": {"n0": ("INT", {"min": 0, "forceInput": True})},
        "optional": {"n1": ("INT", {"min": 0, "forceInput": True}), "n2": ("INT", {"min": 0, "forceInput": True})}}
    assert handed_over({"n0": 1, "n2": 2}, older) == {"n0": 1, "n2": 2}


PARTS = ["mode", "pics", "ref", "rows", "size", "image0", "by", "left", "0", "1", "name", "n", ""]
NAMES = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(".".join)
VALUES = st.one_of(st.none(), st.integers(), st.sampled_from(["fixed", "free", "none", "?"]), st.lists(st.integers()),
                   st.dictionaries(st.text(), st.integers()))


@given(st.dictionaries(NAMES, VALUES))
def test_whatever_is_posted_is_declared_and_nested_without_failing(inputs: dict[str, Any]) -> None:
    groups = [PICTURES, MODE, REFERENCE, ROWS]
    required, types, misfits = declared(inputs, *groups)
    assert types.keys() <= inputs.keys()
    assert set(misfits) <= {*inputs, "rows"}
    nested = handed_over({name: value for name, value in inputs.items() if name.isidentifier() or "." in name}, *groups)
    assert nested.keys() <= {"pics", "mode", "ref", "rows", *inputs}
    assert isinstance(nested["pics"], dict)
    assert "pics.image0" in required


def test_a_blocker_stands_for_all_outputs() -> None:
    definition = define_schema_node("N", schema_node(returns_inputs), "tests")
    blocker = ExecutionBlocker("why")
    assert definition.read_result({"result": blocker}).blocker is blocker
    assert definition.read_result(io.NodeOutput(1, blocker)).blocker is None
