"""Sockets: one `ClientConnection` each, with a bounded outbox of its own, so that none can delay another.

Events are encoded once and put into the outboxes of whoever they are for. What a newer frame makes pointless may be
replaced while it is unsent; what must not be lost is kept until it does not fit, and then the socket is closed.
"""

import asyncio
import contextlib
import logging
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from aiohttp import WSCloseCode, WSMsgType, web

from execution import ClientId, Engine, Event, NodeFailed, NodeId, PromptDropped, PromptFinished, PromptId, PromptQueued

from . import wire
from .bad_request import BadRequest
from .replay import catch_up, ends_before_the_start, since_of, snapshot_frames
from .wire import Audience, Frame, FrameEncoder

log = logging.getLogger("studio.web")

MOST_FRAMES = 50_000
MOST_BYTES = 32 * 2**20
"""An outbox that would hold more of what must not be lost is closed with 1013."""
HIGH_WATER = 256 * 2**10
"""Bytes that may lie in the transport; more waits in the outbox, where it can still be replaced."""
PACE = 0.01
"""Seconds between two writes to one socket while a prompt runs: what comes in between goes out together. Its end goes
out at once."""
PACE_OF_OTHERS = 0.03
"""The same for what is about prompts of others."""
GATHER = 0.002
"""Seconds that the first frame waits for others: a prompt that starts is several of them, and so is a short one."""
RETRY = 0.02
_CLOSE_TIMEOUT = 1.0
_MOST_MISSED = 200
_MOST_AWAY = 1000
_LONGEST_CLIENT_ID = 1000
_FLAG_OF_ONE_AT_A_TIME = "supports_manager_v4_ui"
"""What pages say of themselves whose title, frames and Cancel button know one running prompt only."""


