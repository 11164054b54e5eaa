"""What the server logged, as a text, as lines, and as a stream on the caller's socket. No twins below `/api`."""

from aiohttp import web

from execution import ClientId

from . import wire
from .app_keys import LOG_BOOK, LOG_STREAM
from .bad_request import BadRequest
from .log_book import terminal_size
from .middlewares import json_response, read_command

routes = web.RouteTableDef()

LONGEST_CLIENT_ID = 1000


@routes.get("/internal/logs")
async def logs(request: web.Request) -> web.Response:
    """A JSON text."""
    return json_response("".join(f"{line.t} - {line.m}" for line in request.app[LOG_BOOK].lines()))


@routes.get("/internal/logs/raw")
async def log_lines(request: web.Request) -> web.Response:
    return json_response({"entries": request.app[LOG_BOOK].lines(), "size": terminal_size()})


@routes.patch("/internal/logs/subscribe")
async def subscribe(request: web.Request) -> web.Response:
    """Have lines sent to a client's sockets from now on, or no more. The client need not be connected."""
    said = wire.decode_object(await read_command(request))
    client_id, is_enabled = said.get("clientId"), said.get("enabled")
    if not isinstance(client_id, str) or len(client_id) > LONGEST_CLIENT_ID:
        raise BadRequest("invalid_field", "clientId must be the id of a client.", "clientId")
    if not isinstance(is_enabled, bool):
        raise BadRequest("invalid_field", "enabled must be true or false.", "enabled")
    stream = request.app[LOG_STREAM]
    if is_enabled:
        stream.subscribe(ClientId(client_id))
    else:
        stream.unsubscribe(ClientId(client_id))
    return web.Response()
