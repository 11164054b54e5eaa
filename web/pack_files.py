"""What packs bring for the browser: scripts, texts in other languages, example workflows, subgraphs.

Handed in as tables of folders, which are live: a pack that is loaded later is seen later. Everything here touches the
disk: call it on a thread. Nothing here knows of HTTP.
"""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from msgspec import Struct, field

from .file_names import FileRefused, real_path_inside, refuse_unusable

log = logging.getLogger("studio.web")

T = TypeVar("T")

TEMPLATE_FOLDERS = ("example_workflows", "example", "examples", "workflow", "workflows")
"""What packs call their folder of example workflows."""
TEXTS = ("nodeDefs", "commands", "settings")
"""Files of a language beside `main.json`; each is a branch of its own under this name."""
LARGEST_FILE = 16 * 2**20
"""Bytes of a file of texts or of a subgraph."""


class PackTables(Struct, kw_only=True):
    """Where packs keep what browsers ask for. The tables may change while the server runs."""

    web_directories: Mapping[str, str] = field(default_factory=dict)
    """Folders of scripts by the name that browsers use, without `/extensions/`."""
    directories: Mapping[str, str] = field(default_factory=dict)
    """The folders of the packs themselves, by name."""
    node_replacements: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """What stands for classes that are gone, by their names."""


class PackFiles:
    """Reads what the tables of packs lead to. Texts and subgraphs are kept until the table of packs changes.

    :param tables: asked each time.
    :param blueprints: a folder of subgraphs that belong to no pack.
    """

    def __init__(self, tables: Callable[[], PackTables], blueprints: Path | None = None) -> None:
        self._tables = tables
        self._blueprints = blueprints
        self._kept: dict[str, tuple[Any, Any]] = {}
        self._turn = threading.Lock()

    def scripts(self, page: Path) -> list[str]:
        """URL paths of all scripts: those that come with the page, then each pack's."""
        found = [f"/extensions/{name}" for name in _scripts_below(page / "extensions")]
        for pack, folder in list(self._tables().web_directories.items()):
            found += [f"/extensions/{quote(pack)}/{quote(name)}" for name in _scripts_below(Path(folder))]
        return found

    def web_file(self, pack: str, name: str) -> Path | None:
        """A file or folder of a pack's scripts; None if there is none."""
        folder = self._tables().web_directories.get(pack)
        return None if folder is None else existing_below(Path(folder), name)

    def has_scripts(self, pack: str) -> bool:
        return pack in self._tables().web_directories

    # -- example workflows ------------------------------------------------------------------------------------------

    def templates(self) -> dict[str, list[str]]:
        """Names of the example workflows of each pack that has any, without `.json`."""
        found: dict[str, list[str]] = {}
        for pack, folder in self._pack_folders():
            names = {path.stem: None for directory in TEMPLATE_FOLDERS for path in _json_files(folder / directory)}
            if names:
                found[pack] = list(names)
        return found

    def template_file(self, pack: str, name: str) -> Path | None:
        """A file beside the example workflows of a pack, or a folder; None if there is none."""
        folder = dict(self._pack_folders()).get(pack)
        if folder is None:
            return None
        places = (existing_below(folder / directory, name) for directory in TEMPLATE_FOLDERS)
        return next((place for place in places if place is not None), None)

    # -- texts ------------------------------------------------------------------------------------------------------

    def translations(self) -> dict[str, Any]:
        """Texts of all packs by language, merged."""
        return self._once("translations", self._read_translations)

    def _read_translations(self) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for _, folder in self._pack_folders():
            for language in _folders(folder / "locales"):
                texts = _read_object(language / "main.json")
                for name in TEXTS:
                    branch = _read_object(language / f"{name}.json")
                    if branch:
                        texts = merge(texts, {name: branch})
                if texts:
                    merged = merge(merged, {language.name: texts})
        return merged

    # -- subgraphs --------------------------------------------------------------------------------------------------

    def subgraphs(self) -> dict[str, dict[str, Any]]:
        """All subgraphs by id: what they are called, whose they are, and their `data`, JSON as text."""
        return self._once("subgraphs", self._read_subgraphs)

    def _read_subgraphs(self) -> dict[str, dict[str, Any]]:
        found = {}
        for pack, folder in self._pack_folders():
            found.update(_subgraphs_in(folder / "subgraphs", "custom_node", f"custom_nodes.{pack}", pack))
        if self._blueprints is not None:
            found.update(_subgraphs_in(self._blueprints, "templates", "comfyui", ""))
        return found

    # -- the tables -------------------------------------------------------------------------------------------------

    def _pack_folders(self) -> list[tuple[str, Path]]:
        """Packs that are folders; one that is a single file lies among others in a folder that is not its own."""
        return [(name, Path(folder)) for name, folder in list(self._tables().directories.items())
                if Path(folder).name == name]

    def _once(self, what: str, read: Callable[[], T]) -> T:
        with self._turn:
            packs = self._pack_folders()
            known = self._kept.get(what)
            if known is None or known[0] != packs:
                known = self._kept[what] = (packs, read())
            answer: T = known[1]
            return answer


