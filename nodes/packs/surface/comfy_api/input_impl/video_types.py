"""Videos that packs can make."""

from nodes.packs.schema.values import VideoFromComponents, VideoFromFile, VideoFromList

__all__ = ["VideoFromComponents", "VideoFromFile", "VideoFromList"]
