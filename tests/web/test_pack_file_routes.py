"""What packs bring for the browser."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yarl

from tests.web.live_server import Answer, Live
from web.pack_files import PackFiles, PackTables, merge

PACK = """
WEB_DIRECTORY = "./js"
NODE_CLASS_MAPPINGS = {}
"""


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode() if isinstance(content, str)
                         else json.dumps(content).encode())


@pytest.fixture
async def base(tmp_path: Path) -> Path:
    """A base directory with two packs and one that is a single file."""
    packs = tmp_path / "custom_nodes"
    write(packs / "first pack", {
        "__init__.py": PACK, "js/a.js": "export {}", "js/sub/b.js": "", "js/c.mjs": "", "js/style.css": "",
        "js/data.json": {}, "js/page.html": "<p>", "js/picture.svg": "<svg/>",
        "locales/en/main.json": {"shared": {"a": 1}, "list": [1]}, "locales/en/nodeDefs.json": {"Node": {"x": "y"}},
        "locales/de/settings.json": {"s": "t"}, "locales/broken/main.json": "{", "locales/list/main.json": "[]",
        "example_workflows/first.json": {"nodes": []}, "example_workflows/first.jpg": b"picture",
        "workflows/second.json": "{}", "subgraphs/Two pass.json": {"definitions": {}}, "secret.txt": "secret"})
    write(packs / "other", {
        "__init__.py": PACK, "js/x.js": "", "locales/en/main.json": {"shared": {"b": 2}, "list": [2]},
        "locales/en/commands.json": {"c": "d"}, "examples/one.json": "{}"})
    (packs / "first pack" / "js" / "link.js").symlink_to(packs / "first pack" / "secret.txt")
    (packs / "first pack" / "example_workflows" / "link.json").symlink_to(packs / "first pack" / "secret.txt")
    write(packs, {"single.py": "NODE_CLASS_MAPPINGS = {}", "workflows/not_its_own.json": "{}"})
    return tmp_path


@pytest.fixture
async def packed(base: Path, serve: Any) -> AsyncIterator[Live]:
    async with serve(base_directory=base) as live:
        yield live


async def raw(live: Live, path: str) -> Answer:
    return await live.get(yarl.URL(live.running.url + path, encoded=True))  # type: ignore[arg-type]


async def test_without_packs_there_is_nothing(live: Live) -> None:
    for path, said in (("/extensions", []), ("/i18n", {}), ("/workflow_templates", {}), ("/global_subgraphs", {}),
                       ("/node_replacements", {})):
        for prefix in ("", "/api"):
            assert (await live.get(prefix + path)).json() == said, path


async def test_scripts_are_listed_and_served(packed: Live) -> None:
    listed = (await packed.get("/extensions")).json()
    assert listed == ["/extensions/first%20pack/a.js", "/extensions/first%20pack/sub/b.js", "/extensions/other/x.js"]
    for path in listed:
        answer = await raw(packed, path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/javascript"), path
        assert answer.headers["Cache-Control"] == "no-cache"
        assert (await raw(packed, f"/api{path}")).status == 404
    for name, kind in (("c.mjs", "application/javascript"), ("style.css", "text/css"),
                       ("data.json", "application/json"), ("page.html", "text/html"), ("picture.svg", "image/svg+xml")):
        answer = await raw(packed, f"/extensions/first%20pack/{name}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, kind), name


async def test_what_is_no_file_of_a_pack(packed: Live) -> None:
    for path in ("first%20pack/nope.js", "first%20pack/../secret.txt", "first%20pack/..%2Fsecret.txt",
                 "first%20pack/%2e%2e/secret.txt", "first%20pack/link.js", "nope/a.js", "first%20pack/%2Fetc%2Fpasswd",
                 "first%20pack/a%00.js", "first%20pack/a.js/x", "core/a.js"):
        answer = await raw(packed, f"/extensions/{path}")
        assert (answer.status, answer.body) == (404, b""), path
    for path in ("first%20pack/sub", "first%20pack/", "first%20pack/sub/"):
        answer = await raw(packed, f"/extensions/{path}")
        assert (answer.status, answer.body[:3]) == (403, b"403"), path


async def test_texts_are_merged(packed: Live) -> None:
    assert (await packed.get("/i18n")).json() == {
        "de": {"settings": {"s": "t"}},
        "en": {"shared": {"a": 1, "b": 2}, "list": [1, 2], "nodeDefs": {"Node": {"x": "y"}}, "commands": {"c": "d"}},
    }


def test_merging() -> None:
    assert merge({"a": {"x": 1}, "b": [1], "c": 1}, {"a": {"y": 2}, "b": [2], "c": {"z": 3}, "d": 4}) == {
        "a": {"x": 1, "y": 2}, "b": [1, 2], "c": {"z": 3}, "d": 4}
    first = {"a": {"x": 1}}
    merge(first, {"a": {"x": 2}})
    assert first == {"a": {"x": 1}}


async def test_example_workflows(packed: Live) -> None:
    assert (await packed.get("/workflow_templates")).json() == {"first pack": ["first", "second"], "other": ["one"]}
    for name, body in (("first.json", b'{"nodes": []}'), ("first.jpg", b"picture"), ("second.json", b"{}")):
        answer = await raw(packed, f"/api/workflow_templates/first%20pack/{name}")
        assert (answer.status, answer.body) == (200, body)
        assert (await raw(packed, f"/workflow_templates/first%20pack/{name}")).status == 404
    for path in ("first%20pack/nope.json", "first%20pack/link.json", "first%20pack/..%2Fsecret.txt", "nope/first.json",
                 "single/not_its_own.json", "first%20pack/a%00"):
        assert (await raw(packed, f"/api/workflow_templates/{path}")).status == 404, path


async def test_subgraphs(packed: Live, base: Path, serve: Any) -> None:
    listed = (await packed.get("/global_subgraphs")).json()
    (subgraph_id,) = listed
    assert listed[subgraph_id] == {"source": "custom_node", "name": "Two pass",
                                   "info": {"node_pack": "custom_nodes.first pack"}}
    whole = (await packed.get(f"/api/global_subgraphs/{subgraph_id}")).json()
    assert whole == {**listed[subgraph_id], "data": '{"definitions": {}}'}
    unknown = await packed.get("/global_subgraphs/nope")
    assert (unknown.status, unknown.error["type"]) == (404, "unknown_subgraph")


async def test_blueprints_of_the_base_folder_are_subgraphs_too(base: Path, serve: Any) -> None:
    write(base / "blueprints", {"Text to Image.json": '{"nodes": []}', "notes.txt": ""})
    (base / "blueprints" / "link.json").symlink_to(base / "custom_nodes" / "first pack" / "secret.txt")
    async with serve(base_directory=base) as live:
        listed = (await live.get("/api/global_subgraphs")).json()
        assert sorted(one["name"] for one in listed.values()) == ["Text to Image", "Two pass"]
        subgraph_id = next(key for key, one in listed.items() if one["name"] == "Text to Image")
        assert listed[subgraph_id] == {"source": "templates", "name": "Text to Image",
                                       "info": {"node_pack": "comfyui"}}
        whole = (await live.get(f"/global_subgraphs/{subgraph_id}")).json()
        assert whole == {**listed[subgraph_id], "data": '{"nodes": []}'}


def test_a_subgraph_keeps_its_id_when_everything_moves(tmp_path: Path) -> None:
    ids = []
    for base in ("here", "there"):
        write(tmp_path / base / "pack", {"subgraphs/a.json": "{}", "subgraphs/b.json": b"\xff"})
        tables = PackTables(directories={"pack": str(tmp_path / base / "pack")})
        ids.append(list(PackFiles(lambda tables=tables: tables).subgraphs()))
    assert ids[0] == ids[1]
    assert len(ids[0]) == 1  # the one that is no text is left out


def test_a_pack_that_comes_later_is_seen(tmp_path: Path) -> None:
    directories: dict[str, str] = {}
    files = PackFiles(lambda: PackTables(directories=directories))
    assert files.translations() == {}
    write(tmp_path / "pack", {"locales/en/main.json": {"a": 1}})
    directories["pack"] = str(tmp_path / "pack")
    assert files.translations() == {"en": {"a": 1}}


async def test_assets_are_switched_off(live: Live) -> None:
    for method, path in (("GET", "/api/assets"), ("POST", "/api/assets"), ("GET", "/api/tags"),
                         ("GET", "/api/assets/seed/status"), ("POST", "/api/assets/seed"),
                         ("PUT", "/api/assets/0b9a7c1e-7a53-4d0e-9f51-3f1f6f0d2a10"), ("DELETE", "/api/assets/x/tags")):
        answer = await live.ask(method, path)
        assert answer.status == 503, (method, path)
        said = answer.json()["error"]
        assert (said["code"], said["details"]) == ("SERVICE_DISABLED", {})
    assert (await live.get("/assets")).status == 404
    assert (await live.get("/features")).json()["assets"] is False
