"""Instances of nodes: one for each node of a prompt, kept while prompts have that node."""

from collections.abc import Mapping
from typing import Any

from .identifiers import NodeId
from .node_interface import NodeDefinition


class NodeInstances:
    """Instances that are not in use, by node id and class.

    An instance is handed out to one call at a time; a second one is made when it is busy, and dropped after its
    call. One that an abandoned call holds never comes back. Taken and given back on any thread: both are one step.
    """

    def __init__(self) -> None:
        self._idle: dict[tuple[NodeId, NodeDefinition], Any] = {}

    def take(self, node_id: NodeId, definition: NodeDefinition) -> Any | None:
        """The kept instance, or None: then the caller makes one."""
        return self._idle.pop((node_id, definition), None)

    def give_back(self, node_id: NodeId, definition: NodeDefinition, instance: Any) -> None:
        self._idle.setdefault((node_id, definition), instance)

    def keep_only(self, nodes: Mapping[NodeId, str]) -> None:
        """A prompt with these nodes, id -> class, has ended: instances of others go."""
        for key in list(self._idle):
            if nodes.get(key[0]) != key[1].class_type:
                self._idle.pop(key, None)

    def clear(self) -> None:
        self._idle.clear()
