"""A workflow as an editor saves it, made into the prompt that the editor would post.

`convert_workflow` is a pure function of the workflow and of what classes take, but for the choices in prompts that it
draws. It walks without recursion, and what it makes is bounded: subgraphs and values that would grow beyond
`LARGEST_GROWTH` when they are written out are refused.

What it does follows what was observed of the official front end (its newest version where versions differ):

- Of a muted node nothing is left; an input that it fed has its widget's value, if it has a widget.
- A bypassed node passes an output the input in the same place if its type fits what is asked for, else the first of
  exactly that type, else the first that fits.
- Links end at nodes that run: reroutes are followed, primitives become values, subgraphs are taken apart, and their
  nodes are called `outer:inner`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from .workflow_conversion_graph import (
    BYPASSED,
    MUTED,
    CannotConvert,
    Graph,
    Link,
    Node,
    Socket,
    Workflow,
    is_saved_workflow,
    read_workflow,
    shown,
)
from .workflow_conversion_texts import NAMED_FILES, drawn_choices, filled_name
from .workflow_conversion_widgets import WidgetValue, named_values, widget_values

REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"
DRAWN_ONLY = frozenset({"Note", "MarkdownNote"})
NAMED_WIRES = ("getnode", "setnode")
"""How the classes of packs end that connect nodes by a name that only the editor knows."""
LARGEST_GROWTH = 16 * 2**20
"""Bytes that a prompt may have beyond its workflow: of subgraphs used again, and of values put in several places."""
BYTES_OF_A_NODE = 300
"""What one costs at least."""
LONGEST_WALK = 2_000_000
"""Steps on the ways from inputs to what feeds them, all in all: links, and inputs of bypassed nodes."""
DEEPEST = 20
"""Subgraphs within each other."""

InfoOf = Callable[[str], "Mapping[str, Any] | None"]
"""How clients are told of a class, by its name; None if there is none."""


@dataclass(frozen=True, slots=True)
class Value:
    """What an input gets that is fed by a widget."""

    value: Any


@dataclass(frozen=True, slots=True)
class Output:
    """What an input gets that is fed by a node."""

    node_id: str
    slot: int


Source = Value | Output | None


@dataclass(eq=False)
class Place:
    """One use of a graph: the workflow itself, or a subgraph where a node stands for it."""

    graph: Graph
    prefix: str = ""
    outer: Place | None = None
    host: Node | None = None
    """The node of the outer graph that stands for this one."""
    input_values: dict[str, Any] = field(default_factory=dict)
    """Values of its inputs that are widgets of the host."""
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Values of widgets of inner nodes that the host shows: by the id of the node, then by the name of the widget."""
    inner: dict[str, Place] = field(default_factory=dict)
    depth: int = 0


def convert_workflow(workflow: Mapping[str, Any], info_of: InfoOf, *, chance: random.Random | None = None,
                     now: datetime | None = None) -> dict[str, Any]:
    """The prompt of a saved workflow.

    :param info_of: asked once for each class.
    :param chance: draws choices in prompts.
    :param now: what dates in names of files say.
    :raises CannotConvert: it cannot be told what the editor would post.
    """
    return _Conversion(read_workflow(workflow), info_of, chance or random.Random(), now or datetime.now()).prompt()


