"""Subgraphs, written by nodes: what a node returns under `expand` to have a graph run in its own place."""

import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from .node_context import get_current_node
from .prompt_graph import is_link

LONGEST_ID = 96
_HEAD = 48


class _Numbering:
    """Counts the builders that one call of a node makes, so that their prefixes differ and repeat in each run."""

    __slots__ = ("builders", "index", "node_id")

    def __init__(self, node_id: str, index: int | None) -> None:
        self.node_id = node_id
        self.index = index or 0
        self.builders = 0

    def next_prefix(self) -> str:
        number, self.builders = self.builders, self.builders + 1
        return f"{self.node_id}.{self.index}.{number}."


_chosen: ContextVar[_Numbering | None] = ContextVar("graph_numbering", default=None)
"""What `set_default_prefix` chose."""


def _current_numbering() -> _Numbering:
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    context = get_current_node()
    if context is None:
        return _Numbering("graph", 0)
    context = context.outermost
    if context.numbering is None:
        context.numbering = _Numbering(context.unique_id, context.list_index)
    numbering: _Numbering = context.numbering
    return numbering


def fit_id(node_id: str) -> str:
    """An id of at most `LONGEST_ID` characters: a longer one keeps its first levels and a digest of all of it."""
    if len(node_id) <= LONGEST_ID:
        return node_id
    head = node_id[:_HEAD].rpartition(".")[0] or node_id[:_HEAD]
    return f"{head}.{hashlib.sha256(node_id.encode(errors='surrogatepass')).hexdigest()[:24]}"


class Node:
    """One node of a subgraph in the making."""

    def __init__(self, id: str, class_type: str, inputs: Mapping[str, Any]) -> None:
        self.id = id
        self.class_type = class_type
        self.inputs = dict(inputs)
        self.override_display_id: str | None = None

    def out(self, index: int) -> list[Any]:
        """A link to one output of this node."""
        return [self.id, index]

    def set_input(self, key: str, value: Any) -> None:
        """Set an input to a constant or a link; None removes it."""
        if value is None:
            self.inputs.pop(key, None)
        else:
            self.inputs[key] = value

    def get_input(self, key: str) -> Any:
        return self.inputs.get(key)

    def set_override_display_id(self, override_display_id: str) -> None:
        """Show this node's progress on another one."""
        self.override_display_id = override_display_id

    def serialize(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"class_type": self.class_type, "inputs": self.inputs}
        if self.override_display_id is not None:
            entry["override_display_id"] = self.override_display_id
        return entry


class GraphBuilder:
    """Builds a subgraph whose ids are unique in the prompt and the same in every run.

    :param prefix: what all ids begin with; by default the id of the node being called, the index of the call and
        the number of this builder in it.
    """

    def __init__(self, prefix: str | None = None) -> None:
        self.prefix = self.alloc_prefix() if prefix is None else prefix
        self.nodes: dict[str, Node] = {}
        self.id_gen = 1

    @classmethod
    def set_default_prefix(cls, prefix_root: str, call_index: int, graph_index: int = 0) -> None:
        """Choose what the next builders of this context begin with."""
        numbering = _Numbering(prefix_root, call_index)
        numbering.builders = graph_index
        _chosen.set(numbering)

    @classmethod
    def alloc_prefix(cls, root: str | None = None, call_index: int | None = None,
                     graph_index: int | None = None) -> str:
        numbering = _current_numbering()
        if root is None and call_index is None and graph_index is None:
            return numbering.next_prefix()
        number = numbering.builders if graph_index is None else graph_index
        if graph_index is None:
            numbering.builders += 1
        return (f"{numbering.node_id if root is None else root}."
                f"{numbering.index if call_index is None else call_index}.{number}.")

    def node(self, class_type: str, id: str | None = None, **kwargs: Any) -> Node:
        """Add a node; with an id that exists, get that one."""
        if id is None:
            id = str(self.id_gen)
            self.id_gen += 1
        full_id = fit_id(self.prefix + id)
        if full_id not in self.nodes:
            self.nodes[full_id] = Node(full_id, class_type, kwargs)
        return self.nodes[full_id]

    def lookup_node(self, id: str) -> Node | None:
        return self.nodes.get(fit_id(self.prefix + id))

    def finalize(self) -> dict[str, dict[str, Any]]:
        """The subgraph, as a node returns it under `expand`."""
        return {node_id: node.serialize() for node_id, node in self.nodes.items()}

    def replace_node_output(self, node_id: str, index: int, new_value: Any) -> None:
        """Point all links to one output elsewhere; None removes the inputs."""
        full_id = fit_id(self.prefix + node_id)
        for node in self.nodes.values():
            for key, value in list(node.inputs.items()):
                if is_link(value) and value[0] == full_id and value[1] == index:
                    node.set_input(key, new_value)

    def remove_node(self, id: str) -> None:
        self.nodes.pop(fit_id(self.prefix + id), None)


def add_graph_prefix(graph: Mapping[str, Any], outputs: Any, prefix: str) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """A copy of a subgraph, and of the links into it, with a prefix before every id."""
    def moved(value: Any) -> Any:
        return [fit_id(prefix + value[0]), value[1]] if is_link(value) and value[0] in graph else value

    new_graph = {}
    for node_id, entry in graph.items():
        new_entry = dict(entry)
        new_entry["inputs"] = {name: moved(value) for name, value in entry.get("inputs", {}).items()}
        new_graph[fit_id(prefix + node_id)] = new_entry
    return new_graph, tuple(moved(one) for one in outputs)
