"""The browser client sees what it is to see, and says so when it does not."""

import contextlib
import io
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from PIL import Image

from tests.support.browser import BrowserError, open_page, running_chromium

PAGE = """<!doctype html><title>t</title><link rel=icon href="data:,"><body style="margin:0;background:#123456">
<button id=late onclick="setTimeout(() => this.textContent = 'pressed', 50)">press</button>
<button id=under style="position:absolute;top:80px;left:0">u</button>
<div id=lid style="position:absolute;top:60px;left:0;width:200px;height:80px"></div>
<input id=field value="old"><button id=ask onclick="document.getElementById('file').click()">ask</button>
<input id=file type=file hidden onchange="this.files[0].text().then((text) => document.title = text)">
"""
TROUBLE = """<!doctype html><link rel=icon href="data:,"><img src="/missing.png">
<script>console.error("said", 7); setTimeout(() => { throw new Error("thrown") })</script>"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[str]:
    with running_chromium() as address:
        yield address


@contextlib.asynccontextmanager
async def serving(text: str) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_it_clicks_writes_waits_and_takes_pictures(chromium: str, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("from a file")
    async with serving(PAGE) as url, open_page(chromium, 300, 200) as page:
        await page.go(url)
        await page.click("#late")
        assert await page.until("document.getElementById('late').textContent === 'pressed' && 'yes'") == "yes"
        await page.write("#field", "new")
        assert await page.evaluate("document.getElementById('field').value") == "new"
        await page.choose_file("#ask", tmp_path / "words")
        await page.until("document.title === 'from a file'")
        picture = Image.open(io.BytesIO(await page.screenshot()))
        assert picture.size == (300, 200)
        assert picture.convert("RGB").getpixel((299, 199)) == (0x12, 0x34, 0x56)
        assert (page.complaints, page.requests) == ([], [url])


async def test_what_cannot_be_done_is_an_error(chromium: str) -> None:
    async with serving(PAGE) as url, open_page(chromium) as page:
        await page.go(url)
        with pytest.raises(BrowserError, match="covered by <DIV id=\"lid\">"):
            await page.click("#under")
        with pytest.raises(BrowserError, match="0 elements"):
            await page.click("#nowhere")
        with pytest.raises(BrowserError, match=r"(?s)document\.title === 'x'.*did not come true.*press"):
            await page.until("document.title === 'x'", seconds=0.05)
        with pytest.raises(BrowserError, match="is not defined"):
            await page.evaluate("nobody.knows()")


async def test_console_exceptions_and_failed_requests_are_complaints(chromium: str) -> None:
    async with serving(TROUBLE) as url, open_page(chromium) as page:
        await page.go(url)
        await page.evaluate("new Promise((resolve) => setTimeout(resolve))")
        told = "\n".join(page.complaints)
        for part in ("console.error: said 7", f"{url}missing.png: status 404", "Error: thrown"):
            assert part in told, told


async def test_its_process_has_ended_afterwards() -> None:
    with running_chromium() as address:
        port = urlsplit(address).port
        async with open_page(address) as page:
            folder = await page.call("Runtime.evaluate", expression="location.href")
            assert folder["result"]["value"] == "about:blank"
        assert port_is_open(port)
    assert not port_is_open(port)


def test_without_a_browser_tests_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "")
    with pytest.raises(pytest.skip.Exception, match="apt-get install"), running_chromium():
        pass


def port_is_open(port: int | None) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
