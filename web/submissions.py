"""What comes in to be queued: once for each idempotency key, and no more than may wait."""

import asyncio
from collections.abc import Callable

from execution import Accepted, Engine, EngineClosed, PromptSubmission

from .bad_request import BadRequest
from .prompt_gate import PromptGate


class QueueFull(Exception):
    """As many prompts wait as may."""


class Submissions:
    """Hands submissions to the engine, by way of the gate.

    :param gate: asked each time, since packs may have put another one there.
    :param most_waiting: prompts that may wait; 0 for any number.
    """

    def __init__(self, engine: Engine, gate: Callable[[], PromptGate], most_waiting: int) -> None:
        self._engine = engine
        self._gate = gate
        self._most_waiting = most_waiting
        self._coming = 0
        """Those that are checked now, and will wait."""
        self._keyed: dict[str, tuple[str | None, asyncio.Future[Accepted]]] = {}
        """Content and answer of what is on its way, by idempotency key."""

    async def accept(self, submission: PromptSubmission) -> Accepted:
        """Queue a prompt, or find the one that was queued under the same idempotency key.

        :raises BadRequest: its key belongs to another body.
        :raises QueueFull: it would be one too many.
        :raises PromptRejected: it cannot run.
        """
        key = submission.idempotency_key
        if key is None:
            return await self._queue(submission)
        known = self._keyed.get(key)
        if known is not None:
            content_key, answer = known
            _refuse_another_body(content_key, submission)
            return await asyncio.shield(answer)
        answer = asyncio.get_running_loop().create_future()
        self._keyed[key] = submission.content_key, answer
        try:
            accepted = await self._find(key, submission) or await self._queue(submission)
        except BaseException as error:
            answer.set_exception(error if isinstance(error, Exception) else EngineClosed())
            answer.exception()  # nobody may be waiting for it
            raise
        finally:
            del self._keyed[key]
        answer.set_result(accepted)
        return accepted

    async def _find(self, key: str, submission: PromptSubmission) -> Accepted | None:
        """The answer that was given to this key before, if the store has its job."""
        job = await self._engine.history.job_of_key(key)
        if job is None:
            return None
        _refuse_another_body(job.content_key, submission)
        return Accepted(prompt_id=job.entry.prompt_id, number=job.entry.number, node_errors=job.node_errors)

    async def _queue(self, submission: PromptSubmission) -> Accepted:
        is_known = submission.prompt_id is not None and self._engine.is_admitted(submission.prompt_id)
        if self._most_waiting and not is_known and self._engine.waiting + self._coming >= self._most_waiting:
            raise QueueFull

        async def submit(put: PromptSubmission) -> Accepted:
            if put is not submission and put.prompt_id == submission.prompt_id:  # a pack has made it anew
                put.idempotency_key, put.content_key = submission.idempotency_key, submission.content_key
                put.retry_of, put.rules = submission.retry_of, submission.rules
                put.end_notice = submission.end_notice
            return await self._engine.submit(put)

        self._coming += 1
        try:
            return await self._gate().submit(submission, submit)
        finally:
            self._coming -= 1


def _refuse_another_body(content_key: str | None, submission: PromptSubmission) -> None:
    if content_key != submission.content_key:
        raise BadRequest("idempotency_key_in_use", "This Idempotency-Key came with another body before.", status=409)
