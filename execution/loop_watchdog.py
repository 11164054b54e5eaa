"""Notices when something holds the loop, and says what: a thread looks while it happens, and the loop itself looks
back afterwards, since native code that keeps the interpreter lock lets no thread look."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import FrameType

log = logging.getLogger("studio.watchdog")

LONGEST_LAG = 0.25
"""Seconds that the loop may be held."""
_BEAT = 0.1


class LoopWatchdog:
    """Logs the stack that holds the loop, with the name of the node or of its module.

    :param longest_lag: seconds above which it is said.
    """

    def __init__(self, longest_lag: float = LONGEST_LAG) -> None:
        self._longest_lag = longest_lag
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beat_at = time.monotonic()
        self._is_told = False
        self._stopped = threading.Event()
        self._timer = self._loop.call_later(_BEAT, self._beat)
        self._thread = threading.Thread(target=self._watch, name="studio-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._timer.cancel()

    def _beat(self) -> None:
        now = time.monotonic()
        lag = now - self._beat_at - _BEAT
        if lag > self._longest_lag and not self._is_told:
            log.warning("the loop was held for %.0f ms by native code that kept the interpreter lock", lag * 1000)
        self._beat_at = now
        self._is_told = False
        self._timer = self._loop.call_later(_BEAT, self._beat)

    def _watch(self) -> None:
        slept_at = time.monotonic()
        while not self._stopped.wait(_BEAT):
            now = time.monotonic()
            is_late_itself, slept_at = now - slept_at > 2 * _BEAT, now  # the whole process had to wait
            if now - self._beat_at - _BEAT <= self._longest_lag or self._is_told or is_late_itself:
                continue
            frame = sys._current_frames().get(self._loop_thread)
            if frame is not None and not _is_waiting(frame):
                self._is_told = True
                log.warning("the loop is held for more than %.0f ms by %s:\n%s", self._longest_lag * 1000,
                            holder_of(frame), "".join(traceback.format_stack(frame)))


def _is_waiting(frame: FrameType) -> bool:
    """Whether the loop itself waits for something to do, its timer being late for another reason."""
    return frame.f_code.co_filename.endswith(("runners.py", "selectors.py", "base_events.py"))


def holder_of(frame: FrameType | None) -> str:
    """Who a stack belongs to: the node that is being called, or else the innermost module that is not ours."""
    innermost = ""
    while frame is not None:
        call = frame.f_locals.get("call")
        definition = getattr(call, "definition", None)
        if frame.f_code.co_filename.endswith("node_caller.py") and definition is not None:
            return f"node {getattr(call, 'node_id', '?')} ({definition.class_type} of {definition.origin})"
        name = frame.f_globals.get("__name__", "")
        if not innermost and not name.startswith(("execution.", "asyncio", "web.")):
            innermost = name
        frame = frame.f_back
    return innermost or "code of its own"
