"""Lines that are logged for every prompt, at less than half the price."""

import logging
import time
from typing import Any


class FrequentLine:
    """Logs at level INFO, always from one thread and, as records say it, from one place.

    Process, thread and place are found out once. A record made of them is what the logger would have made; where
    somebody had records made in another way, the logger does that itself.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._first: logging.LogRecord | None = None

    def say(self, message: str, *values: Any) -> None:
        logger = self._logger
        if not logger.isEnabledFor(logging.INFO):
            return
        if logging.getLogRecordFactory() is not logging.LogRecord:
            logger.info(message, *values, stacklevel=2)
            return
        first, now = self._first, time.time()
        if first is None:
            path, line, function, _ = logger.findCaller(stacklevel=2)
            first = self._first = logger.makeRecord(
                logger.name, logging.INFO, path, line, message, values, None, function)
        record = logging.LogRecord.__new__(logging.LogRecord)
        record.__dict__.update(first.__dict__)  # before a handler adds to it: `first` itself is never handled
        record.msg, record.args, record.created = message, values, now
        record.msecs = now % 1 * 1000
        record.relativeCreated = first.relativeCreated + (now - first.created) * 1000
        logger.handle(record)
