"""Packs of nodes that describe themselves by a schema, plain and async, loaded by a server and used by a script."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from tests.inference.studio_client import Prompt, StudioClient, connect, node
from tests.support.schema_nodes import errors_of
from tests.support.studio import RunningStudio, running_studio

PACKS = Path(__file__).resolve().parents[1] / "packs"


@pytest.fixture
async def studio() -> AsyncIterator[RunningStudio]:
    async with running_studio(packs=[PACKS / "schema_pack", PACKS / "schema_async_pack"]) as running:
        yield running


@pytest.fixture
async def client(studio: RunningStudio) -> AsyncIterator[StudioClient]:
    async with connect(studio.url) as connected:
        yield connected


def pack_module(studio: RunningStudio, name: str) -> Any:
    return sys.modules[str(studio.base_directory / "custom_nodes" / name).replace(".", "_x_")]


def shown(class_type: str, slot: int = 0, **inputs: Any) -> Prompt:
    """A prompt of one node whose output is shown."""
    return {"1": node(class_type, **inputs), "show": node("SchemaShow", value=["1", slot])}


def read_png(path: Path) -> tuple[Any, dict[str, str]]:
    """Pixels and texts of a file."""
    with Image.open(path) as picture:
        return numpy.asarray(picture), dict(picture.text)  # type: ignore[attr-defined]


async def shown_text(client: StudioClient, prompt: Prompt) -> str:
    run = await client.run(prompt)
    assert run.succeeded, [one["exception_message"] for one in run.of("execution_error")]
    [text] = run.shown["show"]["text"]
    return text.removeprefix("show: ")


async def test_nodes_are_told_of_with_every_key(client: StudioClient) -> None:
    info = await client.get("/object_info")
    assert info["SchemaJoin"] == {
        "input": {"required": {
            "texts": ["COMFY_AUTOGROW_V3", {"template": {
                "input": {"required": {"text": ["STRING", {"multiline": False, "forceInput": True}]}},
                "prefix": "text", "min": 2, "max": 5}}],
            "between": ["STRING", {"default": ", ", "multiline": False}]}},
        "input_order": {"required": ["texts", "between"]}, "is_input_list": False, "output": ["STRING", "INT"],
        "output_is_list": [False, False], "output_name": ["joined", "count"], "output_tooltips": [None, None],
        "output_matchtypes": None, "name": "SchemaJoin", "display_name": "Join Texts", "description": "",
        "python_module": "custom_nodes.schema_pack", "category": "schema pack", "output_node": False,
        "has_intermediate_output": False, "deprecated": False, "experimental": False, "dev_only": False,
        "api_node": False, "price_badge": None, "search_aliases": None, "essentials_category": None}
    picture = info["SchemaPicture"]
    assert picture["display_name"] is None
    assert picture["input"]["required"]["form"] == ["COMFY_DYNAMICCOMBO_V3", {"options": [
        {"key": "square", "inputs": {"required": {"side": ["INT", {"default": 8, "min": 1, "max": 64}]}}},
        {"key": "oblong", "inputs": {"required": {"width": ["INT", {"min": 1}], "height": ["INT", {"min": 1}]}}}]}]
    assert picture["input"]["optional"]["mask"] == ["COMFY_DYNAMICSLOT_V3", {
        "slotType": "MASK", "inputs": {"required": {"strength": ["FLOAT", {"default": 1.0}]}}, "forceInput": True}]
    assert picture["input"]["hidden"] == {"prompt": ["PROMPT"], "extra_pnginfo": ["EXTRA_PNGINFO"]}
    choose = info["AsyncSchemaChoose"]
    assert choose["input"]["required"]["a"] == ["COMFY_MATCHTYPE_V3", {
        "lazy": True, "template": {"template_id": "either", "allowed_types": "STRING,INT"}}]
    assert (choose["output"], choose["output_matchtypes"]) == (["COMFY_MATCHTYPE_V3"], ["either"])
    assert info["AsyncSchemaSpread"]["input"]["required"]["texts"][1] == {
        "multiselect": True, "options": ["a", "b", "c", "d"], "multi_select": {}}


async def test_as_many_texts_as_there_are(client: StudioClient) -> None:
    texts = {"texts.text0": "a", "texts.text1": "b", "texts.text3": "d"}
    assert await shown_text(client, shown("SchemaJoin", between="/", **texts)) == "a/b/d"


async def test_what_is_wrong_with_a_group_is_said_under_its_dotted_name(client: StudioClient) -> None:
    missing = await client.refusal(shown("SchemaJoin", between="/", **{"texts.text0": "a"}))
    assert errors_of(missing) == [("required_input_missing", "text1", "texts.text1")]
    refused = await client.refusal(shown("SchemaJoin", between="", **{"texts.text0": "a", "texts.text1": "forbidden"}))
    assert errors_of(refused) == [
        ("custom_validation_failed", f"texts.text{index} - there is a text that must not be", f"texts.text{index}")
        for index in (0, 1)]
    unknown = await client.refusal({"1": node("SchemaPicture", form="round")})
    assert errors_of(unknown) == [("value_not_in_list", "form: 'round' not in ['square', 'oblong']", "form")]
    assert errors_of(await client.refusal({"1": node("SchemaPicture")})) == [
        ("required_input_missing", "form", "form")]
    bounds = await client.refusal({"1": node("SchemaPicture", form="square", **{"form.side": 65})})
    assert errors_of(bounds) == [("value_bigger_than_max", "form.side", "form.side")]
    linked = await client.refusal({"1": node("SchemaPicture", form="square", **{"form.side": ["2", 0]}),
                                   "2": node("SchemaHalf", side=4)})
    assert errors_of(linked) == [("return_type_mismatch", "form.side, received_type(MASK) mismatch input_type(INT)",
                                  "form.side")]


async def test_a_chosen_option_and_a_socket_bring_their_inputs(studio: RunningStudio, client: StudioClient) -> None:
    prompt = {"half": node("SchemaHalf", side=8),
              "1": node("SchemaPicture", form="square", mask=["half", 0],
                        **{"form.side": "8", "form.width": 3, "mask.strength": 1})}
    run = await client.run(prompt, extra_data={"extra_pnginfo": {"workflow": {"id": "w"}}})
    assert run.succeeded
    [saved] = run.shown["1"]["images"]
    assert run.shown["1"]["animated"] == [False]
    assert saved["type"] == "temp"
    assert saved["filename"].startswith("ComfyUI_temp_")
    pixels, texts = await asyncio.to_thread(read_png, studio.base_directory / "temp" / saved["filename"])
    assert pixels.shape == (8, 8, 3)
    assert (pixels[:4].max(), pixels[4:].min()) == (0, 127)
    assert json.loads(texts["workflow"]) == {"id": "w"}
    assert json.loads(texts["prompt"])["1"]["inputs"]["form.side"] == 8  # converted under its flat name


async def test_a_picture_without_the_optional_socket(client: StudioClient) -> None:
    run = await client.run({"1": node("SchemaPicture", form="oblong", **{"form.width": 3, "form.height": 2})})
    assert run.succeeded
    assert len(run.shown["1"]["images"]) == 1


async def test_only_the_text_that_is_picked_is_evaluated(client: StudioClient) -> None:
    prompt = {"a": node("SchemaStamp", name="a"), "b": node("SchemaStamp", name="b"),
              "1": node("SchemaPick", index=1, **{"texts.text0": ["a", 0], "texts.text1": ["b", 0]}),
              "show": node("SchemaShow", value=["1", 0])}
    run = await client.run(prompt)
    assert run.shown["show"]["text"] == ["show: b: None"]
    assert set(run.started) == {"b", "1", "show"}


async def test_a_node_becomes_a_chain_of_nodes(client: StudioClient) -> None:
    run = await client.run(shown("SchemaRepeat", text="x", times=3))
    assert run.shown["show"]["text"] == ["show: x-x-x-x"]
    assert len([one for one in run.started if one.startswith("1.0.0.")]) == 3


async def test_a_stamp_that_changed_runs_again(studio: RunningStudio, client: StudioClient) -> None:
    module = pack_module(studio, "schema_pack")
    prompt = shown("SchemaStamp", name="n")
    assert await shown_text(client, prompt) == "n: None"
    module.stamps["n"] = 5
    assert await shown_text(client, prompt) == "n: 5"
    assert "1" in (await client.run(prompt)).cached
    assert module.checks == ["n"] * 3


async def test_loading_runs_on_load_once_and_registers_replacements(studio: RunningStudio,
                                                                    client: StudioClient) -> None:
    assert pack_module(studio, "schema_pack").loads == ["SchemaExtension"]
    assert [one["new_node_id"] for one in (await client.get("/node_replacements"))["OldJoin"]] == ["SchemaJoin"]
    prompt = shown("OldJoin", slot=1, first="a", second="b", lost="c")
    assert await shown_text(client, prompt) == "a+b"


async def test_async_nodes_wait_side_by_side_within_their_limit(studio: RunningStudio, client: StudioClient) -> None:
    texts = {f"texts.text{index}": [f"wait {index}", 0] for index in range(4)}
    prompt = {f"wait {index}": node("AsyncSchemaWait", text=str(index), turns=5) for index in range(4)}
    run = await client.run({**prompt, **shown("SchemaJoin", between="", **texts)})
    assert run.shown["show"]["text"] == ["show: 0123"]
    module = pack_module(studio, "schema_async_pack")
    assert (module.most_at_once, module.at_once) == (2, 0)
    last = run.of("progress_state")[-1]["nodes"]
    assert {last[f"wait {index}"]["max"] for index in range(4)} == {5}
    assert await shown_text(client, shown("AsyncSchemaWait", text="again", turns=1)) == "again"  # the same semaphore


async def test_an_async_validator_refuses(client: StudioClient) -> None:
    refused = await client.refusal(shown("AsyncSchemaWait", text="forbidden", turns=1))
    assert errors_of(refused) == [("custom_validation_failed", "text - this text must not be", "text")]


@pytest.mark.parametrize(("first", "text", "other"), [(True, "a", "b"), (False, "b", "a")])
async def test_an_async_check_evaluates_one_of_two(client: StudioClient, first: bool, text: str, other: str) -> None:
    prompt = {"a": node("AsyncSchemaWait", text="a", turns=1), "b": node("AsyncSchemaWait", text="b", turns=1),
              **shown("AsyncSchemaChoose", first=first, a=["a", 0], b=["b", 0])}
    run = await client.run(prompt)
    assert run.shown["show"]["text"] == [f"show: {text}"]
    assert other not in run.started


async def test_an_async_node_becomes_nodes_of_another_pack(client: StudioClient) -> None:
    prompt = shown("AsyncSchemaSpread", texts={"__value__": ["c", "a", "b"]})
    assert await shown_text(client, prompt) == "cab"
    assert await shown_text(client, shown("AsyncSchemaSpread", slot=1, texts={"__value__": ["a", "d"]})) == "int"


async def test_an_async_fingerprint_that_equals_nothing_runs_each_time(client: StudioClient) -> None:
    assert (await client.run({"1": node("AsyncSchemaKeep", text="always")})).started == ["1"]
    again = await client.run({"1": node("AsyncSchemaKeep", text="always")})
    assert (again.started, again.shown) == (["1"], {"1": {"text": ["always"]}})
    await client.run({"1": node("AsyncSchemaKeep", text="once")})
    assert (await client.run({"1": node("AsyncSchemaKeep", text="once")})).started == []


async def test_what_is_blocked_with_a_reason_tells_its_consumer(client: StudioClient) -> None:
    run = await client.run(shown("AsyncSchemaKeep", text=""))
    assert run.succeeded
    assert [(error["node_id"], error["exception_message"]) for error in run.of("execution_error")] == [
        ("show", "Execution Blocked: there is no text")]
    assert "1" not in run.shown
