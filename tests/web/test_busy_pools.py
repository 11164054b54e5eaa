"""A node that does not stop keeps its tokens, and everybody is told so."""

import asyncio
import threading
from typing import Any

from nodes.packs.class_nodes import define_class_node
from tests.support.node_definitions import node
from tests.web.live_server import Live


class IsStuck:
    """Looks at nothing until its door is opened."""

    RETURN_TYPES = ()
    FUNCTION = "wait"
    OUTPUT_NODE = True
    door = threading.Event()
    came = threading.Event()

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    def wait(self) -> dict[str, Any]:
        type(self).came.set()
        type(self).door.wait(30)
        return {}


async def test_the_queue_and_the_jobs_say_what_keeps_a_pool_busy(serve: Any) -> None:
    async with serve() as live:
        running: Live = live
        running.running.studio.registry.add(define_class_node("IsStuck", IsStuck, "tests"))
        prompt_id = (await running.accepted({"1": node("IsStuck")}))["prompt_id"]
        assert await asyncio.to_thread(IsStuck.came.wait, 10)
        assert "busy" not in (await running.get("/queue")).json(), "it runs, as it should"
        await running.post("/interrupt", {"prompt_id": prompt_id})
        await running.finished(prompt_id)
        waits = (await running.accepted({"1": node("IsStuck")}))["prompt_id"]
        (busy,) = (await running.get("/queue")).json()["busy"]
        assert (busy["pool"], busy["class_type"], busy["node_id"]) == ("gpu", "IsStuck", "1")
        assert busy["prompt_id"] == prompt_id
        assert busy["text"].startswith("gpu busy with an abandoned node IsStuck (1), ")
        assert busy["seconds"] >= 0
        IsStuck.door.set()
        await running.finished(waits)
        assert "busy" not in (await running.get("/queue")).json()
