"""Small tools on tensors and on dicts of tensors. torch is imported on first use."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nodes.resampling import common_upscale


def get_attr(obj: Any, attr: str) -> Any:
    """`get_attr(x, "a.b")` is `x.a.b`."""
    for name in attr.split("."):
        obj = getattr(obj, name)
    return obj


def set_attr(obj: Any, attr: str, value: Any) -> Any:
    """Set `x.a.b`.

    :returns: what was there before.
    """
    path, _, name = attr.rpartition(".")
    owner = get_attr(obj, path) if path else obj
    before = getattr(owner, name, None)
    setattr(owner, name, value)
    return before


def set_attr_param(obj: Any, attr: str, value: Any) -> Any:
    """The same with a tensor, as a parameter that is not trained."""
    import torch

    return set_attr(obj, attr, torch.nn.Parameter(value, requires_grad=False))


def copy_to_param(obj: Any, attr: str, value: Any) -> None:
    """Copy numbers into the tensor `x.a.b`, which stays the same object."""
    get_attr(obj, attr).data.copy_(value)


# --- batches -----------------------------------------------------------------------------------------------


def repeat_to_batch_size(tensor: Any, batch_size: int, dim: int = 0) -> Any:
    """A tensor repeated cyclically along a dimension, or cut there, to this length."""
    length = tensor.shape[dim]
    if length == batch_size:
        return tensor
    if length < batch_size:
        times = [1] * tensor.dim()
        times[dim] = -(-batch_size // length)
        tensor = tensor.repeat(times)
    return tensor.narrow(dim, 0, batch_size)


def resize_to_batch_size(tensor: Any, batch_size: int) -> Any:
    """A batch of another length. Of fewer items the first and the last stay; for more, each is repeated."""
    import torch

    length = tensor.shape[0]
    if length == batch_size:
        return tensor
    if batch_size <= 1:
        return tensor[:batch_size]
    last = length - 1
    if batch_size < length:
        places = [round(index * last / (batch_size - 1)) for index in range(batch_size)]
    else:
        share = length / batch_size
        places = [min(last, int((index + 0.5) * share)) for index in range(batch_size)]
    return tensor[torch.tensor(places, device=tensor.device)]


def reshape_mask(input_mask: Any, output_shape: Sequence[int]) -> Any:
    """A mask of any batch in the shape [B,C,…] of values, bilinear; the channel is repeated, and so is the batch."""
    import torch

    spatial = len(output_shape) - 2
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[spatial]
    mask = input_mask.reshape(-1, 1, *input_mask.shape[-spatial:])
    mask = torch.nn.functional.interpolate(mask, size=tuple(output_shape[2:]), mode=mode)
    if mask.shape[1] < output_shape[1]:
        mask = mask.repeat(1, output_shape[1], *[1] * spatial)[:, :output_shape[1]]
    return repeat_to_batch_size(mask, output_shape[0])


def bislerp(samples: Any, width: int, height: int) -> Any:
    """Resample latents [B,C,H,W] by turning their channel vectors."""
    return common_upscale(samples, width, height, "bislerp", "disabled")


def lanczos(samples: Any, width: int, height: int) -> Any:
    """Resample images [B,C,H,W] through 8-bit values."""
    return common_upscale(samples, width, height, "lanczos", "disabled")


# --- in tiles ----------------------------------------------------------------------------------------------


def get_tiled_scale_steps(width: int, height: int, tile_x: int, tile_y: int, overlap: int) -> float:
    """How many tiles `tiled_scale` works on for one picture."""
    return math.prod(len(_starts(size, tile, overlap)) for size, tile in ((height, tile_y), (width, tile_x)))


def _starts(size: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: they overlap, and none leads over the edge."""
    if size <= tile:
        return [0]
    step = max(1, tile - overlap)
    return sorted({min(start, size - tile) for start in range(0, size - overlap, step)})


def tiled_scale(samples: Any, function: Callable[[Any], Any], tile_x: int = 64, tile_y: int = 64, overlap: int = 8,
                upscale_amount: float = 4, out_channels: int = 3, output_device: Any = "cpu", pbar: Any = None) -> Any:
    """Apply a function to pictures [B,C,H,W] tile by tile; see `tiled_scale_multidim`."""
    return tiled_scale_multidim(samples, function, (tile_y, tile_x), overlap, upscale_amount, out_channels,
                                output_device, pbar=pbar)


