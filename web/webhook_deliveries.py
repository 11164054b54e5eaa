"""Tells receivers that jobs have ended: takes what is owed from the store's outbox, posts it, and notes how that went.

A delivery is tried again until a receiver has said that it has it, so one may come twice, with the same id. What is
under way when the server stops is tried again by the next one.
"""

import asyncio
import hashlib
import hmac
import io
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

import aiohttp
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace
from yarl import URL

from execution import (
    Clock,
    Delivery,
    DeliveryState,
    Engine,
    Event,
    HistoryEntry,
    PromptDropped,
    PromptFinished,
    StoreUnavailable,
    SystemClock,
)

from . import wire
from .app_keys import ENGINE, SETTINGS
from .job_records import detailed_record
from .outside import Outside

log = logging.getLogger("studio.webhooks")

MOST_AT_ONCE = 8
MOST_AT_ONE_RECEIVER = 2
SECONDS_FOR_A_TRY = 10.0
LONGEST_PAUSE = 3600
"""Seconds between two tries, at most."""
LONGEST_TRYING = 24 * 3600
"""Seconds after which a delivery is given up."""
SECONDS_TO_FINISH = 1.0
"""For what is under way when the server stops."""
STORE_PAUSE = 5.0
"""Seconds until a store that could not be used is asked again."""
_LONGEST_ERROR = 300
_LONGEST_SLEEP = 60.0
"""Seconds: the clock of the machine may be set meanwhile."""


class Timer(Protocol):
    def cancel(self) -> None: ...


CallLater = Callable[[float, Callable[[], object]], Timer]


class Answer(Struct, frozen=True):
    """How a try went."""

    trouble: str = ""
    """A sentence on what was in the way; nothing if it was delivered."""
    is_final: bool = False
    """The receiver wants to hear no more."""


