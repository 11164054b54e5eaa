"""Inputs that stand for several: as many as there are links, those of a chosen option, those beside a link.

A prompt has them under flat, dotted names (`pics.image0`); the function gets them nested. Nothing here looks at values
but for the chosen option.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .io_types import (
    ABSENT,
    ComfyTypeI,
    ComfyTypeIO,
    Declared,
    FlatDeclarations,
    Input,
    Leaf,
    Output,
    TypeName,
    WidgetInput,
    comfytype,
    given,
)

MOST_NAMES = 100
"""The largest number of inputs that one `Autogrow` stands for."""

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"


def declared_by_category(inputs: Iterable[Input]) -> dict[str, dict[str, Declared]]:
    """`required`, always, and `optional`, if there are some: inputs by name, as clients read them."""
    found: dict[str, dict[str, Declared]] = {"required": {}}
    for one in inputs:
        for single in one.get_all():
            found.setdefault("optional" if single.optional else "required", {})[single.id] = single.as_declared()
    return found


def _as_socket(one: Input) -> Input:
    """A copy that clients show as a socket only."""
    one = copy.copy(one)
    if isinstance(one, WidgetInput):
        one.force_input = True
    return one


class DynamicInput(Input):
    """Base of inputs that stand for several."""

    is_dynamic = True

    def find(self, path: str, name: str) -> Declared | None:
        if name == path:
            return self.declared_itself()
        return self.find_within(path, name) if name.startswith(f"{path}.") else None

    def declared_itself(self) -> Declared | None:
        """What stands in a prompt under the name of the group itself; None if nothing does."""
        return None

    def find_within(self, path: str, name: str) -> Declared | None:
        raise NotImplementedError


def _find_among(inputs: Iterable[Input], path: str, name: str) -> Declared | None:
    for one in inputs:
        found = one.find(f"{path}.{one.id}", name)
        if found is not None:
            return found
    return None


def _declare_all(inputs: Iterable[Input], path: str, given_inputs: Mapping[str, Any], into: FlatDeclarations) -> None:
    for one in inputs:
        one.declare_at(f"{path}.{one.id}", given_inputs, into)


def _nested(inputs: Iterable[Input], path: str, flat: Mapping[str, Any], leaf: Leaf) -> dict[str, Any]:
    values = {one.id: one.nested_at(f"{path}.{one.id}", flat, leaf) for one in inputs}
    return {name: value for name, value in values.items() if value is not ABSENT}


# --- as many as there are ----------------------------------------------------------------------------------


class _Template:
    """Names that an input is repeated under.

    :raises ValueError: too many of them, or fewer than have to be given.
    """

    def __init__(self, input: Input, names: Sequence[str], min: int) -> None:
        if len(names) > MOST_NAMES or not 0 <= min <= len(names):
            raise ValueError(f"an input can be repeated {MOST_NAMES} times at most, and {min} of {len(names)} were "
                             "to be required")
        self.input = _as_socket(input)
        self.min = min
        self.repeated_names = names

    def as_dict(self) -> dict[str, Any]:
        category = "optional" if self.input.optional else "required"
        return {"input": {category: {self.input.id: self.input.as_declared()}}}


@comfytype("COMFY_AUTOGROW_V3")
class Autogrow(ComfyTypeI):
    """Inputs of one kind, as many as are linked: the function gets a dict of those that are there."""

    Type = dict[str, Any]

    class TemplatePrefix(_Template):
        """Names are `prefix0`, `prefix1` …"""

        def __init__(self, input: Input, prefix: str, min: int = 1, max: int = 10) -> None:
            super().__init__(input, [f"{prefix}{index}" for index in range(max)], min)
            self.prefix = prefix
            self.max = max

        def as_dict(self) -> dict[str, Any]:
            return {**super().as_dict(), "prefix": self.prefix, "min": self.min, "max": self.max}

    class TemplateNames(_Template):
        def __init__(self, input: Input, names: Sequence[str], min: int = 1) -> None:
            super().__init__(input, list(names), min)
            self.names = self.repeated_names

        def as_dict(self) -> dict[str, Any]:
            return {**super().as_dict(), "names": self.names, "min": self.min}

    class Input(DynamicInput):
        def __init__(self, id: str, template: Autogrow.TemplatePrefix | Autogrow.TemplateNames,
                     display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                     lazy: bool | None = None, extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                     advanced: bool | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
            self.template = template

        def _own_options(self) -> dict[str, Any]:
            return {"template": self.template.as_dict()}

        def declare_at(self, path: str, given_inputs: Mapping[str, Any], into: FlatDeclarations,
                       is_needed: bool = True) -> None:
            repeated = self.template.input
            for index, name in enumerate(self.template.repeated_names):
                flat = f"{path}.{name}"
                is_required = is_needed and not self.optional and index < self.template.min
                if is_required or flat in given_inputs or repeated.is_dynamic:
                    repeated.declare_at(flat, given_inputs, into, is_required)

        def find_within(self, path: str, name: str) -> Declared | None:
            first = name[len(path) + 1:].partition(".")[0]
            if first not in self.template.repeated_names:
                return None
            return self.template.input.find(f"{path}.{first}", name)

        def nested_at(self, path: str, flat: Mapping[str, Any], leaf: Leaf) -> Any:
            values = {name: self.template.input.nested_at(f"{path}.{name}", flat, leaf)
                      for name in self.template.repeated_names}
            return {name: value for name, value in values.items() if value is not ABSENT}


@comfytype("COMFY_AUTOGROWDYNAMIC_V3")
class AutogrowDynamic(ComfyTypeI):
    """The older form: `max` plain inputs, which the function gets one by one."""

    class Input(Input):
        def __init__(self, id: str, template_input: Input, min: int = 1, max: int | None = None,
                     display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                     lazy: bool | None = None, extra_dict: dict[str, Any] | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, extra_dict)
            self.template_input = template_input
            self.min = min
            self.max = max

        def validate(self) -> None:
            if self.max is None or not self.min <= self.max <= MOST_NAMES:
                raise ValueError(f"input {self.id!r} has to say how many inputs it stands for, at most {MOST_NAMES}")

        def get_all(self) -> list[Any]:
            self.validate()
            assert self.max is not None
            found = []
            for index in range(self.max):
                one = _as_socket(self.template_input)
                one.id = f"{self.template_input.id}{index}"
                one.optional = self.optional or index >= self.min
                found.append(one)
            return found


@comfytype("COMFY_COMBODYNAMIC_V3")
class ComboDynamic(ComfyTypeI):
    """A name from before `DynamicCombo`; its input is an ordinary one."""


# --- those of a chosen option ------------------------------------------------------------------------------


@comfytype(DYNAMIC_COMBO)
class DynamicCombo(ComfyTypeI):
    """A choice, each option of which has inputs of its own: the function gets a dict of the choice and those."""

    Type = dict[str, Any]

    class Option:
        def __init__(self, key: str, inputs: Sequence[Input]) -> None:
            self.key = key
            self.inputs = list(inputs)

        def as_dict(self) -> dict[str, Any]:
            return {"key": self.key, "inputs": declared_by_category(self.inputs)}

    class Input(DynamicInput):
        def __init__(self, id: str, options: Sequence[DynamicCombo.Option], display_name: str | None = None,
                     optional: bool = False, tooltip: str | None = None, lazy: bool | None = None,
                     extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                     advanced: bool | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
            self.options = list(options)

        def _own_options(self) -> dict[str, Any]:
            return {"options": [option.as_dict() for option in self.options]}

        def _inputs_of(self, key: Any) -> Sequence[Input]:
            if isinstance(key, (list, tuple)) and len(key) == 1:  # a node that takes lists
                key = key[0]
            return next((option.inputs for option in self.options if option.key == key), ())

        def declare_at(self, path: str, given_inputs: Mapping[str, Any], into: FlatDeclarations,
                       is_needed: bool = True) -> None:
            super().declare_at(path, given_inputs, into, is_needed)
            if path in given_inputs:
                _declare_all(self._inputs_of(given_inputs[path]), path, given_inputs, into)

        def declared_itself(self) -> Declared:
            return self.as_declared()

        def find_within(self, path: str, name: str) -> Declared | None:
            return _find_among((one for option in self.options for one in option.inputs), path, name)

        def nested_at(self, path: str, flat: Mapping[str, Any], leaf: Leaf) -> Any:
            if path not in flat:
                return ABSENT
            return {self.id: leaf(path, flat[path]), **_nested(self._inputs_of(flat[path]), path, flat, leaf)}


# --- those beside a link -----------------------------------------------------------------------------------


@comfytype("COMFY_DYNAMICSLOT_V3")
class DynamicSlot(ComfyTypeI):
    """A socket that brings further inputs when it is linked: the function gets a dict, or nothing."""

    Type = dict[str, Any]

    class Input(DynamicInput):
        def __init__(self, slot: Input, inputs: Sequence[Input], display_name: str | None = None,
                     tooltip: str | None = None, lazy: bool | None = None, extra_dict: dict[str, Any] | None = None,
                     raw_link: bool | None = None, advanced: bool | None = None) -> None:
            super().__init__(slot.id, display_name or slot.display_name, True, tooltip or slot.tooltip,
                             slot.lazy if lazy is None else lazy, extra_dict, raw_link, advanced)
            self.slot = _as_socket(slot)
            self.slot.lazy = self.lazy
            self.inputs = list(inputs)

        def _own_options(self) -> dict[str, Any]:
            return {"slotType": str(self.slot.get_io_type()), "inputs": declared_by_category(self.inputs),
                    "forceInput": True}

        def declare_at(self, path: str, given_inputs: Mapping[str, Any], into: FlatDeclarations,
                       is_needed: bool = True) -> None:
            into.optional[path] = self.slot.as_declared()
            if path in given_inputs:
                _declare_all(self.inputs, path, given_inputs, into)

        def declared_itself(self) -> Declared:
            return self.slot.as_declared()

        def find_within(self, path: str, name: str) -> Declared | None:
            return _find_among(self.inputs, path, name)

        def nested_at(self, path: str, flat: Mapping[str, Any], leaf: Leaf) -> Any:
            if path not in flat:
                return ABSENT
            return {self.slot.id: leaf(path, flat[path]), **_nested(self.inputs, path, flat, leaf)}


# --- rows --------------------------------------------------------------------------------------------------


@comfytype("COMFY_DYNAMICGROUP_V3")
class _DynamicGroup(ComfyTypeI):
    """Rows of inputs (`rows.0.name`): the function gets a list of dicts."""

    Type = list[dict[str, Any]]

    class Input(DynamicInput):
        def __init__(self, id: str, template: Sequence[Input], min: int = 0, max: int = 20,
                     group_name: str | None = None, display_name: str | None = None, optional: bool = False,
                     tooltip: str | None = None, lazy: bool | None = None, extra_dict: dict[str, Any] | None = None,
                     raw_link: bool | None = None, advanced: bool | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
            if max > MOST_NAMES or not 0 <= min <= max:
                raise ValueError(f"a group has {MOST_NAMES} rows at most, and {min} to {max} were to be allowed")
            self.template = list(template)
            self.min = min
            self.max = max
            self.group_name = group_name

        def _own_options(self) -> dict[str, Any]:
            return given(template=declared_by_category(self.template), min=self.min, max=self.max,
                         group_name=self.group_name)

        def _row_of(self, path: str, name: str) -> int | None:
            """The row that a flat name is in; None if it is written as none can be."""
            row, _, field = name[len(path) + 1:].partition(".")
            if not (row.isascii() and row.isdigit() and len(row) <= 3 and str(int(row)) == row):
                return None
            is_field = any(field == one.id or (one.is_dynamic and field.startswith(f"{one.id}."))
                           for one in self.template)
            return int(row) if is_field and int(row) < self.max else None

        def _rows_in(self, path: str, flat: Iterable[str]) -> set[int]:
            rows = {self._row_of(path, name) for name in flat if name.startswith(f"{path}.")}
            return {row for row in rows if row is not None}

        def declare_at(self, path: str, given_inputs: Mapping[str, Any], into: FlatDeclarations,
                       is_needed: bool = True) -> None:
            into.misfits += [name for name in given_inputs
                             if name.startswith(f"{path}.") and self._row_of(path, name) is None]
            rows = self._rows_in(path, given_inputs)
            if is_needed and not self.optional and max(rows, default=-1) + 1 < self.min:
                into.misfits.append(path)
            for row in sorted(rows):
                _declare_all(self.template, f"{path}.{row}", given_inputs, into)

        def find_within(self, path: str, name: str) -> Declared | None:
            row = self._row_of(path, name)
            return None if row is None else _find_among(self.template, f"{path}.{row}", name)

        def nested_at(self, path: str, flat: Mapping[str, Any], leaf: Leaf) -> Any:
            count = max(self._rows_in(path, flat), default=-1) + 1
            blank = dict.fromkeys(one.id for one in self.template)
            return [{**blank, **_nested(self.template, f"{path}.{row}", flat, leaf)} for row in range(count)]


# --- one input, several types ------------------------------------------------------------------------------


def _joined_types(types: Any) -> TypeName:
    """The names of one type or several, with commas between them."""
    several = types if isinstance(types, (list, tuple, set)) else [types]
    return TypeName(",".join(dict.fromkeys(str(one if isinstance(one, str) else one.io_type) for one in several)))


class MultiType:
    """An input that takes any of several types."""

    Type = Any

    class Input(Input):
        """:param id: its name, or a field that clients show while nothing is linked."""

        Parent = ComfyTypeIO

        def __init__(self, id: str | WidgetInput, types: Sequence[Any], display_name: str | None = None,
                     optional: bool = False, tooltip: str | None = None, lazy: bool | None = None,
                     extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                     advanced: bool | None = None) -> None:
            self.input_override: WidgetInput | None = None
            if isinstance(id, WidgetInput):
                widget = self.input_override = copy.copy(id)
                super().__init__(widget.id, display_name or widget.display_name, optional or widget.optional,
                                 tooltip or widget.tooltip, widget.lazy if lazy is None else lazy,
                                 {**widget.extra_dict, **(extra_dict or {})},
                                 widget.rawLink if raw_link is None else raw_link,
                                 widget.advanced if advanced is None else advanced)
                widget.widget_type = str(widget.get_io_type())
                types = [widget.get_io_type(), *types]
            else:
                super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
            self._io_type = _joined_types(list(types))

        @property
        def io_type(self) -> str:
            return self._io_type

        def as_dict(self) -> dict[str, Any]:
            widget = {} if self.input_override is None else self.input_override.as_dict()
            return {**widget, **super().as_dict()}

        def default_value(self) -> Any:
            return ABSENT if self.input_override is None else self.input_override.default_value()


@comfytype("COMFY_MATCHTYPE_V3")
class MatchType(ComfyTypeIO):
    """Inputs and outputs that have the same type, whichever it is. Clients see to it."""

    class Template:
        def __init__(self, template_id: str, allowed_types: Any = "*") -> None:
            self.template_id = template_id
            self.allowed_types = _joined_types(allowed_types)

        def as_dict(self) -> dict[str, str]:
            return {"template_id": self.template_id, "allowed_types": str(self.allowed_types)}

    class Input(Input):
        def __init__(self, id: str, template: MatchType.Template, display_name: str | None = None,
                     optional: bool = False, tooltip: str | None = None, lazy: bool | None = None,
                     extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                     advanced: bool | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
            self.template = template

        def _own_options(self) -> dict[str, Any]:
            return {"template": self.template.as_dict()}

    class Output(Output):
        """Takes the template first, or the name first as an earlier version did."""

        def __init__(self, template: MatchType.Template | str, id: Any = None, display_name: str | None = None,
                     tooltip: str | None = None, is_output_list: bool = False) -> None:
            if isinstance(id, MatchType.Template):
                template, id = id, template
            assert isinstance(template, MatchType.Template)
            super().__init__(id, display_name, tooltip, is_output_list)
            self.template = template

        @property
        def match_template(self) -> str | None:
            return self.template.template_id
