"""Masks made, cut, combined, and turned into images and back. MASK is float32 [B,H,W] or [H,W]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.compositing import overlap
from nodes.declared_inputs import IMAGE, MASK, choice, decimal, distance, flag, required, rgb_color, side, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

CHANNELS = ["red", "green", "blue", "alpha"]


def as_batch(mask: torch.Tensor) -> torch.Tensor:
    """[...,H,W] as [B,H,W], a view where it can be one."""
    return mask.reshape(-1, *mask.shape[-2:])


def channel_of(image: torch.Tensor, channel: str) -> torch.Tensor:
    """[B,H,W] of one channel of [B,H,W,C]. Raises ValueError where the image lacks it."""
    index = CHANNELS.index(channel)
    if index >= image.shape[-1]:
        raise ValueError(f"these images have {image.shape[-1]} channels, and so no {channel} one")
    return image[..., index].contiguous()


def mask_of_color(image: torch.Tensor, color: int) -> torch.Tensor:
    """1 where the first three channels, as bytes, are exactly the colour 0xRRGGBB; else 0."""
    import torch

    wanted = torch.tensor([color >> shift & 0xFF for shift in (16, 8, 0)], device=image.device)
    found = (image[..., :3].clamp(0, 1) * 255).round() == wanted
    return found.all(dim=-1).float()


def _logical(
    operation: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """An operation on what is nearer to 1 than to 0. A half is not."""
    return lambda d, s: operation(d.round().bool(), s.round().bool()).to(d.dtype)


OPERATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "multiply": lambda d, s: d * s,
    "add": lambda d, s: d + s,
    "subtract": lambda d, s: d - s,
    "and": _logical(lambda d, s: d & s),
    "or": _logical(lambda d, s: d | s),
    "xor": _logical(lambda d, s: d ^ s),
}
"""By name, of destination and source."""


def combined(destination: torch.Tensor, source: torch.Tensor, x: int, y: int, operation: str) -> torch.Tensor:
    """`source` put onto `destination` at (x, y), and all of that clipped to 0..1; unchanged if they do not meet.

    Raises ValueError for an unknown operation, or where there are several sources, but not one for each mask.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"unknown operation {operation!r}; there are {', '.join(OPERATIONS)}")
    destination, source = as_batch(destination), as_batch(source).to(destination.device)
    if source.shape[0] not in (1, destination.shape[0]):
        raise ValueError(f"cannot put {source.shape[0]} masks onto {destination.shape[0]}: one, or as many")
    rows, source_rows = overlap(y, source.shape[1], destination.shape[1])
    columns, source_columns = overlap(x, source.shape[2], destination.shape[2])
    result = destination.clone()
    part = result[:, rows, columns]
    if part.numel() == 0:
        return result
    part.copy_(OPERATIONS[operation](part, source[:, source_rows, source_columns]))
    return result.clamp_(0, 1)


def ramp(length: int, width: int, *, from_end: bool) -> torch.Tensor:
    """[length] factors that climb to 1 within the first `width`; from the end, within the last ones.

    From the end the lowest factor lands on the very first item and the climb starts at the last one: where an
    index counts from the end, −0 is 0. Pictures depend on it.
    """
    import torch

    width = min(width, length)
    factors = torch.ones(length)
    steps = torch.arange(width)
    factors[-steps % length if from_end else steps] = (steps + 1) / width
    return factors


def feathered(mask: torch.Tensor, left: int, top: int, right: int, bottom: int) -> torch.Tensor:
    """The mask faded out towards each side within so many pixels."""
    height, width = mask.shape[-2:]
    result = as_batch(mask)
    for length, margin, from_end in ((width, left, False), (width, right, True)):
        result = result * ramp(length, margin, from_end=from_end).to(result)
    for length, margin, from_end in ((height, top, False), (height, bottom, True)):
        result = result * ramp(length, margin, from_end=from_end).to(result)[:, None]
    return result


def spread(mask: torch.Tensor, *, diagonally: bool) -> torch.Tensor:
    """[B,H,W] where each pixel takes the largest value among itself and its four neighbours, or all eight."""
    import torch

    result = mask.clone()
    for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        torch.maximum(result[..., here], mask[..., there], out=result[..., here])
    # In columns the widened rows spread on to the corners, the mask itself does not.
    source = result.clone() if diagonally else mask
    for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        torch.maximum(result[:, here], source[:, there], out=result[:, here])
    return result


