"""What is measured: each group is an async function that returns figures with their controls and bars."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import bench_workloads
import controls
import in_process
import psutil
import store as store_alone
from bench_client import Client, Refused, Run, Server
from bench_graphs import Graph, fresh_seed
from bench_nodes.nodes import hash_megabytes  # bench_workloads puts their folder on the path
from bench_workloads import Context, finished_with, settle
from studio_process import FLAGS_OF_THE_BARS, StudioProcess, cpu_seconds, free_port, studio_process


@dataclass(frozen=True)
class Bar:
    """What a figure must not exceed: a multiple of its control, an amount above it, or a value of its own."""

    times: float | None = None
    above: float | None = None
    most: float | None = None
    aim: float | None = None  # in the terms of the limit; printed only

    def is_met(self, ours: float, control: float | None) -> bool | None:
        if self.most is not None:
            return ours <= self.most
        if control is None:
            return None
        if self.times is not None:
            return ours <= self.times * control
        return ours <= control + self.above if self.above is not None else None

    def __str__(self) -> str:
        aim = f" (aim {self.aim:g})" if self.aim is not None else ""
        if self.times is not None:
            return f"{self.times:g} x control{aim}"
        if self.above is not None:
            return f"control + {self.above:g}{aim}"
        return f"{self.most:g}{aim}" if self.most is not None else ""


NO_BAR = Bar()


@dataclass(frozen=True)
class Sample:
    """One figure of one run."""

    name: str
    ours: float | None
    unit: str
    control: float | None = None
    bar: Bar = NO_BAR
    control_is: str = ""
    problem: str = ""  # why the figure does not count: the outcome was wrong


@dataclass
class Bench:
    """What a group has at hand: the server with the flags of the bars, and where others log."""

    studio: StudioProcess
    server: Server
    log: Path | None = None

    @property
    def context(self) -> Context:
        return Context(self.server)


Group = Callable[[Bench], Awaitable[list[Sample]]]
GROUPS: dict[str, Group] = {}


def group(name: str) -> Callable[[Group], Group]:
    def register(function: Group) -> Group:
        GROUPS[name] = function
        return function

    return register


# --- the cost of a node ------------------------------------------------------------------


def chain_graph(class_type: str, length: int) -> tuple[Graph, int]:
    graph, seed = Graph(), fresh_seed()
    graph.collect("end", [graph.chain(class_type, seed, length)])
    return graph, seed + length


def expansion_graph(nodes: int) -> tuple[Graph, int]:
    graph, seed = Graph(), fresh_seed()
    graph.add("grow", "BenchExpand", value=seed, count=nodes)
    graph.collect("end", ["grow"])
    return graph, seed + nodes


def loop_graph(turns: int) -> tuple[Graph, int]:
    graph, seed = Graph(), fresh_seed()
    graph.add("grow", "BenchWhile", value=seed, limit=seed + turns)
    graph.collect("end", ["grow"])
    return graph, seed + turns


def outputs_graph(nodes: int) -> tuple[Graph, int]:
    """Output nodes side by side: each starts, shows something and ends, and clients are told of it all."""
    graph, seed = Graph(), fresh_seed()
    for number in range(nodes):
        graph.add(f"show{number}", "BenchShowAsync", value_0=seed + number)
    graph.add("end", "BenchShowAsync", value_0=seed)
    return graph, seed


@dataclass(frozen=True)
class Timing:
    """Seconds of one graph, run several times: the mean, as the server's clock counts whole milliseconds."""

    server: float
    client: float
    problem: str = ""


async def timing_of(bench: Bench, make: Callable[[], tuple[Graph, int]], repeats: int = 1) -> Timing:
    by_server, by_client, problem = [], [], ""
    async with bench.server.client() as client:
        for _ in range(repeats):
            graph, expected = make()
            try:
                run = await client.run(graph.nodes)
            except Refused as refusal:
                return Timing(float("nan"), float("nan"), str(refusal))
            ok, why = finished_with(run, "end", expected)
            problem = problem or ("" if ok else why)
            by_server.append(run.execution_server or run.execution_wall)
            by_client.append(run.wall)
            await settle(bench.server)
    return Timing(statistics.mean(by_server), statistics.mean(by_client), problem)


