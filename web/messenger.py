"""What packs may have of the running server, from any thread: frames of their own, whose prompt is whose, the queue."""

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec

from execution import Engine, Event, PromptId

from . import wire
from .websocket import ClientConnections
from .wire import Audience, FrameEncoder

T = TypeVar("T")


class Messenger:
    """Made on the loop. What a node sends goes out before its end is told."""

    def __init__(self, engine: Engine, connections: ClientConnections) -> None:
        self.engine = engine
        self._connections = connections
        self._loop_thread = threading.get_ident()
        self._encoder = FrameEncoder()

    # -- frames -----------------------------------------------------------------------------------------------------

    def send(self, event: str | int, data: Any, sid: str | None) -> None:
        """A JSON message `{type, data}` for a text, a binary frame for a number; without `sid` to everybody."""
        self._soon_on_loop(lambda _: self.engine.in_order(lambda: self._connections.send(event, data, sid)))

    def messages_of(self, event: Event, client_id: str | None) -> list[tuple[str | int, Any, str | None]]:
        """What clients are told of an event: kind, content, client or None for all. To be asked for all events, in
        their order."""
        if FrameEncoder.audience_of(event) is None:
            return []
        told: list[tuple[str | int, Any, str | None]] = []
        for frame in self._encoder.encode(event):
            if frame.audience is Audience.OWN and client_id is None:
                continue
            sid = None if frame.audience is Audience.ALL else client_id
            told.append((*_content_of(frame.data), sid))
        return told

    def sockets(self) -> Mapping[str, Any]:
        """Open sockets by client, one each."""
        return self.on_loop(lambda: {one.client_id: one.socket for one in self._connections.open_connections()})

    def socket_flags(self) -> Mapping[str, Mapping[str, Any]]:
        """What clients said that they support."""
        return self.on_loop(lambda: {one.client_id: one.flags for one in self._connections.open_connections()})

    # -- prompts ----------------------------------------------------------------------------------------------------

    def client_of(self, prompt_id: str) -> str | None:
        """The client that posted a prompt."""
        return self._connections.client_of(prompt_id)

    def node_of(self, prompt_id: str) -> str | None:
        """The node of a running prompt that was called last."""
        return self.engine.running_node_of(PromptId(prompt_id))

    def running_prompts(self) -> Sequence[str]:
        return [entry.prompt_id for entry in self.engine.snapshot().running]

    def remaining(self) -> int:
        """Pending and running prompts together."""
        return self.engine.remaining

    def interrupt(self, prompt_id: str | None) -> None:
        """Cancel a running prompt, or all of them."""
        self._soon_on_loop(lambda _: self.engine.interrupt(None if prompt_id is None else PromptId(prompt_id)))

    def history(self, prompt_id: str | None) -> dict[str, Any]:
        """Prompts that have ended by id, as clients are shown them: one, or all, the oldest first."""
        entries = self.engine.history.history_now(None if prompt_id is None else PromptId(prompt_id))
        return {entry.prompt_id: msgspec.json.decode(wire.dumps(wire.history_entry(entry))) for entry in entries}

    # -- the loop ---------------------------------------------------------------------------------------------------

    def on_loop(self, function: Callable[[], T]) -> T:
        """What a function returns that is called on the loop; a thread waits for it."""
        if threading.get_ident() == self._loop_thread:
            return function()
        answer: Future[T] = Future()

        def call(_: Any) -> None:
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

        self.engine.post(call, None)
        return answer.result()

    def _soon_on_loop(self, function: Callable[[Any], Any]) -> None:
        if threading.get_ident() == self._loop_thread:
            function(None)
        else:
            self.engine.post(function, None)


def _content_of(frame: bytes) -> tuple[str | int, Any]:
    """Kind and content of a frame of ours, which has no mask and is not split."""
    payload = wire.payload_of(frame)
    if frame[0] == wire.TEXT:
        said = msgspec.json.decode(payload)
        return said["type"], said["data"]
    return struct.unpack_from(">I", payload)[0], payload[4:]
