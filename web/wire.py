"""The only file that spells JSON and binary frames: what clients send is decoded here, what they see is encoded."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct

from execution import (
    ClientId,
    Engine,
    Event,
    HistoryEntry,
    NodeBlocked,
    NodeFailed,
    NodeFinished,
    NodeId,
    NodePlace,
    NodeProgressed,
    NodeRetried,
    NodeSaid,
    NodesCached,
    NodeShown,
    NodeStarted,
    Outcome,
    ProgressRow,
    ProgressTabled,
    PromptDropped,
    PromptFinished,
    PromptId,
    PromptQueued,
    PromptStarted,
    PromptSubmission,
    QueueChanged,
    QueueEntry,
    RunRules,
    TimeLimits,
)

from .bad_request import BadRequest
from .webhook_requests import end_notice_of
from .workflow_conversion_graph import is_saved_workflow

SECRET_KEYS = ("auth_token_comfy_org", "api_key_comfy_org")
_SECRET_NAMES = {**{key: key for key in SECRET_KEYS}, "auth_token_studio_org": SECRET_KEYS[0],
                 "api_key_studio_org": SECRET_KEYS[1]}
LARGEST_TABLE = 256_000
"""Bytes of a table of progress above which rows that did not change are left out."""
WORKFLOW_METADATA = "workflow_metadata"
"""Beside a prompt: what every message about it carries too. What is no object, or a longer one, is passed over."""
LONGEST_WORKFLOW_METADATA = 256
"""Characters of it as JSON."""
LONGEST_PROMPT_ID = 1000
"""Characters."""
FIELDS_BESIDE = ("client_id", "prompt_id", "number", "front", "extra_data", "partial_execution_targets",
                 "on_error", "run_timeout", "idle_timeout", "webhook", WORKFLOW_METADATA)
"""What a request may have beside its prompt."""
_TOLD_APART_BY = ("prompt_id", "number", "front", "on_error", "run_timeout", "idle_timeout", "webhook")
_MOST_SECONDS = 10 * 365 * 86_400
_LONGEST_REASON = 200
"""Characters of an error in a line on a node."""
_DEEPEST = 200
"""Levels of a JSON body."""
_CONTAINERS = (dict, list)

_encoder = msgspec.json.Encoder()
_decode = msgspec.json.decode


# -- in ------------------------------------------------------------------------------------------------------------


def decode_json(body: bytes, what: str = "The body") -> Any:
    """JSON of a request, whatever its content type says.

    :raises BadRequest: it is no JSON, holds a number that is none, or is nested without end.
    """
    try:
        value = _decode(body)
    except RecursionError:
        raise _too_deep(what) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = _decode_like_python(body, what)
        if not _is_flat_enough(value):
            raise _too_deep(what) from None
        return _without_half_characters(value)
    if body.count(b"[") + body.count(b"{") > _DEEPEST and not _is_flat_enough(value):
        raise _too_deep(what)
    return value


def _decode_like_python(body: bytes, what: str) -> Any:
    """What the stdlib accepts beyond UTF-8 and the standard, except numbers that are none."""
    def refuse(word: str) -> Any:
        raise BadRequest("invalid_json", f"{what} holds {word}, which is no JSON number.")

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise BadRequest("invalid_json", f"{what} holds {text[:40]}, which is too large a number.")
        return number

    try:
        return json.loads(body, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise _too_deep(what) from None
    except ValueError as error:
        raise BadRequest("invalid_json", f"{what} is not valid JSON.", str(error)[:200]) from None


def _without_half_characters(value: Any) -> Any:
    """Halves of a pair of surrogates (a text that was cut within an emoji, say) cannot be encoded: not in a
    signature, not in a file name. Each becomes a replacement character."""
    try:
        _encoder.encode(value)
        return value
    except UnicodeEncodeError:
        text = json.dumps(value, ensure_ascii=False).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return json.loads(text)


def _too_deep(what: str) -> BadRequest:
    return BadRequest("invalid_json", f"{what} is nested too deeply.")


def _is_flat_enough(value: Any) -> bool:
    """Whether a value can still be encoded inside others. Walks containers only, without recursion."""
    level = [value] if value.__class__ in _CONTAINERS else []
    for _ in range(_DEEPEST):
        if not level:
            return True
        level = [inner for one in level for inner in (one.values() if one.__class__ is dict else one)
                 if inner.__class__ in _CONTAINERS]
    return not level


def decode_object(body: bytes) -> dict[str, Any]:
    """A JSON object.

    :raises BadRequest: it is none.
    """
    value = decode_json(body)
    if not isinstance(value, dict):
        raise BadRequest("invalid_body", "The body must be a JSON object.")
    return value


def decode_submission(body: bytes | dict[str, Any], now_ms: int,
                      usage_source: str | None = None, *, may_come_again: bool = False) -> PromptSubmission:
    """The body of POST /prompt, or the object that it held.

    :param may_come_again: it is to be told from other bodies, as one with an id of its own is anyway.
    :raises BadRequest: a field has the wrong type.
    """
    data = decode_json(body) if isinstance(body, bytes) else body
    if is_saved_workflow(data) and "prompt" not in data:  # as it is in its file, without a request around it
        beside = {name: data.pop(name) for name in FIELDS_BESIDE if name in data}
        data = {"prompt": data, **beside}
    if not isinstance(data, dict) or "prompt" not in data:
        raise BadRequest("no_prompt", "No prompt provided", "No prompt provided")
    prompt_id = _prompt_id(data.get("prompt_id"))
    client_id = _optional(data, "client_id", str, "a text")
    targets = _optional(data, "partial_execution_targets", list, "a list of node ids")
    if targets is not None and not all(isinstance(one, str) for one in targets):
        raise _wrong_type("partial_execution_targets", "a list of node ids")
    front = _optional(data, "front", bool, "true or false")
    extra_data = dict(_optional(data, "extra_data", dict, "an object") or {})
    content_key = None
    if prompt_id is not None or may_come_again:
        content_key = digest_of([data["prompt"], client_id, extra_data, targets, *_said(data)])
    rules = _rules(data)
    extra_data, secrets = without_secrets(extra_data)
    if client_id is not None:
        extra_data["client_id"] = client_id
    elif isinstance(extra_data.get("client_id"), str):
        client_id = extra_data["client_id"]
    if usage_source is not None:
        extra_data.setdefault("comfy_usage_source", usage_source)
    extra_data["create_time"] = now_ms
    extra_data.pop(WORKFLOW_METADATA, None)
    metadata = data.get(WORKFLOW_METADATA)
    if isinstance(metadata, dict) and metadata and len(json.dumps(metadata)) <= LONGEST_WORKFLOW_METADATA:
        extra_data[WORKFLOW_METADATA] = metadata
    return PromptSubmission(
        prompt=data["prompt"], client_id=None if client_id is None else ClientId(client_id),
        prompt_id=prompt_id, number=_number(data.get("number")), front=bool(front), extra_data=extra_data,
        secrets=secrets, targets=targets, content_key=content_key, rules=rules,
        end_notice=end_notice_of(data.get("webhook")))


def without_secrets(extra_data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What may be shown of it, and the keys and tokens."""
    return ({key: value for key, value in extra_data.items() if key not in _SECRET_NAMES},
            {_SECRET_NAMES[key]: value for key, value in extra_data.items() if key in _SECRET_NAMES})