@group("chain")
async def chain(bench: Bench) -> list[Sample]:
    length = 1000
    tasks = statistics.median([await controls.awaiting_tasks(length) for _ in range(5)])
    hops = await controls.executor_hops(length)
    of_async = await timing_of(bench, lambda: chain_graph("BenchAddAsync", length), 3)
    of_plain = await timing_of(bench, lambda: chain_graph("BenchAdd", length), 3)
    scale = 1e6 / length
    return [
        Sample(
            "chain of 1,000 async nodes, server clock", of_async.server * scale, "us/node", tasks * scale,
            Bar(times=20, aim=10), "tasks that await each other", of_async.problem,
        ),
        Sample(
            "chain of 1,000 plain nodes, server clock", of_plain.server * scale, "us/node", hops * scale,
            Bar(times=2.5, aim=1.8), "bare run_in_executor hops", of_plain.problem,
        ),
    ]


# --- how cost grows ----------------------------------------------------------------------


MakeGraph = Callable[[int], tuple[Graph, int]]


async def growth(
    bench: Bench, name: str, make: MakeGraph, few: int, many: int, clock: str = "server"
) -> Sample:
    """Cost a piece in a large graph against that in a small one."""
    repeats = {few: max(3, min(10, many // few)), many: 2}
    taken = {}
    for count, times in repeats.items():
        taken[count] = await timing_of(bench, lambda count=count: make(count), times)
    small, large = (getattr(taken[count], clock) / count * 1e6 for count in (few, many))
    return Sample(
        f"{name}: {many:,} against {few:,}, {clock} clock", large, "us each", small, Bar(times=1.2),
        f"the same with {few:,}", taken[few].problem or taken[many].problem,
    )


async def cpu_of(bench: Bench, make: Callable[[], tuple[Graph, int]], repeats: int) -> tuple[float, str]:
    """Seconds of CPU that the server's process takes for one graph, whenever it takes them."""
    before = bench.studio.cpu_seconds()
    timing = await timing_of(bench, make, repeats)
    return (bench.studio.cpu_seconds() - before) / repeats, timing.problem


async def growth_of_cpu(bench: Bench, name: str, make: MakeGraph, few: int, many: int) -> Sample:
    """The same by CPU, all of it, less that of the smallest prompt. What has to be told and kept of a graph of less
    than 10 ms is told and kept when it has ended, and the server's clock does not see it."""
    nodes = 4 * many
    least, _ = await cpu_of(bench, lambda: make(1), 60)
    small, problem = await cpu_of(bench, lambda: make(few), nodes // few)
    large, second_problem = await cpu_of(bench, lambda: make(many), nodes // many)
    small, large = ((cpu - least) / count * 1e6 for cpu, count in ((small, few), (large, many)))
    return Sample(f"{name}: {many:,} against {few:,}, CPU of the server", large, "us each", small, Bar(times=1.2),
                  f"the same with {few:,}", problem or second_problem)


@group("scaling")
async def scaling(bench: Bench) -> list[Sample]:
    async_chain, plain_chain = (partial(chain_graph, name) for name in ("BenchAddAsync", "BenchAdd"))
    return [
        await growth(bench, "chain of async nodes", async_chain, 200, 2000),
        await growth(bench, "chain of plain nodes", plain_chain, 200, 2000),
        await growth_of_cpu(bench, "chain of async nodes", async_chain, 200, 2000),
        await growth_of_cpu(bench, "chain of plain nodes", plain_chain, 200, 2000),
        await growth(bench, "expansion", expansion_graph, 200, 2000),
        await growth(bench, "events of output nodes", outputs_graph, 200, 2000, "client"),
        await bytes_growth(bench, 200, 2000),
        await rerun_growth(200, 2000),
        await growth(bench, "turns of a loop by expansion", loop_graph, 100, 1000),
    ]


async def rerun_growth(few: int, many: int) -> Sample:
    small = await in_process.cached_rerun(few, 30) / few * 1e6
    large = await in_process.cached_rerun(many, 10) / many * 1e6
    name = f"cached rerun, in process: {many:,} against {few:,}"
    return Sample(name, large, "us each", small, Bar(times=1.2), f"the same with {few:,}")


async def bytes_growth(bench: Bench, few: int, many: int) -> Sample:
    """Bytes that one watching client is sent for a node."""
    sent = {}
    for count in (few, many):
        graph, _ = outputs_graph(count)
        frames = [frame async for frame in frames_of(bench.server, graph)]
        sent[count] = sum(len(json.dumps(frame)) for frame in frames) / count
    name = f"bytes sent to one client: {many:,} output nodes against {few:,}"
    return Sample(name, sent[many], "bytes/node", sent[few], NO_BAR, f"the same with {few:,}")


async def frames_of(server: Server, graph: Graph) -> AsyncIterator[dict[str, Any]]:
    """All text frames that a prompt makes the server send to its own client, the first status left out."""
    client_id = f"frames-{fresh_seed()}"
    url = f"{server.url}/ws?clientId={client_id}"
    async with server.session.ws_connect(url, max_msg_size=0) as socket:
        await socket.receive(timeout=10)
        await server.post("/prompt", {"prompt": graph.nodes, "client_id": client_id})
        while True:
            message = await socket.receive(timeout=60)
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            frame = json.loads(message.data)
            yield frame
            if frame["type"] == "executing" and frame["data"]["node"] is None:
                return


@group("expand")
async def expand(bench: Bench) -> list[Sample]:
    expansion = await timing_of(bench, lambda: expansion_graph(500), 3)
    plain = await timing_of(bench, lambda: chain_graph("BenchAdd", 500), 3)
    return [
        Sample(
            "subgraph of 500 nodes by expansion, server clock", expansion.server / 500 * 1e6, "us/node",
            plain.server / 500 * 1e6, Bar(times=1.5), "the same 500 as a plain chain",
            expansion.problem or plain.problem,
        ),
    ]


# --- what runs at the same time -------------------------------------------------------------


async def makespans(bench: Bench, workload: str, bars: dict[str, float]) -> list[Sample]:
    """The figures of a workload that come with an ideal time, each with its bar by name."""
    samples = []
    for figure in await bench_workloads.WORKLOADS[workload](bench.context):
        if figure.name in bars:
            samples.append(
                Sample(
                    figure.name, figure.value, figure.unit, figure.limit, Bar(times=bars[figure.name]),
                    "ideal", "" if figure.ok else figure.note or "wrong outcome",
                )
            )
    return samples


@group("wide")
async def wide(bench: Bench) -> list[Sample]:
    waiting = await makespans(bench, "wide-async", {"200 x 0.2 s": 1.06})
    await settle(bench.server)
    graph = await makespans(bench, "dag", {"500 nodes": 1.06})
    await settle(bench.server)
    mixed = await makespans(bench, "mixed", {"8 x I/O 0.5 s beside 5 x CPU 0.1 s": 1.05})
    return waiting + graph + mixed


@group("blocking")
async def blocking(bench: Bench) -> list[Sample]:
    return await makespans(
        bench, "wide-blocking", {"16 x blocking sleep 0.1 s": 1.1, "16 x hash 100 MB": 1.2}
    )


# --- is the server there meanwhile? ------------------------------------------------------------

RESPONSIVE_BARS = {"500 async nodes": 5, "sync nodes that sleep": 5, "sync nodes that compute": 20}


@group("responsive")
async def responsive(bench: Bench) -> list[Sample]:
    figures = {figure.name: figure for figure in await bench_workloads.WORKLOADS["responsive"](bench.context)}
    idle = figures["GET /queue, idle, p99"].value
    return [
        Sample(
            f"GET /queue p99 beside {kind}", figure.value, "ms", idle, Bar(most=most), "idle",
            "" if figure.ok else figure.note,
        )
        for kind, most in RESPONSIVE_BARS.items()
        if (figure := figures[f"GET /queue, {kind}, p99"])
    ]


@group("fanout")
async def fanout(bench: Bench) -> list[Sample]:
    figures = {figure.name: figure for figure in await bench_workloads.WORKLOADS["fanout"](bench.context)}
    alone = figures["1 subscriber, until all know"]
    return [
        Sample(
            f"{name}, until all know", figure.value, "s", alone.value, Bar(times=1.3), "one subscriber",
            "" if figure.ok else figure.note or "not all were told",
        )
        for name in ("100 subscribers", "100 subscribers and 10 that never read")
        if (figure := figures[f"{name}, until all know"])
    ]


@group("listeners")
async def listeners(bench: Bench) -> list[Sample]:
    """Two thousand steps of progress, 2 ms apart, before 200 sockets of which 50 never read."""
    alone, told_alone, _ = await bench_workloads._broadcast_run(bench.server, 1, 0, 30, 2000, 0.002)
    crowded, told, _ = await bench_workloads._broadcast_run(bench.server, 150, 50, 60, 2000, 0.002)
    problem = "" if (told_alone, told) == (1, 150) else f"{told} of 150 readers were told the end"
    return [Sample("2,000 steps before 150 readers and 50 that never read", crowded, "s", alone, Bar(times=1.1),
                   "one reader", problem)]


# --- many prompts ---------------------------------------------------------------------------------


@group("io-prompts")
async def io_prompts(bench: Bench) -> list[Sample]:
    """With the default flags, so on a server of its own."""
    async with studio_process(log=bench.log) as studio, Server("default flags", studio.url) as server:
        await settle(server)
        figure = (await bench_workloads.WORKLOADS["io-prompts"](Context(server)))[0]
    problem = "" if figure.ok else figure.note or "wrong outcome"
    name = "20 prompts that wait 0.5 s, default flags"
    return [Sample(name, figure.value, "s", 0.5, Bar(most=0.55), "ideal", problem)]


CLIENTS, PROMPTS_OF_EACH = 10, 30


def trivial_async_prompt() -> tuple[Graph, int]:
    graph, seed = Graph(), fresh_seed()
    graph.add("end", "BenchShowAsync", value_0=[graph.chain("BenchAddAsync", seed, 4), 0])
    return graph, seed + 4


def trivial_plain_prompt() -> tuple[Graph, int]:
    graph, seed = Graph(), fresh_seed()
    graph.collect("end", [graph.chain("BenchAdd", seed, 4)])
    return graph, seed + 4


def working_prompt() -> tuple[Graph, int]:
    """Four nodes that hash a megabyte each: a little work, for nodes that do something at all."""
    graph, seed = Graph(), fresh_seed()
    hashes = [graph.add(f"hash{number}", "BenchHash", seed=seed + number, megabytes=1) for number in range(4)]
    graph.collect("end", hashes)
    return graph, sum(hash_megabytes(seed + number, 1) for number in range(4))


PROMPTS_KEPT: dict[str, Callable[[], tuple[Graph, int]]] = {
    "5 trivial async nodes": trivial_async_prompt, "5 trivial plain nodes": trivial_plain_prompt,
    "4 hashes of 1 MB": working_prompt}


@dataclass(frozen=True)
class Load:
    milliseconds_of_cpu: float
    prompts_a_second: float
    p99_milliseconds: float
    problem: str


async def load_of(server: Server, process: psutil.Process, make: Callable[[], tuple[Graph, int]]) -> Load:
    """Ten clients, each with one prompt after the other; what one prompt costs the server's process."""
    problems = []

    async def one_client(times: int) -> list[float]:
        async with server.client() as client:
            return [await one_prompt(client) for _ in range(times)]

    async def one_prompt(client: Client) -> float:
        graph, expected = make()
        run: Run = await client.run(graph.nodes)
        # The control application shows the numbers of the run that it was recorded from.
        if run.outcome != "success" or not run.outputs:
            problems.append(f"ended with {run.outcome}")
        elif server.name != "control" and run.value("end") != expected:
            problems.append(f"expected {expected}, got {run.value('end')}")
        return run.wall

    await asyncio.gather(*(one_client(3) for _ in range(CLIENTS)))
    cpu, begin = cpu_seconds(process), time.perf_counter()
    walls = await asyncio.gather(*(one_client(PROMPTS_OF_EACH) for _ in range(CLIENTS)))
    seconds, cpu = time.perf_counter() - begin, cpu_seconds(process) - cpu
    count = CLIENTS * PROMPTS_OF_EACH
    p99 = bench_workloads.percentile(list(itertools.chain(*walls)), 0.99)
    return Load(cpu / count * 1e3, count / seconds, p99 * 1e3, problems[0] if problems else "")


@group("prompts")
async def prompts(bench: Bench) -> list[Sample]:
    samples = []
    for kind, make, hops in (("async", trivial_async_prompt, 0), ("plain", trivial_plain_prompt, 5)):
        ours = await load_of(bench.server, bench.studio.process, make)
        await settle(bench.server)
        async with (studio_process(*FLAGS_OF_THE_BARS, "--store", "memory") as studio,
                    Server("studio", studio.url) as server):
            in_memory = await load_of(server, studio.process, make)
        frames = await record_frames(bench.server, make()[0])
        async with without_engine(frames, hops) as (server, process):
            control = await load_of(server, process, make)
        control_is = "aiohttp alone, same frames" + (f", {hops} hops" if hops else "")
        problem = ours.problem or control.problem
        name = f"prompts of 5 trivial {kind} nodes"
        cpu, cpu_control = ours.milliseconds_of_cpu, control.milliseconds_of_cpu
        rate, rate_control = ours.prompts_a_second, control.prompts_a_second
        p99, p99_control = ours.p99_milliseconds, control.p99_milliseconds
        samples += [
            Sample(f"{name}, CPU", cpu, "ms/prompt", cpu_control, Bar(times=1.5), control_is, problem),
            # The control keeps nothing either.
            Sample(f"{name}, --store memory, CPU", in_memory.milliseconds_of_cpu, "ms/prompt", cpu_control,
                   Bar(times=1.5), control_is, problem or in_memory.problem),
            Sample(f"{name}, rate", rate, "prompts/s", rate_control, NO_BAR, control_is, problem),
            Sample(f"{name}, p99", p99, "ms", p99_control, NO_BAR, control_is, problem),
        ]
    return samples


@group("durable")
async def durable(bench: Bench) -> list[Sample]:
    """The same prompts with queue and history on the disk, and without."""
    milliseconds = {}
    problem = ""
    for place in ("disk", "memory"):
        async with (studio_process(*FLAGS_OF_THE_BARS, "--store", place) as studio,
                    Server("studio", studio.url) as server):
            for kind, make in PROMPTS_KEPT.items():
                load = await load_of(server, studio.process, make)
                milliseconds[kind, place] = 1e3 / load.prompts_a_second
                problem = problem or load.problem
    return [
        Sample(f"prompts of {kind}, on the disk", milliseconds[kind, "disk"], "ms/prompt", milliseconds[kind, "memory"],
               Bar(times=1 / 0.7), "--store memory", problem)
        for kind in PROMPTS_KEPT
    ]


@group("store")
async def store(bench: Bench) -> list[Sample]:
    """In this process, in a folder of its own."""
    return [Sample(figure.name, figure.value, figure.unit, None, Bar(most=figure.most))
            for figure in await store_alone.measure()]


async def record_frames(server: Server, graph: Graph) -> controls.FramesOfOnePrompt:
    frames = [frame async for frame in frames_of(server, graph)]
    return controls.FramesOfOnePrompt(frames, [frame for frame in frames if frame["type"] == "status"])


@contextlib.asynccontextmanager
async def without_engine(
    frames: controls.FramesOfOnePrompt, hops: int
) -> AsyncIterator[tuple[Server, psutil.Process]]:
    port = free_port()
    async with (
        controls.application_without_engine(frames, hops, port) as process,
        Server("control", f"http://127.0.0.1:{port}") as server,
    ):
        yield server, process


# --- nothing to do, and a lot to check ---------------------------------------------------------------


@group("cached")
async def cached(bench: Bench) -> list[Sample]:
    samples = []
    for figure in await bench_workloads.WORKLOADS["cached"](bench.context):
        bar = Bar(most=25) if figure.name.startswith("unchanged") else NO_BAR
        problem = "" if figure.ok else figure.note or "wrong outcome"
        samples.append(Sample(f"1,000 nodes, {figure.name}", figure.value, "ms", None, bar, "", problem))
    return samples


@group("validate")
async def validate(bench: Bench) -> list[Sample]:
    samples = []
    for figure in await bench_workloads.WORKLOADS["validate"](bench.context):
        branches = 1 if "line" in figure.name else 50
        graph = bench_workloads._failing_graph(branches, 5000 // branches)
        control = controls.json_loads(json.dumps({"prompt": graph.nodes}).encode()) * 1e3
        bar = NO_BAR if "invalid" in figure.name else Bar(most=40, aim=24)
        problem = "" if figure.ok else figure.note or "wrong outcome"
        name = f"POST of {figure.name}"
        samples.append(Sample(name, figure.value, "ms", control, bar, "json.loads of the body", problem))
    return samples


@group("object-info")
async def object_info(bench: Bench) -> list[Sample]:
    whole, alone = await in_process.object_info(500, 50)
    name = "object_info of 500 nodes that did not change, in process"
    return [Sample(name, whole * 1e3, "ms", alone * 1e3, Bar(above=5), "their INPUT_TYPES alone")]


@group("cancel")
async def cancel(bench: Bench) -> list[Sample]:
    figures = await bench_workloads.WORKLOADS["cancel"](bench.context)
    bars = {"async sleep of 30 s": Bar(most=10)}
    return [
        Sample(
            f"interrupt of {figure.name}", figure.value, "ms", None, bars.get(figure.name, NO_BAR), "",
            "" if figure.ok else figure.note,
        )
        for figure in figures
    ]


@group("image")
async def image(bench: Bench) -> list[Sample]:
    figure = (await bench_workloads.WORKLOADS["image"](bench.context))[0]
    name = "8 images through 10 torch operations, saved as PNG"
    problem = "" if figure.ok else figure.note or "wrong pixels"
    return [Sample(name, figure.value, "s", figure.limit, NO_BAR, "the bare work", problem)]


@group("disk-tier")
async def disk_tier(bench: Bench) -> list[Sample]:
    with_it, without, entries = await in_process.slow_runs(nodes=4, seconds=1.1, megabytes=64, times=2)
    problem = "" if entries == 4 else f"{entries} outputs reached the disk"
    name = "4 nodes of 1.1 s, 64 MB each, outputs to disk, in process"
    return [Sample(name, with_it, "s", without, Bar(times=1.05), "the same without a disk tier", problem)]


# --- starting, and memory ------------------------------------------------------------------------------


@group("start")
async def start(bench: Bench) -> list[Sample]:
    """On a server of its own, beside a process that imports torch and nothing else."""
    torch_alone = await asyncio.to_thread(controls.importing_torch)
    async with studio_process(*FLAGS_OF_THE_BARS, log=bench.log) as studio:
        await asyncio.sleep(1)
        idle = studio.megabytes()
    alone = "importing torch alone"
    seconds, megabytes = torch_alone.seconds, torch_alone.megabytes
    return [
        Sample("port open after process start", studio.port_open_after, "s", None, Bar(most=0.7)),
        Sample("/readyz 200 after process start", studio.ready_after, "s", seconds, Bar(above=1), alone),
        Sample("idle resident memory", idle, "MB", megabytes, Bar(above=80), alone),
    ]


@group("memory-of-many")
async def memory_of_many(bench: Bench) -> list[Sample]:
    """A thousand prompts of fresh tensors: caches, history and the log of events are bounded."""
    async with (
        studio_process(*FLAGS_OF_THE_BARS, log=bench.log) as studio,
        Server("memory", studio.url, studio.pid) as server,
    ):
        await settle(server)
        after_100 = 0.0
        async with server.client() as client:
            for number in range(1000):
                graph, seed = Graph(), fresh_seed()
                graph.add("tensor", "BenchTensor", seed=seed, megabytes=4)
                graph.add("end", "BenchTensorMean", tensor=["tensor", 0])
                await client.run(graph.nodes)
                if number == 99:
                    after_100 = studio.megabytes()
        return [Sample("resident after 1,000 prompts of a fresh tensor of 4 MB", studio.megabytes(), "MB", after_100,
                       Bar(times=1.15), "after 100 of them", "")]


@group("memory")
async def memory(bench: Bench) -> list[Sample]:
    """On a server of its own: by 100 tensors its cache of 256 MB is full."""
    async with (
        studio_process(*FLAGS_OF_THE_BARS, log=bench.log) as studio,
        Server("memory", studio.url, studio.pid) as server,
    ):
        await settle(server)
        figures = await bench_workloads.WORKLOADS["memory"](Context(server))
    before, after, ratio = figures
    problem = "" if ratio.ok else ratio.note or "wrong outcome"
    after_100 = after.value / ratio.value
    name = "resident after 300 tensors of 4 MB"
    return [
        Sample(name, after.value, "MB", after_100, Bar(times=1.1), "after 100 of them", problem),
        Sample("resident before", before.value, "MB", None, NO_BAR, "", problem),
    ]
