from __future__ import annotations

from typing import Any

import msgspec
import pytest

from execution import (
    ClientId,
    Event,
    JobOrder,
    JobQuery,
    JobState,
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


async def test_a_prompt_is_history_once_it_has_ended() -> None:
    store = told(queued(), PromptStarted(at=2, prompt_id=P, remaining=1))
    assert (await store.get(P)) is None
    assert (await store.entries()) == []
    store.take(finished(at=9))
    assert [entry.prompt_id for entry in (await store.entries())] == [P]


async def test_what_an_entry_says() -> None:
    entry = (await told(
        queued(), PromptStarted(at=2, prompt_id=P, remaining=1),
        NodesCached(at=3, prompt_id=P, nodes=[NodeId("7")]),
        NodeFinished(at=4, prompt_id=P, place=place("5"), ui={"text": ["a"]}, is_output=True),
        NodeShown(at=4, prompt_id=P, place=place("6"), ui={"text": ["b"]}),
        NodeFinished(at=5, prompt_id=P, place=place("8"), ui=None, is_output=False),
        finished(at=9, executed=[NodeId("5")])).get(P))
    assert entry is not None
    assert (entry.queued_at, entry.started_at, entry.cached_at, entry.ended_at) == (1, 2, 3, 9)
    assert (entry.client_id, entry.number, entry.extra_data) == ("me", 3, {"x": 1})
    assert isinstance(entry.prompt, msgspec.Raw), "packed: many prompts are kept"
    assert msgspec.json.decode(entry.prompt) == {"1": {}}
    assert (entry.cached, entry.executed, entry.outcome) == (["7"], ["5"], Outcome.SUCCEEDED)
    assert entry.outputs == {"5": {"text": ["a"]}, "6": {"text": ["b"]}}
    assert set(entry.places) == {"5", "6"}
    assert entry.failure is None


async def test_a_failure_and_an_interrupt_are_kept_with_what_they_name() -> None:
    failure = NodeFailed(prompt_id=P, place=place("1"), node_type="A", executed=[], known=[],
                         error=NodeError(exception_type="ValueError", exception_message="no"))
    failed = (await told(queued(), failure, finished(outcome=Outcome.FAILED)).get(P))
    assert failed is not None
    assert (failed.outcome, failed.failure) == (Outcome.FAILED, failure)
    stopped = (await told(
        queued(), finished(outcome=Outcome.INTERRUPTED, interrupted=place("1"), interrupted_type="A")).get(P))
    assert stopped is not None
    assert (stopped.outcome, stopped.interrupted, stopped.interrupted_type) == (Outcome.INTERRUPTED, place("1"), "A")


async def test_entries_do_not_share_what_was_shown() -> None:
    store = told(queued(P), queued(Q), NodeFinished(prompt_id=P, place=place("1"), ui={"a": [1]}, is_output=True),
                 finished(P), finished(Q))
    other = (await store.get(Q))
    assert other is not None
    assert other.outputs == {}


async def test_a_dropped_prompt_leaves_nothing() -> None:
    store = told(queued(), PromptDropped(prompt_id=P))
    assert (await store.get(P)) is None
    store.take(queued())
    store.take(finished())
    assert (await store.get(P)) is not None


async def test_entries_come_in_the_order_of_their_ends_and_the_oldest_goes_first() -> None:
    a, b, c = (PromptId(name) for name in "abc")
    store = told(queued(a), queued(b), queued(c), finished(b), finished(a), bound=2)
    assert [entry.prompt_id for entry in (await store.entries())] == [b, a]
    store.take(finished(c))
    assert [entry.prompt_id for entry in (await store.entries())] == [a, c]


async def test_a_prompt_that_runs_again_has_one_entry_the_newest() -> None:
    store = told(queued(P), queued(Q), finished(P, at=1), finished(Q, at=2), queued(P, at=3), finished(P, at=4))
    assert [(entry.prompt_id, entry.ended_at) for entry in (await store.entries())] == [(Q, 2), (P, 4)]


async def test_entries_can_be_deleted_one_by_one_or_all() -> None:
    store = told(queued(P), queued(Q), finished(P), finished(Q))
    store.delete([P, PromptId("unheard of")])
    assert [entry.prompt_id for entry in (await store.entries())] == [Q]
    store.clear()
    assert (await store.entries()) == []


# -- runs --------------------------------------------------------------------------------------------------------------


async def test_each_run_of_an_id_is_kept_and_the_newest_is_shown() -> None:
    store = told(queued(P), finished(P, at=1), queued(P), finished(P, at=2), queued(Q), finished(Q, at=3))
    assert [(entry.run, entry.ended_at) for entry in (await store.runs(P))] == [(1, 1), (2, 2)]
    newest = (await store.get(P))
    assert newest is not None
    assert (newest.run, newest.ended_at) == (2, 2)
    assert [(entry.prompt_id, entry.run) for entry in (await store.entries())] == [(P, 2), (Q, 1)]
    assert (await store.runs(PromptId("unheard of"))) == []


async def test_the_bound_counts_runs_and_the_oldest_goes_first() -> None:
    store = told(queued(P), finished(P, at=1), queued(Q), finished(Q, at=2), queued(P), finished(P, at=3), bound=2)
    assert [entry.ended_at for entry in (await store.runs(P))] == [3]
    assert [entry.prompt_id for entry in (await store.entries())] == [Q, P]
    for number in range(5):
        store.take(queued(P))
        store.take(finished(P, at=10 + number))
    assert [(entry.run, entry.ended_at) for entry in (await store.runs(P))] == [(6, 13), (7, 14)]
    assert [entry.prompt_id for entry in (await store.entries())] == [P]


async def test_deleting_an_id_deletes_all_its_runs() -> None:
    store = told(queued(P), finished(P), queued(P), finished(P), queued(Q), finished(Q))
    store.delete([P])
    assert ((await store.get(P)), list(await store.runs(P))) == (None, [])
    assert [entry.prompt_id for entry in (await store.entries())] == [Q]
    store.clear()
    assert list(await store.runs(Q)) == []


async def test_deleting_spares_what_is_open() -> None:
    store = told(queued(P), finished(P), queued(P))
    store.delete([P])
    store.clear()
    store.take(finished(P, at=5))
    assert [(entry.run, entry.ended_at) for entry in (await store.entries())] == [(1, 5)]


# -- jobs --------------------------------------------------------------------------------------------------------------


def job(name: str, *, created: Any = 0, number: float = 0, started: int = 0, ended: int = 0,
        outcome: Outcome | None = None, workflow: Any = None) -> list[Event]:
    """The events of a prompt as far as it came."""
    prompt_id = PromptId(name)
    extra_data = {"create_time": created, "extra_pnginfo": {"workflow": {"id": workflow}}}
    events: list[Event] = [PromptQueued(prompt_id=prompt_id, client_id=None, number=number, prompt={},
                                        extra_data=extra_data, outputs=[], remaining=1)]
    if started:
        events.append(PromptStarted(at=started, prompt_id=prompt_id, remaining=1))
    if outcome is not None:
        events.append(finished(prompt_id, at=ended, outcome=outcome))
    return events


JOBS = [
    *job("done", created=10, started=11, ended=20, outcome=Outcome.SUCCEEDED, workflow="w"),
    *job("broken", created=20, started=21, ended=24, outcome=Outcome.FAILED, workflow="v"),
    *job("stopped", created=30, started=31, ended=61, outcome=Outcome.INTERRUPTED),
    *job("later", created=50, number=9),
    *job("sooner", created=60, number=1),
    *job("runs", created=40, started=41, workflow="w"),
]


async def found(query: JobQuery, store: MemoryStore | None = None) -> list[str]:
    page = await (store or told(*JOBS)).find_jobs(query)
    return [str(entry.prompt_id) for entry in page.jobs]


@pytest.mark.parametrize(("query", "names"), [
    (JobQuery(), ["sooner", "later", "runs", "stopped", "broken", "done"]),
    (JobQuery(descending=False), ["done", "broken", "stopped", "runs", "later", "sooner"]),
    (JobQuery(order=JobOrder.DURATION), ["stopped", "done", "broken", "runs", "sooner", "later"]),
    (JobQuery(order=JobOrder.DURATION, descending=False), ["runs", "sooner", "later", "broken", "done", "stopped"]),
    (JobQuery(states=frozenset({JobState.PENDING})), ["sooner", "later"]),
    (JobQuery(states=frozenset({JobState.IN_PROGRESS})), ["runs"]),
    (JobQuery(states=frozenset({JobState.COMPLETED, JobState.FAILED})), ["broken", "done"]),
    (JobQuery(states=frozenset({JobState.CANCELLED})), ["stopped"]),
    (JobQuery(states=frozenset()), []),
    (JobQuery(workflow_id="w"), ["runs", "done"]),
    (JobQuery(workflow_id="u"), []),
])
async def test_which_jobs_a_query_means_and_in_which_order(query: JobQuery, names: list[str]) -> None:
    assert await found(query) == names


async def test_pages_of_jobs() -> None:
    page = await told(*JOBS).find_jobs(JobQuery(offset=1, limit=2))
    assert ([entry.prompt_id for entry in page.jobs], page.total) == (["later", "runs"], 6)
    page = await told(*JOBS).find_jobs(JobQuery(offset=5, limit=2))
    assert ([entry.prompt_id for entry in page.jobs], page.total) == (["done"], 6)
    page = await told(*JOBS).find_jobs(JobQuery(offset=10**9, limit=10**30))
    assert (page.jobs, page.total) == ([], 6)
    assert len((await told(*JOBS).find_jobs(JobQuery(offset=4))).jobs) == 2


async def test_equal_jobs_stand_as_they_run_in_both_directions() -> None:
    store = told(*job("old", ended=5, outcome=Outcome.SUCCEEDED), *job("new", ended=6, outcome=Outcome.SUCCEEDED),
                 *job("second", number=2), *job("first", number=1), *job("runs2", started=8), *job("runs1", started=7))
    order = ["runs1", "runs2", "first", "second", "old", "new"]
    assert await found(JobQuery(), store) == order
    assert await found(JobQuery(descending=False), store) == order


async def test_an_id_in_use_again_is_one_job_the_open_one() -> None:
    store = told(*job("a", created=1, started=2, ended=3, outcome=Outcome.SUCCEEDED), *job("a", created=4))
    page = await store.find_jobs(JobQuery())
    assert [(entry.prompt_id, entry.state) for entry in page.jobs] == [("a", JobState.PENDING)]
    open_one = (await store.job(PromptId("a")))
    assert open_one is not None
    assert open_one.outcome is None
    assert (await store.job(PromptId("unheard of"))) is None


async def test_a_page_does_not_change_when_its_jobs_go_on() -> None:
    store = told(*job("a"))
    page = await store.find_jobs(JobQuery())
    store.take(PromptStarted(at=2, prompt_id=PromptId("a"), remaining=1))
    store.take(finished(PromptId("a"), at=3))
    assert [entry.state for entry in page.jobs] == [JobState.PENDING]


@pytest.mark.parametrize("extra_data", [
    {}, {"extra_pnginfo": None}, {"extra_pnginfo": []}, {"extra_pnginfo": {"workflow": None}},
    {"extra_pnginfo": {"workflow": "w"}}, {"extra_pnginfo": {"workflow": {"id": 5}}},
    {"extra_pnginfo": {"workflow": {"id": ""}}}, {"create_time": "5"}, {"create_time": True}, {"create_time": 1.5},
])
async def test_what_is_no_workflow_and_no_time_is_none(extra_data: dict[str, Any]) -> None:
    entry = await told(PromptQueued(prompt_id=P, client_id=None, number=0, prompt={}, extra_data=extra_data,
                                    outputs=[], remaining=1)).job(P)
    assert entry is not None
    assert (entry.workflow_id, entry.created_at) == (None, None)


async def test_a_failure_is_what_ended_its_prompt_though_that_went_on() -> None:
    failure = NodeFailed(at=7, prompt_id=P, place=place("1"), node_type="A", executed=[], known=[],
                         error=NodeError(exception_type="ValueError", exception_message="no"))
    entry = (await told(queued(), PromptStarted(at=2, prompt_id=P, remaining=1), failure,
                 finished(at=9, outcome=Outcome.FAILED)).get(P))
    assert entry is not None
    assert (entry.ended_at, entry.stopped_at, entry.duration) == (9, 7, 5)
