"""The page in a real browser against a real server: what a person clicks, and what the person then sees."""

import asyncio
import contextlib
import io
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy
import pytest
import skimage.data
from PIL import Image

from tests.support.browser import Page, open_page, running_chromium
from tests.support.studio import RunningStudio, running_studio

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "web" / "ui" / "examples"
PICTURE_FILE = "STUDIO_PICTURE"
"""The environment variable that names the file for the README's picture."""

RUNS = "[...document.querySelectorAll('.run')].map((run) => run.dataset.state).join(' ')"
CONNECTED = "document.getElementById('connection').dataset.state === 'connected'"
QUEUE_IS_EMPTY = ("document.getElementById('queue-summary').textContent === 'Empty' "
                  "&& !document.querySelector('#queue-items li')")
WAITS = ("Wait A, seconds", "Wait B, seconds", "Wait C, seconds", "Wait D, seconds", "Wait E, seconds")


@pytest.fixture(scope="module")
def chromium() -> Iterator[str]:
    with running_chromium() as address:
        yield address


@contextlib.asynccontextmanager
async def opened(chromium: str, **settings: Any) -> AsyncIterator[tuple[RunningStudio, Page]]:
    """A server, and its page, ready."""
    async with running_studio(**settings) as studio, open_page(chromium) as page:
        await go(page, studio.url)
        yield studio, page


async def go(page: Page, url: str) -> None:
    """Open the page; back when one can press Run."""
    await page.go(url)
    await page.until(f"{CONNECTED} && !document.getElementById('run').disabled")


def example(key: str) -> Any:
    return json.loads((EXAMPLES / f"{key}.json").read_text())


async def choose(page: Page, key: str) -> None:
    """Click an example; back when its graph and its fields are there."""
    await page.click(f"#example-{key}")
    title, nodes, fields = (json.dumps(example(key)["title"]), len(example(key)["prompt"]),
                            len(example(key)["editable"]))
    await page.until(f"document.getElementById('workflow-title').textContent === {title} "
                     f"&& document.querySelectorAll('#graph .node').length === {nodes} "
                     f"&& document.querySelectorAll('#constants .field').length === {fields}")


async def field(page: Page, label: str) -> str:
    """The selector of the field with this label."""
    found = f"[...document.querySelectorAll('#constants label')].find((each) => each.innerText === {json.dumps(label)})"
    return f"#{await page.evaluate(f'{found}.htmlFor')}"


async def fill(page: Page, **values: object) -> None:
    """Write into fields by their labels, `_` for a space."""
    for label, value in values.items():
        await page.write(await field(page, label.replace("_", " ")), value)


async def set_waits(page: Page, *seconds: float) -> None:
    for label, value in zip(WAITS, seconds, strict=True):
        await page.write(await field(page, label), value)


async def run(page: Page) -> None:
    """Press Run; back when the page shows one run more."""
    before = await page.evaluate("document.querySelectorAll('.run').length")
    await page.click("#run")
    await page.until(f"document.querySelectorAll('.run').length === {before + 1}")


async def interrupt(page: Page, number: int = 1) -> None:
    """Press the button of a run's card, the newest being 1, once the queue's list stands: it moves what is below."""
    await page.until("document.querySelectorAll('#queue-items li').length "
                     "=== document.querySelectorAll('.run[data-state=running]').length")
    await page.click(f".run:nth-child({number}) .run-head button.quiet")


async def until_runs_are(page: Page, *states: str) -> None:
    """Wait for these states of the runs, newest first."""
    await page.until(f"{RUNS} === {json.dumps(' '.join(states))}")


async def pictures_are_there(page: Page, count: int) -> list[tuple[int, int]]:
    """Wait until so many pictures are in the gallery and in sight: their sizes."""
    images = "[...document.querySelectorAll('#gallery img')]"
    sizes = f"{images}.map((image) => [image.naturalWidth, image.naturalHeight])"
    found = await page.until(f"{images}.length === {count} && {images}.every((image) => image.naturalWidth) && {sizes}")
    return [(width, height) for width, height in found]


async def history(page: Page) -> list[Any]:
    """The entries of the server's history, oldest first."""
    entries = await page.evaluate("fetch('/api/history').then((answer) => answer.json())")
    return list(entries.values())


