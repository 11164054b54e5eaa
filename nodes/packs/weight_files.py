"""Files of weights: read without running any code in them, and written."""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..tensor_types import FORMAT_NAMES, TORCH_NAMES

_SAFETENSORS = (".safetensors", ".sft")
_NESTED = "state_dict"


def load_torch_file(ckpt: str, safe_load: bool = False, device: Any = None, return_metadata: bool = False) -> Any:
    """The tensors of a file by name; those under `state_dict`, if it has that.

    Pickled objects other than tensors and plain values are never made, whatever `safe_load` says.

    :param device: where they go; the CPU by default.
    :param return_metadata: return them and the texts in the head of a safetensors file, or None.
    :raises ValueError: the file cannot be read.
    """
    import torch

    device = torch.device("cpu") if device is None else torch.device(device)
    metadata = None
    if ckpt.lower().endswith(_SAFETENSORS):
        tensors, metadata = _read_safetensors(ckpt, device)
    else:
        loaded = torch.load(ckpt, map_location=device, weights_only=True)
        tensors = loaded.get(_NESTED, loaded) if isinstance(loaded, dict) else loaded
    return (tensors, metadata) if return_metadata else tensors


def _read_safetensors(path: str, device: Any) -> tuple[dict[str, Any], dict[str, str] | None]:
    """A file is: the length of its head, 8 bytes; the head, JSON: type, shape and place of each tensor; numbers."""
    import torch

    header = safetensors_header(path)
    if header is None:
        raise ValueError(f"{path} is no safetensors file: it has no readable head")
    entries = json.loads(header)
    metadata = entries.pop("__metadata__", None)
    start = 8 + len(header)
    size = Path(path).stat().st_size - start
    tensors = {}
    with Path(path).open("rb") as file:
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            dtype = getattr(torch, TORCH_NAMES.get(entry["dtype"], ""), None)
            count = math.prod(entry["shape"])
            if dtype is None or not 0 <= begin <= end <= size or end - begin != count * dtype.itemsize:
                raise ValueError(f"{path} is no proper safetensors file: its tensor {name!r} is not what its head says")
            file.seek(start + begin)
            content = bytearray(file.read(end - begin))
            flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            tensors[name] = flat.reshape(entry["shape"]).to(device)
    return tensors, metadata


def save_torch_file(sd: Mapping[str, Any], ckpt: str, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name as a safetensors file.

    :raises ValueError: one is of a type that such files do not hold.
    """
    import torch

    words = {getattr(torch, name): word for name, word in FORMAT_NAMES.items() if hasattr(torch, name)}
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    place = 0
    for name, tensor in sd.items():
        if tensor.dtype not in words:
            raise ValueError(f"tensor {name!r} of type {tensor.dtype} cannot be saved")
        length = tensor.nelement() * tensor.element_size()
        entries[name] = {"dtype": words[tensor.dtype], "shape": list(tensor.shape),
                         "data_offsets": [place, place + length]}
        place += length
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with Path(ckpt).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for tensor in sd.values():
            flat = tensor.detach().contiguous().cpu().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().tobytes() if flat.nelement() else b"")


def safetensors_header(safetensors_path: str, max_size: int = 100 * 2**20) -> bytes | None:
    """The head of a safetensors file, as JSON text; None if it is longer than `max_size` bytes, or there is none."""
    with Path(safetensors_path).open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return None
        (length,) = struct.unpack("<Q", start)
        if length > max_size:
            return None
        header = file.read(length)
    try:
        json.loads(header)
    except ValueError:
        return None
    return header