class _Conversion:
    def __init__(self, workflow: Workflow, info_of: InfoOf, chance: random.Random, now: datetime) -> None:
        self._workflow = workflow
        self._info_of = info_of
        self._chance = chance
        self._now = now
        self._infos: dict[str, Mapping[str, Any] | None] = {}
        self._growth = 0
        self._walked = 0
        self._sources: dict[tuple[int, str, str], Source] = {}
        """By place, link and the type that is asked for."""
        self._widgets: dict[tuple[int, str], dict[str, WidgetValue]] = {}

    def prompt(self) -> dict[str, Any]:
        root = Place(self._workflow.graph)
        prompt: dict[str, Any] = {}
        waiting = [root]
        while waiting:
            place = waiting.pop()
            for node in place.graph.nodes.values():
                if node.mode in (MUTED, BYPASSED) or self._is_followed(node) or node.class_type in DRAWN_ONLY:
                    continue
                if node.class_type in self._workflow.subgraphs:
                    waiting.append(self._inside(place, node))
                elif self._runs(node):
                    prompt[place.prefix + node.id] = self._converted(place, node)
        if not prompt:
            raise CannotConvert("no node in it runs")
        return prompt

    # -- nodes ------------------------------------------------------------------------------------------------------

    def _info(self, class_type: str) -> Mapping[str, Any] | None:
        if class_type not in self._infos:
            self._infos[class_type] = self._info_of(class_type)
        return self._infos[class_type]

    def _is_followed(self, node: Node) -> bool:
        """Whether links go through it, and nothing of it runs."""
        return node.class_type in (REROUTE, PRIMITIVE) and self._info(node.class_type) is None

    def _runs(self, node: Node) -> bool:
        """Whether a node is part of the prompt; one of an unknown class too, so that the prompt is refused for it.

        :raises CannotConvert: it does something that only the editor can do.
        """
        name = node.class_type
        if self._info(name) is not None:
            return True
        if name.lower().endswith(NAMED_WIRES):
            raise CannotConvert(f"{node} is a {shown(name)}, which connects nodes by a name that only the editor knows")
        if name.startswith(("workflow/", "workflow>")) or name in self._workflow.group_nodes:
            raise CannotConvert(f"{node} is a group node, which only the editor can take apart")
        return bool(node.sockets or node.output_types)

    def _converted(self, place: Place, node: Node) -> dict[str, Any]:
        info = self._info(node.class_type)
        inputs: dict[str, Any] = {}
        if info is None:
            inputs |= {name: _plain(value) for name, value in named_values(node).items()}
        else:
            for name, one in self._widgets_of(place, node).items():
                inputs[name] = _plain(self._text_of(place, node, one))
        for socket in node.sockets:
            match self._source_of(place, node, socket):
                case Output(node_id, slot):
                    inputs[socket.name] = [node_id, slot]
                case Value(value):
                    self._grow(value, node)
                    inputs[socket.name] = _plain(value)
        title = node.title or (info or {}).get("display_name") or node.class_type
        return {"inputs": inputs, "class_type": node.class_type, "_meta": {"title": title}}

    def _widgets_of(self, place: Place, node: Node) -> dict[str, WidgetValue]:
        key = id(place), node.id
        if key not in self._widgets:
            info = self._info(node.class_type)
            found = {} if info is None else {one.declared.name: one for one in widget_values(node, info)}
            for name, override in place.overrides.get(node.id, {}).items():
                if name in found:
                    self._grow(override, node)
                    found[name] = found[name]._replace(value=override)
            self._widgets[key] = found
        return self._widgets[key]

    def _text_of(self, place: Place, node: Node, widget: WidgetValue) -> Any:
        """A value as the editor posts it: texts are more than what is written."""
        declared, value = widget
        if not isinstance(value, str):
            return value
        if declared.options.get("dynamicPrompts"):
            return drawn_choices(value, self._chance)
        if declared.name == "filename_prefix" and node.class_type in NAMED_FILES and "%" in value:
            def value_of(name: str, widget_name: str) -> Any:
                found = place.graph.by_replace_name.get(name)
                one = None if found is None else self._widgets_of(place, found).get(widget_name)
                return None if one is None else one.value

            return filled_name(value, value_of, self._now)
        return value

    # -- subgraphs --------------------------------------------------------------------------------------------------

    def _inside(self, place: Place, node: Node) -> Place:
        """The place within a node that stands for a subgraph."""
        if node.id in place.inner:
            return place.inner[node.id]
        if place.depth >= DEEPEST:
            raise CannotConvert(f"{node} is in more than {DEEPEST} subgraphs within each other, or in itself")
        graph = self._workflow.subgraphs[node.class_type]
        for one in graph.nodes.values():
            self._grow_by(one.size + BYTES_OF_A_NODE, node)
        inside = Place(graph, f"{place.prefix}{node.id}:", place, node, depth=place.depth + 1)
        place.inner[node.id] = inside
        self._set_host_values(inside, node)
        self._set_values_from_outside(inside, node, place.overrides.get(node.id, {}))
        return inside

    @staticmethod
    def _set_host_values(inside: Place, node: Node) -> None:
        """Put the values of the host's widgets where they belong: first come those of its inputs, in their order; if it
        shows widgets of inner nodes, its values are theirs, in the order of these."""
        names = inside.graph.widget_inputs
        values: Any = node.values
        if isinstance(values, dict) or (values is None and node.named_values):
            named = values or node.named_values
            inside.input_values.update((name, named[name]) for name in names if name in named)
            return
        inside.input_values.update(zip(names, values or (), strict=False))
        for (inner_id, name), value in zip(node.proxies, values or (), strict=False):
            if value is None:
                continue
            shown_input = name if inner_id == "-1" else inside.graph.input_that_sets(inner_id, name)
            if shown_input is not None:
                inside.input_values[shown_input] = value
            else:
                inside.overrides.setdefault(inner_id, {})[name] = value

    @staticmethod
    def _set_values_from_outside(inside: Place, node: Node, values: Mapping[str, Any]) -> None:
        """The same for widgets of the host that are shown still further outside."""
        shown_of = {name: inner_id for inner_id, name in reversed(node.proxies)} if values else {}
        for name, value in values.items():
            if name in inside.graph.has_input:
                inside.input_values[name] = value
            elif name in shown_of:
                inside.overrides.setdefault(shown_of[name], {})[name] = value

    def _grow(self, value: Any, node: Node) -> None:
        if isinstance(value, str):
            self._grow_by(len(value), node)
        elif isinstance(value, (list, dict)):
            self._grow_by(len(msgspec.json.encode(value)), node)

    def _grow_by(self, size: int, node: Node) -> None:
        self._growth += size
        if self._growth > LARGEST_GROWTH:
            raise CannotConvert(f"what {node} stands for is written out too often: the prompt would be more than "
                                f"{LARGEST_GROWTH >> 20} MiB larger than the workflow")

    # -- links ------------------------------------------------------------------------------------------------------

    def _source_of(self, place: Place, node: Node, socket: Socket) -> Source:
        """What an input of a node gets in the end; None if that is nothing.

        :raises CannotConvert: the way there goes round in a circle, or to a node that is not there.
        """
        wanted = socket.type
        at: tuple[Place, Socket] | None = (place, socket)
        found: Source = None
        trail: list[tuple[int, str, str] | Value] = []
        """The links on the way, and values of hosts that hold if nothing comes from further outside."""
        on_trail: set[tuple[int, str, str]] = set()
        while at is not None:
            place, socket = at
            link = None if socket.link is None else place.graph.links.get(socket.link)
            at = None
            while link is not None:
                key = (id(place), link.id, wanted)
                if key in self._sources:
                    found = self._sources[key]
                    break
                if key in on_trail:
                    raise CannotConvert(f"what {node} takes as {shown(socket.name) or 'input'} goes round in a circle")
                on_trail.add(key)
                trail.append(key)
                if link.origin_id == place.graph.input_node and place.outer is not None:
                    at = self._outside(place, link, trail)
                    break
                origin = place.graph.nodes.get(link.origin_id)
                if origin is None:
                    raise CannotConvert(f"{node} is linked to node {link.origin_id}, which is not there")
                self._walk(origin, node, wanted)
                step = self._step(place, origin, link, wanted)
                if isinstance(step, tuple):
                    place, link = step
                    continue
                if isinstance(step, Socket):
                    at = place, step
                else:
                    found = step
                break
        for one in reversed(trail):
            if isinstance(one, Value):
                found = one if found is None else found
            else:
                self._sources[one] = found
        return found

    def _step(self, place: Place, origin: Node, link: Link, wanted: str) -> Source | Socket | tuple[Place, Link | None]:
        """From a link to what feeds it, to the input that stands for it, or to the link within a subgraph."""
        if self._is_followed(origin):
            if origin.class_type == PRIMITIVE:
                values = origin.values if isinstance(origin.values, list) else list((origin.values or {}).values())
                return Value(values[0]) if values else None
            return None if origin.mode == MUTED or not origin.sockets else origin.sockets[0]
        if origin.mode == MUTED:
            return None
        if origin.mode == BYPASSED:
            return _passed_on(origin, link.origin_slot, wanted)
        if origin.class_type in self._workflow.subgraphs:
            inside = self._inside(place, origin)
            return inside, inside.graph.output_links.get(link.origin_slot)
        return Output(place.prefix + origin.id, link.origin_slot)

    def _walk(self, origin: Node, node: Node, wanted: str) -> None:
        """Count a step, with what comparing types costs in it."""
        self._walked += 1
        if origin.mode == BYPASSED:
            self._walked += len(origin.sockets) * (1 + len(wanted) // 8) + origin.length_of_types // 8
        if self._walked > LONGEST_WALK:
            raise CannotConvert(f"the ways to what feeds its nodes are too long, up to {node}")

    @staticmethod
    def _outside(place: Place, link: Link, trail: list[Any]) -> tuple[Place, Socket] | None:
        """The input of the host that feeds an input of a subgraph; its widget's value is put on the trail."""
        assert place.host is not None
        assert place.outer is not None
        names, sockets = place.graph.input_names, place.host.sockets
        if not 0 <= link.origin_slot < len(names):
            return None
        name = names[link.origin_slot]
        if name in place.input_values:
            trail.append(Value(place.input_values[name]))
        if len(sockets) == len(names):  # names may occur twice
            return place.outer, sockets[link.origin_slot]
        socket = place.host.by_name.get(name)
        return None if socket is None else (place.outer, socket)


def _passed_on(node: Node, slot: int, wanted: str) -> Socket | None:
    """The input that a bypassed node passes on where an output is asked for."""
    sockets = node.sockets
    if 0 <= slot < len(sockets) and _fits(sockets[slot].type, wanted):
        return sockets[slot]
    fitting = [one for one in sockets if _fits(one.type, wanted)]
    own = node.output_types[slot] if 0 <= slot < len(node.output_types) else wanted
    for kind in (own, wanted):
        for one in fitting:
            if one.type == kind:
                return one
    return fitting[0] if fitting else None


def _fits(one: str, other: str) -> bool:
    """Whether two types can be connected: kinds in a list of several, and anything."""
    if one == other or one in ("", "*") or other in ("", "*"):
        return True
    return not set(one.lower().split(",")).isdisjoint(other.lower().split(","))


def _plain(value: Any) -> Any:
    """A value in a prompt, where a bare list would be a link."""
    return {"__value__": value} if isinstance(value, list) else value


__all__ = ["CannotConvert", "convert_workflow", "is_saved_workflow"]
