"""Which packs there are and what became of them, and loading one of them anew. How packs load is handed in."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from .app_keys import LOOPBACK_NAMES, PACKS
from .bad_request import BadRequest
from .middlewares import is_cross_site, is_foreign_to_loopback, json_response

routes = web.RouteTableDef()


def _none() -> Sequence[Any]:
    return ()


async def _none_to_reload(name: str) -> Any:
    raise BadRequest("packs_not_loaded", "No pack was loaded at the start of the server, so nothing is prepared for "
                                         "packs. Restart it.", status=409)


class Packs(Struct, frozen=True, kw_only=True):
    """What the routes ask."""

    listing: Callable[[], Sequence[Any]] = _none
    """Reports, which are structs with `name`, `state`, `error` and more. Reads folders: called on a thread."""
    reload: Callable[[str], Awaitable[Any]] = _none_to_reload
    """Loads the pack of a name anew and answers its report. Raises BadRequest if it cannot even be tried."""


@routes.get("/packs")
async def list_packs(request: web.Request) -> web.Response:
    reports = await asyncio.to_thread(request.app[PACKS].listing)
    return json_response([msgspec.to_builtins(one) for one in reports])


@routes.post("/packs/{name}/reload")
async def reload_pack(request: web.Request) -> web.Response:
    """200 with the pack's report; 422 with why it failed, and the report, in which case the old one still runs."""
    await _refuse_foreign_pages(request)
    report = msgspec.to_builtins(await request.app[PACKS].reload(request.match_info["name"]))
    if report["error"] is None:
        return json_response(report)
    message = f"The pack {report['name']} cannot be loaded: {report['error']}."
    if report["node_names"]:
        message += " What was loaded before stays."
    return json_response({"error": {"type": "pack_failed", "message": message, "details": report["traceback"] or "",
                                    "extra_info": {"pack": report}}, "node_errors": {}}, 422)


async def _refuse_foreign_pages(request: web.Request) -> None:
    """Pages of others may be let in for prompts; code is loaded for our own only."""
    host, origin = request.headers.get("Host"), request.headers.get("Origin")
    if is_cross_site(request) or await is_foreign_to_loopback(request.app[LOOPBACK_NAMES], host, origin):
        raise BadRequest("foreign_page", "A page of another origin cannot have packs loaded.", status=403)
