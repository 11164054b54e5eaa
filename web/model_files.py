"""Model files: lists of them, what their headers say, and their pictures.

The table of categories is handed in and live. Lists follow links, as nodes do that load models: many keep these large
files elsewhere. What is *read* for a client lies in the folders themselves. Everything here touches the disk: call it
on a thread. Nothing here knows of HTTP.
"""

import base64
import binascii
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .file_names import FileMissing, OutsideFolder, real_path_inside, refuse_unusable
from .image_variants import Preview, encode_variant

Categories = Mapping[str, tuple[Sequence[str], Collection[str]]]
"""Folders, first one first, and the extensions of the files that count (none: all of them) by category."""

NOT_BROWSED = ("configs", "custom_nodes")
"""Categories that hold no models."""
LARGEST_HEADER = 2**20
"""Bytes of the header of a safetensors file that is read."""
PICTURES = (".webp", ".png", ".jpg", ".jpeg", ".gif", ".avif", ".bmp")
COVER = Preview("webp", 90, keeps_alpha=True)
MOST_LISTED = 100_000


class Model(NamedTuple):
    """A model file as clients are told of it."""

    name: str
    """Relative to its folder, with `/` between the parts."""
    folder_index: int
    """Place of its folder among those of the category."""
    size: int
    """Bytes."""
    modified: float
    """Seconds since the epoch, as `created`."""
    created: float


def browsable(categories: Categories) -> list[dict[str, Any]]:
    """Categories that hold models, with their folders and extensions."""
    return [{"name": name, "folders": [str(one) for one in folders], "extensions": sorted(extensions)}
            for name, (folders, extensions) in list(categories.items()) if name not in NOT_BROWSED]


def list_models(categories: Categories, category: str) -> list[Model]:
    """The models of a category; what begins with a dot is left out.

    :raises FileMissing: there is no such category.
    """
    folders, extensions = _category(categories, category)
    found: list[Model] = []
    for index, folder in enumerate(folders):
        for path, name in _visible_files(Path(folder)):
            if extensions and path.suffix.lower() not in extensions:
                continue
            try:
                facts = path.stat()
            except OSError:
                continue  # gone meanwhile, or a link to nothing
            found.append(Model(name, index, facts.st_size, facts.st_mtime, facts.st_ctime))
            if len(found) >= MOST_LISTED:
                return found
    return found


def _category(categories: Categories, name: str) -> tuple[list[str], set[str]]:
    known = categories.get(name)
    if known is None:
        raise FileMissing("there is no such folder of models")
    return [str(one) for one in known[0]], set(known[1])


def _visible_files(folder: Path) -> Iterator[tuple[Path, str]]:
    for parent, directories, names in os.walk(folder, followlinks=True):
        real_parent = Path(os.path.realpath(parent))
        directories[:] = sorted(one for one in directories if not one.startswith(".")
                                and not real_parent.is_relative_to(os.path.realpath(os.path.join(parent, one))))
        for name in sorted(names):
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            if not name.startswith(".") and relative.isprintable():
                yield path, relative


# --- what the header says --------------------------------------------------------------------------------


def metadata_of(categories: Categories, category: str, name: str) -> Mapping[str, Any]:
    """What the header of a safetensors file says of the model. `..` does not lead out of a folder.

    :raises FileMissing: no such file, or it says nothing.
    """
    folders, _ = _category(categories, category)
    inside = os.path.normpath(os.path.join(os.sep, name)).lstrip(os.sep)
    if not inside.endswith(".safetensors"):
        raise FileMissing("there is no such file with metadata")
    for folder in folders:
        try:
            path = _file_in(folder, inside)
        except OutsideFolder:
            continue
        if path is not None:
            return read_metadata(path)
    raise FileMissing("there is no such file with metadata")


def read_metadata(path: Path) -> Mapping[str, Any]:
    """`__metadata__` of a safetensors file. Raises FileMissing if there is none that can be read."""
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = stream.read(length) if length <= LARGEST_HEADER else b""
            if len(header) != length:
                raise ValueError("too long, or cut off")
        said = msgspec.json.decode(header)["__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise FileMissing("the file has no metadata") from None
    if not isinstance(said, dict):
        raise FileMissing("the file has no metadata")
    return said


def _file_in(folder: str, name: str) -> Path | None:
    """A regular file in a folder. Raises OutsideFolder when a link leads out of it, and BadFileName."""
    refuse_unusable(name)
    root = Path(os.path.realpath(folder))
    path = real_path_inside(root, root / name)
    return path if path.is_file() else None


# --- pictures --------------------------------------------------------------------------------------------


def cover_of(categories: Categories, category: str, folder_index: int, name: str) -> bytes:
    """A WEBP of the picture beside a model, else of the one in its header. The model itself need not exist.

    :raises FileMissing: no such category or folder, or no picture.
    :raises OutsideFolder: the name, or the picture by a link, leads out of the folder.
    :raises BadFileName: it cannot be the name of a file.
    :raises ImageUnreadable: it is no picture.
    """
    folders, _ = _category(categories, category)
    if not 0 <= folder_index < len(folders):
        raise FileMissing("there is no such folder of models")
    folder = folders[folder_index]
    model = _file_in(folder, name)  # refuses what leads out, whether or not it exists
    for candidate in _pictures_beside(Path(folder), name):
        picture = _file_in(folder, candidate)
        if picture is not None:
            return encode_variant(picture, COVER)
    if model is None or model.suffix != ".safetensors":
        raise FileMissing("there is no picture")
    return encode_variant(_cover_in(read_metadata(model)), COVER)


def _pictures_beside(folder: Path, name: str) -> Iterator[str]:
    """Names that a picture of this model may have, those that exist with another case of extension too."""
    stem = os.path.splitext(name)[0]
    base = os.path.basename(stem)
    beside = os.path.dirname(name)
    try:
        there = sorted(os.listdir(folder / beside))
    except OSError:
        return
    for wanted in (base, f"{base}.preview"):
        for one in there:
            start, extension = os.path.splitext(one)
            if start == wanted and extension.lower() in PICTURES:
                yield os.path.join(beside, one)


def _cover_in(metadata: Mapping[str, Any]) -> BytesIO:
    """The picture that a header holds: as a data URL, or the first of a list. Raises FileMissing."""
    said = metadata.get("modelspec.thumbnail")
    if not isinstance(said, str) or not said.startswith("data:image/"):
        try:
            said = msgspec.json.decode(metadata.get("ssmd_cover_images", "[]"), type=list[str])[0]
        except (ValueError, TypeError, IndexError):
            raise FileMissing("there is no picture") from None
    try:
        return BytesIO(base64.b64decode(said.rpartition(",")[2]))
    except (binascii.Error, ValueError):
        raise FileMissing("there is no picture") from None
