"""Packs as folders on the disk: listed, added, removed, switched off and on. No code of a pack is ever run."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from .loader import DISABLED, find_disabled_packs, find_packs
from .pack_requirements import Requirements, described_project, requirements_of

SECONDS_FOR_GIT = 600
_GIT_URL = re.compile(r"(?:https?|ssh|git|file)://.+|[\w.-]+@[\w.-]+:.+")
_USABLE_NAME = re.compile(r"[^\W.-][^/\\:\0\n\r]{0,99}")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", ".venv", "venv", "node_modules")


class PackFolderError(Exception):
    """What was asked for cannot be done; nothing was changed. The message is a sentence."""


class PackFolder(Struct, kw_only=True):
    """One pack on the disk."""

    name: str
    """Without `.py` and `.disabled`."""
    path: Path
    is_enabled: bool
    version: str | None
    requirements: Requirements


def list_packs(folders: Iterable[Path]) -> list[PackFolder]:
    """All packs in the folders, those that are switched off too, by name."""
    folders = list(folders)
    found = [*find_packs(folders), *find_disabled_packs(folders)]
    return sorted((_described(path) for path in found), key=lambda pack: (pack.name.lower(), str(pack.path)))


def _described(path: Path) -> PackFolder:
    return PackFolder(name=plain_name(path), path=path, is_enabled=not path.name.endswith(DISABLED),
                      version=described_project(path).version, requirements=requirements_of(path))


def plain_name(path: Path) -> str:
    name = path.name.removesuffix(DISABLED)
    return name if path.is_dir() else name.removesuffix(".py")


def pack_named(name: str, folders: Iterable[Path]) -> PackFolder:
    """The one pack of this name.

    :raises PackFolderError: there is none, or more than one.
    """
    found = [pack for pack in list_packs(folders) if pack.name == name.removesuffix(DISABLED).removesuffix(".py")]
    if not found:
        raise PackFolderError(f"There is no pack {name!r}.")
    if len(found) > 1:
        raise PackFolderError(f"There are several packs {name!r}: {', '.join(str(pack.path) for pack in found)}.")
    return found[0]


# --- adding ------------------------------------------------------------------------------------------------


def is_git_address(source: str) -> bool:
    """Whether a text is the address of a repository, and no path on this machine."""
    return not Path(source).expanduser().exists() and _GIT_URL.fullmatch(source) is not None


def add_pack(source: str, folder: Path, *, name: str | None = None, revision: str | None = None) -> PackFolder:
    """Copy a folder or file into the folder of packs, or clone a repository there.

    Until it is whole it has a name that no server loads.

    :param name: what it is called; None takes it from the source.
    :param revision: a branch or tag of a repository; None takes what it gives by itself.
    :raises PackFolderError: there is one of this name, or the source is no pack.
    """
    from_git = is_git_address(source)
    place = Path(source).expanduser()
    if not from_git and not place.exists():
        raise PackFolderError(f"{source!r} is neither a folder or file that exists, nor the address of a repository.")
    name = _checked_name(name or _name_from(source, from_git))
    if revision is not None and not from_git:
        raise PackFolderError("Only a repository has revisions; this is a folder.")
    for existing in list_packs([folder]):
        if existing.name.lower() == name.lower():
            raise PackFolderError(f"There is a pack {existing.name!r} already: {existing.path}.")
    is_file = not from_git and place.is_file()
    target, made = folder / (f"{name}.py" if is_file else name), folder / f"{name}.adding{DISABLED}"
    folder.mkdir(parents=True, exist_ok=True)
    _remove_whatever_is_at(made)
    try:
        if from_git:
            _clone(source, made, revision)
        elif is_file:
            shutil.copyfile(place, made)
        else:
            _refuse_to_copy_into_itself(place, folder)
            shutil.copytree(place, made, symlinks=True, ignore=_NOT_COPIED)
        _refuse_what_is_no_pack(made, is_file, place)
        made.rename(target)
    except (OSError, shutil.Error) as error:
        raise PackFolderError(f"{source} cannot be copied: {error}.") from None
    finally:
        _remove_whatever_is_at(made)
    return _described(target)


def _name_from(source: str, from_git: bool) -> str:
    if not from_git:
        path = Path(source).expanduser().resolve()
        return path.stem if path.is_file() else path.name
    return re.split(r"[/:]", source.rstrip("/"))[-1].removesuffix(".git")


def _checked_name(name: str) -> str:
    if not _USABLE_NAME.fullmatch(name) or name.endswith(DISABLED) or name == "__pycache__":
        raise PackFolderError(f"{name!r} cannot be the name of a pack; give another one with --name.")
    return name


def _refuse_what_is_no_pack(made: Path, is_file: bool, place: Path) -> None:
    if is_file and place.suffix != ".py":
        raise PackFolderError(f"{place} is no Python file, so it is not a pack.")
    if not is_file and not (made / "__init__.py").is_file():
        raise PackFolderError("It has no __init__.py, so it is not a pack.")


def _refuse_to_copy_into_itself(place: Path, folder: Path) -> None:
    if folder.resolve().is_relative_to(place.resolve()):
        raise PackFolderError(f"{place} holds the folder of packs itself.")


def _clone(address: str, target: Path, revision: str | None) -> None:
    """Only what is named is fetched, by protocols that run nothing; git never asks for a password."""
    if revision is not None and revision.startswith("-"):
        raise PackFolderError(f"{revision!r} is no revision.")
    command = ["git", "clone", "--quiet", "--depth", "1", "--recurse-submodules", "--shallow-submodules",
               *(["--branch", revision] if revision is not None else []), "--", address, str(target)]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file"}
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=SECONDS_FOR_GIT, check=False)
    except FileNotFoundError:
        raise PackFolderError("git is not installed; it is needed to fetch a repository.") from None
    except subprocess.TimeoutExpired:
        raise PackFolderError(f"git did not end within {SECONDS_FOR_GIT} seconds.") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise PackFolderError(f"git cannot fetch {address}: {said[-1] if said else 'it does not say why'}")


# --- changing ----------------------------------------------------------------------------------------------


def remove_pack(pack: PackFolder) -> None:
    """Delete a pack; of one that is a link only the link.

    :raises PackFolderError: some of it cannot be deleted.
    """
    try:
        if pack.path.is_symlink() or pack.path.is_file():
            pack.path.unlink()
            return
        gone = pack.path.with_name(f"{pack.name}.removing{DISABLED}")  # no server loads half of it
        pack.path.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise PackFolderError(f"{pack.path} cannot be removed whole: {error}.") from None


def set_enabled(pack: PackFolder, is_enabled: bool) -> Path:
    """Have the next start load a pack, or not; answers where it is then. Nothing happens if that is so already.

    :raises PackFolderError: it cannot be renamed.
    """
    if pack.is_enabled == is_enabled:
        return pack.path
    name = pack.path.name.removesuffix(DISABLED) if is_enabled else f"{pack.path.name}{DISABLED}"
    target = pack.path.with_name(name)
    if target.exists() or target.is_symlink():
        raise PackFolderError(f"{target} is in the way.")
    try:
        pack.path.rename(target)
    except OSError as error:
        raise PackFolderError(f"{pack.path} cannot be renamed: {error}.") from None
    return target


def _remove_whatever_is_at(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, ignore_errors=True)
