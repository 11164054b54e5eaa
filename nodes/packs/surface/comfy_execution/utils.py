"""Which node is being called, by the names that packs know."""

from typing import NamedTuple

import execution


class ExecutionContext(NamedTuple):
    """A node of a prompt, and the element of a mapped call."""

    prompt_id: str
    node_id: str
    list_index: int | None


class CurrentNodeContext(execution.CurrentNodeContext):
    """Says to the code inside which node it runs for."""

    __slots__ = ()

    def __init__(self, prompt_id: str, node_id: str, list_index: int | None = None) -> None:
        super().__init__(prompt_id, node_id, list_index)


def get_executing_context() -> ExecutionContext | None:
    """The node that this code runs for, or None outside of one."""
    context = execution.get_current_node()
    if context is None:
        return None
    return ExecutionContext(context.prompt_id, context.unique_id, context.list_index)