class ClientConnection:
    """One socket: an outbox, its only writer, and what the client said of itself."""

    def __init__(self, client_id: ClientId, socket: web.WebSocketResponse, transport: asyncio.Transport,
                 close: Callable[["ClientConnection"], None]) -> None:
        self.client_id = client_id
        self.socket = socket
        self.flags: dict[str, Any] = {}
        self.is_closing = False
        self._transport = transport
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._frames: deque[list[Any]] = deque()  # [bytes, key]
        self._keyed: dict[tuple[str, ...], list[Any]] = {}
        self._bytes = 0
        self._timer: asyncio.Handle | None = None
        self._written_at = 0.0
        self._patience = 0.0
        self._passing = 0
        self.wants_numbers = False
        """It is told the place of each state event in the order of all events."""
        self._held: list[Frame] | None = None

    def put_frame(self, frame: Frame, within: float = 0.0) -> None:
        """Have a frame of an event sent, behind what the socket is still to be told of earlier."""
        if self._held is None:
            if frame.replaces is None and not self.wants_numbers and not self.is_closing:
                # By far the most frequent case: a state event for a socket that keeps up.
                data, frames = frame.data, self._frames
                size = self._bytes + len(data)
                if len(frames) < MOST_FRAMES and size <= MOST_BYTES:
                    frames.append([data, None])
                    self._bytes = size
                    if self._timer is None or within < self._patience:
                        self._schedule(within)
                    return
            self.put(frame.numbered() if self.wants_numbers else frame.data, frame.replaces, within)
        elif frame.replaces is None:
            self._held.append(frame)
            if len(self._held) > MOST_FRAMES:
                self._close(self)

    def put_frame_now(self, frame: Frame) -> None:
        """The same, before what is held back."""
        self.put(frame.numbered() if self.wants_numbers else frame.data)

    def hold(self) -> None:
        """Keep back what happens from now on, until `release`: first comes what happened before."""
        self._held = []

    def release(self) -> None:
        held, self._held = self._held, None
        for frame in held or ():
            self.put_frame(frame)

    async def has_room(self) -> bool:
        """Wait until more may be put without filling the outbox. Returns whether the socket is still open."""
        while self._bytes > HIGH_WATER and not self.is_closing:  # noqa: ASYNC110 - it is the reader's pace, no event
            await asyncio.sleep(PACE)
        return not self.is_closing

    def put(self, data: bytes, replaces: tuple[str, ...] | None = None, within: float = 0.0) -> None:
        """Have a frame sent. With a key it takes the place of an unsent one of the same key.

        :param within: seconds that it may wait for more to go out with it, counted from the last write.
        """
        if self.is_closing:
            return
        if replaces is not None:
            unsent = self._keyed.get(replaces)
            if unsent is not None:
                self._bytes += len(data) - len(unsent[0])
                unsent[0] = data
                return
        if len(self._frames) >= MOST_FRAMES or self._bytes + len(data) > MOST_BYTES:
            if replaces is not None:
                return
            self._drop_replaceable()
            if len(self._frames) >= MOST_FRAMES or self._bytes + len(data) > MOST_BYTES:
                self._close(self)
                return
        entry = [data, replaces]
        self._frames.append(entry)
        self._bytes += len(data)
        if replaces is not None:
            self._keyed[replaces] = entry
        if self._timer is None or within < self._patience:
            self._schedule(within)

    def put_if_there_is_room(self, data: bytes) -> None:
        """Have a frame sent, unless so much waits already that it is better lost."""
        if self._bytes <= HIGH_WATER:
            self._passing += 1
            self.put(data, ("passing", str(self._passing)), PACE)

    def _schedule(self, within: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._patience = within
        wait = max(self._written_at + within - self._loop.time(), GATHER) if within else 0.0
        self._timer = self._loop.call_soon(self._write) if wait <= 0 else self._loop.call_later(wait, self._write)

    def takes(self, frame: Frame) -> bool:
        return frame.wants_metadata is None or frame.wants_metadata is self.wants_metadata

    @property
    def wants_metadata(self) -> bool:
        return self.flags.get("supports_preview_metadata") is True

    def stop(self) -> None:
        """Send nothing more."""
        self.is_closing = True
        self._frames.clear()
        self._keyed.clear()
        self._bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        self._transport.abort()

    def flush(self) -> None:
        """Write what is there, however much lies in the transport."""
        if not self._transport.is_closing() and self._frames:
            self._transport.write(b"".join([entry[0] for entry in self._frames]))
            self._frames.clear()
            self._keyed.clear()

    def _drop_replaceable(self) -> None:
        self._frames = deque(entry for entry in self._frames if entry[1] is None)
        self._keyed.clear()
        self._bytes = sum(len(entry[0]) for entry in self._frames)

    def _write(self) -> None:
        self._timer = None
        self._patience = 0.0
        transport = self._transport
        if self.is_closing or transport.is_closing() or self.socket.closed:
            return
        room = HIGH_WATER - transport.get_write_buffer_size()
        batch = []
        while self._frames and room > 0:
            data, key = self._frames.popleft()
            if key is not None:
                del self._keyed[key]
            batch.append(data)
            room -= len(data)
            self._bytes -= len(data)
        if batch:
            transport.write(batch[0] if len(batch) == 1 else b"".join(batch))
            self._written_at = self._loop.time()
        if self._frames:  # a slow reader: its frames wait here
            self._timer = self._loop.call_later(RETRY, self._write)
            self._patience = 0.0  # nothing gets through any sooner


class ClientConnections:
    """All sockets, and who of them is sent what.

    :param features: what the server says of itself when a client sends its flags.
    """

    def __init__(self, engine: Engine, features: Callable[[], dict[str, Any]]) -> None:
        self._engine = engine
        self._features = features
        self._encoder = FrameEncoder()
        self._loop = asyncio.get_running_loop()
        self._all: dict[ClientConnection, None] = {}
        self._by_client: dict[ClientId, list[ClientConnection]] = {}
        self._client_of: dict[PromptId, ClientId | None] = {}
        self._missed: OrderedDict[ClientId, list[bytes]] = OrderedDict()
        self._failures: dict[PromptId, list[bytes]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._numbered = 0
        """Sockets that want numbers."""
        engine.add_arrival_listener(self._note_arrival)
        engine.add_listener(self.take)

    # -- events -----------------------------------------------------------------------------------------------------

    def _note_arrival(self, event: PromptQueued) -> None:
        """Before its nodes run, and send something to its client."""
        self._client_of[event.prompt_id] = event.client_id

    def take(self, event: Event) -> None:
        """Put what an event says into the outboxes of whoever it is for."""
        kind = event.__class__
        if kind is PromptDropped:
            assert isinstance(event, PromptDropped)
            self._client_of.pop(event.prompt_id, None)
            self._encoder.forget(event.prompt_id)
        audience = self._encoder.audience_of(event)
        if audience is None:
            return
        if audience is Audience.ALL:
            self._spread(event)
            return
        prompt_id: PromptId = event.prompt_id  # type: ignore[attr-defined]
        receivers = self._receivers(audience, prompt_id)
        if not receivers:
            if audience is Audience.OWN:
                self._remember(event, prompt_id)
            return
        has_client = self._client_of.get(prompt_id) is not None
        for frame in self._frames_of(event):
            self._put(frame, receivers, has_client)

    def _frames_of(self, event: Event) -> list[Frame]:
        return self._encoder.encode_numbered(event) if self._numbered else self._encoder.encode(event)

    def _receivers(self, audience: Audience, prompt_id: PromptId) -> Iterable[ClientConnection]:
        client_id = self._client_of.get(prompt_id)
        if client_id is not None:
            return self._by_client.get(client_id, ())
        return self._all if audience is Audience.OWN_OR_ALL else ()

    @staticmethod
    def _put(frame: Frame, receivers: Iterable[ClientConnection], has_client: bool = True) -> None:
        """Without a client nobody's flags count: everybody is sent previews without metadata."""
        if frame.wants_metadata is True and not has_client:
            return
        if frame.wants_metadata is None or not has_client:
            for connection in list(receivers) if frame.replaces is None else receivers:
                connection.put_frame(frame, PACE)
            return
        for connection in receivers:
            if connection.takes(frame):
                connection.put_frame(frame, PACE)

    def _spread(self, event: Event) -> None:
        """An event of a prompt, or of the queue, of which everybody is told something."""
        prompt_id: PromptId | None = getattr(event, "prompt_id", None)
        client_id = None if prompt_id is None else self._client_of.get(prompt_id)
        is_end = event.__class__ is PromptFinished
        own = self._by_client.get(client_id, ()) if client_id is not None else ()
        own_pace = 0.0 if is_end else PACE
        missed: list[bytes] = []
        for frame in self._frames_of(event):
            if frame.audience is Audience.ALL or (frame.audience is Audience.OWN_OR_ALL and client_id is None):
                for connection in list(self._all):
                    is_own = client_id is None or connection.client_id == client_id
                    connection.put_frame(frame, own_pace if is_own else PACE_OF_OTHERS)
            elif own:
                for connection in list(own):
                    connection.put_frame(frame, own_pace)
            elif is_end and client_id is not None:
                missed.append(frame.data)
        if is_end and prompt_id is not None:
            failure = self._failures.pop(prompt_id, [])
            if client_id is not None and not own:
                self._keep_for(client_id, failure + missed)
            self._client_of.pop(prompt_id, None)

    def _remember(self, event: Event, prompt_id: PromptId) -> None:
        """Nobody hears of an error now: its client is told with the end of the prompt when it comes back."""
        if isinstance(event, NodeFailed) and self._client_of.get(prompt_id) is not None:
            self._failures[prompt_id] = [frame.data for frame in self._encoder.encode(event)]

    def _keep_for(self, client_id: ClientId, frames: list[bytes]) -> None:
        missed = self._missed.setdefault(client_id, [])
        missed += frames
        del missed[:-_MOST_MISSED]
        self._missed.move_to_end(client_id)
        if len(self._missed) > _MOST_AWAY:
            self._missed.popitem(last=False)

    async def remember_ends_before_the_start(self) -> None:
        """Clients that come back to a server that has started again are told the ends that they may have missed."""
        for client_id, frames in (await ends_before_the_start(self._engine)).items():
            self._keep_for(client_id, frames)

    # -- what packs send of their own ---------------------------------------------------------------------------------

    def send(self, event: str | int, data: Any, client_id: str | None = None) -> None:
        """Send a message that is not an event of ours: JSON for a named one, binary for a number. On the loop."""
        frame = wire.message(event, data) if isinstance(event, str) else wire.binary_message(event, bytes(data))
        receivers = list(self._all) if client_id is None else self._by_client.get(ClientId(client_id), [])
        for connection in list(receivers):
            connection.put(frame, None, PACE)

    def send_if_there_is_room(self, frame: bytes, client_id: ClientId) -> bool:
        """Send what may be lost: a socket whose reader is slow goes without.

        :returns: whether the client has a socket.
        """
        receivers = self._by_client.get(client_id, [])
        for connection in list(receivers):
            connection.put_if_there_is_room(frame)
        return bool(receivers)

    def client_of(self, prompt_id: str) -> str | None:
        return self._client_of.get(PromptId(prompt_id))

    def open_connections(self) -> list[ClientConnection]:
        """The oldest first. On the loop."""
        return list(self._all)

    def shows_one_prompt_at_a_time(self, client_id: ClientId) -> bool:
        """Whether prompts of this client that run side by side would confuse its display."""
        return any(_FLAG_OF_ONE_AT_A_TIME in connection.flags for connection in self._by_client.get(client_id, ()))

    # -- sockets ------------------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """The life of one socket."""
        client_id = ClientId(request.query.get("clientId") or uuid.uuid4().hex)
        if len(client_id) > _LONGEST_CLIENT_ID:
            raise BadRequest("invalid_client_id", "clientId is too long.",
                             f"at most {_LONGEST_CLIENT_ID} characters")
        since = since_of(request.query.get("since"))
        socket = web.WebSocketResponse(compress=False, max_msg_size=4 * 2**20, timeout=_CLOSE_TIMEOUT)
        await socket.prepare(request)
        transport = cast(asyncio.Transport, request.transport)  # uvloop's are no subclass of it
        connection = ClientConnection(client_id, socket, transport, self._close_slow)
        self._welcome(connection, catches_up=since is not None)
        catching_up: asyncio.Task[None] | None = None
        if since is not None:
            connection.wants_numbers = True
            self._numbered += 1
            connection.hold()
            catching_up = self._loop.create_task(catch_up(
                connection, self._engine, since, self._engine.last_told, snapshot_frames(self._engine, client_id)))
        try:
            await self._listen(connection)
        finally:
            connection.stop()
            self._forget(connection)
            if catching_up is not None:
                self._numbered -= 1
                catching_up.cancel()
                await asyncio.wait((catching_up,))
        return socket

    def _welcome(self, connection: ClientConnection, catches_up: bool) -> None:
        client_id = connection.client_id
        self._all[connection] = None
        self._by_client.setdefault(client_id, []).append(connection)
        connection.put(wire.status_message(self._engine.remaining, client_id))
        if catches_up:  # it is told everything again that it has not seen
            self._missed.pop(client_id, None)
            return
        for prompt_id, owner in self._client_of.items():
            if owner == client_id:
                node_id: NodeId | None = self._engine.running_node_of(prompt_id)
                if node_id is not None:
                    connection.put(wire.message("executing", {"node": node_id}))
                for frame in self._failures.pop(prompt_id, ()):
                    connection.put(frame)
        for frame in self._missed.pop(client_id, ()):
            connection.put(frame)

    def _forget(self, connection: ClientConnection) -> None:
        self._all.pop(connection, None)
        others = self._by_client.get(connection.client_id)
        if others is not None and connection in others:
            others.remove(connection)
            if not others:
                del self._by_client[connection.client_id]

    async def _listen(self, connection: ClientConnection) -> None:
        is_first = True
        async for incoming in connection.socket:
            if incoming.type is not WSMsgType.TEXT or not is_first:
                continue
            try:
                said = wire.decode_json(incoming.data.encode())
            except (BadRequest, UnicodeEncodeError):
                continue
            if not isinstance(said, dict):
                continue
            is_first = False
            flags = said.get("data")
            if said.get("type") == "feature_flags":
                connection.flags = flags if isinstance(flags, dict) else {}
                connection.put(wire.message("feature_flags", self._features()))

    def _close_slow(self, connection: ClientConnection) -> None:
        log.warning("client %s does not read: its socket is closed", connection.client_id)
        self._close(connection, WSCloseCode.TRY_AGAIN_LATER, b"too slow")

    def _close(self, connection: ClientConnection, code: int, reason: bytes) -> None:
        connection.stop()
        self._forget(connection)
        task = self._loop.create_task(self._say_goodbye(connection, code, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    @staticmethod
    async def _say_goodbye(connection: ClientConnection, code: int, reason: bytes) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await connection.socket.close(code=code, message=reason)
        connection.abort()

    async def close(self) -> None:
        """The server stops: tell everybody."""
        self._engine.remove_listener(self.take)
        self._engine.remove_arrival_listener(self._note_arrival)
        for connection in list(self._all):
            connection.flush()
            self._close(connection, WSCloseCode.GOING_AWAY, b"server shutdown")
        if self._closing:
            await asyncio.wait(self._closing)
