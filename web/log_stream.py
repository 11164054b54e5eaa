"""Sends log lines to the sockets of clients that asked for them, a batch for each turn of the loop.

Lines are for looking at: where a socket is slow, or many come at once, they are dropped.
"""

import asyncio
import threading
from collections import OrderedDict, deque

from execution import ClientId

from . import wire
from .log_book import MOST_LINES, LogBook, LogLine, terminal_size
from .websocket import ClientConnections

MOST_SUBSCRIBERS = 1000
"""Clients that may be subscribed, connected or not; the oldest ones go first."""


class LogStream:
    """Who is sent log lines. Made on the loop."""

    def __init__(self, book: LogBook, connections: ClientConnections) -> None:
        self._book = book
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._subscribers: OrderedDict[ClientId, bool] = OrderedDict()
        """Whether each was told the size of the terminal."""
        self._waiting: deque[LogLine] = deque(maxlen=MOST_LINES)
        self._is_due = False
        self._turn = threading.Lock()

    def subscribe(self, client_id: ClientId) -> None:
        if not self._subscribers:
            self._book.add_listener(self._take)
        self._subscribers.setdefault(client_id, False)
        if len(self._subscribers) > MOST_SUBSCRIBERS:
            self._subscribers.popitem(last=False)

    def unsubscribe(self, client_id: ClientId) -> None:
        if self._subscribers.pop(client_id, None) is not None and not self._subscribers:
            self.close()

    def close(self) -> None:
        self._subscribers.clear()
        self._book.remove_listener(self._take)

    def _take(self, line: LogLine) -> None:
        """On whatever thread logs."""
        with self._turn:
            self._waiting.append(line)
            if self._is_due:
                return
            self._is_due = True
        try:
            self._loop.call_soon_threadsafe(self._send)
        except RuntimeError:  # the loop is closed: the server is gone
            pass

    def _send(self) -> None:
        with self._turn:
            lines = list(self._waiting)
            self._waiting.clear()
            self._is_due = False
        with_size, without = None, None
        for client_id, knows_size in list(self._subscribers.items()):
            if knows_size:
                frame = without = without or _frame(lines, None)
            else:
                frame = with_size = with_size or _frame(lines, terminal_size())
            if self._connections.send_if_there_is_room(frame, client_id):
                self._subscribers[client_id] = True
            else:
                self.unsubscribe(client_id)


def _frame(lines: list[LogLine], size: dict[str, int] | None) -> bytes:
    return wire.message("logs", {"entries": lines, "size": size})
