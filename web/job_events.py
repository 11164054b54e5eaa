"""The events of one job as server-sent events, for people with curl and for pages without a socket.

Each message of a socket is an event of the same name, whoever's prompt it is. The number of what is kept in the log is
its id, so a browser that comes back says with `Last-Event-ID` what it has seen.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from execution import Engine, Event, LoggedEvent, PromptFinished, PromptId, SubscriberTooSlow, Subscription

from . import wire
from .app_keys import ENGINE
from .bad_request import BadRequest
from .middlewares import json_response
from .replay import NOW, events_between, frames_of, since_of
from .wire import FrameEncoder

routes = web.RouteTableDef()

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that nobody in between closes the connection."""
_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store",
            "X-Accel-Buffering": "no"}


class _Said(msgspec.Struct):
    """A message as sockets get it."""

    type: str
    data: msgspec.Raw


@routes.get("/api/jobs/{prompt_id}/events")
async def job_events(request: web.Request) -> web.StreamResponse:
    """From where the client was, up to the end of the job. 204 once it has ended and all of it was told."""
    engine = request.app[ENGINE]
    prompt_id = PromptId(request.match_info["prompt_id"])
    try:
        since = since_of(request.headers.get("Last-Event-ID") or request.query.get("since") or "0")
    except BadRequest as error:
        return json_response({"error": error.error["message"]}, 400)
    assert since is not None
    with contextlib.closing(engine.subscribe()) as subscription:
        up_to = engine.last_told
        job = await engine.history.job(prompt_id)
        if job is None:
            return json_response({"error": "Job not found"}, 404)
        past = _Past(engine, prompt_id, up_to if since == NOW else since, up_to)
        first = await past.next_event()
        if first is None and job.outcome is not None:
            return web.Response(status=204)
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        encoder = FrameEncoder()
        encoder.learn(prompt_id, job.extra_data)
        has_ended = False
        logged = first
        while logged is not None:
            await response.write(b"".join(map(_sent, await frames_of(logged, encoder, engine))))
            has_ended = isinstance(logged.event, PromptFinished)
            logged = await past.next_event()
        if not has_ended and job.outcome is None:
            async for chunk in _live(subscription, prompt_id, up_to, encoder):
                await response.write(chunk)
        await response.write_eof()
        return response


class _Past:
    """Events of the log, one after the other."""

    def __init__(self, engine: Engine, prompt_id: PromptId, since: int, up_to: int) -> None:
        self._events = events_between(engine, since, up_to, prompt_id)

    async def next_event(self) -> LoggedEvent | None:
        return await anext(self._events, None)


async def _live(subscription: Subscription, prompt_id: PromptId, after: int,
                encoder: FrameEncoder) -> AsyncIterator[bytes]:
    """What happens from now on, until the job ends; a comment now and then if nothing does."""
    coming: asyncio.Future[Event] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(subscription))
            done, _ = await asyncio.wait((coming,), timeout=HEARTBEAT)
            if not done:
                yield b": nothing new\n\n"
                continue
            try:
                event = coming.result()
            except (StopAsyncIteration, SubscriberTooSlow):
                return  # the client comes back, and says what it has seen
            coming = None
            if getattr(event, "prompt_id", None) != prompt_id or event.sequence <= after:
                continue
            yield b"".join(map(_sent, encoder.encode_numbered(event)))
            if isinstance(event, PromptFinished):
                return
    finally:
        if coming is not None:
            coming.cancel()


def _sent(frame: wire.Frame) -> bytes:
    """A frame as a server-sent event; nothing for binary ones."""
    if frame.data[0] != wire.TEXT:
        return b""
    said = msgspec.json.decode(wire.payload_of(frame.data), type=_Said)
    number = b"id: %d\n" % frame.sequence if frame.sequence else b""
    return number + b"event: " + said.type.encode() + b"\ndata: " + bytes(said.data) + b"\n\n"
