"""The same work with nothing around it: what each figure of the server is held against, in the same run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent


async def awaiting_tasks(length: int) -> float:
    """Seconds for a chain of tasks, created up front, each of which awaits the one before it."""

    async def first() -> int:
        return 0

    async def after(before: asyncio.Task[int]) -> int:
        return await before + 1

    begin = time.perf_counter()
    task = asyncio.create_task(first())
    tasks = [task]
    for _ in range(length - 1):
        task = asyncio.create_task(after(task))
        tasks.append(task)
    reached = await task
    seconds = time.perf_counter() - begin
    assert reached == length - 1
    return seconds


async def executor_hops(length: int) -> float:
    """Seconds for as many hops to one thread and back, one after the other."""
    loop = asyncio.get_running_loop()
    value = 0
    with ThreadPoolExecutor(1) as executor:
        await loop.run_in_executor(executor, int)  # the thread starts with its first call
        begin = time.perf_counter()
        for _ in range(length):
            value = await loop.run_in_executor(executor, _add, value, 1)
        seconds = time.perf_counter() - begin
    assert value == length
    return seconds


def _add(value: int, add: int) -> int:
    return value + add


def json_loads(body: bytes, times: int = 9) -> float:
    """Seconds to decode a body: the median of several."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        json.loads(body)
        taken.append(time.perf_counter() - begin)
    return sorted(taken)[times // 2]


@dataclass(frozen=True)
class TorchAlone:
    seconds: float
    megabytes: float


def importing_torch() -> TorchAlone:
    """A Python process that imports torch and nothing else: how long, and how much memory it then holds."""
    script = "import torch, sys; sys.stdout.write('imported\\n'); sys.stdout.flush(); sys.stdin.read()"
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        seconds = time.perf_counter() - begin
        megabytes = psutil.Process(process.pid).memory_info().rss / 2**20
        process.stdin.close()
    return TorchAlone(seconds, megabytes)


@dataclass(frozen=True)
class FramesOfOnePrompt:
    """What one prompt made the server send: to its own client, and to every other one."""

    own: list[dict[str, Any]]
    others: list[dict[str, Any]]


@contextlib.asynccontextmanager
async def application_without_engine(
    frames: FramesOfOnePrompt, hops: int, port: int
) -> AsyncIterator[psutil.Process]:
    """Serves `control_server.py` in a process of its own."""
    script = [sys.executable, str(HERE / "control_server.py"), "--port", str(port), "--hops", str(hops)]
    process = await asyncio.create_subprocess_exec(
        *script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps({"own": frames.own, "others": frames.others}).encode() + b"\n")
        await process.stdin.drain()
        await asyncio.wait_for(process.stdout.readline(), 30)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()
