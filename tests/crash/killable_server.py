"""The real server as a process that a test ends with -9 and starts again on the same folder, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
PACK = Path(__file__).parent / "crash_pack"
LIGHT_TORCH = Path(__file__).parent / "light_torch"
"""Stands in for torch, which is needed for none of this: the server starts in a third of the time."""
SECONDS_TO_START = 60.0
SECONDS_TO_SETTLE = 90.0

Prompt = dict[str, Any]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


class KillableServer:
    """One base directory, on which a process runs most of the time."""

    def __init__(self, base: Path, *flags: str) -> None:
        self.base = base
        self.flags = flags
        self.process: asyncio.subprocess.Process | None = None
        self.log = base / "server.log"
        self.url = ""
        (base / "custom_nodes").mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (base / "custom_nodes" / PACK.name).symlink_to(PACK)

    @property
    def database(self) -> Path:
        return self.base / "user" / "__studio" / "queue.sqlite3"

    async def start(self, *flags: str, **environment: str) -> None:
        """Start a process and wait until it takes prompts, or has ended."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, str(ROOT / "server.py"), "--port", str(port), "--base-directory", str(self.base),
                *self.flags, *flags, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, "CRASH_FOLDER": str(self.base), "PYTHONPATH": str(LIGHT_TORCH), **environment})
        async with asyncio.timeout(SECONDS_TO_START), aiohttp.ClientSession() as http:
            while self.is_alive:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with http.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def kill(self) -> None:
        if self.process is not None and self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
        await self.wait_for_death()

    async def wait_for_death(self) -> None:
        assert self.process is not None
        async with asyncio.timeout(SECONDS_TO_SETTLE):
            await self.process.wait()

    async def stop(self) -> None:
        if self.process is not None and self.is_alive:
            self.process.send_signal(signal.SIGTERM)
            await self.wait_for_death()

    # -- what others see ----------------------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as http, http.request(method, self.url + path, json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def submit(self, prompt: Prompt, **fields: Any) -> str:
        status, answer = await self.ask("POST", "/prompt", {"prompt": prompt, **fields})
        assert status == 200, answer
        return str(answer["prompt_id"])

    async def job(self, prompt_id: str) -> dict[str, Any]:
        status, answer = await self.ask("GET", f"/api/jobs/{prompt_id}")
        assert status == 200, (prompt_id, answer)
        return dict(answer)

    async def open_jobs(self) -> list[dict[str, Any]]:
        return list((await self.ask("GET", "/api/jobs?status=pending,in_progress"))[1]["jobs"])

    async def until_all_is_over(self) -> None:
        """Wait until nothing waits or runs."""
        async with asyncio.timeout(SECONDS_TO_SETTLE):
            while await self.open_jobs():  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.05)

    async def until_over(self, prompt_id: str) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS_TO_SETTLE):
            while (job := await self.job(prompt_id))["status"] in ("pending", "in_progress"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return job

    # -- what is on record --------------------------------------------------------------------------------------------

    def events(self) -> list[tuple[int, str, str | None, dict[str, Any]]]:
        """(sequence, kind, prompt, content) of the log. For when no process runs, or one that is at rest."""
        with contextlib.closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as db:
            return [(sequence, kind, prompt_id, json.loads(body)) for sequence, kind, prompt_id, body in
                    db.execute("SELECT sequence, kind, prompt_id, body FROM events ORDER BY sequence")]

    def calls(self, tag: str) -> int:
        """How often counting nodes with this tag were called."""
        folder = self.base / "calls"
        return sum(1 for one in folder.glob(f"{tag}.*")) if folder.exists() else 0


@contextlib.asynccontextmanager
async def killable_server(base: Path, *flags: str) -> AsyncIterator[KillableServer]:
    server = KillableServer(base, *flags)
    try:
        yield server
    except BaseException:
        print(server.log.read_text(errors="replace")[-4000:])
        raise
    finally:
        await server.kill() if server.is_alive else None


class Watcher:
    """Reads a socket over all lives of the server, saying each time what it has seen."""

    def __init__(self, server: KillableServer, client_id: str) -> None:
        self._server = server
        self.client_id = client_id
        self.ends: dict[str, list[str]] = {}
        """Messages of ends by prompt."""
        self.numbers: list[int] = []
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def end(self) -> None:
        """Stop reading; the server's process is gone, or the test is over."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait((self._task,))
        error = None if self._task.cancelled() else self._task.exception()
        if error is not None and not isinstance(error, (aiohttp.ClientError, OSError)):
            raise error

    async def until(self, number: int) -> None:
        """Wait until it has seen an event."""
        assert self._task is not None
        async with asyncio.timeout(SECONDS_TO_SETTLE):
            while (self.numbers or [0])[-1] < number:
                assert not self._task.done(), self._task
                await asyncio.sleep(0.02)

    async def _watch(self) -> None:
        since = self.numbers[-1] if self.numbers else "now"
        url = f"{self._server.url}/ws?clientId={self.client_id}&since={since}"
        async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as socket:
            async for frame in socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    self._take(json.loads(frame.data))

    def _take(self, message: dict[str, Any]) -> None:
        kind, data = message["type"], message["data"]
        assert kind != "replay_gap", message
        if kind in ("execution_success", "execution_error", "execution_interrupted"):
            self.ends.setdefault(data["prompt_id"], []).append(kind)
        if "seq" in message:
            self.numbers.append(message["seq"])