def _rules(data: Mapping[str, Any]) -> RunRules:
    """`on_error`, `run_timeout` and `idle_timeout` of a submission."""
    on_error = data.get("on_error")
    if on_error not in (None, "stop", "continue_independent"):
        raise _wrong_type("on_error", "`stop` or `continue_independent`")
    return RunRules(goes_on_after_errors=on_error == "continue_independent", limits=TimeLimits(
        run_timeout=_seconds(data, "run_timeout"), idle_timeout=_seconds(data, "idle_timeout")))


def _said(data: Mapping[str, Any]) -> list[Any]:
    return [[name, data[name]] for name in _TOLD_APART_BY if data.get(name) is not None]


def digest_of(value: Any) -> str:
    """Equal for equal JSON, written in the same order."""
    return blake2b(dumps(value), digest_size=16).hexdigest()


def _seconds(data: Mapping[str, Any], name: str) -> float | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST_SECONDS:
        raise _wrong_type(name, "a number of seconds, 0 for no limit")
    return float(value)


def _wrong_type(name: str, expected: str) -> BadRequest:
    return BadRequest("invalid_field", f"{name} must be {expected}.", name)


def _optional(data: Mapping[str, Any], name: str, kind: type, expected: str) -> Any:
    value = data.get(name)
    if value is not None and value.__class__ is not kind:
        raise _wrong_type(name, expected)
    return value


