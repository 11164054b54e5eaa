"""A pack that replaces what this server never calls, or calls only beside a run, is told so: in the log, at /packs."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.studio import RunningStudio, running_studio

REPLACES = '''
import functools

import execution
import nodes
import server

original_execute = execution.PromptExecutor.execute
original_output = execution.get_output_data


@functools.wraps(original_output)
def get_output_data(*args, **kwargs):
    return original_output(*args, **kwargs)


@functools.wraps(original_execute)
def execute(self, *args, **kwargs):
    return original_execute(self, *args, **kwargs)


async def validate_prompt(*args):
    return await original_validate(*args)


class Handler:
    def __call__(self, *args):
        return None


original_validate = execution.validate_prompt
execution.validate_prompt = validate_prompt
execution.get_output_data = get_output_data
execution.execute = functools.partial(get_output_data, 1)
execution.of_our_own = get_output_data
execution.PromptExecutor.execute = execute
execution.PromptExecutor.add_message = Handler()
nodes.before_node_execution = lambda: None
nodes.SaveImage = Handler
server.PromptServer.instance.send_json = execute


def replace_later():
    execution.get_input_data = lambda *args, **kwargs: ({}, {}, {})


NODE_CLASS_MAPPINGS = {}
'''
WELL_BEHAVED = '''
import execution

execution.get_input_data(inputs={}, class_def=type("A", (), {"INPUT_TYPES": dict}), unique_id="1")
NODE_CLASS_MAPPINGS = {}
'''
NEVER = ["execution.get_output_data", "execution.execute", "PromptExecutor.add_message", "nodes.before_node_execution",
         "nodes.SaveImage", "PromptServer.send_json"]
BESIDE = ["PromptExecutor.execute"]


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[RunningStudio]:
    folders = []
    for name, source in (("a_good_one", WELL_BEHAVED), ("replacing", REPLACES)):
        folders.append(tmp_path / name)
        await asyncio.to_thread(folders[-1].mkdir)
        await asyncio.to_thread((folders[-1] / "__init__.py").write_text, source)
    async with running_studio(packs=folders) as running:
        yield running


async def notes_of(studio: RunningStudio) -> dict[str, list[str]]:
    async with aiohttp.ClientSession(studio.url) as session, session.get("/api/packs") as answer:
        return {pack["name"]: pack["notes"] for pack in await answer.json()}


def names_in(notes: list[str], end: str) -> list[str]:
    return sorted(note.removeprefix("It replaces ").partition(", ")[0] for note in notes if note.endswith(end))


async def run_prompt(studio: RunningStudio) -> None:
    from execution import PromptFinished, PromptSubmission

    events = studio.engine.subscribe()
    await studio.engine.submit(PromptSubmission(prompt={"1": {"class_type": "PreviewAny", "inputs": {"source": 1}}}))
    async for event in events:
        if isinstance(event, PromptFinished):
            break
    events.close()


async def test_each_name_is_told_with_what_becomes_of_it(studio: RunningStudio,
                                                         caplog: pytest.LogCaptureFixture) -> None:
    notes = await notes_of(studio)
    assert notes["a_good_one"] == []
    assert names_in(notes["replacing"], "has no effect on prompts.") == sorted(NEVER)
    assert names_in(notes["replacing"], "what it changes has no effect.") == BESIDE
    assert len(notes["replacing"]) == len(NEVER) + len(BESIDE)
    logged = [one.getMessage() for one in caplog.get_records("setup")]
    assert sorted(one for one in logged if "It replaces" in one) == sorted(
        f"pack replacing: {note}" for note in notes["replacing"])


async def test_the_log_names_the_pack_and_says_it_once(studio: RunningStudio, caplog: pytest.LogCaptureFixture) -> None:
    pack: Any = sys.modules[str(studio.base_directory / "custom_nodes" / "replacing").replace(".", "_x_")]
    pack.replace_later()
    for _ in range(2):
        await run_prompt(studio)
    assert [one.getMessage() for one in caplog.records if "It replaces" in one.getMessage()] == [
        "pack replacing: It replaces execution.get_input_data, which is called beside the run of a prompt here: "
        "the run does not wait for it, and what it changes has no effect."]
    assert "execution.get_input_data" in names_in((await notes_of(studio))["replacing"], "has no effect.")


async def test_a_pack_that_is_loaded_anew_is_told_again_in_its_report(studio: RunningStudio,
                                                                      caplog: pytest.LogCaptureFixture) -> None:
    before = await notes_of(studio)
    async with aiohttp.ClientSession(studio.url) as session, session.post("/api/packs/replacing/reload") as answer:
        assert answer.status == 200
        assert sorted((await answer.json())["notes"]) == sorted(before["replacing"])
    assert await notes_of(studio) == {name: before[name] for name in ("a_good_one", "replacing")}
    assert "It replaces" not in caplog.text  # it was said at the start
