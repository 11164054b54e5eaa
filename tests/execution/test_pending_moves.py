"""Pending prompts that get another place in the queue."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execution import PromptId, PromptMoved, QueueChanged, stimuli
from execution.errors import InvariantViolated
from tests.execution.test_starts_on_record import restored
from tests.support.node_definitions import node
from tests.support.random_graphs import submission_of
from tests.support.scheduler_driver import SchedulerDriver

GRAPH = {"1": node("Show", a=1)}


def paused(*numbers: float, line: str | None = None) -> SchedulerDriver:
    """A scheduler that starts nothing, with prompts `p0`, `p1` and so on of these numbers."""
    driver = SchedulerDriver()
    driver.apply(stimuli.PauseRequested(is_paused=True))
    for index, number in enumerate(numbers):
        submitted = submission_of(GRAPH, f"p{index}", number)
        submitted.line = line
        driver.submit(submitted)
    return driver


def order(driver: SchedulerDriver) -> list[str]:
    return [entry.prompt_id for entry in driver.scheduler.pending()]


def move(driver: SchedulerDriver, prompt_id: str, **place: Any) -> list[PromptMoved]:
    said = driver.scheduler.apply(stimuli.PendingMoved(prompt_id=PromptId(prompt_id), **place))
    moved = [one for one in said if isinstance(one, PromptMoved)]
    assert [type(one) for one in said] == [PromptMoved] * len(moved) + [QueueChanged] * bool(moved)
    driver.scheduler.validate()
    return moved


NUMBERS = st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [1e308, -1e308, 1.7976931348623157e308, 5e-324, 0.0, 2.0**53, 2.0**53 + 2])


@given(st.lists(NUMBERS, min_size=1, max_size=9), st.lists(st.tuples(st.integers(0, 8), st.integers(1, 10)),
                                                           min_size=1, max_size=5))
@example([1.7976931348623157e308] * 3, [(0, 3)])
@example([-1e308, 1e308, 1e308], [(2, 2), (0, 3)])
@example([1.0, 1.0000000000000002, 3.0], [(2, 2)])
def test_a_prompt_comes_to_stand_where_it_was_wanted(numbers: list[float], moves: list[tuple[int, int]]) -> None:
    driver = paused(*numbers)
    for index, position in moves:
        prompt_id = f"p{index % len(numbers)}"
        wanted = [one for one in order(driver) if one != prompt_id]
        wanted.insert(position - 1, prompt_id)
        move(driver, prompt_id, position=position)
        assert order(driver) == wanted
        assert driver.scheduler.position_of(PromptId(prompt_id)) == wanted.index(prompt_id) + 1
    shown = [entry.number for entry in driver.scheduler.pending()]
    assert shown == sorted(shown)
    assert all(abs(number) <= 2**53 or isinstance(number, float) for number in shown), "a database can hold them"


@given(st.lists(st.integers(0, 50), min_size=2, max_size=9, unique=True), st.integers(0, 8), st.integers(1, 9))
def test_where_there_is_room_nobody_else_is_touched(numbers: list[int], index: int, position: int) -> None:
    driver = paused(*numbers)
    assert len(move(driver, f"p{index % len(numbers)}", position=position)) <= 1


def test_where_there_is_none_those_behind_make_some() -> None:
    driver = paused(4, 5, 5, 5, 9)
    moved = move(driver, "p4", position=3)
    assert order(driver) == ["p0", "p1", "p4", "p2", "p3"]
    assert {one.prompt_id for one in moved} == {"p4", "p2", "p3"}


def test_thousands_of_one_number_are_passed_in_one_go() -> None:
    driver = paused(*[7] * 3000)
    moved = move(driver, "p2999", position=2)
    assert order(driver)[:3] == ["p0", "p2999", "p1"]
    assert len(moved) == 2999
    steps = list(itertools.pairwise(entry.number for entry in driver.scheduler.pending()))
    assert all(one < other for one, other in steps)


def test_a_number_decides_as_if_it_had_come_with_it() -> None:
    driver = paused(1, 2, 3)
    move(driver, "p2", number=1)
    assert order(driver) == ["p0", "p2", "p1"], "the earlier arrival goes first"
    assert move(driver, "p1", position=3) == [], "it is there"


def test_a_prompt_of_a_line_moves_before_the_others_of_it() -> None:
    driver = paused(1, 2, 3, line="tab")
    move(driver, "p2", position=1)
    driver.apply(stimuli.PauseRequested(is_paused=False))
    assert list(map(str, (entry.prompt_id for entry in driver.scheduler.running()))) == ["p2"]
    move(driver, "p1", number=0)
    assert order(driver) == ["p1", "p0"]


def test_what_ran_when_a_process_ended_stays_at_the_front() -> None:
    driver = paused(1, 2)
    driver.submit(restored(GRAPH, "was", ("1",), number=9))
    assert not driver.scheduler.is_movable(PromptId("was"))
    move(driver, "p1", position=1)
    assert order(driver) == ["was", "p1", "p0"]
    move(driver, "p1", number=-5)
    assert order(driver) == ["was", "p1", "p0"]


@pytest.mark.parametrize("prompt_id", ["runs", "unknown"])
def test_only_what_waits_can_be_moved(prompt_id: str) -> None:
    driver = SchedulerDriver()
    driver.submit(submission_of(GRAPH, "runs"))
    driver.start_prompts()
    with pytest.raises(InvariantViolated):
        driver.scheduler.apply(stimuli.PendingMoved(prompt_id=PromptId(prompt_id), position=1))
