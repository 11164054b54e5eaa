from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from execution import Engine, LoopWatchdog, PromptSubmission, loop_watchdog
from tests.support.event_recorder import EventRecorder
from tests.support.manual_clock import ManualClock
from tests.support.node_definitions import define, node, registry_of


class Heard(logging.Handler):
    """What the watchdog says; a door that opens when it says it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.has_spoken = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        self.has_spoken.set()


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    logging.getLogger("studio.watchdog").addHandler(handler)
    yield handler
    logging.getLogger("studio.watchdog").removeHandler(handler)


@pytest.mark.may_block
async def test_a_node_that_holds_the_loop_is_named_while_it_does(heard: Heard) -> None:
    async def holds_the_loop() -> None:
        assert heard.has_spoken.wait(30), "held until the watchdog has said so"

    definition = define("Greedy", holds_the_loop, is_output=True, origin="some_pack")
    watchdog = LoopWatchdog(longest_lag=0.01)
    try:
        async with Engine(registry_of([definition])) as engine:
            recorder = EventRecorder(engine)
            accepted = await engine.submit(PromptSubmission(prompt={"7": node("Greedy")}))
            await recorder.end_of(accepted.prompt_id)
    finally:
        watchdog.stop()
    assert "node 7 (Greedy of some_pack)" in heard.said[0]
    assert "holds_the_loop" in heard.said[0], "the stack is shown"


@pytest.mark.may_block
async def test_other_code_is_named_by_its_module_and_once(heard: Heard) -> None:
    watchdog = LoopWatchdog(longest_lag=0.01)
    try:
        assert heard.has_spoken.wait(30)
    finally:
        watchdog.stop()
    assert len(heard.said) == 1
    assert __name__.rpartition(".")[2] in heard.said[0]


@pytest.mark.may_block
async def test_nothing_is_said_of_a_loop_that_is_free(heard: Heard) -> None:
    watchdog = LoopWatchdog(longest_lag=30)
    await asyncio.sleep(0)
    watchdog.stop()
    assert heard.said == []


@pytest.mark.parametrize(("lag", "said"), [(0.2, 0), (1.0, 1)])
def test_native_code_that_let_no_thread_look_is_told_afterwards(
        lag: float, said: int, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr(loop_watchdog.asyncio, "get_running_loop", lambda: clock)
    monkeypatch.setattr(loop_watchdog, "time", clock)
    monkeypatch.setattr(LoopWatchdog, "_watch", lambda self: None)  # the interpreter lock was held
    watchdog = LoopWatchdog(longest_lag=0.25)
    clock.advance(0.1)
    (timer,) = [one for one in clock._timers if not one.is_cancelled]
    timer.due += lag  # the loop is late
    clock.advance(0.1 + lag)
    watchdog.stop()
    assert len(heard.said) == said
    assert all("native code" in one for one in heard.said)


def test_a_stopped_watchdog_has_no_timer_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr(loop_watchdog.asyncio, "get_running_loop", lambda: clock)
    watchdog = LoopWatchdog()
    assert clock.waiting == 1
    watchdog.stop()
    assert clock.waiting == 0
    watchdog._thread.join(30)
    assert not watchdog._thread.is_alive()
