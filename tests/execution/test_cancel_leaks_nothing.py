"""A thousand prompts, each cancelled at some moment of its life: nothing of them is left."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path
from typing import Any

from execution import (
    KeepRule,
    Outcome,
    PromptDropped,
    PromptFinished,
    PromptId,
    SqliteStore,
    TransientError,
    check_interrupted,
)
from tests.execution.test_engine import Running, running, shows, turns_until
from tests.support.node_definitions import define, node

PROMPTS = 1000
AT_ONCE = 25
SEED = 20261124


async def awaits(x: Any, turns: int) -> Any:
    for _ in range(turns):
        await asyncio.sleep(0)
    return x


async def cleans_up(x: Any, turns: int) -> Any:
    try:
        return await awaits(x, turns)
    finally:
        await asyncio.sleep(0)


async def spawns(x: Any, turns: int) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(awaits(x, turns)) for _ in range(3)]
    return tasks[0].result()


def computes(x: Any, turns: int) -> Any:
    for _ in range(turns * 20):
        check_interrupted()
    return x


async def breaks(x: Any, turns: int) -> Any:
    raise TransientError("not yet")


NODES = {"Awaits": awaits, "CleansUp": cleans_up, "Spawns": spawns, "Computes": computes, "Breaks": breaks}


def some_prompt(choose: random.Random, index: int) -> dict[str, Any]:
    """Up to five nodes, each behind one before it, and an output node."""
    prompt: dict[str, Any] = {}
    for number in range(choose.randint(1, 5)):
        source: Any = [str(choose.randrange(number)), 0] if number else index
        class_type = choose.choice(["Awaits", "CleansUp", "Spawns", "Computes", "Computes", "Breaks"])
        prompt[str(number)] = node(class_type, x=source, turns=choose.randint(0, 12))
    prompt["end"] = shows(str(len(prompt) - 1))
    return prompt


async def one_life(studio: Running, choose: random.Random, index: int, ends: dict[str, asyncio.Event]) -> None:
    """Submit, wait some turns, cancel in one of the ways there are, and wait for the end."""
    prompt_id = PromptId(str(index))
    ends[prompt_id] = asyncio.Event()
    await studio.submit(some_prompt(choose, index), prompt_id=prompt_id)
    for _ in range(choose.choice([0, 1, 2, 5, 20, 60])):
        await asyncio.sleep(0)
    match choose.randrange(3):
        case 0:
            studio.engine.interrupt(prompt_id)
            studio.engine.remove_pending([prompt_id])
        case 1:
            studio.engine.cancel([prompt_id])
        case 2:
            studio.engine.cancel([prompt_id, PromptId("unheard of")])
            studio.engine.interrupt(prompt_id)
    await ends[prompt_id].wait()


async def test_a_thousand_cancels_at_random_moments_leave_nothing_behind(tmp_path: Path) -> None:
    choose = random.Random(SEED)
    ends: dict[str, asyncio.Event] = {}
    outcomes: list[Outcome | None] = []
    definitions = [define(name, function, retries=1, needs=None if name == "Computes" else {})
                   for name, function in NODES.items()]
    store = SqliteStore(tmp_path / "queue.sqlite3", keep=KeepRule())
    async with running(*definitions, store=store) as studio:
        def listen(event: Any) -> None:
            if isinstance(event, (PromptFinished, PromptDropped)):
                outcomes.append(getattr(event, "outcome", None))
                ends[event.prompt_id].set()

        studio.engine.add_listener(listen)
        threads_before: set[str] = set()
        tasks_before = asyncio.all_tasks()
        for begin in range(0, PROMPTS, AT_ONCE):
            await asyncio.gather(*(one_life(studio, choose, index, ends) for index in range(begin, begin + AT_ONCE)))
            if not begin:
                threads_before = {one.name for one in threading.enumerate()}
        await studio.engine.told()
        assert len(outcomes) == PROMPTS
        assert Outcome.INTERRUPTED in outcomes
        assert None in outcomes, "some were still waiting"
        assert studio.engine.remaining == 0
        await studio.until_tokens_are_back()
        await turns_until(lambda: asyncio.all_tasks() <= tasks_before)
        assert {one.name for one in threading.enumerate()} - threads_before <= {
            f"studio-{lane}-{number}" for lane in ("gpu", "validation", "constructors", "errors", "store-reader")
            for number in range(1, 5)}
        scheduler, caller = studio.engine._scheduler, studio.engine._caller
        assert (scheduler._calls, scheduler._runs, scheduler._shared, caller._open) == ({}, {}, {}, {})
        assert studio.engine._admitted == {}
        assert studio.engine.snapshot().running == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["queue.sqlite3"]
