"""Both stores, told the same, answer the same: random jobs, random questions."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from execution import (
    CancelAccepted,
    ClientId,
    Event,
    HistoryEntry,
    JobOrder,
    JobQuery,
    JobState,
    JobStore,
    MemoryStore,
    NodeError,
    NodeFailed,
    Outcome,
    PromptDropped,
    PromptFinished,
    PromptId,
    PromptMoved,
    PromptRequeued,
    PromptStarted,
    SqliteStore,
)
from tests.execution.store.told_jobs import Telling, node_finished, node_started, place, queued

IDS = [PromptId(name) for name in "abcde"]
ENDS = [outcome for outcome in Outcome if outcome is not Outcome.CANCELLED]
RARE = ("fail", "drop", "cancel", "requeue", "move", "node", "delete", "clear")
USUAL = ("submit", "start", "finish")

steps = st.lists(st.tuples(
    st.sampled_from([*USUAL * 8, *RARE]), st.sampled_from(IDS), st.integers(0, 3), st.sampled_from(ENDS)),
    min_size=10, max_size=80)
queries = st.builds(
    JobQuery, states=st.none() | st.frozensets(st.sampled_from(JobState)),
    outcomes=st.none() | st.frozensets(st.sampled_from(Outcome)), workflow_id=st.none() | st.sampled_from(["w0", "w1"]),
    client_id=st.none() | st.sampled_from([ClientId("c0"), ClientId("c1")]), order=st.sampled_from(JobOrder),
    descending=st.booleans(), offset=st.integers(0, 6) | st.just(10**20),
    limit=st.none() | st.integers(0, 6) | st.just(10**20))
bounds = st.none() | st.integers(0, 4)


class Script:
    """Makes events of steps, as an engine would tell them. A usual step that makes no sense for a prompt as it is
    becomes the next one that does."""

    def __init__(self) -> None:
        self._states: dict[PromptId, str] = {}
        self._now = 1_000
        self._submissions = 0

    def events_of(self, step: str, prompt_id: PromptId, number: int, outcome: Outcome) -> list[Event]:
        self._now += 1
        state = self._states.get(prompt_id, "")
        if step in USUAL:
            step = {"": "submit", "pending": "start", "running": "finish"}[state]
        made = self._event(step, state, prompt_id, number, outcome)
        if made is None:
            return []
        self._states[prompt_id], event = made
        event.at = self._now
        return [event]

    def _event(self, step: str, state: str, prompt_id: PromptId, number: int,
               outcome: Outcome) -> tuple[str, Event] | None:
        if step == "submit" and not state:
            self._submissions += 1
            return "pending", queued(
                prompt_id, number=number if number % 2 else float(number), client_id=f"c{number}" if number else None,
                extra_data={"create_time": 100 - number, "extra_pnginfo": {"workflow": {"id": f"w{number}"}}},
                prompt={"1": {"inputs": {"x": self._submissions}}})
        if state == "pending":
            pending: dict[str, tuple[str, Event]] = {
                "start": ("running", PromptStarted(prompt_id=prompt_id, remaining=1)),
                "drop": ("", PromptDropped(prompt_id=prompt_id, reason="r")),
                "move": ("pending", PromptMoved(prompt_id=prompt_id, number=number - 1.5))}
            return pending.get(step)
        if state == "running":
            error = NodeError(exception_type="E", exception_message="m", traceback=[])
            running: dict[str, tuple[str, Event]] = {
                "finish": ("", PromptFinished(prompt_id=prompt_id, outcome=outcome, remaining=0, reason="why")),
                "cancel": ("running", CancelAccepted(prompt_id=prompt_id)),
                "requeue": ("pending", PromptRequeued(prompt_id=prompt_id)),
                "node": ("running", node_started("n", prompt_id) if number % 2 else node_finished(
                    "n", prompt_id, ui={"shown": [number]}, is_output=True)),
                "fail": ("running", NodeFailed(prompt_id=prompt_id, place=place("n"), node_type="A", executed=[],
                                               known=[], error=error))}
            return running.get(step)
        return None


def plain(entry: HistoryEntry | None) -> Any:
    """All that an entry says; one of a job that is open as far as both stores know it."""
    if entry is None:
        return None
    said: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry))
    said.pop("run")  # after a deletion they count differently
    said["state"] = entry.state
    return said


async def told_to(store: JobStore, script: list[tuple[str, PromptId, int, Outcome]]) -> None:
    telling, events = Telling(store), Script()
    for step, prompt_id, number, outcome in script:
        if step == "delete":
            await store.delete([prompt_id])
        elif step == "clear":
            await store.clear()
        else:
            await telling(*events.events_of(step, prompt_id, number, outcome))


async def answers_of(store: JobStore, asked: list[JobQuery], pages: list[tuple[int | None, int | None]]) -> Any:
    found = [await store.find_jobs(query) for query in asked]
    return {
        "found": [([plain(entry) for entry in page.jobs], page.total) for page in found],
        "jobs": [plain(await store.job(prompt_id)) for prompt_id in IDS],
        "newest": [plain(await store.get(prompt_id)) for prompt_id in IDS],
        "runs": [[plain(entry) for entry in await store.runs(prompt_id)] for prompt_id in IDS],
        "pages": [[plain(entry) for entry in await store.entries(limit, offset)] for limit, offset in pages],
        "to repeat": [None if job is None else job.submitted
                      for job in [await store.job_to_repeat(prompt_id) for prompt_id in IDS]]}


@settings(max_examples=40)
@given(script=steps, asked=st.lists(queries, max_size=5), pages=st.lists(st.tuples(bounds, bounds), max_size=4))
def test_both_stores_answer_the_same(script: list[Any], asked: list[JobQuery], pages: list[Any]) -> None:
    async def compare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            answers = []
            for store in (MemoryStore(), SqliteStore(Path(folder) / "jobs.db")):
                await store.open(asyncio.get_running_loop())
                try:
                    await told_to(store, script)
                    answers.append(await answers_of(store, [JobQuery(), *asked], [(None, None), *pages]))
                finally:
                    await store.close()
        assert answers[0] == answers[1]

    asyncio.run(compare())
