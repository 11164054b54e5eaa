"""Plain nodes in a line: their thread goes on with the next one by itself, and nobody can tell but by the clock."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from execution import (
    CacheRule,
    ExecutionBlocker,
    NodeBlocked,
    NodeFailed,
    NodeFinished,
    NodeProgressed,
    NodeResult,
    NodeStarted,
    Outcome,
    OutputCache,
    ProgressBar,
    get_current_node,
    node_caller,
)
from execution.call_chains import MOST_AHEAD
from execution.identifiers import CallId, NodeId, PromptId
from execution.node_context import NodeCall, OpenCalls, books_of_open_calls, find_call
from execution.node_lanes import ThreadLane
from execution.prompt_run import FIRST_AHEAD
from execution.run_rules import TimeLimits
from tests.execution.test_engine import NEVER, SOON, running, shows, turns_until
from tests.execution.test_scheduler import started
from tests.support.gated_nodes import GatedNode
from tests.support.node_definitions import define, node
from tests.support.random_graphs import submission_of
from tests.support.scheduler_driver import SchedulerDriver


@pytest.fixture(autouse=True)
def _thread_goes_on_after_long_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may be slow, and a test may keep a door shut."""
    monkeypatch.setattr(node_caller, "LONGEST_TO_GO_ON", NEVER)


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the lanes that were given something to do, in this order."""
    taken: list[str] = []
    submit = ThreadLane.submit

    def counted(self: ThreadLane, job: Callable[[], bool | None]) -> None:
        taken.append(self.name)
        submit(self, job)

    monkeypatch.setattr(ThreadLane, "submit", counted)
    return taken


def add(**more: Any) -> Any:
    return define("Add", lambda value=0, **_: value + 1, **more)


def line(length: int, class_type: str = "Add", first: Any = 0) -> dict[str, Any]:
    """Nodes 1, 2 … in a line, and an output node that shows what the last of them gave."""
    prompt = {str(place): node(class_type, value=[str(place - 1), 0] if place > 1 else first)
              for place in range(1, length + 1)}
    return {**prompt, "show": shows(str(length))}


# -- on threads -------------------------------------------------------------------------------------------------------


async def test_nodes_in_a_line_take_one_hop_and_are_told_as_ever(hops: list[str]) -> None:
    async with running(add()) as studio:
        prompt_id = await studio.submit(line(5))
        await studio.events.end_of(prompt_id)
        assert hops.count("gpu") == 1
        (shown,) = [one.ui for one in studio.events.of(NodeFinished, prompt_id=prompt_id) if one.ui]
        assert shown == {"from_5": [5]}
        assert studio.events.story(prompt_id, NodeStarted, NodeFinished) == [
            f"{kind} {place}" for place in [*range(1, 6), "show"] for kind in ("NodeStarted", "NodeFinished")]
        assert (await studio.run(line(6))).outcome is Outcome.SUCCEEDED  # five of it are in the cache
        assert hops.count("gpu") == 2
        await studio.until_tokens_are_back()


async def test_a_longer_line_takes_a_hop_now_and_then(hops: list[str]) -> None:
    async with running(add()) as studio:
        length = 1 + FIRST_AHEAD + 1 + 2 * FIRST_AHEAD + 1
        assert await studio.shown_by(line(length)) == {"show": {f"from_{length}": [length]}}
        assert hops.count("gpu") == 3


async def test_each_node_of_a_line_knows_which_it_is() -> None:
    seen: list[Any] = []

    def looks(**_: Any) -> int:
        here = get_current_node()
        assert here is not None
        seen.append((here.prompt_id, here.unique_id, here.list_index, threading.get_ident()))
        return 0

    async with running(define("Looks", looks)) as studio:
        prompt_id = await studio.submit(line(3, "Looks"))
        await studio.events.end_of(prompt_id)
    threads = {one[3] for one in seen}
    assert len(threads) == 1
    assert [one[:3] for one in seen] == [(prompt_id, "1", 0), (prompt_id, "2", 0), (prompt_id, "3", 0)]


async def test_values_go_from_node_to_node_as_lists_and_by_output(hops: list[str]) -> None:
    many = define("Many", lambda: ("unused", [1, 2, 3]), outputs=("*", "*"), output_is_list=(False, True))
    async with running(many, add()) as studio:
        shown = await studio.shown_by({"1": node("Many"), "2": node("Add", value=["1", 1]),
                                       "3": node("Add", value=["2", 0]), "show": shows("3")})
        assert shown == {"show": {"from_3": [3, 4, 5]}}
        assert hops.count("gpu") == 1


async def test_lines_of_a_subgraph_take_one_hop_too(hops: list[str]) -> None:
    def grows(**_: Any) -> NodeResult:
        added = {f"n{place}": node("Add", value=[f"n{place - 1}", 0] if place else 0) for place in range(4)}
        return NodeResult(outputs=(["n3", 0],), expansion=added)

    async with running(define("Grows", grows), add()) as studio:
        assert await studio.shown_by({"1": node("Grows"), "show": shows("1")}) == {"show": {"from_1": [4]}}
        assert hops.count("gpu") == 2  # the one that grows, and all that grew


async def test_other_tokens_a_fork_and_hidden_inputs_take_a_hop_of_their_own(hops: list[str]) -> None:
    hidden = define("Hidden", lambda value, name: value, hidden={"name": "NODE_ID"})
    other = define("Other", lambda value: value, needs={"cpu": 1})
    async with running(add(), hidden, other) as studio:
        await studio.shown_by({"1": node("Add"), "2": node("Hidden", value=["1", 0]),
                               "3": node("Other", value=["2", 0]), "4": node("Add", value=["3", 0]),
                               "show": shows("4")})
        assert [lane for lane in hops if lane != "validation"] == ["gpu", "gpu", "cpu", "gpu"]
        await studio.shown_by({"1": node("Add", value=9), "2": node("Add", value=["1", 0]),
                               "3": node("Add", value=["1", 0], other=1), "show": shows("2", "3")})
        assert hops.count("gpu") == 3 + 3


async def test_a_node_that_fails_in_a_line_is_named_with_its_inputs(hops: list[str]) -> None:
    def fails(value: int) -> int:
        raise ValueError(f"not {value}")

    async with running(add(), define("Fails", fails)) as studio:
        failed = await studio.error_of({"1": node("Add", value=0), "2": node("Add", value=["1", 0]),
                                        "3": node("Fails", value=["2", 0]), "4": node("Add", value=["3", 0]),
                                        "show": shows("4")})
        assert (failed.place.node_id, failed.node_type, failed.executed) == ("3", "Fails", ["1", "2"])
        assert failed.error.exception_message == "not 2\n"
        assert dict(failed.error.current_inputs) == {"value": [2]}
        assert hops.count("gpu") == 1
        assert await studio.shown_by(line(2)) == {"show": {"from_2": [2]}}  # which is in the cache
        assert hops.count("gpu") == 1
        await studio.until_tokens_are_back()


async def test_what_a_node_told_last_goes_out_before_its_end_so_its_thread_waits(hops: list[str]) -> None:
    def tells(value: int = 0) -> int:
        ProgressBar(2).update(2)
        return value + 1

    async with running(define("Tells", tells), add()) as studio:
        prompt_id = await studio.submit({"1": node("Tells"), "2": node("Add", value=["1", 0]),
                                         "3": node("Add", value=["2", 0]), "show": shows("3")})
        await studio.events.end_of(prompt_id)
        assert hops.count("gpu") == 2
        assert studio.events.story(prompt_id, NodeProgressed, NodeStarted, NodeFinished)[:4] == [
            "NodeStarted 1", "NodeProgressed 1", "NodeFinished 1", "NodeStarted 2"]


async def test_to_a_call_that_took_long_a_hop_is_nothing(hops: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_caller, "LONGEST_TO_GO_ON", -1.0)
    async with running(add()) as studio:
        await studio.shown_by(line(3))
        assert hops.count("gpu") == 3


async def test_a_blocked_node_of_a_line_is_told_and_not_called() -> None:
    blocks = define("Blocks", lambda: ExecutionBlocker("no"))
    async with running(blocks, add()) as studio:
        prompt_id = await studio.submit({"1": node("Blocks"), "2": node("Add", value=["1", 0]),
                                         "3": node("Add", value=["2", 0]), "show": shows("3")})
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        assert [one.place.node_id for one in studio.events.of(NodeBlocked, prompt_id=prompt_id)] == ["2"]


async def test_a_cancel_reaches_the_node_that_the_thread_went_on_with() -> None:
    gate = GatedNode("Gate", plain=True, stops=True)
    async with running(add(), gate) as studio:
        prompt_id = await studio.submit({"1": node("Add"), "2": node("Gate", value=["1", 0]),
                                         "3": node("Add", value=["2", 0]), "show": shows("3")})
        (call,) = await gate.arrived()
        await studio.events.until(NodeStarted, "2")
        studio.engine.interrupt(PromptId(prompt_id))
        end = await studio.events.end_of(prompt_id)
        assert call.was_cancelled
        assert end.outcome is Outcome.INTERRUPTED
        assert end.interrupted is not None
        assert (end.interrupted.node_id, end.executed) == ("2", ["1"])
        await studio.until_tokens_are_back()
        assert await studio.shown_by(line(1)) == {"show": {"from_1": [1]}}


async def test_a_follower_that_does_not_stop_is_abandoned_and_keeps_the_token() -> None:
    gate = GatedNode("Gate", plain=True)
    async with running(add(), gate, plain_grace=SOON) as studio:
        prompt_id = await studio.submit({"1": node("Add"), "2": node("Gate", value=["1", 0]), "show": shows("2")})
        (call,) = await gate.arrived()
        await studio.events.until(NodeStarted, "2")
        studio.engine.interrupt(PromptId(prompt_id))
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        assert studio.tokens_taken() == 1
        assert [one.node_id for one in studio.engine.busy_pools()] == ["2"]
        call.let_go()
        await studio.until_tokens_are_back()
        assert await studio.shown_by(line(3)) == {"show": {"from_3": [3]}}


async def test_a_prompt_that_was_put_in_front_is_next_though_a_line_has_begun(hops: list[str]) -> None:
    order: list[str] = []

    def notes(value: Any = None, name: str = "") -> None:
        order.append(name)

    gate = GatedNode("Gate", plain=True)
    async with running(gate, define("Notes", notes)) as studio:
        slow = await studio.submit({"1": node("Gate"), "2": node("Notes", value=["1", 0], name="behind"),
                                    "show": shows("2")})
        (call,) = await gate.arrived()
        urgent = await studio.submit({"1": node("Notes", name="in front"), "show": shows("1")}, front=True)
        await turns_until(lambda: studio.engine.snapshot().pending == [])
        call.let_go()
        await studio.events.end_of(slow)
        await studio.events.end_of(urgent)
    assert order == ["in front", "behind"]


async def test_a_limit_of_time_holds_for_a_follower() -> None:
    gate = GatedNode("Gate", plain=True, stops=True, limits=TimeLimits(run_timeout=SOON))
    async with running(add(), gate) as studio:
        failed = await studio.error_of({"1": node("Add"), "2": node("Gate", value=["1", 0]), "show": shows("2")})
        assert (failed.place.node_id, failed.error.exception_type) == ("2", "execution.NodeTimedOut")
        await studio.until_tokens_are_back()


@pytest.mark.parametrize("tells", [False, True])
async def test_nodes_of_a_line_keep_their_instances_whoever_goes_on(tells: bool) -> None:
    made: list[object] = []

    class Instance:
        def __init__(self) -> None:
            made.append(self)

        def run(self, value: int = 0) -> int:
            if tells:
                ProgressBar(1).update(1)
            return value + 1

    kept = define("Kept", lambda **_: None, create=Instance, bind=lambda instance: instance.run)
    async with running(kept) as studio:
        for first in range(3):
            assert await studio.shown_by(line(4, "Kept", first)) == {"show": {"from_4": [first + 4]}}
    assert len(made) == 4


def test_a_thread_without_a_context_finds_the_node_that_is_really_called() -> None:
    first, second = (NodeCall(CallId(number), PromptId("p"), NodeId(str(number)), add(), None)  # type: ignore[arg-type]
                     for number in (1, 2))
    book: OpenCalls[NodeCall] = OpenCalls({CallId(1): first})
    books_of_open_calls.add(book)
    try:
        assert find_call() is first
        first.went_on_with = second
        assert (find_call(), find_call("2"), find_call("1")) == (second, second, None)
    finally:
        books_of_open_calls.discard(book)


# -- what is planned --------------------------------------------------------------------------------------------------


def plain_line(length: int, tag: Any = 0, class_type: str = "Plain") -> dict[str, Any]:
    nodes = {str(place): node(class_type, a=tag, **({"b": [str(place - 1), 0]} if place > 1 else {}))
             for place in range(1, length + 1)}
    return {**nodes, "show": node("Show", a=[str(length), 0])}


def planned(driver: SchedulerDriver) -> list[str]:
    """Nodes that the thread of the call that was started last may go on with."""
    found, call = [], driver.calls[-1].then
    while call is not None:
        found.append(call.node_id)
        call = call.then
    return found


def only_open(driver: SchedulerDriver) -> CallId:
    (call_id,) = driver.open
    return call_id


def test_a_line_is_planned_as_far_as_it_is_only_a_line() -> None:
    assert planned(started(plain_line(4))) == ["2", "3", "4"]
    assert planned(started(plain_line(4, class_type="Async"))) == []
    assert planned(started({**plain_line(4), "5": node("Plain", a=["2", 0]), "other": node("Show", a=["5", 0])})) == [
        "2"], "two wait for it"
    assert planned(started({**plain_line(4), "3": node("Cpu", b=["2", 0])})) == ["2"]
    assert planned(started({**plain_line(4), "3": node("PlainLazy", a=["2", 0])})) == ["2"]


def test_of_a_prompt_that_ran_when_the_process_ended_nothing_is_planned() -> None:
    driver = SchedulerDriver()
    submitted = submission_of(plain_line(4), "p0")
    submitted.attempt = 1
    driver.submit(submitted)
    driver.start_prompts()
    assert driver.called() == ["1"]
    assert planned(driver) == []


def test_outputs_that_are_in_the_cache_end_a_plan() -> None:
    driver = started(plain_line(2))
    while driver.open:
        driver.return_(only_open(driver))
    driver.submit(submission_of({"0": node("Plain", a="new"), "1": node("Plain", a=0),
                                 "2": node("Plain", a=0, b=["1", 0]), "3": node("Plain", a=["0", 0], b=["2", 0]),
                                 "show": node("Show", a=["3", 0])}, "p1"))
    driver.start_prompts()
    assert driver.called("p1") == ["0"]
    assert planned(driver) == ["3"]


def test_one_is_told_to_go_on_with_more_if_it_did_and_with_less_if_it_did_not() -> None:
    driver = started(plain_line(200))
    lengths = []
    for _ in range(4):
        lengths.append(len(planned(driver)))
        while driver.open[only_open(driver)].then is not None:  # type: ignore[union-attr]
            driver.return_(only_open(driver), goes_on=True)
        driver.return_(only_open(driver))
    assert lengths == [FIRST_AHEAD, 2 * FIRST_AHEAD, MOST_AHEAD, MOST_AHEAD]
    for _ in range(7):
        lengths.append(len(planned(driver)))
        driver.return_(only_open(driver))
    assert lengths[4:] == [32, 16, 8, 4, 2, 1, 1]


def test_a_better_call_that_comes_later_ends_the_plan_and_a_worse_one_does_not() -> None:
    driver = started(plain_line(4))
    driver.submit(submission_of(plain_line(2, "worse"), "p1", number=1))
    driver.start_prompts()
    assert driver.chains_ended == []
    driver.submit(submission_of(plain_line(2, "better"), "p2", number=-1))
    driver.start_prompts()
    driver.submit(submission_of(plain_line(2, "better still"), "p3", number=-2))
    driver.start_prompts()
    assert driver.chains_ended == [driver.call_of("p0", "1")]


def test_a_thread_that_went_on_as_its_prompt_was_cancelled_is_waited_for() -> None:
    driver = started(plain_line(3))
    first = only_open(driver)
    driver.cancel("p0")
    driver.return_(first, goes_on=True)  # it had begun before it was told
    second = only_open(driver)
    assert driver.cancelled == {first, second}
    assert driver.outcome_of("p0") is None
    assert driver.scheduler.pools.held("gpu") == 1
    driver.return_(second, goes_on=True)
    driver.end_cancelled(only_open(driver))
    assert driver.outcome_of("p0") is Outcome.INTERRUPTED
    assert "NodeStarted 2" not in driver.story("p0")
    driver.check_nothing_is_left()


def test_a_shared_call_that_passes_to_another_prompt_ends_the_plan_of_the_first() -> None:
    driver = started(plain_line(3), plain_line(3))
    first = only_open(driver)
    driver.cancel("p0")
    assert driver.chains_ended == [first]
    driver.return_(first, goes_on=True)
    assert driver.outcome_of("p0") is Outcome.INTERRUPTED
    cancelled = next(call_id for call_id in driver.open if call_id in driver.cancelled)
    driver.end_cancelled(cancelled)
    while driver.open:
        driver.return_(only_open(driver))
    assert driver.outcome_of("p1") is Outcome.SUCCEEDED
    assert not any(isinstance(event, NodeFailed) for event in driver.events[PromptId("p1")])
    driver.check_nothing_is_left()


def test_a_better_prompt_that_joins_a_running_call_ends_the_plan() -> None:
    driver = SchedulerDriver()
    driver.submit(submission_of(plain_line(3), "p0", number=5))
    driver.start_prompts()
    first = only_open(driver)
    other = {"1": node("Plain", a=0), "2": node("Plain", a="other", b=["1", 0]), "show": node("Show", a=["2", 0])}
    driver.submit(submission_of(other, "worse", number=6))
    driver.start_prompts()
    assert driver.chains_ended == []
    driver.submit(submission_of(other, "better", number=-1))
    driver.start_prompts()
    assert driver.chains_ended == [first]
    driver.return_(first)
    assert driver.calls[-1].prompt_id == "better"


# -- found by trying to break it --------------------------------------------------------------------------------------


async def test_what_a_helper_thread_reports_after_the_return_holds_up_no_end(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview takes its time to be encoded, and the end of a call waits for it, unless its thread has gone on."""
    encodes = threading.Event()
    reporters: list[ProgressBar] = []

    def makes(**_: Any) -> int:
        reporters.append(ProgressBar(9))
        return 1

    def encode(preview: Any) -> tuple[str, bytes]:
        encodes.wait(30)
        return "JPEG", b"picture"

    following = node_caller.LocalNodeCaller._following

    def reports_then(self: Any, call: Any, outcome: Any) -> Any:
        found = following(self, call, outcome)
        if call.node_id == "1":  # in the moment between the return and the news of it
            call.desk.report(call, call.node_id, 1, 9, ("JPEG", "picture", None), False)
        return found

    monkeypatch.setattr(node_caller.LocalNodeCaller, "_following", reports_then)
    async with running(define("Makes", makes), add(), encode_preview=encode) as studio:
        prompt_id = await studio.submit({"1": node("Makes"), "2": node("Add", value=["1", 0]), "show": shows("2")})
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        await studio.until_tokens_are_back()
        encodes.set()
        assert (await studio.run(line(2))).outcome is Outcome.SUCCEEDED
        assert not studio.events.of(NodeProgressed, "1", prompt_id=prompt_id)


