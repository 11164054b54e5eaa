"""One file for the outputs of one call, in the safetensors format, which programs of others can read.

The name of a file says what it holds: the signature, and the digest of its bytes. What does not have that digest is
damaged. A file is written beside its place and then renamed, so that there are no halves.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..node_values import OutputRecord
from ..signatures import Signature
from .plain_records import Buffer, Leaf, PlainForms, RecordCopy, record_of

FORMAT = "1"
_ENDING = ".safetensors"
_UNFINISHED = ".part"
_NAME = re.compile(r"([0-9a-f]+)\.(b2|b3)-([0-9a-f]+)\.safetensors")


class Damaged(Exception):
    """A file does not hold what was written into it."""


def write_entry(folder: Path, signature: Signature, copy: RecordCopy) -> Path:
    """Write outputs into a folder, which is made if need be.

    :raises OSError: there is no room, say. Nothing is left then.
    """
    head = _head_of(copy)
    algorithm, digest = _digest_of([head, *copy.contents])
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{signature.hex()}{_UNFINISHED}"
    path = folder / f"{signature.hex()}.{algorithm}-{digest}{_ENDING}"
    try:
        with unfinished.open("wb") as file:
            file.write(head)
            for content in copy.contents:
                file.write(content)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return path


def _head_of(copy: RecordCopy) -> bytes:
    """The length of the head, 8 bytes, and the head: JSON that says what each range of the bytes behind it is."""
    notes = json.dumps([leaf.note for leaf in copy.leaves])
    entries: dict[str, Any] = {"__metadata__": {"format": FORMAT, "record": copy.text, "notes": notes}}
    place = 0
    for number, leaf in enumerate(copy.leaves):
        entries[str(number)] = {"dtype": leaf.dtype, "shape": list(leaf.shape),
                                "data_offsets": [place, place + leaf.length]}
        place += leaf.length
    head = json.dumps(entries).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head


def read_entry(path: Path, forms: PlainForms) -> OutputRecord:
    """The outputs in a file.

    :raises Damaged: it is not as it was written.
    :raises OSError: it cannot be read, or is gone.
    """
    named = _NAME.fullmatch(path.name)
    if named is None:
        raise Damaged(f"{path.name} is no name of outputs")
    head, contents = _parts_of(path)
    algorithm, digest = _digest_of([head, *contents], named[2])
    if (algorithm, digest) != (named[2], named[3]):
        raise Damaged(f"{path.name} holds something else than its name says")
    try:
        entries = json.loads(head[8:])
        facts = entries.pop("__metadata__")
        if facts["format"] != FORMAT:
            raise Damaged(f"{path.name} is of the format {facts['format']}")
        leaves = [Leaf(one["dtype"], tuple(one["shape"]), len(content), note)
                  for one, content, note in zip(entries.values(), contents, json.loads(facts["notes"]), strict=True)]
        return record_of(facts["record"], leaves, contents, forms)
    except Damaged:
        raise
    except Exception as error:  # written by another version of this program, or of what makes leaves
        raise Damaged(f"{path.name}: {type(error).__name__}: {error}") from error


def _parts_of(path: Path) -> tuple[bytes, list[bytearray]]:
    """The head, and each range behind it in memory of its own, so that none keeps the others alive."""
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - 8
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if not 0 < length <= left:
            raise Damaged(f"{path.name} has no head")
        head = file.read(length)
        left -= length
        contents: list[bytearray] = []
        try:
            ranges = [one["data_offsets"] for name, one in json.loads(head).items() if name != "__metadata__"]
            lengths = [end - begin for begin, end in ranges]
        except Exception:
            raise Damaged(f"{path.name} has no readable head") from None
        if any(one.__class__ is not int or one < 0 for one in lengths) or sum(lengths) != left:
            raise Damaged(f"{path.name} is longer or shorter than its head says")
        for one in lengths:
            content = bytearray(one)
            if file.readinto(content) != one:
                raise Damaged(f"{path.name} ends too early")
            contents.append(content)
    return start + head, contents


def _digest_of(parts: Iterable[Buffer], algorithm: str | None = None) -> tuple[str, str]:
    """The digest of these bytes, and of which kind it is: BLAKE3 where that is installed, else BLAKE2b.

    :param algorithm: the kind that is wanted.
    """
    name, hasher = _hasher(algorithm)
    for part in parts:
        hasher.update(part)
    return name, hasher.hexdigest()


def _hasher(algorithm: str | None) -> tuple[str, Any]:
    if algorithm != "b2":
        try:
            from blake3 import blake3

            return "b3", blake3()
        except ImportError:  # no wheel for this platform: slower, and just as good
            pass
    return "b2", hashlib.blake2b(digest_size=32)


class EntryFile(msgspec.Struct, frozen=True):
    """A file that was found."""

    signature: Signature
    path: Path
    length: int
    used_at: float


def entry_files_in(folder: Path) -> Iterator[EntryFile]:
    """Outputs in a folder, as far as names tell. What has another name is deleted: nobody else writes there."""
    for path in list(folder.iterdir()):
        named = _NAME.fullmatch(path.name)
        if named is None or len(named[1]) % 2:
            path.unlink(missing_ok=True)
            continue
        about = path.stat()
        yield EntryFile(Signature(bytes.fromhex(named[1])), path, about.st_size, about.st_mtime)
