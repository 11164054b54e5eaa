"""Values shown as text."""

from __future__ import annotations

import json
from typing import Any


def as_text(value: Any) -> str:
    """Text as it is, numbers, booleans and None as Python writes them, else JSON, else what `str` says."""
    if isinstance(value, str):
        return value
    # A value of any class may fail in any way to show itself; that is no reason to fail the prompt.
    if value is not None and not isinstance(value, (bool, int, float)):
        try:
            return json.dumps(value)
        except Exception:
            pass
    try:
        return str(value)
    except Exception:
        return "This value can be shown neither as JSON nor as text."


class PreviewAny:
    """Shows any value as text; see `as_text`."""

    DESCRIPTION = "Shows any value as text."
    CATEGORY = "utils"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "main"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"source": ("*", {})}}

    def main(self, source: Any = None) -> dict[str, Any]:
        return {"ui": {"text": [as_text(source)]}}
