"""Kill a server in the middle of its work, start it again, and see what is lost: nothing.

    python examples/survives_a_crash/run.py           # about half a minute
    python examples/survives_a_crash/run.py --open    # slower, with the page open beside it

Needs nothing but the standard library; the server needs what `make install` installs.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CLIENT = "survives-a-crash"
"""Whose prompts these are. The page shows them under `?clientId=`, as it shows a tab its own."""
PATIENCE = 120.0
GLANCE = 0.1
"""Seconds between two looks."""


class Disappointed(Exception):
    """Something was lost, or did not come. A sentence."""


class Server:
    """The command, on one folder and one port, also when it is started again."""

    def __init__(self, base: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._base = base
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Back when it takes prompts."""
        command = [interpreter(), str(ROOT / "server.py"), "--port", str(self.port),
                   "--base-directory", str(self._base), "--cache-disk-after", "0.5"]
        with open(self._base / "server.log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_until(self._is_ready, "the server does not start")

    def _is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise Disappointed(f"the server has ended: see {self._base / 'server.log'}")
        try:
            return self.ask("/readyz") is not None
        except (urllib.error.URLError, ConnectionError):
            return False

    def ask(self, path: str, body: Any = None) -> Any:
        """GET, or POST with a body: the JSON of the answer."""
        encoded = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, encoded, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def end(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(30)


def interpreter() -> str:
    """The Python that has what the server needs: that of `make install`, if it was called."""
    installed = ROOT / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    return str(installed) if installed.exists() else sys.executable


def wait_until(condition: Any, complaint: str) -> Any:
    """Look again and again: the first answer that says yes."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(GLANCE)
    raise Disappointed(f"After {PATIENCE:.0f} s: {complaint}.")


def say(text: str) -> None:
    print(text, flush=True)


def submit(server: Server, name: str, mixing: float, painting: float) -> str:
    """A prompt that mixes colours, paints a picture with them and saves it: its id."""
    prompt = {
        "1": {"class_type": "MixColours", "inputs": {"name": name, "seconds": mixing},
              "_meta": {"title": "Mix colours"}},
        "2": {"class_type": "PaintPicture", "inputs": {"name": name, "colours": ["1", 0], "seconds": painting},
              "_meta": {"title": "Paint picture"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": name},
              "_meta": {"title": "Save"}},
    }
    accepted = server.ask("/prompt", {"prompt": prompt, "client_id": CLIENT,
                                      "extra_data": {"title": name.capitalize()}})
    return str(accepted["prompt_id"])


def job(server: Server, prompt_id: str) -> Any:
    return server.ask(f"/api/jobs/{prompt_id}")


def wait_for_the_end(server: Server, prompt_id: str) -> Any:
    def ended() -> Any:
        found = job(server, prompt_id)
        return found if found["status"] in ("completed", "failed", "cancelled") else None

    return wait_until(ended, f"prompt {prompt_id} has not ended")


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def look(server: Server, names: dict[str, str]) -> list[str]:
    """Where each of the prompts is, in words."""
    words = {"pending": "waits", "in_progress": "runs", "completed": "is done"}
    found = {prompt_id: job(server, prompt_id) for prompt_id in names}
    return [f"  {name}: {words.get(found[prompt_id]['status'], found[prompt_id]['status'])}"
            + (f", node {', '.join(nodes)}" if (nodes := found[prompt_id].get("running_nodes")) else "")
            for prompt_id, name in names.items()]


def show(base: Path, opens_page: bool) -> None:
    """The whole story.

    :raises Disappointed: it did not end well.
    """
    slowness = 4 if opens_page else 1
    calls = base / "output" / "calls.txt"
    server = Server(base)
    try:
        say(f"Starting a server in {base}.")
        server.start()
        say(f"It is ready: {server.url}/?clientId={CLIENT}")
        if opens_page:
            webbrowser.open(f"{server.url}/?clientId={CLIENT}")

        early = submit(server, "meadow", 0.6, 0.4)
        if wait_for_the_end(server, early)["status"] != "completed":
            raise Disappointed("The first picture was not painted.")
        say("One picture is painted and saved: meadow.")

        names = {submit(server, name, mixing * slowness, painting * slowness): name
                 for name, mixing, painting in (("harbour", 1, 3), ("forest", 1, 4), ("desert", 6, 1))}
        first, second, third = names

        def is_half_done() -> bool:
            running = {prompt_id: job(server, prompt_id).get("running_nodes") for prompt_id in names}
            return running == {first: ["2"], second: ["2"], third: ["1"]}

        wait_until(is_half_done, "they do not run side by side")
        time.sleep(slowness / 2)
        say("Three more run. The colours of two are mixed, and they are being painted:")
        for line in look(server, names):
            say(line)

        server.end(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        say("Killed (kill -9): no warning, no time to save anything.")
        before = Counter(calls.read_text().splitlines())

        server.start()
        say("Started again on the same folder. It knows:")
        history = server.ask("/history")
        queue = server.ask("/queue")
        say(f"  history: {', '.join(history[each]['prompt'][3]['title'] for each in history)}")
        say(f"  queue: {len(queue['queue_running'])} running, {len(queue['queue_pending'])} waiting")
        queued = [item[1] for item in queue["queue_running"] + queue["queue_pending"]]
        if list(history) != [early] or queued != list(names):
            raise Disappointed("That is not what there was before, in its order.")
        for line in look(server, names):
            say(line)

        ended = {prompt_id: wait_for_the_end(server, prompt_id) for prompt_id in names}
        say("All have ended:")
        after = Counter(calls.read_text().splitlines())
        for prompt_id, name in names.items():
            say(f"  {name}: {ended[prompt_id]['status']} at attempt {ended[prompt_id]['attempt']}, "
                f"mixed {times(after[f'mix {name}'])}, painted {times(after[f'paint {name}'])}")
        check(base, server, early, ended, before, after)
        say("Nothing was lost, and what was mixed before the crash was not mixed again.")
        if opens_page:
            with contextlib.suppress(EOFError):
                input("The page is still open. Press Enter to stop the server. ")
    finally:
        server.end(signal.SIGTERM)


def check(base: Path, server: Server, early: str, ended: dict[str, Any], before: Counter[str],
          after: Counter[str]) -> None:
    """:raises Disappointed: something is not as it was promised."""
    unfinished = [prompt_id for prompt_id, one in ended.items() if one["status"] != "completed"]
    if unfinished:
        raise Disappointed(f"These did not come to a good end: {unfinished}")
    if set(server.ask("/history")) != {early, *ended}:
        raise Disappointed("The history is not complete.")
    if after["mix harbour"] != 1 or after["mix forest"] != 1 or after["paint meadow"] != before["paint meadow"]:
        raise Disappointed("Work was done again that had been done.")
    pictures = sorted(one.name.split("_")[0] for one in (base / "output").glob("*.png"))
    if pictures != ["desert", "forest", "harbour", "meadow"]:
        raise Disappointed(f"The pictures in the output folder are not the four: {pictures}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a server in the middle of its work, and see what is lost.")
    parser.add_argument("--open", action="store_true", help="open the page beside it, and take more time")
    opens_page = parser.parse_args().open
    with tempfile.TemporaryDirectory(prefix="survives-a-crash-", ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        shutil.copytree(HERE / "painting_pack", base / "custom_nodes" / "painting_pack",
                        ignore=shutil.ignore_patterns("__pycache__"))
        try:
            show(base, opens_page)
        except Disappointed as disappointment:
            say(f"That is not how it should be. {disappointment}")
            with contextlib.suppress(OSError):
                say((base / "server.log").read_text(errors="replace")[-3000:])
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
