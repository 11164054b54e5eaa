"""For every test: nothing may block the event loop, nothing may hang, and hypothesis does not time itself."""

import asyncio
import functools
import inspect
import os
import traceback
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import blockbuster as blockbuster_package
import pytest
from hypothesis import HealthCheck, settings

AsyncTest = Callable[..., Coroutine[Any, Any, None]]

ROOT = Path(__file__).resolve().parent.parent
SECONDS_FOR_A_TEST = 60
"""The outer guard of async tests. One that hangs beyond Python's reach is ended by faulthandler_timeout."""

LOOP_IS_GUARDED_IN = ("end_to_end", "web", "execution", "inference")
"""Folders of tests/ whose async tests fail when something blocks the loop."""
GUARDED_CODE = ("execution", "nodes", "web", "examples", "tests/packs")
"""Whose blocking counts: that of ours and of nodes, not that of a test that reads a file to compare with."""
IN_EVERY_STACK = ROOT / "execution" / "node_code.py"
"""It steps every task, those of tests too, so that its being in a stack says nothing."""
MAY_BLOCK = {
    "execution/store/sqlite_store.py": {"history_now"},  # for packs that ask on the loop, and cannot await
    "server.py": {"open_studio"},
    "nodes/packs/pack_shelf.py": {"import_beside_the_loop"},  # on a thread, where a stand-in looks like the loop
    "tests/support/studio.py": {"running_studio"},
    "aiohttp/web_urldispatcher.py": {"add_static"},
    "logging/__init__.py": {"emit"},
}
"""Start-up, and what a library cannot do otherwise: functions that may block, with all that they call."""

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


class BlockingCalls(list[str]):
    """Stacks of the calls that blocked the loop. A test that expects some looks, then clears the list."""


@pytest.fixture(autouse=True)
def blocking_calls(request: pytest.FixtureRequest,
                   monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingCalls]:
    """Fail an async test in which our code or a node blocks the loop, even if the error itself was caught."""
    seen = BlockingCalls()
    if not is_guarded(request.node):
        yield seen
        return

    class RecordedBlockingError(blockbuster_package.BlockingError):
        def __init__(self, function: str) -> None:
            super().__init__(function)
            seen.append(f"{self}\n{''.join(traceback.format_stack()[-8:-2])}")

    monkeypatch.setattr("blockbuster.blockbuster.BlockingError", RecordedBlockingError)
    guard = blockbuster_package.BlockBuster([folder(ROOT / name) for name in GUARDED_CODE],
                                            excluded_modules=[file(IN_EVERY_STACK)])
    for function in guard.functions.values():
        for filename, names in MAY_BLOCK.items():
            function.can_block_in(filename, names)
    guard.activate()
    try:
        yield seen
    finally:
        guard.deactivate()
    assert not seen, "the event loop was blocked:\n" + "\n".join(seen)


def is_guarded(item: pytest.Item) -> bool:
    where = item.path.relative_to(ROOT / "tests").parts
    return (where[0] in LOOP_IS_GUARDED_IN and isinstance(item, pytest.Function)
            and inspect.iscoroutinefunction(item.function) and item.get_closest_marker("may_block") is None)


def folder(path: Path) -> ModuleType:
    """How blockbuster wants to be told of a folder."""
    module = ModuleType(path.name)
    module.__path__ = [f"{path}{os.sep}"]
    return module


def file(path: Path) -> ModuleType:
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    return module


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = within_the_guard(item.obj)


def within_the_guard(test: AsyncTest) -> AsyncTest:
    @functools.wraps(test)
    async def guarded(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(SECONDS_FOR_A_TEST):
            await test(*args, **kwargs)

    return guarded
