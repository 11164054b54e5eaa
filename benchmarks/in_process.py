"""The engine alone, without server and sockets: for figures too small for the server's clock."""

from __future__ import annotations

import asyncio
import copy
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench_graphs import Graph, fresh_seed
from bench_nodes.nodes import BenchAddAsync, BenchCollect  # bench_workloads puts their folder on the path

from execution import Engine, NodeRegistry, PromptSubmission
from execution.events import Event, Outcome, PromptFinished
from nodes.packs.class_nodes import define_class_node


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
