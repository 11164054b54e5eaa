"""Compositing, against pixels worked out one by one, and a bilinear resize by hand."""

import numpy
import pytest
import torch

from nodes.compositing import (
    ImageCompositeMasked,
    JoinImageWithAlpha,
    PorterDuffImageComposite,
    SplitImageWithAlpha,
    composite,
)
from nodes.resampling import resize


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def bilinear_by_hand(plane: numpy.ndarray, width: int, height: int) -> numpy.ndarray:
    """[h,w] to [height,width] with half-pixel centres; outside is the border pixel."""
    result = numpy.zeros((height, width))
    old_height, old_width = plane.shape
    for y, x in numpy.ndindex(height, width):
        v = max(0.0, (y + 0.5) * old_height / height - 0.5)
        u = max(0.0, (x + 0.5) * old_width / width - 0.5)
        y0, x0 = int(v), int(u)
        y1, x1 = min(y0 + 1, old_height - 1), min(x0 + 1, old_width - 1)
        fy, fx = v - y0, u - x0
        result[y, x] = ((plane[y0, x0] * (1 - fx) + plane[y0, x1] * fx) * (1 - fy)
                        + (plane[y1, x0] * (1 - fx) + plane[y1, x1] * fx) * fy)
    return result


def composite_by_hand(destination, source, x, y, mask=None):
    """[B,H,W,C] pixel by pixel; source and mask [b,h,w] go round."""
    result = destination.astype(numpy.float64).copy()
    height, width = source.shape[1:3]
    for index, row, column in numpy.ndindex(destination.shape[0], height, width):
        if 0 <= y + row < destination.shape[1] and 0 <= x + column < destination.shape[2]:
            weight = 1.0 if mask is None else mask[index % mask.shape[0], row, column]
            above = source[index % source.shape[0], row, column]
            below = result[index, y + row, x + column]
            result[index, y + row, x + column] = weight * above + (1 - weight) * below
    return result


@pytest.mark.parametrize("place", [(0, 0), (3, 1), (6, 4), (7, 5), (16384, 0), (-2, -1), (-3, 0), (-9, 0)])
def test_without_a_mask_the_source_covers_what_it_meets(place):
    destination, source = noise(3, 5, 7, 3), noise(2, 4, 3, 3, seed=2)
    before = destination.clone()
    (result,) = ImageCompositeMasked().composite(destination, source, *place, False)
    wanted = composite_by_hand(before.numpy(), source.numpy(), *place)
    assert numpy.array_equal(result.numpy(), wanted.astype(numpy.float32))
    assert torch.equal(destination, before)


@pytest.mark.parametrize("place", [(0, 0), (4, 2), (-1, -1)])
@pytest.mark.parametrize("masks", [1, 2, 5])
def test_a_mask_of_the_source_s_size_shows_it(place, masks):
    destination, source, mask = noise(3, 5, 7, 3), noise(4, 4, 5, 3, seed=2), noise(masks, 4, 5, seed=3)
    (result,) = ImageCompositeMasked().composite(destination, source, *place, False, mask)
    wanted = composite_by_hand(destination.numpy(), source.numpy(), *place, mask.numpy())
    assert numpy.abs(result.numpy() - wanted).max() < 1e-6


def test_a_mask_of_another_size_takes_the_source_s():
    destination, source, mask = noise(1, 6, 8, 3), noise(1, 5, 4, 3, seed=2), noise(3, 7, seed=3)
    (result,) = ImageCompositeMasked().composite(destination, source, 2, 1, False, mask)
    fitted = bilinear_by_hand(mask.numpy(), 4, 5)[None]
    wanted = composite_by_hand(destination.numpy(), source.numpy(), 2, 1, fitted)
    assert numpy.abs(result.numpy() - wanted).max() < 1e-5


