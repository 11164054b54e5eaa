"""What is logged of prompts: each of them, up to as many as somebody could read."""

from __future__ import annotations

import logging

import pytest

from execution import Outcome, PromptFinished, PromptId, PromptQueued, PromptStarted
from web.log_setup import LINE, _ConsoleLine
from web.prompt_lines import MOST_LINES, PromptLines


def _queued(number: int) -> PromptQueued:
    return PromptQueued(prompt_id=PromptId(str(number)), client_id=None, number=number, prompt={}, extra_data={},
                        outputs=(), remaining=1)


def _ended(number: int, outcome: Outcome) -> PromptFinished:
    return PromptFinished(prompt_id=PromptId(str(number)), outcome=outcome, remaining=0, at=2500)


async def test_a_prompt_has_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    lines = PromptLines()
    with caplog.at_level(logging.INFO, "studio.prompts"):
        lines.take(_queued(1))
        lines.take(PromptStarted(prompt_id=PromptId("1"), remaining=1, at=1000))
        lines.take(_ended(1, Outcome.SUCCEEDED))
    lines.close()
    assert caplog.messages == ["got prompt", "Prompt executed in 1.50 seconds"]


async def test_beyond_what_can_be_read_they_are_counted_and_failures_told(caplog: pytest.LogCaptureFixture) -> None:
    lines = PromptLines()
    with caplog.at_level(logging.INFO, "studio.prompts"):
        for number in range(MOST_LINES + 5):
            lines.take(_queued(number))
        for number in range(3):
            lines.take(_ended(number, Outcome.SUCCEEDED))
        lines.take(_ended(4, Outcome.FAILED))
        assert caplog.messages == ["got prompt"] * MOST_LINES + ["Prompt failed after 0.00 seconds"]
        lines.close()
        assert caplog.messages[-1] == "in the same second: got 5 more prompts, executed 3 more"
        lines.close()
        assert len(caplog.messages) == MOST_LINES + 2


async def test_the_next_second_has_lines_again(caplog: pytest.LogCaptureFixture,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    lines = PromptLines()
    now = 100.0
    monkeypatch.setattr(lines._loop, "time", lambda: now)
    with caplog.at_level(logging.INFO, "studio.prompts"):
        for number in range(MOST_LINES + 2):
            lines.take(_queued(number))
        now += 1
        lines._tell_of_more()
        lines.take(_queued(0))
    assert caplog.messages[MOST_LINES:] == ["in the same second: got 2 more prompts, executed 0 more", "got prompt"]


def test_the_console_tells_the_second_of_each_line() -> None:
    line = _ConsoleLine(LINE, "%H:%M:%S")
    plain = logging.Formatter(LINE, "%H:%M:%S")
    record = logging.LogRecord("studio", logging.INFO, "a.py", 1, "text", (), None)
    for created in (1_700_000_000.2, 1_700_000_000.9, 1_700_000_001.0, 1_700_000_000.5):
        record.created = created
        assert line.format(record) == plain.format(record)
    assert line.formatTime(record, "%Y") == plain.formatTime(record, "%Y")
