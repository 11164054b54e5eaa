"""Single values typed into a node, so that several nodes can share one."""

from __future__ import annotations

from typing import Any

LARGEST = 2**63 - 1


class PrimitiveInt:
    """A whole number."""

    CATEGORY = "utils/primitive"
    RETURN_TYPES = ("INT",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        options = {"min": -LARGEST, "max": LARGEST, "control_after_generate": True}
        return {"required": {"value": ("INT", options)}}

    @classmethod
    def execute(cls, value: int) -> tuple[int]:
        return (value,)


class PrimitiveFloat:
    """A number."""

    CATEGORY = "utils/primitive"
    RETURN_TYPES = ("FLOAT",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("FLOAT", {"min": -LARGEST, "max": LARGEST})}}

    @classmethod
    def execute(cls, value: float) -> tuple[float]:
        return (value,)


class PrimitiveString:
    """A line of text."""

    CATEGORY = "utils/primitive"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("STRING", {"multiline": False})}}

    @classmethod
    def execute(cls, value: str) -> tuple[str]:
        return (value,)


class PrimitiveStringMultiline:
    """Text of several lines."""

    CATEGORY = "utils/primitive"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("STRING", {"multiline": True})}}

    @classmethod
    def execute(cls, value: str) -> tuple[str]:
        return (value,)


class PrimitiveBoolean:
    """Yes or no."""

    CATEGORY = "utils/primitive"
    RETURN_TYPES = ("BOOLEAN",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("BOOLEAN", {})}}

    @classmethod
    def execute(cls, value: bool) -> tuple[bool]:
        return (value,)
