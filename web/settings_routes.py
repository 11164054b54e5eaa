"""Users of a front end, and what it remembers for them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from . import wire
from .app_keys import ACCOUNTS
from .bad_request import BadRequest
from .file_routes import DISK_FULL
from .middlewares import json_response, read_command
from .user_accounts import NameRefused
from .user_settings import change_settings, read_settings

routes = web.RouteTableDef()

USER_HEADER = "comfy-user"


async def folder_of_user(request: web.Request, status: int = 401) -> Path:
    """Where the files of the user lie who makes this request.

    :raises BadRequest: there is no such user; with this status.
    """
    folder = await asyncio.to_thread(request.app[ACCOUNTS].folder_of, request.headers.get(USER_HEADER))
    if folder is None:
        raise BadRequest("unknown_user", "Invalid user specified in request", status=status)
    return folder


async def on_disk(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call something that writes, on a thread.

    :raises BadRequest: there is no room, or the server may not write there.
    """
    try:
        return await asyncio.to_thread(function, *arguments)
    except PermissionError:
        raise BadRequest("not_writable", "The server may not write there.", status=403) from None
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise BadRequest("disk_full", "There is no room on the disk.", status=507) from None


# --- settings --------------------------------------------------------------------------------------------


@routes.get("/settings")
async def all_settings(request: web.Request) -> web.Response:
    return json_response(await asyncio.to_thread(read_settings, await folder_of_user(request)))


@routes.get("/settings/{id}")
async def one_setting(request: web.Request) -> web.Response:
    settings = await asyncio.to_thread(read_settings, await folder_of_user(request))
    return json_response(settings.get(request.match_info["id"]))


@routes.post("/settings")
async def set_several(request: web.Request) -> web.Response:
    folder = await folder_of_user(request)
    await on_disk(change_settings, folder, await decoded(request, wire.decode_object))
    return web.Response()


@routes.post("/settings/{id}")
async def set_one(request: web.Request) -> web.Response:
    folder = await folder_of_user(request)
    value = await decoded(request, wire.decode_json)
    await on_disk(change_settings, folder, {request.match_info["id"]: value})
    return web.Response()


async def decoded(request: web.Request, decode: Callable[[bytes], Any]) -> Any:
    """The JSON of the body, decoded on a thread: settings may be large. Raises BadRequest."""
    return await asyncio.to_thread(decode, await request.read())


# --- users -----------------------------------------------------------------------------------------------


@routes.get("/users")
async def users(request: web.Request) -> web.Response:
    return json_response(await asyncio.to_thread(request.app[ACCOUNTS].describe))


@routes.post("/users")
async def add_user(request: web.Request) -> web.Response:
    """Answers the id of the new user as a JSON text."""
    name = wire.decode_object(await read_command(request)).get("username")
    if name is not None and not isinstance(name, str):
        return json_response({"error": "username must be a text"}, 400)
    try:
        return json_response(await on_disk(request.app[ACCOUNTS].add, name or ""))
    except NameRefused as refusal:
        return json_response({"error": str(refusal)}, 400)


