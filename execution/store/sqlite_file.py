"""The database file: opened, checked, brought to the present form, and backed up before that."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from .job_store import StoreUnavailable, StoreUnusable

MIGRATIONS = Path(__file__).parent / "migrations"
LARGEST_CHECKED = 200 * 2**20
"""Bytes of a file that is checked as a whole after the process was killed."""
BUSY_SECONDS = 5.0


class FileHeld(StoreUnavailable):
    """Another program has the file, which may be over in a moment."""


def open_file(path: Path, migrations: Path = MIGRATIONS, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """The connection that writes, to a file in the present form. Whoever calls it is its only thread.

    :raises StoreUnusable: with a sentence.
    """
    was_there = path.exists() and path.stat().st_size > 0
    try:
        db = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreUnusable(f"the database {path} cannot be opened: {error}") from None
    try:
        if not was_there:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        _migrate(db, path, migrations, was_there)
        if was_there and not _was_closed(db) and path.stat().st_size <= LARGEST_CHECKED:
            _check(db, path)
        db.execute("INSERT OR REPLACE INTO facts VALUES ('is_closed', 0)")
    except sqlite3.OperationalError as error:
        db.close()
        raise StoreUnusable(f"the database {path} cannot be used: {trouble_of(error)}") from None
    except sqlite3.DatabaseError as error:
        db.close()
        raise StoreUnusable(damaged(path, str(error))) from None
    except StoreUnusable:
        db.close()
        raise
    return db


def close_file(db: sqlite3.Connection) -> None:
    """Say that all is well, and let go."""
    try:
        db.execute("INSERT OR REPLACE INTO facts VALUES ('is_closed', 1)")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        pass
    db.close()


def trouble_of(error: sqlite3.Error) -> StoreUnavailable:
    """What is in the way, in words."""
    text = str(error)
    if "full" in text:
        return StoreUnavailable(f"the disk is full ({text})")
    if "locked" in text or "busy" in text:
        return FileHeld(f"another program holds the database ({text})")
    return StoreUnavailable(f"the database cannot be written ({text})")


def damaged(path: Path, text: str) -> str:
    backups = sorted(path.parent.glob(f"{path.name}.v*.bak"), key=lambda backup: backup.stat().st_mtime_ns)
    advice = f"The newest backup is {backups[-1]}." if backups else "There is no backup of it."
    return (f"the database {path} is damaged ({text}). Nothing in it was changed. Move it away to start with an empty "
            f"queue and history, or put a backup in its place. {advice}")


def _was_closed(db: sqlite3.Connection) -> bool:
    row = db.execute("SELECT value FROM facts WHERE name = 'is_closed'").fetchone()
    return row is not None and row[0] == 1


def _check(db: sqlite3.Connection, path: Path) -> None:
    (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise StoreUnusable(damaged(path, str(said)))


def _migrate(db: sqlite3.Connection, path: Path, folder: Path, was_there: bool) -> None:
    """Bring the file from its version to the newest one, all or nothing."""
    steps = _steps_in(folder)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise StoreUnusable(
            f"the database {path} was written by a newer version of the server (its form is {version}, this one knows "
            f"{len(steps)}). Use that version, or move the file away to start with an empty queue and history.")
    if version == len(steps):
        return
    if was_there and version:
        with closing(sqlite3.connect(f"{path}.v{version}.bak")) as backup:
            db.backup(backup)
    db.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version + 1, len(steps) + 1):
            for statement in _statements(steps[number - 1].read_text(encoding="utf-8")):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(steps)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _steps_in(folder: Path) -> list[Path]:
    """The files of migrations, `0001_*.sql` first."""
    steps = sorted(folder.glob("*.sql"))
    for number, step in enumerate(steps, 1):
        if not re.match(f"{number:04}_", step.name):
            raise StoreUnusable(f"the migration {number:04} is missing in {folder}")
    return steps


def _statements(script: str) -> list[str]:
    found, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            found.append(begun)
            begun = ""
    return [*found, begun] if begun.strip() else found
