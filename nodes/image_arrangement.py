"""Images cut, turned, padded and put side by side. IMAGE is float32 [B,H,W,C] in 0..1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.declared_inputs import IMAGE, choice, distance, flag, required, side, whole
from nodes.image_filters import with_channels_of
from nodes.resampling import resize

if TYPE_CHECKING:
    import torch

DIRECTIONS = ["right", "down", "left", "up"]
"""Where the second image goes."""

SPACING_COLORS = {
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
}

ROTATIONS = ["none", "90 degrees", "180 degrees", "270 degrees"]
"""By quarter turns."""

ROWS, COLUMNS = 1, 2


def crop_rectangle(image: torch.Tensor, x: int, y: int, width: int, height: int) -> torch.Tensor:
    """The rectangle, as a view of [B,H,W,C]: its corner moved into the image, its rest cut at the border."""
    x = min(x, image.shape[2] - 1)
    y = min(y, image.shape[1] - 1)
    return image[:, y : y + height, x : x + width]


def feathered_hole(
    height: int, width: int, feathering: int, *, left: bool, top: bool, right: bool, bottom: bool
) -> torch.Tensor:
    """[height,width] that falls from 1 to 0 within `feathering` pixels of the sides that are True.

    Zeros where the feathering does not fit: it takes less than half of either side.
    """
    import torch

    if not 0 < 2 * feathering < min(height, width):
        return torch.zeros(height, width)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    nearest = torch.full((height, width), feathering)
    # The first row under a top margin is at distance 0 from it, the last one above a bottom margin at distance 1.
    for has_margin, distances in ((top, rows), (bottom, height - rows), (left, columns), (right, width - columns)):
        if has_margin:
            nearest = nearest.minimum(distances)
    return ((feathering - nearest) / feathering) ** 2


def padded_for_outpainting(
    image: torch.Tensor, left: int, top: int, right: int, bottom: int, feathering: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The image on a grey canvas larger by the margins, and the mask [1,H',W'] of what is to be painted."""
    import torch

    batch, height, width, channels = image.shape
    canvas = image.new_full((batch, top + height + bottom, left + width + right, channels), 0.5)
    canvas[:, top : top + height, left : left + width] = image
    mask = torch.ones(1, *canvas.shape[1:3])
    mask[0, top : top + height, left : left + width] = feathered_hole(
        height, width, feathering, left=left > 0, top=top > 0, right=right > 0, bottom=bottom > 0
    )
    return canvas, mask


def fitted_onto_canvas(
    image: torch.Tensor, width: int, height: int, shade: float, method: str
) -> torch.Tensor:
    """As large as it fits into [B,height,width,C], in the middle; around it `shade` in every channel."""
    old_height, old_width = image.shape[1:3]
    factor = min(width / old_width, height / old_height)
    resized = resize(image, int(old_width * factor), int(old_height * factor), method)
    left, top = (width - resized.shape[2]) // 2, (height - resized.shape[1]) // 2
    canvas = image.new_full((image.shape[0], height, width, image.shape[-1]), shade)
    canvas[:, top : top + resized.shape[1], left : left + resized.shape[2]] = resized
    return canvas


def held_at_end(batch: torch.Tensor, count: int) -> torch.Tensor:
    """[B,...] as [count,...]: the last item again and again where there are fewer."""
    import torch

    missing = count - batch.shape[0]
    return batch if missing <= 0 else torch.cat((batch, batch[-1:].expand(missing, *batch.shape[1:])))


