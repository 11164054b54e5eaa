"""Sleep, on a clock that only moves when somebody waits."""

import asyncio
from types import SimpleNamespace

import pytest

import nodes.timing
from nodes.timing import Sleep


class ManualClock:
    """Stands where `asyncio` does in nodes.timing."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def get_running_loop(self) -> SimpleNamespace:
        return SimpleNamespace(time=lambda: self.now)


@pytest.fixture
def clock(monkeypatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr(nodes.timing, "asyncio", clock)
    return clock


@pytest.mark.parametrize(("seconds", "most_ticks"), [(0.02, 1), (2.0, 41), (3600.0, 3601)])
async def test_sleep_waits_as_long_as_asked_and_shows_it(clock, engine, seconds, most_ticks):
    value = object()
    assert await Sleep().sleep(seconds, value, unique_id="7") == (value,)
    assert clock.now - 100 == pytest.approx(seconds)
    assert len(clock.waits) <= most_ticks
    assert all(0 < wait <= 1 for wait in clock.waits)
    (bar,) = engine.bars
    assert bar["node_id"] == "7"
    assert bar["total"] == seconds
    assert bar["values"] == sorted(bar["values"])
    assert bar["values"][-1] == pytest.approx(seconds)
    assert max(bar["values"]) <= seconds


async def test_sleep_of_nothing_neither_waits_nor_ticks(clock, engine):
    assert await Sleep().sleep(0.0) == (None,)
    assert (clock.waits, engine.bars) == ([], [])


@pytest.mark.parametrize("seconds", [-1.0, 3600.5, float("nan"), float("inf")])
async def test_sleep_refuses_what_it_cannot_wait_for(clock, seconds):
    with pytest.raises(ValueError, match="0 to 3600"):
        await Sleep().sleep(seconds)


async def test_sleep_ends_at_once_when_cancelled():
    sleeping = asyncio.create_task(Sleep().sleep(3600.0))
    await asyncio.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
