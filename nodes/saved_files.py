"""Names of files that nodes read and write: which file a name means, which name a new file gets, and what it says of
its origin.

A name comes from a prompt, so it is a stranger's: no name leaves its folder, by `..`, as an absolute path or
by a symbolic link. A new file never replaces one that exists, however many prompts save at once.
"""

from __future__ import annotations

import json
import logging
import mimetypes
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

from nodes.environment import environment

logger = logging.getLogger(__name__)

BATCH_NUMBER = "%batch_num%"


class PathOutsideFolder(ValueError):
    """A name that leads out of the folder it is looked up in."""


class SavePath(NamedTuple):
    """Where a call saves. The fields stand in the order in which packs unpack them."""

    folder: str
    """Exists, and is the base folder or lies inside it."""
    name: str
    """First part of the file names; may still contain `%batch_num%`."""
    counter: int
    """The first number that no file of this name has."""
    subfolder: str
    """`folder` relative to the base folder, "" for the base folder itself."""
    prefix: str
    """What was asked for, with its sizes and times filled in."""


# --- reading ---------------------------------------------------------------------------------------------


def split_annotation(name: str) -> tuple[str, str | None]:
    """`a.png [output]` is (`a.png`, `output`); a name without a folder in brackets has None."""
    for kind in ("input", "output", "temp"):
        plain = name.removesuffix(f" [{kind}]")
        if plain != name:
            return plain, kind
    return name, None


def path_inside(folder: str | os.PathLike[str], name: str) -> Path:
    """The file that `name` means in `folder`, with links followed; it need not exist.

    Raises PathOutsideFolder when it lies elsewhere, or cannot be a path at all.
    """
    try:
        root = os.path.realpath(folder)
        path = os.path.realpath(os.path.join(root, name))
    except (ValueError, OSError) as error:
        raise PathOutsideFolder(f"not a file name: {name!r}") from error
    if path != root and not Path(path).is_relative_to(root):
        raise PathOutsideFolder(f"{name!r} lies outside the folder {os.path.basename(root)!r}")
    return Path(path)


def annotated_path(name: str) -> Path:
    """The file of an upload's name: in the folder that ` [input]`, ` [output]` or ` [temp]` at its end names.

    Without such an ending it is in the input folder. Raises PathOutsideFolder.
    """
    plain, kind = split_annotation(name)
    folder = environment.directory_of(kind or "input")
    assert folder is not None
    return path_inside(folder, plain)


def is_readable_name(name: str) -> bool:
    """Whether an annotated name means a file that exists where it may be read."""
    try:
        return annotated_path(name).is_file()
    except (PathOutsideFolder, OSError):
        return False


def file_names(folder: str | os.PathLike[str]) -> list[str]:
    """Sorted names of the files in a folder's top level, without links out of it; [] for a missing folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_own_file(folder, entry))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_own_file(folder: str | os.PathLike[str], entry: os.DirEntry[str]) -> bool:
    if not entry.is_symlink():
        return entry.is_file()
    try:
        return path_inside(folder, entry.name).is_file()
    except PathOutsideFolder:
        return False


def image_file_names(folder: str | os.PathLike[str]) -> list[str]:
    """Those of `file_names` whose extension is an image's."""
    return [name for name in file_names(folder) if _is_image_name(name)]


def _is_image_name(name: str) -> bool:
    guessed = mimetypes.guess_type(name)[0]
    # Python knows neither of these two before 3.13 unless the system's tables do.
    return (guessed or "").startswith("image/") or name.lower().endswith((".webp", ".avif"))


# --- writing ---------------------------------------------------------------------------------------------


def expand_prefix(prefix: str, width: int, height: int, now: time.struct_time | None = None) -> str:
    """Fill in `%width%`, `%height%` and the local time, `%year%` to `%second%` (two digits but the year)."""
    now = now or time.localtime()
    values = {
        "width": str(width), "height": str(height), "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}", "day": f"{now.tm_mday:02}", "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}", "second": f"{now.tm_sec:02}",
    }  # fmt: skip
    return re.sub("%(" + "|".join(values) + ")%", lambda found: values[found[1]], prefix)


def plan_save(
    prefix: str,
    base: str | os.PathLike[str],
    width: int = 0,
    height: int = 0,
    now: time.struct_time | None = None,
) -> SavePath:
    """Where files of this prefix go below `base`; makes the folder. `width` and `height`: the first image's.

    Raises PathOutsideFolder when the prefix leads out of `base`.
    """
    prefix = expand_prefix(prefix, width, height, now)
    if "\0" in prefix:
        raise PathOutsideFolder(f"not a file name: {prefix!r}")
    wanted = os.path.normpath(prefix)
    if os.path.isabs(wanted):
        wanted = os.path.relpath(os.path.realpath(wanted), os.path.realpath(base))
    subfolder, name = os.path.split(wanted)
    if name == os.pardir:
        raise PathOutsideFolder(f"{prefix!r} lies outside the folder {os.path.basename(base)!r}")
    path_inside(base, subfolder)
    folder = os.path.join(base, subfolder) if subfolder else os.fspath(base)
    os.makedirs(folder, exist_ok=True)
    return SavePath(folder, name, next_counter(folder, name), subfolder, prefix)


def next_counter(folder: str | os.PathLike[str], name: str) -> int:
    """1 + the largest k of the entries `name_k` and `name_k_…`; any number stands for `%batch_num%`."""
    pattern = "[0-9]+".join(re.escape(os.path.normcase(part)) for part in name.split(BATCH_NUMBER))
    numbered = re.compile(pattern + "_([0-9]+)(?:_.*)?", re.DOTALL)
    matches = (numbered.fullmatch(os.path.normcase(entry)) for entry in os.listdir(folder))
    return 1 + max((int(found[1]) for found in matches if found), default=0)


def write_new_file(folder: str, name: str, counter: int, extension: str, content: bytes) -> tuple[str, int]:
    """Write `NAME_COUNTER_.EXTENSION`, with the next higher counter while that name is taken.

    Answers (file name, counter). The name is claimed by creating the file, so that two prompts at the same
    counter get two files. A file that could not be written whole is removed again.
    """
    while True:
        file_name = f"{name}_{counter:05}_.{extension}"
        path = Path(folder, file_name)
        try:
            stream = open(path, "xb")  # noqa: SIM115 (only what this call created may be removed below)
        except FileExistsError:
            counter += 1
            continue
        try:
            with stream:
                stream.write(content)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return file_name, counter


# --- metadata --------------------------------------------------------------------------------------------


def saved_metadata(prompt: Any, extra_pnginfo: Any) -> dict[str, Any]:
    """What a saved file says of its origin: `prompt`, unless it is None, and every key of `extra_pnginfo`."""
    values = {} if prompt is None else {"prompt": prompt}
    if isinstance(extra_pnginfo, dict):
        values.update((str(key), value) for key, value in extra_pnginfo.items())
    return values


def metadata_texts(prompt: Any, extra_pnginfo: Any) -> dict[str, str]:
    """`saved_metadata` as JSON in ASCII, key by key; nothing with --disable-metadata.

    Keys that no format can have as a name are left out: longer than 79 characters, or not printable ASCII.
    """
    texts = {}
    for key, value in saved_metadata(prompt, extra_pnginfo).items() if environment.save_metadata else ():
        if 1 <= len(key) <= 79 and key.isascii() and key.isprintable():
            # A pack may leave any object among the fingerprints in the prompt: it must not cost the file.
            texts[key] = json.dumps(value, default=str)
        else:
            logger.warning("not saved: metadata under %r, which cannot be a name in a file", key[:100])
    return texts
