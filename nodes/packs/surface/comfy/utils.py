"""Progress bars and resizing, by the names that packs know."""

from collections.abc import Callable
from typing import Any

import execution


class ProgressBar(execution.ProgressBar):
    """The engine's bar, with the `hook` that some packs set: it is called too, with what the bar shows."""

    def __init__(self, total: float, node_id: str | None = None) -> None:
        super().__init__(total, node_id)
        self.hook: Callable[..., Any] | None = None

    def update_absolute(self, value: float, total: float | None = None, preview: Any = None) -> None:
        super().update_absolute(value, total, preview)
        if self.hook is not None:
            context = execution.get_current_node()
            self.hook(self.current, self.total, preview, prompt_id=None if context is None else context.prompt_id,
                      node_id=self.node_id)


def common_upscale(samples: Any, width: int, height: int, upscale_method: str, crop: str) -> Any:
    """Resample [B,C,H,W]; see `nodes.resampling`."""
    from nodes.resampling import common_upscale as resample

    return resample(samples, width, height, upscale_method, crop)
