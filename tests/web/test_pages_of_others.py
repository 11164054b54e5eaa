"""What pages of others rely on beyond the routes: prompts in a line, and files that they ask for unasked."""

import asyncio
from typing import Any

import pytest

from tests.web.live_server import Live

EDITOR = {"supports_preview_metadata": True, "supports_manager_v4_ui": True}
"""What an editor says of itself."""


async def connect(live: Live, client_id: str, flags: dict[str, Any] | None) -> Any:
    socket = await live.http.ws_connect(f"/ws?clientId={client_id}")
    await socket.receive_json()
    if flags is not None:
        await socket.send_json({"type": "feature_flags", "data": flags})
        assert (await socket.receive_json())["type"] == "feature_flags"
    return socket


async def submit(live: Live, tag: str, client_id: str) -> str:
    gate = {"1": {"class_type": "Gate", "inputs": {"tag": tag}}}
    return str((await live.accepted(gate, client_id=client_id))["prompt_id"])


async def until(socket: Any, kind: str, prompt_id: str) -> None:
    while True:
        said = await socket.receive_json()
        if said["type"] == kind and said["data"].get("prompt_id") == prompt_id:
            return


async def running(live: Live) -> list[str]:
    return [item[1] for item in (await live.get("/queue")).json()["queue_running"]]


async def test_prompts_of_an_editor_run_one_after_the_other(live: Live) -> None:
    socket = await connect(live, "editor", EDITOR)
    other = await connect(live, "script", None)
    first, second = await submit(live, "first", "editor"), await submit(live, "second", "editor")
    beside = await submit(live, "beside", "script")
    await until(other, "execution_start", beside)
    assert sorted(await running(live)) == sorted([first, beside]), "the second waits, another client's does not"
    live.gate.opened.set()
    await until(socket, "execution_success", first)
    await until(socket, "execution_start", second)
    await until(socket, "execution_success", second)


@pytest.mark.parametrize("flags", [None, {"supports_preview_metadata": True}], ids=["silent", "our own page"])
async def test_prompts_of_other_clients_run_side_by_side(live: Live, flags: dict[str, Any] | None) -> None:
    socket = await connect(live, "client", flags)
    first, second = await submit(live, "first", "client"), await submit(live, "second", "client")
    async with asyncio.timeout(5):
        await until(socket, "execution_start", second)
    assert sorted(await running(live)) == sorted([first, second])
    live.gate.opened.set()


async def test_the_list_of_examples_is_empty_where_the_page_has_none(live: Live) -> None:
    for name, said in (("index.json", []), ("index_logo.json", {})):
        answer = await live.get(f"/templates/{name}")
        assert (answer.status, answer.json()) == (200, said)
        assert answer.headers["Content-Type"].startswith("application/json")
    for name in ("index.de.json", "index_x.json", "indexXjson"):
        assert (await live.get(f"/templates/{name}")).status == 404


async def test_a_page_keeps_its_own_icon_and_list_of_examples(tmp_path: Any, serve: Any) -> None:
    (tmp_path / "templates").mkdir()
    for name, text in (("index.html", "page"), ("favicon.ico", "icon"), ("templates/index.json", '["mine"]')):
        (tmp_path / name).write_text(text)
    async with serve(front_end_root=tmp_path) as live:
        assert (await live.get("/favicon.ico")).body == b"icon"
        assert (await live.get("/templates/index.json")).json() == ["mine"]


async def test_there_is_an_icon_for_a_page_that_has_none(live: Live) -> None:
    answer = await live.get("/favicon.ico")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert b"<svg" in answer.body