def is_prompt_id(value: Any) -> bool:
    """Whether a prompt may be called so."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_PROMPT_ID


def _prompt_id(value: Any) -> PromptId | None:
    if value is None:
        return None
    if is_prompt_id(value):
        return PromptId(value)
    if isinstance(value, str) and value:
        raise BadRequest("invalid_prompt_id", "prompt_id is too long", f"at most {LONGEST_PROMPT_ID} characters")
    raise BadRequest("invalid_prompt_id", "prompt_id must be a text",
                     "prompt_id must be a non-empty text, best a UUID; omit it to let the server generate one")


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise _wrong_type("number", "a finite number")


# -- out: REST -----------------------------------------------------------------------------------------------------


def dumps(value: Any) -> bytes:
    """JSON, strictly: what is no number is null."""
    try:
        return _encoder.encode(value)
    except (TypeError, UnicodeEncodeError):
        return json.dumps(_strict(value), default=str).encode()


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Struct):
        return {name: _strict(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    return value


def json_list(items: Iterable[bytes]) -> bytes:
    """A list of what is JSON already."""
    return b"[" + b",".join(items) + b"]"


def json_object(members: Iterable[tuple[str, bytes]]) -> bytes:
    """An object of what is JSON already, by name."""
    return b"{" + b",".join(dumps(name) + b":" + member for name, member in members) + b"}"


def plain_copy(value: Any) -> Any:
    """A copy of plain data whose containers are its own, so that it can be compared later."""
    if isinstance(value, dict):
        return {key: plain_copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain_copy, value)) if type(value) in (list, tuple) else list(map(plain_copy, value))
    return value


def queue_item(entry: QueueEntry) -> list[Any]:
    return [entry.number, entry.prompt_id, entry.prompt, entry.extra_data, entry.outputs]


def busy_pools(engine: Engine) -> dict[str, Any]:
    """What keeps pools busy though nobody waits for it: `busy`, or nothing if there is none."""
    found = engine.busy_pools()
    return {"busy": [{"pool": one.pool, "tokens": one.tokens, "prompt_id": one.prompt_id, "node_id": one.node_id,
                      "class_type": one.class_type, "seconds": one.seconds, "text": one.sentence}
                     for one in found]} if found else {}


def history_entry(entry: HistoryEntry) -> dict[str, Any]:
    """One prompt as `/history` shows it."""
    return {"prompt": [entry.number, entry.prompt_id, entry.prompt, entry.extra_data, entry.outputs_wanted],
            "outputs": entry.outputs,
            "status": history_status(entry),
            "meta": {node_id: {"node_id": place.node_id, "display_node": place.display_id,
                               "parent_node": place.parent_id, "real_node_id": place.real_id}
                     for node_id, place in entry.places.items()}}


def history_status(entry: HistoryEntry) -> dict[str, Any]:
    """How a prompt ended, with what its client was told of that."""
    prompt_id = entry.prompt_id
    messages: list[list[Any]] = []
    if entry.started_at:
        messages.append(["execution_start", {"prompt_id": prompt_id, "timestamp": entry.started_at}])
    if entry.cached_at:
        messages.append(["execution_cached", {"nodes": entry.cached, "prompt_id": prompt_id,
                                              "timestamp": entry.cached_at}])
    if entry.outcome is Outcome.SUCCEEDED:
        messages.append(["execution_success", {"prompt_id": prompt_id, "timestamp": entry.ended_at}])
    elif entry.outcome is Outcome.INTERRUPTED and entry.interrupted is not None:
        messages.append(["execution_interrupted", _interrupted(
            prompt_id, entry.interrupted, entry.interrupted_type, entry.executed, entry.ended_at)])
    elif entry.failure is not None:
        messages.append(["execution_error", failure(entry.failure)])
    succeeded = entry.outcome is Outcome.SUCCEEDED
    return {"status_str": "success" if succeeded else "error", "completed": succeeded, "messages": messages}


# -- out: frames ---------------------------------------------------------------------------------------------------


class Audience(Enum):
    """Who is sent a frame."""

    OWN = "own"
    """the sockets of the prompt's client; nobody if it has none"""
    OWN_OR_ALL = "own_or_all"
    """the same, or everybody if the prompt has no client"""
    ALL = "all"


