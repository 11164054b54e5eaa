"""Servers for the tests of the web layer."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio

from tests.web.live_server import Live, serving


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Live]:
    """One server for all tests of a module that ask for it: what one of them breaks, the next one sees."""
    async with serving() as one:
        yield one


@pytest.fixture
def serve() -> Callable[..., AbstractAsyncContextManager[Live]]:
    """Makes servers with start options of their own."""
    return serving


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The names that the system's resolver knows: none but what a test puts here. No test asks a real one."""
    known: dict[str, list[str]] = {}
    monkeypatch.setattr("web.loopback_names.addresses_of", lambda name: known.get(name, []))
    return known
