"""A disk that is full, a database that others hold, a folder that another server has: nothing that was accepted is
lost, who asks for more is told so, and the server gets over it."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.crash.killable_server import node
from tests.crash.quick_server import SECONDS, QuickServer, counted, quick_server, socket_of


async def refuses(server: QuickServer, text: str) -> None:
    """A submission is answered with a 503 that says when to come again; what only reads goes on."""
    body = {"prompt": counted("refused"), "prompt_id": "refused"}
    async with aiohttp.ClientSession() as http, http.post(f"{server.url}/prompt", json=body) as answer:
        assert answer.status == 503, await answer.text()
        assert int(answer.headers["Retry-After"]) > 0
        error = (await answer.json())["error"]
    assert error["type"] == "store_unavailable"
    assert text in error["details"]
    assert (await server.ask("GET", "/api/jobs"))[0] == 200
    assert (await server.ask("GET", "/queue"))[0] == 200


async def accepts_again(server: QuickServer, prompt_id: str) -> None:
    async with asyncio.timeout(SECONDS):
        while await server.posts(counted(prompt_id), prompt_id=prompt_id) != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def a_small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that leaves no room for another byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


async def test_a_full_disk_refuses_what_is_new_and_once_there_is_room_all_goes_on(tmp_path: Path) -> None:
    with a_small_disk(tmp_path / "user"):
        async with quick_server(tmp_path) as server:
            await server.started()
            for prompt_id in ("runs", "waits"):
                prompt = counted(prompt_id, seconds=0.7)
                prompt["1"]["class_type"] = "CrashKill"  # plain, so one after the other; it kills nobody
                assert await server.posts(prompt, prompt_id=prompt_id, client_id="mine") == 200
            await server.until_called("runs")
            async with socket_of(server, "mine") as seen:
                filler = await asyncio.to_thread(fill, tmp_path / "user")
                await refuses(server, "full")
                await server.until_called("waits")  # nothing waits for the disk but who is told
                assert not any(one["type"] == "execution_success" for one in seen)
                filler.unlink()
                await accepts_again(server, "new")
                await server.until_all_is_over()
            assert (await server.ask("GET", "/api/jobs/refused"))[0] == 404
            for prompt_id in ("runs", "waits", "new"):
                assert (await server.job(prompt_id))["status"] == "completed"
                assert server.calls(prompt_id) == 1
            assert "Traceback" not in server.said


async def test_what_was_accepted_before_the_disk_was_full_is_there_after_a_kill(tmp_path: Path) -> None:
    with a_small_disk(tmp_path / "user"):
        async with quick_server(tmp_path) as server:
            await server.started()
            assert await server.posts(counted("ended"), prompt_id="ended") == 200
            await server.until_over("ended")
            assert await server.posts(counted("runs", seconds=0.3), prompt_id="runs") == 200
            await server.until_called("runs")
            filler = await asyncio.to_thread(fill, tmp_path / "user")
            await refuses(server, "full")
            await server.kill()
            await server.start()
            if server.is_alive:  # it may have found the bytes that it needs to start
                await refuses(server, "full")
                await server.kill()
            else:
                assert "hanzo-studio: " in server.last_sentence
            filler.unlink()
            await server.started()
            await server.until_all_is_over()
            for prompt_id in ("ended", "runs"):
                assert (await server.job(prompt_id))["status"] == "completed"
            assert server.calls("ended") == 1


async def test_files_that_may_not_grow_are_a_full_disk(tmp_path: Path) -> None:
    """The same without a file system of its own: writes fail in another way."""
    async with quick_server(tmp_path) as server:
        await server.started("--on-start", "paused")
        assert server.process is not None
        assert await server.posts(counted("held"), prompt_id="held") == 200
        written = server.database.with_name(f"{server.database.name}-wal").stat().st_size
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (written, hard))
        await refuses(server, "cannot be written")
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await accepts_again(server, "new")
        await server.kill()
        await server.started()
        await server.until_all_is_over()
        for prompt_id in ("held", "new"):
            assert (await server.job(prompt_id))["status"] == "completed"
        assert (await server.ask("GET", "/api/jobs/refused"))[0] == 404


async def test_a_database_that_another_program_holds_for_a_while_refuses_what_is_new(tmp_path: Path) -> None:
    async with quick_server(tmp_path) as server:
        await server.started()
        assert await server.posts(counted("runs", seconds=0.3), prompt_id="runs") == 200
        await server.until_called("runs")
        with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            await refuses(server, "another program holds the database")
            holder.execute("ROLLBACK")
        await accepts_again(server, "new")
        await server.until_all_is_over()
        assert (await server.ask("GET", "/api/jobs/refused"))[0] == 404
        for prompt_id in ("runs", "new"):
            assert (await server.job(prompt_id))["status"] == "completed"
            assert server.calls(prompt_id) == 1


async def test_a_start_on_a_database_that_another_program_holds_ends_with_a_sentence(tmp_path: Path) -> None:
    async with quick_server(tmp_path) as server:
        await server.started("--on-start", "paused")
        assert await server.posts(counted("held"), prompt_id="held") == 200
        await server.stop()
        with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            await server.start()
            await server.wait_for_death()
            assert server.process is not None
            assert server.process.returncode == 1
            assert "another program holds the database" in server.last_sentence
            assert "Traceback" not in server.said
        await server.started()
        assert (await server.until_over("held"))["status"] == "completed"


async def test_a_second_server_on_the_same_folder_ends_with_a_sentence_and_harms_nobody(tmp_path: Path) -> None:
    async with quick_server(tmp_path) as server:
        await server.started()
        assert server.process is not None
        assert await server.posts(counted("runs", seconds=0.5), prompt_id="runs") == 200
        second = QuickServer(tmp_path)
        second.log = tmp_path / "second.log"
        await second.start()
        await second.wait_for_death()
        assert second.process is not None
        assert second.process.returncode == 1
        assert f"is in use by another server (process {server.process.pid})" in second.last_sentence
        assert (await server.until_over("runs"))["status"] == "completed"
        assert server.calls("runs") == 1
        await server.kill()  # the lock goes with the process
        await second.started()
        assert await second.posts({"1": node("CrashShow", value=1)}) == 200
        await second.kill()
