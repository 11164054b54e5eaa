"""Which events the log keeps, and how they are written: as JSON, without what the job itself holds."""

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from .. import events
from ..events import Event, PromptQueued

T = TypeVar("T")

_DEEPEST = 200
"""Levels of what is no JSON."""
_MOST_BITS = 10_000
"""Of a whole number: longer ones are not turned into digits."""

LOGGED: Mapping[str, type[Event]] = {kind.__name__: kind for kind in (
    events.QueueChanged, events.PromptQueued, events.PromptDropped, events.PromptMoved, events.PromptStarted,
    events.PromptRequeued, events.CancelAccepted, events.NodesCached, events.NodeStarted, events.NodeRetried,
    events.NodeShown, events.NodeFinished, events.NodeBlocked, events.NodeFailed, events.PromptFinished)}
"""By the names under which they are kept. Progress comes and goes."""

KINDS_LOGGED: Mapping[type[Event], str] = {kind: name for name, kind in LOGGED.items()}
"""The same, the other way round."""

_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """An event without the prompt, which its job has."""
    if event.__class__ is PromptQueued:
        event = PromptQueued(**{name: getattr(event, name) for name in event.__struct_fields__
                                if name not in ("prompt", "extra_data")}, prompt={}, extra_data={})
    return encode(event)


def decode_event(kind: str, body: bytes) -> Event:
    return decode(body, LOGGED[kind])


def encode(value: Any) -> bytes:
    """JSON. What nodes gave out and is no JSON is written as text: that is better than losing all of it."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, UnicodeEncodeError, RecursionError, OverflowError):
        return json.dumps(_plain(value, ())).encode()


def _plain(value: Any, around: tuple[int, ...]) -> Any:
    """The same in what JSON has. A name that is no text becomes one; what goes on without end is cut off."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if value.bit_length() < _MOST_BITS else hex(value)
    if id(value) in around or len(around) > _DEEPEST:
        return None
    inside = (*around, id(value))
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name), inside) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {_name(name): _plain(one, inside) for name, one in list(value.items())}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one, inside) for one in list(value)]
    return _text(value)


def _name(name: Any) -> str:
    """As `json.dumps` names None, True and numbers."""
    if isinstance(name, str):
        return name
    known = isinstance(name, (bool, float)) or name is None
    return json.dumps(name) if known else _text(name)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # code of others
        return f"<{type(value).__name__}>"


def decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):  # half characters
        return msgspec.convert(json.loads(body), kind)
