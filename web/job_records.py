"""Jobs as clients read them: prompts that wait, run or have ended, with how many outputs they have and which to show.

All of it computes: a page of jobs is told on a thread.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from execution import HistoryEntry, JobState, NodeId

from . import wire

Record = dict[str, Any]

LONGEST_TEXT = 1024
"""Characters of a text that stands for a picture."""
_SHOWN_KINDS = ("images", "video", "audio", "3d", "text")
_SHOWN_FORMATS = ("video/", "audio/")
_MODEL_ENDINGS = (".obj", ".fbx", ".gltf", ".glb", ".usdz")
_TEXT_ENDINGS = (".txt", ".md", ".json")
_NOT_COUNTED = "animated"
"""A key beside `images` that says something of them, and holds no output."""


def job_record(entry: HistoryEntry) -> Record:
    """A job as it stands in a list. What is not known is not there."""
    record: Record = {"id": entry.prompt_id, "status": entry.state.value, "priority": entry.number}
    if entry.created_at is not None:
        record["create_time"] = entry.created_at
    record["attempt"] = entry.attempt
    if entry.retry_of is not None:
        record["retry_of"] = entry.retry_of
    count = shown_count = 0
    preview: Record | None = None
    if entry.outcome is not None:
        record["outcome"] = entry.outcome.value
        if entry.reason:
            record["reason"] = entry.reason
        if entry.started_at:
            record["execution_start_time"] = entry.started_at
        record["execution_end_time"] = entry.stopped_at
        if entry.state is JobState.FAILED and entry.failure is not None:
            record["execution_error"] = wire.failure(entry.failure)
        count, shown_count, preview = _counted(entry.outputs)
    record["outputs_count"], record["previewable_outputs_count"] = count, shown_count
    if preview is not None:
        record["preview_output"] = preview
    if entry.workflow_id is not None:
        record["workflow_id"] = entry.workflow_id
    return record


def detailed_record(entry: HistoryEntry) -> Record:
    """A job with all that is known of it."""
    record = job_record(entry)
    record["workflow"] = {"prompt": entry.prompt, "extra_data": entry.extra_data}
    record["node_timings"] = {node_id: _timing(*times) for node_id, times in entry.node_times.items()}
    failures = entry.failures or ([] if entry.failure is None else [entry.failure])
    record["errors"] = [wire.failure(failure) for failure in failures]
    if entry.outcome is not None:
        record["outputs"] = {node_id: _tidied(shown) for node_id, shown in entry.outputs.items()}
        record["execution_status"] = wire.history_status(entry)
    return record


def _timing(began: int, ended: int) -> Record:
    return {"started_at": began, "ended_at": ended} if ended else {"started_at": began}


# -- outputs -------------------------------------------------------------------------------------------------------


def _tidied(shown: Mapping[str, Any]) -> Record:
    """What a node showed, without nulls, and with objects for the names of models."""
    return {kind: [_as_model(item) or item for item in items if item is not None]
            if isinstance(items, (list, tuple)) else items
            for kind, items in shown.items()}


def _as_model(item: Any) -> Record | None:
    """The object that the name of a three-dimensional model stands for."""
    if isinstance(item, str) and item.lower().endswith(_MODEL_ENDINGS):
        return {"filename": item, "type": "output", "subfolder": "", "mediaType": "3d"}
    return None


def _counted(outputs: Mapping[NodeId, Mapping[str, Any]]) -> tuple[int, int, Record | None]:
    """How many outputs there are, how many of them can be shown, and the one to show first.

    That is a saved picture, film, sound or model; else one that is not kept; else a file with text; else a text.
    """
    count = shown_count = 0
    best: Record | None = None
    best_rank = 4
    for node_id, kind, item in _items(outputs):
        model = _as_model(item)
        thing = item if model is None else model
        if isinstance(thing, Mapping):
            count += 1
            if model is None and not _can_be_shown(kind, thing):
                continue
            shown_count += 1
            rank = _rank(kind if model is None else "3d", thing)
        elif kind == "text" and item is not None:
            rank = 3
        else:
            continue
        if rank < best_rank:
            best, best_rank = _preview(node_id, kind, thing), rank
    return count, shown_count, best


def _items(outputs: Mapping[NodeId, Mapping[str, Any]]) -> Iterator[tuple[NodeId, str, Any]]:
    for node_id, shown in outputs.items():
        for kind, items in shown.items():
            if kind != _NOT_COUNTED and isinstance(items, (list, tuple)):
                for item in items:
                    yield node_id, kind, item


def _can_be_shown(kind: str, item: Mapping[str, Any]) -> bool:
    form = item.get("format")
    return (kind in _SHOWN_KINDS or (isinstance(form, str) and form.startswith(_SHOWN_FORMATS))
            or _ends_in(item, _MODEL_ENDINGS + _TEXT_ENDINGS))


def _ends_in(item: Mapping[str, Any], endings: tuple[str, ...]) -> bool:
    name = item.get("filename")
    return isinstance(name, str) and name.lower().endswith(endings)


def _rank(kind: str, item: Mapping[str, Any]) -> int:
    if kind == "text" or _ends_in(item, _TEXT_ENDINGS):
        return 2
    return 0 if item.get("type") == "output" else 1


def _preview(node_id: NodeId, kind: str, thing: Any) -> Record:
    if isinstance(thing, Mapping):
        return {"mediaType": kind, **thing, "nodeId": node_id}
    text = str(thing)
    if len(text) <= LONGEST_TEXT:
        return {"content": text, "nodeId": node_id, "mediaType": "text"}
    return {"content": text[:LONGEST_TEXT], "nodeId": node_id, "mediaType": "text", "truncated": True}
