"""Jobs as rows of the database: what a row says of a job, and the other way round."""

import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct

from ..events import NodeFailed, NodePlace, Outcome
from ..identifiers import ClientId, NodeId, PromptId
from ..run_rules import RunRules
from .event_codec import decode, encode
from .job_store import HistoryEntry, JobState, NewJob
from .outbox import EndNotice

_LARGEST = 2**62
RUNNING, PENDING, ENDED, OWED = 0, 1, 2, 3
"""Ranks. The last is shown to nobody: only whoever wants to hear of its end has yet to be told."""

COLUMNS = ("prompt_id, run, outcome, client_id, number, attempt, is_cancelled, retry_of, queued_at, started_at, "
           "ended_at, outputs_wanted, extra_data, submitted, prompt, details, line, content_key, had_secrets, targets, "
           "rules, idempotency_key, node_errors, notice")
"""What `entry_of` and `new_job_of` read, in this order."""

_WITHOUT_DETAILS = b"{}"


class Details(Struct, kw_only=True, omit_defaults=True):
    """What happened to a job, as it is written when it has ended."""

    cached_at: int = 0
    cached: Sequence[NodeId] = ()
    outputs: dict[NodeId, Mapping[str, Any]] = {}
    places: dict[NodeId, NodePlace] = {}
    failure: NodeFailed | None = None
    failures: Sequence[NodeFailed] = ()
    executed: Sequence[NodeId] = ()
    interrupted: NodePlace | None = None
    interrupted_type: str = ""
    reason: str = ""
    node_times: dict[NodeId, tuple[int, int]] = {}


_DETAILS = Details.__struct_fields__


def insertion_of(job: NewJob, run: int) -> dict[str, Any]:
    """The values of a new row."""
    entry = job.entry
    extra_data = encode(entry.extra_data)
    starts = {"state": JobState.IN_PROGRESS.value, "rank": RUNNING, "position": job.starts_at,
              "started_at": entry.queued_at, "attempt": 1} if job.starts_at else {}
    return {
        "prompt_id": _whole_text(entry.prompt_id), "run": run, "state": JobState.PENDING.value, "rank": PENDING,
        "position": _number(entry.number), "client_id": _whole_text(entry.client_id), "number": _number(entry.number),
        "line": _whole_text(job.line),
        "retry_of": entry.retry_of, "workflow_id": _whole_text(entry.workflow_id),
        "created_at": _bounded(entry.created_at or 0),
        "queued_at": entry.queued_at, "content_key": job.content_key, "idempotency_key": job.idempotency_key,
        "had_secrets": job.had_secrets, "targets": None if job.targets is None else encode(job.targets),
        "rules": encode(job.rules), "outputs_wanted": encode(entry.outputs_wanted), "extra_data": extra_data,
        "node_errors": encode(job.node_errors) if job.node_errors else None,
        "notice": None if entry.end_notice is None else encode(entry.end_notice),
        "submitted": job.submitted, "bytes": len(job.submitted) + len(extra_data), **starts}


def _whole_text(text: str | None) -> str | None:
    """Without halves of characters, which packs may bring along and no file takes."""
    return None if text is None else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _number(number: int | float) -> int | float:
    """A number as the database has them: whole ones of 64 bits. Larger ones become floating, the largest at most."""
    if isinstance(number, float) or -_LARGEST <= number <= _LARGEST:
        return number
    try:
        return float(number)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max


def ending_of(entry: HistoryEntry, position: int) -> dict[str, Any]:
    """The values that a row takes when its job has ended. Its prompt as it is shown is kept if it differs."""
    details = encode(Details(**{name: getattr(entry, name) for name in _DETAILS}))
    return {"state": entry.state.value, "rank": ENDED, "position": position, "outcome": entry.outcome,
            "has_history": entry.has_history, "duration": entry.duration, "started_at": entry.started_at,
            "ended_at": entry.ended_at, "attempt": entry.attempt, "details": details,
            "prompt": bytes(entry.prompt) if isinstance(entry.prompt, Raw) else encode(entry.prompt)}


def bare_end_of(entry: HistoryEntry, submitted: bytes, trouble: Exception) -> HistoryEntry:
    """The end of a job without what cannot be written of it: how it ended and when, and why no more is known."""
    return HistoryEntry(
        prompt_id=entry.prompt_id, run=entry.run, client_id=None, number=0, prompt=Raw(submitted), extra_data={},
        outputs_wanted=(), queued_at=0, started_at=_bounded(entry.started_at), ended_at=_bounded(entry.ended_at),
        outcome=entry.outcome, attempt=_bounded(entry.attempt), end_notice=entry.end_notice,
        reason=f"Its record could not be kept: {trouble}")


def _bounded(number: int) -> int:
    return max(-_LARGEST, min(number, _LARGEST))


def entry_of(row: sqlite3.Row | tuple[Any, ...]) -> HistoryEntry:
    """The entry of a row of `COLUMNS`."""
    (prompt_id, run, outcome, client_id, number, attempt, is_cancelled, retry_of, queued_at, started_at, ended_at,
     outputs_wanted, extra_data, submitted, prompt, details, *_, notice) = row
    known = decode(details or _WITHOUT_DETAILS, Details)
    return HistoryEntry(
        prompt_id=PromptId(prompt_id), run=run, client_id=None if client_id is None else ClientId(client_id),
        number=number, prompt=Raw(submitted if prompt is None else prompt),
        extra_data=decode(extra_data, dict[str, Any]), outputs_wanted=decode(outputs_wanted, list[Any]),
        queued_at=queued_at, started_at=started_at,
        ended_at=ended_at, outcome=None if outcome is None else Outcome(outcome), attempt=attempt,
        is_cancelled=bool(is_cancelled), retry_of=None if retry_of is None else PromptId(retry_of),
        end_notice=None if notice is None else decode(notice, EndNotice),
        **{name: getattr(known, name) for name in _DETAILS})


def new_job_of(row: sqlite3.Row | tuple[Any, ...]) -> NewJob:
    """All that is needed to submit the job of a row again."""
    line, content_key, had_secrets, targets, rules, idempotency_key, node_errors, _ = row[16:]
    return NewJob(
        entry=entry_of(row), submitted=row[13], targets=None if targets is None else decode(targets, list[Any]),
        line=line, content_key=content_key, had_secrets=bool(had_secrets), rules=decode(rules, RunRules),
        idempotency_key=idempotency_key,
        node_errors={} if node_errors is None else decode(node_errors, dict[str, Any]))
