"""A receiver of webhooks on a real socket, which answers as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass(frozen=True)
class Posted:
    path: str
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def delivery_id(self) -> str:
        return str(self.headers["Hanzo-Delivery"])


class WebhookReceiver:
    """Answers 204, or the next of `answers`; None never answers."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.posted: asyncio.Queue[Posted] = asyncio.Queue()
        self.left = asyncio.Event()
        """Somebody has stopped waiting for an answer."""
        self.location = ""
        """Where redirects lead."""
        self.at_once = 0
        self.most_at_once = 0
        self.door: asyncio.Event | None = None
        """Every answer waits for it."""
        self.url_of: Callable[[str], str] = lambda path: path

    async def answer(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.posted.put_nowait(Posted(request.path, request.headers.copy(), await request.read()))
            status = self.answers.pop(0) if self.answers else 204
            if status is None:
                await asyncio.Event().wait()
                raise AssertionError
            if self.door is not None:
                await self.door.wait()
            return web.Response(status=status, headers={"Location": self.location} if self.location else None)
        except asyncio.CancelledError:
            self.left.set()
            raise
        finally:
            self.at_once -= 1


@asynccontextmanager
async def receiving() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", receiver.answer)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0.01)
    receiver.url_of = lambda path: str(server.make_url(path))
    try:
        yield receiver
    finally:
        await server.close()
