"""Lists in and lists out: what one call of a node is made of, and how the results of its parts are joined.

Between nodes every output is a list of values. A node that does not take lists is called once for each index of
its longest input; shorter inputs repeat their last value. All of it is pure.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from .node_interface import NodeDefinition
from .node_values import ExecutionBlocker, NodeResult, OutputRecord
from .prompt_graph import Link, is_link
from .value_size import measure

_SILENT = ExecutionBlocker(None)


class Slice(Struct):
    """One call of the function: its arguments, and the index it is for."""

    arguments: dict[str, Any]
    index: int | None
    blocker: ExecutionBlocker | None = None
    """If an input is blocked, the function is not called for this index."""


def slices_of(inputs: Mapping[str, Sequence[Any]], hidden: Mapping[str, Any], input_is_list: bool) -> list[Slice]:
    """The calls that a node's inputs ask for.

    :param inputs: for each input the list of its values.
    :param hidden: values that count as lists of one.
    :raises IndexError: an input is an empty list beside one that is not.
    """
    if input_is_list:
        arguments: dict[str, Any] = {name: list(values) for name, values in inputs.items()}
        blocker = next((value for values in inputs.values() for value in values
                        if isinstance(value, ExecutionBlocker)), None)
        arguments.update((name, [value]) for name, value in hidden.items())
        return [Slice(arguments, 0, blocker)]
    for values in inputs.values():
        if len(values) != 1 or values[0].__class__ is ExecutionBlocker:
            break
    else:  # by far the most frequent case: one value each
        if inputs or hidden:
            return [Slice({**{name: values[0] for name, values in inputs.items()}, **hidden}, 0)]
        return [Slice({}, None)]
    longest = 1 if hidden else 0
    shortest = 1
    for values in inputs.values():
        length = len(values)
        if length > longest:
            longest = length
        if length < shortest:
            shortest = length
    if not longest:
        return [Slice({}, None)]
    if not shortest:
        raise IndexError("list index out of range")
    slices = []
    for index in range(longest):
        arguments = {}
        blocker = None
        for name, values in inputs.items():
            value = values[index] if index < len(values) else values[-1]
            if isinstance(value, ExecutionBlocker) and blocker is None:
                blocker = value
            arguments[name] = value
        if hidden:
            arguments.update(hidden)
        slices.append(Slice(arguments, index, blocker))
    return slices


class Joined(Struct):
    """The results of all slices of a call, joined."""

    record: OutputRecord
    pieces: list[list[Link | Sequence[Any]]] | None = None
    """With an expansion: for each output its parts, in index order."""
    expansion: dict[str, Any] | None = None
    blocked: Sequence[str] = ()


def join_results(definition: NodeDefinition, slices: Sequence[Slice],
                 results: Sequence[NodeResult | None]) -> Joined:
    """Join what the slices of a call gave; None stands for a slice that was blocked.

    :raises Exception: what the node's author should see: a list output that is no list, UI parts that do not fit.
    """
    if len(results) == 1 and not definition.output_is_list:  # by far the most frequent case
        only = results[0]
        if only is not None and only.expansion is None and only.blocker is None:
            values = tuple([(value,) for value in only.outputs or ()])
            shown = None if only.ui is None else _join_ui([only.ui])
            return Joined(OutputRecord(values, shown, measure(values)))
    blocked: list[str] = []
    outputs_of: list[Sequence[Any] | ExecutionBlocker] = []
    expansion: dict[str, Any] | None = None
    expanded: set[int] = set()
    ui = None
    for index, (one, result) in enumerate(zip(slices, results, strict=True)):
        if result is None:
            assert one.blocker is not None
            if one.blocker.message is not None:
                blocked.append(one.blocker.message)
            outputs_of.append(_SILENT)
            continue
        outputs_of.append(result.blocker or result.outputs or ())
        if result.expansion is not None:
            expansion = {} if expansion is None else expansion
            for node_id in result.expansion:
                if node_id in expansion:
                    # Named as the scheduler names it for ids that other calls have taken.
                    from .errors import DuplicateNodeError
                    raise DuplicateNodeError(f"Attempt to add duplicate node {node_id}")
            expansion.update(result.expansion)
            expanded.add(index)
        if result.ui is not None:
            ui = result.ui if ui is None else ui
    if ui is not None:
        ui = _join_ui([result.ui for result in results if result is not None and result.ui is not None])
    joined = _join_outputs(definition, outputs_of, expanded)
    if expansion is not None:
        size = measure([piece for pieces in joined for piece in pieces if not isinstance(piece, Link)])
        return Joined(OutputRecord((), ui, size), joined, expansion, blocked)
    outputs = tuple([value for piece in pieces if not isinstance(piece, Link) for value in piece]
                    for pieces in joined)
    return Joined(OutputRecord(outputs, ui, measure(outputs)), blocked=blocked)


def _join_outputs(definition: NodeDefinition, outputs_of: Sequence[Sequence[Any] | ExecutionBlocker],
                  expanded: set[int]) -> list[list[Link | Sequence[Any]]]:
    is_list = definition.output_is_list
    given = [len(outputs) for outputs in outputs_of if not isinstance(outputs, ExecutionBlocker)]
    count = max(given) if given else len(definition.output_types)
    if is_list:
        count = min(count, len(is_list))
    joined: list[list[Link | Sequence[Any]]] = [[] for _ in range(count)]
    for index, outputs in enumerate(outputs_of):
        for slot in range(count):
            if isinstance(outputs, ExecutionBlocker):
                joined[slot].append((outputs,))
            elif slot >= len(outputs):
                if len(outputs_of) > 1:  # keep the places of the other indices
                    joined[slot].append((None,))
            elif index in expanded and is_link(outputs[slot]):
                source, source_slot = outputs[slot]
                joined[slot].append(Link("", source, int(source_slot)))
            elif is_list and is_list[slot] and not isinstance(outputs[slot], ExecutionBlocker):
                joined[slot].append(list(outputs[slot]))
            else:
                joined[slot].append((outputs[slot],))
    return joined


def _join_ui(parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Lists of each key, one after the other. Keys are those of the first part.

    :raises KeyError: a later part lacks a key. :raises TypeError: something in it cannot be sent as JSON.
    """
    joined = {key: [value for part in parts for value in part[key]] for key in parts[0]}
    json.dumps(joined)  # whoever shows it later cannot fail then
    return joined or None
