"""Which classes of nodes exist, by name. Filled by the adapters of `nodes/packs`; the engine only looks up."""

from collections.abc import Iterator

from .node_interface import NodeDefinition


class NodeRegistry:
    """Definitions by class name. Built-in ones cannot be replaced by others."""

    def __init__(self) -> None:
        self._definitions: dict[str, NodeDefinition] = {}
        self._built_in: set[str] = set()

    def add(self, definition: NodeDefinition, *, built_in: bool = False) -> bool:
        """Register a class. A later one of the same name wins, but never over a built-in one.

        :returns: whether it was taken.
        """
        name = definition.class_type
        if name in self._built_in and not built_in:
            return False
        if built_in:
            self._built_in.add(name)
        self._definitions[name] = definition
        return True

    def remove(self, class_type: str) -> None:
        """Forget a class that is not built in. Prompts that run have their definitions already."""
        if class_type not in self._built_in:
            self._definitions.pop(class_type, None)

    def get(self, class_type: str) -> NodeDefinition | None:
        return self._definitions.get(class_type)

    def __contains__(self, class_type: str) -> bool:
        return class_type in self._definitions

    def __iter__(self) -> Iterator[NodeDefinition]:
        return iter(self._definitions.values())

    def __len__(self) -> int:
        return len(self._definitions)
