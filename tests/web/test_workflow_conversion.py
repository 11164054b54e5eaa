"""Saved workflows made into prompts: each feature of the format on its own, and whatever else is sent."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.live_server import Live, shared_loop
from web.workflow_conversion import CannotConvert, convert_workflow, is_saved_workflow

Json = dict[str, Any]
IMAGE_SIZE = {"width": ["INT", {"default": 512}], "height": ["INT", {"default": 512}]}
CLASSES: Mapping[str, Json] = {
    "Empty": {"input": {"required": IMAGE_SIZE}, "output": ["IMAGE"], "display_name": "An empty image"},
    "Invert": {"input": {"required": {"image": ["IMAGE", {}]}}, "output": ["IMAGE"]},
    "Show": {"input": {"required": {"images": ["IMAGE", {}]}}, "output": [], "output_node": True},
    "Int": {"input": {"required": {"value": ["INT", {"control_after_generate": True}]}}, "output": ["INT"]},
    "Two": {"input": {"required": {"a": ["IMAGE", {}], "b": ["IMAGE", {}], "n": ["INT", {"default": 3}]}},
            "output": ["IMAGE", "IMAGE", "INT"]},
    "Sampler": {"input": {"required": {
        "image": ["IMAGE", {}], "seed": ["INT", {"default": 7}], "steps": ["INT", {"default": 20}],
        "method": [["fast", "fine"], {}], "mode": ["COMBO", {"options": ["x", "y"], "control_after_generate": True}],
        "size": ["INT", {"forceInput": True}], "union": ["INT,FLOAT", {}],
        "either": ["INT,FLOAT", {"widgetType": "FLOAT", "default": 1.5}],
        "file": [["one.png", "two.png"], {"image_upload": True}], "flag": ["BOOLEAN", {"default": True}]},
        "optional": {"mask": ["MASK", {}], "noise_seed": ["INT", {"control_after_generate": False}],
                     "text": ["STRING", {}]}}, "output": ["IMAGE"]},
    "Prompt": {"input": {"required": {"text": ["STRING", {"dynamicPrompts": True}]}}, "output": ["STRING"]},
    "Several": {"input": {"required": {"some": ["COMBO", {"options": ["a", "b"], "multi_select": {}}],
                                       "last": ["INT", {"default": 1}]}}, "output": []},
    "Dynamic": {"input": {"required": {
        "how": ["ANY_DYNAMICCOMBO_V3", {"options": [
            {"key": "fixed", "inputs": {"required": {"size": ["INT", {"default": 64}], "seed": ["INT", {}]}}},
            {"key": "scaled", "inputs": {"required": {"factor": ["FLOAT", {"default": 2.0}]},
                                         "optional": {"image": ["IMAGE", {}]}}}]}],
        "last": ["INT", {"default": 9}]}}, "output": []},
    "SaveImage": {"input": {"required": {"images": ["IMAGE", {}], "filename_prefix": ["STRING", {}]}}, "output": []},
}


def node(node_id: Any, class_type: str, values: Any = None, inputs: Any = (), outputs: Any = (), **more: Any) -> Json:
    """:param inputs: (name, type, link), or (name, type, link, name of its widget).
    :param outputs: types."""
    return {"id": node_id, "type": class_type, "mode": 0, "widgets_values": values,
            "inputs": [{"name": one[0], "type": one[1], "link": one[2],
                        **({"widget": {"name": one[3]}} if len(one) > 3 else {})} for one in inputs],
            "outputs": [{"name": kind, "type": kind, "links": []} for kind in outputs], **more}


def empty(node_id: Any, width: Any = 64, **more: Any) -> Json:
    return node(node_id, "Empty", [width, 64], outputs=["IMAGE"], **more)


def show(node_id: Any, link: Any) -> Json:
    return node(node_id, "Show", [], [("images", "IMAGE", link)])


def workflow(nodes: list[Json], links: list[Any] = (), **more: Any) -> Json:  # type: ignore[assignment]
    return {"last_node_id": 99, "last_link_id": 99, "nodes": nodes, "links": [*links], "groups": [{"title": "a"}],
            "extra": {}, "version": 0.4, **more}


def converted(saved: Json) -> Json:
    """The inputs of each node of the prompt."""
    return {node_id: one["inputs"] for node_id, one in
            convert_workflow(saved, CLASSES.get, chance=random.Random(1)).items()}


def refused(saved: Json) -> str:
    with pytest.raises(CannotConvert) as reason:
        convert_workflow(saved, CLASSES.get)
    return str(reason.value)


# -- nodes, links, values -------------------------------------------------------------------------------------


def test_nodes_become_what_an_editor_posts() -> None:
    saved = workflow([empty(1, title="My own"), show(2, 5)], [[5, 1, 0, 2, 0, "IMAGE"]])
    assert convert_workflow(saved, CLASSES.get) == {
        "1": {"inputs": {"width": 64, "height": 64}, "class_type": "Empty", "_meta": {"title": "My own"}},
        "2": {"inputs": {"images": ["1", 0]}, "class_type": "Show", "_meta": {"title": "Show"}}}


def test_the_title_of_a_node_without_one_is_that_of_its_class() -> None:
    assert convert_workflow(workflow([empty(1)]), CLASSES.get)["1"]["_meta"] == {"title": "An empty image"}


def test_links_can_be_objects_and_ids_texts() -> None:
    link = {"id": "a", "origin_id": "first", "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "IMAGE"}
    assert converted({"version": 1, "state": {}, "nodes": [empty("first"), show(2, "a")], "links": [link]}) == {
        "first": {"width": 64, "height": 64}, "2": {"images": ["first", 0]}}


def test_an_input_whose_link_is_not_there_is_not_connected() -> None:
    assert converted(workflow([show(2, 77)])) == {"2": {}}


def test_values_belong_to_the_inputs_that_have_a_widget() -> None:
    values = [5, "randomize", 21, "fine", "y", "increment-wrap", "", 2.5, "two.png", False, 8, "words", "image"]
    assert converted(workflow([node(1, "Sampler", values)]))["1"] == {
        "seed": 5, "steps": 21, "method": "fine", "mode": "y", "either": 2.5, "file": "two.png", "flag": False,
        "noise_seed": 8, "text": "words"}


def test_values_that_were_saved_without_what_comes_after_a_seed() -> None:
    values = [5, 21, "fine", "y", 2.5, "two.png", False]
    assert converted(workflow([node(1, "Sampler", values)]))["1"] == {
        "seed": 5, "steps": 21, "method": "fine", "mode": "y", "either": 2.5, "file": "two.png", "flag": False,
        "noise_seed": 0, "text": ""}


def test_what_was_not_saved_has_its_default() -> None:
    assert converted(workflow([node(1, "Sampler", [5])]))["1"] == {
        "seed": 5, "steps": 20, "method": "fast", "mode": "x", "either": 1.5, "file": "one.png", "flag": True,
        "noise_seed": 0, "text": ""}
    assert converted(workflow([node(1, "Empty")])) == {"1": {"width": 512, "height": 512}}


def test_values_can_be_saved_by_name() -> None:
    values = {"steps": 3, "control_after_generate": "fixed", "flag": False, "unknown": 1}
    inputs = converted(workflow([node(1, "Sampler", values)]))["1"]
    assert (inputs["steps"], inputs["flag"], inputs["seed"]) == (3, False, 7)
    assert "unknown" not in inputs
    assert "control_after_generate" not in inputs


def test_names_beside_a_list_of_values_say_which_is_which() -> None:
    listed = ["drawn by a pack", 5, 6]
    named = {"pack's own": "drawn by a pack", "width": 5, "height": 6}
    assert converted(workflow([node(1, "Empty", listed, widgets_values_named=named)])) == {
        "1": {"width": 5, "height": 6}}
    assert converted(workflow([node(1, "Empty", [7, 8], widgets_values_named={"width": 5, "height": 6})])) == {
        "1": {"width": 7, "height": 8}}, "names of other values"


def test_a_widget_that_became_an_input_is_a_link_and_keeps_its_place_among_the_values() -> None:
    saved = workflow([node(5, "Int", [3, "fixed"], outputs=["INT"]),
                      node(1, "Empty", [64, 65], [("width", "INT", 1, "width")])], [[1, 5, 0, 1, 0, "INT"]])
    assert converted(saved) == {"5": {"value": 3}, "1": {"width": ["5", 0], "height": 65}}


def test_an_input_that_was_saved_without_a_widget_takes_no_value() -> None:
    saved = workflow([node(1, "Empty", [65], [("width", "INT", None)])])
    assert converted(saved) == {"1": {"height": 65}}


@pytest.mark.parametrize("saved", [["a", "b"], {"0": "a", "1": "b"}])
def test_a_list_as_a_value_is_told_from_a_link(saved: Any) -> None:
    assert converted(workflow([node(1, "Several", [saved, 4])])) == {
        "1": {"some": {"__value__": ["a", "b"]}, "last": 4}}


@pytest.mark.parametrize(("values", "inputs"), [
    (["fixed", 5, 6, "randomize", 7], {"how": "fixed", "how.size": 5, "how.seed": 6, "last": 7}),
    (["scaled", 0.5, 7], {"how": "scaled", "how.factor": 0.5, "last": 7}),
    ([], {"last": 9}),
])
def test_inputs_that_a_choice_brings_have_dotted_names(values: Any, inputs: Json) -> None:
    assert converted(workflow([node(1, "Dynamic", values)])) == {"1": inputs}


def test_links_to_inputs_that_a_choice_brings() -> None:
    saved = workflow([empty(2), node(1, "Dynamic", ["scaled", 0.5, 7], [("how.image", "IMAGE", 1)])],
                     [[1, 2, 0, 1, 0, "IMAGE"]])
    assert converted(saved)["1"] == {"how": "scaled", "how.factor": 0.5, "how.image": ["2", 0], "last": 7}


def test_choices_in_prompts_are_drawn_and_comments_left_out() -> None:
    def drawn(text: str) -> str:
        found: str = converted(workflow([node(1, "Prompt", [text])]))["1"]["text"]
        return found

    assert drawn("a {red} \\{x\\} /* c */ b // end\nnew") == "a red {x}  b \nnew"
    assert drawn("{a|b}") in ("a", "b")
    assert {convert_workflow(workflow([node(1, "Prompt", ["{a|{b|c}}"])]), CLASSES.get, chance=random.Random(seed))
            ["1"]["inputs"]["text"] for seed in range(50)} == {"a", "b", "c"}
    assert drawn("left { open | so") == "left { open | so"
    assert drawn("a } b /* open") == "a } b /* open"


def test_names_of_files_are_filled_in() -> None:
    saved = workflow([
        empty(2, properties={"Node name for S&R": "Empty"}), empty(3, "a/b", title="with a title"),
        node(1, "SaveImage", ["%Empty.width%-%with a title.width%-%none.x%-%date:yyyy-MM-dd hh%-%date%"])])
    prompt = convert_workflow(saved, CLASSES.get, now=datetime(2026, 3, 4, 15))
    assert prompt["1"]["inputs"]["filename_prefix"] == "64-a_b-%none.x%-2026-03-04 15-%date%"


# -- nodes that do not run ------------------------------------------------------------------------------------


def test_notes_and_groups_are_left_out() -> None:
    assert converted(workflow([node(1, "Note", ["a"]), node(2, "MarkdownNote", ["b"]), empty(3)])).keys() == {"3"}


def test_reroutes_are_followed() -> None:
    reroutes = [node(n, "Reroute", None, [("", "*", n - 1)], ["IMAGE"]) for n in (2, 3)]
    links = [[n, n, 0, n + 1, 0, "IMAGE"] for n in (1, 2, 3)]
    assert converted(workflow([empty(1), *reroutes, show(4, 3)], links)) == {
        "1": {"width": 64, "height": 64}, "4": {"images": ["1", 0]}}
    reroutes[1]["mode"] = 2
    assert converted(workflow([empty(1), *reroutes, show(4, 3)], links))["4"] == {}
    reroutes[0]["inputs"][0]["link"] = None
    reroutes[1]["mode"] = 4
    assert converted(workflow([empty(1), *reroutes, show(4, 3)], links))["4"] == {}


def test_reroutes_of_links_change_nothing() -> None:
    saved = workflow([empty(1), show(2, 1)], [[1, 1, 0, 2, 0, "IMAGE"]], extra={
        "linkExtensions": [{"id": 1, "parentId": 1}], "reroutes": [{"id": 1, "pos": [1, 1], "linkIds": [1]}]})
    assert converted(saved)["2"] == {"images": ["1", 0]}


def test_primitives_give_their_value_whatever_their_mode() -> None:
    primitive = node(5, "PrimitiveNode", [77, "fixed"], outputs=["INT"], mode=2)
    saved = workflow([primitive, node(1, "Empty", [1, 2], [("width", "INT", 1, "width")])], [[1, 5, 0, 1, 0, "INT"]])
    assert converted(saved) == {"1": {"width": 77, "height": 2}}
    primitive["widgets_values"] = None
    assert converted(saved) == {"1": {"width": 1, "height": 2}}


def test_nothing_is_left_of_a_muted_node_and_a_widget_that_it_fed_has_its_own_value() -> None:
    saved = workflow([empty(1, mode=2), show(2, 1), node(3, "Int", [5], outputs=["INT"], mode=2),
                      node(4, "Empty", [6, 7], [("width", "INT", 2, "width")])],
                     [[1, 1, 0, 2, 0, "IMAGE"], [2, 3, 0, 4, 0, "INT"]])
    assert converted(saved) == {"2": {}, "4": {"width": 6, "height": 7}}


def bypass(inputs: list[tuple[str, bool]], output: str, wanted: str, slot: int = 0) -> int | None:
    """Which input a bypassed node passes on.

    :param inputs: their types, and whether they are connected.
    """
    outputs = ["OTHER"] * slot + [output]
    middle = node(1, "Two", None, [(f"i{n}", kind, n if linked else None) for n, (kind, linked) in enumerate(inputs)],
                  outputs, mode=4)
    sources = [empty(10 + n) for n in range(len(inputs))]
    links: list[Any] = [[n, 10 + n, 0, 1, n, kind] for n, (kind, _) in enumerate(inputs)]
    target = node(2, "Show", None, [("images", wanted, 99)])
    prompt = converted(workflow([middle, *sources, target], [*links, [99, 1, slot, 2, 0, output]]))
    assert "1" not in prompt
    found = prompt["2"].get("images")
    return None if found is None else int(found[0]) - 10


@pytest.mark.parametrize(("inputs", "output", "wanted", "slot", "passed"), [
    ([("IMAGE", True), ("IMAGE", True)], "IMAGE", "IMAGE", 0, 0),
    ([("IMAGE", True), ("IMAGE", True)], "IMAGE", "IMAGE", 1, 1),
    ([("IMAGE", True), ("IMAGE", True)], "IMAGE", "IMAGE", 2, 0),
    ([("INT", True), ("IMAGE", True), ("IMAGE", True)], "IMAGE", "IMAGE", 0, 1),
    ([("INT", True), ("IMAGE", False), ("IMAGE", True)], "IMAGE", "IMAGE", 0, None),
    ([("*", True), ("IMAGE", True)], "IMAGE", "IMAGE", 0, 0),
    ([("INT", True), ("*", True), ("IMAGE", True)], "IMAGE", "IMAGE", 0, 2),
    ([("MASK", True), ("*", True), ("*", True)], "IMAGE", "IMAGE", 0, 1),
    ([("MASK", True), ("IMAGE", True)], "MASK", "IMAGE", 0, 1),
    ([("MASK", True), ("INT", True), ("IMAGE", True)], "IMAGE", "INT,IMAGE", 0, 2),
    ([("MASK", True), ("IMAGE", True), ("INT", True)], "*", "INT,IMAGE", 0, 1),
    ([("MASK", True)], "IMAGE", "IMAGE", 0, None),
])
def test_a_bypassed_node_passes_on_what_fits(inputs: Any, output: str, wanted: str, slot: int, passed: Any) -> None:
    assert bypass(inputs, output, wanted, slot) == passed


def test_bypassed_nodes_in_a_row() -> None:
    row = [node(n, "Invert", [], [("image", "IMAGE", n - 1)], ["IMAGE"], mode=4) for n in range(2, 3000)]
    links = [[n, n, 0, n + 1, 0, "IMAGE"] for n in range(1, 3000)]
    assert converted(workflow([empty(1), *row, show(3000, 2999)], links))["3000"] == {"images": ["1", 0]}


def test_other_modes_run() -> None:
    assert converted(workflow([empty(1, mode=1), empty(2, mode=3)])).keys() == {"1", "2"}


# -- subgraphs ------------------------------------------------------------------------------------------------


def link_object(link_id: int, origin: int, origin_slot: int, target: int, target_slot: int) -> Json:
    return {"id": link_id, "origin_id": origin, "origin_slot": origin_slot, "target_id": target,
            "target_slot": target_slot, "type": "*"}


def subgraph(name: str, nodes: list[Json], links: list[Json], inputs: Any = (), outputs: Any = ("out",)) -> Json:
    return {"id": name, "name": name, "nodes": nodes, "links": links, "inputNode": {"id": -10}, "version": 1,
            "outputNode": {"id": -20}, "inputs": [{"name": one, "type": "*"} for one in inputs],
            "outputs": [{"name": one, "type": "*"} for one in outputs], "widgets": []}


INVERTING = subgraph("inverting", [node(2, "Invert", [], [("image", "IMAGE", 1)], ["IMAGE"])],
                     [link_object(1, -10, 0, 2, 0), link_object(2, 2, 0, -20, 0)], ["image"])
"""An image, inverted."""
MAKING = subgraph(
    "making", [node(2, "Empty", [512, 300], [("width", "INT", 1, "width")], ["IMAGE"]), node(3, "Int", [9, "fixed"])],
    [link_object(1, -10, 0, 2, 0), link_object(2, 2, 0, -20, 0)], ["width"])
"""An image whose width comes from outside, and a number that nobody uses."""


def with_subgraphs(nodes: list[Json], links: list[Any], *definitions: Json) -> Json:
    return workflow(nodes, links, definitions={"subgraphs": list(definitions)})


def around_inverting(**more: Any) -> Json:
    return with_subgraphs(
        [empty(1), node(4, "inverting", None, [("image", "IMAGE", 3)], ["IMAGE"], **more), show(5, 4)],
        [[3, 1, 0, 4, 0, "IMAGE"], [4, 4, 0, 5, 0, "IMAGE"]], INVERTING)


def test_nodes_of_a_subgraph_are_named_after_the_node_that_stands_for_it() -> None:
    assert converted(around_inverting()) == {
        "1": {"width": 64, "height": 64}, "5": {"images": ["4:2", 0]}, "4:2": {"image": ["1", 0]}}


def test_a_muted_or_bypassed_subgraph() -> None:
    assert converted(around_inverting(mode=2)) == {"1": {"width": 64, "height": 64}, "5": {}}
    assert converted(around_inverting(mode=4)) == {"1": {"width": 64, "height": 64}, "5": {"images": ["1", 0]}}


def test_a_subgraph_used_twice_and_within_another() -> None:
    nested = subgraph("twice", [node(n, "inverting", None, [("image", "IMAGE", n)], ["IMAGE"]) for n in (7, 8)],
                      [link_object(7, -10, 0, 7, 0), link_object(8, 7, 0, 8, 0), link_object(9, 8, 0, -20, 0)],
                      ["image"])
    saved = with_subgraphs([empty(1), node(4, "twice", None, [("image", "IMAGE", 3)], ["IMAGE"]), show(5, 4)],
                           [[3, 1, 0, 4, 0, "IMAGE"], [4, 4, 0, 5, 0, "IMAGE"]], INVERTING, nested)
    assert converted(saved) == {"1": {"width": 64, "height": 64}, "5": {"images": ["4:8:2", 0]},
                                "4:7:2": {"image": ["1", 0]}, "4:8:2": {"image": ["4:7:2", 0]}}


def test_a_definition_within_a_definition() -> None:
    outer = subgraph("outer", [node(7, "inverting", None, [("image", "IMAGE", 1)], ["IMAGE"])],
                     [link_object(1, -10, 0, 7, 0), link_object(2, 7, 0, -20, 0)], ["image"])
    saved = with_subgraphs([empty(1), node(4, "outer", None, [("image", "IMAGE", 3)], ["IMAGE"]), show(5, 4)],
                           [[3, 1, 0, 4, 0, "IMAGE"], [4, 4, 0, 5, 0, "IMAGE"]],
                           {**outer, "definitions": {"subgraphs": [INVERTING]}})
    assert converted(saved)["4:7:2"] == {"image": ["1", 0]}


def making(values: Any, *, proxies: Any = (), link: Any = None, has_input: bool = True, extra: Any = ()) -> Json:
    host = node(4, "making", values, [("width", "INT", link, "width")] if has_input else [], ["IMAGE"],
                properties={"proxyWidgets": [*proxies]})
    links = [[4, 4, 0, 5, 0, "IMAGE"], *([[3, 6, 0, 4, 0, "INT"]] if link else [])]
    return with_subgraphs([host, show(5, 4), *extra], links, MAKING)


@pytest.mark.parametrize("has_input", [True, False])
def test_the_widget_of_a_subgraph_sets_the_inner_one(has_input: bool) -> None:
    assert converted(making([44], has_input=has_input))["4:2"] == {"width": 44, "height": 300}
    assert converted(making({"width": 45}, has_input=has_input))["4:2"] == {"width": 45, "height": 300}
    assert converted(making(None, has_input=has_input))["4:2"] == {"width": 512, "height": 300}


def test_a_link_into_a_subgraph_wins_over_its_widget_unless_it_leads_nowhere() -> None:
    source = node(6, "Int", [1], outputs=["INT"])
    assert converted(making([44], link=3, extra=[source]))["4:2"] == {"width": ["6", 0], "height": 300}
    assert converted(making([44], link=3, extra=[{**source, "mode": 2}]))["4:2"] == {"width": 44, "height": 300}
    primitive = node(6, "PrimitiveNode", [66, "fixed"], outputs=["INT"])
    assert converted(making([44], link=3, extra=[primitive]))["4:2"] == {"width": 66, "height": 300}


@pytest.mark.parametrize(("proxies", "values", "width", "height", "number"), [
    ([["-1", "width"], ["2", "height"], ["3", "value"]], [44, 45, 46], 44, 45, 46),
    ([["2", "height"], ["3", "value"], ["-1", "width"]], [44, 45, 46], 46, 44, 45),
    ([["2", "width"], [2, "height"]], [44, 45], 44, 45, 9),
    ([["2", "height"], ["-1", "width"]], [], 512, 300, 9),
    ([["2", "height"], ["-1", "width"]], [None, 44], 44, 300, 9),
    ([["3", "value"], ["3", "control_after_generate"]], [44, "fixed"], 44, 300, 44),
])
def test_widgets_of_inner_nodes_that_a_subgraph_shows(proxies: Any, values: Any, width: Any, height: Any,
                                                      number: Any) -> None:
    prompt = converted(making(values, proxies=proxies))
    assert prompt["4:2"] == {"width": width, "height": height}
    assert prompt["4:3"] == {"value": number}


def test_a_widget_that_is_shown_through_two_subgraphs() -> None:
    outer = subgraph("outer", [node(7, "making", [1, 2], [("width", "INT", None, "width")], ["IMAGE"],
                                    properties={"proxyWidgets": [["-1", "width"], ["2", "height"]]})],
                     [link_object(1, 7, 0, -20, 0)])
    host = node(4, "outer", [70, 71], [], ["IMAGE"], properties={"proxyWidgets": [["7", "height"], ["7", "width"]]})
    saved = with_subgraphs([host, show(5, 4)], [[4, 4, 0, 5, 0, "IMAGE"]], MAKING, outer)
    assert converted(saved)["4:7:2"] == {"width": 71, "height": 70}


def test_a_value_from_outside_passes_subgraphs_within_each_other() -> None:
    outer = subgraph("outer", [node(7, "making", [512], [("width", "INT", 8, "width")], ["IMAGE"])],
                     [link_object(8, -10, 0, 7, 0), link_object(9, 7, 0, -20, 0)], ["width"])
    saved = with_subgraphs([node(4, "outer", [55], [], ["IMAGE"]), show(5, 4)], [[4, 4, 0, 5, 0, "IMAGE"]], MAKING,
                           outer)
    assert converted(saved)["4:7:2"] == {"width": 55, "height": 300}


def test_a_subgraph_that_passes_an_input_on() -> None:
    through = subgraph("through", [], [link_object(1, -10, 0, -20, 0)], ["image"])
    saved = with_subgraphs([empty(1), node(4, "through", None, [("image", "*", 3)], ["IMAGE"]), show(5, 4)],
                           [[3, 1, 0, 4, 0, "IMAGE"], [4, 4, 0, 5, 0, "IMAGE"]], through)
    assert converted(saved)["5"] == {"images": ["1", 0]}


# -- refusals -------------------------------------------------------------------------------------------------


def test_nodes_that_only_the_editor_understands_are_named() -> None:
    assert "node 7 (Set it)" in refused(workflow([node(7, "SetNode", ["a"], [("*", "*", None)], title="Set it")]))
    assert "easy getNode" in refused(workflow([node(7, "easy getNode", ["a"], outputs=["*"])]))
    assert "node 7" in refused(workflow([node(7, "workflow>mine", [], outputs=["*"])]))
    assert "node 7" in refused(workflow([node(7, "mine", [], outputs=["*"])], extra={"groupNodes": {"mine": {}}}))


def test_a_node_of_an_unknown_class_is_passed_on_and_what_was_only_drawn_is_not() -> None:
    saved = workflow([empty(1), node(2, "Label (pack)", ["text"]),
                      node(3, "Gone", [4, "fixed"], [("image", "IMAGE", 1)],
                           widgets_values_named={"steps": 4, "control_after_generate": "fixed"})],
                     [[1, 1, 0, 3, 0, "IMAGE"]])
    assert converted(saved) == {"1": {"width": 64, "height": 64}, "3": {"steps": 4, "image": ["1", 0]}}


def test_reroutes_in_a_circle() -> None:
    saved = workflow([node(1, "Reroute", None, [("", "*", 2)], ["*"]), node(2, "Reroute", None, [("", "*", 1)], ["*"]),
                      show(3, 3)], [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 1, 0, "*"], [3, 1, 0, 3, 0, "*"]])
    assert "circle" in refused(saved)
    assert "node 3" in refused(saved)


def test_a_subgraph_in_itself() -> None:
    endless = subgraph("endless", [node(1, "endless"), empty(2)], [], [], [])
    assert "itself" in refused(with_subgraphs([node(4, "endless")], [], endless))
    looped = subgraph("looped", [node(1, "looped", outputs=["*"])], [link_object(1, 1, 0, -20, 0)])
    assert "itself" in refused(with_subgraphs([node(4, "looped", outputs=["*"]), show(5, 4)],
                                              [[4, 4, 0, 5, 0, "*"]], looped))


def test_subgraphs_that_would_fill_the_memory() -> None:
    levels = [subgraph(f"level {n}", [node(i, f"level {n + 1}") for i in range(10)], [], [], []) for n in range(15)]
    started = time.perf_counter()
    reason = refused(with_subgraphs([node(1, "level 0")], [], *levels, subgraph("level 15", [empty(1)], [], [], [])))
    assert "too often" in reason
    assert time.perf_counter() - started < 10


def test_a_long_value_in_many_places() -> None:
    targets = [node(n, "Prompt", [""], [("text", "STRING", n, "text")]) for n in range(1, 200)]
    saved = workflow([node(0, "PrimitiveNode", ["x" * 2**20], outputs=["STRING"]), *targets],
                     [[n, 0, 0, n, 0, "STRING"] for n in range(1, 200)])
    assert "too often" in refused(saved)


def test_types_that_take_long_to_compare() -> None:
    kind, other = (",".join(f"{letter}{n}" for n in range(300)) for letter in "ab")
    saved = workflow([node(1, "Two", None, [("a", kind, None)] * 500, ["IMAGE"], mode=4),
                      *[node(2 + n, "Show", [], [("images", f"{n},{other}", n)]) for n in range(2000)]],
                     [[n, 1, 0, 2 + n, 0, "IMAGE"] for n in range(2000)])
    started = time.perf_counter()
    assert "too long" in refused(saved)
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(("text", "most"), [("{" * 200_000 + "x" * 200_000 + "}" * 200_000, 200_000),
                                            ("/*" * 300_000, 600_000), ("//" * 300_000, 0), ("\\" * 300_000, 300_000),
                                            ("{a|" * 200_000, 600_000), ("%" * 300_001, 300_001)])
def test_texts_that_are_all_signs_take_no_longer(text: str, most: int) -> None:
    started = time.perf_counter()
    drawn = converted(workflow([node(1, "Prompt", [text])]))["1"]["text"]
    converted(workflow([node(1, "SaveImage", [text])]))
    assert time.perf_counter() - started < 10
    assert len(drawn) <= most


@pytest.mark.parametrize("saved", [
    {"nodes": "none", "links": []}, {"nodes": [1], "links": []}, workflow([]), workflow([{"id": 1}]),
    workflow([empty(True)]), workflow([empty("")]), workflow([empty("x" * 101)]), workflow([empty(10**5000)]),
    workflow([empty(1), empty("1")]), workflow([empty(1)], [[1, 2]]), workflow([empty(1)], ["x"]),
    workflow([empty(1)], [[1, 1, "x", 2, 0, "*"]]), workflow([show(1, [])]), workflow([show(1, 1)], [[1, 9, 0, 1, 0]]),
    workflow([node(1, "Empty", "text")]), workflow([{**empty(1), "inputs": [{"link": 1}]}]),
    workflow([{**empty(1), "outputs": {}}]), {**workflow([empty(1)]), "links": {}},
    workflow([empty(1)], definitions={"subgraphs": [{"id": "a"}, {"id": "a"}]}),
    workflow([empty(1)], definitions={"subgraphs": {}}),
    workflow([{**empty(1), "properties": {"proxyWidgets": [1]}}]),
])
def test_what_is_of_the_wrong_kind_is_refused(saved: Json) -> None:
    assert refused(saved)


@pytest.mark.parametrize(("value", "is_one"), [
    (workflow([]), True), ({"nodes": []}, True), ({"nodes": 5, "version": 0.4}, True),
    ({"nodes": {"class_type": "Empty", "inputs": {}}, "links": {"class_type": "Empty", "inputs": {}}}, False),
    ({"1": {"class_type": "Empty", "inputs": {}}}, False), ({}, False), ([], False), (None, False),
])
def test_a_prompt_is_told_from_a_workflow(value: Any, is_one: bool) -> None:
    assert is_saved_workflow(value) is is_one


# -- whatever is sent -----------------------------------------------------------------------------------------

IDS = st.integers(0, 5)
ENDS = IDS | st.sampled_from([-10, -20, 77])
SLOTS = st.integers(-1, 2)
ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("x" * 2000) \
    | st.lists(st.integers(0, 3), max_size=3) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
TYPES = st.sampled_from(["IMAGE", "INT", "*", "INT,IMAGE", 0, ["a"]])
KINDS = st.sampled_from([*CLASSES, "Reroute", "PrimitiveNode", "Note", "s1", "s2", "Gone", "Echo", "Anything"])
NAMES = st.sampled_from(["a", "b", "image", "width", "value", "how.size", ""])
SOCKETS = st.lists(st.fixed_dictionaries(
    {"name": NAMES, "type": TYPES, "link": st.none() | IDS}, optional={"widget": st.just({"name": "a"})}), max_size=3)
VALUES = st.lists(ODD | st.sampled_from(["fixed", "scaled", 64]), max_size=6)
NODES = st.fixed_dictionaries(
    {"id": IDS, "type": KINDS, "mode": st.sampled_from([0, 0, 0, 2, 4]), "inputs": SOCKETS, "outputs": SOCKETS,
     "widgets_values": VALUES | st.none() | st.dictionaries(NAMES, ODD, max_size=2)},
    optional={"properties": st.fixed_dictionaries(
        {"proxyWidgets": st.lists(st.tuples(ENDS, NAMES).map(list), max_size=3)})})
LINKS = st.tuples(IDS, ENDS, SLOTS, ENDS, SLOTS, TYPES).map(list) | st.fixed_dictionaries(
    {"id": IDS, "origin_id": ENDS, "origin_slot": SLOTS, "target_id": ENDS, "target_slot": SLOTS})
GRAPHS = st.fixed_dictionaries({"nodes": st.lists(NODES, min_size=1, max_size=6, unique_by=lambda one: one["id"]),
                                "links": st.lists(LINKS, max_size=8)})
SUBGRAPHS = st.builds(lambda graph, inputs: {"inputs": [{"name": one} for one in inputs], **graph},
                      GRAPHS, st.lists(NAMES, max_size=3))
GOOD_WORKFLOWS = st.builds(
    lambda graph, first, second: {**graph, "version": 0.4, "definitions": {"subgraphs": [
        {"id": "s1", **first}, {"id": "s2", **second}]}}, GRAPHS, SUBGRAPHS, SUBGRAPHS)
"""Of the right form throughout; but links and subgraphs lead anywhere."""


@st.composite
def spoilt(draw: st.DrawFn) -> Json:
    """With something odd in one place."""
    saved: Json = draw(GOOD_WORKFLOWS)
    at: Any = saved
    while True:
        place = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[place], (dict, list)) or not at[place] or draw(st.integers(0, 3)) == 0:
            at[place] = draw(ODD)
            return saved
        at = at[place]


WORKFLOWS = GOOD_WORKFLOWS | spoilt()

many = settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)


@given(saved=WORKFLOWS)
@many
def test_any_workflow_is_converted_or_refused_with_a_reason(saved: Json) -> None:
    before, prompt, reason = json.dumps(saved), None, None
    try:
        prompt = convert_workflow(saved, CLASSES.get)
    except CannotConvert as error:
        reason = str(error)
    assert prompt or (reason and len(reason) < 1000)
    assert all(set(one) == {"inputs", "class_type", "_meta"} for one in (prompt or {}).values())
    assert json.dumps(saved) == before


@shared_loop
@given(saved=WORKFLOWS)
@settings(many, max_examples=40)
async def test_any_workflow_that_is_posted_is_answered_clearly(shared: Live, saved: Json) -> None:
    for body in ({"prompt": saved}, saved):
        answer = await shared.post("/prompt", body)
        if answer.status != 200:
            assert answer.error


# -- over the wire --------------------------------------------------------------------------------------------


def running_workflow() -> Json:
    """A number through a reroute and a subgraph into a node that shows it."""
    inner = subgraph("passing", [node(2, "Reroute", None, [("", "*", 1)], ["INT"])],
                     [link_object(1, -10, 0, 2, 0), link_object(2, 2, 0, -20, 0)], ["n"])
    return with_subgraphs(
        [node(1, "PrimitiveInt", [41, "randomize"], outputs=["INT"]), node(9, "Note", ["hello"]),
         node(4, "passing", None, [("n", "INT", 3)], ["INT"]),
         node(5, "Echo", [0], [("value", "INT", 4, "value")], title="The end")],
        [[3, 1, 0, 4, 0, "INT"], [4, 4, 0, 5, 0, "INT"]], inner)


@shared_loop
@pytest.mark.parametrize("is_bare", [False, True])
async def test_a_workflow_that_is_posted_runs(shared: Live, is_bare: bool) -> None:
    saved = running_workflow()
    answer = await shared.post("/prompt", {**saved, "client_id": "me"} if is_bare
                               else {"prompt": saved, "client_id": "me"})
    assert answer.status == 200, answer.body
    entry = await shared.finished(answer.json()["prompt_id"])
    assert entry["status"]["status_str"] == "success"
    assert entry["outputs"] == {"5": {"value": [41]}}
    _, _, prompt, extra_data, _ = entry["prompt"]
    assert prompt["5"] == {"class_type": "Echo", "inputs": {"value": ["1", 0]}, "_meta": {"title": "The end"}}
    assert extra_data["client_id"] == "me"
    assert extra_data["extra_pnginfo"]["workflow"] == saved


@shared_loop
async def test_a_key_beside_a_bare_workflow_is_kept_nowhere(shared: Live) -> None:
    answer = await shared.post("/prompt", {**running_workflow(), "extra_data": {"api_key_comfy_org": "sk-secret"}})
    entry = await shared.finished(answer.json()["prompt_id"])
    assert "sk-secret" not in json.dumps(entry)


@shared_loop
async def test_the_workflow_that_a_client_sends_beside_is_kept(shared: Live) -> None:
    beside = {"extra_pnginfo": {"workflow": {"mine": 1}, "more": 2}}
    said = await shared.accepted(running_workflow(), extra_data=beside)
    entry = await shared.finished(said["prompt_id"])
    assert entry["prompt"][3]["extra_pnginfo"] == beside["extra_pnginfo"]


@shared_loop
async def test_a_refusal_says_what_to_send(shared: Live) -> None:
    before = await shared.state()
    answer = await shared.submit(workflow([node(7, "SetNode", ["a"], outputs=["*"])]))
    assert answer.error["type"] == "workflow_not_converted"
    assert "node 7 (SetNode)" in answer.error["message"]
    assert "Export (API)" in answer.error["message"]
    assert await shared.state() == before


@shared_loop
async def test_a_workflow_with_an_unknown_class_is_refused_like_a_prompt_with_one(shared: Live) -> None:
    answer = await shared.submit(workflow([node(7, "NotInstalled", [], outputs=["*"])]))
    assert answer.error["type"] == "missing_node_type"


@shared_loop
async def test_a_class_that_does_not_say_what_it_takes_is_named(serve: Any) -> None:
    from nodes.packs.class_nodes import define_class_node
    from tests.web.live_server import DoesNotSay

    async with serve() as live:
        live.running.studio.registry.add(define_class_node("DoesNotSay", DoesNotSay, "tests"))
        answer = await live.submit(workflow([node(7, "DoesNotSay", [], outputs=["*"])]))
        assert answer.error["type"] == "workflow_not_converted"
        assert "DoesNotSay" in answer.error["message"]
