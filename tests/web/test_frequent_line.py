"""Lines of every prompt: the same records as a logger makes, for less."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from web.frequent_line import FrequentLine
from web.log_setup import LINE, _ConsoleLine

_OF_A_MOMENT = {"created", "msecs", "relativeCreated", "lineno"}


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.message = "a handler writes into records"
        self.records.append(record)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("studio.tests.frequent")
    logger.setLevel(logging.INFO)
    handler, filters = _Kept(), list(logger.filters)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    logger.filters = filters


def _records(logger: logging.Logger) -> list[logging.LogRecord]:
    (handler,) = (one for one in logger.handlers if isinstance(one, _Kept))
    return handler.records


def test_a_record_is_what_the_logger_makes(logger: logging.Logger) -> None:
    line = FrequentLine(logger)
    line.say("first")
    line.say("took %.2f seconds", 1.234)
    logger.info("took %.2f seconds", 1.234)
    _, cheap, dear = _records(logger)
    assert cheap.getMessage() == "took 1.23 seconds"
    assert cheap.created <= dear.created < cheap.created + 60
    assert cheap.relativeCreated == pytest.approx(dear.relativeCreated, abs=60_000)
    assert 0 <= cheap.msecs < 1000
    assert _told(cheap) == _told(dear)


def _told(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OF_A_MOMENT}


def test_each_line_is_a_record_of_its_own(logger: logging.Logger) -> None:
    line = FrequentLine(logger)
    for text in ("one", "two"):
        line.say(text)
    first, second = _records(logger)
    assert first is not second
    assert (first.msg, second.msg) == ("one", "two")
    assert first.relativeCreated <= second.relativeCreated


def test_nothing_is_made_of_a_line_that_nobody_wants(logger: logging.Logger) -> None:
    line = FrequentLine(logger)
    logger.setLevel(logging.WARNING)
    line.say("not shown")
    logger.setLevel(logging.INFO)
    logger.addFilter(lambda record: record.msg != "filtered")
    line.say("filtered")
    line.say("shown")
    assert [record.msg for record in _records(logger)] == ["shown"]


def test_records_made_in_another_way_are_made_so(logger: logging.Logger) -> None:
    class Marked(logging.LogRecord):
        mark = "of a pack"

    line = FrequentLine(logger)
    line.say("before")
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Marked)
    try:
        line.say("then %d", 2)
    finally:
        logging.setLogRecordFactory(before)
    line.say("after")
    assert [getattr(record, "mark", None) for record in _records(logger)] == [None, "of a pack", None]
    assert [record.funcName for record in _records(logger)] == ["test_records_made_in_another_way_are_made_so"] * 3
    assert _records(logger)[1].getMessage() == "then 2"


def test_the_console_tells_the_second_of_each_line() -> None:
    line = _ConsoleLine(LINE, "%H:%M:%S")
    plain = logging.Formatter(LINE, "%H:%M:%S")
    record = logging.LogRecord("studio", logging.INFO, "a.py", 1, "text", (), None)
    for created in (1_700_000_000.2, 1_700_000_000.9, 1_700_000_001.0, 1_700_000_000.5):
        record.created = created
        assert line.format(record) == plain.format(record)
    assert line.formatTime(record, "%Y") == plain.formatTime(record, "%Y")
