"""Batches joined, repeated, cut and regrouped. IMAGE is float32 [B,H,W,C] in 0..1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.declared_inputs import IMAGE, batch_count, required, whole, with_options
from nodes.resampling import resize

if TYPE_CHECKING:
    import torch


def fitted_batch(items: torch.Tensor, count: int) -> torch.Tensor:
    """`items` [B,...] over and over, cut to [count,...]."""
    missing = count - items.shape[0]
    if missing <= 0:
        return items[:count]
    repeats = -(-count // items.shape[0])
    return items.repeat(repeats, *(1,) * (items.ndim - 1))[:count]


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


def cut_batch(batch: torch.Tensor, first: int, length: int) -> torch.Tensor:
    """Up to `length` items from the one numbered `first` on, or from the last one where there are not so many."""
    first = min(first, batch.shape[0] - 1)
    items = batch[first : first + length]
    # A copy, so that a few images of a video do not keep all the others in memory.
    return batch if items.shape == batch.shape else items.clone()


class ImageBatch:
    """Two batches in one. image2 takes image1's size: cut to its aspect ratio, then bilinear."""

    DESCRIPTION = "Joins two batches of images; the second one is brought to the size of the first."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "batch"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image1=IMAGE, image2=IMAGE)

    def batch(self, image1: torch.Tensor, image2: torch.Tensor) -> tuple[torch.Tensor]:
        return (joined_batch(image1, image2),)


class RepeatImageBatch:
    """The whole batch, `amount` times over."""

    DESCRIPTION = "Repeats a batch of images."
    CATEGORY = "image/batch"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "repeat"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, amount=batch_count())

    def repeat(self, image: torch.Tensor, amount: int) -> tuple[torch.Tensor]:
        return (image.repeat((amount, 1, 1, 1)),)


class ImageFromBatch:
    """`length` images from number `batch_index` on, as far as there are so many; at least one."""

    DESCRIPTION = "Takes images out of a batch."
    CATEGORY = "image/batch"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "frombatch"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, batch_index=whole(0, 0, 4095), length=batch_count())

    def frombatch(self, image: torch.Tensor, batch_index: int, length: int) -> tuple[torch.Tensor]:
        return (cut_batch(image, batch_index, length),)


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
        return required(images=with_options("IMAGE"), batch_size=batch_count())

    @classmethod
    def execute(cls, images: list[torch.Tensor], batch_size: list[int]) -> tuple[list[torch.Tensor]]:
        return (regrouped(images, batch_size[0]),)
