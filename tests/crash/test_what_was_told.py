"""What clients were told before a kill still holds after it: nothing is told that is not on record, no number is used
twice, no end is taken back.

`HANZO_STUDIO_CRASHES` and `HANZO_STUDIO_CRASH_SEED` as in `test_crash.py`; a quarter of them here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from execution.engine import SEQUENCE_JUMP
from tests.crash.killable_server import node
from tests.crash.quick_server import ENDS, SECONDS, QuickServer, counted, ends_told, quick_server, socket_of

CRASHES = int(os.environ.get("HANZO_STUDIO_CRASHES", "10"))
SEED = int(os.environ.get("HANZO_STUDIO_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
IN_ONE_TEST = 3
OVER = ("completed", "failed", "cancelled")
NAMES = ("anna", "bert", "cora")


class Person:
    """A client with a socket of its own, which submits, cancels and looks, and remembers all that it was told."""

    def __init__(self, server: QuickServer, name: str, choose: random.Random) -> None:
        self._server = server
        self._choose = choose
        self.name = name
        self.tried: list[str] = []
        self.accepted: dict[str, float] = {}
        """Prompt -> number."""
        self.cancelled: set[str] = set()
        self.over: dict[str, str] = {}
        """Ends that `/api/jobs` showed."""
        self.messages: list[dict[str, Any]] = []
        """With numbers, of all lives. The number of an event is on its last message."""
        self.ends: set[tuple[str, str]] = set()

    @property
    def last_number(self) -> int:
        return int(self.messages[-1]["seq"]) if self.messages else 0

    async def live(self) -> None:
        """Until the server is gone."""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with aiohttp.ClientSession() as http:
                listening = asyncio.create_task(self._listen(http))
                try:
                    while True:
                        await self._do_something(http)
                finally:
                    await asyncio.wait((listening,), timeout=SECONDS)
                    listening.cancel()

    async def only_listen(self) -> None:
        async with aiohttp.ClientSession() as http:
            await self._listen(http)

    async def all_on_record(self) -> list[dict[str, Any]]:
        """All that the log holds for it, once it has heard the newest of that. The server is at rest."""
        async with socket_of(self._server, self.name) as everything, asyncio.timeout(SECONDS):
            newest = max(one["seq"] for one in everything if "seq" in one and one["type"] != "snapshot")
            while self.last_number < newest:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.01)
        return everything

    async def _listen(self, http: aiohttp.ClientSession) -> None:
        url = f"{self._server.url}/ws?clientId={self.name}&since={self.last_number}"
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with http.ws_connect(url, max_msg_size=0) as socket:
                async for frame in socket:
                    if frame.type is aiohttp.WSMsgType.TEXT:
                        self._hear(json.loads(frame.data))

    def _hear(self, message: dict[str, Any]) -> None:
        assert message["type"] != "replay_gap", message
        if message["type"] in ENDS:
            self.ends.add((message["data"]["prompt_id"], message["type"]))
        if "seq" in message and message["type"] != "snapshot":
            assert message["seq"] > self.last_number, (message, self.messages[-1])
            self.messages.append(message)

    async def _do_something(self, http: aiohttp.ClientSession) -> None:
        dice = self._choose.random()
        if dice < 0.6 or not self.accepted:
            await self._submit(http)
        elif dice < 0.75:
            await self._cancel(http, self._choose.choice([*self.accepted][-5:]))
        else:
            await self._look(http, self._choose.choice([*self.accepted]))
        await asyncio.sleep(self._choose.choice([0, 0.01, 0.03]))

    async def _submit(self, http: aiohttp.ClientSession) -> None:
        prompt_id = f"{self.name}-{len(self.tried)}"
        self.tried.append(prompt_id)
        prompt = counted(prompt_id, seconds=self._choose.choice([0.0, 0.0, 0.02, 0.15]))
        if self._choose.random() < 0.3:
            prompt["1"]["class_type"] = "CrashKill"  # plain; it kills nobody
        elif self._choose.random() < 0.1:
            prompt["2"] = node("CrashShow", value=["1", 0], seconds=-1)
        body = {"prompt": prompt, "client_id": self.name, "prompt_id": prompt_id}
        async with http.post(f"{self._server.url}/prompt", json=body) as answer:
            assert answer.status == 200, await answer.text()
            self.accepted[prompt_id] = (await answer.json())["number"]

    async def _cancel(self, http: aiohttp.ClientSession, prompt_id: str) -> None:
        async with http.post(f"{self._server.url}/api/jobs/{prompt_id}/cancel") as answer:
            assert answer.status == 200, await answer.text()
            if (await answer.json())["cancelled"]:
                self.cancelled.add(prompt_id)

    async def _look(self, http: aiohttp.ClientSession, prompt_id: str) -> None:
        async with http.get(f"{self._server.url}/api/jobs/{prompt_id}") as answer:
            assert answer.status == 200, f"{prompt_id} was accepted, and is unknown"
            status = (await answer.json())["status"]
        assert self.over.get(prompt_id, status) == status, f"the end of {prompt_id} was taken back"
        if status in OVER:
            self.over[prompt_id] = status


def content_of(message: dict[str, Any]) -> tuple[str, str | None]:
    return message["type"], message["data"].get("prompt_id")


async def check(server: QuickServer, person: Person) -> None:
    """At rest. What one person was told, against the whole log as the server tells it, and against the jobs."""
    everything = await person.all_on_record()
    log = {one["seq"]: content_of(one) for one in everything if "seq" in one and one["type"] != "snapshot"}
    for message in person.messages:
        assert log.get(message["seq"]) == content_of(message), "it was told, and is not on record"
    statuses = {}
    for prompt_id in person.tried:
        status, job = await server.ask("GET", f"/api/jobs/{prompt_id}")
        assert status == 200 or prompt_id not in person.accepted
        if status == 200:
            statuses[prompt_id] = job["status"]
            assert job["status"] in OVER
            was_told = ends_told(everything, prompt_id)
            assert len(was_told) <= 1, f"{prompt_id} ended more than once"
            assert (was_told == ["execution_success"]) is (job["status"] == "completed")
            assert bool(server.calls(prompt_id)) or job["status"] != "completed"
    for prompt_id, status in person.over.items():
        assert statuses[prompt_id] == status
    for prompt_id in person.cancelled:
        assert statuses[prompt_id] == "cancelled"
    on_record = {(one["data"]["prompt_id"], one["type"]) for one in everything if one["type"] in ENDS}
    assert person.ends == on_record, "the socket that came back each time was told all ends, and no others"


def check_the_order_of_each_life(people: list[Person]) -> None:
    """What waits over a restart starts in the order of its numbers: nobody is passed by who came later."""
    numbers = {prompt_id: number for person in people for prompt_id, number in person.accepted.items()}
    starts = sorted((one["seq"], one["data"]["prompt_id"]) for person in people for one in person.messages
                    if one["type"] == "execution_start" and one["data"]["prompt_id"] in numbers)
    first = {}
    for sequence, prompt_id in starts:
        first.setdefault(prompt_id, sequence)
    in_order = sorted(first, key=lambda prompt_id: first[prompt_id])
    assert in_order == sorted(in_order, key=lambda prompt_id: numbers[prompt_id])


def lives_in(people: list[Person]) -> int:
    """How many processes told numbers: between two of them is a jump."""
    numbers = sorted({one["seq"] for person in people for one in person.messages})
    return 1 + sum(later - earlier >= SEQUENCE_JUMP for earlier, later in pairwise(numbers))


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(-(-CRASHES // 4 // IN_ONE_TEST)))
async def test_what_was_told_before_a_kill_holds_after_it(tmp_path: Path, batch: int) -> None:
    print(f"HANZO_STUDIO_CRASH_SEED={SEED} HANZO_STUDIO_CRASHES={CRASHES}")
    choose = random.Random(SEED + batch)
    async with quick_server(tmp_path, "--max-attempts", str(IN_ONE_TEST + 1)) as server:
        people = [Person(server, name, random.Random(choose.random())) for name in NAMES]
        for _ in range(IN_ONE_TEST):
            if choose.random() < 0.3:  # somewhere in its start
                starting = asyncio.create_task(server.start())
                await asyncio.wait((starting,), timeout=choose.uniform(0.3, 1.5))
                await server.kill()
                await starting
            await server.started()
            living = [asyncio.create_task(person.live()) for person in people]
            await asyncio.sleep(choose.uniform(0.05, 0.8))
            await server.kill()
            await asyncio.gather(*living)
        await server.started()
        living = [asyncio.create_task(person.only_listen()) for person in people]
        await server.until_all_is_over()
        await asyncio.gather(*(check(server, person) for person in people))
        check_the_order_of_each_life(people)
        assert lives_in(people) >= IN_ONE_TEST
        calls = Counter(one.name.rpartition(".")[0] for one in (tmp_path / "calls").iterdir())
        assert max(calls.values()) <= IN_ONE_TEST + 1, "at most once in each life"
        assert "Traceback" not in server.log.read_text()
        await server.kill()
        await asyncio.gather(*living)
