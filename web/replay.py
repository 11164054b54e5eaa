"""What a socket missed: told again from the log, then one snapshot of how things are, then what happens from now on.

Only a client that asks gets any of it: `since=` a number that it has seen, or `since=now` to be told numbers from now
on. Others are told the ends that they missed in the messages that they know (`websocket.py`).
"""

import logging
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from execution import ClientId, Engine, LoggedEvent, NodeFailed, NodeId, PromptFinished, PromptId, PromptQueued

from . import wire
from .bad_request import BadRequest
from .wire import Audience, Frame, FrameEncoder

if TYPE_CHECKING:
    from .websocket import ClientConnection

log = logging.getLogger("studio.web")

NOW = -1
"""A client that has seen nothing yet, and wants to be told numbers."""
EVENTS_AT_ONCE = 500
RECENT_MS = 10_000
"""Ends that are this much older than the last event of a process were certainly told."""
_LARGEST = 2**63 - 1


def since_of(text: str | None) -> int | None:
    """What a client says that it has seen; None if it does not ask.

    :raises BadRequest: it is neither a number nor `now`.
    """
    if text is None:
        return None
    if text == "now":
        return NOW
    if text.isascii() and text.isdigit() and int(text) <= _LARGEST:
        return int(text)
    raise BadRequest("invalid_since", "since must be `now`, or the number of an event that was told.", text[:100])


async def catch_up(connection: "ClientConnection", engine: Engine, since: int, up_to: int,
                   snapshot: Sequence[Frame]) -> None:
    """Tell a socket what it missed, and release it.

    :param up_to: the last event that was told when the socket began to hold back.
    :param snapshot: how things were then.
    """
    try:
        if since != NOW and not await _tell_what_was_missed(connection, engine, since, up_to):
            return
        for frame in snapshot:
            connection.put_frame_now(frame)
    except Exception:
        log.exception("client %s cannot be told what it missed", connection.client_id)
    finally:
        connection.release()


async def _tell_what_was_missed(connection: "ClientConnection", engine: Engine, since: int, up_to: int) -> bool:
    """Whether the socket is still open afterwards."""
    gap = await gap_of(engine, since, up_to)
    if gap is not None:
        connection.put(gap)
        return True
    encoder = FrameEncoder()
    async for logged in events_between(engine, since, up_to):
        if not _concerns(logged, connection.client_id):
            continue
        for frame in await frames_of(logged, encoder, engine):
            if _is_for(frame, logged.client_id, connection.client_id):
                connection.put(frame.numbered())
        if not await connection.has_room():
            return False
    return True


async def ends_before_the_start(engine: Engine) -> dict[ClientId, list[bytes]]:
    """Ends of prompts just before the process before this one ended, by client: perhaps they were on record and not
    told any more, and who waits for them cannot ask."""
    last = engine.last_before
    ends: dict[ClientId, list[tuple[int, bytes]]] = {}
    encoder, latest = FrameEncoder(), 0
    async for logged in events_between(engine, max(0, last - EVENTS_AT_ONCE), last):
        latest = max(latest, logged.event.at)
        if logged.client_id is not None and isinstance(logged.event, (NodeFailed, PromptFinished)):
            ends.setdefault(logged.client_id, []).extend(
                (logged.event.at, frame.data) for frame in encoder.encode(logged.event)
                if frame.audience is not Audience.ALL)
    return {client_id: kept for client_id, frames in ends.items()
            if (kept := [frame for at, frame in frames if at >= latest - RECENT_MS])}


async def gap_of(engine: Engine, since: int, up_to: int) -> bytes | None:
    """What is told of events that cannot be told again; None if there are none."""
    reason = ""
    if since > up_to:
        reason = "too_new"
    elif not engine.history.is_durable:
        reason = "no_log"
    elif since + 1 < await engine.history.oldest_event():
        reason = "too_old"
    return wire.message("replay_gap", {"since": since, "last": up_to, "reason": reason}) if reason else None


async def events_between(engine: Engine, since: int, up_to: int,
                         prompt_id: PromptId | None = None) -> AsyncIterator[LoggedEvent]:
    """Events of the log behind one number, up to another one; of one prompt, or of all."""
    while since < up_to:
        page = await engine.history.events_since(since, EVENTS_AT_ONCE, prompt_id)
        for logged in page:
            if logged.event.sequence > up_to:
                return
            yield logged
        if len(page) < EVENTS_AT_ONCE:
            return
        since = page[-1].event.sequence


async def frames_of(logged: LoggedEvent, encoder: FrameEncoder, engine: Engine) -> list[Frame]:
    """The frames of an event of the log, as they were when it happened."""
    event: Any = logged.event
    if isinstance(event, PromptQueued):  # the log does not hold what the prompt brought along
        job = await engine.history.job(event.prompt_id)
        if job is not None:
            encoder.learn(event.prompt_id, job.extra_data)
    return encoder.encode_numbered(event)


def _concerns(logged: LoggedEvent, client_id: ClientId) -> bool:
    audience = FrameEncoder.audience_of(logged.event)
    return audience is Audience.ALL or (audience is not None and logged.client_id == client_id) \
        or (audience is Audience.OWN_OR_ALL and logged.client_id is None)


def _is_for(frame: Frame, owner: ClientId | None, client_id: ClientId) -> bool:
    return frame.audience is Audience.ALL or owner == client_id \
        or (frame.audience is Audience.OWN_OR_ALL and owner is None)


def snapshot_frames(engine: Engine, client_id: ClientId) -> list[Frame]:
    """How things are now: the queue, what of the client's runs, how far it is, and the last previews, with metadata."""
    queue = engine.snapshot()
    own = [entry.prompt_id for entry in queue.running if entry.extra_data.get("client_id") == client_id]
    prompts = {prompt_id: {"running_nodes": _running_nodes(engine, prompt_id), "nodes": engine.progress_of(prompt_id)}
               for prompt_id in own}
    said = wire.message("snapshot", {
        "queue": {"running": [entry.prompt_id for entry in queue.running],
                  "pending": [entry.prompt_id for entry in queue.pending], "is_paused": engine.is_paused},
        "exec_info": {"queue_remaining": engine.remaining}, "prompts": prompts})
    encoder = FrameEncoder()
    frames = [Frame(said, Audience.OWN, sequence=engine.last_told)]
    for prompt_id in own:
        for event in engine.previews_of(prompt_id):
            frames += [frame for frame in encoder.encode(event) if frame.wants_metadata is not False]
    return frames


def _running_nodes(engine: Engine, prompt_id: PromptId) -> list[NodeId]:
    return [node_id for node_id, row in engine.progress_of(prompt_id).items() if row.state == "running"]
