"""Nodes that wait. They are `async def`, so waiting costs neither a thread nor a token."""

from __future__ import annotations

import asyncio
from typing import Any

LONGEST_SECONDS = 3600.0


class Sleep:
    """Wait, then hand the value on (None without one). Raises ValueError unless 0 ≤ `seconds` ≤ 3600."""

    DESCRIPTION = "Waits without holding up any other node, then passes its value on."
    CATEGORY = "utils"
    RETURN_TYPES = ("*",)
    RETURN_NAMES = ("value",)
    FUNCTION = "sleep"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        seconds = {"default": 1.0, "min": 0.0, "max": LONGEST_SECONDS, "step": 0.01}
        return {
            "required": {"seconds": ("FLOAT", seconds)},
            "optional": {"value": ("*", {})},
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    async def sleep(self, seconds: float, value: Any = None, unique_id: str | None = None) -> tuple[Any]:
        from execution import ProgressBar

        if not 0 <= seconds <= LONGEST_SECONDS:  # a linked value was not checked before; NaN ends here too
            raise ValueError(f"cannot sleep for {seconds} seconds: 0 to {LONGEST_SECONDS:g} are allowed")
        if seconds == 0:
            return (value,)
        progress = ProgressBar(seconds, node_id=unique_id)
        clock = asyncio.get_running_loop().time
        start = clock()
        # A hundred steps make a smooth bar, and no one sees more than twenty a second.
        step = min(max(seconds / 100, 0.05), 1.0)
        while (remaining := start + seconds - clock()) > 0:
            await asyncio.sleep(min(step, remaining))
            progress.update_absolute(min(clock() - start, seconds))
        return (value,)
