"""Whole servers run on both loops: asyncio's own, and the one that is the default where it is installed."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

ON_BOTH_LOOPS = ("test_websocket.py", "test_transcripts.py", "test_first_pack.py")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> (
        Mapping[str, Callable[[], asyncio.AbstractEventLoop]]):
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in ON_BOTH_LOOPS:
        try:
            import uvloop
        except ImportError:
            return factories
        factories["uvloop"] = uvloop.new_event_loop
    return factories
