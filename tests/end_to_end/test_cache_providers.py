"""Caches of packs on a whole server: asked before anything is made, told of what was, and passed over if they fail."""

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from execution import Engine, NodesCached, Outcome, PromptFinished, PromptId, PromptSubmission
from tests.support.studio import RunningStudio, running_studio

SOON = 0.01
"""Seconds that are over at once, where a test wants them to be over."""
PACK = Path(__file__).resolve().parents[1] / "packs" / "caching_pack"


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def chain(text: str = "a", salt: int = 0) -> dict[str, Any]:
    return {"1": node("CachingText", text=text), "2": node("CachingText", text=["1", 0]),
            "3": node("CachingShow", text=["2", 0], salt=salt)}


class Host:
    """A server with the pack, and what a test does to both."""

    def __init__(self, studio: RunningStudio) -> None:
        self.studio = studio
        self.pack = sys.modules[str(studio.base_directory / "custom_nodes" / PACK.name).replace(".", "_x_")]
        self.api = sys.modules["comfy_api.latest"]

    async def run(self, prompt: dict[str, Any]) -> PromptId:
        """Run a prompt, which must succeed."""
        events = self.studio.engine.subscribe()
        accepted = await self.studio.engine.submit(PromptSubmission(prompt=prompt))
        async for event in events:
            if isinstance(event, PromptFinished) and event.prompt_id == accepted.prompt_id:
                assert event.outcome is Outcome.SUCCEEDED
                break
        events.close()
        return PromptId(accepted.prompt_id)

    async def cached_in(self, prompt: dict[str, Any]) -> list[list[str]]:
        """Run a prompt, and say which nodes were told to be cached, message by message."""
        told: list[list[str]] = []

        def listen(event: Any) -> None:
            told.append(list(event.nodes))

        self.studio.engine.add_listener(listen, (NodesCached,))
        await self.run(prompt)
        self.studio.engine.remove_listener(listen)
        return told

    async def register(self, provider: Any) -> None:
        await self.api.ComfyAPI().caching.register_provider(provider)
        await asyncio.sleep(0)

    async def unregister(self, provider: Any) -> None:
        await self.api.ComfyAPI().caching.unregister_provider(provider)
        await asyncio.sleep(0)

    async def only(self, provider: Any) -> None:
        await self.unregister(self.pack.CACHE)
        await self.register(provider)

    async def stored(self, count: int) -> None:
        await until(lambda: len(self.pack.CACHE.kept) >= count)


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running_studio(packs=[PACK]) as studio:
        yield Host(studio)


def provider_of(host: Host, lookup: Any, **hooks: Any) -> Any:
    """A cache whose `on_lookup` does this."""
    async def on_lookup(self: Any, context: Any) -> Any:
        return await lookup(context)

    async def on_store(self: Any, context: Any, value: Any) -> None: ...

    return type("Mine", (host.api.Caching.CacheProvider,),
                {"on_lookup": on_lookup, "on_store": on_store, **hooks})()


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records
            if record.name == "nodes.packs.provider_tier" and record.levelno >= logging.ERROR]


async def test_what_it_keeps_outlives_the_memory_and_spares_what_lies_behind(host: Host) -> None:
    assert await host.cached_in(chain()) == [[]]
    await host.stored(2)
    assert host.pack.CALLS == ["a", "a!"]
    host.studio.engine.free_memory()
    host.pack.CACHE.seen.clear()
    prompt = chain(salt=1)
    assert await host.cached_in(prompt) == [[], ["2"]]
    assert host.pack.CALLS == ["a", "a!"], "nothing was made again"
    assert [one for one in host.pack.CACHE.seen if one[0] == "on_lookup"] == [("on_lookup", "2", "CachingText")]


async def test_the_history_tells_what_was_found(host: Host) -> None:
    await host.run(chain())
    await host.stored(2)
    host.studio.engine.free_memory()
    prompt_id = await host.run(chain(salt=1))
    entry = await host.studio.engine.history.get(prompt_id)
    assert entry.cached == ["2"]
    assert entry.outputs == {"3": {"text": ["a!!"]}}


