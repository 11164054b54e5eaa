"""The registry of progress that packs ask for within a node: it shows the prompt that the node belongs to."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from execution import PromptFinished
from tests.support.studio import RunningStudio, running_studio

PACK = '''
import contextvars
import threading

from comfy_execution.graph_utils import GraphBuilder
from PIL import Image

from comfy.utils import ProgressBar
from comfy_execution.progress import ProgressHandler, WebUIProgressHandler, add_progress_handler, get_progress_state
from server import PromptServer

READ, CONTEXTS, TOLD, SEEN, RESET = [], [], [], [], threading.Event()


def note():
    """What the registry shows now."""
    registry = get_progress_state()
    handlers = {name: [type(one) is WebUIProgressHandler, one.enabled,
                       getattr(one, "server_instance", None) is PromptServer.instance]
                for name, one in registry.handlers.items()}
    READ.append({"prompt": registry.prompt_id, "handlers": handlers,
                 "nodes": {key: [one["state"].value, one["value"], one["max"]] for key, one in registry.nodes.items()},
                 "classes": sorted(registry.dynprompt.get_node(one)["class_type"]
                                   for one in registry.dynprompt.all_node_ids()) if registry.dynprompt else None})


class Reads:
    RETURN_TYPES, FUNCTION, OUTPUT_NODE = ("INT",), "run", True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}, "optional": {"value": ("INT", {})}}

    @classmethod
    def IS_CHANGED(cls, value=0):
        return float("nan")

    def run(self, value=0):
        note()
        return (value,)


class ReadsOnTheLoop(Reads):
    async def run(self, value=0):
        note()
        return (value,)


class ReadsFromAThread(Reads):
    """From one that knows nothing of the node, and keeps the context for later."""

    def run(self, value=0):
        thread = threading.Thread(target=note)
        thread.start()
        thread.join()
        CONTEXTS.append(contextvars.copy_context())
        return (value,)


class Constant:
    RETURN_TYPES, FUNCTION = ("INT",), "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {})}}

    def run(self, value):
        return (value,)


class Tells(Reads):
    """How far it is, and reads that at once; the ticks of it go out later."""

    def run(self, value=0):
        for step in range(3):
            get_progress_state().update_progress("b", step, 7)
            get_progress_state().update_progress("elsewhere", step, 8)
            note()
        return (value,)


class Grows(Reads):
    def run(self, value=0):
        graph = GraphBuilder()
        inner = graph.node("ReadsPlaces", value=value)
        return {"result": (inner.out(0),), "expand": graph.finalize()}


class ReadsPlaces(Reads):
    OUTPUT_NODE = False

    def run(self, value=0):
        registry = get_progress_state()
        [inner] = [one for one in registry.nodes if one not in registry.dynprompt.get_original_prompt()]
        READ.append([registry.nodes[inner]["state"].value, registry.dynprompt.get_real_node_id(inner),
                     registry.dynprompt.get_display_node_id(inner)])
        return (value,)


class Told(ProgressHandler):
    def finish_handler(self, node_id, state, prompt_id):
        TOLD.append([node_id, state["state"].value])

    def reset(self):
        TOLD.append(["reset"])
        RESET.set()


class Watches(Reads):
    def run(self, value=0):
        add_progress_handler(Told("told"))
        return (value,)


class Sees(ProgressHandler):
    def update_handler(self, node_id, value, max_value, state, prompt_id, image=None):
        SEEN.append([node_id, value, max_value, state["value"],
                     image and [image[0], image[1].size, image[1].getpixel((0, 0)), image[2]]])

    def reset(self):
        RESET.set()


class Looks(Reads):
    def run(self, value=0):
        add_progress_handler(Sees("sees"))
        return (value,)


class Paints(Reads):
    """Each in a node of its own: ticks that come faster replace each other."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {}), "after": ("INT", {})}}

    def run(self, value, after):
        picture = Image.new("RGB", (40, 20), (200, 100, 50))
        if value == 0:
            get_progress_state().update_progress("registry", 1, 2, picture)
        elif value == 1:
            ProgressBar(4, "bar").update_absolute(3, 4, ("PNG", picture, 10))
        else:
            ProgressBar(4, "bare").update_absolute(2)
        return (value,)


NODE_CLASS_MAPPINGS = {one.__name__: one for one in (
    Reads, ReadsOnTheLoop, ReadsFromAThread, Constant, Tells, Grows, ReadsPlaces, Watches, Looks, Paints)}
