"""A pack with what goes beyond nodes: routes of its own, files for the browser, example workflows and texts."""

from aiohttp import web

from server import PromptServer

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

WEB_DIRECTORY = "./js"

routes = PromptServer.instance.routes


@routes.get("/routed_pack/greeting")
async def greeting(request):
    return web.json_response({"hello": request.query.get("name", "nobody")})


@routes.post("/routed_pack/notes")
async def note(request):
    words = await request.json()
    PromptServer.instance.send_sync("routed_pack.noted", {"words": words})
    return web.json_response({"count": len(words)})


PromptServer.instance.app.router.add_get("/routed_pack/on_the_application", greeting)

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