def test_the_source_can_take_the_destination_s_size_first():
    destination, source, mask = noise(1, 5, 7, 3), noise(1, 2, 3, 3, seed=2), noise(1, 5, 7, seed=3)
    (result,) = ImageCompositeMasked().composite(destination, source, 2, 0, True, mask)
    planes = [bilinear_by_hand(source.numpy()[0, ..., channel], 7, 5) for channel in range(3)]
    wanted = composite_by_hand(destination.numpy(), numpy.stack(planes, -1)[None], 2, 0, mask.numpy())
    assert numpy.abs(result.numpy() - wanted).max() < 1e-5


def test_channels_are_the_destination_s():
    rgb, rgba = noise(1, 3, 3, 3), noise(1, 2, 2, 4, seed=2)
    (onto_rgb,) = ImageCompositeMasked().composite(rgb, rgba, 1, 0, False)
    assert onto_rgb.shape == (1, 3, 3, 3)
    assert torch.equal(onto_rgb[:, :2, 1:], rgba[..., :3])
    (onto_rgba,) = ImageCompositeMasked().composite(rgba, rgb, 1, 0, False)
    assert torch.equal(onto_rgba[0, :, 1, :3], rgb[0, :2, 0])
    assert onto_rgba[0, :, 1, 3].tolist() == [1, 1]
    assert torch.equal(onto_rgba[:, :, :1], rgba[:, :, :1])


def test_as_a_library_for_latents_places_are_in_pixels():
    destination, source = noise(2, 4, 6, 6), noise(1, 4, 2, 3, seed=2)
    result = composite(destination, source, 24, 15)  # the third column; 15 pixels are within the first row
    wanted = destination.clone()
    wanted[:, :, 1:3, 3:6] = source
    assert torch.equal(result, wanted)


@pytest.mark.parametrize(("images", "masks"), [(3, 2), (1, 4), (2, 2)])
def test_join_is_as_long_as_the_shorter(images, masks):
    image, mask = noise(images, 4, 5, 3), noise(masks, 4, 5, seed=2)
    (joined,) = JoinImageWithAlpha.execute(image, mask)
    count = min(images, masks)
    wanted = numpy.concatenate((image.numpy()[:count], 1 - mask.numpy()[:count, ..., None]), axis=-1)
    assert numpy.array_equal(joined.numpy(), wanted)


def test_join_resizes_the_mask_and_replaces_an_alpha():
    image, mask = noise(1, 5, 7, 4), noise(2, 3, seed=2)
    (joined,) = JoinImageWithAlpha.execute(image, mask)
    assert joined.shape == (1, 5, 7, 4)
    assert torch.equal(joined[..., :3], image[..., :3])
    assert numpy.abs(joined.numpy()[0, ..., 3] - (1 - bilinear_by_hand(mask.numpy(), 7, 5))).max() < 1e-6


def test_split_gives_the_opposite_of_alpha():
    rgba, rgb = noise(2, 3, 5, 4), noise(2, 3, 5, 3)
    image, mask = SplitImageWithAlpha.execute(rgba)
    assert torch.equal(image, rgba[..., :3])
    assert torch.equal(mask, 1 - rgba[..., 3])
    image, mask = SplitImageWithAlpha.execute(rgb)
    assert torch.equal(image, rgb)
    assert torch.equal(mask, torch.zeros(2, 3, 5))


def porter_duff_by_hand(mode: str, s: float, a: float, d: float, b: float) -> tuple[float, float]:
    """Alpha and premultiplied colour of one channel of one pixel."""
    def clip(value: float) -> float:
        return min(1.0, max(0.0, value))

    union, one_alone = a + b - a * b, (1 - b) * s + (1 - a) * d
    return {
        "ADD": (clip(a + b), clip(s + d)),
        "CLEAR": (0.0, 0.0),
        "DARKEN": (union, one_alone + min(s, d)),
        "DST": (b, d),
        "DST_ATOP": (a, a * d + (1 - b) * s),
        "DST_IN": (a * b, a * d),
        "DST_OUT": ((1 - a) * b, (1 - a) * d),
        "DST_OVER": (union, d + (1 - b) * s),
        "LIGHTEN": (union, one_alone + max(s, d)),
        "MULTIPLY": (a * b, s * d),
        "OVERLAY": (union, 2 * s * d if 2 * d < b else a * b - 2 * (b - s) * (a - d)),
        "SCREEN": (union, s + d - s * d),
        "SRC": (a, s),
        "SRC_ATOP": (b, b * s + (1 - a) * d),
        "SRC_IN": (a * b, b * s),
        "SRC_OUT": ((1 - b) * a, (1 - b) * s),
        "SRC_OVER": (union, s + (1 - a) * d),
        "XOR": ((1 - b) * a + (1 - a) * b, one_alone),
    }[mode]


