import asyncio

import pytest

from execution import NodeFinished, NodeId, NodePlace, NodeStarted, Outcome, PromptFinished, PromptId, PromptStarted
from execution.event_broadcast import EventBroadcast
from tests.support.event_recorder import EventRecorder

PROMPT = PromptId("p")


def place(node_id: str) -> NodePlace:
    return NodePlace(NodeId(node_id), NodeId(node_id), None, NodeId(node_id))


async def test_until_finds_what_came_and_waits_for_what_has_not() -> None:
    broadcast = EventBroadcast()
    recorder = EventRecorder(broadcast)  # type: ignore[arg-type]
    broadcast.publish(PromptStarted(prompt_id=PROMPT, remaining=1))
    broadcast.publish(NodeStarted(prompt_id=PROMPT, place=place("1")))
    broadcast.publish(NodeStarted(prompt_id=PROMPT, place=place("2")))
    assert (await recorder.until(NodeStarted, "2")).place.node_id == "2"
    assert (await recorder.until(NodeStarted)).place.node_id == "1"
    waiting = asyncio.create_task(recorder.end_of("p"))
    await asyncio.sleep(0)
    assert not waiting.done()
    broadcast.publish(PromptFinished(prompt_id=PROMPT, outcome=Outcome.SUCCEEDED, remaining=0))
    assert (await waiting).outcome is Outcome.SUCCEEDED
    assert recorder.story("p") == ["PromptStarted", "NodeStarted 1", "NodeStarted 2", "PromptFinished"]
    assert recorder.story("p", PromptStarted) == ["PromptStarted"]
    assert len(recorder.of(NodeStarted)) == 2
    assert recorder.of(NodeFinished) == []


async def test_until_takes_fields_and_predicates() -> None:
    broadcast = EventBroadcast()
    recorder = EventRecorder(broadcast)  # type: ignore[arg-type]
    for remaining in (3, 2, 1):
        broadcast.publish(PromptStarted(prompt_id=PROMPT, remaining=remaining))
    assert (await recorder.until(PromptStarted, remaining=2)).remaining == 2
    assert await recorder.until(lambda event: getattr(event, "remaining", 9) < 2) is recorder.events[2]


async def test_until_fails_when_nothing_more_can_come() -> None:
    broadcast = EventBroadcast()
    recorder = EventRecorder(broadcast)  # type: ignore[arg-type]
    recorder._subscription.close()
    with pytest.raises(AssertionError, match="fell silent"):
        await recorder.until(NodeFinished)
