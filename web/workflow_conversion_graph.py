"""A workflow as an editor saves it, read into nodes and links. Nothing here knows of classes.

Both spellings of links are read, arrays and objects. Subgraphs are read from `definitions`, wherever those are nested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

INPUT_NODE, OUTPUT_NODE = "-10", "-20"
"""What links within a subgraph call its own inputs and outputs, unless the subgraph says otherwise."""
MUTED, BYPASSED = 2, 4
LONGEST_ID = 100
"""Characters. Ids of nodes within subgraphs are put together from several."""
LONGEST_TYPE = 1000
"""Characters that are compared."""


class CannotConvert(Exception):
    """Why a workflow cannot be made a prompt: the part of a sentence that comes after "because"."""


@dataclass(frozen=True, slots=True)
class Socket:
    """An input of a node."""

    name: str
    type: str
    link: str | None
    is_widget: bool


@dataclass(frozen=True, slots=True)
class Link:
    id: str
    origin_id: str
    origin_slot: int
    target_id: str
    target_slot: int


@dataclass(frozen=True)
class Node:
    id: str
    class_type: str
    mode: int
    title: str | None
    replace_name: str | None
    """The name that texts like `%name.widget%` find it by, beside its title."""
    sockets: tuple[Socket, ...]
    output_types: tuple[str, ...]
    values: list[Any] | dict[str, Any] | None
    """Of its widgets: in their order, or by name."""
    named_values: dict[str, Any]
    """The same by name, as some editors save them too."""
    proxies: tuple[tuple[str, str], ...]
    """Of a subgraph: widgets of inner nodes that it shows, as (id of the inner node, name of the widget)."""
    raw: Mapping[str, Any]

    @cached_property
    def by_name(self) -> Mapping[str, Socket]:
        return {one.name: one for one in reversed(self.sockets)}

    @cached_property
    def length_of_types(self) -> int:
        """Characters of the types of its inputs."""
        return sum(len(one.type) for one in self.sockets)

    @cached_property
    def size(self) -> int:
        """Bytes of it as JSON."""
        return len(msgspec.json.encode(self.raw))

    def __str__(self) -> str:
        return f"node {self.id} ({shown(self.title or self.class_type)})"


@dataclass(frozen=True)
class Graph:
    """The workflow itself, or one of its subgraphs."""

    nodes: Mapping[str, Node]
    links: Mapping[str, Link]
    name: str = ""
    input_names: tuple[str, ...] = ()
    input_node: str = INPUT_NODE
    output_node: str = OUTPUT_NODE
    output_links: Mapping[int, Link] = field(init=False, default_factory=dict)
    """The link that leads to each output of a subgraph."""

    def __post_init__(self) -> None:
        ends = {link.target_slot: link for link in self.links.values() if link.target_id == self.output_node}
        object.__setattr__(self, "output_links", ends)

    @cached_property
    def widget_inputs(self) -> tuple[str, ...]:
        """Names of the inputs of a subgraph that set widgets within it."""
        links = (self.links.get(one.link) for node in self.nodes.values() for one in node.sockets
                 if one.is_widget and one.link is not None)
        slots = {link.origin_slot for link in links if link is not None and link.origin_id == self.input_node}
        return tuple(name for slot, name in enumerate(self.input_names) if slot in slots)

    @cached_property
    def has_input(self) -> frozenset[str]:
        return frozenset(self.input_names)

    @cached_property
    def by_replace_name(self) -> Mapping[str, Node]:
        """Nodes as texts name them: by the name that they were given for that, else by their title."""
        nodes = list(self.nodes.values())[::-1]
        titled = {one.title: one for one in nodes if one.title is not None}
        return titled | {one.replace_name: one for one in nodes if one.replace_name is not None}

    def input_that_sets(self, node_id: str, widget: str) -> str | None:
        """The name of the input of this subgraph that is connected with a widget of an inner node."""
        node = self.nodes.get(node_id)
        socket = None if node is None else node.by_name.get(widget)
        link = None if socket is None or socket.link is None else self.links.get(socket.link)
        if link is None or link.origin_id != self.input_node or not 0 <= link.origin_slot < len(self.input_names):
            return None
        return self.input_names[link.origin_slot]


@dataclass(frozen=True)
class Workflow:
    graph: Graph
    subgraphs: Mapping[str, Graph]
    """By the type of the nodes that stand for them."""
    group_nodes: frozenset[str]


def is_saved_workflow(value: Any) -> bool:
    """Whether this is what an editor saves, rather than a prompt: there, the value of every key is a node."""
    if not isinstance(value, dict) or "nodes" not in value:
        return False
    return isinstance(value["nodes"], list) or any(
        name in value and not isinstance(value[name], dict)
        for name in ("links", "version", "last_node_id", "last_link_id"))


def read_workflow(workflow: Mapping[str, Any]) -> Workflow:
    """:raises CannotConvert: something in it is of the wrong kind."""
    subgraphs: dict[str, Graph] = {}
    waiting: list[Mapping[str, Any]] = [workflow]
    for one in waiting:
        definitions = one.get("definitions") or {}
        listed = definitions.get("subgraphs") if isinstance(definitions, dict) else None
        for definition in _list_of(listed, "its subgraphs"):
            name = _id_of(definition.get("id"), "a subgraph")
            if name in subgraphs:
                raise CannotConvert(f"two of its subgraphs have the id {shown(name)}")
            subgraphs[name] = _read_subgraph(definition)
            waiting.append(definition)
    extra = workflow.get("extra")
    groups = extra.get("groupNodes") if isinstance(extra, dict) else None
    return Workflow(_read_graph(workflow), subgraphs, frozenset(groups if isinstance(groups, dict) else ()))


def shown(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _read_graph(graph: Mapping[str, Any], **more: Any) -> Graph:
    nodes: dict[str, Node] = {}
    for one in _list_of(graph.get("nodes"), "its nodes"):
        node = _read_node(one)
        if node.id in nodes:
            raise CannotConvert(f"two of its nodes have the id {node.id}")
        nodes[node.id] = node
    links = graph.get("links")
    if links is not None and not isinstance(links, list):
        raise CannotConvert("its links are no list")
    return Graph(nodes, {link.id: link for link in map(_read_link, links or ()) if link is not None}, **more)


def _read_subgraph(definition: Mapping[str, Any]) -> Graph:
    def end(name: str, otherwise: str) -> str:
        node = definition.get(name)
        return _id_of(node["id"], "a subgraph's end") if isinstance(node, dict) and "id" in node else otherwise

    names = tuple(_text(one.get("name")) or "" for one in _list_of(definition.get("inputs"), "inputs of a subgraph"))
    return _read_graph(definition, name=_text(definition.get("name")) or "", input_names=names,
                       input_node=end("inputNode", INPUT_NODE), output_node=end("outputNode", OUTPUT_NODE))


def _read_node(node: Mapping[str, Any]) -> Node:
    node_id = _id_of(node.get("id"), "one of its nodes")
    class_type = node.get("type")
    if isinstance(class_type, int) and not isinstance(class_type, bool):
        class_type = str(class_type) if abs(class_type) < 2**63 else None
    if not isinstance(class_type, str):
        raise CannotConvert(f"node {node_id} has no type")
    properties = node.get("properties")
    if not isinstance(properties, dict):
        properties = {}
    values, named, mode = node.get("widgets_values"), node.get("widgets_values_named"), node.get("mode", 0)
    if values is not None and not isinstance(values, (list, dict)):
        raise CannotConvert(f"the widgets_values of node {node_id} are neither a list nor an object")
    return Node(
        id=node_id, class_type=class_type, mode=mode if mode.__class__ is int else 0, title=_text(node.get("title")),
        replace_name=_text(properties.get("Node name for S&R")),
        sockets=tuple(_read_sockets(node.get("inputs"), node_id)),
        output_types=tuple(_type(one) for one in _list_of(node.get("outputs"), f"outputs of node {node_id}")),
        values=values, named_values=named if isinstance(named, dict) else {},
        proxies=tuple(_read_proxies(properties.get("proxyWidgets"))), raw=node)


def _read_sockets(sockets: Any, node_id: str) -> Iterable[Socket]:
    for one in _list_of(sockets, f"inputs of node {node_id}"):
        name, link, widget = one.get("name"), one.get("link"), one.get("widget")
        if not isinstance(name, str):
            raise CannotConvert(f"an input of node {node_id} has no name")
        yield Socket(name=name, type=_type(one), is_widget=isinstance(widget, dict),
                     link=None if link is None else _id_of(link, f"a link of node {node_id}"))


def _read_proxies(proxies: Any) -> Iterable[tuple[str, str]]:
    for one in proxies if isinstance(proxies, list) else ():
        if not isinstance(one, list) or len(one) < 2 or not isinstance(one[1], str):
            raise CannotConvert("a list of proxyWidgets holds something else than [id of a node, name of a widget]")
        yield _id_of(one[0], "a proxy of a widget"), one[1]


def _read_link(link: Any) -> Link | None:
    """`[id, node, slot, node, slot, type]`, or the same as an object. An empty entry of the list is none."""
    if link is None:
        return None
    if isinstance(link, dict):
        link = [link.get(name) for name in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
    if not isinstance(link, list) or len(link) < 5:
        raise CannotConvert("one of its links is neither [id, node, slot, node, slot, type] nor such an object")
    return Link(id=_id_of(link[0], "a link"), origin_id=_id_of(link[1], "the origin of a link"),
                origin_slot=_slot_of(link[2]), target_id=_id_of(link[3], "the target of a link"),
                target_slot=_slot_of(link[4]))


def _list_of(value: Any, what: str) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise CannotConvert(f"{what} are no list of objects")
    return value


def _id_of(value: Any, what: str) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= LONGEST_ID:
        return value
    raise CannotConvert(f"{what} has an id that is neither a whole number nor a text of 1 to {LONGEST_ID} characters")


def _slot_of(value: Any) -> int:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    if value.__class__ is not int or abs(value) >= 2**31:
        raise CannotConvert("one of its links names a slot that is no whole number")
    slot: int = value
    return slot


def _type(slot: Mapping[str, Any]) -> str:
    """A list as a type is the choices of a COMBO, as old editors save it; numbers say that anything fits."""
    kind = slot.get("type")
    if isinstance(kind, str):
        return kind[:LONGEST_TYPE]
    return "COMBO" if isinstance(kind, list) else "*"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
