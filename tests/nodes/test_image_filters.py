"""Blur, sharpen and blend, against slow and plain versions of the formulas."""

import math

import numpy
import pytest
import torch

from nodes.image_filters import ImageBlend, ImageBlur, ImageSharpen
from nodes.resampling import resize

MODES = ["normal", "multiply", "screen", "overlay", "soft_light", "difference"]


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def kernel_by_hand(radius: int, sigma: float) -> numpy.ndarray:
    steps = numpy.linspace(-1, 1, 2 * radius + 1)
    kernel = numpy.exp(-(steps[:, None] ** 2 + steps[None, :] ** 2) / (2 * sigma**2))
    return kernel / kernel.sum()


def correlated_by_hand(image: torch.Tensor, kernel: numpy.ndarray) -> numpy.ndarray:
    """Window by window on a picture mirrored at its border pixels."""
    radius = kernel.shape[0] // 2
    padded = numpy.pad(image.double().numpy(), ((0, 0), (radius,) * 2, (radius,) * 2, (0, 0)), "reflect")
    result = numpy.zeros(image.shape)
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            window = padded[:, y : y + 2 * radius + 1, x : x + 2 * radius + 1]
            result[:, y, x] = (window * kernel[None, :, :, None]).sum(axis=(1, 2))
    return result


@pytest.mark.parametrize(("radius", "sigma", "channels"), [(1, 1.0, 3), (3, 0.4, 4), (5, 2.5, 1)])
def test_blur_by_hand(radius, sigma, channels):
    image = noise(2, 7, 9, channels)
    (result,) = ImageBlur.execute(image, radius, sigma)
    by_hand = correlated_by_hand(image, kernel_by_hand(radius, sigma))
    assert result.dtype == torch.float32
    assert numpy.abs(result.numpy() - by_hand).max() < 1e-5


@pytest.mark.parametrize(("radius", "sigma", "alpha"), [(1, 1.0, 1.0), (2, 0.7, 5.0), (2, 1.0, 0.0)])
def test_sharpen_by_hand(radius, sigma, alpha):
    image = noise(1, 6, 8, 3)
    kernel = -10 * alpha * kernel_by_hand(radius, sigma)
    kernel[radius, radius] += 1 + 10 * alpha
    by_hand = correlated_by_hand(image, kernel).clip(0, 1)
    assert numpy.abs(ImageSharpen.execute(image, radius, sigma, alpha)[0].numpy() - by_hand).max() < 1e-4


def test_radius_of_nothing_is_the_image_itself():
    image = noise(1, 3, 3, 3)
    assert ImageBlur.execute(image, 0, 1.0)[0] is image
    assert ImageSharpen.execute(image, 0, 1.0, 1.0)[0] is image


def test_blur_needs_pixels_to_mirror():
    assert ImageBlur.execute(noise(1, 4, 4, 3), 3, 1.0)[0].shape == (1, 4, 4, 3)
    with pytest.raises(ValueError, match="larger than 9x4"):
        ImageBlur.execute(noise(1, 4, 9, 3), 4, 1.0)


def test_blur_stops_between_images_of_an_interrupted_prompt(engine):
    engine.stop_after = 1
    with pytest.raises(engine.Interrupted):
        ImageBlur.execute(noise(3, 4, 4, 3), 1, 1.0)


def blend_by_hand(a: float, b: float, mode: str) -> float:
    if mode == "normal":
        return b
    if mode == "multiply":
        return a * b
    if mode == "screen":
        return 1 - (1 - a) * (1 - b)
    if mode == "overlay":
        return 2 * a * b if a <= 0.5 else 1 - 2 * (1 - a) * (1 - b)
    if mode == "difference":
        return a - b
    if b <= 0.5:
        return a - (1 - 2 * b) * a * (1 - a)
    g = ((16 * a - 12) * a + 4) * a if a <= 0.25 else math.sqrt(a)
    return a + (2 * b - 1) * (g - a)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_blend_by_hand(mode, factor):
    steps = torch.linspace(0, 1, 9)  # both halves, the middle and the quarter, exactly
    a, b = torch.meshgrid(steps, steps, indexing="ij")
    image1, image2 = (one.reshape(1, 9, 9, 1).repeat(1, 1, 1, 3) for one in (a, b))
    (result,) = ImageBlend.execute(image1, image2, factor, mode)
    for y, x in numpy.ndindex(9, 9):
        one, two = a[y, x].item(), b[y, x].item()
        by_hand = min(1.0, max(0.0, one * (1 - factor) + blend_by_hand(one, two, mode) * factor))
        assert result[0, y, x].tolist() == pytest.approx([by_hand] * 3, abs=1e-6)


def test_blend_fits_the_second_to_the_first():
    image1, image2 = noise(1, 4, 4, 3), noise(1, 6, 12, 3, seed=2)
    (result,) = ImageBlend.execute(image1, image2, 1.0, "normal")
    assert torch.equal(result, resize(image2, 4, 4, "bicubic", "center").clamp(0, 1))


def test_blend_gives_the_second_an_opaque_alpha_or_takes_it_away():
    rgb, rgba = noise(1, 3, 3, 3), noise(1, 3, 3, 4, seed=2)
    (onto_rgba,) = ImageBlend.execute(rgba, rgb, 1.0, "normal")
    assert torch.equal(onto_rgba, torch.cat((rgb, torch.ones(1, 3, 3, 1)), dim=-1))
    (onto_rgb,) = ImageBlend.execute(rgb, rgba, 1.0, "normal")
    assert torch.equal(onto_rgb, rgba[..., :3])


def test_blend_of_one_with_many():
    one, many = noise(1, 3, 3, 3), noise(4, 3, 3, 3, seed=2)
    assert torch.equal(ImageBlend.execute(one, many, 1.0, "normal")[0], many)
    assert torch.allclose(ImageBlend.execute(many, one, 0.5, "normal")[0], (many + one) / 2)
    with pytest.raises(ValueError, match="4 images with 2"):
        ImageBlend.execute(many, noise(2, 3, 3, 3), 0.5, "normal")


def test_blend_names_an_unknown_mode():
    with pytest.raises(ValueError, match="'dodge'"):
        ImageBlend.execute(noise(1, 2, 2, 3), noise(1, 2, 2, 3), 0.5, "dodge")
