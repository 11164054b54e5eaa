"""Masks, against pixels worked out one by one."""

import numpy
import pytest
import torch

from nodes.mask import (
    CropMask,
    FeatherMask,
    GrowMask,
    ImageColorToMask,
    ImageToMask,
    InvertMask,
    MaskComposite,
    MaskToImage,
    SolidMask,
    ThresholdMask,
)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("channel", "index"), [("red", 0), ("green", 1), ("blue", 2), ("alpha", 3)])
def test_a_channel_is_taken_as_it_is(channel, index):
    image = noise(2, 3, 5, 4) * 4 - 2
    (mask,) = ImageToMask().image_to_mask(image, channel)
    assert numpy.array_equal(mask.numpy(), image.numpy()[..., index])


def test_rgb_has_no_alpha():
    with pytest.raises(ValueError, match="3 channels, and so no alpha"):
        ImageToMask().image_to_mask(noise(1, 2, 2, 3), "alpha")


@pytest.mark.parametrize("shape", [(2, 3, 5), (3, 5)])
def test_a_mask_becomes_a_grey_image(shape):
    mask = noise(*shape)
    (image,) = MaskToImage().mask_to_image(mask)
    assert image.shape == (2 if len(shape) == 3 else 1, 3, 5, 3)
    for channel in range(3):
        assert torch.equal(image[..., channel], mask.reshape(-1, 3, 5))
    before = mask.clone()
    image[..., 0] = 7  # whoever writes into it harms nobody
    assert torch.equal(mask, before)


def test_a_color_is_met_by_its_rounded_bytes():
    color = 0x10FF00
    pixels = [
        ((16 / 255, 1.0, 0.0), 1),
        ((16.4 / 255, 2.0, -3.0), 1),  # rounded, and clipped first
        ((16.6 / 255, 1.0, 0.0), 0),
        ((16 / 255, 254 / 255, 0.0), 0),
        ((16 / 255, 1.0, 1 / 255), 0),
        ((0.0, 1.0, 16 / 255), 0),
    ]
    image = torch.tensor([[[[*rgb, 0.3] for rgb, _ in pixels]]])
    (mask,) = ImageColorToMask().image_to_mask(image, color)
    assert mask.dtype == torch.float32
    assert mask.tolist() == [[[wanted for _, wanted in pixels]]]


def test_solid_and_invert():
    (mask,) = SolidMask().solid(0.3, 5, 3)
    assert numpy.array_equal(mask.numpy(), numpy.full((1, 3, 5), 0.3, numpy.float32))
    assert torch.equal(InvertMask().invert(mask)[0], 1 - mask)
    assert torch.equal(InvertMask().invert(torch.tensor([[2.0, -1.0]]))[0], torch.tensor([[-1.0, 2.0]]))


@pytest.mark.parametrize(
    ("rectangle", "rows", "columns"),
    [
        ((1, 2, 3, 2), slice(2, 4), slice(1, 4)),
        ((5, 3, 100, 100), slice(3, 5), slice(5, 7)),
        ((7, 0, 1, 1), slice(0, 1), slice(7, 7)),
        ((0, 9, 2, 2), slice(5, 5), slice(0, 2)),
    ],
)
@pytest.mark.parametrize("batched", [True, False])
def test_crop_may_end_up_empty(rectangle, rows, columns, batched):
    mask = noise(2, 5, 7) if batched else noise(5, 7)
    (cropped,) = CropMask().crop(mask, *rectangle)
    assert numpy.array_equal(cropped.numpy(), mask.numpy().reshape(-1, 5, 7)[:, rows, columns])


def test_threshold_is_strict():
    mask = torch.tensor([[[0.0, 0.25, 0.5, 0.50001, 1.0, -1.0]]])
    assert ThresholdMask().image_to_mask(mask, 0.5)[0].tolist() == [[[0, 0, 0, 1, 1, 0]]]
    assert ThresholdMask().image_to_mask(torch.tensor([[0.3]]), 0.3)[0].tolist() == [[0]]


OPERATIONS = ["multiply", "add", "subtract", "and", "or", "xor"]


def combined_by_hand(d: float, s: float, operation: str) -> float:
    is_d, is_s = round(d) != 0, round(s) != 0
    return float({"multiply": d * s, "add": d + s, "subtract": d - s, "and": is_d and is_s, "or": is_d or is_s,
                  "xor": is_d != is_s}[operation])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("place", [(0, 0), (2, 1), (6, 4), (-1, -2)])
@pytest.mark.parametrize("sources", [1, 2])
def test_composite_pixel_by_pixel(operation, place, sources):
    x, y = place
    # Halves, which round to nothing, and values that have to be clipped everywhere.
    destination = (noise(2, 5, 7) * 8).round() / 4 - 0.5
    source = (noise(sources, 3, 4, seed=2) * 8).round() / 4 - 0.5
    before = destination.clone()
    (result,) = MaskComposite().combine(destination, source, x, y, operation)
    wanted = before.numpy().copy()
    for index, row, column in numpy.ndindex(2, 3, 4):
        if 0 <= y + row < 5 and 0 <= x + column < 7:
            pixel = source[index % sources, row, column].item()
            below = wanted[index, y + row, x + column].item()
            wanted[index, y + row, x + column] = combined_by_hand(below, pixel, operation)
    assert numpy.array_equal(result.numpy(), wanted.clip(0, 1))
    assert torch.equal(destination, before)


