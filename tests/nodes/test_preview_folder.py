import logging
from pathlib import Path

import pytest

from nodes.preview_folder import empty_temp_folder, open_temp_folder


def test_a_folder_of_ours_is_emptied_at_start_and_gone_after_the_stop(tmp_path: Path) -> None:
    folder = tmp_path / "temp"
    open_temp_folder(folder)
    (folder / "preview.png").write_text("old")
    (folder / "sub").mkdir()
    open_temp_folder(folder)
    assert folder.is_dir()
    assert not (folder / "preview.png").exists()
    assert not (folder / "sub").exists()
    empty_temp_folder(folder)
    assert not folder.exists()


def test_what_others_put_into_a_folder_is_never_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    with caplog.at_level(logging.WARNING):
        open_temp_folder(tmp_path)
    empty_temp_folder(tmp_path)
    assert thesis.read_text() == "years of work"
    assert "never emptied" in caplog.text


def test_an_empty_folder_that_was_there_may_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    open_temp_folder(folder)
    (folder / "preview.png").write_text("new")
    empty_temp_folder(folder)
    assert not folder.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    open_temp_folder(real)
    (tmp_path / "link").symlink_to(real)
    empty_temp_folder(tmp_path / "link")
    assert real.is_dir()
