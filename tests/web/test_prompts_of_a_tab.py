"""Prompts of a page that can show one at a time run one after the other; those of all others run side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from execution import PromptStarted
from tests.web.live_server import Live

FLAGS_OF_THE_PAGES = [
    {"supports_preview_metadata": True, "supports_manager_v4_ui": True},
    {"supports_preview_metadata": True, "supports_manager_v4_ui": True, "supports_progress_text_metadata": True},
]
OTHER_FLAGS = [None, {}, {"supports_preview_metadata": True}, [1], "supports_manager_v4_ui"]


@asynccontextmanager
async def tab(live: Live, client_id: str, flags: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A socket whose client has said its flags, and has the server's answer."""
    async with live.http.ws_connect(f"/ws?clientId={client_id}") as socket:
        await socket.send_json({"type": "feature_flags", "data": flags})
        while (await socket.receive_json())["type"] != "feature_flags":
            pass
        yield socket


async def queue_at_the_gate(live: Live, *clients: tuple[str, str | None]) -> tuple[set[str], list[str]]:
    """Submit prompts that wait at the gate, each with its client, and last of all one of nobody.

    :returns: the ids of those that run and of those that wait, once the last one has started.
    """
    events = live.running.engine.subscribe()
    try:
        for prompt_id, client_id in [*clients, ("last", None)]:
            # Each has a call of its own: calls that are alike would be shared.
            graph = {"g": {"class_type": "Gate", "inputs": {"tag": prompt_id}}}
            await live.accepted(graph, prompt_id=prompt_id, **({} if client_id is None else {"client_id": client_id}))
        async for event in events:
            if isinstance(event, PromptStarted) and event.prompt_id == "last":
                break
    finally:
        events.close()
    queue = (await live.get("/queue")).json()
    return {item[1] for item in queue["queue_running"]}, [item[1] for item in queue["queue_pending"]]


@pytest.mark.parametrize("flags", FLAGS_OF_THE_PAGES, ids=["1.27", "1.58"])
async def test_prompts_of_such_a_page_run_one_after_the_other_and_hold_up_nobody(live: Live, flags: Any) -> None:
    async with tab(live, "page", flags), tab(live, "script", {}):
        running, waiting = await queue_at_the_gate(live, ("a", "page"), ("b", "page"), ("c", "script"))
        assert running == {"a", "c", "last"}
        assert waiting == ["b"]
        live.gate.opened.set()
        await live.finished("b")
        history = (await live.get("/history")).json()
    times = {prompt_id: dict(history[prompt_id]["status"]["messages"]) for prompt_id in ("a", "b")}
    assert times["a"]["execution_success"]["timestamp"] <= times["b"]["execution_start"]["timestamp"]


@pytest.mark.parametrize("flags", OTHER_FLAGS)
async def test_prompts_of_any_other_client_run_side_by_side(live: Live, flags: Any) -> None:
    async with tab(live, "script", flags):
        running, waiting = await queue_at_the_gate(live, ("a", "script"), ("b", "script"))
        assert running == {"a", "b", "last"}
        assert waiting == []
        live.gate.opened.set()


async def test_two_tabs_do_not_wait_for_each_other(live: Live) -> None:
    async with tab(live, "one", FLAGS_OF_THE_PAGES[0]), tab(live, "two", FLAGS_OF_THE_PAGES[1]):
        running, waiting = await queue_at_the_gate(live, ("a", "one"), ("b", "two"))
        assert running == {"a", "b", "last"}
        assert waiting == []
        live.gate.opened.set()


async def test_one_such_page_among_the_sockets_of_a_client_is_enough(live: Live) -> None:
    async with tab(live, "both", FLAGS_OF_THE_PAGES[1]), tab(live, "both", {}):
        running, waiting = await queue_at_the_gate(live, ("a", "both"), ("b", "both"))
        assert (running, waiting) == ({"a", "last"}, ["b"])
        live.gate.opened.set()


async def test_a_cancelled_prompt_of_a_page_lets_the_next_one_come(live: Live) -> None:
    async with tab(live, "page", FLAGS_OF_THE_PAGES[1]):
        assert await queue_at_the_gate(live, ("a", "page"), ("b", "page")) == ({"a", "last"}, ["b"])
        events = live.running.engine.subscribe()
        try:
            assert (await live.post("/interrupt", {"prompt_id": "a"})).status == 200
            async for event in events:
                if isinstance(event, PromptStarted):
                    assert event.prompt_id == "b"
                    break
        finally:
            events.close()
        live.gate.opened.set()
        await live.finished("b")
