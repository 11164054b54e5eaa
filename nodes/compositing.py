"""Pictures laid over each other, and alpha taken apart and joined. IMAGE is float32 [B,H,W,C] in 0..1.

MASK is float32 [B,H,W] or [H,W]. As an alpha it is the other way round: 1 is transparent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.declared_inputs import IMAGE, MASK, combo, distance, flag, required, with_options
from nodes.image_batches import fitted_batch
from nodes.image_filters import with_channels_of
from nodes.resampling import common_upscale, resize

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    PorterDuff = Callable[
        [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]
    ]


def overlap(offset: int, length: int, size: int) -> tuple[slice, slice]:
    """Of `length` pixels put at `offset` onto `size`, the part that fits: where it lands, and what it is."""
    start = max(offset, 0)
    stop = max(start, min(offset + length, size))
    return slice(start, stop), slice(start - offset, stop - offset)


def composite(
    destination: torch.Tensor,
    source: torch.Tensor,
    x: int,
    y: int,
    mask: torch.Tensor | None = None,
    multiplier: int = 8,
    resize_source: bool = False,
) -> torch.Tensor:
    """`source` over `destination` at (x, y), both [B,C,H,W]; a new tensor, of the destination's shape.

    `mask` [B,H,W] or [H,W] shows the source where it is 1; it takes the source's size. Source and mask are
    repeated or cut to the destination's batch. `multiplier` is how many pixels of x and y an item is wide:
    8 for latents. `resize_source` stretches the source to the destination's size first.
    """
    result = destination.clone()
    source = source.to(result)
    if resize_source:
        source = common_upscale(source, result.shape[-1], result.shape[-2], "bilinear", "disabled")
    source = fitted_batch(source, result.shape[0])
    rows, source_rows = overlap(y // multiplier, source.shape[-2], result.shape[-2])
    columns, source_columns = overlap(x // multiplier, source.shape[-1], result.shape[-1])
    part = result[..., rows, columns]
    shown = source[..., source_rows, source_columns]
    if mask is not None:
        planes = mask.to(result).reshape(-1, 1, *mask.shape[-2:])
        planes = common_upscale(planes, source.shape[-1], source.shape[-2], "bilinear", "disabled")
        weights = fitted_batch(planes, result.shape[0])[..., source_rows, source_columns]
        shown = weights * shown + (1 - weights) * part
    part.copy_(shown)
    return result


def resized_mask(mask: torch.Tensor, image: torch.Tensor, method: str, crop: str = "disabled") -> torch.Tensor:
    """[B,H,W] of a mask of any size, in the size and on the device of an image [B,H,W,C]."""
    planes = mask.to(image.device).reshape(-1, *mask.shape[-2:], 1)
    return resize(planes, image.shape[2], image.shape[1], method, crop)[..., 0]


def joined_with_alpha(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """RGBA of as many images as there are of both. The mask is 1 where the image becomes transparent."""
    import torch

    alpha = 1.0 - resized_mask(mask, image, "bilinear")
    count = min(image.shape[0], alpha.shape[0])
    return torch.cat((image[:count, ..., :3], alpha[:count, ..., None]), dim=-1)


def split_from_alpha(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """RGB, and the mask [B,H,W] of what is transparent: zeros where the image has no alpha."""
    import torch

    mask = 1.0 - image[..., 3] if image.shape[-1] > 3 else torch.zeros(image.shape[:3], device=image.device)
    return image[..., :3], mask


PORTER_DUFF: dict[str, PorterDuff] = {
    "ADD": lambda s, a, d, b: ((a + b).clamp(0, 1), (s + d).clamp(0, 1)),
    "CLEAR": lambda s, a, d, b: (a.new_zeros(a.shape), s.new_zeros(s.shape)),
    "DARKEN": lambda s, a, d, b: (a + b - a * b, (1 - b) * s + (1 - a) * d + s.minimum(d)),
    "DST": lambda s, a, d, b: (b, d),
    "DST_ATOP": lambda s, a, d, b: (a, a * d + (1 - b) * s),
    "DST_IN": lambda s, a, d, b: (a * b, a * d),
    "DST_OUT": lambda s, a, d, b: ((1 - a) * b, (1 - a) * d),
    "DST_OVER": lambda s, a, d, b: (b + (1 - b) * a, d + (1 - b) * s),
    "LIGHTEN": lambda s, a, d, b: (a + b - a * b, (1 - b) * s + (1 - a) * d + s.maximum(d)),
    "MULTIPLY": lambda s, a, d, b: (a * b, s * d),
    "OVERLAY": lambda s, a, d, b: (
        a + b - a * b, (2 * s * d).where(2 * d < b, a * b - 2 * (b - s) * (a - d))
    ),
    "SCREEN": lambda s, a, d, b: (a + b - a * b, s + d - s * d),
    "SRC": lambda s, a, d, b: (a, s),
    "SRC_ATOP": lambda s, a, d, b: (b, b * s + (1 - a) * d),
    "SRC_IN": lambda s, a, d, b: (a * b, b * s),
    "SRC_OUT": lambda s, a, d, b: ((1 - b) * a, (1 - b) * s),
    "SRC_OVER": lambda s, a, d, b: (a + (1 - a) * b, s + (1 - a) * d),
    "XOR": lambda s, a, d, b: ((1 - b) * a + (1 - a) * b, (1 - b) * s + (1 - a) * d),
}
"""Alpha and colour of the result, of source and destination, each as premultiplied colour (s, d) and alpha (a, b)."""


def porter_duff(
    source: torch.Tensor,
    source_mask: torch.Tensor,
    destination: torch.Tensor,
    destination_mask: torch.Tensor,
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and mask of as many pairs as all four have, in the destination's size.

    Raises ValueError for an unknown mode, or where the images have not the same channels.
    """
    import torch

    from execution import check_interrupted

    if mode not in PORTER_DUFF:
        raise ValueError(f"unknown mode {mode!r}; there are {', '.join(PORTER_DUFF)}")
    if source.shape[-1] != destination.shape[-1]:
        raise ValueError(
            f"the source has {source.shape[-1]} channels and the destination {destination.shape[-1]}: "
            "they need the same"
        )
    masks = [mask.reshape(-1, *mask.shape[-2:]) for mask in (source_mask, destination_mask)]
    count = min(source.shape[0], destination.shape[0], *(mask.shape[0] for mask in masks))
    images, transparencies = [], []
    for index in range(count):
        check_interrupted()
        under = destination[index : index + 1]
        over = resize(source[index : index + 1].to(under), under.shape[2], under.shape[1], "bicubic", "center")
        a, b = (1 - resized_mask(mask[index], under, "bicubic", "center")[..., None] for mask in masks)
        alpha, color = PORTER_DUFF[mode](a * over, a, b * under, b)
        images.append((color / alpha).clamp(0, 1).where(alpha > 1e-5, 0))
        transparencies.append(1 - alpha[..., 0])
    return torch.cat(images), torch.cat(transparencies)


