"""Images made, inverted, measured and brought to another size.

IMAGE is float32 [B,H,W,C] in 0..1. No node changes its input in place.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from execution import report_text
from nodes.declared_inputs import (
    IMAGE,
    batch_count,
    choice,
    combo,
    decimal,
    required,
    rgb_color,
    side,
    with_options,
)
from nodes.resampling import CROPS, IMAGE_METHODS, resize

if TYPE_CHECKING:
    import torch


def solid(width: int, height: int, batch_size: int, color: int) -> torch.Tensor:
    """[batch_size,height,width,3] of one colour 0xRRGGBB."""
    import torch

    image = torch.empty((batch_size, height, width, 3), dtype=torch.float32)
    for channel, shift in enumerate((16, 8, 0)):
        image[..., channel] = (color >> shift & 0xFF) / 255
    return image


def scaled_by(image: torch.Tensor, factor: float, method: str) -> torch.Tensor:
    """Both sides times `factor`, rounded half to even. Raises ValueError where a side becomes 0."""
    height, width = (round(side * factor) for side in image.shape[1:3])
    return resize(image, width, height, method)


class EmptyImage:
    """A batch of one colour. `color` is 0xRRGGBB."""

    DESCRIPTION = "Makes images of a single colour."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "generate"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(width=side(), height=side(), batch_size=batch_count(), color=rgb_color())

    def generate(self, width: int, height: int, batch_size: int = 1, color: int = 0) -> tuple[torch.Tensor]:
        return (solid(width, height, batch_size, color),)


class ImageScale:
    """Resize to a size in pixels. A side of 0 follows from the other one and the image's ratio."""

    upscale_methods = IMAGE_METHODS
    crop_methods = CROPS

    DESCRIPTION = "Resizes images to a width and height; a side of 0 keeps the aspect ratio."
    CATEGORY = "image/upscaling"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, upscale_method=choice(cls.upscale_methods), width=side(0), height=side(0),
                        crop=choice(cls.crop_methods))

    def upscale(
        self, image: torch.Tensor, upscale_method: str, width: int, height: int, crop: str
    ) -> tuple[torch.Tensor]:
        if width == 0 and height == 0:
            return (image,)
        old_height, old_width = image.shape[1:3]
        if width == 0:
            width = max(1, round(old_width * height / old_height))
        elif height == 0:
            height = max(1, round(old_height * width / old_width))
        return (resize(image, width, height, upscale_method, crop),)


class ImageScaleBy:
    """Resize by a factor; sides are rounded, half to even."""

    upscale_methods = IMAGE_METHODS

    DESCRIPTION = "Resizes images by a factor."
    CATEGORY = "image/upscaling"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, upscale_method=choice(cls.upscale_methods), scale_by=decimal(1.0, 0.01, 8.0))

    def upscale(self, image: torch.Tensor, upscale_method: str, scale_by: float) -> tuple[torch.Tensor]:
        return (scaled_by(image, scale_by, upscale_method),)


class ImageScaleToTotalPixels:
    """Resize to about as many pixels as `megapixels` says, each of 1024×1024, and keep the ratio."""

    upscale_methods = IMAGE_METHODS

    DESCRIPTION = "Resizes images to a number of megapixels (of 1024×1024 pixels); the aspect ratio stays."
    CATEGORY = "image/upscaling"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=with_options("IMAGE"), upscale_method=combo(cls.upscale_methods),
                        megapixels=decimal(1.0, 0.01, 16.0))

    @classmethod
    def execute(cls, image: torch.Tensor, upscale_method: str, megapixels: float) -> tuple[torch.Tensor]:
        height, width = image.shape[1:3]
        factor = math.sqrt(int(megapixels * 1024 * 1024) / (width * height))
        return (scaled_by(image, factor, upscale_method),)


class ImageInvert:
    """1 − x in every channel, alpha included."""

    DESCRIPTION = "Inverts every channel of the images."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "invert"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE)

    def invert(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        return (1.0 - image,)


class GetImageSize:
    """Width and height in pixels, and how many images; in a workflow the node shows them too."""

    DESCRIPTION = "Tells the width, height and number of images, and shows them on the node."
    CATEGORY = "image"
    RETURN_TYPES = ("INT", "INT", "INT")
    RETURN_NAMES = ("width", "height", "batch_size")
    FUNCTION = "get_size"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {**required(image=IMAGE), "hidden": {"unique_id": "UNIQUE_ID"}}

    def get_size(self, image: torch.Tensor, unique_id: str | None = None) -> tuple[int, int, int]:
        batch_size, height, width = image.shape[:3]
        if unique_id:
            # The space before "batch" is what clients are used to.
            report_text(f"width: {width}, height: {height}\n batch size: {batch_size}", unique_id)
        return width, height, batch_size
