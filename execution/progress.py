"""What nodes tell of themselves while they run: `ProgressBar`, previews, and the tables of progress of a prompt.

It comes from any thread under the id of a call, hops to the loop, and is dropped once that call has ended. A node's
ticks go out at most 20 times a second, the last one always, before the end of the node is told.
"""

import asyncio
import copy
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .clock import Clock
from .events import (
    Event,
    NodeFailed,
    NodeFinished,
    NodePlace,
    NodeProgressed,
    NodeSaid,
    NodeStarted,
    Outcome,
    ProgressRow,
    ProgressTabled,
    PromptFinished,
)
from .identifiers import CallId, NodeId, PromptId
from .node_context import CurrentNodeContext, InterruptProcessing, NodeCall, find_call, get_current_node
from .node_lanes import LoopMailbox, ThreadLane

log = logging.getLogger("studio.progress")

INTERVAL = 0.05
"""Seconds between two ticks of a node, and between two tables of a prompt."""

Preview = tuple[str, Any, int | None]
"""(`JPEG` or `PNG`, a picture, the largest side in pixels or None)."""

EncodePreview = Callable[[Preview], tuple[str, bytes]]
"""Makes (format, bytes) of a preview. Runs on a thread."""


class ProgressBar:
    """Shows how far a node is. Works from any thread or task of the node; each update is also a point where a
    cancelled node stops.

    :param total: the value at which the node is done, in whatever unit.
    :param node_id: the node; by default the one being called.
    """

    def __init__(self, total: float, node_id: str | None = None) -> None:
        self.total = total
        self.current: float = 0
        context = get_current_node()
        self.node_id = node_id if node_id is not None else context.unique_id if context is not None else None
        self._call = find_call(node_id)
        self._is_own = self._names_node_of(self._call)

    def update(self, value: float) -> None:
        """Go on by `value`.

        :raises InterruptProcessing: the prompt was cancelled.
        """
        self.update_absolute(self.current + value)

    def update_absolute(self, value: float, total: float | None = None, preview: Preview | None = None) -> None:
        """Go to `value`, which is limited to the total.

        :param preview: a picture of work in progress: (`JPEG` or `PNG`, PIL image, largest side or None).
        :raises InterruptProcessing: the prompt was cancelled.
        """
        if total is not None:
            self.total = total
        self.current = min(value, self.total)
        call = self._call
        if call is None:
            call = self._call = find_call(self.node_id)
            if call is None:
                return
            self._is_own = self._names_node_of(call)
        if call.is_cancelled:
            raise InterruptProcessing
        # Asked anew each time: a shared call may have passed to another prompt, where its node has another id.
        node_id = call.node_id if self._is_own else NodeId(self.node_id or "")
        call.desk.report(call, node_id, self.current, self.total, preview, False)

    def _names_node_of(self, call: NodeCall | None) -> bool:
        return self.node_id is None or (call is not None and call.node_id == self.node_id)


def report_progress(value: float, maximum: float, node_id: str | None = None, preview: Preview | None = None) -> None:
    """Tell progress without a bar: it is in tables and previews alone, and stops nobody.

    :raises ValueError: called outside of a node, without naming one.
    """
    context = get_current_node()
    if node_id is None and context is None:
        raise ValueError("no node is being called here: name one")
    call = find_call(node_id)
    if call is not None:
        call.desk.report(call, NodeId(node_id or call.node_id), value, maximum, preview, True)


def report_text(text: str, node_id: str | None = None) -> None:
    """Show a line of text on a node while it runs. Every text is told, in order.

    :raises ValueError: called outside of a node, without naming one.
    """
    context = get_current_node()
    if node_id is None and context is None:
        raise ValueError("no node is being called here: name one")
    call = find_call(node_id)
    if call is not None:
        call.desk.say(call, NodeId(node_id or call.node_id), text)


class _Track:
    """What one node of a call reported last, and when it was passed on."""

    __slots__ = ("call", "is_dirty", "is_encoding", "is_own", "is_posted", "maximum", "node_id", "preview",
                 "registry_only", "sent_at", "timer", "value")

    def __init__(self, call: NodeCall, node_id: NodeId) -> None:
        self.call = call
        self.node_id = node_id
        self.is_own = node_id == call.node_id
        """It is the node that is being called, whose id changes when a shared call passes to another prompt."""
        self.value: float = 0
        self.maximum: float = 1
        self.preview: Preview | None = None
        self.registry_only = False
        self.is_posted = False
        self.is_encoding = False
        self.is_dirty = False
        self.sent_at = -1e9
        self.timer: asyncio.TimerHandle | None = None


