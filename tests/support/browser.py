"""Chromium without a window, driven over its DevTools protocol: as much of it as the tests of the page need.

Nothing here waits by the clock. `Page.until` is woken inside the page by its mutations.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
         "--remote-debugging-port=0")
GREETING = "DevTools listening on "
SECONDS_TO_END = 10
PATIENCE = 15.0
"""Seconds until a condition that does not come true is an error; also for a navigation."""

UNTIL = """new Promise((resolve, reject) => {
  const condition = () => (%(condition)s);
  const watched = ["load", "error", "input", "change"];
  const observer = new MutationObserver(look);
  const timer = setTimeout(() => end(reject, new Error("it did not come true")), %(milliseconds)d);
  function end(act, value) {
    observer.disconnect();
    clearTimeout(timer);
    for (const name of watched) document.removeEventListener(name, look, true);
    act(value);
  }
  function look() {
    try {
      const value = condition();
      if (value) end(resolve, value);
    } catch (error) {
      if (!(error instanceof TypeError)) end(reject, error);  // what it looks into is not there yet
    }
  }
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  for (const name of watched) document.addEventListener(name, look, true);
  look();
})"""
"""Pictures tell of their loading by events, which do not bubble; all else changes the tree."""

PLACE = """(() => {
  const found = document.querySelectorAll(%(selector)s);
  if (found.length !== 1) throw new Error(`${found.length} elements instead of one`);
  const [target] = found;
  target.scrollIntoView({ block: "nearest", behavior: "instant" });
  const { left, top, width, height } = target.getBoundingClientRect();
  const [x, y] = [left + width / 2, top + height / 2];
  const hit = document.elementFromPoint(x, y);
  if (!target.contains(hit) && !hit?.contains(target)) throw new Error(`covered by <${hit?.tagName} id="${hit?.id}">`);
  if (target.disabled) throw new Error("it is disabled");
  return { x, y };
})()"""


class BrowserError(Exception):
    """The browser, or the page's JavaScript, would not do what it was told."""


@contextlib.contextmanager
def running_chromium() -> Iterator[str]:
    """The address of a browser's DevTools; its process is ended on leaving. Skips the test where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no chromium here: apt-get install -y chromium")
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([program, *FLAGS, f"--user-data-dir={profile}", "about:blank"], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   start_new_session=True)
        try:
            yield _address_of(process)
        finally:
            _end(process)


def _address_of(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if line.startswith(GREETING):
            # Whoever does not read on would in the end stop the browser.
            threading.Thread(target=process.stderr.read, name="what chromium says", daemon=True).start()
            return line.removeprefix(GREETING).strip()
        said.append(line)
    raise BrowserError(f"chromium ended at once with {process.wait()}:\n{''.join(said)}")


def _end(process: "subprocess.Popen[str]") -> None:
    """The process leads a group of its own, in which its children are. Nothing of it is worth a farewell."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(SECONDS_TO_END)


