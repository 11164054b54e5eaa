"""Bytes that are no HTTP, or HTTP that cannot be read: a JSON error, and the connection is closed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from tests.web.live_server import Live
from web.app_runner import AppRunner

HOST = b"Host: 127.0.0.1\r\n"


async def exchange(url: str, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, and read until the server closes: status, headers by lower-case name, and body."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


@pytest.mark.parametrize("sent", [
    b"nonsense\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/one\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
    b"GET /queue HTTP/1.1\r\n" + HOST + b"no colon here\r\n\r\n",
    b"GET /queue HTTP/1.1\r\n" + HOST + b"Bad Name: x\r\n\r\n",
    b"GET /queue HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    b"GET /queue HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /prompt HTTP/1.1\r\n" + HOST + b"Content-Length: many\r\n\r\n",
    b"POST /prompt HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\n",
], ids=["a line", "only a method", "a version", "TLS", "a header", "a name", "a NUL", "a long header", "a long path",
        "a length", "a length below zero"])
async def test_it_is_answered_with_a_json_error(live: Live, sent: bytes) -> None:
    status, headers, body = await exchange(live.running.url, sent)
    assert status == 400
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["connection"] == "close"
    answer = json.loads(body)
    assert answer["node_errors"] == {}
    assert answer["error"].keys() == {"type", "message", "details", "extra_info"}
    assert answer["error"]["type"] == "invalid_request"
    assert len(answer["error"]["details"]) <= 300
    assert (await live.get("/queue")).status == 200


async def test_what_comes_after_a_good_request_is_answered_too(live: Live) -> None:
    reader, writer = await asyncio.open_connection(*live.address)
    writer.write(b"GET /queue HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.write(b"nonsense\r\n\r\n")
    rest = await reader.read()
    writer.close()
    assert rest.endswith(b'"node_errors":{}}')
    assert b" 400 Bad Request\r\n" in rest


async def test_an_error_that_nothing_else_answers_is_json_too() -> None:
    async def fails(request: web.Request) -> Any:
        raise ValueError("not for clients")

    app = web.Application()
    app.router.add_get("/", fails)
    runner = AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    status, headers, body = await exchange(f"http://127.0.0.1:{address[1]}", b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    await runner.cleanup()
    assert (status, headers["connection"]) == (500, "close")
    assert json.loads(body)["error"]["type"] == "internal_error"
    assert b"clients" not in body
