"""Regular expressions in a process beside this one, which ends when its prompt is interrupted; see `regex_worker.py`
for why.

A process is started for the first search, in some 30 ms, and kept for the next ones. Two searches at once have two.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

WORKER = Path(__file__).with_name("regex_worker.py")
SECONDS_BETWEEN_LOOKS = 0.05
"""How late a search may notice that its prompt was interrupted."""
MOST_KEPT = 2
"""Processes that may wait for the next search."""


class SearchLost(RuntimeError):
    """The process ended before it had answered: killed from outside, or out of memory."""


class RegexProcess:
    """One process, for one search at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(WORKER), str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._answers: SimpleQueue[bytes | None] = SimpleQueue()
        # A pipe cannot be waited for with a timeout on every system; a queue can.
        self._reader = threading.Thread(target=self._read, name="studio-regex", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        """Until it has ended by itself."""
        self._process.wait()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """What `regex_worker.answer_of` says. Whatever is raised, the process is of no further use.

        Raises SearchLost, and InterruptProcessing when the prompt is interrupted meanwhile.
        """
        from execution import check_interrupted

        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise SearchLost("the process that searches ended before it could be asked") from error
        while True:
            check_interrupted()
            try:
                line = self._answers.get(timeout=SECONDS_BETWEEN_LOOKS)
            except Empty:
                continue
            if line is None:
                raise SearchLost("the process that searches ended before it had answered")
            answer: dict[str, Any] = json.loads(line)
            return answer

    def end(self) -> None:
        """Stop it at once, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # half a question was left in it


class RegexProcesses:
    """Those that exist. Any thread may ask."""

    def __init__(self) -> None:
        self.all: set[RegexProcess] = set()
        self.idle: list[RegexProcess] = []
        """Those that wait for the next search."""

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """See `RegexProcess.ask`."""
        process = self._taken()
        try:
            answer = process.ask(request)
        except BaseException:
            self._end(process)
            raise
        if len(self.idle) < MOST_KEPT:
            self.idle.append(process)
        else:
            self._end(process)
        return answer

    @property
    def count(self) -> int:
        return len(self.all)

    def _taken(self) -> RegexProcess:
        while True:
            try:
                process = self.idle.pop()
            except IndexError:
                process = RegexProcess()
                self.all.add(process)
                return process
            if process.is_alive:
                return process
            self._end(process)

    def _end(self, process: RegexProcess) -> None:
        self.all.discard(process)
        process.end()

    def end_all(self) -> None:
        """Those that search too."""
        self.idle.clear()
        for process in list(self.all):
            self._end(process)


processes = RegexProcesses()
atexit.register(processes.end_all)
