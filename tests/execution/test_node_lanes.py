"""Threads of our own: how many there are, which one runs what, and what happens when one hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from execution.node_lanes import LoopMailbox, NodeLanes, ThreadLane


class Jobs:
    """Jobs that stop at a door each, and a note of the threads that they ran on."""

    def __init__(self, lane: ThreadLane) -> None:
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        self.threads: list[threading.Thread] = []
        self.doors: list[threading.Event] = []
        self._arrivals: asyncio.Queue[int] = asyncio.Queue()
        self._ends: asyncio.Queue[int] = asyncio.Queue()

    def submit(self) -> int:
        number, door = len(self.doors), threading.Event()
        self.doors.append(door)

        def job() -> None:
            self.threads.append(threading.current_thread())
            self._loop.call_soon_threadsafe(self._arrivals.put_nowait, number)
            door.wait(30)
            self._loop.call_soon_threadsafe(self._ends.put_nowait, number)

        self._lane.submit(job)
        return number

    async def arrived(self) -> int:
        return await self._arrivals.get()

    async def finish(self, number: int) -> None:
        self.doors[number].set()
        assert await self._ends.get() == number

    def nobody_has_arrived(self) -> bool:
        return self._arrivals.empty()


async def test_a_lane_of_one_runs_its_jobs_one_by_one_on_one_thread_for_life() -> None:
    lane = ThreadLane("gpu", 1)
    jobs = Jobs(lane)
    for _ in range(3):
        jobs.submit()
    for number in range(3):
        assert await jobs.arrived() == number
        assert jobs.nobody_has_arrived()
        await jobs.finish(number)
    assert len(set(jobs.threads)) == 1
    assert jobs.threads[0].daemon
    assert jobs.threads[0].name == "studio-gpu-1"
    lane.close()


async def test_a_lane_has_as_many_threads_as_its_size_and_no_more() -> None:
    lane = ThreadLane("cpu", 2)
    jobs = Jobs(lane)
    for _ in range(3):
        jobs.submit()
    assert {await jobs.arrived(), await jobs.arrived()} == {0, 1}
    assert jobs.nobody_has_arrived(), "the third waits"
    await jobs.finish(1)
    assert await jobs.arrived() == 2
    assert len(set(jobs.threads)) == 2
    await jobs.finish(0)
    await jobs.finish(2)
    lane.close()


async def test_closing_lets_the_threads_end_after_what_is_queued() -> None:
    lane = ThreadLane("cpu", 1)
    jobs = Jobs(lane)
    jobs.submit()
    jobs.submit()
    await jobs.arrived()
    lane.close()
    await jobs.finish(0)
    assert await jobs.arrived() == 1
    await jobs.finish(1)
    await asyncio.to_thread(jobs.threads[0].join, 30)
    assert not jobs.threads[0].is_alive()


async def test_a_call_returns_or_raises_what_its_function_did() -> None:
    lane = ThreadLane("hooks", 1)
    assert await lane.call(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await lane.call(lambda: 1 // 0)
    lane.close()


@pytest.mark.parametrize(("raised", "seen"), [
    (StopIteration, RuntimeError), (KeyboardInterrupt, KeyboardInterrupt), (SystemExit, SystemExit)])
async def test_whatever_a_call_raises_its_thread_lives_on(raised: type[BaseException],
                                                          seen: type[BaseException]) -> None:
    lane = ThreadLane("hooks", 1)

    def raises() -> None:
        raise raised

    before = await lane.call(threading.get_ident)
    with pytest.raises(seen):
        await lane.call(raises)
    assert await lane.call(threading.get_ident) == before
    lane.close()


async def test_a_call_that_hangs_times_out_and_the_lane_goes_on_with_another_thread() -> None:
    lane, door = ThreadLane("hooks", 1), threading.Event()
    with pytest.raises(TimeoutError):
        await lane.call(lambda: door.wait(30), timeout=0.01)
    assert await lane.call(lambda: "goes on", timeout=10) == "goes on"
    door.set()
    lane.close()


async def test_jobs_queued_behind_one_that_hangs_go_on_when_it_is_written_off() -> None:
    lane, door = ThreadLane("hooks", 1), threading.Event()
    hanging = asyncio.create_task(lane.call(lambda: door.wait(30), timeout=0.01))
    await asyncio.sleep(0)
    behind = asyncio.create_task(lane.call(lambda: "goes on"))
    with pytest.raises(TimeoutError):
        await hanging
    assert await behind == "goes on"
    door.set()
    lane.close()


async def test_a_timeout_that_the_function_raises_itself_costs_no_thread() -> None:
    lane = ThreadLane("hooks", 1)

    def raises() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await lane.call(raises, timeout=10)
    jobs = Jobs(lane)
    jobs.submit()
    jobs.submit()
    await jobs.arrived()
    assert jobs.nobody_has_arrived(), "the lane still has one thread"
    await jobs.finish(0)
    await jobs.arrived()
    await jobs.finish(1)
    lane.close()


@pytest.mark.parametrize(("needs", "name"), [
    ((("gpu", 1),), "gpu"), ((("cpu", 1), ("gpu", 1)), "gpu"), ((("cpu", 1), ("net", 1)), "cpu"), ((), "blocking")])
def test_the_lane_of_a_call_is_told_by_its_needs(needs: Any, name: str) -> None:
    lanes = NodeLanes(lambda pool: 1)
    assert lanes.lane_for(needs).name == name
    assert lanes.lane_for(needs) is lanes.lane_for(needs)


async def test_a_mailbox_delivers_from_threads_in_order_on_the_loop() -> None:
    loop, got = asyncio.get_running_loop(), []
    all_there = asyncio.Event()
    mailbox = LoopMailbox(loop, copy_context())

    def take(number: int) -> None:
        got.append((number, threading.get_ident()))
        if number == 99:
            all_there.set()

    def post() -> None:
        for number in range(100):
            mailbox.post(take, number)

    await asyncio.to_thread(post)
    await all_there.wait()
    assert got == [(number, threading.get_ident()) for number in range(100)]


async def test_a_mailbox_delivers_in_its_own_context_not_in_that_of_the_sender() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")
    variable.set("owner")
    mailbox = LoopMailbox(asyncio.get_running_loop(), copy_context())
    seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    variable.set("sender")
    mailbox.post(lambda _: seen.set_result(variable.get()), None)
    assert await seen == "owner"


async def test_letters_behind_one_that_fails_arrive_all_the_same() -> None:
    loop, problems, arrived = asyncio.get_running_loop(), [], asyncio.Event()
    loop.set_exception_handler(lambda _, context: problems.append(context["exception"]))
    mailbox = LoopMailbox(loop, copy_context())

    def fails(_: object) -> None:
        raise ValueError("broken")

    mailbox.post(fails, None)
    mailbox.post(lambda _: arrived.set(), None)
    await arrived.wait()
    assert [type(one) for one in problems] == [ValueError]


def test_letters_to_a_closed_loop_are_lost_without_noise() -> None:
    loop = asyncio.new_event_loop()
    mailbox = LoopMailbox(loop, copy_context())
    loop.close()
    heard: list[Callable[[], None]] = []
    mailbox.post(heard.append, None)
    assert heard == []


async def test_a_lane_that_was_once_busier_than_it_has_threads_still_goes_on_after_one_hangs() -> None:
    lane, door = ThreadLane("hooks", 1), threading.Event()
    jobs = Jobs(lane)
    for _ in range(3):
        jobs.submit()
    for number in range(3):
        await jobs.arrived()
        await jobs.finish(number)
    with pytest.raises(TimeoutError):
        await lane.call(lambda: door.wait(30), timeout=0.01)
    assert await lane.call(lambda: "goes on") == "goes on"
    door.set()
    lane.close()
