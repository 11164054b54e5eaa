"""The queue as JSON. Only the number of an item ever changes, so each is encoded once, and large ones on a thread."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from execution import Engine, Event, PromptDropped, PromptFinished, PromptId, QueueEntry

from . import wire

MOST_AT_ONCE = 256 * 2**10
"""Bytes that are joined on the loop."""


class QueueItems:
    """What waits and what runs, as `/queue` shows it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[PromptId, tuple[Mapping[str, Any], float, bytes]] = {}  # prompt, number, and its item
        self._turn = asyncio.Lock()
        engine.add_listener(self._forget, (PromptFinished, PromptDropped))

    def _forget(self, event: Event) -> None:
        self._known.pop(event.prompt_id, None)  # type: ignore[attr-defined]

    async def as_json(self) -> bytes:
        """The whole queue. Requests at the same time take turns, so that none encodes what another does already."""
        async with self._turn:
            snapshot = self._engine.snapshot()
            entries = [*snapshot.running, *snapshot.pending]
            unknown = [entry for entry in entries if not self._knows(entry)]
            if unknown:
                items = await asyncio.to_thread(_encoded, unknown)
                for entry, item in zip(unknown, items, strict=True):
                    self._known[entry.prompt_id] = (entry.prompt, entry.number, item)
            known = self._known
            if len(known) > len(entries):  # some ended while they were encoded
                still_there = {entry.prompt_id for entry in entries}
                known = self._known = {one: item for one, item in known.items() if one in still_there}
            running = [known[entry.prompt_id][2] for entry in snapshot.running if entry.prompt_id in known]
            pending = [known[entry.prompt_id][2] for entry in snapshot.pending if entry.prompt_id in known]
            more = {**wire.busy_pools(self._engine), **({"is_paused": True} if self._engine.is_paused else {})}
            if sum(map(len, running)) + sum(map(len, pending)) <= MOST_AT_ONCE:
                return _joined(running, pending, more)
            return await asyncio.to_thread(_joined, running, pending, more)

    def _knows(self, entry: QueueEntry) -> bool:
        """An id may be used again, so the prompt has to be the same object too."""
        known = self._known.get(entry.prompt_id)
        return known is not None and known[0] is entry.prompt and known[1] == entry.number


def _encoded(entries: Sequence[QueueEntry]) -> list[bytes]:
    """One by one, so that the loop gets its turn in between."""
    return [wire.dumps(wire.queue_item(entry)) for entry in entries]


def _joined(running: Sequence[bytes], pending: Sequence[bytes], more: Mapping[str, Any]) -> bytes:
    """`more` is beside what every client knows, and only there if there is something to say."""
    return wire.json_object([("queue_running", wire.json_list(running)), ("queue_pending", wire.json_list(pending)),
                             *((name, wire.dumps(value)) for name, value in more.items())])