async def test_in_which_order_it_is_asked_and_told(host: Host) -> None:
    prompt_id = await host.run(chain())
    seen = host.pack.CACHE.seen
    await until(lambda: len(seen) == 10)
    assert (seen[0], seen[-1]) == (("on_prompt_start", prompt_id), ("on_prompt_end", prompt_id))
    assert seen[1:5] == [("should_cache", "2", False), ("on_lookup", "2", "CachingText"),
                         ("should_cache", "1", False), ("on_lookup", "1", "CachingText")]
    assert sorted(seen[5:9]) == [("on_store", "1", "CachingText"), ("on_store", "2", "CachingText"),
                                 ("should_cache", "1", True), ("should_cache", "2", True)]


async def test_keys_are_those_of_the_code_and_the_inputs(host: Host) -> None:
    await host.run(chain())
    await host.stored(2)
    assert all(len(key) == 64 for key in host.pack.CACHE.kept)
    assert {tuple(map(tuple, value.outputs)) for value in host.pack.CACHE.kept.values()} == {(("a!",),), (("a!!",),)}
    async with running_studio(packs=[PACK], store="memory", cache_disk=0) as other:
        host_of_other = Host(other)
        await host_of_other.run(chain())
        await host_of_other.stored(2)
        assert set(host_of_other.pack.CACHE.kept) == set(host.pack.CACHE.kept)


async def test_what_it_does_not_have_is_made(host: Host) -> None:
    await host.run(chain())
    await host.stored(2)
    host.pack.CACHE.kept.clear()
    host.studio.engine.free_memory()
    await host.run(chain(salt=1))
    assert host.pack.CALLS == ["a", "a!"] * 2


async def test_what_it_does_not_want_is_neither_looked_up_nor_stored(host: Host) -> None:
    threads: list[int] = []

    def should_cache(self: Any, context: Any, value: Any = None) -> bool:
        threads.append(threading.get_ident())
        return False

    async def lookup(context: Any) -> Any:
        raise AssertionError("it did not want this")

    await host.only(provider_of(host, lookup, should_cache=should_cache))
    await host.run(chain())
    await until(lambda: len(threads) == 4)
    assert threading.get_ident() not in threads, "plain code off the loop"


async def test_a_cache_that_raises_is_passed_over_and_logged_once(
        host: Host, caplog: pytest.LogCaptureFixture) -> None:
    async def lookup(context: Any) -> Any:
        raise ConnectionError("the cable")

    await host.only(provider_of(host, lookup))
    await host.register(host.pack.CACHE)
    await host.run(chain())
    assert host.pack.CALLS == ["a", "a!"]
    (said,) = complaints(caplog)
    assert "Mine raised ConnectionError: the cable" in said
    assert [one[1] for one in host.pack.CACHE.seen if one[0] == "on_lookup"] == ["2", "1"], "the next one is asked"


@pytest.mark.parametrize("nonsense", ["text", {"outputs": []}, "flat", "ui", "no list", "object in ui", "none",
                                      "too many", "empty"])
async def test_a_cache_that_returns_nonsense_is_passed_over(
        host: Host, caplog: pytest.LogCaptureFixture, nonsense: Any) -> None:
    make = host.api.Caching.CacheValue
    answers = {"none": make([]), "too many": make([["a!"], ["b"]]), "empty": make([[]]),
               "flat": make(["a!"]), "ui": make([["a!"]], ui=5), "no list": make(None),
               "object in ui": make([["a!"]], ui={"text": [object()]})}

    async def lookup(context: Any) -> Any:
        return answers.get(nonsense, nonsense) if isinstance(nonsense, str) else nonsense

    await host.only(provider_of(host, lookup))
    await host.run(chain())
    assert host.pack.CALLS == ["a", "a!"]
    (said,) = complaints(caplog)
    assert "Mine: on_lookup returned" in said


