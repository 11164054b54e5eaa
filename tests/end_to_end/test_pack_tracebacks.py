"""Tracebacks that clients are told of begin in the pack, whatever of it raised: the host's frames help nobody."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from execution import NodeFailed
from tests.support.studio import RunningStudio, running_studio

PACK = '''
from comfy_api.latest import io


def fail(why):
    raise ValueError(why)


class Plain:
    RETURN_TYPES, FUNCTION = ("INT",), "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {})}}

    def run(self, value):
        fail("run")


class Validated(Plain):
    @classmethod
    def VALIDATE_INPUTS(cls, value):
        fail("VALIDATE_INPUTS")


class ValidatedLater(Plain):
    @classmethod
    async def VALIDATE_INPUTS(cls, value):
        fail("VALIDATE_INPUTS")


class Undeclared(Plain):
    @classmethod
    def INPUT_TYPES(cls):
        fail("INPUT_TYPES")


class Schema(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id=cls.__name__, inputs=[io.Int.Input("value")], outputs=[io.Int.Output()])

    @classmethod
    def execute(cls, value):
        fail("execute")


class SchemaLater(Schema):
    @classmethod
    async def execute(cls, value):
        fail("execute")


class SchemaValidated(Schema):
    @classmethod
    def validate_inputs(cls, value):
        fail("validate_inputs")


class SchemaValidatedLater(Schema):
    @classmethod
    async def validate_inputs(cls, value):
        fail("validate_inputs")


class SchemaLazy(Schema):
    @classmethod
    def check_lazy_status(cls, value):
        fail("check_lazy_status")


NODE_CLASS_MAPPINGS = {one.__name__: one for one in (
    Plain, Validated, ValidatedLater, Undeclared,
    Schema, SchemaLater, SchemaValidated, SchemaValidatedLater, SchemaLazy)}
'''


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[RunningStudio]:
    folder = tmp_path / "failing"
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread((folder / "__init__.py").write_text, PACK)
    async with running_studio(packs=[folder]) as running:
        yield running


async def post(studio: RunningStudio, class_type: str) -> tuple[int, dict[str, Any]]:
    prompt = {"inner": {"class_type": class_type, "inputs": {"value": 1}},
              "outer": {"class_type": "PreviewAny", "inputs": {"source": ["inner", 0]}}}
    async with aiohttp.ClientSession(studio.url) as session, session.post("/prompt", json={"prompt": prompt}) as answer:
        return answer.status, await answer.json()


def begins_in(traceback: list[str], function: str) -> bool:
    """Whether the first frame is this function of the pack, and the last one where it raises."""
    return ("failing/__init__.py" in traceback[0] and f"in {function}\n" in traceback[0]
            and "in fail\n" in traceback[-1] and len(traceback) == 2)


@pytest.mark.parametrize(("class_type", "function"), [
    ("Validated", "VALIDATE_INPUTS"), ("ValidatedLater", "VALIDATE_INPUTS"), ("Undeclared", "INPUT_TYPES"),
    ("SchemaValidated", "validate_inputs"), ("SchemaValidatedLater", "validate_inputs")])
async def test_of_an_error_while_a_prompt_is_checked(studio: RunningStudio, class_type: str, function: str) -> None:
    status, answer = await post(studio, class_type)
    assert status == 400
    [error] = answer["node_errors"]["inner"]["errors"]
    assert (error["type"], error["details"]) == ("exception_during_inner_validation", function)
    assert begins_in(error["extra_info"]["traceback"], function), error["extra_info"]["traceback"]


@pytest.mark.parametrize(("class_type", "function"), [
    ("Plain", "run"), ("Schema", "execute"), ("SchemaLater", "execute"), ("SchemaLazy", "check_lazy_status")])
async def test_of_an_error_of_a_node_that_runs(studio: RunningStudio, class_type: str, function: str) -> None:
    events = studio.engine.subscribe()
    status, answer = await post(studio, class_type)
    assert status == 200, answer
    async for event in events:
        if isinstance(event, NodeFailed):
            break
    assert begins_in(list(event.error.traceback), function), event.error.traceback
