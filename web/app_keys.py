"""The typed keys of what the application shares with its handlers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import Struct

from execution import Engine

if TYPE_CHECKING:
    from .node_routes import NodeCatalogue
    from .websocket import ClientConnections


class WebSettings(Struct, frozen=True, kw_only=True):
    """What the start options say of the web layer."""

    directory_of: Callable[[str], Path | None]
    """Folder of `input`, `output` or `temp`; None for anything else."""
    max_upload_size: float = 100 * 2**20
    """Bytes of a request body."""
    cors_origin: str | None = None
    """`Access-Control-Allow-Origin`; None keeps the origin check."""
    page_directory: Path = Path(__file__).parent / "ui"
    system_facts: Callable[[], Mapping[str, Any]]
    """What `/system_stats` answers. It may take a moment: called on a thread."""


ENGINE = web.AppKey("engine", Engine)
SETTINGS = web.AppKey("settings", WebSettings)
NODE_CATALOGUE: "web.AppKey[NodeCatalogue]" = web.AppKey("node_catalogue")
CONNECTIONS: "web.AppKey[ClientConnections]" = web.AppKey("connections")
