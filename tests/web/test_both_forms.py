"""Every route of the contract answers the same below `/api`: one session of a client, held in both forms.

Each form has a server of its own, so that what changes something is compared as well.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl
from aiohttp import web
from PIL import Image

from tests.web.live_server import Answer, echo
from web.app import TABLES, WITHOUT_TWINS, add_routes

CHANGING = re.compile(
    r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'  # ids that a server draws
    r'|\b1\d{12}\b|"(modified|created|seconds)":[0-9.e-]+'  # times
    r'|"(ram|vram|torch_vram)_free":\d+')


def picture(colour: tuple[int, ...] = (255, 128, 0)) -> bytes:
    written = io.BytesIO()
    Image.new("RGBA", (8, 6), (*colour, 255)[:4]).save(written, "PNG")
    return written.getvalue()


def form(**fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("image", picture(), filename="sent.png", content_type="image/png")
    for name, value in fields.items():
        made.add_field(name, value)
    return made


def prepare(base: Path) -> None:
    """The files that the session asks for."""
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    loras = base / "models" / "loras"
    loras.mkdir(parents=True)
    (loras / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (loras / "a.png").write_bytes(picture())
    (base / "models" / "embeddings").mkdir()
    (base / "models" / "embeddings" / "e1.pt").write_bytes(b"")
    (base / "blueprints").mkdir()
    (base / "blueprints" / "Two.json").write_text("{}")
    (base / "input").mkdir()
    (base / "input" / "seen.png").write_bytes(picture())


PROMPT = {"prompt": echo(1), "prompt_id": "of both", "client_id": "me"}
Body = Callable[[], aiohttp.FormData] | Any

# (route of the contract, method, path, body); in this order
SESSION: list[tuple[str, str, str, Body]] = [
    ("/prompt", "GET", "/prompt", None),
    ("/prompt", "POST", "/prompt", PROMPT),
    ("/prompt", "POST", "/prompt", {"prompt": {"1": {"class_type": "Nope", "inputs": {}}}}),
    ("/history/{prompt_id}", "GET", "/history/of%20both", None),
    ("/history/{prompt_id}", "GET", "/history/nobody", None),
    ("/history", "GET", "/history?max_items=1", None),
    ("/history", "POST", "/history", {"delete": ["of both"]}),
    ("/history", "GET", "/history", None),
    ("/queue", "GET", "/queue", None),
    ("/queue", "POST", "/queue", {"clear": True}),
    ("/queue", "POST", "/queue", {"clear": "perhaps"}),
    ("/interrupt", "POST", "/interrupt", {"prompt_id": "nobody"}),
    ("/interrupt", "POST", "/interrupt", []),
    ("/free", "POST", "/free", {"free_memory": True}),
    ("/object_info", "GET", "/object_info", None),
    ("/object_info/{class}", "GET", "/object_info/Echo", None),
    ("/object_info/{class}", "GET", "/object_info/Nope", None),
    ("/view", "GET", "/view?filename=seen.png&type=input", None),
    ("/view", "GET", "/view?filename=seen.png&type=input&channel=rgb", None),
    ("/view", "GET", "/view?filename=a..b.png", None),
    ("/upload/image", "POST", "/upload/image", form),
    ("/upload/image", "POST", "/upload/image", {}),
    ("/upload/mask", "POST", "/upload/mask",
     lambda: form(original_ref='{"filename": "seen.png", "type": "input"}')),
    ("/view_metadata/{folder}", "GET", "/view_metadata/loras?filename=a.safetensors", None),
    ("/view_metadata/{folder}", "GET", "/view_metadata/nope?filename=a.safetensors", None),
    ("/system_stats", "GET", "/system_stats", None),
    ("/features", "GET", "/features", None),
    ("/embeddings", "GET", "/embeddings", None),
    ("/models", "GET", "/models", None),
    ("/models/{folder}", "GET", "/models/loras", None),
    ("/models/{folder}", "GET", "/models/nope", None),
    ("/experiment/models", "GET", "/experiment/models", None),
    ("/experiment/models/{folder}", "GET", "/experiment/models/loras", None),
    ("/experiment/models/preview/{folder}/{path_index}/{filename}", "GET",
     "/experiment/models/preview/loras/0/a.safetensors", None),
    ("/experiment/models/preview/{folder}/{path_index}/{filename}", "GET",
     "/experiment/models/preview/loras/x/a.safetensors", None),
    ("/extensions", "GET", "/extensions", None),
    ("/i18n", "GET", "/i18n", None),
    ("/workflow_templates", "GET", "/workflow_templates", None),
    ("/settings", "GET", "/settings", None),
    ("/settings", "POST", "/settings", {"a": 1}),
    ("/settings", "POST", "/settings", [1]),
    ("/settings/{id}", "POST", "/settings/b", {"c": None}),
    ("/settings/{id}", "GET", "/settings/b", None),
    ("/users", "GET", "/users", None),
    ("/users", "POST", "/users", {"username": "somebody"}),
    ("/users", "POST", "/users", {}),
    ("/userdata/{file}", "POST", "/userdata/workflows%2Fa.json", {"nodes": []}),
    ("/userdata/{file}", "POST", "/userdata/workflows%2Fa.json?overwrite=false", {}),
    ("/userdata/{file}/move/{dest}", "POST", "/userdata/workflows%2Fa.json/move/b.json?full_info=true", None),
    ("/userdata/{file}", "GET", "/userdata/b.json", None),
    ("/userdata", "GET", "/userdata?dir=.&recurse=true&split=true", None),
    ("/v2/userdata", "GET", "/v2/userdata", None),
    ("/userdata/{file}", "DELETE", "/userdata/b.json", None),
    ("/userdata/{file}", "GET", "/userdata/b.json", None),
    ("/global_subgraphs", "GET", "/global_subgraphs", None),
    ("/global_subgraphs/{id}", "GET", "/global_subgraphs/SUBGRAPH", None),
    ("/global_subgraphs/{id}", "GET", "/global_subgraphs/nope", None),
    ("/node_replacements", "GET", "/node_replacements", None),
]

OF_THE_CONTRACT = {
    "GET": "/ws /prompt /queue /history /history/{prompt_id} /object_info /object_info/{class} /view "
           "/view_metadata/{folder} /system_stats /features /embeddings /models /models/{folder} /experiment/models "
           "/experiment/models/{folder} /experiment/models/preview/{folder}/{path_index}/{filename} /extensions /i18n "
           "/workflow_templates /settings /settings/{id} /users /userdata /v2/userdata /userdata/{file} "
           "/global_subgraphs /global_subgraphs/{id} /node_replacements",
    "POST": "/prompt /queue /history /interrupt /free /upload/image /upload/mask /settings /settings/{id} /users "
            "/userdata/{file} /userdata/{file}/move/{dest}",
    "DELETE": "/userdata/{file}",
}
"""Its routes that have twins, by method."""


def comparable(answer: Answer) -> tuple[int, str | None, Any]:
    """Status, type and body, without what is drawn or measured anew."""
    kind = answer.headers.get("Content-Type")
    body: Any = answer.body
    if kind is not None and kind.startswith(("application/json", "text/")):
        body = CHANGING.sub("…", answer.body.decode())
    return answer.status, kind, body


async def session(serve: Any, base: Path, prefix: str) -> list[tuple[int, str | None, Any]]:
    """What the server says in the course of it. The folder of the server reads the same for all."""
    await asyncio.to_thread(prepare, base)
    answers = []
    async with serve(base_directory=base) as live:
        [subgraph] = (await live.get("/global_subgraphs")).json()
        for _, method, path, body in SESSION:
            data = body() if callable(body) else None if body is None else json.dumps(body).encode()
            url = yarl.URL(live.running.url + prefix + path.replace("SUBGRAPH", subgraph), encoded=True)
            answer = await live.ask(method, url, data=data)
            said = comparable(answer)
            answers.append((*said[:2], said[2].replace(str(base), "BASE") if isinstance(said[2], str) else said[2]))
            if body is PROMPT:
                await live.finished("of both")
    return answers


async def test_a_session_below_api_is_the_same_session(serve: Any, tmp_path: Path) -> None:
    for name in ("bare", "api"):
        await asyncio.to_thread((tmp_path / name).mkdir)
    bare = await session(serve, tmp_path / "bare", "")
    twin = await session(serve, tmp_path / "api", "/api")
    for (_, method, path, _), one, other in zip(SESSION, bare, twin):
        assert one == other, (method, path)
        assert one[0] < 500, (method, path, one)
    statuses = [status for status, _, _ in bare]
    assert sum(status < 300 for status in statuses) > 40, "most of it is understood"
    assert {204, 400, 404, 409} <= set(statuses), "and some of it is refused"


def test_every_route_of_the_contract_is_in_the_session() -> None:
    asked = {(method, route) for route, method, _, _ in SESSION}
    wanted = {(method, route) for method, routes in OF_THE_CONTRACT.items() for route in routes.split()}
    assert wanted - asked == {("GET", "/ws")}, "a socket is opened in both forms by test_system_routes.py"


@pytest.mark.parametrize("table", range(len(TABLES)))
def test_every_route_of_ours_is_added_in_both_forms(table: int) -> None:
    app = web.Application()
    add_routes(app, TABLES[table])
    added = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    bare = {(method, path) for method, path in added if not path.startswith("/api/")}
    assert bare
    assert {(method, f"/api{path}") for method, path in bare} == added - bare


def test_what_has_no_twin_is_for_one_form_only() -> None:
    paths = {route.path for table in WITHOUT_TWINS for route in table if isinstance(route, web.RouteDef)}
    once = ("/internal/", "/api/jobs", "/api/queue/", "/api/assets", "/api/tags", "/extensions/", "/templates/",
            "/docs/", "/api/workflow_templates/")
    assert [path for path in paths if not path.startswith(once)] == []


def test_no_route_adds_or_removes_a_pack() -> None:
    """Folders are changed from the command line only; over HTTP a pack can be listed and loaded anew."""
    routes = {(route.method, route.path) for table in (*TABLES, *WITHOUT_TWINS) for route in table
              if isinstance(route, web.RouteDef) and "packs" in route.path}
    assert routes == {("GET", "/packs"), ("POST", "/packs/{name}/reload")}

