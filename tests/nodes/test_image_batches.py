"""Batches joined, repeated, cut and regrouped."""

import pytest
import torch

from nodes.image_batches import ImageBatch, ImageFromBatch, RebatchImages, RepeatImageBatch, fitted_batch


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


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


def test_repeat_repeats_the_whole_batch():
    image = noise(2, 3, 5, 4)
    (repeated,) = RepeatImageBatch().repeat(image, 3)
    assert repeated.shape == (6, 3, 5, 4)
    for index in range(6):
        assert torch.equal(repeated[index], image[index % 2])


@pytest.mark.parametrize(
    ("index", "length", "wanted"),
    [(0, 1, [0]), (1, 2, [1, 2]), (3, 9, [3, 4]), (4, 1, [4]), (4095, 4096, [4]), (0, 5, [0, 1, 2, 3, 4])],
)
def test_from_batch_stays_inside(index, length, wanted):
    image = noise(5, 2, 3, 3)
    (items,) = ImageFromBatch().frombatch(image, index, length)
    assert torch.equal(items, image[wanted])


def test_a_few_of_a_batch_do_not_keep_the_others_in_memory():
    image = noise(5, 2, 3, 3)
    (items,) = ImageFromBatch().frombatch(image, 1, 2)
    assert items.untyped_storage().nbytes() == 2 * 2 * 3 * 3 * 4
    assert ImageFromBatch().frombatch(image, 0, 5)[0] is image


@pytest.mark.parametrize(("count", "wanted"), [(1, [0]), (3, [0, 1, 2]), (7, [0, 1, 2, 0, 1, 2, 0])])
def test_a_batch_is_fitted_by_going_round(count, wanted):
    items = noise(3, 2, 4)
    assert torch.equal(fitted_batch(items, count), items[wanted])
