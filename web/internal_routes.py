"""Small questions of a front end that are no part of the API: where models lie, which files there are. No twins below
`/api`."""

import asyncio
import os
from pathlib import Path

from aiohttp import web

from .app_keys import SETTINGS
from .file_names import KINDS
from .middlewares import json_response

routes = web.RouteTableDef()


@routes.get("/internal/folder_paths")
async def folder_paths(request: web.Request) -> web.Response:
    """Folders of each category of models."""
    categories = request.app[SETTINGS].model_categories()
    return json_response({name: [str(one) for one in folders] for name, (folders, _) in list(categories.items())})


@routes.get("/internal/files/{kind}")
async def files(request: web.Request) -> web.Response:
    """Names of the files directly in the folder of outputs, inputs or previews, newest first."""
    kind = request.match_info["kind"]
    folder = request.app[SETTINGS].directory_of(kind) if kind in KINDS else None
    if folder is None:
        return json_response({"error": "Invalid directory type"}, 400)
    return json_response(await asyncio.to_thread(newest_first, folder))


@routes.get("/internal/{path:.*}")
async def unknown(request: web.Request) -> web.Response:
    return web.Response(status=404, text="404: Not Found")


def newest_first(folder: Path) -> list[str]:
    """Names of regular files; those that are hidden, or lead out of the folder, are left out."""
    root = os.path.realpath(folder)
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.name.isprintable():
                    continue
                try:
                    if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(root):
                        continue
                    if entry.is_file():
                        found.append((-entry.stat().st_mtime_ns, entry.name))
                except OSError:
                    continue  # gone meanwhile
    except FileNotFoundError:
        return []
    return [name for _, name in sorted(found)]
