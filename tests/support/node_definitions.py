"""Nodes for tests of the engine: `NodeDefinition`s made from a function, without any generation of node classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from execution import Hook, InputSpec, NodeDefinition, NodeInterface, NodeRegistry, NodeResult, PromptScope

ANY = "*"
CONVERSIONS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


class AnythingGoes(Mapping[str, Any]):
    """Declares every name that it is asked for."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Any:
        return (ANY,)

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def spec_of(name: str, declared: Any, is_required: bool) -> InputSpec:
    """The spec of `(type, options)`."""
    kind, options = declared[0], declared[1] if len(declared) > 1 else {}
    return InputSpec(
        name=name, type=kind, is_required=is_required, is_lazy=options.get("lazy", False),
        wants_link=options.get("raw_link", False), convert=CONVERSIONS.get(kind) if isinstance(kind, str) else None,
        minimum=options.get("min"), maximum=options.get("max"),
        choices=kind if isinstance(kind, (list, tuple)) else None, is_multiple=options.get("multiple", False),
        declared=[kind, options])


def read_result(returned: Any) -> NodeResult:
    """A tuple is outputs, a NodeResult is itself, anything else the only output."""
    if isinstance(returned, NodeResult):
        return returned
    return NodeResult(outputs=returned if isinstance(returned, tuple) else (returned,))


def hidden_values(interface: NodeInterface, scope: PromptScope, node_id: str, reduced: bool) -> dict[str, Any]:
    """`NODE_ID` and `PROMPT_ID` are known; hooks get None for the latter."""
    known = {"NODE_ID": node_id, "PROMPT_ID": None if reduced else scope.prompt_id}
    return {name: known[selector] for name, selector in interface.hidden.items()}


def define(class_type: str, function: Callable[..., Any], *, required: Mapping[str, Any] | None = None,
           optional: Mapping[str, Any] | None = None, outputs: Sequence[Any] = (ANY,),
           needs: Mapping[str, int] | None = None, is_output: bool = False, is_shareable: bool = True,
           has_own_identity: bool = False, hidden: Mapping[str, Any] | None = None,
           describe: Callable[[], NodeInterface] | None = None, create: Callable[[], Any] | None = None,
           bind: Callable[[Any], Callable[..., Any]] | None = None, validate: Callable[..., Any] | None = None,
           fingerprint: Callable[..., Any] | None = None, lazy_check: Callable[..., Any] | None = None,
           origin: str = "tests", **more: Any) -> NodeDefinition:
    """A node that calls `function`. A plain one takes the gpu's token unless `needs` says otherwise.

    :param optional: declared inputs; by default whatever the prompt gives.
    :param bind: makes the function of an instance; by default all instances share `function`.
    """
    is_async = inspect.iscoroutinefunction(function)
    if needs is None:
        needs = {} if is_async else {"gpu": 1}

    def declare() -> NodeInterface:
        return NodeInterface(required or {}, AnythingGoes() if optional is None else optional, spec_of,
                             hidden=hidden, has_own_identity=has_own_identity, is_shareable=is_shareable)

    return NodeDefinition(
        class_type=class_type, origin=origin, describe=describe or declare, create=create or object,
        creates_in_place=create is None, function=bind or (lambda instance: function), is_async=is_async,
        read_result=read_result, hidden_values=hidden_values, info=dict, is_output=is_output, output_types=outputs,
        needs=tuple(sorted(needs.items())), validate=None if validate is None else Hook.of(validate),
        fingerprint=None if fingerprint is None else Hook.of(fingerprint),
        lazy_check=None if lazy_check is None else lambda instance: lazy_check,
        lazy_check_is_async=inspect.iscoroutinefunction(lazy_check), **more)


def registry_of(definitions: Iterable[NodeDefinition]) -> NodeRegistry:
    registry = NodeRegistry()
    for definition in definitions:
        registry.add(definition)
    return registry


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node of a prompt."""
    return {"class_type": class_type, "inputs": inputs}


def show(**more: Any) -> NodeDefinition:
    """An async output node that shows what it gets."""
    async def shown(**values: Any) -> NodeResult:
        return NodeResult(outputs=tuple(values.values()), ui={name: [value] for name, value in values.items()})

    return define("Show", shown, is_output=True, **more)
