"""Parts of values, by older names."""

from nodes.packs.schema.values import MESH, SPLAT, VOXEL, File3D

from .video_types import VideoCodec, VideoComponents, VideoContainer

__all__ = ["MESH", "SPLAT", "VOXEL", "File3D", "VideoCodec", "VideoComponents", "VideoContainer"]
