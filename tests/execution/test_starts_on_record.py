"""A prompt starts on record; one that ran when a process ended runs alone until it is past where it was; and pauses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from execution import CancelAccepted, NodeId, Outcome, QueueChanged, commands, stimuli
from execution.identifiers import CallId
from tests.support.node_definitions import node
from tests.support.random_graphs import submission_of
from tests.support.scheduler_driver import SchedulerDriver

CHAIN = {"1": node("Async", a=1), "2": node("Async", a=["1", 0]), "3": node("Show", a=["2", 0])}
WAITS = {"1": node("Async", a="waits"), "2": node("Show", a=["1", 0])}


def restored(prompt: dict[str, Any], prompt_id: str, suspects: Sequence[str] = (), attempt: int = 1,
             number: int = 0) -> stimuli.PromptSubmitted:
    submitted = submission_of(prompt, prompt_id, number)
    submitted.is_restored = True
    submitted.attempt = attempt
    submitted.suspects = [NodeId(one) for one in suspects]
    return submitted


def start_of(driver: SchedulerDriver, prompt_id: str) -> CallId:
    """The start of a prompt that is not on record yet."""
    return next(call_id for call_id, call in driver.open.items()
                if isinstance(call, commands.StoreStart) and call.prompt_id == prompt_id)


def test_nothing_of_a_prompt_is_called_before_its_start_is_on_record() -> None:
    driver = SchedulerDriver(records_at_once=False)
    driver.submit(submission_of(CHAIN, "p"))
    driver.start_prompts()
    assert driver.story("p") == ["PromptQueued", "PromptStarted"]
    assert driver.called() == []
    driver.start_recorded(start_of(driver, "p"))
    assert driver.called() == ["1"]


def test_a_prompt_that_is_cancelled_before_its_start_is_on_record_ends_once_it_is() -> None:
    driver = SchedulerDriver(records_at_once=False)
    driver.submit(submission_of(CHAIN, "p"))
    driver.start_prompts()
    driver.cancel("p")
    assert driver.outcome_of("p") is None
    driver.start_recorded(start_of(driver, "p"))
    assert driver.outcome_of("p") is Outcome.INTERRUPTED
    assert driver.called() == []
    driver.check_nothing_is_left()


def test_starts_that_are_not_on_record_yet_count_as_busy_unless_their_nodes_only_await() -> None:
    driver = SchedulerDriver(max_running_prompts=2, records_at_once=False)
    for index in range(3):
        driver.submit(submission_of({"1": node("Plain", a=index), "2": node("Show", a=["1", 0])}, f"plain{index}", 1))
        driver.submit(submission_of({"1": node("Show", a=index)}, f"async{index}", 0))
    driver.start_prompts()
    assert sorted(driver.running()) == ["async0", "async1", "async2", "plain0", "plain1"]


def soon(prompt: dict[str, Any], prompt_id: str, number: int = 0) -> stimuli.PromptSubmitted:
    """One whose start was put on record with it."""
    submitted = submission_of(prompt, prompt_id, number)
    submitted.is_start_on_record = True
    return submitted


def test_a_start_that_is_on_record_already_is_waited_for_by_nobody() -> None:
    driver = SchedulerDriver(records_at_once=False)
    assert driver.scheduler.has_room(0)
    driver.submit(soon(CHAIN, "p"))
    assert driver.called() == [], "whoever submits it is answered first"
    driver.start_prompts()
    assert driver.called() == ["1"]
    assert driver.story("p")[:2] == ["PromptQueued", "PromptStarted"]


def test_one_that_waits_after_all_is_put_off_and_starts_as_others_do() -> None:
    driver = SchedulerDriver(max_running_prompts=1, records_at_once=False)
    driver.submit(soon(WAITS, "first"))
    driver.submit(soon(CHAIN, "second"))
    driver.start_prompts()
    assert driver.story("first")[:2] == ["PromptQueued", "PromptStarted"]
    assert driver.story("second") == ["PromptQueued", "StartPutOff"]
    driver.return_(driver.call_of("first", "1"))
    driver.return_(driver.call_of("first", "2"))
    assert driver.story("second") == ["PromptQueued", "StartPutOff", "PromptStarted"]
    assert "1" not in [call.node_id for call in driver.calls if call.prompt_id == "second"]
    driver.start_recorded(start_of(driver, "second"))
    assert driver.call_of("second", "1")


def test_one_that_comes_while_the_queue_is_paused_is_put_off_at_once() -> None:
    driver = SchedulerDriver(records_at_once=False)
    driver.submit(soon(CHAIN, "p"))
    driver.apply(stimuli.PauseRequested(is_paused=True))
    driver.start_prompts()
    assert driver.story("p") == ["PromptQueued", "StartPutOff"]


def test_one_that_is_removed_before_its_turn_is_only_dropped() -> None:
    driver = SchedulerDriver(records_at_once=False)
    driver.submit(soon(CHAIN, "p"))
    driver.apply(stimuli.PendingRemoved(prompt_ids=None))
    driver.start_prompts()
    assert driver.story("p") == ["PromptQueued", "PromptDropped"]


def test_there_is_room_for_one_that_nothing_keeps_from_starting() -> None:
    driver = SchedulerDriver(max_running_prompts=2)
    room = driver.scheduler.has_room
    assert (room(0), room(1), room(2)) == (True, True, False)
    driver.submit(submission_of({"1": node("Plain", a=1), "2": node("Show", a=["1", 0])}, "p"))
    assert not room(0), "another one waits"
    driver.start_prompts()
    assert (room(0), room(1)) == (True, False)
    driver.apply(stimuli.PauseRequested(is_paused=True))
    assert not room(0)
    driver.apply(stimuli.PauseRequested(is_paused=False))
    driver.submit(restored(CHAIN, "suspect", ["1"]))
    driver.return_(driver.call_of("p", "1"))
    driver.return_(driver.call_of("p", "2"))
    assert driver.running() == ["suspect"]
    assert not room(0), "it runs alone"


def test_what_ran_when_the_process_ended_runs_alone_until_it_is_past_that_node() -> None:
    driver = SchedulerDriver()
    driver.submit(restored(CHAIN, "suspect", ["2"]))
    driver.submit(submission_of(WAITS, "other"))
    driver.start_prompts()
    assert driver.running() == ["suspect"]
    driver.return_(driver.call_of("suspect", "1"))
    assert driver.running() == ["suspect"], "node 2 is not over"
    driver.return_(driver.call_of("suspect", "2"))
    assert sorted(driver.running()) == ["other", "suspect"]


def test_several_of_them_come_one_after_the_other_before_all_others_whatever_their_numbers() -> None:
    driver = SchedulerDriver()
    driver.submit(submission_of(WAITS, "front", -5))
    driver.submit(restored(CHAIN, "a", ["1"], number=9))
    driver.submit(restored(CHAIN | {"1": node("Async", a=2)}, "b", ["1"], number=3))
    driver.start_prompts()
    assert driver.running() == ["a"]
    driver.return_(driver.call_of("a", "1"))
    assert driver.running() == ["a"], "b has to be alone too"
    for node_id in ("2", "3"):
        driver.return_(driver.call_of("a", node_id))
    assert driver.running() == ["b"]
    driver.return_(driver.call_of("b", "1"))
    assert sorted(driver.running()) == ["b", "front"]


def test_one_that_had_no_node_running_runs_beside_others() -> None:
    driver = SchedulerDriver()
    driver.submit(restored(CHAIN, "a"))
    driver.submit(submission_of(WAITS, "other"))
    driver.start_prompts()
    assert sorted(driver.running()) == ["a", "other"]


def test_one_whose_nodes_are_cached_now_holds_up_nobody() -> None:
    driver = SchedulerDriver()
    driver.submit(submission_of(CHAIN, "before"))
    driver.start_prompts()
    driver.return_(driver.call_of("before", "1"))
    driver.submit(restored(CHAIN, "a", ["1"]))
    driver.submit(submission_of(WAITS, "other"))
    driver.start_prompts()
    assert driver.running() == ["before"], "a waits until it can be alone"
    for node_id in ("2", "3"):
        driver.return_(driver.call_of("before", node_id))
    assert "other" in driver.running()


def test_one_that_fails_or_is_cancelled_lets_the_others_start() -> None:
    driver = SchedulerDriver()
    driver.submit(restored(CHAIN, "fails", ["2"]))
    driver.submit(restored(CHAIN, "cancelled", ["2"]))
    driver.submit(submission_of(WAITS, "other"))
    driver.start_prompts()
    driver.fail(driver.call_of("fails", "1"))
    assert driver.running() == ["cancelled"]
    driver.cancel("cancelled")
    driver.end_cancelled(driver.call_of("cancelled", "1"))
    assert driver.running() == ["other"]


def test_a_paused_queue_starts_nothing_and_goes_on_where_it_was() -> None:
    driver = SchedulerDriver()
    driver.submit(submission_of(CHAIN, "runs"))
    driver.start_prompts()
    driver.apply(stimuli.PauseRequested(is_paused=True))
    driver.submit(submission_of(WAITS, "waits"))
    driver.start_prompts()
    for node_id in ("1", "2", "3"):
        driver.return_(driver.call_of("runs", node_id))
    assert driver.outcome_of("runs") is Outcome.SUCCEEDED, "what runs goes on"
    assert driver.story("waits") == ["PromptQueued"]
    told = driver.scheduler.apply(stimuli.PauseRequested(is_paused=True))
    assert told == [], "it is paused already"
    driver.apply(stimuli.PauseRequested(is_paused=False))
    assert driver.running() == ["waits"]


def test_a_pause_is_told() -> None:
    driver = SchedulerDriver()
    (told,) = driver.scheduler.apply(stimuli.PauseRequested(is_paused=True))
    assert isinstance(told, QueueChanged)
    assert driver.scheduler.is_paused


def test_a_cancel_is_told_when_it_is_accepted_and_once() -> None:
    driver = SchedulerDriver()
    driver.submit(submission_of(CHAIN, "p"))
    driver.start_prompts()
    driver.cancel("p")
    driver.cancel("p")
    kinds = [type(event) for event in driver.events["p"]]  # type: ignore[index]
    assert kinds.count(CancelAccepted) == 1
    assert driver.outcome_of("p") is None, "its call has not ended"
