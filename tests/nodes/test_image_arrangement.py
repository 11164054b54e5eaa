"""Cutting, turning, padding and stitching, against pixels put in place by NumPy."""

import numpy
import pytest
import torch

from nodes.image_arrangement import (
    ImageCrop,
    ImageFlip,
    ImagePadForOutpaint,
    ImageRotate,
    ImageStitch,
    ResizeAndPadImage,
)
from nodes.resampling import resize


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("rectangle", "rows", "columns"),
    [
        ((3, 2, 1, 1), slice(1, 3), slice(1, 4)),
        ((9, 9, 4, 2), slice(2, 5), slice(4, 7)),
        ((2, 2, 100, 100), slice(4, 5), slice(6, 7)),
    ],
)
def test_crop_stays_inside(rectangle, rows, columns):
    width, height, x, y = rectangle
    image = noise(2, 5, 7, 3)
    assert torch.equal(ImageCrop().crop(image, width, height, x, y)[0], image[:, rows, columns])


@pytest.mark.parametrize(("method", "axis"), [("x-axis: vertically", 1), ("y-axis: horizontally", 2)])
def test_flip_reverses_rows_or_columns(method, axis):
    image = noise(2, 3, 5, 4)
    before = image.clone()
    assert numpy.array_equal(ImageFlip().flip(image, method)[0].numpy(), numpy.flip(before.numpy(), axis))
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    ("rotation", "turns"), [("none", 0), ("90 degrees", 1), ("180 degrees", 2), ("270 degrees", 3)]
)
def test_rotation_is_clockwise(rotation, turns):
    image = noise(2, 3, 5, 3)
    (rotated,) = ImageRotate().rotate(image, rotation)
    wanted = image.numpy()
    for _ in range(turns):
        # Clockwise: the lowest row becomes the first column.
        wanted = numpy.stack([wanted[:, wanted.shape[1] - 1 - column] for column in range(wanted.shape[1])], axis=2)
    assert numpy.array_equal(rotated.numpy(), wanted)


def outpaint_mask_by_hand(height, width, left, top, right, bottom, feathering):
    mask = numpy.ones((1, top + height + bottom, left + width + right), numpy.float32)
    for y, x in numpy.ndindex(height, width):
        value = 0.0
        if feathering > 0 and 2 * feathering < height and 2 * feathering < width:
            distances = [distance for margin, distance in
                         ((top, y), (bottom, height - y), (left, x), (right, width - x)) if margin > 0]
            nearest = min(distances, default=feathering)
            if nearest < feathering:
                value = ((feathering - nearest) / feathering) ** 2
        mask[0, top + y, left + x] = value
    return mask


