"""`comfy.cli_args.args`: all options that packs may read, by their names in Python, filled from our own."""

import argparse
from enum import Enum
from pathlib import Path
from typing import Any


class LatentPreviewMethod(Enum):
    """How samplers show work in progress."""

    NoPreviews = "none"
    Auto = "auto"
    Latent2RGB = "latent2rgb"
    TAESD = "taesd"

    @classmethod
    def from_string(cls, value: str) -> "LatentPreviewMethod | None":
        return next((one for one in cls if one.value == value), None)


class PerformanceFeature(Enum):
    """Words after `--fast`."""

    Fp16Accumulation = "fp16_accumulation"
    Fp8MatrixMultiplication = "fp8_matrix_mult"
    CublasOps = "cublas_ops"
    AutoTune = "autotune"


_FALSE = (
    "multi_user", "disable_metadata", "disable_all_custom_nodes", "disable_api_nodes", "disable_partner_nodes",
    "offline", "enable_compress_response_body", "log_stdout", "gpu_only", "highvram", "normalvram", "lowvram", "novram",
    "cpu", "force_fp32", "force_fp16", "fp32_unet", "fp64_unet", "bf16_unet", "fp16_unet", "fp8_e4m3fn_unet",
    "fp8_e5m2_unet", "fp8_e8m0fnu_unet", "fp16_vae", "fp32_vae", "bf16_vae", "cpu_vae", "fp8_e4m3fn_text_enc",
    "fp8_e5m2_text_enc", "fp16_text_enc", "fp32_text_enc", "bf16_text_enc", "fp16_intermediates",
    "supports_fp8_compute", "force_channels_last", "disable_ipex_optimize", "use_split_cross_attention",
    "use_quad_cross_attention", "use_pytorch_cross_attention", "use_sage_attention", "use_flash_attention",
    "use_ck_attention", "disable_xformers", "force_upcast_attention", "dont_upcast_attention", "cuda_malloc",
    "disable_cuda_malloc", "enable_triton_backend", "disable_triton_backend", "disable_nvml_pressure",
    "disable_async_offload", "enable_dynamic_vram", "disable_dynamic_vram", "fast_disk", "disable_fast_disk",
    "disable_cuda_graphs", "disable_comfy_compiler", "assert_graph_breaks", "disable_pinned_memory",
    "mmap_torch_files", "disable_mmap", "disable_smart_memory", "debug_hang", "force_non_blocking", "deterministic",
    "cache_none", "cache_classic", "high_ram", "disable_assets", "enable_assets", "enable_asset_hashing",
    "enable_manager", "disable_manager_ui", "enable_manager_legacy_ui", "auto_launch", "disable_auto_launch",
    "windows_standalone_build", "dont_print_server", "quick_test_for_ci", "date_based_output", "list_feature_flags",
)
_NONE = (
    "tls_keyfile", "tls_certfile", "enable_cors_header", "base_directory", "models_directory", "output_directory",
    "temp_directory", "input_directory", "user_directory", "front_end_root", "cuda_device", "default_device",
    "directml", "oneapi_device_selector", "reserve_vram", "vram_headroom", "async_offload", "database_url",
    "disabled_nodes_config", "cache_ram",
)
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(_FALSE, False), **dict.fromkeys(_NONE), "listen": "127.0.0.1", "port": 8188,
    "max_upload_size": 100.0, "extra_model_paths_config": [], "preview_method": LatentPreviewMethod.NoPreviews,
    "preview_size": 512, "cache_lru": 0, "default_hashing_function": "sha256", "verbose": "INFO",
    "front_end_version": "comfyanonymous/ComfyUI@latest", "comfy_api_base": "https://api.comfy.org",
    "whitelist_custom_nodes": [], "feature_flag": [], "date_output_format": "%Y-%m-%d",
}
"""By name. `fast` is a set, and new for each namespace."""

args = argparse.Namespace()
"""The one that packs read. They may write to it, too: nothing of ours reads it."""


def fill_args(options: argparse.Namespace | None) -> None:
    """Have `args` say what the start options say; without any, what an option is when it is not given."""
    vars(args).clear()
    for name, default in DEFAULTS.items():
        setattr(args, name, list(default) if isinstance(default, list) else default)
    args.fast = set()
    for name, value in vars(options or argparse.Namespace()).items():
        if value is None and DEFAULTS.get(name) is not None:
            continue  # an option that has no default of its own here
        setattr(args, name, _as_packs_read(name, value))


def _as_packs_read(name: str, value: Any) -> Any:
    if name == "fast":
        return {next((one for one in PerformanceFeature if one.value == word), word) for word in value or ()}
    if name == "preview_method":
        return LatentPreviewMethod.from_string(str(value)) or LatentPreviewMethod.NoPreviews
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list):
        return [str(one) if isinstance(one, Path) else one for one in value]
    return value


fill_args(None)
