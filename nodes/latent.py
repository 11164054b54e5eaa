"""Latents made, resized and arranged, without any model.

LATENT is a dict whose `samples` are float32 [B,C,H,W], or [B,C,T,H,W] of videos, with eight pixels of the picture for
each of H and W. Beside it may be `noise_mask` ([b,1,h,w] or [b,h,w] at any size, repeated to B by whoever uses it) and
`batch_index`, a list of B whole numbers that say which noise an item gets. Nodes hand on every key that they do not
change, and change no dict or tensor in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.declared_inputs import MAX_SIDE
from nodes.resampling import CROPS, LATENT_METHODS, common_upscale

if TYPE_CHECKING:
    import torch

Latent = dict[str, Any]

CHANNELS = 4
PIXELS = 8
"""Of the picture, along one side of a latent's element."""
SMALLEST_SIDE = 64
"""In pixels: an upscaled latent is never smaller."""


def fitted(batch: torch.Tensor, size: int) -> torch.Tensor:
    """The batch repeated cyclically and cut to `size` items."""
    import torch

    if batch.shape[0] == size:
        return batch
    return batch[torch.arange(size, device=batch.device) % batch.shape[0]]


def cut_batch(latent: Latent, first: int, length: int) -> Latent:
    """Items from `first` on, at most `length`; at least the last one, and of noise what belongs to them."""
    samples = latent["samples"]
    size = samples.shape[0]
    first = max(0, min(first, size - 1))
    length = min(length, size - first)
    # Copies: a view would keep the whole batch in memory.
    cut = {**latent, "samples": samples[first : first + length].clone()}
    mask = latent.get("noise_mask")
    if mask is not None:
        cut["noise_mask"] = (mask if mask.shape[0] == 1 else fitted(mask, size)[first : first + length]).clone()
    indices = latent.get("batch_index")
    cut["batch_index"] = list(range(size) if indices is None else indices)[first : first + length]
    return cut


def repeated_batch(latent: Latent, amount: int) -> Latent:
    """The whole batch `amount` times over, every repetition with noise of its own if noise has indices."""
    samples = latent["samples"]
    repeated = {**latent, "samples": _times(samples, amount)}
    mask = latent.get("noise_mask")
    if mask is not None and mask.shape[0] > 1:
        # A shorter one has to be repeated to the batch first, or the second time would begin in its middle.
        whole = fitted(mask, samples.shape[0]) if mask.shape[0] < samples.shape[0] else mask
        repeated["noise_mask"] = _times(whole, amount)
    indices = latent.get("batch_index")
    if indices:
        step = max(indices) - min(indices) + 1
        repeated["batch_index"] = [index + time * step for time in range(amount) for index in indices]
    return repeated


def _times(batch: torch.Tensor, amount: int) -> torch.Tensor:
    return batch.repeat(amount, *[1] * (batch.ndim - 1))


def size_in_pixels(samples: torch.Tensor, width: int, height: int) -> tuple[int, int]:
    """Width and height of which one may be 0, to follow from the other and the latent's ratio; at least 64 each."""
    old_height, old_width = samples.shape[-2:]
    if width == 0:
        height = max(SMALLEST_SIDE, height)
        width = round(old_width * height / old_height)
    elif height == 0:
        width = max(SMALLEST_SIDE, width)
        height = round(old_height * width / old_width)
    return max(SMALLEST_SIDE, width), max(SMALLEST_SIDE, height)


class EmptyLatentImage:
    """Zeros [batch_size,4,height/8,width/8]; a rest of the division is dropped."""

    DESCRIPTION = "Makes a batch of empty latent images, to be filled by sampling."
    CATEGORY = "latent"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "generate"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        side = {"default": 512, "min": 16, "max": MAX_SIDE, "step": 8}
        return {
            "required": {
                "width": ("INT", side),
                "height": ("INT", side),
                "batch_size": ("INT", {"default": 1, "min": 1, "max": 4096}),
            }
        }

    def generate(self, width: int, height: int, batch_size: int = 1) -> tuple[Latent]:
        import torch

        return ({"samples": torch.zeros(batch_size, CHANNELS, height // PIXELS, width // PIXELS)},)


class LatentUpscale:
    """Resize to a size in pixels of the picture; see `size_in_pixels`. The noise mask stays as it is."""

    upscale_methods = LATENT_METHODS
    crop_methods = CROPS

    DESCRIPTION = "Resizes latents to a width and height in pixels; a side of 0 keeps the aspect ratio."
    CATEGORY = "latent"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "upscale"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        side = {"default": 512, "min": 0, "max": MAX_SIDE, "step": 8}
        return {
            "required": {
                "samples": ("LATENT",),
                "upscale_method": (cls.upscale_methods,),
                "width": ("INT", side),
                "height": ("INT", side),
                "crop": (cls.crop_methods,),
            }
        }

    def upscale(self, samples: Latent, upscale_method: str, width: int, height: int, crop: str) -> tuple[Latent]:
        if width == 0 and height == 0:
            return (samples,)
        values = samples["samples"]
        width, height = size_in_pixels(values, width, height)
        resized = common_upscale(values, width // PIXELS, height // PIXELS, upscale_method, crop)
        return ({**samples, "samples": resized},)


class LatentUpscaleBy:
    """Resize by a factor; sides are rounded, half to even."""

    upscale_methods = LATENT_METHODS

    DESCRIPTION = "Resizes latents by a factor."
    CATEGORY = "latent"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "upscale"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "samples": ("LATENT",),
                "upscale_method": (cls.upscale_methods,),
                "scale_by": ("FLOAT", {"default": 1.5, "min": 0.01, "max": 8.0, "step": 0.01}),
            }
        }

    def upscale(self, samples: Latent, upscale_method: str, scale_by: float) -> tuple[Latent]:
        height, width = (round(side * scale_by) for side in samples["samples"].shape[-2:])
        resized = common_upscale(samples["samples"], width, height, upscale_method, "disabled")
        return ({**samples, "samples": resized},)


class LatentFromBatch:
    """Some items of a batch; see `cut_batch`."""

    DESCRIPTION = "Takes latents out of a batch."
    CATEGORY = "latent/batch"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "frombatch"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "samples": ("LATENT",),
                "batch_index": ("INT", {"default": 0, "min": 0, "max": 63}),
                "length": ("INT", {"default": 1, "min": 1, "max": 64}),
            }
        }

    def frombatch(self, samples: Latent, batch_index: int, length: int) -> tuple[Latent]:
        return (cut_batch(samples, batch_index, length),)


class RepeatLatentBatch:
    """A batch several times over; see `repeated_batch`."""

    DESCRIPTION = "Repeats a batch of latents."
    CATEGORY = "latent/batch"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "repeat"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"samples": ("LATENT",), "amount": ("INT", {"default": 1, "min": 1, "max": 64})}}

    def repeat(self, samples: Latent, amount: int) -> tuple[Latent]:
        return (repeated_batch(samples, amount),)


class SetLatentNoiseMask:
    """The mask under `noise_mask`, as [B,1,H,W]: noise is put where it is 1."""

    DESCRIPTION = "Says by a mask which parts of latents are to be sampled anew."
    CATEGORY = "latent/inpaint"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "set_mask"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"samples": ("LATENT",), "mask": ("MASK",)}}

    def set_mask(self, samples: Latent, mask: torch.Tensor) -> tuple[Latent]:
        return ({**samples, "noise_mask": mask.reshape(-1, 1, *mask.shape[-2:])},)
