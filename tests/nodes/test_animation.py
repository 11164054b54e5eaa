"""Animated files read again with Pillow, and their bytes by hand where Pillow hides them."""

import json
import zlib

import numpy
import pytest
import torch
from PIL import Image

from nodes.animation import SaveAnimatedPNG, SaveAnimatedWEBP

PROMPT = {"1": {"class_type": "Größe", "inputs": {"a": [1, float("nan")]}}}
PROMPT_TEXT = '{"1": {"class_type": "Gr\\u00f6\\u00dfe", "inputs": {"a": [1, NaN]}}}'
WORKFLOW = {"nodes": ["é"], "version": 0.4}
WORKFLOW_TEXT = '{"nodes": ["\\u00e9"], "version": 0.4}'


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def eight_bits(images: torch.Tensor) -> numpy.ndarray:
    """The contract's conversion, by hand: clipped, then cut off."""
    return numpy.floor(numpy.clip(255 * images.numpy(), 0, 255)).astype(numpy.uint8)


def save_png(images, prefix="x", fps=6.0, compress_level=4, **more):
    return SaveAnimatedPNG().save_images(images, fps, compress_level, prefix, **more)["ui"]


def save_webp(images, prefix="x", fps=6.0, lossless=True, quality=80, method="default", **more):
    return SaveAnimatedWEBP().save_images(images, fps, prefix, lossless, quality, method, **more)["ui"]


def frames_of(path, mode):
    with Image.open(path) as animation:
        for index in range(animation.n_frames):
            animation.seek(index)
            animation.load()
            yield numpy.asarray(animation.convert(mode)), animation.info.get("duration")


def chunks_of(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += length + 12
    return found


# --- PNG -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (4, "RGBA")])
def test_png_has_every_frame_cut_to_bytes(folders, channels, mode):
    images = noise(3, 5, 7, channels) * 1.4 - 0.2
    assert save_png(images, "deep/x", fps=6.0) == {
        "images": [{"filename": "x_00001_.png", "subfolder": "deep", "type": "output"}],
        "animated": [True],
    }
    shown = list(frames_of(folders.output_directory / "deep/x_00001_.png", mode))
    assert len(shown) == 3
    for (pixels, duration), wanted in zip(shown, eight_bits(images)):
        assert numpy.array_equal(pixels, wanted)
        assert duration == 166  # 1000 / 6, rounded down


def test_png_merges_equal_frames(folders):
    image = noise(1, 4, 4, 3)
    save_png(torch.cat((image, image, 1 - image)), fps=10)
    assert [duration for _, duration in frames_of(folders.output_directory / "x_00001_.png", "RGB")] == [200, 100]


def test_png_of_one_frame_is_a_picture(folders):
    image = noise(1, 4, 4, 3)
    assert save_png(image)["animated"] == [True]
    chunks = chunks_of((folders.output_directory / "x_00001_.png").read_bytes())
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]


def test_png_metadata_are_private_chunks_after_the_pixels(folders):
    save_png(noise(2, 4, 4, 3), prompt=PROMPT, extra_pnginfo={"workflow": WORKFLOW, "日本": 1, "more": 1})
    chunks = chunks_of((folders.output_directory / "x_00001_.png").read_bytes())
    kinds = [kind for kind, _ in chunks]
    last_pixels = max(index for index, kind in enumerate(kinds) if kind in (b"IDAT", b"fdAT"))
    assert kinds[last_pixels + 1 :] == [b"comf"] * 3 + [b"IEND"]
    assert kinds.count(b"comf") == 3
    assert [content.decode("latin-1") for kind, content in chunks if kind == b"comf"] == [
        "prompt\0" + PROMPT_TEXT, "workflow\0" + WORKFLOW_TEXT, "more\0" + "1",
    ]  # fmt: skip