class WebhookDeliveries:
    """One task that looks what is due, and one for each delivery under way.

    :param secret: the key of the signatures.
    :param call_later: timers that run by the clock; None for those of the loop.
    """

    def __init__(self, engine: Engine, outside: Outside, secret: bytes, *, clock: Clock | None = None,
                 call_later: CallLater | None = None) -> None:
        self._engine = engine
        self._outbox = engine.history.outbox
        self._outside = outside
        self._secret = secret
        self._clock = clock or SystemClock()
        self._call_later: CallLater = call_later or asyncio.get_running_loop().call_later
        self._made = self._outbox.made
        self._news = asyncio.Event()
        self._under_way: dict[str, str] = {}
        """Receivers by the ids of deliveries."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._engine.add_listener(self._hear, (PromptFinished, PromptDropped))
        self._looking = asyncio.create_task(self._look(), name="studio-webhooks")

    async def close(self) -> None:
        """Start no more, give what is under way a moment, and leave the rest to the next server."""
        self._engine.remove_listener(self._hear)
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=SECONDS_TO_FINISH)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _hear(self, event: Event) -> None:
        if self._outbox.made != self._made:
            self._made = self._outbox.made
            self._news.set()

    # -- what is due ------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        while True:
            self._news.clear()
            try:
                pause = await self._start_what_is_due()
            except Exception:  # the store cannot be read now, say: this task has to outlive that
                log.exception("the outbox of webhooks cannot be read")
                pause = STORE_PAUSE
            timer = None if pause is None else self._call_later(min(pause, _LONGEST_SLEEP), self._news.set)
            try:
                await self._news.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    async def _start_what_is_due(self) -> float | None:
        """Seconds until more is due; None if that depends on what is under way, or nothing is left."""
        while len(self._under_way) < MOST_AT_ONCE:
            busy = [name for name, count in Counter(self._under_way.values()).items() if count >= MOST_AT_ONE_RECEIVER]
            found = await self._outbox.next_deliveries(MOST_AT_ONCE - len(self._under_way), busy, list(self._under_way))
            now = self._clock.now_ms()
            due = [one for one in found if one.next_try_at <= now]
            for delivery in due:
                self._start(delivery)
            if not due:
                return (found[0].next_try_at - now) / 1000 if found else None
        return None

    def _start(self, delivery: Delivery) -> None:
        self._under_way[delivery.id] = delivery.receiver
        task = asyncio.create_task(self._deliver(delivery), name=f"studio-webhook-{delivery.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- one delivery -----------------------------------------------------------------------------------------------

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            entry = await self._outbox.job_of(delivery.id)
            if entry is not None:
                await self._note(after_try(delivery, await self._try(delivery, entry), self._clock.now_ms()))
        except Exception:
            log.exception("webhook %s: the store could not be used", delivery.id)
            await self._sleep(STORE_PAUSE)
        finally:
            del self._under_way[delivery.id]
            self._news.set()

    async def _note(self, delivery: Delivery) -> None:
        """Until it is on record: what was delivered is not to be delivered again because a disk was full."""
        if delivery.state is DeliveryState.FAILED:
            log.warning("webhook %s of prompt %s is given up after %d tries: %s", delivery.id, delivery.prompt_id,
                        delivery.tries, delivery.last_error)
        while True:
            try:
                return await self._outbox.note(delivery)
            except StoreUnavailable:
                await self._sleep(STORE_PAUSE)

    async def _try(self, delivery: Delivery, entry: HistoryEntry) -> Answer:
        try:
            return await self._within(SECONDS_FOR_A_TRY, self._post(delivery, entry))
        except TimeoutError:
            return Answer(f"The receiver did not answer within {SECONDS_FOR_A_TRY:g} seconds.")
        except Exception as error:
            log.exception("webhook %s could not be posted", delivery.id)
            return Answer(f"It could not be posted: {type(error).__name__}.")

    async def _post(self, delivery: Delivery, entry: HistoryEntry) -> Answer:
        seconds = self._clock.now_ms() // 1000
        body, signature = await asyncio.to_thread(_signed_body, delivery, entry, seconds, self._secret)
        headers = {"Content-Type": "application/json", "User-Agent": "HanzoStudio", "Hanzo-Delivery": delivery.id,
                   "Hanzo-Timestamp": str(seconds), "Hanzo-Signature": f"sha256={signature}"}
        async with self._outside.open_client() as client:
            try:
                # Redirects are not followed: whoever submitted named this address, and the job is for it alone.
                async with client.session.post(URL(delivery.address), data=io.BytesIO(body), headers=headers,
                                               allow_redirects=False) as response:
                    return _answer_of(response.status)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                if client.refused is not None:
                    return Answer(f"{client.refused} is not a public address; --allow-private-urls permits such "
                                  "addresses.")
                # Other errors may spell the URL, which may hold a token.
                said = str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
                return Answer(f"The receiver cannot be reached: {said}"[:_LONGEST_ERROR])

    async def _within(self, seconds: float, doing: Coroutine[Any, Any, Answer]) -> Answer:
        """:raises TimeoutError: it took longer, by the clock."""
        task = asyncio.create_task(doing)
        is_late = False

        def give_up() -> None:
            nonlocal is_late
            is_late = task.cancel()

        timer = self._call_later(seconds, give_up)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if is_late and (current is None or not current.cancelling()):
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    async def _sleep(self, seconds: float) -> None:
        over = asyncio.Event()
        timer = self._call_later(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()


def after_try(delivery: Delivery, answer: Answer, now_ms: int) -> Delivery:
    """What is known of a delivery after one more try."""
    tries = delivery.tries + 1
    if not answer.trouble:
        return replace(delivery, state=DeliveryState.DELIVERED, tries=tries, last_error="")
    pause = LONGEST_PAUSE if tries > 12 else min(2 ** (tries - 1), LONGEST_PAUSE)
    next_try_at = now_ms + pause * 1000
    is_over = answer.is_final or next_try_at > delivery.made_at + LONGEST_TRYING * 1000
    return replace(delivery, state=DeliveryState.FAILED if is_over else DeliveryState.PENDING, tries=tries,
                   next_try_at=next_try_at, last_error=answer.trouble)


def _answer_of(status: int) -> Answer:
    if 200 <= status < 300:
        return Answer()
    if status == 410:
        return Answer("The receiver answered 410: it wants to hear no more.", is_final=True)
    if 300 <= status < 400:
        return Answer(f"The receiver answered {status}: redirects are not followed.")
    return Answer(f"The receiver answered {status}.")


def _signed_body(delivery: Delivery, entry: HistoryEntry, seconds: int, secret: bytes) -> tuple[bytes, str]:
    """What is posted, and its signature. Computes: on a thread."""
    body = wire.dumps({"event": entry.state.value, "delivery": delivery.id, "job": detailed_record(entry)})
    return body, hmac.new(secret, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()


async def deliver_webhooks(app: web.Application) -> AsyncIterator[None]:
    """As long as the application runs."""
    settings = app[SETTINGS]
    if settings.outside is None:
        yield
        return
    deliveries = WebhookDeliveries(app[ENGINE], settings.outside, settings.webhook_secret)
    deliveries.start()
    try:
        yield
    finally:
        await deliveries.close()
