"""The command as a process on one folder and one port, that can be killed and started again."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAINTING_PACK = ROOT / "examples" / "survives_a_crash" / "painting_pack"
READY = b"ready after"
SECONDS_TO_STOP = 20


class KilledStudio:
    """Made by `killed_studio`, running."""

    def __init__(self, base_directory: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.base_directory = base_directory
        self._command = [sys.executable, str(ROOT / "server.py"), "--port", str(port), "--base-directory",
                         str(base_directory), *options]
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[bytes] | None = None

    async def start(self) -> None:
        """Back when the server is ready."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=self.base_directory,
            env={**os.environ, "PYTHONUNBUFFERED": "1"})
        assert self._process.stdout is not None
        said = []
        async for line in self._process.stdout:
            said.append(line)
            if READY in line:
                # Whoever does not read on would in the end stop the server.
                self._reader = asyncio.create_task(self._process.stdout.read())
                return
        raise AssertionError(f"the server ended with {await self._process.wait()}:\n{b''.join(said).decode()}")

    async def kill(self) -> None:
        """As a crash does it: nothing is tidied up."""
        assert self._process is not None
        self._process.kill()
        await self._ended()

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(SECONDS_TO_STOP):
                    await self._ended()
            except TimeoutError:
                await self.kill()

    async def _ended(self) -> None:
        assert self._process is not None
        await self._process.wait()
        if self._reader is not None:
            await self._reader

    def calls(self) -> Counter[str]:
        """How often nodes of the painting pack were called, by what they wrote down."""
        file = self.base_directory / "output" / "calls.txt"
        return Counter(file.read_text().splitlines() if file.exists() else ())


@contextlib.asynccontextmanager
async def killed_studio(base_directory: Path, *options: str) -> AsyncIterator[KilledStudio]:
    """A server with the painting pack."""
    shutil.copytree(PAINTING_PACK, base_directory / "custom_nodes" / PAINTING_PACK.name,
                    ignore=shutil.ignore_patterns("__pycache__"))
    studio = KilledStudio(base_directory, *options)
    try:
        await studio.start()
        yield studio
    finally:
        await studio.stop()
