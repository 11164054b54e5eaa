"""A prompt that kills the process is told apart from its neighbours, however quick it is; a cancel stays one."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.crash.killable_server import Prompt, node
from tests.crash.quick_server import ENDS, SECONDS, QuickServer, counted, quick_server, read_frames

KILLS_AT_ONCE: Prompt = {"1": node("CrashKill", tag="bad"), "2": node("CrashShow", value=["1", 0])}
KILLS_BEHIND_A_SLOW_NODE: Prompt = {"0": node("CrashAsync", value=1, seconds=0.2), **KILLS_AT_ONCE,
                                    "1": node("CrashKill", value=["0", 0], tag="bad")}
KILLS_BEHIND_QUICK_NODES: Prompt = {"a": node("CrashAsync", value=2), "b": node("CrashPlain", value=["a", 0]),
                                    **KILLS_AT_ONCE, "1": node("CrashKill", value=["b", 0], tag="bad")}


async def lives_until_all_is_over(server: QuickServer) -> int:
    """Start it again each time that it dies. How often it died."""
    deaths = 0
    while True:
        await server.start()
        try:
            await server.until_all_is_over()
            return deaths
        except (aiohttp.ClientError, OSError):
            await server.wait_for_death()
            deaths += 1
            assert deaths < 6, "it dies again and again"


@pytest.mark.parametrize("bad", [KILLS_AT_ONCE, KILLS_BEHIND_A_SLOW_NODE, KILLS_BEHIND_QUICK_NODES],
                         ids=["at once", "behind a slow node", "behind quick nodes"])
async def test_one_that_kills_before_its_node_is_on_record_drags_nobody_along(tmp_path: Path, bad: Prompt) -> None:
    (tmp_path / "kill").touch()
    async with quick_server(tmp_path) as server:
        await server.started("--on-start", "paused")
        good = [f"good-{index}" for index in range(3)]
        assert await server.posts(bad, prompt_id="bad") == 200
        for tag in good:
            assert await server.posts(counted(tag, seconds=0.5), prompt_id=tag) == 200
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await server.ask("POST", "/api/queue/resume")
        await server.wait_for_death()
        assert await lives_until_all_is_over(server) == 1, "it has two attempts"
        assert (await server.job("bad"))["outcome"] == "poisoned"
        assert server.calls("bad") == 2
        for tag in good:
            assert (await server.job(tag))["status"] == "completed"
            assert server.calls(tag) <= 2


async def test_a_validator_that_kills_at_each_start_does_so_no_more_than_twice(tmp_path: Path) -> None:
    bad = {"1": node("CrashJudge", tag="bad"), "2": node("CrashShow", value=["1", 0])}
    async with quick_server(tmp_path) as server:
        await server.started("--on-start", "paused")
        for prompt_id, prompt in (("before", counted("before")), ("bad", bad), ("behind", counted("behind"))):
            assert await server.posts(prompt, prompt_id=prompt_id) == 200
        await server.stop()
        await asyncio.to_thread((tmp_path / "kill").touch)
        for _ in range(2):
            await server.start()
            assert not server.is_alive
        await server.started()
        await server.until_all_is_over()
        job = await server.job("bad")
        assert job["outcome"] == "poisoned"
        assert "ended 2 times at its start" in job["execution_error"]["exception_message"]
        assert server.calls("bad") == 3, "when it was posted, and at two starts"
        for tag in ("before", "behind"):
            assert (await server.job(tag))["status"] == "completed"
            assert server.calls(tag) == 1


async def test_a_cancel_that_was_accepted_outlives_a_stop_in_peace_during_its_clean_up(tmp_path: Path) -> None:
    async with quick_server(tmp_path, "--cancel-grace", "2") as server:
        await server.started()
        prompt = {"1": node("StubbornAsync", tag="stubborn"), "2": node("CrashShow", value=["1", 0])}
        assert await server.posts(prompt, prompt_id="p") == 200
        await server.until_called("stubborn")
        assert await server.ask("POST", "/api/jobs/p/cancel") == (200, {"cancelled": True})
        assert (await server.job("p"))["status"] == "in_progress", "its clean-up goes on"
        await server.stop()
        await server.started()
        await server.until_all_is_over()
        assert (await server.job("p"))["status"] == "cancelled"
        assert server.calls("stubborn") == 1


@pytest.mark.parametrize("since", [0, None])
@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped in peace"])
async def test_a_client_that_saw_its_prompt_run_is_told_when_it_is_cancelled_in_the_queue(
        tmp_path: Path, is_killed: bool, since: int | None) -> None:
    """It ran, the process ended, it waits again: whoever saw its start waits for its end."""
    async with quick_server(tmp_path) as server:
        await server.started()
        first: list[dict[str, Any]] = []
        watching = asyncio.create_task(read_frames(server, "mine", since, first))
        async with asyncio.timeout(SECONDS):
            while not first:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.01)
        assert await server.posts(counted("p", seconds=60), prompt_id="p", client_id="mine") == 200
        async with asyncio.timeout(SECONDS):
            while not any(one["type"] == "execution_start" for one in first):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        await server.until_called("p")
        await (server.kill() if is_killed else server.stop())
        watching.cancel()
        await server.started("--on-start", "paused")
        seen: list[dict[str, Any]] = []
        reading = asyncio.create_task(read_frames(server, "mine", since, seen))
        async with asyncio.timeout(SECONDS):
            while not seen:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.01)
        assert await server.ask("POST", "/api/jobs/p/cancel") == (200, {"cancelled": True})
        assert (await server.job("p"))["status"] == "cancelled"
        async with asyncio.timeout(SECONDS):
            while not any(one["type"] == "status" and (since is None or "seq" in one)
                          and one["data"]["status"]["exec_info"]["queue_remaining"] == 0 for one in seen):
                assert not reading.done(), seen
                await asyncio.sleep(0.01)
        reading.cancel()
        assert [one["type"] for one in seen if one["type"] in ENDS], "the queue is empty, and no end was told"
