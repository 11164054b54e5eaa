"""A node that runs out of memory: what is kept goes, it runs once more and alone; three in a row pause their pool."""

from __future__ import annotations

import threading
from typing import Any

from execution import (
    NodeFailed,
    NodeRetried,
    NodeStarted,
    Outcome,
    PromptId,
    QueueChanged,
    commands,
    stimuli,
)
from execution.identifiers import CallId
from tests.execution.test_engine import running, shows, turns_until
from tests.support.gated_nodes import GatedNode
from tests.support.node_definitions import define, node
from tests.support.random_graphs import submission_of
from tests.support.scheduler_driver import SchedulerDriver


def started(count: int, class_type: str = "Plain", **settings: Any) -> SchedulerDriver:
    """Prompts p0, p1 … of one node each, and one that shows what it gives out."""
    driver = SchedulerDriver(**settings)
    for index in range(count):
        driver.submit(submission_of({"1": node(class_type, a=index), "2": node("Show", a=["1", 0])}, f"p{index}"))
    driver.start_prompts()
    return driver


def once_more(driver: SchedulerDriver) -> CallId:
    """The call that waits until memory is released."""
    return next(call_id for call_id, call in driver.open.items() if isinstance(call, commands.ReleaseToRetry))


def fail(driver: SchedulerDriver, prompt_id: str) -> None:
    """Let node 1 of a prompt run out of memory."""
    driver.fail(driver.call_of(prompt_id, "1"), out_of_memory=True)


def run_out(driver: SchedulerDriver, prompt_id: str) -> None:
    """Let it do so twice."""
    fail(driver, prompt_id)
    driver.retry(once_more(driver))
    fail(driver, prompt_id)


def test_it_is_called_again_once_memory_is_released_and_no_more_than_that() -> None:
    driver = started(1)
    fail(driver, "p0")
    assert driver.called() == ["1"], "not before memory is released"
    driver.retry(once_more(driver))
    assert driver.called() == ["1", "1"]
    fail(driver, "p0")
    assert driver.outcome_of("p0") is Outcome.FAILED
    assert len([one for one in driver.events[PromptId("p0")] if isinstance(one, NodeFailed)]) == 1
    driver.check_nothing_is_left()


def test_the_second_time_it_has_its_pools_for_itself() -> None:
    driver = started(2, "Cpu")  # the pool has two tokens
    assert driver.called() == ["1", "1"]
    fail(driver, "p0")
    driver.retry(once_more(driver))
    assert driver.called("p0") == ["1"], "it waits for the one beside it"
    driver.return_(driver.call_of("p1", "1"))
    assert driver.called("p0") == ["1", "1"]
    call = driver.open[driver.call_of("p0", "1")]
    assert isinstance(call, commands.CallNode)
    assert call.is_alone
    driver.return_(driver.call_of("p0", "1"))


def test_three_in_a_row_pause_their_pool_until_the_queue_is_resumed() -> None:
    driver = started(4, max_running_prompts=1)
    for index in range(3):
        assert driver.scheduler.pools.paused == {}
        run_out(driver, f"p{index}")
    assert list(driver.scheduler.pools.paused) == ["gpu"]
    assert driver.running() == ["p3"]
    assert driver.called("p3") == []
    driver.apply(stimuli.PauseRequested(is_paused=False))
    assert driver.called("p3") == ["1"]
    driver.return_(driver.call_of("p3", "1"))


def test_one_that_works_in_between_starts_the_count_again() -> None:
    driver = started(5, max_running_prompts=1)
    for index in range(5):
        if index == 2:
            driver.return_(driver.call_of("p2", "1"))
            driver.return_(driver.call_of("p2", "2"))
        else:
            run_out(driver, f"p{index}")
    assert driver.scheduler.pools.paused == {}


async def test_over_the_engine_the_node_succeeds_when_there_is_room_again() -> None:
    released: list[int] = []
    calls: list[int] = []

    def hungry(x: int) -> int:
        calls.append(threading.get_ident())
        if not released:
            raise MemoryError("no room")
        return x

    async with running(define("Hungry", hungry), release_memory=lambda: released.append(1)) as studio:
        assert (await studio.run({"1": node("Hungry", x=1), "2": shows("1")})).outcome is Outcome.SUCCEEDED
        assert len(calls) == 2
        (told,) = studio.events.of(NodeRetried)
        assert "ran out of memory" in told.error.exception_message


async def test_a_paused_pool_is_told_and_freeing_memory_lets_it_go_on() -> None:
    def hungry(x: Any) -> int:
        raise MemoryError("no room")

    gate = GatedNode("Gate", plain=True)
    async with running(define("Hungry", hungry), gate) as studio:
        for index in range(3):
            assert (await studio.run({"1": node("Hungry", x=index), "2": shows("1")})).outcome is Outcome.FAILED
        (busy,) = studio.engine.busy_pools()
        assert busy.pool == "gpu"
        assert "3 nodes in a row ran out of memory" in busy.sentence
        prompt_id = await studio.submit({"1": node("Gate"), "2": shows("1")})
        await studio.events.until(QueueChanged)
        await turns_until(lambda: bool(studio.engine.snapshot().running))
        assert studio.events.of(NodeStarted, prompt_id=prompt_id) == []
        studio.engine.free_memory()
        (call,) = await gate.arrived()
        call.let_go(1)
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        assert studio.engine.busy_pools() == []
