"""How images and latents change their size, and how floats become bytes.

Pure functions on tensors, shared by every node that resizes; nothing here knows what a node is, except that
a long batch stops when its prompt was interrupted. torch and Pillow are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

IMAGE_METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]
LATENT_METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "bislerp"]
"""What nodes offer for images, which have channels of colours, and for latents, whose channels are a vector."""

CROPS = ["disabled", "center"]


def to_bytes(image: torch.Tensor) -> torch.Tensor:
    """8-bit values of floats in 0..1, the same shape, dtype uint8.

    Values outside are clipped; what is left truncates (0.5 becomes 127), it does not round.
    """
    import torch

    return (image.float() * 255.0).clamp(0, 255).to(torch.uint8)


def resize(image: torch.Tensor, width: int, height: int, method: str, crop: str = "disabled") -> torch.Tensor:
    """IMAGE [B,H,W,C] float32 to [B,height,width,C]; see `common_upscale` for methods, crop and errors."""
    return common_upscale(image.movedim(-1, 1), width, height, method, crop).movedim(1, -1)


def common_upscale(
    samples: torch.Tensor, width: int, height: int, upscale_method: str, crop: str
) -> torch.Tensor:
    """Resample [B,C,H,W] to [B,C,height,width]; of [B,C,T,H,W] each frame by itself.

    `nearest-exact`, `bilinear`, `bicubic` and `area` have half-pixel centres, no antialiasing and no clamp:
    bicubic overshoots at edges. `lanczos` works on 3 or 4 channels through 8-bit values, with antialiasing.
    `bislerp` turns channel vectors instead of fading them, for latents.
    `crop="center"` first cuts both sides to the new aspect ratio; any other value stretches.
    Raises ValueError for a side of 0 (except for `area`), an unknown method, or channels lanczos cannot take.
    """
    if samples.ndim == 5:
        batch, channels, frames = samples.shape[:3]
        folded = samples.movedim(2, 1).reshape(batch * frames, channels, *samples.shape[-2:])
        resized = common_upscale(folded, width, height, upscale_method, crop)
        return resized.reshape(batch, frames, channels, *resized.shape[-2:]).movedim(1, 2)

    if (width < 1 or height < 1) and upscale_method != "area":
        raise ValueError(f"cannot resize to {width}x{height}: both sides need at least one pixel")
    if crop == "center" and width > 0 and height > 0:
        samples = _cut_to_aspect(samples, width, height)
    if upscale_method == "lanczos":
        return _lanczos(samples, width, height)
    if upscale_method == "bislerp":
        return _bislerp(samples, width, height)
    if upscale_method not in IMAGE_METHODS:
        raise ValueError(f"unknown resize method {upscale_method!r}")

    import torch

    return torch.nn.functional.interpolate(samples, size=(height, width), mode=upscale_method)


def _cut_to_aspect(samples: torch.Tensor, width: int, height: int) -> torch.Tensor:
    old_height, old_width = samples.shape[-2:]
    old_aspect, new_aspect = old_width / old_height, width / height
    left = top = 0
    if old_aspect > new_aspect:
        left = round((old_width - old_width * new_aspect / old_aspect) / 2)
    elif old_aspect < new_aspect:
        top = round((old_height - old_height * old_aspect / new_aspect) / 2)
    return samples[..., top : old_height - top, left : old_width - left]


def _lanczos(samples: torch.Tensor, width: int, height: int) -> torch.Tensor:
    import numpy
    import torch
    from PIL import Image

    from execution import check_interrupted

    if samples.shape[1] not in (3, 4):
        raise ValueError(f"lanczos resizes images of 3 or 4 channels, and this one has {samples.shape[1]}")
    resized = []
    for pixels in to_bytes(samples).movedim(1, -1).cpu():
        check_interrupted()
        image = Image.fromarray(pixels.contiguous().numpy()).resize((width, height), Image.Resampling.LANCZOS)
        resized.append(torch.from_numpy(numpy.asarray(image, dtype=numpy.float32) / 255.0))
    return torch.stack(resized).movedim(-1, 1).to(samples.device)


def _bislerp(samples: torch.Tensor, width: int, height: int) -> torch.Tensor:
    along_x = _slerp_last_axis(samples.float(), width)
    return _slerp_last_axis(along_x.mT, height).mT.to(samples.dtype)


def _slerp_last_axis(samples: torch.Tensor, length: int) -> torch.Tensor:
    """[B,C,H,n] to [B,C,H,length]: between neighbours, turn the channel vector and fade its norm."""
    import torch

    size = samples.shape[-1]
    positions = torch.arange(size, dtype=torch.float32, device=samples.device)

    def resampled(row: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(
            row.reshape(1, 1, 1, size), size=(1, length), mode="bilinear"
        ).reshape(length)

    source = resampled(positions)
    ratio = source - source.floor()
    first = samples.index_select(-1, source.floor().long())
    second = samples.index_select(-1, resampled((positions + 1).clamp(max=size - 1)).floor().long())

    first_norm = first.norm(dim=1, keepdim=True)
    second_norm = second.norm(dim=1, keepdim=True)
    first_unit = torch.where(first_norm > 0, first / first_norm, 0.0)
    second_unit = torch.where(second_norm > 0, second / second_norm, 0.0)
    cosine = (first_unit * second_unit).sum(dim=1, keepdim=True)
    angle = cosine.clamp(-1, 1).acos()
    turned = (((1 - ratio) * angle).sin() * first_unit + (ratio * angle).sin() * second_unit) / angle.sin()
    turned = turned * ((1 - ratio) * first_norm + ratio * second_norm)

    # Vectors that point the same way need no turning, and opposite ones have no shortest way round.
    turned = torch.where(cosine > 1 - 1e-5, first, turned)
    return torch.where(cosine < 1e-5 - 1, (1 - ratio) * first + ratio * second, turned)