def existing_below(folder: Path, name: str) -> Path | None:
    """What a name means in a folder, if it exists and lies in there, links followed."""
    try:
        refuse_unusable(name)
        root = Path(os.path.realpath(folder))
        found = real_path_inside(root, root / name)
        return found if found.exists() else None
    except (FileRefused, OSError):
        return None


def merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Objects are merged, lists joined; of anything else the other one counts."""
    merged = dict(one)
    for key, value in other.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[key] = merge(known, value)
        elif isinstance(known, list) and isinstance(value, list):
            merged[key] = [*known, *value]
        else:
            merged[key] = value
    return merged


def _subgraphs_in(folder: Path, source: str, node_pack: str, owner: str) -> dict[str, dict[str, Any]]:
    found = {}
    for path in _json_files(folder):
        text = _read_text(path)
        if text is not None:
            # Of names alone, so that it stays when the server or its folder moves.
            subgraph_id = hashlib.sha256(f"{source}\0{owner}\0{path.name}".encode()).hexdigest()
            found[subgraph_id] = {"source": source, "name": path.stem, "info": {"node_pack": node_pack}, "data": text}
    return found


def _scripts_below(folder: Path) -> list[str]:
    """Relative paths of the `.js` files that `existing_below` would find, sorted."""
    found = []
    for parent, directories, names in os.walk(folder, followlinks=False):
        directories.sort()
        found += [Path(parent, name).relative_to(folder).as_posix() for name in sorted(names) if name.endswith(".js")]
    root = os.path.realpath(folder)
    return [name for name in found if _is_below(root, folder / name)]


def _is_below(root: str, path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False  # cannot be told to clients
    return not path.is_symlink() or Path(os.path.realpath(path)).is_relative_to(root)


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _json_files(folder: Path) -> list[Path]:
    root = os.path.realpath(folder)
    return [path for path in _entries(folder) if path.suffix == ".json" and path.is_file() and _is_below(root, path)]


def _entries(folder: Path) -> Iterator[Path]:
    try:
        return iter(sorted(folder.iterdir()))
    except OSError:
        return iter(())


def _read_object(path: Path) -> dict[str, Any]:
    """A file of texts; empty if it is missing, and if it is no JSON object, which is logged."""
    if not path.is_file():
        return {}
    try:
        said = json.loads(_read_text(path) or "{}")
    except (ValueError, RecursionError) as error:
        log.warning("the texts in %s are left out, it is not valid JSON: %s", path, error)
        return {}
    if not isinstance(said, dict):
        log.warning("the texts in %s are left out, it is no JSON object", path)
        return {}
    return said


def _read_text(path: Path) -> str | None:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError("it is too large")
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        log.warning("%s is left out: %s", path, error)
        return None
