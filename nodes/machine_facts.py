"""What the machine is and how much of it is free, as `/system_stats` shows it."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from nodes.environment import environment

FRONT_END = "comfyui-frontend-package"
TEMPLATES = "comfyui-workflow-templates"
"""Packages that are programs of their own; whichever version is installed is the one that is wanted."""
UNNAMED = "local-git"
LONGEST_NAME = 128


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
    """Facts of the machine; bytes throughout, and no path of it. May take a moment."""
    import psutil

    memory = psutil.virtual_memory()
    total = memory_limit()
    free = min(memory.available, total)
    return {"system": {
        "os": sys.platform, "ram_total": total, "ram_free": free, "comfyui_version": "0.3.64",
        "studio_version": version, "required_frontend_version": _version_of(FRONT_END),
        "installed_templates_version": _version_of(TEMPLATES), "required_templates_version": _version_of(TEMPLATES),
        "comfy_package_versions": [
            {"name": name, "installed": found, "required": found}
            for name in (FRONT_END, TEMPLATES) if (found := _version_of(name)) is not None],
        "python_version": sys.version, "pytorch_version": _version_of("torch"), "embedded_python": False,
        "deploy_environment": _deploy_environment(), "platform": platform.platform(),
        "argv": [_without_folders(one) for one in argv]},
        "devices": _devices(total, free)}


def _deploy_environment() -> str:
    """What a file in the base folder calls this installation."""
    try:
        with (environment.base_directory / ".comfy_environment").open(encoding="ascii", errors="strict") as file:
            line = file.readline(LONGEST_NAME + 2).strip()
    except (OSError, ValueError):
        return UNNAMED
    return line if line.isprintable() and 0 < len(line) <= LONGEST_NAME else UNNAMED


def _without_folders(argument: str) -> str:
    """An argument as it is, but of an absolute path only the last part."""
    option, sign, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    return f"{option}{sign}{os.path.basename(value.rstrip(os.sep)) if os.path.isabs(value) else value}"


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
