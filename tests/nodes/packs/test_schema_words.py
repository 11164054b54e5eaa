"""The words in which nodes describe themselves, and what clients are told because of them."""

from enum import Enum
from typing import Any

import pytest

from nodes.packs.node_definitions import define_node
from nodes.packs.schema import io_words as io
from nodes.packs.schema.io_types import PLAIN_TYPES
from nodes.packs.schema.node_class import ComfyNode
from nodes.packs.schema.widgets import DRAWN_TYPES
from tests.support.schema_nodes import schema_node


def nothing(cls: Any, **inputs: Any) -> None:
    return None


def options(one: Any) -> tuple[str, dict[str, Any]]:
    return one.as_declared()


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


REMOTE = io.RemoteOptions("/choices", True, max_retries=3)
REMOTE_COMBO = io.RemoteComboOptions("/choices", io.RemoteItemSchema("id", "name"), refresh_button=True)


@pytest.mark.parametrize(("one", "declared"), [
    (io.Image.Input("a"), ("IMAGE", {})),
    (io.Image.Input("a", "Name", True, "tip", True, {"own": 1, "none": None}, raw_link=True, advanced=True),
     ("IMAGE", {"display_name": "Name", "tooltip": "tip", "lazy": True, "rawLink": True, "advanced": True, "own": 1})),
    (io.Boolean.Input("a", default=False, label_on="on", label_off="off"),
     ("BOOLEAN", {"default": False, "label_on": "on", "label_off": "off"})),
    (io.Int.Input("a", default=0, min=0, max=9, step=3, control_after_generate=True,
                  display_mode=io.NumberDisplay.slider),
     ("INT", {"default": 0, "min": 0, "max": 9, "step": 3, "control_after_generate": True, "display": "slider"})),
    (io.Int.Input("a", control_after_generate=io.ControlAfterGenerate.fixed),
     ("INT", {"control_after_generate": "fixed"})),
    (io.Float.Input("a", default=0.5, round=False, display_mode=io.NumberDisplay.gradient_slider, gradient_stops=[1]),
     ("FLOAT", {"default": 0.5, "round": False, "display": "gradientslider", "gradient_stops": [1]})),
    (io.String.Input("a", multiline=True, placeholder="p", dynamic_prompts=True, force_input=True, socketless=True),
     ("STRING", {"multiline": True, "placeholder": "p", "dynamicPrompts": True, "forceInput": True,
                 "socketless": True})),
    (io.String.Input("a"), ("STRING", {"multiline": False})),
    (io.Combo.Input("a", options=["x", "y"], default="y"),
     ("COMBO", {"default": "y", "multiselect": False, "options": ["x", "y"]})),
    (io.Combo.Input("a", options=Colour, default=Colour.BLUE),
     ("COMBO", {"default": "blue", "multiselect": False, "options": ["red", "blue"]})),
    (io.Combo.Input("a", options=[], upload=io.UploadType.model, image_folder=io.FolderType.output),
     ("COMBO", {"multiselect": False, "options": [], "file_upload": True, "image_folder": "output"})),
    (io.Combo.Input("a", remote=REMOTE), ("COMBO", {"multiselect": False, "remote": {
        "route": "/choices", "refresh_button": True, "control_after_refresh": "first", "max_retries": 3}})),
    (io.Combo.Input("a", remote_combo=REMOTE_COMBO), ("COMBO", {"multiselect": False, "remote_combo": {
        "route": "/choices", "item_schema": {"value_field": "id", "label_field": "name"}, "refresh_button": True}})),
    (io.MultiCombo.Input("a", options=["x"], default=["x"], placeholder="p", chip=True), ("COMBO", {
        "default": ["x"], "multiselect": True, "options": ["x"], "multi_select": {"placeholder": "p", "chip": True}})),
    (io.Webcam.Input("a"), ("WEBCAM", {})),
    (io.Color.Input("a"), ("COLOR", {"default": "#ffffff"})),
    (io.Curve.Input("a"), ("CURVE", {"default": {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"}})),
    (io.Range.Input("a", default={"min": 0, "max": 1}), ("RANGE", {"default": {"min": 0, "max": 1}})),
    (io.VideoEdit.Input("a", features=["trim"]), ("VIDEO_EDIT", {"features": ["trim"]})),
    (io.MultiType.Input("a", [io.Float, io.Int]), ("FLOAT,INT", {})),
    (io.MultiType.Input(io.Float.Input("a", default=1.0, min=0.0), [io.Int, io.String], tooltip="t"),
     ("FLOAT,INT,STRING", {"default": 1.0, "min": 0.0, "widgetType": "FLOAT", "tooltip": "t"})),
    (io.MatchType.Input("a", io.MatchType.Template("t", [io.Image, io.Mask])),
     ("COMFY_MATCHTYPE_V3", {"template": {"template_id": "t", "allowed_types": "IMAGE,MASK"}})),
    (io.MatchType.Input("a", io.MatchType.Template("t")),
     ("COMFY_MATCHTYPE_V3", {"template": {"template_id": "t", "allowed_types": "*"}})),
])
def test_inputs_become_a_type_and_options(one: Any, declared: tuple[str, dict[str, Any]]) -> None:
    assert options(one) == declared


def test_a_combo_has_its_choices_from_one_place() -> None:
    with pytest.raises(ValueError, match="neither options nor remote"):
        io.Combo.Input("a", options=["x"], remote_combo=REMOTE_COMBO)


@pytest.mark.parametrize(("name", "io_type"), [*PLAIN_TYPES.items(), *DRAWN_TYPES.items()])
def test_each_type_has_an_input_and_an_output_of_its_own(name: str, io_type: str) -> None:
    kind = getattr(io, name)
    assert kind.Input("a").get_io_type() == io_type
    assert kind.Output().io_type == io_type
    assert kind.Input.Parent is kind
    assert name in io.__all__


def test_authors_make_types_of_their_own() -> None:
    @io.comfytype(io_type="MINE")
    class Mine:
        Type = list

        class Input(io.Input):
            def _own_options(self) -> dict[str, Any]:
                return {"extra": True}

    assert Mine.Input("a").as_declared() == ("MINE", {"extra": True})
    assert Mine.Output().get_io_type() == "MINE"  # type: ignore[attr-defined]
    assert io.Custom("A,B").Output().get_io_type() == "A,B"


@pytest.mark.parametrize(("one", "other", "differ"), [
    ("A", "A", False), ("A", "B", True), ("A,B", "B,C", False), ("A,B", "C", True), ("*", "A", False),
    ("A", "*", False)])
def test_types_differ_if_they_share_nothing(one: str, other: str, differ: bool) -> None:
    assert (io.Custom(one).io_type != other) is differ
    assert (other != io.Custom(one).io_type) is differ
    assert hash(io.Custom(one).io_type) == hash(one)


# --- schemas -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inputs", "outputs", "problem"), [
    ([io.Int.Input("a"), io.Int.Input("a")], [], "ids of inputs of 'nothing' occur twice: a"),
    ([], [io.Int.Output("b"), io.Int.Output("b")], "ids of outputs of 'nothing' occur twice: b"),
    ([io.Int.Input("a")], [io.Int.Output("a")], "inputs and outputs of 'nothing' share ids: a")])
def test_ids_are_unique(inputs: list[Any], outputs: list[Any], problem: str) -> None:
    node_class = schema_node(nothing, inputs=inputs, outputs=outputs)
    with pytest.raises(ValueError, match=problem):
        define_node("N", node_class, "tests")


def test_hidden_values_that_some_nodes_always_get() -> None:
    assert schema_node(nothing, is_api_node=True, hidden=[io.Hidden.unique_id]).INPUT_TYPES()["hidden"] == {
        "unique_id": ("UNIQUE_ID",), "auth_token_comfy_org": ("AUTH_TOKEN_COMFY_ORG",),
        "api_key_comfy_org": ("API_KEY_COMFY_ORG",), "comfy_usage_source": ("COMFY_USAGE_SOURCE",)}
    assert list(schema_node(nothing, is_output_node=True).INPUT_TYPES()["hidden"]) == ["prompt", "extra_pnginfo"]
    assert "hidden" not in schema_node(nothing).INPUT_TYPES()
    assert "hidden" not in schema_node(nothing, is_output_node=True).INPUT_TYPES(include_hidden=False)


def test_outputs_without_an_id_get_one() -> None:
    schema = schema_node(nothing, outputs=[io.Int.Output(), io.Image.Output("mine")]).GET_SCHEMA()
    assert [one.id for one in schema.outputs] == ["_0_INT_", "mine"]


def test_a_class_looks_like_a_plain_one_from_outside() -> None:
    async def waits(cls: Any, a: int = 1) -> Any:
        return (a + 1,)

    plain = schema_node(lambda cls, a=1: (a + 1,), inputs=[io.Int.Input("a", optional=True)], category="c",
                        outputs=[io.Int.Output(display_name="sum", tooltip="t"), io.Image.Output(is_output_list=True)],
                        description="d", is_deprecated=True, not_idempotent=True)
    assert (plain.FUNCTION, schema_node(waits).FUNCTION) == ("EXECUTE_NORMALIZED", "EXECUTE_NORMALIZED_ASYNC")
    assert (plain.RETURN_TYPES, plain.RETURN_NAMES) == (["INT", "IMAGE"], ["sum", "IMAGE"])
    assert (plain.OUTPUT_IS_LIST, plain.OUTPUT_TOOLTIPS) == ([False, True], ["t", None])
    assert (plain.CATEGORY, plain.DESCRIPTION) == ("c", "d")
    assert (plain.OUTPUT_NODE, plain.INPUT_IS_LIST, plain.API_NODE) == (False, False, False)
    assert (plain.DEPRECATED, plain.EXPERIMENTAL, plain.NOT_IDEMPOTENT) == (True, False, True)
    assert getattr(plain(), plain.FUNCTION)(a=4).result == (5,)
    assert plain.INPUT_TYPES(return_schema=True)[1].category == "c"
    assert plain.GET_BASE_CLASS() is ComfyNode


def test_the_info_of_a_class_holds_what_its_schema_says() -> None:
    badge = io.PriceBadge("$.n * 2", io.PriceBadgeDepends(widgets=["n"], inputs=["a"]))
    node_class = schema_node(nothing, inputs=[io.Int.Input("n"), io.Image.Input("a")], search_aliases=["x"],
                             is_dev_only=True, essentials_category="e", has_intermediate_output=True,
                             price_badge=badge, is_api_node=True)
    info = node_class.GET_NODE_INFO_V1()
    assert info["price_badge"] == {"engine": "jsonata", "expr": "$.n * 2", "depends_on": {
        "widgets": [{"name": "n", "type": "INT"}], "inputs": ["a"], "input_groups": []}}
    assert (info["search_aliases"], info["essentials_category"]) == (["x"], "e")
    assert (info["dev_only"], info["api_node"], info["has_intermediate_output"]) == (True, True, True)


@pytest.mark.parametrize("missing", ["define_schema", "execute"])
def test_a_class_that_lacks_a_method_is_refused_where_it_is_defined(missing: str) -> None:
    class Whole(ComfyNode):
        @classmethod
        def define_schema(cls) -> Any:
            return io.Schema("W")

        @classmethod
        def execute(cls) -> None: ...

    half = type("Half", (ComfyNode,), {name: value for name, value in vars(Whole).items()
                                       if name in ("define_schema", "execute") and name != missing})
    with pytest.raises(TypeError, match=f"'Half' has no {missing}"):
        define_node("H", half, "tests")


def test_a_copy_of_the_class_is_locked_and_knows_hidden_values() -> None:
    node_class = schema_node(nothing)
    clone = node_class.PREPARE_CLASS_CLONE({io.Hidden.unique_id: "7", "PROMPT": {}, "dynprompt": 1})
    assert (clone.__name__, clone.hidden.unique_id, clone.hidden.prompt) == ("nothingClone", "7", {})
    assert (clone.hidden.dynprompt, clone.hidden.anything) == (1, None)
    for write in (lambda: setattr(clone, "state", 1), lambda: delattr(clone, "execute")):
        with pytest.raises(AttributeError, match="Cannot modify class attribute"):
            write()
    node_class.state = 1  # the class itself is its author's
    assert clone.state == 1  # type: ignore[attr-defined]


def test_a_class_with_a_metaclass_of_its_own_works() -> None:
    from abc import ABC

    class Abstract(ComfyNode, ABC):
        @classmethod
        def define_schema(cls) -> Any:
            return io.Schema("A", outputs=[io.Int.Output()])

        @classmethod
        def execute(cls) -> Any:
            return (1,)

    definition = define_node("A", Abstract, "tests")
    result = definition.read_result(definition.function(definition.create())())
    assert result.outputs == (1,)


def test_results_can_be_looked_at() -> None:
    output = io.NodeOutput(1, 2, ui={"a": [1]}, expand={}, block_execution="m")
    assert (output[1], output.result) == (2, (1, 2))
    assert (output.ui, output.expand, output.block_execution) == ({"a": [1]}, {}, "m")
    assert io.NodeOutput().result is None
    with pytest.raises(TypeError, match="is a tuple"):
        io.NodeOutput.from_dict({"result": 5})


def test_words_for_what_has_to_be_asked_of_the_call() -> None:
    assert {one.name: one.value for one in io.Hidden}["unique_id"] == "UNIQUE_ID"
    assert [str(one) for one in io.FolderType] == ["input", "output", "temp"]
    assert io.UploadType.image == "image_upload"
