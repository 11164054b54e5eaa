"""Who a request comes from, and in which folder that user's files lie.

Without `--multi-user` there is one user, `default`, whatever a request says. With it users are kept by id in one file,
and a request names one in its header. Everything here touches the disk: call it on a thread.
"""

import re
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from .user_files import write_whole

ONLY_USER = "default"
ACCOUNTS_FILE = "users.json"
RESERVED = "__"
"""What ids of the server's own begin with: no user can have one."""
LONGEST_NAME = 100
MOST_USERS = 10_000

_OTHER_LETTERS = re.compile(r"[^A-Za-z0-9_-]+")


class NameRefused(Exception):
    """No user can have this name. The message is a sentence for whoever chose it."""


class UserAccounts:
    """The users of this server.

    :param directory: the folder that holds one folder for each user.
    """

    def __init__(self, directory: Callable[[], Path], is_multi_user: bool) -> None:
        self.is_multi_user = is_multi_user
        self._directory = directory
        self._turn = threading.Lock()

    def folder_of(self, user_id: str | None) -> Path | None:
        """The folder of a user's files, which need not exist; None if there is no such user.

        :param user_id: as the request names it.
        """
        if not self.is_multi_user:
            return self._directory() / ONLY_USER
        if user_id is None or user_id.startswith(RESERVED) or user_id not in self.names():
            return None
        return self._directory() / user_id

    def names(self) -> dict[str, str]:
        """Names of all users by id."""
        try:
            known = msgspec.json.decode((self._directory() / ACCOUNTS_FILE).read_bytes(), type=dict[str, str])
        except (OSError, ValueError):
            return {}
        # The file can be edited by hand: no id may lead out of the folder of users.
        return {user_id: name for user_id, name in known.items()
                if user_id and not _OTHER_LETTERS.search(user_id) and not user_id.startswith(RESERVED)}

    def add(self, name: str) -> str:
        """Keep a new user; answers the id.

        :raises NameRefused: it is blank, taken, too long or reserved, or there are too many users.
        """
        name = name.strip()
        if not name:
            raise NameRefused("username not provided")
        if len(name) > LONGEST_NAME:
            raise NameRefused(f"A username has at most {LONGEST_NAME} characters.")
        user_id = f"{_OTHER_LETTERS.sub('-', name)}_{uuid.uuid4()}"
        if user_id.startswith(RESERVED):
            raise NameRefused("This username is reserved for the server.")
        with self._turn:
            known = self.names()
            if name in known.values():
                raise NameRefused("Duplicate username.")
            if len(known) >= MOST_USERS:
                raise NameRefused("There are too many users.")
            self._keep({**known, user_id: name})
        return user_id

    def describe(self) -> Mapping[str, object]:
        """What clients are told when they start."""
        if self.is_multi_user:
            return {"storage": "server", "users": self.names()}
        return {"storage": "server", "migrated": (self._directory() / ONLY_USER).is_dir()}

    def _keep(self, names: Mapping[str, str]) -> None:
        directory = self._directory()
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(directory / ACCOUNTS_FILE, msgspec.json.format(msgspec.json.encode(names), indent=4))
