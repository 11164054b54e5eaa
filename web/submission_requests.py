"""Requests that submit prompts: their bodies, and what their headers ask for."""

import asyncio
import time
from typing import Any

from aiohttp import web

from execution import PromptSubmission

from . import wire
from .app_keys import CONNECTIONS, ENGINE, PACK_TABLES, PROMPT_GATE, SETTINGS
from .bad_request import BadRequest
from .old_classes import replace_old_classes
from .webhook_requests import refuse_unreachable
from .workflow_conversion import is_saved_workflow
from .workflow_conversion_submission import convert_submission

LARGE_BODY = 256 * 2**10
"""Bytes from which a body is decoded on a thread."""
SMALL_BODY = 8 * 2**10
"""Bytes up to which a prompt is looked at without a thread."""
IDEMPOTENCY_KEY = "Idempotency-Key"
LONGEST_KEY = 255
"""Characters of it."""
LONGEST_WAIT = 300
"""Seconds."""


def idempotency_key_of(request: web.Request) -> str | None:
    """What a client calls this request, so that it is done once however often it comes.

    :raises BadRequest: it is no such name.
    """
    said = request.headers.getall(IDEMPOTENCY_KEY, [])
    if not said:
        return None
    if len(said) > 1 or not 0 < len(said[0]) <= LONGEST_KEY or not said[0].isprintable():
        raise BadRequest("invalid_idempotency_key",
                         f"{IDEMPOTENCY_KEY} must be 1 to {LONGEST_KEY} printable characters.", IDEMPOTENCY_KEY)
    return said[0]


def seconds_to_wait(request: web.Request) -> int | None:
    """How long the client would rather wait for a result than be answered at once; None if it does not say.

    :raises BadRequest: it is no number of seconds.
    """
    for preference in ",".join(request.headers.getall("Prefer", [])).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            text = value.strip().strip('"')
            if not text.isascii() or not text.isdigit():
                raise BadRequest("invalid_preference", "wait in Prefer must be a whole number of seconds.", text[:100])
            return LONGEST_WAIT if len(text) > 9 else min(int(text), LONGEST_WAIT)
    return None


async def submission_of(request: web.Request) -> PromptSubmission:
    """The prompt of a request, by way of what packs change of it.

    :raises BadRequest: the body or a header makes no sense.
    """
    key = idempotency_key_of(request)
    body = await request.read()
    now, source = time.time_ns() // 1_000_000, request.headers.get("Comfy-Usage-Source")
    if source is not None:
        source = source.encode(errors="replace").decode()
    engine, gate, outside = request.app[ENGINE], request.app[PROMPT_GATE], request.app[SETTINGS].outside
    replacements, registry = request.app[PACK_TABLES].node_replacements, engine.registry
    content: bytes | dict[str, Any] = body
    content_key: str | None = None

    def replace_old(submission: PromptSubmission) -> None:
        replace_old_classes(submission.prompt, replacements, lambda name: registry.get(name) is not None)

    def decoded() -> PromptSubmission:
        submission = wire.decode_submission(content, now, source, may_come_again=key is not None)
        refuse_unreachable(outside, submission.end_notice)
        replace_old(submission)
        return submission

    try:
        if gate.wants_bodies:
            said = await asyncio.to_thread(wire.decode_object, body)
            if key is not None:  # of what the client sent: packs may change it differently each time
                content_key = await asyncio.to_thread(wire.digest_of, said)
            content = await gate.change_body(said)
        submission = await asyncio.to_thread(decoded) if len(body) > LARGE_BODY else decoded()
        if is_saved_workflow(submission.prompt):
            await convert_submission(engine, submission, afterwards=replace_old)
    except BadRequest as refusal:
        if refusal.error["type"] != "invalid_json" and not await asyncio.to_thread(_brings_number, content):
            engine.take_number()  # as the prompts do that are refused later
        raise
    submission.is_small = content is body and len(body) <= SMALL_BODY
    submission.idempotency_key = key
    submission.content_key = content_key or submission.content_key
    put_in_line(request.app, submission)
    return submission


def put_in_line(app: web.Application, submission: PromptSubmission) -> None:
    """Behind the others of a client that can show one prompt at a time."""
    client_id = submission.client_id
    if client_id is not None and app[CONNECTIONS].shows_one_prompt_at_a_time(client_id):
        submission.line = client_id


def _brings_number(content: bytes | dict[str, Any]) -> bool:
    """Whether a body that was refused says by which number it wants to be queued."""
    try:
        return (wire.decode_object(content) if isinstance(content, bytes) else content).get("number") is not None
    except BadRequest:
        return False
