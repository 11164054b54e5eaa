"""Images in few colours, through Pillow's palettes. IMAGE is float32 [B,H,W,3] in 0..1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.declared_inputs import combo, required, whole, with_options

if TYPE_CHECKING:
    import numpy
    import torch
    from PIL import Image

DITHERS = ["none", "floyd-steinberg", "bayer-2", "bayer-4", "bayer-8", "bayer-16"]


def bayer_matrix(side: int) -> numpy.ndarray[Any, Any]:
    """float64 [side,side] thresholds between −½ and ½, of mean 0; `side` is a power of two.

    Each of its quarters is the matrix of half the side, moved by a step finer than any in that one.
    """
    import numpy

    if side == 1:
        return numpy.zeros((1, 1))
    quarter = bayer_matrix(side // 2)
    step = 1 / side**2
    return numpy.block([
        [quarter - 1.5 * step, quarter + 0.5 * step],
        [quarter + 1.5 * step, quarter - 0.5 * step],
    ])


def ordered(pixels: numpy.ndarray[Any, Any], side: int, entries: int) -> numpy.ndarray[Any, Any]:
    """uint8 [H,W,3] with a Bayer pattern laid over it, the stronger the fewer entries the palette has."""
    import numpy

    height, width = pixels.shape[:2]
    pattern = numpy.tile(bayer_matrix(side), (-(-height // side), -(-width // side)))[:height, :width, None]
    return (pixels + (512 / entries * pattern + 0.5)).clip(0, 255).astype(numpy.uint8)


def in_few_colors(picture: Image.Image, colors: int, dither: str) -> Image.Image:
    """An RGB picture in a palette of at most `colors`, made by median cut; RGB again."""
    import numpy
    from PIL import Image

    palette = picture.quantize(colors, method=Image.Quantize.MEDIANCUT)
    method = Image.Dither.FLOYDSTEINBERG if dither == "floyd-steinberg" else Image.Dither.NONE
    if dither.startswith("bayer-"):
        # There are fewer entries than asked for where the picture has fewer colours.
        entries = len(palette.getpalette() or ()) // 3
        picture = Image.fromarray(ordered(numpy.asarray(picture), int(dither.removeprefix("bayer-")), entries))
    return picture.quantize(palette=palette, dither=method).convert("RGB")


def quantized(image: torch.Tensor, colors: int, dither: str) -> torch.Tensor:
    """Each image by itself in its own palette; values outside 0..1 wrap around, as bytes do.

    Raises ValueError for an unknown dither or for images that are not RGB.
    """
    import numpy
    import torch
    from PIL import Image

    from execution import check_interrupted

    if dither not in DITHERS:
        raise ValueError(f"unknown dither {dither!r}; there are {', '.join(DITHERS)}")
    if image.shape[-1] != 3:
        raise ValueError(f"only RGB images can be quantized, and this one has {image.shape[-1]} channels")
    results = []
    for single in image.float().cpu():
        check_interrupted()
        pixels = ((single * 255).floor().long() & 0xFF).to(torch.uint8).numpy()
        picture = in_few_colors(Image.fromarray(pixels), colors, dither)
        results.append(torch.from_numpy(numpy.asarray(picture, dtype=numpy.float32) / 255))
    return torch.stack(results).to(image.device)


class ImageQuantize:
    """At most `colors` colours, chosen for each image; dithered by diffusion, by a Bayer pattern, or not at all."""

    DESCRIPTION = "Reduces images to a number of colours."
    CATEGORY = "image/postprocessing"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=with_options("IMAGE"), colors=whole(256, 1, 256, step=1), dither=combo(DITHERS))

    @classmethod
    def execute(cls, image: torch.Tensor, colors: int, dither: str) -> tuple[torch.Tensor]:
        return (quantized(image, colors, dither),)
