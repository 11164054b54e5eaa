"""The commands that README.md promises: what make would do, and the server's command line."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import server

ROOT = Path(__file__).resolve().parent.parent

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def run(*command: str) -> str:
    of_an_outer_make = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS", "PYTEST_ARGS", "PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in of_an_outer_make}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]  # type: ignore[no-any-return]


def plain_name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", requirement)[0]).lower()


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {plain_name(name): version for name, _, version in pins}


@needs_make
def test_make_alone_explains_itself() -> None:
    said = run("make")
    assert all(f"make {goal}" in said for goal in ("run", "test", "check", "bench", "install", "clean"))


@needs_make
def test_make_run_passes_options_on() -> None:
    planned = run("make", "--dry-run", "run", "ARGS=--port 9000 --base-directory DIR")
    assert ".venv/bin/python server.py --port 9000 --base-directory DIR" in planned


@needs_make
@pytest.mark.parametrize("goal", ["test", "check", "bench"])
def test_every_goal_installs_first(goal: str) -> None:
    planned = run("make", "--dry-run", "--always-make", goal)
    assert "-m venv .venv" in planned
    assert planned.index("-c constraints.txt") < planned.index(
        {"test": "pytest", "check": "ruff", "bench": "benchmarks/run.py"}[goal])


@needs_make
def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("bin/pip", ".installed", ".installed-for-tests"):
        (tmp_path / ".venv" / name).touch()
    for goal in ("install", "run", "test"):
        assert "pip" not in run("make", "--dry-run", "-C", str(tmp_path), goal).replace(str(tmp_path), "")
    os.utime(tmp_path / "constraints.txt", (4e9, 4e9))
    assert "-c constraints.txt" in run("make", "--dry-run", "-C", str(tmp_path), "install")


def test_every_dependency_is_pinned_to_what_was_tested() -> None:
    optional = project()["optional-dependencies"]
    assert isinstance(optional, dict)
    named = [*project()["dependencies"], *optional["test"]]  # type: ignore[misc]
    missing = sorted({plain_name(one) for one in named} - pinned().keys())
    assert not missing, f"constraints.txt does not pin {missing}"
    assert all(version and "+" not in version for version in pinned().values())


def test_the_check_before_landing_is_the_two_goals() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert [line for line in script.splitlines() if line.startswith("make ")] == ["make check", "make test"]
    run("bash", "-n", ".ci/run")


def test_the_console_script_is_the_same_command() -> None:
    assert project()["scripts"] == {"hanzo-studio": "server:main"}
    assert callable(server.main)


def test_help_is_answered_without_loading_anything_heavy() -> None:
    code = ("import sys, runpy; sys.argv = ['server.py', '--help']\n"
            "try: runpy.run_path('server.py', run_name='__main__')\n"
            "except SystemExit as end: assert not end.code, end.code\n"
            "assert 'torch' not in sys.modules")
    assert "--base-directory" in run(sys.executable, "-c", code)
