"""Making, measuring and resizing images, against the formulas of the contract by hand."""

import pytest
import torch

from nodes.image import (
    EmptyImage,
    GetImageSize,
    ImageInvert,
    ImageScale,
    ImageScaleBy,
    ImageScaleToTotalPixels,
)
from nodes.resampling import resize


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_empty_image_has_the_colour_s_bytes():
    (image,) = EmptyImage().generate(5, 3, 2, 0xFF8001)
    assert image.shape == (2, 3, 5, 3)
    assert image.dtype == torch.float32
    assert torch.equal(image[1, 2, 4], torch.tensor([255, 128, 1]) / 255)
    assert torch.equal(image, image[:1, :1, :1].expand_as(image))


def test_scale_to_nothing_is_the_image_itself():
    image = noise(1, 4, 6, 3)
    assert ImageScale().upscale(image, "bilinear", 0, 0, "center")[0] is image


@pytest.mark.parametrize(
    ("size", "asked", "answered"),
    [
        ((6, 4), (0, 8), (12, 8)),
        ((6, 4), (3, 0), (3, 2)),
        ((5, 2), (0, 1), (2, 1)),
        ((1, 100), (0, 3), (1, 3)),
    ],
)
def test_a_missing_side_follows_the_ratio(size, asked, answered):
    # 5:2 at height 1 is 2.5 wide: half to even. 1:100 at height 3 is at least one pixel wide.
    image = noise(1, size[1], size[0], 3)
    (scaled,) = ImageScale().upscale(image, "bilinear", *asked, "disabled")
    assert torch.equal(scaled, resize(image, *answered, "bilinear"))


def test_scale_crops_in_the_centre():
    image = noise(1, 4, 10, 3)
    (scaled,) = ImageScale().upscale(image, "nearest-exact", 4, 4, "center")
    assert torch.equal(scaled, image[:, :, 3:7])


def test_scale_by_rounds_half_to_even():
    (scaled,) = ImageScaleBy().upscale(noise(1, 3, 5, 3), "area", 0.5)
    assert scaled.shape == (1, 2, 2, 3)


def test_invert_inverts_alpha_too_and_leaves_its_input():
    image = noise(2, 3, 3, 4)
    before = image.clone()
    assert torch.equal(ImageInvert().invert(image)[0], 1 - before)
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    ("size", "megapixels", "answered"),
    [
        ((1024, 1024), 0.25, (512, 512)),
        # sqrt(10485 / 48) = 14.7797...: 8 and 6 times that are 118.24 and 88.68
        ((8, 6), 0.01, (118, 89)),
        # sqrt(1048576 / 21) = 223.4566...
        ((7, 3), 1.0, (1564, 670)),
    ],
)
def test_total_pixels_keep_the_ratio(size, megapixels, answered):
    image = noise(1, size[1], size[0], 3)
    (scaled,) = ImageScaleToTotalPixels.execute(image, "nearest-exact", megapixels)
    assert (scaled.shape[2], scaled.shape[1]) == answered
    assert torch.equal(scaled, resize(image, *answered, "nearest-exact"))


def test_a_side_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one pixel"):
        ImageScaleToTotalPixels.execute(torch.zeros(1, 1, 16384, 3).expand(1, 1, 16384, 3), "bilinear", 0.0001)


def test_size_is_told_to_whoever_calls_it_outside_of_a_prompt():
    assert GetImageSize().get_size(noise(4, 3, 5, 3), unique_id="7") == (5, 3, 4)
    assert GetImageSize().get_size(noise(1, 2, 2, 4)) == (2, 2, 1)
