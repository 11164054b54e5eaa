"""Waiting for the end of a job, as requests do that want to answer with its result."""

import asyncio

from execution import Engine, Event, HistoryEntry, PromptDropped, PromptFinished, PromptId


class JobEnds:
    """One listener for all who wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[PromptId, set[asyncio.Future[None]]] = {}
        self._is_closed = False
        engine.add_listener(self._note, (PromptFinished, PromptDropped))

    async def entry_at_end(self, prompt_id: PromptId, seconds: float) -> HistoryEntry | None:
        """The job once it has ended; None if it has not after so many seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(prompt_id, set())
        waiting.add(future)
        try:
            entry = await self._engine.history.job(prompt_id)
            if entry is not None and entry.outcome is None and not self._is_closed:
                await asyncio.wait((future,), timeout=seconds)
                entry = await self._engine.history.job(prompt_id)
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(prompt_id) is waiting:
                del self._waiting[prompt_id]
        return None if entry is None or entry.outcome is None else entry

    def close(self) -> None:
        """Nobody waits any longer: the server stops, and jobs that have not ended are left to the next one."""
        self._is_closed = True
        for prompt_id in list(self._waiting):
            self._release(prompt_id)

    def _note(self, event: Event) -> None:
        self._release(event.prompt_id)  # type: ignore[attr-defined]

    def _release(self, prompt_id: PromptId) -> None:
        for future in self._waiting.pop(prompt_id, ()):
            if not future.done():
                future.set_result(None)
