"""The names that packs import, put where packs look for them. A process without packs never imports this.

Most are modules of their own, in the folder `surface`, which goes first on `sys.path`. Three modules that packs
import are also ours: `server`, `nodes` and `execution`. What packs read, assign and delete there lives in a
namespace apart, behind a `__class__` that these three modules get, so that our own names stay as they are.
"""

import asyncio
import importlib
import logging
import struct
import sys
from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from execution import get_current_node
from nodes import CATALOGUE, DISPLAY_NAMES

if TYPE_CHECKING:
    from aiohttp import web

logger = logging.getLogger(__name__)

SURFACE = Path(__file__).with_name("surface")
MAX_RESOLUTION = 16384
NAMES_FOR_PACKS = frozenset({
    "comfy", "comfy_api", "comfy_api_nodes", "comfy_config", "comfy_execution", "comfy_extras", "comfyui_version",
    "execution", "folder_paths", "latent_preview", "node_helpers", "nodes", "protocol", "server", "studio",
    "studio_api", "studio_execution", "studio_extras",
})
"""Top-level modules that are no libraries: a pack that lacks one of them lacks it in us."""


def is_name_for_packs(module: str) -> bool:
    return module.partition(".")[0] in NAMES_FOR_PACKS


def put_surface_first() -> None:
    """Put the folder of names first on `sys.path`, once."""
    if str(SURFACE) not in sys.path:
        sys.path.insert(0, str(SURFACE))


# --- what packs reach the server by ------------------------------------------------------------------------


class Messenger(Protocol):
    """All that packs may have of the running server. Each method can be called from any thread."""

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


class BinaryEventTypes:
    """Numbers that binary frames begin with."""

    PREVIEW_IMAGE = 1
    UNENCODED_PREVIEW_IMAGE = 2
    TEXT = 3
    PREVIEW_IMAGE_WITH_METADATA = 4


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
        self.number = 0

    @property
    def last_prompt_id(self) -> str | None:
        """The prompt that this code runs for; in a thread without a context the only one that runs, else None."""
        context = get_current_node()
        if context is not None:
            return context.prompt_id
        running = self.messenger.running_prompts()
        return running[0] if len(running) == 1 else None

    @property
    def last_node_id(self) -> str | None:
        """The node that this code runs for; without a context the latest one of `last_prompt_id`."""
        context = get_current_node()
        if context is not None:
            return context.unique_id
        prompt_id = self.last_prompt_id
        return None if prompt_id is None else self.messenger.node_of(prompt_id)

    @property
    def client_id(self) -> str | None:
        """The client of `last_prompt_id`."""
        prompt_id = self.last_prompt_id
        return None if prompt_id is None else self.messenger.client_of(prompt_id)

    def send_sync(self, event: str | int, data: Any, sid: str | None = None) -> None:
        self.messenger.send(event, data, sid)

    async def send(self, event: str | int, data: Any, sid: str | None = None) -> None:
        self.messenger.send(event, data, sid)

    async def send_json(self, event: str, data: Any, sid: str | None = None) -> None:
        self.messenger.send(event, data, sid)

    async def send_bytes(self, event: int, data: bytes, sid: str | None = None) -> None:
        self.messenger.send(event, data, sid)

    def send_progress_text(self, text: str | bytes, node_id: str, sid: str | None = None) -> None:
        """Show a line of text on a node."""
        node, line = str(node_id).encode(), text if isinstance(text, bytes) else text.encode(errors="replace")
        self.messenger.send(BinaryEventTypes.TEXT, struct.pack(">I", len(node)) + node + line, sid)


def interrupt_processing(value: bool = True) -> None:
    """Interrupt the prompt that this code runs for; outside of one, every prompt that runs."""
    server = getattr(PromptServer, "instance", None)
    if value and server is not None:
        context = get_current_node()
        server.messenger.interrupt(None if context is None else context.prompt_id)


# --- our modules, as packs see them ------------------------------------------------------------------------