@pytest.mark.parametrize(
    ("margins", "feathering"),
    [
        ((1, 2, 3, 4), 3), ((0, 2, 0, 0), 2), ((0, 0, 0, 5), 3), ((3, 0, 0, 0), 1), ((0, 0, 0, 0), 3),
        ((2, 2, 2, 2), 0), ((2, 2, 2, 2), 4), ((0, 0, 1, 0), 40),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channels", [3, 4])
def test_outpainting_pads_with_grey_and_feathers_inside(margins, feathering, channels):
    left, top, right, bottom = margins
    image = noise(2, 7, 9, channels)
    canvas, mask = ImagePadForOutpaint().expand_image(image, left, top, right, bottom, feathering)
    wanted = numpy.full((2, top + 7 + bottom, left + 9 + right, channels), 0.5, numpy.float32)
    wanted[:, top : top + 7, left : left + 9] = image.numpy()
    assert numpy.array_equal(canvas.numpy(), wanted)
    assert mask.dtype == torch.float32
    assert numpy.abs(mask.numpy() - outpaint_mask_by_hand(7, 9, left, top, right, bottom, feathering)).max() < 1e-6


def test_feathering_starts_at_one_below_a_top_margin_but_later_above_a_bottom_one():
    _, mask = ImagePadForOutpaint().expand_image(noise(1, 9, 9, 3), 0, 1, 0, 1, 4)
    assert mask[0, :, 4].tolist() == [1, 1, 9 / 16, 4 / 16, 1 / 16, 0, 0, 1 / 16, 4 / 16, 9 / 16, 1]


@pytest.mark.parametrize(
    ("size", "target", "inner", "corner"),
    [
        ((4, 2), (9, 9), (9, 4), (0, 2)),
        ((2, 4), (7, 8), (4, 8), (1, 0)),
        ((5, 3), (5, 3), (5, 3), (0, 0)),
        # 10 / 3 times 3 is 10 exactly, though 10/3 has no end in binary either
        ((3, 3), (10, 11), (10, 10), (0, 0)),
    ],
)
@pytest.mark.parametrize(("color", "shade"), [("white", 1.0), ("black", 0.0)])
def test_resize_and_pad_centres_what_fits(size, target, inner, corner, color, shade):
    image = noise(2, size[1], size[0], 4)
    (padded,) = ResizeAndPadImage().resize_and_pad(image, *target, color, "nearest-exact")
    wanted = numpy.full((2, target[1], target[0], 4), shade, numpy.float32)
    # Nearest by hand: the pixel under the centre of the new one.
    columns = [int((x + 0.5) * size[0] / inner[0]) for x in range(inner[0])]
    rows = [int((y + 0.5) * size[1] / inner[1]) for y in range(inner[1])]
    x, y = corner
    wanted[:, y : y + inner[1], x : x + inner[0]] = image.numpy()[:, rows][:, :, columns]
    assert numpy.array_equal(padded.numpy(), wanted)


def test_stitching_nothing_is_the_image_itself():
    image = noise(1, 2, 2, 3)
    assert ImageStitch().stitch(image, "right", True, 8, "red")[0] is image


@pytest.mark.parametrize("direction", ["right", "down", "left", "up"])
def test_stitch_order_and_spacing(direction):
    first, second = noise(1, 3, 3, 3), noise(1, 3, 3, 3, seed=2)
    (result,) = ImageStitch().stitch(first, direction, False, 3, "blue", second)
    # A spacing of 3 is a band of 4.
    band = numpy.zeros((1, 3, 4, 3) if direction in ("right", "left") else (1, 4, 3, 3), numpy.float32)
    band[..., 2] = 1
    parts = [first.numpy(), band, second.numpy()]
    if direction in ("left", "up"):
        parts.reverse()
    axis = 2 if direction in ("right", "left") else 1
    assert numpy.array_equal(result.numpy(), numpy.concatenate(parts, axis))


@pytest.mark.parametrize(
    ("color", "rgb"), [("white", (1, 1, 1)), ("black", (0, 0, 0)), ("red", (1, 0, 0)), ("green", (0, 1, 0))]
)
def test_spacing_has_an_opaque_alpha(color, rgb):
    image = noise(1, 2, 2, 4)
    (result,) = ImageStitch().stitch(image, "right", False, 2, color, image)
    assert result.shape == (1, 2, 6, 4)
    assert result[0, 1, 2].tolist() == [*rgb, 1]
    assert torch.equal(result[0, :, 2], result[0, :, 3])


@pytest.mark.parametrize(("color", "shade"), [("white", 1.0), ("black", 0.0), ("red", 0.0)])
def test_the_smaller_one_is_padded_on_both_sides(color, shade):
    tall, short = noise(1, 7, 2, 3), noise(1, 4, 3, 3, seed=2)
    (result,) = ImageStitch().stitch(tall, "right", False, 0, color, short)
    wanted = numpy.full((1, 7, 5, 3), shade, numpy.float32)
    wanted[:, :, :2] = tall.numpy()
    wanted[:, 1:5, 2:] = short.numpy()  # one row above, two below
    assert numpy.array_equal(result.numpy(), wanted)
    wide, narrow = noise(1, 2, 6, 3), noise(1, 1, 3, 3, seed=2)
    (result,) = ImageStitch().stitch(narrow, "down", False, 0, color, wide)
    wanted = numpy.full((1, 3, 6, 3), shade, numpy.float32)
    wanted[:, :1, 1:4] = narrow.numpy()  # one column before, two after
    wanted[:, 1:] = wide.numpy()
    assert numpy.array_equal(result.numpy(), wanted)


def test_a_missing_alpha_is_opaque_and_padding_comes_before_it():
    rgb, rgba = noise(1, 1, 1, 3), noise(1, 3, 1, 4, seed=2)
    (result,) = ImageStitch().stitch(rgb, "right", False, 0, "black", rgba)
    assert result[0, :, 0].tolist() == [[0, 0, 0, 1], [*rgb[0, 0, 0].tolist(), 1], [0, 0, 0, 1]]
    assert torch.equal(result[:, :, 1:], rgba)
    (other,) = ImageStitch().stitch(rgba, "left", False, 0, "black", rgb)
    assert torch.equal(other, result)


def test_a_shorter_batch_holds_its_last_image():
    many, few = noise(4, 2, 2, 3), noise(2, 2, 2, 3, seed=2)
    (result,) = ImageStitch().stitch(many, "down", False, 0, "white", few)
    assert torch.equal(result[:, :2], many)
    assert torch.equal(result[:, 2:], few[[0, 1, 1, 1]])
    (turned,) = ImageStitch().stitch(few, "down", False, 0, "white", many)
    assert torch.equal(turned[:, :2], few[[0, 1, 1, 1]])


@pytest.mark.parametrize(
    ("direction", "size2", "matched"),
    [("right", (5, 3), (11, 7)), ("left", (4, 14), (2, 7)), ("down", (5, 3), (9, 5)), ("up", (2, 3), (9, 13))],
)
def test_matching_keeps_the_ratio_of_the_second(direction, size2, matched):
    # ⌊7·5/3⌋ = 11, 7·4/14 = 2; ⌊9/(5/3)⌋ = 5, ⌊9/(2/3)⌋ = 13
    first, second = noise(1, 7, 9, 3), noise(1, size2[1], size2[0], 3, seed=2)
    (result,) = ImageStitch().stitch(first, direction, True, 0, "white", second)
    parts = [first, resize(second, *matched, "lanczos")]
    if direction in ("left", "up"):
        parts.reverse()
    assert torch.equal(result, torch.cat(parts, 2 if direction in ("right", "left") else 1))


def test_matching_what_matches_changes_no_pixel():
    first, second = noise(1, 3, 4, 3), noise(1, 3, 2, 3, seed=2)
    (result,) = ImageStitch().stitch(first, "right", True, 0, "white", second)
    assert torch.equal(result[:, :, 4:], second)


def test_stitch_says_what_it_cannot_do():
    image = noise(1, 2, 2, 3)
    with pytest.raises(ValueError, match="'sideways'"):
        ImageStitch().stitch(image, "sideways", False, 0, "white", image)
    with pytest.raises(ValueError, match="both sides need at least one pixel"):
        ImageStitch().stitch(noise(1, 1, 1, 3), "right", True, 0, "white", noise(1, 9, 2, 3))
