"""What lies around every handler: errors become statuses, foreign pages are kept out, and caches are told."""

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from execution import EngineClosed, PromptConflict, PromptRejected

from . import wire
from .app_keys import SETTINGS
from .bad_request import BadRequest

log = logging.getLogger("studio.web")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


LARGEST_COMMAND = 2**20
"""Bytes of a body that is decoded on the loop: ids of ten thousand prompts are less than half of it."""


async def read_command(request: web.Request) -> bytes:
    """The body of a request that is no upload and no prompt.

    :raises web.HTTPRequestEntityTooLarge: it is larger than any command has a reason to be.
    """
    limit = min(LARGEST_COMMAND, round(request.app[SETTINGS].max_upload_size))
    return await request.clone(client_max_size=limit).read()


def json_response(value: object, status: int = 200) -> web.Response:
    return web.Response(body=wire.dumps(value), status=status, content_type="application/json", charset="utf-8")


def error_response(kind: str, text: str, status: int, details: str = "") -> web.Response:
    return json_response({"error": {"type": kind, "message": text, "details": details, "extra_info": {}},
                          "node_errors": {}}, status)


@web.middleware
async def errors_to_statuses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The only place that knows which error has which status."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except BadRequest as error:
        return json_response({"error": error.error, "node_errors": {}}, error.status)
    except PromptRejected as error:
        return json_response({"error": error.error, "node_errors": error.node_errors}, 400)
    except PromptConflict as error:
        return error_response("prompt_id_in_use", str(error), 409)
    except EngineClosed:
        return error_response("shutting_down", "The server is shutting down.", 503)
    except ConnectionResetError:
        raise
    except web.RequestPayloadError as error:
        response = error_response("invalid_body", "The body is not encoded as its headers say.", 400, str(error)[:200])
        response.force_close()  # where the next request would begin cannot be told
        return response
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return error_response("internal_error", "The server made a mistake; its log says which.", 500)


@web.middleware
async def own_pages_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that a page of another origin makes, unless CORS is switched on."""
    origin = request.app[SETTINGS].cors_origin
    if origin is not None:
        response = web.Response() if request.method == "OPTIONS" else await handler(request)
        if not response.prepared:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Methods"] = "POST, GET, DELETE, PUT, OPTIONS, PATCH"
            response.headers["Access-Control-Allow-Headers"] = "Content-Type, Authorization, Comfy-User"
            response.headers["Access-Control-Allow-Credentials"] = "true"
        return response
    if is_cross_site(request) or is_foreign_origin(request.headers.get("Host"), request.headers.get("Origin")):
        return web.Response(status=403)
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)


def is_cross_site(request: web.Request) -> bool:
    """Whether a browser says that another site makes this request; following a link from there is fine."""
    if request.headers.get("Sec-Fetch-Site") != "cross-site":
        return False
    return not (request.method in ("GET", "HEAD") and request.headers.get("Sec-Fetch-Mode") == "navigate")


def is_foreign_origin(host: str | None, origin: str | None) -> bool:
    """Whether a request to a loopback host comes from a page of another one."""
    if host is None or not origin:
        return False
    try:
        own = urlsplit(f"//{host.lower()}")
        if not _is_loopback(own.hostname):
            return False
        other = urlsplit(origin.lower())
        own_port, other_port = own.port, other.port
    except ValueError:
        return True
    if other.hostname != own.hostname:
        return True
    return own_port is not None and other_port is not None and own_port != other_port


def _is_loopback(hostname: str | None) -> bool:
    if hostname is None:
        return False
    hostname = hostname.removesuffix(".")
    if hostname == "localhost" or hostname.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(hostname)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified  # browsers reach this machine by 0.0.0.0 too


@web.middleware
async def cache_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """How long browsers may keep what they got, by path."""
    response = await handler(request)
    if request.method not in ("GET", "HEAD") or response.prepared or "Cache-Control" in response.headers:
        return response
    path = request.path.lower()
    last = path.rpartition("/")[2]
    if path in ("/", "/api/"):
        response.headers["Cache-Control"] = "no-store, must-revalidate"
        response.headers["Pragma"] = "no-cache"
        response.headers["Expires"] = "0"
    elif path.endswith((".js", ".css", ".html")) or (last.startswith("index") and path.endswith(".json")):
        response.headers["Cache-Control"] = "no-cache"
    elif path.endswith(_PICTURES):
        if response.status == 404:
            response.headers["Cache-Control"] = "public, max-age=3600"
        elif response.status in (302, 303, 307):
            response.headers["Cache-Control"] = "no-cache"
        elif 200 <= response.status <= 206 or response.status in (301, 308):
            response.headers["Cache-Control"] = "public, max-age=86400"
    return response
