"""Small tools for nodes, by the names that packs know."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from nodes.packs.peer_options import args

_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def conditioning_set_values(conditioning: list[Any], values: Mapping[str, Any] = {}, append: bool = False) -> list[Any]:
    """A copy of a CONDITIONING in whose options these values are set.

    :param append: add each value to the one that is there, instead of replacing it.
    """
    changed = []
    for tensor, options in conditioning:
        entry = dict(options)
        for key, value in values.items():
            entry[key] = entry[key] + value if append and key in entry else value
        changed.append([tensor, entry])
    return changed


def pillow(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call a function of Pillow; once more, with truncated images allowed, if it cannot read the image."""
    from PIL import ImageFile, UnidentifiedImageError

    try:
        return function(argument)
    except (OSError, UnidentifiedImageError, ValueError):
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            return function(argument)
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def hasher() -> Callable[..., Any]:
    """The hash that `--default-hashing-function` names: call it, update it, ask for its digest."""
    return getattr(hashlib, args.default_hashing_function)


def string_to_torch_dtype(string: str) -> Any:
    """The torch dtype of `fp32`, `fp16` or `bf16`; None for anything else."""
    import torch

    return getattr(torch, _DTYPES[string]) if string in _DTYPES else None


def image_alpha_fix(destination: Any, source: Any) -> tuple[Any, Any]:
    """IMAGEs [B,H,W,C] with the same number of channels, that of the destination: an alpha is added or left out."""
    import torch

    missing = destination.shape[-1] - source.shape[-1]
    if missing < 0:
        return destination, source[..., :destination.shape[-1]]
    if missing > 0:
        source = torch.nn.functional.pad(source, (0, missing), value=1.0)
    return destination, source
