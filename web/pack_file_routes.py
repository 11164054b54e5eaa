"""What packs bring for the browser, over HTTP. The tables of packs are handed in; nothing here knows how packs load."""

import asyncio
from typing import Any

from aiohttp import web

from .app_keys import PACK_FILES, PACK_TABLES, SETTINGS
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


@static_routes.get(r"/templates/{name:index(?:_logo)?\.json}")
async def template_index(request: web.Request) -> web.StreamResponse:
    """The page's own list of examples; an empty one if it brings none, which is what its readers can parse."""
    name = request.match_info["name"]
    found = await asyncio.to_thread(find_page_file, request.app[SETTINGS].page_directory, f"templates/{name}")
    return json_response([] if name == "index.json" else {}) if found is None else await static_file(found)


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
