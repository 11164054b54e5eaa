"""Webhooks on their way: to a real receiver, by a clock that a test moves."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution import (
    Delivery,
    DeliveryState,
    EndNotice,
    Engine,
    JobStore,
    MemoryStore,
    NodeRegistry,
    NodeResult,
    PromptId,
    PromptSubmission,
    SqliteStore,
    StoreUnavailable,
)
from nodes.outside import Outside
from tests.support.manual_clock import ManualClock, ManualTimer
from tests.support.node_definitions import define, node
from tests.support.webhook_receiver import WebhookReceiver, receiving
from web.webhook_deliveries import Answer, WebhookDeliveries, after_try
from web.webhook_requests import EVENTS, end_notice_of, webhook_record

SECRET = bytes(range(32))
DAY = 24 * 3600


class AnnouncedClock(ManualClock):
    """Tells of each timer that is set."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: asyncio.Queue[float] = asyncio.Queue()

    def call_later(self, delay: float, function: Callable[..., Any], *arguments: Any) -> ManualTimer:
        self.timers.put_nowait(delay)
        return super().call_later(delay, function, *arguments)

    async def until(self, delay: float) -> None:
        """A timer of so many seconds is set."""
        while await self.timers.get() != pytest.approx(delay):
            pass


class Server:
    """What is around an engine where webhooks are delivered from."""

    def __init__(self, engine: Engine, clock: AnnouncedClock) -> None:
        self.engine = engine
        self.clock = clock

    async def run(self, url: str, prompt_id: str = "p", fails: bool = False, **webhook: Any) -> None:
        """A prompt with a webhook, to its end."""
        events = self.engine.subscribe()
        try:
            await self.engine.submit(PromptSubmission(
                prompt={"1": node("Answer", fails=fails)}, prompt_id=PromptId(prompt_id),
                end_notice=end_notice_of({"url": url, **webhook})))
            while type(await anext(events)).__name__ != "PromptFinished":
                pass
        finally:
            events.close()

    async def webhook(self, prompt_id: str = "p") -> Any:
        entry = await self.engine.history.job(PromptId(prompt_id))
        assert entry is not None
        return await webhook_record(self.engine, entry)

    async def webhook_is(self, state: str, prompt_id: str = "p", tries: int | None = None) -> dict[str, Any]:
        """The record, once it says so."""
        while True:
            record = await self.webhook(prompt_id)
            if record["state"] == state and tries in (None, record["tries"]):
                found: dict[str, Any] = record
                return found
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(store: JobStore | None = None, *, allow_private: bool = True,
                  clock: AnnouncedClock | None = None) -> AsyncIterator[Server]:
    async def answer(fails: bool) -> Any:
        if fails:
            raise RuntimeError("as it was told")
        return NodeResult(ui={"text": ["é done"]})

    registry = NodeRegistry()
    registry.add(define("Answer", answer, required={"fails": ("BOOLEAN",)}, is_output=True))
    clock = clock or AnnouncedClock()
    async with Engine(registry, store=store, clock=clock) as engine:
        await engine.restore()
        deliveries = WebhookDeliveries(engine, Outside(lambda: allow_private), SECRET, clock=clock,
                                       call_later=clock.call_later)
        deliveries.start()
        try:
            yield Server(engine, clock)
        finally:
            await deliveries.close()


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving() as one:
        yield one


