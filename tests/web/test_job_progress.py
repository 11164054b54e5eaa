"""How far a job is, what runs of it, how long its nodes took, and what failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from execution import NodeId, NodeProgressed, NodeStarted, ProgressBar, ProgressRow, PromptId
from nodes.packs.class_nodes import define_class_node
from tests.web.live_server import Live, echo
from tests.web.test_job_submissions import STORES
from web.job_progress import JobProgress, share_done, weights_of


class Steps:
    """Goes on by as many steps as it is told, and then waits for more."""

    CATEGORY = "tests"
    RETURN_TYPES = ("INT",)
    FUNCTION = "step"
    OUTPUT_NODE = True
    steps: asyncio.Queue[float]

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("INT", {})}, "optional": {"fails": ("BOOLEAN", {})}}

    async def step(self, value: int, fails: bool = False) -> tuple[int]:
        bar = ProgressBar(4)
        while (reached := await self.steps.get()) < 4:
            bar.update_absolute(reached)
        if fails:
            raise RuntimeError("as it was told")
        return (value,)


def add_steps(live: Live) -> asyncio.Queue[float]:
    steps: asyncio.Queue[float] = asyncio.Queue()
    live.running.studio.registry.add(define_class_node("Steps", type("Steps", (Steps,), {"steps": steps}), "tests"))
    return steps


CHAIN = {"1": {"class_type": "Echo", "inputs": {"value": 3}},
         "2": {"class_type": "Steps", "inputs": {"value": ["1", 0]}},
         "3": {"class_type": "Echo", "inputs": {"value": ["2", 0]}},
         "4": {"class_type": "Echo", "inputs": {"value": ["3", 0]}}}


async def job(live: Live, prompt_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await live.get(f"/api/jobs/{prompt_id}")).json()
    return found


@contextlib.asynccontextmanager
async def at_the_steps(live: Live, graph: Any, **fields: Any) -> AsyncIterator[Any]:
    """A prompt `p` that has come to its node of steps; gives the events that follow."""
    with contextlib.closing(live.running.engine.subscribe()) as events:
        await live.accepted(graph, prompt_id="p", **fields)
        await until(events, NodeStarted, "2")
        yield events


async def until(events: Any, kind: type, node_id: str) -> Any:
    async for event in events:
        if isinstance(event, kind) and event.place.node_id == node_id:  # type: ignore[attr-defined]
            return event
    raise AssertionError("no more events")


@STORES
async def test_progress_counts_nodes_and_what_they_say_of_themselves(serve: Any, store: str) -> None:
    async with serve(store=store) as live:
        steps = add_steps(live)
        async with at_the_steps(live, CHAIN) as events:
            found = await job(live, "p")
            assert (found["status"], found["progress"], found["running_nodes"]) == ("in_progress", 25.0, ["2"])
            assert "queue_position" not in found
            assert set(found["node_timings"]) == {"1", "2"}
            assert set(found["node_timings"]["2"]) == {"started_at"}
            steps.put_nowait(2)
            await until(events, NodeProgressed, "2")
            assert (await job(live, "p"))["progress"] == 37.5
            steps.put_nowait(1)
            await until(events, NodeProgressed, "2")
            assert (await job(live, "p"))["progress"] == 37.5, "never less than what was told"
            steps.put_nowait(4)
        await live.finished("p")
        found = await job(live, "p")
        assert (found["progress"], found["attempt"], found["errors"]) == (100.0, 1, [])
        assert "running_nodes" not in found
        assert set(found["node_timings"]) == {"1", "2", "3", "4"}
        assert all(found["execution_start_time"] <= one["started_at"] <= one["ended_at"]
                   for one in found["node_timings"].values())


async def test_what_waits_has_a_position_and_no_progress(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked(prompt_id="runs")
        for index, prompt_id in enumerate("abc"):
            await live.accepted(echo(index), prompt_id=prompt_id)
        for place, prompt_id in enumerate("abc", 1):
            found = await job(live, prompt_id)
            assert (found["queue_position"], found["progress"], found["node_timings"]) == (place, 0.0, {})
            assert not {"running_nodes", "outcome", "reason"} & set(found)
        await live.post("/api/jobs/a/cancel", b"")
        assert (await job(live, "b"))["queue_position"] == 1
        gone = await job(live, "a")
        assert "queue_position" not in gone
        assert "progress" not in gone


async def test_what_the_cache_has_is_done(live: Live) -> None:
    await live.run(3)
    steps = add_steps(live)
    async with at_the_steps(live, CHAIN):
        assert (await job(live, "p"))["progress"] == 25.0
        steps.put_nowait(4)
    assert (await live.finished("p"))["status"]["completed"]


async def test_all_nodes_that_failed_are_told(live: Live) -> None:
    steps = add_steps(live)
    graph = {name: {"class_type": "Steps", "inputs": {"value": index, "fails": True}}
             for index, name in enumerate(("1", "2"))} | {"3": {"class_type": "Echo", "inputs": {"value": 1}}}
    steps.put_nowait(4)
    steps.put_nowait(4)
    await live.accepted(graph, prompt_id="p", on_error="continue_independent")
    await live.finished("p")
    found = await job(live, "p")
    assert (found["status"], found["outcome"], found["progress"]) == ("failed", "partial_success", 100.0)
    assert sorted(error["node_id"] for error in found["errors"]) == ["1", "2"]
    assert found["execution_error"] in found["errors"]
    listed = (await live.get("/api/jobs")).json()["jobs"]
    assert [one["outcome"] for one in listed] == ["partial_success"]
    assert "errors" not in listed[0]


# -- what a node counts --------------------------------------------------------------------------------------


GRAPH = {"a": {"class_type": "Fast", "inputs": {}}, "b": {"class_type": "Slow", "inputs": {"x": ["a", 0], "y": 5}},
         "c": {"class_type": "New", "inputs": {"x": ["b", 0], "z": [1, 2], "w": ["nowhere", 0]}},
         "unneeded": {"class_type": "Slow", "inputs": {"x": ["a", 0]}}}


def row(node_id: str, value: float, maximum: float = 1.0, state: str = "running") -> ProgressRow:
    one = NodeId(node_id)
    return ProgressRow(value=value, max=maximum, state=state, node_id=one, prompt_id=PromptId("p"),
                       display_node_id=one, parent_node_id=None, real_node_id=one)


@pytest.mark.parametrize("prompt", [GRAPH, msgspec.Raw(msgspec.json.encode(GRAPH))])
def test_nodes_weigh_alike_or_what_others_of_their_class_took(prompt: Any) -> None:
    assert weights_of(prompt, [NodeId("c")], {}) == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert weights_of(prompt, [NodeId("c")], {"Fast": 10.0, "Slow": 30.0, "Other": 1e9}) == {
        "a": 10.0, "b": 30.0, "c": 20.0}
    assert weights_of(prompt, [NodeId("gone")], {}) == {}


def test_a_share_is_of_the_weights() -> None:
    weights = weights_of(GRAPH, [NodeId("c")], {"Fast": 10.0, "Slow": 30.0})
    assert share_done(weights, [], {}) == 0.0
    assert share_done({}, [], {}) == 0.0
    assert share_done(weights, [NodeId("a"), NodeId("unneeded")], {}) == pytest.approx(10 / 60)
    rows = {NodeId("a"): row("a", 1, 1, "finished"), NodeId("b"): row("b", 1, 2), NodeId("b.0.x"): row("b.0.x", 1)}
    assert share_done(weights, [], rows) == pytest.approx(25 / 60)
    assert share_done(weights, [NodeId("a")], rows) == pytest.approx(25 / 60), "once"
    odd = {NodeId("a"): row("a", 5, 0), NodeId("b"): row("b", 9, 2), NodeId("c"): row("c", -9, 2)}
    assert share_done(weights, [], odd) == pytest.approx(30 / 60)


async def test_a_class_that_took_longer_counts_for_more(live: Live) -> None:
    steps = add_steps(live)
    known = JobProgress(live.running.engine)
    async with at_the_steps(live, CHAIN):
        known._usual.update({"Echo": 10.0, "Steps": 70.0})
        entry = await live.running.engine.history.job(PromptId("p"))
        assert await known.percent_of(entry) == 10.0
        known._usual.update({"Echo": 1.0, "Steps": 999.0})
        assert await known.percent_of(entry) == 10.0, "weighed once"
        steps.put_nowait(4)
    await live.finished("p")
    assert known._asked == {} == known._prompts
    assert known._usual["Steps"] < 999.0, "learnt from this one"
