"""Videos that packs can make, by older names."""

from .video_types import VideoFromComponents, VideoFromFile, VideoFromList

__all__ = ["VideoFromComponents", "VideoFromFile", "VideoFromList"]
