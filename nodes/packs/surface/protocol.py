"""Numbers of binary frames, by the name that packs know."""

from nodes.packs.prompt_server import BinaryEventTypes

__all__ = ["BinaryEventTypes"]
