"""The page stays open while the server is killed and started again, and finds its way back without a reload."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.killed_studio import KilledStudio, killed_studio
from tests.inference.studio_client import StudioClient, node
from tests.support.browser import Page, open_page, running_chromium

CLIENT = "the-page"
PICTURES_FOLDER = "STUDIO_CRASH_PICTURES"
"""The environment variable that names a folder for screenshots of the page before, meanwhile and after."""
NEVER_RELOADED = "window.isTheSamePage === true"
OF_A_BROKEN_LINE = ("WebSocket", "ERR_CONNECTION_", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE_CHUNKED_ENCODING",
                    "ERR_ABORTED", "The server cannot be reached.", "status 503", "status of 503")
RUNS = "[...document.querySelectorAll('.run')].map((run) => run.dataset.state).join(' ')"


@pytest.fixture(scope="module")
def chromium() -> Iterator[str]:
    with running_chromium() as address:
        yield address


def picture(name: str, mixing: float, painting: float) -> Any:
    """Colours, a picture in them, and the file."""
    nodes = {"1": node("MixColours", name=name, seconds=mixing),
             "2": node("PaintPicture", name=name, colours=["1", 0], seconds=painting),
             "3": node("SaveImage", images=["2", 0], filename_prefix=name)}
    titles = {"1": "Mix colours", "2": "Paint picture", "3": "Save"}
    return {node_id: {**each, "_meta": {"title": titles[node_id]}} for node_id, each in nodes.items()}


async def submit(client: StudioClient, name: str, mixing: float, painting: float) -> str:
    return await client.submit(picture(name, mixing, painting), extra_data={"title": name})


def connection_is(state: str) -> str:
    return f"document.getElementById('connection').dataset.state === {json.dumps(state)}"


def card(name: str) -> str:
    return ("[...document.querySelectorAll('.run')]"
            f".find((run) => run.querySelector('.run-title').innerText === '{name}')")


def is_painted(name: str, more_than: float) -> str:
    """A bar and a preview of a run that is being painted are in sight."""
    return (f"(() => {{ const bar = [...{card(name)}?.querySelectorAll('.bar[data-state=running]') ?? []]"
            ".find((each) => each.querySelector('.bar-name').textContent === 'Paint picture');"
            f"return bar && bar.querySelector('progress').value > {more_than} "
            "&& bar.querySelector('.bar-preview:not([hidden])')?.naturalWidth === 320; })()")


async def keep(page: Page, name: str) -> None:
    if folder := os.environ.get(PICTURES_FOLDER):
        await asyncio.to_thread((Path(folder) / f"{name}.png").write_bytes, await page.screenshot())


async def go(page: Page, studio: KilledStudio) -> None:
    await page.go(f"{studio.url}/?clientId={CLIENT}")
    await page.until(f"{connection_is('connected')} && !document.getElementById('run').disabled")
    await page.evaluate("window.isTheSamePage = true")


async def test_an_open_page_finds_its_way_back_after_kill_9(chromium: str, tmp_path: Path) -> None:
    async with killed_studio(tmp_path, "--cache-disk-after", "0.3") as studio, open_page(chromium) as page, \
            aiohttp.ClientSession() as session:
        client = StudioClient(studio.url, session, CLIENT)
        await page.look(1280, 1100, still=True)
        await go(page, studio)
        early = await submit(client, "Meadow", 0.4, 0.2)
        await page.until(f"{RUNS} === 'succeeded'")
        later = [await submit(client, "Harbour", 0.4, 5), await submit(client, "Forest", 0.4, 3.2),
                 await submit(client, "Desert", 20, 0.5)]
        await page.until(f"{RUNS} === 'running running running succeeded' "
                         f"&& {is_painted('Harbour', 0.3)} && {is_painted('Forest', 0.3)}")
        await keep(page, "1-before")

        await studio.kill()
        await page.until(connection_is("reconnecting"))
        assert (await page.text("#connection")).startswith("Reconnecting")
        assert await page.evaluate(RUNS) == "running running running succeeded", "what is known stays in sight"
        await keep(page, "2-away")
        before = studio.calls()
        assert (before["mix Harbour"], before["mix Forest"], before["paint Harbour"]) == (1, 1, 1)

        await studio.start()
        await page.evaluate("dispatchEvent(new Event('online'))")  # else its next try may be seconds away
        await page.until(connection_is("connected"))
        # What ran is started again alone, the others wait until it is past the node that ran.
        await page.until(f"{RUNS} === 'queued queued running succeeded'")
        await page.until(f"{card('Forest')}.querySelector('.run-state').textContent "
                         "=== 'waiting to go on: the server was started again'")
        await page.until("document.getElementById('queue-summary').textContent === '1 running, 2 pending'")
        await page.until(is_painted("Harbour", 0.2))
        said = await page.evaluate(f"{card('Harbour')}.querySelector('.run-state').textContent")
        assert said.startswith("running again, 1 of 3 nodes")
        await keep(page, "3-after")
        await page.until(is_painted("Forest", 0.2))
        await keep(page, "4-next")
        assert await client.send(f"/api/jobs/{later[2]}/cancel") == 200
        await page.until(f"/^(removed|interrupted) succeeded succeeded succeeded$/.test({RUNS})")
        await page.until("document.querySelectorAll('#gallery img').length === 3 "
                         "&& [...document.querySelectorAll('#gallery img')].every((image) => image.naturalWidth)")
        await page.until("document.getElementById('queue-summary').textContent === 'Empty'")
        await keep(page, "5-end")

        history = await client.get("/history")
        assert [one for one in history if one in (early, *later[:2])] == [early, *later[:2]]
        assert all(history[one]["status"]["status_str"] == "success" for one in (early, *later[:2]))
        after = studio.calls()
        assert (after["mix Meadow"], after["mix Harbour"], after["mix Forest"]) == (1, 1, 1), "done again"
        assert (after["paint Meadow"], after["paint Harbour"], after["paint Forest"]) == (1, 2, 2)
        assert await page.evaluate(NEVER_RELOADED)
        unrelated = [one for one in page.complaints if not any(word in one for word in OF_A_BROKEN_LINE)]
        assert unrelated == []


async def test_a_prompt_that_is_given_up_says_so(chromium: str, tmp_path: Path) -> None:
    async with killed_studio(tmp_path, "--max-attempts", "1") as studio, open_page(chromium) as page, \
            aiohttp.ClientSession() as session:
        client = StudioClient(studio.url, session, CLIENT)
        await go(page, studio)
        await submit(client, "Harbour", 0.1, 60)
        await page.until(is_painted("Harbour", 0))
        await studio.kill()
        await page.until(connection_is("reconnecting"))
        await studio.start()
        await page.until(f"{RUNS} === 'poisoned'")
        assert await page.text(".run-state") == "given up: the server ended while it ran"
        assert "The server process ended once while this prompt ran" in await page.text(".trouble")
        assert (await page.text(".trouble")).startswith("Paint picture (node 2)")
        assert len(await page.texts(".trouble .notice")) == 1, "it is said once"
        assert await page.evaluate(NEVER_RELOADED)
        await go(page, studio)
        await page.until(f"{RUNS} === 'poisoned'")  # by the job, since the history does not say how it failed
