"""The plain form of tensors: numbers, their type, their shape. What the engine's disk tier of outputs asks for.

Torch is never imported for it, but to make tensors again.
"""

import sys
from typing import Any

from execution import Leaf

from .tensor_types import FORMAT_NAMES, TORCH_NAMES


class TensorForms:
    """Plain forms of tensors that are nothing but numbers: no parameters of models, none that gradients hang on."""

    def leaf_of(self, value: Any) -> Leaf | None:
        torch = sys.modules.get("torch")
        if torch is None or value.__class__ is not torch.Tensor:
            return None
        dtype = FORMAT_NAMES.get(str(value.dtype).removeprefix("torch."))
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

        dtype = getattr(torch, TORCH_NAMES[leaf.dtype])
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        made = flat.reshape(leaf.shape)
        if leaf.note:
            try:
                made = made.to(leaf.note)
            except (RuntimeError, AssertionError):
                pass  # no such device here
        return made
