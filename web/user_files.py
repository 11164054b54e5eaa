"""The files that a front end keeps for its user: workflows, subgraphs, whatever it likes.

A name is a path below the user's folder and never leaves it, by a symbolic link neither. A file is written beside its
place and moved there, so that a reader sees the old one or the new one, whole. Everything here touches the disk: call
it on a thread. Nothing here knows of HTTP.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .file_names import (
    NAME_IMPOSSIBLE,
    BadFileName,
    FileMissing,
    FileRefused,
    OutsideFolder,
    claim,
    real_path_inside,
    refuse_unusable,
    unused_path,
)

MOST_LISTED = 100_000
"""Files of one listing. A folder with more holds something else than what users keep."""


class FileTaken(FileRefused):
    """There is a file of this name already, and it was not to be replaced."""


class NoFolder(FileRefused):
    """The name is that of a file, and a folder was asked for."""


class UserFile(NamedTuple):
    """A file or folder as clients are told of it."""

    path: str
    """Relative, with `/` between its parts."""
    is_folder: bool
    size: int
    """Bytes."""
    modified: float
    """Seconds since the epoch, as `created`."""
    created: float

    def full_info(self) -> dict[str, Any]:
        """With times in whole milliseconds."""
        return {"path": self.path, "size": self.size, "modified": int(self.modified * 1000),
                "created": int(self.created * 1000)}


# --- names -----------------------------------------------------------------------------------------------


def real_root(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def path_below(root: Path, name: str) -> Path:
    """The real path of what a name means, which need not exist.

    :param root: a real path itself.
    :raises BadFileName: no file can have this name.
    :raises OutsideFolder: it leads out of `root`.
    """
    refuse_unusable(name)
    return real_path_inside(root, root / name)


def file_below(root: Path, name: str) -> Path:
    """The real path of an existing regular file.

    :raises BadFileName, OutsideFolder: as `path_below` does; a folder counts as outside.
    :raises FileMissing: there is none.
    """
    path = path_below(root, name)
    try:
        mode = path.stat().st_mode
    except OSError:
        raise FileMissing("there is no such file") from None
    if stat.S_ISDIR(mode):
        raise OutsideFolder("this is a folder")
    if not stat.S_ISREG(mode):
        raise FileMissing("there is no such file")
    return path


def describe(path: Path, relative_to: Path) -> UserFile:
    """What clients are told of a file or folder. Raises OSError when it is gone."""
    facts = path.stat()
    return UserFile(path.relative_to(relative_to).as_posix(), stat.S_ISDIR(facts.st_mode), facts.st_size,
                    facts.st_mtime, facts.st_ctime)


# --- lists -----------------------------------------------------------------------------------------------


def list_files(root: Path, folder: str, recurse: bool) -> list[UserFile]:
    """Files in a folder, paths relative to it. What begins with a dot is left out; of a file the list is empty.

    :raises BadFileName, OutsideFolder: as `path_below` does.
    :raises FileMissing: there is no such folder.
    """
    place = path_below(root, folder)
    if not place.exists():
        raise FileMissing("Directory not found")
    if not place.is_dir():
        return []
    return [one for one in _walk(root, place, "", recurse, shows_hidden=False) if not one.is_folder]


def list_everything(root: Path, folder: str) -> list[UserFile]:
    """Files and folders at any depth, paths relative to `root`; folders first, then by name.

    :raises BadFileName, OutsideFolder: as `path_below` does.
    :raises FileMissing: there is no such folder; not for `root` itself, which is empty then.
    :raises NoFolder: it is a file.
    """
    place = path_below(root, folder)
    if not place.exists():
        if place == root:
            return []
        raise FileMissing("Requested path not found")
    if not place.is_dir():
        raise NoFolder("Requested path is not a directory")
    prefix = "" if place == root else f"{place.relative_to(root).as_posix()}/"
    found = list(_walk(root, place, prefix, recurse=True, shows_hidden=True))
    return sorted(found, key=lambda one: (not one.is_folder, one.path.rpartition("/")[2].lower(), one.path))


def _walk(root: Path, folder: Path, prefix: str, recurse: bool, shows_hidden: bool) -> Iterator[UserFile]:
    """Everything in a real folder. Links out of `root`, and those back to where the walk came from, are left out."""
    waiting = [(folder, prefix)]
    left = MOST_LISTED
    while waiting:
        parent, path = waiting.pop()
        for entry in _entries(parent):
            if entry.name.startswith(".") and not shows_hidden:
                continue
            real = parent / entry.name
            if entry.is_symlink():
                real = Path(os.path.realpath(entry.path))
                if not real.is_relative_to(root) or parent.is_relative_to(real):
                    continue
            try:
                facts = real.stat()
            except OSError:
                continue  # gone meanwhile, or a link to nothing
            is_folder = stat.S_ISDIR(facts.st_mode)
            if is_folder and recurse:
                waiting.append((real, f"{path}{entry.name}/"))
            if not is_folder and not stat.S_ISREG(facts.st_mode):
                continue
            left -= 1
            if left < 0:
                return
            yield UserFile(f"{path}{entry.name}", is_folder, facts.st_size, facts.st_mtime, facts.st_ctime)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if _is_text(entry.name)]
    except OSError:
        return []


def _is_text(name: str) -> bool:
    """Names of other encodings cannot be told to clients."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


