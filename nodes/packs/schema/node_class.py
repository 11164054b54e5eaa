"""`ComfyNode`: the base of nodes that describe themselves by a schema, all of whose hooks are class methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from execution import ExecutionBlocker

from .schema import NO_HIDDEN, HiddenHolder, NodeOutput, Schema

HOOKS = ("validate_inputs", "fingerprint_inputs", "check_lazy_status")


class _SchemaFact:
    """An attribute that is read off the schema, on the class and on instances."""

    def __init__(self, read: Callable[[Schema], Any]) -> None:
        self._read = read

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self._read(owner.GET_SCHEMA())


class _FunctionName:
    """The name of the method that hosts of plain classes call."""

    def __get__(self, instance: Any, owner: Any) -> str:
        return "EXECUTE_NORMALIZED_ASYNC" if inspect.iscoroutinefunction(owner.execute) else "EXECUTE_NORMALIZED"


def output_names(schema: Schema) -> list[str]:
    return [one.display_name or str(one.get_io_type()) for one in schema.outputs]


class ComfyNode:
    """A node. Subclasses define `define_schema` and `execute`, and may define the other hooks; each may be async."""

    hidden: ClassVar[HiddenHolder] = NO_HIDDEN
    """The hidden values of the call. Only there on the class that hooks get."""
    resources: ClassVar[Any] = None
    local_resources: Any = None
    RELATIVE_PYTHON_MODULE: ClassVar[str | None] = None

    # -- hooks ----------------------------------------------------------------------------------------------------

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError(f"{cls.__name__} has no define_schema")

    @classmethod
    def execute(cls, **inputs: Any) -> Any:
        raise NotImplementedError(f"{cls.__name__} has no execute")

    @classmethod
    def validate_inputs(cls, **inputs: Any) -> Any:
        """True, or what is wrong. Asked only where a class has one of its own."""
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        """What the result depends on beside the inputs. Asked only where a class has one of its own."""
        raise NotImplementedError

    @classmethod
    def check_lazy_status(cls, **inputs: Any) -> list[str]:
        """Which lazy inputs are needed. Asked only where a class has one of its own."""
        return [name for name, value in inputs.items() if value is None]

    # -- the schema -----------------------------------------------------------------------------------------------

    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        """The schema, complete and checked. Made anew each time, as its choices may change."""
        return cls.FINALIZE_SCHEMA()

    @classmethod
    def FINALIZE_SCHEMA(cls) -> Schema:
        schema = cls.define_schema()
        if not isinstance(schema, Schema):
            raise TypeError(f"define_schema of {cls.__name__} returned {type(schema).__name__}, and no Schema")
        schema.finalize()
        schema.validate()
        return schema

    @classmethod
    def VALIDATE_CLASS(cls) -> None:
        """:raises TypeError: it lacks what every node needs."""
        for name in ("define_schema", "execute"):
            if not has_own(cls, name):
                raise TypeError(f"node class {cls.__name__!r} has no {name}")

    # -- as hosts of plain classes see it --------------------------------------------------------------------------

    FUNCTION = _FunctionName()
    CATEGORY = _SchemaFact(lambda schema: schema.category)
    DESCRIPTION = _SchemaFact(lambda schema: schema.description)
    RETURN_TYPES = _SchemaFact(lambda schema: [one.get_io_type() for one in schema.outputs])
    RETURN_NAMES = _SchemaFact(output_names)
    OUTPUT_IS_LIST = _SchemaFact(lambda schema: [one.is_output_list for one in schema.outputs])
    OUTPUT_TOOLTIPS = _SchemaFact(lambda schema: [one.tooltip for one in schema.outputs])
    OUTPUT_NODE = _SchemaFact(lambda schema: schema.is_output_node)
    INPUT_IS_LIST = _SchemaFact(lambda schema: schema.is_input_list)
    HAS_INTERMEDIATE_OUTPUT = _SchemaFact(lambda schema: schema.has_intermediate_output)
    DEPRECATED = _SchemaFact(lambda schema: schema.is_deprecated)
    EXPERIMENTAL = _SchemaFact(lambda schema: schema.is_experimental)
    DEV_ONLY = _SchemaFact(lambda schema: schema.is_dev_only)
    API_NODE = _SchemaFact(lambda schema: schema.is_api_node)
    NOT_IDEMPOTENT = _SchemaFact(lambda schema: schema.not_idempotent)
    SEARCH_ALIASES = _SchemaFact(lambda schema: schema.search_aliases)
    ESSENTIALS_CATEGORY = _SchemaFact(lambda schema: schema.essentials_category)

    @classmethod
    def INPUT_TYPES(cls, include_hidden: bool = True, return_schema: bool = False) -> Any:
        """Inputs by category; with `return_schema` (inputs, schema)."""
        schema = cls.GET_SCHEMA()
        inputs = schema.declared_inputs(include_hidden)
        return (inputs, schema) if return_schema else inputs

    @classmethod
    def EXECUTE_NORMALIZED(cls, *args: Any, **inputs: Any) -> NodeOutput:
        return normalized(cls, cls.execute(*args, **inputs))

    @classmethod
    async def EXECUTE_NORMALIZED_ASYNC(cls, *args: Any, **inputs: Any) -> NodeOutput:
        return normalized(cls, await cls.execute(*args, **inputs))

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict[str, Any]:
        from .node_info import node_info

        schema = cls.GET_SCHEMA()
        return node_info(schema.node_id, schema, cls.RELATIVE_PYTHON_MODULE or "nodes")

    @classmethod
    def GET_NODE_INFO_V3(cls) -> dict[str, Any]:
        return cls.GET_NODE_INFO_V1()

    @classmethod
    def GET_BASE_CLASS(cls) -> type[ComfyNode]:
        return ComfyNode

    @classmethod
    def PREPARE_CLASS_CLONE(cls, hidden_inputs: Any = None) -> type[ComfyNode]:
        """A locked copy of the class, as hooks get it.

        :param hidden_inputs: a HiddenHolder, or values by member of `Hidden`, by its name or its selector.
        """
        holder = hidden_inputs if isinstance(hidden_inputs, HiddenHolder) else HiddenHolder.from_dict(hidden_inputs)
        return locked_clone(cls, holder)


# --- what the host does with such a class ------------------------------------------------------------------


def has_own(node_class: type, name: str) -> bool:
    """Whether a class has a hook that it did not get from ComfyNode."""
    owner = next((one for one in node_class.__mro__ if name in one.__dict__), ComfyNode)
    return owner is not ComfyNode


def is_schema_node(node_class: Any) -> bool:
    return isinstance(node_class, type) and issubclass(node_class, ComfyNode)


_locked_metaclasses: dict[type, type] = {}


def _locked_metaclass(plain: type) -> type:
    """A class of classes whose members can only be read."""
    locked = _locked_metaclasses.get(plain)
    if locked is None:
        def refuse(cls: type, name: str, *value: Any) -> None:
            if name.startswith(("__", "_abc_")):  # Python's own, written while the class is made
                return plain.__setattr__(cls, name, *value) if value else plain.__delattr__(cls, name)
            raise AttributeError(f"Cannot modify class attribute {name!r} of {cls.__name__}: each call has a class of "
                                 "its own, keep state in the module")

        locked = type(f"Locked{plain.__name__.capitalize()}", (plain,), {"__setattr__": refuse, "__delattr__": refuse})
        _locked_metaclasses[plain] = locked
    return locked


def locked_clone(node_class: type[ComfyNode], hidden: HiddenHolder) -> type[ComfyNode]:
    """A subclass that cannot be written to, with the hidden values of a call."""
    clone: type[ComfyNode] = _locked_metaclass(type(node_class))(
        f"{node_class.__name__}Clone", (node_class,), {"hidden": hidden, "__module__": node_class.__module__})
    return clone


def normalized(node_class: type, returned: Any) -> NodeOutput:
    """What `execute` returned, as a NodeOutput.

    :raises TypeError: it is nothing that a node may return.
    """
    if isinstance(returned, NodeOutput):
        return returned
    if returned is None:
        return NodeOutput()
    if isinstance(returned, tuple):
        return NodeOutput(*returned)
    if isinstance(returned, Mapping):
        return NodeOutput.from_dict(returned)
    if isinstance(returned, ExecutionBlocker):
        return NodeOutput.from_dict({"result": returned})
    raise TypeError(f"Invalid return type from node: {type(returned).__name__}, from {node_class.__name__}. "
                    "It may be a NodeOutput, a tuple, a dict or None.")
