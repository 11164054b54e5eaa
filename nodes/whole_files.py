"""Files that appear under their name when they are whole, and not before.

They are written under a hidden name beside their place first. What interrupts the writing leaves nothing there.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Write = Callable[[Path], None]
"""Writes a file at the path that it is given."""


def write_new_whole_file(folder: str, name: str, counter: int, extension: str, write: Write) -> tuple[str, int]:
    """Write `NAME_COUNTER_.EXTENSION`, with the next higher counter while that name is taken.

    An existing file is never replaced, however many prompts save at once.

    :returns: (file name, counter).
    """
    with _part_file(Path(folder), "." + extension) as part:
        write(part)
        while True:
            file_name = f"{name}_{counter:05}_.{extension}"
            if _takes_name(part, Path(folder, file_name)):
                return file_name, counter
            counter += 1


def write_whole_file(path: str | os.PathLike[str], write: Write) -> None:
    """Write the file at `path`, in place of one that may be there.

    :raises FileNotFoundError: its folder does not exist.
    """
    final = Path(os.path.abspath(path))
    if not final.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(final.parent)!r} to save a file in")
    with _part_file(final.parent, final.suffix) as part:
        write(part)
        os.replace(part, final)


@contextmanager
def _part_file(folder: Path, suffix: str) -> Iterator[Path]:
    """A name that no other file has, with the suffix of the file to be (writers look at it); what is still there
    under it at the end is deleted."""
    part = folder / f".{secrets.token_hex(8)}.part{suffix}"
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _takes_name(part: Path, final: Path) -> bool:
    """Give the whole file its name, unless another file has it."""
    try:
        os.link(part, final)
    except FileExistsError:
        return False
    except OSError:
        return _takes_name_without_links(part, final)
    return True


def _takes_name_without_links(part: Path, final: Path) -> bool:
    """The same where a file cannot have two names: the name is claimed by an empty file for a moment."""
    try:
        final.open("xb").close()
    except FileExistsError:
        return False
    try:
        os.replace(part, final)
    except BaseException:
        final.unlink(missing_ok=True)
        raise
    return True
