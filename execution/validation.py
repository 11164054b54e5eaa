"""(graph, definitions) -> every problem found, not just the first. Iterative and pure: it calls no node.

Done in steps, since nodes have a say in between: `read_graph` takes the prompt apart, `check_graph` compares it with
what the classes declare and names the validators to ask, `conclude` adds what those answered.
"""

import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from .errors import PromptRejected
from .identifiers import NodeId
from .node_errors import part_of_node, text_of
from .node_interface import EveryType, InputSpec, NodeDefinition, NodeInterface
from .node_registry import NodeRegistry
from .node_values import ExecutionBlocker
from .prompt_graph import GraphNode, order_by_sources, parse_links

MOST_REPORTED_NODES = 100
MOST_REPORTED_ERRORS = 20
"""for one node"""
MOST_REPORTED_CYCLES = 100
_LONGEST_TEXT = 2_000

Report = dict[str, Any]


def _error(kind: str, message: str, details: str, **extra_info: Any) -> Report:
    return {"type": kind, "message": message, "details": _cut(details), "extra_info": extra_info}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text)} characters)"


def _some(node_ids: Sequence[NodeId]) -> list[NodeId]:
    """The first ids of a list that goes into many reports: neither many nor long."""
    room = 2 * _LONGEST_TEXT
    some = []
    for node_id in node_ids[:MOST_REPORTED_NODES]:
        room -= len(node_id)
        if room < 0:
            break
        some.append(node_id)
    return some


def _config(spec: InputSpec) -> Any:
    """A declaration as it goes into a report; None for a long list of choices."""
    return None if spec.choices is not None and len(spec.choices) > 20 else spec.declared


def _type_shown(kind: Any) -> Any:
    return f"(list of length {len(kind)})" if isinstance(kind, (list, tuple)) and len(kind) > 20 else kind


def _shown(value: Any) -> Any:
    """A received value as it goes into a report: never much larger than it has to be."""
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, (list, dict)):
        text = repr(value)
        return value if len(text) <= _LONGEST_TEXT else _cut(text)
    return value


class ReadGraph(Struct):
    """A prompt taken apart."""

    nodes: dict[NodeId, GraphNode]
    definitions: dict[str, NodeDefinition]
    without_inputs: set[NodeId]


class ValidatorCall(Struct):
    """A node's own check that has to be asked."""

    node_id: NodeId
    definition: NodeDefinition
    arguments: dict[str, Any]
    received: Sequence[str]
    """Inputs among the arguments: each gets the blame."""


class CheckedGraph(Struct):
    nodes: dict[NodeId, GraphNode]
    definitions: dict[str, NodeDefinition]
    interfaces: dict[str, NodeInterface]
    outputs: list[NodeId]
    """All that the prompt asks for."""
    order: list[NodeId]
    """All nodes that the outputs need, sources first."""
    whole_order: list[NodeId]
    """All nodes of the prompt, sources first."""
    errors: dict[NodeId, list[Report]]
    broken: set[NodeId]
    """Nodes that cannot run though nothing is said of them."""
    validators: list[ValidatorCall]
    blame: dict[NodeId, tuple[InputSpec, list[Any]]] | None = None
    """For a node that is not an output: an input that leads to it, and the link. Made when it is first wanted."""


class Verdict(Struct):
    """What is left of a prompt that may run."""

    outputs: list[NodeId]
    node_errors: dict[str, Any]


def _no_outputs() -> PromptRejected:
    return PromptRejected(_error("prompt_no_outputs", "Prompt has no outputs", ""))


