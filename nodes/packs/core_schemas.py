"""Built-in nodes that describe themselves by a schema there: that schema, made of what ours declare.

Ours are all of one kind, with `INPUT_TYPES` and the like. What clients are told of a node follows from either alike.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from nodes import DISPLAY_NAMES

from .schema import io_words as io
from .schema.io_types import PLAIN_TYPES

_FIELDS = {"INT": io.Int, "FLOAT": io.Float, "STRING": io.String, "BOOLEAN": io.Boolean, "COMBO": io.Combo}
_TYPES = {**{io_type: getattr(io, name) for name, io_type in PLAIN_TYPES.items()}, **_FIELDS}
_PARAMETERS = {"forceInput": "force_input", "dynamicPrompts": "dynamic_prompts", "display": "display_mode",
               "widgetType": "widget_type", "rawLink": "raw_link"}
"""Parameters of inputs that clients know by another name."""
_HOOKS = {"VALIDATE_INPUTS": "validate_inputs", "IS_CHANGED": "fingerprint_inputs",
          "check_lazy_status": "check_lazy_status"}


def schema_of(node_id: str, node: Any) -> io.Schema:
    """The schema of a built-in node, made anew: its choices may change, and packs write into what they get.

    :param node: its class in the catalogue.
    """
    types = node.INPUT_TYPES()
    return io.Schema(
        node_id=node_id, display_name=DISPLAY_NAMES.get(node_id), category=node.CATEGORY,
        description=getattr(node, "DESCRIPTION", ""), search_aliases=list(getattr(node, "SEARCH_ALIASES", ())) or None,
        inputs=[_input(name, declared, category == "optional") for category in ("required", "optional")
                for name, declared in (types.get(category) or {}).items()],
        outputs=_outputs(node), hidden=[io.Hidden(_selector(one)) for one in (types.get("hidden") or {}).values()],
        is_input_list=bool(getattr(node, "INPUT_IS_LIST", False)),
        is_output_node=bool(getattr(node, "OUTPUT_NODE", False)),
        is_deprecated=bool(getattr(node, "DEPRECATED", False)),
        is_experimental=bool(getattr(node, "EXPERIMENTAL", False)),
        is_dev_only=bool(getattr(node, "DEV_ONLY", False)), is_api_node=bool(getattr(node, "API_NODE", False)),
        not_idempotent=bool(getattr(node, "NOT_IDEMPOTENT", False)),
        has_intermediate_output=bool(getattr(node, "HAS_INTERMEDIATE_OUTPUT", False)),
        essentials_category=getattr(node, "ESSENTIALS_CATEGORY", None))


def _selector(declared: Any) -> str:
    return str(declared[0] if isinstance(declared, (tuple, list)) else declared)


def _input(name: str, declared: tuple[Any, ...], optional: bool) -> Any:
    io_type, options = declared[0], dict(declared[1]) if len(declared) > 1 else {}
    kind = _TYPES.get(io_type) or io.Custom(io_type)
    known = inspect.signature(kind.Input).parameters
    if kind is io.Combo:
        options.pop("multiselect", None)  # every choice of one says so
        uploads = [one for one in io.UploadType if options.pop(one.value, None)]
        options["upload"] = uploads[0] if uploads else None
    arguments: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for option, value in options.items():
        parameter = _PARAMETERS.get(option, option)
        if parameter in known:
            arguments[parameter] = value
        else:
            others[option] = value
    return kind.Input(name, optional=optional, extra_dict=others, **arguments)


def _outputs(node: Any) -> list[io.Output]:
    types = list(node.RETURN_TYPES)
    names = list(getattr(node, "RETURN_NAMES", ())) or [None] * len(types)
    tooltips = list(getattr(node, "OUTPUT_TOOLTIPS", ())) or [None] * len(types)
    are_lists = list(getattr(node, "OUTPUT_IS_LIST", ())) or [False] * len(types)
    return [(_TYPES.get(io_type) or io.Custom(io_type)).Output(
        display_name=name, tooltip=tooltip, is_output_list=is_list)
        for io_type, name, tooltip, is_list in zip(types, names, tooltips, are_lists, strict=True)]


def members_of(node_id: str, node: Any) -> dict[str, Any]:
    """What makes a schema class of a built-in node whose function is a class method: its hooks, under their names."""
    function = getattr(node, node.FUNCTION).__func__
    hooks: dict[str, Any] = {name: classmethod(getattr(node, ours).__func__)
                             for ours, name in _HOOKS.items() if hasattr(node, ours)}
    return {"define_schema": classmethod(lambda cls: schema_of(node_id, node)),
            "execute": classmethod(_executes(function, _hidden_of(node, function))), **hooks}


def _hidden_of(node: Any, function: Callable[..., Any]) -> dict[str, str]:
    """Parameters that take hidden values, and the names under which a schema class has these."""
    named = {one.name for one in io.Hidden}
    if named.isdisjoint(inspect.signature(function).parameters):
        return {}  # without asking the node, which may list files for the answer
    declared = node.INPUT_TYPES().get("hidden") or {}
    return {parameter: io.Hidden(_selector(one)).name for parameter, one in declared.items()}


def _executes(function: Callable[..., Any], hidden: Mapping[str, str]) -> Callable[..., io.NodeOutput]:
    """Calls the function of one of ours. It takes hidden values as parameters; a schema class has them on itself."""
    def execute(cls: Any, *args: Any, **inputs: Any) -> io.NodeOutput:
        __tracebackhide__ = True
        if hidden:
            given = inspect.signature(function).bind_partial(cls, *args, **inputs).arguments
            inputs.update({parameter: getattr(cls.hidden, name) for parameter, name in hidden.items()
                           if parameter not in given})
        return _as_output(function(cls, *args, **inputs))

    execute.__doc__ = function.__doc__
    signature = inspect.signature(function)
    execute.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[one for name, one in signature.parameters.items() if name not in hidden])
    return execute


def _as_output(returned: Any) -> io.NodeOutput:
    """What a schema node returns, made of what one of ours does."""
    if isinstance(returned, Mapping):
        return io.NodeOutput(*(returned.get("result") or ()), ui=returned.get("ui"))
    return io.NodeOutput(*returned)