@pytest.fixture(params=["memory", "sqlite"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    store: JobStore = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "jobs.db")
    async with serving(store) as one:
        yield one


# -- what comes ------------------------------------------------------------------------------------------------------


async def test_the_job_is_posted_and_signed(server: Server, receiver: WebhookReceiver) -> None:
    await server.run(receiver.url_of("/hook?token=1"))
    posted = await receiver.posted.get()
    said = posted.json()
    assert posted.path == "/hook"
    assert posted.headers["Content-Type"] == "application/json"
    assert set(said) == {"event", "delivery", "job"}
    assert (said["event"], said["delivery"]) == ("completed", posted.delivery_id)
    assert (said["job"]["id"], said["job"]["status"]) == ("p", "completed")
    assert said["job"]["outputs"] == {"1": {"text": ["é done"]}}
    assert said["job"]["workflow"]["prompt"]["1"]["class_type"] == "Answer"
    stamp = posted.headers["Hanzo-Timestamp"]
    assert int(stamp) == server.clock.now_ms() // 1000
    expected = hmac.new(SECRET, stamp.encode() + b"." + posted.body, hashlib.sha256).hexdigest()
    assert posted.headers["Hanzo-Signature"] == f"sha256={expected}"
    assert await server.webhook_is("delivered") == {
        "state": "delivered", "tries": 1, "last_error": None, "next_try_at": None}
    assert receiver.posted.empty()


@pytest.mark.parametrize("event", EVENTS)
async def test_only_what_was_asked_for_comes(server: Server, receiver: WebhookReceiver, event: str) -> None:
    await server.run(receiver.url_of("/"), "good", events=[event])
    await server.run(receiver.url_of("/"), "bad", fails=True, events=[event])
    await server.run(receiver.url_of("/"), "last")  # what came before it would have been posted by then
    expected = {"completed": {"good"}, "failed": {"bad"}, "cancelled": set()}[event] | {"last"}
    told = {(await receiver.posted.get()).json()["job"]["id"] for _ in expected}
    assert told == expected
    assert (await server.webhook("good"))["state"] == "not_wanted" or event == "completed"


async def test_a_job_without_a_webhook_says_nothing_of_one(server: Server) -> None:
    await server.engine.submit(PromptSubmission(prompt={"1": node("Answer", fails=False)}, prompt_id=PromptId("p")))
    assert await server.webhook() is None


async def test_a_large_job_comes_whole(server: Server, receiver: WebhookReceiver) -> None:
    events = server.engine.subscribe()
    await server.engine.submit(PromptSubmission(
        prompt={"1": node("Answer", fails=False)}, prompt_id=PromptId("p"), extra_data={"large": "x" * 3_000_000},
        end_notice=end_notice_of({"url": receiver.url_of("/")})))
    posted = await receiver.posted.get()
    events.close()
    assert len(posted.json()["job"]["workflow"]["extra_data"]["large"]) == 3_000_000


# -- again, and again ------------------------------------------------------------------------------------------------


async def test_pauses_double_and_the_delivery_keeps_its_id(server: Server, receiver: WebhookReceiver) -> None:
    receiver.answers = [500, 404, 429, 301, 204]
    began = server.clock.now_ms()
    await server.run(receiver.url_of("/"))
    ids, stamps = set(), []
    for tries, pause in enumerate((1, 2, 4, 8), 1):
        posted = await receiver.posted.get()
        ids.add(posted.delivery_id)
        stamps.append(int(posted.headers["Hanzo-Timestamp"]) - began // 1000)
        await server.clock.until(pause)
        record = await server.webhook_is("pending", tries=tries)
        assert record["next_try_at"] == server.clock.now_ms() + pause * 1000
        assert record["last_error"]
        server.clock.advance(pause)
    posted = await receiver.posted.get()
    assert {posted.delivery_id} == ids
    assert stamps == [0, 1, 3, 7]
    signed = posted.headers["Hanzo-Timestamp"].encode() + b"." + posted.body
    assert posted.headers["Hanzo-Signature"] == f"sha256={hmac.new(SECRET, signed, hashlib.sha256).hexdigest()}"
    assert (await server.webhook_is("delivered"))["tries"] == 5


async def test_who_answers_gone_is_told_no_more(server: Server, receiver: WebhookReceiver) -> None:
    receiver.answers = [410]
    await server.run(receiver.url_of("/"))
    record = await server.webhook_is("failed")
    assert (record["tries"], record["next_try_at"]) == (1, None)
    assert "410" in record["last_error"]
    server.clock.advance(DAY)
    await server.run(receiver.url_of("/"), "next")
    await receiver.posted.get()
    assert (await receiver.posted.get()).json()["job"]["id"] == "next"


async def test_it_is_given_up_after_a_day(server: Server, receiver: WebhookReceiver) -> None:
    receiver.answers = [500] * 100
    await server.run(receiver.url_of("/"))
    tries = 0
    record = await server.webhook()
    while record["state"] == "pending":
        await receiver.posted.get()
        tries += 1
        record = await server.webhook_is("pending" if tries < 35 else "failed", tries=tries)
        if record["state"] == "pending":
            ahead = (record["next_try_at"] - server.clock.now_ms()) / 1000
            assert ahead == min(2 ** (tries - 1), 3600)
            await server.clock.until(min(ahead, 60))
            server.clock.advance(ahead)
    assert (record["state"], record["last_error"]) == ("failed", "The receiver answered 500.")
    # 12 pauses up to 2048 s are 4095 s, and 22 of an hour each fit behind them.
    assert record["tries"] == tries == 12 + 22 + 1
    assert receiver.posted.empty()


async def test_redirects_are_not_followed(server: Server, receiver: WebhookReceiver) -> None:
    for status in (301, 302, 303, 307, 308):
        receiver.answers, receiver.location = [status, 410], receiver.url_of("/elsewhere")
        name = f"p{status}"
        await server.run(receiver.url_of("/"), name)
        assert (await receiver.posted.get()).path == "/"
        await server.clock.until(1)
        assert "redirects are not followed" in (await server.webhook_is("pending", name, tries=1))["last_error"]
        server.clock.advance(1)
        assert (await receiver.posted.get()).path == "/", "the same address again"
        await server.webhook_is("failed", name)


async def test_a_receiver_that_never_answers_is_left_after_ten_seconds(server: Server,
                                                                       receiver: WebhookReceiver) -> None:
    receiver.answers = [None]
    await server.run(receiver.url_of("/"))
    await receiver.posted.get()
    server.clock.advance(9.9)
    assert (await server.webhook())["tries"] == 0
    server.clock.advance(0.2)
    await receiver.left.wait()
    await server.clock.until(1)
    assert (await server.webhook_is("pending", tries=1))["last_error"] == \
        "The receiver did not answer within 10 seconds."
    server.clock.advance(1)
    await receiver.posted.get()
    await server.webhook_is("delivered")


async def test_nobody_at_the_address(server: Server) -> None:
    await server.run("http://127.0.0.1:1/?token=secret")
    record = await server.webhook_is("pending", tries=1)
    assert "cannot be reached" in record["last_error"]
    assert "secret" not in record["last_error"]


# -- many at once ----------------------------------------------------------------------------------------------------


async def test_a_slow_receiver_delays_no_other(server: Server, receiver: WebhookReceiver) -> None:
    async with receiving() as slow:
        slow.answers = [None] * 100
        for number in range(20):
            await server.run(slow.url_of("/"), f"slow{number}")
        await slow.posted.get()
        for number in range(5):
            await server.run(receiver.url_of("/"), f"quick{number}")
        assert {(await receiver.posted.get()).json()["job"]["id"] for _ in range(5)} == \
            {f"quick{number}" for number in range(5)}
        assert slow.most_at_once <= 2
        assert server.clock.monotonic() == 1000, "no time has passed"


async def test_never_more_than_a_few_at_once(server: Server) -> None:
    async with AsyncExitStack() as stack:
        receivers = [await stack.enter_async_context(receiving()) for _ in range(6)]
        door = asyncio.Event()
        for one in receivers:
            one.door = door
        for number in range(18):
            await server.run(receivers[number % 6].url_of("/"), f"p{number}")
        for _ in range(8):
            await next_of(receivers)
        assert sum(one.at_once for one in receivers) == 8
        await server.run(receivers[0].url_of("/"), "one more")
        assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("studio-webhook-")]) == 8
        assert all(one.posted.empty() for one in receivers)
        door.set()
        for _ in range(18 + 1 - 8):
            await next_of(receivers)
        for number in range(18):
            await server.webhook_is("delivered", f"p{number}")
        assert all(one.posted.empty() for one in receivers)


