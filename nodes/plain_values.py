"""The plain form of tensors: numbers, their type, their shape. What the engine's disk tier of outputs asks for.

Torch is never imported for it, but to make tensors again.
"""

import sys
from typing import Any

from execution import Leaf

_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
           "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
           "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}
"""Types as torch names them, and as the safetensors format does. Others have no plain form."""
_NAMES = {word: name for name, word in _DTYPES.items()}


class TensorForms:
    """Plain forms of tensors that are nothing but numbers: no parameters of models, none that gradients hang on."""

    def leaf_of(self, value: Any) -> Leaf | None:
        torch = sys.modules.get("torch")
        if torch is None or value.__class__ is not torch.Tensor:
            return None
        dtype = _DTYPES.get(str(value.dtype).removeprefix("torch."))
        if dtype is None or value.layout is not torch.strided or value.requires_grad or value.is_meta:
            return None
        device = "" if value.device.type == "cpu" else str(value.device)
        return Leaf(dtype, tuple(value.shape), value.nelement() * value.element_size(), device)

    def content_of(self, value: Any) -> memoryview:
        import torch

        if not value.nelement():
            return memoryview(b"")
        with torch.inference_mode():
            copied = torch.empty(value.shape, dtype=value.dtype, device="cpu")
            copied.copy_(value)
            return memoryview(copied.reshape(-1).view(torch.uint8).numpy())

    def make(self, leaf: Leaf, content: bytearray) -> Any:
        """On the device that it was on, if there is one of that name now; else in memory."""
        import torch

        dtype = getattr(torch, _NAMES[leaf.dtype])
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        made = flat.reshape(leaf.shape)
        if leaf.note:
            try:
                made = made.to(leaf.note)
            except (RuntimeError, AssertionError):
                pass  # no such device here
        return made
