"""Parts of videos."""

from nodes.packs.schema.values import VideoCodec, VideoComponents, VideoContainer

__all__ = ["VideoCodec", "VideoComponents", "VideoContainer"]
