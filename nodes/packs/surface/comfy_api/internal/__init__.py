"""Base classes of the public ones, for the few packs that look for them here."""

from nodes.packs.schema.api import ComfyAPI as ComfyAPIBase
from nodes.packs.schema.io_types import ComfyType
from nodes.packs.schema.node_class import ComfyNode
from nodes.packs.schema.schema import NodeOutput

__all__ = ["ComfyAPIBase", "ComfyNode", "ComfyType", "NodeOutput"]