def read_graph(prompt: Any, registry: NodeRegistry) -> ReadGraph:
    """Take a prompt apart.

    :raises PromptRejected: it is no graph, or names classes that do not exist: all of them are named.
    """
    if prompt is None:
        raise PromptRejected(_error("no_prompt", "No prompt provided", "No prompt provided"))
    if not isinstance(prompt, dict):
        if prompt == []:
            raise _no_outputs()
        raise PromptRejected(_error("invalid_prompt", "The prompt must be an object of nodes by id.", ""))
    nodes: dict[NodeId, GraphNode] = {}
    definitions: dict[str, NodeDefinition] = {}
    without_inputs: set[NodeId] = set()
    missing: list[tuple[str, Any, str]] = []
    for node_id, entry in prompt.items():
        class_type = entry.get("class_type") if entry.__class__ is dict else None
        if class_type.__class__ is not str:
            missing.append((node_id, None, _title_of(node_id, entry, None)))
            continue
        if class_type not in definitions:
            definition = registry.get(class_type)
            if definition is None:
                missing.append((node_id, class_type, _title_of(node_id, entry, class_type)))
                continue
            definitions[class_type] = definition
        inputs = entry.get("inputs")
        if inputs.__class__ is not dict:
            without_inputs.add(node_id)
            inputs = {}
        nodes[node_id] = GraphNode(node_id, class_type, inputs, parse_links(inputs), entry.get("is_changed"))
    if missing:
        raise _missing_classes(missing)
    return ReadGraph(nodes, definitions, without_inputs)


def _title_of(node_id: str, entry: Any, class_type: str | None) -> str:
    meta = entry.get("_meta") if isinstance(entry, dict) else None
    title = meta.get("title") if isinstance(meta, dict) else None
    return _cut(title if isinstance(title, str) and title else class_type or f"ID #{node_id}")


def _missing_classes(missing: list[tuple[str, Any, str]]) -> PromptRejected:
    node_id, class_type, title = missing[0]
    names = dict.fromkeys(repr(title) for _, _, title in missing)
    if class_type is None:
        message = (f"Node {title!r} has no class_type. The workflow may be corrupted or a custom node is missing.")
    elif len(names) == 1:
        message = f"Node {title!r} not found. The custom node may not be installed."
    else:
        shown = ", ".join(list(names)[:MOST_REPORTED_NODES])
        more = f" and {len(names) - MOST_REPORTED_NODES} more" if len(names) > MOST_REPORTED_NODES else ""
        message = f"Nodes {shown}{more} not found. Custom nodes may not be installed."
    more_of_them: dict[str, Any] = {}
    if len(missing) > 1:
        more_of_them = {
            "missing_nodes": [{"node_id": _cut(one), "class_type": kind and _cut(kind), "node_title": name}
                              for one, kind, name in missing[:MOST_REPORTED_NODES]],
            "missing_count": len(missing)}
    return PromptRejected(_error(
        "missing_node_type", _cut(message), f"Node ID '#{node_id}'",
        node_id=_cut(node_id), class_type=class_type and _cut(class_type), node_title=title, **more_of_them))


def check_graph(read: ReadGraph, interfaces: dict[str, NodeInterface], failed: Mapping[str, BaseException],
                targets: Sequence[str] | None,
                never_fits: Callable[[tuple[tuple[str, int], ...]], str | None]) -> CheckedGraph:
    """Compare a graph with what its classes declare. Constants are converted in place.

    :param failed: classes whose declaration could not be had, and why.
    :param never_fits: why the needs of a class can never be met, or None.
    :param targets: output nodes to which the prompt is limited, or None.
    :raises PromptRejected: nothing to do.
    """
    nodes, definitions = read.nodes, read.definitions
    outputs = [node_id for node_id, node in nodes.items() if definitions[node.class_type].is_output]
    if targets is not None:
        wanted = set(targets)
        outputs = [node_id for node_id in outputs if node_id in wanted]
    if not outputs:
        raise _no_outputs()
    order, cycles = order_by_sources(nodes, outputs)
    whole_order = order if len(order) == len(nodes) else order_by_sources(nodes, [*order, *nodes]).order
    checked = CheckedGraph(nodes, definitions, interfaces, outputs, order, whole_order,
                           {}, set(), [])
    checker = _Checker(checked, read.without_inputs, failed, never_fits)
    is_needed = set(outputs)
    for node_id in reversed(order):  # consumers first: only declared links carry the need for a check on
        if node_id in is_needed:
            checker.check(nodes[node_id], is_needed)
    for cycle in cycles[:MOST_REPORTED_CYCLES]:
        checker.report_cycle(cycle)
    for cycle in cycles[MOST_REPORTED_CYCLES:]:  # breaking each where it closes breaks all that leads there
        checked.broken.add(cycle[-1])
    checked.validators.reverse()
    return checked


