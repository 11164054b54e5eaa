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
