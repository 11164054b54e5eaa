"""The last table of progress of a recorded prompt says of each node what ours says.

`transcript_replay` leaves tables out, since how many there are and what is in between depends on the clock. The last
one does not.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.end_to_end.test_transcripts import DIFFERENCES, PACKS, PRECEDED_BY, SETTINGS, TRANSCRIPTS, replay
from tests.end_to_end.transcript_replay import Line, ServerUnderReplay, TranscriptReplay, read_transcript
from tests.support.studio import running_studio

BROKEN_OFF = ("execution_error", "execution_interrupted")
"""Prompts that end so have in their last table what happened to run, or is gone on purpose."""
SAID = ("node_id", "state", "value", "max", "display_node_id", "parent_node_id", "real_node_id", "prompt_id")


def tables_of(frames: list[Line]) -> dict[str, dict[str, Any]]:
    """The last table of each prompt: rows by node."""
    found: dict[str, dict[str, Any]] = {}
    for frame in frames:
        said = frame.get("recv", {})
        if said.get("type") == "progress_state":
            rows = said["data"]["nodes"]
            found[said["data"]["prompt_id"]] = {
                node: {key: float(row[key]) if key in ("value", "max") else row[key] for key in SAID}
                for node, row in rows.items()}
    return found


def ends_well(lines: list[Line]) -> bool:
    kinds = {line["recv"]["type"] for line in lines if "recv" in line
             and "timestamp" in line["recv"]["data"]}  # a blocker's error has none, and ends nothing
    return "execution_success" in kinds and not kinds & set(BROKEN_OFF)


WHOLE = {name: read_transcript(path) for name, path in TRANSCRIPTS.items() if name not in DIFFERENCES}
WITH_TABLES = [name for name, lines in WHOLE.items() if ends_well(lines) and tables_of(lines)]


@pytest.mark.parametrize("name", WITH_TABLES)
async def test_the_last_table_is_that_of_the_record(name: str) -> None:
    lines = WHOLE[name]
    async with running_studio(packs=PACKS, max_running_prompts=1, **SETTINGS.get(name, {})) as studio:
        server = ServerUnderReplay(studio.url)
        if name in PRECEDED_BY:
            assert await replay(server, PRECEDED_BY[name]) == []
        again = TranscriptReplay(server, lines)
        await again.run()
    left_early = {line["client"] for line in lines if line.get("ws") == "closed"}
    for client in again.clients.keys() - left_early:
        heard, recorded = again.clients[client], tables_of([line for line in lines if line.get("client") == client])
        assert tables_of(again.aliases.to_record(heard.frames)) == recorded, client


def test_most_transcripts_have_a_table_to_compare() -> None:
    assert len(WITH_TABLES) > 25
    assert len(TRANSCRIPTS) == 54, "one for each file of the records; what is not met to the letter is in DIFFERENCES"