def grown(mask: torch.Tensor, pixels: int, *, tapered: bool) -> torch.Tensor:
    """[B,H,W] widened by `pixels`, or narrowed by −`pixels`, in the shape of a diamond if tapered, else a square.

    What lies outside of the mask neither grows into it nor eats at it.
    """
    from execution import check_interrupted

    mask = as_batch(mask)
    height, width = mask.shape[-2:]
    # After so many passes each pixel has met every other one.
    passes = min(abs(pixels), height + width - 2 if tapered else max(height, width) - 1)
    result = mask if pixels > 0 else -mask
    for _ in range(passes):
        check_interrupted()
        result = spread(result, diagonally=not tapered)
    return result if pixels > 0 else -result


class ImageToMask:
    """One channel as a mask, as it is."""

    DESCRIPTION = "Makes a mask of one channel of the images."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "image_to_mask"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, channel=choice(CHANNELS))

    def image_to_mask(self, image: torch.Tensor, channel: str) -> tuple[torch.Tensor]:
        return (channel_of(image, channel),)


class MaskToImage:
    """A grey RGB image of each mask."""

    DESCRIPTION = "Makes grey images of masks."
    CATEGORY = "mask"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "mask_to_image"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(mask=MASK)

    def mask_to_image(self, mask: torch.Tensor) -> tuple[torch.Tensor]:
        return (as_batch(mask)[..., None].repeat(1, 1, 1, 3),)


class ImageColorToMask:
    """1 where the images have exactly this colour."""

    DESCRIPTION = "Makes a mask of where the images have exactly this colour."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "image_to_mask"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, color=rgb_color())

    def image_to_mask(self, image: torch.Tensor, color: int) -> tuple[torch.Tensor]:
        return (mask_of_color(image, color),)


class SolidMask:
    """One mask of one value."""

    DESCRIPTION = "Makes a mask of a single value."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "solid"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(value=decimal(1.0, 0.0, 1.0), width=side(), height=side())

    def solid(self, value: float, width: int, height: int) -> tuple[torch.Tensor]:
        import torch

        return (torch.full((1, height, width), value, dtype=torch.float32),)


class InvertMask:
    """1 − m."""

    DESCRIPTION = "Inverts masks."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "invert"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(mask=MASK)

    def invert(self, mask: torch.Tensor) -> tuple[torch.Tensor]:
        return (1.0 - mask,)


class CropMask:
    """A rectangle in pixels, cut at the border. One that lies outside is empty."""

    DESCRIPTION = "Cuts a rectangle out of masks."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "crop"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(mask=MASK, x=distance(), y=distance(), width=side(), height=side())

    def crop(self, mask: torch.Tensor, x: int, y: int, width: int, height: int) -> tuple[torch.Tensor]:
        return (as_batch(mask)[:, y : y + height, x : x + width],)


class MaskComposite:
    """Two masks in one: arithmetic, or logic on what is more than a half."""

    DESCRIPTION = "Combines a mask with another one, put at a place in it."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "combine"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(destination=MASK, source=MASK, x=distance(), y=distance(),
                        operation=choice(list(OPERATIONS)))

    def combine(
        self, destination: torch.Tensor, source: torch.Tensor, x: int, y: int, operation: str
    ) -> tuple[torch.Tensor]:
        return (combined(destination, source, x, y, operation),)


class FeatherMask:
    """Faded out towards the sides, within so many pixels of each."""

    DESCRIPTION = "Fades masks out towards their sides."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "feather"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(mask=MASK, left=distance(), top=distance(), right=distance(), bottom=distance())

    def feather(self, mask: torch.Tensor, left: int, top: int, right: int, bottom: int) -> tuple[torch.Tensor]:
        return (feathered(mask, left, top, right, bottom),)


class GrowMask:
    """Widened by `expand` pixels, or narrowed where that is negative."""

    DESCRIPTION = "Widens masks, or narrows them where expand is negative."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "expand_mask"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(mask=MASK, expand=whole(0, -16384, 16384, step=1), tapered_corners=flag(True))

    def expand_mask(self, mask: torch.Tensor, expand: int, tapered_corners: bool) -> tuple[torch.Tensor]:
        return (grown(mask, expand, tapered=tapered_corners),)


class ThresholdMask:
    """1 where the mask is more than `value`, else 0."""

    DESCRIPTION = "Makes masks of zeros and ones: one where they are more than a value."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "image_to_mask"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(mask=MASK, value=decimal(0.5, 0.0, 1.0))

    def image_to_mask(self, mask: torch.Tensor, value: float) -> tuple[torch.Tensor]:
        return ((mask > value).float(),)
