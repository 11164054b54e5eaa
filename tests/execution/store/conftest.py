from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from execution import JobStore, MemoryStore, SqliteStore
from execution.store import Leftovers
from execution.store.sqlite_file import MIGRATIONS
from tests.execution.store.told_jobs import Telling


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the database."""
    return tmp_path / "jobs.db"


class OpenSqlite(Protocol):
    async def __call__(self, **options: Any) -> tuple[SqliteStore, Leftovers]: ...


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[OpenSqlite]:
    """Opens the database; whatever is open in the end is closed."""
    async with AsyncExitStack() as stack:
        async def open_one(**options: Any) -> tuple[SqliteStore, Leftovers]:
            store = SqliteStore(path, **options)
            leftovers = await store.open(asyncio.get_running_loop())
            stack.push_async_callback(store.close)
            return store, leftovers

        yield open_one


@pytest.fixture(scope="session")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Folders with the migrations up to each number."""
    steps = sorted(MIGRATIONS.glob("*.sql"))
    made = []
    for number in range(len(steps) + 1):
        made.append(tmp_path_factory.mktemp(f"form-{number}-"))
        for step in steps[:number]:
            shutil.copy(step, made[-1])
    return made


@asynccontextmanager
async def any_store(kind: str, path: Path) -> AsyncIterator[JobStore]:
    store: JobStore = MemoryStore() if kind == "memory" else SqliteStore(path)
    await store.open(asyncio.get_running_loop())
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[JobStore]:
    """Each of the stores."""
    async with any_store(request.param, path) as made:
        yield made


@pytest.fixture
def told(store: JobStore) -> Telling:
    """Tells the store of events, and returns it."""
    return Telling(store)
