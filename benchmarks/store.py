#!/usr/bin/env python3
"""The store alone: how fast it takes jobs, what the events of a prompt cost, how long a list of very many jobs takes.

    .venv/bin/python benchmarks/store.py
    .venv/bin/python benchmarks/store.py --jobs 20000

Or as the group `store` of `run.py`. The database is made in a temporary folder (`TMPDIR` says on which disk).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import msgspec

from execution import ClientId, JobOrder, JobQuery, JobState, NodeId, PromptId, events
from execution.events import Event, Outcome
from execution.store import HistoryEntry, NewJob, SqliteStore
from execution.store.open_jobs import OpenJobs
from execution.store.sqlite_changes import AddJob, WriteEvents
from execution.store.sqlite_file import close_file, open_file
from execution.store.sqlite_writer import Facts

JOBS = 100_000
PAGE = 50
STATES = (Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.FAILED, Outcome.INTERRUPTED)
"""How the jobs of the long list have ended, in turn."""
BYTES_OF_A_PROMPT = 3_000


class Figure(NamedTuple):
    name: str
    value: float
    unit: str
    most: float | None = None
    """What it must not exceed."""
    cpu_ms: float | None = None
    """Milliseconds of CPU of the process meanwhile, which say more when the machine is busy."""


def prompt_json() -> bytes:
    """A prompt of five nodes and about 3 KB."""
    nodes = {str(number): {"class_type": "Work", "inputs": {"text": "x" * (BYTES_OF_A_PROMPT // 5 - 60)}}
             for number in range(5)}
    return msgspec.json.encode(nodes)


PROMPT = prompt_json()


def new_job(number: int, created_at: int = 0) -> NewJob:
    entry = HistoryEntry(
        prompt_id=PromptId(f"{number:08}-benchmark"), client_id=ClientId("benchmark"), number=number,
        prompt=msgspec.Raw(PROMPT), extra_data={"create_time": created_at, "client_id": "benchmark"},
        outputs_wanted=[NodeId("4")], queued_at=created_at)
    return NewJob(entry=entry, submitted=PROMPT, content_key="0" * 64)


def events_of(job: NewJob, sequence: int, at: int, outcome: Outcome = Outcome.SUCCEEDED) -> list[Event]:
    """All that is told of a prompt of five nodes."""
    prompt_id, entry = job.entry.prompt_id, job.entry
    told: list[Event] = [
        events.PromptQueued(prompt_id=prompt_id, client_id=entry.client_id, number=entry.number,
                            prompt=msgspec.json.decode(PROMPT), extra_data=entry.extra_data,
                            outputs=entry.outputs_wanted, remaining=1),
        events.PromptStarted(prompt_id=prompt_id, remaining=1),
        events.NodesCached(prompt_id=prompt_id, nodes=[])]
    for number in range(5):
        node_id = NodeId(str(number))
        place = events.NodePlace(node_id, node_id, None, node_id)
        shown = {"images": [{"filename": "a_00001_.png", "subfolder": "", "type": "output"}]} if number == 4 else None
        told.append(events.NodeStarted(prompt_id=prompt_id, place=place))
        told.append(events.NodeFinished(prompt_id=prompt_id, place=place, ui=shown, is_output=number == 4))
    told.append(events.PromptFinished(prompt_id=prompt_id, outcome=outcome, remaining=0,
                                      executed=[NodeId(str(number)) for number in range(5)]))
    for offset, event in enumerate(told):
        event.at, event.sequence = at + offset, sequence + offset
    return told


EVENTS_OF_A_PROMPT = len(events_of(new_job(0), 1, 0))


# -- taking jobs and events -----------------------------------------------------------------------------------------


async def adds_a_second(folder: Path, concurrent: int, each: int) -> Figure:
    """Jobs that are on the disk, a second, by so many submitters that each wait for theirs."""
    store = SqliteStore(folder / f"adds-{concurrent}.db")
    await store.open(asyncio.get_running_loop())
    try:
        async def submit(first: int) -> None:
            for number in range(first, first + each):
                await store.add(new_job(number))

        begin = time.perf_counter()
        await asyncio.gather(*(submit(one * each) for one in range(concurrent)))
        seconds = time.perf_counter() - begin
    finally:
        await store.close()
    return Figure(f"jobs of 3 KB kept, {concurrent} at a time", concurrent * each / seconds, "a second")


async def cost_on_the_loop(folder: Path, times: int) -> Figure:
    """Of the events of a prompt, each taken, in three writes: arrival and start, nodes, end."""
    store = SqliteStore(folder / "loop.db")
    loop = asyncio.get_running_loop()
    await store.open(loop)
    taken = []
    try:
        for number in range(times):
            job = new_job(number)
            await store.add(job)
            told = events_of(job, 1 + number * 100, number)
            done: asyncio.Future[None] = loop.create_future()
            begin = time.thread_time()
            for part in (told[:3], told[3:-1], told[-1:]):
                for event in part:
                    store.take(event)
                store.write(part, lambda trouble, last=part[-1], done=done:  # type: ignore[misc]
                            done.set_result(None) if isinstance(last, events.PromptFinished) else None)
            taken.append(time.thread_time() - begin)
            await done
    finally:
        await store.close()
    return Figure(f"{EVENTS_OF_A_PROMPT} events of a prompt, on the loop's thread", median_us(taken), "us")


def cost_on_the_writer(folder: Path, times: int) -> list[Figure]:
    """Of the same, on the thread that writes, without waiting for the disk."""
    db = open_file(folder / "writer.db")
    jobs, rows = [], []
    for number in range(times):
        job = new_job(number)
        db.execute("BEGIN IMMEDIATE")
        jobs.append(seconds_of(lambda job=job: AddJob(job).apply(db, Facts())))  # type: ignore[misc]
        told = events_of(job, 1 + number * 100, number)
        entries = folded(OpenJobs(), told)
        change = WriteEvents(told, {job.entry.prompt_id: job.entry.client_id}, entries)
        rows.append(seconds_of(lambda change=change: change.apply(db, Facts())))  # type: ignore[misc]
        db.execute("COMMIT")
    close_file(db)
    return [Figure("a job of 3 KB, on the writer's thread", median_us(jobs), "us"),
            Figure(f"{EVENTS_OF_A_PROMPT} events of a prompt, on the writer's thread", median_us(rows), "us")]


def folded(open_jobs: OpenJobs, told: Sequence[Event]) -> dict[int, HistoryEntry]:
    return {event.sequence: entry for event in told if (entry := open_jobs.take(event)) is not None}


def seconds_of(function: Callable[[], object]) -> float:
    begin = time.thread_time()
    function()
    return time.thread_time() - begin


def median_us(seconds: Sequence[float]) -> float:
    return statistics.median(seconds) * 1e6


# -- long lists -------------------------------------------------------------------------------------------------------


def fill(path: Path, jobs: int) -> None:
    """Make a database of so many jobs that have ended; each hundredth is of the workflow `w`."""
    db = open_file(path)
    db.execute("PRAGMA synchronous = OFF")
    sequence = 1
    for batch in in_batches(jobs, 5_000):
        facts = Facts()
        db.execute("BEGIN IMMEDIATE")
        for number in batch:
            # Three jobs in a millisecond: some are equal in what they are sorted by.
            at = 1_700_000_000_000 + number // 3
            job = new_job(number, at)
            if number % 100 == 0:
                job.entry.extra_data = {**job.entry.extra_data, "extra_pnginfo": {"workflow": {"id": "w"}}}
            told = events_of(job, sequence, at, STATES[number % len(STATES)])
            told[-1].at += number % 1_000
            sequence = told[-1].sequence + 1
            AddJob(job).apply(db, facts)
            told = [told[0], told[1], told[-1]] if number % 100 else told  # the log is not what is measured
            WriteEvents(told, {}, folded(OpenJobs(), told)).apply(db, facts)
        facts.write(db)
        db.execute("COMMIT")
    close_file(db)


def in_batches(count: int, size: int) -> Iterator[range]:
    for first in range(0, count, size):
        yield range(first, min(first + size, count))


def pages(jobs: int) -> dict[str, JobQuery]:
    """The pages that are asked for."""
    deep = jobs // 2
    failed, ended = frozenset({JobState.FAILED}), frozenset({JobState.COMPLETED, JobState.FAILED})
    return {
        "first page": JobQuery(limit=PAGE),
        "first page, oldest first": JobQuery(limit=PAGE, descending=False),
        "page in the middle": JobQuery(limit=PAGE, offset=deep),
        "last page": JobQuery(limit=PAGE, offset=jobs - PAGE),
        "first page of failed ones": JobQuery(limit=PAGE, states=failed),
        "last page of failed ones": JobQuery(limit=PAGE, states=failed, offset=jobs // 5 - PAGE),
        "page in the middle of two states": JobQuery(limit=PAGE, states=ended, offset=deep),
        "first page of pending ones (none)": JobQuery(limit=PAGE, states=frozenset({JobState.PENDING})),
        "first page by duration": JobQuery(limit=PAGE, order=JobOrder.DURATION),
        "page in the middle by duration": JobQuery(limit=PAGE, order=JobOrder.DURATION, offset=deep),
        "page in the middle by duration, one state": JobQuery(limit=PAGE, order=JobOrder.DURATION, states=failed,
                                                              offset=jobs // 10),
        "first page of a workflow": JobQuery(limit=PAGE, workflow_id="w"),
    }


async def long_lists(folder: Path, jobs: int, times: int) -> list[Figure]:
    path = folder / "long.db"
    await asyncio.to_thread(fill, path, jobs)
    store = SqliteStore(path)
    await store.open(asyncio.get_running_loop())
    try:
        figures = []
        for name, query in pages(jobs).items():
            ask = partial(store.find_jobs, query)
            figures.append(await asked(f"{name} of {jobs:,} jobs", ask, times, 20))
        whole = f"history of {min(jobs, 10_000):,} of {jobs:,} jobs, read"
        figures.append(await asked(whole, store.entries, max(times // 3, 3)))
        figures.append(await asked("history of 50, read", lambda: store.entries(PAGE), times))
        found = PromptId(f"{jobs // 2:08}-benchmark")
        figures.append(await asked("one job", lambda: store.job(found), times))
    finally:
        await store.close()
    figures.append(Figure(f"bytes on the disk for a job of {jobs:,}", os.path.getsize(path) / jobs, "bytes"))
    return figures


async def asked(name: str, ask: Callable[[], Awaitable[Any]], times: int, most: float | None = None) -> Figure:
    """Medians of several times."""
    seconds, of_cpu = [], []
    for _ in range(times):
        begin, cpu = time.perf_counter(), time.process_time()
        await ask()
        seconds.append(time.perf_counter() - begin)
        of_cpu.append(time.process_time() - cpu)
    return Figure(name, statistics.median(seconds) * 1e3, "ms", most, statistics.median(of_cpu) * 1e3)


# -- all of it --------------------------------------------------------------------------------------------------------


async def measure(jobs: int = JOBS, times: int = 15) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="store-benchmark-") as name:
        folder = Path(name)
        return [await adds_a_second(folder, 1, 300), await adds_a_second(folder, 16, 150),
                await cost_on_the_loop(folder, 300), *await asyncio.to_thread(cost_on_the_writer, folder, 300),
                *await long_lists(folder, jobs, times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"how many the long list has (default {JOBS:,})")
    parser.add_argument("--times", type=int, default=15, help="how often each page is asked for (default 15)")
    arguments = parser.parse_args()
    for figure in asyncio.run(measure(arguments.jobs, arguments.times)):
        limit = ""
        if figure.most is not None:
            limit = f"   limit {figure.most:g}: {'yes' if figure.value <= figure.most else 'NO'}"
        cpu = "" if figure.cpu_ms is None else f" ({figure.cpu_ms:.2f} of CPU)"
        print(f"{figure.name:60} {figure.value:12,.2f} {figure.unit}{cpu}{limit}")


if __name__ == "__main__":
    main()
