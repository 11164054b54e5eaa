"""The start options, by the names that packs know."""

from nodes.packs.peer_options import LatentPreviewMethod, PerformanceFeature, args

__all__ = ["LatentPreviewMethod", "PerformanceFeature", "args"]
