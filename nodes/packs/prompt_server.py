"""`PromptServer`: how packs reach the running server. `Messenger` is all that it needs of one."""

import asyncio
import logging
import struct
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from execution import Engine, Event, get_current_node

from .not_offered import NotOffered
from .prompt_queue import PromptQueue

if TYPE_CHECKING:
    from aiohttp import web

logger = logging.getLogger(__name__)

T = TypeVar("T")

told_already: ContextVar[str | int | None] = ContextVar("told_already", default=None)
"""The kind of a message of ours that a replaced `send_sync` is being shown: clients have it."""


class Messenger(Protocol):
    """All that packs may have of the running server. Each method can be called from any thread."""

    engine: Engine | None

    def send(self, event: str | int, data: Any, sid: str | None) -> None:
        """A JSON message `{type, data}` for a text, a binary frame for a number; without `sid` to everybody."""

    def client_of(self, prompt_id: str) -> str | None:
        """The client that posted a prompt."""

    def node_of(self, prompt_id: str) -> str | None:
        """The node of a running prompt that was called last."""

    def running_prompts(self) -> Sequence[str]:
        """Prompts that have started and not ended."""

    def interrupt(self, prompt_id: str | None) -> None:
        """Cancel a running prompt, or all of them."""

    def on_loop(self, function: Callable[[], T]) -> T:
        """What a function returns that is called on the server's loop."""
        ...

    def remaining(self) -> int:
        """Pending and running prompts together."""
        ...

    def sockets(self) -> Mapping[str, Any]:
        """Open sockets by client."""
        ...

    def socket_flags(self) -> Mapping[str, Mapping[str, Any]]:
        """What clients said that they support."""
        ...

    def history(self, prompt_id: str | None) -> dict[str, Any]:
        """Prompts that have ended, as clients are shown them: one, or all."""
        ...

    def messages_of(self, event: Event, client_id: str | None) -> list[tuple[str | int, Any, str | None]]:
        """What clients are told of an event: kind, content, client or None for all. In the order of events."""
        ...


class BinaryEventTypes:
    """Numbers that binary frames begin with."""

    PREVIEW_IMAGE = 1
    UNENCODED_PREVIEW_IMAGE = 2
    TEXT = 3
    PREVIEW_IMAGE_WITH_METADATA = 4


class _Absent:
    """A service of the host that does not exist here. Truthy tests and reads are fine, calls are not."""

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotOffered(f"{self._name}.{name}", self._instead)


