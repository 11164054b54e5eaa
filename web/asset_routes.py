"""The database of files that some servers keep. There is none here, and clients are told so instead of a 404."""

from aiohttp import web

from .middlewares import json_response

routes = web.RouteTableDef()
"""Declared with `/api` in the path; without twins."""


@routes.route("*", "/api/assets")
@routes.route("*", "/api/assets/{path:.*}")
@routes.route("*", "/api/tags")
async def disabled(request: web.Request) -> web.Response:
    return json_response({"error": {"code": "SERVICE_DISABLED", "details": {},
                                    "message": "This server keeps no database of assets."}}, 503)
