"""Images made, resized and arranged.

IMAGE is float32 [B,H,W,C] in 0..1. No node changes its input in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.resampling import CROPS, IMAGE_METHODS, resize

if TYPE_CHECKING:
    import torch

MAX_SIDE = 16384


def solid(width: int, height: int, batch_size: int, color: int) -> torch.Tensor:
    """[batch_size,height,width,3] of one colour 0xRRGGBB."""
    import torch

    image = torch.empty((batch_size, height, width, 3), dtype=torch.float32)
    for channel, shift in enumerate((16, 8, 0)):
        image[..., channel] = (color >> shift & 0xFF) / 255
    return image


def crop_rectangle(image: torch.Tensor, x: int, y: int, width: int, height: int) -> torch.Tensor:
    """The rectangle, as a view of [B,H,W,C]: its corner moved into the image, its rest cut at the border."""
    x = min(x, image.shape[2] - 1)
    y = min(y, image.shape[1] - 1)
    return image[:, y : y + height, x : x + width]


def joined_batch(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Both batches, the second brought to the first one's size. Raises ValueError when channels differ."""
    import torch

    if first.shape[-1] != second.shape[-1]:
        raise ValueError(
            f"image1 has {first.shape[-1]} channels and image2 {second.shape[-1]}: they cannot be one batch"
        )
    if first.shape[1:3] != second.shape[1:3]:
        second = resize(second, first.shape[2], first.shape[1], "bilinear", "center")
    return torch.cat((first, second))


def regrouped(images: list[torch.Tensor], batch_size: int) -> list[torch.Tensor]:
    """The same images in order, in batches of `batch_size`; the last may be smaller.

    Raises ValueError when images of different sizes would share a batch.
    """
    import torch

    singles = [batch[index : index + 1] for batch in images for index in range(batch.shape[0])]
    groups = [singles[start : start + batch_size] for start in range(0, len(singles), batch_size)]
    for group in groups:
        if any(image.shape != group[0].shape for image in group):
            sizes = sorted({"x".join(map(str, reversed(image.shape[1:3]))) for image in group})
            raise ValueError(f"one batch cannot hold images of different shapes: {', '.join(sizes)}")
    return [torch.cat(group) for group in groups]


class EmptyImage:
    """A batch of one colour. `color` is 0xRRGGBB."""

    DESCRIPTION = "Makes images of a single colour."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "generate"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        side = {"default": 512, "min": 1, "max": MAX_SIDE, "step": 1}
        return {
            "required": {
                "width": ("INT", side),
                "height": ("INT", side),
                "batch_size": ("INT", {"default": 1, "min": 1, "max": 4096}),
                "color": ("INT", {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1, "display": "color"}),
            }
        }

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
        side = {"default": 512, "min": 0, "max": MAX_SIDE, "step": 1}
        return {
            "required": {
                "image": ("IMAGE",),
                "upscale_method": (cls.upscale_methods,),
                "width": ("INT", side),
                "height": ("INT", side),
                "crop": (cls.crop_methods,),
            }
        }

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
        return {
            "required": {
                "image": ("IMAGE",),
                "upscale_method": (cls.upscale_methods,),
                "scale_by": ("FLOAT", {"default": 1.0, "min": 0.01, "max": 8.0, "step": 0.01}),
            }
        }

    def upscale(self, image: torch.Tensor, upscale_method: str, scale_by: float) -> tuple[torch.Tensor]:
        height, width = (round(side * scale_by) for side in image.shape[1:3])
        return (resize(image, width, height, upscale_method),)


class ImageInvert:
    """1 − x in every channel, alpha included."""

    DESCRIPTION = "Inverts every channel of the images."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "invert"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": ("IMAGE",)}}

    def invert(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        return (1.0 - image,)


class ImageCrop:
    """A rectangle in pixels, cut at the border and so smaller where it does not fit."""

    DESCRIPTION = "Cuts a rectangle out of the images."
    CATEGORY = "image/transform"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "crop"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        side = {"default": 512, "min": 1, "max": MAX_SIDE, "step": 1}
        corner = {"default": 0, "min": 0, "max": MAX_SIDE, "step": 1}
        return {
            "required": {
                "image": ("IMAGE",),
                "width": ("INT", side),
                "height": ("INT", side),
                "x": ("INT", corner),
                "y": ("INT", corner),
            }
        }

    def crop(self, image: torch.Tensor, width: int, height: int, x: int, y: int) -> tuple[torch.Tensor]:
        return (crop_rectangle(image, x, y, width, height),)


class ImageBatch:
    """Two batches in one. image2 takes image1's size: cut to its aspect ratio, then bilinear."""

    DESCRIPTION = "Joins two batches of images; the second one is brought to the size of the first."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "batch"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image1": ("IMAGE",), "image2": ("IMAGE",)}}

    def batch(self, image1: torch.Tensor, image2: torch.Tensor) -> tuple[torch.Tensor]:
        return (joined_batch(image1, image2),)


class RebatchImages:
    """All images of a list of batches, in order, in batches of another size; a list again."""

    DESCRIPTION = "Splits batches and joins their images again in batches of another size."
    CATEGORY = "image/batch"
    RETURN_TYPES = ("IMAGE",)
    INPUT_IS_LIST = True
    OUTPUT_IS_LIST = (True,)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "images": ("IMAGE", {}),
                "batch_size": ("INT", {"default": 1, "min": 1, "max": 4096}),
            }
        }

    @classmethod
    def execute(cls, images: list[torch.Tensor], batch_size: list[int]) -> tuple[list[torch.Tensor]]:
        return (regrouped(images, batch_size[0]),)
