"""Packs as clients of a running server meet them: what they add, what failed, and loading one anew."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.inference.studio_client import connect, node
from tests.support.studio import RunningStudio, running_studio

PACKS = Path(__file__).resolve().parents[1] / "packs"
NAMES = ("routed_pack", "broken_pack", "loop_at_import_pack")

Serve = Callable[..., AbstractAsyncContextManager[tuple[RunningStudio, aiohttp.ClientSession]]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Servers with copies of the packs, which a test may change."""
    for name in NAMES:
        shutil.copytree(PACKS / name, tmp_path / "custom_nodes" / name, ignore=shutil.ignore_patterns("__pycache__"))

    @asynccontextmanager
    async def serving(**settings: Any) -> AsyncIterator[tuple[RunningStudio, aiohttp.ClientSession]]:
        async with running_studio(base_directory=tmp_path, **settings) as running, \
                aiohttp.ClientSession(running.url) as http:
            yield running, http

    return serving


async def read(http: aiohttp.ClientSession, path: str) -> Any:
    async with http.get(path) as response:
        assert response.status == 200, (path, response.status)
        return await response.json(content_type=None)


async def reload(http: aiohttp.ClientSession, name: str, **options: Any) -> tuple[int, Any]:
    async with http.post(f"/api/packs/{name}/reload", **options) as response:
        return response.status, await response.json()


async def test_what_became_of_each_pack_can_be_asked(serve: Serve) -> None:
    async with serve() as (_, http):
        packs = {one["name"]: one for one in await read(http, "/api/packs")}
        assert await read(http, "/packs") == await read(http, "/api/packs")
    assert sorted(packs) == sorted(NAMES)
    good, broken = packs["routed_pack"], packs["broken_pack"]
    assert (good["state"], good["node_names"], good["refused_nodes"], good["error"]) == ("loaded", ["Greet"], {}, None)
    assert good["seconds"] > 0
    assert good["path"].endswith("custom_nodes/routed_pack")
    assert (broken["state"], broken["node_names"]) == ("failed", [])
    assert broken["missing_name"] == "comfy.utils.a_name_that_nobody_offers"
    assert "Hanzo Studio does not offer that" in broken["error"]
    assert "broken_pack/__init__.py" in broken["traceback"]


async def test_routes_files_and_texts_of_a_pack_are_served(serve: Serve) -> None:
    async with serve() as (running, http):
        for path in ("/routed_pack/greeting", "/api/routed_pack/greeting", "/routed_pack/on_the_application"):
            assert await read(http, f"{path}?name=me") == {"hello": "me"}
        async with connect(running.url) as client, http.post("/api/routed_pack/notes", json=["a", "b"]) as response:
            assert await response.json() == {"count": 2}
            heard = (await client.until("routed_pack.noted"))[-1]
            assert heard.data == {"words": ["a", "b"]}
        assert "/extensions/routed_pack/routed.js" in await read(http, "/extensions")
        async with http.get("/extensions/routed_pack/routed.js") as response:
            assert "routed_pack" in await response.text()
            assert response.content_type == "application/javascript"
        assert await read(http, "/workflow_templates") == {"routed_pack": ["greeting"]}
        assert (await read(http, "/i18n"))["en"]["routed"] == {"title": "Greetings"}
        assert (await read(http, "/object_info/Greet"))["Greet"]["display_name"] == "Greet Somebody"


async def test_a_pack_that_used_the_loop_at_its_import_goes_on_doing_so(serve: Serve) -> None:
    async with serve() as (running, http), connect(running.url) as client:
        run = await client.run({"1": node("WhatWasHeard")})
        assert run.shown["1"]["text"] == ["listening", "True"]
        status, report = await reload(http, "loop_at_import_pack")
        assert (status, report["error"]) == (200, None)
        run = await client.run({"1": node("WhatWasHeard")})
        assert run.shown["1"]["text"][0] == "listening"


