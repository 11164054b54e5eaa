"""Which events the log keeps, and how they are written: as JSON, without what the job itself holds."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from .. import events
from ..events import Event, PromptQueued

T = TypeVar("T")

LOGGED: Mapping[str, type[Event]] = {kind.__name__: kind for kind in (
    events.QueueChanged, events.PromptQueued, events.PromptDropped, events.PromptMoved, events.PromptStarted,
    events.PromptRequeued, events.CancelAccepted, events.NodesCached, events.NodeStarted, events.NodeRetried,
    events.NodeShown, events.NodeFinished, events.NodeBlocked, events.NodeFailed, events.PromptFinished)}
"""By the names under which they are kept. Progress comes and goes."""

_KINDS = frozenset(LOGGED.values())


def is_logged(event: Event) -> bool:
    return event.__class__ in _KINDS


def encode_event(event: Event) -> bytes:
    """An event without the prompt, which its job has."""
    if isinstance(event, PromptQueued):
        event = PromptQueued(**{name: getattr(event, name) for name in event.__struct_fields__
                                if name not in ("prompt", "extra_data")}, prompt={}, extra_data={})
    return encode(event)


def decode_event(kind: str, body: bytes) -> Event:
    return decode(body, LOGGED[kind])


def encode(value: Any) -> bytes:
    """JSON. What nodes gave out and is no JSON is written as text: that is better than losing all of it."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, UnicodeEncodeError, RecursionError, OverflowError):
        plain = msgspec.to_builtins(value, enc_hook=str, str_keys=True)
        return json.dumps(plain, default=str, skipkeys=True).encode()


def decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):  # half characters
        return msgspec.convert(json.loads(body), kind)