@pytest.mark.parametrize("place", [(7, 0), (0, 5), (16384, 16384), (-4, 0)])
def test_composite_beside_the_mask_changes_nothing(place):
    destination = noise(1, 5, 7) * 3 - 1
    (result,) = MaskComposite().combine(destination, noise(1, 3, 4), *place, "add")
    assert torch.equal(result, destination)


def test_composite_of_single_masks_and_of_wrong_batches():
    destination, source = noise(5, 7), noise(2, 2, seed=2)
    (result,) = MaskComposite().combine(destination, source, 0, 0, "multiply")
    assert result.shape == (1, 5, 7)
    assert torch.equal(result[0, :2, :2], destination[:2, :2] * source)
    with pytest.raises(ValueError, match="3 masks onto 2"):
        MaskComposite().combine(noise(2, 5, 7), noise(3, 2, 2), 0, 0, "add")
    with pytest.raises(ValueError, match="'nand'"):
        MaskComposite().combine(destination, source, 0, 0, "nand")


def feathered_by_hand(mask, left, top, right, bottom):
    result = mask.astype(numpy.float64).copy()
    height, width = mask.shape[1:]
    left, right = min(left, width), min(right, width)
    top, bottom = min(top, height), min(bottom, height)
    for j in range(left):
        result[:, :, j] *= (j + 1) / left
    for j in range(right):
        result[:, :, -j % width] *= (j + 1) / right
    for i in range(top):
        result[:, i] *= (i + 1) / top
    for i in range(bottom):
        result[:, -i % height] *= (i + 1) / bottom
    return result


@pytest.mark.parametrize("margins", [(0, 0, 0, 0), (3, 2, 0, 0), (0, 0, 3, 2), (1, 2, 3, 4), (99, 99, 99, 99)])
def test_feather_by_hand(margins):
    mask = noise(2, 5, 7)
    before = mask.clone()
    (result,) = FeatherMask().feather(mask, *margins)
    assert result.dtype == torch.float32
    assert numpy.abs(result.numpy() - feathered_by_hand(before.numpy(), *margins)).max() < 1e-6
    assert torch.equal(mask, before)


def test_feather_from_the_right_dims_the_first_column():
    (result,) = FeatherMask().feather(torch.ones(4, 6), 0, 0, 3, 0)
    assert result.shape == (1, 4, 6)
    assert result[0, 2].tolist() == pytest.approx([1 / 3, 1, 1, 1, 3 / 3, 2 / 3])


def grown_by_hand(mask, expand, tapered):
    """Pass by pass over a mask whose border pixels are repeated outside."""
    result = mask.copy()
    for _ in range(abs(expand)):
        padded = numpy.pad(result, ((0, 0), (1, 1), (1, 1)), "symmetric")
        places = [(y, x) for y in range(3) for x in range(3) if not tapered or y == 1 or x == 1]
        windows = [padded[:, y : y + mask.shape[1], x : x + mask.shape[2]] for y, x in places]
        result = numpy.max(windows, axis=0) if expand > 0 else numpy.min(windows, axis=0)
    return result


@pytest.mark.parametrize("expand", [0, 1, 2, 3, -1, -2, 9, -9])
@pytest.mark.parametrize("tapered", [True, False])
@pytest.mark.parametrize("shape", [(2, 9, 6), (1, 1, 5), (1, 4, 1), (3, 7)])
def test_grow_pass_by_pass(expand, tapered, shape):
    mask = noise(*shape)
    before = mask.clone()
    (result,) = GrowMask().expand_mask(mask, expand, tapered)
    wanted = grown_by_hand(before.numpy().reshape(-1, *shape[-2:]), expand, tapered)
    assert numpy.array_equal(result.numpy(), wanted)
    assert torch.equal(mask, before)


@pytest.mark.parametrize("tapered", [True, False])
def test_growing_without_end_ends_when_all_is_one(tapered, engine):
    engine.stop_after = 20  # passes; 16384 of them would take long
    mask = torch.zeros(1, 8, 12)
    mask[0, 0, 0] = 1
    assert torch.equal(GrowMask().expand_mask(mask, 16384, tapered)[0], torch.ones(1, 8, 12))


def test_the_border_does_not_erode():
    assert torch.equal(GrowMask().expand_mask(torch.ones(1, 4, 4), -3, False)[0], torch.ones(1, 4, 4))


def test_growing_stops_with_its_prompt(engine):
    engine.stop_after = 2
    with pytest.raises(engine.Interrupted):
        GrowMask().expand_mask(noise(1, 9, 9), 5, True)
