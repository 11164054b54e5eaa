"""An engine on a store that outlives it: nobody is told what is not on record, and the next engine goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from execution import (
    HistoryEntry,
    NodeFailed,
    NodeId,
    NodeProgressed,
    NodeStarted,
    Outcome,
    PromptFinished,
    PromptId,
    PromptQueued,
    PromptRequeued,
    PromptStarted,
    PromptSubmission,
    StoreUnavailable,
    event_journal,
    report_progress,
)
from execution.engine import SEQUENCE_JUMP
from execution.events import StartPutOff
from execution.restored_jobs import reason_to_end
from execution.store import Leftovers, NewJob, UnfinishedJob
from tests.execution.test_engine import running, shows, turns_until
from tests.support.gated_nodes import GatedNode
from tests.support.node_definitions import define, node
from tests.support.scripted_store import ScriptedStore

PROMPT = {"1": node("Echo", x=1), "2": shows("1")}
FULL = StoreUnavailable("the disk is full")


async def echo(x: Any) -> Any:
    return x


def left(prompt: dict[str, Any], prompt_id: str, *, attempt: int = 0, number: int = 0, open_nodes: tuple[str, ...] = (),
         is_cancelled: bool = False, had_secrets: bool = False, was_started: bool = True) -> UnfinishedJob:
    """A job as a store finds it."""
    encoded = msgspec.json.encode(prompt)
    return UnfinishedJob(
        job=NewJob(entry=HistoryEntry(
            prompt_id=PromptId(prompt_id), client_id=None, number=number, prompt=msgspec.Raw(encoded), extra_data={},
            outputs_wanted=[NodeId("2")], queued_at=5, started_at=6 if attempt else 0, attempt=attempt),
            submitted=encoded, had_secrets=had_secrets, content_key="key"),
        open_nodes=[NodeId(one) for one in open_nodes], is_cancelled=is_cancelled,
        was_started=was_started and attempt > 0)


def starting_with(*found: UnfinishedJob, **fields: Any) -> ScriptedStore:
    return ScriptedStore(Leftovers(unfinished=found, **fields))


# -- what is on record, and when --------------------


async def test_a_submission_is_answered_once_it_is_on_record_and_nothing_of_it_starts_before() -> None:
    store = ScriptedStore(at_once=False)
    async with running(define("Echo", echo), store=store) as studio:
        answer = asyncio.ensure_future(studio.submit(PROMPT, prompt_id=PromptId("p")))
        await turns_until(lambda: bool(store._door._waiters))  # type: ignore[attr-defined]
        assert not answer.done()
        assert studio.engine.remaining == 0
        store.at_once = True
        store.let_in()
        assert await answer == "p"
        await studio.events.end_of("p")


async def test_what_is_kept_is_the_prompt_as_it_came() -> None:
    store = ScriptedStore()
    prompt = {"1": node("Echo", x="7"), "2": shows("1")}
    async with running(define("Echo", echo, required={"x": ("INT",)}), store=store) as studio:
        await studio.run(prompt, extra_data={"k": 1}, targets=["2"], line="tab", number=2.5)
    (job,) = store.jobs
    assert msgspec.json.decode(job.submitted)["1"]["inputs"] == {"x": "7"}
    assert (job.targets, job.line, job.entry.number, job.entry.extra_data) == (["2"], "tab", 2.5, {"k": 1})


async def test_secrets_are_not_kept_but_that_there_were_some_is() -> None:
    store = ScriptedStore()
    async with running(define("Echo", echo), store=store) as studio:
        await studio.run(PROMPT, secrets={"key": "hush"})
    (job,) = store.jobs
    assert job.had_secrets
    assert b"hush" not in msgspec.json.encode(job)


async def test_nobody_is_told_what_is_not_written_and_the_order_stays() -> None:
    store = ScriptedStore()
    ticks = asyncio.Event()

    async def reports(x: int) -> int:
        report_progress(1, 2)
        await ticks.wait()
        return x

    async with running(define("Reports", reports), store=store) as studio:
        told: list[str] = []
        studio.engine.add_listener(lambda event: told.append(type(event).__name__))
        store.at_once = False
        store.let_in()
        await studio.submit({"1": node("Reports", x=1), "2": shows("1")}, prompt_id=PromptId("p"))
        await turns_until(lambda: bool(store.batches))
        for _ in range(20):
            await asyncio.sleep(0)
        assert told == []
        store.at_once = True
        while store.batches:
            store.write_next()
        await studio.events.until(NodeProgressed)
        assert told.index("NodeStarted") < told.index("NodeProgressed")
        ticks.set()
        await studio.events.end_of("p")
        written = [event.sequence for event in store.events]
        assert written == sorted(set(written))
        assert store.kinds("p")[-1] == "PromptFinished"
        assert "NodeProgressed" not in store.kinds("p")


async def test_no_node_is_called_before_the_start_of_its_prompt_is_on_record() -> None:
    gate, store = GatedNode("Gate"), ScriptedStore()
    async with running(gate, store=store) as studio:
        store.at_once = False
        store.let_in()
        # It may have to wait for others of its line, so that nobody knows beforehand whether it starts at once.
        await studio.submit({"1": node("Gate"), "2": shows("1")}, prompt_id=PromptId("p"), line="one by one")
        await turns_until(lambda: bool(store.batches))
        for _ in range(20):
            await asyncio.sleep(0)
        assert gate.calls == []
        assert [type(one) for one in store.batches[0][0]] == [PromptQueued, PromptStarted], "one write for both"
        store.at_once = True
        store.write_next()
        (await gate.arrived())[0].let_go(1)
        await studio.events.end_of("p")


async def test_the_start_of_a_prompt_that_nothing_keeps_from_starting_is_on_record_with_its_arrival() -> None:
    gate, store = GatedNode("Gate"), ScriptedStore()
    async with running(gate, store=store) as studio:
        store.at_once = False
        accepted = asyncio.ensure_future(studio.submit({"1": node("Gate"), "2": shows("1")}, prompt_id=PromptId("p")))
        for _ in range(20):
            await asyncio.sleep(0)
        assert gate.calls == []
        store.let_in()
        await accepted
        (call,) = await gate.arrived()
        assert [job.starts_at > 0 for job in store.jobs] == [True]
        assert store.events == [], "events of nodes wait for more"
        call.let_go(1)
        await turns_until(lambda: bool(store.batches))
        store.at_once = True
        while store.batches:
            store.write_next()
        await studio.events.end_of("p")
        (started,) = studio.events.of(PromptStarted, prompt_id="p")
        assert started.is_on_record
        assert store.kinds("p")[:2] == ["PromptQueued", "PromptStarted"]


async def test_who_wants_to_know_of_a_prompt_before_its_nodes_run_is_told_when_it_is_queued() -> None:
    """What a node sends goes to the client of its prompt, whose arrival may not have been told by then."""
    heard: list[str] = []
    known_to_node: list[list[str]] = []

    async def asks(x: int) -> int:
        known_to_node.append(list(heard))
        return x

    store = ScriptedStore()
    async with running(define("Asks", asks), store=store) as studio:
        def hear(event: PromptQueued) -> None:
            heard.append(event.prompt_id)

        studio.engine.add_arrival_listener(hear)
        told: list[str] = []
        studio.engine.add_listener(lambda event: told.append(type(event).__name__))
        store.at_once = False
        store.let_in()
        await studio.submit({"1": node("Asks", x=1), "2": shows("1")}, prompt_id=PromptId("p"))
        await turns_until(lambda: bool(known_to_node))
        assert (known_to_node, told) == ([["p"]], [])
        store.at_once = True
        await turns_until(lambda: bool(store.batches))
        while store.batches:
            store.write_next()
        await studio.events.end_of("p")
        studio.engine.remove_arrival_listener(hear)
        await studio.run({"1": node("Asks", x=1), "2": shows("1")}, prompt_id=PromptId("q"))
    assert heard == ["p"]


async def test_who_fails_at_the_arrival_of_a_prompt_does_not_hurt_it(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def fails(event: PromptQueued) -> None:
        raise ValueError("no")

    async with running(define("Echo", echo), store=ScriptedStore()) as studio:
        studio.engine.add_arrival_listener(fails)
        studio.engine.add_arrival_listener(lambda event: heard.append(event.prompt_id))
        end = await studio.run({"1": node("Echo", x=1), "2": shows("1")}, prompt_id=PromptId("p"))
    assert end.outcome is Outcome.SUCCEEDED
    assert heard == ["p"]
    assert "a listener failed on the arrival of prompt p" in caplog.text


async def test_of_several_that_come_at_once_only_as_many_are_on_record_as_started_as_there_is_room_for() -> None:
    gate, store = GatedNode("Gate", plain=True), ScriptedStore()
    async with running(gate, store=store, max_running_prompts=2) as studio:
        store.at_once = False
        coming = [asyncio.ensure_future(studio.submit({"1": node("Gate", x=number), "2": shows("1")}))
                  for number in range(4)]
        for _ in range(50):
            await asyncio.sleep(0)
        store.at_once = True
        store.let_in()
        await asyncio.gather(*coming)
        assert sum(job.starts_at > 0 for job in store.jobs) == 2
        gate.open(1)
        for prompt_id in [job.entry.prompt_id for job in store.jobs]:
            await studio.events.end_of(prompt_id)
        assert sum(event.is_on_record for event in studio.events.of(PromptStarted)) == 2
        assert studio.events.of(StartPutOff) == []


async def test_a_prompt_whose_end_is_not_on_record_is_shown_as_one_that_runs() -> None:
    gate, store = GatedNode("Gate"), ScriptedStore()
    async with running(gate, store=store) as studio:
        await studio.submit({"1": node("Gate"), "2": shows("1")}, prompt_id=PromptId("p"))
        (call,) = await gate.arrived()
        await studio.events.until(NodeStarted)
        store.at_once = False
        call.let_go(1)
        await turns_until(lambda: studio.engine.remaining == 0)
        assert [one.prompt_id for one in studio.engine.snapshot().running] == ["p"]
        store.at_once = True
        while store.batches:
            store.write_next()
        await studio.events.end_of("p")
        assert studio.engine.snapshot().running == []


async def test_a_cancel_that_was_accepted_is_on_record_before_it_is_answered() -> None:
    gate, store = GatedNode("Gate"), ScriptedStore()
    async with running(gate, store=store) as studio:
        await studio.submit({"1": node("Gate"), "2": shows("1")}, prompt_id=PromptId("p"))
        await gate.arrived()
        assert studio.engine.cancel([PromptId("p")])
        await studio.engine.told()
        assert "CancelAccepted" in store.kinds("p")
        assert (await studio.events.end_of("p")).outcome is Outcome.INTERRUPTED


# -- trouble --------------------


async def test_a_prompt_that_cannot_be_kept_is_not_accepted() -> None:
    store = ScriptedStore()
    async with running(define("Echo", echo), store=store) as studio:
        store.trouble = FULL
        with pytest.raises(StoreUnavailable, match="full"):
            await studio.submit(PROMPT, prompt_id=PromptId("p"))
        assert studio.engine.remaining == 0
        store.trouble = None
        await studio.run(PROMPT, prompt_id=PromptId("p"))
        assert len(store.jobs) == 1


async def test_while_nothing_can_be_written_nobody_is_told_and_nothing_is_accepted_and_then_all_of_it_is_told(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_journal, "RETRY_SECONDS", 0)
    gate, store = GatedNode("Gate"), ScriptedStore()
    async with running(gate, define("Echo", echo), store=store) as studio:
        await studio.submit({"1": node("Gate"), "2": shows("1")}, prompt_id=PromptId("p"))
        (call,) = await gate.arrived()
        await studio.engine.told()
        store.trouble = FULL
        call.let_go(1)
        await turns_until(lambda: studio.engine.remaining == 0)
        with pytest.raises(StoreUnavailable):
            await studio.engine.told()
        with pytest.raises(StoreUnavailable):
            await studio.submit(PROMPT, prompt_id=PromptId("q"))
        assert studio.events.of(PromptFinished) == []
        store.trouble = None
        assert (await studio.events.end_of("p")).outcome is Outcome.SUCCEEDED
        assert store.kinds("p").count("PromptFinished") == 1
        await studio.run(PROMPT, prompt_id=PromptId("q"))


# -- an engine ends, and the next one goes on --------------------


async def test_an_engine_that_closes_leaves_what_waits_and_runs_to_the_next() -> None:
    gate, store = GatedNode("Gate"), ScriptedStore()
    async with running(gate, store=store, max_running_prompts=1) as studio:
        await studio.submit({"1": node("Gate"), "2": shows("1")}, prompt_id=PromptId("runs"))
        await gate.arrived()
        await studio.submit({"1": node("Gate"), "2": shows("1")}, prompt_id=PromptId("waits"))
    assert store.kinds("runs")[-1] == PromptRequeued.__name__, "neither cancelled nor failed"
    assert store.kinds("waits") == ["PromptQueued"]
    assert store.is_closed


async def test_what_was_left_runs_in_its_order_with_numbers_that_go_on() -> None:
    store = starting_with(left(PROMPT, "a", number=3), left(PROMPT, "b", number=4), next_number=5, last_sequence=70)
    async with running(define("Echo", echo), store=store, max_running_prompts=1) as studio:
        await studio.engine.restore()
        for prompt_id in ("a", "b"):
            assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        started = [event.prompt_id for event in studio.events.of(PromptStarted)]
        assert started == ["a", "b"]
        assert all(event.is_restored for event in studio.events.of(PromptQueued))
        assert min(event.sequence for event in studio.events.events) > 70 + SEQUENCE_JUMP
        accepted = await studio.engine.submit(PromptSubmission(prompt=PROMPT))
        assert accepted.number == 5
        await studio.events.end_of(accepted.prompt_id)


async def test_a_submission_that_comes_again_after_a_restart_is_the_same_prompt() -> None:
    gate, store = GatedNode("Gate"), starting_with(left({"1": node("Gate"), "2": shows("1")}, "a", number=3))
    async with running(gate, store=store) as studio:
        await studio.engine.restore()
        (call,) = await gate.arrived()
        again = await studio.engine.submit(PromptSubmission(
            prompt={"1": node("Gate"), "2": shows("1")}, prompt_id=PromptId("a"), content_key="key"))
        assert (again.prompt_id, again.number) == ("a", 3)
        assert len(gate.calls) == 1
        call.let_go(1)
        await studio.events.end_of("a")


@pytest.mark.parametrize(("attempt", "was_started", "is_poisoned"), [
    (1, False, False), (2, False, False), (3, False, True), (1, True, False), (2, True, True)])
def test_a_start_that_nobody_was_told_of_may_not_have_come_to_anything(
        attempt: int, was_started: bool, is_poisoned: bool) -> None:
    end = reason_to_end(left(PROMPT, "a", attempt=attempt, was_started=was_started), 2)
    assert (end is not None) is is_poisoned


async def test_what_ran_when_the_process_ended_too_often_is_poisoned_and_says_why() -> None:
    store = starting_with(left(PROMPT, "a", attempt=2, open_nodes=("1",)), left(PROMPT, "b", attempt=1))
    async with running(define("Echo", echo), store=store) as studio:
        await studio.engine.restore()
        end = await studio.events.end_of("a")
        assert end.outcome is Outcome.POISONED
        assert "2 times" in end.reason
        (failed,) = studio.events.of(NodeFailed, prompt_id="a")
        assert (failed.place.node_id, failed.node_type) == ("1", "Echo")
        assert studio.events.of(PromptStarted, prompt_id="a") == []
        assert (await studio.events.end_of("b")).outcome is Outcome.SUCCEEDED


async def test_all_is_judged_one_after_the_other_before_any_of_it_starts() -> None:
    store = starting_with(left(PROMPT, "a"), left(PROMPT, "cancelled", is_cancelled=True), left(PROMPT, "b"))
    async with running(define("Echo", echo), store=store) as studio:
        await studio.engine.restore()
        assert store.judged == ["a", "b", None]
        snapshot = studio.engine.snapshot()
        assert [one.prompt_id for one in snapshot.pending] == ["a", "b"]
        for prompt_id in ("a", "b"):
            assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED


async def test_what_ended_the_process_too_often_while_it_was_judged_is_not_judged_again() -> None:
    bad, good = left(PROMPT, "a"), left(PROMPT, "b")
    bad.judgings, good.judgings = 2, 1
    store = starting_with(bad, good)
    async with running(define("Echo", echo), store=store) as studio:
        await studio.engine.restore()
        assert store.judged == ["b", None]
        end = await studio.events.end_of("a")
        assert (end.outcome, "2 times" in end.reason) == (Outcome.POISONED, True)
        assert (await studio.events.end_of("b")).outcome is Outcome.SUCCEEDED


async def test_what_is_judged_is_judged_even_if_that_cannot_be_put_on_record() -> None:
    store = starting_with(left(PROMPT, "a"))
    async with running(define("Echo", echo), store=store) as studio:
        store.trouble = FULL
        await studio.engine.restore()
        store.trouble = None
        assert (await studio.events.end_of("a")).outcome is Outcome.SUCCEEDED


async def test_what_was_cancelled_never_runs_again() -> None:
    store = starting_with(left(PROMPT, "a", attempt=1, open_nodes=("1",), is_cancelled=True))
    async with running(define("Echo", echo), store=store) as studio:
        await studio.engine.restore()
        assert (await studio.events.end_of("a")).outcome is Outcome.INTERRUPTED
        assert studio.events.of(PromptStarted) == []


async def test_what_does_not_fit_the_nodes_of_today_fails_and_says_so() -> None:
    store = starting_with(left({"1": node("Gone"), "2": shows("1")}, "a"), left(PROMPT, "b"))
    async with running(define("Echo", echo), store=store) as studio:
        await studio.engine.restore()
        end = await studio.events.end_of("a")
        assert end.outcome is Outcome.FAILED
        assert "cannot run any more" in end.reason
        assert (await studio.events.end_of("b")).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("takes_secrets", [False, True])
async def test_a_prompt_whose_nodes_want_a_key_that_nobody_has_any_more_fails(takes_secrets: bool) -> None:
    definition = define("Echo", echo)
    interface = definition.describe()
    interface.takes_secrets = takes_secrets
    store = starting_with(left(PROMPT, "a", had_secrets=True))
    async with running(define("Echo", echo, describe=lambda: interface), store=store) as studio:
        await studio.engine.restore()
        end = await studio.events.end_of("a")
        if takes_secrets:
            assert "key" in end.reason
        assert end.outcome is (Outcome.FAILED if takes_secrets else Outcome.SUCCEEDED)


async def test_one_that_ran_when_the_process_ended_runs_alone_first() -> None:
    gate = GatedNode("Gate")
    prompt = {"1": node("Gate"), "2": shows("1")}
    store = starting_with(left(prompt, "a", attempt=1, number=9, open_nodes=("1",)), left(PROMPT, "b", number=1))
    async with running(gate, define("Echo", echo), store=store) as studio:
        await studio.engine.restore()
        (call,) = await gate.arrived()
        assert [one.prompt_id for one in studio.engine.snapshot().running] == ["a"]
        call.let_go(1)
        await studio.events.end_of("b")


async def test_a_pause_before_the_restart_holds_them_back() -> None:
    store = starting_with(left(PROMPT, "a"))
    async with running(define("Echo", echo), store=store) as studio:
        studio.engine.pause()
        await studio.engine.restore()
        await studio.engine.told()
        assert [one.prompt_id for one in studio.engine.snapshot().pending] == ["a"]
        assert studio.engine.is_paused
        studio.engine.resume()
        await studio.events.end_of("a")
