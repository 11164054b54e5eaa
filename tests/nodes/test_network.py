"""Downloads from a real server on 127.0.0.1, which is also the private address that must not be reached."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator

import numpy
import pytest
import torch
from aiohttp import web
from aiohttp.test_utils import TestServer
from blockbuster import blockbuster_ctx
from PIL import Image

import nodes.network
from nodes.address_guard import AddressGuard, is_public
from nodes.network import DownloadFailed, LoadImageFromURL, fetch, url_problem

PIXELS = numpy.random.default_rng(1).integers(0, 256, (6, 8, 4), dtype=numpy.uint8)


def png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    return stream.getvalue()


class PictureServer:
    """Answers in every way that a server may, and counts what reached it."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self.headers: dict[str, str] = {}
        self.is_waiting = asyncio.Event()
        self.may_go_on = asyncio.Event()
        app = web.Application()
        app.router.add_get("/{what:.*}", self.answer)
        self.server = TestServer(app)

    def url(self, what: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server.port}/{what}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        what = request.match_info["what"]
        self.hits.append(what)
        self.headers = dict(request.headers)
        if what == "again":
            raise web.HTTPFound("/again")
        if what.startswith("to/"):
            raise web.HTTPFound(request.query["url"])
        if what == "missing":
            raise web.HTTPNotFound
        if what == "page":
            return web.Response(text="<html>no picture</html>", content_type="text/html")
        if what == "half":
            response = web.StreamResponse(headers={"Content-Length": str(len(png()))})
            await response.prepare(request)
            await response.write(png()[:20])
            request.transport.close()
            return response
        if what == "stream":
            response = web.StreamResponse()
            await response.prepare(request)
            for at in range(0, len(png()), 50):
                await response.write(png()[at : at + 50])
            return response
        if what == "late-headers":
            await self.wait_for_the_test()
        if what == "late-body":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"x")
            await self.wait_for_the_test()
            return response
        if what == "gzip":
            return web.Response(body=b"\x1f\x8b bomb", headers={"Content-Encoding": "gzip"})
        return web.Response(body=png(), content_type="image/png")

    async def wait_for_the_test(self) -> None:
        self.is_waiting.set()
        await self.may_go_on.wait()


@pytest.fixture
async def pictures() -> AsyncIterator[PictureServer]:
    pictures = PictureServer()
    await pictures.server.start_server()
    yield pictures
    pictures.may_go_on.set()
    await pictures.server.close()


@pytest.fixture
def allowed(folders):
    folders.allow_private_urls = True
    return folders


async def load(url: str, **options) -> tuple[torch.Tensor, torch.Tensor]:
    async with asyncio.timeout(20):
        return await LoadImageFromURL().load_image(url, **options)


# --- the guard -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.100.100.200", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1",
        "168.63.129.16", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1",
        "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001::7f00:1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::7f00:1",
        "64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "2002:7f00:1::", "2002:a00:1::1",
        "localhost", "", "127.1", "fe80::5efe:8.8.8.8",
    ],
)  # fmt: skip
def test_addresses_that_are_nobody_s_public_host(address):
    assert is_public(address) is False


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1",
        "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
    ],
)  # fmt: skip
def test_public_addresses(address):
    assert is_public(address) is True


def test_guard_makes_sockets_for_public_addresses_only():
    def asked(host: str) -> tuple:
        return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 80))

    guard = AddressGuard(allow_private=False)
    with guard(asked("8.8.8.8")) as made:
        assert made.family is socket.AF_INET
    assert guard.refused is None
    with pytest.raises(PermissionError):
        guard(asked("10.0.0.1"))
    assert guard.refused == "10.0.0.1"
    AddressGuard(allow_private=True)(asked("10.0.0.1")).close()


LOOPBACKS = [
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "[::1]",
    "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.0.0.1.", "user:word@127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_no_spelling_of_loopback_reaches_the_server(pictures, host):
    with pytest.raises(DownloadFailed) as refused:
        await load(pictures.url("picture", host))
    assert pictures.hits == []
    # aiohttp by itself refuses numbers that are no canonical address; all others meet the guard.
    assert "--allow-private-urls" in str(refused.value) or "not a usable" in str(refused.value)
    assert "word" not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "0.0.0.0", "[::ffff:127.0.0.1]"])
async def test_those_spellings_do_reach_it_when_allowed(pictures, allowed, host):
    """So the test above refuses what would have worked."""
    await load(pictures.url("picture", host))
    assert pictures.hits == ["picture"]


async def test_a_redirect_to_a_private_address_is_refused(pictures, monkeypatch):
    """The first address passes as public, as an outside server's would; where it redirects to does not."""
    monkeypatch.setattr("nodes.address_guard.is_public", lambda host: host == "127.0.0.1")
    target = pictures.url("picture", "127.0.0.2")
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.2 is not a public address"):
        await load(pictures.url("to/?url=" + target))
    assert pictures.hits == ["to/"]


