"""Making, resizing and arranging images, against the formulas of the contract by hand."""

import pytest
import torch

from nodes.image import (
    EmptyImage,
    ImageBatch,
    ImageCrop,
    ImageInvert,
    ImageScale,
    ImageScaleBy,
    RebatchImages,
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


def test_batch_joins_in_order_and_fits_the_second():
    first, second = noise(1, 4, 4, 3), noise(2, 4, 10, 3, seed=2)
    (joined,) = ImageBatch().batch(first, second)
    assert torch.equal(joined[:1], first)
    assert torch.equal(joined[1:], second[:, :, 3:7])


def test_batch_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="image1 has 3 channels and image2 4"):
        ImageBatch().batch(noise(1, 4, 4, 3), noise(1, 4, 4, 4))


def test_rebatch_keeps_order_and_leaves_the_rest_short():
    images = [noise(3, 2, 2, 3, seed=3), noise(2, 2, 2, 3, seed=4)]
    (batches,) = RebatchImages.execute(images, [2])
    assert [batch.shape[0] for batch in batches] == [2, 2, 1]
    assert torch.equal(torch.cat(batches), torch.cat(images))


def test_rebatch_mixes_sizes_only_across_batches():
    small, large = noise(1, 2, 2, 3), noise(1, 4, 6, 3)
    (batches,) = RebatchImages.execute([small, large], [1])
    assert [tuple(batch.shape) for batch in batches] == [(1, 2, 2, 3), (1, 4, 6, 3)]
    with pytest.raises(ValueError, match="2x2, 6x4"):
        RebatchImages.execute([small, large], [2])
