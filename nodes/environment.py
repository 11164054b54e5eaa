"""Where nodes find their folders, and the few settings of the process that nodes heed.

`server.py` fills `environment` before any node runs; tests replace its fields. Nodes read it when they run,
never at import, so that the folders can be moved by command-line options and by packs.
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Environment:
    """Folders are absolute paths; they need not exist yet."""

    base_directory: Path = field(default_factory=Path.cwd)
    input_directory: Path = field(default_factory=lambda: Path.cwd() / "input")
    output_directory: Path = field(default_factory=lambda: Path.cwd() / "output")
    temp_directory: Path = field(default_factory=lambda: Path.cwd() / "temp")
    user_directory: Path = field(default_factory=lambda: Path.cwd() / "user")
    models_directory: Path = field(default_factory=lambda: Path.cwd() / "models")
    save_metadata: bool = True
    """False with --disable-metadata: saved files carry neither prompt nor workflow."""
    allow_private_urls: bool = False
    """True with --allow-private-urls: LoadImageFromURL may reach private and link-local addresses."""
    preview_size: int = 512
    """Longest side, in pixels, of previews that nodes do not size themselves."""
    max_download_bytes: int = 100 * 2**20

    def place_under(self, base: Path) -> None:
        """Put every folder below `base`, with its usual name."""
        self.base_directory = base
        for name in ("input", "output", "temp", "user", "models"):
            setattr(self, f"{name}_directory", base / name)

    def directory_of(self, kind: str) -> Path | None:
        """The folder of `input`, `output` or `temp`; None for anything else."""
        return {"input": self.input_directory, "output": self.output_directory,
                "temp": self.temp_directory}.get(kind)


environment = Environment()
