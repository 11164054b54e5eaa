"""What a pack says it needs: its `requirements.txt` and the dependencies in its `pyproject.toml`. Read, never run."""

import importlib.metadata
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct, field

DEEPEST = 5
"""How deep files of requirements may include each other."""
LARGEST = 2**20
"""Bytes of a file that is read."""

_PACKAGE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(?:[<>=!~;(].*|@\s*\S.*)?", re.DOTALL)
_ADDRESS = re.compile(r"(?:git\+)?(?:https|ssh)://\S+.*")
_INCLUDED = re.compile(r"(?:-r\s*|--requirement[\s=]+)(\S+)")


class Project(NamedTuple):
    """What a pyproject.toml says of a pack."""

    version: str | None = None
    dependencies: Sequence[str] = ()


class Requirements(Struct, kw_only=True):
    """What pip would be asked for."""

    packages: list[str] = field(default_factory=list)
    """Lines that name a package, or where to fetch one."""
    left_out: list[str] = field(default_factory=list)
    """Lines that are anything else, options and paths, say. A path could be the pack itself, whose code would run."""

    @property
    def missing(self) -> list[str]:
        """Names of packages that are not installed in any version."""
        names = dict.fromkeys(name for line in self.packages if (name := package_of(line)) is not None)
        return [name for name in names if not _is_installed(name)]


def package_of(line: str) -> str | None:
    """The name of the package that a line of requirements asks for; None for an address."""
    match = _PACKAGE.fullmatch(line)
    return None if match is None else match[1]


def requirements_of(pack: Path) -> Requirements:
    """What a pack, a folder or a file, says it needs; a file says nothing."""
    found = Requirements()
    if pack.is_dir():
        _read_lines(pack / "requirements.txt", pack, found, 0)
        for line in described_project(pack).dependencies:
            _sort_in(line, found)
    found.packages = list(dict.fromkeys(found.packages))
    return found


def described_project(pack: Path) -> Project:
    """What its pyproject.toml says; nothing if there is none, or it makes no sense."""
    text = _text_of(pack / "pyproject.toml") if pack.is_dir() else None
    try:
        project: Any = tomllib.loads(text or "").get("project", {})
    except (ValueError, RecursionError):
        return Project()
    if not isinstance(project, dict):
        return Project()
    version, dependencies = project.get("version"), project.get("dependencies")
    return Project(version if isinstance(version, str) else None,
                   [one for one in dependencies if isinstance(one, str)] if isinstance(dependencies, list) else [])


def _read_lines(file: Path, pack: Path, found: Requirements, depth: int) -> None:
    text = _text_of(file)
    if text is None:
        return
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(?:^|\s)#.*", "", line).strip()
        included = _INCLUDED.fullmatch(line)
        if included is not None and depth < DEEPEST:
            other = (file.parent / included[1]).resolve()
            if other.is_relative_to(pack.resolve()):
                _read_lines(other, pack, found, depth + 1)
                continue
        _sort_in(line, found)


def _sort_in(line: str, found: Requirements) -> None:
    line = " ".join(line.split())
    if not line:
        return
    is_package = package_of(line) is not None and " -" not in line
    (found.packages if is_package or _ADDRESS.fullmatch(line) else found.left_out).append(line)


def _text_of(file: Path) -> str | None:
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            return None
        return file.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError:
        return None


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    return True


def install(packages: Sequence[str]) -> int:
    """Have pip install them into this Python, its output on the terminal; answers its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")  # so that no line can be taken for an option of pip
        file.write_text("".join(f"{line}\n" for line in packages), encoding="utf-8")
        return subprocess.run([sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-r", str(file)],
                              check=False).returncode
