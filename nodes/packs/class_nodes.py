"""Class-attribute nodes (`INPUT_TYPES`, `RETURN_TYPES`, `FUNCTION` …), each turned into a `NodeDefinition`."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from operator import is_not
from typing import Any

from execution import (
    EveryType,
    ExecutionBlocker,
    Hook,
    InputSpec,
    NodeDefinition,
    NodeInterface,
    NodeResult,
    PromptScope,
)

from .class_info import ClassInfo
from .constant_declarations import ConstantDeclaration, has_plain_types
from .dynamic_prompt import DynamicPrompt
from .patience import patience_of

MATCH_TYPE = "COMFY_MATCHTYPE_V3"
_CONVERSIONS: Mapping[str, type] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
_SECRETS = {"AUTH_TOKEN_COMFY_ORG": "auth_token_comfy_org", "API_KEY_COMFY_ORG": "api_key_comfy_org",
            "AUTH_TOKEN_STUDIO_ORG": "auth_token_comfy_org", "API_KEY_STUDIO_ORG": "api_key_comfy_org"}
SECRET_SELECTORS = frozenset(_SECRETS)
PERSONAL_SELECTORS = SECRET_SELECTORS | {"UNIQUE_ID", "PROMPT", "EXTRA_PNGINFO", "DYNPROMPT", "EXECUTION_LIST"}
"""Hidden inputs that tell one prompt from another: who takes them never shares a running call."""

HIDDEN_VALUES: Mapping[str, Callable[[PromptScope, str, bool], Any]] = {
    "UNIQUE_ID": lambda scope, node_id, reduced: node_id,
    "PROMPT": lambda scope, node_id, reduced: {} if reduced else DynamicPrompt.of(scope).original_prompt,
    "DYNPROMPT": lambda scope, node_id, reduced: None if reduced else DynamicPrompt.of(scope),
    "EXTRA_PNGINFO": lambda scope, node_id, reduced: None if reduced else scope.extra_data.get("extra_pnginfo"),
    "COMFY_USAGE_SOURCE": lambda scope, node_id, reduced: None if reduced
    else scope.extra_data.get("comfy_usage_source"),
    **{selector: partial(lambda key, scope, node_id, reduced: None if reduced else scope.secrets.get(key), key)
       for selector, key in _SECRETS.items()},
}


def define_class_node(class_type: str, node_class: type, origin: str,
                      display_name: str | None = None, *, shown_as_schema: bool = False) -> NodeDefinition:
    """What the engine has to know of a class-attribute node.

    :param origin: the module that it comes from: `nodes`, `custom_nodes.<folder>` …
    :param shown_as_schema: whether clients are told of it as of a node that describes itself by a schema.
    :raises TypeError: the class lacks something that every node needs.
    """
    for name in ("INPUT_TYPES", "RETURN_TYPES", "FUNCTION"):
        if not hasattr(node_class, name):
            raise TypeError(f"node class {class_type!r} has no {name}")
    function_name = node_class.FUNCTION
    function = getattr(node_class, function_name, None)
    if not callable(function):
        raise TypeError(f"node class {class_type!r} has no method {function_name!r}, which its FUNCTION names")
    is_async = inspect.iscoroutinefunction(function)
    lazy_check = getattr(node_class, "check_lazy_status", None)
    validate, fingerprint = _hooks_of(node_class)
    declaration = ConstantDeclaration(node_class, partial(_describe, node_class))
    return NodeDefinition(
        class_type=class_type, origin=origin, describe=declaration.ask, create=node_class,
        describe_in_place=declaration.known if has_plain_types(node_class.RETURN_TYPES) else None,
        creates_in_place=node_class.__init__ is object.__init__ and node_class.__new__ is object.__new__,
        function=lambda instance: getattr(instance, function_name), is_async=is_async, read_result=read_result,
        hidden_values=_hidden_values,
        info=ClassInfo(class_type, node_class, origin, display_name, shown_as_schema),
        is_output=getattr(node_class, "OUTPUT_NODE", False) is True,
        is_shown_again=bool(getattr(node_class, "HAS_INTERMEDIATE_OUTPUT", False)),
        input_is_list=bool(getattr(node_class, "INPUT_IS_LIST", False)),
        output_types=output_types(node_class.RETURN_TYPES),
        output_is_list=tuple(getattr(node_class, "OUTPUT_IS_LIST", ())),
        needs=needs_of(class_type, node_class, is_async), **patience_of(class_type, node_class),
        validate=validate, fingerprint=fingerprint,
        lazy_check=None if lazy_check is None else lambda instance: instance.check_lazy_status,
        lazy_check_is_async=inspect.iscoroutinefunction(lazy_check))


def needs_of(class_type: str, node_class: type, is_async: bool) -> tuple[tuple[str, int], ...]:
    """Tokens that a call holds. Only what the class itself declares counts: a pack's subclass of a node that may
    overlap with others was not written with that in mind."""
    declared = node_class.__dict__.get("RESOURCES")
    if declared is None:
        return () if is_async else (("gpu", 1),)
    if not isinstance(declared, Mapping) or not all(
            isinstance(pool, str) and type(tokens) is int and tokens >= 0 for pool, tokens in declared.items()):
        raise TypeError(f"RESOURCES of {class_type!r} must map names of pools to whole numbers, not {declared!r}")
    return tuple(sorted((pool, tokens) for pool, tokens in declared.items() if tokens))


def _describe(node_class: Any) -> NodeInterface:
    __tracebackhide__ = True  # an error of the class is told without this frame
    types = node_class.INPUT_TYPES()
    hidden = {name: _selector_of(declared) for name, declared in (types.get("hidden") or {}).items()}
    selectors = {selector for selector in hidden.values() if isinstance(selector, str)}
    return NodeInterface(
        types.get("required") or {}, types.get("optional") or {}, compile_input, hidden=hidden,
        has_own_identity=bool(getattr(node_class, "NOT_IDEMPOTENT", False)) or "UNIQUE_ID" in selectors,
        is_shareable=not getattr(node_class, "API_NODE", False) and not selectors & PERSONAL_SELECTORS,
        takes_secrets=not selectors.isdisjoint(SECRET_SELECTORS))


def _selector_of(declared: Any) -> Any:
    """What selects a hidden value: a text, also as the only member of a list, as the other generation shows it."""
    if isinstance(declared, (list, tuple)) and len(declared) == 1:
        return declared[0]
    return declared


def compile_input(name: str, declared: Any, is_required: bool) -> InputSpec:
    kind = declared[0]
    options = declared[1] if len(declared) > 1 and isinstance(declared[1], dict) else {}
    choices = None
    convert = None
    if isinstance(kind, (list, tuple)):
        choices = kind
    elif isinstance(kind, str):
        # Asked of `str` itself: some packs' types claim to equal everything.
        convert = next((one for word, one in _CONVERSIONS.items() if str.__eq__(kind, word)), None)
        if str.__eq__(kind, "COMBO") and isinstance(options.get("options"), (list, tuple)) \
                and not options.get("remote") and not options.get("remote_combo"):
            choices = options["options"]
    is_multiple = bool(options.get("multiselect") or options.get("multi_select"))
    return InputSpec(name=name, type=engine_type(kind), is_required=is_required, is_lazy=bool(options.get("lazy")),
                     wants_link=bool(options.get("rawLink")), convert=convert, minimum=options.get("min"),
                     maximum=options.get("max"), choices=choices, is_multiple=is_multiple, declared=[kind, options])


def engine_type(kind: Any) -> Any:
    """A declared type as the engine is to take it. One that clients match by a template fits every other."""
    if isinstance(kind, str) and MATCH_TYPE in (one.strip() for one in str.split(kind, ",")):
        return EveryType(str.__str__(kind))
    return kind


def output_types(declared: Any) -> Any:
    """The types of outputs, in what the class keeps them in if there is nothing to say of them: some packs' tuples have
    an opinion of their own."""
    if not isinstance(declared, (list, tuple)):
        return declared
    types = [engine_type(one) for one in declared]
    return types if any(map(is_not, types, declared)) else declared


def _hidden_values(interface: NodeInterface, scope: PromptScope, node_id: str, reduced: bool) -> dict[str, Any]:
    """Values of hidden inputs by parameter. What is selected by anything unknown gets none."""
    return {name: HIDDEN_VALUES[selector](scope, node_id, reduced)
            for name, selector in interface.hidden.items()
            if isinstance(selector, str) and selector in HIDDEN_VALUES}


def _hooks_of(node_class: type) -> tuple[Hook | None, Hook | None]:
    """Validator and change check of a class."""
    validator = _hook_named(node_class, "VALIDATE_INPUTS") or _hook_named(node_class, "validate_inputs")
    check = _change_check(node_class)
    other = _hook_named(node_class, "fingerprint_inputs")
    if check is not None or other is None:
        return validator, check
    if validator is None:
        # It may be meant as either: True passes, False and a text refuse, anything else is a fingerprint.
        validator = Hook(_judging(other), other.is_async, other.parameters, replaces_checks=False)
    return validator, other


def _change_check(node_class: type) -> Hook | None:
    """`IS_CHANGED`, which gets every declared input and hidden value by its name, whatever it takes.

    One that does not take them raises, and its node runs each time: authors who answer True and mean "always" count
    on that without knowing.
    """
    found = getattr(node_class, "IS_CHANGED", None)
    return None if found is None else Hook(found, inspect.iscoroutinefunction(found), parameters=None)


def _hook_named(node_class: type, name: str) -> Hook | None:
    found = getattr(node_class, name, None)
    if found is None:
        return None
    hook = Hook.of(found)
    if hook.parameters is not None and "self" in hook.parameters and inspect.isfunction(found):
        # Written as an instance method. Hooks are asked before there is an instance, so it gets a blank one.
        return Hook(partial(found, object.__new__(node_class)), hook.is_async, hook.parameters - {"self"})
    return hook


def _judging(hook: Hook) -> Callable[..., Any]:
    def judge(answer: Any) -> Any:
        return answer if answer is False or isinstance(answer, str) else True

    async def ask(**arguments: Any) -> Any:
        return judge(await hook.call(**arguments))

    return ask if hook.is_async else lambda **arguments: judge(hook.call(**arguments))


def read_result(returned: Any) -> NodeResult:
    """What a node's function returned: a tuple, a dict of `ui`, `result` and `expand`, or a blocker.

    :raises TypeError: it is none of these.
    """
    ui = expansion = None
    if isinstance(returned, dict):
        ui, expansion = returned.get("ui") or None, returned.get("expand")
        if "result" not in returned and expansion is None:
            return NodeResult(outputs=(), ui=ui)
        returned = returned.get("result")
    if isinstance(returned, ExecutionBlocker):
        return NodeResult(ui=ui, expansion=expansion, blocker=returned)
    if returned.__class__ is not tuple and not isinstance(returned, list):
        if _is_node_output(returned):  # of a schema node that was called as a library
            blocker, ui = returned.blocker, returned.ui
            return NodeResult(outputs=returned.args, expansion=returned.expand, blocker=blocker,
                              ui=(ui.as_dict() if hasattr(ui, "as_dict") else ui) or None)
        returned = [returned[index] for index in range(len(returned))]
    return NodeResult(outputs=returned, ui=ui, expansion=expansion)


def _is_node_output(returned: Any) -> bool:
    if not hasattr(returned, "block_execution"):  # else this process need not load the words of schema nodes
        return False
    from .schema.schema import NodeOutput

    return isinstance(returned, NodeOutput)
