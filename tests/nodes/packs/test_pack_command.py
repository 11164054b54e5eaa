"""`hanzo-studio packs`, as a person types it: what it does to folders, what it says, and how it ends."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nodes.packs import pack_command
from nodes.packs.pack_command import run_pack_command
from nodes.packs.pack_requirements import requirements_of

RAN = "raise SystemExit('the code of the pack ran')"

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        """Exit status, and what was said on both streams."""
        status = run_pack_command([words[0], "--base-directory", str(tmp_path), *words[1:]])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A pack that lies elsewhere. Its code must not run."""
    folder = tmp_path / "elsewhere" / "my_pack"
    folder.mkdir(parents=True)
    for name in ("__init__.py", "setup.py", "prestartup_script.py", "install.py"):
        (folder / name).write_text(RAN)
    return folder


def installed(tmp_path: Path) -> list[str]:
    folder = tmp_path / "custom_nodes"
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip would have been asked for; it succeeds."""
    calls: list[list[str]] = []
    monkeypatch.setattr(pack_command, "install", lambda packages: calls.append(list(packages)) or 0)
    return calls


# --- adding


def test_a_folder_is_copied_and_nothing_in_it_is_run(run: Run, source: Path, tmp_path: Path) -> None:
    (source / "__pycache__").mkdir()
    status, said, errors = run("add", str(source))
    assert (status, errors) == (0, "")
    assert said.splitlines()[0] == f"Added my_pack: {tmp_path / 'custom_nodes' / 'my_pack'}"
    assert "It asks for no packages." in said
    assert "/api/packs/my_pack/reload" in said
    assert installed(tmp_path) == ["my_pack"]
    assert sorted(one.name for one in (tmp_path / "custom_nodes" / "my_pack").iterdir()) == [
        "__init__.py", "install.py", "prestartup_script.py", "setup.py"]


def test_a_single_file_is_a_pack_too_and_can_be_called_otherwise(run: Run, source: Path, tmp_path: Path) -> None:
    assert run("add", str(source / "setup.py"), "--name", "other")[0] == 0
    assert installed(tmp_path) == ["other.py"]


@pytest.mark.parametrize(("words", "said"), [
    (["{base}/nowhere"], "neither a folder or file that exists"),
    (["ext::sh -c true"], "neither a folder or file that exists"),
    (["--name", "x", "{base}/elsewhere"], "It has no __init__.py, so it is not a pack"),
    (["--name", "x", "{base}/notes.txt"], "is no Python file"),
    (["--name", "../x", "{base}/elsewhere/my_pack"], "cannot be the name of a pack"),
    (["--name", "a/b", "{base}/elsewhere/my_pack"], "cannot be the name of a pack"),
    (["--name", "x.disabled", "{base}/elsewhere/my_pack"], "cannot be the name of a pack"),
    (["--name", "__pycache__", "{base}/elsewhere/my_pack"], "cannot be the name of a pack"),
    (["--name", ".x", "{base}/elsewhere/my_pack"], "cannot be the name of a pack"),
    (["--name", "x", "{base}"], "holds the folder of packs itself"),
    (["--revision", "v1", "{base}/elsewhere/my_pack"], "Only a repository has revisions"),
])
def test_what_is_no_pack_is_refused_and_leaves_nothing(run: Run, source: Path, tmp_path: Path, words: list[str],
                                                       said: str) -> None:
    (tmp_path / "notes.txt").touch()
    words = [word.replace("{base}", str(tmp_path)) for word in words]
    status, _, errors = run("add", *words)
    assert status == 1
    assert errors.startswith("hanzo-studio packs: ")
    assert said in errors
    assert installed(tmp_path) == []


def test_a_pack_that_is_there_is_never_replaced(run: Run, source: Path, tmp_path: Path) -> None:
    assert run("add", str(source))[0] == 0
    (source / "new.py").touch()
    assert "already" in run("add", str(source))[2]
    assert run("disable", "my_pack")[0] == 0
    assert "already" in run("add", str(source))[2]
    assert "already" in run("add", "--name", "MY_PACK", str(source))[2]
    assert installed(tmp_path) == ["my_pack.disabled"]
    assert not (tmp_path / "custom_nodes" / "my_pack.disabled" / "new.py").exists()


@needs_git
def test_a_repository_is_cloned_at_a_revision(run: Run, source: Path, tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
                    "GIT_COMMITTER_EMAIL": "a@b"}
        subprocess.run(["git", *words], cwd=source, check=True, capture_output=True, env={**os.environ, **identity})

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    git("tag", "v1")
    (source / "later.py").touch()
    git("add", "-A")
    git("commit", "-qm", "second")
    address = source.as_uri()
    assert run("add", address)[0] == 0
    assert run("add", address, "--name", "old", "--revision", "v1")[0] == 0
    assert installed(tmp_path) == ["my_pack", "old"]
    assert (tmp_path / "custom_nodes" / "my_pack" / "later.py").exists()
    assert not (tmp_path / "custom_nodes" / "old" / "later.py").exists()
    status, _, errors = run("add", address, "--name", "third", "--revision", "v9")
    assert status == 1
    assert "v9" in errors
    status, _, errors = run("add", f"{address}-missing")
    assert status == 1
    assert "git cannot fetch" in errors
    assert installed(tmp_path) == ["my_pack", "old"]


def test_without_git_one_is_told(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, _, errors = run("add", "https://example.com/pack.git")
    assert (status, errors) == (1, "hanzo-studio packs: git is not installed; it is needed to fetch a repository.\n")


# --- requirements


def test_requirements_are_shown_and_installed_only_with_consent(run: Run, source: Path, tmp_path: Path,
                                                               asked: list[list[str]],
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "requirements.txt").write_text("numpy>=1  # have\nno-such-package-of-ours==1\n-e .\n")
    status, said, _ = run("add", str(source))
    assert status == 0
    assert "  numpy>=1\n  no-such-package-of-ours==1  (not installed)\n" in said
    assert "Left out of its requirements, since it names no package: -e ." in said
    assert "Nothing was installed." in said  # there is no terminal, so nobody agreed
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for name, answer, times in (("no", "", 0), ("nope", "n", 0), ("yes", " Y ", 1)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert run("add", str(source), "--name", name)[0] == 0
        assert len(asked) == times
    assert run("add", str(source), "--name", "sure", "--yes")[0] == 0
    assert run("add", str(source), "--name", "never", "--no-requirements")[0] == 0
    assert asked == [["numpy>=1", "no-such-package-of-ours==1"]] * 2


def test_when_pip_fails_the_pack_is_there_and_the_status_says_so(run: Run, source: Path, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_command, "install", lambda packages: 1)
    (source / "requirements.txt").write_text("numpy")
    status, _, errors = run("add", str(source), "--yes")
    assert status == 1
    assert "pip could not install them" in errors
    assert installed(tmp_path) == ["my_pack"]


def test_requirements_are_read_from_both_files_and_what_could_run_code_is_left_out(source: Path) -> None:
    (source / "requirements.txt").write_text("""
        # a comment
        one[extra]>=1,<2 ; python_version > "3"
        two \\
            == 3
        -r more/others.txt
        -r ../outside.txt
        --extra-index-url https://example.com/simple
        ./local
        .
        git+https://example.com/x.git@v1#egg=x
        four @ https://example.com/four.whl
        five --config-settings=a=b
        one[extra]>=1,<2 ; python_version > "3"
    """)
    (source / "more").mkdir()
    (source / "more" / "others.txt").write_text("six\n-r others.txt\n")
    (source / "pyproject.toml").write_text("[project]\nname = 'x'\ndependencies = ['seven>=7', 8, '-e .']\n")
    found = requirements_of(source)
    assert found.packages == ['one[extra]>=1,<2 ; python_version > "3"', "two == 3", "six",
                              "git+https://example.com/x.git@v1#egg=x", "four @ https://example.com/four.whl",
                              "seven>=7"]
    assert set(found.left_out) == {"-r ../outside.txt", "--extra-index-url https://example.com/simple", "./local", ".",
                                   "five --config-settings=a=b", "-e .", "-r others.txt"}
    assert found.missing == ["one", "two", "six", "four", "seven"]


@pytest.mark.parametrize("content", [b"[[", b"project = 3", b"[project]\ndependencies = 'x'", b"\xff\xfe", b"["*9999])
def test_a_pyproject_that_makes_no_sense_asks_for_nothing(source: Path, content: bytes) -> None:
    (source / "pyproject.toml").write_bytes(content)
    assert requirements_of(source).packages == []


# --- listing, switching, removing


def test_packs_are_listed_with_what_they_lack(run: Run, source: Path, tmp_path: Path) -> None:
    assert run("list")[1].startswith("There are no packs in ")
    (source / "pyproject.toml").write_text("[project]\nversion = '1.2'\ndependencies = ['no-such-package-of-ours']\n")
    run("add", str(source))
    (tmp_path / "custom_nodes" / "single.py.disabled").touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "extra.py").touch()
    (tmp_path / "extra_model_paths.yaml").write_text("a:\n  custom_nodes: more\n")
    lines = run("list")[1].splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["extra", "enabled", "-"], ["my_pack", "enabled", "1.2"],
        ["not", "installed:", "no-such-package-of-ours"], ["single", "disabled", "-"]]
    listed = json.loads(run("list", "--json")[1])
    assert [(one["name"], one["enabled"], one["version"], one["missing"]) for one in listed] == [
        ("extra", True, None, []), ("my_pack", True, "1.2", ["no-such-package-of-ours"]), ("single", False, None, [])]


@pytest.mark.parametrize("is_file", [False, True])
def test_a_pack_is_switched_off_and_on(run: Run, source: Path, tmp_path: Path, is_file: bool) -> None:
    run("add", str(source / "setup.py" if is_file else source), "--name", "it")
    name = "it.py" if is_file else "it"
    assert run("disable", "it")[0] == 0
    assert installed(tmp_path) == [f"{name}.disabled"]
    assert "already" in run("disable", "it")[1]
    assert run("enable", f"{name}.disabled")[0] == 0
    assert installed(tmp_path) == [name]
    assert "already" in run("enable", "it")[1]


def test_a_pack_is_removed_only_with_consent(run: Run, source: Path, tmp_path: Path) -> None:
    run("add", str(source))
    status, _, errors = run("remove", "my_pack")
    assert (status, errors) == (1, "hanzo-studio packs: Nothing was removed.\n")
    assert installed(tmp_path) == ["my_pack"]
    assert run("remove", "my_pack", "--yes")[0] == 0
    assert installed(tmp_path) == []


def test_of_a_pack_that_is_a_link_only_the_link_goes(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "custom_nodes" / "linked").symlink_to(source)
    assert run("remove", "linked", "--yes")[0] == 0
    assert installed(tmp_path) == []
    assert (source / "__init__.py").exists()


@pytest.mark.parametrize("command", ["remove", "disable", "enable"])
@pytest.mark.parametrize("name", ["nowhere", "..", "", "../elsewhere/my_pack"])
def test_a_name_that_is_no_pack_is_one_sentence(run: Run, source: Path, command: str, name: str) -> None:
    status, _, errors = run(command, name, *(["--yes"] if command == "remove" else []))
    assert (status, errors) == (1, f"hanzo-studio packs: There is no pack {name!r}.\n")
    assert source.exists()


def test_two_packs_of_one_name_are_not_guessed_between(run: Run, source: Path, tmp_path: Path) -> None:
    run("add", str(source))
    (tmp_path / "custom_nodes" / "my_pack.py.disabled").touch()
    assert "There are several packs 'my_pack'" in run("disable", "my_pack")[2]


@pytest.mark.parametrize("words", [[], ["unknown"], ["add"], ["remove"], ["list", "--nonsense"]])
def test_what_is_written_wrongly_ends_with_two(words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_pack_command(words)
    assert left.value.code == 2


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_pack_command(["--help"])
    said = capsys.readouterr().out
    assert all(command in said for command in ("list", "add", "remove", "disable", "enable"))
