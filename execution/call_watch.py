"""Watches how long calls take: from their start, and since they told something last."""

import asyncio
from collections.abc import Callable

from .events import NodeError
from .node_context import NodeCall
from .run_rules import TimeLimits


class CallWatch:
    """Tells once if a call takes longer than it may.

    :param now: seconds by the clock by which `NodeCall.heard_at` is set.
    :param overdue: told of the call, and of what is to be said.
    """

    def __init__(self, call: NodeCall, limits: TimeLimits, now: Callable[[], float],
                 overdue: Callable[[NodeCall, NodeError], None]) -> None:
        self._call = call
        self._limits = limits
        self._now = now
        self._overdue = overdue
        self._began_at = call.heard_at = now()
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._call.has_ended or self._call.is_cancelled:
            return
        left = []
        for limit, since, sentence in (
                (self._limits.run_timeout, self._began_at, "It ran longer than the {:g} s that it may run."),
                (self._limits.idle_timeout, self._call.heard_at, "It told no progress for {:g} s.")):
            if not limit:
                continue
            left.append(since + limit - self._now())
            if left[-1] <= 0:
                self._overdue(self._call, NodeError(exception_type="execution.NodeTimedOut",
                                                    exception_message=sentence.format(limit) + "\n"))
                return
        self._timer = asyncio.get_running_loop().call_later(min(left), self._look)
