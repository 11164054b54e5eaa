"""The built-in nodes, written out: what is not listed here does not exist.

Importing this package is instant: torch, Pillow, NumPy and aiohttp are imported by the first node that needs
them.
"""

from nodes.image import (
    EmptyImage,
    ImageBatch,
    ImageCrop,
    ImageInvert,
    ImageScale,
    ImageScaleBy,
    RebatchImages,
)
from nodes.image_files import LoadImage, LoadImageMask, PreviewImage, SaveImage
from nodes.image_filters import ImageBlend, ImageBlur, ImageSharpen
from nodes.network import LoadImageFromURL
from nodes.primitive import (
    PrimitiveBoolean,
    PrimitiveFloat,
    PrimitiveInt,
    PrimitiveString,
    PrimitiveStringMultiline,
)
from nodes.text import PreviewAny
from nodes.timing import Sleep

CATALOGUE: dict[str, type] = {
    "EmptyImage": EmptyImage,
    "ImageBatch": ImageBatch,
    "ImageBlend": ImageBlend,
    "ImageBlur": ImageBlur,
    "ImageCrop": ImageCrop,
    "ImageInvert": ImageInvert,
    "ImageScale": ImageScale,
    "ImageScaleBy": ImageScaleBy,
    "ImageSharpen": ImageSharpen,
    "LoadImage": LoadImage,
    "LoadImageFromURL": LoadImageFromURL,
    "LoadImageMask": LoadImageMask,
    "PreviewAny": PreviewAny,
    "PreviewImage": PreviewImage,
    "PrimitiveBoolean": PrimitiveBoolean,
    "PrimitiveFloat": PrimitiveFloat,
    "PrimitiveInt": PrimitiveInt,
    "PrimitiveString": PrimitiveString,
    "PrimitiveStringMultiline": PrimitiveStringMultiline,
    "RebatchImages": RebatchImages,
    "SaveImage": SaveImage,
    "Sleep": Sleep,
}
"""Node classes by the name that prompts use."""

DISPLAY_NAMES: dict[str, str] = {
    "EmptyImage": "EmptyImage",
    "ImageBatch": "Batch Images",
    "ImageCrop": "Image Crop",
    "ImageInvert": "Invert Image",
    "ImageScale": "Upscale Image",
    "ImageScaleBy": "Upscale Image By",
    "LoadImage": "Load Image",
    "LoadImageFromURL": "Load Image From URL",
    "LoadImageMask": "Load Image (as Mask)",
    "PreviewAny": "Preview Any",
    "PreviewImage": "Preview Image",
    "PrimitiveBoolean": "Boolean",
    "PrimitiveFloat": "Float",
    "PrimitiveInt": "Int",
    "PrimitiveString": "String",
    "PrimitiveStringMultiline": "String (Multiline)",
    "RebatchImages": "Rebatch Images",
    "SaveImage": "Save Image",
}
"""What a person reads instead of the name, where they differ."""