class Face(ModuleType):
    """One of our modules as packs see it: `pack_names` first, our own names behind them, written to never."""

    pack_names: ClassVar[MutableMapping[str, Any]]

    def __getattribute__(self, name: str) -> Any:
        pack_names = type(self).pack_names
        if name == "__all__":
            return [one for one in pack_names if not one.startswith("_")]
        if name in pack_names:
            return pack_names[name]
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_for_python(name, value):
            super().__setattr__(name, value)
        elif self._is_own(name):
            logger.warning("a pack assigned %s.%s, which is Hanzo Studio's own and stays as it is",
                           self.__name__, name)
        else:
            type(self).pack_names[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del type(self).pack_names[name]
        except KeyError:
            raise AttributeError(f"{self.__name__}.{name} cannot be deleted: no pack assigned it") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *type(self).pack_names})

    def _is_own(self, name: str) -> bool:
        return name == "__all__" or (name in vars(self) and name not in type(self).pack_names)

    def _is_for_python(self, name: str, value: Any) -> bool:
        """`import nodes.image` binds `nodes.image`, and reloading a module writes `__spec__` and the like."""
        if isinstance(value, ModuleType):
            return sys.modules.get(f"{self.__name__}.{name}") is value
        return name != "__all__" and name.startswith("__") and name.endswith("__")


class Surface:
    """What `install` put in place: the tables that packs and the loader share, and a way to take it all back."""

    def __init__(self, prompt_server: PromptServer, names: MutableMapping[str, Any]) -> None:
        self.prompt_server = prompt_server
        self._names = names
        self._tables = {name: table for name, table in names.items() if isinstance(table, dict)}

    @property
    def class_mappings(self) -> dict[str, Any]:
        """All classes by name, the built-in ones too: the live table that packs read, wrap and write."""
        return self._table("NODE_CLASS_MAPPINGS")

    @property
    def display_names(self) -> dict[str, str]:
        return self._table("NODE_DISPLAY_NAME_MAPPINGS")

    @property
    def module_directories(self) -> dict[str, str]:
        return self._table("LOADED_MODULE_DIRS")

    @property
    def web_directories(self) -> dict[str, str]:
        """Folders with files for the browser, by the name they are served under."""
        return self._table("EXTENSION_WEB_DIRS")

    def _table(self, name: str) -> dict[str, Any]:
        """The table as packs see it now; if one was deleted, or replaced by what is no dict, the one before."""
        table = self._names.get(name)
        if not isinstance(table, dict):
            table = self._names[name] = self._tables[name]
        self._tables[name] = table
        return table

    def remove(self) -> None:
        """Make our modules plain again and take the folder off `sys.path`. Modules that were imported stay."""
        for name in ("server", "nodes", "execution"):
            if isinstance(module := sys.modules.get(name), Face):
                module.__class__ = ModuleType
        if str(SURFACE) in sys.path:
            sys.path.remove(str(SURFACE))
        if getattr(PromptServer, "instance", None) is self.prompt_server:
            del PromptServer.instance


def install(messenger: Messenger, *, app: "web.Application | None" = None, address: str = "127.0.0.1",
            port: int = 8188) -> Surface:
    """Put everything where packs look for it. To be called on the server's loop, before the first pack.

    Called again, it starts afresh, with nothing that packs had assigned.

    :param app: not started yet, so that packs can add routes to it; their other routes are in
        `Surface.prompt_server.routes` afterwards.
    """
    put_surface_first()
    PromptServer.instance = PromptServer(messenger, app=app, loop=asyncio.get_running_loop(), address=address,
                                         port=port)
    names = {
        "NODE_CLASS_MAPPINGS": dict(CATALOGUE),
        "NODE_DISPLAY_NAME_MAPPINGS": dict(DISPLAY_NAMES),
        "EXTENSION_WEB_DIRS": {},
        "LOADED_MODULE_DIRS": {},
        "MAX_RESOLUTION": MAX_RESOLUTION,
        "interrupt_processing": interrupt_processing,
    }
    _give_face("nodes", ChainMap(names, CATALOGUE))
    _give_face("server", {"PromptServer": PromptServer, "BinaryEventTypes": BinaryEventTypes})
    _give_face("execution", {})
    return Surface(PromptServer.instance, names)


def _give_face(module_name: str, names: MutableMapping[str, Any]) -> None:
    module = importlib.import_module(module_name)
    module.__class__ = type("Face", (Face,), {"pack_names": names})