async def test_a_proxy_of_the_environment_is_not_asked(pictures, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", pictures.url(""))
    monkeypatch.setenv("http_proxy", pictures.url(""))
    with pytest.raises(DownloadFailed, match=r"10\.255\.255\.1 is not a public address"):
        await load("http://10.255.255.1/picture")
    assert pictures.hits == []


# --- what a server may answer ----------------------------------------------------------------------------


async def test_a_picture_comes_with_its_alpha_and_its_progress(pictures, allowed, engine):
    pixels, mask = await load("  " + pictures.url("picture") + "\n", unique_id="4")
    assert torch.equal(pixels[0], torch.from_numpy(PIXELS[..., :3].astype(numpy.float32) / 255))
    assert torch.equal(mask[0], 1 - torch.from_numpy(PIXELS[..., 3].astype(numpy.float32) / 255))
    (bar,) = engine.bars
    assert (bar["node_id"], bar["total"], bar["values"][-1]) == ("4", len(png()), len(png()))


async def test_without_a_stated_size_the_bar_counts_to_the_limit(pictures, allowed, engine):
    pixels, _ = await load(pictures.url("stream"))
    assert pixels.shape == (1, 6, 8, 3)
    (bar,) = engine.bars
    assert bar["total"] == allowed.max_download_bytes
    assert bar["values"][-1] == len(png())


async def test_decoding_happens_off_the_loop(pictures, allowed, monkeypatch):
    threads = []

    def decode(stream, max_pixels):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            threads.append("no loop")
        return (stream.read(), max_pixels)

    monkeypatch.setattr(nodes.network, "decode_image", decode)
    assert await load(pictures.url("picture")) == (png(), nodes.network.MOST_PIXELS)
    assert threads == ["no loop"]


async def test_nothing_in_a_download_blocks_the_loop(pictures, allowed):
    with blockbuster_ctx("nodes"):
        pixels, _ = await load(pictures.url("stream"))
    assert pixels.shape == (1, 6, 8, 3)


async def test_redirects_are_followed_a_few_times(pictures, allowed):
    pixels, _ = await load(pictures.url("to/?url=/picture"))
    assert pixels.shape == (1, 6, 8, 3)
    pictures.hits.clear()
    with pytest.raises(DownloadFailed, match="redirected more than 5 times"):
        await load(pictures.url("again"))
    assert 5 <= len(pictures.hits) <= 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
async def test_a_redirect_to_another_scheme_is_refused(pictures, allowed, target):
    with pytest.raises(DownloadFailed, match="not a usable http or https URL"):
        await load(pictures.url("to/?url=" + target))


@pytest.mark.parametrize("what", ["picture", "stream"])
async def test_bodies_are_bounded_whether_they_state_their_size_or_not(pictures, allowed, what, engine):
    allowed.max_download_bytes = len(png())
    await load(pictures.url(what))
    engine.bars.clear()
    allowed.max_download_bytes = len(png()) - 1
    with pytest.raises(DownloadFailed, match=f"larger than {len(png()) - 1:,} bytes"):
        await load(pictures.url(what))
    if what == "picture":
        assert engine.bars == []  # its size was enough to know


async def test_pixels_are_bounded(pictures, allowed, monkeypatch):
    monkeypatch.setattr(nodes.network, "MOST_PIXELS", 47)
    with pytest.raises(DownloadFailed, match="more than 47 pixels"):
        await load(pictures.url("picture"))


@pytest.mark.parametrize("what", ["late-headers", "late-body"])
async def test_a_slow_server_is_given_up(pictures, allowed, what):
    with pytest.raises(DownloadFailed, match=r"longer than 0\.1 seconds"):
        await load(pictures.url(what), timeout=0.1)
    assert pictures.is_waiting.is_set()


async def test_cancelling_ends_a_download_at_once(pictures, allowed):
    loading = asyncio.create_task(load(pictures.url("late-body"), timeout=600.0))
    await pictures.is_waiting.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("page", "no image"),
        ("gzip", "no image"),
        ("missing", "answered 404 Not Found"),
        ("half", "download failed"),
    ],
)
async def test_other_answers_are_named(pictures, allowed, what, message):
    with pytest.raises(DownloadFailed, match=message):
        await load(pictures.url(what))


async def test_a_closed_port_is_named(allowed):
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DownloadFailed, match="The download failed"):
            await load(f"http://127.0.0.1:{taken.getsockname()[1]}/x")


async def test_the_request_says_what_it_wants_and_nothing_else(pictures, allowed):
    await load(pictures.url("picture"))
    assert pictures.headers["Accept-Encoding"] == "identity"
    assert pictures.headers["User-Agent"] == "HanzoStudio"
    assert "Cookie" not in pictures.headers


# --- before anything runs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "Enter the"),
        ("   ", "Enter the"),
        (5, "Enter the"),
        ("example.com/a.png", "not 'a URL without scheme'"),
        ("file:///etc/passwd", "not 'file'"),
        ("ftp://example.com/a.png", "not 'ftp'"),
        ("javascript:alert(1)", "not 'javascript'"),
        ("http:///a.png", "names no host"),
        ("http://[::1/a.png", "Not a URL"),
        ("http://host:port/", "Not a URL"),
        ("http://host:99999/", "Not a URL"),
    ],
)
async def test_bad_urls_are_refused_before_connecting(url, problem):
    assert problem in url_problem(url)
    assert LoadImageFromURL.VALIDATE_INPUTS(url) == url_problem(url)
    with pytest.raises(DownloadFailed, match=problem):
        await fetch(url, 1, 1, True, lambda received, expected: None)


@pytest.mark.parametrize("url", ["http://example.com/a.png", " HTTPS://example.com:8443/a?b#c ", None])
def test_good_and_linked_urls_pass(url):
    assert LoadImageFromURL.VALIDATE_INPUTS(url) is True


@pytest.mark.parametrize("host", ["exa mple.com", "\0", "a..b", "a" * 70])
async def test_hosts_that_cannot_exist_fail_with_a_sentence(host):
    with pytest.raises(DownloadFailed, match=r"not a usable|download failed"):
        await load(f"http://{host}/")


@pytest.mark.parametrize("timeout", [0.0, -1.0, 600.5, float("nan"), float("inf")])
async def test_linked_timeouts_are_checked(timeout):
    with pytest.raises(ValueError, match="not between 0 and 600"):
        await load("http://127.0.0.1/", timeout=timeout)
