"""/settings and /users, with one user and with several."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yarl

from tests.web.live_server import Live, shared_loop
from web.bad_request import BadRequest
from web.user_accounts import NameRefused, UserAccounts
from web.user_settings import ASIDE, LARGEST_FILE, SETTINGS_FILE, change_settings, read_settings


def settings_file(live: Live, user: str = "default") -> Path:
    return live.running.base_directory / "user" / user / SETTINGS_FILE


async def test_nothing_is_set_at_first_and_nothing_is_made(live: Live) -> None:
    assert (await live.get("/settings")).json() == {}
    one = await live.get("/settings/Comfy.ColorPalette")
    assert (one.status, one.body) == (200, b"null")
    assert await asyncio.to_thread(os.listdir, settings_file(live).parent) == []


async def test_settings_are_kept_in_one_indented_file(live: Live) -> None:
    for path, value in (("/settings/a.b", "text"), ("/api/settings/n", None), ("/settings/deep", {"x": [1, 2.5]})):
        answer = await live.post(path, value, headers={"Content-Type": "text/plain;charset=UTF-8"})
        assert (answer.status, answer.body) == (200, b"")
    assert (await live.post("/settings", {"a.b": 2, "more": True})).status == 200
    wanted = {"a.b": 2, "n": None, "deep": {"x": [1, 2.5]}, "more": True}
    assert (await live.get("/api/settings")).json() == wanted
    assert (await live.get("/settings/deep")).json() == {"x": [1, 2.5]}
    text = await asyncio.to_thread(settings_file(live).read_text)
    assert json.loads(text) == wanted
    assert text.startswith('{\n    "')
    assert (await live.get(f"/userdata/{SETTINGS_FILE}")).json() == wanted


async def test_an_id_is_one_segment(live: Live) -> None:
    await live.post(yarl.URL(f"{live.running.url}/settings/a%2Fb%20%C3%A9", encoded=True), 1)  # type: ignore[arg-type]
    assert (await live.get("/settings")).json() == {"a/b é": 1}
    assert (await live.get("/settings/")).status == 404
    assert (await live.post("/settings/", 1)).status == 405


async def test_of_many_changes_at_once_none_is_lost(live: Live) -> None:
    await asyncio.gather(*(live.post(f"/settings/id{number}", number) for number in range(40)))
    assert (await live.get("/settings")).json() == {f"id{number}": number for number in range(40)}
    names = await asyncio.to_thread(lambda: os.listdir(settings_file(live).parent))
    assert names == [SETTINGS_FILE]  # nothing half written lies beside it


@shared_loop
@pytest.mark.parametrize("path", ["/settings", "/settings/x"])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 5000])
async def test_a_body_that_is_no_json_is_refused(shared: Live, path: str, body: bytes) -> None:
    before = (await shared.get("/settings")).body
    assert (await shared.post(path, body)).error["type"] == "invalid_json"
    assert (await shared.get("/settings")).body == before


@shared_loop
@pytest.mark.parametrize("body", [[], [1], "text", 1, None])
async def test_several_settings_are_an_object(shared: Live, body: Any) -> None:
    assert (await shared.post("/settings", body)).error["type"] == "invalid_body"


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    change_settings(tmp_path, {"kept": 1})
    deep: Any = 0
    for _ in range(200):
        deep = [deep]
    with pytest.raises(BadRequest):
        change_settings(tmp_path, {"deep": deep})
    with pytest.raises(BadRequest) as refusal:
        change_settings(tmp_path, {"long": "x" * LARGEST_FILE})
    assert refusal.value.status == 413
    assert read_settings(tmp_path) == {"kept": 1}


@pytest.mark.parametrize("content", [b"{", b"[]", b"", b"\xff\xfe"])
def test_an_unreadable_file_counts_as_none_and_is_put_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SETTINGS_FILE).write_bytes(content)
    assert read_settings(tmp_path) == {}
    change_settings(tmp_path, {"a": 1})
    assert read_settings(tmp_path) == {"a": 1}
    assert (tmp_path / ASIDE).read_bytes() == content


def test_a_crash_while_writing_leaves_the_old_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_settings(tmp_path, {"old": 1})

    def crash(*_: Any) -> None:
        raise OSError("the machine is gone")

    monkeypatch.setattr("web.user_files.os.replace", crash)
    with pytest.raises(OSError, match="machine"):
        change_settings(tmp_path, {"new": 2})
    assert read_settings(tmp_path) == {"old": 1}
    assert os.listdir(tmp_path) == [SETTINGS_FILE]


def test_a_link_out_of_the_folder_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text('{"secret": 1}')
    folder = tmp_path / "default"
    folder.mkdir()
    (folder / SETTINGS_FILE).symlink_to(outside)
    assert read_settings(folder) == {}
    change_settings(folder, {"a": 1})
    assert read_settings(folder) == {"a": 1}
    assert outside.read_text() == '{"secret": 1}'


# -- users -------------------------------------------------------------------------------------------------------


async def test_one_user_is_told_whether_there_is_a_folder(live: Live) -> None:
    for path in ("/users", "/api/users"):
        assert (await live.get(path)).json() == {"storage": "server", "migrated": True}
    assert (await live.get("/userdata?dir=.")).json() == []
    await asyncio.to_thread(shutil.rmtree, live.running.base_directory / "user")
    assert (await live.get("/users")).json() == {"storage": "server", "migrated": False}
    await live.post("/settings/a", 1, headers={"comfy-user": "whoever"})
    assert (await live.get("/users")).json() == {"storage": "server", "migrated": True}
    assert (await live.get("/settings")).json() == {"a": 1}


async def test_several_users_have_settings_and_files_of_their_own(serve: Any) -> None:
    async with serve(multi_user=True) as live:
        assert (await live.get("/users")).json() == {"storage": "server", "users": {}}
        assert not (live.running.base_directory / "user" / "default").exists()
        ids = [(await live.post("/users", {"username": name})).json() for name in (" Al ice! ", "Bob")]
        assert ids[0].startswith("Al-ice-_")
        assert len(ids[0]) == len("Al-ice-_") + 36
        assert (await live.get("/users")).json()["users"] == {ids[0]: "Al ice!", ids[1]: "Bob"}
        for number, user_id in enumerate(ids):
            of_user = {"comfy-user": user_id}
            await live.post("/settings/n", number, headers=of_user)
            await live.post("/userdata/f.txt", b"%d" % number, headers=of_user)
        for number, user_id in enumerate(ids):
            of_user = {"comfy-user": user_id}
            assert (await live.get("/settings/n", headers=of_user)).json() == number
            assert (await live.get("/userdata/f.txt", headers=of_user)).body == b"%d" % number


async def test_a_name_that_nobody_can_have_is_refused(serve: Any) -> None:
    async with serve(multi_user=True) as live:
        await live.post("/users", {"username": "Bob"})
        for name in ("Bob", " Bob ", "", "   ", None, "__system", "_", 5, [], "x" * 101):
            answer = await live.post("/users", {"username": name})
            assert (answer.status, set(answer.json())) == (400, {"error"}), name
        assert (await live.post("/users", {"username": "Bob"})).json() == {"error": "Duplicate username."}
        assert (await live.post("/users", {})).json() == {"error": "username not provided"}
        assert (await live.post("/users", b"[]")).error["type"] == "invalid_body"
        assert list((await live.get("/users")).json()["users"].values()) == ["Bob"]


async def test_an_unknown_user_gets_nothing(serve: Any) -> None:
    async with serve(multi_user=True) as live:
        await asyncio.to_thread((live.running.base_directory / "user" / "__system").mkdir, parents=True)
        for user in (None, "default", "nobody", "__system", "..", "../user", "a/b", ""):
            headers = {} if user is None else {"comfy-user": user}
            for method, path in (("GET", "/settings"), ("GET", "/settings/x"), ("POST", "/settings/x"),
                                 ("POST", "/settings"), ("GET", "/userdata?dir=."), ("GET", "/userdata/x"),
                                 ("POST", "/userdata/x"), ("DELETE", "/userdata/x"), ("POST", "/userdata/x/move/y")):
                answer = await live.ask(method, path, headers=headers, data=b"{}" if method == "POST" else None)
                assert answer.status == 401, (user, method, path)
                assert answer.error["message"] == "Invalid user specified in request"
            assert (await live.get("/v2/userdata", headers=headers)).status == 403
        folders = await asyncio.to_thread(os.listdir, live.running.base_directory / "user")
        assert set(folders) == {"__studio", "__system"}


def test_ids_in_the_file_that_lead_elsewhere_are_not_taken(tmp_path: Path) -> None:
    accounts = UserAccounts(lambda: tmp_path, is_multi_user=True)
    user_id = accounts.add("Bob")
    known = {user_id: "Bob", "..": "Up", "a/b": "Deep", "__x": "Own", "": "No"}
    (tmp_path / "users.json").write_text(json.dumps(known))
    assert accounts.names() == {user_id: "Bob"}
    assert accounts.folder_of(user_id) == tmp_path / user_id
    assert accounts.folder_of("..") is None
    with pytest.raises(NameRefused):
        accounts.add("Bob")
