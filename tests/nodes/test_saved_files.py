"""Names of files: what they mean, that they stay inside, and that none is ever written twice."""

import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.saved_files import (
    PathOutsideFolder,
    annotated_path,
    expand_prefix,
    file_names,
    image_file_names,
    is_readable_name,
    next_counter,
    path_inside,
    plan_save,
    split_annotation,
    write_new_file,
)

NOON = time.struct_time((2031, 2, 3, 4, 5, 6, 0, 34, -1))


@pytest.mark.parametrize(
    ("name", "plain", "kind"),
    [
        ("a.png", "a.png", None),
        ("a.png [output]", "a.png", "output"),
        ("sub/a b.png [temp]", "sub/a b.png", "temp"),
        ("a.png [input]", "a.png", "input"),
        ("a.png [models]", "a.png [models]", None),
        ("a [output].png", "a [output].png", None),
    ],
)
def test_annotation(name, plain, kind):
    assert split_annotation(name) == (plain, kind)


def test_annotation_chooses_the_folder(folders):
    assert annotated_path("a.png") == folders.input_directory.resolve() / "a.png"
    assert annotated_path("a.png [output]") == folders.output_directory.resolve() / "a.png"
    assert annotated_path("sub/a.png [temp]") == folders.temp_directory.resolve() / "sub/a.png"


@pytest.mark.parametrize(
    "name",
    ["../a", "..", "sub/../../a", "/etc/passwd", "a\0b", "sub/../../input2/a", "../a [output]", "/ [temp]"],
)
def test_a_name_cannot_leave_its_folder(folders, name):
    (folders.base_directory / "input2").mkdir()
    (folders.base_directory / "input2" / "a").write_text("secret")
    (folders.base_directory / "a").write_text("secret")
    with pytest.raises(PathOutsideFolder):
        annotated_path(name)
    assert is_readable_name(name) is False


