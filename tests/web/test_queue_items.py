"""Items of the queue are encoded once, off the loop, and forgotten with their prompts; so is history, off the loop."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from tests.web.live_server import Live, echo
from web import queue_items, wire
from web.queue_items import QueueItems


class Encodings:
    """Which prompts were encoded, and on which threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
        self.prompt_ids: list[str] = []
        self.threads: set[int] = set()
        original = getattr(wire, function)

        def counted(entry: Any) -> Any:
            self.prompt_ids.append(entry.prompt_id)
            self.threads.add(threading.get_ident())
            return original(entry)

        monkeypatch.setattr(wire, function, counted)


async def test_each_item_is_encoded_once_and_not_on_the_loop(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(max_running_prompts=1) as live:
        encodings = Encodings(monkeypatch, "queue_item")
        items = QueueItems(live.running.engine)
        await live.blocked(prompt_id="first")
        await live.accepted(echo(1), prompt_id="second")
        bodies = await asyncio.gather(*(items.as_json() for _ in range(5)))
        assert len(set(bodies)) == 1
        assert encodings.prompt_ids == ["first", "second"]
        await live.accepted(echo(2), prompt_id="third")
        said = json.loads(await items.as_json())
        assert [item[1] for item in said["queue_running"] + said["queue_pending"]] == ["first", "second", "third"]
        assert encodings.prompt_ids == ["first", "second", "third"]
        assert threading.get_ident() not in encodings.threads


async def test_an_id_that_is_used_again_has_an_item_of_its_own(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked()
        for value in (1, 2):
            await live.accepted(echo(value), prompt_id="again")
            assert (await live.get("/queue")).json()["queue_pending"][0][2] == echo(value)
            await live.post("/queue", {"delete": ["again"]})
            assert (await live.get("/queue")).json()["queue_pending"] == []


async def test_items_go_with_their_prompts(live: Live) -> None:
    items = QueueItems(live.running.engine)
    await live.blocked(prompt_id="runs")
    await items.as_json()
    assert list(items._known) == ["runs"]
    live.gate.opened.set()
    await live.finished("runs")
    assert items._known == {}


async def test_what_ends_while_it_is_encoded_is_left_out(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = threading.Event(), threading.Event()
    encoded = queue_items._encoded

    def slowly(entries: Any) -> Any:
        started.set()
        assert go_on.wait(30)
        return encoded(entries)

    monkeypatch.setattr(queue_items, "_encoded", slowly)
    items = QueueItems(live.running.engine)
    await live.blocked(prompt_id="runs")
    asking = asyncio.create_task(items.as_json())
    await asyncio.to_thread(started.wait, 30)
    live.gate.opened.set()
    await live.finished("runs")
    go_on.set()
    await asking
    assert json.loads(await items.as_json()) == {"queue_running": [], "queue_pending": []}
    assert items._known == {}


async def test_a_large_queue_is_joined_on_a_thread(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    joined = queue_items._joined

    def watched(*parts: Any) -> bytes:
        threads.add(threading.get_ident())
        return joined(*parts)

    monkeypatch.setattr(queue_items, "_joined", watched)
    async with serve(max_running_prompts=1) as live:
        await live.blocked()
        graph = {"1": {"class_type": "Anything", "inputs": {"text": "x" * (queue_items.MOST_AT_ONCE + 1)}}}
        await live.accepted(graph)
        assert (await live.get("/queue")).json()["queue_pending"][0][2] == graph
        assert threading.get_ident() not in threads
        assert len(threads) == 1


async def test_history_is_encoded_off_the_loop(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [await live.run(number) for number in range(3)]
    encodings = Encodings(monkeypatch, "history_entry")
    assert list((await live.get("/history")).json()) == ids
    assert list((await live.get(f"/history/{ids[1]}")).json()) == [ids[1]]
    assert encodings.prompt_ids == [*ids, ids[1]]
    assert threading.get_ident() not in encodings.threads
