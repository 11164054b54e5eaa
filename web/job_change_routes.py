"""Making jobs, doing them again, and giving them another place in the queue. These paths exist below `/api` alone."""

import asyncio
import json
import math
import time
from contextlib import suppress
from typing import Any

from aiohttp import web

from execution import ClientId, PromptConflict, PromptId, PromptSubmission

from . import wire
from .app_keys import ENGINE
from .bad_request import BadRequest, JobRefused
from .job_answers import job_not_found, job_response, submit_and_answer
from .middlewares import read_command
from .submission_requests import idempotency_key_of, put_in_line, submission_of

routes = web.RouteTableDef()


@routes.post("/api/jobs")
async def make_job(request: web.Request) -> web.Response:
    """What `POST /prompt` does, answered with the job."""
    return await submit_and_answer(request, await submission_of(request), as_job=True)


# -- again ---------------------------------------------------------------------------------------------------------


@routes.post("/api/jobs/{prompt_id}/retry")
async def retry_job(request: web.Request) -> web.Response:
    """A new job from what was submitted. What the cache still has of it is not done again."""
    prompt_id = PromptId(request.match_info["prompt_id"])
    fresh = _fresh_extra_data(await _said_in(request))
    store = request.app[ENGINE].history
    entry, job = await store.job(prompt_id), await store.job_to_repeat(prompt_id)
    if entry is None or job is None:
        return job_not_found()
    if entry.outcome is None:
        raise JobRefused("The job has not ended; cancel it first.", 409)
    extra_data, secrets = wire.without_secrets({**entry.extra_data, **fresh})
    extra_data["create_time"] = time.time_ns() // 1_000_000
    client_id = extra_data.get("client_id")
    submission = PromptSubmission(
        prompt=await asyncio.to_thread(json.loads, job.submitted), extra_data=extra_data, secrets=secrets,
        client_id=ClientId(client_id) if isinstance(client_id, str) else entry.client_id, targets=job.targets,
        rules=job.rules, retry_of=prompt_id, end_notice=entry.end_notice, idempotency_key=idempotency_key_of(request),
        content_key=wire.digest_of(["retry", prompt_id, fresh]))
    put_in_line(request.app, submission)
    return await submit_and_answer(request, submission, as_job=True)


def _fresh_extra_data(said: dict[str, Any]) -> dict[str, Any]:
    """What a job is given anew, keys for instance.

    :raises JobRefused: it is nothing of the kind.
    """
    fresh = said.get("extra_data")
    if fresh is not None and not isinstance(fresh, dict):
        raise JobRefused("extra_data must be an object.")
    return fresh or {}


# -- another place in the queue --------------------------------------------------------------------------------------


@routes.patch("/api/jobs/{prompt_id}")
async def move_job(request: web.Request) -> web.Response:
    prompt_id = PromptId(request.match_info["prompt_id"])
    place = _place_of(await _said_in(request))
    engine = request.app[ENGINE]
    if await engine.history.job(prompt_id) is None:
        return job_not_found()
    try:
        engine.move(prompt_id, **place)
    except PromptConflict as refusal:
        raise JobRefused(str(refusal), 409) from None
    await engine.told()
    entry = await engine.history.job(prompt_id)
    return job_not_found() if entry is None else await job_response(request.app, entry)


def _place_of(said: dict[str, Any]) -> dict[str, Any]:
    """Either a number or a position.

    :raises JobRefused: it is neither, or both.
    """
    match {name: value for name, value in said.items() if value is not None}:
        case {"number": number, **rest} if not rest:
            return {"number": _finite(number)}
        case {"position": position, **rest} if not rest:
            if type(position) is not int or position < 1:
                raise JobRefused("position must be a whole number from 1, the next one, on.")
            return {"position": position}
    raise JobRefused("The body must have either number or position, and nothing else.")


def _finite(number: Any) -> float:
    if type(number) in (int, float):
        with suppress(OverflowError):
            if math.isfinite(number):
                return float(number)
    raise JobRefused("number must be a finite number.")


async def _said_in(request: web.Request) -> dict[str, Any]:
    """The object in a body; nothing if that is empty.

    :raises JobRefused: it is something else.
    """
    try:
        body = await read_command(request)
        return wire.decode_object(body) if body.strip() else {}
    except BadRequest as refusal:
        raise JobRefused(refusal.error["message"]) from None
