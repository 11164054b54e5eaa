"""The folder of previews, which is emptied at start and at stop, if it is really ours."""

import logging
import shutil
from pathlib import Path

log = logging.getLogger("studio.nodes")

MARK = ".emptied-by-hanzo-studio"


def open_temp_folder(folder: Path) -> None:
    """Make the folder, empty. One that others have put files into is used as it is: nothing of theirs is deleted.

    :raises OSError: it cannot be made.
    """
    empty_temp_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if next(folder.iterdir(), None) is None:
        (folder / MARK).touch()
    else:
        log.warning("the folder for temporary files, %s, holds files that are not ours: it is never emptied", folder)


def empty_temp_folder(folder: Path) -> None:
    """Delete the folder and what is in it, if `open_temp_folder` made it."""
    if (folder / MARK).is_file() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
