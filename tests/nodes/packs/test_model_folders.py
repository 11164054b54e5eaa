"""Categories of model files, and the YAML files that add folders to them."""

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.packs import model_folders
from nodes.packs.model_folders import ExtraFolder


@pytest.fixture(autouse=True)
def usual_categories() -> Iterator[None]:
    model_folders.place_categories()
    yield
    model_folders.categories.clear()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A file of paths in a folder of its own."""
    (tmp_path / "conf").mkdir()
    return tmp_path / "conf" / "extra_model_paths.yaml"


def read(file: Path, text: str) -> list[ExtraFolder]:
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return model_folders.read_extra_paths(file)


# --- the table


def test_usual_categories_lie_below_the_models_folder(tmp_path: Path) -> None:
    models = str(tmp_path / "models")
    assert model_folders.folders_of("loras") == [f"{models}/loras"]
    assert model_folders.folders_of("text_encoders") == [f"{models}/text_encoders", f"{models}/clip"]
    assert model_folders.folders_of("unet") == [f"{models}/diffusion_models", f"{models}/unet"]
    assert model_folders.categories["custom_nodes"] == ([str(tmp_path / "custom_nodes")], set())
    assert model_folders.categories["configs"][1] == {".yaml"}
    assert model_folders.categories["fonts"][1] == {".ttf", ".otf"}
    assert ".safetensors" in model_folders.categories["optical_flow"][1]
    assert len(model_folders.categories) == 28


def test_a_folder_is_appended_or_moved_first_and_never_doubled() -> None:
    model_folders.add_folder("mine", "/a")
    model_folders.add_folder("mine", "/b")
    model_folders.add_folder("mine", "/b")
    assert model_folders.categories["mine"] == (["/a", "/b"], set())
    model_folders.add_folder("mine", "/b", is_default=True)
    assert model_folders.folders_of("mine") == ["/b", "/a"]
    model_folders.add_folder("clip", "/c")
    assert model_folders.folders_of("text_encoders")[-1] == "/c"
    assert "clip" not in model_folders.categories


def test_who_asks_for_folders_gets_a_copy() -> None:
    model_folders.folders_of("vae").append("/elsewhere")
    assert "/elsewhere" not in model_folders.folders_of("vae")
    with pytest.raises(KeyError):
        model_folders.folders_of("nothing of the kind")


# --- files of paths


def test_sections_with_and_without_a_base(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS", "/big/disk")
    monkeypatch.setenv("HOME", "/home/ann")
    found = read(written, """\
        # a comment
        first:
            base_path: $MODELS/sd
            is_default: true
            checkpoints: models/ckpt
            unet: |
                one

                two
            clip: /absolute
        second:
            base_path: ~/here
            custom_nodes: packs
        third:
            base_path: ../beside
            loras: x
        fourth:
            odd_ones: relative
        empty:
        nothing_in_it:
            vae:
    """)
    conf = written.parent
    assert found == [
        ("checkpoints", "/big/disk/sd/models/ckpt", True),
        ("diffusion_models", "/big/disk/sd/one", True),
        ("diffusion_models", "/big/disk/sd/two", True),
        ("text_encoders", "/absolute", True),
        ("custom_nodes", "/home/ann/here/packs", False),
        ("loras", str(conf.parent / "beside" / "x"), False),
        ("odd_ones", str(conf / "relative"), False),
    ]


def test_default_folders_come_first_in_the_order_they_are_written(written: Path) -> None:
    usual = model_folders.folders_of("vae")
    read(written, """\
        a: {vae: last}
        b: {is_default: true, vae: "one\\ntwo"}
    """)
    model_folders.add_extra_paths(written)
    conf = written.parent
    assert model_folders.folders_of("vae") == [str(conf / "one"), str(conf / "two"), *usual, str(conf / "last")]


def test_a_new_category_accepts_everything_and_packs_get_one_more_folder(written: Path) -> None:
    read(written, "a: {curious: c, custom_nodes: packs}")
    model_folders.add_extra_paths(written)
    assert model_folders.categories["curious"] == ([str(written.parent / "c")], set())
    assert model_folders.pack_folders()[1:] == [written.parent / "packs"]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_adds_nothing(written: Path, text: str) -> None:
    assert read(written, text) == []


@pytest.mark.parametrize(("text", "line", "problem"), [
    ("a:\n  vae: x\n  loras: [1\n", 4, "not valid YAML"),
    ("a:\n\tvae: x\n", 2, "not valid YAML"),
    ("a: {vae: x}\n--- \nb: {vae: x}\n", 2, "not valid YAML"),
    ("a:\n  vae: x\n  loras: *nowhere\n", 3, "not valid YAML"),
    ("- a\n- b\n", 1, "the file should be a mapping"),
    ("a:\n  vae: x\nb: just text\n", 3, "section 'b' should be a mapping"),
    ("a:\n  vae: x\n  loras:\n    - one\n    - two\n", 4, "'loras' of section 'a' should be a path"),
    ("a:\n  is_default: maybe\n", 2, "is_default of section 'a' should be true or false"),
    ("a:\n  base_path: {}\n", 2, "base_path of section 'a' should be a path"),
    ("a:\n  [1, 2]: x\n", 2, "a name in section 'a' should be plain text"),
    ("a:\n  vae: x\x01\n", 2, "not valid YAML"),
    ("a:\n  vae: \"x\\0\"\n", 2, "'vae' of section 'a' is not a path"),
    ("a: " + "{x: " * 3000, 1, "nested too deeply"),
])
def test_a_malformed_file_is_refused_by_name_and_line(written: Path, text: str, line: int, problem: str) -> None:
    written.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as refused:
        model_folders.add_extra_paths(written)
    assert str(refused.value).startswith(f"{written}, line {line}: {problem}")


def test_bytes_that_are_no_text_are_refused_by_line(written: Path) -> None:
    written.write_bytes(b"a:\n  vae: \xff\n")
    with pytest.raises(ValueError, match="line 2: not UTF-8"):
        model_folders.read_extra_paths(written)


# --- files


@pytest.fixture
def loras(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "loras"
    for name in ("b.safetensors", "a.PT", "notes.txt", "deep/er/c.ckpt", ".git/d.ckpt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_files_are_listed_by_extension_below_all_folders(loras: Path, tmp_path: Path) -> None:
    assert model_folders.list_files("loras") == ["a.PT", "b.safetensors", "deep/er/c.ckpt"]
    model_folders.categories["loras"][0].append(str(tmp_path / "more"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "z.bin").touch()
    (tmp_path / "more" / "a.PT").touch()
    assert model_folders.list_files("loras") == ["a.PT", "b.safetensors", "deep/er/c.ckpt", "z.bin"]
    model_folders.categories["loras"] = ([str(loras)], {".txt"})
    assert model_folders.list_files("loras") == ["notes.txt"]
    with pytest.raises(KeyError):
        model_folders.list_files("nothing of the kind")


def test_a_listing_is_read_again_when_a_directory_changes(loras: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model_folders.list_files("loras")
    walks: list[str] = []
    walk = model_folders.walk_files
    monkeypatch.setattr(model_folders, "walk_files", lambda *args: walks.append(args[0]) or walk(*args))
    assert model_folders.list_files("loras") == before
    assert walks == []
    (loras / "deep" / "er" / "new.bin").touch()
    os.utime(loras / "deep" / "er", (1, 1))
    assert "deep/er/new.bin" in model_folders.list_files("loras")


def test_a_folder_that_appears_later_is_seen(tmp_path: Path) -> None:
    assert model_folders.list_files("vae") == []
    (tmp_path / "models" / "vae").mkdir(parents=True)
    (tmp_path / "models" / "vae" / "v.pt").touch()
    assert model_folders.list_files("vae") == ["v.pt"]


def test_links_are_followed_but_not_in_circles(loras: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "far.pt").touch()
    (loras / "linked").symlink_to(tmp_path / "disk")
    (loras / "deep" / "back").symlink_to(loras)
    assert model_folders.list_files("loras") == ["a.PT", "b.safetensors", "deep/er/c.ckpt", "linked/far.pt"]


def test_a_file_is_found_in_its_first_folder_and_never_outside(loras: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "secret.pt").touch()
    model_folders.add_folder("loras", str(tmp_path / "first"), is_default=True)
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "a.PT").touch()
    assert model_folders.find_file("loras", "a.PT") == str(tmp_path / "first" / "a.PT")
    assert model_folders.find_file("loras", "deep/er/c.ckpt") == str(loras / "deep" / "er" / "c.ckpt")
    assert model_folders.find_file("loras", "../secret.pt") is None
    assert model_folders.find_file("loras", "x/../../b.safetensors") == str(loras / "b.safetensors")
    for name in ("", "..", "deep", "a\0b", "/etc/passwd"):
        assert model_folders.find_file("loras", name) is None, name
    assert model_folders.find_file("nothing of the kind", "a.PT") is None
