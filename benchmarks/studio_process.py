"""The server under measurement, as a process of its own in a fresh base directory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

HERE = Path(__file__).parent
SERVER = HERE.parent / "server.py"
FLAGS_OF_THE_BARS = (
    "--pool", "blocking=16", "--pool", "cpu=2", "--max-running-prompts", "20", "--cache-bytes", "256MB",
)
SECONDS_TO_START = 120


@dataclass
class StudioProcess:
    port: int
    process: psutil.Popen
    port_open_after: float = 0.0
    ready_after: float = 0.0
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def megabytes(self) -> float:
        return self.process.memory_info().rss / 2**20

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process)


def cpu_seconds(process: psutil.Process) -> float:
    """All threads, user and system."""
    times = process.cpu_times()
    return times.user + times.system


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.asynccontextmanager
async def studio_process(*flags: str, log: Path | None = None) -> AsyncIterator[StudioProcess]:
    """Starts the server with the benchmark's nodes, and stops it at the end."""
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder, contextlib.ExitStack() as stack:
        paths = Path(folder, "paths.yaml")
        paths.write_text(f"bench:\n  base_path: {HERE}\n  custom_nodes: custom_nodes\n")
        base = Path(folder, "base")
        base.mkdir()
        port = free_port()
        command = [sys.executable, str(SERVER), "--port", str(port), "--base-directory", str(base)]
        command += ["--extra-model-paths-config", str(paths), *flags]
        log_path = log or Path(folder, "server.log")
        log_file = stack.enter_context(log_path.open("ab"))
        begin = time.perf_counter()
        process = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file)
        studio = StudioProcess(port, process)
        try:
            await _until_ready(studio, begin, log_file)
            yield studio
        finally:
            await _stop(process)


async def _until_ready(studio: StudioProcess, begin: float, log: IO[bytes]) -> None:
    while time.perf_counter() - begin < SECONDS_TO_START:
        status = await _status_of(studio.port, "/readyz")
        now = time.perf_counter() - begin
        if status and not studio.port_open_after:
            studio.port_open_after = now
        if status == 200:
            studio.ready_after = now
            return
        if studio.process.poll() is not None:
            tail = Path(log.name).read_text(errors="replace")[-3000:]
            raise SystemExit(f"the server ended with {studio.process.returncode}:\n{tail}")
        await asyncio.sleep(0.005)
    raise SystemExit("the server did not become ready")


async def _status_of(port: int, path: str) -> int:
    """Status of a GET; 0 while nobody listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        line = await asyncio.wait_for(reader.readline(), 10)
        return int(line.split()[1]) if line else 0
    except OSError:
        return 0
    finally:
        writer.close()


async def _stop(process: psutil.Popen) -> None:
    for stop in (process.terminate, process.kill):
        with contextlib.suppress(psutil.NoSuchProcess):
            stop()
        with contextlib.suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
            await asyncio.to_thread(process.wait, 10)
            return
