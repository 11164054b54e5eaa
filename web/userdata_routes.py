"""Files of a front end's user over HTTP. The name of a file is one segment of the path, its slashes encoded."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from .bad_request import BadRequest
from .file_names import BadFileName, FileMissing, FileRefused, OutsideFolder
from .file_routes import FileItself, content_disposition, content_type_of, is_active
from .middlewares import error_response, json_response
from .settings_routes import folder_of_user, on_disk
from .user_files import (
    FileTaken,
    NoFolder,
    UserFile,
    delete_file,
    file_below,
    list_everything,
    list_files,
    move_file,
    real_root,
    write_file,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

routes = web.RouteTableDef()

STATUS_OF: Mapping[type[FileRefused], int] = {BadFileName: 400, NoFolder: 400, OutsideFolder: 403, FileMissing: 404,
                                              FileTaken: 409}
BAD_NAME = "Invalid filename. Please avoid special characters like :\\/*?\"<>|"
STYLE_SHEET = "user.css"
"""In the user's own folder, this one is for the page to use."""


def answers_refusals(handler: Handler) -> Handler:
    """Turn what a handler refuses into a JSON error."""

    @functools.wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except FileRefused as refusal:
            status = STATUS_OF[type(refusal)]
            response = error_response("file_refused", str(refusal), status)
            if isinstance(refusal, BadFileName) and request.method == "POST":
                response.set_status(status, BAD_NAME)  # where clients look for it
            return response

    return answered


async def root_of_user(request: web.Request, status: int = 401) -> Path:
    """The real path of the user's folder. Raises BadRequest with this status when there is no such user."""
    folder = await folder_of_user(request, status)
    return await asyncio.to_thread(real_root, folder)


def is_set(request: web.Request, flag: str) -> bool:
    """Whether a flag of the query is the word true."""
    return request.query.get(flag, "").lower() == "true"


def may_overwrite(request: web.Request) -> bool:
    return request.query.get("overwrite", "true").lower() != "false"


def name_in_path(request: web.Request, part: str) -> str:
    """The name of a file. Clients that encode it twice are understood, too."""
    name = request.match_info[part]
    return unquote(name) if "%" in name else name


# --- lists -----------------------------------------------------------------------------------------------


@routes.get("/userdata")
@answers_refusals
async def files(request: web.Request) -> web.StreamResponse:
    """Files of one folder: as paths, split into parts, or with size and times."""
    root = await root_of_user(request)
    folder = request.query.get("dir", "")
    if not folder:
        raise BadRequest("no_directory", "Directory not provided")
    try:
        found = await asyncio.to_thread(list_files, root, folder, is_set(request, "recurse"))
    except OutsideFolder:
        raise BadRequest("invalid_directory", "Invalid directory", status=403) from None
    except BadFileName as refusal:
        raise BadRequest("invalid_directory", "Invalid directory", str(refusal)) from None
    return json_response([shown(one, request) for one in found])


def shown(file: UserFile, request: web.Request) -> Any:
    if is_set(request, "full_info"):
        return file.full_info()
    return [file.path, *file.path.split("/")] if is_set(request, "split") else file.path


@routes.get("/v2/userdata")
@answers_refusals
async def everything(request: web.Request) -> web.StreamResponse:
    """Files and folders at any depth."""
    root = await root_of_user(request, 403)
    try:
        found = await asyncio.to_thread(list_everything, root, request.query.get("path", ""))
    except (BadFileName, OutsideFolder) as refusal:
        raise BadRequest("invalid_path", "Invalid path requested", str(refusal)) from None
    return json_response([entry(one) for one in found])


def entry(file: UserFile) -> dict[str, Any]:
    said = {"name": file.path.rpartition("/")[2], "path": file.path}
    if file.is_folder:
        return {**said, "type": "directory"}
    return {**said, "type": "file", "size": file.size, "modified": file.modified}


# --- single files ----------------------------------------------------------------------------------------


@routes.get("/userdata/{file}")
@answers_refusals
async def read(request: web.Request) -> web.StreamResponse:
    """The file, as a download: what others put there is not for a browser to run."""
    root = await root_of_user(request)
    path = await asyncio.to_thread(file_below, root, name_in_path(request, "file"))
    headers = {"X-Content-Type-Options": "nosniff"}
    if path == root / STYLE_SHEET:
        return FileItself(path, headers={**headers, "Content-Type": "text/css", "Content-Disposition": "inline"})
    kind = content_type_of(path.name)
    return FileItself(path, headers={
        **headers, "Content-Type": "application/octet-stream" if is_active(kind) else kind,
        "Content-Disposition": f"attachment; {content_disposition(path.name)}"})


@routes.post("/userdata/{file}")
@answers_refusals
async def write(request: web.Request) -> web.StreamResponse:
    """Keep the body, whatever it is, under this name."""
    root = await root_of_user(request)
    name, content = name_in_path(request, "file"), await request.read()
    return place_of(await on_disk(write_file, root, name, content, may_overwrite(request)), request)


@routes.delete("/userdata/{file}")
@answers_refusals
async def delete(request: web.Request) -> web.StreamResponse:
    root = await root_of_user(request)
    await on_disk(delete_file, root, name_in_path(request, "file"))
    return web.Response(status=204)


@routes.post("/userdata/{file}/move/{dest}")
@answers_refusals
async def move(request: web.Request) -> web.StreamResponse:
    root = await root_of_user(request)
    return place_of(await on_disk(move_file, root, name_in_path(request, "file"), name_in_path(request, "dest"),
                                  may_overwrite(request)), request)


def place_of(file: UserFile, request: web.Request) -> web.Response:
    """Where a file is now."""
    return json_response(file.full_info() if is_set(request, "full_info") else file.path)
