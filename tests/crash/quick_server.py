"""The server that is killed, with a stand-in for torch, which it needs for none of this: it starts in a third of the
time. And what is asked of it when it may not answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.crash.killable_server import KillableServer, Prompt, node

HERE = Path(__file__).parent
ENDS = ("execution_success", "execution_error", "execution_interrupted")
SECONDS = 40.0


def counted(tag: str, **inputs: Any) -> Prompt:
    """A prompt whose call leaves a mark."""
    return {"1": node("CrashCount", value=tag, tag=tag, **inputs), "2": node("CrashShow", value=["1", 0])}


class QuickServer(KillableServer):
    def __init__(self, base: Path, *flags: str) -> None:
        super().__init__(base, *flags)
        with contextlib.suppress(FileExistsError):
            (base / "custom_nodes" / "stubborn_pack").symlink_to(HERE / "stubborn_pack")

    async def start(self, *flags: str, **environment: str) -> None:
        await super().start(*flags, PYTHONPATH=str(HERE / "light_torch"), **environment)

    async def started(self, *flags: str, **environment: str) -> None:
        """Start it, and fail if it does not take prompts."""
        await self.start(*flags, **environment)
        assert self.is_alive, self.said

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]

    @property
    def last_sentence(self) -> str:
        return self.said.strip().splitlines()[-1]

    async def until_called(self, tag: str, times: int = 1) -> None:
        async with asyncio.timeout(SECONDS):
            while self.calls(tag) < times:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.005)

    async def until_over_or_dead(self, prompt_id: str) -> bool:
        """Whether the job has ended; if not, the process has."""
        try:
            await self.until_over(prompt_id)
            return True
        except (aiohttp.ClientError, OSError):
            await self.wait_for_death()
            return False

    async def posts(self, prompt: Prompt, **fields: Any) -> int | None:
        """The status of a submission; None if there was no answer."""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            return (await self.ask("POST", "/prompt", {"prompt": prompt, **fields}))[0]
        return None

    def kinds_on_record(self, prompt_id: str) -> list[str]:
        """The events of a prompt that a killed process left, read from a copy: looking changes nothing."""
        copy = self.base / "copy"
        copy.mkdir(exist_ok=True)
        for one in self.database.parent.glob(f"{self.database.name}*"):
            shutil.copy(one, copy / one.name)
        with contextlib.closing(sqlite3.connect(copy / self.database.name)) as db:
            found = [kind for (kind,) in db.execute("SELECT kind FROM events WHERE prompt_id = ? ORDER BY sequence",
                                                    (prompt_id,))]
        shutil.rmtree(copy)
        return found


@contextlib.asynccontextmanager
async def quick_server(base: Path, *flags: str) -> AsyncIterator[QuickServer]:
    server = QuickServer(base, *flags)
    try:
        yield server
    except BaseException:
        print(server.said)
        raise
    finally:
        if server.is_alive:
            await server.kill()


@contextlib.asynccontextmanager
async def socket_of(server: KillableServer, client_id: str,
                    since: int | str = 0) -> AsyncIterator[list[dict[str, Any]]]:
    """What a socket is told. It has been told what it had missed when this is entered."""
    seen: list[dict[str, Any]] = []
    reading = asyncio.create_task(read_frames(server, client_id, since, seen))
    try:
        async with asyncio.timeout(SECONDS):
            while not any(one["type"] == "snapshot" for one in seen):
                assert not reading.done(), seen
                await asyncio.sleep(0.005)
        yield seen
    finally:
        reading.cancel()
        await asyncio.wait((reading,))


def ends_told(seen: list[dict[str, Any]], prompt_id: str) -> list[str]:
    return [one["type"] for one in seen if one["type"] in ENDS and one["data"]["prompt_id"] == prompt_id]


async def read_frames(server: KillableServer, client_id: str, since: int | str | None,
                      seen: list[dict[str, Any]]) -> None:
    """Append what a socket is told, until it is closed.

    :param since: None for a client that knows nothing of numbers.
    """
    url = f"{server.url}/ws?clientId={client_id}" + ("" if since is None else f"&since={since}")
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as socket:
            async for frame in socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    seen.append(json.loads(frame.data))
