"""Which host names mean this machine, asked of the system's resolver: off the loop, bounded, and remembered."""

import asyncio
import ipaddress
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

PATIENCE = 2.0
"""Seconds that a request waits for the resolver."""
KEPT_FOR = 60.0
"""Seconds that an answer counts."""
MOST_KEPT = 256
MOST_AT_ONCE = 4
"""Questions that the resolver has not answered: each holds a thread."""
LONGEST_NAME = 253
"""Characters of the name of a host; a longer one has no address."""


def is_loopback(text: str) -> bool:
    """Whether an address leads to this machine. Anything that is no address does not."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified  # browsers reach this machine by 0.0.0.0 too


def addresses_of(name: str) -> Sequence[str]:
    """What the system says; none where it knows none. It may take many seconds: called on a thread."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return [str(address[0]).partition("%")[0] for *_, address in found]


class LoopbackNames:
    """Names that resolve to addresses of this machine and to no other. Used on one loop.

    :param resolve: the addresses of a name. Called on a thread of its own, which nobody waits for at the end.
    """

    def __init__(self, resolve: Callable[[str], Sequence[str]] | None = None,
                 clock: Callable[[], float] = time.monotonic, patience: float = PATIENCE) -> None:
        self._resolve = resolve or (lambda name: addresses_of(name))
        self._clock = clock
        self._patience = patience
        self._known: OrderedDict[str, tuple[float, bool]] = OrderedDict()  # until when, and the answer
        self._asked: dict[str, asyncio.Future[bool]] = {}

    async def may_contain(self, name: str) -> bool:
        """Whether a name means this machine. Where that cannot be found out in time it counts as one that does."""
        if len(name) > LONGEST_NAME:
            return False
        known = self._known.get(name)
        if known is not None and self._clock() < known[0]:
            return known[1]
        asked = self._asked.get(name)
        if asked is None:
            if len(self._asked) >= MOST_AT_ONCE:
                return True
            asked = self._ask(name)
        done, _ = await asyncio.wait([asked], timeout=self._patience)
        return asked.result() if done else True

    def _ask(self, name: str) -> asyncio.Future[bool]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()
        self._asked[name] = answer

        def look_up() -> None:
            try:
                found = self._resolve(name)
                is_ours = bool(found) and all(map(is_loopback, found))
            except Exception:
                is_ours = True
            try:
                loop.call_soon_threadsafe(self._keep, name, answer, is_ours)
            except RuntimeError:  # the loop has ended meanwhile
                return

        threading.Thread(target=look_up, name="studio-resolver", daemon=True).start()
        return answer

    def _keep(self, name: str, answer: asyncio.Future[bool], is_ours: bool) -> None:
        del self._asked[name]
        self._known[name] = (self._clock() + KEPT_FOR, is_ours)
        self._known.move_to_end(name)
        if len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)
        answer.set_result(is_ours)
