"""Lists of jobs, page by page: in the order of an index, so that a page of many costs no more than one of few.

What is open is not in those indices, since it changes often, and is never much: it is merged in. Deep in a list the
first row is found by one walk along the index, without sorting.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

from ..identifiers import PromptId
from .job_rows import COLUMNS, ENDED, entry_of
from .job_store import MOST_ENTRIES, HistoryEntry, JobOrder, JobQuery

T = TypeVar("T")

_LARGEST = 2**63 - 1
_SORTED_BY = {JobOrder.CREATED_AT: ("created_at", "jobs_by_creation"),
              JobOrder.DURATION: ("duration", "jobs_by_duration")}

_Place = tuple[Any, ...]
"""What jobs are sorted by, and the key of the row last."""


def find(db: sqlite3.Connection, query: JobQuery, function: Callable[[HistoryEntry], T]) -> tuple[list[T], int]:
    """What a function makes of each job on the page of a query, and how many jobs there are. Of the page, only a few
    entries are in memory at once."""
    if query.states == frozenset() or query.outcomes == frozenset():
        return [], 0
    condition, values = _condition_of(query)
    column, index = _SORTED_BY[query.order]
    sign = "-" if query.descending else ""
    with _one_moment(db):
        open_ones: list[_Place] = sorted(db.execute(
            f"SELECT {sign}{column}, rank, position, key FROM jobs WHERE rank < 2 AND is_newest = 1 {condition}",
            values))
        (ended_count,) = db.execute(
            f"SELECT count(*) FROM jobs INDEXED BY {'jobs_by_state' if _is_of_states_alone(query) else index} "
            f"WHERE rank = {ENDED} AND is_newest = 1 {condition}", values).fetchone()
        offset = min(query.offset, _LARGEST)
        begin = max(0, offset - len(open_ones))  # whatever is open may stand before this place, or behind it
        most = -1 if query.limit is None else min(query.limit + offset - begin, _LARGEST)
        window = _window_of_ended(db, query, begin, most, ended_count) if begin < ended_count else []
        end = None if query.limit is None else min(offset - begin + query.limit, _LARGEST)
        keys = [place[-1] for place in islice(merge(open_ones, window), min(offset - begin, _LARGEST), end)]
        return [function(entry) for entry in _entries_of(db, keys)], len(open_ones) + ended_count


def _is_of_states_alone(query: JobQuery) -> bool:
    return query.outcomes is None and query.workflow_id is None and query.client_id is None


def _window_of_ended(db: sqlite3.Connection, query: JobQuery, begin: int, most: int, total: int) -> list[_Place]:
    """Some of the ended jobs that a query means.

    :param begin: the place of the first one, less than the `total` of them.
    """
    condition, values = _condition_of(query)
    column, index = _SORTED_BY[query.order]
    sign, direction, onwards, before = ("-", "DESC", "<=", ">") if query.descending else ("", "ASC", ">=", "<")
    found = f"FROM jobs INDEXED BY {index} WHERE rank = {ENDED} AND is_newest = 1 {condition}"
    if begin:
        is_nearer_the_end = begin > total // 2
        walk = direction if not is_nearer_the_end else "ASC" if query.descending else "DESC"
        value, position = db.execute(
            f"SELECT {column}, position {found} ORDER BY {column} {walk}, position {walk} LIMIT 1 OFFSET ?",
            [*values, total - 1 - begin if is_nearer_the_end else begin]).fetchone()
        # What is equal to it was walked through in the order of the walk, which need not be that of their ends.
        (begin,) = db.execute(f"SELECT count(*) {found} AND {column} = ? AND position {before} ?",
                              [*values, value, position]).fetchone()
        found, values = f"{found} AND {column} {onwards} ?", [*values, value]
    return db.execute(f"SELECT {sign}{column}, rank, position, key {found} "
                      f"ORDER BY {column} {direction}, position, key LIMIT ? OFFSET ?",
                      [*values, most, begin]).fetchall()


@contextmanager
def _one_moment(db: sqlite3.Connection) -> Iterator[None]:
    """All that is read within is of the same moment, whatever is written meanwhile."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _condition_of(query: JobQuery) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    if query.states is not None:
        parts.append(f"AND state IN ({', '.join('?' * len(query.states))})")
        values += [state.value for state in sorted(query.states)]
    if query.outcomes is not None:
        parts.append(f"AND outcome IN ({', '.join('?' * len(query.outcomes))})")
        values += [outcome.value for outcome in sorted(query.outcomes)]
    for name, value in (("workflow_id", query.workflow_id), ("client_id", query.client_id)):
        if value is not None:
            parts.append(f"AND {name} = ?")
            values.append(value)
    return " ".join(parts), values


def _entries_of(db: sqlite3.Connection, keys: Sequence[int]) -> Iterator[HistoryEntry]:
    """In the order of the keys."""
    for begin in range(0, len(keys), 500):
        some = keys[begin:begin + 500]
        rows = {row[0]: row[1:] for row in db.execute(
            f"SELECT key, {COLUMNS} FROM jobs WHERE key IN ({', '.join('?' * len(some))})", some)}
        yield from (entry_of(rows[key]) for key in some if key in rows)


# -- history --------------------------------------------------------------------------------------------------------

_NEWEST_THAT_RAN = ("has_history = 1 AND NOT EXISTS (SELECT 1 FROM jobs AS later WHERE "
                    "later.prompt_id = jobs.prompt_id AND later.run > jobs.run AND later.has_history = 1)")


def history_of(db: sqlite3.Connection, prompt_id: PromptId) -> list[HistoryEntry]:
    """All runs of an id that ran, the newest first."""
    return [entry_of(row) for row in db.execute(
        f"SELECT {COLUMNS} FROM jobs WHERE prompt_id = ? AND has_history = 1 ORDER BY run DESC", (prompt_id,))]


def history_page(db: sqlite3.Connection, limit: int | None, offset: int | None) -> list[HistoryEntry]:
    """The newest run of each id, the one that ended first at the front: the last ones, or those from an offset on."""
    most = MOST_ENTRIES if limit is None else min(limit, MOST_ENTRIES)
    direction = "DESC" if offset is None else "ASC"
    keys = [key for key, in db.execute(
        f"SELECT key FROM jobs INDEXED BY jobs_in_history WHERE {_NEWEST_THAT_RAN} ORDER BY position {direction} "
        "LIMIT ? OFFSET ?", (most, min(offset or 0, _LARGEST)))]
    return list(_entries_of(db, keys[::-1] if offset is None else keys))