def photograph(folder: Path) -> Path:
    """NASA's astronaut, public domain, 512x512."""
    file = folder / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(file)
    return file


async def upload(page: Page, file: Path) -> None:
    await page.choose_file("#constants .drop button", file)
    await page.until("document.querySelector('.drop .hint').textContent === 'Stored as astronaut.png.' "
                     "&& document.querySelector('.drop .chosen').naturalWidth === 512")


# --- it is there ---------------------------------------------------------------------------------------------------


async def test_the_page_loads_without_a_complaint_and_asks_nobody_else(chromium: str) -> None:
    async with opened(chromium) as (studio, page):
        names = json.loads((EXAMPLES / "index.json").read_text())
        titles = [example(name.removesuffix(".json"))["title"] for name in names]
        assert await page.texts(".example strong") == titles
        assert await page.text("#workflow-title") == titles[0]
        assert await page.text("#connection") == "Connected"
        assert (await page.text("#server-facts")).startswith("Python 3.")
        for name in names:
            await choose(page, name.removesuffix(".json"))
        assert await page.texts("#refusal") == [""]  # the server knows every class
        assert page.complaints == []
        assert {urlsplit(url).netloc for url in page.requests} == {urlsplit(studio.url).netloc}


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 800, "dark"), (390, 844, "light")])
async def test_nothing_is_wider_than_the_window(chromium: str, width: int, height: int, scheme: str) -> None:
    async with opened(chromium) as (_, page):
        await page.look(width, height, scheme)
        for key in ("gradient", "waiting"):
            await choose(page, key)
            assert await page.evaluate("document.scrollingElement.scrollWidth") == width
        ground = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert ground == ("rgb(19, 20, 22)" if scheme == "dark" else "rgb(244, 244, 242)")
        assert page.complaints == []


# --- examples run --------------------------------------------------------------------------------------------------


async def test_a_gradient_has_the_colours_that_were_asked_for(chromium: str) -> None:
    async with opened(chromium) as (_, page):
        await choose(page, "gradient")
        await fill(page, First_mix=0.5)
        assert "0.5 · normal" in await page.evaluate("document.getElementById('graph').textContent")
        await run(page)
        await until_runs_are(page, "succeeded")
        assert await pictures_are_there(page, 7) == [(384, 288)] * 7
        await page.until(QUEUE_IS_EMPTY)
        assert (await page.text(".run-state")) == "done, 14 nodes"
        states = await page.evaluate("[...document.querySelectorAll('.node')].map((node) => node.dataset.state)")
        assert states == ["finished"] * 14
        colours = await page.evaluate("""[...document.querySelectorAll('#gallery img')].map((image) => {
          const canvas = new OffscreenCanvas(1, 1).getContext("2d");
          canvas.drawImage(image, 0, 0);
          return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
        })""")
        first, second = numpy.array((226, 128, 58)), numpy.array((42, 93, 143))
        expected = [first, second, first * 0.5 + second * 0.5, first * 0.33 + second * 0.67,
                    first * second / 255, 255 - (255 - first) * (255 - second) / 255, (first - second).clip(0)]
        for colour in expected:
            assert any(numpy.abs(numpy.array(each) - colour).max() <= 2 for each in colours), (colour, colours)
        assert page.complaints == []


async def test_waiting_nodes_show_their_progress_at_once(chromium: str) -> None:
    async with opened(chromium) as (_, page):
        await choose(page, "waiting")
        seconds = (2.0, 2.2, 2.4, 2.6, 2.8)
        await set_waits(page, *seconds)
        await fill(page, Message="They waited.")
        await run(page)
        await page.until("""
          [...document.querySelectorAll('.bar[data-state=running] progress')]
            .filter(({ value }) => value > 0.1 && value < 0.9).length === 5
          && document.querySelectorAll('.node.ticking[data-state=running]').length === 5
          && [...document.querySelectorAll('.node.ticking .bar')].every((bar) => bar.width.baseVal.value > 5)""")
        names = await page.texts(".bar-name")
        assert names == ["Wait A", "Wait B", "Wait C", "Wait D", "Wait E"]
        await until_runs_are(page, "succeeded")
        assert await pictures_are_there(page, 4) == [(256, 192)] * 4
        await page.until(QUEUE_IS_EMPTY)
        assert await page.text(".texts pre") == "They waited."
        (entry,) = await history(page)
        assert [entry["prompt"][2][node]["inputs"]["seconds"] for node in ("5", "6", "7", "8", "10")] == list(seconds)
        stamps = {kind: data["timestamp"] for kind, data in entry["status"]["messages"]}
        took = (stamps["execution_success"] - stamps["execution_start"]) / 1000
        assert max(seconds) <= took + 0.01
        assert took < sum(seconds) / 2, "they waited one after another"
        assert page.complaints == []


