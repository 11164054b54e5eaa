"""Instances of nodes: one for each node of a prompt, kept while prompts have that node."""

from collections.abc import Mapping
from typing import Any

from .identifiers import CallId, NodeId
from .node_interface import NodeDefinition


class NodeInstances:
    """Instances that are not in use, by node id and class.

    An instance is handed out to one call at a time; a second one is made when it is busy, and dropped after its
    call. One that an abandoned call holds never comes back. To be used on the loop alone.
    """

    def __init__(self) -> None:
        self._idle: dict[tuple[NodeId, NodeDefinition], Any] = {}
        self._lent: dict[tuple[NodeId, NodeDefinition], CallId] = {}
        """Who has the instance that is kept, or makes it."""

    def take(self, node_id: NodeId, definition: NodeDefinition, borrower: CallId) -> Any | None:
        """The kept instance, or None: then the caller makes one."""
        key = node_id, definition
        self._lent.setdefault(key, borrower)
        return self._idle.pop(key, None)

    def give_back(self, node_id: NodeId, definition: NodeDefinition, borrower: CallId, instance: Any) -> None:
        """A call is done with its instance, or has lost it: then None."""
        key = node_id, definition
        if self._lent.get(key) == borrower:
            del self._lent[key]
            if instance is not None:
                self._idle[key] = instance

    def keep_only(self, nodes: Mapping[NodeId, str]) -> None:
        """A prompt with these nodes, id -> class, has ended: instances of others go."""
        for key in list(self._idle):
            if nodes.get(key[0]) != key[1].class_type:
                self._idle.pop(key, None)

    def clear(self) -> None:
        self._idle.clear()
