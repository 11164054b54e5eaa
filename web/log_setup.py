"""Where log lines go, and how many, as the start options say. Only the standard library is imported."""

import logging
import sys
from argparse import Namespace

from .start_options import DETAIL

LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure_logging(options: Namespace) -> None:
    """To the console, and to every file that `--verbose LEVEL FILE` names.

    :raises OSError: a file cannot be written; `filename` says which.
    """
    logging.addLevelName(DETAIL, "DETAIL")
    console = logging.StreamHandler(sys.stdout if options.log_stdout else sys.stderr)
    console.setLevel(options.verbose)
    handlers: list[logging.Handler] = [console]
    for level, path in options.log_files:
        file = logging.FileHandler(path.expanduser(), encoding="utf-8", errors="backslashreplace")
        file.setLevel(level)
        handlers.append(file)
    for handler in handlers:
        handler.setFormatter(_ConsoleLine(LINE, "%H:%M:%S") if handler is console else logging.Formatter(LINE))
    logging.basicConfig(level=min(handler.level for handler in handlers), handlers=handlers)


class _ConsoleLine(logging.Formatter):
    """Asks what time it is once a second: every prompt has two lines."""

    _shown: tuple[int, str | None, str] = (-1, None, "")
    """Seconds since the epoch, and how they are shown in a format. In one piece: lines come from any thread."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second, shown_as, text = self._shown
        if second != int(record.created) or shown_as != datefmt:
            text = super().formatTime(record, datefmt)
            self._shown = (int(record.created), datefmt, text)
        return text
