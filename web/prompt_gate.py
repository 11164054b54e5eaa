"""What stands between a submission and the engine: nothing, or what packs have put there."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from execution import Accepted, PromptSubmission

Submit = Callable[[PromptSubmission], Awaitable[Accepted]]


class PromptGate(Protocol):
    """Sees the body of a submission before it is read, and the submission before it is queued."""

    @property
    def wants_bodies(self) -> bool:
        """Whether `change_body` has something to do."""
        ...

    async def change_body(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body as it shall be read."""
        ...

    async def submit(self, submission: PromptSubmission, submit: Submit) -> Accepted:
        """Hand a submission on with `submit`.

        :raises PromptRejected: it cannot run.
        """
        ...


class OpenGate:
    """Lets everything through as it is."""

    wants_bodies = False

    async def change_body(self, body: dict[str, Any]) -> dict[str, Any]:
        return body

    async def submit(self, submission: PromptSubmission, submit: Submit) -> Accepted:
        return await submit(submission)
