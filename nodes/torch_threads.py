"""The state that torch keeps for each thread, which every thread that runs nodes has to be in."""

from typing import Any


class TorchThreads:
    """Call it on a thread before plain code of a node runs there: inference mode on, the right device current.

    Costs nothing until torch is imported, and a lookup when all is in order.
    """

    def __init__(self) -> None:
        self._torch: Any = None
        self._guards: list[Any] = []
        self._device: int | None = None

    def load(self) -> None:
        """Import torch, which takes seconds, and note the device that is current on this thread."""
        import torch

        if torch.cuda.is_available():
            self._device = torch.cuda.current_device()
        self._torch = torch

    def __call__(self) -> None:
        torch = self._torch
        if torch is None:
            return
        if not torch.is_inference_mode_enabled():
            # Entered for good: a node that leaves it off on this thread is put right at the next call. The guard
            # has to be kept, since it switches back when it is dropped.
            guard = torch.inference_mode(True)
            guard.__enter__()
            self._guards.append(guard)
        if self._device is not None:
            torch.cuda.set_device(self._device)

    def release_memory(self) -> None:
        """Give memory back that nobody holds any more."""
        import gc

        gc.collect()
        if self._device is not None:
            self._torch.cuda.empty_cache()
