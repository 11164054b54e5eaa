"""What the server says of itself, and the files of the page."""

import asyncio
from typing import Any

from aiohttp import web

from .app_keys import CONNECTIONS, ENGINE, SETTINGS, WebSettings
from .front_end import OWN_PAGE
from .middlewares import json_response
from .static_files import file_of_page, find_page_file, static_file

routes = web.RouteTableDef()
page_routes = web.RouteTableDef()


def server_features(settings: WebSettings) -> dict[str, Any]:
    """What clients may rely on."""
    size = settings.max_upload_size
    return {**settings.feature_flags, "supports_preview_metadata": True,
            "max_upload_size": int(size) if float(size).is_integer() else size, "node_replacements": True,
            "assets": False}


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


@page_routes.get("/favicon.ico")
async def icon(request: web.Request) -> web.StreamResponse:
    """Browsers ask for it unasked: the page's own, else ours."""
    found = await asyncio.to_thread(find_page_file, request.app[SETTINGS].page_directory, "favicon.ico")
    return await static_file(found or OWN_PAGE / "favicon.svg")


@page_routes.get("/{path:.*}")
async def page_file(request: web.Request) -> web.StreamResponse:
    """A file of the page. Nothing outside of its folder is served, by link neither."""
    return await file_of_page(request, request.match_info.get("path", ""))
