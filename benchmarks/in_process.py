"""The engine alone, without server and sockets: for figures too small for the server's clock."""

from __future__ import annotations

import asyncio
import copy
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench_graphs import Graph, fresh_seed
from bench_nodes.nodes import BenchAddAsync, BenchCollect  # bench_workloads puts their folder on the path

from execution import DiskTier, Engine, NodeRegistry, PromptSubmission
from execution.events import Event, Outcome, PromptFinished
from nodes.packs.class_nodes import define_class_node
from nodes.plain_values import TensorForms


class PromptWatch:
    """Hears of every event, as a connected client does, and wakes who waits for the end of a prompt."""

    def __init__(self) -> None:
        self.finished = asyncio.Event()
        self.outcome: Outcome | None = None

    def take(self, event: Event) -> None:
        if isinstance(event, PromptFinished):
            self.outcome = event.outcome
            self.finished.set()


async def run_once(engine: Engine, watch: PromptWatch, graph: Graph) -> float:
    """Seconds from submitting to the end. The engine may change what it is given, so it gets a copy."""
    prompt = copy.deepcopy(graph.nodes)
    watch.finished.clear()
    begin = time.perf_counter()
    await engine.submit(PromptSubmission(prompt=prompt))
    await watch.finished.wait()
    assert watch.outcome is Outcome.SUCCEEDED, watch.outcome
    return time.perf_counter() - begin


async def cached_rerun(nodes: int, times: int) -> float:
    """Seconds for an unchanged chain again: the median of several."""
    registry = NodeRegistry()
    for node_class in (BenchAddAsync, BenchCollect):
        registry.add(define_class_node(node_class.__name__, node_class, "benchmark"))
    graph = Graph()
    graph.collect("end", [graph.chain("BenchAddAsync", fresh_seed(), nodes)])
    watch = PromptWatch()
    async with Engine(registry) as engine:
        engine.add_listener(watch.take)
        await run_once(engine, watch, graph)
        return statistics.median([await run_once(engine, watch, graph) for _ in range(times)])


class TypicalNode:
    """Declares about as much as nodes of packs do."""

    CATEGORY = "benchmark"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "mask")
    FUNCTION = "run"
    DESCRIPTION = "Scales and blends an image."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        size = {"default": 512, "min": 1, "max": 8192, "step": 8}
        return {
            "required": {
                "image": ("IMAGE", {"tooltip": "the image"}), "width": ("INT", size), "height": ("INT", size),
                "method": (["nearest", "bilinear", "bicubic", "lanczos", "area"], {"default": "area"}),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.01}),
                "flag": ("BOOLEAN", {"default": True}),
            },
            "optional": {"mask": ("MASK",), "prompt": ("STRING", {"multiline": True, "default": ""})},
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    def run(self, **inputs: Any) -> tuple[Any, ...]:
        return inputs["image"], inputs.get("mask")


async def object_info(nodes: int, times: int) -> tuple[float, float]:
    """Seconds of asking all classes again when none has changed, and of their INPUT_TYPES alone: the medians."""
    from web.node_routes import NodeCatalogue

    classes = [type(f"Typical{number}", (TypicalNode,), {}) for number in range(nodes)]
    registry = NodeRegistry()
    for node_class in classes:
        registry.add(define_class_node(node_class.__name__, node_class, "benchmark"))
    whole, alone = [], []
    async with Engine(registry) as engine:
        catalogue = NodeCatalogue(engine)
        first, tag = await catalogue.all()
        for _ in range(times):
            begin = time.perf_counter()
            again = await catalogue.all()
            whole.append(time.perf_counter() - begin)
            assert again == (first, tag)
            begin = time.perf_counter()
            for node_class in classes:
                node_class.INPUT_TYPES()
            alone.append(time.perf_counter() - begin)
    return statistics.median(whole), statistics.median(alone)


class SlowTensor:
    """Computes for a while, and hands a fresh tensor on."""

    RETURN_TYPES = ("TENSOR",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"seed": ("INT", {}), "seconds": ("FLOAT", {}), "megabytes": ("INT", {})},
                "optional": {"before": ("TENSOR",)}}

    def run(self, seed: int, seconds: float, megabytes: int, before: Any = None) -> tuple[Any]:
        import torch

        end = time.thread_time() + seconds  # of computing: what else runs meanwhile makes it longer
        made = torch.rand(megabytes * 2**18)
        while time.thread_time() < end:
            made[:10_000].add_(seed).cos_()
        return (made,)


class EndOfTensors:
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"tensor": ("TENSOR",)}}

    def run(self, tensor: Any) -> tuple[()]:
        return ()


async def slow_runs(nodes: int, seconds: float, megabytes: int, times: int) -> tuple[float, float, int]:
    """Seconds of a chain of nodes that take long, with a disk tier and without one, in turns: the medians. And how
    many outputs of the last run reached the disk."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    entries = 0
    for has_tier in (False, True) * times:
        with TemporaryDirectory() as folder:
            tier = DiskTier(Path(folder), TensorForms(), bound=2**31, keeps=True) if has_tier else None
            registry = NodeRegistry()
            for node_class in (SlowTensor, EndOfTensors):
                registry.add(define_class_node(node_class.__name__, node_class, "benchmark"))
            graph = Graph()
            for number in range(nodes):
                link = {"before": [str(number - 1), 0]} if number else {}
                graph.add(str(number), "SlowTensor", seed=fresh_seed(), seconds=seconds, megabytes=megabytes, **link)
            graph.add("end", "EndOfTensors", tensor=[str(nodes - 1), 0])
            watch = PromptWatch()
            async with Engine(registry, disk_tier=tier) as engine:
                engine.add_listener(watch.take)
                taken[has_tier].append(await run_once(engine, watch, graph))
            entries = len(list(Path(folder).glob("*/*"))) if has_tier else entries
    return statistics.median(taken[True]), statistics.median(taken[False]), entries
