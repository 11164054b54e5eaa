"""Calls that take too long, errors that pass, and prompts that go on after errors."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from execution import (
    CallerSettings,
    EngineSettings,
    NodeDefinition,
    NodeFailed,
    NodeFinished,
    NodeRetried,
    NodeStarted,
    Outcome,
    ProgressBar,
    PromptId,
    RunRules,
    SchedulerSettings,
    TimeLimits,
    TransientError,
    check_interrupted,
    get_current_node,
)
from execution.engine import Engine
from tests.execution.test_engine import POOLS, Running, running, shows, turns_until
from tests.support.gated_nodes import GatedNode
from tests.support.node_definitions import define, node, registry_of
from tests.support.scheduler_driver import SchedulerDriver

SHORT = 0.02
"""Seconds: the one real time in these tests is the limit itself."""
GOES_ON = RunRules(goes_on_after_errors=True)


async def never(**_: Any) -> Any:
    await asyncio.Event().wait()


def late(**fields: Any) -> RunRules:
    return RunRules(limits=TimeLimits(**fields))


# -- limits ---------------------------------------------------------------------------------------------------------


async def test_an_async_call_that_runs_too_long_fails_its_prompt_and_is_cancelled() -> None:
    was_cancelled = []

    async def waits(x: int) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.append(x)
            raise
        return x

    async with running(define("Waits", waits, limits=TimeLimits(run_timeout=SHORT))) as studio:
        failed = await studio.error_of({"1": node("Waits", x=1), "2": shows("1")})
        assert failed.error.exception_type == "execution.NodeTimedOut"
        assert "0.02 s" in failed.error.exception_message
        assert was_cancelled == [1]


async def test_a_plain_call_that_runs_too_long_stops_at_its_next_check() -> None:
    ended = threading.Event()

    def computes(x: int) -> int:
        try:
            while True:
                check_interrupted()
        finally:
            ended.set()

    async with running(define("Computes", computes, limits=TimeLimits(run_timeout=SHORT))) as studio:
        failed = await studio.error_of({"1": node("Computes", x=1), "2": shows("1")})
        assert failed.error.exception_type == "execution.NodeTimedOut"
        assert ended.is_set()
        await studio.until_tokens_are_back()


async def test_a_plain_call_that_does_not_stop_is_abandoned_and_keeps_its_token() -> None:
    gate = GatedNode("Gate", plain=True, limits=TimeLimits(run_timeout=SHORT))
    async with running(gate, plain_grace=SHORT) as studio:
        prompt_id = await studio.submit({"1": node("Gate"), "2": shows("1")})
        (call,) = await gate.arrived()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.FAILED
        assert studio.tokens_taken() == 1
        call.let_go(1)
        await studio.until_tokens_are_back()


async def test_progress_resets_the_idle_time_and_silence_does_not() -> None:
    async def reports(x: int) -> int:
        bar = ProgressBar(8)
        for _ in range(8):
            await asyncio.sleep(SHORT)
            bar.update(1)
        return x

    limits = TimeLimits(idle_timeout=4 * SHORT)
    async with running(define("Reports", reports, limits=limits), define("Never", never, limits=limits)) as studio:
        assert (await studio.run({"1": node("Reports", x=1), "2": shows("1")})).outcome is Outcome.SUCCEEDED
        failed = await studio.error_of({"1": node("Never"), "2": shows("1")})
        assert "no progress for 0.08 s" in failed.error.exception_message


@pytest.mark.parametrize("limited_first", [True, False])
async def test_a_limit_that_one_prompt_sets_ends_no_call_of_another(limited_first: bool) -> None:
    gate = GatedNode("Gate")
    rules = [late(run_timeout=SHORT), RunRules()]
    async with running(gate) as studio:
        prompts = {}
        for rule in rules if limited_first else reversed(rules):
            prompts[rule] = await studio.submit({"1": node("Gate", x=1), "2": shows("1")}, rules=rule)
        await gate.arrived(2)
        assert (await studio.events.end_of(prompts[rules[0]])).outcome is Outcome.FAILED
        gate.open()
        assert (await studio.events.end_of(prompts[rules[1]])).outcome is Outcome.SUCCEEDED


async def test_the_prompt_wins_over_the_class_and_that_over_the_server() -> None:
    settings = EngineSettings(scheduler=SchedulerSettings(pools=POOLS),
                              caller=CallerSettings(limits=TimeLimits(run_timeout=SHORT)))
    patient = define("Patient", lambda x: x, limits=TimeLimits(run_timeout=0))

    async def slow(**_: Any) -> int:
        await asyncio.sleep(3 * SHORT)
        return 1

    definitions: list[NodeDefinition] = [define("Slow", slow), define(
        "PatientSlow", slow, limits=TimeLimits(run_timeout=0)), patient, define("Show", slow, is_output=True)]
    async with Engine(registry_of(definitions), settings) as engine:
        studio = Running(engine)
        unlimited = late(run_timeout=0)
        for class_type, rules, outcome in (
                ("Slow", RunRules(), Outcome.FAILED), ("PatientSlow", RunRules(), Outcome.FAILED),
                ("Slow", unlimited, Outcome.SUCCEEDED), ("PatientSlow", late(run_timeout=SHORT), Outcome.FAILED)):
            prompt = {"1": node(class_type, x=class_type), "2": node("Show", a=["1", 0])}
            prompt_id = await studio.submit(prompt, rules=rules)
            assert (await studio.events.end_of(prompt_id)).outcome is outcome, (class_type, rules)
            failures = studio.events.of(NodeFailed, prompt_id=prompt_id)
            if class_type == "PatientSlow" and rules == RunRules():
                assert failures[0].place.node_id == "2", "the patient one ended well, the other has the server's limit"


# -- errors that pass -----------------------------------------------------------------------------------------------


def failing_at_first(times: int, error: BaseException) -> Any:
    calls: list[str] = []

    async def fails(x: int) -> int:
        context = get_current_node()
        assert context is not None
        calls.append(context.prompt_id)
        if len(calls) <= times:
            raise error
        return x

    fails.calls = calls  # type: ignore[attr-defined]
    return fails


def impatient() -> EngineSettings:
    return EngineSettings(scheduler=SchedulerSettings(pools=POOLS, retry_backoff=0))


async def test_a_transient_error_is_tried_again_and_clients_are_told_why() -> None:
    fails = failing_at_first(2, TransientError("busy"))
    async with Engine(registry_of([define("Fails", fails, retries=3), define("Show", fails, is_output=True)]),
                      impatient()) as engine:
        studio = Running(engine)
        prompt_id = await studio.submit({"1": node("Fails", x=1), "2": node("Show", x=["1", 0])})
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        told = studio.events.of(NodeRetried)
        assert [(event.attempt, event.most_attempts) for event in told] == [(2, 4), (3, 4)]
        assert "busy" in told[0].error.exception_message
        assert len(studio.events.of(NodeStarted, node="1")) == 3


@pytest.mark.parametrize("error", [ValueError("no"), TransientError("busy")])
async def test_other_errors_and_too_many_of_them_fail(error: Exception) -> None:
    fails = failing_at_first(9, error)
    async with Engine(registry_of([define("Fails", fails, retries=2, is_output=True)]), impatient()) as engine:
        studio = Running(engine)
        assert (await studio.run({"1": node("Fails", x=1)})).outcome is Outcome.FAILED
        assert len(fails.calls) == (3 if isinstance(error, TransientError) else 1)


async def test_a_class_names_what_else_is_transient() -> None:
    fails = failing_at_first(1, ConnectionError("gone"))
    definition = define("Fails", fails, retries=1, transient_errors=(OSError,), is_output=True)
    async with Engine(registry_of([definition]), impatient()) as engine:
        assert (await Running(engine).run({"1": node("Fails", x=1)})).outcome is Outcome.SUCCEEDED


async def test_a_node_that_waits_to_be_tried_again_holds_no_token_and_is_cancelled_at_once() -> None:
    def fails(x: int) -> int:
        raise TransientError("busy")

    settings = EngineSettings(scheduler=SchedulerSettings(pools=POOLS, retry_backoff=1e6))
    async with Engine(registry_of([define("Fails", fails, retries=1, is_output=True)]), settings) as engine:
        studio = Running(engine)
        prompt_id = await studio.submit({"1": node("Fails", x=1)})
        await studio.events.until(NodeRetried)
        await studio.until_tokens_are_back()
        engine.interrupt(PromptId(prompt_id))
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED


def test_backoff_doubles_up_to_a_minute() -> None:
    driver = SchedulerDriver()
    waits = []
    from tests.support.random_graphs import submission_of

    submitted = submission_of({"1": node("Plain", a=1), "2": node("Show", a=["1", 0])}, "p")
    object.__setattr__(submitted.scope.definitions["Plain"], "retries", 9)
    try:
        driver.submit(submitted)
        driver.start_prompts()
        for _ in range(9):
            driver.fail(driver.call_of("p", "1"), is_transient=True)
            (call_id,) = driver.open
            waits.append(driver.open[call_id].seconds)  # type: ignore[union-attr]
            driver.retry(call_id)
    finally:
        object.__setattr__(submitted.scope.definitions["Plain"], "retries", 2)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


# -- prompts that go on ---------------------------------------------------------------------------------------------


async def fails(**_: Any) -> Any:
    raise ValueError("no")


async def test_what_does_not_depend_on_the_failed_node_goes_on() -> None:
    gate = GatedNode("Gate")
    prompt = {"1": node("Fails"), "2": shows("1"), "3": node("Gate"), "4": shows("3"),
              "5": shows("1", "3")}
    async with running(gate, define("Fails", fails)) as studio:
        prompt_id = await studio.submit(prompt, rules=GOES_ON)
        await studio.events.until(NodeFailed)
        (call,) = await gate.arrived()
        call.let_go("fine")
        end = await studio.events.end_of(prompt_id)
        assert end.outcome is Outcome.PARTLY_SUCCEEDED
        finished = {event.place.node_id for event in studio.events.of(NodeFinished)}
        assert finished == {"3", "4"}
        assert [event.place.node_id for event in studio.events.of(NodeFailed)] == ["1"]
        entry = await studio.engine.history.get(PromptId(prompt_id))
        assert entry is not None
        assert [one.place.node_id for one in entry.failures] == ["1"]
        assert set(entry.outputs) == {"4"}


async def test_each_failed_branch_is_told_and_nothing_left_is_a_failure() -> None:
    async with running(define("Fails", fails)) as studio:
        prompt_id = await studio.submit({"1": node("Fails", x=1), "2": shows("1"), "3": node("Fails", x=2),
                                         "4": shows("3")}, rules=GOES_ON)
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.FAILED
        assert {event.place.node_id for event in studio.events.of(NodeFailed)} == {"1", "3"}


async def test_by_default_the_first_failure_stops_everything() -> None:
    gate = GatedNode("Gate")
    async with running(gate, define("Fails", fails)) as studio:
        prompt_id = await studio.submit({"1": node("Gate"), "2": shows("1"), "3": node("Fails"), "4": shows("3")})
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.FAILED
        assert gate.calls == [] or gate.calls[0].was_cancelled


async def test_what_only_the_failed_branch_would_have_used_does_not_run() -> None:
    first, needless = GatedNode("First"), GatedNode("Needless")
    prompt = {"1": node("Fails"), "first": node("First"), "needless": node("Needless", x=["first", 0]),
              "both": shows("1", "needless"), "other": shows("first")}
    async with running(first, needless, define("Fails", fails)) as studio:
        prompt_id = await studio.submit(prompt, rules=GOES_ON)
        await studio.events.until(NodeFailed)
        (call,) = await first.arrived()
        call.let_go(1)
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.PARTLY_SUCCEEDED
        assert needless.calls == []


async def test_a_call_that_is_overdue_in_a_prompt_that_goes_on_stops_its_branch_alone() -> None:
    async with running(define("Never", never), define("Fine", fine)) as studio:
        prompt_id = await studio.submit({"1": node("Never"), "2": shows("1"), "3": node("Fine"), "4": shows("3")},
                                        rules=RunRules(goes_on_after_errors=True,
                                                       limits=TimeLimits(run_timeout=SHORT)))
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.PARTLY_SUCCEEDED


async def fine(**_: Any) -> int:
    return 1


async def test_a_retry_of_what_failed_runs_only_that() -> None:
    """The next run of the same prompt: what was fine comes from the cache."""
    calls: list[str] = []
    works = False

    async def fine_once(**_: Any) -> int:
        calls.append("fine")
        return 1

    async def fails_once(**_: Any) -> int:
        calls.append("fails")
        if not works:
            raise ValueError("no")
        return 2

    prompt = {"1": node("FailsOnce"), "2": shows("1"), "3": node("FineOnce"), "4": shows("3")}
    async with running(define("FailsOnce", fails_once), define("FineOnce", fine_once)) as studio:
        first = await studio.submit(prompt, rules=GOES_ON)
        assert (await studio.events.end_of(first)).outcome is Outcome.PARTLY_SUCCEEDED
        works = True
        second = await studio.submit(prompt, rules=GOES_ON)
        assert (await studio.events.end_of(second)).outcome is Outcome.SUCCEEDED
        assert sorted(calls) == ["fails", "fails", "fine"]
        await turns_until(lambda: studio.engine.remaining == 0)
