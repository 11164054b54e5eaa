"""Answers that start options change: compressed ones, and ones that keep pages here."""

import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest

from tests.web.live_server import Live

Serve = Callable[..., AbstractAsyncContextManager[Live]]


async def raw(live: Live, path: str, accepted: str) -> tuple[bytes, str | None]:
    """Body and coding as they come over the wire."""
    async with aiohttp.ClientSession(live.running.url, auto_decompress=False) as http, \
            http.get(path, headers={"Accept-Encoding": accepted}) as response:
        assert response.status == 200
        return await response.read(), response.headers.get("Content-Encoding")


async def test_nothing_is_compressed_unless_it_was_asked_for(live: Live) -> None:
    body, coding = await raw(live, "/object_info", "gzip, deflate")
    assert coding is None
    assert json.loads(body)


@pytest.mark.parametrize(("accepted", "wanted"), [("gzip", "gzip"), ("gzip, deflate", "deflate"), ("deflate", None),
                                                  ("br", None), ("gzip;q=0", None), ("", None)])
async def test_json_is_compressed_for_clients_that_take_gzip(serve: Serve, accepted: str, wanted: str | None) -> None:
    async with serve(enable_compress_response_body=True) as live:
        body, coding = await raw(live, "/object_info", accepted)
        plain, _ = await raw(live, "/object_info", "identity")
    assert coding == wanted
    unpacked = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(coding or "", bytes)(body)
    assert unpacked == plain
    assert wanted is None or len(body) < len(plain)


async def test_files_and_empty_answers_are_left_alone(serve: Serve) -> None:
    async with serve(enable_compress_response_body=True) as live:
        assert (await raw(live, "/studio.js", "gzip"))[1] is None
        answer = await live.ask("OPTIONS", "/prompt", headers={"Accept-Encoding": "gzip"})
        assert (answer.body, answer.headers.get("Content-Encoding")) == (b"", None)


async def test_offline_pages_are_confined_to_this_server(serve: Serve) -> None:
    async with serve(offline=True) as live:
        for path in ("/", "/queue", "/missing"):
            policy = (await live.get(path)).headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "http" not in policy


async def test_otherwise_no_policy_is_sent(live: Live) -> None:
    assert "Content-Security-Policy" not in (await live.get("/queue")).headers
