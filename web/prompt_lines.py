"""Log lines of prompts: that they came, and how they ended. Of hundreds a second nobody reads one each."""

import asyncio
import logging

from execution import Event, Outcome, PromptFinished, PromptQueued, PromptStarted

log = logging.getLogger("studio.prompts")

MOST_LINES = 40
"""In a second. Of what comes beyond that one line is logged at the end of the second; what went wrong has its own."""
ENDINGS = {Outcome.SUCCEEDED: "executed in", Outcome.FAILED: "failed after",
            Outcome.PARTLY_SUCCEEDED: "partly executed in", Outcome.INTERRUPTED: "interrupted after",
            Outcome.CANCELLED: "cancelled after", Outcome.POISONED: "given up after"}


class PromptLines:
    """Logs when prompts come and how long they took. A listener of the engine, for events of `KINDS`, on its loop."""

    KINDS = (PromptQueued, PromptStarted, PromptFinished)

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started_at: dict[str, int] = {}
        self._second_began = -1.0
        self._lines = 0
        self._more_came = 0
        self._more_executed = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, event: Event) -> None:
        kind = event.__class__
        if kind is PromptQueued:
            if self._has_room():
                log.info("got prompt")
            else:
                self._more_came += 1
        elif kind is PromptStarted:
            self._started_at[event.prompt_id] = event.at  # type: ignore[attr-defined]
        elif kind is PromptFinished:
            assert isinstance(event, PromptFinished)
            started_at = self._started_at.pop(event.prompt_id, event.at)
            if event.outcome is Outcome.SUCCEEDED and not self._has_room():
                self._more_executed += 1
            else:
                log.info("Prompt %s %.2f seconds", ENDINGS[event.outcome], (event.at - started_at) / 1000)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._tell_of_more()

    def _has_room(self) -> bool:
        """Whether one more line may be logged now; else what it would say is to be counted."""
        now = self._loop.time()
        if now - self._second_began >= 1:
            self._second_began, self._lines = now, 0
        self._lines += 1
        if self._lines <= MOST_LINES:
            return True
        if self._timer is None:
            self._timer = self._loop.call_later(self._second_began + 1 - now, self._tell_of_more)
        return False

    def _tell_of_more(self) -> None:
        self._timer = None
        log.info("in the same second: got %d more prompts, executed %d more", self._more_came, self._more_executed)
        self._more_came = self._more_executed = 0
