"""Built-in nodes that are schema classes where packs come from are schema classes under the names that packs know."""

import json
from pathlib import Path
from typing import Any

import pytest

from nodes import CATALOGUE, DISPLAY_NAMES
from nodes.packs.core_library import library_class
from nodes.packs.core_modules import SCHEMA_MODULES
from nodes.packs.core_schemas import members_of
from nodes.packs.node_definitions import define_built_in_node, define_node
from nodes.packs.schema import io_words as io
from nodes.packs.schema.node_class import has_own
from tests.nodes.packs.pack_process import in_process, write_packs

SCHEMA_NODES = [(module, name, node) for module, classes in SCHEMA_MODULES.items() for name, node in classes.items()
                if node in CATALOGUE]


def as_clients_read(info: Any) -> Any:
    return json.loads(json.dumps(info))


@pytest.mark.parametrize(("module", "name", "node"), SCHEMA_NODES)
def test_the_schema_says_of_a_node_what_clients_are_told_of_it(module: str, name: str, node: str) -> None:
    found = library_class(module, name, node)
    assert issubclass(found, io.ComfyNode)
    assert issubclass(found, CATALOGUE[node])
    told = as_clients_read(define_built_in_node(node, CATALOGUE[node], DISPLAY_NAMES.get(node)).info())
    assert as_clients_read(define_node(node, found, module).info()) == told
    assert as_clients_read(found.GET_NODE_INFO_V1()) == told
    assert found.GET_SCHEMA().node_id == node
    for category in ("required", "optional"):
        declared = CATALOGUE[node].INPUT_TYPES().get(category) or {}
        assert list(found.INPUT_TYPES().get(category) or {}) == list(declared)


def test_a_schema_is_made_anew_so_that_nobody_changes_that_of_others() -> None:
    found = library_class("comfy_extras.nodes_post_processing", "Blend", "ImageBlend")
    found.define_schema().inputs.clear()
    assert [one.id for one in found.define_schema().inputs] == ["image1", "image2", "blend_factor", "blend_mode"]


class Shows:
    """A node of ours that takes a hidden value."""

    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "tests", "execute", ("INT", "STRING"), True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("INT", {"default": 1})}, "hidden": {"prompt": ("PROMPT",)}}

    @classmethod
    def VALIDATE_INPUTS(cls, value: int) -> Any:
        return value > 0 or "too small"

    @classmethod
    def IS_CHANGED(cls, value: int) -> Any:
        return value * 2

    @classmethod
    def execute(cls, value: int, prompt: Any = None) -> dict[str, Any]:
        return {"ui": {"shown": [cls.__name__]}, "result": (value, prompt)}


def test_hidden_values_are_on_the_class_and_reach_the_function_as_parameters() -> None:
    shows: Any = type("Shows", (io.ComfyNode, Shows), members_of("Shows", Shows))
    output = shows.PREPARE_CLASS_CLONE({io.Hidden.prompt: {"1": {}}}).execute(value=3)
    assert (output.args, output.ui) == ((3, {"1": {}}), {"shown": ["ShowsClone"]})
    assert shows.execute(3, "given").args == (3, "given")
    assert shows.execute(3).args == (3, None)


def test_hooks_of_a_node_have_the_names_that_schema_classes_have_for_them() -> None:
    shows: Any = type("Shows", (io.ComfyNode, Shows), members_of("Shows", Shows))
    definition = define_node("Shows", shows, "tests")
    assert (shows.validate_inputs(0), shows.fingerprint_inputs(4)) == ("too small", 8)
    assert definition.validate is not None
    assert definition.fingerprint is not None
    assert not has_own(shows, "check_lazy_status")


def test_a_pack_subclasses_them_with_a_schema_of_its_own_and_without(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"derived.py": """
        from comfy_api.latest import ComfyExtension, io
        from comfy_extras.nodes_string import StringConcatenate, StringLength


        class Shouted(StringConcatenate):
            @classmethod
            def define_schema(cls):
                schema = super().define_schema()
                schema.node_id, schema.display_name, schema.category = "Shouted", "Shout", "derived"
                schema.inputs = [one for one in schema.inputs if one.id != "delimiter"]
                schema.inputs.append(io.Int.Input("times", default=2, min=1))
                return schema

            @classmethod
            def execute(cls, string_a, string_b, times):
                joined = super().execute(string_a, string_b, delimiter="!")
                return io.NodeOutput(joined[0].upper() * times)


        class Same(StringLength):
            pass


        class Derived(ComfyExtension):
            async def get_node_list(self):
                return [Shouted]


        async def comfy_entrypoint():
            return Derived()
    """, "plain.py": """
        from comfy_extras.nodes_string import StringLength

        class Same(StringLength):
            pass

        NODE_CLASS_MAPPINGS = {"Same": Same}
    """})
    assert in_process(base, """
        reports = await packs.load()
        info = packs.registry.get("Shouted").info()
        def result(name, **inputs):
            definition = packs.registry.get(name)
            return list(definition.read_result(definition.function(definition.create())(**inputs)).outputs)
        return [[one.error for one in reports], list(info["input"]["required"]), info["display_name"], info["category"],
                result("Shouted", string_a="a", string_b="b", times=2), result("Same", string="abc")]
    """) == [[None, None], ["string_a", "string_b", "times"], "Shout", "derived", ["A!BA!B"], [3]]
