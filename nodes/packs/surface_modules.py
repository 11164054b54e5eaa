"""The names that packs import, put where packs look for them. A process without packs never imports this.

Most are modules of their own, in the folder `surface`, which goes first on `sys.path`; `name_finder` finds those that
are not files. Three modules that packs import are also ours: `server`, `nodes` and `execution`. They get a face
(`host_faces`), behind which the names are that this file collects.
"""

import argparse
import asyncio
import importlib
import sys
from collections import ChainMap
from collections.abc import Collection, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from execution import CodeOf, check_interrupted
from nodes import CATALOGUE, DISPLAY_NAMES

from . import absent_names, diffusion_nodes, peer_options, prompt_executor
from .core_library import class_mappings
from .host_faces import Face, give_face, take_faces
from .name_finder import finder
from .not_offered import NotOffered
from .pack_hooks import ORIGINALS, PackHooks, restore_originals
from .prompt_executor import PromptExecutor
from .prompt_queue import PromptQueue
from .prompt_server import BinaryEventTypes, Messenger, PromptServer, interrupt_processing
from .provider_tier import ProviderTier
from .replaced_names import ReplacedNames

if TYPE_CHECKING:
    from aiohttp import web

SURFACE = Path(__file__).with_name("surface")
MAX_RESOLUTION = 16384
FACES = ("server", "nodes", "execution")
NAMES_FOR_PACKS = frozenset({
    "app", "comfy", "comfy_api", "comfy_api_nodes", "comfy_config", "comfy_execution", "comfy_extras",
    "comfyui_version", "execution", "folder_paths", "latent_preview", "model_management", "node_helpers", "nodes",
    "protocol", "server", "studio", "studio_api", "studio_execution", "studio_extras",
})
"""Top-level modules that are no libraries: a pack that lacks one of them lacks it in us."""


def is_name_for_packs(module: str) -> bool:
    return module.partition(".")[0] in NAMES_FOR_PACKS


def put_surface_first() -> None:
    """Put the folder of names first on `sys.path`, once, and have the others found."""
    if str(SURFACE) not in sys.path:
        sys.path.insert(0, str(SURFACE))
    finder.install()


class Surface:
    """What `install` put in place: the tables that packs and the loader share, and a way to take it all back."""

    def __init__(self, prompt_server: PromptServer, names: MutableMapping[str, Any], hooks: PackHooks | None,
                 replaced: ReplacedNames, caches: ProviderTier | None) -> None:
        self.prompt_server = prompt_server
        self.replaced = replaced
        """To be told of each import, so that packs learn what becomes of names that they replace."""
        self.hooks = hooks
        """Packs' hooks on prompts; None where no engine runs."""
        self._caches = caches
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
        take_faces(FACES)
        if self.hooks is not None:
            self.hooks.close()
        if self._caches is not None:
            self._caches.close()
        restore_originals()
        finder.remove()
        if str(SURFACE) in sys.path:
            sys.path.remove(str(SURFACE))
        if getattr(PromptServer, "instance", None) is self.prompt_server:
            del PromptServer.instance


def install(messenger: Messenger, *, app: "web.Application | None" = None, address: str = "127.0.0.1",
            port: int = 8188, options: argparse.Namespace | None = None, code_of: CodeOf | None = None) -> Surface:
    """Put everything where packs look for it. To be called on the server's loop, before the first pack.

    Called again, it starts afresh, with nothing that packs had assigned.

    :param app: not started yet, so that packs can add routes to it; their other routes are in
        `Surface.prompt_server.routes` afterwards.
    :param options: start options, which packs read as `comfy.cli_args.args`.
    :param code_of: tells the code of classes, for caches of packs.
    """
    put_surface_first()
    restore_originals()
    peer_options.fill_args(options)
    prompt_server = PromptServer(messenger, app=app, loop=asyncio.get_running_loop(), address=address, port=port)
    PromptServer.instance = prompt_server
    of_nodes, of_execution, of_server = _names_of_nodes(), _names_of_execution(), _names_of_server()
    all_of_nodes = ChainMap(of_nodes, diffusion_nodes.NAMES, CATALOGUE)
    give_face("nodes", all_of_nodes)
    give_face("server", of_server)
    give_face("execution", of_execution)
    replaced = ReplacedNames({"nodes": of_nodes, "server": of_server, "execution": of_execution},
                             {"nodes": all_of_nodes, "server": of_server, "execution": of_execution},
                             ORIGINALS, (prompt_server, prompt_server.prompt_queue))
    engine = messenger.engine
    hooks = None if engine is None else PackHooks(engine, prompt_server, of_execution, replaced)
    caches = None if engine is None else ProviderTier(engine, code_of)
    return Surface(prompt_server, of_nodes, hooks, replaced, caches)


def _names_of_server() -> dict[str, Any]:
    import aiohttp

    modules = {name: importlib.import_module(name) for name in ("uuid", "json", "folder_paths", "nodes", "execution")}
    return {"PromptServer": PromptServer, "BinaryEventTypes": BinaryEventTypes, "web": aiohttp.web,
            "aiohttp": aiohttp, **modules}


def _names_of_nodes() -> dict[str, Any]:
    return {
        "NODE_CLASS_MAPPINGS": class_mappings(),
        "NODE_DISPLAY_NAME_MAPPINGS": dict(DISPLAY_NAMES),
        "EXTENSION_WEB_DIRS": {},
        "LOADED_MODULE_DIRS": {},
        "MAX_RESOLUTION": MAX_RESOLUTION,
        "interrupt_processing": interrupt_processing,
        "before_node_execution": check_interrupted,
        "get_module_name": get_module_name,
        "load_custom_node": load_custom_node,
        "init_external_custom_nodes": init_external_custom_nodes,
        "init_extra_nodes": init_extra_nodes,
        "folder_paths": importlib.import_module("folder_paths"),
    }


def _names_of_execution() -> dict[str, Any]:
    names = {name: getattr(prompt_executor, name)
             for name in ("validate_prompt", "get_input_data", "SENSITIVE_EXTRA_DATA_KEYS")}
    return {"PromptExecutor": PromptExecutor, "PromptQueue": PromptQueue, "map_node_over_list": None,
            "nodes": importlib.import_module("nodes"), **names, **absent_names.names_of("execution")}


# --- functions of `nodes` ----------------------------------------------------------------------------------


def get_module_name(module_path: str) -> str:
    """What a pack is called: its folder, or its file without `.py`."""
    path = Path(module_path)
    return path.stem if path.suffix == ".py" else path.name


_RELOAD = "packs are loaded at the start; POST /api/packs/{name}/reload loads one anew"


async def load_custom_node(module_path: str, ignore: Collection[str] = frozenset(),
                           module_parent: str = "custom_nodes") -> bool:
    raise NotOffered("nodes.load_custom_node", _RELOAD)


async def init_external_custom_nodes() -> None:
    raise NotOffered("nodes.init_external_custom_nodes", _RELOAD)


async def init_extra_nodes(init_custom_nodes: bool = True, init_api_nodes: bool = True) -> None:
    raise NotOffered("nodes.init_extra_nodes", _RELOAD)


__all__ = ["SURFACE", "BinaryEventTypes", "Face", "Messenger", "PromptServer", "Surface", "install",
           "interrupt_processing", "is_name_for_packs", "put_surface_first"]
