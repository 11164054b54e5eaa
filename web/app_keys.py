"""The typed keys of what the application shares with its handlers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import Struct

from execution import Engine

if TYPE_CHECKING:
    from .installed_files import InstalledFiles
    from .job_ends import JobEnds
    from .job_progress import JobProgress
    from .log_book import LogBook
    from .log_stream import LogStream
    from .loopback_names import LoopbackNames
    from .model_files import Categories
    from .node_routes import NodeCatalogue
    from .outside import Outside
    from .pack_files import PackFiles, PackTables
    from .pack_routes import Packs
    from .prompt_gate import PromptGate
    from .queue_items import QueueItems
    from .submissions import Submissions
    from .user_accounts import UserAccounts
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
    blueprint_directory: Path | None = None
    """Subgraphs, one a file, that are offered beside those of packs."""
    compresses: bool = False
    """JSON and text are compressed for clients that take it."""
    is_offline: bool = False
    """Browsers are told that pages reach this server only."""
    user_directory: Callable[[], Path] = lambda: Path.cwd() / "user"
    """Holds a folder for each user."""
    is_multi_user: bool = False
    model_categories: "Callable[[], Categories]" = dict
    """The live table of folders and extensions of model files."""
    list_model_files: Callable[[str], Sequence[str]] = lambda category: ()
    """Sorted names of the files of a category that exists. Reads folders: called on a thread."""
    release_memory: Callable[[], None] = lambda: None
    """Gives memory back that nobody holds any more: called on a thread."""
    log_book: "LogBook | None" = None
    """Where log lines were kept so far; None begins a new book."""
    max_queue: int = 10_000
    """Prompts that may wait; 0 for any number."""
    feature_flags: Mapping[str, Any] = {}
    """What clients are told beside our own flags, which win."""
    outside: "Outside | None" = None
    """How others are reached; None delivers no webhooks."""
    webhook_secret: bytes = b""
    system_facts: Callable[[], Mapping[str, Any]]
    """What `/system_stats` answers. It may take a moment: called on a thread."""


ENGINE = web.AppKey("engine", Engine)
SETTINGS = web.AppKey("settings", WebSettings)
NODE_CATALOGUE: "web.AppKey[NodeCatalogue]" = web.AppKey("node_catalogue")
CONNECTIONS: "web.AppKey[ClientConnections]" = web.AppKey("connections")
PACK_TABLES: "web.AppKey[PackTables]" = web.AppKey("pack_tables")
"""May be set to other tables until the application starts."""
PACKS: "web.AppKey[Packs]" = web.AppKey("packs")
"""May be set to other packs until the application starts."""
PACK_FILES: "web.AppKey[PackFiles]" = web.AppKey("pack_files")
INSTALLED_FILES: "web.AppKey[InstalledFiles]" = web.AppKey("installed_files")
ACCOUNTS: "web.AppKey[UserAccounts]" = web.AppKey("accounts")
LOG_BOOK: "web.AppKey[LogBook]" = web.AppKey("log_book")
LOG_STREAM: "web.AppKey[LogStream]" = web.AppKey("log_stream")
QUEUE_ITEMS: "web.AppKey[QueueItems]" = web.AppKey("queue_items")
LOOPBACK_NAMES: "web.AppKey[LoopbackNames]" = web.AppKey("loopback_names")
SUBMISSIONS: "web.AppKey[Submissions]" = web.AppKey("submissions")
JOB_ENDS: "web.AppKey[JobEnds]" = web.AppKey("job_ends")
JOB_PROGRESS: "web.AppKey[JobProgress]" = web.AppKey("job_progress")
PROMPT_GATE: "web.AppKey[PromptGate]" = web.AppKey("prompt_gate")
"""May be set to another gate until the application starts."""
