"""Folders of their own, and an engine that only takes notes, for tests that call nodes as plain functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import execution
from nodes.environment import Environment, environment


class EngineNotes:
    """What nodes told the engine, and when it asks them to stop."""

    Interrupted = type("Interrupted", (Exception,), {})

    def __init__(self) -> None:
        self.bars: list[dict[str, Any]] = []
        self.stop_after: int | None = None
        """How many more `check_interrupted` pass; None for all."""


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> EngineNotes:
    notes = EngineNotes()

    class NotedBar:
        def __init__(self, total: float, node_id: str | None = None) -> None:
            self.note = {"total": total, "node_id": node_id, "values": []}
            notes.bars.append(self.note)

        def update_absolute(self, value: float, total: float | None = None, preview: Any = None) -> None:
            self.note["values"].append(value)

    def check_interrupted() -> None:
        if notes.stop_after is not None:
            if notes.stop_after == 0:
                raise notes.Interrupted
            notes.stop_after -= 1

    monkeypatch.setattr(execution, "ProgressBar", NotedBar, raising=False)
    monkeypatch.setattr(execution, "check_interrupted", check_interrupted, raising=False)
    return notes


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """The environment, with its folders below `tmp_path`; `input` exists."""
    fresh = Environment()
    fresh.place_under(tmp_path)
    for name, value in vars(fresh).items():
        monkeypatch.setattr(environment, name, value)
    environment.input_directory.mkdir()
    return environment
