"""Model files over HTTP, for lists and browsers of models."""

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from .app_keys import SETTINGS
from .bad_request import BadRequest
from .file_names import BadFileName, FileMissing, FileRefused, OutsideFolder
from .image_variants import ImageUnreadable
from .middlewares import error_response, json_response
from .model_files import COVER, browsable, cover_of, list_models, metadata_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

routes = web.RouteTableDef()

STATUS_OF: Mapping[type[FileRefused], int] = {BadFileName: 400, OutsideFolder: 403, FileMissing: 404,
                                              ImageUnreadable: 404}


def answers_refusals(handler: Handler) -> Handler:
    @functools.wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except FileRefused as refusal:
            return error_response("model_refused", str(refusal), STATUS_OF[type(refusal)])

    return answered


@routes.get("/models")
async def categories(request: web.Request) -> web.Response:
    return json_response(list(request.app[SETTINGS].model_categories()))


@routes.get("/models/{folder}")
@answers_refusals
async def names(request: web.Request) -> web.StreamResponse:
    return json_response(await _names_of(request, request.match_info["folder"]))


@routes.get("/embeddings")
@answers_refusals
async def embeddings(request: web.Request) -> web.StreamResponse:
    """Without extensions: so they are written in a prompt."""
    return json_response([os.path.splitext(name)[0] for name in await _names_of(request, "embeddings")])


async def _names_of(request: web.Request, category: str) -> list[str]:
    settings = request.app[SETTINGS]
    if category not in settings.model_categories():  # older names of a category are none here
        raise FileMissing("there is no such folder of models")
    return list(await asyncio.to_thread(settings.list_model_files, category))


@routes.get("/view_metadata/{folder}")
@answers_refusals
async def metadata(request: web.Request) -> web.StreamResponse:
    """What the header of a model file says. Whatever is wrong with the name, it is not found."""
    try:
        return json_response(await asyncio.to_thread(
            metadata_of, request.app[SETTINGS].model_categories(), request.match_info["folder"],
            request.query.get("filename", "")))
    except BadFileName as refusal:
        raise FileMissing(str(refusal)) from None


# --- the browser of models -------------------------------------------------------------------------------


@routes.get("/experiment/models")
async def browsable_categories(request: web.Request) -> web.Response:
    return json_response(browsable(request.app[SETTINGS].model_categories()))


@routes.get("/experiment/models/{folder}")
@answers_refusals
async def models(request: web.Request) -> web.StreamResponse:
    found = await asyncio.to_thread(list_models, request.app[SETTINGS].model_categories(),
                                    request.match_info["folder"])
    return json_response([_shown(one) for one in found])


def _shown(model: Any) -> dict[str, Any]:
    return {"name": model.name, "pathIndex": model.folder_index, "modified": model.modified,
            "created": model.created, "size": model.size}


@routes.get("/experiment/models/preview/{folder}/{path_index}/{filename:.*}")
@answers_refusals
async def preview(request: web.Request) -> web.StreamResponse:
    """The picture of a model."""
    index, name = request.match_info["path_index"], request.match_info["filename"]
    if not name:
        raise BadRequest("invalid_path", "The name of the model is missing.")
    try:
        folder_index = int(index)
    except ValueError:
        raise BadRequest("invalid_path", "The index of the folder must be a whole number.") from None
    body = await asyncio.to_thread(cover_of, request.app[SETTINGS].model_categories(), request.match_info["folder"],
                                   folder_index, name)
    return web.Response(body=body, content_type=COVER.content_type, headers={"X-Content-Type-Options": "nosniff"})
