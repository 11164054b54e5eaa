"""The pack that shows authors each kind of node does what its README says."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from execution import Outcome, PromptFinished, PromptRejected, PromptSubmission
from tests.support.studio import RunningStudio, running_studio

PACK = Path(__file__).resolve().parents[2] / "examples" / "first_pack"


@pytest.fixture
async def studio() -> AsyncIterator[RunningStudio]:
    async with running_studio(packs=[PACK]) as running:
        yield running


async def run(studio: RunningStudio, prompt: dict[str, Any]) -> tuple[Outcome, dict[str, Any], Any]:
    """How a prompt ended, what its nodes showed, and what went wrong."""
    events = studio.engine.subscribe()
    accepted = await studio.engine.submit(PromptSubmission(prompt=prompt))
    async for event in events:
        if isinstance(event, PromptFinished) and event.prompt_id == accepted.prompt_id:
            break
    events.close()
    entry = await studio.engine.history.get(accepted.prompt_id)
    return entry.outcome, entry.outputs, entry.failure


def shown(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A prompt with one node of the pack, whose output is shown."""
    return {"x": {"class_type": class_type, "inputs": inputs},
            "show": {"class_type": "PreviewAny", "inputs": {"source": ["x", 0]}}}


async def test_the_prompt_of_the_readme_runs_through_lists_pools_lazy_inputs_and_blockers(
        studio: RunningStudio) -> None:
    prompt = json.loads((PACK / "prompts" / "words.json").read_text())["prompt"]
    outcome, outputs, failure = await run(studio, prompt)
    assert (outcome, failure) == (Outcome.SUCCEEDED, None)
    assert outputs["show"]["text"] == ["EVERY!! / WORD!! / BECOMES!! / A!! / CALL!!"]


async def test_a_closed_blocker_shows_nothing_and_fails_nothing(studio: RunningStudio) -> None:
    outcome, outputs, failure = await run(studio, shown("OnlyIf", text="a", condition=False))
    assert (outcome, outputs, failure) == (Outcome.SUCCEEDED, {}, None)


async def test_a_node_that_counts_slowly_ends_with_its_count(studio: RunningStudio) -> None:
    outcome, outputs, _ = await run(studio, shown("CountSlowly", count=3))
    assert (outcome, outputs["show"]["text"]) == (Outcome.SUCCEEDED, ["3"])


@pytest.mark.parametrize(("number", "is_even"), [(4, True), (3, False)])
async def test_a_validator_refuses_what_does_not_fit(studio: RunningStudio, number: int, is_even: bool) -> None:
    prompt = shown("EvenNumber", number=number)
    if is_even:
        assert (await run(studio, prompt))[0] is Outcome.SUCCEEDED
    else:
        with pytest.raises(PromptRejected) as refusal:
            await run(studio, prompt)
        assert "x" in refusal.value.node_errors


async def test_a_change_check_has_a_changed_file_read_again(studio: RunningStudio, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("one")
    prompt = shown("ReadTextFile", path=str(notes))
    assert (await run(studio, json.loads(json.dumps(prompt))))[1]["show"]["text"] == ["one"]
    notes.write_text("and two")
    assert (await run(studio, json.loads(json.dumps(prompt))))[1]["show"]["text"] == ["and two"]
