"""Where packs are told to compute, and how much memory there is. torch is imported when it is asked for.

No model is kept or moved by this server: a pack that loads one owns it. Functions about residency say so by doing
what can be done without it.
"""

import contextlib
import gc
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from .not_offered import absent_class
from .peer_options import args


class VRAMState(Enum):
    """How sparing a host is with memory of the device."""

    DISABLED = 0
    NO_VRAM = 1
    LOW_VRAM = 2
    NORMAL_VRAM = 3
    HIGH_VRAM = 4
    SHARED = 5


class CPUState(Enum):
    """Which kind of device computes."""

    GPU = 0
    CPU = 1
    MPS = 2


LoadedModel = absent_class("comfy.model_management.LoadedModel",
                           "no models are kept here; keep yours in your node, and drop it when you are done")
current_loaded_models: list[Any] = []
"""Always empty."""


# --- devices -----------------------------------------------------------------------------------------------


def get_torch_device() -> Any:
    """Where nodes compute."""
    import torch

    if not args.cpu:
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        if torch.backends.mps.is_available():
            return torch.device("mps")
    return torch.device("cpu")


def cpu_device() -> Any:
    import torch

    return torch.device("cpu")


def intermediate_device() -> Any:
    """Where values wait between nodes: on the CPU, with `--gpu-only` where nodes compute."""
    return get_torch_device() if args.gpu_only else cpu_device()


def _kind(device: Any) -> str:
    return str(getattr(device, "type", device))


def is_device_mps(device: Any) -> bool:
    return _kind(device) == "mps"


def is_device_cpu(device: Any) -> bool:
    return _kind(device) == "cpu"


def is_device_cuda(device: Any) -> bool:
    return _kind(device).partition(":")[0] == "cuda"


def cpu_mode() -> bool:
    return is_device_cpu(get_torch_device())


def is_nvidia() -> bool:
    import torch

    return is_device_cuda(get_torch_device()) and torch.version.cuda is not None


def is_intel_xpu() -> bool:
    return False


def is_directml_enabled() -> bool:
    return False


def xformers_enabled() -> bool:
    return False


def get_torch_device_name(device: Any) -> str:
    if is_device_cuda(device):
        import torch

        return f"{device} {torch.cuda.get_device_name(device)}"
    return _kind(device)


def get_autocast_device(device: Any) -> str:
    return _kind(device) if device is not None else "cuda"


def unet_offload_device() -> Any:
    return get_torch_device() if _stays_on_device() else cpu_device()


def vae_device() -> Any:
    return cpu_device() if args.cpu_vae else get_torch_device()


def vae_offload_device() -> Any:
    return get_torch_device() if args.gpu_only else cpu_device()


def text_encoder_device() -> Any:
    return get_torch_device() if args.gpu_only else cpu_device()


def text_encoder_offload_device() -> Any:
    return get_torch_device() if args.gpu_only else cpu_device()


def _stays_on_device() -> bool:
    return bool(args.gpu_only or args.highvram)


# --- numbers of a type -------------------------------------------------------------------------------------


def should_use_fp16(device: Any = None, model_params: int = 0, prioritize_performance: bool = True,
                    manual_cast: bool = False) -> bool:
    """Whether half precision is worth it: on GPUs, unless an option says otherwise."""
    if args.force_fp32:
        return False
    return bool(args.force_fp16) or not is_device_cpu(get_torch_device() if device is None else device)


def should_use_bf16(device: Any = None, model_params: int = 0, prioritize_performance: bool = True,
                    manual_cast: bool = False) -> bool:
    device = get_torch_device() if device is None else device
    if args.force_fp32 or not is_device_cuda(device):
        return False
    import torch

    return bool(torch.cuda.is_bf16_supported())


def unet_dtype(device: Any = None, model_params: int = 0, supported_dtypes: Sequence[Any] | None = None,
               weight_dtype: Any = None) -> Any:
    """The first of the supported types that the device is good at: float16, bfloat16, else float32."""
    import torch

    supported = supported_dtypes or (torch.float16, torch.bfloat16, torch.float32)
    if torch.float16 in supported and should_use_fp16(device, model_params):
        return torch.float16
    if torch.bfloat16 in supported and should_use_bf16(device, model_params):
        return torch.bfloat16
    return torch.float32


def vae_dtype(device: Any = None, allowed_dtypes: Sequence[Any] = ()) -> Any:
    import torch

    if args.fp16_vae:
        return torch.float16
    wants_bf16 = args.bf16_vae or (torch.bfloat16 in allowed_dtypes and should_use_bf16(device))
    return torch.bfloat16 if wants_bf16 else torch.float32


def text_encoder_dtype(device: Any = None) -> Any:
    import torch

    return torch.float16 if should_use_fp16(device) and not is_device_cpu(device or "cpu") else torch.float32


def dtype_size(dtype: Any) -> int:
    """Bytes of one number."""
    return int(dtype.itemsize)


def module_size(module: Any) -> int:
    """Bytes of the parameters and buffers of a torch module."""
    return sum(one.nelement() * one.element_size() for one in module.state_dict().values())


