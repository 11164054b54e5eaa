"""Puts the application together: routes and middlewares are data, stacked in one short function."""

from collections.abc import Iterable

from aiohttp import web

from execution import Engine

from . import (
    asset_routes,
    file_routes,
    internal_routes,
    job_change_routes,
    job_events,
    job_routes,
    log_routes,
    model_routes,
    node_routes,
    pack_file_routes,
    pack_routes,
    prompt_routes,
    queue_routes,
    queue_state_routes,
    settings_routes,
    system_routes,
    userdata_routes,
)
from .app_keys import (
    ACCOUNTS,
    CONNECTIONS,
    ENGINE,
    INSTALLED_FILES,
    JOB_ENDS,
    JOB_PROGRESS,
    LOG_BOOK,
    LOG_STREAM,
    LOOPBACK_NAMES,
    NODE_CATALOGUE,
    PACK_FILES,
    PACK_TABLES,
    PACKS,
    PROMPT_GATE,
    QUEUE_ITEMS,
    SETTINGS,
    SUBMISSIONS,
    WebSettings,
)
from .installed_files import InstalledFiles
from .job_ends import JobEnds
from .job_progress import JobProgress
from .log_book import LogBook
from .log_stream import LogStream
from .loopback_names import LoopbackNames
from .middlewares import cache_headers, errors_to_statuses, let_pages_read, own_pages_only
from .optional_middlewares import compress_answers, own_origin_only
from .pack_files import PackFiles, PackTables
from .prompt_gate import OpenGate
from .prompt_lines import PromptLines
from .queue_items import QueueItems
from .submissions import Submissions
from .user_accounts import UserAccounts
from .webhook_deliveries import deliver_webhooks
from .websocket import ClientConnections

TABLES = (prompt_routes.routes, queue_routes.routes, node_routes.routes, file_routes.routes, system_routes.routes,
          settings_routes.routes, userdata_routes.routes, model_routes.routes, pack_file_routes.routes,
          pack_routes.routes)
WITHOUT_TWINS = (log_routes.routes, internal_routes.routes, pack_file_routes.static_routes, asset_routes.routes,
                 job_routes.routes, job_change_routes.routes, job_events.routes, queue_state_routes.routes)
"""Tables whose paths exist once, as they are written."""


def create_app(engine: Engine, settings: WebSettings) -> web.Application:
    """The application around an open engine. Call it on the loop that the engine runs on.

    Routes may be added until it starts; `finish_routes` then adds the files of the page, which answer every GET
    that nothing else does.
    """
    optional = [middleware for middleware, is_on in ((own_origin_only, settings.is_offline),
                                                     (compress_answers, settings.compresses)) if is_on]
    app = web.Application(middlewares=[cache_headers, *optional, own_pages_only, errors_to_statuses],
                          client_max_size=round(settings.max_upload_size))
    app[ENGINE] = engine
    app[SETTINGS] = settings
    app[NODE_CATALOGUE] = node_routes.NodeCatalogue(engine)
    app[QUEUE_ITEMS] = QueueItems(engine)
    app[LOOPBACK_NAMES] = LoopbackNames()
    app[CONNECTIONS] = ClientConnections(engine, lambda: system_routes.server_features(settings))
    app[PACK_TABLES] = PackTables()
    app[PACKS] = pack_routes.Packs()
    app[PROMPT_GATE] = OpenGate()
    app[SUBMISSIONS] = Submissions(engine, lambda: app[PROMPT_GATE], settings.max_queue)
    app[JOB_ENDS] = JobEnds(engine)
    app[JOB_PROGRESS] = JobProgress(engine)
    app[PACK_FILES] = PackFiles(lambda: app[PACK_TABLES], settings.blueprint_directory)
    app[INSTALLED_FILES] = InstalledFiles()
    app[ACCOUNTS] = UserAccounts(settings.user_directory, settings.is_multi_user)
    app[LOG_BOOK] = LogBook() if settings.log_book is None else settings.log_book
    app[LOG_STREAM] = LogStream(app[LOG_BOOK], app[CONNECTIONS])
    prompt_lines = PromptLines()
    engine.add_listener(prompt_lines.take, PromptLines.KINDS)
    for table in TABLES:
        add_routes(app, table)
    for table in WITHOUT_TWINS:
        app.router.add_routes(table)

    async def say_goodbye(app: web.Application) -> None:
        prompt_lines.close()
        app[LOG_STREAM].close()
        app[JOB_ENDS].close()
        await app[CONNECTIONS].close()

    async def remember(app: web.Application) -> None:
        await app[CONNECTIONS].remember_ends_before_the_start()

    app.on_startup.append(remember)
    app.on_response_prepare.append(let_pages_read)
    app.cleanup_ctx.append(deliver_webhooks)
    # Not at clean-up, which comes after the server has waited for all handlers, those of sockets among them.
    app.on_shutdown.append(say_goodbye)
    return app


def add_routes(app: web.Application, table: Iterable[web.AbstractRouteDef]) -> None:
    """Add routes, each also below `/api`."""
    for route in table:
        app.router.add_routes([route])
        if isinstance(route, web.RouteDef):
            app.router.add_routes([web.RouteDef(route.method, f"/api{route.path}", route.handler, route.kwargs)])


def finish_routes(app: web.Application) -> None:
    app.router.add_get("/api/", system_routes.page_file)
    app.router.add_routes(system_routes.page_routes)
