"""The main job on real input: a photograph goes through async and plain nodes, submitted over REST, watched over a
WebSocket, and comes back as an image; its pixels are compared with the same steps done by hand."""

import asyncio
import contextlib
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy
import pytest
import skimage
import torch
from aiohttp import web
from PIL import Image

import server
from tests.inference.studio_client import Message, Prompt, Run, StudioClient, connect, node
from tests.support.studio import running_studio

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
ASTRONAUT = (PHOTOGRAPHS / "astronaut.png").read_bytes()
"""NASA, public domain; 512x512."""
CAT = (PHOTOGRAPHS / "chelsea.png").read_bytes()
"""Stefan van der Walt, CC0; 451x300."""
WIDTH, HEIGHT = 320, 240
WORKFLOW = {"nodes": [{"id": 1, "title": "ein Foto é"}], "version": 0.4}


class PictureServer:
    """Another machine that has a picture."""

    def __init__(self) -> None:
        self.requests = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["PictureServer"]:
        async def picture(request: web.Request) -> web.Response:
            self.requests += 1
            return web.Response(body=CAT, content_type="image/png")

        app = web.Application()
        app.router.add_get("/cat.png", picture)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/cat.png"
        try:
            yield self
        finally:
            await runner.cleanup()


def prompt_for(photograph: str, url: str) -> Prompt:
    return {
        "1": node("LoadImage", image=photograph),
        "2": node("ImageScale", image=["1", 0], upscale_method="lanczos", width=WIDTH, height=HEIGHT, crop="center"),
        "3": node("ImageBlur", image=["2", 0], blur_radius=4, sigma=0.8),
        "4": node("ImageSharpen", image=["2", 0], sharpen_radius=2, sigma=1.0, alpha=0.1),
        "5": node("ImageInvert", image=["3", 0]),
        "6": node("Sleep", seconds=0.12, value=["5", 0]),
        "7": node("ImageBlend", image1=["4", 0], image2=["6", 0], blend_factor=0.25, blend_mode="screen"),
        "8": node("LoadImageFromURL", url=url, timeout=20),
        "9": node("ImageScale", image=["8", 0], upscale_method="bilinear", width=WIDTH, height=HEIGHT,
                  crop="disabled"),
        "10": node("ImageBlend", image1=["7", 0], image2=["9", 0], blend_factor=0.5, blend_mode="normal"),
        "11": node("SaveImage", images=["10", 0], filename_prefix="photographs/result"),
        "12": node("PreviewImage", images=["5", 0]),
    }


# --- by hand -------------------------------------------------------------------------------------------------------


