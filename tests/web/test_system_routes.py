"""What the server says of itself, the page, and that every route exists twice."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import yarl
from aiohttp import web

from tests.web.live_server import Live, echo, shared_loop
from web.app import TABLES
from web.static_files import find_page_file

ROUTES = [route for table in TABLES for route in table if isinstance(route, web.RouteDef)]
GETS = sorted({route.path for route in ROUTES if route.method == "GET" and "{" not in route.path})
POST_ONLY = sorted({route.path for route in ROUTES if route.method == "POST" and "{" not in route.path} - set(GETS))


def test_the_table_of_the_contract_is_complete() -> None:
    named = {(route.method, route.path) for route in ROUTES}
    assert named >= {
        *(
            ("GET", path)
            for path in (
                "/prompt",
                "/queue",
                "/history",
                "/history/{prompt_id}",
                "/object_info",
                "/view",
                "/system_stats",
                "/features",
                "/healthz",
                "/readyz",
                "/ws",
            )
        ),
        *(
            ("POST", path)
            for path in ("/prompt", "/queue", "/history", "/interrupt", "/free", "/upload/image", "/upload/mask")
        ),
    }


async def test_health_and_readiness(live: Live) -> None:
    assert (await live.get("/healthz")).json() == {"status": "ok"}
    said = (await live.get("/readyz")).json()
    assert said == {"status": "ready", "nodes": len(live.running.studio.registry), "queue_remaining": 0}


async def test_features_say_the_size_limit(serve: Any) -> None:
    for megabytes, said in ((100.0, 104857600), (0.01, 10485.76)):
        async with serve(max_upload_size=megabytes) as live:
            assert (await live.get("/features")).json() == {
                "supports_preview_metadata": True,
                "max_upload_size": said,
                "node_replacements": True,
                "assets": False,
            }


async def test_system_stats(live: Live) -> None:
    said = (await live.get("/system_stats")).json()
    assert set(said) == {"system", "devices"}
    assert set(said["system"]) >= {
        "os",
        "ram_total",
        "ram_free",
        "comfyui_version",
        "required_frontend_version",
        "python_version",
        "pytorch_version",
        "embedded_python",
        "argv",
        "comfy_package_versions",
        "deploy_environment",
    }
    assert 0 < said["system"]["ram_free"] <= said["system"]["ram_total"]
    for device in said["devices"]:
        assert set(device) == {
            "name",
            "type",
            "index",
            "vram_total",
            "vram_free",
            "torch_vram_total",
            "torch_vram_free",
        }


@shared_loop
@pytest.mark.parametrize("path", ["/", "/api/", "/index.html", "/?x=1"])
async def test_the_page(shared: Live, path: str) -> None:
    answer = await shared.get(path)
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert b"<!doctype html>" in answer.body.lower()


@shared_loop
@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/nope",
        "/api/nope",
        "/nope.png",
        "//etc/passwd",
        "/../web/app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "/%2fetc%2fpasswd",
        "/examples",
        "/examples/",
        "/%00",
        "/%ff",
        "/a%00b.js",
        "/" + "a" * 3000,
        "/" + "a/" * 1500,
        "/index.html/x",
        "/.",
        "/%2e",
        "/~root",
        "/C:%5Cwindows",
        "/api/index.html%00",
        "/jobs",
        "/queue/",
        "/queue%2f",
        "/prompt/x",
        "/QUEUE",
    ],
)
async def test_a_path_that_is_nothing_is_not_found(shared: Live, path: str) -> None:
    answer = await shared.get(yarl.URL(shared.running.url + path, encoded=True))
    assert (answer.status, answer.body) == (404, b""), answer.body[:200]


def test_no_link_leads_out_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page"
    (page / "inner").mkdir(parents=True)
    (page / "index.html").write_text("page")
    (page / "inner" / "ok.js").write_text("ok")
    (tmp_path / "secret").write_text("secret")
    (page / "link").symlink_to(tmp_path / "secret")
    (page / "folder").symlink_to(tmp_path)
    (page / "loop").symlink_to(page / "loop")
    (page / "inside.js").symlink_to(page / "inner" / "ok.js")
    os.mkfifo(page / "pipe")
    for path in (
        "link",
        "folder/secret",
        "../secret",
        "inner/../../secret",
        str(tmp_path / "secret"),
        "loop",
        "pipe",
        "inner",
        "inner/nope",
        "index.html/x",
        "\x00",
        "\ud800",
        "a" * 5000,
        "folder",
        ".",
        "..",
    ):
        assert find_page_file(page, path) is None, path
    for path, found in (
        ("", "index.html"),
        ("inner/ok.js", "inner/ok.js"),
        ("inside.js", "inner/ok.js"),
        ("inner/../index.html", "index.html"),
    ):
        assert find_page_file(page, path) == (page / found).resolve()


# -- twins and methods ---------------------------------------------------------------------------------------


def _same(one: Any, other: Any) -> bool:
    """Free memory changes between two looks."""
    return bool(one == other or (isinstance(one, dict) and one.keys() == other.keys() and "system" in one))


async def test_every_get_route_has_a_twin_that_says_the_same(live: Live) -> None:
    await live.run(1)
    for path in GETS:
        bare, twin = await live.get(path), await live.get(f"/api{path}")
        assert bare.status == twin.status, path
        assert bare.headers.get("Content-Type") == twin.headers.get("Content-Type"), path
        assert bare.body == twin.body or _same(bare.json(), twin.json()), path
        assert bare.status < 500, path


async def test_twins_of_what_changes_something(live: Live) -> None:
    said = (await live.post("/api/prompt", {"prompt": echo(1)})).json()
    await live.finished(said["prompt_id"])
    assert (await live.get(f"/api/history/{said['prompt_id']}")).json() != {}
    for path in ("/api/history", "/api/queue", "/api/free"):
        assert (await live.post(path, {"clear": True})).status == 200
    assert (await live.post("/api/interrupt", b"")).status == 200
    assert (await live.get("/history")).json() == {}
    assert (await live.get("/api/object_info/Echo")).json().keys() == {"Echo"}
    for path in ("/ws", "/api/ws"):
        async with live.http.ws_connect(path) as socket:
            assert (await socket.receive_json())["type"] == "status"


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_methods(live: Live, prefix: str) -> None:
    before = await live.state()
    for path in POST_ONLY:
        answer = await live.get(prefix + path)
        assert (answer.status, answer.body) == (404, b""), path
    for path in ("/nope", "/features", "/healthz", "/history/x", "/object_info/Echo", "/", "/ws"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = await live.ask(method, prefix + path, data=b'{"clear": true}')
            assert answer.status == 405, (method, path)
            assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}, (method, path)
    for method in ("PUT", "DELETE", "PATCH"):
        assert (await live.ask(method, f"{prefix}/prompt")).status == 405
    for path in GETS:
        if path != "/ws":
            answer = await live.ask("HEAD", prefix + path)
            assert (answer.status, answer.body) == ((await live.get(prefix + path)).status, b""), path
    for path in (*GETS, *POST_ONLY, "/nope", "/history/x", "/%00"):
        answer = await live.ask("OPTIONS", yarl.URL(live.running.url + prefix + path, encoded=True))
        assert (answer.status, answer.body, "Access-Control-Allow-Origin" in answer.headers) == (200, b"", False), path
    assert await live.state() == before


async def test_ws_without_a_socket_says_what_it_is(live: Live) -> None:
    for headers in (
        {},
        {"Upgrade": "websocket"},
        {"Upgrade": "h2c", "Connection": "Upgrade"},
        {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
        {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "99", "Sec-WebSocket-Key": "x"},
    ):
        answer = await live.get("/ws", headers=headers)
        assert (answer.status, len(answer.body) > 10) == (400, True), headers


@shared_loop
@pytest.mark.parametrize("length", [1001, 5000, 10_000])
async def test_a_client_id_without_end_is_refused(shared: Live, length: int) -> None:
    answer = await shared.get(
        f"/ws?clientId={'a' * length}",
        headers={
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    )
    assert answer.status == 400
    assert len(answer.body) < 10 * length


@shared_loop
@pytest.mark.parametrize("client_id", ["", "a" * 1000, "é", "%00", "a b", '"', "None"])
async def test_any_shorter_text_is_a_client_id(shared: Live, client_id: str) -> None:
    async with shared.http.ws_connect("/ws", params={"clientId": client_id}) as socket:
        first = await socket.receive_json()
        assert first["data"]["sid"] == client_id or (not client_id and len(first["data"]["sid"]) == 32)


# -- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "times"),
    [
        ({}, 0),
        ({"unload_models": False, "free_memory": False}, 0),
        ({"unload_models": True}, 1),
        ({"free_memory": True}, 1),
        ({"unload_models": True, "free_memory": True}, 1),
    ],
)
async def test_memory_is_given_back_off_the_loop(
    serve: Any, monkeypatch: pytest.MonkeyPatch, body: dict[str, bool], times: int
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(
        "nodes.torch_threads.TorchThreads.release_memory", lambda self: threads.append(threading.get_ident())
    )
    async with serve() as live:
        answer = await live.post("/free", body)
        assert (answer.status, answer.body) == (200, b"")
    assert len(threads) == times
    assert threading.get_ident() not in threads
