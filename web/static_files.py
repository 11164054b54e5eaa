"""Files that are served as they are, of the page and of packs. None outside of its folder, by link neither."""

import asyncio
from pathlib import Path

from aiohttp import web

from .app_keys import SETTINGS

_TYPES = {".js": "application/javascript", ".mjs": "application/javascript", ".css": "text/css",
          ".json": "application/json", ".webp": "image/webp", ".avif": "image/avif", ".woff": "font/woff",
          ".woff2": "font/woff2", ".ttf": "font/ttf", ".wasm": "application/wasm", ".webm": "video/webm"}
"""Whatever the tables of this machine say."""


async def static_file(path: Path | None) -> web.StreamResponse:
    """A file, with a type that browsers accept for modules; 403 for a folder and 404 for None."""
    if path is None:
        return web.Response(status=404)
    if await asyncio.to_thread(path.is_dir):
        return web.Response(status=403, text="403: Forbidden")
    headers = {"X-Content-Type-Options": "nosniff"}
    if path.suffix in _TYPES:
        headers["Content-Type"] = _TYPES[path.suffix]
    return web.FileResponse(path, headers=headers)


async def file_of_page(request: web.Request, path: str) -> web.StreamResponse:
    """A file of the page."""
    return await static_file(await asyncio.to_thread(find_page_file, request.app[SETTINGS].page_directory, path))


def find_page_file(root: Path, path: str) -> Path | None:
    try:
        found = (root / (path or "index.html")).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # the last: links in a circle, before Python 3.13
        return None
    return found if found.is_relative_to(root.resolve()) and found.is_file() else None
