"""JSON and frames: what is read, what is refused, what is written."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution import (
    HistoryEntry,
    NodeBlocked,
    NodeError,
    NodeFailed,
    NodeFinished,
    NodePlace,
    NodeProgressed,
    NodesCached,
    NodeStarted,
    Outcome,
    ProgressRow,
    ProgressTabled,
    PromptFinished,
    PromptQueued,
    PromptStarted,
)
from web import wire
from web.bad_request import BadRequest

CLEAN_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | CLEAN_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CLEAN_TEXT, inner, max_size=4),
    max_leaves=20,
)
FOREIGN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from([object(), 1j, {1}, Outcome.FAILED]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=4)
    ),
    max_leaves=20,
)


def strictly(text: bytes) -> Any:
    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def refusal_of(read: Callable[[], Any]) -> BadRequest | None:
    try:
        read()
    except BadRequest as error:
        return error
    return None


def refusal(body: bytes) -> dict[str, Any]:
    with pytest.raises(BadRequest) as caught:
        wire.decode_json(body)
    assert caught.value.status == 400
    return dict(caught.value.error)


# -- in ------------------------------------------------------------------------------------------------------


@given(JSON, st.sampled_from([None, 1]), st.booleans(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_json_is_read(value: Any, indent: int | None, ascii_only: bool, encoding: str) -> None:
    assert wire.decode_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode(encoding)) == value


@given(st.binary())
def test_bytes_are_json_or_refused(body: bytes) -> None:
    error = refusal_of(lambda: wire.decode_json(body))
    if error is not None:
        assert (error.status, error.error["type"]) == (400, "invalid_json")
        assert len(error.error["message"]) < 200
        assert len(error.error["details"]) <= 200


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
)
def test_half_characters_are_replaced(value: Any) -> None:
    read = wire.decode_json(json.dumps(value).encode())
    json.dumps(read, ensure_ascii=False).encode()  # nothing is left that cannot be encoded
    whole = json.dumps(value, ensure_ascii=False).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert read == json.loads(whole)


def test_half_a_character_in_bytes_is_replaced_too() -> None:
    assert wire.decode_json(b'"\xed\xa0\x80"') == "\ufffd"


@pytest.mark.parametrize(
    "body",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'{"a": [NaN]}',
        b"1e999",
        b"-1e999",
        b'{"a": 1e400}',
        b"9" * 5000,
        b"1" * 4301 + b".0",
        b'["\\ud800", NaN]',
        b'["\\ud800", 1e999]',
        b'["\\ud800", Infinity]',
        b"nan",
        b"inf",
    ],
)
def test_what_is_no_number_is_refused(body: bytes) -> None:
    assert refusal(body)["type"] == "invalid_json"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"[1,]",
        b'{"a":1,}',
        b"{a:1}",
        b"'x'",
        b"\xff",
        b'"\xff"',
        b"\x00",
        b'"\x00"',
        b'"\\u12"',
        b'"\\x"',
        b"tru",
        b"None",
        b"1 2",
        b"{} {}",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x1",
        b"--1",
        b"\xef\xbb\xbf",
        b"//",
        b"[" * 1_000_000,
        b'{"a":' * 300_000,
        b'"' + b"a" * 100_000,
        b"[" * 100 + b"\xff",
    ],
)
def test_what_is_no_json_is_refused_in_a_sentence(body: bytes) -> None:
    error = refusal(body)
    assert error["type"] == "invalid_json"
    assert error["message"].startswith("The body ")
    assert len(json.dumps(error)) < 1000


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
@pytest.mark.parametrize("inner", [b"1", b'"\\ud800"'])
def test_depth_has_an_end(opening: bytes, closing: bytes, inner: bytes) -> None:
    levels = opening.count(b"[") + opening.count(b"{")
    fits = 190 // levels
    value = wire.decode_json(opening * fits + inner + closing * fits)
    wire.dumps([[value]])
    for times in (210 // levels, 5000, 100_000):
        error = refusal(opening * times + inner + closing * times)
        assert error["message"] == "The body is nested too deeply."


def test_wide_is_not_deep() -> None:
    assert len(wire.decode_json(b"[" + b"[]," * 50_000 + b"[]]")) == 50_001


def test_the_last_of_two_equal_keys_counts_whoever_reads() -> None:
    assert wire.decode_json(b'{"a": 1, "a": 2}') == {"a": 2}
    assert wire.decode_json(b'{"a": 1, "a": 2, "b": "\\ud800"}') == {"a": 2, "b": "\ufffd"}


@given(
    st.dictionaries(
        st.sampled_from(
            ["prompt", "client_id", "prompt_id", "number", "front", "extra_data", "partial_execution_targets", "other"]
        ),
        JSON,
    )
)
def test_a_submission_is_read_or_refused(body: dict[str, Any]) -> None:
    sent = json.dumps(body).encode()
    if (error := refusal_of(lambda: wire.decode_submission(sent, 5))) is not None:
        assert error.status == 400
        return
    read = wire.decode_submission(sent, 5)
    assert read.prompt == body["prompt"]
    assert read.extra_data["create_time"] == 5
    assert read.number is None or math.isfinite(read.number)
    assert not set(read.extra_data) & set(wire._SECRET_NAMES)
    assert (read.content_key is None) is (body.get("prompt_id") is None)


@given(JSON, JSON)
def test_equal_bodies_have_equal_keys(one: Any, other: Any) -> None:
    def key(prompt: Any, **fields: Any) -> str | None:
        return wire.decode_submission(
            json.dumps({"prompt": prompt, "prompt_id": "x", **fields}).encode(), 0
        ).content_key

    assert key(one) != key(one, number=5)
    assert key(one) != key(one, front=True)
    assert (key(one) == key(other)) is (wire.dumps(one) == wire.dumps(other))
    assert key(one) != key(one, client_id="x")


def test_secrets_leave_extra_data() -> None:
    body = {"prompt": {}, "extra_data": {"auth_token_comfy_org": "a", "api_key_studio_org": "b", "keep": 1}}
    read = wire.decode_submission(json.dumps(body).encode(), 0, "source")
    assert read.secrets == {"auth_token_comfy_org": "a", "api_key_comfy_org": "b"}
    assert read.extra_data == {"keep": 1, "comfy_usage_source": "source", "create_time": 0}


# -- out -----------------------------------------------------------------------------------------------------


@given(FOREIGN)
def test_whatever_comes_strict_json_goes_out(value: Any) -> None:
    strictly(wire.dumps(value))


@given(JSON)
def test_what_is_json_goes_out_as_it_is(value: Any) -> None:
    assert strictly(wire.dumps(value)) == value


def test_no_number_is_null_and_half_a_character_survives() -> None:
    assert wire.dumps([math.nan, math.inf, 10**30]) == b"[null,null," + b"1" + b"0" * 30 + b"]"
    assert strictly(wire.dumps({"\ud800": [math.nan, "\ud800"]})) == {"\ud800": [None, "\ud800"]}


PLACE = NodePlace("n", "d", None, "r")


def test_a_table_with_a_name_that_cannot_be_encoded_is_still_a_table() -> None:
    place = NodePlace("\ud800", "d", None, "r")
    row = ProgressRow(
        value=1,
        max=2,
        state="running",
        node_id="\ud800",
        prompt_id="p",
        display_node_id="d",
        parent_node_id=None,
        real_node_id="r",
    )
    (frame,) = wire.FrameEncoder().encode(ProgressTabled(prompt_id="p", rows={place.node_id: row}))
    table = json.loads(payload_of(frame.data)[1])["data"]["nodes"]
    assert table["\ud800"]["state"] == "running"


def payload_of(frame: bytes) -> tuple[int, bytes]:
    """Opcode and payload of exactly one unmasked frame, read by RFC 6455."""
    assert frame[0] & 0xF0 == 0x80  # final, no extension
    length, start = frame[1], 2
    if length == 126:
        (length,), start = struct.unpack(">H", frame[2:4]), 4
        assert length > 125
    elif length == 127:
        (length,), start = struct.unpack(">Q", frame[2:10]), 10
        assert length > 65535
    assert len(frame) == start + length
    return frame[0] & 0x0F, frame[start:]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_frames_of_any_length(length: int) -> None:
    for opcode in (wire.TEXT, wire.BINARY):
        assert payload_of(wire.frame_bytes(opcode, b"x" * length)) == (opcode & 0x0F, b"x" * length)


def frames(event: Any) -> list[tuple[str, Any, wire.Audience]]:
    return frames_of(wire.FrameEncoder(), event)


def frames_of(encoder: wire.FrameEncoder, event: Any) -> list[tuple[str, Any, wire.Audience]]:
    shown = []
    for frame in encoder.encode(event):
        opcode, payload = payload_of(frame.data)
        assert opcode == 1
        said = strictly(payload)
        assert set(said) == {"type", "data"}
        shown.append((said["type"], said["data"], frame.audience))
    return shown


STATUS = {"status": {"exec_info": {"queue_remaining": 3}}}
OWN, OWN_OR_ALL, ALL = wire.Audience.OWN, wire.Audience.OWN_OR_ALL, wire.Audience.ALL
ERROR = NodeError(
    exception_type="ValueError", exception_message="no\n", traceback=["t"], current_inputs={"a": [math.nan]}
)
FRAMES: list[tuple[Any, list[tuple[str, Any, wire.Audience]]]] = [
    (
        PromptQueued(prompt_id="p", client_id=None, number=1, prompt={}, extra_data={}, outputs=[], remaining=3),
        [("status", STATUS, ALL)],
    ),
    (
        PromptStarted(prompt_id="p", remaining=3),
        [("status", STATUS, ALL), ("execution_start", {"prompt_id": "p", "timestamp": 0}, OWN)],
    ),
    (
        NodesCached(prompt_id="p", nodes=["n"]),
        [("execution_cached", {"nodes": ["n"], "prompt_id": "p", "timestamp": 0}, OWN)],
    ),
    (
        NodeStarted(prompt_id="p", place=PLACE),
        [("executing", {"node": "n", "display_node": "d", "prompt_id": "p"}, OWN)],
    ),
    (
        NodeFinished(prompt_id="p", place=PLACE, ui={"x": [1]}, is_output=True),
        [("executed", {"node": "n", "display_node": "d", "output": {"x": [1]}, "prompt_id": "p"}, OWN)],
    ),
    (NodeFinished(prompt_id="p", place=PLACE, ui=None, is_output=False), []),
    (
        NodeFinished(prompt_id="p", place=PLACE, ui=None, is_output=True, from_cache=True),
        [("executed", {"node": "n", "display_node": "d", "output": None, "prompt_id": "p"}, OWN)],
    ),
    (
        NodeProgressed(prompt_id="p", place=PLACE, value=1, maximum=2),
        [("progress", {"value": 1, "max": 2, "prompt_id": "p", "node": "n"}, OWN_OR_ALL)],
    ),
    (
        NodeFailed(prompt_id="p", place=PLACE, node_type="T", error=ERROR, executed=["a"], known=["a", "n"]),
        [
            (
                "execution_error",
                {
                    "prompt_id": "p",
                    "node_id": "r",
                    "node_type": "T",
                    "executed": ["a"],
                    "exception_message": "no\n",
                    "exception_type": "ValueError",
                    "traceback": ["t"],
                    "current_inputs": {"a": [None]},
                    "current_outputs": ["a", "n"],
                    "timestamp": 0,
                },
                OWN,
            )
        ],
    ),
    (
        PromptFinished(prompt_id="p", outcome=Outcome.SUCCEEDED, remaining=3),
        [
            ("execution_success", {"prompt_id": "p", "timestamp": 0}, OWN),
            ("status", STATUS, ALL),
            ("executing", {"node": None, "prompt_id": "p"}, OWN),
        ],
    ),
    (
        PromptFinished(prompt_id="p", outcome=Outcome.FAILED, remaining=3),
        [("status", STATUS, ALL), ("executing", {"node": None, "prompt_id": "p"}, OWN)],
    ),
    (
        PromptFinished(
            prompt_id="p",
            outcome=Outcome.INTERRUPTED,
            remaining=3,
            interrupted=PLACE,
            interrupted_type="T",
            executed=["a"],
        ),
        [
            (
                "execution_interrupted",
                {"prompt_id": "p", "node_id": "r", "node_type": "T", "executed": ["a"], "timestamp": 0},
                OWN_OR_ALL,
            ),
            ("status", STATUS, ALL),
            ("executing", {"node": None, "prompt_id": "p"}, OWN),
        ],
    ),
]


@pytest.mark.parametrize(("event", "expected"), FRAMES, ids=lambda one: type(one).__name__)
def test_what_an_event_says_and_to_whom(event: Any, expected: Any) -> None:
    assert frames(event) == expected
    audience = wire.FrameEncoder.audience_of(event)
    assert audience is not None or not expected
    if expected:  # nobody that a frame is for is left out of the question whether to encode at all
        assert not any(one[2] is ALL for one in expected) or audience is ALL


def test_a_blocked_node_is_told_as_an_error() -> None:
    ((kind, data, audience),) = frames(
        NodeBlocked(prompt_id="p", place=PLACE, node_type="T", message="stop", executed=[])
    )
    assert (kind, audience, data["exception_message"]) == ("execution_error", OWN_OR_ALL, "Execution Blocked: stop")


@pytest.mark.parametrize(("kind", "number", "mime"), [("JPEG", 1, "image/jpeg"), ("PNG", 2, "image/png")])
def test_previews_with_and_without_metadata(kind: str, number: int, mime: str) -> None:
    event = NodeProgressed(prompt_id="p", place=PLACE, value=1, maximum=2, preview=b"bytes", preview_format=kind)
    with_metadata, tick, plain = wire.FrameEncoder().encode(event)
    assert json.loads(payload_of(tick.data)[1])["type"] == "progress"
    assert (with_metadata.wants_metadata, plain.wants_metadata) == (True, False)
    opcode, payload = payload_of(plain.data)
    assert (opcode, payload) == (2, struct.pack(">II", 1, number) + b"bytes")
    opcode, payload = payload_of(with_metadata.data)
    event_type, length = struct.unpack(">II", payload[:8])
    assert (opcode, event_type, payload[8 + length :]) == (2, 4, b"bytes")
    assert strictly(payload[8 : 8 + length]) == {
        "node_id": "n",
        "prompt_id": "p",
        "display_node_id": "d",
        "parent_node_id": None,
        "real_node_id": "r",
        "image_type": mime,
    }
    event = NodeProgressed(
        prompt_id="p", place=PLACE, value=1, maximum=2, preview=b"bytes", preview_format=kind, registry_only=True
    )
    assert [frame.wants_metadata for frame in wire.FrameEncoder().encode(event)] == [True]


def test_text_frames_count_bytes_not_characters() -> None:
    assert wire.text_payload("ñ", "héllo") == struct.pack(">I", 2) + "ñhéllo".encode()


def test_a_table_says_eight_things_of_a_node() -> None:
    row = ProgressRow(value=0.5, max=1, state="running", node_id="n", prompt_id="p", display_node_id="d",
                      parent_node_id=None, real_node_id="r")
    ((kind, data, audience),) = frames(ProgressTabled(prompt_id="p", rows={"n": row}))
    assert (kind, audience) == ("progress_state", OWN_OR_ALL)
    assert data == {"prompt_id": "p", "nodes": {"n": {
        "value": 0.5, "max": 1, "state": "running", "node_id": "n", "prompt_id": "p", "display_node_id": "d",
        "parent_node_id": None, "real_node_id": "r"}}}


# -- what a client wants to be told again --------------------------------------------------------------------


def queued_with(**extra_data: Any) -> PromptQueued:
    return PromptQueued(prompt_id="p", client_id="me", number=1, prompt={}, extra_data=extra_data, outputs=[],
                        remaining=1)


def test_metadata_of_a_workflow_is_told_with_every_message_of_its_prompt() -> None:
    encoder = wire.FrameEncoder()
    encoder.encode(queued_with(workflow_metadata={"tab": 3, "prompt_id": "other", "node": "other"}))
    row = ProgressRow(value=0, max=1, state="running", node_id="n", prompt_id="p", display_node_id="d",
                      parent_node_id=None, real_node_id="r")
    about_the_prompt = [PromptStarted(prompt_id="p", remaining=1), NodesCached(prompt_id="p", nodes=[]),
                        NodeStarted(prompt_id="p", place=PLACE), ProgressTabled(prompt_id="p", rows={"n": row}),
                        NodeProgressed(prompt_id="p", place=PLACE, value=1, maximum=2),
                        NodeFinished(prompt_id="p", place=PLACE, ui={"a": [1]}, is_output=True),
                        NodeBlocked(prompt_id="p", place=PLACE, node_type="T", message="stop", executed=[]),
                        NodeFailed(prompt_id="p", place=PLACE, node_type="T", error=ERROR, executed=[], known=[]),
                        PromptFinished(prompt_id="p", outcome=Outcome.SUCCEEDED, remaining=0)]
    for event in about_the_prompt:
        for frame in encoder.encode(event):
            said = strictly(payload_of(frame.data)[1])
            if said["type"] == "status":
                assert "tab" not in said["data"]
            else:
                assert (said["data"]["tab"], said["data"]["prompt_id"]) == (3, "p"), said
                assert said["data"].get("node") in (None, "n") or said["type"] not in ("executing", "executed")
    ((_, data, _),) = frames_of(encoder, NodeStarted(prompt_id="p", place=PLACE))
    assert "tab" not in data, "it ends with its prompt"


@pytest.mark.parametrize("metadata", [None, 5, "text", [1], {}, {"a": "x" * 250}])
def test_metadata_that_is_none_or_too_long_is_passed_over(metadata: Any) -> None:
    body = json.dumps({"prompt": {}, "workflow_metadata": metadata, "extra_data": {"workflow_metadata": {"b": 1}}})
    assert "workflow_metadata" not in wire.decode_submission(body.encode(), 1).extra_data


def test_metadata_of_a_workflow_is_kept_with_its_prompt() -> None:
    metadata = {"a": "x" * 247}
    assert len(json.dumps(metadata)) == wire.LONGEST_WORKFLOW_METADATA
    body = json.dumps({"prompt": {}, "workflow_metadata": metadata})
    assert wire.decode_submission(body.encode(), 1).extra_data == {"create_time": 1, "workflow_metadata": metadata}


def test_metadata_that_somebody_else_queued_is_told_only_if_it_is_an_object() -> None:
    encoder = wire.FrameEncoder()
    encoder.encode(queued_with(workflow_metadata=["a"]))
    ((_, data, _),) = frames_of(encoder, NodesCached(prompt_id="p", nodes=[]))
    assert set(data) == {"nodes", "prompt_id", "timestamp"}


def test_a_large_table_holds_what_runs_and_what_changed() -> None:
    def row(index: int, state: str) -> ProgressRow:
        return ProgressRow(
            value=0,
            max=1,
            state=state,
            node_id=f"{index}",
            prompt_id="p" * 30,
            display_node_id=f"{index}",
            parent_node_id=None,
            real_node_id=f"{index}",
        )

    encoder = wire.FrameEncoder()
    rows = {f"{index}": row(index, "finished") for index in range(4000)}

    def told() -> set[str]:
        (frame,) = encoder.encode(ProgressTabled(prompt_id="p", rows=rows))
        return set(json.loads(payload_of(frame.data)[1])["data"]["nodes"])

    assert told() == set(rows)
    rows["5"], rows["new"] = row(5, "running"), row(9999, "finished")
    assert told() == {"5", "new"}
    assert told() == {"5"}


def test_a_prompt_that_never_started_has_a_history() -> None:
    entry = HistoryEntry(
        prompt_id="p",
        client_id=None,
        number=1,
        prompt={},
        extra_data={},
        outputs_wanted=["n"],
        queued_at=1,
        outcome=Outcome.FAILED,
    )
    assert wire.history_entry(entry) == {
        "prompt": [1, "p", {}, {}, ["n"]],
        "outputs": {},
        "status": {"status_str": "error", "completed": False, "messages": []},
        "meta": {},
    }
