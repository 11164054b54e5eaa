"""What the adapters of nodes may know of the prompt that a node runs in."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .identifiers import NodeId, PromptId
from .prompt_graph import GraphNode

if TYPE_CHECKING:
    from .node_interface import NodeDefinition, NodeInterface

T = TypeVar("T")


class PromptScope:
    """One prompt as its nodes see it: its settings and its graph, expansions included.

    Adapters keep what belongs to a generation of nodes (a mutable copy of the prompt, say) under a key of their
    own with `kept`; the engine never looks at it.
    """

    __slots__ = ("_kept", "definitions", "displays", "extra_data", "fingerprints", "interfaces", "nodes", "parents", "prompt_id",
                 "secrets", "submitted")

    def __init__(self, prompt_id: PromptId, submitted: Mapping[str, Any], extra_data: Mapping[str, Any],
                 nodes: Mapping[NodeId, GraphNode], definitions: "dict[str, NodeDefinition]",
                 interfaces: "dict[str, NodeInterface]") -> None:
        self.prompt_id = prompt_id
        self.submitted = submitted
        """The prompt as it was posted, with its constants converted."""
        self.extra_data = extra_data
        self.secrets: Mapping[str, Any] = {}
        """What belongs to `extra_data` for nodes and is shown to nobody else."""
        self.nodes: dict[NodeId, GraphNode] = dict(nodes)
        self.definitions = definitions
        self.interfaces = interfaces
        """What the classes of this prompt declare; each was asked once. Expansions add theirs."""
        self.fingerprints: dict[NodeId, Any] = {}
        """What the change checks of nodes answered."""
        self.parents: dict[NodeId, NodeId] = {}
        """For a node of an expansion: the node that it replaces."""
        self.displays: dict[NodeId, NodeId] = {}
        self._kept: dict[str, Any] = {}

    def kept(self, key: str, make: Callable[["PromptScope"], T]) -> T:
        """What an adapter keeps for this prompt; made on first use."""
        if key not in self._kept:
            self._kept[key] = make(self)
        value: T = self._kept[key]
        return value

    def added_nodes(self) -> Iterator[NodeId]:
        """Ids of the nodes that expansions brought, oldest first."""
        return iter(self.parents)
