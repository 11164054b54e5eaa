"""Stopping and starting the queue. These paths exist below `/api` alone."""

from aiohttp import web

from execution import Engine

from .app_keys import ENGINE
from .middlewares import json_response

routes = web.RouteTableDef()


@routes.post("/api/queue/pause")
async def pause(request: web.Request) -> web.Response:
    """Nothing starts any more. What runs goes on."""
    engine = request.app[ENGINE]
    engine.pause()
    return await _said(engine)


@routes.post("/api/queue/resume")
async def resume(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    engine.resume()
    return await _said(engine)


async def _said(engine: Engine) -> web.Response:
    await engine.told()
    return json_response({"is_paused": engine.is_paused})


@routes.get("/api/queue/state")
async def state(request: web.Request) -> web.Response:
    """How many prompts run and wait, without what they are."""
    engine = request.app[ENGINE]
    return json_response({"is_paused": engine.is_paused, "running": engine.remaining - engine.waiting,
                          "pending": engine.waiting})