@pytest.mark.parametrize("level", [0, 9])
def test_png_is_compressed_as_asked(folders, level):
    save_png(torch.zeros(2, 50, 50, 3) + torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1), compress_level=level)
    chunks = chunks_of((folders.output_directory / "x_00001_.png").read_bytes())
    pixels = b"".join(content for kind, content in chunks if kind == b"IDAT")
    assert len(zlib.decompress(pixels)) == 50 * 151
    assert (len(pixels) > 50 * 151) == (level == 0)


def test_png_of_the_longest_frames_that_the_node_allows(folders):
    save_png(torch.stack((torch.zeros(2, 2, 3), torch.ones(2, 2, 3))), fps=0.01)
    durations = [duration for _, duration in frames_of(folders.output_directory / "x_00001_.png", "RGB")]
    assert durations == [100_000, 100_000]


# --- WebP ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (4, "RGBA")])
def test_webp_has_every_frame_cut_to_bytes(folders, channels, mode):
    images = noise(3, 5, 7, channels) * 1.4 - 0.2
    if channels == 4:
        images[..., 3].clamp_(min=0.1)  # WebP forgets colours that nobody sees
    assert save_webp(images, "deep/x", fps=24.0) == {
        "images": [{"filename": "x_00001_.webp", "subfolder": "deep", "type": "output"}],
        "animated": [True],
    }
    shown = list(frames_of(folders.output_directory / "deep/x_00001_.webp", mode))
    assert len(shown) == 3
    for (pixels, duration), wanted in zip(shown, eight_bits(images)):
        assert numpy.array_equal(pixels, wanted)
        assert duration == 41


def test_webp_of_one_frame_does_not_move(folders):
    image = noise(1, 4, 4, 3)
    assert save_webp(image)["animated"] == [False]
    with Image.open(folders.output_directory / "x_00001_.webp") as saved:
        assert saved.n_frames == 1
        assert numpy.array_equal(numpy.asarray(saved.convert("RGB")), eight_bits(image)[0])


def test_webp_metadata_are_in_exif(folders):
    extra = {"workflow": WORKFLOW, **{f"k{number}": number for number in range(20)}}
    for images, name in ((noise(2, 4, 4, 3), "x_00001_.webp"), (noise(1, 4, 4, 3), "x_00002_.webp")):
        save_webp(images, prompt=PROMPT, extra_pnginfo=extra)
        with Image.open(folders.output_directory / name) as saved:
            exif = dict(saved.getexif())
        assert exif[0x0110] == "prompt:" + PROMPT_TEXT
        assert exif[0x010F] == "workflow:" + WORKFLOW_TEXT
        # Among these are tags that are numbers where a camera writes them.
        assert [exif[0x010E - number] for number in range(20)] == [f"k{number}:{number}" for number in range(20)]


def test_webp_has_as_many_keys_as_there_are_tags(folders):
    extra = {f"k{number}": number for number in range(500)}
    save_webp(noise(1, 4, 4, 3), prompt=PROMPT, extra_pnginfo=extra)
    with Image.open(folders.output_directory / "x_00001_.webp") as saved:
        exif = dict(saved.getexif())
    assert exif[0x0110] == "prompt:" + PROMPT_TEXT
    assert exif[1] == "k270:270"
    assert len(exif) == 272


def test_webp_lossless_or_of_a_quality(folders):
    images = noise(2, 64, 64, 3)
    for quality, lossless in ((0, False), (100, False), (100, True)):
        save_webp(images, quality=quality, lossless=lossless)
    worst, best, exact = (folders.output_directory / f"x_0000{number}_.webp" for number in (1, 2, 3))
    assert worst.stat().st_size * 4 < best.stat().st_size

    def largest_difference(path):
        shown = numpy.stack([pixels for pixels, _ in frames_of(path, "RGB")])
        return numpy.abs(shown.astype(int) - eight_bits(images)).max()

    assert largest_difference(exact) == 0
    assert 0 < largest_difference(best) < largest_difference(worst)


