"""What a front end remembers for its user: one JSON object in one file, written whole. Call it on a thread."""

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from . import wire
from .bad_request import BadRequest
from .file_names import FileRefused
from .user_files import file_below, real_root, write_whole

log = logging.getLogger("studio.web")

SETTINGS_FILE = "comfy.settings.json"
ASIDE = f"{SETTINGS_FILE}.unreadable"
"""What a file that is no JSON object is called before a new one takes its place."""
LARGEST_FILE = 16 * 2**20
"""Bytes. Every change writes all of it."""

_turn = threading.Lock()
"""Held from reading to writing: of two changes at the same time none is lost."""


def read_settings(folder: Path) -> dict[str, Any]:
    """All settings of a user; none if the file is missing or no JSON object."""
    return _read(folder) or {}


def change_settings(folder: Path, changes: Mapping[str, Any]) -> None:
    """Set some, and leave the others.

    :raises BadRequest: what would be kept is nested too deeply, or too large.
    """
    with _turn:
        known = _read(folder)
        content = msgspec.json.format(wire.dumps({**(known or {}), **changes}), indent=4)
        if len(content) > LARGEST_FILE:
            raise BadRequest("settings_too_large", f"All settings together have at most {LARGEST_FILE} bytes.",
                             status=413)
        wire.decode_object(content)  # what cannot be read again must not take the place of what can
        path = folder / SETTINGS_FILE
        if known is None and path.exists():
            log.warning("the settings file %s is no JSON object; it is kept as %s", path.name, ASIDE)
            os.replace(path, folder / ASIDE)
        write_whole(path, content)


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        return wire.decode_object(file_below(real_root(folder), SETTINGS_FILE).read_bytes())
    except (OSError, BadRequest, FileRefused):
        return None
