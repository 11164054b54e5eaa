"""Submitting prompts, and stopping them."""

import asyncio

from aiohttp import web

from execution import PromptId

from . import wire
from .app_keys import ENGINE, SETTINGS
from .bad_request import BadRequest
from .job_answers import submit_and_answer
from .middlewares import json_response, read_command
from .submission_requests import submission_of

routes = web.RouteTableDef()


@routes.get("/prompt")
async def queue_length(request: web.Request) -> web.Response:
    return json_response({"exec_info": {"queue_remaining": request.app[ENGINE].remaining}})


@routes.post("/prompt")
async def submit(request: web.Request) -> web.Response:
    return await submit_and_answer(request, await submission_of(request), as_job=False)


@routes.post("/interrupt")
async def interrupt(request: web.Request) -> web.Response:
    """An empty body, or one that is no JSON, means every running prompt."""
    try:
        said = wire.decode_json(await read_command(request))
    except BadRequest:
        said = {}
    if not isinstance(said, dict):
        raise BadRequest("invalid_body", "The body must be a JSON object, or empty.")
    prompt_id = said.get("prompt_id")
    if prompt_id is not None and not isinstance(prompt_id, str):
        raise BadRequest("invalid_field", "prompt_id must be a text.", "prompt_id")
    request.app[ENGINE].interrupt(PromptId(prompt_id) if prompt_id else None)
    await request.app[ENGINE].told()
    return web.Response()


@routes.post("/free")
async def free(request: web.Request) -> web.Response:
    said = wire.decode_object(await read_command(request))
    for name in ("unload_models", "free_memory"):
        if not isinstance(said.get(name, False), bool):
            raise BadRequest("invalid_field", f"{name} must be true or false.", name)
    if said.get("free_memory"):
        request.app[ENGINE].free_memory()
    elif said.get("unload_models"):
        await asyncio.to_thread(request.app[SETTINGS].release_memory)
    return web.Response()
