"""A pack for the tests of the front end: nodes that stand at a door until a test lets them go.

`POST /door/NAME` with `{"do": "progress", "value": 3, "max": 10, "preview": "#ff0000"}`, `{"do": "open"}` or
`{"do": "fail"}` acts on whoever stands at that door, first come first served; `GET /door/NAME?arrived=N` is
answered when the door has been come to N times, with the prompts that stand there.
"""

import asyncio
from collections import defaultdict, deque

from aiohttp import web
from comfy.utils import ProgressBar

from server import PromptServer

PREVIEW_SIZE = (64, 48)
LONGEST_PREVIEW_SIDE = 512


class Door:
    """One door: who stands at it, and how often it was come to. On the loop."""

    def __init__(self):
        self.standing = deque()  # (prompt id, orders)
        self.arrivals = 0
        self._arrived = asyncio.Condition()

    async def come(self, prompt_id):
        orders = asyncio.Queue()
        self.standing.append((prompt_id, orders))
        self.arrivals += 1
        async with self._arrived:
            self._arrived.notify_all()
        return orders

    def leave(self, orders):
        self.standing = deque(each for each in self.standing if each[1] is not orders)

    async def arrived(self, count):
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.arrivals >= count)
        return [prompt_id for prompt_id, orders in self.standing]


doors = defaultdict(Door)


class StandAtDoor:
    """Gives the picture on once its door was opened; shows progress and previews as it is told."""

    CATEGORY = "tests"
    FUNCTION = "stand"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        turn = ("INT", {"default": 0, "min": 0, "max": 1000, "tooltip": "Only tells calls apart."})
        return {"required": {"image": ("IMAGE",), "door": ("STRING", {"default": "front"}), "turn": turn}}

    async def stand(self, image, door, turn):
        from comfy_execution.utils import get_executing_context

        orders = await doors[door].come(get_executing_context().prompt_id)
        try:
            while (order := await orders.get())["do"] == "progress":
                self.show(order)
        finally:
            doors[door].leave(orders)
        if order["do"] == "fail":
            raise RuntimeError("The door was slammed.")
        return (image,)

    @staticmethod
    def show(order):
        from PIL import Image

        colour = order.get("preview")
        preview = None if colour is None else ("PNG", Image.new("RGB", PREVIEW_SIZE, colour), LONGEST_PREVIEW_SIDE)
        ProgressBar(order["max"]).update_absolute(order["value"], order["max"], preview)


@PromptServer.instance.routes.post("/door/{name}")
async def act(request):
    order, standing = await request.json(), doors[request.match_info["name"]].standing
    wanted = [each for each in standing if order.get("prompt_id") in (None, each[0])]
    if not wanted:
        return web.json_response({"error": "nobody stands there"}, status=409)
    wanted[0][1].put_nowait(order)
    return web.json_response({"prompt_id": wanted[0][0]})


@PromptServer.instance.routes.get("/door/{name}")
async def who_is_there(request):
    door = doors[request.match_info["name"]]
    return web.json_response({"standing": await door.arrived(int(request.query["arrived"])), "arrivals": door.arrivals})


NODE_CLASS_MAPPINGS = {"StandAtDoor": StandAtDoor}
NODE_DISPLAY_NAME_MAPPINGS = {"StandAtDoor": "Stand at a door"}