async def next_of(receivers: list[WebhookReceiver]) -> None:
    """Take what is posted to any of them."""
    while True:
        for one in receivers:
            if not one.posted.empty():
                one.posted.get_nowait()
                return
        await asyncio.sleep(0)


# -- when the server or its store does not hold -----------------------------------------------------------------------


async def test_deliveries_survive_a_restart(receiver: WebhookReceiver, tmp_path: Path) -> None:
    clock = AnnouncedClock()
    receiver.answers = [503]
    async with serving(SqliteStore(tmp_path / "jobs.db"), clock=clock) as server:
        await server.run(receiver.url_of("/"))
        first = await receiver.posted.get()
        await clock.until(1)
    clock.advance(0.5)
    async with serving(SqliteStore(tmp_path / "jobs.db"), clock=clock) as server:
        await clock.until(0.5)
        assert (await server.webhook())["tries"] == 1
        assert receiver.posted.empty()
        clock.advance(0.5)
        second = await receiver.posted.get()
        assert second.delivery_id == first.delivery_id
        assert second.json() == first.json()
        assert (await server.webhook_is("delivered"))["tries"] == 2
    async with serving(SqliteStore(tmp_path / "jobs.db"), clock=clock) as server:
        await server.run(receiver.url_of("/"), "next")
        assert (await receiver.posted.get()).json()["job"]["id"] == "next", "what was told is not told again"


