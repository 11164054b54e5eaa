"""Images read from files and written to files.

`decode_image` is the one place where bytes become an IMAGE (float32 [B,H,W,3] in 0..1) and a MASK (float32
[B,H,W], 1 where the picture is transparent). All of it blocks: it runs on a thread, never on the loop.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import string
import struct
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

from nodes.environment import environment
from nodes.resampling import to_bytes
from nodes.saved_files import (
    BATCH_NUMBER,
    annotated_path,
    file_names,
    image_file_names,
    is_readable_name,
    metadata_texts,
    plan_save,
    write_new_file,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    import torch
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    ImageSource = str | os.PathLike[str] | IO[bytes]

Decoded = TypeVar("Decoded")

_truncated_loading = threading.Lock()


# --- decoding --------------------------------------------------------------------------------------------


class NotAnImage(ValueError):
    """What was given cannot be read as an image."""


def decode_image(source: ImageSource, max_pixels: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Every frame of a picture as (IMAGE [B,H,W,3], MASK [B,H,W]); from a path or a stream that can seek.

    Frames are turned as their EXIF says; those of another size than the first are skipped; of an MPO (several
    views of one scene, from a camera) only the first counts. Without any transparency the mask is 64x64 zeros
    a frame. `max_pixels` bounds all frames together. Raises NotAnImage.
    """
    return _decoded(source, lambda picture: _all_frames(picture, max_pixels))


def decode_channel(source: ImageSource, channel: str) -> torch.Tensor:
    """One of `red`, `green`, `blue`, or the transparency for `alpha`, of the first frame: MASK [1,H,W].

    Raises NotAnImage, or ValueError for a channel of another name.
    """
    bands = {"red": "R", "green": "G", "blue": "B", "alpha": "A"}
    if channel not in bands:
        raise ValueError(f"unknown channel {channel!r}; there are {', '.join(bands)}")

    def read(picture: Image.Image) -> torch.Tensor:
        values = _unit_floats(_upright(picture).convert("RGBA").getchannel(bands[channel]))
        return (1.0 - values if channel == "alpha" else values).unsqueeze(0)

    return _decoded(source, read)


def _decoded(source: ImageSource, read: Callable[[Image.Image], Decoded]) -> Decoded:
    from PIL import Image

    def attempt() -> Decoded:
        if not isinstance(source, str) and hasattr(source, "seek"):
            source.seek(0)
        with Image.open(source) as picture:
            return read(picture)

    # Pillow reports damage by any of these, whatever the format.
    damage = (OSError, SyntaxError, EOFError, ValueError, struct.error, Image.DecompressionBombError)
    try:
        return attempt()
    except (NotAnImage, FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except damage:
        pass
    try:
        with _loading_truncated_files():
            return attempt()
    except NotAnImage:
        raise
    except damage as error:
        raise NotAnImage(f"cannot read it as an image: {error}") from error


@contextmanager
def _loading_truncated_files() -> Iterator[None]:
    """Have Pillow fill in what a broken file lacks.

    The switch is Pillow's, for the whole process. Whoever decodes beside us meanwhile only gains: a broken
    file is read at the first attempt and not at the second. The lock keeps two of us from switching it off
    too early.
    """
    from PIL import ImageFile

    with _truncated_loading:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _all_frames(picture: Image.Image, max_pixels: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    import torch
    from PIL import ImageSequence

    from execution import check_interrupted

    images: list[torch.Tensor] = []
    masks: list[torch.Tensor | None] = []
    pixels = 0
    for raw_frame in ImageSequence.Iterator(picture):
        check_interrupted()
        pixels += raw_frame.width * raw_frame.height
        if max_pixels is not None and pixels > max_pixels:
            raise NotAnImage(f"it has more than {max_pixels:,} pixels in all its frames")
        frame = _upright(raw_frame)
        has_alpha = "A" in frame.getbands() or (frame.mode == "P" and "transparency" in frame.info)
        # Colours of a palette with transparency come out the same by way of RGBA, and Pillow does not warn.
        colours = frame.convert("RGBA") if has_alpha else frame
        image = _unit_floats(colours.convert("RGB"))
        if images and image.shape != images[0].shape:
            continue
        images.append(image)
        masks.append(1.0 - _unit_floats(colours.getchannel("A")) if has_alpha else None)
        if picture.format == "MPO":
            break

    # Files may have frames with and without alpha; an opaque frame's mask is as large as the others then.
    mask_size = (64, 64) if all(mask is None for mask in masks) else images[0].shape[:2]
    whole_masks = [torch.zeros(mask_size) if mask is None else mask for mask in masks]
    return torch.stack(images), torch.stack(whole_masks)


def _upright(frame: Image.Image) -> Image.Image:
    """The frame turned as its EXIF says, with at most 8 bits a channel."""
    from PIL import ImageOps

    frame = ImageOps.exif_transpose(frame)
    if frame.mode == "I" or frame.mode.startswith("I;16"):
        # Converting would cut 16-bit grey at 255, and so make nearly all of it white.
        return frame.convert("I").point(lambda value: value * (1 / 255)).convert("L")
    return frame


def _unit_floats(image: Image.Image) -> torch.Tensor:
    import numpy
    import torch

    return torch.from_numpy(numpy.asarray(image, dtype=numpy.float32) / 255.0)


def file_digest(name: str) -> str:
    """Hex SHA-256 of an annotated file's bytes."""
    with annotated_path(name).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- encoding --------------------------------------------------------------------------------------------


def png_metadata(prompt: Any, extra_pnginfo: Any) -> PngInfo | None:
    """Text chunks `prompt` and one for each key of `extra_pnginfo`, as JSON; None with --disable-metadata."""
    from PIL.PngImagePlugin import PngInfo

    if not environment.save_metadata:
        return None
    chunks = PngInfo()
    for key, text in metadata_texts(prompt, extra_pnginfo).items():
        chunks.add_text(key, text)
    return chunks


def to_picture(image: torch.Tensor) -> Image.Image:
    """An image [H,W,C] of 3 or 4 channels as RGB or RGBA. Raises ValueError for other channels."""
    from PIL import Image

    if image.ndim != 3 or image.shape[-1] not in (3, 4):
        raise ValueError(f"a file needs an image [height, width, 3 or 4], and this one is {list(image.shape)}")
    return Image.fromarray(to_bytes(image).cpu().contiguous().numpy())


def png_bytes(image: torch.Tensor, metadata: PngInfo | None, compress_level: int) -> bytes:
    """An image [H,W,C] of 3 or 4 channels as a PNG file. Raises ValueError for other channels."""
    stream = io.BytesIO()
    to_picture(image).save(stream, "PNG", pnginfo=metadata, compress_level=compress_level)
    return stream.getvalue()


# --- nodes -----------------------------------------------------------------------------------------------


class LoadImage:
    """A picture of the input folder as IMAGE [B,H,W,3] and MASK (1 = transparent); see `decode_image`."""

    DESCRIPTION = "Loads an image file, all frames of it, and its transparency as a mask."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "load_image"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        names = image_file_names(environment.input_directory)
        return {"required": {"image": (names, {"image_upload": True})}}

    def load_image(self, image: str) -> tuple[torch.Tensor, torch.Tensor]:
        return decode_image(annotated_path(image))

    @classmethod
    def IS_CHANGED(cls, image: str | None) -> str | float:
        return _change_of(image)

    @classmethod
    def VALIDATE_INPUTS(cls, image: Any) -> bool | str:
        return _name_problem(image)


class LoadImageOutput(LoadImage):
    """LoadImage whose choices are files of the output folder; whoever asks for them adds ` [output]` to the name.

    A name without that is one of the input folder, here too.
    """

    DESCRIPTION = "Loads an image file of the output folder, and its transparency as a mask."
    EXPERIMENTAL = True
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        choices = {
            "route": "/internal/files/output",
            "refresh_button": True,
            "control_after_refresh": "first",
        }
        return {"required": {"image": ("COMBO", {"image_upload": True, "image_folder": "output", "remote": choices})}}


class LoadImageMask:
    """One channel of a picture of the input folder as MASK [1,H,W]; `alpha` is 1 where it is transparent."""

    DESCRIPTION = "Loads one channel of an image file as a mask."
    CATEGORY = "mask"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "load_image"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": (file_names(environment.input_directory), {"image_upload": True}),
                "channel": (["alpha", "red", "green", "blue"],),
            }
        }

    def load_image(self, image: str, channel: str) -> tuple[torch.Tensor]:
        return (decode_channel(annotated_path(image), channel),)

    @classmethod
    def IS_CHANGED(cls, image: str | None, channel: str | None) -> str | float:
        return _change_of(image)

    @classmethod
    def VALIDATE_INPUTS(cls, image: Any) -> bool | str:
        return _name_problem(image)


