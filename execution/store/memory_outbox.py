"""An outbox that is gone when the process ends, as the store around it."""

import asyncio
import heapq
import logging
import uuid
from collections.abc import Collection, Sequence

from msgspec.structs import replace

from ..identifiers import PromptId
from .job_store import HistoryEntry
from .outbox import Delivery, DeliveryState, is_owed

log = logging.getLogger("studio.store")


class MemoryOutbox:
    """:param bound: deliveries that wait; the oldest is given up for one more."""

    def __init__(self, bound: int) -> None:
        self.made = 0
        self._bound = bound
        self._all: dict[str, tuple[Delivery, HistoryEntry]] = {}
        self._pending: dict[str, Delivery] = {}
        self._shown: dict[tuple[PromptId, int], str] = {}
        """Of runs that are not forgotten."""

    def take(self, entry: HistoryEntry) -> None:
        """A run has ended, and its number is known."""
        notice = entry.end_notice
        if notice is None or not is_owed(entry):
            return
        delivery = Delivery(id=str(uuid.uuid4()), prompt_id=entry.prompt_id, run=entry.run, address=notice.address,
                            receiver=notice.receiver, made_at=entry.ended_at, next_try_at=entry.ended_at)
        self._all[delivery.id] = delivery, entry
        self._pending[delivery.id] = delivery
        self._shown[entry.prompt_id, entry.run] = delivery.id
        self.made += 1
        if len(self._pending) > self._bound:
            self._give_up(next(iter(self._pending)))

    def forget(self, entry: HistoryEntry) -> None:
        """A run is shown no more."""
        delivery_id = self._shown.pop((entry.prompt_id, entry.run), None)
        if delivery_id is not None and delivery_id not in self._pending:
            del self._all[delivery_id]

    def _give_up(self, delivery_id: str) -> None:
        delivery, entry = self._all[delivery_id]
        log.warning("too many webhooks wait: the oldest, of prompt %s, is given up", delivery.prompt_id)
        self._keep(replace(delivery, state=DeliveryState.FAILED, last_error="Too many others waited, too."), entry)

    def _keep(self, delivery: Delivery, entry: HistoryEntry) -> None:
        self._all[delivery.id] = delivery, entry
        if delivery.state is DeliveryState.PENDING:
            self._pending[delivery.id] = delivery
            return
        self._pending.pop(delivery.id, None)
        if (delivery.prompt_id, delivery.run) not in self._shown:
            del self._all[delivery.id]

    async def next_deliveries(self, limit: int, busy_receivers: Collection[str],
                              under_way: Collection[str]) -> Sequence[Delivery]:
        return await asyncio.to_thread(_first_of_each, list(self._pending.values()), limit, set(busy_receivers),
                                       set(under_way))

    async def job_of(self, delivery_id: str) -> HistoryEntry | None:
        known = self._all.get(delivery_id)
        return None if known is None else known[1]

    async def delivery_of(self, prompt_id: PromptId, run: int) -> Delivery | None:
        delivery_id = self._shown.get((prompt_id, run))
        return None if delivery_id is None else self._all[delivery_id][0]

    async def note(self, delivery: Delivery) -> None:
        if delivery.id in self._pending:  # or else it was given up meanwhile
            self._keep(delivery, self._all[delivery.id][1])


def _first_of_each(pending: Sequence[Delivery], limit: int, busy: Collection[str],
                   under_way: Collection[str]) -> Sequence[Delivery]:
    first: dict[str, Delivery] = {}
    for one in pending:
        if one.receiver in busy or one.id in under_way:
            continue
        known = first.get(one.receiver)
        if known is None or one.next_try_at < known.next_try_at:
            first[one.receiver] = one
    return heapq.nsmallest(limit, first.values(), key=lambda one: one.next_try_at)