class Frame(Struct, gc=False):
    """One WebSocket frame, encoded once for all that are sent it."""

    data: bytes
    """With its WebSocket header."""
    audience: Audience
    replaces: tuple[str, ...] | None = None
    """A later frame with the same key may take its place while it is unsent."""
    wants_metadata: bool | None = None
    """Only for clients that did, or did not, ask for previews with metadata."""
    sequence: int = 0
    """Of its event, for sockets that asked for numbers: on the last frame of an event that is kept in the log."""

    def numbered(self) -> bytes:
        """The frame as a socket gets it that asked for numbers."""
        if not self.sequence or self.data[0] != TEXT:
            return self.data
        return frame_bytes(TEXT, payload_of(self.data)[:-1] + b',"seq":%d}' % self.sequence)


TEXT, BINARY = 0x81, 0x82


def frame_bytes(opcode: int, payload: bytes) -> bytes:
    """A final, unmasked WebSocket frame."""
    length = len(payload)
    if length < 126:
        return (_SHORT_TEXT[length] if opcode == TEXT else bytes((opcode, length))) + payload
    if length < 65_536:
        return bytes((opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((opcode, 127)) + length.to_bytes(8, "big") + payload


_SHORT_TEXT = [bytes((TEXT, length)) for length in range(126)]


def payload_of(frame: bytes) -> bytes:
    """What is in a frame of `frame_bytes`."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2):]


def message(kind: str, data: Any) -> bytes:
    """A JSON text frame `{"type", "data"}`."""
    return frame_bytes(TEXT, dumps({"type": kind, "data": data}))


def status_message(remaining: int, sid: str | None = None) -> bytes:
    if sid is None:
        return _status_of_all(remaining)
    return message("status", {"status": {"exec_info": {"queue_remaining": remaining}}, "sid": sid})


@lru_cache(maxsize=256)
def _status_of_all(remaining: int) -> bytes:
    """Three of them are sent for each prompt, to everybody."""
    return message("status", {"status": {"exec_info": {"queue_remaining": remaining}}})


def binary_message(event: int, payload: bytes) -> bytes:
    """A binary frame: the event as a big-endian 32-bit number, then its payload."""
    return frame_bytes(BINARY, event.to_bytes(4, "big") + payload)


def text_payload(node_id: str, text: str) -> bytes:
    """Payload of a binary text frame (event 3)."""
    name = node_id.encode()
    return len(name).to_bytes(4, "big") + name + text.encode()


MakeMessage = Callable[[str, Mapping[str, Any]], bytes]


class FrameEncoder:
    """Turns events into frames. Keeps, for each prompt, what its last table of progress held, and what its client
    wants to be told with every message about it."""

    def __init__(self) -> None:
        self._told: dict[PromptId, dict[NodeId, tuple[float, float, str]]] = {}
        self._metadata: dict[PromptId, Mapping[str, Any]] = {}

    def learn(self, prompt_id: PromptId, extra_data: Mapping[str, Any]) -> None:
        """What its client wants to be told with every message about a prompt."""
        metadata = extra_data.get(WORKFLOW_METADATA)
        if isinstance(metadata, dict):
            self._metadata[prompt_id] = metadata

    def encode_numbered(self, event: Event) -> list[Frame]:
        """The same as `encode`, ready for sockets that asked for numbers. Whoever has seen the number of an event has
        seen all of its frames."""
        frames = self.encode(event)
        if frames and event.__class__ not in _NOT_LOGGED:
            frames[-1].sequence = event.sequence
        return frames

    def forget(self, prompt_id: PromptId) -> None:
        """Nothing more is told of a prompt."""
        self._told.pop(prompt_id, None)
        self._metadata.pop(prompt_id, None)

    def _message(self, kind: str, data: Mapping[str, Any]) -> bytes:
        """A message about a prompt. What it says itself wins."""
        metadata = self._metadata.get(data["prompt_id"]) if self._metadata else None
        return message(kind, data if metadata is None else {**metadata, **data})

    @staticmethod
    def audience_of(event: Event) -> Audience | None:
        """Who would be sent something of an event; None if nobody is."""
        kind = event.__class__
        if kind is NodeFinished and _is_told_of_no_more(event):  # type: ignore[arg-type]
            return None
        return _AUDIENCES.get(kind)

    def encode(self, event: Event) -> list[Frame]:
        encode = _ENCODERS.get(event.__class__)
        return [] if encode is None else encode(self, event)

    def _node_started(self, event: NodeStarted) -> list[Frame]:
        place = event.place
        return [Frame(self._message("executing", {
            "node": place.node_id, "display_node": place.display_id, "prompt_id": event.prompt_id}), Audience.OWN)]

    def _node_finished(self, event: NodeFinished) -> list[Frame]:
        if _is_told_of_no_more(event):
            return []
        return [_executed(self._message, event.prompt_id, event.place, event.ui)]

    def _node_shown(self, event: NodeShown) -> list[Frame]:
        return [_executed(self._message, event.prompt_id, event.place, event.ui)]

    def _node_progressed(self, event: NodeProgressed) -> list[Frame]:
        return _progress_frames(event, self._message)

    def _progress_tabled(self, event: ProgressTabled) -> list[Frame]:
        return [Frame(self._table(event), Audience.OWN_OR_ALL, ("table", event.prompt_id))]

    def _prompt_queued(self, event: PromptQueued) -> list[Frame]:
        self.learn(event.prompt_id, event.extra_data)
        return [Frame(status_message(event.remaining), Audience.ALL)]

    def _queue_changed(self, event: QueueChanged) -> list[Frame]:
        return [Frame(status_message(event.remaining), Audience.ALL)]

    def _prompt_started(self, event: PromptStarted) -> list[Frame]:
        return [Frame(status_message(event.remaining), Audience.ALL),
                Frame(self._message("execution_start", {"prompt_id": event.prompt_id, "timestamp": event.at}),
                      Audience.OWN)]

    def _nodes_cached(self, event: NodesCached) -> list[Frame]:
        return [Frame(self._message("execution_cached", {
            "nodes": event.nodes, "prompt_id": event.prompt_id, "timestamp": event.at}), Audience.OWN)]

    def _node_blocked(self, event: NodeBlocked) -> list[Frame]:
        return [Frame(self._message("execution_error", {
            "prompt_id": event.prompt_id, "node_id": event.place.node_id, "node_type": event.node_type,
            "executed": event.executed, "exception_message": f"Execution Blocked: {event.message}",
            "exception_type": "ExecutionBlocked", "traceback": [], "current_inputs": [],
            "current_outputs": []}), Audience.OWN_OR_ALL)]

    def _node_said(self, event: NodeSaid) -> list[Frame]:
        return [Frame(binary_message(3, text_payload(event.place.node_id, event.text)), Audience.OWN_OR_ALL)]

    def _node_retried(self, event: NodeRetried) -> list[Frame]:
        said = f"Trying again in {event.seconds:g} s ({event.attempt} of {event.most_attempts}): " \
               f"{event.error.exception_message.strip()[:_LONGEST_REASON]}"
        return [Frame(binary_message(3, text_payload(event.place.node_id, said)), Audience.OWN_OR_ALL)]

    def _node_failed(self, event: NodeFailed) -> list[Frame]:
        return [Frame(self._message("execution_error", failure(event)), Audience.OWN)]

    def _prompt_finished(self, event: PromptFinished) -> list[Frame]:
        frames = _finished_frames(event, self._message)
        self.forget(event.prompt_id)
        return frames

    def _table(self, event: ProgressTabled) -> bytes:
        rows = event.rows
        told = self._told.setdefault(event.prompt_id, {})
        beside = {**self._metadata.get(event.prompt_id, {}), "prompt_id": event.prompt_id}
        payload = dumps({"type": "progress_state", "data": {**beside, "nodes": rows}})
        if len(payload) > LARGEST_TABLE:
            shown = {node_id: row for node_id, row in rows.items()
                     if row.state == "running" or told.get(node_id) != _progress_of(row)}
            payload = dumps({"type": "progress_state", "data": {**beside, "nodes": shown}})
            told.update((node_id, _progress_of(row)) for node_id, row in shown.items())
        elif len(payload) > LARGEST_TABLE // 2:  # the next one may be too large
            told.update((node_id, _progress_of(row)) for node_id, row in rows.items())
        return frame_bytes(TEXT, payload)


_ENCODERS: Mapping[type, Callable[[FrameEncoder, Any], list[Frame]]] = {
    NodeStarted: FrameEncoder._node_started, NodeFinished: FrameEncoder._node_finished,
    NodeShown: FrameEncoder._node_shown, NodeProgressed: FrameEncoder._node_progressed,
    ProgressTabled: FrameEncoder._progress_tabled, PromptQueued: FrameEncoder._prompt_queued,
    QueueChanged: FrameEncoder._queue_changed, PromptStarted: FrameEncoder._prompt_started,
    NodesCached: FrameEncoder._nodes_cached, NodeBlocked: FrameEncoder._node_blocked,
    NodeSaid: FrameEncoder._node_said, NodeRetried: FrameEncoder._node_retried, NodeFailed: FrameEncoder._node_failed,
    PromptFinished: FrameEncoder._prompt_finished}


def _is_told_of_no_more(event: NodeFinished) -> bool:
    """A node that ended without anything to show, or has shown it already."""
    return event.ui_was_shown or (event.ui is None and not (event.is_output and event.from_cache))


def _progress_of(row: ProgressRow) -> tuple[float, float, str]:
    return row.value, row.max, row.state


def _executed(told: MakeMessage, prompt_id: PromptId, place: NodePlace, ui: Mapping[str, Any] | None) -> Frame:
    return Frame(told("executed", {"node": place.node_id, "display_node": place.display_id, "output": ui,
                                   "prompt_id": prompt_id}), Audience.OWN)


def _interrupted(prompt_id: PromptId, place: NodePlace, node_type: str, executed: Sequence[NodeId],
                 at: int) -> dict[str, Any]:
    return {"prompt_id": prompt_id, "node_id": place.real_id, "node_type": node_type, "executed": executed,
            "timestamp": at}


def failure(event: NodeFailed) -> dict[str, Any]:
    """What is told of a node that raised."""
    error = event.error
    return {"prompt_id": event.prompt_id, "node_id": event.place.real_id, "node_type": event.node_type,
            "executed": event.executed, "exception_message": error.exception_message,
            "exception_type": error.exception_type, "traceback": error.traceback,
            "current_inputs": error.current_inputs, "current_outputs": event.known, "timestamp": event.at}


def _finished_frames(event: PromptFinished, told: MakeMessage) -> list[Frame]:
    prompt_id = event.prompt_id
    frames = []
    if event.outcome is Outcome.SUCCEEDED:
        frames.append(Frame(told("execution_success", {"prompt_id": prompt_id, "timestamp": event.at}),
                            Audience.OWN))
    elif event.outcome is Outcome.INTERRUPTED and event.interrupted is not None:
        frames.append(Frame(told("execution_interrupted", _interrupted(
            prompt_id, event.interrupted, event.interrupted_type, event.executed, event.at)), Audience.OWN_OR_ALL))
    frames.append(Frame(status_message(event.remaining), Audience.ALL))
    frames.append(Frame(told("executing", {"node": None, "prompt_id": prompt_id}), Audience.OWN))
    return frames


def _progress_frames(event: NodeProgressed, told: MakeMessage) -> list[Frame]:
    """A tick; a preview with metadata goes before it, one without after it."""
    place, frames = event.place, []
    is_png = event.preview_format == "PNG"
    key = ("preview", event.prompt_id, place.node_id)
    if event.preview is not None:
        metadata = dumps({"node_id": place.node_id, "prompt_id": event.prompt_id, "display_node_id": place.display_id,
                          "parent_node_id": place.parent_id, "real_node_id": place.real_id,
                          "image_type": "image/png" if is_png else "image/jpeg"})
        frames.append(Frame(binary_message(4, len(metadata).to_bytes(4, "big") + metadata + event.preview),
                            Audience.OWN_OR_ALL, key, True))
    if event.registry_only:
        return frames
    data = {"value": event.value, "max": event.maximum, "prompt_id": event.prompt_id, "node": place.node_id}
    frames.append(Frame(told("progress", data), Audience.OWN_OR_ALL,
                        ("progress", event.prompt_id, place.node_id)))
    if event.preview is not None:
        frames.append(Frame(binary_message(1, (2 if is_png else 1).to_bytes(4, "big") + event.preview),
                            Audience.OWN_OR_ALL, key, False))
    return frames


_AUDIENCES: Mapping[type, Audience] = {
    QueueChanged: Audience.ALL, PromptQueued: Audience.ALL, PromptStarted: Audience.ALL,
    PromptFinished: Audience.ALL, NodesCached: Audience.OWN, NodeStarted: Audience.OWN, NodeFinished: Audience.OWN,
    NodeShown: Audience.OWN, NodeFailed: Audience.OWN, NodeProgressed: Audience.OWN_OR_ALL,
    NodeSaid: Audience.OWN_OR_ALL, NodeRetried: Audience.OWN_OR_ALL, ProgressTabled: Audience.OWN_OR_ALL,
    NodeBlocked: Audience.OWN_OR_ALL}
_NOT_LOGGED = frozenset({NodeProgressed, ProgressTabled, NodeSaid})
"""Events that come and go: nobody is told again what they said."""

__all__ = ["Audience", "Frame", "FrameEncoder", "PromptDropped", "decode_json", "decode_object",
           "decode_submission", "dumps", "history_entry", "message", "queue_item", "status_message"]
