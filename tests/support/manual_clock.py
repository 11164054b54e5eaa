"""Time that stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ManualTimer:
    """What `ManualClock.call_later` returns: due at a time, unless it is cancelled."""

    def __init__(self, due: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.due = due
        self._function = function
        self._arguments = arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def fire(self) -> None:
        self._function(*self._arguments)


class ManualClock:
    """A `Clock`, and the timers of a loop that runs by it."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._timers: list[ManualTimer] = []

    def monotonic(self) -> float:
        return self._now

    def now_ms(self) -> int:
        return round(self._now * 1000)

    def call_later(self, delay: float, function: Callable[..., Any], *arguments: Any) -> ManualTimer:
        timer = ManualTimer(self._now + delay, function, arguments)
        self._timers.append(timer)
        return timer

    @property
    def waiting(self) -> int:
        """Timers that have yet to fire."""
        return sum(not timer.is_cancelled for timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Let time pass; what falls due on the way is called at its own time, the earliest first."""
        end = self._now + seconds
        while due := [timer for timer in self._timers if not timer.is_cancelled and timer.due <= end + 1e-9]:
            timer = min(due, key=lambda one: one.due)
            self._timers.remove(timer)
            self._now = max(self._now, timer.due)
            timer.fire()
        self._now = end
