"""Programs that are driven here and are no part of this repository: builds of the front end, and what drives a browser.

They are installed by pip and npm into a cache folder outside the tree. Nothing of them is read, copied or imported.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

HERE = Path(__file__).parent
PACKAGE = "comfyui-frontend-package"
SECONDS_TO_FETCH = 60
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def cache_folder() -> Path:
    """Where they lie: `STUDIO_FRONT_ENDS`, or a folder of the user's cache."""
    named = os.environ.get("STUDIO_FRONT_ENDS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else cache / "hanzo-studio-front-ends"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def chromium() -> str:
    """The browser. Skips the test where there is none."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip("no chromium here: apt-get install -y chromium")
    return found


def newest_version() -> str:
    """The version that pip would install, or the newest that is here already. Skips the test without either."""
    try:
        report = json.loads(_ask([*_PIP, "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet",
                                  "--report", "-", PACKAGE]))
    except _Unreachable as error:
        here = sorted((_numbers(folder.name.removeprefix(f"{PACKAGE}-")), folder.name)
                      for folder in cache_folder().glob(f"{PACKAGE}-*"))
        if not here:
            pytest.skip(f"{PACKAGE} cannot be had: {error}")
        return here[-1][1].removeprefix(f"{PACKAGE}-")
    return str(report["install"][0]["metadata"]["version"])


def front_end(version: str) -> Path:
    """The folder with `index.html` of this version. Skips the test where it cannot be had."""
    folder = _installed(f"{PACKAGE}-{version}", lambda new: [
        *_PIP, "install", "--quiet", "--no-deps", "--no-compile", "--target", str(new), f"{PACKAGE}=={version}"])
    return next(folder.glob("*/static/index.html")).parent


def playwright() -> Path:
    """A folder whose `node_modules` has what `package.json` asks for. Skips the test where it cannot be had."""
    if shutil.which("npm") is None:
        pytest.skip("no npm here: Node 20 with npm is needed")
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["playwright-core"]
    return _installed(f"playwright-core-{wanted}", lambda new: [
        "npm", "install", "--prefix", str(new), "--silent", "--no-audit", "--no-fund", "--no-package-lock",
        f"playwright-core@{wanted}"])


class _Unreachable(Exception):
    """What was asked for did not come. The message says why, in a line."""


_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


def _installed(name: str, command: Callable[[Path], list[str]]) -> Path:
    """A folder of the cache, which is there whole or not at all."""
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    with TemporaryDirectory(dir=cache_folder(), prefix=".installing-") as place:
        new = Path(place) / name
        new.mkdir()
        try:
            _ask(command(new))
        except _Unreachable as error:
            pytest.skip(f"{name} cannot be had: {error}")
        try:
            new.rename(folder)
        except OSError:  # somebody else was faster
            if not folder.is_dir():
                raise
    return folder


def _ask(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_FETCH, check=False)
    except subprocess.TimeoutExpired:
        raise _Unreachable(f"no answer within {SECONDS_TO_FETCH} seconds") from None
    if done.returncode:
        raise _Unreachable((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    return done.stdout


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
