"""Images made anew for a client: previews, single channels, images that fit a square, masks put into originals.

All of it computes and reads files: call it on a thread. Pillow is imported on first use. Nothing here knows of HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from .file_names import FileRefused

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

READ_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "TGA", "ICO")
"""What is decoded. Pillow knows more, among it formats that start other programs."""
LONGEST_SIDE = {"webp": 16383, "jpeg": 65500}
"""Pixels that a format can hold; larger images are made smaller."""
DEFAULT_QUALITY = 90
FITTED_QUALITY = 85
PNG_COMPRESSION = 4
"""Of 0 to 9: larger ones cost much time for few bytes."""

DECODERS = threading.BoundedSemaphore(4)
"""Images in memory at the same time. One of the largest that Pillow allows has some 700 MB."""


class BadVariant(FileRefused):
    """The wish itself makes no sense."""


class ImageUnreadable(FileRefused):
    """The file is no image, a broken one, or one whose pixels would not fit into memory."""


class Preview(Struct, frozen=True):
    """The first frame, smaller in bytes."""

    format: Literal["webp", "jpeg"]
    quality: int
    keeps_alpha: bool

    @property
    def tag(self) -> str:
        return f"{self.format}-{self.quality}" + ("" if self.keeps_alpha else "-rgb")

    @property
    def content_type(self) -> str:
        return f"image/{self.format}"


class Channel(Struct, frozen=True):
    """`rgb`: the colours, without transparency. `a`: black, as transparent as the original."""

    name: Literal["rgb", "a"]

    @property
    def tag(self) -> str:
        return f"channel-{self.name}"

    @property
    def content_type(self) -> str:
        return "image/png"


class Fitted(Struct, frozen=True):
    """A JPEG, at most `side` pixels wide and high, never enlarged, upright, transparency on black."""

    side: int

    @property
    def tag(self) -> str:
        return f"fitted-{self.side}"

    @property
    def content_type(self) -> str:
        return "image/jpeg"


Variant = Preview | Channel | Fitted


# --- which one -------------------------------------------------------------------------------------------


def variant_of(query: Mapping[str, str], content_type: str) -> Variant | None:
    """What `res`, `preview` and `channel` ask of a file of this type; None: the file itself. Raises BadVariant."""
    side = whole_number(query.get("res", ""))
    if side and "channel" not in query and content_type in ("image/png", "image/jpeg"):
        return Fitted(side)
    channel = query.get("channel", "")
    if "preview" in query:
        return preview_of(query["preview"], channel)
    match channel:
        case "rgb" | "a" as name:
            return Channel(name)
        case _:
            return None


def preview_of(text: str, channel: str) -> Preview:
    """`FORMAT[;QUALITY]` as a preview; another format than jpeg is webp. Raises BadVariant."""
    form, quality = text.split(";")[0], whole_number(text.split(";")[-1])
    if quality is None:
        quality = DEFAULT_QUALITY
    if quality > 100:
        raise BadVariant("the quality of a preview is at most 100")
    if form == "jpeg" and "a" not in channel:
        return Preview("jpeg", quality, keeps_alpha=False)
    return Preview("webp", quality, keeps_alpha=channel != "rgb")


def whole_number(text: str) -> int | None:
    """The number that consists of the digits 0 to 9; anything else is None, more than a million is a million."""
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0")
    return min(int(digits or "0"), 1_000_000) if len(digits) < 10 else 1_000_000


# --- pixels ----------------------------------------------------------------------------------------------


def encode_variant(path: Path | BytesIO, variant: Variant) -> bytes:
    """The file of the variant. Raises ImageUnreadable."""
    with opened(path) as image:
        match variant:
            case Preview(form, quality, keeps_alpha):
                picture = with_transparency(image) if keeps_alpha else colours(image)
                picture.thumbnail((LONGEST_SIDE[form], LONGEST_SIDE[form]))
                return saved(picture, form, quality=quality)
            case Channel("rgb"):
                return saved(colours(image), "png", compress_level=PNG_COMPRESSION)
            case Channel():
                return saved(only_alpha(image), "png", compress_level=PNG_COMPRESSION)
            case Fitted(side):
                return saved(fitted(image, side), "jpeg", quality=FITTED_QUALITY)


def write_masked(original: Path, mask: Path, target: Path) -> None:
    """Write a PNG with the colours (upright) and text chunks of `original` and the transparency of `mask`.

    Raises ImageUnreadable when one of them is no image or their sizes differ.
    """
    from PIL import ImageOps, PngImagePlugin

    with opened(original) as image:
        image.load()
        chunks = PngImagePlugin.PngInfo()
        if isinstance(image, PngImagePlugin.PngImageFile):
            for key, text in image.text.items():
                chunks.add_text(key, text)
        picture = colours(ImageOps.exif_transpose(image))
    with opened(mask) as image:
        alpha = eight_bits(image).convert("RGBA").getchannel("A")
        if alpha.size != picture.size:
            raise ImageUnreadable("the mask has {}x{} pixels and the original {}x{}".format(*alpha.size, *picture.size))
        picture.putalpha(alpha)
        content = saved(picture, "png", compress_level=PNG_COMPRESSION, pnginfo=chunks)
    target.write_bytes(content)


@contextmanager
def opened(path: Path | BytesIO) -> Iterator[Picture]:
    """The image, for as long as one of DECODERS is held. Whatever goes wrong with it inside becomes ImageUnreadable."""
    from PIL import Image

    Image.init()
    formats = [name for name in READ_FORMATS if name in Image.OPEN]
    with DECODERS:
        try:
            with Image.open(path, formats=formats) as image:
                yield image
        except FileRefused:
            raise
        except Image.DecompressionBombError:
            raise ImageUnreadable("the image has too many pixels") from None
        # Pillow answers a broken file with OSError, SyntaxError, struct.error, TypeError and some more.
        except Exception as error:
            raise ImageUnreadable("the file is not an image that can be read") from error


def eight_bits(image: Picture) -> Picture:
    """A grey image of 16 bits as one of 8; anything else as it is."""
    if not image.mode.startswith("I"):
        return image
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")


def with_transparency(image: Picture) -> Picture:
    """RGBA where the image has any transparency, else RGB."""
    return image.convert("RGBA") if image.has_transparency_data else colours(image)


def colours(image: Picture) -> Picture:
    """RGB. Transparency is cut off and leaves the colours as they were."""
    image = eight_bits(image)
    # A single transparent colour would survive the way straight to RGB and be written as such.
    return (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")


def only_alpha(image: Picture) -> Picture:
    """RGBA: black, with the image's transparency, opaque where it has none."""
    from PIL import Image

    black = Image.new("RGBA", image.size)
    black.putalpha(eight_bits(image).convert("RGBA").getchannel("A"))
    return black


def fitted(image: Picture, side: int) -> Picture:
    """See Fitted. Raises ImageUnreadable for anything but a PNG or a JPEG."""
    from PIL import Image, ImageOps

    if image.format not in ("PNG", "JPEG", "MPO"):
        raise ImageUnreadable("only PNG and JPEG are made smaller")
    if image.mode == "RGB":
        image.thumbnail((side, side))  # reads a large JPEG at a fraction of its size
    upright = ImageOps.exif_transpose(eight_bits(image)).convert("RGBA")
    upright.thumbnail((side, side))
    black = Image.new("RGB", upright.size)
    black.paste(upright, mask=upright.getchannel("A"))
    return black


def saved(image: Picture, form: str, **options: object) -> bytes:
    """The image as a file, without what else the original held besides pixels."""
    image.info.clear()
    written = BytesIO()
    image.save(written, form, **options)
    return written.getvalue()
