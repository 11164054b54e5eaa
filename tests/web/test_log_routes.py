"""Log lines: kept, shown, and sent to who asked for them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from execution import Outcome
from tests.web.live_server import Live, shared_loop
from web.log_book import LONGEST_LINE, MOST_LINES, LogBook
from web.log_stream import MOST_SUBSCRIBERS, LogStream
from web.prompt_lines import ENDINGS
from web.websocket import HIGH_WATER, ClientConnection

log = logging.getLogger("studio.tests")


@pytest.fixture(autouse=True)
def tells_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


@asynccontextmanager
async def connected(live: Live, client_id: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with live.http.ws_connect(f"/ws?clientId={client_id}") as socket:
        assert (await socket.receive_json())["type"] == "status"
        yield socket


async def subscribe(live: Live, client_id: Any, enabled: Any = True) -> Any:
    body = json.dumps({"clientId": client_id, "enabled": enabled})
    return await live.ask("PATCH", "/internal/logs/subscribe", data=body.encode())


async def next_line(socket: aiohttp.ClientWebSocketResponse, text: str) -> dict[str, Any]:
    """The message with a line that holds this text."""
    while True:
        message: dict[str, Any] = await socket.receive_json()
        if message["type"] == "logs" and any(text in entry["m"] for entry in message["data"]["entries"]):
            return message


# -- the book ----------------------------------------------------------------------------------------------------


async def test_lines_as_entries_and_as_one_text(live: Live) -> None:
    log.info("first %s", "line")
    log.warning("second")
    said = (await live.get("/internal/logs/raw")).json()
    assert set(said) == {"entries", "size"}
    assert set(said["size"]) == {"cols", "rows"}
    first, second = said["entries"][-2:]
    assert (first["m"], second["m"]) == ("first line\n", "WARNING: second\n")
    assert datetime.fromisoformat(first["t"]) <= datetime.fromisoformat(second["t"])
    text = (await live.get("/internal/logs")).json()
    assert text.endswith(f"{first['t']} - first line\n{second['t']} - WARNING: second\n")


def test_the_book_is_bounded() -> None:
    book = LogBook()
    for number in range(MOST_LINES + 5):
        book.write_down(f"{number}\n")
    book.write_down("x" * (LONGEST_LINE + 1))
    assert len(book.lines()) == MOST_LINES
    assert book.lines()[0].m == "6\n"
    assert len(book.lines()[-1].m) == LONGEST_LINE + 2


def test_a_traceback_is_in_the_line() -> None:
    with LogBook().kept_from_logging() as book:
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("it failed")
        book.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))  # must not end anything
    assert book.lines()[0].m.startswith("ERROR: it failed\nTraceback")
    assert "ValueError: why" in book.lines()[0].m
    log.info("after")
    assert "after" not in str(book.lines())


def test_what_is_printed_is_kept_and_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    book = LogBook()
    with book.kept_from_printing():
        print("a", "b")
        print("no end", end="")
        print(" of line")
        sys.stdout.write("10 %\r50 %\r100 %\n")
        assert sys.stdout.isatty() is False
        print("x" * (2 * LONGEST_LINE), end="")
    assert [line.m for line in book.lines()][:3] == ["a b\n", "no end of line\n", "100 %\n"]
    assert len(book.lines()) == 4
    assert printed.getvalue().startswith("a b\nno end of line\n10 %\r50 %\r100 %\n")
    assert sys.stdout is printed


# -- the stream --------------------------------------------------------------------------------------------------


async def test_who_asked_is_sent_lines_until_they_had_enough(live: Live) -> None:
    async with connected(live, "a") as asked, connected(live, "b") as other:
        answer = await subscribe(live, "a")
        assert (answer.status, answer.body) == (200, b"")
        log.info("hello")
        message = await next_line(asked, "hello")
        assert set(message["data"]) == {"entries", "size"}
        assert set(message["data"]["size"]) == {"cols", "rows"}
        await asyncio.to_thread(log.info, "from a thread")
        assert (await next_line(asked, "from a thread"))["data"]["size"] is None
        await subscribe(live, "a", False)
        log.info("unheard")
        await live.run(1)
        assert not await heard(live, asked, "unheard")
        assert not await heard(live, other, "hello")


async def heard(live: Live, socket: aiohttp.ClientWebSocketResponse, text: str) -> bool:
    """Whether a line came, up to a message that is sent now."""
    live.running.engine.remove_pending()
    await live.post("/queue", {"clear": True})
    while (message := await socket.receive_json())["type"] != "status" or message["data"]["status"]["exec_info"][
            "queue_remaining"]:
        if message["type"] == "logs" and text in str(message):
            return True
    return False


async def test_prompts_are_logged(live: Live) -> None:
    async with connected(live, "a") as socket:
        await subscribe(live, "a")
        await live.run(1)
        lines: list[str] = []
        while not any("Prompt executed in 0." in line for line in lines):
            message = await socket.receive_json()
            if message["type"] == "logs":
                lines += [entry["m"] for entry in message["data"]["entries"]]
        assert [line.partition(" in ")[0].strip() for line in lines] == ["got prompt", "Prompt executed"]


async def test_a_subscription_begins_before_the_socket_and_ends_with_it(live: Live) -> None:
    await subscribe(live, "later")
    async with connected(live, "later") as socket:
        log.info("hello")
        await next_line(socket, "hello")
    async with connected(live, "watch") as watch:
        await subscribe(live, "watch")
        log.info("into the void")
        await next_line(watch, "into the void")
        async with connected(live, "later") as again:
            log.info("second life")
            await next_line(watch, "second life")
            assert not await heard(live, again, "second life")


@shared_loop
@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"{}", b'{"clientId": "a"}', b'{"enabled": true}', b'{"clientId": 1, "enabled": true}',
    b'{"clientId": "a", "enabled": 1}', b'{"clientId": null, "enabled": false}',
    json.dumps({"clientId": "x" * 1001, "enabled": True}).encode()])
async def test_a_subscription_that_makes_no_sense(shared: Live, body: bytes) -> None:
    assert (await shared.ask("PATCH", "/internal/logs/subscribe", data=body)).error


class NoSockets:
    """Stands for the sockets of a server: nobody has one, or one frame is kept for each client."""

    def __init__(self, *clients: str) -> None:
        self.frames: dict[str, list[bytes]] = {client: [] for client in clients}

    def send_if_there_is_room(self, frame: bytes, client_id: str) -> bool:
        if client_id not in self.frames:
            return False
        self.frames[client_id].append(frame)
        return True


async def test_lines_from_many_threads_make_one_message_a_turn() -> None:
    book, sockets = LogBook(), NoSockets("a")
    stream = LogStream(book, sockets)  # type: ignore[arg-type]
    stream.subscribe("a")  # type: ignore[arg-type]
    threads = [threading.Thread(target=book.write_down, args=(f"{number}\n",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turn = asyncio.Event()
    asyncio.get_running_loop().call_soon(turn.set)
    await turn.wait()
    assert len(sockets.frames["a"]) == 1
    stream.close()
    book.write_down("nobody listens\n")
    assert len(sockets.frames["a"]) == 1


async def test_subscriptions_are_bounded() -> None:
    stream = LogStream(LogBook(), NoSockets())  # type: ignore[arg-type]
    for number in range(MOST_SUBSCRIBERS + 10):
        stream.subscribe(f"{number}")  # type: ignore[arg-type]
    assert len(stream._subscribers) == MOST_SUBSCRIBERS
    assert "0" not in stream._subscribers


class FullTransport:
    """A transport whose reader does not read."""

    written = b""

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 10 * HIGH_WATER

    def write(self, data: bytes) -> None:
        self.written += data


async def test_a_slow_socket_loses_log_lines_and_nothing_else() -> None:
    closed: list[Any] = []
    connection = ClientConnection("a", None, FullTransport(), closed.append)  # type: ignore[arg-type]
    connection.put(b"state")
    for _ in range(1000):
        connection.put_if_there_is_room(b"x" * 10_000)
    connection.put(b"more state")
    waiting = [entry[0] for entry in connection._frames]
    assert (waiting[0], waiting[-1]) == (b"state", b"more state")
    assert len(waiting) < 2 + 1.1 * HIGH_WATER / 10_000
    assert not closed
    connection.stop()


def test_every_outcome_has_its_words() -> None:
    """A listener that raises is removed: the log would tell nothing of prompts any more."""
    assert set(ENDINGS) == set(Outcome)
