"""Scripts as users have them run unchanged: processes of their own, with a client library that is not ours."""

from __future__ import annotations

import asyncio
import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.inference.studio_client import node
from tests.support.studio import RunningStudio, running_studio

TESTS = Path(__file__).parents[1]
PACK = TESTS / "packs" / "testing_pack"


def saving(color: int, prefix: str, batch_size: int = 1) -> dict[str, Any]:
    return {"3": node("EmptyImage", width=32, height=16, batch_size=batch_size, color=color),
            "9": node("SaveImage", images=["3", 0], filename_prefix=prefix)}


async def run_script(studio: RunningStudio, name: str, prompt: dict[str, Any], *arguments: str | Path) -> list[str]:
    """Lines that a script prints; it must end well."""
    file = studio.base_directory / f"{name}-{id(prompt)}.json"
    await asyncio.to_thread(file.write_text, json.dumps(prompt))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(TESTS / "api_scripts" / name), studio.url.removeprefix("http://").rstrip("/"), str(file),
        *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().splitlines()


async def test_a_script_that_waits_for_the_end_and_fetches_the_images(tmp_path: Path) -> None:
    async with running_studio() as studio:
        lines = await run_script(studio, "images_of_a_prompt.py", saving(0xFF8000, "made", batch_size=2), tmp_path)
    assert [line.split()[:2] for line in lines] == [["9", "0"], ["9", "1"]]
    for number in range(2):
        picture = Image.open(BytesIO((tmp_path / f"9-{number}.png").read_bytes()))
        assert (picture.format, picture.size, picture.getpixel((5, 5))) == ("PNG", (32, 16), (255, 128, 0))


async def test_the_same_prompt_again_is_answered_from_the_cache_and_the_script_ends(tmp_path: Path) -> None:
    async with running_studio() as studio:
        first = await run_script(studio, "images_of_a_prompt.py", saving(1, "again"), tmp_path)
        assert await run_script(studio, "images_of_a_prompt.py", saving(1, "again"), tmp_path) == first


async def test_a_script_that_takes_pictures_from_the_socket(tmp_path: Path) -> None:
    prompt = {"1": node("EmptyImage", width=8, height=8, batch_size=1, color=7),
              "2": node("ProtoPreview", image=["1", 0], steps=3, fmt="JPEG", limit=64),
              "3": node("PreviewImage", images=["2", 0])}
    async with running_studio([PACK]) as studio:
        lines = await run_script(studio, "pictures_from_the_socket.py", prompt, "2", tmp_path)
    assert lines
    for line in lines:
        node_id, number, size = line.split()
        data = (tmp_path / f"{node_id}-{number}.jpg").read_bytes()
        assert len(data) == int(size)
        picture = Image.open(BytesIO(data))
        assert (node_id, picture.format, picture.size) == ("2", "JPEG", (64, 48))


async def test_a_script_that_polls_the_history() -> None:
    async with running_studio() as studio:
        status, outputs = await run_script(studio, "polls_the_history.py", saving(2, "polled"))
    assert status == "success True"
    assert json.loads(outputs) == {"9": {"images": [{"filename": "polled_00001_.png", "subfolder": "",
                                                     "type": "output"}]}}


async def test_two_scripts_at_once_each_get_their_own_images(tmp_path: Path) -> None:
    colors = {"one": 0x112233, "two": 0x445566}
    for name in colors:
        await asyncio.to_thread((tmp_path / name).mkdir)
    async with running_studio() as studio:
        await asyncio.gather(*(run_script(studio, "images_of_a_prompt.py", saving(color, name), tmp_path / name)
                               for name, color in colors.items()))
    for name, color in colors.items():
        picture = Image.open(BytesIO((tmp_path / name / "9-0.png").read_bytes()))
        assert picture.getpixel((0, 0)) == (color >> 16, color >> 8 & 255, color & 255)
