"""What packs and installed packages bring for the browser, over HTTP. The tables of packs are handed in; nothing here
knows how packs load."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from .app_keys import INSTALLED_FILES, PACK_FILES, PACK_TABLES, SETTINGS
from .bad_request import BadRequest
from .middlewares import json_response
from .static_files import file_of_page, find_page_file, static_file

routes = web.RouteTableDef()
static_routes = web.RouteTableDef()
"""Without a twin below `/api`."""


@routes.get("/extensions")
async def scripts(request: web.Request) -> web.Response:
    page = request.app[SETTINGS].page_directory
    return json_response(await asyncio.to_thread(request.app[PACK_FILES].scripts, page))


@static_routes.get("/extensions/{pack}/{path:.*}")
async def script(request: web.Request) -> web.StreamResponse:
    """A file of a pack, else of the page, which has a folder of this name, too."""
    pack, path = request.match_info["pack"], request.match_info["path"]
    files = request.app[PACK_FILES]
    if files.has_scripts(pack):
        return await static_file(await asyncio.to_thread(files.web_file, pack, path))
    return await file_of_page(request, f"extensions/{pack}/{path}")


@routes.get("/i18n")
async def translations(request: web.Request) -> web.Response:
    return json_response(await asyncio.to_thread(request.app[PACK_FILES].translations))


# --- example workflows -----------------------------------------------------------------------------------


@routes.get("/workflow_templates")
async def templates(request: web.Request) -> web.Response:
    return json_response(await asyncio.to_thread(request.app[PACK_FILES].templates))


@static_routes.get("/api/workflow_templates/{pack}/{path:.*}")
async def template(request: web.Request) -> web.StreamResponse:
    pack, path = request.match_info["pack"], request.match_info["path"]
    return await static_file(await asyncio.to_thread(request.app[PACK_FILES].template_file, pack, path))


EMPTY_LISTS: Mapping[str, Any] = {"index.json": [], "index_logo.json": {}}
"""What front ends ask for whether or not there are examples; they can parse these, and no 404."""


@static_routes.get("/templates/{path:.*}")
async def installed_template(request: web.Request) -> web.StreamResponse:
    """A file of the installed example workflows, else of the page."""
    path = request.match_info["path"]

    def find() -> Path | None:
        return (request.app[INSTALLED_FILES].template(path)
                or find_page_file(request.app[SETTINGS].page_directory, f"templates/{path}"))

    found = await asyncio.to_thread(find)
    return json_response(EMPTY_LISTS[path]) if found is None and path in EMPTY_LISTS else await static_file(found)


# --- pages about nodes -----------------------------------------------------------------------------------


@static_routes.get("/docs/{path:.*}")
async def installed_docs(request: web.Request) -> web.StreamResponse:
    """A page about a node, or a picture in one, of the installed ones, else a file of the page."""
    path = request.match_info["path"]

    def find() -> Path | None:
        return (request.app[INSTALLED_FILES].docs(path)
                or find_page_file(request.app[SETTINGS].page_directory, f"docs/{path}"))

    return await static_file(await asyncio.to_thread(find))


# --- subgraphs and replacements --------------------------------------------------------------------------


@routes.get("/global_subgraphs")
async def subgraphs(request: web.Request) -> web.Response:
    """All of them without their content."""
    found = await asyncio.to_thread(request.app[PACK_FILES].subgraphs)
    return json_response({subgraph_id: without_data(one) for subgraph_id, one in found.items()})


@routes.get("/global_subgraphs/{id}")
async def subgraph(request: web.Request) -> web.Response:
    found = await asyncio.to_thread(request.app[PACK_FILES].subgraphs)
    one = found.get(request.match_info["id"])
    if one is None:
        raise BadRequest("unknown_subgraph", "There is no subgraph with this id.", status=404)
    return json_response(one)


def without_data(subgraph: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in subgraph.items() if key != "data"}


@routes.get("/node_replacements")
async def node_replacements(request: web.Request) -> web.Response:
    return json_response(request.app[PACK_TABLES].node_replacements)
