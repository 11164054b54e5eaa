"""Few colours, against Pillow's palettes and a Bayer pattern worked out by hand."""

import numpy
import pytest
import torch
from PIL import Image

from nodes.image_quantizing import ImageQuantize, bayer_matrix


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def bytes_of(image: torch.Tensor) -> numpy.ndarray:
    return numpy.floor(image.numpy() * numpy.float32(255)).astype(numpy.int64).astype(numpy.uint8)


def bayer_by_hand(order: int, y: int, x: int) -> float:
    """One entry of the matrix of side 2^order, quarter by quarter."""
    if order == 0:
        return 0.0
    half = 2 ** (order - 1)
    shift = {(0, 0): -1.5, (0, 1): 0.5, (1, 0): 1.5, (1, 1): -0.5}[y // half, x // half]
    return bayer_by_hand(order - 1, y % half, x % half) + shift / 4**order


def test_bayer_matrices():
    assert bayer_matrix(2).tolist() == [[-0.375, 0.125], [0.375, -0.125]]
    for order in range(5):
        side = 2**order
        assert bayer_matrix(side).tolist() == [
            [bayer_by_hand(order, y, x) for x in range(side)] for y in range(side)]
    # Every step between -1/2 and 1/2 once.
    assert sorted(bayer_matrix(16).ravel()) == [(index + 0.5) / 256 - 0.5 for index in range(256)]


@pytest.mark.parametrize(
    ("dither", "method"), [("none", Image.Dither.NONE), ("floyd-steinberg", Image.Dither.FLOYDSTEINBERG)]
)
@pytest.mark.parametrize("colors", [1, 5, 256])
def test_each_image_has_its_own_palette(dither, method, colors):
    image = torch.cat((noise(1, 7, 11, 3), noise(1, 7, 11, 3, seed=2) ** 3))
    (result,) = ImageQuantize.execute(image, colors, dither)
    assert result.dtype == torch.float32
    for single, pixels in zip(result.numpy(), bytes_of(image)):
        picture = Image.fromarray(pixels)
        palette = picture.quantize(colors, Image.Quantize.MEDIANCUT)
        wanted = numpy.asarray(picture.quantize(colors, palette=palette, dither=method).convert("RGB"))
        assert numpy.array_equal((single * 255).round(), wanted)
        assert len(numpy.unique(wanted.reshape(-1, 3), axis=0)) <= colors


@pytest.mark.parametrize(("dither", "order"), [("bayer-2", 1), ("bayer-4", 2), ("bayer-8", 3), ("bayer-16", 4)])
@pytest.mark.parametrize("colors", [2, 256])
def test_bayer_by_hand(dither, order, colors):
    # Three greys only: the palette has three entries at most, however many are asked for.
    greys = numpy.array([30, 130, 220], numpy.uint8)[numpy.random.default_rng(1).integers(0, 3, (2, 19, 21))]
    image = torch.from_numpy(greys[..., None].repeat(3, -1) / numpy.float32(255) + numpy.float32(0.001))
    assert numpy.array_equal(bytes_of(image)[..., 0], greys)
    (result,) = ImageQuantize.execute(image, colors, dither)
    is_dithered = 0
    for single, pixels in zip((result * 255).round().numpy().astype(int), bytes_of(image)):
        entries = Image.fromarray(pixels).quantize(colors, Image.Quantize.MEDIANCUT).getpalette()
        palette = numpy.array(entries).reshape(-1, 3)
        assert len(palette) == min(colors, 3)
        side = 2**order
        for y, x in numpy.ndindex(19, 21):
            threshold = 512 / len(palette) * bayer_by_hand(order, y % side, x % side)
            pixel = numpy.clip(pixels[y, x] + threshold + 0.5, 0, 255).astype(numpy.uint8).astype(int)
            distances = numpy.abs(palette - pixel).max(axis=1)
            first, second = numpy.sort(distances)[:2]
            # Pillow looks colours up in small boxes: one in the middle between two may go to either.
            if second - first > 8:
                assert single[y, x].tolist() == palette[distances.argmin()].tolist()
                is_dithered += distances.argmin() != numpy.abs(palette - pixels[y, x]).max(axis=1).argmin()
    assert is_dithered > 20


def test_values_outside_wrap_around():
    image = torch.tensor([[[[1.5, -0.1, 0.5], [0.0, 1.0, 2.0]]]])
    (result,) = ImageQuantize.execute(image, 256, "none")
    # 382.5 -> 382 - 256, -25.5 -> -26 + 256, 127.5 -> 127; 510 - 256
    assert (result * 255).round().tolist() == [[[[126, 230, 127], [0, 255, 254]]]]


def test_quantize_says_what_it_cannot_do():
    with pytest.raises(ValueError, match="only RGB images can be quantized, and this one has 4 channels"):
        ImageQuantize.execute(noise(1, 2, 2, 4), 4, "none")
    with pytest.raises(ValueError, match="'bayer-3'"):
        ImageQuantize.execute(noise(1, 2, 2, 3), 4, "bayer-3")


def test_quantize_stops_between_images_of_an_interrupted_prompt(engine):
    engine.stop_after = 1
    with pytest.raises(engine.Interrupted):
        ImageQuantize.execute(noise(3, 2, 2, 3), 4, "none")