MODES = PorterDuffImageComposite.INPUT_TYPES()["required"]["mode"][1]["options"]


@pytest.mark.parametrize("mode", MODES)
def test_porter_duff_pixel_by_pixel(mode):
    source, destination = noise(3, 3, 5, 3), noise(2, 3, 5, 3, seed=2)
    # Wholly transparent and wholly opaque ones too.
    masks = [(noise(count, 3, 5, seed=seed) * 1.4 - 0.2).clamp(0, 1) for count, seed in ((4, 3), (2, 4))]
    image, mask = PorterDuffImageComposite.execute(source, masks[0], destination, masks[1], mode)
    assert image.shape == (2, 3, 5, 3)
    assert mask.shape == (2, 3, 5)
    for place in numpy.ndindex(2, 3, 5):
        a, b = (1 - one[place].item() for one in masks)
        for channel in range(3):
            s, d = a * source[place][channel].item(), b * destination[place][channel].item()
            alpha, color = porter_duff_by_hand(mode, s, a, d, b)
            wanted = min(1.0, max(0.0, color / alpha)) if alpha > 1e-5 else 0.0
            assert image[place][channel].item() == pytest.approx(wanted, abs=1e-4)
            assert mask[place].item() == pytest.approx(1 - alpha, abs=1e-6)


def test_porter_duff_is_as_long_as_the_shortest_and_takes_the_destination_s_size():
    source, source_alpha = noise(3, 6, 4, 4), noise(2, 9, 9, seed=2)
    destination, destination_alpha = noise(5, 5, 7, 4, seed=3), noise(2, 3, seed=4)
    image, mask = PorterDuffImageComposite.execute(source, source_alpha, destination, destination_alpha, "SRC")
    assert image.shape == (1, 5, 7, 4)
    alpha = resize(1 - source_alpha[:1, ..., None], 7, 5, "bicubic", "center")
    colors = resize(source[:1], 7, 5, "bicubic", "center")
    assert torch.allclose(mask, 1 - alpha[..., 0], atol=1e-5)
    assert torch.allclose(image, torch.where(alpha > 1e-5, colors.clamp(0, 1), 0), atol=1e-4)


def test_what_is_transparent_is_black():
    ones = torch.ones(1, 2, 2)
    image, mask = PorterDuffImageComposite.execute(noise(1, 2, 2, 3), ones, noise(1, 2, 2, 3), ones, "SRC_OVER")
    assert torch.equal(image, torch.zeros(1, 2, 2, 3))
    assert torch.equal(mask, ones)


def test_porter_duff_says_what_it_cannot_do():
    rgb, rgba, mask = noise(1, 2, 2, 3), noise(1, 2, 2, 4), noise(1, 2, 2)
    with pytest.raises(ValueError, match="source has 4 channels and the destination 3"):
        PorterDuffImageComposite.execute(rgba, mask, rgb, mask, "SRC")
    with pytest.raises(ValueError, match="'SRC_UNDER'"):
        PorterDuffImageComposite.execute(rgb, mask, rgb, mask, "SRC_UNDER")


def test_porter_duff_stops_between_images_of_an_interrupted_prompt(engine):
    engine.stop_after = 1
    images, masks = noise(3, 2, 2, 3), noise(3, 2, 2)
    with pytest.raises(engine.Interrupted):
        PorterDuffImageComposite.execute(images, masks, images, masks, "SRC")
