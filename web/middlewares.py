"""What lies around every handler: errors become statuses, foreign pages are kept out, and caches are told."""

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from execution import EngineClosed, PromptConflict, PromptRejected, StoreUnavailable

from . import wire
from .app_keys import LOOPBACK_NAMES, SETTINGS
from .bad_request import BadRequest, JobRefused
from .loopback_names import LoopbackNames, is_loopback

log = logging.getLogger("studio.web")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_HEADERS_OF_REQUESTS = ", ".join(("Content-Type", "Authorization", "Comfy-User", "Comfy-Usage-Source",
                                  "Idempotency-Key", "Prefer", "Last-Event-ID"))

LARGEST_COMMAND = 2**20
"""Bytes of a body that is decoded on the loop: ids of ten thousand prompts are less than half of it."""


async def read_command(request: web.Request) -> bytes:
    """The body of a request that is no upload and no prompt.

    :raises web.HTTPRequestEntityTooLarge: it is larger than any command has a reason to be.
    """
    limit = min(LARGEST_COMMAND, round(request.app[SETTINGS].max_upload_size))
    return await request.clone(client_max_size=limit).read()


def json_response(value: object, status: int = 200) -> web.Response:
    return encoded_response(wire.dumps(value), status)


def encoded_response(body: bytes, status: int = 200) -> web.Response:
    """Of what is JSON already."""
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")


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
    except JobRefused as error:
        return json_response(error.answer, error.status)
    except PromptRejected as error:
        return json_response({"error": error.error, "node_errors": error.node_errors}, 400)
    except PromptConflict as error:
        return error_response("prompt_id_in_use", str(error), 409)
    except EngineClosed:
        return error_response("shutting_down", "The server is shutting down.", 503)
    except StoreUnavailable as error:
        response = error_response("store_unavailable", "The queue cannot be written to the disk now.", 503, str(error))
        response.headers["Retry-After"] = "5"
        return response
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
    if request.app[SETTINGS].cors_origin is not None:
        return web.Response() if request.method == "OPTIONS" else await handler(request)
    host, origin_sent = request.headers.get("Host"), request.headers.get("Origin")
    if is_cross_site(request) or await is_foreign_to_loopback(request.app[LOOPBACK_NAMES], host, origin_sent):
        return web.Response(status=403)
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)


async def let_pages_read(request: web.Request, response: web.StreamResponse) -> None:
    """Before an answer is sent, whoever made it: tell browsers which pages may read it, if CORS is switched on."""
    origin = request.app[SETTINGS].cors_origin
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = "POST, GET, DELETE, PUT, OPTIONS, PATCH"
        response.headers["Access-Control-Allow-Headers"] = _HEADERS_OF_REQUESTS
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = "Retry-After, Preference-Applied, Location, ETag"


def is_cross_site(request: web.Request) -> bool:
    """Whether a browser says that another site makes this request; following a link from there is fine."""
    if request.headers.get("Sec-Fetch-Site") != "cross-site":
        return False
    return not (request.method in ("GET", "HEAD") and request.headers.get("Sec-Fetch-Mode") == "navigate")


def is_foreign_origin(host: str | None, origin: str | None) -> bool:
    """Whether a request to a loopback host, spelled as one, comes from a page of another one."""
    name = differing_host(host, origin)
    return name is not None and _is_spelled_as_loopback(name)


async def is_foreign_to_loopback(names: LoopbackNames, host: str | None, origin: str | None) -> bool:
    """The same where the host may also be any name that leads to this machine."""
    name = differing_host(host, origin)
    if name is None or _is_address(name):
        return name is not None and _is_spelled_as_loopback(name)
    return _is_spelled_as_loopback(name) or await names.may_contain(name)


def differing_host(host: str | None, origin: str | None) -> str | None:
    """The host that a request is for, without port, if it comes from a page of another origin; `localhost` where the
    header makes no sense."""
    if host is None or not origin:
        return None
    try:
        own = urlsplit(f"//{host.lower()}")
        own_name, own_port = own.hostname or "", own.port
    except ValueError:
        return "localhost"
    try:
        other = urlsplit(origin.lower())
        is_own = other.hostname == own_name and (None in (own_port, other.port) or own_port == other.port)
    except ValueError:
        is_own = False
    return None if is_own or not own_name else own_name.removesuffix(".")


def _is_spelled_as_loopback(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


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
