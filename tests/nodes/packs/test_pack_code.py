"""What tells one version of a pack from another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodes.packs.pack_code import CodeOfClasses
from tests.support.node_definitions import define


async def nothing() -> None:
    pass


def code_of(base: Path, origin: str = "custom_nodes.mine", version: str = "1") -> str | None:
    packs = list((base / "custom_nodes").iterdir())
    return CodeOfClasses(packs, base / "built_in", version)(define("Any", nothing, origin=origin))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("custom_nodes/mine/deep", "custom_nodes/other", "built_in"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "custom_nodes/mine/__init__.py").write_text("A = 1")
    (tmp_path / "custom_nodes/mine/deep/table.json").write_text("{}")
    (tmp_path / "custom_nodes/mine/deep/kernel.CL").write_text("")
    (tmp_path / "custom_nodes/single.py").write_text("B = 1")
    (tmp_path / "built_in/image.py").write_text("C = 1")
    return tmp_path


def test_the_same_files_are_the_same_code_wherever_and_whenever(base: Path) -> None:
    before = code_of(base)
    assert before is not None
    os.utime(base / "custom_nodes/mine/__init__.py", (1, 1))
    assert code_of(base) == before


@pytest.mark.parametrize(("file", "text"), [
    ("mine/__init__.py", "A = 2"), ("mine/deep/kernel.CL", "//"), ("mine/more.py", ""), ("mine/fast.so", ""),
    ("mine/requirements.txt", "torch"), ("mine/pyproject.toml", "")])
def test_a_file_that_changes_is_other_code(base: Path, file: str, text: str) -> None:
    before, of_others = code_of(base), code_of(base, "custom_nodes.other")
    (base / "custom_nodes" / file).write_text(text)
    assert code_of(base) != before
    assert code_of(base, "custom_nodes.other") == of_others


@pytest.mark.parametrize("file", [
    "mine/.git/HEAD", "mine/__pycache__/a.pyc", "mine/__pycache__/a.py", "mine/run.log", "mine/.state",
    "mine/deep/table.json", "mine/settings.json", "mine/weights.bin", "mine/web/page.js", "mine/notes.txt",
    "mine/previews/a.png"])
def test_what_tools_and_the_pack_itself_write_is_no_code(base: Path, file: str) -> None:
    before = code_of(base)
    path = base / "custom_nodes" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("written")
    assert code_of(base) == before


def test_a_name_or_a_text_cannot_pass_for_the_other(base: Path) -> None:
    (base / "custom_nodes/mine/a.py").write_text("b.py")
    before = code_of(base)
    (base / "custom_nodes/mine/a.py").rename(base / "custom_nodes/mine/b.py")
    (base / "custom_nodes/mine/b.py").write_text("a.py")
    assert code_of(base) != before


def test_packs_of_one_file_and_what_is_built_in_have_theirs_and_what_came_later_has_none(base: Path) -> None:
    single, built_in = code_of(base, "custom_nodes.single"), code_of(base, "nodes")
    (base / "custom_nodes/single.py").write_text("B = 2")
    assert code_of(base, "custom_nodes.single") not in (None, single)
    (base / "built_in/image.py").write_text("C = 2")
    assert code_of(base, "nodes") not in (None, built_in)
    assert code_of(base, "comfy_extras.nodes_mask") == code_of(base, "nodes")
    assert code_of(base, "custom_nodes.later") is None


def test_a_new_version_of_the_server_makes_it_other_code(base: Path) -> None:
    assert code_of(base) != code_of(base, version="2")


def test_a_large_file_counts_by_its_size_and_time(base: Path) -> None:
    library = base / "custom_nodes/mine/library.so"
    library.write_bytes(bytes(2**20))
    before = code_of(base)
    os.utime(library, (1, 1))
    assert code_of(base) != before


def test_a_link_to_nowhere_harms_nothing(base: Path) -> None:
    (base / "custom_nodes/mine/gone.py").symlink_to(base / "nowhere")
    assert code_of(base) is not None