async def test_an_error_that_a_node_caught_and_returned_is_let_go_of() -> None:
    """It leads to the frames that called the node, and those to what is made of it."""
    class Large:
        pass

    alive: weakref.WeakSet[Large] = weakref.WeakSet()

    def catches(value: Any = None) -> Exception | None:
        large = Large()
        alive.add(large)
        try:
            raise ValueError
        except ValueError as error:
            return error

    sink = define("Sink", lambda **_: NodeResult(outputs=()), is_output=True)
    async with running(define("Catches", catches), sink, cache=OutputCache(CacheRule.NONE)) as studio:
        for number in range(5):
            assert (await studio.run({"1": node("Catches", value=number), "2": node("Catches", value=["1", 0]),
                                      "3": node("Sink", value=["2", 0])})).outcome is Outcome.SUCCEEDED
        await studio.until_tokens_are_back()
        gc.collect()
        assert not alive


async def test_values_in_a_line_are_let_go_of_as_their_consumers_have_run() -> None:
    class Large:
        pass

    alive: weakref.WeakSet[Large] = weakref.WeakSet()
    most, loop = 0, asyncio.get_running_loop()

    def makes(value: Any = None) -> Large:
        nonlocal most
        made = Large()
        alive.add(made)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(30)  # it has heard of the one before by then
        most = max(most, len(alive))
        return made

    async with running(define("Makes", makes), cache=OutputCache(CacheRule.NONE)) as studio:
        await studio.run(line(FIRST_AHEAD + 1, "Makes", None))
    assert most <= 3