def padded_along(image: torch.Tensor, dim: int, length: int, shade: float) -> torch.Tensor:
    """At least `length` pixels along `dim`, `shade` on both sides; an odd one comes after the image."""
    import torch

    missing = length - image.shape[dim]
    if missing <= 0:
        return image
    shape = list(image.shape)
    bands = []
    for size in (missing // 2, missing - missing // 2):
        shape[dim] = size
        bands.append(image.new_full(shape, shade))
    return torch.cat((bands[0], image, bands[1]), dim)


def resized_to_match(image: torch.Tensor, target: torch.Tensor, dim: int) -> torch.Tensor:
    """As long as `target` along `dim`, its ratio kept, by lanczos."""
    height, width = image.shape[1:3]
    if dim == ROWS:
        width, height = int(target.shape[ROWS] * width / height), target.shape[ROWS]
    else:
        width, height = target.shape[COLUMNS], int(target.shape[COLUMNS] / (width / height))
    # Lanczos works on bytes: an image that has the size already would only lose by it.
    return image if (height, width) == image.shape[1:3] else resize(image, width, height, "lanczos")


def spacing_band(image: torch.Tensor, dim: int, width: int, color: str) -> torch.Tensor:
    """A band of one colour, `width` pixels along `dim`, else of the image's shape; an alpha is 1."""
    shape = list(image.shape)
    shape[dim] = width
    band = image.new_ones(shape)
    for channel, value in zip(range(image.shape[-1]), SPACING_COLORS[color], strict=False):
        band[..., channel] = value
    return band


def stitched(
    first: torch.Tensor, second: torch.Tensor, direction: str, match_size: bool, spacing: int, color: str
) -> torch.Tensor:
    """Two images side by side, or one above the other, and between them a band of an even width in pixels.

    Raises ValueError for an unknown direction or colour, and where a matching size cannot be had.
    """
    import torch

    if direction not in DIRECTIONS or color not in SPACING_COLORS:
        raise ValueError(f"cannot stitch {direction!r} with a spacing of {color!r}")
    along, across = (COLUMNS, ROWS) if direction in ("right", "left") else (ROWS, COLUMNS)
    count = max(first.shape[0], second.shape[0])
    first, second = held_at_end(first, count), held_at_end(second.to(first.device), count)
    if match_size:
        second = resized_to_match(second, first, across)
    else:
        length = max(first.shape[across], second.shape[across])
        shade = 1.0 if color == "white" else 0.0
        first, second = (padded_along(image, across, length, shade) for image in (first, second))
    if first.shape[-1] < second.shape[-1]:
        first = with_channels_of(second, first)
    else:
        second = with_channels_of(first, second)
    parts = [first, second] if direction in ("right", "down") else [second, first]
    if spacing > 0:
        parts.insert(1, spacing_band(first, along, spacing + spacing % 2, color))
    return torch.cat(parts, along)


class ImageCrop:
    """A rectangle in pixels, cut at the border and so smaller where it does not fit."""

    DESCRIPTION = "Cuts a rectangle out of the images."
    CATEGORY = "image/transform"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "crop"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, width=side(), height=side(), x=distance(), y=distance())

    def crop(self, image: torch.Tensor, width: int, height: int, x: int, y: int) -> tuple[torch.Tensor]:
        return (crop_rectangle(image, x, y, width, height),)


class ImageFlip:
    """Mirrored at the horizontal axis (rows change places) or the vertical one (columns do)."""

    DESCRIPTION = "Mirrors images."
    CATEGORY = "image/transform"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "flip"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, flip_method=choice(["x-axis: vertically", "y-axis: horizontally"]))

    def flip(self, image: torch.Tensor, flip_method: str) -> tuple[torch.Tensor]:
        return (image.flip(ROWS if flip_method.startswith("x") else COLUMNS),)


class ImageRotate:
    """Quarter turns, clockwise."""

    DESCRIPTION = "Turns images clockwise."
    CATEGORY = "image/transform"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "rotate"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, rotation=choice(ROTATIONS))

    def rotate(self, image: torch.Tensor, rotation: str) -> tuple[torch.Tensor]:
        # From columns towards rows is clockwise, as rows go down.
        return (image.rot90(ROTATIONS.index(rotation), (COLUMNS, ROWS)),)


class ImagePadForOutpaint:
    """A grey margin, and a mask that is 1 there and fades over `feathering` pixels into the image."""

    DESCRIPTION = "Adds grey margins to images, and makes the mask for painting them."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "expand_image"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, left=distance(8), top=distance(8), right=distance(8), bottom=distance(8),
                        feathering=whole(40, 0, 16384, step=1))

    def expand_image(
        self, image: torch.Tensor, left: int, top: int, right: int, bottom: int, feathering: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return padded_for_outpainting(image, left, top, right, bottom, feathering)


class ResizeAndPadImage:
    """As large as it fits into the target, in the middle of a white or black canvas, alpha included."""

    DESCRIPTION = "Resizes images to fit into a size, and fills the rest with white or black."
    CATEGORY = "image/transform"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "resize_and_pad"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return required(image=IMAGE, target_width=side(), target_height=side(),
                        padding_color=choice(["white", "black"]),
                        interpolation=choice(["area", "bicubic", "nearest-exact", "bilinear", "lanczos"]))

    def resize_and_pad(
        self, image: torch.Tensor, target_width: int, target_height: int, padding_color: str, interpolation: str
    ) -> tuple[torch.Tensor]:
        shade = 1.0 if padding_color == "white" else 0.0
        return (fitted_onto_canvas(image, target_width, target_height, shade, interpolation),)


class ImageStitch:
    """Two images side by side or one above the other. Without image2, image1 itself."""

    DESCRIPTION = "Puts two images side by side or one above the other, with a band of colour between them."
    CATEGORY = "image/transform"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "stitch"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            **required(image1=IMAGE, direction=choice(DIRECTIONS, "right"), match_image_size=flag(True),
                       spacing_width=whole(0, 0, 1024, step=2),
                       spacing_color=choice(list(SPACING_COLORS), "white")),
            "optional": {"image2": IMAGE},
        }

    def stitch(
        self,
        image1: torch.Tensor,
        direction: str,
        match_image_size: bool,
        spacing_width: int,
        spacing_color: str,
        image2: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor]:
        if image2 is None:
            return (image1,)
        return (stitched(image1, image2, direction, match_image_size, spacing_width, spacing_color),)
