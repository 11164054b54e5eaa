"""What a front end asks beside the API."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

import pytest
import yarl

from tests.web.live_server import Live, shared_loop


async def test_files_come_newest_first_and_only_those_of_the_folder(live: Live) -> None:
    base = live.running.base_directory
    folder = base / "output"

    def prepare() -> None:
        for age, name in enumerate(("new.png", "middle.png", "old.png")):
            (folder / name).write_bytes(b"")
            os.utime(folder / name, (1_700_000_000 - age, 1_700_000_000 - age))
        (folder / ".hidden").write_bytes(b"")
        (folder / "sub").mkdir()
        (base / "secret").write_bytes(b"")
        (folder / "link").symlink_to(base / "secret")
        (folder / "gone").symlink_to(folder / "nothing")

    await asyncio.to_thread(prepare)
    assert (await live.get("/internal/files/output")).json() == ["new.png", "middle.png", "old.png"]
    assert (await live.get("/internal/files/input")).json() == ["example.png"]
    await asyncio.to_thread(shutil.rmtree, base / "temp")
    assert (await live.get("/internal/files/temp")).json() == []


@shared_loop
@pytest.mark.parametrize("kind", ["user", "models", "%2e%2e", "INPUT", "%00", "input%2F.."])
async def test_other_folders_are_not_listed(shared: Live, kind: str) -> None:
    url: Any = yarl.URL(f"{shared.running.url}/internal/files/{kind}", encoded=True)
    answer = await shared.get(url)
    assert (answer.status, answer.json()) == (400, {"error": "Invalid directory type"})


@shared_loop
@pytest.mark.parametrize("path", ["/internal/nope", "/internal/", "/internal/files", "/internal/logs/x"])
async def test_what_is_not_there(shared: Live, path: str) -> None:
    answer = await shared.get(path)
    assert (answer.status, answer.body) == (404, b"404: Not Found")
    for twin in ("/api/internal/logs", f"/api{path}"):
        assert (await shared.get(twin)).status == 404


@shared_loop
@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("POST", "/internal/logs", {"GET", "HEAD"}), ("DELETE", "/internal/files/input", {"GET", "HEAD"}),
    ("POST", "/internal/logs/subscribe", {"PATCH", "GET", "HEAD"}), ("POST", "/internal/nope", {"GET", "HEAD"})])
async def test_other_methods(shared: Live, method: str, path: str, allowed: set[str]) -> None:
    answer = await shared.ask(method, path)
    assert (answer.status, set(answer.headers["Allow"].split(","))) == (405, allowed)
