"""What the machine is and how much of it is free, as `/system_stats` shows it."""

import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any


def memory_limit() -> int:
    """Bytes that this process may use: of the machine, or of its control group if that is less."""
    import psutil

    limit: int = psutil.virtual_memory().total
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limit = min(limit, int(Path(name).read_text()))
        except (OSError, ValueError):
            continue
    return limit


def system_stats(version: str, argv: Sequence[str]) -> dict[str, Any]:
    """Facts of the machine; bytes throughout. May take a moment."""
    import psutil

    memory = psutil.virtual_memory()
    total = memory_limit()
    free = min(memory.available, total)
    return {"system": {
        "os": sys.platform, "ram_total": total, "ram_free": free, "comfyui_version": "0.3.64",
        "studio_version": version, "required_frontend_version": None, "installed_templates_version": None,
        "required_templates_version": None, "comfy_package_versions": [], "python_version": sys.version,
        "pytorch_version": _version_of("torch"), "embedded_python": False, "deploy_environment": "local-git",
        "platform": platform.platform(), "argv": list(argv)},
        "devices": _devices(total, free)}


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices(total: int, free: int) -> list[dict[str, Any]]:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        devices = []
        for index in range(torch.cuda.device_count()):
            device_free, device_total = torch.cuda.mem_get_info(index)
            reserved = torch.cuda.memory_reserved(index)
            devices.append({"name": f"cuda:{index} {torch.cuda.get_device_name(index)}", "type": "cuda",
                            "index": index, "vram_total": device_total, "vram_free": device_free,
                            "torch_vram_total": reserved,
                            "torch_vram_free": reserved - torch.cuda.memory_allocated(index)})
        return devices
    return [{"name": "cpu", "type": "cpu", "index": None, "vram_total": total, "vram_free": free,
             "torch_vram_total": total, "torch_vram_free": free}]
