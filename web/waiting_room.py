"""Answers while the server is being loaded: a thread with `http.server` on the socket that the application takes over.

Only the standard library is imported, so that the port answers at once.
"""

import html
import json
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>Hanzo Studio starts</title><style>body{{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;
height:90vh;color-scheme:light dark}}</style><main><h1>Hanzo Studio starts</h1><p>{what} …</p></main></html>"""


SECONDS_FOR_A_HANDSHAKE = 2.0
LARGEST_BODY = 2**20
"""Bytes of a body that are read before the answer: one who still sends might not see it."""


class _Server(ThreadingHTTPServer):
    """A thread for each connection, none of which is waited for: who sends slowly delays nobody, nor the start."""

    block_on_close = False
    ssl_context: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection; encrypted, its handshake is left to the thread that answers on it."""
        connection, address = super().get_request()
        if self.ssl_context is not None:
            connection.settimeout(SECONDS_FOR_A_HANDSHAKE)
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client went away: nothing to say."""


class WaitingRoom:
    """Serves `/healthz`, `/readyz` and a page that reloads itself, until the application is there.

    :param sockets: bound and listening; they stay open when this stops.
    :param ssl_context: with it connections are encrypted.
    """

    def __init__(self, sockets: Sequence[socket.socket], ssl_context: ssl.SSLContext | None = None) -> None:
        self.what: str | Callable[[], str] = "starting"
        """What is being loaded, for whoever asks; a function is asked anew each time, on any thread."""
        room = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 2
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                room._answer(self)

            do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: this is over in seconds."""

        self._servers = []
        for one in sockets:
            server = _Server(one.getsockname(), Handler, bind_and_activate=False)
            server.socket.close()
            server.socket = one
            server.ssl_context = ssl_context
            self._servers.append(server)
        self._threads = [threading.Thread(target=server.serve_forever, args=(0.02,), name="studio-waiting-room",
                                          daemon=True) for server in self._servers]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Accept nothing more; what is being answered is finished."""
        for server in self._servers:
            server.shutdown()
        for thread in self._threads:
            thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = handler.headers.get("Content-Length", "")
        if length.isdecimal():
            handler.rfile.read(min(int(length[:9]), LARGEST_BODY))
        path = handler.path.partition("?")[0].removeprefix("/api") or "/"
        what = self.what if isinstance(self.what, str) else self.what()
        status, kind, body = 503, "application/json", json.dumps({"status": "starting", "loading": what})
        if path == "/healthz":
            status, body = 200, json.dumps({"status": "ok"})
        elif path == "/" and handler.command in ("GET", "HEAD"):
            kind, body = "text/html; charset=utf-8", _PAGE.format(what=html.escape(what))
        content = body.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        # A connection that is kept alive would stay with this thread for ever.
        handler.send_header("Connection", "close")
        handler.send_header("Cache-Control", "no-store")
        if status == 503:
            handler.send_header("Retry-After", "1")
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)
        handler.close_connection = True