async def test_what_is_under_way_when_the_server_stops_is_tried_by_the_next_one(receiver: WebhookReceiver,
                                                                                tmp_path: Path) -> None:
    receiver.answers = [None]
    async with serving(SqliteStore(tmp_path / "jobs.db")) as server:
        await server.run(receiver.url_of("/"))
        first = await receiver.posted.get()
    await receiver.left.wait()
    async with serving(SqliteStore(tmp_path / "jobs.db")) as server:
        assert (await receiver.posted.get()).delivery_id == first.delivery_id
        assert (await server.webhook_is("delivered"))["tries"] == 1


async def test_closing_leaves_no_task_behind(receiver: WebhookReceiver) -> None:
    before = asyncio.all_tasks()
    receiver.answers = [None, None]
    async with serving() as server:
        await server.run(receiver.url_of("/"))
        await server.run("http://127.0.0.1:1/", "unreachable")
        await receiver.posted.get()
    await receiver.left.wait()
    assert not [task for task in asyncio.all_tasks() - before if "webhook" in task.get_name()]


async def test_what_was_delivered_is_not_posted_again_because_that_could_not_be_written(
        receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    note, refusals = store.outbox.note, [StoreUnavailable("the disk is full")] * 3

    async def refuse_at_first(delivery: Delivery) -> None:
        if refusals:
            raise refusals.pop()
        await note(delivery)

    monkeypatch.setattr(store.outbox, "note", refuse_at_first)
    async with serving(store) as server:
        await server.run(receiver.url_of("/"))
        await receiver.posted.get()
        for _ in range(3):
            await server.clock.until(5)
            assert (await server.webhook())["state"] == "pending"
            server.clock.advance(5)
        await server.webhook_is("delivered")
        assert receiver.posted.empty()


async def test_an_outbox_that_cannot_be_read_is_asked_again(receiver: WebhookReceiver,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    following, refusals = store.outbox.next_deliveries, [StoreUnavailable("it is locked")]

    async def refuse_at_first(*arguments: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return await following(*arguments)

    monkeypatch.setattr(store.outbox, "next_deliveries", refuse_at_first)
    async with serving(store) as server:
        await server.clock.until(5)
        server.clock.advance(5)
        await server.run(receiver.url_of("/"))
        await receiver.posted.get()


# -- addresses that are nobody's business -----------------------------------------------------------------------------


async def test_an_address_that_turns_out_to_be_private_is_not_connected_to(receiver: WebhookReceiver,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(self: Any, host: str, port: int = 0, family: Any = 0) -> Any:
        import socket

        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    port = receiver.url_of("/").rsplit(":", 1)[1]
    async with serving(allow_private=False) as server:
        await server.run(f"http://rebound.example:{port}")
        record = await server.webhook_is("pending", tries=1)
        assert record["last_error"].startswith("127.0.0.1 is not a public address")
    assert receiver.posted.empty()


# -- the rule by itself ------------------------------------------------------------------------------------------------


A_DELIVERY = Delivery(id="d", prompt_id=PromptId("p"), run=1, address="a", receiver="r", made_at=1000, next_try_at=1000)


@given(st.integers(0, 2000), st.integers(0, 2 * DAY * 1000))
def test_pauses_are_bounded_and_so_is_all_trying(tries: int, late_ms: int) -> None:
    now = A_DELIVERY.made_at + late_ms
    after = after_try(replace(A_DELIVERY, tries=tries), Answer("no"), now)
    assert after.tries == tries + 1
    assert 1000 <= after.next_try_at - now <= 3_600_000
    assert (after.state is DeliveryState.FAILED) is (after.next_try_at > A_DELIVERY.made_at + DAY * 1000)


def test_a_notice_survives_as_json() -> None:
    import msgspec

    notice = end_notice_of({"url": "https://EXAMPLE.com/a?b=c#d", "events": ["failed", "completed", "failed"]})
    assert notice == EndNotice(address="https://example.com/a?b=c", receiver="https://example.com:443",
                               states=["completed", "failed"])
    assert msgspec.json.decode(json.dumps(msgspec.to_builtins(notice)), type=EndNotice) == notice
