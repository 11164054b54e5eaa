"""Example workflows and pages about nodes that installed packages bring. None of their code may run."""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yarl

from tests.web.live_server import Answer, Live
from web.installed_files import InstalledFiles, find_folders


def install(site: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """Something installed under this name; answers the folder of its package."""
    package = name.replace("-", "_")
    folder = site / package
    names = {"__init__.py": "raise RuntimeError('imported')", **files}
    for inside, content in names.items():
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        (folder / inside).write_text(content)
    facts = site / f"{package}-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "RECORD").write_text("".join(f"{package}/{inside},,\n" for inside in names))
    return folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    # What is really installed here must not decide what the tests see.
    monkeypatch.setattr("web.installed_files.distributions", lambda: distributions(path=[str(folder)]))
    return folder


@pytest.fixture
def family(site: Path) -> Path:
    """The packages as newer versions are: examples in one, pictures in another, and one that has neither."""
    install(site, "comfyui-workflow-templates", "0.9.0", {})
    install(site, "comfyui-workflow-templates-json", "0.1.0", {
        "templates/index.json": '[{"moduleName": "default"}]', "templates/index.de.json": "[]",
        "templates/tree.json": '{"nodes": []}'})
    install(site, "comfyui-workflow-templates-media-image", "0.3.0", {
        "templates/tree-1.webp": "picture", "secret.txt": "secret"})
    install(site, "comfyui-embedded-docs", "0.5.0", {"docs/Blur/en.md": "# Blur", "docs/Blur/asset/a.png": "picture"})
    return site


async def ask(live: Live, path: str) -> Answer:
    return await live.get(yarl.URL(live.running.url + path, encoded=True))  # type: ignore[arg-type]


async def test_files_of_all_packages_are_served(family: Path, serve: Any) -> None:
    async with serve() as live:
        for path, kind, body in (
            ("/templates/index.json", "application/json", b'[{"moduleName": "default"}]'),
            ("/templates/index.de.json", "application/json", b"[]"),
            ("/templates/tree.json", "application/json", b'{"nodes": []}'),
            ("/templates/tree-1.webp", "image/webp", b"picture"),
            ("/docs/Blur/asset/a.png", "image/png", b"picture"),
        ):
            answer = await ask(live, path)
            assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, kind, body), path
            assert (await ask(live, f"/api{path}")).status == 404
        page = await ask(live, "/docs/Blur/en.md")
        assert (page.status, page.body) == (200, b"# Blur")
        assert (await ask(live, "/templates/index.json")).headers["Cache-Control"] == "no-cache"
    assert not [name for name in sys.modules if name.startswith(("comfyui_workflow", "comfyui_embedded"))]


async def test_what_is_no_file_of_theirs(family: Path, serve: Any) -> None:
    (family / "comfyui_embedded_docs" / "docs" / "link.md").symlink_to(
        family / "comfyui_workflow_templates_media_image" / "secret.txt")
    async with serve() as live:
        for path in ("/templates/nope.json", "/templates/..%2Fsecret.txt", "/templates/%2e%2e/secret.txt",
                     "/templates/a%00", "/docs/link.md", "/docs/..%2F__init__.py", "/docs/tree.json"):
            answer = await ask(live, path)
            assert (answer.status, answer.body) == (404, b""), path
        for path in ("/templates/", "/docs/", "/docs/Blur", "/docs/Blur/"):
            assert (await ask(live, path)).status == 403, path


async def test_without_the_packages(site: Path, serve: Any) -> None:
    async with serve() as live:
        assert (await ask(live, "/templates/index.json")).json() == []
        assert (await ask(live, "/templates/index_logo.json")).json() == {}
        for path in ("/templates/index.de.json", "/templates/tree.json", "/docs/Blur/en.md", "/templates/", "/docs/"):
            assert (await ask(live, path)).status == 404, path


def test_an_older_version_is_one_package(site: Path) -> None:
    folder = install(site, "comfyui_workflow_templates", "0.1.95", {"templates/index.json": "[]"})
    assert InstalledFiles().template("index.json") == folder / "templates" / "index.json"


def test_only_these_packages_and_only_what_is_there_count(site: Path) -> None:
    install(site, "comfyui-workflow-templates-other", "1", {"deeper/templates/a.json": ""})
    install(site, "someone-elses", "1", {"templates/a.json": "", "docs/a.md": ""})
    gone = install(site, "comfyui-embedded-docs", "1", {"docs/a.md": ""})
    (gone / "docs").rename(gone / "moved")
    assert find_folders(distributions(path=[str(site)])) == {"templates": [], "docs": []}


def test_a_package_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    names = ("first", "second")
    for name in names:
        (tmp_path / name).mkdir()
        install(tmp_path / name, "comfyui-embedded-docs", "1", {"docs/a.md": name})
    found = find_folders(distributions(path=[str(tmp_path / name) for name in names]))
    assert found["docs"] == [tmp_path / "first" / "comfyui_embedded_docs" / "docs"]
