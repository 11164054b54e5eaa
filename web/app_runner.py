"""Serves an application, and answers what is no HTTP as everything else is answered: with a JSON error."""

from typing import Any

from aiohttp import web

from .middlewares import error_response

_LONGEST_REASON = 300


class AppRunner(web.AppRunner):
    """The library's, whose connections are `_Connection`s."""

    @property
    def server(self) -> Any:
        """Makes a connection each time that it is called."""
        server = super().server
        return None if server is None else lambda: _made_ours(server())


def _made_ours(connection: web.RequestHandler) -> web.RequestHandler:
    connection.__class__ = _Connection
    return connection


class _Connection(web.RequestHandler):
    """Answers what no handler is asked for, because it cannot be read, or one left unanswered."""

    __slots__ = ()

    def handle_error(self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None,
                     message: str | None = None) -> web.StreamResponse:
        """See the library's, which logs it, and raises if an answer has begun."""
        super().handle_error(request, status, exc, message)
        if status < 500:
            response = error_response("invalid_request", "This is no HTTP request that can be read.", status,
                                      (message or "")[:_LONGEST_REASON])
        else:
            response = error_response("internal_error", "The server made a mistake; its log says which.", status)
        response.force_close()
        response.headers["Connection"] = "close"  # what is no HTTP/1.1 is answered as HTTP/1.0, which leaves it out
        return response
