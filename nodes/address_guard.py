"""Which network addresses a prompt may make this server connect to.

A URL comes from a stranger, and this server may reach what the stranger cannot: itself, its network, the
metadata of its cloud. Names and spellings are no guide (`0x7f.1`, DNS that changes its answer, redirects), so
the guard sits where a socket is made and judges the address that will really be connected to.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")

# What Python's tables (of 3.11 at least) call global and what is not somebody's public host.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # the inside of Azure
        "3fff::/20",  # documentation
    )
]
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def is_public(text: str) -> bool:
    """Whether an address, as sockets spell it, is a public host's.

    Of an IPv6 address that carries an IPv4 one, the inner address decides: that is where the packets go.
    """
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = _ipv4_inside(address)
        if inner is None:
            return address in _GLOBAL_UNICAST and _is_ordinary(address)
        address = inner
    return _is_ordinary(address)


def _is_ordinary(address: Address) -> bool:
    special = address.is_multicast or address.is_reserved or address.is_loopback or address.is_link_local
    listed = any(address in network for network in _NOT_PUBLIC if network.version == address.version)
    return address.is_global and not special and not listed


def _ipv4_inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a translated or tunnelled IPv6 address carries."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or address in _IPV4_COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


class AddressGuard:
    """A `socket_factory` for aiohttp's TCPConnector; one for each download.

    Remembers in `refused` what it last refused, as the client wraps the error beyond recognition.
    """

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self.refused: str | None = None

    def __call__(self, addr_info: tuple[Any, ...]) -> socket.socket:
        """A socket for the address. Raises PermissionError when it may not be reached."""
        family, kind, protocol, _, (host, *_) = addr_info
        if not self._allow_private and not is_public(host):
            self.refused = host
            # An OSError lets the client go on to a name's next address.
            raise PermissionError(errno.EACCES, f"{host} is not a public address")
        return socket.socket(family, kind, protocol)
