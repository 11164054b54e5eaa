"""Files of installed packages that front ends read: example workflows with their pictures, and pages about nodes.

The packages are programs of others. None is imported: where one keeps its files is asked of its record of installation.
Everything here touches the disk: call it on a thread.
"""

import re
import threading
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from .pack_files import existing_below

TEMPLATES = "comfyui-workflow-templates"
"""One package in older versions; since then a family whose names begin with this, each with some of the files."""
DOCS = "comfyui-embedded-docs"


class InstalledFiles:
    """Looked for when they are first asked for: what is installed later is seen at the next start."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._folders: dict[str, Sequence[Path]] | None = None

    def template(self, name: str) -> Path | None:
        """A file or folder beside the example workflows; None if no package has it."""
        return self._find("templates", name)

    def docs(self, name: str) -> Path | None:
        """A file or folder of the pages about nodes; None if there is none."""
        return self._find("docs", name)

    def _find(self, kind: str, name: str) -> Path | None:
        with self._turn:
            if self._folders is None:
                self._folders = find_folders(distributions())
        found = (existing_below(folder, name) for folder in self._folders[kind])
        return next((path for path in found if path is not None), None)


def find_folders(packages: Iterable[Distribution]) -> dict[str, Sequence[Path]]:
    """The folders of `templates` and of `docs`, in the order of the packages' names."""
    found: dict[str, dict[str, Path]] = {"templates": {}, "docs": {}}
    for package in packages:
        name = re.sub(r"[-_.]+", "-", package.name or "").lower()
        kind = "docs" if name == DOCS else "templates" if _is_in_family(name) else None
        if kind is not None and name not in found[kind]:  # the first on the path of imports is the one that counts
            folder = _folder_in(package, kind)
            if folder is not None:
                found[kind][name] = folder
    return {kind: [folders[name] for name in sorted(folders)] for kind, folders in found.items()}


def _is_in_family(name: str) -> bool:
    return name == TEMPLATES or name.startswith(f"{TEMPLATES}-")


def _folder_in(package: Distribution, name: str) -> Path | None:
    """The folder of this name directly in the package's own; None if it has no file in one."""
    inside = next((file for file in package.files or () if len(file.parts) > 2 and file.parts[1] == name), None)
    if inside is None:
        return None
    folder = Path(str(package.locate_file(Path(*inside.parts[:2]))))
    return folder if folder.is_dir() else None
