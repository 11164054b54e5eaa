"""Which page is served: our own, a folder, or an installed package, found without importing it."""

import argparse
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.support.studio import running_studio
from web.front_end import OWN_PAGE, NoFrontEnd, page_of
from web.start_options import build_parser

CHECK = "the page of the package"


def parsed(*arguments: str) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something installed under the name of the package. Its code must not run."""
    site = tmp_path / "site"
    folder = site / "some_front_end" / "static"
    (folder / "deeper").mkdir(parents=True)
    (folder / "index.html").write_text(CHECK)
    (folder / "deeper" / "index.html").write_text("another page")
    (site / "some_front_end" / "__init__.py").write_text("raise RuntimeError('imported')")
    facts = site / "comfyui_frontend_package-1.2.3.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: comfyui-frontend-package\nVersion: 1.2.3\n")
    names = ["static/deeper/index.html", "static/index.html", "__init__.py"]
    (facts / "RECORD").write_text("".join(f"some_front_end/{name},,\n" for name in names))
    monkeypatch.syspath_prepend(str(site))
    return folder


def test_our_own_page_is_the_default() -> None:
    assert page_of(parsed()) == (OWN_PAGE, ())


def test_a_folder_that_is_named_wins(installed: Path, tmp_path: Path) -> None:
    root = tmp_path / "built"
    root.mkdir()
    with pytest.raises(NoFrontEnd, match="has no index"):
        page_of(parsed("--front-end-root", str(root)))
    (root / "index.html").touch()
    assert page_of(parsed("--front-end-root", str(root), "--front-end", "comfyui")) == (root.resolve(), ())
    with pytest.raises(NoFrontEnd):
        page_of(parsed("--front-end-root", str(root / "missing")))


def test_the_package_is_found_and_not_imported(installed: Path) -> None:
    assert page_of(parsed("--front-end", "comfyui")) == (installed, ())
    assert "some_front_end" not in sys.modules


def test_another_version_is_served_with_a_warning(installed: Path) -> None:
    for same in ("a/b@1.2.3", "a/b@v1.2.3", "a/b@latest"):
        assert page_of(parsed("--front-end-version", same)) == (installed, ())
    directory, [warning] = page_of(parsed("--front-end-version", "a/b@1.2.4"))
    assert directory == installed
    assert "version 1.2.3" in warning


def test_without_the_package_one_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    with pytest.raises(NoFrontEnd, match="pip install comfyui-frontend-package"):
        page_of(parsed("--front-end", "comfyui"))
    directory, [warning] = page_of(parsed("--front-end-version", "a/b@latest"))
    assert directory == OWN_PAGE
    assert "not installed" in warning


async def test_its_files_are_served_and_ours_are_not(installed: Path) -> None:
    async with running_studio(front_end="comfyui") as running, aiohttp.ClientSession(running.url) as http:
        async with http.get("/") as response:
            assert (response.status, await response.text()) == (200, CHECK)
        async with http.get("/studio.js") as response:
            assert response.status == 404
