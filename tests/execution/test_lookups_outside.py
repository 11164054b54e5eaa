"""What the scheduler does about a tier of the cache that does not say what it has: it asks, once for each call."""

from __future__ import annotations

from typing import Any

import pytest

from execution import CacheRule, NodesCached, Outcome, OutputCache, commands, stimuli
from execution.identifiers import CallId
from execution.node_values import OutputRecord
from tests.execution.test_lookups_on_disk import CHAIN, driver_with, signatures_of, start
from tests.execution.test_scheduler import expand
from tests.support.node_definitions import node
from tests.support.random_graphs import submission_of
from tests.support.scheduler_driver import SchedulerDriver


def driver_outside(prompt: dict[str, Any], *outside: str, **settings: Any) -> SchedulerDriver:
    """A driver whose outside tier has the outputs of these nodes."""
    driver = SchedulerDriver(has_outside=True, **settings)
    signatures = signatures_of(prompt)
    driver.outside = {signatures[one]: OutputRecord(([f"{one} from outside"], [0])) for one in outside}
    return driver


def lookups(driver: SchedulerDriver) -> list[CallId]:
    return [call_id for call_id, call in driver.open.items() if isinstance(call, commands.LookUpOutputs)]


def asked(driver: SchedulerDriver, prompt_id: str = "p") -> list[str]:
    return [one.node_id for one in driver.asked_outside if one.prompt_id == prompt_id]


def run_to_the_end(driver: SchedulerDriver) -> None:
    while driver.open:
        call_id, call = next(iter(driver.open.items()))
        if isinstance(call, commands.LookUpOutputs):
            driver.look_up(call_id)
        else:
            driver.return_(call_id)


def cached_events(driver: SchedulerDriver, prompt_id: str = "p") -> list[list[str]]:
    return [list(event.nodes) for event in driver.events[prompt_id]  # type: ignore[index]
            if isinstance(event, NodesCached)]


def test_what_lies_behind_outputs_that_are_there_is_not_wanted() -> None:
    driver = driver_outside(CHAIN, "2")
    start(driver, CHAIN)
    assert driver.called() == []
    driver.look_up(*lookups(driver))
    assert driver.called() == ["3"]
    assert driver.calls[0].inputs == {"a": ["2 from outside"]}
    run_to_the_end(driver)
    assert asked(driver) == ["2"]
    assert cached_events(driver) == [[], ["2"]]
    assert driver.outcome_of("p") is Outcome.SUCCEEDED
    driver.check_nothing_is_left()


def test_each_node_is_asked_for_once_and_offered_when_it_has_run() -> None:
    driver = driver_outside(CHAIN)
    start(driver, CHAIN)
    run_to_the_end(driver)
    assert asked(driver) == ["2", "1"], "from the end on, and never an output node"
    assert driver.called() == ["1", "2", "3"]
    signatures = signatures_of(CHAIN)
    assert set(driver.outside) == {signatures["1"], signatures["2"]}
    assert cached_events(driver) == [[]]


def test_what_was_offered_is_found_when_the_memory_was_freed() -> None:
    driver = driver_outside(CHAIN)
    start(driver, CHAIN)
    run_to_the_end(driver)
    driver.apply(stimuli.MemoryWanted())
    again = {**CHAIN, "3": node("Show", b=["2", 0])}
    start(driver, again, "q")
    run_to_the_end(driver)
    assert driver.called("q") == ["3"]
    assert asked(driver, "q") == ["2"]


def test_what_is_in_memory_is_not_asked_for() -> None:
    driver = driver_outside(CHAIN)
    start(driver, CHAIN)
    run_to_the_end(driver)
    start(driver, {**CHAIN, "3": node("Show", b=["2", 0])}, "q")
    assert asked(driver, "q") == []
    assert driver.called("q") == ["3"]


def test_the_disk_comes_first() -> None:
    driver = driver_with(CHAIN, "2", has_outside=True)
    start(driver, CHAIN)
    (call_id,) = lookups(driver)
    driver.look_up(call_id)
    assert driver.calls[0].inputs == {"a": ["2 from disk"]}


def test_what_nobody_could_find_again_is_neither_asked_for_nor_offered() -> None:
    prompt = {"1": node("Async", a=float("nan")), "2": node("Async", a=["1", 0]), "3": node("Show", a=["2", 0])}
    driver = driver_outside(prompt)
    start(driver, prompt)
    run_to_the_end(driver)
    assert asked(driver) == []
    assert driver.outside == {}