async def test_a_photograph_is_uploaded_worked_on_and_shown(chromium: str, tmp_path: Path) -> None:
    file = photograph(tmp_path)
    async with opened(chromium) as (studio, page):
        await choose(page, "photograph")
        await upload(page, file)
        assert (studio.base_directory / "input" / "astronaut.png").read_bytes() == file.read_bytes()
        assert await page.evaluate(f"document.querySelector('{await field(page, 'Photograph')}').value") == file.name
        await run(page)
        await until_runs_are(page, "succeeded")
        assert await pictures_are_there(page, 3) == [(768, 576)] * 3
        await page.until(QUEUE_IS_EMPTY)
        (entry,) = await history(page)
        assert entry["prompt"][2]["1"]["inputs"]["image"] == file.name
        with Image.open(studio.base_directory / "output" / "photograph" / "glow_00001_.png") as saved:
            assert saved.size == (768, 576)
        await page.click("#gallery li:nth-child(1) button")
        await page.until("document.getElementById('viewer').open "
                         "&& document.getElementById('viewer-image').naturalWidth === 768")
        await page.click("#viewer-close")
        assert await page.evaluate("document.getElementById('viewer').open") is False
        assert page.complaints == []


async def test_a_picture_is_fetched_from_another_address(chromium: str) -> None:
    """Its own, for want of an internet."""
    async with opened(chromium, allow_private_urls=True) as (studio, page):
        await choose(page, "from-the-web")
        await fill(page, Address_of_the_picture=f"{studio.url}/view?filename=example.png&type=input")
        await run(page)
        await until_runs_are(page, "succeeded")
        assert await pictures_are_there(page, 1) == [(768, 576)]
        assert page.complaints == []


# --- what goes wrong -----------------------------------------------------------------------------------------------


async def test_a_refusal_is_told_in_words_where_it_belongs(chromium: str) -> None:
    async with opened(chromium) as (studio, page):
        await choose(page, "photograph")
        await fill(page, Width=100_000)
        await page.click("#run")
        await page.until("document.querySelector('#refusal li')")
        width = await field(page, "Width")
        assert "Scale (node 2): Value 100000 bigger than max of" in await page.text("#refusal")
        assert await page.evaluate(f"document.querySelector('{width}').getAttribute('aria-invalid')") == "true"
        assert (await page.text(f"{width}-complaint")).startswith("Value 100000 bigger than max of")
        assert await page.evaluate("document.querySelectorAll('.node[data-state=failed]').length") == 1
        await page.until("!document.querySelector('.run')")  # it was shown while it was sent
        assert studio.engine.remaining == 0
        top, bottom = await page.evaluate("(({ top, bottom }) => [top, bottom])"
                                          "(document.querySelector('#refusal').getBoundingClientRect())")
        assert 0 <= top < bottom <= 800, "one has to scroll to see it"
        assert page.complaints
        assert all("/api/prompt" in one and "400" in one for one in page.complaints), page.complaints

        await fill(page, Width=64)
        await run(page)
        await until_runs_are(page, "succeeded")
        assert await page.text("#refusal") == ""
        assert await page.evaluate("document.querySelectorAll('[aria-invalid]').length") == 0


