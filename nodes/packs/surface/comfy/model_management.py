"""Devices and interruption, by the names that packs know. torch is imported when it is asked for."""

from typing import Any

from execution import InterruptProcessing, check_interrupted
from nodes.packs.surface_modules import interrupt_processing

InterruptProcessingException = InterruptProcessing
throw_exception_if_processing_interrupted = check_interrupted
interrupt_current_processing = interrupt_processing


def processing_interrupted() -> bool:
    """Whether the prompt of the current node was cancelled."""
    try:
        check_interrupted()
    except InterruptProcessing:
        return True
    return False


def get_torch_device() -> Any:
    """Where nodes compute."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def intermediate_device() -> Any:
    """Where values wait between nodes."""
    import torch

    return torch.device("cpu")


def soft_empty_cache(force: bool = False) -> None:
    """Give back the device memory that nothing uses."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