class _Checker:
    """Checks nodes one by one, into a CheckedGraph."""

    def __init__(self, checked: CheckedGraph, without_inputs: set[NodeId], failed: Mapping[str, BaseException],
                 never_fits: Callable[[tuple[tuple[str, int], ...]], str | None]) -> None:
        self._checked = checked
        self._without_inputs = without_inputs
        self._failed = failed
        self._outputs = set(checked.outputs)
        self._fits: dict[tuple[int, int], bool] = {}
        self._plans = {name: (interface, interface.specs) for name, interface in checked.interfaces.items()
                       if checked.definitions[name].validate is None and not interface.depends_on_given
                       and never_fits(checked.definitions[name].needs) is None}
        self._impossible = {name: problem for name, definition in checked.definitions.items()
                            if (problem := never_fits(definition.needs)) is not None}

    def check(self, node: GraphNode, is_needed: set[NodeId]) -> None:
        """Report all that is wrong with a node, and have the sources of its declared links checked too."""
        try:
            is_right = self._is_plainly_right(node, is_needed)
        except TypeError:  # limits of another type than the value
            is_right = False
        if not is_right:
            self._check_thoroughly(node, is_needed)

    def _is_plainly_right(self, node: GraphNode, is_needed: set[NodeId]) -> bool:
        """Whether it takes no more than a look to see that nothing is wrong. Most nodes of most prompts are so."""
        plan = self._plans.get(node.class_type)
        if plan is None or node.node_id in self._without_inputs:
            return False
        interface, specs = plan
        inputs, links, checked = node.inputs, node.links, self._checked
        for name in interface.required_names:
            if name not in inputs:
                return False
        for name, value in inputs.items():
            spec = specs.get(name) or interface.spec(name)
            if spec is None:
                return False
            if value.__class__ is not list:
                if value.__class__ is not spec.convert or spec.choices is not None:
                    return False
                if (spec.minimum is not None and value < spec.minimum) or (
                        spec.maximum is not None and value > spec.maximum):
                    return False
                continue
            link = links.get(name)
            source = None if link is None else checked.nodes.get(link.source)
            if link is None or source is None:
                return False
            types, slot = checked.definitions[source.class_type].output_types, link.slot
            if not 0 <= slot < len(types) or not self._fits.get((id(types[slot]), id(spec.type))):
                return False
            is_needed.add(link.source)
        return True

    def _check_thoroughly(self, node: GraphNode, is_needed: set[NodeId]) -> None:
        checked, node_id = self._checked, node.node_id
        definition = checked.definitions[node.class_type]
        if node.class_type in self._failed:
            return self._raised(node, self._failed[node.class_type])
        if node_id in self._without_inputs:
            return self._raised(node, KeyError("inputs"))
        if node.class_type in self._impossible:
            self._add(node_id, _error("impossible_resources", "Node can never run",
                                      f"{node.class_type}: {self._impossible[node.class_type]}"))
        interface = checked.interfaces[node.class_type].for_given(node.inputs)
        inputs, nodes, validate = node.inputs, checked.nodes, definition.validate
        for name in interface.required_names:
            if name not in inputs:
                self._add(node_id, _error("required_input_missing", "Required input is missing",
                                          name.rpartition(".")[2] if interface.has_groups else name, input_name=name))
        for name in interface.misfits:
            self._add(node_id, _error("invalid_dynamic_input", "Invalid dynamic input", name, input_name=_cut(name)))
        for name, value in inputs.items():
            spec = interface.spec(name)
            if value.__class__ is list:
                if spec is None:
                    if len(value) == 2 and value[0].__class__ is str and value[0] not in nodes \
                            and value[1].__class__ is int:
                        self._raised(node, KeyError(value[0]))
                elif len(value) != 2:
                    self._add(node_id, _error(
                        "bad_linked_input", "Bad linked input, must be a length-2 list of [node_id, slot_index]",
                        name, input_name=name, input_config=_config(spec), received_value=_shown(value)))
                else:
                    self._check_link(node, spec, value, is_needed)
            elif spec is not None:
                self._check_constant(node, spec, value, validate is None or not validate.owns(name))
        if validate is not None:
            self._ask_validator(node, definition, interface)
        return None

    def _check_link(self, node: GraphNode, spec: InputSpec, value: list[Any], is_needed: set[NodeId]) -> None:
        checked = self._checked
        source_id, slot = value
        source = checked.nodes.get(NodeId(source_id)) if isinstance(source_id, str) else None
        if source is None:
            return self._raised(node, KeyError(source_id))
        if slot.__class__ is not int:
            if slot.__class__ is not float or not slot.is_integer():
                return self._raised(node, TypeError(
                    f"tuple indices must be integers or slices, not {type(slot).__name__}"))
            slot = int(slot)
        types = checked.definitions[source.class_type].output_types
        if not -len(types) <= slot < len(types):
            return self._raised(node, IndexError("tuple index out of range"))
        is_needed.add(source_id)
        received = types[slot]
        pair = (id(received), id(spec.type))
        fits = self._fits.get(pair)
        if fits is None:
            fits = self._fits[pair] = types_fit(received, spec.type)
        if not fits:
            validate = checked.definitions[node.class_type].validate
            if validate is None or validate.parameters is None or "input_types" not in validate.parameters:
                self._add(node.node_id, _error(
                    "return_type_mismatch", "Return type mismatch between linked nodes",
                    f"{spec.name}, received_type({_type_shown(received)}) mismatch "
                    f"input_type({_type_shown(spec.type)})",
                    input_name=spec.name, input_config=_config(spec), received_type=_type_shown(received),
                    linked_node=_shown(value)))
        return None

    def _check_constant(self, node: GraphNode, spec: InputSpec, value: Any, checks_range: bool) -> None:
        if value.__class__ is dict and "__value__" in value:
            value = node.inputs[spec.name] = value["__value__"]
        convert = spec.convert
        if convert is not None and value.__class__ is not convert:
            try:
                converted = convert(value)
                if converted.__class__ is float and not math.isfinite(converted):
                    raise ValueError("it is no finite number")
                value = node.inputs[spec.name] = converted
            except Exception as error:
                self._add(node.node_id, _error(
                    "invalid_input_type", f"Failed to convert an input value to a {spec.type} value",
                    f"{spec.name}, {_cut(str(value))}, {error}", input_name=spec.name, input_config=spec.declared,
                    received_value=_shown(value), exception_message=_cut(text_of(error))))
                return
        if not checks_range:
            return
        try:
            if spec.minimum is not None and value < spec.minimum:
                self._add(node.node_id, _error(
                    "value_smaller_than_min", f"Value {value} smaller than min of {spec.minimum}", spec.name,
                    input_name=spec.name, input_config=spec.declared, received_value=_shown(value)))
            if spec.maximum is not None and value > spec.maximum:
                self._add(node.node_id, _error(
                    "value_bigger_than_max", f"Value {value} bigger than max of {spec.maximum}", spec.name,
                    input_name=spec.name, input_config=spec.declared, received_value=_shown(value)))
        except TypeError as error:
            self._raised(node, error)
            return
        if spec.choices is not None:
            self._check_choice(node, spec, value)

    def _check_choice(self, node: GraphNode, spec: InputSpec, value: Any) -> None:
        choices = spec.choices
        assert choices is not None
        if spec.is_multiple:
            wrong = [one for one in value if one not in choices] if isinstance(value, list) else [value]
        else:
            wrong = [] if value in choices else [value]
        if not wrong:
            return
        is_long = len(choices) > 20
        shown = f"(list of length {len(choices)})" if is_long else str(list(choices))
        self._add(node.node_id, _error(
            "value_not_in_list", "Value not in list",
            f"{spec.name}: {', '.join(_cut(repr(one)) for one in wrong[:20])} not in {shown}",
            input_name=spec.name, input_config=None if is_long else spec.declared, received_value=_shown(value)))

    def _ask_validator(self, node: GraphNode, definition: NodeDefinition, interface: NodeInterface) -> None:
        hook = definition.validate
        assert hook is not None
        arguments: dict[str, Any] = {}
        received: list[str] = []
        received_types: dict[str, Any] = {}
        wrap = definition.input_is_list
        linked = node.links
        for name, value in node.inputs.items():
            if interface.spec(name) is None:
                continue
            link = linked.get(name)
            if link is not None:
                source = self._checked.nodes.get(link.source)
                if source is not None:
                    types = self._checked.definitions[source.class_type].output_types
                    if -len(types) <= link.slot < len(types):
                        received_types[name] = types[link.slot]
                value = None
            if hook.takes(name):
                arguments[name] = [value] if wrap and link is None else (None,) if wrap else value
                received.append(name)
        if hook.parameters is not None and "input_types" in hook.parameters:
            arguments["input_types"] = [received_types] if wrap else received_types
        self._checked.validators.append(ValidatorCall(node.node_id, definition, arguments, received))

    def _raised(self, node: GraphNode, error: BaseException) -> None:
        self._add(node.node_id, exception_report(self._checked, node.node_id, error))

    def _add(self, node_id: NodeId, report: Report) -> None:
        self._checked.errors.setdefault(node_id, []).append(report)

    def report_cycle(self, cycle: list[NodeId]) -> None:
        nodes = self._checked.nodes
        named = _some(cycle)
        shown = _cut(" -> ".join(f"{one} ({_cut(nodes[one].class_type)})" for one in [*named, cycle[0]]))
        blamed = [node_id for node_id in cycle[:MOST_REPORTED_NODES] if node_id not in self._checked.broken]
        for node_id in blamed or cycle[-1:]:  # a node on many cycles is told of one, and each cycle is told of once
            self._add(node_id, _error("dependency_cycle", "Dependency cycle detected", shown,
                                      node_id=_cut(node_id), cycle_nodes=named))
        self._checked.broken.update(cycle)