class ImageCompositeMasked:
    """The source over the destination at (x, y), where the mask is 1."""

    DESCRIPTION = "Puts an image over another one, where a mask says so."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "composite"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            **required(destination=IMAGE, source=IMAGE, x=distance(), y=distance(), resize_source=flag(False)),
            "optional": {"mask": MASK},
        }

    def composite(
        self,
        destination: torch.Tensor,
        source: torch.Tensor,
        x: int,
        y: int,
        resize_source: bool,
        mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor]:
        source = with_channels_of(destination, source)
        planes = composite(destination.movedim(-1, 1), source.movedim(-1, 1), x, y, mask, 1, resize_source)
        return (planes.movedim(1, -1),)


class JoinImageWithAlpha:
    """The colours of the images, with the opposite of the mask as their alpha."""

    DESCRIPTION = "Makes images transparent where a mask is 1."
    CATEGORY = "mask/compositing"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=with_options("IMAGE"), alpha=with_options("MASK"))

    @classmethod
    def execute(cls, image: torch.Tensor, alpha: torch.Tensor) -> tuple[torch.Tensor]:
        return (joined_with_alpha(image, alpha),)


class SplitImageWithAlpha:
    """The colours of the images, and a mask of where they are transparent."""

    DESCRIPTION = "Takes the alpha off images; the mask is 1 where they are transparent."
    CATEGORY = "mask/compositing"
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=with_options("IMAGE"))

    @classmethod
    def execute(cls, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return split_from_alpha(image)


class PorterDuffImageComposite:
    """Two images with their masks, by one of the rules of Porter and Duff or of their kin."""

    DESCRIPTION = "Composes two images by their alphas; masks are 1 where the images are transparent."
    CATEGORY = "mask/compositing"
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(source=with_options("IMAGE"), source_alpha=with_options("MASK"),
                        destination=with_options("IMAGE"), destination_alpha=with_options("MASK"),
                        mode=combo(list(PORTER_DUFF), default="DST"))

    @classmethod
    def execute(
        cls,
        source: torch.Tensor,
        source_alpha: torch.Tensor,
        destination: torch.Tensor,
        destination_alpha: torch.Tensor,
        mode: str,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return porter_duff(source, source_alpha, destination, destination_alpha, mode)
