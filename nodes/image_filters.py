"""Blur, sharpen and blend. IMAGE is float32 [B,H,W,C] in 0..1; every channel, alpha too, by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.declared_inputs import combo, decimal, required, whole, with_options
from nodes.resampling import resize

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


def gaussian_weights(radius: int, sigma: float) -> torch.Tensor:
    """float32 [2·radius+1] weights that sum to 1. `sigma` is relative to the radius, not in pixels."""
    import torch

    steps = torch.linspace(-1, 1, 2 * radius + 1, dtype=torch.float64)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    return (weights / weights.sum()).float()


def blurred(image: torch.Tensor, radius: int, sigma: float) -> torch.Tensor:
    """Gaussian blur of [B,H,W,C], mirrored at the border (the border itself once).

    Raises ValueError when a side is not longer than `radius`, as there is nothing to mirror then.
    """
    import torch
    from torch.nn.functional import conv2d, pad

    from execution import check_interrupted

    height, width, channels = image.shape[1:]
    if radius >= height or radius >= width:
        raise ValueError(f"a radius of {radius} needs an image larger than {width}x{height}")
    # The kernel is the product of one along x and one along y: two short passes do the work of a square one.
    weights = gaussian_weights(radius, sigma).to(image)
    along_x = weights.expand(channels, 1, 1, -1)
    along_y = weights.reshape(-1, 1).expand(channels, 1, -1, 1)
    results = []
    for single in image.movedim(-1, 1).split(1):
        check_interrupted()
        padded = pad(single, (radius, radius, radius, radius), "reflect")
        results.append(conv2d(conv2d(padded, along_x, groups=channels), along_y, groups=channels))
    return torch.cat(results).movedim(1, -1)


def with_channels_of(target: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """`image` with as many channels as `target`: its last ones dropped, or an opaque alpha of ones added."""
    import torch

    missing = target.shape[-1] - image.shape[-1]
    if missing <= 0:
        return image[..., : target.shape[-1]]
    return torch.cat((image, image.new_ones((*image.shape[:-1], missing))), dim=-1)


def _normal(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return b


def _multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a * b


def _screen(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return 1 - (1 - a) * (1 - b)


def _overlay(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.where(a <= 0.5, 2 * a * b, 1 - 2 * (1 - a) * (1 - b))


def _soft_light(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    import torch

    lightened = torch.where(a <= 0.25, ((16 * a - 12) * a + 4) * a, a.sqrt())
    return torch.where(b <= 0.5, a - (1 - 2 * b) * a * (1 - a), a + (2 * b - 1) * (lightened - a))


def _difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a - b


BLENDS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "normal": _normal,
    "multiply": _multiply,
    "screen": _screen,
    "overlay": _overlay,
    "soft_light": _soft_light,
    "difference": _difference,
}


def blended(image1: torch.Tensor, image2: torch.Tensor, factor: float, mode: str) -> torch.Tensor:
    """image1 faded towards the blend of both by `factor`, clipped to 0..1; shape of image1.

    image2 takes image1's channels and size. Raises ValueError for an unknown mode, or for batches that
    are neither equal nor 1.
    """
    if mode not in BLENDS:
        raise ValueError(f"unknown blend mode {mode!r}; there are {', '.join(BLENDS)}")
    image2 = with_channels_of(image1, image2).to(image1.device)
    if image1.shape[1:3] != image2.shape[1:3]:
        image2 = resize(image2, image1.shape[2], image1.shape[1], "bicubic", "center")
    if image1.shape[0] != image2.shape[0] and 1 not in (image1.shape[0], image2.shape[0]):
        raise ValueError(f"cannot blend {image1.shape[0]} images with {image2.shape[0]}: one, or as many")
    return (image1 * (1 - factor) + BLENDS[mode](image1, image2) * factor).clamp(0, 1)


class ImageBlur:
    """Gaussian blur. `blur_radius` in pixels; `sigma` relative to the radius."""

    DESCRIPTION = "Blurs images; sigma is relative to the radius."
    CATEGORY = "image/postprocessing"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=with_options("IMAGE"), blur_radius=whole(1, 1, 31, step=1),
                        sigma=decimal(1.0, 0.1, 10.0, step=0.1))

    @classmethod
    def execute(cls, image: torch.Tensor, blur_radius: int, sigma: float) -> tuple[torch.Tensor]:
        return (image if blur_radius == 0 else blurred(image, blur_radius, sigma),)


class ImageSharpen:
    """Unsharp mask: 10·`alpha` times what a blur would take away is added; clamped to 0..1."""

    DESCRIPTION = "Sharpens images: adds what a blur of this radius would take away."
    CATEGORY = "image/postprocessing"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=with_options("IMAGE"), sharpen_radius=whole(1, 1, 31, step=1),
                        sigma=decimal(1.0, 0.1, 10.0), alpha=decimal(1.0, 0.0, 5.0))

    @classmethod
    def execute(
        cls, image: torch.Tensor, sharpen_radius: int, sigma: float, alpha: float
    ) -> tuple[torch.Tensor]:
        if sharpen_radius == 0:
            return (image,)
        strength = 10 * alpha
        return (((1 + strength) * image - strength * blurred(image, sharpen_radius, sigma)).clamp(0, 1),)


class ImageBlend:
    """Two images blended. image2 is brought to image1's channels and size (centre cut, bicubic)."""

    DESCRIPTION = "Blends the second image into the first."
    CATEGORY = "image/postprocessing"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image1=with_options("IMAGE"), image2=with_options("IMAGE"),
                        blend_factor=decimal(0.5, 0.0, 1.0), blend_mode=combo(list(BLENDS)))

    @classmethod
    def execute(
        cls, image1: torch.Tensor, image2: torch.Tensor, blend_factor: float, blend_mode: str
    ) -> tuple[torch.Tensor]:
        return (blended(image1, image2, blend_factor, blend_mode),)
