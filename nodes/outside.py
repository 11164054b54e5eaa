"""Clients for what strangers want this server to reach: each has a guard, and nothing leads past it."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from nodes.address_guard import AddressGuard, is_public

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import aiohttp


class GuardedClient:
    """One session behind one guard; an async context manager. Without any time-out of its own.

    :param headers: sent with each request.
    """

    session: aiohttp.ClientSession

    def __init__(self, allow_private: bool, headers: Mapping[str, str] | None = None) -> None:
        self._guard = AddressGuard(allow_private)
        self._headers = headers

    @property
    def refused(self) -> str | None:
        """The address that was refused last."""
        return self._guard.refused

    async def __aenter__(self) -> GuardedClient:
        import aiohttp

        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._guard, use_dns_cache=False, force_close=True),
            trust_env=False,  # a proxy from the environment would connect for us, past the guard
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,  # a body that unpacks to any size would pass any bound on bytes
            headers=self._headers,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.session.close()


class Outside:
    """What the web layer is handed to reach others.

    :param allows_private: asked each time whether private addresses are permitted.
    """

    def __init__(self, allows_private: Callable[[], bool]) -> None:
        self._allows_private = allows_private

    def refuses(self, host: str) -> bool:
        """Whether it can be told without asking anybody that a host of a URL will not be reached."""
        return not self._allows_private() and is_surely_private(host)

    def open_client(self) -> GuardedClient:
        return GuardedClient(self._allows_private())


def is_surely_private(host: str) -> bool:
    """Whether a host as URLs spell it is this machine by name, or an address that is not public however it is written
    (`0x7f.1`, `2130706433`). Any other name may still turn out to be private: the guard judges where it leads."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
        return not is_public(name)
    except ValueError:
        pass
    try:
        return not is_public(socket.inet_ntoa(socket.inet_aton(name)))
    except (OSError, ValueError):
        return False
