"""An engine with a disk tier on a store that outlives it: the next one goes on where it was."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from execution import (
    CacheRule,
    DiskTier,
    NodeDefinition,
    NodeFinished,
    NodesCached,
    Outcome,
    OutputCache,
    ProgressTabled,
    PromptId,
)
from execution.store import Leftovers, UnfinishedJob
from tests.execution.test_disk_tier import NoForms, files_below
from tests.execution.test_durable_engine import left
from tests.execution.test_engine import Running, running, shows, turns_until
from tests.support.gated_nodes import GatedNode
from tests.support.manual_clock import ManualClock
from tests.support.node_definitions import define, node
from tests.support.scripted_store import ScriptedStore

CHAIN = {"1": node("Slow", x=1), "2": node("Gate", x=["1", 0]), "3": shows("2")}


class CountingNode:
    """Adds one, and counts its calls."""

    def __init__(self, class_type: str = "Slow", *, plain: bool = False, before: Callable[[], None] = lambda: None,
                 **more: Any) -> None:
        self.calls = 0

        def adds(x: Any) -> Any:
            self.calls += 1
            before()
            return x + 1

        async def adds_on_the_loop(x: Any) -> Any:
            return adds(x)

        self.definition: NodeDefinition = define(class_type, adds if plain else adds_on_the_loop, **more)


def tier_in(folder: Path, **settings: Any) -> DiskTier:
    return DiskTier(folder, NoForms(), **{"bound": 10**6, "after": 0, **settings})


def found_by(*jobs: UnfinishedJob) -> ScriptedStore:
    return ScriptedStore(Leftovers(unfinished=jobs))


async def until_written(studio: Running, folder: Path, count: int = 1) -> None:
    on_disk = studio.engine._scheduler.cache.on_disk
    assert on_disk is not None
    await turns_until(lambda: len(on_disk) == count)
    assert len(await asyncio.to_thread(files_below, folder)) == count


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("rule", list(CacheRule))
async def test_a_prompt_goes_on_from_what_was_finished(tmp_path: Path, plain: bool, rule: CacheRule) -> None:
    slow, gate = CountingNode(plain=plain), GatedNode("Gate")
    async with running(slow.definition, gate, store=ScriptedStore(), disk_tier=tier_in(tmp_path),
                       cache=OutputCache(rule)) as studio:
        await studio.submit(CHAIN, prompt_id=PromptId("p"))
        await gate.arrived()
        await until_written(studio, tmp_path)
    assert len(files_below(tmp_path)) == 1, "the job has not ended: it is left to the next engine"
    again = GatedNode("Gate")
    store = found_by(left(CHAIN, "p", attempt=1, open_nodes=("2",)))
    async with running(slow.definition, again, store=store, disk_tier=tier_in(tmp_path),
                       cache=OutputCache(rule)) as studio:
        await studio.engine.restore()
        (call,) = await again.arrived()
        assert call.arguments == {"x": 2}
        call.let_go("done")
        assert (await studio.events.end_of("p")).outcome is Outcome.SUCCEEDED
        assert slow.calls == 1
        found = [event.from_cache for event in studio.events.of(NodeFinished, prompt_id="p")]
        assert found == [True, False, False]
        first, found_later = studio.events.of(NodesCached, prompt_id="p")
        assert first.nodes == [], "what lies on the disk was not known to be readable then"
        assert found_later.nodes == ["1"]
        (*_, table) = studio.events.of(ProgressTabled, prompt_id="p")
        assert {node_id: row.state for node_id, row in table.rows.items()} == dict.fromkeys("123", "finished")
    assert files_below(tmp_path) == [], "its job has ended"


async def test_outputs_of_jobs_that_are_over_are_gone_at_the_next_start(tmp_path: Path) -> None:
    slow, gate = CountingNode(), GatedNode("Gate")
    async with running(slow.definition, gate, store=ScriptedStore(), disk_tier=tier_in(tmp_path)) as studio:
        await studio.submit(CHAIN, prompt_id=PromptId("p"))
        await gate.arrived()
        await until_written(studio, tmp_path)
    async with running(slow.definition, gate, store=found_by(), disk_tier=tier_in(tmp_path)):
        assert files_below(tmp_path) == []


async def test_outputs_stay_until_the_end_of_their_job_is_on_record(tmp_path: Path) -> None:
    slow, gate, store = CountingNode(), GatedNode("Gate"), ScriptedStore()
    async with running(slow.definition, gate, store=store, disk_tier=tier_in(tmp_path)) as studio:
        await studio.submit(CHAIN, prompt_id=PromptId("p"))
        (call,) = await gate.arrived()
        await until_written(studio, tmp_path)
        await studio.engine.told()
        store.at_once = False
        call.let_go(1)
        await turns_until(lambda: studio.engine.remaining == 0 and bool(store.batches))
        await until_written(studio, tmp_path, 2)
        store.at_once = True
        while store.batches:
            store.write_next()
        await studio.events.end_of("p")
    assert files_below(tmp_path) == []


async def test_a_prompt_that_goes_on_with_the_outputs_of_one_that_has_ended_has_them_after_a_restart(
        tmp_path: Path) -> None:
    slow, gate = CountingNode(), GatedNode("Gate")
    async with running(slow.definition, gate, store=ScriptedStore(), disk_tier=tier_in(tmp_path)) as studio:
        await studio.submit(CHAIN, prompt_id=PromptId("p"))
        (call,) = await gate.arrived()
        await until_written(studio, tmp_path)
        await studio.submit({**CHAIN, "2": node("Gate", x=["1", 0], y=1)}, prompt_id=PromptId("q"))
        await gate.arrived(2)
        call.let_go(1)
        await studio.events.end_of("p")
    store = found_by(left({**CHAIN, "2": node("Gate", x=["1", 0], y=1)}, "q", attempt=1))
    async with running(slow.definition, gate, store=store, disk_tier=tier_in(tmp_path)) as studio:
        await studio.engine.restore()
        (await gate.arrived(3))[2].let_go(1)
        await studio.events.end_of("q")
    assert slow.calls == 1


async def test_a_damaged_file_costs_the_call_and_nothing_else(tmp_path: Path) -> None:
    slow, gate = CountingNode(), GatedNode("Gate")
    async with running(slow.definition, gate, store=ScriptedStore(), disk_tier=tier_in(tmp_path)) as studio:
        await studio.submit(CHAIN, prompt_id=PromptId("p"))
        await gate.arrived()
        await until_written(studio, tmp_path)
    (file,) = files_below(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    async with running(slow.definition, gate, store=found_by(left(CHAIN, "p", attempt=1)),
                       disk_tier=tier_in(tmp_path)) as studio:
        await studio.engine.restore()
        (await gate.arrived(2))[1].let_go(1)
        assert (await studio.events.end_of("p")).outcome is Outcome.SUCCEEDED
    assert slow.calls == 2


@pytest.mark.parametrize("plain", [False, True])
async def test_what_a_consumer_changes_in_place_does_not_reach_the_disk(tmp_path: Path, plain: bool) -> None:
    async def changes(x: list[int]) -> int:
        x.clear()
        return 0

    async def makes(x: int) -> list[int]:
        return [x]

    made = define("Slow", (lambda x: [x]) if plain else makes)
    prompt = {"1": node("Slow", x=1), "2": node("Changes", x=["1", 0]), "3": node("Gate", x=["2", 0]),
              "4": shows("3")}
    door = threading.Event()
    gate, tier = GatedNode("Gate"), tier_in(tmp_path)
    async with running(made, define("Changes", changes), gate, store=ScriptedStore(), disk_tier=tier) as studio:
        tier._writer.submit(lambda: door.wait(30) and None)  # a slow disk: all happens before anything is written
        await studio.submit(prompt, prompt_id=PromptId("p"))
        await gate.arrived()
        door.set()
        await until_written(studio, tmp_path, 2)
    again = {"1": node("Slow", x=1), "2": shows("1")}
    async with running(made, store=found_by(left(again, "p")), disk_tier=tier_in(tmp_path)) as studio:
        await studio.engine.restore()
        await studio.events.end_of("p")
        (shown,) = [event for event in studio.events.of(NodeFinished, prompt_id="p") if event.ui is not None]
        assert shown.ui == {"from_1": [[1]]}
        assert studio.events.of(NodeFinished, prompt_id="p")[0].from_cache


async def test_only_calls_that_took_long_are_worth_it(tmp_path: Path) -> None:
    clock = ManualClock()
    slow = CountingNode("Slow", before=lambda: clock.advance(1.5))
    plain = CountingNode("SlowPlain", plain=True, before=lambda: clock.advance(1.0))
    quick, gate = CountingNode("Quick", before=lambda: clock.advance(0.9)), GatedNode("Gate")
    prompt = {"1": node("Quick", x=1), "2": node("Slow", x=["1", 0]), "3": node("SlowPlain", x=["2", 0]),
              "4": node("Gate", x=["3", 0]), "5": shows("4")}
    async with running(slow.definition, plain.definition, quick.definition, gate, store=ScriptedStore(), clock=clock,
                       disk_tier=tier_in(tmp_path, after=1.0)) as studio:
        await studio.submit(prompt, prompt_id=PromptId("p"))
        await gate.arrived()
        await until_written(studio, tmp_path, 2)


async def test_outputs_that_have_no_plain_form_are_passed_on_as_ever(tmp_path: Path) -> None:
    async def makes(x: int) -> object:
        return object()

    gate = GatedNode("Gate")
    async with running(define("Slow", makes), gate, store=ScriptedStore(), disk_tier=tier_in(tmp_path)) as studio:
        await studio.submit(CHAIN, prompt_id=PromptId("p"))
        (call,) = await gate.arrived()
        assert type(call.arguments["x"]) is object
        call.let_go(1)
        assert (await studio.events.end_of("p")).outcome is Outcome.SUCCEEDED


async def test_other_code_does_not_take_the_outputs_of_older_code(tmp_path: Path) -> None:
    slow, gate = CountingNode(), GatedNode("Gate")
    codes: dict[str, str | None] = {"Slow": "1", "Gate": "1", "Show": "1"}
    for changed, calls in ({}, 1), ({}, 1), ({"Slow": "2"}, 2), ({}, 2), ({"Gate": "2"}, 2), ({"Slow": None}, 3), \
            ({"Slow": None}, 4):
        codes.update(changed)
        async with running(slow.definition, gate, store=ScriptedStore(), code_of=lambda one: codes[one.class_type],
                           disk_tier=tier_in(tmp_path, keeps=True)) as studio:
            await studio.submit(CHAIN, prompt_id=PromptId("p"))
            await gate.arrived(len(gate.calls) + 1)
            assert slow.calls == calls
    assert len(files_below(tmp_path)) == 2


async def test_a_cancel_while_outputs_are_read_ends_the_prompt_at_once(tmp_path: Path) -> None:
    slow, gate, door = CountingNode(), GatedNode("Gate"), threading.Event()
    async with running(slow.definition, gate, store=ScriptedStore(), disk_tier=tier_in(tmp_path)) as studio:
        await studio.submit(CHAIN, prompt_id=PromptId("p"))
        await gate.arrived()
        await until_written(studio, tmp_path)
    tier = tier_in(tmp_path)
    async with running(slow.definition, gate, store=found_by(left(CHAIN, "p")), disk_tier=tier) as studio:
        for _ in range(2):
            tier._readers.submit(lambda: door.wait(30) and None)
        await studio.engine.restore()
        await turns_until(lambda: bool(studio.engine._tiers._open))
        assert studio.engine.interrupt(PromptId("p"))
        assert (await studio.events.end_of("p")).outcome is Outcome.INTERRUPTED
        door.set()
    assert slow.calls == 1