# --- changes ---------------------------------------------------------------------------------------------


def write_file(root: Path, name: str, content: bytes, overwrite: bool) -> UserFile:
    """Keep a file; folders on its way are made. Paths in the answer are relative to `root`.

    :raises BadFileName: nothing can be written under this name.
    :raises OutsideFolder: it leads out of `root`.
    :raises FileTaken: it exists, and `overwrite` is false.
    """
    path = _new_path(root, name)
    with _impossible_names_refused():
        if not overwrite and path.exists():
            raise FileTaken("File already exists")
        write_whole(path, content, replaces=overwrite)
        return describe(path, root)


def delete_file(root: Path, name: str) -> None:
    """Remove a file.

    :raises BadFileName, OutsideFolder, FileMissing: as `file_below` does.
    """
    path = file_below(root, name)
    try:
        path.unlink()
    except FileNotFoundError:
        raise FileMissing("there is no such file") from None


def move_file(root: Path, name: str, new_name: str, overwrite: bool) -> UserFile:
    """Rename a file or a folder; folders on its way are made.

    :raises FileMissing: there is no such file.
    :raises BadFileName: nothing can be moved there: it is a folder, or lies in what is moved.
    :raises OutsideFolder: one of the names leads out of `root`.
    :raises FileTaken: the new one exists, and `overwrite` is false.
    """
    path = path_below(root, name)
    if not path.exists():
        raise FileMissing("there is no such file")
    if path == root:
        raise BadFileName("the folder of all files stays where it is")
    target = _new_path(root, new_name)
    with _impossible_names_refused():
        if path.is_dir() and target.is_relative_to(path):
            raise BadFileName("a folder cannot be moved into itself")
        if target.exists():
            if not overwrite:
                raise FileTaken("File already exists")
            if target.is_dir() or path.is_dir():
                raise BadFileName("a folder is neither replaced nor does it replace anything")
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(path, target, overwrite)
        return describe(target, root)


def _move(path: Path, target: Path, overwrite: bool) -> None:
    if overwrite or path.is_dir():
        shutil.move(path, target)
        return
    try:
        claim(path, target)
    except FileExistsError:
        raise FileTaken("File already exists") from None
    path.unlink(missing_ok=True)


def _new_path(root: Path, name: str) -> Path:
    path = path_below(root, name)
    if path == root or name.endswith(("/", "/.")) or path.is_dir():
        raise BadFileName("this is the name of a folder")
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in name):
        raise BadFileName("a file name must not contain control characters")
    return path


@contextmanager
def _impossible_names_refused() -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:  # a folder on the way is a file
        raise BadFileName("a part of the path is a file") from error
    except OSError as error:
        if error.errno in NAME_IMPOSSIBLE:
            raise BadFileName(f"no file can have this name: {os.strerror(error.errno)}") from error
        raise


def write_whole(path: Path, content: bytes, replaces: bool = True) -> None:
    """Write a file so that nobody ever finds half of it, a crash of the machine included.

    :raises FileTaken: it exists, and `replaces` is false.
    """
    staged = unused_path(path.parent)
    try:
        with staged.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if replaces:
            os.replace(staged, path)
        else:
            try:
                claim(staged, path)
            except FileExistsError:
                raise FileTaken("File already exists") from None
    finally:
        staged.unlink(missing_ok=True)
