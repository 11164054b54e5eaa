"""Puts the application together: routes and middlewares are data, stacked in one short function."""

from collections.abc import Iterable

from aiohttp import web

from execution import Engine

from . import file_routes, node_routes, prompt_routes, queue_routes, system_routes
from .app_keys import CONNECTIONS, ENGINE, NODE_CATALOGUE, SETTINGS, WebSettings
from .middlewares import cache_headers, errors_to_statuses, own_pages_only
from .websocket import ClientConnections

TABLES = (prompt_routes.routes, queue_routes.routes, node_routes.routes, file_routes.routes, system_routes.routes)


def create_app(engine: Engine, settings: WebSettings) -> web.Application:
    """The application around an open engine. Call it on the loop that the engine runs on.

    Routes may be added until it starts; `finish_routes` then adds the files of the page, which answer every GET
    that nothing else does.
    """
    app = web.Application(middlewares=[cache_headers, own_pages_only, errors_to_statuses],
                          client_max_size=round(settings.max_upload_size))
    app[ENGINE] = engine
    app[SETTINGS] = settings
    app[NODE_CATALOGUE] = node_routes.NodeCatalogue(engine)
    app[CONNECTIONS] = ClientConnections(engine, lambda: system_routes.server_features(settings))
    for table in TABLES:
        add_routes(app, table)

    async def say_goodbye(app: web.Application) -> None:
        await app[CONNECTIONS].close()

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
