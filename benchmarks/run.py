#!/usr/bin/env python3
"""Measures this server: each figure beside its control, taken in the same run, and its limit.

    make bench
    make bench ARGS="--only chain --only scaling --runs 5"
    .venv/bin/python benchmarks/run.py --json figures.json

Starts the server by itself; one WebSocket client watches what it submits. Nothing here fails when a limit is
missed: figures of a busy machine say little, only a control of the same run makes them worth reading.
Progress goes to stderr, the table to stdout. To compare with another server, see PROTOCOL_BENCH.md.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_client import Server
from bench_workloads import settle
from figures import GROUPS, Bench, Sample
from studio_process import FLAGS_OF_THE_BARS, studio_process

TITLES = ("figure", "unit", "ours", "control", "ratio", "limit", "met?", "control is")


@dataclass(frozen=True)
class Row:
    """A figure over all runs: medians, and what was wrong with any of them."""

    group: str
    samples: list[Sample]

    @property
    def first(self) -> Sample:
        return self.samples[0]

    @property
    def ours(self) -> float | None:
        return median_of([sample.ours for sample in self.samples])

    @property
    def control(self) -> float | None:
        return median_of([sample.control for sample in self.samples])

    @property
    def problem(self) -> str:
        return next((sample.problem for sample in self.samples if sample.problem), "")

    @property
    def ratio(self) -> float | None:
        return self.ours / self.control if self.ours is not None and self.control else None

    @property
    def is_met(self) -> bool | None:
        if self.problem or self.ours is None:
            return False
        return self.first.bar.is_met(self.ours, self.control)

    def as_cells(self) -> list[str]:
        verdict = {True: "yes", False: "NO", None: ""}[self.is_met]
        if self.problem:
            verdict = f"WRONG: {self.problem}"
        raw = " ".join(shown(sample.ours) for sample in self.samples)
        ours = f"{shown(self.ours)} ({raw})" if len(self.samples) > 1 else shown(self.ours)
        first = self.first
        numbers = [ours, shown(self.control), shown(self.ratio)]
        return [first.name, first.unit, *numbers, str(first.bar), verdict, first.control_is]

    def as_json(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "figure": self.first.name,
            "unit": self.first.unit,
            "ours": self.ours,
            "control": self.control,
            "ratio": self.ratio,
            "limit": str(self.first.bar),
            "met": self.is_met,
            "problem": self.problem,
            "control_is": self.first.control_is,
            "raw": [sample.ours for sample in self.samples],
            "raw_control": [sample.control for sample in self.samples],
        }


def median_of(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None and value == value]
    return statistics.median(present) if present else None


def shown(value: float | None) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def leave_garbage_behind() -> None:
    """The clock is in this process, which has imported torch. Looking for garbage among a million objects, and among
    all that the groups before were told, would be taken for a tenth of a second of the server."""
    gc.collect()
    gc.freeze()


async def measure(bench: Bench, names: list[str], runs: int) -> list[Row]:
    taken: dict[tuple[str, str], list[Sample]] = {}
    begin = time.perf_counter()
    for number, name in [(number, name) for number in range(runs) for name in names]:
        tell(f"[{time.perf_counter() - begin:5.0f} s] run {number + 1} of {runs}: {name}")
        try:
            await settle(bench.server)
            leave_garbage_behind()
            samples = await GROUPS[name](bench)
        except Exception as error:  # one group that fails must not cost the figures of the others
            tell(traceback.format_exc())
            problem = f"{type(error).__name__}: {error}"
            samples = [Sample(f"the whole group {name}", None, "", problem=problem)]
        for sample in samples:
            taken.setdefault((name, sample.name), []).append(sample)
    return [Row(name, samples) for (name, _), samples in taken.items()]


def print_table(rows: list[Row]) -> None:
    lines = [list(TITLES), *(row.as_cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(TITLES))]
    for number, line in enumerate(lines):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    judged = [row for row in rows if row.is_met is not None]
    print(f"\n{sum(bool(row.is_met) for row in judged)} of {len(judged)} limits met")


def parse_arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument(
        "--only", action="append", choices=GROUPS, metavar="NAME",
        help=f"only this group of figures (repeatable): {', '.join(GROUPS)}",
    )
    parser.add_argument(
        "--skip", action="append", choices=GROUPS, metavar="NAME", default=[], help="not this group",
    )
    parser.add_argument("--runs", type=int, default=3, help="how often each group is measured (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here, raw ones too")
    parser.add_argument("--server-log", type=Path, metavar="FILE", help="where the servers write")
    return parser.parse_args()


async def main() -> None:
    arguments = parse_arguments()
    names = [name for name in (arguments.only or GROUPS) if name not in arguments.skip]
    async with (
        studio_process(*FLAGS_OF_THE_BARS, log=arguments.server_log) as studio,
        Server("ours", studio.url, studio.pid) as server,
    ):
        rows = await measure(Bench(studio, server, arguments.server_log), names, arguments.runs)
    if arguments.json:
        arguments.json.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")
    print_table(rows)


if __name__ == "__main__":
    asyncio.run(main())
