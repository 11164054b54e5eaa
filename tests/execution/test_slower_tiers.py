"""An engine with a tier of somebody else: what is asked there, and what becomes of a question."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from execution import Outcome, OutputRecord, SignedCall, get_current_node
from execution.signatures import Signature
from tests.execution.test_engine import running, shows, turns_until
from tests.execution.test_outputs_outlive_the_engine import CountingNode, tier_in
from tests.support.gated_nodes import GatedNode
from tests.support.node_definitions import node
from tests.support.scripted_store import ScriptedStore

CHAIN = {"1": node("Slow", x=1), "2": node("Slow", x=["1", 0]), "3": shows("2")}


class GatedTier:
    """Answers when it is told to."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.has: dict[Signature, OutputRecord] = {}
        self.asked: list[str] = []
        self.contexts: list[Any] = []
        self.door = asyncio.Event()
        self.was_cancelled = False
        if is_open:
            self.door.set()

    async def look_up(self, call: SignedCall) -> OutputRecord | None:
        self.asked.append(f"{call.class_type} {call.node_id} {call.key}")
        self.contexts.append(get_current_node())
        try:
            await self.door.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return self.has.get(call.signature)

    def store(self, call: SignedCall, record: OutputRecord) -> None:
        self.has[call.signature] = record


async def test_outputs_come_back_when_the_memory_was_freed() -> None:
    slow, tier = CountingNode(), GatedTier()
    async with running(slow.definition) as studio:
        studio.engine.use_outside_tier(tier)
        assert await studio.shown_by(CHAIN) == {"3": {"from_2": [3]}}
        studio.engine.free_memory()
        assert await studio.shown_by({**CHAIN, "3": shows("2", "1")}) == {"3": {"from_2": [3], "from_1": [2]}}
    assert slow.calls == 2
    first, second = tier.asked[:2]
    assert (first[:7], second[:7], len(tier.asked)) == ("Slow 2 ", "Slow 1 ", 4)
    assert all(len(one.split()[2]) == 64 for one in tier.asked)
    assert set(tier.contexts) == {None}, "it is asked for no node"


async def test_another_engine_asks_for_the_same_key() -> None:
    asked = []
    for _ in range(2):
        tier = GatedTier()
        async with running(CountingNode().definition) as studio:
            studio.engine.use_outside_tier(tier, lambda definition: "code")
            await studio.shown_by(CHAIN)
        asked.append(tier.asked)
    assert asked[0] == asked[1]
    tier = GatedTier()
    async with running(CountingNode().definition) as studio:
        studio.engine.use_outside_tier(tier, lambda definition: "other code")
        await studio.shown_by(CHAIN)
    assert not set(tier.asked) & set(asked[0])


async def test_everything_else_goes_on_while_it_is_asked_and_a_cancel_ends_the_question() -> None:
    tier, gate = GatedTier(is_open=False), GatedNode("Gate", is_output=True)
    async with running(CountingNode().definition, gate) as studio:
        studio.engine.use_outside_tier(tier)
        prompt_id = await studio.submit({**CHAIN, "4": node("Gate")})
        (call,) = await gate.arrived()
        assert len(tier.asked) == 1
        call.let_go()
        studio.engine.interrupt()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        await turns_until(lambda: tier.was_cancelled)


async def test_the_disk_is_asked_first_and_what_it_lacks_is_asked_for_outside(tmp_path: Path) -> None:
    slow, tier = CountingNode(), GatedTier()
    async with running(slow.definition, store=ScriptedStore(), disk_tier=tier_in(tmp_path, keeps=True)) as studio:
        studio.engine.use_outside_tier(tier)
        await studio.shown_by(CHAIN)
        on_disk = studio.engine._scheduler.cache.on_disk
        assert on_disk is not None
        await turns_until(lambda: len(on_disk) == 2)
        studio.engine.free_memory()
        asked = len(tier.asked)
        await studio.shown_by({**CHAIN, "3": shows("1", "2")})
        assert len(tier.asked) == asked
        for file in list(tmp_path.rglob("*.safetensors")):
            file.unlink()
        studio.engine.free_memory()
        await studio.shown_by({**CHAIN, "3": shows("2", "1", "2")})
        assert len(tier.asked) > asked
    assert slow.calls == 2


async def test_a_tier_that_raises_has_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(GatedTier):
        async def look_up(self, call: SignedCall) -> OutputRecord | None:
            raise OSError("the cable")

    async with running(CountingNode().definition) as studio:
        studio.engine.use_outside_tier(Failing())
        assert await studio.shown_by(CHAIN) == {"3": {"from_2": [3]}}
    assert "outputs of Slow cannot be looked up" in caplog.text


async def test_a_tier_that_is_gone_is_not_asked_any_more() -> None:
    slow, tier = CountingNode(), GatedTier(is_open=False)
    async with running(slow.definition) as studio:
        studio.engine.use_outside_tier(tier)
        waiting = await studio.submit(CHAIN)
        await turns_until(lambda: bool(tier.asked))
        studio.engine.use_outside_tier(None)
        tier.door.set()
        assert (await studio.events.end_of(waiting)).outcome is Outcome.SUCCEEDED
        assert len(tier.asked) == 1, "not for the sources of what it lacked"
        assert tier.has == {}
        await studio.shown_by({**CHAIN, "1": node("Slow", x=5)})
        assert len(tier.asked) == 1
