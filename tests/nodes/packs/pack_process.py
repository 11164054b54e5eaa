"""Packs change `sys.path`, `sys.modules` and our own modules, so tests load them in a process of its own."""

import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from execution import NodeRegistry
    from nodes.packs.loader import PackReport
    from nodes.packs.pack_shelf import PackShelf
    from nodes.packs.surface_modules import Surface

Registry = TypeVar("Registry", bound="NodeRegistry")

ROOT = Path(__file__).resolve().parents[3]

NODE = '''
class {name}:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {{"required": {{}}}}

    def run(self):
        return (1,)
'''


def node(name: str) -> str:
    """The source of a class-attribute node."""
    return NODE.format(name=name)


def pack_of(*names: str) -> str:
    """The source of a pack with these nodes."""
    mapping = ", ".join(f"{name!r}: {name}" for name in names)
    return "".join(map(node, names)) + f"\nNODE_CLASS_MAPPINGS = {{{mapping}}}\n"


def write_packs(base: Path, files: dict[str, str]) -> Path:
    """Write files below `custom_nodes` of a base directory."""
    for name, source in files.items():
        path = base / "custom_nodes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
    return base


def in_process(base: Path, scenario: str) -> Any:
    """What the body of `scenario` returns, run on a loop in a fresh process: `packs` is a `PackProcess` there.

    Only what JSON knows comes back.
    """
    source = (
        "import asyncio, json, logging, sys\nfrom pathlib import Path\n"
        "from tests.nodes.packs.pack_process import PackProcess, run\n"
        "async def scenario(packs):\n" + textwrap.indent(textwrap.dedent(scenario).strip(), "    ")
        + "\nrun(scenario)\n"
    )
    done = subprocess.run([sys.executable, "-c", source, str(base)], cwd=ROOT, capture_output=True, text=True,
                          timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run(scenario: "Callable[[PackProcess], Any]") -> None:
    """The other side of `in_process`."""
    print("\n" + json.dumps(asyncio.run(scenario(PackProcess(Path(sys.argv[1]))))))


class NotedMessages:
    """A server that only takes notes."""

    engine = None

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.interrupted: list[str | None] = []
        self.running: list[str] = []

    def send(self, event: str | int, data: Any, sid: str | None) -> None:
        self.sent.append([event, data.hex() if isinstance(data, bytes) else data, sid])

    def client_of(self, prompt_id: str) -> str | None:
        return f"client of {prompt_id}"

    def node_of(self, prompt_id: str) -> str | None:
        return f"node of {prompt_id}"

    def running_prompts(self) -> list[str]:
        return self.running

    def interrupt(self, prompt_id: str | None) -> None:
        self.interrupted.append(prompt_id)

    def on_loop(self, function: Callable[[], Any]) -> Any:
        return function()

    def remaining(self) -> int:
        return len(self.running)

    def sockets(self) -> dict[str, Any]:
        return {"someone": "socket"}

    def socket_flags(self) -> dict[str, dict[str, Any]]:
        return {"someone": {"supports_preview_metadata": True}}

    def history(self, prompt_id: str | None) -> dict[str, Any]:
        return {}

    def messages_of(self, event: Any, client_id: str | None) -> list[Any]:
        return []


class PackProcess:
    """Our side of a process that loads packs: as `server.py` does, with a server that only takes notes."""

    surface: "Surface"

    def __init__(self, base: Path) -> None:
        from nodes.environment import environment
        from nodes.packs import model_folders

        self.base = base
        self.messages = NotedMessages()
        environment.place_under(base)
        model_folders.place_categories()

    async def load(self, only: Collection[str] | None = None) -> "list[PackReport]":
        from nodes.packs import loader, model_folders

        self.registry = registry_of_built_in_nodes()
        found = loader.find_packs(model_folders.pack_folders(), only)
        self.install()
        return await loader.load_packs(found, self.registry, self.surface)

    async def load_shelf(self, only: Collection[str] | None = None, **settings: Any) -> "PackShelf":
        """The same with a shelf, from which single packs can be loaded anew."""
        from nodes.packs import loader, model_folders
        from nodes.packs.pack_registry import PackRegistry
        from nodes.packs.pack_shelf import PackShelf

        self.registry = registry = fill_with_built_in_nodes(PackRegistry(settings.pop("left_out", ())))
        self.install()
        shelf = PackShelf(registry, self.surface, only=only, **settings)
        await shelf.load(loader.find_packs(model_folders.pack_folders(), only))
        return shelf

    def install(self) -> None:
        from nodes.packs import surface_modules

        self.surface = surface_modules.install(self.messages)

    def pack(self, name: str) -> Any:
        """The module of a pack."""
        return sys.modules[str(self.base / "custom_nodes" / name).replace(".", "_x_")]


def registry_of_built_in_nodes() -> "NodeRegistry":
    from execution import NodeRegistry

    return fill_with_built_in_nodes(NodeRegistry())


def fill_with_built_in_nodes(registry: Registry) -> Registry:
    from nodes import CATALOGUE, DISPLAY_NAMES
    from nodes.packs.node_definitions import define_built_in_node

    for name, node_class in CATALOGUE.items():
        registry.add(define_built_in_node(name, node_class, DISPLAY_NAMES.get(name)), built_in=True)
    return registry
