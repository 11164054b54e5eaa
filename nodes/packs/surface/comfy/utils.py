"""Progress bars, resizing, files of weights and small tools, by the names that packs know."""

from collections.abc import Callable
from typing import Any

import execution
from nodes.packs.absent_names import names_of
from nodes.packs.tensor_tools import (
    bislerp,
    calculate_parameters,
    convert_sd_to,
    copy_to_param,
    get_attr,
    get_tiled_scale_steps,
    lanczos,
    repeat_to_batch_size,
    reshape_mask,
    resize_to_batch_size,
    set_attr,
    set_attr_param,
    state_dict_key_replace,
    state_dict_prefix_replace,
    tiled_scale,
    tiled_scale_multidim,
    weight_dtype,
)
from nodes.packs.weight_files import load_torch_file, safetensors_header, save_torch_file
from nodes.resampling import common_upscale

__all__ = [
    "PROGRESS_BAR_ENABLED", "PROGRESS_BAR_HOOK", "UNET_MAP_BASIC", "ProgressBar", "bislerp", "calculate_parameters",
    "common_upscale", "convert_sd_to", "copy_to_param", "get_attr", "get_tiled_scale_steps", "lanczos",
    "load_torch_file", "repeat_to_batch_size", "reshape_mask", "resize_to_batch_size", "safetensors_header",
    "save_torch_file", "set_attr", "set_attr_param", "set_progress_bar_enabled", "set_progress_bar_global_hook",
    "state_dict_key_replace", "state_dict_prefix_replace", "tiled_scale", "tiled_scale_multidim", "weight_dtype",
]

PROGRESS_BAR_ENABLED = True
PROGRESS_BAR_HOOK: Callable[..., Any] | None = None
UNET_MAP_BASIC: set[tuple[str, str]] = set()
"""Names of layers of models; none are known here."""


def set_progress_bar_enabled(enabled: bool) -> None:
    """Kept for whoever reads it; bars go to clients in any case."""
    global PROGRESS_BAR_ENABLED
    PROGRESS_BAR_ENABLED = enabled


def set_progress_bar_global_hook(function: Callable[..., Any] | None) -> None:
    """Have a function called with the updates of all bars that are made from now on."""
    global PROGRESS_BAR_HOOK
    PROGRESS_BAR_HOOK = function


class ProgressBar(execution.ProgressBar):
    """The engine's bar, with the `hook` that some packs set: it is called too, with what the bar shows."""

    def __init__(self, total: float, node_id: str | None = None) -> None:
        super().__init__(total, node_id)
        self.hook: Callable[..., Any] | None = PROGRESS_BAR_HOOK

    def update_absolute(self, value: float, total: float | None = None, preview: Any = None) -> None:
        super().update_absolute(value, total, preview)
        if self.hook is not None:
            context = execution.get_current_node()
            self.hook(self.current, self.total, preview, prompt_id=None if context is None else context.prompt_id,
                      node_id=self.node_id)


globals().update(names_of("comfy.utils"))
