"""Time, as something that tests can hold still."""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...


class SystemClock:
    """The machine's own clock."""

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    monotonic = staticmethod(time.monotonic)
