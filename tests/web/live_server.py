"""A whole server for a test, with a few nodes that only tests need."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from nodes.packs.class_nodes import define_class_node
from tests.support.studio import RunningStudio, running_studio

Graph = dict[str, Any]

shared_loop = pytest.mark.asyncio(loop_scope="module")
"""For tests of the `shared` server."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a refusal, which has to say what is wrong."""
        assert 400 <= self.status < 500, (self.status, self.body[:300])
        assert self.headers["Content-Type"] == "application/json; charset=utf-8"
        said = self.json()
        error: dict[str, Any] = said["error"]
        assert set(error) == {"type", "message", "details", "extra_info"}, error
        assert error["type"]
        assert len(error["message"]) > 5
        assert isinstance(said["node_errors"], dict)
        return error


class Gate:
    """Has come in, and waits until it is let through. Each test has a class of its own."""

    CATEGORY = "tests"
    RETURN_TYPES = ()
    FUNCTION = "wait"
    OUTPUT_NODE = True
    entered: asyncio.Event
    opened: asyncio.Event

    @classmethod
    def INPUT_TYPES(cls) -> Graph:
        return {"required": {}, "optional": {"tag": ("STRING", {})}}

    async def wait(self, tag: str = "") -> dict[str, Any]:
        self.entered.set()
        await self.opened.wait()
        return {"ui": {"text": [tag]}}


class Echo:
    """Shows its value."""

    CATEGORY = "tests"
    RETURN_TYPES = ("INT",)
    FUNCTION = "show"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> Graph:
        return {"required": {"value": ("INT", {"min": 0, "max": 1000})}}

    async def show(self, value: int) -> dict[str, Any]:
        return {"ui": {"value": [value]}, "result": (value,)}


class Anything:
    """Takes what has no limits, and shows nothing."""

    CATEGORY = "tests"
    RETURN_TYPES = ("INT",)
    FUNCTION = "take"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> Graph:
        return {
            "required": {},
            "optional": {
                "int": ("INT", {}),
                "float": ("FLOAT", {}),
                "text": ("STRING", {}),
                "bool": ("BOOLEAN", {}),
                "any": ("*", {}),
                "choice": (["a", "b"], {}),
                "many": (["a", "b"], {"multiselect": True}),
                "limited": ("INT", {"min": 0, "max": 9}),
                "odd_limit": ("STRING", {"min": 0}),
            },
        }

    async def take(self, **inputs: Any) -> tuple[int]:
        return (1,)


class LongChoice:
    """Offers a choice of very many and long texts."""

    CATEGORY = "tests"
    RETURN_TYPES = ("INT",)
    FUNCTION = "take"
    OUTPUT_NODE = True
    CHOICES = [f"{number:05}-{'x' * 200}" for number in range(5000)]

    @classmethod
    def INPUT_TYPES(cls) -> Graph:
        return {"required": {"choice": (cls.CHOICES, {})}, "optional": {"more": ("INT", {})}}

    async def take(self, **inputs: Any) -> tuple[int]:
        return (1,)


class KeepsSecrets:
    """Gets the keys of the client, and fails if it is told to."""

    CATEGORY = "tests"
    RETURN_TYPES = ()
    FUNCTION = "take"
    OUTPUT_NODE = True
    given: list[tuple[Any, Any]]

    @classmethod
    def INPUT_TYPES(cls) -> Graph:
        return {
            "required": {"fails": ("BOOLEAN", {})},
            "hidden": {"token": "AUTH_TOKEN_COMFY_ORG", "key": "API_KEY_COMFY_ORG"},
        }

    async def take(self, fails: bool, token: Any = None, key: Any = None) -> dict[str, Any]:
        self.given.append((token, key))
        if fails:
            raise RuntimeError("as it was told")
        return {"ui": {"text": ["done"]}}


class DoesNotSay:
    """Raises when it is asked what it takes."""

    RETURN_TYPES = ()
    FUNCTION = "take"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> Graph:
        raise OSError("the disk of this node is gone")

    def take(self) -> tuple[()]:
        return ()


class Live:
    """A server, a client of it, and its test nodes."""

    def __init__(self, running: RunningStudio, http: aiohttp.ClientSession) -> None:
        self.running = running
        self.http = http
        self.gate: Any = type("Gate", (Gate,), {"entered": asyncio.Event(), "opened": asyncio.Event()})
        self.secrets: Any = type("KeepsSecrets", (KeepsSecrets,), {"given": []})
        for node_class in (self.gate, self.secrets, Echo, Anything, LongChoice):
            name = node_class.__name__
            running.studio.registry.add(define_class_node(name, node_class, "tests"))

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.running.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        """:param body: JSON to be, or bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", path, data=data, **options)

    async def submit(self, graph: Any, **fields: Any) -> Answer:
        return await self.post("/prompt", {"prompt": graph, **fields})

    async def accepted(self, graph: Any, **fields: Any) -> dict[str, Any]:
        answer = await self.submit(graph, **fields)
        assert answer.status == 200, answer.body
        said: dict[str, Any] = answer.json()
        assert set(said) == {"prompt_id", "number", "node_errors"}
        return said

    async def state(self) -> tuple[Any, Any]:
        """Queue and history."""
        return (await self.get("/queue")).json(), (await self.get("/history")).json()

    async def finished(self, prompt_id: str, but: Any = None) -> dict[str, Any]:
        """The history entry of a prompt, as soon as there is one, and another one than `but`."""
        events = self.running.engine.subscribe()
        try:
            while (entry := (await self.get(f"/history/{prompt_id}")).json().get(prompt_id)) == but:
                await anext(events)
        finally:
            events.close()
        await self.running.engine.told()  # else the queue may show it yet
        found: dict[str, Any] = entry
        return found

    async def blocked(self, **fields: Any) -> dict[str, Any]:
        """A prompt that runs until the gate is opened."""
        said = await self.accepted({"g": {"class_type": "Gate", "inputs": {}}}, **fields)
        await self.gate.entered.wait()
        return said

    async def run(self, value: int, **fields: Any) -> str:
        prompt_id: str = (await self.accepted(echo(value), **fields))["prompt_id"]
        await self.finished(prompt_id)
        return prompt_id


def echo(value: Any) -> Graph:
    return {"1": {"class_type": "Echo", "inputs": {"value": value}}}


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Live]:
    async with running_studio(**settings) as running, aiohttp.ClientSession(running.url) as http:
        yield Live(running, http)
