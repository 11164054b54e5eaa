"""Answers that hold a job, or what became of a submission."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import web

from execution import Accepted, HistoryEntry, JobState, PromptId, PromptSubmission

from . import wire
from .app_keys import ENGINE, JOB_ENDS, JOB_PROGRESS, SUBMISSIONS
from .job_records import Record, detailed_record
from .middlewares import encoded_response, error_response, json_response
from .submission_requests import seconds_to_wait
from .submissions import QueueFull
from .webhook_requests import webhook_record

RETRY_AFTER = "5"
"""Seconds after which a full queue may have room."""


async def job_response(app: web.Application, entry: HistoryEntry, status: int = 200,
                       beside: Mapping[str, Any] | None = None) -> web.Response:
    """A job with all that is known of it, and of how far it is."""
    now = await _facts_of_now(app, entry)
    return encoded_response(await asyncio.to_thread(
        lambda: wire.dumps({**detailed_record(entry), **now, **(beside or {})})), status)


async def _facts_of_now(app: web.Application, entry: HistoryEntry) -> Record:
    """What is known of a job as long as it waits or runs, and what became of its webhook."""
    engine = app[ENGINE]
    facts: Record = {}
    webhook = await webhook_record(engine, entry)
    if webhook is not None:
        facts["webhook"] = webhook
    percent = await app[JOB_PROGRESS].percent_of(entry)
    if percent is not None:
        facts["progress"] = percent
    if entry.state is JobState.PENDING:
        position = engine.position_of(entry.prompt_id)
        if position is not None:
            facts["queue_position"] = position
    elif entry.state is JobState.IN_PROGRESS:
        facts["running_nodes"] = [node_id for node_id, row in engine.progress_of(entry.prompt_id).items()
                                  if row.state == "running"]
    if entry.outcome is None and not facts.get("running_nodes"):
        facts.update(wire.busy_pools(engine))  # perhaps that is what it waits for
    return facts


def job_not_found() -> web.Response:
    return json_response({"error": "Job not found"}, 404)


async def submit_and_answer(request: web.Request, submission: PromptSubmission, *, as_job: bool) -> web.Response:
    """Queue a prompt, wait for its end if the client prefers that, and say what became of it.

    :param as_job: answer with the job, as something that was made; else with what `/prompt` answers.
    """
    wait = seconds_to_wait(request)
    try:
        accepted = await request.app[SUBMISSIONS].accept(submission)
    except QueueFull:
        refusal = error_response("queue_full", "The queue is full. Try again once something of it has run.", 429)
        refusal.headers["Retry-After"] = RETRY_AFTER
        return refusal
    response = await _answer(request.app, accepted, wait, as_job)
    if wait is not None:
        response.headers["Preference-Applied"] = f"wait={wait}"
    if as_job:
        response.headers["Location"] = path_of(accepted.prompt_id)
    return response


async def _answer(app: web.Application, accepted: Accepted, wait: int | None, as_job: bool) -> web.Response:
    ended = None if wait is None else await app[JOB_ENDS].entry_at_end(accepted.prompt_id, wait)
    beside = {"node_errors": accepted.node_errors}
    if ended is not None:
        return await job_response(app, ended, 201 if as_job else 200, beside)
    entry = await app[ENGINE].history.job(accepted.prompt_id) if as_job else None
    if entry is not None:
        return await job_response(app, entry, 201 if wait is None else 202, beside)
    return json_response({"prompt_id": accepted.prompt_id, "number": accepted.number,
                          "node_errors": accepted.node_errors}, 200 if wait is None else 202)


def path_of(prompt_id: PromptId) -> str:
    """Where a job is found."""
    return f"/api/jobs/{quote(prompt_id, safe='')}"
