"""What the server says of itself, and the files of the page."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from .app_keys import CONNECTIONS, ENGINE, SETTINGS, WebSettings
from .middlewares import json_response

routes = web.RouteTableDef()
page_routes = web.RouteTableDef()

_TYPES = {".js": "application/javascript", ".mjs": "application/javascript", ".css": "text/css",
          ".json": "application/json"}


def server_features(settings: WebSettings) -> dict[str, Any]:
    """What clients may rely on."""
    size = settings.max_upload_size
    return {"supports_preview_metadata": True, "max_upload_size": int(size) if float(size).is_integer() else size}


@routes.get("/ws")
async def websocket(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return web.Response(status=400, text="This is a WebSocket: connect with one.")
    return await request.app[CONNECTIONS].serve(request)


@routes.get("/features")
async def features(request: web.Request) -> web.Response:
    return json_response(server_features(request.app[SETTINGS]))


@routes.get("/system_stats")
async def system_stats(request: web.Request) -> web.Response:
    facts = request.app[SETTINGS].system_facts
    return json_response(await asyncio.to_thread(facts))


@routes.get("/healthz")
async def healthz(request: web.Request) -> web.Response:
    return json_response({"status": "ok"})


@routes.get("/readyz")
async def readyz(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    return json_response({"status": "ready", "nodes": len(engine.registry), "queue_remaining": engine.remaining})


@page_routes.get("/{path:.*}")
async def page_file(request: web.Request) -> web.StreamResponse:
    """A file of the page. Nothing outside of its folder is served, by link neither."""
    root = request.app[SETTINGS].page_directory
    found = await asyncio.to_thread(_find_page_file, root, request.match_info.get("path", ""))
    if found is None:
        return web.Response(status=404)
    headers = {"X-Content-Type-Options": "nosniff"}
    if found.suffix in _TYPES:
        headers["Content-Type"] = _TYPES[found.suffix]
    return web.FileResponse(found, headers=headers)


def _find_page_file(root: Path, path: str) -> Path | None:
    try:
        found = (root / (path or "index.html")).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # the last: links in a circle, before Python 3.13
        return None
    return found if found.is_relative_to(root.resolve()) and found.is_file() else None
