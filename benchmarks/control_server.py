"""An aiohttp application that talks like the server and has no engine behind it.

It decodes the body of POST /prompt, answers it and sends the frames that it was given on its standard input,
which the benchmark recorded from a real run. `--hops N` adds as many bare hops to a thread and back, which is
what N plain nodes cost at least.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

Frame = dict[str, Any]


class Application:
    def __init__(self, own: list[Frame], others: list[Frame], hops: int):
        self.own, self.others, self.hops = own, others, hops
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.number = 0
        self.running: set[asyncio.Task[None]] = set()
        self.thread = ThreadPoolExecutor(1)

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        client_id = request.query["clientId"]
        self.sockets[client_id] = socket
        status = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client_id}
        await socket.send_str(json.dumps({"type": "status", "data": status}))
        try:
            async for _ in socket:
                pass
        finally:
            del self.sockets[client_id]
        return socket

    async def prompt(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        prompt_id = str(uuid.uuid4())
        number, self.number = self.number, self.number + 1
        task = asyncio.create_task(self.run(prompt_id, body["client_id"]))
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": {}})

    async def run(self, prompt_id: str, client_id: str) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self.hops):
            await loop.run_in_executor(self.thread, int)
        now = int(time.time() * 1000)
        for frame in self.own:
            data = dict(frame["data"])
            if "prompt_id" in data:
                data["prompt_id"] = prompt_id
            if "timestamp" in data:
                data["timestamp"] = now
            await self.send(self.sockets.get(client_id), json.dumps({"type": frame["type"], "data": data}))
        for frame in self.others:
            text = json.dumps(frame)
            for other, socket in list(self.sockets.items()):
                if other != client_id:
                    await self.send(socket, text)

    async def send(self, socket: web.WebSocketResponse | None, text: str) -> None:
        if socket is not None and not socket.closed:
            with contextlib.suppress(ConnectionError):  # it may close meanwhile
                await socket.send_str(text)

    async def queue(self, request: web.Request) -> web.Response:
        return web.json_response({"queue_running": [], "queue_pending": []})


async def serve(port: int, hops: int) -> None:
    frames = json.loads(sys.stdin.readline())
    application = Application(frames["own"], frames["others"], hops)
    app = web.Application()
    app.router.add_get("/ws", application.websocket)
    app.router.add_post("/prompt", application.prompt)
    app.router.add_get("/queue", application.queue)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hops", type=int, default=0, help="hops to a thread and back for each prompt")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(arguments.port, arguments.hops))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The same loop as the server takes by default: uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