class PromptServer:
    """The running server, as packs know it. What a serial host keeps for "the" prompt is per prompt here."""

    instance: ClassVar["PromptServer"]

    def __init__(self, messenger: Messenger, *, app: "web.Application | None", loop: asyncio.AbstractEventLoop,
                 address: str, port: int) -> None:
        from aiohttp import web

        self.messenger = messenger
        self.app = app
        self.loop = loop
        self.address = address
        self.port = port
        self.routes = web.RouteTableDef()
        self.number: float = 0
        """One more than the highest number that a prompt was queued by."""
        self.prompt_queue = PromptQueue(self)
        self.on_prompt_handlers: list[Callable[[dict[str, Any]], dict[str, Any]]] = []
        self.supports = ["custom_nodes_from_web"]
        self.web_root = str(Path(__file__).resolve().parents[2] / "web" / "ui")
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.client_session: Any = None
        self._sending: set[asyncio.Task[None]] = set()
        self.user_manager = _Absent("PromptServer.user_manager", "use the routes below /userdata and /settings")
        self.node_replace_manager: Any = _Absent("PromptServer.node_replace_manager",
                                                 "use ComfyAPI().node_replacement.register")
        self.subgraph_manager = _Absent("PromptServer.subgraph_manager", "put files into the pack's folder subgraphs")
        self.asset_manager = _Absent("PromptServer.asset_manager", "there is no database of assets")

    # -- the prompt that this code runs for -----------------------------------------------------------------------

    @property
    def last_prompt_id(self) -> str | None:
        """The prompt that this code runs for; in a thread without a context the only one that runs, else None."""
        context = get_current_node()
        if context is not None:
            return context.prompt_id or None
        running = self.messenger.running_prompts()
        return running[0] if len(running) == 1 else None

    @last_prompt_id.setter
    def last_prompt_id(self, value: Any) -> None:
        """Nothing: which prompt it is belongs to the code that runs, and some hosts' packs assign it."""

    @property
    def last_node_id(self) -> str | None:
        """The node that this code runs for; without a context the latest one of `last_prompt_id`."""
        context = get_current_node()
        if context is not None and context.unique_id:
            return context.unique_id
        prompt_id = self.last_prompt_id
        return None if prompt_id is None else self.messenger.node_of(prompt_id)

    @last_node_id.setter
    def last_node_id(self, value: Any) -> None:
        """Nothing, as above."""

    @property
    def client_id(self) -> str | None:
        """The client of `last_prompt_id`."""
        prompt_id = self.last_prompt_id
        return None if prompt_id is None else self.messenger.client_of(prompt_id)

    @client_id.setter
    def client_id(self, value: Any) -> None:
        """Nothing, as above."""

    # -- messages ---------------------------------------------------------------------------------------------------

    @property
    def sockets(self) -> dict[str, Any]:
        """Open sockets by client id, one each."""
        return dict(self.messenger.sockets())

    @property
    def sockets_metadata(self) -> dict[str, dict[str, Any]]:
        return {sid: {"feature_flags": dict(flags)} for sid, flags in self.messenger.socket_flags().items()}

    def send_sync(self, event: str | int, data: Any, sid: str | None = None) -> None:
        """Send a message to a client, or to all. From any thread.

        Of our own messages a replaced one is told when they go out: then this has nothing left to do.
        """
        if event == BinaryEventTypes.UNENCODED_PREVIEW_IMAGE:
            self._send_picture(data, sid)
        elif told_already.get() != event:
            self.messenger.send(event, data, sid)

    async def send(self, event: str | int, data: Any, sid: str | None = None) -> None:
        if event == BinaryEventTypes.UNENCODED_PREVIEW_IMAGE:
            await self.send_image(data, sid)
        elif told_already.get() != event:
            self.messenger.send(event, data, sid)

    async def send_json(self, event: str, data: Any, sid: str | None = None) -> None:
        self.messenger.send(event, data, sid)

    async def send_bytes(self, event: int, data: bytes, sid: str | None = None) -> None:
        self.messenger.send(event, data, sid)

    async def send_image(self, image_data: tuple[str, Any, int | None], sid: str | None = None) -> None:
        """Send a preview: (`JPEG` or `PNG`, PIL image, longest side in pixels or None)."""
        self.messenger.send(BinaryEventTypes.PREVIEW_IMAGE, await asyncio.to_thread(_encoded, image_data), sid)

    def _send_picture(self, image_data: tuple[str, Any, int | None], sid: str | None) -> None:
        """The same at once from a thread, or as soon as it is encoded from the loop."""
        try:
            is_on_loop = asyncio.get_running_loop() is self.loop
        except RuntimeError:
            is_on_loop = False
        if is_on_loop:
            sending = self.loop.create_task(self.send_image(image_data, sid))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
        else:
            self.messenger.send(BinaryEventTypes.PREVIEW_IMAGE, _encoded(image_data), sid)

    def send_progress_text(self, text: str | bytes, node_id: str, sid: str | None = None) -> None:
        """Show a line of text on a node."""
        node, line = str(node_id).encode(), text if isinstance(text, bytes) else text.encode(errors="replace")
        self.send_sync(BinaryEventTypes.TEXT, struct.pack(">I", len(node)) + node + line, sid)

    # -- prompts ----------------------------------------------------------------------------------------------------

    def add_on_prompt_handler(self, handler: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Have a function see, and perhaps change, the body of each submission before it is checked."""
        self.on_prompt_handlers.append(handler)

    def trigger_on_prompt(self, json_data: dict[str, Any]) -> dict[str, Any]:
        """Show a body to all handlers, in their order. One that fails is logged, and changes nothing."""
        for handler in list(self.on_prompt_handlers):
            try:
                changed = handler(json_data)
            except Exception:
                logger.exception("a handler of prompts (%s) failed, and is passed over", _place_of(handler))
                continue
            if isinstance(changed, dict):
                json_data = changed
            else:
                logger.warning("a handler of prompts (%s) returned no dict but a %s, and is passed over",
                               _place_of(handler), type(changed).__name__)
        return json_data

    def get_queue_info(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self.messenger.remaining()}}

    def queue_updated(self) -> None:
        """Tell every client how many prompts are left."""
        self.send_sync("status", {"status": self.get_queue_info()})


def _encoded(image_data: tuple[str, Any, int | None]) -> bytes:
    """Payload of a frame with a picture: which format, and its bytes."""
    from nodes.preview_images import encode_preview

    kind, encoded = encode_preview(image_data)
    return struct.pack(">I", 2 if kind.upper() == "PNG" else 1) + encoded


def _place_of(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"


def interrupt_processing(value: bool = True) -> None:
    """Interrupt the prompt that this code runs for; outside of one, every prompt that runs."""
    server = getattr(PromptServer, "instance", None)
    if value and server is not None:
        context = get_current_node()
        server.messenger.interrupt(None if context is None else context.prompt_id)
