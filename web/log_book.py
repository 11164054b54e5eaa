"""The last lines that the server logged or printed, for whoever looks at them in a browser.

Lines come from any thread. Whoever listens is called on the thread that logs, must not wait, and must not log.
"""

import logging
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TextIO

from msgspec import Struct

MOST_LINES = 300
LONGEST_LINE = 10_000
"""Characters of one entry; more is cut."""


class LogLine(Struct, frozen=True):
    """One entry, in the words of the wire."""

    t: str
    """When, in ISO format, local time."""
    m: str
    """What, with its end of line."""


Listener = Callable[[LogLine], None]


class LogBook(logging.Handler):
    """A handler of the standard library's logging that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_LineFormat())
        self._lines: deque[LogLine] = deque(maxlen=MOST_LINES)
        self._listeners: tuple[Listener, ...] = ()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.write_down(f"{self.format(record)}\n")
        except Exception:
            self.handleError(record)

    def write_down(self, text: str) -> None:
        if len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]}…\n"
        line = LogLine(datetime.now().isoformat(), text)
        self._lines.append(line)
        for listener in self._listeners:
            listener(line)

    def lines(self) -> list[LogLine]:
        """Those that are kept, oldest first."""
        return list(self._lines)

    def add_listener(self, listener: Listener) -> None:
        self._listeners = (*self._listeners, listener)

    def remove_listener(self, listener: Listener) -> None:
        self._listeners = tuple(one for one in self._listeners if one != listener)

    @contextmanager
    def kept_from_logging(self) -> Iterator["LogBook"]:
        """Everything that is logged meanwhile is written down."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield self
        finally:
            root.removeHandler(self)

    @contextmanager
    def kept_from_printing(self) -> Iterator["LogBook"]:
        """Everything that is printed meanwhile is written down, too, and still printed: packs print a lot.

        Handlers that write to the standard streams keep those that they have, so what they log comes once.
        """
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Overheard(sys.stdout, self), _Overheard(sys.stderr, self)
        try:
            yield self
        finally:
            sys.stdout, sys.stderr = before


def terminal_size() -> dict[str, int]:
    """How wide and high the terminal of the server is, in characters."""
    columns, lines = shutil.get_terminal_size()
    return {"cols": columns, "rows": lines}


class _LineFormat(logging.Formatter):
    """The message alone, with its level when something is wrong."""

    def format(self, record: logging.LogRecord) -> str:
        is_more = record.exc_info or record.exc_text or record.stack_info
        text = super().format(record) if is_more else record.getMessage()
        return text if record.levelno < logging.WARNING else f"{record.levelname}: {text}"


class _Overheard:
    """A text stream whose lines go into the book, too."""

    def __init__(self, stream: TextIO, book: LogBook) -> None:
        self._stream = stream
        self._book = book
        self._unfinished = ""
        self._turn = threading.Lock()

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        with self._turn:
            self._unfinished += text
            *lines, self._unfinished = self._unfinished.split("\n")
            if len(self._unfinished) > LONGEST_LINE:
                lines.append(self._unfinished)
                self._unfinished = ""
        for line in lines:
            # A progress bar paints over its line again and again: what it painted last is the line.
            self._book.write_down(f"{line.rstrip(chr(13)).rpartition(chr(13))[2]}\n")
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