def device_supports_non_blocking(device: Any) -> bool:
    return bool(args.force_non_blocking) or is_device_cuda(device)


def cast_to(weight: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False,
            stream: Any = None) -> Any:
    """A tensor in another type, or on another device; itself if it is so already and no copy is wanted."""
    return weight.to(device=device or weight.device, dtype=dtype or weight.dtype, non_blocking=non_blocking, copy=copy)


def cast_to_device(tensor: Any, device: Any, dtype: Any, copy: bool = False) -> Any:
    return cast_to(tensor, dtype, device, device_supports_non_blocking(device), copy)


# --- memory ------------------------------------------------------------------------------------------------


def get_total_memory(dev: Any = None, torch_total_too: bool = False) -> Any:
    """Bytes of a device, by default where nodes compute.

    :param torch_total_too: return them and the bytes that torch has taken of them.
    """
    from nodes.machine_facts import memory_limit

    dev = get_torch_device() if dev is None else dev
    if is_device_cuda(dev):
        import torch

        total, taken = torch.cuda.mem_get_info(dev)[1], torch.cuda.memory_reserved(dev)
    else:
        total = taken = memory_limit()
    return (total, taken) if torch_total_too else total


def get_free_memory(dev: Any = None, torch_free_too: bool = False) -> Any:
    """Free bytes of a device, what torch holds and does not use included.

    :param torch_free_too: return them and the bytes that torch holds and does not use.
    """
    dev = get_torch_device() if dev is None else dev
    if is_device_cuda(dev):
        import torch

        kept = torch.cuda.memory_reserved(dev) - torch.cuda.memory_allocated(dev)
        free = torch.cuda.mem_get_info(dev)[0] + kept
    else:
        import psutil

        from nodes.machine_facts import memory_limit

        free = kept = min(psutil.virtual_memory().available, memory_limit())
    return (free, kept) if torch_free_too else free


def maximum_vram_for_weights(device: Any = None) -> float:
    """Bytes of a device that weights may fill: the rest is for computing."""
    return float(get_total_memory(device)) * 0.88


def soft_empty_cache(force: bool = False) -> None:
    """Give back the device memory that nothing uses."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def unload_all_models() -> None:
    """Drop what is kept and used by nobody, so that its memory is free: the models of packs are theirs."""
    from .prompt_server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is not None and server.messenger.engine is not None:
        server.messenger.on_loop(server.messenger.engine.free_memory)
    soft_empty_cache()


def free_memory(memory_required: float, device: Any = None, keep_loaded: Sequence[Any] = (), **_: Any) -> list[Any]:
    """Give back device memory that nothing uses, if less is free than required. No models are unloaded: none are kept.

    :returns: the models that were unloaded.
    """
    if get_free_memory(device) < memory_required:
        gc.collect()
        soft_empty_cache()
    return []


def load_models_gpu(models: Sequence[Any], memory_required: float = 0, force_patch_weights: bool = False,
                    **_: Any) -> None:
    """Move models to where nodes compute: torch modules, or what has one as `model`. They stay there."""
    device = get_torch_device()
    for model in models:
        module = model if hasattr(model, "to") else getattr(model, "model", None)
        if module is not None and hasattr(module, "to"):
            module.to(device)


def load_model_gpu(model: Any) -> None:
    load_models_gpu([model])


def cleanup_models() -> None:
    """Nothing: no models are kept."""


def cleanup_models_gc() -> None:
    """Nothing: no models are kept."""


# --- what is known once torch is there ---------------------------------------------------------------------


def _out_of_memory() -> Any:
    import torch

    return torch.OutOfMemoryError if hasattr(torch, "OutOfMemoryError") else torch.cuda.OutOfMemoryError


def _torch_version() -> str:
    import torch

    return str(torch.version.__version__)


def _cpu_state() -> CPUState:
    device = get_torch_device()
    return CPUState.CPU if is_device_cpu(device) else CPUState.MPS if is_device_mps(device) else CPUState.GPU


def _vram_state() -> VRAMState:
    state = _cpu_state()
    if state is not CPUState.GPU:
        return VRAMState.DISABLED if state is CPUState.CPU else VRAMState.SHARED
    wanted = ((args.gpu_only or args.highvram, VRAMState.HIGH_VRAM), (args.novram, VRAMState.NO_VRAM),
              (args.lowvram, VRAMState.LOW_VRAM))
    return next((state for is_wanted, state in wanted if is_wanted), VRAMState.NORMAL_VRAM)


_LAZY: dict[str, Callable[[], Any]] = {
    "OOM_EXCEPTION": _out_of_memory, "torch_version": _torch_version, "cpu_state": _cpu_state,
    "vram_state": _vram_state, "total_vram": lambda: get_total_memory() / 2**20,
    "total_ram": lambda: get_total_memory("cpu") / 2**20,
}


def read_lazily(name: str) -> Any:
    """A value of the module that packs know, which needs torch.

    :raises AttributeError: there is no such name.
    """
    with contextlib.suppress(KeyError):
        return _LAZY[name]()
    raise AttributeError(f"module 'comfy.model_management' has no attribute {name!r}")