def test_a_link_cannot_leave_its_folder(folders, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_text("secret")
    inside = folders.input_directory
    (inside / "real.png").write_text("picture")
    (inside / "friend.png").symlink_to(inside / "real.png")
    (inside / "link.png").symlink_to(secret)
    (inside / "folder").symlink_to(tmp_path)
    (inside / "loop.png").symlink_to(inside / "loop.png")
    for name in ("link.png", "folder/secret.png"):
        with pytest.raises(PathOutsideFolder):
            annotated_path(name)
    assert is_readable_name("friend.png")
    assert not is_readable_name("loop.png")
    assert file_names(inside) == ["friend.png", "real.png"]


def test_the_folder_itself_may_be_a_link(folders, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.png").write_text("picture")
    folders.output_directory.symlink_to(elsewhere)
    assert annotated_path("a.png [output]").read_text() == "picture"
    assert plan_save("deep/er/x", folders.output_directory).subfolder == "deep/er"


@given(name=st.text(alphabet="ab./\\\0% ~", max_size=12))
def test_path_inside_is_inside_or_refused(tmp_path_factory, name):
    root = tmp_path_factory.getbasetemp().resolve()
    try:
        path = path_inside(root, name)
    except PathOutsideFolder:
        return
    assert os.path.commonpath((root, path)) == str(root)


def test_choices_are_the_top_level_s_files_sorted(folders):
    for name in ("b.PNG", "a.webp", "c.txt", "d.jpeg", "e.mp4", "noextension", "f.avif"):
        (folders.input_directory / name).write_text("")
    (folders.input_directory / "folder.png").mkdir()
    (folders.input_directory / "folder.png" / "inner.png").write_text("")
    assert image_file_names(folders.input_directory) == ["a.webp", "b.PNG", "d.jpeg", "f.avif"]
    assert file_names(folders.input_directory) == sorted(
        ["b.PNG", "a.webp", "c.txt", "d.jpeg", "e.mp4", "noextension", "f.avif"]
    )
    assert file_names(folders.base_directory / "missing") == []


def test_prefix_is_filled_in():
    prefix = "%year%-%month%-%day% %hour%.%minute%.%second% %width%x%height% %date:yyyy% %batch_num%"
    expanded = "2031-02-03 04.05.06 640x480 %date:yyyy% %batch_num%"
    assert expand_prefix(prefix, 640, 480, NOON) == expanded


@pytest.mark.parametrize(
    ("prefix", "subfolder", "name"),
    [
        ("x", "", "x"),
        ("deep/er/x", "deep/er", "x"),
        ("./q", "", "q"),
        ("a/../q", "", "q"),
        ("q/", "", "q"),
        ("", "", "."),
        ("%width%/%height%", "7", "5"),
    ],
)
def test_prefix_says_where(folders, prefix, subfolder, name):
    place = plan_save(prefix, folders.output_directory, 7, 5, NOON)
    assert place[1:4] == (name, 1, subfolder)
    assert os.path.samefile(place.folder, folders.output_directory / subfolder)
    assert place.prefix == expand_prefix(prefix, 7, 5, NOON)


def test_an_absolute_prefix_inside_the_folder_is_as_good_as_a_relative_one(folders):
    place = plan_save(str(folders.output_directory / "sub" / "x"), folders.output_directory)
    assert (place.subfolder, place.name) == ("sub", "x")


@pytest.mark.parametrize("prefix", ["../x", "a/../../x", "/tmp/x", "..", "/", "a\0b", "out/x"])
def test_prefix_cannot_leave_the_folder(folders, tmp_path, prefix):
    folders.output_directory.mkdir()
    (folders.output_directory / "out").symlink_to(tmp_path)
    with pytest.raises(PathOutsideFolder):
        plan_save(prefix, folders.output_directory)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("name", "entries", "counter"),
    [
        ("N", [], 1),
        ("N", ["N_00007_.png"], 8),
        ("N", ["N_00050_foo.txt", "N_00007_.png"], 51),
        ("N", ["N_12"], 13),
        ("N", ["N_00041.png", "N_b_00099_.png", "n_00099_.png", "NN_00099_.png", "N_-5_.png"], 1),
        ("a.b", ["axb_00009_.png", "a.b_00002_.png"], 3),
        ("N_%batch_num%", ["N_0_00004_.png", "N_1_00005_.png", "N_x_00009_.png"], 6),
    ],
)
def test_counter_follows_the_largest(tmp_path, name, entries, counter):
    for entry in entries:
        (tmp_path / entry).write_text("")
    assert next_counter(tmp_path, name) == counter


def test_files_are_written_under_the_next_free_number(tmp_path):
    (tmp_path / "N_00002_.png").write_bytes(b"old")
    folder = str(tmp_path)
    assert write_new_file(folder, "N", 1, "png", b"first") == ("N_00001_.png", 1)
    assert write_new_file(folder, "N", 2, "png", b"second") == ("N_00003_.png", 3)
    assert (tmp_path / "N_00002_.png").read_bytes() == b"old"


def test_a_new_file_does_not_follow_a_planted_link(tmp_path):
    target = tmp_path / "target"
    (tmp_path / "N_00001_.png").symlink_to(target)
    assert write_new_file(str(tmp_path), "N", 1, "png", b"x") == ("N_00002_.png", 2)
    assert not target.exists()


def test_a_file_that_cannot_be_written_is_removed_again(tmp_path):
    with pytest.raises(TypeError):
        write_new_file(str(tmp_path), "N", 1, "png", "not bytes")
    assert list(tmp_path.glob("N*")) == []


def test_savers_at_once_never_share_a_name(tmp_path):
    """Every thread starts at counter 1, as if all had read the folder before anyone wrote."""
    threads, each = 8, 20
    start = threading.Barrier(threads)
    names: list[str] = []

    def save(who: int) -> None:
        start.wait()
        counter = 1
        for _ in range(each):
            name, counter = write_new_file(str(tmp_path), "N", counter, "png", str(who).encode())
            names.append(name)

    workers = [threading.Thread(target=save, args=(who,)) for who in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(names) == [f"N_{number:05}_.png" for number in range(1, threads * each + 1)]
    content = sorted((tmp_path / name).read_text() for name in names)
    assert content == sorted(str(who) for who in range(threads) for _ in range(each))
