"""Files that appear whole: under a name of their own, never over another's, and not at all when writing fails."""

import os
import threading
from pathlib import Path

import pytest

from nodes.whole_files import write_new_whole_file, write_whole_file


@pytest.fixture
def place(tmp_path):
    """A folder with nothing in it."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def writes(content: bytes):
    return lambda path: path.write_bytes(content)


def test_the_name_is_there_only_when_the_file_is_whole(place):
    seen = []

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        seen.extend(entry.name for entry in place.iterdir())
        path.write_bytes(b"whole")

    assert write_new_whole_file(str(place), "a", 7, "mp4", write) == ("a_00007_.mp4", 7)
    assert len(seen) == 1
    assert seen[0].startswith(".")
    assert seen[0].endswith(".part.mp4")
    assert {entry.name: entry.read_bytes() for entry in place.iterdir()} == {"a_00007_.mp4": b"whole"}


def test_an_existing_file_keeps_its_name(place):
    (place / "a_00001_.mp4").write_bytes(b"old")
    (place / "a_00002_.mp4").mkdir()
    assert write_new_whole_file(str(place), "a", 1, "mp4", writes(b"new")) == ("a_00003_.mp4", 3)
    assert (place / "a_00001_.mp4").read_bytes() == b"old"
    assert (place / "a_00003_.mp4").read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_nothing(place, error):
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    with pytest.raises(error):
        write_new_whole_file(str(place), "a", 1, "mp4", write)
    with pytest.raises(error):
        write_whole_file(place / "b.mp4", write)
    assert list(place.iterdir()) == []


def no_links(monkeypatch):
    def link(*_: object) -> None:
        raise OSError("links are not supported")

    monkeypatch.setattr(os, "link", link)


def test_where_a_file_cannot_have_two_names(place, monkeypatch):
    no_links(monkeypatch)
    (place / "a_00001_.mp4").write_bytes(b"old")
    assert write_new_whole_file(str(place), "a", 1, "mp4", writes(b"new")) == ("a_00002_.mp4", 2)
    assert {entry.name for entry in place.iterdir()} == {"a_00001_.mp4", "a_00002_.mp4"}
    assert (place / "a_00002_.mp4").read_bytes() == b"new"


def test_where_the_last_step_fails_too(place, monkeypatch):
    no_links(monkeypatch)

    def replace(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="gone"):
        write_new_whole_file(str(place), "a", 1, "mp4", writes(b"new"))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("has_links", [True, False])
def test_many_at_once_all_get_a_file(place, monkeypatch, has_links):
    if not has_links:
        no_links(monkeypatch)
    start = threading.Barrier(8)
    taken: list[str] = []

    def save(index: int) -> None:
        start.wait()
        name, _ = write_new_whole_file(str(place), "a", 1, "bin", writes(b"%d" % index))
        taken.append(name)

    threads = [threading.Thread(target=save, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [f"a_{number:05}_.bin" for number in range(1, 9)]
    assert sorted((place / name).read_bytes() for name in taken) == [b"%d" % index for index in range(8)]


def test_a_path_is_replaced_when_the_new_file_is_whole(place):
    final = place / "b.mp4"
    final.write_bytes(b"old")

    def write(path: Path) -> None:
        path.write_bytes(b"new")
        assert final.read_bytes() == b"old"

    write_whole_file(final, write)
    assert final.read_bytes() == b"new"
    assert list(place.iterdir()) == [final]


def test_a_missing_folder_is_named(place):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        write_whole_file(place / "nowhere" / "b.mp4", writes(b"new"))
