"""The secret that webhooks are signed with: made once, kept in a file that nobody else may read, shown by no route."""

import contextlib
import os
import secrets
from pathlib import Path

SECRET_FILE = "webhook.key"
SECRET_BYTES = 32


class NoSecret(Exception):
    """The file cannot be used. A sentence."""


def secret_in(folder: Path) -> bytes:
    """The secret of a folder; both are made if they are not there.

    :raises NoSecret: the file cannot be read or written, or holds something else.
    """
    file = folder / SECRET_FILE
    try:
        if not file.exists():
            folder.mkdir(exist_ok=True)
            _make(file)
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise NoSecret(f"the secret of webhooks, {file}, cannot be used: {error}") from None
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise NoSecret(f"the file {file} is damaged: it has to hold the {2 * SECRET_BYTES} hexadecimal digits that "
                       "webhooks are signed with. Put them back, or delete the file, and a new secret is made, which "
                       "receivers have to be told.")
    return secret


def _make(file: Path) -> None:
    """All of it or nothing: another name until it is written."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as writing:
            writing.write(secrets.token_hex(SECRET_BYTES) + "\n")
            writing.flush()
            os.fsync(writing.fileno())
        os.replace(draft, file)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
