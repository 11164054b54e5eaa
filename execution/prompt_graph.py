"""The graph of a prompt: parsed once, never changed. Links, ancestry and cycles; nothing of what nodes mean."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from .identifiers import NodeId


class Link(Struct, frozen=True, gc=False):
    """One input that comes from another node."""

    name: str
    source: NodeId
    slot: int


class GraphNode(Struct, eq=False, gc=False):
    """One node as it was written down. `inputs` holds constants and links alike."""

    node_id: NodeId
    class_type: str
    inputs: dict[str, Any]
    links: dict[str, Link]
    """Those of the inputs that come from other nodes, by name."""
    given_fingerprint: Any = None
    """A change check that the client brought along; the node's own is not asked then."""
    override_display_id: NodeId | None = None

    def __repr__(self) -> str:
        return f"<{self.class_type} {self.node_id}>"


def is_link(value: object) -> bool:
    """Whether an input value names an output of another node."""
    return (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
            and isinstance(value[1], (int, float)) and not isinstance(value[1], bool))


def parse_links(inputs: Mapping[str, Any]) -> dict[str, Link]:
    """The links among inputs, by name; what only looks like one is left for validation to report."""
    links: dict[str, Link] = {}
    for name, value in inputs.items():
        if value.__class__ is list and len(value) == 2:
            source, slot = value
            if source.__class__ is str:  # not by way of `NodeId`, which is a call, for each link of large graphs
                if slot.__class__ is int:
                    links[name] = Link(name, source, slot)  # type: ignore[arg-type]
                elif slot.__class__ is float:
                    links[name] = Link(name, source, int(slot))  # type: ignore[arg-type]
    return links


def parse_expansion(expansion: Mapping[str, Any]) -> list[GraphNode]:
    """The nodes of an expansion, in its order.

    :raises TypeError: a node is not written as a mapping with `class_type` and `inputs`.
    """
    nodes = []
    for node_id, entry in expansion.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("class_type"), str):
            raise TypeError(f"node {node_id!r} of an expansion has no class_type")
        inputs = dict(entry.get("inputs") or {})
        display = entry.get("override_display_id")
        nodes.append(GraphNode(NodeId(str(node_id)), entry["class_type"], inputs, parse_links(inputs),
                               entry.get("is_changed"), None if display is None else NodeId(str(display))))
    return nodes


MOST_WHOLE_CYCLES = 100


class Ordering(NamedTuple):
    """Nodes so that each comes after its sources, and what kept some of them from having such a place."""

    order: list[NodeId]
    cycles: list[list[NodeId]]


def order_by_sources(nodes: Mapping[NodeId, GraphNode], roots: Iterable[NodeId]) -> Ordering:
    """All ancestors of `roots`, sources first, without recursion: a line of 5,000 nodes is no problem.

    Links to nodes that do not exist are passed over. Each cycle that is met is reported once.
    """
    order: list[NodeId] = []
    cycles: list[list[NodeId]] = []
    done: dict[NodeId, bool] = {}  # absent: not seen; False: on the path; True: placed
    for root in roots:
        if root in done or root not in nodes:
            continue
        path: list[NodeId] = [root]
        pending = [iter(nodes[root].links.values())]
        done[root] = False
        while pending:
            for link in pending[-1]:
                source = link.source
                state = done.get(source)
                if state is None:
                    node = nodes.get(source)
                    if node is None:
                        continue
                    if not node.links:
                        done[source] = True
                        order.append(source)
                        continue
                    done[source] = False
                    path.append(source)
                    pending.append(iter(node.links.values()))
                    break
                if state is False:
                    # Beyond some, the node that closes a cycle says enough: each path would cost its length.
                    cycles.append(path[path.index(source):] if len(cycles) < MOST_WHOLE_CYCLES else [path[-1]])
            else:
                pending.pop()
                node_id = path.pop()
                done[node_id] = True
                order.append(node_id)
    return Ordering(order, cycles)


def remaining_paths(nodes: Mapping[NodeId, GraphNode], order: Sequence[NodeId]) -> dict[NodeId, int]:
    """For each node, how many nodes lie on the longest way from it to an end.

    :param order: all nodes, sources first.
    """
    remaining = dict.fromkeys(order, 1)
    for node_id in reversed(order):
        longer = remaining[node_id] + 1
        for link in nodes[node_id].links.values():
            source = link.source
            if source in remaining and remaining[source] < longer:
                remaining[source] = longer
    return remaining
