"""Which nodes of a prompt may run when, as packs compute it for themselves. The engine has an order of its own."""

from typing import Any

import nodes

from .dynamic_prompt import DynamicPrompt


class DependencyCycleError(Exception):
    """Nodes wait for each other."""


class NodeInputError(Exception):
    """An input of a node is not what it should be."""


class NodeNotFoundError(Exception):
    """There is no node of this id."""


class TopologicalSort:
    """Nodes that are added bring with them all that they need; `pop_node` takes what has been done.

    Attributes: `pendingNodes` (ids that are not done), `blockCount` (how many others each waits for) and `blocking`
    (whom each holds up, and by which of its outputs).
    """

    def __init__(self, dynprompt: DynamicPrompt) -> None:
        self.dynprompt = dynprompt
        self.pendingNodes: dict[str, bool] = {}
        self.blockCount: dict[str, int] = {}
        self.blocking: dict[str, dict[str, dict[int, bool]]] = {}

    def add_node(self, node_unique_id: str, include_lazy: bool = False, subgraph_nodes: Any = None) -> None:
        """Add a node and all that it needs.

        :param include_lazy: also what its lazy inputs are linked to.
        :param subgraph_nodes: what lies outside of these is taken as done.
        """
        waiting = [node_unique_id]
        while waiting:
            node_id = waiting.pop()
            if node_id in self.pendingNodes:
                continue
            self.pendingNodes[node_id] = True
            self.blockCount[node_id] = 0
            self.blocking.setdefault(node_id, {})  # others may have been held up by it already
            links = self._links(node_id, include_lazy)
            for source, socket in links:
                if subgraph_nodes is None or source in subgraph_nodes:
                    waiting.append(source)
                    self._block(source, socket, node_id)

    def add_strong_link(self, from_node_id: str, from_socket: int, to_node_id: str) -> None:
        """Have a node wait for another one."""
        self.add_node(from_node_id)
        self._block(from_node_id, from_socket, to_node_id)

    def make_input_strong_link(self, to_node_id: str, to_input: str) -> None:
        """Have a node wait for what one of its inputs is linked to.

        :raises NodeInputError: it has no such input, or that is no link.
        """
        inputs = self.dynprompt.get_node(to_node_id)["inputs"]
        if to_input not in inputs:
            raise NodeInputError(f"node {to_node_id} has no input {to_input!r}")
        value = inputs[to_input]
        if not _is_link(value):
            raise NodeInputError(f"input {to_input!r} of node {to_node_id} is no link")
        self.add_strong_link(value[0], value[1], to_node_id)

    def get_ready_nodes(self) -> list[str]:
        """Nodes that wait for nothing."""
        return [node_id for node_id in self.pendingNodes if self.blockCount[node_id] == 0]

    def pop_node(self, unique_id: str) -> None:
        """A node is done."""
        del self.pendingNodes[unique_id]
        for node_id in self.blocking.pop(unique_id):
            self.blockCount[node_id] -= 1
        del self.blockCount[unique_id]

    def is_empty(self) -> bool:
        return not self.pendingNodes

    def _block(self, source: str, socket: int, target: str) -> None:
        held = self.blocking.setdefault(source, {})
        if target not in held:
            held[target] = {}
            self.blockCount[target] += 1
        held[target][socket] = True

    def _links(self, node_id: str, include_lazy: bool) -> list[tuple[str, int]]:
        try:
            node = self.dynprompt.get_node(node_id)
        except KeyError:
            raise NodeNotFoundError(f"there is no node {node_id!r}") from None
        return [(value[0], value[1]) for name, value in node["inputs"].items()
                if _is_link(value) and (include_lazy or not _is_lazy(node["class_type"], name))]


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) \
        and isinstance(value[1], (int, float)) and not isinstance(value[1], bool)


def _is_lazy(class_type: str, name: str) -> bool:
    node_class = getattr(nodes, "NODE_CLASS_MAPPINGS", nodes.CATALOGUE).get(class_type)
    if node_class is None:
        return False
    types = node_class.INPUT_TYPES()
    entry = next((types[kind][name] for kind in ("required", "optional") if name in (types.get(kind) or {})), ())
    return len(entry) > 1 and isinstance(entry[1], dict) and bool(entry[1].get("lazy"))
