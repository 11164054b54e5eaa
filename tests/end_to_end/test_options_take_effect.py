"""Start options that move folders, leave things out or change files: what they ask for is so, seen from outside."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from nodes.packs.schema import io_words
from nodes.packs.schema.api import ComfyAPI
from tests.inference.studio_client import Binary, connect, node
from tests.support.schema_nodes import schema_node, studio_with
from tests.support.studio import RunningStudio, running_studio

SAVES = {"1": node("EmptyImage", width=8, height=8, batch_size=1, color=7),
         "2": node("SaveImage", images=["1", 0], filename_prefix="kept"),
         "3": node("PreviewImage", images=["1", 0])}


async def ask(studio: RunningStudio, path: str) -> Any:
    async with aiohttp.ClientSession(studio.url) as http, http.get(path) as answer:
        assert answer.status == 200, path
        return await answer.json()


async def ran(studio: RunningStudio, prompt: dict[str, Any], **fields: Any) -> None:
    async with connect(studio.url) as client:
        run = await client.run(prompt, **fields)
    assert run.succeeded


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


async def test_each_folder_can_be_elsewhere(tmp_path: Path) -> None:
    elsewhere = {f"{name}_directory": tmp_path / "elsewhere" / name
                 for name in ("input", "output", "temp", "user", "models")}
    lora = elsewhere["models_directory"] / "loras" / "a.safetensors"
    lora.parent.mkdir(parents=True)
    lora.write_bytes(b"")
    async with running_studio(base_directory=tmp_path / "base", **elsewhere) as studio:
        await ran(studio, SAVES)
        form = aiohttp.FormData()
        form.add_field("image", b"sent", filename="sent.png")
        async with aiohttp.ClientSession(studio.url) as http:
            assert (await http.post("/upload/image", data=form)).status == 200
            assert (await http.post("/settings/a", data=b"1")).status == 200
        assert await ask(studio, "/models/loras") == ["a.safetensors"]
        shown = await asyncio.to_thread(files_below, elsewhere["temp_directory"])
    found = {name: files_below(folder) for name, folder in elsewhere.items()}
    assert "kept_00001_.png" in found["output_directory"]
    assert len([one for one in shown if one.endswith("_00001_.png")]) == 1
    assert {"sent.png", "example.png"} <= set(found["input_directory"])
    assert "default/comfy.settings.json" in found["user_directory"]
    left = {path.name for path in (tmp_path / "base").iterdir()}
    assert left == {"custom_nodes"}, "nothing is made in the base directory beside packs"


@pytest.mark.parametrize(("is_off", "kept"), [(False, {"prompt", "workflow"}), (True, set())])
async def test_metadata_can_be_left_out_of_saved_images(tmp_path: Path, is_off: bool, kept: set[str]) -> None:
    async with running_studio(base_directory=tmp_path, disable_metadata=is_off) as studio:
        await ran(studio, SAVES, extra_data={"extra_pnginfo": {"workflow": {"nodes": []}}})
        saved = await asyncio.to_thread((tmp_path / "output" / "kept_00001_.png").read_bytes)
    with Image.open(io.BytesIO(saved)) as picture:
        assert set(picture.info) == kept


@pytest.mark.parametrize(("settings", "states"), [
    ({}, {"one": "loaded", "two": "loaded"}),
    ({"disable_all_custom_nodes": True}, {"one": "disabled", "two": "disabled"}),
    ({"disable_all_custom_nodes": True, "whitelist_custom_nodes": ["two"]}, {"one": "disabled", "two": "loaded"}),
    ({"whitelist_custom_nodes": ["two"]}, {"one": "loaded", "two": "loaded"}),
])
async def test_packs_can_be_left_out_but_for_those_that_are_named(tmp_path: Path, settings: dict[str, Any],
                                                                  states: dict[str, str]) -> None:
    source = ("class {0}:\n    RETURN_TYPES, FUNCTION = (), 'run'\n    INPUT_TYPES = classmethod(lambda cls: {{}})\n"
              "    def run(self): return ()\nNODE_CLASS_MAPPINGS = {{'{0}': {0}}}\n")
    for name in ("one", "two"):
        folder = tmp_path / "custom_nodes" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(source.format(f"Of_{name}"))
    async with running_studio(base_directory=tmp_path, **settings) as studio:
        listed = await ask(studio, "/packs")
        classes = await ask(studio, "/object_info")
    assert {one["name"]: one["state"] for one in listed} == states
    assert {name for name in classes if name.startswith("Of_")} == {
        f"Of_{name}" for name, state in states.items() if state == "loaded"}


@pytest.mark.parametrize("text", ["- ImageInvert\n- Nowhere\n", "images:\n  - ImageInvert\nothers: [Nowhere]\n"])
async def test_classes_can_be_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "left_out.yaml").write_text(text)
    async with running_studio(disabled_nodes_config=tmp_path / "left_out.yaml") as studio:
        classes = await ask(studio, "/object_info")
        async with connect(studio.url) as client:
            refused = await client.refusal({"1": node("ImageInvert")})
    assert "ImageInvert" not in classes
    assert "ImageScale" in classes
    assert refused["error"]["type"] == "missing_node_type"


async def test_more_folders_of_models_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "more" / "mine").mkdir(parents=True)
    (tmp_path / "more" / "mine" / "b.safetensors").write_bytes(b"")
    (tmp_path / "paths.yaml").write_text(f"more:\n  base_path: {tmp_path / 'more'}\n  loras: mine\n  fresh: mine\n")
    async with running_studio(extra_model_paths_config=[tmp_path / "paths.yaml"]) as studio:
        assert await ask(studio, "/models/loras") == ["b.safetensors"]
        assert await ask(studio, "/models/fresh") == ["b.safetensors"]
        assert str(tmp_path / "more" / "mine") in (await ask(studio, "/internal/folder_paths"))["loras"]


@pytest.mark.parametrize("side", [512, 40])
async def test_previews_that_no_node_sizes_have_the_size_that_was_asked_for(side: int) -> None:
    async def show(cls: Any) -> None:
        await ComfyAPI().execution.set_progress(1, 2, preview_image=Image.new("RGB", (64, 32)))

    showing = schema_node(show, is_output_node=True, hidden=[io_words.Hidden.unique_id])
    async with studio_with({"preview_size": side}, Show=showing) as (studio, _), \
            connect(studio.url, "flagged", supports_preview_metadata=True) as client:
        run = await client.run({"1": node("Show")})
    [preview] = [frame for frame in run.frames if isinstance(frame, Binary)]
    length = int.from_bytes(preview.payload[:4], "big")
    assert json.loads(preview.payload[4:4 + length])["node_id"] == "1"
    with Image.open(io.BytesIO(preview.payload[4 + length:])) as picture:
        assert picture.size == (side, side // 2)

