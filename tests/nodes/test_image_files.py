"""Files of every odd kind made with Pillow, read by the nodes, and the other way round."""

import hashlib
import io
import json
import math
import random
import threading

import numpy
import pytest
import torch
from PIL import Image, ImageFile

from nodes.image_files import (
    LoadImage,
    LoadImageMask,
    LoadImageOutput,
    NotAnImage,
    PreviewImage,
    SaveImage,
    _all_frames,
    decode_channel,
    decode_image,
)
from nodes.saved_files import PathOutsideFolder


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def picture(*size: int, mode: str = "RGB", seed: int = 1) -> Image.Image:
    width, height = size
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = numpy.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=numpy.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode if mode == "LA" else None)


def floats(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(numpy.asarray(image).astype(numpy.float32) / 255)


def file_of(image: Image.Image, kind: str = "PNG", **options) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream


# --- loading ---------------------------------------------------------------------------------------------


def test_rgb_without_alpha_has_a_small_empty_mask(folders):
    image = picture(7, 5)
    image.save(folders.input_directory / "a.png")
    pixels, mask = LoadImage().load_image("a.png")
    assert torch.equal(pixels, floats(image)[None])
    assert pixels.dtype == torch.float32
    assert torch.equal(mask, torch.zeros(1, 64, 64))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_mask_is_one_minus_alpha(folders, mode):
    image = picture(7, 5, mode=mode)
    image.save(folders.input_directory / "a.png")
    pixels, mask = LoadImage().load_image("a.png [input]")
    assert torch.equal(pixels, floats(image.convert("RGB"))[None])
    assert torch.equal(mask, 1 - floats(image.getchannel("A"))[None])


@pytest.mark.parametrize("transparency", [1, bytes([0, 128, 255])])
def test_palette_with_transparency(transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    pixels, mask = decode_image(file_of(image, transparency=transparency))
    assert torch.equal(pixels[0, 0], torch.eye(3))
    alpha = [255, 0, 255] if transparency == 1 else [0, 128, 255]
    assert torch.equal(mask[0, 0], 1 - torch.tensor(alpha) / 255)


def test_palette_without_transparency_has_no_mask():
    assert torch.equal(decode_image(file_of(picture(3, 3).quantize(4)))[1], torch.zeros(1, 64, 64))


@pytest.mark.parametrize(("mode", "transparency"), [("RGB", (255, 0, 0)), ("L", 76)])
def test_a_transparent_colour_without_a_palette_is_no_alpha(mode, transparency):
    """But it is where one channel is asked for, and all become RGBA."""
    image = Image.new("RGB", (2, 1), (255, 0, 0)).convert(mode)
    image.putpixel((1, 0), 0)
    stream = file_of(image, transparency=transparency)
    pixels, mask = decode_image(stream)
    assert torch.equal(pixels, floats(image.convert("RGB"))[None])
    assert torch.equal(mask, torch.zeros(1, 64, 64))
    assert decode_channel(stream, "alpha").tolist() == [[[1.0, 0.0]]]


def test_a_palette_with_alpha_beside_it_has_a_mask():
    """No format of Pillow opens as this mode, but its plugins may."""
    image = picture(4, 3, mode="RGBA").convert("RGB").quantize(4).convert("PA")
    alpha = picture(4, 3, mode="L", seed=2)
    image.putalpha(alpha)
    pixels, mask = _all_frames(image, None)
    assert torch.equal(pixels, floats(image.convert("RGB"))[None])
    assert torch.equal(mask, 1 - floats(alpha)[None])


def test_sixteen_bit_grey_is_scaled_and_not_cut():
    values = numpy.array([[0, 254, 255, 25700, 65279, 65535]], dtype=numpy.uint16)
    pixels, _ = decode_image(file_of(Image.fromarray(values)))
    by_hand = [min(255, value // 255) for value in values[0].tolist()]
    assert numpy.rint(pixels[0, 0, :, 0].numpy() * 255).tolist() == by_hand
    assert torch.equal(pixels[..., 0], pixels[..., 2])
    red = decode_channel(file_of(Image.fromarray(values)), "red")
    assert torch.equal(red, pixels[..., 0])


def test_grey_of_32_bits_is_scaled_the_same():
    values = numpy.array([[0, 25700, 65535]], dtype=numpy.int32)
    pixels, _ = decode_image(file_of(Image.fromarray(values), "TIFF"))
    assert numpy.rint(pixels[0, 0, :, 1].numpy() * 255).tolist() == [0, 100, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(orientation):
    image = picture(6, 4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = file_of(image, exif=exif)
    flip, turn = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose
    upright = {
        1: [], 2: [flip], 3: [turn.ROTATE_180], 4: [turn.FLIP_TOP_BOTTOM],
        5: [turn.TRANSPOSE], 6: [turn.ROTATE_270], 7: [turn.TRANSVERSE], 8: [turn.ROTATE_90],
    }  # fmt: skip
    for move in upright[orientation]:
        image = image.transpose(move)
    assert torch.equal(decode_image(stream)[0], floats(image)[None])
    assert torch.equal(decode_channel(stream, "green"), floats(image.getchannel("G"))[None])


def test_every_frame_of_an_animation_is_in_the_batch():
    frames = [picture(8, 6, seed=seed).quantize(16) for seed in range(3)]
    stream = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=2)
    pixels, mask = decode_image(stream)
    assert pixels.shape == (3, 6, 8, 3)
    for ours, frame in zip(pixels, frames):
        assert torch.equal(ours, floats(frame.convert("RGB")))
    assert torch.equal(mask, torch.zeros(3, 64, 64))


def test_frames_with_and_without_alpha_have_masks_of_one_size():
    opaque, clear = picture(4, 3), picture(4, 3, mode="RGBA")
    stream = file_of(opaque, "TIFF", save_all=True, append_images=[clear])
    pixels, mask = decode_image(stream)
    assert torch.equal(pixels[0], floats(opaque))
    assert torch.equal(mask, torch.stack((torch.zeros(3, 4), 1 - floats(clear.getchannel("A")))))


def test_frames_of_another_size_are_skipped():
    first, other, third = picture(4, 3), picture(5, 3), picture(4, 3, seed=3)
    stream = file_of(first, "TIFF", save_all=True, append_images=[other, third])
    assert torch.equal(decode_image(stream)[0], torch.stack((floats(first), floats(third))))


def test_only_the_first_view_of_an_mpo_counts():
    views = [picture(16, 8, seed=seed) for seed in range(2)]
    stream = file_of(views[0], "MPO", save_all=True, append_images=views[1:])
    assert Image.open(stream).n_frames == 2
    assert decode_image(stream)[0].shape == (1, 8, 16, 3)


def test_a_truncated_file_is_read_as_far_as_it_goes():
    image = picture(40, 40)
    whole = file_of(image).getvalue()
    pixels, _ = decode_image(io.BytesIO(whole[: len(whole) // 2]))
    assert torch.equal(pixels[0, :10], floats(image)[:10])
    assert torch.equal(pixels[0, -1], torch.zeros(40, 3))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("content", [b"", b"<html>no picture</html>", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_image_is_said_to_be_none(content, folders):
    with pytest.raises(NotAnImage, match="cannot read it as an image"):
        decode_image(io.BytesIO(content))
    (folders.input_directory / "a.png").write_bytes(content)
    with pytest.raises(NotAnImage):
        LoadImage().load_image("a.png")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "WEBP", "TIFF", "BMP"])
def test_damaged_bytes_give_an_image_or_a_clear_error(kind):
    rng = random.Random(5)
    whole = file_of(picture(16, 16), kind).getvalue()
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            pixels, _ = decode_image(io.BytesIO(damaged), max_pixels=2**20)
        except NotAnImage:
            refused += 1
        else:
            assert pixels.shape[-1] == 3
    assert refused < 60


def test_pixels_of_all_frames_are_bounded_together():
    frames = [picture(10, 10, seed=seed) for seed in range(3)]
    stream = file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert decode_image(stream, max_pixels=300)[0].shape[0] == 3
    with pytest.raises(NotAnImage, match="more than 299 pixels"):
        decode_image(stream, max_pixels=299)


def test_loading_stops_between_frames_of_an_interrupted_prompt(engine):
    stream = file_of(picture(4, 3), "TIFF", save_all=True, append_images=[picture(4, 3)] * 3)
    engine.stop_after = 2
    with pytest.raises(engine.Interrupted):
        decode_image(stream)


@pytest.mark.parametrize("channel", ["red", "green", "blue", "alpha"])
def test_load_image_mask_takes_one_channel(folders, channel):
    image = picture(5, 4, mode="RGBA")
    image.save(folders.input_directory / "a.png")
    values = floats(image.getchannel(channel[0].upper()))[None]
    (mask,) = LoadImageMask().load_image("a.png", channel)
    assert torch.equal(mask, 1 - values if channel == "alpha" else values)


def test_load_image_mask_takes_the_first_frame():
    frames = [picture(8, 6, seed=seed) for seed in range(2)]
    stream = file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert torch.equal(decode_channel(stream, "blue"), floats(frames[0].getchannel("B"))[None])


def test_load_image_mask_reads_a_truncated_file_too():
    image = picture(40, 40)
    whole = file_of(image).getvalue()
    red = decode_channel(io.BytesIO(whole[: len(whole) // 2]), "red")
    assert torch.equal(red[0, :10], floats(image.getchannel("R"))[:10])


def test_load_image_mask_without_alpha_is_empty_and_of_the_image_s_size(folders):
    picture(5, 4).save(folders.input_directory / "a.png")
    assert torch.equal(LoadImageMask().load_image("a.png", "alpha")[0], torch.zeros(1, 4, 5))
    with pytest.raises(ValueError, match="'luma'"):
        LoadImageMask().load_image("a.png", "luma")


def test_load_image_output_reads_the_folder_that_the_name_says(folders):
    folders.output_directory.mkdir()
    made, given = picture(3, 2, seed=1), picture(3, 2, seed=2)
    made.save(folders.output_directory / "a.png")
    given.save(folders.input_directory / "a.png")
    assert torch.equal(LoadImageOutput().load_image("a.png [output]")[0], floats(made)[None])
    assert torch.equal(LoadImageOutput().load_image("a.png")[0], floats(given)[None])
    made.save(folders.output_directory / "b.png")
    assert LoadImageOutput.VALIDATE_INPUTS("b.png [output]") is True
    assert LoadImageOutput.VALIDATE_INPUTS("b.png") == "Invalid image file: b.png"
    digest = hashlib.sha256((folders.output_directory / "b.png").read_bytes()).hexdigest()
    assert LoadImageOutput.IS_CHANGED("b.png [output]") == digest


@pytest.mark.parametrize("node", [LoadImage, LoadImageMask, LoadImageOutput])
def test_names_are_checked_before_anything_runs(folders, node):
    picture(2, 2).save(folders.input_directory / "a.png")
    (folders.base_directory / "outside.png").write_bytes(b"x")
    assert node.VALIDATE_INPUTS("a.png") is True
    assert node.VALIDATE_INPUTS(None) is True
    for name in ("b.png", "../outside.png", "", "a.png [output]", 5, "a\0b", "x" * 5000):
        assert node.VALIDATE_INPUTS(name) == f"Invalid image file: {name}"
    with pytest.raises(PathOutsideFolder):
        node().load_image("../outside.png", *(["red"] if node is LoadImageMask else []))


def test_change_check_is_the_digest_of_the_bytes(folders):
    path = folders.input_directory / "a.png"
    path.write_bytes(b"one")
    assert LoadImage.IS_CHANGED("a.png") == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"two")
    assert LoadImageMask.IS_CHANGED("a.png", "red") == hashlib.sha256(b"two").hexdigest()
    assert math.isnan(LoadImage.IS_CHANGED(None))


def test_choices_are_read_anew_each_time(folders):
    assert LoadImage.INPUT_TYPES()["required"]["image"][0] == []
    picture(2, 2).save(folders.input_directory / "b.png")
    (folders.input_directory / "a.txt").write_text("")
    assert LoadImage.INPUT_TYPES()["required"]["image"][0] == ["b.png"]
    assert LoadImageMask.INPUT_TYPES()["required"]["image"][0] == ["a.txt", "b.png"]


# --- saving ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (4, "RGBA")])
def test_save_truncates_to_bytes(folders, channels, mode):
    images = noise(2, 4, 6, channels) * 1.4 - 0.2
    assert SaveImage().save_images(images, "deep/x")["ui"] == {
        "images": [
            {"filename": "x_00001_.png", "subfolder": "deep", "type": "output"},
            {"filename": "x_00002_.png", "subfolder": "deep", "type": "output"},
        ]
    }
    for index, image in enumerate(images):
        with Image.open(folders.output_directory / f"deep/x_0000{index + 1}_.png") as saved:
            assert saved.mode == mode
            assert numpy.array_equal(
                numpy.asarray(saved), numpy.floor(numpy.clip(255 * image.numpy(), 0, 255)).astype(numpy.uint8)
            )


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_save_refuses_channels_that_a_png_has_not(folders, channels):
    with pytest.raises(ValueError, match="3 or 4"):
        SaveImage().save_images(noise(1, 4, 4, channels))
    assert list(folders.output_directory.iterdir()) == []


def chunks_of(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += length + 12
    return found


PROMPT = {"1": {"class_type": "Größe", "inputs": {"a": [1, float("nan")]}}}
WORKFLOW = {"nodes": ["é"], "version": 0.4}


def test_prompt_and_workflow_are_text_before_the_pixels(folders):
    SaveImage().save_images(noise(1, 2, 2, 3), "x", PROMPT, {"workflow": WORKFLOW, "more": 1})
    chunks = chunks_of((folders.output_directory / "x_00001_.png").read_bytes())
    kinds = [kind for kind, _ in chunks]
    assert kinds == [b"IHDR", b"tEXt", b"tEXt", b"tEXt", b"IDAT", b"IEND"]
    assert dict(chunk.split(b"\0", 1) for kind, chunk in chunks if kind == b"tEXt") == {
        b"prompt": b'{"1": {"class_type": "Gr\\u00f6\\u00dfe", "inputs": {"a": [1, NaN]}}}',
        b"workflow": b'{"nodes": ["\\u00e9"], "version": 0.4}',
        b"more": b"1",
    }


@pytest.mark.parametrize(("node", "level"), [(SaveImage, 4), (PreviewImage, 1)])
def test_pictures_are_compressed_at_the_level_of_their_node(folders, monkeypatch, node, level):
    asked = []
    save = Image.Image.save

    def save_and_note(picture, *arguments, **options):
        asked.append(options["compress_level"])
        save(picture, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", save_and_note)
    node().save_images(noise(2, 4, 4, 3), "x")
    assert asked == [level, level]


def test_no_prefix_at_all_is_a_dot(folders):
    assert SaveImage().save_images(noise(1, 2, 2, 3), "")["ui"]["images"] == [
        {"filename": "._00001_.png", "subfolder": "", "type": "output"}
    ]


def test_odd_metadata_never_costs_the_picture(folders):
    extra = {"": 1, "k" * 80: 1, "日本": 1, "a\0b": 1, "fine": {"tensor": torch.zeros(1)}}
    SaveImage().save_images(noise(1, 2, 2, 3), "x", None, extra)
    SaveImage().save_images(noise(1, 2, 2, 3), "x", None, ["no", "dict"])
    with Image.open(folders.output_directory / "x_00001_.png") as saved:
        assert saved.text == {"fine": json.dumps({"tensor": "tensor([0.])"})}
    with Image.open(folders.output_directory / "x_00002_.png") as saved:
        assert saved.text == {}


def test_metadata_can_be_switched_off(folders):
    folders.save_metadata = False
    SaveImage().save_images(noise(1, 2, 2, 3), "x", PROMPT, {"workflow": WORKFLOW})
    with Image.open(folders.output_directory / "x_00001_.png") as saved:
        assert saved.text == {}


def test_save_knows_size_and_index_and_never_overwrites(folders):
    for _ in range(2):
        SaveImage().save_images(noise(2, 4, 6, 3), "%width%x%height%-%batch_num%")
    assert sorted(path.name for path in folders.output_directory.iterdir()) == [
        "6x4-0_00001_.png", "6x4-0_00003_.png", "6x4-1_00002_.png", "6x4-1_00004_.png",
    ]  # fmt: skip


def test_a_prefix_that_ends_in_a_slash_sees_what_exists(folders):
    for name in ("x_00001_.png", "x_00002_.png"):
        assert SaveImage().save_images(noise(1, 2, 2, 3), "x/")["ui"]["images"][0]["filename"] == name


def test_save_outside_is_refused(folders):
    with pytest.raises(PathOutsideFolder):
        SaveImage().save_images(noise(1, 2, 2, 3), "../x")
    assert not (folders.base_directory / "x_00001_.png").exists()


def test_an_empty_batch_saves_nothing(folders):
    assert SaveImage().save_images(torch.zeros(0, 2, 2, 3)) == {"ui": {"images": []}}


def test_saving_stops_between_images_of_an_interrupted_prompt(folders, engine):
    engine.stop_after = 1
    with pytest.raises(engine.Interrupted):
        SaveImage().save_images(noise(3, 2, 2, 3), "x")
    assert [path.name for path in folders.output_directory.iterdir()] == ["x_00001_.png"]


def test_two_prompts_that_save_at_once_keep_all_their_pictures(folders, monkeypatch):
    """Both read the counter before either writes: `png_bytes` is a door that waits for both."""
    import nodes.image_files

    both_have_read = threading.Barrier(2)
    encode = nodes.image_files.png_bytes

    def encode_when_both_are_here(*arguments):
        both_have_read.wait(timeout=10)
        return encode(*arguments)

    monkeypatch.setattr(nodes.image_files, "png_bytes", encode_when_both_are_here)
    results: dict[float, list[str]] = {}

    def save(value: float) -> None:
        saved = SaveImage().save_images(torch.full((5, 2, 2, 3), value), "x")["ui"]["images"]
        results[value] = [one["filename"] for one in saved]

    savers = [threading.Thread(target=save, args=(value,)) for value in (0.0, 1.0)]
    for saver in savers:
        saver.start()
    for saver in savers:
        saver.join()
    assert len({name for names in results.values() for name in names}) == 10
    for value, names in results.items():
        for name in names:
            with Image.open(folders.output_directory / name) as saved:
                assert saved.getextrema() == ((int(value * 255),) * 2,) * 3


def test_preview_goes_to_temp_under_its_own_letters(folders):
    node = PreviewImage()
    first = node.save_images(noise(1, 2, 2, 3), prompt=PROMPT)["ui"]["images"][0]
    second = node.save_images(noise(1, 2, 2, 3))["ui"]["images"][0]
    assert first["type"] == "temp"
    assert first["subfolder"] == ""
    stem = first["filename"].removesuffix("00001_.png")
    assert second["filename"] == stem + "00002_.png"
    letters = stem.removeprefix("ComfyUI_temp_").removesuffix("_")
    assert len(letters) == 5
    assert letters.isalpha()
    assert letters.islower()
    with Image.open(folders.temp_directory / first["filename"]) as saved:
        assert "prompt" in saved.text
    assert PreviewImage().prefix_append != node.prefix_append


def test_packs_may_change_where_and_how_a_subclass_saves(folders, tmp_path):
    class PackSaver(SaveImage):
        def __init__(self) -> None:
            super().__init__()
            self.output_dir = str(tmp_path / "pack")
            self.type = "temp"
            self.prefix_append = "_p"
            self.compress_level = 0

    assert (SaveImage().type, SaveImage().prefix_append, SaveImage().compress_level) == ("output", "", 4)
    assert PackSaver().save_images(torch.zeros(1, 50, 50, 3), "x")["ui"]["images"] == [
        {"filename": "x_p_00001_.png", "subfolder": "", "type": "temp"}
    ]
    assert (tmp_path / "pack" / "x_p_00001_.png").stat().st_size > 7500  # not compressed


def test_what_was_saved_loads_as_it_was(folders):
    image = torch.round(noise(1, 5, 4, 4) * 255) / 255
    SaveImage().save_images(image + 1e-4, "x")
    pixels, mask = LoadImage().load_image("x_00001_.png [output]")
    assert torch.allclose(pixels, image[..., :3], atol=1e-6)
    assert torch.allclose(mask, 1 - image[..., 3], atol=1e-6)