def exception_report(checked: CheckedGraph, node_id: NodeId, error: BaseException) -> Report:
    """An exception while a node was checked. Nodes that are no outputs are named with the input that led to them."""
    text = text_of(error)
    frames = traceback.format_tb(part_of_node(error.__traceback__))[-20:]
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if checked.blame is None:
        checked.blame = _inputs_that_lead_to_nodes(checked)
    if node_id in checked.blame and node_id not in checked.outputs:
        spec, link = checked.blame[node_id]
        return _error("exception_during_inner_validation", "Exception when validating inner node", text,
                      input_name=spec.name, input_config=_config(spec), exception_message=_cut(text),
                      exception_type=name, traceback=frames, linked_node=_shown(link))
    return _error("exception_during_validation", "Exception when validating node", text,
                  exception_type=name, traceback=frames)


def _inputs_that_lead_to_nodes(checked: CheckedGraph) -> dict[NodeId, tuple[InputSpec, list[Any]]]:
    found: dict[NodeId, tuple[InputSpec, list[Any]]] = {}
    for node_id in reversed(checked.order):
        node = checked.nodes[node_id]
        interface = checked.interfaces.get(node.class_type)
        if interface is None:
            continue
        for name, link in node.links.items():
            spec = interface.spec(name)
            if spec is not None and link.source not in found:
                found[link.source] = (spec, node.inputs[name])
    return found


