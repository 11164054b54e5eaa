"""Nodes of classes that are gone are rewritten as packs say, and nothing else is touched."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from tests.web.live_server import Live
from web.app import create_app
from web.app_keys import PACK_TABLES, WebSettings
from web.old_classes import replace_old_classes
from web.pack_files import PackTables
from web.submission_requests import LARGE_BODY

KNOWN = {"BlurV2", "Show"}
BLUR = {"new_node_id": "BlurV2", "old_node_id": "OldBlur", "old_widget_ids": ["radius"],
        "input_mapping": [{"new_id": "image", "old_id": "img"}, {"new_id": "mode", "set_value": "fast"},
                          {"new_id": "more", "old_id": "missing"}],
        "output_mapping": [{"old_idx": 0, "new_idx": 1}]}
TABLE: dict[str, Any] = {
    "OldBlur": [BLUR, {**BLUR, "new_node_id": "Show"}],
    "Plain": [{"new_node_id": "Show", "old_node_id": "Plain", "old_widget_ids": None, "input_mapping": None,
               "output_mapping": None}],
    "ToNowhere": [{"new_node_id": "AlsoGone", "old_node_id": "ToNowhere"}],
    "Show": [{"new_node_id": "BlurV2", "old_node_id": "Show"}],
    "Nothing": [],
}


def replaced(prompt: Any, table: Any = TABLE) -> Any:
    prompt = copy.deepcopy(prompt)
    replace_old_classes(prompt, table, KNOWN.__contains__)
    return prompt


def node(class_type: Any, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def test_class_inputs_and_links_are_those_of_the_replacement() -> None:
    prompt = {"0": node("Show", x=["1", 0], y=["1", 1], z=["2", 0], w=["1", 0, 0]),
              "1": {**node("OldBlur", img=["2", 0], radius=5), "_meta": {"title": "Mine"}},
              "2": node("Plain", a=1, b=["1", 0])}
    assert replaced(prompt) == {
        "0": node("Show", x=["1", 1], y=["1", 1], z=["2", 0], w=["1", 0, 0]),
        "1": {**node("BlurV2", image=["2", 0], mode="fast"), "_meta": {"title": "Mine"}},
        "2": node("Show", a=1, b=["1", 1])}


@pytest.mark.parametrize("prompt", [
    {"1": node("Show", x=1)}, {"1": node("ToNowhere", x=1)}, {"1": node("Unheard", x=1)}, {"1": node("Nothing")},
    {"1": {"class_type": "OldBlur"}}, {"1": {"inputs": {}}}, {"1": {"class_type": "OldBlur", "inputs": []}},
    {"1": node(["OldBlur"]), "2": node(None), "3": "OldBlur", "4": None}, [], "OldBlur", None, 5,
])
def test_what_is_left_alone(prompt: Any) -> None:
    assert replaced(prompt) == prompt


def test_a_mapping_that_makes_no_sense_is_passed_over() -> None:
    odd = {"new_node_id": "BlurV2", "input_mapping": [{}, {"new_id": []}, {"new_id": "a", "old_id": {}},
                                                      {"new_id": "b", "old_id": "img"}],
           "output_mapping": [{}, {"old_idx": [], "new_idx": 1}, {"old_idx": 0, "new_idx": 2}]}
    prompt = {"1": node("Odd", img=5), "2": node("Show", x=["1", 0], y=["1", 1])}
    assert replaced(prompt, {"Odd": [odd]}) == {"1": node("BlurV2", b=5), "2": node("Show", x=["1", 2], y=["1", 1])}


JSON = st.recursive(st.none() | st.integers() | st.sampled_from(["1", "OldBlur", "Plain", "img"]),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["1", "2", "class_type", "inputs", "img"]), inner, max_size=4), max_leaves=12)


@given(JSON)
def test_nothing_that_is_sent_breaks_it(prompt: Any) -> None:
    replaced(prompt)


@pytest.mark.parametrize("size", [1, LARGE_BODY])
async def test_a_prompt_with_an_old_class_runs_as_the_new_one_and_is_shown_so(live: Live, size: int) -> None:
    app = create_app(live.running.engine, WebSettings(directory_of=lambda kind: None, system_facts=dict))
    app[PACK_TABLES] = PackTables(node_replacements={"OldEcho": [
        {"new_node_id": "Echo", "old_node_id": "OldEcho", "old_widget_ids": None,
         "input_mapping": [{"new_id": "value", "old_id": "number"}], "output_mapping": None}]})
    body = {"prompt": {"1": node("OldEcho", number="7", note="x" * size)}, "prompt_id": "old"}
    async with TestClient(TestServer(app)) as client:
        assert (await client.post("/prompt", json=body)).status == 200
    entry = await live.finished("old")
    assert entry["prompt"][2] == {"1": node("Echo", value=7)}
    assert entry["outputs"] == {"1": {"value": [7]}}
