"""Nodes that describe themselves by a schema, each turned into a `NodeDefinition`.

The engine hands inputs over under flat names. Here they are nested as the schema says, and each call gets a locked copy
of the class that knows the hidden values of the call.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from execution import Hook, InputSpec, NodeDefinition, NodeInterface, NodeResult, PromptScope

from .class_nodes import HIDDEN_VALUES, PERSONAL_SELECTORS, SECRET_SELECTORS, compile_input, needs_of, output_types
from .patience import patience_of
from .schema.dynamic_inputs import DYNAMIC_COMBO
from .schema.io_types import ABSENT, Declared, Leaf
from .schema.node_class import ComfyNode, has_own, locked_clone, normalized
from .schema.node_info import node_info
from .schema.schema import NO_HIDDEN, HiddenHolder, Schema

HIDDEN = "(hidden)"
"""The parameter under which the engine hands over hidden values; no input of a schema can have this name."""
_CLONE = "(class)"
"""Where hidden values keep the class that was made for them."""


def define_schema_node(class_type: str, node_class: type[ComfyNode], origin: str,
                       display_name: str | None = None) -> NodeDefinition:
    """What the engine has to know of a node that is described by a schema.

    :param origin: the module that it comes from: `custom_nodes.<folder>` …
    :param display_name: what a person reads instead of what the schema says.
    :raises TypeError: the class lacks what every node needs. :raises ValueError: its schema contradicts itself.
    """
    node_class.VALIDATE_CLASS()
    node = _SchemaNode(node_class)
    schema = node.schema
    is_async = inspect.iscoroutinefunction(node_class.execute)
    is_list = tuple(one.is_output_list for one in schema.outputs)
    has_lazy_check = has_own(node_class, "check_lazy_status")
    return NodeDefinition(
        class_type=class_type, origin=origin, describe=node.describe,
        create=lambda: node_class, creates_in_place=True,  # there are no instances: all hooks are class methods
        function=lambda _: node.call_async if is_async else node.call, is_async=is_async,
        read_result=node.read_result, hidden_values=hidden_values,
        info=lambda: node_info(class_type, node_class.GET_SCHEMA(), origin, display_name),
        is_output=schema.is_output_node, is_shown_again=schema.has_intermediate_output,
        input_is_list=schema.is_input_list,
        output_types=output_types([one.get_io_type() for one in schema.outputs]),
        output_is_list=is_list if any(is_list) else (),
        needs=needs_of(class_type, node_class, is_async), **patience_of(class_type, node_class),
        validate=node.hook("validate_inputs"),
        fingerprint=node.hook("fingerprint_inputs"),
        lazy_check=(lambda _: node.lazy_check()) if has_lazy_check else None,
        lazy_check_is_async=has_lazy_check and inspect.iscoroutinefunction(node_class.check_lazy_status))


def hidden_values(interface: NodeInterface, scope: PromptScope, node_id: str, reduced: bool) -> dict[str, Any]:
    """All hidden values of a node, as one argument; none if it asks for none."""
    if HIDDEN not in interface.hidden:
        return {}
    return {HIDDEN: HiddenHolder({name: HIDDEN_VALUES[selector](scope, node_id, reduced)
                                  for name, selector in interface.hidden[HIDDEN].items()
                                  if selector in HIDDEN_VALUES})}


class _SchemaNode:
    """One class: calls its hooks with what the engine hands over."""

    def __init__(self, node_class: type[ComfyNode]) -> None:
        self._class = node_class
        self._blank_clone = locked_clone(node_class, NO_HIDDEN)
        self._without_default = frozenset(
            one.name for one in inspect.signature(node_class.execute).parameters.values()
            if one.default is one.empty and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))
        self.schema = node_class.GET_SCHEMA()
        """As it was declared last."""

    # -- what it declares -----------------------------------------------------------------------------------------

    def describe(self) -> NodeInterface:
        schema = self.schema = self._class.GET_SCHEMA()
        selectors = {one.value for one in schema.hidden}
        common: dict[str, Any] = {
            "hidden": {HIDDEN: {one.name: one.value for one in schema.hidden}} if schema.hidden else None,
            "has_own_identity": schema.not_idempotent or "UNIQUE_ID" in selectors,
            "is_shareable": not schema.is_api_node and not selectors & PERSONAL_SELECTORS,
            "takes_secrets": not selectors.isdisjoint(SECRET_SELECTORS),
            "accepts_everything": schema.accept_all_inputs}
        if not any(one.is_dynamic for one in schema.inputs):
            declared = schema.flat_declarations({})
            return NodeInterface(declared.required, declared.optional, _compile, **common)

        def for_given(inputs: Mapping[str, Any]) -> NodeInterface:
            declared = schema.flat_declarations(inputs)
            return NodeInterface(declared.required, declared.optional, _compile, has_groups=True,
                                 misfits=declared.misfits, **common)

        return NodeInterface({}, _PossibleInputs(schema), _compile, has_groups=True, for_given=for_given, **common)

    def hook(self, name: str) -> Hook | None:
        """A hook of the class, if it has one of its own."""
        if not has_own(self._class, name):
            return None
        function = getattr(self._class, name)
        read = Hook.of(function)
        parameters = None if read.parameters is None else read.parameters | {HIDDEN}
        return _HookOfGroups(self._caller(name, parameters, _plain), read.is_async, parameters)

    def lazy_check(self) -> Callable[..., Any]:
        return self._caller("check_lazy_status", None, _with_flat_name)

    # -- calls ----------------------------------------------------------------------------------------------------

    def call(self, **arguments: Any) -> Any:
        __tracebackhide__ = True  # here and below: an error of a node is told without this frame
        clone = self._clone(arguments)
        return clone.execute(**self._complete(self._nested(arguments, _plain)))

    async def call_async(self, **arguments: Any) -> Any:
        __tracebackhide__ = True
        clone = self._clone(arguments)
        return await clone.execute(**self._complete(self._nested(arguments, _plain)))

    def _caller(self, name: str, parameters: frozenset[str] | None, leaf: Leaf) -> Callable[..., Any]:
        """Calls a hook with those of its arguments that it takes: all, if `parameters` is None."""
        def prepared(arguments: dict[str, Any]) -> Any:
            function = getattr(self._clone(arguments), name)
            nested = self._nested(arguments, leaf)
            return partial(function, **{key: value for key, value in nested.items()
                                        if parameters is None or key in parameters})

        def call(**arguments: Any) -> Any:
            __tracebackhide__ = True
            return prepared(arguments)()

        async def call_async(**arguments: Any) -> Any:
            __tracebackhide__ = True
            return await prepared(arguments)()

        return call_async if inspect.iscoroutinefunction(getattr(self._class, name)) else call

    def _clone(self, arguments: dict[str, Any]) -> type[ComfyNode]:
        """The class for one call; takes the hidden values out of its arguments."""
        hidden = arguments.pop(HIDDEN, None)
        if hidden is None:
            return self._blank_clone
        known = vars(hidden[0] if isinstance(hidden, list) else hidden)
        if _CLONE not in known:  # all items of a list are called with the same hidden values: one class does for them
            known[_CLONE] = locked_clone(self._class, hidden[0] if isinstance(hidden, list) else hidden)
        clone: type[ComfyNode] = known[_CLONE]
        return clone

    def _nested(self, flat: dict[str, Any], leaf: Leaf) -> dict[str, Any]:
        """Arguments as the function gets them. What stands under a group and is not of it is left out."""
        groups = [one for one in self.schema.inputs if one.is_dynamic]
        if not groups:
            return flat
        roots = {one.id for one in groups}
        nested = {name: value for name, value in flat.items() if name.partition(".")[0] not in roots}
        values = {one.id: one.nested_at(one.id, flat, leaf) for one in groups}
        return {**nested, **{name: value for name, value in values.items() if value is not ABSENT}}

    def _complete(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Arguments, with the schema's default for those that were left out and have none in the function."""
        for one in self.schema.all_inputs():
            if one.optional and one.id not in arguments and one.id in self._without_default \
                    and (default := one.default_value()) is not ABSENT:
                default = copy.deepcopy(default)
                arguments[one.id] = [default] if self.schema.is_input_list else default
        return arguments

    # -- results --------------------------------------------------------------------------------------------------

    def read_result(self, returned: Any) -> NodeResult:
        """What `execute` returned, in the engine's words.

        :raises TypeError: it is nothing that a node may return. :raises ValueError: a subgraph that was not announced.
        """
        output = normalized(self._class, returned)
        if output.expand is not None and not self.schema.enable_expand:
            raise ValueError(f"node {self._class.__name__} returned a subgraph: its schema has to say "
                             "enable_expand=True")
        return NodeResult(outputs=output.args, ui=_shown(output.ui), expansion=output.expand, blocker=output.blocker)