def floats(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(numpy.asarray(picture.convert("RGB"), dtype=numpy.float32) / 255)


def blurred(image: torch.Tensor, radius: int, sigma: float) -> torch.Tensor:
    """With the whole square kernel, in double precision."""
    line = torch.linspace(-1, 1, 2 * radius + 1, dtype=torch.float64)
    kernel = torch.exp(-(line[:, None] ** 2 + line[None, :] ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    channels = image.double().permute(2, 0, 1)[:, None]
    padded = torch.nn.functional.pad(channels, (radius,) * 4, mode="reflect")
    return torch.nn.functional.conv2d(padded, kernel[None, None])[:, 0].permute(1, 2, 0)


def by_hand() -> tuple[torch.Tensor, torch.Tensor]:
    """What is saved, and what is previewed, as floats."""
    astronaut = Image.open(io.BytesIO(ASTRONAUT)).convert("RGB")
    cut = (astronaut.height - astronaut.width * HEIGHT // WIDTH) // 2
    scaled = floats(astronaut.crop((0, cut, astronaut.width, astronaut.height - cut))
                    .resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    inverted = 1 - blurred(scaled, 4, 0.8)
    sharpened = (scaled + (scaled - blurred(scaled, 2, 1.0))).clamp(0, 1)  # ten times 0.1
    screened = 1 - (1 - sharpened) * (1 - inverted)
    seventh = (0.75 * sharpened + 0.25 * screened).clamp(0, 1)
    cat = floats(Image.open(io.BytesIO(CAT))).permute(2, 0, 1)[None]
    cat = torch.nn.functional.interpolate(cat, (HEIGHT, WIDTH), mode="bilinear")[0].permute(1, 2, 0)
    return (0.5 * seventh + 0.5 * cat).clamp(0, 1), inverted


def assert_pixels(picture: Image.Image, expected: torch.Tensor) -> None:
    assert (picture.mode, picture.size) == ("RGB", (WIDTH, HEIGHT))
    wanted = (expected * 255).clamp(0, 255).numpy()
    difference = numpy.abs(numpy.asarray(picture, dtype=numpy.float64) - numpy.floor(wanted))
    assert difference.max() <= 1, difference.max()
    assert (difference > 0).mean() < 0.01, "more than roundings differ"


# --- over the wire -------------------------------------------------------------------------------------------------


async def upload(client: StudioClient, name: str, content: bytes) -> str:
    form = aiohttp.FormData()
    form.add_field("image", content, filename=name, content_type="image/png")
    async with client.session.post(f"{client.url}/upload/image", data=form) as response:
        answer = await response.json()
        assert response.status == 200, answer
    assert answer == {"name": name, "subfolder": "", "type": "input"}
    return answer["name"]


async def view(client: StudioClient, file: dict[str, str]) -> Image.Image:
    async with client.session.get(f"{client.url}/view", params=file) as response:
        assert response.status == 200
        assert response.content_type == "image/png"
        return Image.open(io.BytesIO(await response.read()))


def assert_order(run: Run, prompt: Prompt) -> None:
    """protocol.md 2.6: the frame that all prompts have in common, and for each node its own."""
    kinds = [message.kind for message in run.messages]
    assert kinds[:4] == ["status", "status", "execution_start", "execution_cached"]
    assert kinds[-3:] == ["execution_success", "status", "executing"]
    remaining = [data["status"]["exec_info"]["queue_remaining"] for data in run.of("status")]
    assert remaining == [1, 1, 0]
    assert run.cached == []
    assert sorted(run.started) == sorted(prompt)  # each once
    places = {node_id: index for index, node_id in enumerate(run.started)}
    for node_id, entry in prompt.items():
        for value in entry["inputs"].values():
            if isinstance(value, list):
                assert places[value[0]] < places[node_id]
    executing = {data["node"]: data for data in run.of("executing")}
    assert executing["6"] == {"node": "6", "display_node": "6", "prompt_id": run.prompt_id}
    assert executing[None] == {"node": None, "prompt_id": run.prompt_id}
    assert set(run.shown) == {"11", "12"}

    def position(kind: str, node_id: str) -> int:
        return next(index for index, message in enumerate(run.messages)
                    if message.kind == kind and message.data["node"] == node_id)

    for node_id in ("11", "12"):
        assert position("executing", node_id) < position("executed", node_id)
    ticks = [(index, message.data) for index, message in enumerate(run.messages)
             if message.kind == "progress" and message.data["node"] == "6"]
    assert len(ticks) >= 2
    assert position("executing", "6") < ticks[0][0]
    assert ticks[-1][0] < position("executing", "7")
    assert ticks[-1][1]["value"] == pytest.approx(0.12)
    assert ticks[-1][1]["max"] == 0.12
    download = [data for data in run.of("progress") if data["node"] == "8"]
    assert download[-1]["value"] == download[-1]["max"] == len(CAT)
    table = run.of("progress_state")[-1]  # it may stand before what it tells of: an unsent one is replaced in its place
    assert {row["state"] for row in table["nodes"].values()} == {"finished"}
    assert set(table["nodes"]) == set(prompt)
    timestamps = [run.of(kind)[0]["timestamp"] for kind in ("execution_start", "execution_cached",
                                                            "execution_success")]
    assert timestamps == sorted(timestamps)
    assert all(type(one) is int for one in timestamps)


async def photograph_goes_through() -> None:
    async with (running_studio(allow_private_urls=True) as studio, PictureServer().running() as pictures,
                connect(studio.url, "watcher") as client):
        prompt = prompt_for(await upload(client, "astronaut.png", ASTRONAUT), pictures.url)
        body = {"extra_data": {"extra_pnginfo": {"workflow": WORKFLOW}}}
        run = await client.run(prompt, **body)
        assert_order(run, prompt)
        (saved,), (previewed,) = run.shown["11"]["images"], run.shown["12"]["images"]
        assert saved == {"filename": "result_00001_.png", "subfolder": "photographs", "type": "output"}
        assert previewed["type"] == "temp"
        expected, inverted = by_hand()
        picture = await view(client, saved)
        assert_pixels(picture, expected)
        assert_pixels(await view(client, previewed), inverted)
        texts: Any = picture.text  # type: ignore[attr-defined]
        recorded = json.loads(texts["prompt"])
        assert recorded["1"].pop("is_changed") == [hashlib.sha256(ASTRONAUT).hexdigest()]  # node-api 1.3
        assert recorded == prompt
        assert json.loads(texts["workflow"]) == WORKFLOW
        assert (studio.base_directory / "output" / "photographs" / "result_00001_.png").exists()
        history = await client.history(run.prompt_id)
        assert history["outputs"] == run.shown
        assert history["status"]["completed"] is True

        again = await client.run(prompt, **body)
        assert again.cached == list(prompt)
        assert again.started == []
        assert again.shown == run.shown
        assert again.succeeded
        assert pictures.requests == 1

        changed = {**prompt, "10": node("ImageBlend", **{**prompt["10"]["inputs"], "blend_factor": 0.0})}
        third = await client.run(changed, **body)
        assert third.started == ["10", "11"]
        assert third.shown["11"]["images"][0]["filename"] == "result_00002_.png"


async def test_a_photograph_goes_through_and_nothing_blocks_the_loop() -> None:
    """Watched by the guard against blocking calls, as all async tests here are."""
    await photograph_goes_through()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_photograph_on_each_loop(loop: str) -> None:
    async def within_its_time() -> None:
        running = type(asyncio.get_running_loop()).__module__
        assert running.partition(".")[0] == loop
        async with asyncio.timeout(60):
            await photograph_goes_through()

    with asyncio.Runner(loop_factory=server.loop_factory(loop)) as runner:
        runner.run(within_its_time())


async def test_a_replaced_photograph_is_noticed() -> None:
    """The same name with other content is another input."""
    async with running_studio() as studio, connect(studio.url) as client:
        name = await upload(client, "photo.png", ASTRONAUT)
        prompt = {"1": node("LoadImage", image=name), "2": node("PreviewImage", images=["1", 0])}
        await client.run(prompt)
        assert (await client.run(prompt)).started == []
        form = aiohttp.FormData({"overwrite": "true"})
        form.add_field("image", CAT, filename=name)
        async with client.session.post(f"{client.url}/upload/image", data=form) as response:
            assert (await response.json())["name"] == name
        run = await client.run(prompt)
        assert run.started == ["1", "2"]
        picture = await view(client, run.shown["2"]["images"][0])
        assert picture.size == (451, 300)


async def test_two_clients_share_the_work_on_a_photograph_and_save_two_files() -> None:
    async with (running_studio() as studio, connect(studio.url, "a") as one, connect(studio.url, "b") as other):
        name = await upload(one, "photo.png", CAT)
        prompt = {"1": node("LoadImage", image=name), "2": node("ImageBlur", image=["1", 0], blur_radius=9, sigma=1.0),
                  "3": node("SaveImage", images=["2", 0], filename_prefix="x")}
        ids = await asyncio.gather(one.submit(prompt), other.submit({**prompt, "4": node("Sleep", seconds=0)}))
        runs = [await one.end_of(ids[0]), await other.end_of(ids[1])]
        files = [run.shown["3"]["images"][0]["filename"] for run in runs]
        pictures = [await view(one, run.shown["3"]["images"][0]) for run in runs]
    assert all(run.succeeded for run in runs)
    assert pictures[0].tobytes() == pictures[1].tobytes()
    assert set(files) <= {"x_00001_.png", "x_00002_.png"}
    assert [frame for run in runs for frame in run.frames if isinstance(frame, Message)
            and frame.data.get("prompt_id", run.prompt_id) != run.prompt_id] == []
