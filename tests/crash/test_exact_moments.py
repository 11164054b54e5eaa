"""What is there and what is not when the process ends between a commit and what comes before or after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.failpoints import VARIABLE
from tests.crash.killable_server import node
from tests.crash.quick_server import counted, ends_told, quick_server, socket_of

VISITS = (1, 2, 3, 1, 2, 3, 4)
"""Which commit holds what of a prompt is a matter of timing, so one after the other is tried."""


async def test_between_commit_and_reply_the_job_is_there_although_nobody_was_told(tmp_path: Path) -> None:
    async with quick_server(tmp_path) as server:
        await server.started(**{VARIABLE: "job-added:2"})
        assert await server.posts(counted("first"), prompt_id="first") == 200
        assert await server.posts(counted("second"), prompt_id="second") is None
        await server.wait_for_death()
        assert server.kinds_on_record("second") == [], "it was accepted, and nothing else of it happened"
        assert server.calls("second") == 0
        await server.started()
        for prompt_id in ("first", "second"):
            assert (await server.until_over(prompt_id))["status"] == "completed"
        assert server.calls("second") == 1


async def test_between_a_nodes_end_and_its_commit_the_node_is_called_again_and_its_prompt_succeeds_once(
        tmp_path: Path) -> None:
    lost = False
    async with quick_server(tmp_path, "--max-attempts", "9") as server:
        for index, visit in enumerate(VISITS):
            prompt_id = f"p-{index}"
            await server.started(**{VARIABLE: f"before-commit:{visit}"})
            await server.posts(counted(prompt_id), prompt_id=prompt_id)
            if await server.until_over_or_dead(prompt_id):
                await server.kill()
                continue
            kinds, calls = server.kinds_on_record(prompt_id), server.calls(prompt_id)
            assert "PromptFinished" not in kinds
            lost = bool(calls) and "NodeFinished" not in kinds
            await server.started()
            assert (await server.until_over(prompt_id))["status"] == "completed"
            assert server.calls(prompt_id) == calls + 1
            await server.kill()
            assert server.kinds_on_record(prompt_id).count("PromptFinished") == 1
            if lost:
                break
    assert lost, "no crash met a node that had been called and whose end was not written"


@pytest.mark.parametrize("place", ["after-commit", "before-telling"])
async def test_between_commit_and_frame_the_end_is_told_to_a_client_that_comes_back(tmp_path: Path, place: str) -> None:
    missed = False
    async with quick_server(tmp_path, "--max-attempts", "9") as server:
        for index, visit in enumerate(VISITS):
            prompt_id = f"p-{index}"
            await server.started(**{VARIABLE: f"{place}:{visit}"})
            async with socket_of(server, "mine") as seen:
                await server.posts({"1": node("CrashShow", value=prompt_id)}, prompt_id=prompt_id, client_id="mine")
                await server.until_over_or_dead(prompt_id)
                await server.kill()
            kinds, told = server.kinds_on_record(prompt_id), ends_told(seen, prompt_id)
            assert "PromptFinished" in kinds or not told, "it was told before it was on record"
            missed = "PromptFinished" in kinds and not told
            last = max((one["seq"] for one in seen if "seq" in one), default=0)
            await server.started()
            assert (await server.until_over(prompt_id))["status"] == "completed"
            async with socket_of(server, "mine", last) as later:
                assert told + ends_told(later, prompt_id) == ["execution_success"]
                assert min((one["seq"] for one in later if "seq" in one and one["type"] != "snapshot"),
                           default=last + 1) > last
            await server.kill()
            if missed:
                break
    assert missed, "no crash met an end that was on record and not told"


async def test_one_that_is_killed_while_it_starts_loses_nothing(tmp_path: Path) -> None:
    """Prompts that are taken up again are put on record again: a process may end at each of these commits."""
    async with quick_server(tmp_path) as server:
        await server.started("--on-start", "paused")
        tags = [f"waits-{index}" for index in range(5)]
        for tag in tags:
            assert await server.posts(counted(tag), prompt_id=tag, client_id="mine") == 200
        await server.kill()
        for visit in (1, 2):
            await server.start("--on-start", "paused", **{VARIABLE: f"before-commit:{visit}"})
            await server.kill()
            await server.start("--on-start", "paused", **{VARIABLE: f"after-commit:{visit}"})
            await server.kill()
        await server.started()
        await server.until_all_is_over()
        async with socket_of(server, "mine") as seen:
            started = [one["data"]["prompt_id"] for one in seen if one["type"] == "execution_start"]
        assert started == tags
        for tag in tags:
            assert server.calls(tag) == 1
            assert ends_told(seen, tag) == ["execution_success"]
