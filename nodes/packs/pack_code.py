"""What tells the code of one version of a pack from that of another: a digest of the files that are code.

Packs write into their folders while they run: settings, pictures, lists that they have downloaded. A node whose outputs
depend on such files says so by its change check.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from execution import NodeDefinition

from .pack_import import PackPlace

logger = logging.getLogger(__name__)

_LARGE = 2**20
"""Bytes from which a file counts by its size and time."""
_NO_CODE = {"__pycache__", "node_modules"}
_CODE = (".py", ".pyx", ".so", ".pyd", ".dll", ".dylib", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".cuh", ".cl",
         ".glsl", ".frag", ".vert", ".comp", ".metal")
"""Of Python, compiled, or compiled when it runs."""
_DEPENDENCIES = ("pyproject.toml", "setup.cfg", "requirements.txt")


class CodeOfClasses:
    """Says for each class of nodes by which code it is made: of a pack, or of the nodes that are built in.

    It is what the files were when this was made, so that is to be before they are imported. May take a moment.

    :param version: of what packs run on.
    """

    def __init__(self, packs: Iterable[Path], built_in: Path, version: str) -> None:
        self._built_in = _digest_of(PackPlace.of(built_in), version)
        self._of_origin: dict[str, str] = {}
        for pack in packs:
            place = PackPlace.of(pack)
            origin = f"custom_nodes.{place.name}"
            # Two of one name, in different folders: what changes in either counts for both.
            self._of_origin[origin] = _digest_of(place, f"{version} {self._of_origin.get(origin, '')}")

    def __call__(self, definition: NodeDefinition) -> str | None:
        """None for a pack that came later."""
        origin = definition.origin
        return self._of_origin.get(origin) if origin.startswith("custom_nodes.") else self._built_in


def _digest_of(place: PackPlace, salt: str) -> str:
    digest = hashlib.sha256(salt.encode())
    files = _files_below(place.path) if place.is_folder else [place.path]
    for file in files:
        name = os.fspath(file.relative_to(place.folder))
        try:
            about = file.stat()
            told = hashlib.sha256(file.read_bytes()).hexdigest() if about.st_size < _LARGE \
                else f"{about.st_size} {about.st_mtime_ns}"
        except OSError as error:  # it has gone meanwhile, say
            logger.debug("%s of pack %s: %s", name, place.name, error)
            told = "?"
        digest.update(f"{name}\0{told}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    """Files that are code or say what it depends on, always in the same order. Hidden ones are those of tools."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NO_CODE and not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and (name.lower().endswith(_CODE) or name in _DEPENDENCIES):
                yield Path(place, name)
