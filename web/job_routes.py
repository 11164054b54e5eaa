"""Jobs: prompts in the queue, running or in the history, in one list. These paths exist below `/api` alone."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar

from aiohttp import web

from execution import ClientId, JobOrder, JobQuery, JobState, Outcome, PromptId

from . import wire
from .app_keys import ENGINE
from .bad_request import BadRequest, JobRefused
from .job_answers import job_not_found, job_response
from .job_records import job_record
from .middlewares import encoded_response, json_response, read_command

T = TypeVar("T")

routes = web.RouteTableDef()

_ORDERS = {"created_at": JobOrder.CREATED_AT, "create_time": JobOrder.CREATED_AT,
           "execution_duration": JobOrder.DURATION, "execution_time": JobOrder.DURATION}
_STATES = {state.value: state for state in JobState}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_DIRECTIONS = {"asc": False, "desc": True}
_LONGEST_ECHO = 200
"""Characters of what was sent that come back in a refusal."""
_MOST_NAMED = 100


@routes.get("/api/jobs")
async def jobs(request: web.Request) -> web.Response:
    query = query_of(request)
    found: Sequence[bytes] = ()
    total = 0
    if frozenset() not in (query.states, query.outcomes):  # a filter without a word in it lets nothing through
        found, total = await request.app[ENGINE].history.map_jobs(query, lambda entry: wire.dumps(job_record(entry)))
    returned = len(found)
    pagination = {"offset": query.offset, "limit": returned if query.limit is None else query.limit,
                  "total": total, "has_more": query.offset + returned < total}
    return encoded_response(await asyncio.to_thread(  # one copy: of many jobs it is large
        lambda: b"".join([b'{"jobs":[', b",".join(found), b'],"pagination":', wire.dumps(pagination), b"}"])))


@routes.get("/api/jobs/{prompt_id}")
async def job(request: web.Request) -> web.Response:
    entry = await request.app[ENGINE].history.job(PromptId(request.match_info["prompt_id"]))
    return job_not_found() if entry is None else await job_response(request.app, entry)


@routes.post("/api/jobs/{prompt_id}/cancel")
async def cancel_job(request: web.Request) -> web.Response:
    """Interrupt it or take it from the queue, in one step: it cannot start or end in between."""
    return json_response({"cancelled": await _cancel(request, [PromptId(request.match_info["prompt_id"])])})


@routes.post("/api/jobs/cancel")
async def cancel_jobs(request: web.Request) -> web.Response:
    return json_response({"cancelled": await _cancel(request, _listed(await read_command(request)))})


async def _cancel(request: web.Request, prompt_ids: Sequence[PromptId]) -> bool:
    """Whether one of them was waiting or running."""
    engine = request.app[ENGINE]
    found = engine.cancel(list(dict.fromkeys(prompt_ids)))
    await engine.told()
    return found


def _listed(body: bytes) -> list[PromptId]:
    """The ids of a body. Whatever a prompt may be called is one.

    :raises JobRefused: it is no such body.
    """
    try:
        said = wire.decode_json(body)
    except BadRequest:
        raise JobRefused("Request body must be valid JSON") from None
    listed = said.get("job_ids") if isinstance(said, dict) else None
    if not isinstance(listed, list):
        raise JobRefused("job_ids must be a list")
    wrong = [one for one in listed if not wire.is_prompt_id(one)]
    if wrong:
        raise JobRefused("job_ids contains invalid id(s)",
                         invalid_ids=[str(one)[:_LONGEST_ECHO] for one in wrong[:_MOST_NAMED]])
    return [PromptId(one) for one in listed]


# -- which jobs ----------------------------------------------------------------------------------------------------


def query_of(request: web.Request) -> JobQuery:
    """The jobs that a request wants.

    :raises JobRefused: a parameter makes no sense.
    """
    said = request.query
    states = _named(said.get("status", ""), _STATES, "status")
    outcomes = _named(said.get("outcome", ""), _OUTCOMES, "outcome")
    workflow_id = said.get("workflow_id") or None
    order = _ORDERS.get(said.get("sort_by", "created_at").lower())
    if order is None:
        raise JobRefused("sort_by must be 'created_at' or 'execution_duration'")
    descending = _DIRECTIONS.get(said.get("sort_order", "desc").lower())
    if descending is None:
        raise JobRefused("sort_order must be 'asc' or 'desc'")
    limit = _integer(said.get("limit"), "limit")
    if limit is not None and limit <= 0:
        raise JobRefused("limit must be a positive integer")
    client_id = said.get("client_id")
    return JobQuery(states=states, outcomes=outcomes, workflow_id=workflow_id, order=order, descending=descending,
                    client_id=ClientId(client_id) if client_id else None, limit=limit,
                    offset=max(0, _integer(said.get("offset"), "offset") or 0))


def _named(text: str, known: Mapping[str, T], what: str) -> frozenset[T] | None:
    """The words of a list with commas; None if it is empty."""
    if not text:
        return None
    named = dict.fromkeys(one for part in text.split(",") if (one := part.strip().lower()))
    wrong = [one for one in named if one not in known]
    if wrong:
        valid = ", ".join(known)
        raise JobRefused(f"Invalid {what} value(s): {', '.join(wrong)[:_LONGEST_ECHO]}. Valid values: {valid}")
    return frozenset(known[one] for one in named)


def _integer(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise JobRefused(f"{name} must be an integer") from None

