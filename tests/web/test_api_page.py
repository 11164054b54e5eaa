"""The lines about jobs in docs/api.md, given to a shell as they stand."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from tests.web.live_server import Live

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
DECODER = json.JSONDecoder()


def lines_about_jobs() -> str:
    found = re.search(r"```sh\n(# Submit a prompt.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def answers_in(text: str) -> list[Any]:
    """JSON that stands one behind the other."""
    answers, at = [], 0
    while at < len(text):
        answer, at = DECODER.raw_decode(text, at)
        answers.append(answer)
    return answers


async def test_the_lines_work_as_they_are(live: Live) -> None:
    script = lines_about_jobs().replace("http://127.0.0.1:8188", live.running.url)
    shell = await asyncio.create_subprocess_exec("bash", "-e", "-c", script, stdout=asyncio.subprocess.PIPE)
    said, _ = await shell.communicate()
    assert shell.returncode == 0
    done, same, paused, retried, posted, moved, cancelled, resumed, newest, failed = answers_in(said.decode())
    assert (done["id"], done["outcome"], done["progress"]) == ("cat", "succeeded", 100.0)
    assert {**same, "node_errors": {}} == done
    assert (paused, resumed) == ({"is_paused": True}, {"is_paused": False})
    assert (retried["retry_of"], retried["queue_position"]) == ("cat", 1)
    assert posted["prompt_id"] == "dog"
    assert (moved["id"], moved["queue_position"]) == ("dog", 1)
    assert cancelled == {"cancelled": True}
    assert {one["id"] for one in newest["jobs"]} == {"cat", "dog", retried["id"]}
    assert failed["jobs"] == []
