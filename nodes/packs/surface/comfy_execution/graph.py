"""The graph of a prompt, by the names that packs know."""

from collections.abc import Mapping
from typing import Any

from execution import ExecutionBlocker
from nodes.packs.dynamic_prompt import DynamicPrompt
from nodes.packs.execution_list import ExecutionList
from nodes.packs.node_order import DependencyCycleError, NodeInputError, NodeNotFoundError, TopologicalSort

__all__ = ["DependencyCycleError", "DynamicPrompt", "ExecutionBlocker", "ExecutionList", "NodeInputError",
           "NodeNotFoundError", "TopologicalSort", "get_input_info"]


def get_input_info(class_def: Any, input_name: str, valid_inputs: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
    """(type, `required`, `optional` or `hidden`, options) of a declared input, or three times None."""
    declared = class_def.INPUT_TYPES() if valid_inputs is None else valid_inputs
    for category in ("required", "optional", "hidden"):
        inputs = declared.get(category) or {}
        if input_name in inputs:
            entry = inputs[input_name]
            if isinstance(entry, str):
                return entry, category, {}
            return entry[0], category, entry[1] if len(entry) > 1 else {}
    return None, None, None