'''


class Host:
    def __init__(self, studio: RunningStudio) -> None:
        self.engine = studio.engine
        self.pack: Any = sys.modules[str(studio.base_directory / "custom_nodes" / "reading").replace(".", "_x_")]

    async def run(self, **nodes: tuple[str, dict[str, Any]]) -> str:
        """Run a prompt of nodes by name, each a class and its inputs. Answers its id."""
        from execution import PromptSubmission

        events = self.engine.subscribe()
        prompt = {name: {"class_type": class_type, "inputs": inputs} for name, (class_type, inputs) in nodes.items()}
        accepted = await self.engine.submit(PromptSubmission(prompt=prompt))
        async for event in events:
            if isinstance(event, PromptFinished) and event.prompt_id == accepted.prompt_id:
                assert event.outcome == "succeeded"
                break
        events.close()
        return str(accepted.prompt_id)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    folder = tmp_path / "reading"
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread((folder / "__init__.py").write_text, PACK)
    async with running_studio(packs=[folder]) as studio:
        yield Host(studio)


@pytest.mark.parametrize("reader", ["Reads", "ReadsOnTheLoop", "ReadsFromAThread"])
async def test_it_shows_what_ran_and_runs_and_the_handler_that_stands_for_clients(host: Host, reader: str) -> None:
    for value in (1, 2):  # nothing of the first prompt is left in the second
        prompt_id = await host.run(a=("Constant", {"value": value}), b=(reader, {"value": ["a", 0]}))
        assert host.pack.READ.pop() == {
            "prompt": prompt_id, "handlers": {"webui": [True, True, True]},
            "nodes": {"a": ["finished", 1.0, 1.0], "b": ["running", 0.0, 1.0]},
            "classes": sorted(["Constant", reader])}


async def test_it_goes_on_while_its_prompt_runs(host: Host) -> None:
    await host.run(a=("Reads", {}), b=("Reads", {"value": ["a", 0]}), c=("Reads", {"value": ["b", 0]}))
    assert [{key: one[0] for key, one in read["nodes"].items()} for read in host.pack.READ] == [
        {"a": "running"}, {"a": "finished", "b": "running"}, {"a": "finished", "b": "finished", "c": "running"}]


async def test_what_a_node_tells_by_way_of_it_is_read_from_it_at_once(host: Host) -> None:
    await host.run(a=("Reads", {}), b=("Tells", {"value": ["a", 0]}), c=("Reads", {"value": ["b", 0]}))
    assert [(read["nodes"]["b"], read["nodes"]["elsewhere"]) for read in host.pack.READ[1:4]] == [
        (["running", step, 7], ["running", step, 8]) for step in range(3)]
    assert host.pack.READ[-1]["nodes"]["b"] == ["finished", 7, 7]


async def test_a_cached_node_stands_in_it_only_as_an_output_as_in_the_tables_of_clients(host: Host) -> None:
    prompt = {"a": ("Constant", {"value": 1}), "p": ("PreviewAny", {"source": ["a", 0]}),
              "b": ("Reads", {"value": ["a", 0]})}
    await host.run(**prompt)
    host.pack.READ.clear()
    await host.run(**prompt)
    assert {key: one[0] for key, one in host.pack.READ[0]["nodes"].items()} == {"p": "finished", "b": "running"}


async def test_nodes_of_an_expansion_are_known_by_the_node_they_came_from(host: Host) -> None:
    await host.run(a=("Grows", {"value": 1}))
    assert host.pack.READ == [["running", "a", "a"]]


async def test_a_handler_that_was_added_is_told_until_the_end(host: Host) -> None:
    await host.run(a=("Watches", {}), b=("Constant", {"value": 1}), c=("PreviewAny", {"source": ["b", 0]}),
                   d=("Reads", {"value": ["a", 0]}))
    await asyncio.to_thread(host.pack.RESET.wait)  # handlers are called on a thread of their own
    assert host.pack.TOLD[-1] == ["reset"]
    assert ["a", "finished"] in host.pack.TOLD
    assert ["d", "finished"] in host.pack.TOLD
    assert {"told", "webui"} == set(host.pack.READ[0]["handlers"])


async def test_a_handler_is_shown_previews(host: Host) -> None:
    await host.run(a=("Looks", {}), registry=("Paints", {"value": 0, "after": ["a", 0]}),
                   bar=("Paints", {"value": 1, "after": ["a", 0]}), bare=("Paints", {"value": 2, "after": ["a", 0]}))
    await asyncio.to_thread(host.pack.RESET.wait)
    seen = {one[0]: one[1:] for one in host.pack.SEEN}
    assert seen.pop("bare") == [2, 4, 2, None]
    assert seen == {"registry": [1, 2, 1, ["PNG", (512, 256), (200, 100, 50), None]],
                    "bar": [3, 4, 3, ["PNG", (10, 5), (200, 100, 50), None]]}


async def test_code_that_outlives_its_prompt_gets_one_that_nobody_keeps(host: Host) -> None:
    from nodes.packs.progress_registry import get_progress_state, kept

    prompt_id = await host.run(a=("ReadsFromAThread", {}))
    [context] = host.pack.CONTEXTS
    late = await asyncio.to_thread(context.run, get_progress_state)
    assert (late.prompt_id, late.nodes) == (prompt_id, {})
    assert kept.find(prompt_id) is None
    assert get_progress_state().prompt_id is None
