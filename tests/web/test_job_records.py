"""How a job is told: which outputs count, which stands for it, and what a list says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution import HistoryEntry, NodeError, NodeFailed, NodeId, NodePlace, Outcome, PromptId
from web import wire
from web.job_records import detailed_record, job_record

FILE = {"filename": "a.png", "subfolder": "", "type": "output"}
TEMP = {"filename": "t.png", "subfolder": "", "type": "temp"}
MODEL = {"filename": "M.GLB", "type": "output", "subfolder": "", "mediaType": "3d"}


def ended(outputs: Any, **fields: Any) -> HistoryEntry:
    return HistoryEntry(**{
        "prompt_id": PromptId("p"), "client_id": None, "number": 4, "prompt": {"1": {}},
        "extra_data": {"create_time": 10}, "outputs_wanted": [NodeId("1")], "queued_at": 11, "started_at": 12,
        "ended_at": 20, "outcome": Outcome.SUCCEEDED, "outputs": outputs, **fields})


def shown(node_id: str, kind: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"mediaType": kind, **item, "nodeId": node_id}


@pytest.mark.parametrize(("outputs", "count", "previewable", "preview"), [
    ({}, 0, 0, None),
    ({"9": {"images": [FILE, TEMP]}}, 2, 2, shown("9", "images", FILE)),
    ({"1": {"images": [TEMP]}, "9": {"images": [FILE]}}, 2, 2, shown("9", "images", FILE)),
    ({"1": {"images": [TEMP]}}, 1, 1, shown("1", "images", TEMP)),
    ({"1": {"images": [FILE], "animated": [True, {"filename": "x"}]}}, 1, 1, shown("1", "images", FILE)),
    ({"1": {"images": FILE, "more": 5, "text": "no list"}}, 0, 0, None),
    ({"1": {"latents": [{"filename": "l.latent"}]}}, 1, 0, None),
    ({"1": {"files": [{"filename": "N.JSON"}]}}, 1, 1, shown("1", "files", {"filename": "N.JSON"})),
    ({"1": {"files": [{"filename": "a.Obj"}]}}, 1, 1, shown("1", "files", {"filename": "a.Obj"})),
    ({"1": {"gifs": [{"filename": "a", "format": "video/h264-mp4"}]}}, 1, 1,
     shown("1", "gifs", {"filename": "a", "format": "video/h264-mp4"})),
    ({"1": {"gifs": [{"filename": "a", "format": "image/gif"}, {"format": 5}]}}, 2, 0, None),
    ({"1": {"result": ["M.GLB", None, 5, "x.png"]}}, 1, 1, {**MODEL, "nodeId": "1"}),
    ({"1": {"text": ["m.usdz"]}}, 1, 1, {**MODEL, "filename": "m.usdz", "nodeId": "1"}),
    ({"1": {"text": [None, "hello"]}}, 0, 0, {"content": "hello", "nodeId": "1", "mediaType": "text"}),
    ({"1": {"text": [16]}}, 0, 0, {"content": "16", "nodeId": "1", "mediaType": "text"}),
    ({"1": {"text": ["x" * 1025]}}, 0, 0,
     {"content": "x" * 1024, "nodeId": "1", "mediaType": "text", "truncated": True}),
    ({"1": {"text": ["x" * 1024]}}, 0, 0, {"content": "x" * 1024, "nodeId": "1", "mediaType": "text"}),
    ({"1": {"text": ["a"]}, "2": {"files": [{"filename": "b.txt"}]}, "3": {"images": [TEMP]}}, 2, 2,
     shown("3", "images", TEMP)),
    ({"1": {"text": ["a"]}, "2": {"files": [{"filename": "b.txt"}]}}, 1, 1, shown("2", "files", {"filename": "b.txt"})),
    ({"1": {"text": [{"filename": "b.png", "type": "output"}]}, "2": {"audio": [TEMP]}}, 2, 2,
     shown("2", "audio", TEMP)),
    ({"1": {"images": [{"filename": "a.png", "mediaType": "own", "nodeId": "other"}]}}, 1, 1,
     {"filename": "a.png", "mediaType": "own", "nodeId": "1"}),
    ({"1": {"numbers": [1, True, "a", [FILE]]}}, 0, 0, None),
])
def test_which_outputs_count_and_which_stands_for_the_job(
        outputs: Any, count: int, previewable: int, preview: Any) -> None:
    record = job_record(ended(outputs))
    assert (record["outputs_count"], record["previewable_outputs_count"]) == (count, previewable)
    assert record.get("preview_output") == preview
    assert (preview is None) is ("preview_output" not in record)


@given(st.dictionaries(st.text(max_size=3), st.dictionaries(
    st.sampled_from(["images", "text", "animated", "x"]),
    st.lists(st.none() | st.text(max_size=9) | st.integers() | st.floats() | st.dictionaries(
        st.sampled_from(["filename", "format", "type", "mediaType"]), st.none() | st.integers() | st.text(max_size=9)))
    | st.none() | st.integers(), max_size=3), max_size=3))
def test_whatever_nodes_show_can_be_told(outputs: Any) -> None:
    record = detailed_record(ended(outputs))
    assert 0 <= record["previewable_outputs_count"] <= record["outputs_count"]
    assert json.loads(wire.dumps(record))["id"] == "p"


def test_a_job_that_is_open_has_no_times_and_no_outputs() -> None:
    entry = ended({"9": {"images": [FILE]}}, outcome=None, ended_at=0, started_at=12)
    assert job_record(entry) == {"id": "p", "status": "in_progress", "priority": 4, "create_time": 10, "attempt": 0,
                                 "outputs_count": 0, "previewable_outputs_count": 0}
    entry.started_at = 0
    assert detailed_record(entry) == {
        "id": "p", "status": "pending", "priority": 4, "create_time": 10, "attempt": 0, "outputs_count": 0,
        "previewable_outputs_count": 0, "node_timings": {}, "errors": [],
        "workflow": {"prompt": {"1": {}}, "extra_data": {"create_time": 10}}}


def test_a_job_that_failed_has_its_error_and_that_ends_it() -> None:
    place = NodePlace(NodeId("5"), NodeId("5"), None, NodeId("5"))
    failure = NodeFailed(at=17, prompt_id=PromptId("p"), place=place, node_type="Blur", executed=[NodeId("1")],
                         known=[NodeId("1")], error=NodeError(exception_type="ValueError", exception_message="no\n"))
    record = job_record(ended({}, outcome=Outcome.FAILED, failure=failure))
    assert (record["status"], record["execution_start_time"], record["execution_end_time"]) == ("failed", 12, 17)
    assert record["execution_error"] == wire.failure(failure)
    interrupted = job_record(ended({}, outcome=Outcome.INTERRUPTED, failure=failure, interrupted=place))
    assert interrupted["status"] == "cancelled"
    assert "execution_error" not in interrupted


def test_outputs_in_full_are_those_of_the_history_tidied() -> None:
    outputs = {"1": {"result": ["M.GLB", None, "x"], "images": [FILE, None], "animated": [True], "odd": 5}}
    entry = ended(outputs)
    record = detailed_record(entry)
    assert record["outputs"] == {"1": {"result": [MODEL, "x"], "images": [FILE], "animated": [True], "odd": 5}}
    assert record["execution_status"] == wire.history_entry(entry)["status"]
    assert outputs["1"]["images"] == [FILE, None]