def tiled_scale_multidim(samples: Any, function: Callable[[Any], Any], tile: Sequence[int] = (64, 64),
                         overlap: int | Sequence[int] = 8, upscale_amount: Any = 4, out_channels: int = 3,
                         output_device: Any = "cpu", downscale: bool = False, index_formulas: Any = None,
                         pbar: Any = None) -> Any:
    """Apply a function to tiles of [B,C,…], and blend what it returns where tiles overlap.

    :param function: [1,C,…] to [1,out_channels,…], each side `upscale_amount` times as long (or as short).
    :param tile: sides of a tile, as many as there are dimensions.
    :param upscale_amount: a number, or one (or a function of a length) for each dimension.
    :param pbar: is updated by one for each tile.
    """
    import torch

    count = len(tile)
    overlaps = [overlap] * count if isinstance(overlap, int) else list(overlap)
    factors = list(upscale_amount) if isinstance(upscale_amount, (list, tuple)) else [upscale_amount] * count

    def scaled(length: float, dim: int) -> int:
        factor = factors[dim]
        if callable(factor):
            return round(factor(length))
        return round(length / factor) if downscale else round(length * factor)

    sides = samples.shape[2:]
    result = torch.empty((samples.shape[0], out_channels, *(scaled(side, dim) for dim, side in enumerate(sides))),
                         device=output_device)
    for item in range(samples.shape[0]):
        total = torch.zeros_like(result[item:item + 1])
        weights = torch.zeros_like(total)
        for place in itertools.product(*(_starts(side, tile[dim], overlaps[dim]) for dim, side in enumerate(sides))):
            cut = samples[item:item + 1]
            for dim, start in enumerate(place):
                cut = cut.narrow(dim + 2, start, min(tile[dim], sides[dim] - start))
            made = function(cut).to(output_device)
            weight = torch.ones_like(made)
            where = [slice(None), slice(None)]
            for dim, start in enumerate(place):
                _fade_edges(weight, dim + 2, scaled(overlaps[dim], dim))
                begin = scaled(start, dim)
                where.append(slice(begin, begin + made.shape[dim + 2]))
            total[tuple(where)] += made * weight
            weights[tuple(where)] += weight
            if pbar is not None:
                pbar.update(1)
        result[item:item + 1] = total / weights
    return result


def _fade_edges(weight: Any, dim: int, length: int) -> None:
    """Let both ends of a dimension count less and less outwards, never nothing."""
    length = min(length, weight.shape[dim] // 2)
    for step in range(length):
        share = (step + 1) / (length + 1)
        weight.narrow(dim, step, 1).mul_(share)
        weight.narrow(dim, weight.shape[dim] - 1 - step, 1).mul_(share)


# --- dicts of tensors --------------------------------------------------------------------------------------


def state_dict_prefix_replace(state_dict: dict[str, Any], replace_prefix: Mapping[str, str],
                              filter_keys: bool = False) -> dict[str, Any]:
    """Rename keys that begin with one of the prefixes, in place.

    :param filter_keys: return only those, as a dict of their own; they are taken out of the first.
    """
    renamed = {} if filter_keys else state_dict
    for old, new in replace_prefix.items():
        for key in [key for key in state_dict if key.startswith(old)]:
            renamed[new + key.removeprefix(old)] = state_dict.pop(key)
    return renamed


def state_dict_key_replace(state_dict: dict[str, Any], keys_to_replace: Mapping[str, str]) -> dict[str, Any]:
    """Rename whole keys, in place."""
    for old, new in keys_to_replace.items():
        if old in state_dict:
            state_dict[new] = state_dict.pop(old)
    return state_dict


def calculate_parameters(sd: Mapping[str, Any], prefix: str = "") -> int:
    """How many numbers the tensors have whose names begin so."""
    return sum(tensor.nelement() for name, tensor in sd.items() if name.startswith(prefix))


def weight_dtype(sd: Mapping[str, Any], prefix: str = "") -> Any:
    """The type of most numbers; None if there are none."""
    counts: dict[Any, int] = {}
    for name, tensor in sd.items():
        if name.startswith(prefix):
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.nelement()
    return max(counts, key=lambda dtype: counts[dtype]) if counts else None


def convert_sd_to(state_dict: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Give all tensors another type, in place."""
    for name in state_dict:
        state_dict[name] = state_dict[name].to(dtype)
    return state_dict
