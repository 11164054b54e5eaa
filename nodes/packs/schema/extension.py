"""`ComfyExtension`: what a pack's entrypoint returns to offer its nodes."""

from abc import ABC, abstractmethod

from .node_class import ComfyNode


class ComfyExtension(ABC):
    """A pack's nodes. Both methods are awaited on the server's loop."""

    async def on_load(self) -> None:  # noqa: B027 (most packs have nothing to do here)
        """Called once, before the nodes are asked for."""

    @abstractmethod
    async def get_node_list(self) -> list[type[ComfyNode]]:
        """All node classes of the pack."""
