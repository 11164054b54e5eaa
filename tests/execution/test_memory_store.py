from __future__ import annotations

from typing import Any

import msgspec

from execution import (
    ClientId,
    Event,
    MemoryStore,
    NodeError,
    NodeFailed,
    NodeFinished,
    NodeId,
    NodePlace,
    NodesCached,
    NodeShown,
    Outcome,
    PromptDropped,
    PromptFinished,
    PromptId,
    PromptQueued,
    PromptStarted,
)

P, Q = PromptId("p"), PromptId("q")


def place(node_id: str) -> NodePlace:
    return NodePlace(NodeId(node_id), NodeId(node_id), None, NodeId(node_id))


def queued(prompt_id: PromptId = P, at: int = 1) -> Event:
    return PromptQueued(at=at, prompt_id=prompt_id, client_id=ClientId("me"), number=3, prompt={"1": {}},
                        extra_data={"x": 1}, outputs=[NodeId("1")], remaining=1)


def finished(prompt_id: PromptId = P, **fields: Any) -> Event:
    return PromptFinished(**{"prompt_id": prompt_id, "outcome": Outcome.SUCCEEDED, "remaining": 0, **fields})


def told(*events: Event, bound: int = 10) -> MemoryStore:
    store = MemoryStore(bound)
    for event in events:
        store.take(event)
    return store


def test_a_prompt_is_history_once_it_has_ended() -> None:
    store = told(queued(), PromptStarted(at=2, prompt_id=P, remaining=1))
    assert store.get(P) is None
    assert store.entries() == []
    store.take(finished(at=9))
    assert [entry.prompt_id for entry in store.entries()] == [P]


def test_what_an_entry_says() -> None:
    entry = told(
        queued(), PromptStarted(at=2, prompt_id=P, remaining=1),
        NodesCached(at=3, prompt_id=P, nodes=[NodeId("7")]),
        NodeFinished(at=4, prompt_id=P, place=place("5"), ui={"text": ["a"]}, is_output=True),
        NodeShown(at=4, prompt_id=P, place=place("6"), ui={"text": ["b"]}),
        NodeFinished(at=5, prompt_id=P, place=place("8"), ui=None, is_output=False),
        finished(at=9, executed=[NodeId("5")])).get(P)
    assert entry is not None
    assert (entry.queued_at, entry.started_at, entry.cached_at, entry.ended_at) == (1, 2, 3, 9)
    assert (entry.client_id, entry.number, entry.extra_data) == ("me", 3, {"x": 1})
    assert isinstance(entry.prompt, msgspec.Raw), "packed: many prompts are kept"
    assert msgspec.json.decode(entry.prompt) == {"1": {}}
    assert (entry.cached, entry.executed, entry.outcome) == (["7"], ["5"], Outcome.SUCCEEDED)
    assert entry.outputs == {"5": {"text": ["a"]}, "6": {"text": ["b"]}}
    assert set(entry.places) == {"5", "6"}
    assert entry.failure is None


def test_a_failure_and_an_interrupt_are_kept_with_what_they_name() -> None:
    failure = NodeFailed(prompt_id=P, place=place("1"), node_type="A", executed=[], known=[],
                         error=NodeError(exception_type="ValueError", exception_message="no"))
    failed = told(queued(), failure, finished(outcome=Outcome.FAILED)).get(P)
    assert failed is not None
    assert (failed.outcome, failed.failure) == (Outcome.FAILED, failure)
    stopped = told(
        queued(), finished(outcome=Outcome.INTERRUPTED, interrupted=place("1"), interrupted_type="A")).get(P)
    assert stopped is not None
    assert (stopped.outcome, stopped.interrupted, stopped.interrupted_type) == (Outcome.INTERRUPTED, place("1"), "A")


def test_entries_do_not_share_what_was_shown() -> None:
    store = told(queued(P), queued(Q), NodeFinished(prompt_id=P, place=place("1"), ui={"a": [1]}, is_output=True),
                 finished(P), finished(Q))
    other = store.get(Q)
    assert other is not None
    assert other.outputs == {}


def test_a_dropped_prompt_leaves_nothing() -> None:
    store = told(queued(), PromptDropped(prompt_id=P))
    assert store.get(P) is None
    store.take(queued())
    store.take(finished())
    assert store.get(P) is not None


def test_entries_come_in_the_order_of_their_ends_and_the_oldest_goes_first() -> None:
    a, b, c = (PromptId(name) for name in "abc")
    store = told(queued(a), queued(b), queued(c), finished(b), finished(a), bound=2)
    assert [entry.prompt_id for entry in store.entries()] == [b, a]
    store.take(finished(c))
    assert [entry.prompt_id for entry in store.entries()] == [a, c]


def test_a_prompt_that_runs_again_has_one_entry_the_newest() -> None:
    store = told(queued(P), queued(Q), finished(P, at=1), finished(Q, at=2), queued(P, at=3), finished(P, at=4))
    assert [(entry.prompt_id, entry.ended_at) for entry in store.entries()] == [(Q, 2), (P, 4)]


def test_entries_can_be_deleted_one_by_one_or_all() -> None:
    store = told(queued(P), queued(Q), finished(P), finished(Q))
    store.delete([P, PromptId("unheard of")])
    assert [entry.prompt_id for entry in store.entries()] == [Q]
    store.clear()
    assert store.entries() == []
