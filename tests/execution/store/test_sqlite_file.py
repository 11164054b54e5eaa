"""The file of the database: brought to the present form, and refused when it is not ours to use."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from execution import SqliteStore
from execution.store import StoreUnusable
from execution.store.sqlite_file import MIGRATIONS
from tests.execution.store.conftest import OpenSqlite
from tests.execution.store.told_jobs import P, Q, Telling, finished, names, queued

NEXT = len(list(MIGRATIONS.glob("*.sql"))) + 1


@pytest.fixture
def migrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ours that may be added to."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path_factory.mktemp("forms") / "migrations"))


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


async def opening(path: Path, **options: object) -> str:
    """What is said of a file that is refused."""
    store = SqliteStore(path, **options)  # type: ignore[arg-type]
    with pytest.raises(StoreUnusable) as caught:
        await store.open(asyncio.get_running_loop())
    return str(caught.value)


async def closed_with_a_job(opened: OpenSqlite) -> None:
    store, _ = await opened()
    await Telling(store)(queued(P), finished(P), queued(Q))
    await store.close()


# -- forms ----------------------------------------------------------------------------------------------------------


async def test_the_form_is_numbered_from_the_first_day(opened: OpenSqlite, path: Path) -> None:
    await opened()
    assert version_of(path) == NEXT - 1
    assert not list(path.parent.glob("*.bak")), "there was nothing to keep"


async def test_a_step_is_taken_after_a_backup_and_nothing_is_lost(opened: OpenSqlite, path: Path,
                                                                  migrations: Path) -> None:
    await closed_with_a_job(opened)
    (migrations / f"{NEXT:04}_colours.sql").write_text(
        "ALTER TABLE jobs ADD COLUMN colour TEXT;\nCREATE TABLE colours (name TEXT); -- the last one, without an end\n"
        "INSERT INTO colours VALUES ('red; blue')")
    store, leftovers = await opened(migrations=migrations)
    assert names(await store.entries()) == ["p"]
    assert [left.job.entry.prompt_id for left in leftovers.unfinished] == [Q]
    assert version_of(path) == NEXT
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM colours").fetchall() == [("red; blue",)]
    backup = path.with_name(f"{path.name}.v{NEXT - 1}.bak")
    assert version_of(backup) == NEXT - 1
    with closing(sqlite3.connect(backup)) as db:
        assert db.execute("SELECT prompt_id FROM jobs ORDER BY key").fetchall() == [("p",), ("q",)]


async def test_a_step_that_fails_leaves_the_file_as_it_was(opened: OpenSqlite, path: Path, migrations: Path) -> None:
    await closed_with_a_job(opened)
    before = dump(path)
    (migrations / f"{NEXT:04}_good.sql").write_text("ALTER TABLE jobs ADD COLUMN colour TEXT;")
    (migrations / f"{NEXT + 1:04}_bad.sql").write_text("CREATE TABLE more (x);\nINSERT INTO nowhere VALUES (1);")
    assert "nowhere" in await opening(path, migrations=migrations)
    assert (version_of(path), dump(path)) == (NEXT - 1, before)
    store, _ = await opened()
    assert names(await store.entries()) == ["p"]


async def test_a_step_that_is_missing_is_named(path: Path, migrations: Path) -> None:
    (migrations / f"{NEXT + 1:04}_later.sql").write_text("CREATE TABLE later (x);")
    assert f"{NEXT:04} is missing" in await opening(path, migrations=migrations)


async def test_a_file_of_a_newer_version_is_refused(opened: OpenSqlite, path: Path) -> None:
    await closed_with_a_job(opened)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {NEXT + 6}")
    before = dump(path)
    said = await opening(path)
    assert "newer version" in said
    assert str(path) in said
    assert (version_of(path), dump(path)) == (NEXT + 6, before)


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [line for line in db.iterdump() if "is_closed" not in line]


# -- files that are not to be used -----------------------------------------------------------------------------------


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("Dear diary, " * 1_000)
    said = await opening(path)
    assert "is damaged" in said
    assert "There is no backup of it." in said
    assert path.read_text() == "Dear diary, " * 1_000


async def test_a_file_with_bytes_written_over_is_refused_and_left_alone(opened: OpenSqlite, path: Path,
                                                                        tmp_path: Path) -> None:
    """It was not closed, so it is looked through."""
    store, _ = await opened()
    await Telling(store)(*(event for number in range(40) for event in (
        queued(f"{number}", prompt={"1": "x" * 2_000}), finished(f"{number}"))))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (tmp_path / "killed").mkdir()
    killed = tmp_path / "killed" / "jobs.db"
    content = bytearray(path.read_bytes())
    for page in range(3, len(content) // 4096 - 1, 2):
        content[page * 4096:page * 4096 + 200] = b"\xa5" * 200
    killed.write_bytes(content)
    (tmp_path / "killed" / "jobs.db.v10.bak").write_bytes(b"")
    said = await opening(killed)
    assert "is damaged" in said
    assert "jobs.db.v10.bak" in said
    assert killed.read_bytes() == content


async def test_a_file_that_another_program_holds_is_refused_by_a_sentence(opened: OpenSqlite, path: Path) -> None:
    await closed_with_a_job(opened)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "another program holds the database" in await opening(path, busy_seconds=0.05)
        other.execute("ROLLBACK")
    store, _ = await opened()
    assert names(await store.entries()) == ["p"]


async def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    assert "cannot be" in await opening(tmp_path / "nowhere" / "jobs.db")
