"""Foreign pages are kept out, CORS lets them in, caches are told, errors get their status."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.live_server import Live, echo, shared_loop
from web.middlewares import is_foreign_origin

HOST = "127.0.0.1:8311"
OWN_ORIGINS = [
    (HOST, "http://127.0.0.1:8311"),
    (HOST, "https://127.0.0.1:8311"),
    ("localhost:8311", "http://localhost"),
    ("localhost", "http://localhost:8311"),
    ("LOCALHOST:8311", "http://localhost:8311"),
    ("localhost:8311", "HTTP://LOCALHOST:8311"),
    ("[::1]:8311", "http://[::1]:8311"),
    (HOST, ""),
    ("example.com:8311", "http://evil.com"),
    ("192.168.1.5:8311", "http://evil.com"),
    ("example.com", "null"),
    (HOST, None),
    (None, "http://evil.com"),
    ("127.1.2.3:8311", "http://127.1.2.3:8311"),
]
FOREIGN_ORIGINS = [
    (HOST, "http://evil.com"),
    (HOST, "http://localhost:8311"),
    ("localhost:8311", "http://localhost:3000"),
    ("localhost", "http://evil.com:8311"),
    ("[::1]:8311", "http://evil.com"),
    (HOST, "null"),
    ("localhost", "null"),
    ("127.9.9.9", "http://evil.com"),
    (HOST, "http://127.0.0.1:8311.evil.com"),
    (HOST, "http://127.0.0.1@evil.com:8311"),
    (HOST, "http://evil.com#127.0.0.1:8311"),
    (HOST, "file://"),
    (HOST, "127.0.0.1:8311"),
    (HOST, "http://[::1"),
    (HOST, "http://127.0.0.1:99999"),
    (HOST, "http://127.0.0.1:x"),
    ("localhost:x", "http://localhost:x"),
    ("app.localhost:8311", "http://evil.com"),
    # ways to this machine that are not spelled 127.0.0.1
    ("localhost.:8311", "http://evil.com"),
    ("0.0.0.0:8311", "http://evil.com"),
    ("[::]:8311", "http://evil.com"),
    ("[::ffff:127.0.0.1]:8311", "http://evil.com"),
    ("[::ffff:7f00:1]", "http://evil.com"),
    # no host at all
    ("[", "http://evil.com"),
    ("[::1", "http://evil.com"),
    ("]", "http://evil.com"),
]


@pytest.mark.parametrize(("host", "origin"), OWN_ORIGINS)
def test_origins_that_may(host: str | None, origin: str | None) -> None:
    assert not is_foreign_origin(host, origin)


@pytest.mark.parametrize(("host", "origin"), FOREIGN_ORIGINS)
def test_origins_that_may_not(host: str, origin: str) -> None:
    assert is_foreign_origin(host, origin)


@given(st.text(), st.text())
def test_no_host_and_no_origin_is_too_odd(host: str, origin: str) -> None:
    assert is_foreign_origin(host, origin) in (True, False)


@given(st.sampled_from(["127.0.0.1", "localhost", "[::1]"]), st.integers(1, 65535), st.integers(1, 65535))
def test_a_page_of_this_server_may_and_of_another_port_may_not(host: str, port: int, other: int) -> None:
    assert not is_foreign_origin(f"{host}:{port}", f"http://{host}:{port}")
    assert is_foreign_origin(f"{host}:{port}", f"http://{host}:{other}") is (port != other)


async def test_the_table_over_the_wire(live: Live) -> None:
    before = await live.state()
    for host, origin in FOREIGN_ORIGINS:
        headers = {"Host": host, "Origin": origin}
        for method, path in (
            ("GET", "/queue"),
            ("POST", "/prompt"),
            ("OPTIONS", "/queue"),
            ("OPTIONS", "/nope"),
            ("GET", "/"),
            ("GET", "/nope"),
            ("HEAD", "/api/queue"),
            ("GET", "/ws"),
            ("PUT", "/queue"),
        ):
            answer = await live.ask(method, path, headers=headers, data=b'{"prompt": 5}' if method == "POST" else None)
            assert (answer.status, answer.body) == (403, b""), (method, path, headers)
    for host, origin in OWN_ORIGINS:
        if host is not None and origin is not None:
            assert (await live.get("/queue", headers={"Host": host, "Origin": origin})).status == 200, (host, origin)
    assert await live.state() == before


NAMES_OF_THIS_MACHINE = {"studio.test": ["127.0.1.1", "::1"], "127.1": ["127.0.0.1"]}
OTHER_NAMES = {"proxied.test": ["10.0.0.7"], "both.test": ["127.0.0.1", "10.0.0.7"]}


async def test_names_that_lead_to_this_machine(live: Live, resolver: dict[str, list[str]]) -> None:
    resolver.update(NAMES_OF_THIS_MACHINE | OTHER_NAMES)
    for host in NAMES_OF_THIS_MACHINE:
        for spelled in (host, f"{host}:8311", f"{host.upper()}.:8311"):
            for origin in ("http://evil.com", "null", "http://localhost:8311", "http://[::1"):
                for path in ("/queue", "/ws"):
                    answer = await live.get(path, headers={"Host": spelled, "Origin": origin})
                    assert (answer.status, answer.body) == (403, b""), (spelled, origin)
        own = {"Host": f"{host}:8311", "Origin": f"http://{host}:8311"}
        assert (await live.get("/queue", headers=own)).status == 200
        assert (await live.get("/queue", headers={"Host": host})).status == 200
    for host in (*OTHER_NAMES, "unknown.test"):
        assert (await live.get("/queue", headers={"Host": host, "Origin": "http://evil.com"})).status == 200, host


async def test_a_request_of_an_own_page_asks_nobody(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("web.loopback_names.addresses_of", lambda name: asked.append(name) or [])
    for headers in ({"Host": "a.test", "Origin": "http://a.test"}, {"Host": "a.test"},
                    {"Host": "10.0.0.1", "Origin": "http://b.test"}, {"Host": "localhost", "Origin": "http://b.test"}):
        await live.get("/queue", headers=headers)
    assert asked == []


async def test_a_foreign_page_gets_no_socket(live: Live) -> None:
    for headers in ({"Origin": "http://evil.com"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        with pytest.raises(Exception, match="403"):
            await live.http.ws_connect("/ws", headers=headers)
    async with live.http.ws_connect("/ws", headers={"Origin": live.running.url}) as socket:
        assert (await socket.receive_json())["type"] == "status"


@shared_loop
@pytest.mark.parametrize(
    ("method", "site", "mode", "status"),
    [
        ("GET", "cross-site", None, 403),
        ("GET", "cross-site", "no-cors", 403),
        ("GET", "cross-site", "cors", 403),
        ("GET", "cross-site", "navigate", 200),
        ("HEAD", "cross-site", "navigate", 200),
        ("POST", "cross-site", "navigate", 403),
        ("OPTIONS", "cross-site", None, 403),
        ("OPTIONS", "cross-site", "navigate", 403),
        ("DELETE", "cross-site", "navigate", 403),
        ("GET", "same-origin", None, 200),
        ("GET", "same-site", "cors", 200),
        ("GET", "none", "navigate", 200),
        ("GET", None, None, 200),
        ("GET", "", None, 200),
        ("GET", "nonsense", None, 200),
        ("OPTIONS", "same-origin", None, 200),
    ],
)
@pytest.mark.parametrize("host", [None, "example.com"])
async def test_what_browsers_say_of_the_site(
    shared: Live, method: str, site: str | None, mode: str | None, status: int, host: str | None
) -> None:
    named = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Host": host}
    headers = {name: value for name, value in named.items() if value is not None}
    answer = await shared.ask(method, "/queue", headers=headers)
    assert answer.status == status
    assert status != 403 or answer.body == b""


# -- CORS ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["*", "http://pages.example"])
async def test_cors_lets_pages_in(serve: Any, origin: str) -> None:
    async with serve(enable_cors_header=origin) as live:
        theirs = {"Origin": "http://evil.com", "Sec-Fetch-Site": "cross-site"}
        answers = [
            await live.get("/queue", headers=theirs),
            await live.get("/nope", headers=theirs),
            await live.get("/history?offset=x", headers=theirs),
            await live.get("/", headers=theirs),
            await live.post("/prompt", {"prompt": echo(1)}, headers=theirs),
            await live.post("/prompt", {"prompt": 5}, headers=theirs),
            await live.post("/prompt", {"prompt": echo(-1)}, headers=theirs),
            await live.post("/prompt", b"{", headers=theirs),
            await live.ask("OPTIONS", "/queue", headers=theirs),
            await live.ask("OPTIONS", "/nope", headers=theirs),
        ]
        assert [answer.status for answer in answers] == [200, 404, 400, 200, 200, 400, 400, 400, 200, 200]
        for answer in answers:
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            methods = answer.headers["Access-Control-Allow-Methods"].split(", ")
            assert {"POST", "GET", "DELETE", "PUT", "OPTIONS", "PATCH"} <= set(methods)
            allowed = set(answer.headers["Access-Control-Allow-Headers"].split(", "))
            assert {"Content-Type", "Authorization", "Idempotency-Key", "Prefer", "Last-Event-ID"} <= allowed
            exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
            assert exposed == {"Retry-After", "Preference-Applied", "Location", "ETag"}
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        async with live.http.ws_connect("/ws", headers=theirs) as socket:
            assert (await socket.receive_json())["type"] == "status"


async def test_cors_lets_pages_read_what_no_handler_returned(serve: Any) -> None:
    """A stream is sent before its handler returns, and a method that is not allowed has none."""
    async with serve(enable_cors_header="*") as live:
        prompt_id = (await live.accepted(echo(1)))["prompt_id"]
        await live.finished(prompt_id)
        stream = await live.get(f"/api/jobs/{prompt_id}/events")
        not_allowed = await live.post("/object_info", b"")
    assert (stream.status, not_allowed.status) == (200, 405)
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    for answer in (stream, not_allowed):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_without_cors_no_answer_speaks_of_it(live: Live) -> None:
    for answer in (await live.get("/queue"), await live.post("/prompt", b"{"), await live.ask("OPTIONS", "/queue")):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


# -- caches --------------------------------------------------------------------------------------------------


@shared_loop
@pytest.mark.parametrize(
    ("path", "status", "cached"),
    [
        ("/nope.js", 404, "no-cache"),
        ("/nope.css", 404, "no-cache"),
        ("/a/index-1.json", 404, "no-cache"),
        ("/nope.json", 404, None),
        ("/nope.png", 404, "public, max-age=3600"),
        ("/nope.JPEG", 404, "public, max-age=3600"),
        ("/examples/example.png", 200, "public, max-age=86400"),
        ("/nope.svg", 404, None),
        ("/queue", 200, None),
        ("/queue?x=a.png", 200, None),
        ("/object_info", 200, "no-cache"),
        ("/object_info/x.png", 200, "public, max-age=86400"),
    ],
)
async def test_caches_are_told_by_path(shared: Live, path: str, status: int, cached: str | None) -> None:
    for method in ("GET", "HEAD"):
        answer = await shared.ask(method, path)
        assert (answer.status, answer.headers.get("Cache-Control")) == (status, cached)


async def test_the_page_itself_is_not_kept(live: Live) -> None:
    for path in ("/", "/api/"):
        headers = (await live.get(path)).headers
        assert "no-" in headers["Cache-Control"]
        assert (headers["Pragma"], headers["Expires"]) == ("no-cache", "0")


async def test_only_get_is_about_caches(live: Live) -> None:
    for method in ("POST", "OPTIONS", "PUT"):
        assert "Cache-Control" not in (await live.ask(method, "/nope.png", data=b"{}")).headers


# -- errors --------------------------------------------------------------------------------------------------


@pytest.mark.may_block
async def test_what_nobody_thought_of_is_a_500_in_json_and_in_the_log(
    live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise ZeroDivisionError("of our own making")

    monkeypatch.setattr(live.running.engine, "snapshot", fails)
    answer = await live.get("/queue")
    assert answer.status == 500
    assert answer.json()["error"]["type"] == "internal_error"
    assert b"of our own making" not in answer.body
    assert "of our own making" in caplog.text


async def test_a_closed_engine_says_so(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.running.engine, "_is_open", False)
    answer = await live.submit(echo(1))
    assert (answer.status, answer.json()["error"]["type"]) == (503, "shutting_down")