@pytest.mark.parametrize(("method", "effort"), [("default", 4), ("fastest", 0), ("slowest", 6)])
def test_webp_methods_are_efforts(folders, monkeypatch, method, effort):
    asked = []
    save = Image.Image.save

    def save_and_note(picture, *arguments, **options):
        asked.append(options["method"])
        save(picture, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", save_and_note)
    save_webp(noise(2, 4, 4, 3), method=method)
    assert asked == [effort]
    with pytest.raises(ValueError, match="unknown method 'hasty'"):
        save_webp(noise(2, 4, 4, 3), method="hasty")


@pytest.mark.parametrize(
    ("num_frames", "lengths", "animated"),
    [(0, [5], True), (2, [2, 2, 1], True), (5, [5], True), (9, [5], True), (1, [1] * 5, False)],
)
def test_callers_may_ask_for_a_file_for_every_few_frames(folders, num_frames, lengths, animated):
    images = noise(5, 4, 4, 3)
    shown = save_webp(images, "x-%batch_num%", num_frames=num_frames)
    assert shown["animated"] == [animated]
    names = [f"x-{index}_{index + 1:05}_.webp" for index in range(len(lengths))]
    assert [image["filename"] for image in shown["images"]] == names
    frames = [[pixels for pixels, _ in frames_of(folders.output_directory / name, "RGB")] for name in names]
    assert [len(file) for file in frames] == lengths
    assert numpy.array_equal(numpy.concatenate(frames), eight_bits(images))


# --- both ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["png", "webp"])
def save(request):
    return {"png": save_png, "webp": save_webp}[request.param]


def files(folders):
    return sorted(path.name.split(".")[0] for path in folders.output_directory.iterdir())


def test_names_count_on(folders, save):
    for _ in range(2):
        save(noise(2, 4, 6, 3), "%width%x%height%")
    assert files(folders) == ["6x4_00001_", "6x4_00002_"]


def test_metadata_can_be_switched_off(folders, save):
    folders.save_metadata = False
    save(noise(2, 4, 4, 3), prompt=PROMPT, extra_pnginfo={"workflow": WORKFLOW})
    (path,) = folders.output_directory.iterdir()
    for trace in (b"prompt", b"workflow", b"comf", b"EXIF"):
        assert trace not in path.read_bytes()


def test_odd_metadata_never_costs_the_file(folders, save):
    extra = {"": 1, "k" * 80: 1, "a\0b": 1, "fine": {"tensor": torch.zeros(1)}}
    save(noise(2, 4, 4, 3), extra_pnginfo=extra)
    save(noise(2, 4, 4, 3), extra_pnginfo=["no", "dict"])
    content = next(iter(sorted(folders.output_directory.iterdir()))).read_bytes()
    assert json.dumps({"tensor": "tensor([0.])"}).encode() in content
    assert b"kkk" not in content
    assert len(files(folders)) == 2


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_channels_that_a_picture_has_not_are_refused(folders, save, channels):
    with pytest.raises(ValueError, match="3 or 4"):
        save(noise(2, 4, 4, channels))
    assert files(folders) == []


@pytest.mark.parametrize("fps", [0, -1.0, float("nan")])
def test_no_frames_a_second_are_refused(folders, save, fps):
    with pytest.raises(ValueError, match="frames each second"):
        save(noise(2, 4, 4, 3), fps=fps)
    assert files(folders) == []


def test_an_empty_batch_saves_nothing(save):
    assert save(torch.zeros(0, 2, 2, 3))["images"] == []


def test_an_interrupt_ends_it_at_any_moment_and_leaves_no_file(folders, save, engine):
    """As many looks as there are, each is the one that stops it."""
    stops = 0
    while True:
        engine.stop_after = stops
        try:
            save(noise(4, 16, 16, 3))
        except engine.Interrupted:
            assert files(folders) == []
            stops += 1
        else:
            break
    assert stops >= 8  # while the frames are converted, and while they are encoded
