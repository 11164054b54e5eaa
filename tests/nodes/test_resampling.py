"""Sizes and bytes, against Pillow and against the formulas by hand."""

import math

import numpy
import pytest
import torch
from PIL import Image

from nodes.resampling import IMAGE_METHODS, common_upscale, resize, to_bytes


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7))


def test_bytes_truncate_and_clip():
    values = torch.tensor([-0.5, 0.0, 0.5, 0.998, 1.0, 1.7])
    assert to_bytes(values).tolist() == [0, 0, 127, 254, 255, 255]


@pytest.mark.parametrize("channels", [3, 4])
def test_lanczos_is_pillow_s_on_truncated_bytes(channels):
    image = noise(2, 9, 13, channels)
    resized = resize(image, 6, 20, "lanczos")
    for one, ours in zip(image, resized):
        pixels = numpy.floor(one.numpy() * 255).astype(numpy.uint8)
        by_hand = numpy.asarray(Image.fromarray(pixels).resize((6, 20), Image.Resampling.LANCZOS))
        assert numpy.array_equal(numpy.rint(ours.numpy() * 255), by_hand)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_lanczos_refuses_what_pillow_has_no_mode_for(channels):
    with pytest.raises(ValueError, match="3 or 4 channels"):
        resize(noise(1, 4, 4, channels), 2, 2, "lanczos")


def test_bilinear_has_half_pixel_centres_and_no_antialiasing():
    row = torch.tensor([0.0, 1.0, 2.0, 3.0]).reshape(1, 1, 4, 1)
    assert resize(row, 2, 1, "bilinear").flatten().tolist() == [0.5, 2.5]
    assert resize(row, 8, 1, "bilinear").flatten().tolist() == [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]


def test_nearest_exact_takes_the_pixel_under_the_centre():
    row = torch.arange(5.0).reshape(1, 1, 5, 1)
    by_hand = [float(math.floor((i + 0.5) * 5 / 3)) for i in range(3)]
    assert resize(row, 3, 1, "nearest-exact").flatten().tolist() == by_hand


def test_area_is_the_mean_of_what_it_covers():
    image = noise(1, 4, 6, 3)
    by_hand = image.reshape(1, 2, 2, 3, 2, 3).mean(dim=(2, 4))
    assert torch.allclose(resize(image, 3, 2, "area"), by_hand, atol=1e-6)


def test_bicubic_overshoots_at_an_edge():
    step = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 4, 1)
    a, at = -0.75, 0.25

    def weight(distance: float) -> float:
        x = abs(distance)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a

    resized = resize(step, 8, 1, "bicubic").flatten()
    # Output pixel 2 lies at 0.75 of the source: its neighbours are pixels -1 (= 0), 0, 1 and 2.
    assert resized[2].item() == pytest.approx(weight(1 + at), abs=1e-6)
    assert resized.min() < -0.05
    assert resized.max() > 1.05


@pytest.mark.parametrize(
    ("size", "target", "columns", "rows"),
    [
        ((10, 4), (4, 4), slice(3, 7), slice(0, 4)),
        ((4, 10), (4, 4), slice(0, 4), slice(3, 7)),
        ((9, 4), (4, 4), slice(2, 7), slice(0, 4)),  # 2.5 columns to cut on a side: half to even
        ((8, 4), (4, 2), slice(0, 8), slice(0, 4)),
    ],
)
def test_center_crop_cuts_both_sides_to_the_new_aspect(size, target, columns, rows):
    image = noise(1, size[1], size[0], 3)
    cut = image[:, rows, columns]
    assert torch.equal(
        resize(image, *target, "bilinear", "center"), resize(cut, *target, "bilinear", "disabled")
    )


@pytest.mark.parametrize("method", IMAGE_METHODS)
def test_a_constant_stays_constant_and_the_input_as_it_was(method):
    image = torch.full((1, 5, 7, 3), 0.6)
    resized = resize(image, 11, 3, method, "center")
    assert resized.shape == (1, 3, 11, 3)
    assert (resized - 0.6).abs().max() <= 1 / 255
    assert torch.equal(image, torch.full((1, 5, 7, 3), 0.6))


@pytest.mark.parametrize("method", ["nearest-exact", "bilinear", "bicubic", "lanczos", "bislerp"])
def test_a_side_of_nothing_is_refused(method):
    with pytest.raises(ValueError, match="at least one pixel"):
        resize(noise(1, 4, 4, 3), 0, 4, method)


def test_area_allows_a_side_of_nothing():
    assert resize(noise(1, 4, 4, 3), 0, 4, "area").shape == (1, 4, 0, 3)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="'hermite'"):
        resize(noise(1, 4, 4, 3), 2, 2, "hermite")


def test_frames_of_a_video_latent_are_resized_one_by_one():
    latent = noise(2, 4, 3, 6, 8)
    resized = common_upscale(latent, 4, 3, "bilinear", "disabled")
    assert resized.shape == (2, 4, 3, 3, 4)
    for frame in range(3):
        alone = common_upscale(latent[:, :, frame], 4, 3, "bilinear", "disabled")
        assert torch.allclose(resized[:, :, frame], alone, atol=1e-6)


def test_bislerp_turns_channel_vectors_along_the_arc():
    # Length 2 along one axis, length 4 along the other: at ratio r it is turned by r·90° and 2 + 2r long.
    row = torch.tensor([[2.0, 0.0], [0.0, 4.0]]).reshape(1, 2, 1, 2)
    resized = common_upscale(row, 4, 1, "bislerp", "disabled")[0, :, 0].T
    for vector, ratio in zip(resized, [0.0, 0.25, 0.75, 1.0]):
        norm, angle = 2 + 2 * ratio, ratio * math.pi / 2
        assert vector.tolist() == pytest.approx([norm * math.cos(angle), norm * math.sin(angle)], abs=1e-4)


def test_bislerp_of_equal_opposite_and_zero_vectors():
    same = common_upscale(torch.ones(1, 4, 3, 3), 5, 7, "bislerp", "disabled")
    assert torch.allclose(same, torch.ones(1, 4, 7, 5), atol=1e-5)
    opposite = torch.tensor([[1.0, -1.0], [0.0, 0.0]]).reshape(1, 2, 1, 2)
    faded = common_upscale(opposite, 4, 1, "bislerp", "disabled")[0, 0, 0]
    assert faded.tolist() == pytest.approx([1.0, 0.5, -0.5, -1.0], abs=1e-5)
    nothing = common_upscale(torch.zeros(1, 4, 2, 2), 3, 3, "bislerp", "disabled")
    assert torch.equal(nothing, torch.zeros(1, 4, 3, 3))


def test_lanczos_stops_between_images_of_an_interrupted_prompt(engine):
    engine.stop_after = 1
    with pytest.raises(engine.Interrupted):
        resize(noise(3, 4, 4, 3), 2, 2, "lanczos")
