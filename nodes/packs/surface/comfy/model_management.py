"""Devices, memory and interruption, by the names that packs know. torch is imported when it is asked for."""

import sys
from types import ModuleType
from typing import Any

from execution import InterruptProcessing, check_interrupted
from nodes.packs.device_policy import (
    CPUState,
    LoadedModel,
    VRAMState,
    cast_to,
    cast_to_device,
    cleanup_models,
    cleanup_models_gc,
    cpu_mode,
    current_loaded_models,
    device_supports_non_blocking,
    dtype_size,
    free_memory,
    get_autocast_device,
    get_free_memory,
    get_torch_device,
    get_torch_device_name,
    get_total_memory,
    intermediate_device,
    is_device_cpu,
    is_device_cuda,
    is_device_mps,
    is_directml_enabled,
    is_intel_xpu,
    is_nvidia,
    load_model_gpu,
    load_models_gpu,
    maximum_vram_for_weights,
    module_size,
    read_lazily,
    should_use_bf16,
    should_use_fp16,
    soft_empty_cache,
    text_encoder_device,
    text_encoder_dtype,
    text_encoder_offload_device,
    unet_dtype,
    unet_offload_device,
    unload_all_models,
    vae_device,
    vae_dtype,
    vae_offload_device,
    xformers_enabled,
)
from nodes.packs.prompt_server import interrupt_processing

__all__ = [
    "CPUState", "LoadedModel", "VRAMState", "cast_to", "cast_to_device", "cleanup_models", "cleanup_models_gc",
    "cpu_mode", "current_loaded_models", "device_supports_non_blocking", "dtype_size", "free_memory",
    "get_autocast_device", "get_free_memory", "get_torch_device", "get_torch_device_name", "get_total_memory",
    "intermediate_device", "is_device_cpu", "is_device_cuda", "is_device_mps", "is_directml_enabled", "is_intel_xpu",
    "is_nvidia", "load_model_gpu", "load_models_gpu", "maximum_vram_for_weights", "module_size", "should_use_bf16",
    "should_use_fp16", "soft_empty_cache", "text_encoder_device", "text_encoder_dtype", "text_encoder_offload_device",
    "unet_dtype", "unet_offload_device", "unload_all_models", "vae_device", "vae_dtype", "vae_offload_device",
    "xformers_enabled",
]

InterruptProcessingException = InterruptProcessing
throw_exception_if_processing_interrupted = check_interrupted
interrupt_current_processing = interrupt_processing

directml_enabled = False
XFORMERS_IS_AVAILABLE = False


def processing_interrupted() -> bool:
    """Whether the prompt of the current node was cancelled."""
    try:
        check_interrupted()
    except InterruptProcessing:
        return True
    return False


class _Module(ModuleType):
    """This module: what needs torch is looked up when it is read, once; packs may assign it."""

    def __getattr__(self, name: str) -> Any:
        value = read_lazily(name)  # raises AttributeError for what is unknown
        setattr(self, name, value)
        return value


sys.modules[__name__].__class__ = _Module
