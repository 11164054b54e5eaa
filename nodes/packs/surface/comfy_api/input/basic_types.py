"""Values that are tensors and dicts of them."""

from nodes.packs.schema.values import AudioInput, ImageInput, LatentInput, MaskInput

__all__ = ["AudioInput", "ImageInput", "LatentInput", "MaskInput"]
