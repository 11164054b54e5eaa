"""Does nothing, on purpose: plain nodes run where no loop runs, and the real one breaks the server's loop."""

from typing import Any


def apply(loop: Any = None) -> None:
    """Needed by nobody here."""
