"""What start options add to answers: compression, and a policy that keeps pages from reaching other servers."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COMPRESSED_TYPES = ("application/json", "text/plain")
OWN_ORIGIN_ONLY = ("default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
                   "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src 'self' blob: data:; "
                   "font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
                   "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'")


@web.middleware
async def compress_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compress JSON and text that was made in memory, for clients that take gzip."""
    response = await handler(request)
    if (isinstance(response, web.Response) and not response.prepared and isinstance(response.body, bytes)
            and response.body and response.content_type in COMPRESSED_TYPES
            and "Content-Encoding" not in response.headers
            and _takes_gzip(request.headers.get("Accept-Encoding", ""))):
        response.enable_compression()
        response.headers.add("Vary", "Accept-Encoding")
    return response


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.lower().split(","):
        coding, _, weight = one.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


@web.middleware
async def own_origin_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell browsers that pages of this server reach nothing but this server."""
    response = await handler(request)
    if not response.prepared and "Content-Security-Policy" not in response.headers:
        response.headers["Content-Security-Policy"] = OWN_ORIGIN_ONLY
    return response
