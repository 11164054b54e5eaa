"""Pictures of work in progress, made small and encoded."""

import io
from typing import Any


def encode_preview(preview: tuple[str, Any, int | None]) -> tuple[str, bytes]:
    """Encode a preview: (`JPEG` or `PNG`, picture, side of the square that it is to fill, or None as it is).

    The picture is a PIL image, or an IMAGE [B,H,W,C] or [H,W,C] of floats in 0..1, of whose batch the first is taken.

    :returns: (format, bytes).
    :raises ValueError: an unknown format.
    """
    from PIL import Image

    kind, picture, size = preview
    if kind not in ("JPEG", "PNG"):
        raise ValueError(f"a preview is JPEG or PNG, not {kind!r}")
    if not isinstance(picture, Image.Image):
        picture = _from_array(picture)
    if size is not None:
        scale = min(size / picture.width, size / picture.height)
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))),
                                 Image.Resampling.BILINEAR)
    if kind == "JPEG" and picture.mode not in ("RGB", "L"):
        picture = picture.convert("RGB")
    buffer = io.BytesIO()
    if kind == "JPEG":
        picture.save(buffer, format=kind, quality=95)
    else:
        picture.save(buffer, format=kind, compress_level=1)
    return kind, buffer.getvalue()


def _from_array(values: Any) -> Any:
    import numpy
    from PIL import Image

    array = numpy.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.ndim == 4:
        array = array[0]
    return Image.fromarray(numpy.clip(array * 255.0, 0, 255).astype(numpy.uint8).squeeze())
