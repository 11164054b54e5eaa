"""Making jobs, doing them again, and giving them another place in the queue. These paths exist below `/api` alone."""

import asyncio
import json
import math
import time
from typing import Any

from aiohttp import web

from execution import ClientId, PromptConflict, PromptId, PromptSubmission

from . import wire
from .app_keys import ENGINE
from .bad_request import BadRequest
from .job_answers import job_not_found, job_response, submit_and_answer
from .middlewares import json_response, read_command
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
    try:
        fresh = _fresh_extra_data(await read_command(request))
    except BadRequest as refusal:
        return _refused(refusal)
    store = request.app[ENGINE].history
    entry, job = await store.job(prompt_id), await store.job_to_repeat(prompt_id)
    if entry is None or job is None:
        return job_not_found()
    if entry.outcome is None:
        return json_response({"error": "The job has not ended; cancel it first."}, 409)
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


def _fresh_extra_data(body: bytes) -> dict[str, Any]:
    """What a job is given anew, keys for instance; an empty body brings nothing.

    :raises BadRequest: it is no such body.
    """
    if not body.strip():
        return {}
    fresh = wire.decode_object(body).get("extra_data")
    if fresh is not None and not isinstance(fresh, dict):
        raise BadRequest("invalid_field", "extra_data must be an object.", "extra_data")
    return fresh or {}


# -- another place in the queue --------------------------------------------------------------------------------------


@routes.patch("/api/jobs/{prompt_id}")
async def move_job(request: web.Request) -> web.Response:
    prompt_id = PromptId(request.match_info["prompt_id"])
    try:
        place = _place_of(await read_command(request))
    except BadRequest as refusal:
        return _refused(refusal)
    engine = request.app[ENGINE]
    if await engine.history.job(prompt_id) is None:
        return job_not_found()
    try:
        engine.move(prompt_id, **place)
    except PromptConflict as refusal:
        return json_response({"error": str(refusal)}, 409)
    await engine.told()
    entry = await engine.history.job(prompt_id)
    return job_not_found() if entry is None else await job_response(request.app, entry)


def _place_of(body: bytes) -> dict[str, Any]:
    """Either a number or a position.

    :raises BadRequest: it is neither, or both.
    """
    said = {name: value for name, value in wire.decode_object(body).items() if value is not None}
    if list(said) == ["number"]:
        number = said["number"]
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            try:
                number = float(number)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return {"number": number}
        raise BadRequest("invalid_field", "number must be a finite number.", "number")
    if list(said) == ["position"]:
        position = said["position"]
        if isinstance(position, int) and not isinstance(position, bool) and position >= 1:
            return {"position": position}
        raise BadRequest("invalid_field", "position must be a whole number from 1, the next one, on.", "position")
    raise BadRequest("invalid_body", "The body must have either number or position, and nothing else.")


def _refused(refusal: BadRequest) -> web.Response:
    """Refusals of jobs have a shape of their own."""
    return json_response({"error": refusal.error["message"]}, 400)
