"""One process holds a user folder, by an exclusive lock on a file in it, for as long as it lives."""

import os
from pathlib import Path
from typing import IO

LOCK_FILE = "lock"


class UserFolderInUse(Exception):
    """Another process has the folder. A sentence."""


def lock_user_folder(folder: Path) -> IO[str]:
    """Take the user folder that this one is in. The lock is held until the file that is returned is closed, or the
    process ends however it does.

    :raises UserFolderInUse: another process has it.
    :raises OSError: the file cannot be written.
    """
    file = open(folder / LOCK_FILE, "a+")  # noqa: SIM115 - it stays open
    try:
        _lock(file)
    except OSError:
        file.seek(0)
        holder = file.read(20).strip()
        file.close()
        raise UserFolderInUse(
            f"the user folder {folder.parent} is in use by another server{f' (process {holder})' if holder else ''}. "
            "Stop that one, or choose another folder with --user-directory.") from None
    file.seek(0)
    file.truncate()
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


if os.name == "nt":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        # Far behind the text, which others must be able to read.
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