async def test_a_changed_pack_is_loaded_anew_and_its_old_results_are_not_used(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "custom_nodes" / "routed_pack" / "nodes.py"
    async with serve() as (running, http), connect(running.url) as client:
        prompt = {"1": node("Greet", name="x")}
        assert (await client.run(prompt)).shown["1"]["text"] == ["hello x"]
        source = await asyncio.to_thread(file.read_text)
        await asyncio.to_thread(file.write_text, source.replace("hello {name}", "howdy {name}"))
        status, report = await reload(http, "routed_pack")
        assert (status, report["state"], report["node_names"]) == (200, "loaded", ["Greet"])
        assert report["notes"] == ["Its routes need a restart of the server; those from before still answer."]
        assert (await client.run(prompt)).shown["1"]["text"] == ["howdy x"]
        assert await read(http, "/routed_pack/greeting") == {"hello": "nobody"}


async def test_a_reload_that_fails_says_why_and_changes_nothing(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "custom_nodes" / "routed_pack" / "nodes.py"
    async with serve() as (running, http), connect(running.url) as client:
        await asyncio.to_thread(file.write_text, "raise ValueError('half written')")
        status, answer = await reload(http, "routed_pack")
        assert status == 422
        assert answer["error"]["type"] == "pack_failed"
        assert answer["error"]["message"] == ("The pack routed_pack cannot be loaded: it raised ValueError: half "
                                              "written. What was loaded before stays.")
        assert 'nodes.py", line 1' in answer["error"]["details"]
        listed = {one["name"]: one for one in await read(http, "/api/packs")}["routed_pack"]
        assert (listed["state"], listed["reload_error"]) == ("loaded", "it raised ValueError: half written")
        assert (await client.run({"1": node("Greet", name="x")})).shown["1"]["text"] == ["hello x"]


@pytest.mark.parametrize("name", ["nowhere", "routed_pack.py", "a%2Fb", "%00"])
async def test_a_pack_that_is_not_there_cannot_be_reloaded(serve: Serve, name: str) -> None:
    async with serve() as (_, http), http.post(f"/api/packs/{name}/reload") as response:
        assert response.status == 404
        assert (await response.json())["error"]["type"] == "unknown_pack"


@pytest.mark.parametrize("cors", [None, "*"])
@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"},
                                     {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}])
async def test_no_page_of_others_can_have_code_loaded_even_if_it_may_send_prompts(
        serve: Serve, cors: str | None, headers: dict[str, str]) -> None:
    async with serve(enable_cors_header=cors) as (running, http):
        before = running.studio.registry.get("Greet")
        async with http.post("/api/packs/routed_pack/reload", headers=headers) as response:
            assert response.status == 403
        assert running.studio.registry.get("Greet") is before


async def test_without_packs_there_is_an_empty_list_and_a_sentence(tmp_path: Path) -> None:
    async with running_studio(base_directory=tmp_path) as running, aiohttp.ClientSession(running.url) as http:
        await asyncio.to_thread((tmp_path / "custom_nodes" / "off.disabled").mkdir)
        assert [[one["name"], one["state"]] for one in await read(http, "/api/packs")] == [["off", "disabled"]]
        status, answer = await reload(http, "off")
        assert (status, answer["error"]["type"]) == (409, "packs_not_loaded")
        assert "Restart" in answer["error"]["message"]


TWO_STEPS = '''
import asyncio
GATE, ENTERED = asyncio.Event(), asyncio.Event()


class Waits:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    async def run(self):
        ENTERED.set()
        await GATE.wait()
        return ("waited",)


class Says:
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING", {"forceInput": True})}}

    def run(self, text):
        return {"ui": {"text": ["old code"]}}


NODE_CLASS_MAPPINGS = {"Waits": Waits, "Says": Says}
'''


async def test_a_prompt_that_runs_keeps_the_code_that_it_began_with(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "custom_nodes" / "two_steps.py"
    await asyncio.to_thread(file.write_text, TWO_STEPS)
    prompt = {"1": node("Waits"), "2": node("Says", text=["1", 0])}
    async with serve() as (running, http), connect(running.url) as client:
        before = sys.modules[str(file.with_suffix("")).replace(".", "_x_")]
        first = await client.submit(prompt)
        await before.ENTERED.wait()
        await asyncio.to_thread(file.write_text, TWO_STEPS.replace("old code", "new code"))
        status, report = await reload(http, "two_steps")
        assert (status, report["error"]) == (200, None)
        before.GATE.set()
        shown = [frame.data["output"] for frame in await client.until("execution_success", prompt_id=first)
                 if getattr(frame, "kind", "") == "executed"]
        assert shown == [{"text": ["old code"]}]
        after = sys.modules[before.__name__]
        assert after is not before
        after.GATE.set()
        assert (await client.run(prompt)).shown["2"]["text"] == ["new code"]