class ProgressDesk:
    """Takes what nodes report, and passes it on as events.

    :param publish: takes events, on the loop.
    :param place_of: where a node of a prompt stands; None if it is not of that prompt.
    :param encode: makes bytes of previews; without it there are none.
    """

    def __init__(self, clock: Clock, publish: Callable[[Event], None],
                 place_of: Callable[[PromptId, NodeId], NodePlace | None], encode: EncodePreview | None) -> None:
        self._clock = clock
        self._publish = publish
        self._place_of = place_of
        self._encode = encode
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._mailbox: LoopMailbox | None = None
        self._lane = ThreadLane("previews", 1)
        self._tracks: dict[CallId, dict[NodeId, _Track]] = {}
        self._encoding: dict[CallId, int] = {}
        self._continuations: dict[CallId, Callable[[], None]] = {}

    def use(self, mailbox: LoopMailbox) -> None:
        """The way from threads to the loop; the same that calls end on, so that nothing overtakes its end."""
        self._mailbox = mailbox

    def report(self, call: NodeCall, node_id: NodeId, value: float, maximum: float, preview: Preview | None,
               registry_only: bool) -> None:
        """From any thread. Reports that come faster than they are passed on replace each other."""
        if call.has_ended:
            return
        tracks = self._tracks.get(call.call_id)
        if tracks is None:
            tracks = self._tracks.setdefault(call.call_id, {})
        track = tracks.get(node_id)
        if track is None:
            track = tracks.setdefault(node_id, _Track(call, node_id))
        track.value, track.maximum, track.registry_only = value, maximum, registry_only
        if preview is not None:
            track.preview = preview
        track.is_dirty = call.has_reported = True
        call.heard_at = self._clock.monotonic()
        if not track.is_posted:
            track.is_posted = True
            if threading.get_ident() == self._loop_thread:
                self._take(track)
            elif self._mailbox is not None:
                self._mailbox.post(self._take, track)

    def say(self, call: NodeCall, node_id: NodeId, text: str) -> None:
        """From any thread. Nothing replaces a text."""
        is_own = node_id == call.node_id
        call.heard_at = self._clock.monotonic()
        if threading.get_ident() == self._loop_thread:
            self._say((call, node_id, is_own, text))
        elif self._mailbox is not None:
            self._mailbox.post(self._say, (call, node_id, is_own, text))

    def _say(self, letter: tuple[NodeCall, NodeId, bool, str]) -> None:
        call, node_id, is_own, text = letter
        if call.has_ended or call.is_cancelled:
            return
        place = self._place_of(call.prompt_id, call.node_id if is_own else node_id)
        if place is not None:
            self._publish(NodeSaid(prompt_id=call.prompt_id, place=place, text=text))

    def settle(self, call: NodeCall, go_on: Callable[[], None], waits: bool = True) -> None:
        """A call has ended: pass on what it reported last, then go on.

        :param waits: False drops what it reported, since going on cannot wait for a picture.
        """
        tracks = self._tracks.get(call.call_id)
        if tracks is not None:
            for track in list(tracks.values()):
                if track.timer is not None:
                    track.timer.cancel()
                if waits and track.is_dirty and not track.is_encoding and not call.is_cancelled:
                    self._send(track)
            del self._tracks[call.call_id]
            if waits and call.call_id in self._encoding:
                self._continuations[call.call_id] = go_on
                return
        go_on()

    def close(self) -> None:
        """Pictures that are still being made are not waited for: the ends behind them are told now."""
        while self._continuations:
            self._continuations.popitem()[1]()
        self._lane.close()

    def _take(self, track: _Track) -> None:
        track.is_posted = False
        if track.call.has_ended:
            self._tracks.pop(track.call.call_id, None)  # it reported while its end was told
            return
        if track.call.call_id not in self._tracks or not track.is_dirty or track.timer is not None \
                or track.is_encoding or track.call.is_cancelled:
            return
        wait = track.sent_at + INTERVAL - self._clock.monotonic()
        if wait <= 0:
            self._send(track)
        else:
            track.is_posted = True  # the timer will look
            track.timer = self._loop.call_later(wait, self._timer_due, track)

    def _timer_due(self, track: _Track) -> None:
        track.timer = None
        self._take(track)

    def _send(self, track: _Track) -> None:
        track.is_dirty = False
        track.sent_at = self._clock.monotonic()
        call = track.call
        place = self._place_of(call.prompt_id, call.node_id if track.is_own else track.node_id)
        if place is None:
            return
        event = NodeProgressed(prompt_id=call.prompt_id, place=place, value=track.value, maximum=track.maximum,
                               registry_only=track.registry_only)
        if track.preview is None or self._encode is None:
            self._publish(event)
            return
        preview, track.preview = track.preview, None
        track.is_encoding = True
        self._encoding[call.call_id] = self._encoding.get(call.call_id, 0) + 1
        encode, mailbox = self._encode, self._mailbox
        assert mailbox is not None

        def job() -> None:
            try:
                event.preview_format, event.preview = encode(preview)
            except Exception:
                log.exception("a preview of node %s cannot be encoded", track.node_id)
            mailbox.post(self._encoded, (track, event))

        self._lane.submit(job)

    def _encoded(self, letter: tuple[_Track, NodeProgressed]) -> None:
        track, event = letter
        call = track.call
        end_was_told = call.has_ended and call.call_id not in self._continuations
        # Else a shared call was handed over in the meantime, or its prompt has ended with the engine.
        if not end_was_told and call.prompt_id == event.prompt_id \
                and self._place_of(event.prompt_id, event.place.node_id) is not None:
            self._publish(event)
        track.is_encoding = False
        if not call.has_ended:
            self._take(track)
        elif track.is_dirty and not call.is_cancelled and not end_was_told:
            self._send(track)
        self._encoding[call.call_id] -= 1
        if not self._encoding[call.call_id]:
            del self._encoding[call.call_id]
            go_on = self._continuations.pop(call.call_id, None)
            if go_on is not None:
                go_on()


