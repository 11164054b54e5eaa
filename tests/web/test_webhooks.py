"""Webhooks as clients ask for them: what is refused, what a job tells, where the secret is."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.server
import re
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from tests.support.webhook_receiver import WebhookReceiver, receiving
from tests.web.live_server import Live, shared_loop
from web.webhook_secret import NoSecret, secret_in

Serve = Callable[..., AbstractAsyncContextManager[Live]]
ROOT = Path(__file__).resolve().parents[2]


def echo(value: int) -> dict[str, Any]:
    return {"1": {"class_type": "Echo", "inputs": {"value": value}}}


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving() as one:
        yield one


async def webhook_of(live: Live, prompt_id: str) -> Any:
    return (await live.get(f"/api/jobs/{prompt_id}")).json()["webhook"]


async def told_in_the_end(live: Live, prompt_id: str) -> Any:
    return await webhook_when(live, prompt_id, lambda said: said["state"] not in ("waiting", "pending"))


async def webhook_when(live: Live, prompt_id: str, is_it: Callable[[Any], bool]) -> Any:
    while True:
        said = await webhook_of(live, prompt_id)
        if is_it(said):
            return said


# -- from the submission to the receiver -------------------------------------------------------------------------------


async def test_the_whole_way(serve: Serve, receiver: WebhookReceiver) -> None:
    async with serve(allow_private_urls=True) as live:
        url = receiver.url_of("/hook?token=hidden")
        said = await live.blocked(prompt_id="p", webhook={"url": url})
        record = (await live.get("/api/jobs/p")).json()
        assert record["webhook"] == {"state": "waiting", "tries": 0, "last_error": None, "next_try_at": None}
        assert receiver.posted.empty()
        live.gate.opened.set()
        posted = await receiver.posted.get()
        assert posted.json()["event"] == "completed"
        assert posted.json()["job"]["id"] == said["prompt_id"]
        text = await asyncio.to_thread((live.running.base_directory / "user/__studio/webhook.key").read_text)
        signed = posted.headers["Hanzo-Timestamp"].encode() + b"." + posted.body
        expected = hmac.new(bytes.fromhex(text), signed, hashlib.sha256).hexdigest()
        assert posted.headers["Hanzo-Signature"] == f"sha256={expected}"
        assert (await told_in_the_end(live, "p")) == {
            "state": "delivered", "tries": 1, "last_error": None, "next_try_at": None}
        assert b"hidden" not in (await live.get("/api/jobs/p")).body + (await live.get("/history")).body
        assert b"hidden" not in posted.body


async def test_cancelling_is_told_whether_it_waits_or_runs(serve: Serve, receiver: WebhookReceiver) -> None:
    async with serve(allow_private_urls=True, max_running_prompts=1) as live:
        webhook = {"url": receiver.url_of("/"), "events": ["cancelled"]}
        await live.blocked(prompt_id="runs", webhook=webhook)
        await live.post("/api/queue/pause")
        await live.accepted(echo(1), prompt_id="waits", webhook=webhook)
        for prompt_id in ("waits", "runs"):
            await live.post(f"/api/jobs/{prompt_id}/cancel")
            posted = await receiver.posted.get()
            assert (posted.json()["event"], posted.json()["job"]["id"]) == ("cancelled", prompt_id)


async def test_a_retry_tells_the_same_receiver(serve: Serve, receiver: WebhookReceiver) -> None:
    async with serve(allow_private_urls=True) as live:
        await live.accepted(echo(1), prompt_id="first", webhook={"url": receiver.url_of("/")})
        first = await receiver.posted.get()
        again = (await live.post("/api/jobs/first/retry", b"")).json()["id"]
        second = await receiver.posted.get()
        assert (second.json()["job"]["id"], second.json()["job"]["retry_of"]) == (again, "first")
        assert second.delivery_id != first.delivery_id


async def test_what_is_in_the_way_is_told(serve: Serve, receiver: WebhookReceiver) -> None:
    async with serve(allow_private_urls=True) as live:
        receiver.answers = [500, 410]
        await live.accepted(echo(1), prompt_id="p", webhook={"url": receiver.url_of("/")})
        await receiver.posted.get()
        record = await webhook_when(live, "p", lambda said: said["tries"] > 0)
        assert (record["state"], record["last_error"]) == ("pending", "The receiver answered 500.")
        assert isinstance(record["next_try_at"], int)


async def test_a_server_that_stops_leaves_what_is_owed_to_the_next(serve: Serve, receiver: WebhookReceiver,
                                                                   tmp_path: Path) -> None:
    receiver.answers = [None]
    async with serve(allow_private_urls=True, base_directory=tmp_path) as live:
        await live.accepted(echo(1), prompt_id="told", webhook={"url": receiver.url_of("/")})
        first = await receiver.posted.get()
        await live.post("/api/queue/pause")
        await live.accepted({"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1,
                                                                          "color": 1}},
                             "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}},
                            prompt_id="open", webhook={"url": receiver.url_of("/")})
    async with serve(allow_private_urls=True, base_directory=tmp_path) as live:
        posted = [await receiver.posted.get(), await receiver.posted.get()]
        assert {one.json()["job"]["id"] for one in posted} == {"told", "open"}
        assert first.delivery_id in {one.delivery_id for one in posted}


async def test_a_body_with_another_webhook_is_another_body(serve: Serve, receiver: WebhookReceiver) -> None:
    async with serve(allow_private_urls=True) as live:
        await live.blocked(prompt_id="p", webhook={"url": receiver.url_of("/")})
        graph = {"g": {"class_type": "Gate", "inputs": {}}}
        same = await live.submit(graph, prompt_id="p", webhook={"url": receiver.url_of("/")})
        other = await live.submit(graph, prompt_id="p", webhook={"url": receiver.url_of("/other")})
        none = await live.submit(graph, prompt_id="p")
        assert (same.status, other.status, none.status) == (200, 409, 409)
        live.gate.opened.set()


# -- what is refused ---------------------------------------------------------------------------------------------------


PRIVATE = [
    "http://127.0.0.1/", "http://127.1/", "http://0x7f.1/", "http://0177.0.0.1/", "http://2130706433/",
    "http://0x7f000001/", "http://localhost/", "http://LOCALHOST./", "http://a.localhost/", "http://[::1]/",
    "http://[::]/", "http://0.0.0.0/", "http://0/", "http://10.0.0.1:80/x", "http://172.16.9.9/", "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data", "http://100.64.0.1/", "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/", "http://[64:ff9b::7f00:1]/", "http://[fe80::1%25eth0]/", "http://[fd00::1]/",
    "http://[2002:7f00:1::]/", "https://user:word@127.0.0.1/", "http://127.0.0.1:8188/prompt", " http://127.0.0.1/",
]
NO_URLS = [None, 5, "", "   ", [], {}, "example.com", "//example.com/", "ftp://example.com/", "file:///etc/passwd",
           "javascript:alert(1)", "http://", "http:///x", "https://:443/", "http://example.com:99999/", "http://[::1",
           "http://example.com:port/", "https://example.com/" + "x" * 2000]


@shared_loop
@pytest.mark.parametrize("url", PRIVATE)
async def test_addresses_that_are_not_public_are_refused_at_once(shared: Live, url: str) -> None:
    before = await shared.state()
    answer = await shared.submit(echo(1), webhook={"url": url})
    assert (answer.status, answer.error["type"]) == (400, "invalid_webhook")
    assert "public" in answer.error["message"]
    assert await shared.state() == before


@shared_loop
@pytest.mark.parametrize("url", NO_URLS, ids=repr)
async def test_what_is_no_url_is_refused(shared: Live, url: Any) -> None:
    answer = await shared.submit(echo(1), webhook={"url": url})
    assert (answer.status, answer.error["type"]) == (400, "invalid_webhook")


@shared_loop
@pytest.mark.parametrize("webhook", [
    5, "https://example.com/", [], {}, True, {"events": ["failed"]}, {"url": "https://example.com/", "secret": "x"},
    *({"url": "https://example.com/", "events": events}
      for events in ("failed", [], ["started"], [None], [["failed"]], [{}], {}, 5, ["failed", "Failed"]))], ids=repr)
async def test_what_makes_no_sense_is_refused(shared: Live, webhook: Any) -> None:
    for path in ("/prompt", "/api/jobs"):
        answer = await shared.post(path, {"prompt": echo(1), "webhook": webhook})
        assert (answer.status, answer.error["type"]) == (400, "invalid_webhook")


@shared_loop
async def test_a_name_that_nobody_knows_may_be_somebodys(shared: Live) -> None:
    said = await shared.accepted(echo(1), webhook={"url": "https://hooks.invalid/x", "events": ["cancelled"]})
    await shared.finished(said["prompt_id"])
    assert (await webhook_of(shared, said["prompt_id"]))["state"] == "not_wanted"


@shared_loop
async def test_null_is_no_webhook(shared: Live) -> None:
    said = await shared.accepted(echo(1), webhook=None)
    assert "webhook" not in (await shared.get(f"/api/jobs/{said['prompt_id']}")).json()


# -- the secret --------------------------------------------------------------------------------------------------------


@shared_loop
async def test_no_route_shows_the_secret(shared: Live) -> None:
    key = shared.running.base_directory / "user/__studio/webhook.key"
    text = (await asyncio.to_thread(key.read_text)).strip()
    for path in ("/api/webhooks/secret", "/api/webhooks", "/userdata/__studio%2Fwebhook.key",
                 "/userdata/..%2F__studio%2Fwebhook.key", "/view?filename=webhook.key&subfolder=__studio&type=input",
                 "/view?filename=webhook.key&subfolder=..%2Fuser%2F__studio&type=input", "/internal/logs/raw"):
        answer = await shared.get(path)
        assert answer.status in (400, 403, 404) or path == "/internal/logs/raw"
        assert text.encode() not in answer.body


def test_it_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "__studio"
    secret = secret_in(folder)
    assert len(secret) == 32
    assert secret_in(folder) == secret
    assert secret_in(tmp_path / "other") != secret
    assert [file.name for file in folder.iterdir()] == ["webhook.key"]
    assert stat.S_IMODE((folder / "webhook.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "00" * 31, "é" * 64])
def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "webhook.key").write_text(text)
    with pytest.raises(NoSecret, match=r"webhook\.key"):
        secret_in(tmp_path)
    assert (tmp_path / "webhook.key").read_text() == text


# -- the receiver of the documentation ---------------------------------------------------------------------------------


@contextmanager
def receiver_of_the_documentation(key: Path, printed: Queue[tuple[Any, ...]]) -> Iterator[str]:
    """The address of the example in docs/api.md, which runs on a thread."""
    page = (ROOT / "docs/api.md").read_text()
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Receiver" in code]
    assert '"user/__studio/webhook.key"' in code
    definitions, _, last = code.replace('"user/__studio/webhook.key"', repr(str(key))).rstrip().rpartition("\n")
    assert last.endswith(".serve_forever()")
    names: dict[str, Any] = {"print": lambda *words: printed.put(words)}
    exec(definitions, names)
    names["Receiver"].log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), names["Receiver"])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_the_example_takes_what_is_signed_and_nothing_else(serve: Serve) -> None:
    printed: Queue[tuple[Any, ...]] = Queue()
    async with serve(allow_private_urls=True) as live:
        key = live.running.base_directory / "user/__studio/webhook.key"
        running = receiver_of_the_documentation(key, printed)
        url = await asyncio.to_thread(running.__enter__)
        try:
            await live.accepted(echo(1), prompt_id="p", webhook={"url": url})
            assert (await told_in_the_end(live, "p"))["state"] == "delivered"
            assert printed.get_nowait() == ("completed", "p")
            headers = {"Hanzo-Delivery": "x", "Hanzo-Timestamp": "1", "Hanzo-Signature": "sha256=" + "0" * 64}
            request = urllib.request.Request(url, b'{"event": "completed", "job": {"id": "forged"}}', headers)
            with pytest.raises(urllib.error.HTTPError) as refused:
                await asyncio.to_thread(urllib.request.urlopen, request)
            assert refused.value.code == 401
            assert printed.empty()
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
