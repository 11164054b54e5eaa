"""Files of a user: lists, reading, writing, moving, and names that lead elsewhere."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from tests.web.live_server import Answer, Live
from web.file_names import FileRefused
from web.user_files import list_everything, list_files, move_file, path_below, real_root, write_file

BAD_NAME = "Invalid filename. Please avoid special characters like :\\/*?\"<>|"


def root_of(live: Live) -> Path:
    return live.running.base_directory / "user" / "default"


async def ask(live: Live, method: str, path: str, data: bytes | None = None) -> Answer:
    """With a path that is sent as it is written."""
    return await live.ask(method, yarl.URL(live.running.url + path, encoded=True), data=data)  # type: ignore[arg-type]


async def put(live: Live, name: str, content: bytes = b"{}", query: str = "") -> Answer:
    return await ask(live, "POST", f"/userdata/{quote(name, safe='%')}{query}", content)


# -- lists -------------------------------------------------------------------------------------------------------


async def test_lists(live: Live) -> None:
    for name in ("workflows/a.json", "workflows/sub/b.json", "workflows/.hidden", "workflows/.dot/c.json"):
        assert (await put(live, name, b"content")).status == 200
    assert (await live.get("/userdata?dir=workflows")).json() == ["a.json"]
    deep = await live.get("/api/userdata?dir=workflows&recurse=TRUE")
    assert sorted(deep.json()) == ["a.json", "sub/b.json"]
    assert (await live.get("/userdata?dir=workflows&recurse=1")).json() == ["a.json"]
    split = await live.get("/userdata?dir=workflows%2F&recurse=true&split=true")
    assert sorted(split.json()) == [["a.json", "a.json"], ["sub/b.json", "sub", "b.json"]]
    assert (await live.get("/userdata?dir=workflows%2Fa.json")).json() == []
    assert sorted((await live.get("/userdata?dir=.&recurse=true")).json()) == ["workflows/a.json",
                                                                                "workflows/sub/b.json"]


async def test_full_information_wins_and_has_whole_milliseconds(live: Live) -> None:
    await put(live, "workflows/a.json", b"1234567")
    (one,) = (await live.get("/userdata?dir=workflows&split=true&full_info=true")).json()
    assert (set(one), one["path"], one["size"]) == ({"path", "size", "modified", "created"}, "a.json", 7)
    for key in ("modified", "created"):
        assert isinstance(one[key], int)
        assert abs(one[key] - time.time() * 1000) < 60_000


async def test_a_list_that_cannot_be_had(live: Live) -> None:
    for query, status, message in (("", 400, "Directory not provided"), ("?dir=", 400, "Directory not provided"),
                                   ("?dir=workflows", 404, "Directory not found"),
                                   ("?dir=..", 403, "Invalid directory"), ("?dir=/etc", 403, "Invalid directory"),
                                   ("?dir=%00", 400, "Invalid directory")):
        answer = await live.get(yarl.URL(f"{live.running.url}/userdata{query}", encoded=True))  # type: ignore[arg-type]
        assert (answer.status, answer.error["message"]) == (status, message), query
    assert await asyncio.to_thread(os.listdir, root_of(live)) == []  # looking makes nothing


async def test_everything_in_the_newer_list(live: Live) -> None:
    assert (await live.get("/v2/userdata")).json() == []
    for name in ("b.json", "A.json", "sub/c.json", ".hidden"):
        await put(live, f"workflows/{name}", b"1234567")
    said = (await live.get("/v2/userdata?path=workflows")).json()
    assert [(one["name"], one["path"], one["type"]) for one in said] == [
        ("sub", "workflows/sub", "directory"),
        (".hidden", "workflows/.hidden", "file"),
        ("A.json", "workflows/A.json", "file"),
        ("b.json", "workflows/b.json", "file"),
        ("c.json", "workflows/sub/c.json", "file"),
    ]
    assert set(said[0]) == {"name", "path", "type"}
    assert said[1]["size"] == 7
    assert abs(said[1]["modified"] - time.time()) < 60
    whole = (await live.get("/api/v2/userdata")).json()
    assert [one["path"] for one in whole][:2] == ["workflows/sub", "workflows"]
    for query, status, message in (("..", 400, "Invalid path requested"), ("nope", 404, "Requested path not found"),
                                   ("workflows/b.json", 400, "Requested path is not a directory")):
        answer = await live.get("/v2/userdata", params={"path": query})
        assert (answer.status, answer.error["message"]) == (status, message)


# -- single files ------------------------------------------------------------------------------------------------


async def test_a_file_comes_back_as_it_was_sent(live: Live) -> None:
    content = b'{"nodes": []}\r\n\x00\xff'
    answer = await put(live, "workflows/a b.json", content)
    assert (answer.status, answer.json()) == (200, "workflows/a b.json")
    read = await ask(live, "GET", "/userdata/workflows%2Fa%20b.json")
    assert (read.status, read.body) == (200, content)
    assert read.headers["Content-Type"] == "application/json"
    assert read.headers["Content-Disposition"] == 'attachment; filename="a b.json"'
    assert read.headers["X-Content-Type-Options"] == "nosniff"
    part = await live.get("/userdata/workflows%252Fa%20b.json", headers={"Range": "bytes=0-1"})
    assert (part.status, part.body) == (206, b'{"')
    again = await live.get("/api/userdata/workflows%252Fa%20b.json", headers={"If-None-Match": read.headers["ETag"]})
    assert again.status == 304


async def test_a_slash_that_is_not_encoded_is_another_path(live: Live) -> None:
    await put(live, "workflows/c.json")
    assert (await ask(live, "GET", "/userdata/workflows/c.json")).status == 404
    assert (await ask(live, "POST", "/userdata/workflows/c.json", b"x")).status == 405
    assert (await ask(live, "GET", "/userdata/workflows%252Fc.json")).status == 200  # encoded twice


async def test_the_style_sheet_of_the_user_is_one(live: Live) -> None:
    assert (await live.get("/userdata/user.css")).status == 404
    for name in ("user.css", "sub/user.css", "page.html", "picture.svg"):
        await put(live, name, b"content")
    read = await live.get("/userdata/user.css")
    assert (read.headers["Content-Type"], read.headers["Content-Disposition"]) == ("text/css", "inline")
    for name in ("sub%2Fuser.css", "page.html", "picture.svg"):
        read = await ask(live, "GET", f"/userdata/{name}")
        assert read.headers["Content-Type"] == "application/octet-stream", name
        assert read.headers["Content-Disposition"].startswith("attachment"), name
        assert read.headers["X-Content-Type-Options"] == "nosniff"


async def test_writing_over_what_exists(live: Live) -> None:
    await put(live, "a.json", b"first")
    refused = await put(live, "a.json", b"second", "?overwrite=false&full_info=true")
    assert (refused.status, refused.error["message"]) == (409, "File already exists")
    assert (await live.get("/userdata/a.json")).body == b"first"
    written = await put(live, "a.json", b"third", "?full_info=true")
    assert (written.json()["path"], written.json()["size"]) == ("a.json", 5)
    assert isinstance(written.json()["modified"], int)
    assert (await live.get("/userdata/a.json")).body == b"third"
    assert (await put(live, "new.json", b"x", "?overwrite=false")).status == 200


async def test_of_many_who_want_a_new_name_one_gets_it(live: Live) -> None:
    answers = await asyncio.gather(*(put(live, "a.json", b"%d" % number, "?overwrite=false") for number in range(12)))
    assert sorted(one.status for one in answers) == [200] + [409] * 11
    winner = next(number for number, one in enumerate(answers) if one.status == 200)
    assert (await live.get("/userdata/a.json")).body == b"%d" % winner
    assert await asyncio.to_thread(os.listdir, root_of(live)) == ["a.json"]


async def test_a_name_that_no_file_can_have(live: Live) -> None:
    await put(live, "folder/a.json")
    for name in ("folder", "folder%2F", "folder%2F.", "%2E%2F", "a%00b", "x" * 300, "folder%2Fa.json%2Fb", "a%0Ab",
                 "folder%2F..%2F."):
        async with live.http.post(yarl.URL(f"{live.running.url}/userdata/{name}", encoded=True), data=b"x") as answer:
            assert (answer.status, answer.reason) == (400, BAD_NAME), name
            assert (await answer.json())["error"]["type"] == "file_refused"
    assert [one["path"] for one in (await live.get("/v2/userdata")).json()] == ["folder", "folder/a.json"]


async def test_deleting(live: Live) -> None:
    await put(live, "folder/a.json")
    gone = await ask(live, "DELETE", "/userdata/folder%2Fa.json")
    assert (gone.status, gone.body) == (204, b"")
    for name, status in (("folder%2Fa.json", 404), ("folder", 403), ("..%2F..%2Fuser", 403), ("%2Fetc%2Fpasswd", 403),
                         ("a%00", 400)):
        assert (await ask(live, "DELETE", f"/userdata/{name}")).status == status, name


async def test_moving(live: Live) -> None:
    await put(live, "workflows/a.json", b"a")
    moved = await ask(live, "POST", "/userdata/workflows%2Fa.json/move/workflows%2Fnew%2Fb.json")
    assert (moved.status, moved.json()) == (200, "workflows/new/b.json")
    assert (await ask(live, "GET", "/userdata/workflows%2Fa.json")).status == 404
    assert (await ask(live, "GET", "/userdata/workflows%2Fnew%2Fb.json")).body == b"a"
    await put(live, "c.json", b"c")
    refused = await ask(live, "POST", "/userdata/c.json/move/workflows%2Fnew%2Fb.json?overwrite=false")
    assert (refused.status, refused.error["message"]) == (409, "File already exists")
    over = await ask(live, "POST", "/api/userdata/c.json/move/workflows%2Fnew%2Fb.json?full_info=true")
    assert (over.status, over.json()["path"], over.json()["size"]) == (200, "workflows/new/b.json", 1)
    assert (await ask(live, "GET", "/userdata/workflows%2Fnew%2Fb.json")).body == b"c"
    file = "workflows%2Fnew%2Fb.json"
    for source, target, status in (("nope", "x", 404), ("..%2F..%2Fserver.py", "x", 403), (file, "..%2F..%2Fx", 403),
                                   ("workflows", "workflows%2Fin", 400), (file, "workflows", 400), (".", "x", 400)):
        answer = await ask(live, "POST", f"/userdata/{source}/move/{target}")
        assert answer.status == status, (source, target, answer.body)
    assert (await ask(live, "POST", "/userdata/workflows/move/moved")).json() == "moved"
    assert (await ask(live, "GET", "/userdata/moved%2Fnew%2Fb.json")).body == b"c"


async def test_a_body_over_the_limit(serve: Any) -> None:
    async with serve(max_upload_size=0.01) as live:
        assert (await put(live, "a.json", b"x" * 10486)).status == 200
        assert (await put(live, "a.json", b"y" * 10487)).status == 413
        assert (await live.get("/userdata/a.json")).body == b"x" * 10486


# -- names that lead elsewhere -------------------------------------------------------------------------------------


async def test_no_link_leads_out(live: Live) -> None:
    root, outside = root_of(live), live.running.base_directory / "outside"

    def prepare() -> None:
        outside.mkdir()
        (outside / "secret").write_text("secret")
        (root / "inner").mkdir(parents=True)
        (root / "inner" / "ok.json").write_text("ok")
        (root / "file").symlink_to(outside / "secret")
        (root / "folder").symlink_to(outside)
        (root / "new").symlink_to(outside / "made")
        (root / "circle").symlink_to(root)
        (root / "within").symlink_to(root / "inner")
        (root / "nothing").symlink_to(root / "nowhere")

    await asyncio.to_thread(prepare)
    for name in ("file", "folder%2Fsecret", "new", "folder%2Fnew", "..%2F..%2Foutside%2Fsecret",
                 str(outside / "secret").replace("/", "%2F"), "inner%2F..%2F..%2F..%2Foutside%2Fsecret"):
        for method in ("GET", "POST", "DELETE"):
            answer = await ask(live, method, f"/userdata/{name}", b"x" if method == "POST" else None)
            assert answer.status == 403, (method, name)
        assert (await ask(live, "POST", f"/userdata/{name}/move/x")).status in (403, 404), name
        assert (await ask(live, "POST", f"/userdata/inner%2Fok.json/move/{name}")).status == 403, name
    assert (await live.get("/userdata?dir=folder")).status == 403
    assert await asyncio.to_thread(os.listdir, outside) == ["secret"]
    assert sorted((await live.get("/userdata?dir=.&recurse=true")).json()) == ["inner/ok.json", "within/ok.json"]
    shown = {one["path"] for one in (await live.get("/v2/userdata")).json()}
    assert shown == {"inner", "inner/ok.json", "within", "within/ok.json"}
    assert (await ask(live, "GET", "/userdata/within%2Fok.json")).body == b"ok"


@given(st.lists(st.sampled_from(["..", ".", "a", "b.json", "", "link", "/", "~", "\\"]) | st.text(max_size=5),
                max_size=6).map("/".join))
def test_a_path_below_never_leaves(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    base = tmp_path_factory.mktemp("users")
    root = real_root(base / "default")
    root.mkdir()
    (root / "link").symlink_to(base)
    try:
        found = path_below(root, name)
    except FileRefused:
        return
    assert found.is_relative_to(root)
    for act in (lambda: write_file(root, name, b"x", True), lambda: list_files(root, name, True),
                lambda: list_everything(root, name), lambda: move_file(root, name, "a", False)):
        try:
            act()
        except FileRefused:
            continue
    assert os.listdir(base) == ["default"]
