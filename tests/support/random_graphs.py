"""Prompts that nobody would write by hand: hypothesis strategies for graphs, and the classes that they are made of."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from execution import NodeDefinition, PromptScope
from execution.identifiers import ClientId, NodeId, PromptId
from execution.prompt_graph import is_link
from execution.resource_pools import ResourcePools
from execution.stimuli import PromptSubmitted
from execution.validation import check_graph, conclude, read_graph
from tests.support.node_definitions import AnythingGoes, define, registry_of

OUTPUTS_OF_A_NODE = 2
LAZY = ("lazy_x", "lazy_y")
"""Inputs of the lazy classes that are evaluated when they are asked for."""
POOLS = {"gpu": 1, "cpu": 2, "disk": 3}


async def _awaits(**_: Any) -> None:
    raise AssertionError("the scheduler never calls a node")


def _computes(**_: Any) -> None:
    raise AssertionError("the scheduler never calls a node")


def _classes() -> dict[str, NodeDefinition]:
    two = {"outputs": ("*",) * OUTPUTS_OF_A_NODE}

    class WithLazyInputs(AnythingGoes):
        def __getitem__(self, name: str) -> Any:
            return ("*", {"lazy": name in LAZY})

    class WithRawLink(AnythingGoes):
        def __getitem__(self, name: str) -> Any:
            return ("*", {"raw_link": name == "a"})

    lazy = {"optional": WithLazyInputs(), "lazy_check": _computes, **two}
    return {one.class_type: one for one in (
        define("Async", _awaits, retries=1, **two),
        define("Plain", _computes, retries=2, **two),
        define("Cpu", _computes, needs={"cpu": 1}, **two),
        define("Wide", _computes, needs={"cpu": 2, "disk": 1}, **two),
        define("Both", _computes, needs={"cpu": 1, "gpu": 1}, **two),
        define("Unlimited", _computes, needs={}, **two),
        define("AsyncDisk", _awaits, needs={"disk": 2}, **two),
        define("Private", _awaits, is_shareable=False, **two),
        define("Named", _computes, has_own_identity=True, **two),
        define("Lazy", _awaits, **lazy),
        define("PlainLazy", _computes, **lazy),
        define("CheckedApart", _computes, **{**lazy, "lazy_check": _awaits}),
        define("Raw", _awaits, optional=WithRawLink(), **two),
        define("Watched", _awaits, fingerprint=_awaits, **two),
        define("Expander", _awaits, **two),
        define("PlainExpander", _computes, **two),
        define("Show", _awaits, is_output=True, **two),
        define("PlainShow", _computes, is_output=True, **two),
    )}


CLASSES = _classes()
REGISTRY = registry_of(CLASSES.values())
EXPANDERS = ("Expander", "PlainExpander")
SHOWING = ("Show", "PlainShow")
SIMPLE = ("Async", "Plain", "Cpu", "Wide", "Both", "Unlimited", "AsyncDisk", "Lazy", "PlainLazy", "CheckedApart",
          "Raw")

_CONSTANTS = st.sampled_from([0, 1, 1.0, True, "text", None, math.nan])


@st.composite
def prompts(draw: st.DrawFn, classes: tuple[str, ...] = tuple(CLASSES), min_nodes: int = 1,
            max_nodes: int = 8) -> dict[str, Any]:
    """A prompt without cycles, whose last node is an output node."""
    prompt: dict[str, Any] = {}
    size = draw(st.integers(min_nodes, max_nodes))
    for index in range(size):
        kinds = SHOWING if index == size - 1 else classes
        prompt[str(index)] = draw(nodes(st.sampled_from(kinds), list(prompt)))
    return prompt


@st.composite
def nodes(draw: st.DrawFn, kinds: st.SearchStrategy[str], sources: list[str]) -> dict[str, Any]:
    """One node that may link to some of the sources."""
    class_type = draw(kinds)
    names = ["a", "b"]
    if class_type in ("Lazy", "PlainLazy", "CheckedApart"):
        names += LAZY
    elif class_type in SHOWING:
        names += ["c", "d"]
    inputs: dict[str, Any] = {}
    for name in names:
        kind = draw(st.sampled_from(("link", "link", "constant", "absent")))
        if kind == "link" and sources:
            inputs[name] = [sources[-1 - draw(st.integers(0, len(sources) - 1))],
                            draw(st.integers(0, OUTPUTS_OF_A_NODE - 1))]
        elif kind != "absent":
            inputs[name] = draw(_CONSTANTS)
    return {"class_type": class_type, "inputs": inputs}


@st.composite
def lines(draw: st.DrawFn, kinds: tuple[str, ...] = ("Plain", "Plain", "Named", "PlainExpander", "PlainLazy", "Cpu"),
          most: int = 3) -> dict[str, Any]:
    """A prompt whose nodes are in lines, mostly of nodes that want the same tokens; some link to another line as well,
    or two follow one."""
    prompt: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, most))):
        before = draw(st.sampled_from([None, *prompt])) if draw(st.integers(0, 3)) == 0 else None
        length = draw(st.integers(2, 6))
        for place in range(length):
            kind = "PlainShow" if place == length - 1 else draw(st.sampled_from(kinds))
            inputs: dict[str, Any] = {"a": draw(_CONSTANTS)}
            if before is not None:
                inputs["b"] = [before, draw(st.integers(0, OUTPUTS_OF_A_NODE - 1))]
            if prompt and draw(st.integers(0, 6)) == 0:
                inputs["lazy_x" if kind == "PlainLazy" else "c"] = [draw(st.sampled_from(list(prompt))), 0]
            before = str(len(prompt))
            prompt[before] = {"class_type": kind, "inputs": inputs}
    return prompt


def submission_of(prompt: dict[str, Any], prompt_id: str, number: float = 0,
                  targets: list[str] | None = None, line: str | None = None) -> PromptSubmitted:
    """What the engine tells the scheduler of a valid prompt."""
    read = read_graph(prompt, REGISTRY)
    interfaces = {name: definition.describe() for name, definition in read.definitions.items()}
    checked = check_graph(read, interfaces, {}, targets, ResourcePools(POOLS).impossible)
    verdict = conclude(checked)
    scope = PromptScope(PromptId(prompt_id), prompt, {}, checked.nodes, checked.definitions, checked.interfaces)
    return PromptSubmitted(
        prompt_id=PromptId(prompt_id), client_id=ClientId("client"), number=number, scope=scope, line=line,
        outputs=verdict.outputs, order=checked.whole_order)


def equal_nodes(prompt: dict[str, Any]) -> list[set[NodeId]]:
    """Groups of nodes that are the same call, told from the prompt alone: equal class, constants and sources."""
    groups: dict[Any, set[NodeId]] = {}
    key_of: dict[str, Any] = {}
    for node_id, entry in prompt.items():  # sources come first
        parts = []
        for name, value in sorted(entry["inputs"].items()):
            if is_link(value):
                parts.append((name, "link", key_of[value[0]], value[1]))
            elif isinstance(value, float) and math.isnan(value):
                parts.append((name, "nan", node_id, 0))
            else:
                parts.append((name, "constant", value, 0))
        own = node_id if entry["class_type"] == "Named" else None
        key_of[node_id] = (entry["class_type"], own, tuple(parts))
        groups.setdefault(key_of[node_id], set()).add(NodeId(node_id))
    return list(groups.values())
