"""What is put off to the next turn, so that wide layers hold up nobody; what is asked apart, so that no token waits."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from execution import (
    CallerSettings,
    Engine,
    EngineSettings,
    Event,
    NodeFinished,
    NodeStarted,
    Outcome,
    PromptId,
    PromptRejected,
    commands,
    stimuli,
)
from execution.node_lanes import ThreadLane
from tests.execution.test_engine import Running, running, shows
from tests.execution.test_scheduler import show, started
from tests.support.node_definitions import define, node
from tests.support.random_graphs import submission_of
from tests.support.scheduler_driver import SchedulerDriver


def wide(nodes: int) -> dict[str, Any]:
    return {**{f"n{index}": node("Async", a=index) for index in range(nodes)},
            **{f"s{index}": show(f"n{index}") for index in range(nodes)}}


def test_a_wide_layer_starts_a_few_nodes_a_turn() -> None:
    driver = started(wide(10), most_moved_at_once=4)
    assert len(driver.open) == 4
    driver.pass_turn()
    assert len(driver.open) == 8
    assert driver.turn_is_due
    driver.pass_turn()
    assert len(driver.open) == 10
    assert not driver.turn_is_due
    while driver.open or driver.turn_is_due:
        driver.return_(min(driver.open)) if driver.open else driver.pass_turn()
    assert driver.outcome_of("p0") is Outcome.SUCCEEDED
    driver.check_nothing_is_left()


def test_a_prompt_whose_only_node_waits_for_its_turn_is_no_cycle() -> None:
    driver = started(wide(2), most_moved_at_once=1)
    driver.fail(min(driver.open))
    assert driver.outcome_of("p0") is Outcome.FAILED
    driver = started({"1": node("Async"), "2": node("Async", a=1), "3": show("1", "2")}, most_moved_at_once=1)
    driver.return_(min(driver.open))
    assert driver.outcome_of("p0") is None
    driver.pass_turn()
    assert driver.called() == ["1", "2"]


def test_a_cancel_between_two_turns_starts_nothing_more() -> None:
    driver = started(wide(10), most_moved_at_once=4)
    driver.cancel("p0")
    driver.pass_turn()
    assert len(driver.calls) == 4
    for call_id in sorted(driver.open):
        driver.end_cancelled(call_id)
    assert driver.outcome_of("p0") is Outcome.INTERRUPTED
    driver.check_nothing_is_left()


async def test_other_work_of_the_loop_comes_between_the_nodes_of_a_wide_layer() -> None:
    seen: list[int] = []
    begun = 0
    everyone = asyncio.Event()

    async def begins(a: int) -> int:
        nonlocal begun
        begun += 1
        await everyone.wait()
        return a

    async with running(define("Begins", begins)) as studio:
        ids = await studio.submit({**{f"n{index}": node("Begins", a=index) for index in range(200)},
                                   **{f"s{index}": shows(f"n{index}") for index in range(200)}})
        while begun < 200:
            seen.append(begun)
            await asyncio.sleep(0)
        everyone.set()
        await studio.events.end_of(ids)
    assert len({count for count in seen if count}) >= 5


# -- lines ------------------------------------------------------------------------------------------------------------


def queued(*prompts: tuple[str, float, str | None], most: int = 4) -> Any:
    driver = SchedulerDriver(max_running_prompts=most)
    for prompt_id, number, line in prompts:
        driver.submit(submission_of({"1": node("Async", a=prompt_id), "2": show("1")}, prompt_id, number, line=line))
    driver.start_prompts()
    return driver


def finish(driver: Any, prompt_id: str) -> None:
    driver.return_(driver.call_of(prompt_id, "1"))
    driver.return_(driver.call_of(prompt_id, "2"))


def test_prompts_of_one_line_run_one_after_the_other_and_others_pass_them_by() -> None:
    driver = queued(("a1", 0, "a"), ("a2", 1, "a"), ("a3", 2, "a"), ("free", 3, None), ("b1", 4, "b"))
    assert driver.running() == ["a1", "free", "b1"]
    assert [entry.prompt_id for entry in driver.scheduler.pending()] == ["a2", "a3"]
    finish(driver, "a1")
    assert driver.running() == ["a2", "free", "b1"]
    for prompt_id in ("a2", "a3", "free", "b1"):
        finish(driver, prompt_id)
    driver.check_nothing_is_left()


def test_the_order_of_the_queue_holds_within_a_line() -> None:
    driver = queued(("first", 5, "a"))
    for prompt_id, number in (("late", 7), ("early", 6), ("front", -1)):
        driver.submit(submission_of({"1": node("Async", a=prompt_id), "2": show("1")}, prompt_id, number, line="a"))
    order = []
    while driver.running():
        order += driver.running()
        finish(driver, driver.running()[0])
    assert order == ["first", "front", "early", "late"]


@pytest.mark.parametrize("removed", ["a2", "a3"])
def test_removing_the_next_of_a_line_lets_the_one_behind_it_come(removed: str) -> None:
    driver = queued(("a1", 0, "a"), ("a2", 1, "a"), ("a3", 2, "a"))
    driver.apply(stimuli.PendingRemoved(prompt_ids=[PromptId(removed)]))
    finish(driver, "a1")
    assert driver.running() == [{"a2": "a3", "a3": "a2"}[removed]]


def test_removing_one_that_waits_for_a_place_lets_the_one_behind_it_come() -> None:
    driver = queued(("other", 0, None), ("a1", 1, "a"), ("a2", 2, "a"), most=1)
    driver.apply(stimuli.PendingRemoved(prompt_ids=[PromptId("a1")]))
    finish(driver, "other")
    assert driver.running() == ["a2"]


def test_an_interrupted_prompt_gives_its_line_free() -> None:
    driver = queued(("a1", 0, "a"), ("a2", 1, "a"))
    driver.cancel("a1")
    driver.end_cancelled(driver.call_of("a1", "1"))
    assert driver.running() == ["a2"]


# -- checks of lazy inputs that await -------------------------------------------------------------------------------


def test_a_check_that_awaits_holds_no_token_and_the_function_waits_for_one() -> None:
    lazy = {"1": node("CheckedApart", a=1, lazy_x=["5", 0]), "5": node("Async"), "2": show("1")}
    driver = started(lazy, {"1": node("Plain", a=7), "2": show("1")})
    check, other = driver.call_of("p0", "1"), driver.call_of("p1", "1")
    assert driver.open[check].part is commands.CallPart.CHECK  # type: ignore[union-attr]
    assert driver.scheduler.pools.snapshot()["gpu"] == (1, 1)  # the other one's
    driver.want(check, [])
    assert [call for call in driver.open if call != other] == []  # it waits for the token now
    driver.return_(other)
    function = driver.call_of("p0", "1")
    assert driver.open[function].part is commands.CallPart.FUNCTION  # type: ignore[union-attr]
    assert [event for event in driver.story("p0") if event == "NodeStarted 1"] == ["NodeStarted 1"]


def test_a_function_that_waits_for_a_token_checks_again_for_an_heir() -> None:
    """The heir may want other inputs than the prompt whose check was answered."""
    lazy = {"1": node("CheckedApart", a=1, lazy_x=["5", 0]), "5": node("Async"), "2": show("1")}
    driver = started({"1": node("Plain", a=7), "2": show("1")}, lazy, lazy)
    driver.want(driver.call_of("p1", "1"), [])  # both prompts wait for this call: p1's
    driver.cancel("p1")
    driver.return_(driver.call_of("p0", "1"))
    while driver.open:
        call_id = min(driver.open)
        call = driver.open[call_id]
        is_check = isinstance(call, commands.CallNode) and call.part is commands.CallPart.CHECK
        driver.want(call_id, []) if is_check else driver.return_(call_id)
    assert driver.outcome_of("p2") is Outcome.SUCCEEDED
    parts = [call.part for call in driver.calls if call.prompt_id == "p2" and call.node_id == "1"]
    assert parts[-1] is commands.CallPart.FUNCTION
    driver.check_nothing_is_left()


async def test_the_gpu_is_free_while_a_plain_node_s_check_awaits() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def asks(x: Any) -> list[str]:
        asked.set()
        await go_on.wait()
        return ["x"] if x is None else []

    def picks(x: Any) -> Any:
        return x

    def makes() -> str:
        assert threading.current_thread().name.startswith("studio-gpu")
        return "made"

    picker = define("Picks", picks, optional={"x": ("*", {"lazy": True})}, lazy_check=asks)
    async with running(picker, define("Makes", makes)) as studio:
        lazy = await studio.submit({"1": node("Picks", x=["3", 0]), "3": node("Makes"), "2": shows("1")})
        await asked.wait()
        other = await studio.submit({"1": node("Makes"), "2": shows("1")})
        await studio.events.end_of(other)  # which needs the one token of gpu
        go_on.set()
        finished = await studio.events.end_of(lazy)
        assert finished.outcome is Outcome.SUCCEEDED
        begun = [event for event in studio.events.of(NodeStarted, prompt_id=lazy) if event.place.node_id == "1"]
    assert len(begun) == 2  # asked, asked again with its input and run


# -- hooks and threads that will not -----------------------------------------------------------------------------------


async def test_a_validator_that_swallows_its_cancel_holds_up_nobody() -> None:
    never = asyncio.Event()

    async def judges(x: int) -> bool:
        while True:
            try:
                await never.wait()
                return True
            except asyncio.CancelledError:
                if never.is_set():
                    raise

    def works(x: int) -> int:
        return x

    judged = define("Judged", works, is_output=True, required={"x": ("INT",)}, validate=judges)
    async with running(judged, hook_timeout=0.2, cancel_grace=0.05) as studio:
        with pytest.raises(PromptRejected) as rejected:
            await studio.submit({"1": node("Judged", x=1)})
        assert "did not answer within" in str(rejected.value.node_errors)
        never.set()


async def test_calls_that_were_withdrawn_do_not_stay_behind_a_stuck_one() -> None:
    driver = started({"1": node("Plain", a=0), "2": show("1")},
                     *({"1": node("Plain", a=index), "2": show("1")} for index in range(1, 4)))
    for index in range(1, 4):
        driver.cancel(f"p{index}")
    assert len(driver.scheduler._waiting) == 0


async def test_a_lane_goes_on_when_a_thread_could_not_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = ThreadLane("test", 1)
    real, attempts = threading.Thread.start, 0

    def start(thread: threading.Thread) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise RuntimeError("can't start new thread")
        real(thread)

    later: list[Any] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(loop, "call_later", lambda seconds, function: later.append(function))
    answer = asyncio.ensure_future(lane.call(lambda: 42))
    await asyncio.sleep(0)
    assert not answer.done()
    later[0]()
    assert await answer == 42
    lane.close()


async def test_the_loop_has_its_own_task_factory_back_when_the_engine_has_closed() -> None:
    from execution import NodeRegistry

    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    async with Engine(NodeRegistry(), EngineSettings(caller=CallerSettings())):
        assert loop.get_task_factory() is not before
    assert loop.get_task_factory() is before


async def test_an_object_that_is_asked_for_its_size_is_asked_on_a_thread() -> None:
    asked_on: list[int] = []

    class Model:
        def _comfy_cache_tensors(self) -> list[Any]:
            asked_on.append(threading.get_ident())
            return []

    async def makes() -> Any:
        return Model()

    async with running(define("Makes", makes)) as studio:
        await studio.events.end_of(await studio.submit({"1": node("Makes"), "2": shows("1")}))
    assert asked_on
    assert threading.get_ident() not in asked_on


async def turns_of(studio: Running, prompt: dict[str, Any], last: str) -> int:
    """Turns of the loop from the start of the first node to the end of one."""
    turns, begun, ended = 0, -1, -1

    def count() -> None:
        nonlocal turns
        turns += 1
        if ended < 0:
            asyncio.get_running_loop().call_soon(count)

    def note(event: Event) -> None:
        nonlocal begun, ended
        if isinstance(event, NodeStarted) and begun < 0:
            begun = turns
        elif isinstance(event, NodeFinished) and event.place.node_id == last:
            ended = turns

    studio.engine.add_listener(note)
    count()
    await studio.run(prompt)
    studio.engine.remove_listener(note)
    return ended - begun


async def echo(x: int) -> int:
    return x


async def test_an_async_call_that_waits_for_nothing_takes_one_turn_of_the_loop() -> None:
    chain = {"0": node("Echo", x=1), **{str(one): node("Echo", x=[str(one - 1), 0]) for one in range(1, 50)},
             "end": shows("49")}
    async with running(define("Echo", echo)) as studio:
        assert await turns_of(studio, chain, "49") == 50


async def test_async_calls_side_by_side_have_their_turn_together() -> None:
    async with running(define("Echo", echo)) as studio:
        prompt = {**{str(one): node("Echo", x=one + 10) for one in range(30)}, "end": shows(*map(str, range(30)))}
        assert await turns_of(studio, prompt, "29") == 1


async def test_one_that_waits_holds_up_nothing_but_what_depends_on_it() -> None:
    door = asyncio.Event()

    async def waits(x: int) -> int:
        await door.wait()
        return x

    async with running(define("Waits", waits), define("Echo", echo)) as studio:
        prompt_id = await studio.submit({
            "slow": node("Waits", x=1), "behind": node("Echo", x=["slow", 0]), "quick": node("Echo", x=2),
            "after": node("Echo", x=["quick", 0]), "end": shows("behind", "after")})
        await studio.events.until(NodeFinished, node="after")
        assert not studio.events.of(NodeStarted, node="behind")
        door.set()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