async def test_hooks_that_fail_cost_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    async def lookup(context: Any) -> Any:
        raise SystemExit(3)

    def raises(self: Any, *arguments: Any) -> Any:
        raise ValueError("no")

    await host.only(provider_of(host, lookup, on_prompt_start=raises, on_prompt_end=raises,
                                should_cache=lambda self, context, value=None: "perhaps"))
    await host.run(chain())
    assert host.pack.CALLS == ["a", "a!"]
    assert len(complaints(caplog)) == 1


async def test_a_cache_that_leaves_by_an_exit_ends_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    async def lookup(context: Any) -> Any:
        raise SystemExit(3)

    await host.only(provider_of(host, lookup))
    await host.run(chain())
    assert host.pack.CALLS == ["a", "a!"]
    assert len(complaints(caplog)) == 1


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_cache_that_does_not_answer_is_given_up(
        host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, stubborn: bool) -> None:
    monkeypatch.setattr(Engine, "hook_timeout", SOON)
    asked: list[str] = []
    door = asyncio.Event()

    async def lookup(context: Any) -> Any:
        asked.append(context.node_id)
        while not door.is_set():
            try:
                await door.wait()
            except asyncio.CancelledError:
                if not stubborn:
                    raise

    await host.only(provider_of(host, lookup))
    await host.run(chain())
    assert host.pack.CALLS == ["a", "a!"]
    assert asked == ["2"], "it is not asked any more"
    (said,) = complaints(caplog)
    assert "is not asked any more" in said
    door.set()


async def test_one_that_was_given_up_may_register_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "hook_timeout", SOON)
    asked: list[str] = []

    async def lookup(context: Any) -> Any:
        asked.append(context.node_id)
        if len(asked) == 1:
            await asyncio.Event().wait()

    mine = provider_of(host, lookup)
    await host.only(mine)
    await host.run(chain())
    await host.unregister(mine)
    monkeypatch.undo()
    await host.register(mine)
    await host.run(chain("b"))
    assert asked == ["2", "2", "1"]


async def test_one_that_is_unregistered_is_not_asked_any_more(host: Host) -> None:
    await host.unregister(host.pack.CACHE)
    await host.run(chain())
    assert host.pack.CACHE.seen == []
    assert host.studio.engine._tiers.outside is None
    await host.register(host.pack.CACHE)
    await host.run(chain("b"))
    assert [one[1] for one in host.pack.CACHE.seen if one[0] == "on_lookup"] == ["2", "1"]


async def test_values_that_are_blocked_are_not_stored(host: Host) -> None:
    await host.run({"1": node("CachingBlock"), "2": node("CachingShow", text=["1", 0], salt=0)})
    await host.run(chain())
    await host.stored(2)
    assert not [one for one in host.pack.CACHE.seen if one[0] == "on_store" and one[2] == "CachingBlock"]


async def test_what_it_is_given_and_gives_is_not_ours(host: Host) -> None:
    """Lists may be changed by whoever has them: each side has its own."""
    await host.run(chain())
    await host.stored(2)
    for value in host.pack.CACHE.kept.values():
        value.outputs.append("more")
        value.outputs[0].append("more")
    assert await host.cached_in(chain(salt=1)) == [["1", "2"]]
    prompt_id = await host.run(chain(salt=2))
    entry = await host.studio.engine.history.get(prompt_id)
    assert entry.outputs == {"3": {"text": ["a!!"]}}


async def test_a_cache_that_is_behind_is_not_told_of_more(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.packs.provider_tier.MOST_WAITING", 1)
    told: list[str] = []
    door = asyncio.Event()

    async def lookup(context: Any) -> Any:
        return None

    async def on_store(self: Any, context: Any, value: Any) -> None:
        told.append(context.node_id)
        await door.wait()

    await host.only(provider_of(host, lookup, on_store=on_store))
    await host.run(chain())
    assert told == ["1"]
    door.set()
    await host.run(chain("b"))
    assert told[1] == "1", "it has caught up"
