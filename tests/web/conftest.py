"""Servers for the tests of the web layer."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.web.live_server import Live, serving


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with serving() as one:
        yield one


@pytest.fixture
def serve() -> Callable[..., AbstractAsyncContextManager[Live]]:
    """Makes servers with start options of their own."""
    return serving