def _shown(ui: Any) -> Mapping[str, Any] | None:
    if ui is None:
        return None
    shown = ui.as_dict() if hasattr(ui, "as_dict") else ui
    if not isinstance(shown, Mapping):
        raise TypeError(f"what a node shows is a dict or a class of ui, not {type(ui).__name__}")
    return shown or None


def _plain(name: str, value: Any) -> Any:
    return value


def _with_flat_name(name: str, value: Any) -> Any:
    """A check of lazy inputs learns of each nested value what to ask for."""
    return (value, name)


def _compile(name: str, declared: Declared, is_required: bool) -> InputSpec:
    kind, options = declared
    if kind == DYNAMIC_COMBO:
        return InputSpec(name=name, type=kind, is_required=is_required, is_lazy=bool(options.get("lazy")),
                         choices=[one["key"] for one in options["options"]], declared=[kind, options])
    return compile_input(name, declared, is_required)


class _PossibleInputs(Mapping[str, Any]):
    """What each flat name may be declared as, whatever else a node is given."""

    def __init__(self, schema: Schema) -> None:
        self._inputs = schema.all_inputs()

    def __getitem__(self, name: str) -> Declared:
        root = name.partition(".")[0]
        for one in self._inputs:
            if one.id in (root, name) and (found := one.find(one.id, name)) is not None:
                return found
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (one.id for one in self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)


@dataclass(frozen=True, slots=True)
class _HookOfGroups(Hook):
    """Takes all of a group whose name it names."""

    def takes(self, name: str) -> bool:
        return self.parameters is None or name in self.parameters or name.partition(".")[0] in self.parameters
