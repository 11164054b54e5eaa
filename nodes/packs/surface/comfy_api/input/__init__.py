"""What values of inputs are, by older names."""

from .basic_types import AudioInput, ImageInput, LatentInput, MaskInput
from .video_types import VideoInput

__all__ = ["AudioInput", "ImageInput", "LatentInput", "MaskInput", "VideoInput"]
