"""/object_info."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yarl

from nodes import CATALOGUE
from nodes.packs.class_nodes import define_class_node
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
    assert b"DoesNotSay" in (await live.get("/object_info/DoesNotSay")).body  # says which class it is about


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
