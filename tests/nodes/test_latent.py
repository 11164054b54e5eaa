"""Latents, against what the formulas give by hand. What is beside the samples has to arrive unharmed."""

import math

import pytest
import torch

from nodes.latent import (
    EmptyLatentImage,
    LatentFromBatch,
    LatentUpscale,
    LatentUpscaleBy,
    RepeatLatentBatch,
    SetLatentNoiseMask,
)
from nodes.resampling import LATENT_METHODS, common_upscale


def noise(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def numbered(*shape):
    """Item number i of the batch is full of i."""
    return torch.arange(shape[0], dtype=torch.float32).reshape(-1, *[1] * (len(shape) - 1)).expand(shape).clone()


def numbers(batch):
    return [float(item.flatten()[0]) for item in batch]


def untouched(latent):
    """A latent, and a function that fails if it is no longer what it was."""
    before = {key: value.clone() if isinstance(value, torch.Tensor) else list(value) for key, value in latent.items()}

    def check():
        assert latent.keys() == before.keys()
        for key, value in before.items():
            same = torch.equal(latent[key], value) if isinstance(value, torch.Tensor) else latent[key] == value
            assert same, key

    return latent, check


def test_an_empty_latent_has_an_eighth_of_the_sides():
    (latent,) = EmptyLatentImage().generate(520, 263, 3)
    assert list(latent) == ["samples"]
    assert torch.equal(latent["samples"], torch.zeros(3, 4, 32, 65))
    assert latent["samples"].dtype == torch.float32
    assert EmptyLatentImage().generate(16, 16)[0]["samples"].shape == (1, 4, 2, 2)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (256, 128, (32, 16)),
        (100, 70, (12, 8)),
        (8, 1000, (8, 125)),
        (0, 96, (18, 12)),  # 12:8 is 3:2, so 144 wide
        (96, 0, (12, 8)),
        (0, 8, (12, 8)),  # at least 64, and then 96 wide
        (8, 0, (8, 8)),  # 43 high, so 64
    ],
)
def test_upscale_takes_pixels(width, height, size):
    latent, check = untouched({"samples": noise(2, 4, 8, 12), "noise_mask": noise(1, 1, 5, 5), "more": [7]})
    (resized,) = LatentUpscale().upscale(latent, "nearest-exact", width, height, "disabled")
    assert resized["samples"].shape == (2, 4, size[1], size[0])
    assert resized["noise_mask"] is latent["noise_mask"]
    assert resized["more"] is latent["more"]
    check()


def test_upscale_to_nothing_is_the_input_itself():
    latent = {"samples": noise(1, 4, 8, 8)}
    assert LatentUpscale().upscale(latent, "bilinear", 0, 0, "center")[0] is latent


def test_upscale_may_cut_to_the_new_aspect_first():
    samples = noise(1, 4, 8, 16)
    (resized,) = LatentUpscale().upscale({"samples": samples}, "nearest-exact", 64, 64, "center")
    assert torch.equal(resized["samples"], samples[..., 4:12])
    (stretched,) = LatentUpscale().upscale({"samples": samples}, "area", 64, 64, "disabled")
    assert torch.allclose(stretched["samples"], samples.reshape(1, 4, 8, 8, 2).mean(-1))


@pytest.mark.parametrize(("scale", "size"), [(1.5, (6, 10)), (0.5, (2, 4)), (2, (8, 14)), (0.36, (1, 3))])
def test_upscale_by_rounds_half_to_even(scale, size):
    latent, check = untouched({"samples": noise(2, 4, 4, 7), "batch_index": [4, 5]})
    (resized,) = LatentUpscaleBy().upscale(latent, "bilinear", scale)
    assert resized["samples"].shape == (2, 4, *size)
    assert resized["batch_index"] == [4, 5]
    check()


def test_upscale_by_to_less_than_an_element_is_refused():
    with pytest.raises(ValueError, match="at least one pixel"):
        LatentUpscaleBy().upscale({"samples": noise(1, 4, 4, 4)}, "bislerp", 0.1)


@pytest.mark.parametrize("method", LATENT_METHODS)
def test_frames_of_videos_are_resized_one_by_one(method):
    samples = noise(2, 16, 3, 8, 8)
    (resized,) = LatentUpscaleBy().upscale({"samples": samples}, method, 1.5)
    assert resized["samples"].shape == (2, 16, 3, 12, 12)
    (frame,) = LatentUpscaleBy().upscale({"samples": samples[:, :, 1]}, method, 1.5)
    assert torch.allclose(resized["samples"][:, :, 1], frame["samples"], atol=1e-6)


def bislerp_of_rows(rows: list[list[float]], length: int) -> list[list[float]]:
    """The formula along one axis, in plain Python: a list of channel vectors becomes `length` of them."""
    size = len(rows)

    def bilinear(values: list[float], at: int) -> float:
        position = min(max((at + 0.5) * size / length - 0.5, 0), size - 1)
        low = min(math.floor(position), size - 1)
        high = min(low + 1, size - 1)
        return values[low] + (values[high] - values[low]) * (position - low)

    made = []
    for at in range(length):
        source = bilinear([float(index) for index in range(size)], at)
        r = source - math.floor(source)
        first = rows[math.floor(source)]
        second = rows[math.floor(bilinear([float(min(index + 1, size - 1)) for index in range(size)], at))]
        n1, n2 = math.hypot(*first), math.hypot(*second)
        u1 = [x / n1 if n1 else 0.0 for x in first]
        u2 = [x / n2 if n2 else 0.0 for x in second]
        cosine = sum(x * y for x, y in zip(u1, u2))
        if cosine > 1 - 1e-5:
            made.append(first)
        elif cosine < 1e-5 - 1:
            made.append([(1 - r) * x + r * y for x, y in zip(first, second)])
        else:
            angle = math.acos(cosine)
            weight = ((1 - r) * n1 + r * n2) / math.sin(angle)
            made.append([(math.sin((1 - r) * angle) * x + math.sin(r * angle) * y) * weight for x, y in zip(u1, u2)])
    return made