async def test_a_prompt_that_is_accepted_in_part_says_so_and_runs_the_rest(chromium: str) -> None:
    async with opened(chromium) as (_, page):
        await choose(page, "waiting")
        await set_waits(page, -3, 1, 1, 1, 0.1)
        await run(page)
        await until_runs_are(page, "succeeded")
        assert (await page.text("#refusal")).startswith("Accepted in part.")
        assert "Wait A (node 5): Value -3.0 smaller than min of 0.0" in await page.text("#refusal")
        assert await page.text(".texts pre") == "Waited, and held up nobody."
        assert page.complaints == []


async def test_a_node_that_fails_is_named_with_its_error(chromium: str) -> None:
    async with opened(chromium) as (studio, page):
        await choose(page, "from-the-web")
        await fill(page, Address_of_the_picture=f"{studio.url}/nothing.png")  # private: not without the option
        await run(page)
        await until_runs_are(page, "failed")
        told = await page.text(".trouble")
        assert told.startswith("Fetch (node 1)")
        assert "private" in told or "allow" in told, told
        await page.until(QUEUE_IS_EMPTY)
        assert await page.evaluate("document.querySelector('.node[data-state=failed] .name').textContent") == "Fetch"
        assert page.complaints == []


# --- stopping, and several at once ---------------------------------------------------------------------------------


async def test_a_run_is_interrupted_and_the_next_one_works(chromium: str) -> None:
    async with opened(chromium) as (studio, page):
        await choose(page, "waiting")
        await set_waits(page, 60, 60, 60, 60, 60)
        await run(page)
        await page.until("document.querySelectorAll('.bar[data-state=running]').length === 5")
        await interrupt(page)
        await until_runs_are(page, "interrupted")
        await page.until(QUEUE_IS_EMPTY)
        assert studio.engine.remaining == 0
        assert await page.evaluate("document.querySelectorAll('.node[data-state=running]').length") == 0
        (entry,) = await history(page)
        assert entry["status"]["messages"][-1][0] == "execution_interrupted"
        await set_waits(page, 0, 0, 0, 0, 0)
        await run(page)
        await until_runs_are(page, "succeeded", "interrupted")
        assert page.complaints == []


async def test_two_runs_go_on_at_once_and_each_is_stopped_alone(chromium: str) -> None:
    async with opened(chromium) as (studio, page):
        await choose(page, "waiting")
        await set_waits(page, 60, 60, 60, 60, 60)
        await run(page)
        await set_waits(page, 50, 51, 52, 53, 54)
        await run(page)
        await page.until("[...document.querySelectorAll('.run')].every((run) => run.dataset.state === 'running' "
                         "&& run.querySelectorAll('.bar[data-state=running]').length === 5)")
        await page.until("document.getElementById('queue-summary').textContent === '2 running, 0 pending'")
        assert studio.engine.remaining == 2
        await page.until("document.querySelectorAll('#queue-items li').length === 2")
        await page.click("#queue-items li:nth-child(1) button")
        await page.until("document.getElementById('queue-summary').textContent === '1 running, 0 pending'")
        await until_runs_are(page, "running", "interrupted")
        await page.until("document.querySelectorAll('.node.ticking[data-state=running]').length === 5")
        await page.click("#queue-items li button")
        await until_runs_are(page, "interrupted", "interrupted")
        await page.until(QUEUE_IS_EMPTY)
        assert page.complaints == []


async def test_what_waits_for_its_turn_can_be_cleared(chromium: str) -> None:
    async with opened(chromium, max_running_prompts=1) as (studio, page):
        await choose(page, "waiting")
        await set_waits(page, 60, 60, 60, 60, 60)
        await run(page)
        await page.until("document.querySelector('.run').dataset.state === 'running'")
        await run(page)
        await page.until("document.getElementById('queue-summary').textContent === '1 running, 1 pending' "
                         "&& !document.getElementById('clear-pending').disabled")
        await until_runs_are(page, "queued", "running")
        await page.click("#clear-pending")
        await until_runs_are(page, "removed", "running")
        assert studio.engine.remaining == 1
        await page.click("#queue-items li button")
        await page.until(QUEUE_IS_EMPTY)
        assert page.complaints == []


# --- the line breaks -----------------------------------------------------------------------------------------------


OF_A_BROKEN_LINE = ("WebSocket", "ERR_CONNECTION_", "ERR_EMPTY_RESPONSE", "The server cannot be reached.")