async def test_followers_of_an_abandoned_call_do_not_keep_their_instances() -> None:
    made: list[object] = []

    class Instance:
        def __init__(self) -> None:
            made.append(self)

        def run(self, value: Any = None) -> int:
            return 1

    gate = GatedNode("Gate", plain=True, needs={"cpu": 1})
    kept = define("Kept", lambda **_: None, create=Instance, bind=lambda instance: instance.run, needs={"cpu": 1})
    first = define("First", lambda value: value, needs={"cpu": 1})
    async with running(gate, kept, first, plain_grace=SOON) as studio:
        prompt_id = await studio.submit({"1": node("Gate"), "2": node("Kept", value=["1", 0]), "show": shows("2")})
        (call,) = await gate.arrived()
        studio.engine.interrupt(PromptId(prompt_id))
        await studio.events.end_of(prompt_id)
        for number in range(4):
            await studio.run({"1": node("First", value=number), "2": node("Kept", value=["1", 0]), "show": shows("2")})
        assert len(made) == 1
        call.let_go()
        await studio.until_tokens_are_back()


async def test_a_thread_that_stalls_as_it_goes_on_and_is_abandoned_meanwhile_keeps_its_token(
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    stalls, goes_on = threading.Event(), threading.Event()
    following = node_caller.LocalNodeCaller._following

    class Slow(dict[str, Any]):
        """Its thread was not cancelled a moment ago; it takes a while to say what it goes on with."""

        def items(self) -> Any:
            stalls.set()
            goes_on.wait(30)
            return super().items()

    def slowly(self: Any, call: Any, outcome: Any) -> Any:
        if call.node_id == "1":
            call.then.command.inputs = Slow(call.then.command.inputs)
        return following(self, call, outcome)

    monkeypatch.setattr(node_caller.LocalNodeCaller, "_following", slowly)
    gate = GatedNode("Gate", plain=True)
    async with running(add(), gate, plain_grace=SOON) as studio:
        prompt_id = await studio.submit({"1": node("Add"), "2": node("Gate", value=["1", 0]), "show": shows("2")})
        await asyncio.to_thread(stalls.wait)
        studio.engine.interrupt(PromptId(prompt_id))
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        goes_on.set()
        gate.open()  # it may see in time that nobody wants it, or not
        await studio.until_tokens_are_back()
        assert await studio.shown_by(line(2)) == {"show": {"from_2": [2]}}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_follower_that_was_given_up_meanwhile_is_cancelled_and_others_go_on() -> None:
    driver = SchedulerDriver()
    submitted = submission_of({
        "1": node("Plain", a=0), "2": node("Plain", b=["1", 0]), "x": node("Private", a=1),
        "3": node("Plain", b=["2", 0], c=["x", 0]), "show": node("Show", a=["3", 0]),
        "other": node("Async", a=9), "show too": node("Show", a=["other", 0])}, "p0")
    submitted.goes_on_after_errors = True
    driver.submit(submitted)
    driver.submit(submission_of({"1": node("Plain", a=0), "show": node("Show", a=["1", 0])}, "p1"))
    driver.start_prompts()
    first = driver.call_of("p0", "1")
    driver.fail(driver.call_of("p0", "x"))  # nobody wants 3 any more, nor 2
    driver.return_(first, goes_on=True)
    (second,) = driver.cancelled
    driver.end_cancelled(second)
    while driver.open:
        driver.return_(min(driver.open))
    assert [driver.outcome_of(name) for name in ("p0", "p1")] == [Outcome.PARTLY_SUCCEEDED, Outcome.SUCCEEDED]
    driver.check_nothing_is_left()


def test_a_call_that_left_its_lane_has_no_plan_any_more() -> None:
    driver = started(plain_line(3))
    first = only_open(driver)
    driver.leave_lane(first)  # it returned an awaitable: its thread is free
    driver.return_(first)
    assert driver.called() == ["1", "2"]
    while driver.open:
        driver.return_(only_open(driver))
    assert driver.outcome_of("p0") is Outcome.SUCCEEDED
    driver.check_nothing_is_left()
