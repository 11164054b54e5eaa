"""Inputs that many nodes have, declared once, so that an `INPUT_TYPES` reads as a list of names.

What is mutable is made anew by each call: packs change what an `INPUT_TYPES` gave them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Declared = tuple[Any, ...]
"""What one input may be: a type, or a list of choices, and perhaps a dict of options."""

MAX_SIDE = 16384
"""The longest side of an image, in pixels."""

IMAGE: Declared = ("IMAGE",)
MASK: Declared = ("MASK",)


def required(**inputs: Declared) -> dict[str, dict[str, Declared]]:
    """An `INPUT_TYPES` whose inputs all have to be given, in this order."""
    return {"required": inputs}


def whole(default: int, minimum: int, maximum: int, **options: Any) -> Declared:
    return ("INT", {"default": default, "min": minimum, "max": maximum, **options})


def decimal(default: float, minimum: float, maximum: float, step: float = 0.01) -> Declared:
    return ("FLOAT", {"default": default, "min": minimum, "max": maximum, "step": step})


def side(minimum: int = 1) -> Declared:
    """A width or height in pixels."""
    return whole(512, minimum, MAX_SIDE, step=1)


def distance(step: int = 1) -> Declared:
    """A coordinate, or the width of a margin, in pixels."""
    return whole(0, 0, MAX_SIDE, step=step)


def batch_count() -> Declared:
    """How many images."""
    return whole(1, 1, 4096)


def rgb_color() -> Declared:
    """0xRRGGBB."""
    return whole(0, 0, 0xFFFFFF, step=1, display="color")


def flag(default: bool) -> Declared:
    return ("BOOLEAN", {"default": default})


def choice(options: Sequence[str], default: str | None = None) -> Declared:
    """One of `options`; the first one where there is no default."""
    return (list(options),) if default is None else (list(options), {"default": default})


def with_options(kind: str) -> Declared:
    """An input as nodes described by a schema show it: with a dict of options, though it is empty."""
    return (kind, {})


def combo(options: Sequence[str], **more: Any) -> Declared:
    """A choice as nodes described by a schema show it."""
    return ("COMBO", {**more, "multiselect": False, "options": list(options)})
