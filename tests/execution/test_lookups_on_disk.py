"""What the scheduler does about outputs that a slower tier of the cache has: it asks, and goes on meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from execution import CacheRule, NodeFinished, NodesCached, Outcome, OutputCache, commands, stimuli
from execution.identifiers import CallId
from execution.signatures import Signature, sign_all
from tests.support.node_definitions import node
from tests.support.random_graphs import submission_of
from tests.support.scheduler_driver import SchedulerDriver

CHAIN = {"1": node("Async", a=1), "2": node("Plain", a=["1", 0]), "3": node("Show", a=["2", 0])}
TWO_BRANCHES = CHAIN | {"4": node("Async", a="other"), "5": node("Show", a=["4", 0])}


def signatures_of(prompt: dict[str, Any]) -> dict[str, Signature]:
    submitted = submission_of(prompt, "any")
    return dict(sign_all(submitted.order, submitted.scope.nodes, {}, fingerprints={}, identities={}, run=""))


def driver_with(prompt: dict[str, Any], *on_disk: str, lost: tuple[str, ...] = (), **settings: Any) -> SchedulerDriver:
    """A driver whose slower tier has the outputs of these nodes.

    :param lost: nodes of which it only believes so.
    """
    driver = SchedulerDriver(has_disk=True, **settings)
    signatures = signatures_of(prompt)
    driver.disk = {signatures[one]: (f"{one} from disk", 0) for one in on_disk}
    driver.apply(stimuli.OutputsStored(signatures=[signatures[one] for one in (*on_disk, *lost)]))
    return driver


def lookups(driver: SchedulerDriver) -> list[CallId]:
    return [call_id for call_id, call in driver.open.items() if isinstance(call, commands.LookUpOutputs)]


def start(driver: SchedulerDriver, prompt: dict[str, Any], *prompt_ids: str) -> None:
    for prompt_id in prompt_ids or ("p",):
        driver.submit(submission_of(prompt, prompt_id))
    driver.start_prompts()


def test_what_lies_behind_outputs_on_the_disk_is_not_wanted() -> None:
    driver = driver_with(CHAIN, "2")
    start(driver, CHAIN)
    assert driver.called() == []
    (asked,) = lookups(driver)
    driver.look_up(asked)
    assert driver.called() == ["3"]
    assert driver.calls[0].inputs == {"a": ["2 from disk"]}
    driver.return_(driver.call_of("p", "3"))
    assert driver.outcome_of("p") is Outcome.SUCCEEDED
    found = [event for event in driver.events["p"] if isinstance(event, NodeFinished)]  # type: ignore[index]
    assert [(one.place.node_id, one.from_cache) for one in found] == [("2", True), ("3", False)]
    driver.check_nothing_is_left()


def test_meanwhile_everything_else_goes_on() -> None:
    driver = driver_with(TWO_BRANCHES, "2")
    start(driver, TWO_BRANCHES)
    assert driver.called() == ["4"]
    driver.return_(driver.call_of("p", "4"))
    driver.return_(driver.call_of("p", "5"))
    assert driver.outcome_of("p") is None
    driver.look_up(*lookups(driver))
    driver.return_(driver.call_of("p", "3"))
    assert driver.outcome_of("p") is Outcome.SUCCEEDED


def test_what_is_missing_after_all_is_made_from_its_sources() -> None:
    driver = driver_with(CHAIN, "1", lost=("2",))
    start(driver, CHAIN)
    driver.look_up(*lookups(driver))
    assert driver.called() == []
    driver.look_up(*lookups(driver))  # its source is there
    assert driver.called() == ["2"]
    assert driver.calls[0].inputs == {"a": ["1 from disk"]}
    driver.return_(driver.call_of("p", "2"))
    driver.return_(driver.call_of("p", "3"))
    assert driver.outcome_of("p") is Outcome.SUCCEEDED
    assert [one.signature for one in driver.to_write] == [signatures_of(CHAIN)["2"]], "it is to be there again"


def test_what_was_found_stays_in_memory() -> None:
    driver = driver_with(CHAIN, "2")
    start(driver, CHAIN)
    driver.look_up(*lookups(driver))
    driver.return_(driver.call_of("p", "3"))
    driver.drop_outputs(signatures_of(CHAIN)["2"])
    start(driver, {**CHAIN, "3": node("Show", b=["2", 0])}, "q")
    assert driver.called("q") == ["3"]
    cached = next(event for event in driver.events["q"] if isinstance(event, NodesCached))  # type: ignore[index]
    assert "2" in cached.nodes


@pytest.mark.parametrize("rule", [CacheRule.NONE, CacheRule.CLASSIC])
def test_rules_for_what_stays_in_memory_change_nothing(rule: CacheRule) -> None:
    driver = driver_with(CHAIN, "2", cache=OutputCache(rule))
    for prompt_id in ("p", "q"):
        start(driver, {**CHAIN, "3": node("Show", a=["2", 0], b=prompt_id)}, prompt_id)
        for call_id in lookups(driver):
            driver.look_up(call_id)
        driver.return_(driver.call_of(prompt_id, "3"))
    assert driver.called() == ["3", "3"]


def test_memory_that_is_wanted_back_does_not_touch_the_disk() -> None:
    driver = driver_with(CHAIN, "2")
    driver.apply(stimuli.MemoryWanted())
    start(driver, CHAIN)
    assert len(lookups(driver)) == 1


def test_two_prompts_share_a_lookup_and_each_is_told() -> None:
    driver = driver_with(CHAIN, "2")
    start(driver, CHAIN, "p", "q")
    driver.look_up(*lookups(driver))
    assert [(call.prompt_id, call.node_id) for call in driver.calls] == [("p", "3"), ("q", "3")]


def test_a_cancel_takes_a_lookup_away_only_from_its_own_prompt() -> None:
    driver = driver_with(CHAIN, "2")
    start(driver, CHAIN, "p", "q")
    driver.cancel("p")
    assert driver.outcome_of("p") is Outcome.INTERRUPTED
    assert driver.cancelled == set()
    driver.look_up(*lookups(driver))
    assert driver.called() == ["3"]
    driver.cancel("q")
    driver.end_cancelled(driver.call_of("q", "3"))
    assert driver.outcome_of("q") is Outcome.INTERRUPTED
    driver.check_nothing_is_left()


def test_a_lookup_that_nobody_waits_for_any_more_is_cancelled() -> None:
    driver = driver_with(CHAIN, "2")
    start(driver, CHAIN)
    driver.cancel("p")
    assert driver.outcome_of("p") is None
    (call_id,) = driver.cancelled
    driver.end_cancelled(call_id)
    assert driver.outcome_of("p") is Outcome.INTERRUPTED
    assert driver.called() == []
    driver.check_nothing_is_left()


def test_a_lookup_does_not_join_a_call_that_would_need_the_sources() -> None:
    """One prompt calls a node; then its outputs appear on the disk, and another prompt looks there."""
    driver = SchedulerDriver(has_disk=True)
    start(driver, CHAIN)
    driver.return_(driver.call_of("p", "1"))
    signature = signatures_of(CHAIN)["2"]
    driver.apply(stimuli.OutputsStored(signatures=[signature]))
    start(driver, CHAIN, "q")
    (asked,) = lookups(driver)
    driver.look_up(asked)  # in vain
    driver.return_(driver.call_of("p", "2"))
    assert driver.called("q") == ["3"]


def test_a_node_that_is_being_looked_up_is_not_shown_as_one_that_runs() -> None:
    driver = driver_with(CHAIN, "2")
    start(driver, CHAIN)
    assert driver.scheduler.latest_node("p") is None  # type: ignore[arg-type]


def test_what_ran_when_the_process_ended_is_over_once_its_outputs_are_found() -> None:
    driver = driver_with(CHAIN, "2")
    submitted = submission_of(CHAIN, "p")
    submitted.attempt, submitted.suspects = 1, ["2"]  # type: ignore[list-item]
    driver.submit(submitted)
    driver.submit(submission_of({"1": node("Show", a=1)}, "q"))
    driver.start_prompts()
    assert driver.running() == ["p"]
    driver.look_up(*lookups(driver))
    driver.start_prompts()
    assert set(driver.running()) == {"p", "q"}


def test_what_is_worth_a_copy() -> None:
    prompt = {"1": node("Async", a=1), "2": node("Async", a=float("nan")), "3": node("Async", a=["2", 0]),
              "4": node("Show", a=["1", 0], b=["3", 0]), "5": node("Named", a=1), "6": node("Show", a=["5", 0])}
    worth: dict[str, bool] = {}
    driver = SchedulerDriver(has_disk=True)
    start(driver, prompt)
    while driver.open:
        call_id, call = next(iter(driver.open.items()))
        assert isinstance(call, commands.CallNode)
        worth[call.node_id] = call.is_worth_a_copy
        driver.return_(call_id)
    assert {node_id for node_id, is_worth in worth.items() if is_worth} == {"1", "5"}
    assert len({one.signature for one in driver.to_write}) == 2
    assert {one.prompt_id for one in driver.to_write} == {"p"}
    without = SchedulerDriver()
    start(without, prompt)
    assert not any(call.is_worth_a_copy for call in without.calls)


def test_what_was_made_with_a_key_is_not() -> None:
    submitted = submission_of({"1": node("Async", a=1), "2": node("Show", a=["1", 0])}, "p")
    submitted.scope.interfaces["Async"].takes_secrets = True
    driver = SchedulerDriver(has_disk=True)
    driver.submit(submitted)
    driver.start_prompts()
    driver.return_(driver.call_of("p", "1"))
    assert driver.to_write == []


def test_prompts_that_run_are_heirs_of_what_they_have_use_for() -> None:
    driver = SchedulerDriver(has_disk=True)
    signatures = signatures_of(CHAIN)
    start(driver, CHAIN, "p")
    driver.submit(submission_of({**CHAIN, "1": node("Async", a=2)}, "q"))
    driver.start_prompts()
    assert driver.scheduler.heirs_of({signatures["1"], signatures["2"]}) == {
        signatures["1"]: "p", signatures["2"]: "p"}
    driver.cancel("p")
    assert driver.scheduler.heirs_of({signatures["1"]}) == {}
