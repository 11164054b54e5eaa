"""Batches of images as one animated file.

What Pillow writes is made in memory, frame by frame, and stops between frames when the prompt was interrupted.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

from nodes.environment import environment
from nodes.image_files import to_picture
from nodes.saved_files import BATCH_NUMBER, metadata_texts, plan_save, write_new_file

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

logger = logging.getLogger(__name__)

WEBP_METHODS = {"default": 4, "fastest": 0, "slowest": 6}
"""How hard the encoder tries, from 0 to 6."""

MODEL, MAKE = 0x0110, 0x010F
"""Tags of EXIF, made for cameras: the prompt is under the first, the rest under the second and those below it."""
EXIF_ASCII = 2


class StoppableStream(io.BytesIO):
    """Memory to write to, until the prompt is interrupted."""

    def write(self, content: Any) -> int:
        from execution import check_interrupted

        check_interrupted()
        return super().write(content)


def frames_of(images: torch.Tensor) -> list[Image.Image]:
    """[B,H,W,C] as pictures, RGB or RGBA. Raises ValueError for other channels."""
    from execution import check_interrupted

    frames = []
    for image in images:
        check_interrupted()
        frames.append(to_picture(image))
    return frames


def milliseconds(fps: float) -> int:
    """How long a frame is shown, rounded down. Raises ValueError for no frames a second."""
    if not fps > 0:
        raise ValueError(f"an animation needs frames each second, and not {fps}")
    return int(1000.0 / fps)


# --- PNG -------------------------------------------------------------------------------------------------


def apng_metadata(prompt: Any, extra_pnginfo: Any) -> PngInfo | None:
    """A private chunk `comf` for each key: the key, NUL, JSON. They come after the pixels; none with
    --disable-metadata."""
    from PIL.PngImagePlugin import PngInfo

    if not environment.save_metadata:
        return None
    chunks = PngInfo()
    for key, text in metadata_texts(prompt, extra_pnginfo).items():
        chunks.add(b"comf", f"{key}\0{text}".encode("latin-1"), after_idat=True)
    return chunks


def apng_bytes(images: torch.Tensor, fps: float, metadata: PngInfo | None, compress_level: int) -> bytes:
    """[B,H,W,3 or 4] as an animated PNG. Frames that equal the one before only make it last longer.

    Raises ValueError for other channels, and for a frame that would last longer than PNG can say.
    """
    first, *others = frames_of(images)
    stream = StoppableStream()
    first.save(
        stream,
        "PNG",
        pnginfo=metadata,
        compress_level=compress_level,
        save_all=True,
        append_images=others,
        duration=milliseconds(fps),
    )
    return stream.getvalue()


class SaveAnimatedPNG:
    """A batch as one animated PNG in the output folder, with prompt and workflow in it.

    Packs subclass it and set `output_dir`, `type` and `prefix_append`.
    """

    DESCRIPTION = "Saves images as an animated PNG."
    CATEGORY = "image/animation"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save_images"
    RESOURCES = {"cpu": 1}

    def __init__(self) -> None:
        self.output_dir = str(environment.output_directory)
        self.type = "output"
        self.prefix_append = ""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "images": ("IMAGE",),
                "filename_prefix": ("STRING", {"default": "ComfyUI"}),
                "fps": ("FLOAT", {"default": 6.0, "min": 0.01, "max": 1000.0, "step": 0.01}),
                "compress_level": ("INT", {"default": 4, "min": 0, "max": 9}),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def save_images(
        self,
        images: torch.Tensor,
        fps: float,
        compress_level: int,
        filename_prefix: str = "ComfyUI",
        prompt: Any = None,
        extra_pnginfo: Any = None,
    ) -> dict[str, Any]:
        if len(images) == 0:
            return {"ui": {"images": [], "animated": [True]}}
        height, width = images[0].shape[:2]
        place = plan_save(filename_prefix + self.prefix_append, self.output_dir, width, height)
        content = apng_bytes(images, fps, apng_metadata(prompt, extra_pnginfo), compress_level)
        name = place.name.replace(BATCH_NUMBER, "0")
        file_name, _ = write_new_file(place.folder, name, place.counter, "png", content)
        saved = {"filename": file_name, "subfolder": place.subfolder, "type": self.type}
        return {"ui": {"images": [saved], "animated": [True]}}


# --- WebP ------------------------------------------------------------------------------------------------


def webp_metadata(prompt: Any, extra_pnginfo: Any) -> bytes:
    """EXIF with `prompt:` and JSON under `MODEL`, and `KEY:` and JSON for each other key from `MAKE` downwards.

    Keys beyond the last tag are left out.
    """
    from PIL import TiffImagePlugin

    texts = metadata_texts(prompt, extra_pnginfo)
    if not texts:
        return b""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    tag = MAKE
    for key, text in texts.items():
        if key != "prompt" and tag < 1:
            logger.warning("not saved: metadata under %r and what follows, there are no more tags of EXIF", key)
            break
        here = MODEL if key == "prompt" else tag
        # Said of every tag: some of them would else have to be numbers.
        directory.tagtype[here] = EXIF_ASCII
        directory[here] = f"{key}:{text}"
        tag -= key != "prompt"
    header = b"II*\0" + (8).to_bytes(4, "little")
    return b"Exif\0\0" + header + directory.tobytes(len(header))


def webp_bytes(
    images: torch.Tensor, fps: float, exif: bytes, lossless: bool = True, quality: int = 80, method: str = "default"
) -> bytes:
    """[B,H,W,3 or 4] as a WebP that moves if there are several. Raises ValueError for other channels or methods."""
    if method not in WEBP_METHODS:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(WEBP_METHODS)}")
    frames = frames_of(images)
    for frame in frames:
        # Pillow calls it before it encodes a frame, of which each has one.
        frame.seek = _stop_if_interrupted  # type: ignore[method-assign]
    stream = StoppableStream()
    frames[0].save(
        stream,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=milliseconds(fps),
        exif=exif,
        lossless=lossless,
        quality=quality,
        method=WEBP_METHODS[method],
    )
    return stream.getvalue()


def _stop_if_interrupted(frame: int) -> None:
    from execution import check_interrupted

    check_interrupted()


class SaveAnimatedWEBP:
    """A batch as animated WebP in the output folder, with prompt and workflow in its EXIF.

    Packs subclass it and set `output_dir`, `type` and `prefix_append`, and may ask for a file for every `num_frames`
    images.
    """

    methods = WEBP_METHODS

    DESCRIPTION = "Saves images as an animated WebP."
    CATEGORY = "image/animation"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save_images"
    RESOURCES = {"cpu": 1}

    def __init__(self) -> None:
        self.output_dir = str(environment.output_directory)
        self.type = "output"
        self.prefix_append = ""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "images": ("IMAGE",),
                "filename_prefix": ("STRING", {"default": "ComfyUI"}),
                "fps": ("FLOAT", {"default": 6.0, "min": 0.01, "max": 1000.0, "step": 0.01}),
                "lossless": ("BOOLEAN", {"default": True}),
                "quality": ("INT", {"default": 80, "min": 0, "max": 100}),
                "method": (list(WEBP_METHODS),),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def save_images(
        self,
        images: torch.Tensor,
        fps: float,
        filename_prefix: str,
        lossless: bool,
        quality: int,
        method: str,
        num_frames: int = 0,
        prompt: Any = None,
        extra_pnginfo: Any = None,
    ) -> dict[str, Any]:
        if len(images) == 0:
            return {"ui": {"images": [], "animated": [False]}}
        height, width = images[0].shape[:2]
        place = plan_save(filename_prefix + self.prefix_append, self.output_dir, width, height)
        exif = webp_metadata(prompt, extra_pnginfo)
        each = num_frames if num_frames > 0 else len(images)
        counter = place.counter
        saved = []
        for index, start in enumerate(range(0, len(images), each)):
            content = webp_bytes(images[start : start + each], fps, exif, lossless, quality, method)
            name = place.name.replace(BATCH_NUMBER, str(index))
            file_name, counter = write_new_file(place.folder, name, counter, "webp", content)
            saved.append({"filename": file_name, "subfolder": place.subfolder, "type": self.type})
            counter += 1
        return {"ui": {"images": saved, "animated": [each != 1]}}
