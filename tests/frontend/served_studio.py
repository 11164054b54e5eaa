"""The server as a process of its own, and the script that drives a browser."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.frontend import programs

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
READY = "ready after"
SECONDS_TO_STOP = 20


class ServedStudio:
    """The command, on one port and one base directory, also when it is started again."""

    def __init__(self, base_directory: Path, front_end: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.base_directory = base_directory
        self._command = [sys.executable, str(ROOT / "server.py"), "--port", str(port), "--base-directory",
                         str(base_directory), "--front-end-root", str(front_end), *options]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Back when the server is ready."""
        self._process = subprocess.Popen(self._command, cwd=self.base_directory, text=True, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if READY in line:
                # Whoever does not read on would in the end stop the server.
                threading.Thread(target=self._process.stdout.read, name="what the server says", daemon=True).start()
                return
        raise AssertionError(f"the server ended with {self._process.wait()}:\n{''.join(said)}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


@contextlib.contextmanager
def served_studio(base_directory: Path, front_end: Path, *options: str) -> Iterator[ServedStudio]:
    """Serve a front end from a fresh base directory, with the pack of doors."""
    pack = base_directory / "custom_nodes" / "door_pack"
    shutil.copytree(HERE / "door_pack", pack)
    examples = pack / "example_workflows"
    shutil.copytree(HERE / "workflows", examples)
    for workflow in list(examples.iterdir()):  # a picture of each is asked for
        Image.new("RGB", (64, 48), "teal").save(workflow.with_suffix(".jpg"))
    studio = ServedStudio(base_directory, front_end, *options)
    try:
        studio.start()
        yield studio
    finally:
        studio.stop()


class Browser:
    """A tab on a page, driven by `driver.mjs`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def check(self, name: str, **given: Any) -> dict[str, Any]:
        """Do one of the checks: what it says. Fails when it failed, or when the page complained meanwhile."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"check": name, "given": given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser's driver has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        assert not answer["complaints"], "the page complained: " + "\n".join(answer["complaints"])
        said: dict[str, Any] = answer["said"]
        return said


@contextlib.contextmanager
def browser_on(url: str, pictures: Path, generation: str) -> Iterator[Browser]:
    """A browser with an empty profile, on a page that is yet to be opened.

    :param pictures: folder for a screenshot after each check.
    :param generation: `old` or `new`: whether the page reads queue and history or jobs.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(["node", str(HERE / "driver.mjs"), url, str(pictures), generation], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env={**os.environ, "PLAYWRIGHT_FOLDER": str(programs.playwright()),
                                    "CHROMIUM": programs.chromium()})
    try:
        yield Browser(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
