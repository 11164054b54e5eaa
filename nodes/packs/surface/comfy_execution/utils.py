"""Which node is being called, by the names that packs know."""

from typing import Any, NamedTuple

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
    if context is None or not context.unique_id:
        return None
    return ExecutionContext(context.prompt_id, context.unique_id, context.list_index)


class _Current:
    """Reads like a context variable."""

    name = "current_executing_context"

    def get(self, *default: Any) -> Any:
        return get_executing_context() or (default[0] if default else None)


current_executing_context = _Current()
