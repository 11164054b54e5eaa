"""What this server needs to reach others, through a guard against addresses that strangers must not make it reach."""

from types import TracebackType
from typing import Protocol, Self

from aiohttp import ClientSession


class OutsideClient(Protocol):
    """An async context manager around one session."""

    session: ClientSession

    @property
    def refused(self) -> str | None:
        """The address that was refused last."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None: ...


class Outside(Protocol):
    """Handed in with the settings, since the guard lives elsewhere."""

    def refuses(self, host: str) -> bool:
        """Whether it can be told without asking anybody that a host of a URL will not be reached."""
        ...

    def open_client(self) -> OutsideClient:
        """For one request: the guard remembers what it refused."""
        ...