def test_what_was_made_with_a_key_is_neither() -> None:
    submitted = submission_of({"1": node("Async", a=1), "2": node("Show", a=["1", 0])}, "p")
    submitted.scope.interfaces["Async"].takes_secrets = True
    driver = SchedulerDriver(has_outside=True)
    driver.submit(submitted)
    driver.start_prompts()
    run_to_the_end(driver)
    assert asked(driver) == []
    assert driver.outside == {}


def test_outputs_of_which_some_were_blocked_are_not_offered() -> None:
    prompt = {"1": node("Async", a=1), "2": node("Show", a=["1", 0])}
    driver = driver_outside(prompt)
    start(driver, prompt)
    driver.look_up(*lookups(driver))
    driver.return_(driver.call_of("p", "1"), blocked=["not this one"])
    assert driver.outside == {}


def test_nothing_that_outlives_its_prompt_with_a_cache_that_keeps_nothing() -> None:
    driver = driver_outside(CHAIN, "2", cache=OutputCache(CacheRule.NONE))
    start(driver, CHAIN)
    run_to_the_end(driver)
    assert asked(driver) == []
    assert driver.called() == ["1", "2", "3"]


def test_two_prompts_share_a_lookup_and_neither_asks_again() -> None:
    driver = driver_outside(CHAIN)
    start(driver, CHAIN, "p", "q")
    assert len(lookups(driver)) == 1
    run_to_the_end(driver)
    assert sorted([*asked(driver, "p"), *asked(driver, "q")]) == ["1", "2"]
    assert {driver.outcome_of("p"), driver.outcome_of("q")} == {Outcome.SUCCEEDED}


def test_an_expanded_node_is_asked_for_and_offered_as_a_whole() -> None:
    prompt = {"1": node("Expander", a=1), "2": node("Show", a=["1", 0])}
    driver = driver_outside(prompt)
    start(driver, prompt)
    driver.look_up(*lookups(driver))
    expand(driver, driver.call_of("p", "1"), {"x": node("Async", a=5)}, ("x", 1))
    run_to_the_end(driver)
    assert asked(driver) == ["1", "x"]
    (made,) = driver.outside[signatures_of(prompt)["1"]].outputs
    assert str(made[0]).startswith("Async#")
    driver.apply(stimuli.MemoryWanted())
    start(driver, {**prompt, "2": node("Show", b=["1", 0])}, "q")
    run_to_the_end(driver)
    assert driver.called("q") == ["2"]


def test_a_node_that_is_tried_again_is_not_asked_for_again() -> None:
    driver = driver_outside(CHAIN)
    start(driver, CHAIN)
    for _ in range(2):
        driver.look_up(*lookups(driver))
    call_id = driver.call_of("p", "1")
    driver.fail(call_id, out_of_memory=True)
    (waiting,) = driver.open
    driver.retry(waiting)
    run_to_the_end(driver)
    assert asked(driver) == ["2", "1"]
    assert driver.outcome_of("p") is Outcome.SUCCEEDED


def test_a_cancelled_prompt_takes_its_lookup_away() -> None:
    driver = driver_outside(CHAIN, "2")
    start(driver, CHAIN)
    driver.cancel("p")
    (call_id,) = driver.cancelled
    driver.end_cancelled(call_id)
    assert driver.outcome_of("p") is Outcome.INTERRUPTED
    driver.check_nothing_is_left()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_prompt_goes_by_what_was_so_when_it_was_submitted(is_there: bool) -> None:
    driver = driver_outside(CHAIN, "2")
    driver.apply(stimuli.OutsideTierChanged(is_there=is_there))
    driver.submit(submission_of(CHAIN, "p"))
    driver.apply(stimuli.OutsideTierChanged(is_there=not is_there))
    driver.start_prompts()
    assert len(lookups(driver)) == is_there


def test_without_such_a_tier_nothing_is_asked_or_offered() -> None:
    driver = SchedulerDriver()
    start(driver, CHAIN)
    run_to_the_end(driver)  # the driver refuses offers
    assert asked(driver) == []
    assert driver.called() == ["1", "2", "3"]


def test_equal_nodes_ask_each_for_itself_while_another_prompt_makes_their_outputs() -> None:
    twice = {"0": node("Plain", a=1), "1": node("Plain", a=1), "show": node("Show", a=["0", 0], b=["1", 0])}
    driver = SchedulerDriver(has_outside=True)
    for name in ("p0", "p1"):
        driver.submit(submission_of({one: dict(entry) for one, entry in twice.items()}, name))
        driver.start_prompts()
        while found := lookups(driver):
            driver.look_up(found[0])
    run_to_the_end(driver)
    assert [driver.outcome_of(name) for name in ("p0", "p1")] == [Outcome.SUCCEEDED] * 2
    assert len(driver.returned_by) == 3, "what was made for the first prompt was made for all of them"
    driver.check_nothing_is_left()
