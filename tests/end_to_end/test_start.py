"""The command itself, as a process: from its first answer to its last."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.inference.studio_client import connect, node

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, str(ROOT / "server.py")]
PACK = '''
import inspect
import sys
import threading

import server
from server import PromptServer

RUNNING = any(frame.frame.f_globals is server.__dict__ and frame.function == "main" for frame in inspect.stack())


class WhoRuns:
    """Says whether `server` is the module that runs, once, and on which loop this pack was imported."""

    RETURN_TYPES = ()
    FUNCTION = "tell"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def tell(self):
        loop = type(PromptServer.instance.loop).__module__
        return {"ui": {"is_running": [RUNNING], "is_main": [sys.modules["__main__"] is server], "loop": [loop]}}


class Stuck:
    """A plain node that never looks up."""

    RETURN_TYPES = ()
    FUNCTION = "hang"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def hang(self):
        threading.Event().wait()


NODE_CLASS_MAPPINGS = {"WhoRuns": WhoRuns, "Stuck": Stuck}
'''


@dataclass
class Start:
    """What a process answered from its first breath until it was ready."""

    process: subprocess.Popen[bytes]
    url: str
    answers: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    headers: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Seconds that it took to stop."""
        self.process.send_signal(number)
        began = time.monotonic()
        self.process.wait(20)
        return time.monotonic() - began

    @property
    def log(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextlib.contextmanager
def starting(folder: Path, *arguments: str) -> Iterator[Start]:
    """A process that was just started, with the pack above; it is gone afterwards."""
    pack = folder / "custom_nodes" / "told_apart" / "__init__.py"
    pack.parent.mkdir(parents=True)
    pack.write_text(PACK)
    port = free_port()
    process = subprocess.Popen([*COMMAND, "--port", str(port), "--base-directory", str(folder), *arguments],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
                               env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        yield Start(process, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


PATHS = ("/healthz", "/readyz", "/", "/queue")


async def ask(session: aiohttp.ClientSession, start: Start, path: str) -> int:
    """Ask over a connection of its own, and note the answer."""
    async with session.get(start.url + path) as response:
        start.answers.setdefault(path, []).append((response.status, await response.text()))
        start.headers.setdefault(path, []).append(dict(response.headers))
        return response.status


async def first_answer(session: aiohttp.ClientSession, start: Start) -> None:
    """Until the port is bound a connection is refused; that is the only time."""
    while True:
        assert start.process.poll() is None, start.log
        try:
            assert await ask(session, start, "/healthz") == 200
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.005)
        else:
            return


async def watch_until_ready(start: Start) -> None:
    """Ask for everything again and again; whatever is refused or cut off is an error."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(60):
        await first_answer(session, start)
        while True:
            statuses = await asyncio.gather(*(ask(session, start, path) for path in PATHS))
            if statuses[1] == 200:
                break
        for path in PATHS:
            await ask(session, start, path)


@contextlib.asynccontextmanager
async def ready(folder: Path, *arguments: str) -> AsyncIterator[Start]:
    with starting(folder, *arguments) as start:
        await watch_until_ready(start)
        yield start


async def test_a_start_as_clients_see_it(tmp_path: Path) -> None:
    """The port answers at once and never refuses again; it is one module that runs; SIGTERM ends it."""
    async with ready(tmp_path, "--loop", "auto") as start:
        health, readiness = start.answers["/healthz"], start.answers["/readyz"]
        assert {status for status, _ in health} == {200}
        statuses = [status for status, _ in readiness]
        assert statuses == sorted(statuses, reverse=True)
        assert set(statuses) == {503, 200}
        loading = [json.loads(text)["loading"] for status, text in readiness if status == 503]
        assert "importing torch" in loading  # what is waited for, while /healthz answers
        pages = start.answers["/"]
        reloading = ["http-equiv=\"refresh\"" in text for _, text in pages]
        assert reloading == sorted(reloading, reverse=True)  # at first, and then no more
        assert reloading[0]
        assert not reloading[-1]
        assert pages[-1][0] == 200
        assert all("<html" in text for _, text in pages)
        assert "importing torch" in "".join(text for _, text in pages)
        assert start.answers["/queue"][0][0] == 503
        assert json.loads(start.answers["/queue"][-1][1]) == {"queue_running": [], "queue_pending": []}
        for headers, (status, _) in zip(start.headers["/queue"], start.answers["/queue"], strict=True):
            assert status == 200 or (headers["Retry-After"] and headers["Connection"] == "close")

        async with connect(start.url) as client:
            run = await client.run({"1": node("WhoRuns"), "2": node("Sleep", seconds=0)})
            told = run.shown["1"]
            assert told["is_running"] == [True]
            assert told["is_main"] == [False]
            assert told["loop"][0].partition(".")[0] == "uvloop"
            assert run.succeeded
            stopping = asyncio.create_task(asyncio.to_thread(start.stop))
            frame = await client.socket.receive()
            assert frame.type is aiohttp.WSMsgType.CLOSE
            assert client.socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
            seconds = await stopping
        assert start.process.returncode == 0
        log = start.log
    assert seconds < 1, log
    assert "Traceback" not in log
    assert re.search(r"pack told_apart: 2 nodes", log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_stuck_plain_node_does_not_hold_up_the_end(tmp_path: Path, number: int) -> None:
    async with ready(tmp_path, "--loop", "asyncio") as start, connect(start.url) as client:
        await client.submit({"1": node("Stuck")})
        await client.until("executing", node="1")
        seconds = await asyncio.to_thread(start.stop, number)
        assert start.process.returncode == 0
        log = start.log
    assert seconds < 2, log
    assert "Traceback" not in log


async def test_it_can_be_stopped_while_it_is_loading(tmp_path: Path) -> None:
    with starting(tmp_path) as start:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            async with asyncio.timeout(30):
                await first_answer(session, start)
        seconds = start.stop()
        log = start.log
    assert seconds < 2, log
    assert "Traceback" not in log


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=20)
    assert done.returncode not in (0, None)
    (sentence,) = done.stderr.strip().splitlines()
    assert str(port) in sentence
    assert "--port" in sentence
    assert "Traceback" not in done.stderr


def test_help_answers_at_once() -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *COMMAND[1:], "--help"], capture_output=True, text=True,
                          timeout=20)
    assert done.returncode == 0
    for flag in ("--port", "--listen", "--base-directory", "--max-running-prompts", "--pool", "--loop"):
        assert flag in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"torch", "aiohttp", "numpy", "PIL", "uvloop", "execution", "nodes"}


@pytest.mark.parametrize("arguments", [["--port", "abc"], ["--pool", "cpu"], ["--nonsense"], ["--loop", "trio"],
                                       ["--cache-bytes", "much"], ["--cache-none", "--cache-lru", "3"]])
def test_wrong_options_are_told_without_a_traceback(arguments: list[str]) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