class Page:
    """One tab, in a profile of its own. Made by `open_page`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        """Errors and warnings in the console, uncaught exceptions, and requests that failed."""
        self.requests: list[str] = []
        """Addresses that the page asked for, the WebSockets' too."""
        self._socket = socket
        self._session: str | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: dict[str, list[asyncio.Future[dict[str, Any]]]] = {}
        self._addresses: dict[str, str] = {}

    # --- what a person does

    async def go(self, url: str) -> None:
        """Open an address; back when it has been loaded."""
        loaded = self._next("Page.loadEventFired")
        answer = await self.call("Page.navigate", url=url)
        if "errorText" in answer:
            raise BrowserError(f"{url}: {answer['errorText']}")
        async with asyncio.timeout(PATIENCE):
            await loaded

    async def click(self, selector: str) -> None:
        """Press the mouse on the one element of this selector. It may not be covered, nor disabled."""
        place, before = await self._place_of(selector), None
        while place != before:  # a page that is still being drawn moves it away
            await self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
            place, before = await self._place_of(selector), place
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, **place, button="left", clickCount=1)

    async def _place_of(self, selector: str) -> dict[str, float]:
        try:
            place: dict[str, float] = await self.evaluate(PLACE % {"selector": json.dumps(selector)})
        except BrowserError as error:
            raise BrowserError(f"cannot click {selector}: {error}") from None
        return place

    async def write(self, selector: str, text: object) -> None:
        """Replace the text of a field, as from a keyboard."""
        await self.click(selector)
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        await self.call("Input.insertText", text=str(text))

    async def choose_file(self, selector: str, file: Path) -> None:
        """Click a button that asks for a file, and give it this one."""
        await self.call("Page.setInterceptFileChooserDialog", enabled=True)
        asked = self._next("Page.fileChooserOpened")
        await self.click(selector)
        async with asyncio.timeout(PATIENCE):
            node = (await asked)["backendNodeId"]
        await self.call("DOM.setFileInputFiles", files=[str(file)], backendNodeId=node)

    # --- what a person sees

    async def evaluate(self, expression: str) -> Any:
        """The value of JavaScript as JSON; a promise is awaited."""
        answer = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
                                 userGesture=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    async def until(self, condition: str, seconds: float = PATIENCE) -> Any:
        """Wait until an expression is truthy: its value. Looked at whenever the document changes."""
        try:
            return await self.evaluate(UNTIL % {"condition": condition, "milliseconds": seconds * 1000})
        except BrowserError as error:
            words = await self.evaluate("document.body.innerText")
            raise BrowserError(f"{condition}\n{error}\n{self.complaints}\nThe page says:\n{words}") from None

    async def text(self, selector: str) -> str:
        """The text of the one element of this selector, as it is seen."""
        texts = await self.texts(selector)
        if len(texts) != 1:
            raise BrowserError(f"{len(texts)} elements are {selector}")
        return texts[0]

    async def texts(self, selector: str) -> list[str]:
        found = f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.innerText)"
        texts: list[str] = await self.evaluate(found)
        return texts

    async def screenshot(self) -> bytes:
        """What is in sight, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def look(self, width: int, height: int, scheme: str = "light", still: bool = False) -> None:
        """Set the size of the window, and whether dark pages, or pages where nothing moves, are liked."""
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                        mobile=False)
        await self.call("Emulation.setEmulatedMedia",
                        features=[{"name": "prefers-color-scheme", "value": scheme},
                                  {"name": "prefers-reduced-motion", "value": "reduce" if still else ""}])

    # --- the protocol

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send_json(command)
            answer = await self._answers[number]
        finally:
            del self._answers[number]
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def attach(self, context: str) -> None:
        target = (await self.call("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            await self.call(f"{domain}.enable")

    async def read(self) -> None:
        """Hand on what the browser says, until its socket closes."""
        async for frame in self._socket:
            message = json.loads(frame.data)
            if "id" in message:
                waiting = self._answers.get(message["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
                continue
            self._note(message["method"], message["params"])
            for one in self._events.pop(message["method"], []):
                if not one.done():
                    one.set_result(message["params"])
        for waiting in [*self._answers.values(), *itertools.chain(*self._events.values())]:
            if not waiting.done():
                waiting.set_exception(BrowserError("the browser is gone"))

    def _next(self, event: str) -> "asyncio.Future[dict[str, Any]]":
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._events.setdefault(event, []).append(future)
        return future

    def _note(self, event: str, data: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self._addresses[data["requestId"]] = data["request"]["url"]
            self.requests.append(data["request"]["url"])
        elif event == "Network.webSocketCreated":
            self.requests.append(data["url"])
        elif event == "Network.responseReceived" and data["response"]["status"] >= 400:
            self.complaints.append(f"{data['response']['url']}: status {data['response']['status']}")
        elif event == "Network.loadingFailed" and not data.get("canceled"):
            self.complaints.append(f"{self._addresses.get(data['requestId'])}: {data['errorText']}")
        elif event == "Log.entryAdded" and data["entry"]["level"] in ("warning", "error"):
            self.complaints.append(f"{data['entry']['text']} ({data['entry'].get('url', '')})")
        elif event == "Runtime.exceptionThrown":
            details = data["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and data["type"] in ("warning", "error", "assert"):
            said = (str(each.get("value", each.get("description"))) for each in data["args"])
            self.complaints.append(f"console.{data['type']}: {' '.join(said)}")


@contextlib.asynccontextmanager
async def open_page(address: str, width: int = 1280, height: int = 800) -> AsyncIterator[Page]:
    """A new tab that shares nothing with others; closed on leaving.

    :param address: what `running_chromium` gave.
    """
    async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
        page = Page(socket)
        reader = asyncio.ensure_future(page.read())
        try:
            # The context goes with this socket, and its tabs with it.
            context = (await page.call("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
            await page.attach(context)
            await page.look(width, height)
            yield page
        finally:
            reader.cancel()