class Relay:
    """Passes bytes on to a server, until its lines are cut."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target).port
        self._lines: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.port = 0

    async def listen(self) -> None:
        """On the same port as before, if there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break all connections, and let nobody in."""
        self._server.close()
        for line in self._lines:
            line.transport.abort()
        for pump in self._pumps:
            pump.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", self._target)
        self._lines |= {writer, onward}
        for source, sink in ((reader, onward), (there, writer)):
            pump = asyncio.create_task(self._pass_on(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(2**16):
                sink.write(data)
                await sink.drain()
        sink.close()
        self._lines.discard(sink)


async def test_a_broken_connection_is_made_anew_and_what_was_missed_is_learnt(chromium: str) -> None:
    async with running_studio() as studio:
        relay = Relay(studio.url)
        await relay.listen()
        idle = asyncio.get_running_loop().create_future()

        def listen(event: Any) -> None:
            if getattr(event, "remaining", None) == 0 and not idle.done():
                idle.set_result(None)

        async with open_page(chromium) as page:
            await go(page, f"http://127.0.0.1:{relay.port}")
            await choose(page, "waiting")
            await set_waits(page, 1.0, 1.1, 1.2, 1.3, 1.4)
            await run(page)
            await page.until("document.querySelectorAll('.bar[data-state=running]').length === 5")
            studio.engine.add_listener(listen)
            relay.cut()
            await page.until("document.getElementById('connection').dataset.state === 'reconnecting'")
            assert (await page.text("#connection")).startswith("Reconnecting")
            await idle
            assert await page.evaluate(RUNS) == "running", "it was told the end in spite of the cut"
            unrelated = [one for one in page.complaints if not any(word in one for word in OF_A_BROKEN_LINE)]
            assert unrelated == []

            await relay.listen()
            await page.until(CONNECTED)
            await until_runs_are(page, "succeeded")
            await pictures_are_there(page, 4)
            await page.until(QUEUE_IS_EMPTY)
            await set_waits(page, 1.7, 0, 0, 0, 0)
            await run(page)
            await page.until("document.querySelector('.run .bar[data-state=running] progress')?.value > 0.1")
            await until_runs_are(page, "succeeded", "succeeded")
        relay.cut()


# --- the README's picture ------------------------------------------------------------------------------------------


async def test_the_picture_for_the_readme(chromium: str, tmp_path: Path) -> None:
    """A photograph in the middle of its work, beside another run. `STUDIO_PICTURE=docs/studio.png` keeps it."""
    target = Path(os.environ.get(PICTURE_FILE) or tmp_path / "studio.png")
    async with opened(chromium) as (_, page):
        await page.look(1280, 800, still=True)
        await choose(page, "photograph")
        await upload(page, photograph(tmp_path))
        await run(page)
        await until_runs_are(page, "succeeded")
        await pictures_are_there(page, 3)
        await choose(page, "waiting")
        await set_waits(page, 3, 3.5, 5, 7, 4)
        await run(page)
        await page.until("[...document.querySelectorAll('.bar progress')]"
                         ".filter(({ value }) => value > 0.15).length === 5")
        await choose(page, "photograph")
        await fill(page, Width=2400, Height=1800)
        await page.until("document.querySelector('.drop .chosen').naturalWidth === 512")
        await run(page)
        await page.until("document.getElementById('queue-summary').textContent === '2 running, 0 pending' "
                         "&& document.querySelector('.node[data-state=finished]') "
                         "&& document.querySelector('.node[data-state=running]')")
        picture = await page.screenshot()
        assert page.complaints == []
        await page.until(f"{RUNS} === 'succeeded succeeded succeeded'", seconds=40)  # large pictures, on a busy machine
    target.write_bytes(picture)
    seen = Image.open(io.BytesIO(picture)).convert("RGB")
    assert seen.size == (1280, 800)
    assert len(picture) < 400_000
    assert len(seen.getcolors(2**24) or ()) > 2_000, "no photograph is in it"
    light = numpy.asarray(seen.convert("L"))
    assert 0.6 < (light > 230).mean() < 0.99, "it is blank, or it is dark"