def add_answer(checked: CheckedGraph, call: ValidatorCall, answer: Any) -> None:
    """Take what a validator returned, or the exception that it raised."""
    reports = checked.errors.setdefault(call.node_id, [])
    if isinstance(answer, BaseException):
        reports.append(exception_report(checked, call.node_id, answer))
    elif answer is not True and not isinstance(answer, ExecutionBlocker):
        text = "" if answer is False else text_of(answer)
        if not call.received:
            reports.append(_error("custom_validation_failed", "Custom validation failed for node", text))
        for name in call.received:
            reports.append(_error("custom_validation_failed", "Custom validation failed for node",
                                  f"{name} - {text}" if answer is not False else name, input_name=name))
    if not reports:
        del checked.errors[call.node_id]


def conclude(checked: CheckedGraph) -> Verdict:
    """Which outputs may run.

    :raises PromptRejected: none of them.
    """
    if not checked.errors and not checked.broken:
        return Verdict(checked.outputs, {})
    reported = [node_id for node_id in checked.nodes if node_id in checked.errors][:MOST_REPORTED_NODES]
    bit = {node_id: 1 << index for index, node_id in enumerate(reported)}
    other = 1 << len(reported)
    marks: dict[NodeId, int] = {}
    for node_id in checked.order:
        node = checked.nodes[node_id]
        interface = checked.interfaces.get(node.class_type)
        mark = bit.get(node_id, 0)
        if not mark and (node_id in checked.errors or node_id in checked.broken):
            mark = other
        for link in node.links.values():
            if interface is None or interface.spec(link.name) is not None:
                mark |= marks.get(link.source, 0)
        marks[node_id] = mark
    good = [node_id for node_id in checked.outputs if not marks[node_id]]
    alike: dict[int, list[tuple[int, NodeId]]] = {}  # outputs, with their places, by what they depend on
    for place, node_id in enumerate(checked.outputs):
        alike.setdefault(marks[node_id], []).append((place, node_id))
    node_errors: dict[str, Any] = {}
    for node_id in reported:
        reports = checked.errors[node_id]
        groups = [group for mark, group in alike.items() if mark & bit[node_id]]
        first = sorted(one for group in groups for one in group[:MOST_REPORTED_NODES])
        named = _some([one for _, one in first])
        dependents = sum(map(len, groups))
        node_errors[node_id] = {"errors": reports[:MOST_REPORTED_ERRORS], "dependent_outputs": named,
                                "class_type": checked.nodes[node_id].class_type}
        if len(reports) > MOST_REPORTED_ERRORS:
            node_errors[node_id]["omitted_errors"] = len(reports) - MOST_REPORTED_ERRORS
        if dependents > len(named):
            node_errors[node_id]["omitted_outputs"] = dependents - len(named)
    if good:
        return Verdict(good, node_errors)
    own = (report for node_id in checked.outputs for report in checked.errors.get(node_id, ()))
    details = "\n".join(_lines(own))
    omitted = len(checked.errors.keys() | checked.broken) - len(reported)
    raise PromptRejected(
        _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", details,
               **({"omitted_nodes": omitted} if omitted else {})), node_errors)


def _lines(reports: Iterable[Report]) -> list[str]:
    return [f"{report['message']}: {report['details']}" for report in reports]


def types_fit(received: Any, expected: Any) -> bool:
    """Whether an output of one type may be linked to an input of another.

    The type objects themselves are asked first, either of which may be a `str` with an opinion of its own; then
    comma lists are compared. `*` and every `EveryType` match everything.
    """
    try:
        if not (received != expected):  # noqa: SIM202 - `!=` is the operator that types redefine
            return True
    except Exception:
        return False
    if isinstance(received, (list, tuple)) and expected == "COMBO":
        return True
    if isinstance(received, EveryType) or isinstance(expected, EveryType):
        return True
    if not isinstance(received, str) or not isinstance(expected, str):
        return received == "*" or expected == "*" if isinstance(received, str) or isinstance(expected, str) \
            else False
    members = {one.strip() for one in str.split(received, ",")}
    wanted = {one.strip() for one in str.split(expected, ",")}
    return bool(members & wanted) or "*" in members or "*" in wanted