def _change_of(name: str | None) -> str | float:
    # A linked name is not known yet; NaN equals nothing, so the file is read again.
    return float("nan") if name is None else file_digest(name)


def _name_problem(name: Any) -> bool | str:
    if name is None:  # linked: known when the node runs
        return True
    return (isinstance(name, str) and is_readable_name(name)) or f"Invalid image file: {name}"


class SaveImage:
    """Each image of a batch as a PNG in the output folder, with prompt and workflow in its text chunks.

    Packs subclass it and set `output_dir`, `type`, `prefix_append` and `compress_level`.
    """

    DESCRIPTION = "Saves images to the output folder."
    CATEGORY = "image"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save_images"
    RESOURCES = {"cpu": 1}

    def __init__(self) -> None:
        self.output_dir = str(environment.output_directory)
        self.type = "output"
        self.prefix_append = ""
        self.compress_level = 4

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"images": ("IMAGE", {}), "filename_prefix": ("STRING", {"default": "ComfyUI"})},
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def save_images(
        self,
        images: torch.Tensor,
        filename_prefix: str = "ComfyUI",
        prompt: Any = None,
        extra_pnginfo: Any = None,
    ) -> dict[str, Any]:
        from execution import check_interrupted

        if len(images) == 0:
            return {"ui": {"images": []}}
        height, width = images[0].shape[:2]
        place = plan_save(filename_prefix + self.prefix_append, self.output_dir, width, height)
        metadata = png_metadata(prompt, extra_pnginfo)
        counter = place.counter
        saved = []
        for index, image in enumerate(images):
            check_interrupted()
            content = png_bytes(image, metadata, self.compress_level)
            name = place.name.replace(BATCH_NUMBER, str(index))
            file_name, counter = write_new_file(place.folder, name, counter, "png", content)
            saved.append({"filename": file_name, "subfolder": place.subfolder, "type": self.type})
            counter += 1
        return {"ui": {"images": saved}}


class PreviewImage(SaveImage):
    """SaveImage into the temp folder, under letters of its own for each instance."""

    DESCRIPTION = "Shows images without keeping them."
    # Said again, as the engine heeds only what a class says itself: a pack's subclass may not bear company.
    RESOURCES = {"cpu": 1}

    def __init__(self) -> None:
        super().__init__()
        self.output_dir = str(environment.temp_directory)
        self.type = "temp"
        self.prefix_append = "_temp_" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(5))
        self.compress_level = 1

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"images": ("IMAGE",)},
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }
