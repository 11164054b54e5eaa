"""Names of files that clients send: which file a name means, and which name a new file gets.

A name is a stranger's. No name leaves its folder: by `..`, as an absolute path, by a backslash, a NUL or a
symbolic link. A new file never replaces one that exists unless that was asked for, however many arrive at once.

Everything here touches the disk: call it on a thread. Nothing here knows of HTTP.
"""

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import uuid4

DirectoryOf = Callable[[str], Path | None]
"""Folder of `input`, `output` or `temp`; None for anything else."""

KINDS = ("output", "input", "temp")
LONGEST_NAME = 255
"""Bytes of one part of a path, as the common file systems have it."""
COMPARED_AT_ONCE = 1 << 20
"""Bytes of each of two files in memory while they are compared."""

WITHOUT_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}
"""What a file system without hard links answers to the wish for one."""
NAME_IMPOSSIBLE = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.EILSEQ,
                   errno.EINVAL}
"""Errors of the disk that say something of the name and nothing of the disk."""


class FileRefused(Exception):
    """The caller's fault; the message is for the caller and names no folder of this machine."""


class BadFileName(FileRefused):
    """No file can have this name, or there is no such kind of folder."""


class OutsideFolder(FileRefused):
    """The name leads out of the folder it is looked up in."""


class FileMissing(FileRefused):
    """The name is fine and no regular file has it."""


class ExistingFile(NamedTuple):
    """A regular file that a client may see."""

    path: Path
    """Absolute, links followed."""
    name: str
    """As the client calls it: the last part of what it asked for."""
    version: str
    """Changes when the content does; made of the time of change and the size."""
    modified: float
    """Seconds since the epoch."""


# --- reading ---------------------------------------------------------------------------------------------


def existing_file(directory_of: DirectoryOf, filename: str, kind: str, subfolder: str) -> ExistingFile:
    """The file that a client means. Of `filename` only the last part counts; a ` [input]` at its end wins over `kind`.

    Raises BadFileName, OutsideFolder and FileMissing, looked for in this order.
    """
    filename, annotated = split_annotation(filename)
    if not filename:
        raise BadFileName("the file name is empty")
    if filename.startswith("/") or ".." in filename:
        raise BadFileName("a file name must not start with '/' or contain '..'")
    refuse_unusable(filename)
    refuse_unusable(subfolder)
    base = base_folder(directory_of, annotated or kind)
    folder = folder_inside(base, subfolder)
    name = os.path.basename(filename)
    path = real_path_inside(base, folder / name)
    try:
        facts = path.stat()
    except OSError:
        raise FileMissing("there is no such file") from None
    if not name or not stat.S_ISREG(facts.st_mode):
        raise FileMissing("there is no such file")
    return ExistingFile(path, name, f"{facts.st_mtime_ns:x}-{facts.st_size:x}", facts.st_mtime)


def split_annotation(name: str) -> tuple[str, str | None]:
    """`a.png [output]` is (`a.png`, `output`); a name without a folder in brackets has None."""
    for kind in KINDS:
        plain = name.removesuffix(f" [{kind}]")
        if plain != name:
            return plain, kind
    return name, None


def base_folder(directory_of: DirectoryOf, kind: str) -> Path:
    """The real path of a kind's folder. Raises BadFileName for anything but `input`, `output` and `temp`."""
    folder = directory_of(kind) if kind in KINDS else None
    if folder is None:
        raise BadFileName("type must be input, output or temp")
    return Path(os.path.realpath(folder))


def folder_inside(base: Path, subfolder: str) -> Path:
    """The real path of a folder below `base`, which need not exist. Raises OutsideFolder."""
    # Where a backslash does not separate, a client that sends one means something else than it would get.
    if subfolder.startswith(("/", "\\")) or (os.sep == "/" and "\\" in subfolder):
        raise OutsideFolder("a subfolder is relative, with '/' between its parts")
    return real_path_inside(base, base / subfolder)


def real_path_inside(base: Path, path: Path) -> Path:
    """`path` with links followed. Raises OutsideFolder when that lies outside of `base`, a real path itself."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(base):
        raise OutsideFolder("the name leads out of its folder")
    return real


def refuse_unusable(name: str) -> None:
    """Raise BadFileName for text that cannot be a path: a NUL, half of a surrogate pair, a part that is too long."""
    try:
        parts = name.encode().replace(b"\\", b"/").split(b"/")
    except UnicodeEncodeError:
        raise BadFileName("the name is not valid text") from None
    if "\0" in name:
        raise BadFileName("the name contains a NUL")
    if any(len(part) > LONGEST_NAME for part in parts):
        raise BadFileName(f"the name is longer than {LONGEST_NAME} bytes")


# --- writing ---------------------------------------------------------------------------------------------


def new_file_name(name: str) -> str:
    """`name`, if a new file may have it. Raises BadFileName."""
    refuse_unusable(name)
    if not name.strip() or name in (".", ".."):
        raise BadFileName("the file name is empty")
    if "/" in name or "\\" in name:
        raise BadFileName("a file name must not contain '/' or '\\'")
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in name):
        raise BadFileName("a file name must not contain control characters")
    if split_annotation(name)[1]:
        raise BadFileName("a file name must not end in the name of a folder in brackets")
    return name


def unused_path(folder: Path) -> Path:
    """A path in `folder` that nobody else uses or guesses, hidden from listings. The folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f".upload-{uuid4().hex}"


class ArrivingFile:
    """A new file that is written while its content arrives, and removed when it is not wanted after all.

    Its methods are called on threads, and a thread goes on when the task that waits for it is cancelled: so `discard`
    may come while a write is under way, and nothing is written after it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: BinaryIO | None = None
        self._is_discarded = False
        self._turn = threading.Lock()

    def write(self, content: bytes | bytearray) -> None:
        with self._turn:
            if self._is_discarded:
                return
            if self._stream is None:
                self._stream = self.path.open("xb")
            self._stream.write(content)

    def close(self) -> None:
        """The content is whole; more would be an error."""
        with self._turn:
            if self._stream is not None:
                self._stream.close()

    def discard(self) -> None:
        """Remove the file, unless it was moved away."""
        with self._turn:
            self._is_discarded = True
            try:
                if self._stream is not None:
                    self._stream.close()  # may find only now that the disk is full
            finally:
                self.path.unlink(missing_ok=True)


def keep_file(written: Path, folder: Path, name: str, *, overwrite: bool, same_as: Path | None = None) -> str:
    """Move a file into `folder` (made if need be) under `name`, or the first free of `pic (1).png`, `pic (2).png` …

    Answers the name it got. Where one of these names already holds the content of `same_as` (default: of the file
    itself), that name is the answer and nothing is kept. `overwrite` replaces the file of that name, not what a
    link of that name points to. Raises BadFileName when the folder or the file cannot have its name.
    """
    try:
        staged = unused_path(folder)
        try:
            shutil.move(written, staged)
            if overwrite:
                os.replace(staged, folder / name)
                return name
            return _claimed_name(staged, folder, name, same_as or staged)
        finally:
            staged.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in NAME_IMPOSSIBLE:
            raise BadFileName(f"no file can be made under this name: {os.strerror(error.errno)}") from error
        raise


def _claimed_name(staged: Path, folder: Path, name: str, same_as: Path) -> str:
    for candidate in numbered_names(name):
        target = folder / candidate
        try:
            claim(staged, target)
        except FileExistsError:
            if not is_same_content(target, same_as):
                continue
        return candidate
    raise AssertionError("there is always another number")


def numbered_names(name: str) -> Iterator[str]:
    """`pic.png`, `pic (1).png`, `pic (2).png` … Raises BadFileName once they become too long."""
    stem, extension = os.path.splitext(name)
    yield name
    number = 0
    while True:
        number += 1
        numbered = f"{stem} ({number}){extension}"
        refuse_unusable(numbered)
        yield numbered


def claim(staged: Path, target: Path) -> None:
    """Give a file its name in one step, so that of two who want it one gets FileExistsError."""
    try:
        os.link(staged, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
        # No hard links here: take the name with an empty file, then put ours in its place.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(staged, target)


def is_same_content(existing: Path, other: Path) -> bool:
    """Whether two regular files hold the same bytes. A link is never the same: it may lead anywhere."""
    if existing.is_symlink() or not existing.is_file() or existing.stat().st_size != other.stat().st_size:
        return False
    with existing.open("rb") as left, other.open("rb") as right:
        while piece := left.read(COMPARED_AT_ONCE):
            if piece != right.read(COMPARED_AT_ONCE):
                return False
        return not right.read(1)