class ProgressTables:
    """Keeps, for each running prompt, how far every node is, and has it told at most once an interval."""

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._rows: dict[PromptId, dict[NodeId, ProgressRow]] = {}
        self._dirty: dict[PromptId, None] = {}
        self._failed: dict[PromptId, NodeId] = {}
        self._previews: dict[PromptId, dict[NodeId, NodeProgressed]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._takers: dict[type, Callable[[Any], None]] = {
            NodeStarted: self._started, NodeProgressed: self._progressed, NodeFinished: self._node_finished,
            NodeFailed: self._node_failed, PromptFinished: self._prompt_finished}

    def note(self, event: Event) -> None:
        """Take what an event says of progress. The last table of a prompt goes out before its end."""
        take = self._takers.get(event.__class__)
        if take is not None:
            take(event)

    def _started(self, event: NodeStarted) -> None:
        self._set(event.prompt_id, event.place, 0.0, 1.0, "running")

    def _progressed(self, event: NodeProgressed) -> None:
        self._set(event.prompt_id, event.place, event.value, event.maximum, "running")
        if event.preview is not None:
            self._previews.setdefault(event.prompt_id, {})[event.place.node_id] = event

    def rows_of(self, prompt_id: PromptId) -> Mapping[NodeId, ProgressRow]:
        """How far the nodes of a running prompt are."""
        return {node_id: copy.copy(row) for node_id, row in self._rows.get(prompt_id, {}).items()}

    def previews_of(self, prompt_id: PromptId) -> Sequence[NodeProgressed]:
        """The last preview of each node that runs."""
        return list(self._previews.get(prompt_id, {}).values())

    def _node_finished(self, event: NodeFinished) -> None:
        if self._previews:
            self._previews.get(event.prompt_id, {}).pop(event.place.node_id, None)
        if not event.from_cache:
            row = self._rows.get(event.prompt_id, {}).get(event.place.node_id)
            maximum = 1.0 if row is None else row.max
            self._set(event.prompt_id, event.place, maximum, maximum, "finished")
        elif event.is_output or event.from_disk:
            self._set(event.prompt_id, event.place, 1, 1, "finished")

    def _node_failed(self, event: NodeFailed) -> None:
        self._failed[event.prompt_id] = event.place.node_id
        if event.prompt_id in self._dirty:
            self._tell(event.prompt_id)  # clients know of no table behind the error

    def _prompt_finished(self, event: PromptFinished) -> None:
        failed = self._failed.pop(event.prompt_id, None)
        rows = self._rows.get(event.prompt_id, {})
        kept = {node_id: row for node_id, row in rows.items() if row.state != "running" or node_id == failed}
        if event.outcome in (Outcome.FAILED, Outcome.PARTLY_SUCCEEDED) and len(kept) < len(rows):
            # They ran beside the node that failed: displays that go by the table alone would never know of their end.
            self._rows[event.prompt_id] = kept
            self._dirty[event.prompt_id] = None
        if event.prompt_id in self._dirty:
            self._tell(event.prompt_id)
        self._rows.pop(event.prompt_id, None)
        self._previews.pop(event.prompt_id, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, prompt_id: PromptId, place: NodePlace, value: float, maximum: float, state: str) -> None:
        rows = self._rows.get(prompt_id)
        if rows is None:
            rows = self._rows[prompt_id] = {}
        row = rows.get(place.node_id)
        if row is None:
            rows[place.node_id] = ProgressRow(
                value=value, max=maximum, state=state, node_id=place.node_id, prompt_id=prompt_id,
                display_node_id=place.display_id, parent_node_id=place.parent_id, real_node_id=place.real_id)
        else:
            row.value, row.max, row.state = value, maximum, state
        self._dirty[prompt_id] = None
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL, self._due)

    def _due(self) -> None:
        self._timer = None
        for prompt_id in list(self._dirty):
            self._tell(prompt_id)

    def _tell(self, prompt_id: PromptId) -> None:
        del self._dirty[prompt_id]
        self._publish(ProgressTabled(prompt_id=prompt_id, rows=self._rows[prompt_id]))


__all__ = ["CurrentNodeContext", "Preview", "ProgressBar", "ProgressDesk", "ProgressTables", "report_progress",
           "report_text"]
