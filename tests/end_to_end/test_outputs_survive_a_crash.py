"""The command as a process that is killed in the middle of a prompt: the next one goes on from what was finished."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from execution.failpoints import VARIABLE
from tests.inference.studio_client import node

ROOT = Path(__file__).resolve().parents[2]
PACK = '''
import asyncio
import time
from pathlib import Path

import torch

CALLS = Path(__file__).resolve().parents[2] / "calls.txt"
HOLD = CALLS.with_name("hold")


def note(name):
    with CALLS.open("a") as file:
        file.write(f"{name}\\n")
    Path(__file__).with_name("last.json").write_text(f'"{name}"')  # as packs do


class Draws:
    RETURN_TYPES = ("LATENT", "STRING")
    FUNCTION = "draw"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"size": ("INT", {})}}

    def draw(self, size):
        note("draws")
        return {"samples": torch.arange(size).to(torch.bfloat16), "batch_index": [(0, size)]}, "drawn"


class Doubles:
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "double"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",), "text": ("STRING", {})}}

    async def double(self, latent, text):
        note("doubles")
        latent["samples"].mul_(2)
        latent["batch_index"].clear()
        return (latent,)


class Tells:
    RETURN_TYPES = ()
    FUNCTION = "tell"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",)}}

    def tell(self, latent):
        while HOLD.exists():  # until the process is killed: its prompt must not end before
            time.sleep(0.01)
        note("tells")
        return {"ui": {"numbers": [float(one) for one in latent["samples"]], "type": [str(latent["samples"].dtype)]}}


NODE_CLASS_MAPPINGS = {"Draws": Draws, "Doubles": Doubles, "Tells": Tells}
'''
PROMPT = {"1": node("Draws", size=4), "2": node("Doubles", latent=["1", 0], text=["1", 1]),
          "3": node("Tells", latent=["2", 0])}
TOLD = {"numbers": [0.0, 2.0, 4.0, 6.0], "type": ["torch.bfloat16"]}


class Server:
    """One process after the other on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    @contextlib.asynccontextmanager
    async def process(self, *options: str, failpoint: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
        """Running and ready; stopped when left, unless it has ended by then."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "server.py"), "--port", str(self._port), "--base-directory", str(self.folder),
            "--cache-disk-after", "0", *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            cwd=self.folder, env={**os.environ, "PYTHONUNBUFFERED": "1", VARIABLE: failpoint})
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                if b"ready after" in line:
                    break
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.communicate()

    async def post(self) -> str:
        async with aiohttp.ClientSession() as http, http.post(f"{self.url}/prompt", json={"prompt": PROMPT}) as answer:
            assert answer.status == 200, await answer.text()
            return str((await answer.json())["prompt_id"])

    async def post_and_crash(self) -> str:
        """The process kills itself as soon as outputs are on the disk."""
        hold = self.folder / "hold"
        hold.touch()
        async with self.process(failpoint="outputs-written:1") as process:
            prompt_id = await self.post()
            assert await process.wait() == -signal.SIGKILL
        hold.unlink()
        return prompt_id

    async def result(self, prompt_id: str) -> Any:
        """What the last node showed, once the job has ended."""
        async with aiohttp.ClientSession(self.url) as http:
            async with http.get(f"/api/jobs/{prompt_id}/events") as events:
                await events.read()  # as long as it runs
            async with http.get(f"/history/{prompt_id}") as answer:
                entry = (await answer.json())[prompt_id]
        assert entry["status"]["status_str"] == "success", entry["status"]
        return entry["outputs"]["3"]

    def calls(self) -> Counter[str]:
        return Counter((self.folder / "calls.txt").read_text().split())

    def kept(self) -> list[Path]:
        return sorted(self.folder.glob("user/__studio/outputs/*/*"))

    def write_pack(self, text: str) -> None:
        pack = self.folder / "custom_nodes" / "drawing" / "__init__.py"
        pack.parent.mkdir(parents=True, exist_ok=True)
        pack.write_text(text)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    made = Server(tmp_path)
    made.write_pack(PACK)
    return made


async def test_after_a_kill_a_prompt_goes_on_from_the_outputs_that_reached_the_disk(server: Server) -> None:
    prompt_id = await server.post_and_crash()
    kept = server.kept()
    assert server.calls()["draws"] == 1
    assert len(kept) >= 1
    async with server.process():
        assert await server.result(prompt_id) == TOLD
    calls = server.calls()
    assert calls["draws"] == 1, "its outputs were on the disk"
    assert 1 <= calls["doubles"] <= 2
    assert server.kept() == []


async def test_a_damaged_file_costs_a_call_and_is_never_taken_for_a_value(server: Server) -> None:
    prompt_id = await server.post_and_crash()
    for path in server.kept():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    async with server.process():
        assert await server.result(prompt_id) == TOLD
    assert server.calls()["draws"] == 2


async def test_a_pack_that_was_changed_in_between_is_not_answered_with_what_its_older_code_made(
        server: Server) -> None:
    prompt_id = await server.post_and_crash()
    server.write_pack(PACK.replace("torch.arange(size)", "torch.arange(size).add(1)"))
    async with server.process():
        assert await server.result(prompt_id) == {**TOLD, "numbers": [2.0, 4.0, 6.0, 8.0]}
    assert server.calls()["draws"] == 2


async def test_outputs_can_be_kept_for_prompts_to_come(server: Server) -> None:
    async with server.process("--cache-disk-keep"):
        assert await server.result(await server.post()) == TOLD
    assert len(server.kept()) == 2
    async with server.process("--cache-disk-keep"):
        assert await server.result(await server.post()) == TOLD
    assert server.calls() == {"draws": 1, "doubles": 1, "tells": 2}


async def test_nothing_is_kept_when_it_is_switched_off(server: Server) -> None:
    async with server.process("--cache-disk", "0", "--cache-disk-keep"):
        assert await server.result(await server.post()) == TOLD
    assert server.kept() == []
