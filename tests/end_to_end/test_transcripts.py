"""Every recorded session, done again against our server; see `transcript_replay`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.transcript_replay import (
    Leniency,
    Line,
    ServerUnderReplay,
    TranscriptReplay,
    compare,
    read_transcript,
)
from tests.support.studio import running_studio

TESTS = Path(__file__).parent.parent
PACKS = [TESTS / "packs" / "testing_pack"]
TRANSCRIPTS = {path.stem: path for path in sorted((TESTS / "transcripts").glob("*.jsonl"))}

# The second submission of a prompt needs the first one on the same server.
PRECEDED_BY = {
    "b_resubmit_all_cached": "a_simple_sync_chain",
    "h5_expansion_with_ui_child_cached": "h4_expansion_with_ui_child",
    "o2_output_node_without_ui_cached": "o_output_node_without_ui",
    "p2_partial_after_full_is_cached": "p1_full_before_partial",
    "r_cache_none_2": "r_cache_none_1",
    "r2_cache_lru2_2": "r2_cache_lru2_1",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "r_cache_none_1": {"cache_none": True},
    "r_cache_none_2": {"cache_none": True},
    "r2_cache_lru2_1": {"cache_lru": 2},
    "r2_cache_lru2_2": {"cache_lru": 2},
}


# --- what the rulings want otherwise: the record, rewritten --------------------------------


def history_of(lines: list[Line]) -> Line:
    return [line for line in lines if line.get("http") == "GET /history/PROMPT-1"][-1]


def position_of(lines: list[Line], http: str) -> int:
    return next(index for index, line in enumerate(lines) if line.get("http") == http)


def received(client: str, kind: str, **data: Any) -> Line:
    return {"t": 0.0, "client": client, "recv": {"type": kind, "data": data}}


Rewrite = Callable[[list[Line]], list[Line]]


def interrupted_at_once(node_id: str, node_type: str, executed: list[str]) -> Rewrite:
    """What follows POST /interrupt: the running plain node is named, and nothing starts after it."""

    def rewrite(lines: list[Line]) -> list[Line]:
        history = history_of(lines)
        status = lines[2]
        interrupt = received(
            "A",
            "execution_interrupted",
            prompt_id="PROMPT-1",
            node_id=node_id,
            node_type=node_type,
            executed=executed,
            timestamp=0,
        )
        entry = history["response"]["PROMPT-1"]
        entry["outputs"], entry["meta"] = {}, {}
        entry["status"]["status_str"], entry["status"]["completed"] = "error", False
        entry["status"]["messages"][-1] = ["execution_interrupted", interrupt["recv"]["data"]]
        idle = received("A", "status", status=status["recv"]["data"]["status"])
        end = received("A", "executing", node=None, prompt_id="PROMPT-1")
        kept = lines[: position_of(lines, "POST /interrupt") + 1]
        return [*kept, interrupt, idle, end, history, lines[-1]]

    return rewrite


def cycle_is_an_error(lines: list[Line]) -> list[Line]:
    status = history_of(lines)["response"]["PROMPT-1"]["status"]
    status["status_str"], status["completed"] = "error", False
    return lines


def untargeted_outputs_left_out(lines: list[Line]) -> list[Line]:
    entry = history_of(lines)["response"]["PROMPT-1"]
    del entry["outputs"]["3"], entry["meta"]["3"]
    return lines


def without_the_preview(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.get("recv", {}).get("data", {}).get("node") != "2.0.0.2"]


def both_sockets_hear_everything(lines: list[Line]) -> list[Line]:
    """The older socket goes on hearing what the newer one does; the newer one survives its closing."""
    newer_joined = next(index for index, line in enumerate(lines) if line.get("client") == "A'")
    told_on_joining = newer_joined + 3  # it connects, and is told `status` and `executing` for itself
    rewritten = lines[:told_on_joining]
    for line in lines[told_on_joining:]:
        rewritten.append(line)
        if line.get("client") == "A'":
            rewritten.append({**line, "client": "A"})
    tag = lines[-1]["body"]["prompt"]["1"]["inputs"]["tag"]
    queued = {"exec_info": {"queue_remaining": 1}}
    of_second = {"prompt_id": "PROMPT-2"}
    shown = {"node": "1", "display_node": "1", **of_second}
    return [
        *rewritten,
        received("A'", "status", status=queued),
        received("A'", "status", status=queued),
        received("A'", "execution_start", **of_second, timestamp=0),
        received("A'", "execution_cached", nodes=[], **of_second, timestamp=0),
        received("A'", "executing", **shown),
        received("A'", "executed", **shown, output={"text": [tag]}),
        received("A'", "execution_success", **of_second, timestamp=0),
        received("A'", "status", status={"exec_info": {"queue_remaining": 0}}),
        received("A'", "executing", node=None, **of_second),
    ]


STRICT = Leniency()


@dataclass(frozen=True)
class Difference:
    """Why a transcript is not met to the letter, and what is expected in its place."""

    reason: str
    rewrite: Rewrite = list
    leniency: Leniency = STRICT


DIFFERENCES = {
    "d4_dynamic_dependency_cycle": Difference(
        "a cycle made by an expansion is an error in the history too (rulings 5)", cycle_is_an_error
    ),
    "e_async_raise_sibling_running": Difference(
        "`current_inputs` is filled for a late failure too: an error names its node's inputs (the issue)",
        leniency=Leniency(ignored_keys=frozenset({"current_inputs"})),
    ),
    "f3_interrupt_during_plain_sync_node": Difference(
        "an interrupt ends the running plain node, not the next one (rulings 5)",
        interrupted_at_once("2", "ProtoSyncPass", ["1"]),
    ),
    "f4_interrupt_during_last_sync_node": Difference(
        "an interrupt is never too late while a node runs (rulings 5)",
        interrupted_at_once("1", "ProtoSyncSleepOut", []),
    ),
    "g4_delete_last_pending": Difference(
        "one `status` instead of two alike when the last pending prompt is deleted (protocol.md 1.4)",
        lambda lines: [line for index, line in enumerate(lines) if index != 14],
        Leniency(repeated_status=True),
    ),
    "h6_error_inside_expansion": Difference(
        "of two independent nodes either may come first, and the failing one ends the other (rulings 6)",
        without_the_preview,
        Leniency(ignored_nodes=frozenset({"2.0.0.2"})),
    ),
    "m_reconnect_same_client_id": Difference(
        "two sockets with one client id both hear everything, and the newer one survives (rulings 6)",
        both_sockets_hear_everything,
    ),
    "o4_nan_in_ui": Difference(
        "null where JSON has no number, browsers cannot read NaN (protocol.md 5, item 30)",
        leniency=Leniency(numbers_json_lacks=True),
    ),
    "p2_partial_after_full_is_cached": Difference(
        "old results of untargeted nodes are not in the history (protocol-2026.md 2.3)",
        untargeted_outputs_left_out,
    ),
}
AS_RECORDED = Difference("")


async def replay(server: ServerUnderReplay, name: str) -> list[str]:
    """Problems of one transcript."""
    difference = DIFFERENCES.get(name, AS_RECORDED)
    lines = difference.rewrite(copy.deepcopy(read_transcript(TRANSCRIPTS[name])))
    again = TranscriptReplay(server, lines)
    await again.run()
    return compare(lines, again, difference.leniency)


@pytest.mark.parametrize("name", TRANSCRIPTS)
async def test_transcript(name: str) -> None:
    if name in DIFFERENCES:
        print(f"{name}: {DIFFERENCES[name].reason}")
    async with running_studio(packs=PACKS, max_running_prompts=1, **SETTINGS.get(name, {})) as studio:
        server = ServerUnderReplay(studio.url)
        if name in PRECEDED_BY:
            assert await replay(server, PRECEDED_BY[name]) == []
        problems = await replay(server, name)
    assert not problems, "\n".join(["", *problems])


async def test_the_recorded_log_lines_come_around_their_prompt(caplog: pytest.LogCaptureFixture) -> None:
    """Comparing leaves `logs` out, since servers say other things too: here are those of the record."""
    caplog.set_level("INFO")
    lines = read_transcript(TRANSCRIPTS["q_log_subscription"])
    async with running_studio(packs=PACKS, max_running_prompts=1) as studio:
        again = TranscriptReplay(ServerUnderReplay(studio.url), lines)
        await again.run()
    said = [frame["recv"] for frame in again.clients["A"].frames]
    got, executed = ([index for index, one in enumerate(said) if one["type"] == "logs" and text in str(one["data"])]
                     for text in ("got prompt\\n", "Prompt executed in"))
    assert len(got) == len(executed) == 1
    assert got[0] < [one["type"] for one in said].index("execution_success")
    assert set(said[got[0]]["data"]["size"]) == {"cols", "rows"}
    assert executed[0] > [one["type"] for one in said].index("execution_start")
