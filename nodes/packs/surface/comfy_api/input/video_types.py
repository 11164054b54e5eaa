"""What a video is."""

from nodes.packs.schema.values import VideoInput

__all__ = ["VideoInput"]
