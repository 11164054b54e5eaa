"""Which widgets an editor draws for a class, and which value of a saved node belongs to which.

Saved values are a list without names. Their order is that of the inputs that have a widget, as the class declares
them, with values in between that no input has: what is to happen to a seed after a run, say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .workflow_conversion_graph import CannotConvert, Node

WIDGET_TYPES = frozenset({
    "INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "MARKDOWN", "TEXTAREA", "COLOR", "COLORS", "CURVE", "RANGE",
    "BOUNDING_BOX", "BOUNDING_BOXES", "CHART", "GALLERIA", "IMAGECOMPARE", "PAINTER", "COMPOSITOR", "VIDEO_EDIT",
    "RESOLUTION_PREVIEW", "LIGHT_INFO_PREVIEW", "MULTISELECT", "SELECTBUTTON", "TREESELECT", "FILEUPLOAD",
    "IMAGEUPLOAD", "AUDIO_UI", "AUDIOUPLOAD", "AUDIO_RECORD", "WEBCAM", "LOAD_3D", "LOAD_3D_ANIMATION", "PREVIEW_3D",
    "PREVIEW_3D_ANIMATION"})
"""Types of inputs that editors draw as widgets."""
CONTROLS = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})
"""What the widget after a seed says."""
SEEDS = frozenset({"seed", "noise_seed"})
"""Inputs that have such a widget unless they say no."""
DRAWN_BESIDE = ("control_after_generate", "control_filter_list")
"""How the names of widgets begin that no input has."""
DYNAMIC_COMBO, DYNAMIC_SLOT, DYNAMIC_GROUP = "_DYNAMICCOMBO_V3", "_DYNAMICSLOT_V3", "_DYNAMICGROUP_V3"
"""How the types of inputs end that bring further inputs with them."""
PLAIN_DEFAULTS: Mapping[str, Any] = {"INT": 0, "FLOAT": 0, "BOOLEAN": False, "STRING": ""}


class Declared(NamedTuple):
    """An input as the class declares it."""

    name: str
    type: str
    options: Mapping[str, Any]
    choices: Any

    @property
    def has_control(self) -> bool:
        said = self.options.get("control_after_generate")
        if self.type == "INT" and said is None:
            return self.name.rpartition(".")[2] in SEEDS
        return self.type in ("INT", "COMBO") and bool(said)

    @property
    def default(self) -> Any:
        """None if there is none."""
        if "default" in self.options:
            return self.options["default"]
        if self.type == "COMBO":
            return self.choices[0] if isinstance(self.choices, (list, tuple)) and self.choices else None
        return PLAIN_DEFAULTS.get(self.type)


class WidgetValue(NamedTuple):
    declared: Declared
    value: Any


def declared_inputs(inputs: Any, order: Any = None, prefix: str = "") -> list[Declared]:
    """The required inputs of a class or group, then the optional ones, as they are declared."""
    found = []
    for kind in ("required", "optional"):
        group = inputs.get(kind) if isinstance(inputs, Mapping) else None
        if not isinstance(group, Mapping):
            continue
        names = order.get(kind) if isinstance(order, Mapping) else None
        for name in names if isinstance(names, (list, tuple)) else group:
            if isinstance(name, str) and name in group:
                found.append(_declared(prefix + name, group[name]))
    return found


def _declared(name: str, entry: Any) -> Declared:
    kind = entry[0] if isinstance(entry, (list, tuple)) and entry else entry
    options = entry[1] if isinstance(entry, (list, tuple)) and len(entry) > 1 else None
    if not isinstance(options, Mapping):
        options = {}
    if isinstance(kind, (list, tuple)):
        return Declared(name, "COMBO", options, kind)
    # A class may bring a text of its own kind, which equals whatever it likes.
    plain = str.__str__(kind) if isinstance(kind, str) else "*"
    return Declared(name, plain, options, options.get("options"))


def widget_values(node: Node, info: Mapping[str, Any]) -> Iterator[WidgetValue]:
    """The value of each widget of a node: as it was saved, else the default.

    :param info: how clients are told of the class.
    :raises CannotConvert: it cannot be told which value belongs to which.
    """
    values = _SavedValues(node)
    waiting = declared_inputs(info.get("input"), info.get("input_order"))[::-1]
    while waiting:
        declared = waiting.pop()
        more: list[Declared] = []
        if declared.type.endswith(DYNAMIC_GROUP):
            yield from _group_values(node, declared)
            continue
        if declared.type.endswith(DYNAMIC_SLOT):
            socket = node.by_name.get(declared.name)
            if socket is not None and socket.link is not None:
                more = declared_inputs(declared.options.get("inputs"), prefix=f"{declared.name}.")
        elif is_widget(declared, node):
            value = values.take(declared)
            if value is not None:
                yield WidgetValue(declared, value)
            if declared.type.endswith(DYNAMIC_COMBO):
                more = _inputs_of_choice(declared, value)
        waiting += reversed(more)


def is_widget(declared: Declared, node: Node) -> bool:
    """Whether an editor draws a widget for an input. What the node was saved with says more than its class."""
    if declared.options.get("forceInput"):
        return False
    socket = node.by_name.get(declared.name)
    if socket is not None:
        return socket.is_widget
    kind = declared.options.get("widgetType")
    return declared.type in WIDGET_TYPES or declared.type.endswith(DYNAMIC_COMBO) \
        or (isinstance(kind, str) and kind in WIDGET_TYPES)


def named_values(node: Node) -> Mapping[str, Any]:
    """Values of a node of an unknown class, as far as they are saved by name."""
    values = node.values if isinstance(node.values, dict) else node.named_values
    return {name: value for name, value in values.items() if not name.startswith(DRAWN_BESIDE)}


class _SavedValues:
    """The values of a node, handed out to its widgets in their order."""

    def __init__(self, node: Node) -> None:
        self._named: Mapping[str, Any] | None = None
        self._listed: list[Any] = []
        self._next = 0
        if isinstance(node.values, dict):
            self._named = node.values
        elif node.named_values and (node.values is None or list(node.named_values.values()) == node.values):
            self._named = node.named_values
        elif node.values is not None:
            self._listed = node.values

    def take(self, declared: Declared) -> Any:
        """The value of the next widget."""
        if self._named is not None:
            value = self._named.get(declared.name, declared.default)
        elif self._next < len(self._listed):
            value = self._listed[self._next]
        else:
            value = declared.default
        self._next += 1
        if self._named is None and declared.has_control:
            self._skip_control(declared)
        return _several(value) if "multi_select" in declared.options else value

    def _skip_control(self, declared: Declared) -> None:
        if self._next < len(self._listed) and isinstance(word := self._listed[self._next], str) and word in CONTROLS:
            # Choices have one more: the text that they are filtered by.
            self._next += 2 if declared.type == "COMBO" else 1


def _several(value: Any) -> Any:
    """A list that was saved as an object of its places."""
    if isinstance(value, dict) and all(str(place) in value for place in range(len(value))):
        return [value[str(place)] for place in range(len(value))]
    return value


def _inputs_of_choice(declared: Declared, chosen: Any) -> list[Declared]:
    options = declared.options.get("options")
    for one in options if isinstance(options, (list, tuple)) else ():
        if isinstance(one, Mapping) and one.get("key") == chosen:
            return declared_inputs(one.get("inputs"), prefix=f"{declared.name}.")
    return []


def _group_values(node: Node, declared: Declared) -> Iterator[WidgetValue]:
    """Rows of a group: how many there are only the names tell."""
    if not node.named_values:
        if node.values:
            raise CannotConvert(f"the values of {node} are saved without names, and it cannot be told how many rows "
                                f"its input {declared.name} has")
        return
    for name, value in node.named_values.items():
        row = name.removeprefix(f"{declared.name}.")
        if row != name and row.partition(".")[0].isdecimal():
            yield WidgetValue(Declared(name, "*", {}, None), value)
