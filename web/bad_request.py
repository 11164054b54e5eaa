"""Errors that the web layer answers with; the middleware turns them into JSON."""

from collections.abc import Mapping
from typing import Any


class BadRequest(Exception):
    """The client's fault.

    :param error: `{"type", "message", "details", "extra_info"}`.
    """

    def __init__(self, kind: str, message: str, details: str = "", *, status: int = 400, **extra_info: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error: Mapping[str, Any] = {"type": kind, "message": message, "details": details,
                                         "extra_info": extra_info}


class JobRefused(Exception):
    """The same for jobs, whose refusals have a shape of their own: `{"error": TEXT}`.

    :param more: what the answer has beside `error`.
    """

    def __init__(self, text: str, status: int = 400, **more: Any) -> None:
        super().__init__(text)
        self.status = status
        self.answer = {"error": text, **more}
