from __future__ import annotations

import asyncio
import logging

import pytest

from execution import Event, NodeId, NodePlace, NodeProgressed, PromptDropped, PromptId, PromptStarted, QueueChanged
from execution.event_broadcast import EventBroadcast, SubscriberTooSlow, Subscription

PLACE = NodePlace(NodeId("1"), NodeId("1"), None, NodeId("1"))


def state(number: int) -> Event:
    return QueueChanged(remaining=number)


def tick(value: float) -> Event:
    return NodeProgressed(prompt_id=PromptId("p"), place=PLACE, value=value, maximum=9)


async def read(subscription: Subscription, count: int) -> list[Event]:
    return [await anext(subscription) for _ in range(count)]


async def test_each_subscriber_gets_every_event_from_now_on_in_order() -> None:
    broadcast = EventBroadcast()
    broadcast.publish(state(0))
    one, two = broadcast.subscribe(), broadcast.subscribe()
    sent = [state(1), tick(1), state(2)]
    for event in sent:
        broadcast.publish(event)
    assert await read(one, 3) == sent
    assert await read(two, 3) == sent


async def test_a_reader_waits_for_what_has_not_happened_yet() -> None:
    broadcast = EventBroadcast()
    subscription = broadcast.subscribe()
    reading = asyncio.create_task(anext(subscription))
    await asyncio.sleep(0)
    assert not reading.done()
    broadcast.publish(state(1))
    assert await reading == state(1)


async def test_a_closed_subscription_ends_after_what_it_holds() -> None:
    broadcast = EventBroadcast()
    subscription = broadcast.subscribe()
    broadcast.publish(state(1))
    subscription.close()
    broadcast.publish(state(2))
    assert [event async for event in subscription] == [state(1)]


async def test_closing_wakes_a_reader_that_waits() -> None:
    broadcast = EventBroadcast()
    subscription = broadcast.subscribe()
    reading = asyncio.create_task(anext(subscription))
    await asyncio.sleep(0)
    subscription.close()
    with pytest.raises(StopAsyncIteration):
        await reading


async def test_a_slow_reader_loses_progress_before_anything_else() -> None:
    broadcast = EventBroadcast()
    subscription = broadcast.subscribe(bound=3)
    for event in (tick(1), state(1), tick(2), state(2), tick(3), state(3)):
        broadcast.publish(event)
    broadcast.publish(tick(4))
    assert await read(subscription, 3) == [state(1), state(2), state(3)]
    broadcast.publish(state(4))
    assert await read(subscription, 1) == [state(4)], "a tick that found no room cost nothing else"


async def test_a_reader_too_slow_even_for_states_is_told_and_costs_others_nothing() -> None:
    broadcast = EventBroadcast()
    slow, fast = broadcast.subscribe(bound=2), broadcast.subscribe(bound=10)
    for number in range(4):
        broadcast.publish(state(number))
    assert await read(slow, 2) == [state(0), state(1)]
    with pytest.raises(SubscriberTooSlow):
        await anext(slow)
    assert await read(fast, 4) == [state(number) for number in range(4)]


async def test_a_listener_that_raises_is_removed_and_logged_and_others_go_on(
        caplog: pytest.LogCaptureFixture) -> None:
    broadcast, heard, calls = EventBroadcast(), [], []

    def broken(event: Event) -> None:
        calls.append(event)
        raise ValueError("broken")

    broadcast.add_listener(broken)
    broadcast.add_listener(heard.append)
    with caplog.at_level(logging.ERROR, "studio.events"):
        broadcast.publish(state(1))
    broadcast.publish(state(2))
    assert calls == [state(1)]
    assert heard == [state(1), state(2)]
    assert "QueueChanged" in caplog.text


async def test_a_listener_that_leaves_while_it_is_told_costs_the_next_one_nothing() -> None:
    broadcast, heard = EventBroadcast(), []

    def leaves(event: Event) -> None:
        broadcast.remove_listener(leaves)

    broadcast.add_listener(leaves)
    broadcast.add_listener(heard.append)
    broadcast.publish(state(1))
    broadcast.publish(state(2))
    assert heard == [state(1), state(2)]


async def test_a_listener_can_be_removed_twice() -> None:
    broadcast, heard = EventBroadcast(), []
    broadcast.add_listener(heard.append)
    broadcast.remove_listener(heard.append)
    broadcast.remove_listener(heard.append)
    broadcast.publish(PromptStarted(prompt_id=PromptId("p"), remaining=1))
    assert heard == []


def test_a_listener_hears_of_the_kinds_that_it_asked_for() -> None:
    broadcast = EventBroadcast()
    few: list[Event] = []
    everything: list[Event] = []
    broadcast.add_listener(few.append, (QueueChanged, PromptDropped))
    broadcast.publish(QueueChanged(remaining=1))
    broadcast.add_listener(everything.append)  # while what goes to whom is known already
    broadcast.publish(QueueChanged(remaining=2))
    broadcast.publish(PromptStarted(prompt_id=PromptId("p"), remaining=2))
    broadcast.publish(PromptDropped(prompt_id=PromptId("p")))
    broadcast.remove_listener(few.append)
    broadcast.publish(QueueChanged(remaining=3))
    assert [type(event) for event in few] == [QueueChanged, QueueChanged, PromptDropped]
    assert [type(event) for event in everything] == [QueueChanged, PromptStarted, PromptDropped, QueueChanged]


def test_a_listener_of_some_kinds_that_fails_is_removed_too(caplog: pytest.LogCaptureFixture) -> None:
    broadcast = EventBroadcast()
    calls: list[Event] = []

    def fail(event: Event) -> None:
        calls.append(event)
        raise ValueError("on purpose")

    broadcast.add_listener(fail, (QueueChanged,))
    for remaining in range(2):
        broadcast.publish(QueueChanged(remaining=remaining))
    assert len(calls) == 1
    assert "a listener failed on QueueChanged" in caplog.text
