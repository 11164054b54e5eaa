"""What waits, what runs, and what was."""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from execution import HistoryEntry, PromptId

from . import wire
from .app_keys import ENGINE, QUEUE_ITEMS
from .bad_request import BadRequest
from .middlewares import encoded_response, read_command

routes = web.RouteTableDef()


@routes.get("/queue")
async def queue(request: web.Request) -> web.Response:
    return encoded_response(await request.app[QUEUE_ITEMS].as_json())


@routes.post("/queue")
async def change_queue(request: web.Request) -> web.Response:
    wants_all, prompt_ids = _clear_and_delete(await read_command(request))
    engine = request.app[ENGINE]
    if wants_all:
        engine.remove_pending()
    if prompt_ids:
        engine.remove_pending(prompt_ids)
    await engine.told()
    return web.Response()


@routes.get("/history")
async def history(request: web.Request) -> web.Response:
    """`max_items` alone counts from the newest, `offset` from the oldest; both give the oldest first."""
    most, offset = _integer(request, "max_items"), _integer(request, "offset")
    if most is not None and most <= 0:
        return encoded_response(b"{}")
    entries = await request.app[ENGINE].history.entries(most, None if offset is None or offset < 0 else offset)
    return encoded_response(await _encoded(entries))


@routes.get("/history/{prompt_id}")
async def history_of(request: web.Request) -> web.Response:
    prompt_id = PromptId(request.match_info["prompt_id"])
    entry = await request.app[ENGINE].history.get(prompt_id)
    return encoded_response(await _encoded([] if entry is None else [entry]))


@routes.post("/history")
async def change_history(request: web.Request) -> web.Response:
    wants_all, prompt_ids = _clear_and_delete(await read_command(request))
    store = request.app[ENGINE].history
    if wants_all:
        await store.clear()
    if prompt_ids:
        await store.delete(prompt_ids)
    return web.Response()


async def _encoded(entries: Sequence[HistoryEntry]) -> bytes:
    """On a thread, and one by one, so that the loop gets its turn in between: they may be thousands, and large."""
    if not entries:
        return b"{}"
    return await asyncio.to_thread(lambda: wire.json_object(
        (entry.prompt_id, wire.dumps(wire.history_entry(entry))) for entry in entries))


def _clear_and_delete(body: bytes) -> tuple[bool, Sequence[PromptId]]:
    said = wire.decode_object(body)
    wants_all, listed = said.get("clear", False), said.get("delete", [])
    if not isinstance(wants_all, bool):
        raise BadRequest("invalid_field", "clear must be true or false.", "clear")
    if not isinstance(listed, list):
        raise BadRequest("invalid_field", "delete must be a list of prompt ids.", "delete")
    return wants_all, [PromptId(one) for one in listed if isinstance(one, str)]


def _integer(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest("invalid_query", f"{name} must be a whole number.", name) from None
