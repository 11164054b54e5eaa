"""/object_info."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import aiohttp
import pytest
import yarl

from nodes import CATALOGUE
from nodes.packs.class_nodes import define_class_node
from tests.support.studio import running_studio
from tests.web.live_server import DoesNotSay, Live, shared_loop

KEYS = {
    "input",
    "input_order",
    "output",
    "output_is_list",
    "output_name",
    "name",
    "display_name",
    "description",
    "python_module",
    "category",
    "output_node",
}


async def test_every_class_is_there_once(live: Live) -> None:
    answer = await live.get("/object_info")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    said = answer.json()
    assert set(said) >= set(CATALOGUE) | {"Gate", "Echo"}
    assert answer.body.count(b'"python_module"') == len(said)
    for name, info in said.items():
        assert set(info) >= KEYS, name
        assert info["name"] == name


@shared_loop
@pytest.mark.parametrize("name", ["EmptyImage", "Echo"])
async def test_one_class_is_the_same_as_among_all(shared: Live, name: str) -> None:
    assert (await shared.get(f"/object_info/{name}")).json() == {name: (await shared.get("/object_info")).json()[name]}


@shared_loop
@pytest.mark.parametrize(
    "name", ["Nope", "echo", "%00", "%ff", "a" * 3000, "%2e%2e%2fserver.py", "%22", "Echo%20", "__class__"]
)
async def test_a_class_that_does_not_exist_is_an_empty_object(shared: Live, name: str) -> None:
    answer = await shared.get(yarl.URL(f"{shared.running.url}/object_info/{name}", encoded=True))
    assert (answer.status, answer.body) == (200, b"{}")


async def test_a_class_that_raises_is_left_out(live: Live) -> None:
    before = (await live.get("/object_info")).body
    live.running.studio.registry.add(define_class_node("DoesNotSay", DoesNotSay, "tests"))
    assert (await live.get("/object_info")).body == before
    refused = await live.get("/object_info/DoesNotSay")
    assert (refused.status, refused.headers["Content-Type"]) == (500, "application/json; charset=utf-8")
    assert refused.json() == {"error": {
        "type": "class_not_described", "message": "The class DoesNotSay raised when it was asked what it takes.",
        "details": "OSError: the disk of this node is gone",
        "extra_info": {"class_type": "DoesNotSay", "python_module": "tests", "exception_type": "OSError"}},
        "node_errors": {}}


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize(("error", "details"), [
    (TimeoutError("late"), "TimeoutError: late"),
    (Unprintable(), "Unprintable: (Unprintable, which cannot be printed)"),
    (SystemExit(3), "RuntimeError: Raises raised SystemExit"), (ValueError("\ud800"), "ValueError: \ud800"),
    (ValueError("x" * 5000), f"ValueError: {'x' * 1000}")])
async def test_whatever_a_class_raises_is_told_and_it_is_asked_again(live: Live, error: BaseException,
                                                                     details: str) -> None:
    class Raises(DoesNotSay):
        raised: BaseException | None = error

        @classmethod
        def INPUT_TYPES(cls) -> Any:
            if cls.raised is not None:
                raise cls.raised
            return {"required": {}}

    live.running.studio.registry.add(define_class_node("Raises", Raises, "tests"))
    assert "Raises" not in (await live.get("/object_info")).json()
    refused = await live.get("/object_info/Raises")
    assert (refused.status, json.loads(refused.body)["error"]["details"]) == (500, details)
    Raises.raised = None
    assert "Raises" in (await live.get("/object_info")).json()
    assert (await live.get("/object_info/Raises")).status == 200


async def test_a_class_that_does_not_answer_is_left_out_until_it_does() -> None:
    answers = threading.Event()

    class Waits(DoesNotSay):
        @classmethod
        def INPUT_TYPES(cls) -> Any:
            answers.wait()
            return {"required": {}}

    async with running_studio(hook_timeout=0.1) as studio, aiohttp.ClientSession(studio.url) as session:
        studio.studio.registry.add(define_class_node("Waits", Waits, "tests"))
        async with session.get("/object_info/Waits") as answer:
            assert (answer.status, (await answer.json())["error"]["message"]) == (
                500, "The class Waits does not answer what it takes.")
        async with session.get("/object_info") as answer:
            assert "Waits" not in await answer.json()
        answers.set()
        async with session.get("/object_info/Waits") as answer:
            assert (await answer.json())["Waits"]["name"] == "Waits"
        async with session.get("/object_info") as answer:
            assert "Waits" in await answer.json()


async def test_an_unchanged_catalogue_is_not_sent_again(live: Live) -> None:
    answer = await live.get("/object_info")
    tag = answer.headers["ETag"]
    assert answer.headers["Cache-Control"] == "no-cache"
    for same in (tag, f"W/{tag}", f'"other", {tag}'):
        again = await live.get("/object_info", headers={"If-None-Match": same})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag), same


@shared_loop
@pytest.mark.parametrize(
    "tag", ['"other"', "", "x", '"', "W/", ",,,", '"' * 2000, "\x80\xff", '"a" "b"', "None", "(" * 3000]
)
async def test_an_odd_tag_gets_the_whole(shared: Live, tag: str) -> None:
    answer = await shared.get("/object_info", headers={"If-None-Match": tag})
    assert answer.status == 200
    assert "Echo" in answer.json()


async def test_a_new_file_is_listed_at_once(live: Live) -> None:
    def choices(said: Any) -> list[str]:
        listed: list[str] = said["LoadImage"]["input"]["required"]["image"][0]
        return listed

    first = await live.get("/object_info")
    assert "new.png" not in choices(first.json())
    source = live.running.base_directory / "input" / "example.png"
    await asyncio.to_thread(lambda: (source.parent / "new.png").write_bytes(source.read_bytes()))
    second = await live.get("/object_info", headers={"If-None-Match": first.headers["ETag"]})
    assert second.status == 200
    assert "new.png" in choices(second.json())
    assert "new.png" in choices((await live.get("/object_info/LoadImage")).json())
