"""What holds for every store, whatever it keeps its jobs in."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from execution import (
    CancelAccepted,
    ClientId,
    Event,
    HistoryEntry,
    JobOrder,
    JobQuery,
    JobState,
    JobStore,
    NodeError,
    NodeFailed,
    NodeFinished,
    NodeId,
    NodesCached,
    NodeShown,
    Outcome,
    PromptDropped,
    PromptId,
    PromptMoved,
    PromptQueued,
    PromptRequeued,
    PromptStarted,
    RunRules,
)
from tests.execution.store.told_jobs import (
    P,
    Q,
    Telling,
    finished,
    names,
    new_job,
    node_finished,
    node_started,
    place,
    queued,
    started,
)


async def test_a_prompt_is_history_once_it_has_ended(told: Telling) -> None:
    store = await told(queued(), started(P))
    assert await store.get(P) is None
    assert await store.entries() == []
    await told(finished(at=9))
    assert [entry.prompt_id for entry in await store.entries()] == [P]


async def test_what_an_entry_says(told: Telling) -> None:
    entry = await (await told(
        queued(), started(P),
        NodesCached(at=3, prompt_id=P, nodes=[NodeId("7")]),
        NodesCached(at=4, prompt_id=P, nodes=[NodeId("8")]),
        NodeFinished(at=4, prompt_id=P, place=place("5"), ui={"text": ["a"]}, is_output=True),
        NodeShown(at=4, prompt_id=P, place=place("6"), ui={"text": ["b"]}),
        NodeFinished(at=5, prompt_id=P, place=place("8"), ui=None, is_output=False),
        finished(at=9, executed=[NodeId("5")]))).get(P)
    assert entry is not None
    assert (entry.queued_at, entry.started_at, entry.cached_at, entry.ended_at) == (1, 2, 3, 9)
    assert (entry.client_id, entry.number, entry.extra_data) == ("me", 3, {"x": 1})
    assert isinstance(entry.prompt, msgspec.Raw), "packed: many prompts are kept"
    assert msgspec.json.decode(entry.prompt) == {"1": {}}
    assert (entry.cached, entry.executed, entry.outcome) == (["7", "8"], ["5"], Outcome.SUCCEEDED)
    assert entry.outputs == {"5": {"text": ["a"]}, "6": {"text": ["b"]}}
    assert set(entry.places) == {"5", "6"}
    assert entry.failure is None


async def test_a_failure_and_an_interrupt_are_kept_with_what_they_name(told: Telling) -> None:
    failure = NodeFailed(prompt_id=P, place=place("1"), node_type="A", executed=[], known=[],
                         error=NodeError(exception_type="ValueError", exception_message="no", traceback=[]))
    failed = await (await told(queued(), failure, finished(outcome=Outcome.FAILED))).get(P)
    assert failed is not None
    assert (failed.outcome, failed.failure) == (Outcome.FAILED, failure)
    stopped = await (await told(
        queued(), finished(outcome=Outcome.INTERRUPTED, interrupted=place("1"), interrupted_type="A"))).get(P)
    assert stopped is not None
    assert (stopped.outcome, stopped.interrupted, stopped.interrupted_type) == (Outcome.INTERRUPTED, place("1"), "A")


async def test_entries_do_not_share_what_was_shown(told: Telling) -> None:
    store = await told(queued(P), queued(Q), NodeFinished(prompt_id=P, place=place("1"), ui={"a": [1]}, is_output=True),
                       finished(P), finished(Q))
    other = await store.get(Q)
    assert other is not None
    assert other.outputs == {}


async def test_a_dropped_prompt_leaves_no_history(told: Telling) -> None:
    store = await told(queued(), PromptDropped(prompt_id=P))
    assert await store.get(P) is None
    await told(queued())
    await told(finished())
    assert await store.get(P) is not None


async def test_entries_come_in_the_order_of_their_ends(told: Telling) -> None:
    a, b, c = (PromptId(name) for name in "abc")
    store = await told(queued(a), queued(b), queued(c), finished(b), finished(a))
    assert [entry.prompt_id for entry in await store.entries()] == [b, a]
    await told(finished(c))
    assert [entry.prompt_id for entry in await store.entries()] == [b, a, c]


async def test_a_prompt_that_runs_again_has_one_entry_the_newest(told: Telling) -> None:
    store = await told(queued(P), queued(Q), finished(P, at=1), finished(Q, at=2), queued(P, at=3), finished(P, at=4))
    assert [(entry.prompt_id, entry.ended_at) for entry in await store.entries()] == [(Q, 2), (P, 4)]


async def test_entries_can_be_deleted_one_by_one_or_all(told: Telling) -> None:
    store = await told(queued(P), queued(Q), finished(P), finished(Q))
    await store.delete([P, PromptId("unheard of")])
    assert [entry.prompt_id for entry in await store.entries()] == [Q]
    await store.clear()
    assert await store.entries() == []


# -- runs --------------------------------------------------------------------------------------------------------------


async def test_each_run_of_an_id_is_kept_and_the_newest_is_shown(told: Telling) -> None:
    store = await told(queued(P), finished(P, at=1), queued(P), finished(P, at=2), queued(Q), finished(Q, at=3))
    assert [(entry.run, entry.ended_at) for entry in await store.runs(P)] == [(1, 1), (2, 2)]
    newest = await store.get(P)
    assert newest is not None
    assert (newest.run, newest.ended_at) == (2, 2)
    assert [(entry.prompt_id, entry.run) for entry in await store.entries()] == [(P, 2), (Q, 1)]
    assert await store.runs(PromptId("unheard of")) == []


async def test_deleting_an_id_deletes_all_its_runs(told: Telling) -> None:
    store = await told(queued(P), finished(P), queued(P), finished(P), queued(Q), finished(Q))
    await store.delete([P])
    assert (await store.get(P), list(await store.runs(P))) == (None, [])
    assert [entry.prompt_id for entry in await store.entries()] == [Q]
    await store.clear()
    assert list(await store.runs(Q)) == []


async def test_deleting_spares_what_is_open(told: Telling) -> None:
    store = await told(queued(P), finished(P), queued(P))
    await store.delete([P])
    await store.clear()
    await told(finished(P, at=5))
    assert [(entry.prompt_id, entry.ended_at) for entry in await store.entries()] == [(P, 5)]


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


@pytest.mark.parametrize(("query", "expected"), [
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
async def test_which_jobs_a_query_means_and_in_which_order(told: Telling, query: JobQuery,
                                                               expected: list[str]) -> None:
    page = await (await told(*JOBS)).find_jobs(query)
    assert (names(page), page.total) == (expected, len(expected))


async def test_pages_of_jobs(told: Telling) -> None:
    store = await told(*JOBS)
    page = await store.find_jobs(JobQuery(offset=1, limit=2))
    assert ([entry.prompt_id for entry in page.jobs], page.total) == (["later", "runs"], 6)
    page = await store.find_jobs(JobQuery(offset=5, limit=2))
    assert ([entry.prompt_id for entry in page.jobs], page.total) == (["done"], 6)
    page = await store.find_jobs(JobQuery(offset=10**9, limit=10**30))
    assert (page.jobs, page.total) == ([], 6)
    assert len((await store.find_jobs(JobQuery(offset=4))).jobs) == 2


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("order", JobOrder)
async def test_every_page_is_a_part_of_the_whole_list(told: Telling, order: JobOrder, descending: bool) -> None:
    """Of jobs that are equal by threes in what they are sorted by, with some that are open among them."""
    ended = [event for number in range(11) for event in job(
        f"{number:02}", created=number // 3, started=100, ended=110 + number // 3,
        outcome=(Outcome.SUCCEEDED, Outcome.FAILED)[number % 2])]
    store = await told(*job("waits", created=1), *job("runs", created=2, started=50), *ended)
    for states in (None, frozenset({JobState.COMPLETED, JobState.PENDING})):
        def query(states: Any = states, **fields: Any) -> JobQuery:
            return JobQuery(states=states, order=order, descending=descending, **fields)

        whole = names(await store.find_jobs(query()))
        assert len(whole) == (13 if states is None else 7)
        for offset in range(len(whole) + 2):
            for limit in (1, 2, 5, None):
                page = await store.find_jobs(query(offset=offset, limit=limit))
                assert names(page) == whole[offset:][:limit]
                assert page.total == len(whole)


async def test_equal_jobs_stand_as_they_run_in_both_directions(told: Telling) -> None:
    store = await told(*job("old", ended=5, outcome=Outcome.SUCCEEDED), *job("new", ended=6, outcome=Outcome.SUCCEEDED),
                       *job("second", number=2), *job("first", number=1), *job("runs1", started=7),
                       *job("runs2", started=8))
    order = ["runs1", "runs2", "first", "second", "old", "new"]
    assert names(await store.find_jobs(JobQuery())) == order
    assert names(await store.find_jobs(JobQuery(descending=False))) == order


async def test_an_id_in_use_again_is_one_job_the_open_one(told: Telling) -> None:
    store = await told(*job("a", created=1, started=2, ended=3, outcome=Outcome.SUCCEEDED), *job("a", created=4))
    page = await store.find_jobs(JobQuery())
    assert [(entry.prompt_id, entry.state) for entry in page.jobs] == [("a", JobState.PENDING)]
    open_one = await store.job(PromptId("a"))
    assert open_one is not None
    assert open_one.outcome is None
    assert await store.job(PromptId("unheard of")) is None


async def test_a_page_does_not_change_when_its_jobs_go_on(told: Telling) -> None:
    store = await told(*job("a"))
    page = await store.find_jobs(JobQuery())
    await told(started("a"))
    await told(finished(PromptId("a"), at=3))
    assert [entry.state for entry in page.jobs] == [JobState.PENDING]


@pytest.mark.parametrize("extra_data", [
    {}, {"extra_pnginfo": None}, {"extra_pnginfo": []}, {"extra_pnginfo": {"workflow": None}},
    {"extra_pnginfo": {"workflow": "w"}}, {"extra_pnginfo": {"workflow": {"id": 5}}},
    {"extra_pnginfo": {"workflow": {"id": ""}}}, {"create_time": "5"}, {"create_time": True}, {"create_time": 1.5},
])
async def test_what_is_no_workflow_and_no_time_is_none(told: Telling, extra_data: dict[str, Any]) -> None:
    entry = await (await told(PromptQueued(prompt_id=P, client_id=None, number=0, prompt={}, extra_data=extra_data,
                                              outputs=[], remaining=1))).job(P)
    assert entry is not None
    assert (entry.workflow_id, entry.created_at) == (None, None)


async def test_a_failure_is_what_ended_its_prompt_though_that_went_on(told: Telling) -> None:
    failure = NodeFailed(at=7, prompt_id=P, place=place("1"), node_type="A", executed=[], known=[],
                         error=NodeError(exception_type="ValueError", exception_message="no"))
    store = await told(queued(), started(P), failure, finished(at=9, outcome=Outcome.FAILED))
    entry = await store.get(P)
    assert entry is not None
    assert (entry.ended_at, entry.stopped_at, entry.duration) == (9, 7, 5)


async def test_jobs_of_a_client_and_of_an_outcome(told: Telling) -> None:
    store = await told(
        queued("a", client_id=ClientId("me")), queued("b", client_id=None), queued("c", client_id=ClientId("you")),
        started("a"), finished("a", outcome=Outcome.PARTLY_SUCCEEDED), started("b"),
        finished("b", outcome=Outcome.POISONED))
    assert names(await store.find_jobs(JobQuery(client_id=ClientId("me")))) == ["a"]
    assert names(await store.find_jobs(JobQuery(client_id=ClientId("nobody")))) == []
    outcomes = frozenset({Outcome.POISONED, Outcome.SUCCEEDED})
    assert names(await store.find_jobs(JobQuery(outcomes=outcomes))) == ["b"]
    assert names(await store.find_jobs(JobQuery(states=frozenset({JobState.FAILED})))) == ["a", "b"]


async def test_what_a_function_makes_of_jobs_stands_where_they_do(told: Telling) -> None:
    store = await told(queued("ended"), started("ended"), finished("ended"), queued("runs"), started("runs"),
                       node_finished("1", "runs", ui={"text": ["so far"]}), queued("waits"), queued("last"),
                       started("last"), finished("last"))
    threads = set()

    def made_of(entry: HistoryEntry) -> tuple[str, list[str]]:
        threads.add(threading.get_ident())
        return entry.prompt_id, list(entry.outputs)

    made, total = await store.map_jobs(JobQuery(), made_of)
    assert [prompt_id for prompt_id, _ in made] == names(await store.find_jobs(JobQuery()))
    assert dict(made) == {"ended": [], "runs": ["1"], "waits": [], "last": []}
    assert total == 4
    assert threading.get_ident() not in threads
    made, total = await store.map_jobs(JobQuery(offset=1, limit=2), made_of)
    assert ([prompt_id for prompt_id, _ in made], total) == (["waits", "ended"], 4)


async def test_a_pending_job_that_was_cancelled_is_a_job_and_no_history(told: Telling) -> None:
    store = await told(queued(P), PromptDropped(prompt_id=P, at=7, reason="because"))
    entry = await store.job(P)
    assert entry is not None
    assert (entry.state, entry.outcome, entry.ended_at, entry.reason) == (
        JobState.CANCELLED, Outcome.CANCELLED, 7, "because")
    assert names(await store.find_jobs(JobQuery(states=frozenset({JobState.CANCELLED})))) == ["p"]
    assert (await store.get(P), list(await store.runs(P)), list(await store.entries())) == (None, [], [])
    assert list(store.history_now(P)) == list(store.history_now()) == []


async def test_a_cancelled_run_hides_no_run_before_it(told: Telling) -> None:
    store = await told(queued(P), finished(P, at=1), queued(Q), finished(Q, at=2), queued(P),
                       PromptDropped(prompt_id=P))
    assert names(await store.entries()) == ["p", "q"], "in the order in which they ended"
    assert [entry.ended_at for entry in await store.runs(P)] == [1]
    page = await store.find_jobs(JobQuery())
    assert {(entry.prompt_id, entry.state) for entry in page.jobs} == {
        (Q, JobState.COMPLETED), (P, JobState.CANCELLED)}


async def test_pages_of_history(told: Telling) -> None:
    store = await told(*(event for name in "abcde" for event in (queued(name), started(name), finished(name))))
    assert names(await store.entries(2)) == ["d", "e"], "the last ones"
    assert names(await store.entries(2, 1)) == ["b", "c"]
    assert names(await store.entries(None, 3)) == ["d", "e"]
    assert names(await store.entries(10**30, 10**30)) == []
    assert names(await store.entries(0)) == names(await store.entries(0, 0)) == []


@pytest.mark.may_block
async def test_history_for_code_that_cannot_await(told: Telling) -> None:
    store = await told(queued(P), finished(P, at=1), queued(P), finished(P, at=2), queued(Q), started(Q))
    assert [(entry.prompt_id, entry.ended_at) for entry in store.history_now()] == [(P, 2)]
    assert [entry.ended_at for entry in store.history_now(P)] == [2]
    assert list(store.history_now(Q)) == []


async def test_one_that_ends_although_it_was_left_to_the_next_engine_has_its_start(told: Telling) -> None:
    store = await told(queued(P), started(P, at=7), PromptRequeued(prompt_id=P), finished(P, at=9))
    entry = await store.get(P)
    assert entry is not None
    assert (entry.started_at, entry.attempt, entry.ended_at, entry.state) == (7, 1, 9, JobState.COMPLETED)


async def test_starts_are_counted_and_a_leave_on_good_terms_is_none(told: Telling) -> None:
    store = await told(queued(P), started(P), PromptRequeued(prompt_id=P))
    assert await state_and_attempt(store) == (JobState.PENDING, 0)
    await told(started(P))
    assert await state_and_attempt(store) == (JobState.IN_PROGRESS, 1)
    await told(queued(P, is_restored=True, attempt=1))
    assert await state_and_attempt(store) == (JobState.PENDING, 1)
    assert names(await store.find_jobs(JobQuery(states=frozenset({JobState.PENDING})))) == ["p"]
    await told(started(P), finished(P))
    assert await state_and_attempt(store) == (JobState.COMPLETED, 2)


async def state_and_attempt(store: JobStore) -> tuple[JobState, int]:
    entry = await store.job(P)
    assert entry is not None
    (listed,) = (await store.find_jobs(JobQuery())).jobs
    assert (listed.state, listed.attempt) == (entry.state, entry.attempt)
    return entry.state, entry.attempt


async def test_a_prompt_that_moves_stands_elsewhere(told: Telling) -> None:
    store = await told(queued("a", number=1), queued("b", number=2), PromptMoved(prompt_id=PromptId("b"), number=0.5))
    assert names(await store.find_jobs(JobQuery())) == ["b", "a"]
    moved = await store.job(PromptId("b"))
    assert moved is not None
    assert moved.number == 0.5


async def test_a_cancel_that_was_accepted_is_known(told: Telling) -> None:
    store = await told(queued(P), started(P))
    assert not (await open_job(store)).is_cancelled
    await told(CancelAccepted(prompt_id=P))
    assert (await open_job(store)).is_cancelled


async def open_job(store: JobStore) -> Any:
    entry = await store.job(P)
    assert entry is not None
    return entry


async def test_the_times_of_nodes_and_all_failures_are_kept(told: Telling) -> None:
    def failed(node_id: str, at: int) -> NodeFailed:
        return NodeFailed(at=at, prompt_id=P, place=place(node_id), node_type="A", executed=[], known=[],
                          error=NodeError(exception_type="ValueError", exception_message=node_id))

    store = await told(
        queued(P), started(P), node_started("1", at=3), node_started("2", at=4), node_finished("1", at=5),
        node_started("3", at=5), failed("2", 6), failed("3", 7),
        finished(P, at=8, outcome=Outcome.PARTLY_SUCCEEDED, reason="two failed"))
    entry = await store.get(P)
    assert entry is not None
    assert entry.node_times == {"1": (3, 5), "2": (4, 6), "3": (5, 7)}
    assert [one.error.exception_message for one in entry.failures] == ["2", "3"]
    assert entry.failure == entry.failures[0]
    assert (entry.reason, entry.state, entry.outcome) == ("two failed", JobState.FAILED, Outcome.PARTLY_SUCCEEDED)


# -- jobs that are submitted again ---------------------------------------------------------------------------------


async def test_a_job_can_be_submitted_again_with_all_that_it_came_with(store: JobStore) -> None:
    rules = RunRules(goes_on_after_errors=True)
    job = new_job(queued(P, number=2.5), targets=["1"], line="tab", content_key="body", idempotency_key="key",
                  rules=rules, had_secrets=True)
    job.entry.retry_of = PromptId("before")
    await store.add(job)
    for again in (await store.job_to_repeat(P), await store.job_of_key("key")):
        assert again is not None
        assert (again.targets, again.line, again.content_key, again.idempotency_key) == (["1"], "tab", "body", "key")
        assert (again.rules, again.had_secrets, again.submitted) == (rules, True, b'{"1":{}}')
        assert (again.entry.prompt_id, again.entry.number, again.entry.retry_of) == (P, 2.5, "before")
        assert (again.entry.client_id, again.entry.extra_data) == ("me", {"x": 1})
    assert await store.job_to_repeat(Q) is None
    assert await store.job_of_key("another") is None


async def test_what_was_submitted_is_forgotten_with_the_history(store: JobStore) -> None:
    told = Telling(store)
    await store.add(new_job(idempotency_key="key"))
    told.take(queued(P, is_restored=True))
    await told(started(P), finished(P))
    assert await store.job_of_key("key") is not None
    await store.delete([P])
    assert await store.job_of_key("key") is None
    assert await store.job_to_repeat(P) is None
