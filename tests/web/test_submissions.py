"""What stands between a request and the engine, where packs have put something of their own there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from execution import (
    Accepted,
    Engine,
    EngineSettings,
    MemoryStore,
    NodeRegistry,
    PromptId,
    PromptSubmission,
    RunRules,
)
from tests.support.node_definitions import define, node
from web.prompt_gate import Submit
from web.submissions import QueueFull, Submissions

RULES = RunRules(goes_on_after_errors=True)
PROMPT = {"1": node("Show", x=1)}


class MakesAnew:
    """Hands on a prompt of its own making beside another one, as packs may, once it is let through."""

    wants_bodies = False

    def __init__(self) -> None:
        self.seen = 0
        self.entered, self.opened = asyncio.Event(), asyncio.Event()

    async def change_body(self, body: dict[str, Any]) -> dict[str, Any]:
        return body

    async def submit(self, submission: PromptSubmission, submit: Submit) -> Accepted:
        self.seen += 1
        self.entered.set()
        await self.opened.wait()
        await submit(PromptSubmission(prompt=PROMPT, prompt_id=PromptId("other")))
        return await submit(PromptSubmission(prompt=PROMPT, prompt_id=submission.prompt_id))


def an_engine() -> Engine:
    async def show(x: int) -> int:
        return x

    registry = NodeRegistry()
    registry.add(define("Show", show, is_output=True))
    return Engine(registry, EngineSettings(), store=MemoryStore())


def keyed(prompt_id: str = "mine") -> PromptSubmission:
    return PromptSubmission(prompt=PROMPT, prompt_id=PromptId(prompt_id), idempotency_key="k", content_key="c",
                            retry_of=PromptId("old"), rules=RULES)


async def test_what_a_pack_makes_anew_is_still_the_job_of_its_key() -> None:
    gate = MakesAnew()
    async with an_engine() as engine:
        submissions = Submissions(engine, lambda: gate, 0)
        gate.opened.set()
        accepted = await submissions.accept(keyed())
        job = await engine.history.job_of_key("k")
        assert job is not None
        assert (job.entry.prompt_id, job.entry.retry_of, job.rules) == ("mine", "old", RULES)
        other = await engine.history.job(PromptId("other"))
        assert other is not None
        assert other.retry_of is None
        assert await submissions.accept(keyed()) == accepted
        assert gate.seen == 1


async def test_what_a_pack_holds_back_counts_as_waiting() -> None:
    gate = MakesAnew()
    async with an_engine() as engine:
        submissions = Submissions(engine, lambda: gate, 1)
        held = asyncio.ensure_future(submissions.accept(keyed()))
        await gate.entered.wait()
        with pytest.raises(QueueFull):
            await submissions.accept(PromptSubmission(prompt=PROMPT))
        gate.opened.set()
        assert (await held).prompt_id == "mine"