def bislerp_by_hand(samples: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """[C,h,w] first along x, then along y."""
    along_x = torch.tensor([bislerp_of_rows(samples[:, y].T.tolist(), width) for y in range(samples.shape[1])])
    along_y = torch.tensor([bislerp_of_rows(along_x[:, x].tolist(), height) for x in range(width)])
    return along_y.permute(2, 1, 0)


@pytest.mark.parametrize(("width", "height"), [(9, 8), (3, 2), (5, 11), (1, 1), (6, 5)])
def test_bislerp_is_the_formula(width, height):
    samples = noise(1, 4, 5, 6) - 0.5
    samples[:, :, 1, 2] = 0
    samples[:, :, 3, 4] = -samples[:, :, 3, 3]
    samples[:, :, 2, 1] = 3 * samples[:, :, 2, 0]
    resized = common_upscale(samples, width, height, "bislerp", "disabled")
    assert resized.shape == (1, 4, height, width)
    assert torch.allclose(resized[0], bislerp_by_hand(samples[0], width, height), atol=1e-4)


def test_a_node_resizes_by_bislerp():
    samples = noise(1, 4, 5, 6) - 0.5
    (resized,) = LatentUpscale().upscale({"samples": samples}, "bislerp", 72, 80, "disabled")
    assert torch.allclose(resized["samples"][0], bislerp_by_hand(samples[0], 9, 10), atol=1e-4)


def test_from_batch_cuts_what_belongs_to_the_items():
    latent, check = untouched({
        "samples": numbered(5, 4, 2, 2), "noise_mask": numbered(3, 1, 8, 8),
        "batch_index": [9, 8, 7, 6, 5], "more": [1],
    })  # fmt: skip
    (cut,) = LatentFromBatch().frombatch(latent, 1, 3)
    assert numbers(cut["samples"]) == [1, 2, 3]
    assert numbers(cut["noise_mask"]) == [1, 2, 0]  # three masks for five items: 0 1 2 0 1
    assert cut["batch_index"] == [8, 7, 6]
    assert cut["more"] == [1]
    check()
    cut["samples"].zero_()
    cut["noise_mask"].zero_()
    check()


@pytest.mark.parametrize(
    ("index", "length", "kept"), [(0, 1, [0]), (2, 9, [2, 3]), (3, 1, [3]), (63, 64, [3]), (0, 64, [0, 1, 2, 3])]
)
def test_from_batch_stays_in_the_batch(index, length, kept):
    (cut,) = LatentFromBatch().frombatch({"samples": numbered(4, 4, 2, 2)}, index, length)
    assert numbers(cut["samples"]) == kept
    assert cut["batch_index"] == kept
    assert "noise_mask" not in cut


def test_from_batch_keeps_the_only_mask():
    latent = {"samples": numbered(4, 4, 2, 2), "noise_mask": noise(1, 1, 8, 8)}
    assert torch.equal(LatentFromBatch().frombatch(latent, 2, 2)[0]["noise_mask"], latent["noise_mask"])


def test_from_batch_cuts_a_longer_row_of_masks_to_the_batch():
    latent = {"samples": numbered(2, 4, 2, 2), "noise_mask": numbered(4, 8, 8)}
    assert numbers(LatentFromBatch().frombatch(latent, 1, 2)[0]["noise_mask"]) == [1]


def test_repeat_gives_every_repetition_noise_of_its_own():
    latent, check = untouched({
        "samples": numbered(3, 4, 2, 2), "noise_mask": numbered(2, 1, 8, 8), "batch_index": [4, 2, 5], "more": [1],
    })  # fmt: skip
    (repeated,) = RepeatLatentBatch().repeat(latent, 3)
    assert numbers(repeated["samples"]) == [0, 1, 2] * 3
    assert numbers(repeated["noise_mask"]) == [0, 1, 0] * 3  # fitted to the three items first
    assert repeated["batch_index"] == [4, 2, 5, 8, 6, 9, 12, 10, 13]
    assert repeated["more"] == [1]
    check()


def test_repeat_leaves_what_is_not_there_and_the_only_mask():
    latent = {"samples": numbered(2, 4, 3, 2, 2), "noise_mask": noise(1, 1, 8, 8)}
    (repeated,) = RepeatLatentBatch().repeat(latent, 2)
    assert repeated["samples"].shape == (4, 4, 3, 2, 2)
    assert repeated["noise_mask"] is latent["noise_mask"]
    assert "batch_index" not in repeated
    assert RepeatLatentBatch().repeat({"samples": numbered(1, 4, 2, 2), "batch_index": [3]}, 1)[0]["batch_index"] == [3]


@pytest.mark.parametrize("shape", [(3, 8, 6), (8, 6), (3, 1, 8, 6)])
def test_noise_mask_is_put_beside_the_samples(shape):
    mask = noise(*shape)
    latent, check = untouched({"samples": noise(3, 4, 2, 2), "batch_index": [1, 2, 3]})
    (masked,) = SetLatentNoiseMask().set_mask(latent, mask)
    assert torch.equal(masked["noise_mask"], mask.reshape(-1, 1, 8, 6))
    assert masked["samples"] is latent["samples"]
    assert masked["batch_index"] == [1, 2, 3]
    check()
