"""Submitting prompts, and stopping them."""

import asyncio
import time
from typing import Any

from aiohttp import web

from execution import PromptId, PromptSubmission

from . import wire
from .app_keys import CONNECTIONS, ENGINE, PACK_TABLES, PROMPT_GATE, SETTINGS
from .bad_request import BadRequest
from .middlewares import json_response, read_command
from .old_classes import replace_old_classes
from .workflow_conversion import is_saved_workflow
from .workflow_conversion_submission import convert_submission

routes = web.RouteTableDef()

LARGE_BODY = 256 * 2**10
"""Bytes from which a body is decoded on a thread."""


def _brings_number(content: bytes | dict[str, Any]) -> bool:
    """Whether a body that was refused says by which number it wants to be queued."""
    try:
        return (wire.decode_object(content) if isinstance(content, bytes) else content).get("number") is not None
    except BadRequest:
        return False


@routes.get("/prompt")
async def queue_length(request: web.Request) -> web.Response:
    return json_response({"exec_info": {"queue_remaining": request.app[ENGINE].remaining}})


@routes.post("/prompt")
async def submit(request: web.Request) -> web.Response:
    body = await request.read()
    now, source = time.time_ns() // 1_000_000, request.headers.get("Comfy-Usage-Source")
    if source is not None:
        source = source.encode(errors="replace").decode()
    engine = request.app[ENGINE]
    replacements, registry = request.app[PACK_TABLES].node_replacements, engine.registry
    gate = request.app[PROMPT_GATE]
    content: bytes | dict[str, Any] = body

    def replace_old(submission: PromptSubmission) -> None:
        replace_old_classes(submission.prompt, replacements, lambda name: registry.get(name) is not None)

    def decoded() -> PromptSubmission:
        submission = wire.decode_submission(content, now, source)
        replace_old(submission)
        return submission

    try:
        if gate.wants_bodies:
            content = await gate.change_body(await asyncio.to_thread(wire.decode_object, body))
        submission = await asyncio.to_thread(decoded) if len(body) > LARGE_BODY else decoded()
        if is_saved_workflow(submission.prompt):
            await convert_submission(engine, submission, afterwards=replace_old)
    except BadRequest as refusal:
        if refusal.error["type"] != "invalid_json" and not await asyncio.to_thread(_brings_number, content):
            engine.take_number()  # as the prompts do that are refused later
        raise
    if submission.client_id is not None and request.app[CONNECTIONS].shows_one_prompt_at_a_time(submission.client_id):
        submission.line = submission.client_id
    accepted = await gate.submit(submission, engine.submit)
    return json_response({"prompt_id": accepted.prompt_id, "number": accepted.number,
                          "node_errors": accepted.node_errors})


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
