"""Async and plain nodes, driven over real sockets: validation, lazy inputs, fingerprints, errors, limits, expansion,
cancellation and context. Nodes stop at doors and meet each other; nothing here waits for time to pass."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from execution import (
    CurrentNodeContext,
    GraphBuilder,
    InterruptProcessing,
    ProgressBar,
    check_interrupted,
    get_current_node,
)
from tests.inference.made_nodes import Door, Meeting, Shown, add_nodes, make_node, source, studio_with
from tests.inference.studio_client import connect, node, turns_of_the_loop

# --- async validation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["VALIDATE_INPUTS", "validate_inputs"])
async def test_async_validation(name: str) -> None:
    shown = Shown()

    async def check(cls: type, a: Any) -> bool | str:
        await asyncio.sleep(0)
        assert threading.current_thread() is threading.main_thread()
        return a < 10 or f"{a} is too large"

    async with studio_with(Show=shown.node(**{name: check})) as (_, client):
        assert (await client.run({"1": node("Show", a=3)})).succeeded
        refused = await client.refusal({"1": node("Show", a=30)})
    assert shown.values == [3]
    assert refused["error"]["type"] == "prompt_outputs_failed_validation"
    (error,) = refused["node_errors"]["1"]["errors"]
    assert (error["type"], error["details"]) == ("custom_validation_failed", "a - 30 is too large")


async def test_async_validation_of_several_nodes_runs_side_by_side() -> None:
    meeting = Meeting(3)

    async def check(cls: type, a: Any) -> bool:
        await meeting.join()
        return True

    shown = Shown()
    async with studio_with(Show=shown.node(VALIDATE_INPUTS=check)) as (_, client):
        run = await client.run({str(index): node("Show", a=index) for index in range(3)})
    assert run.succeeded
    assert sorted(shown.values) == [0, 1, 2]


async def test_async_validation_holds_up_its_own_post_alone() -> None:
    door = Door()

    async def check(cls: type, a: Any) -> bool:
        await door.stop()
        return True

    shown = Shown()
    async with studio_with(Slow=Shown().node(VALIDATE_INPUTS=check), Show=shown.node()) as (_, client):
        slow = asyncio.create_task(client.post({"1": node("Slow", a=1)}))
        await door.reached()
        assert (await client.run({"1": node("Show", a=2)})).succeeded
        assert not slow.done()
        door.open()
        assert (await slow)[0] == 200


async def test_async_validation_that_raises_is_a_refusal() -> None:
    async def check(cls: type, a: Any) -> bool:
        await asyncio.sleep(0)
        raise LookupError("no such thing")

    async with studio_with(Show=Shown().node(VALIDATE_INPUTS=check)) as (_, client):
        refused = await client.refusal({"1": node("Show", a=1)})
    (error,) = refused["node_errors"]["1"]["errors"]
    assert error["type"] == "exception_during_validation"
    assert error["details"] == "no such thing"
    assert error["extra_info"]["exception_type"] == "LookupError"


async def test_async_validation_that_never_answers_is_named() -> None:
    async def check(cls: type, a: Any) -> bool:
        await asyncio.Event().wait()
        return True

    async with studio_with({"hook_timeout": 0.05}, Show=Shown().node(VALIDATE_INPUTS=check)) as (_, client):
        refused = await client.refusal({"1": node("Show", a=1)})
    (error,) = refused["node_errors"]["1"]["errors"]
    assert "validator of Show" in error["details"]


# --- async lazy status ---------------------------------------------------------------------------------------------


def counted_source(value: Any, calls: list[Any]) -> type:
    def give() -> tuple[Any]:
        calls.append(value)
        return (value,)

    return make_node(give, NOT_IDEMPOTENT=True)


LAZY = {"left": ("*", {"lazy": True}), "right": ("*", {"lazy": True})}


async def async_choice(self: Any, pick: str, left: Any = None, right: Any = None) -> list[str]:
    await asyncio.sleep(0)
    return [pick]


def plain_choice(self: Any, pick: str, left: Any = None, right: Any = None) -> list[str]:
    return [pick]


async def async_pick(pick: str, left: Any = None, right: Any = None) -> tuple[Any]:
    await asyncio.sleep(0)
    return ((left, right),)


def plain_pick(pick: str, left: Any = None, right: Any = None) -> tuple[Any]:
    return ((left, right),)


@pytest.mark.parametrize("function", [async_pick, plain_pick])
@pytest.mark.parametrize("choice", [async_choice, plain_choice])
async def test_async_lazy_status(function: Callable[..., Any], choice: Callable[..., Any]) -> None:
    lefts: list[Any] = []
    rights: list[Any] = []
    shown = Shown()
    pick = make_node(function, types=LAZY, check_lazy_status=choice)
    prompt = {"1": node("Left"), "2": node("Right"),
              "3": node("Pick", pick="right", left=["1", 0], right=["2", 0]), "4": node("Show", a=["3", 0])}
    async with studio_with(Left=counted_source("L", lefts), Right=counted_source("R", rights), Pick=pick,
                           Show=shown.node()) as (_, client):
        run = await client.run(prompt)
    assert run.succeeded
    assert (lefts, rights) == ([], ["R"])
    assert shown.values == [(None, "R")]
    assert "1" not in run.started
    assert run.started.count("3") == 2  # asked, and then run


async def test_async_lazy_status_asks_for_one_input_after_another() -> None:
    seen: list[dict[str, Any]] = []

    async def check(self: Any, **inputs: Any) -> list[str]:
        seen.append(dict(inputs))
        await asyncio.sleep(0)
        if inputs["left"] is None:
            return ["left"]
        return [inputs["left"]]

    async def pick(left: Any = None, right: Any = None) -> tuple[Any]:
        return ((left, right),)

    shown = Shown()
    prompt = {"1": node("Left"), "2": node("Right"), "3": node("Pick", left=["1", 0], right=["2", 0]),
              "4": node("Show", a=["3", 0])}
    async with studio_with(Left=source("right"), Right=source("R"), Show=shown.node(),
                           Pick=make_node(pick, types=LAZY, check_lazy_status=check)) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.values == [("right", "R")]
    assert seen == [{"left": None, "right": None}, {"left": "right", "right": None}, {"left": "right", "right": "R"}]


async def test_async_lazy_status_of_a_plain_node_can_be_interrupted() -> None:
    door = Door()
    shown = Shown()

    async def check(self: Any, left: Any = None) -> list[str]:
        await door.stop()
        return []

    pick = make_node(lambda left=None: (left,), types=LAZY, check_lazy_status=check)
    prompt = {"1": node("Left"), "2": node("Pick", left=["1", 0]), "3": node("Show", a=["2", 0])}
    async with studio_with(Left=source(1), Pick=pick, Show=shown.node()) as (studio, client):
        prompt_id = await client.submit(prompt)
        await door.reached()
        await client.send("/interrupt")
        assert (await client.end_of(prompt_id)).of("execution_interrupted")[0]["node_id"] == "2"
        assert studio.engine.pools()["gpu"] == (0, 1)
        door.open()
        assert (await client.run(prompt)).succeeded
    assert shown.values == [None]


@pytest.mark.parametrize("function", [async_pick, plain_pick])
async def test_async_lazy_status_that_raises_ends_the_prompt(function: Callable[..., Any]) -> None:
    async def check(self: Any, **inputs: Any) -> list[str]:
        await asyncio.sleep(0)
        raise ValueError("cannot choose")

    pick = make_node(function, types=LAZY, output=True, check_lazy_status=check)
    async with studio_with(Left=source(1), Pick=pick) as (_, client):
        run = await client.run({"1": node("Left"), "2": node("Pick", pick="left", left=["1", 0])})
    assert run.error["node_id"] == "2"
    assert run.error["exception_message"] == "cannot choose\n"


# --- async fingerprints --------------------------------------------------------------------------------------------


async def test_async_fingerprints() -> None:
    shown = Shown()
    version = [1]

    async def check(cls: type, a: Any, unique_id: str) -> int:
        await asyncio.sleep(0)
        return version[0]

    prompt = {"1": node("Show", a=3)}
    async with studio_with(Show=shown.node(IS_CHANGED=check)) as (_, client):
        assert (await client.run(prompt)).cached == []
        assert (await client.run(prompt)).cached == ["1"]
        version[0] = 2
        assert (await client.run(prompt)).cached == []
    assert shown.values == [3, 3]


async def test_async_fingerprints_are_taken_side_by_side() -> None:
    meeting = Meeting(3)

    async def check(cls: type, a: Any, unique_id: str) -> int:
        await meeting.join()
        return 1

    shown = Shown()
    async with studio_with(Show=shown.node(IS_CHANGED=check)) as (_, client):
        assert (await client.run({str(index): node("Show", a=index) for index in range(3)})).succeeded


async def test_async_fingerprints_that_raise_never_match() -> None:
    shown = Shown()

    async def check(cls: type, a: Any, unique_id: str) -> int:
        await asyncio.sleep(0)
        raise OSError("gone")

    prompt = {"1": node("Show", a=3)}
    async with studio_with(Show=shown.node(IS_CHANGED=check)) as (_, client):
        runs = [await client.run(prompt) for _ in range(2)]
    assert [run.succeeded for run in runs] == [True, True]
    assert [run.cached for run in runs] == [[], []]
    assert len(shown.calls) == 2


async def test_async_fingerprints_do_not_hold_up_other_prompts() -> None:
    door = Door()

    async def check(cls: type, a: Any, unique_id: str) -> int:
        await door.stop()
        return 1

    shown = Shown()
    async with studio_with(Slow=Shown().node(IS_CHANGED=check), Show=shown.node()) as (_, client):
        slow = await client.submit({"1": node("Slow", a=1)})
        await door.reached()
        assert (await client.run({"1": node("Show", a=2)})).succeeded
        door.open()
        assert (await client.end_of(slow)).succeeded


async def test_an_interrupt_reaches_a_prompt_whose_fingerprints_are_taken() -> None:
    door = Door()
    shown = Shown()

    async def check(cls: type, a: Any, unique_id: str) -> int:
        await door.stop()
        return 1

    async with studio_with(Show=shown.node(IS_CHANGED=check)) as (_, client):
        prompt_id = await client.submit({"1": node("Show", a=1)})
        await door.reached()
        await client.send("/interrupt")
        run = await client.end_of(prompt_id)
    assert run.of("execution_interrupted")
    assert shown.calls == []


def answering(answers: list[Any], is_async: bool) -> Callable[..., Any]:
    async def ask(cls: type, a: Any) -> Any:
        await asyncio.sleep(0)
        return answers[0]

    def ask_plainly(cls: type, a: Any) -> Any:
        return answers[0]

    return ask if is_async else ask_plainly


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])
async def test_fingerprint_inputs_without_a_validator_may_be_one(is_async: bool) -> None:
    """True passes, False and a text refuse, anything else is a fingerprint (rulings 11)."""
    shown = Shown()
    answers: list[Any] = [True]
    prompt = {"1": node("Show", a=3)}
    async with studio_with(Show=shown.node(fingerprint_inputs=answering(answers, is_async))) as (_, client):
        assert (await client.run(prompt)).cached == []
        assert (await client.run(prompt)).cached == ["1"]
        answers[0] = False
        (error,) = (await client.refusal(prompt))["node_errors"]["1"]["errors"]
        assert (error["type"], error["details"]) == ("custom_validation_failed", "a")
        answers[0] = "three is too little"
        (error,) = (await client.refusal(prompt))["node_errors"]["1"]["errors"]
        assert (error["type"], error["details"]) == ("custom_validation_failed", "a - three is too little")
        answers[0] = 0.25
        assert (await client.run(prompt)).cached == []
        assert (await client.run(prompt)).cached == ["1"]
        answers[0] = 0.5
        assert (await client.run(prompt)).cached == []
    assert len(shown.calls) == 3


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])
async def test_fingerprint_inputs_beside_a_validator_is_a_fingerprint(is_async: bool) -> None:
    shown = Shown()
    answers: list[Any] = ["first"]

    def validate(cls: type, a: Any) -> bool:
        return True

    prompt = {"1": node("Show", a=3)}
    async with studio_with(Show=shown.node(fingerprint_inputs=answering(answers, is_async),
                                           validate_inputs=validate)) as (_, client):
        assert (await client.run(prompt)).succeeded
        answers[0] = "second"
        assert (await client.run(prompt)).cached == []
        answers[0] = False
        assert (await client.run(prompt)).cached == []
        assert (await client.run(prompt)).cached == ["1"]
    assert len(shown.calls) == 3


async def test_fingerprint_inputs_does_not_switch_off_the_checks_of_ranges() -> None:
    def fingerprint(cls: type, a: Any) -> bool:
        return True

    async with studio_with(Show=Shown().node(types={"a": ("INT", {"max": 5})}, fingerprint_inputs=fingerprint)
                           ) as (_, client):
        refused = await client.refusal({"1": node("Show", a=6)})
    (error,) = refused["node_errors"]["1"]["errors"]
    assert error["type"] == "value_bigger_than_max"


# --- error handling ------------------------------------------------------------------------------------------------


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


ERRORS = [ValueError("bad"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration("x"),
          asyncio.CancelledError("its own"), ExceptionGroup("two", [ValueError("inner"), KeyError("other")]),
          BaseExceptionGroup("base", [KeyboardInterrupt()]), UnprintableError(), MemoryError("no room")]


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_error_handling(error: BaseException, is_async: bool) -> None:
    """Whatever a node raises ends its prompt with one `execution_error`; the next prompt is unharmed."""
    shown = Shown()

    async def fail(a: Any) -> tuple[Any]:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise error

    def fail_plainly(a: Any) -> tuple[Any]:
        raise error

    prompt = {"1": node("Fail", a="given"), "2": node("Show", a=["1", 0])}
    async with studio_with(Fail=make_node(fail if is_async else fail_plainly), Show=shown.node()) as (_, client):
        run = await client.run(prompt)
        assert (await client.run({"1": node("Show", a=1)})).succeeded
        history = await client.history(run.prompt_id)
    if isinstance(error, StopIteration) and is_async:  # Python's own rule for coroutines
        assert run.error["exception_type"] == "RuntimeError"
    else:
        assert run.error["exception_type"].endswith(type(error).__name__)
        assert any("in fail" in line for line in run.error["traceback"])
    assert (run.error["node_id"], run.error["node_type"]) == ("1", "Fail")
    assert run.error["current_inputs"] == {"a": ["given"]}
    assert run.error["exception_message"].count("\n") == 1
    assert not run.succeeded
    assert history["status"]["status_str"] == "error"
    assert history["status"]["completed"] is False
    assert shown.values == [1]


async def test_error_handling_cancels_siblings_and_waits_for_their_clean_up() -> None:
    door = Door()
    cleaned: list[str] = []

    async def sibling(a: Any) -> tuple[Any]:
        try:
            await door.stop()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            cleaned.append("sibling")
            raise
        return (a,)

    async def fail(a: Any) -> tuple[Any]:
        await door.reached()
        raise RuntimeError("first")

    prompt = {"1": node("Sibling", a=1), "2": node("Fail", a=2), "3": node("Show", a=["1", 0], b=["2", 0])}
    async with studio_with(Sibling=make_node(sibling), Fail=make_node(fail), Show=Shown().node()) as (_, client):
        run = await client.run(prompt)
        assert cleaned == ["sibling"]  # before the prompt's end was told
    assert run.error["node_id"] == "2"
    assert run.error["executed"] == []


async def test_error_handling_lets_a_node_catch_its_own_errors() -> None:
    async def broken() -> None:
        raise ConnectionError("refused")

    async def careful() -> tuple[Any]:
        results = await asyncio.gather(broken(), asyncio.sleep(0, "fine"), return_exceptions=True)
        return ([str(result) for result in results],)

    shown = Shown()
    async with studio_with(Careful=make_node(careful), Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("Careful"), "2": node("Show", a=["1", 0])})).succeeded
    assert shown.values == [["refused", "fine"]]


async def test_error_handling_out_of_memory_frees_the_caches_and_goes_on() -> None:
    import torch

    calls: list[Any] = []

    async def hungry(a: Any) -> tuple[Any]:
        raise torch.OutOfMemoryError("tried to allocate 1 TiB")

    good = {"1": node("Source"), "2": node("Show", a=["1", 0])}
    async with studio_with(Source=counted_source(7, calls), Hungry=make_node(hungry, output=True),
                           Show=Shown().node()) as (_, client):
        await client.run(good)
        run = await client.run({"1": node("Hungry", a=1)})
        again = await client.run(good)
    assert run.error["exception_type"] == "torch.OutOfMemoryError"
    message, hint = run.error["exception_message"].split("\n")
    assert message == "tried to allocate 1 TiB"
    assert "out of memory" in hint
    assert again.succeeded
    assert calls == [7, 7]


# --- timeouts ------------------------------------------------------------------------------------------------------


async def test_timeouts_inside_a_node_can_be_caught() -> None:
    """Each wait ends by itself, and none of them cancels anything of the server."""
    async def patient() -> tuple[Any]:
        seen = []
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except TimeoutError:
            seen.append("wait_for")
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append("timeout")
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(0)
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append("at once")
        seen.append(await asyncio.wait_for(asyncio.sleep(0, "in time"), 30))
        return (seen,)

    shown = Shown()
    async with studio_with(Patient=make_node(patient), Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("Patient"), "2": node("Show", a=["1", 0])})).succeeded
    assert shown.values == [["wait_for", "timeout", "at once", "in time"]]


async def test_timeouts_that_are_not_caught_are_errors_of_the_node() -> None:
    cancelled: list[bool] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def impatient(a: Any) -> tuple[Any]:
        await asyncio.wait_for(forever(), 0.01)
        return (a,)

    async with studio_with(Impatient=make_node(impatient, output=True)) as (_, client):
        run = await client.run({"1": node("Impatient", a=5)})
    assert run.error["exception_type"] == "TimeoutError"
    assert run.error["current_inputs"] == {"a": [5]}
    assert cancelled == [True]


# --- resource limits -----------------------------------------------------------------------------------------------


class Counter:
    """How many were inside at the same time."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    def __enter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


def limited_class(counter: Counter, door: Door) -> type:
    class Limited:
        """As packs write it: the semaphore is made with the class, and shared by all its calls."""

        gate = asyncio.Semaphore(2)
        RETURN_TYPES = ("*",)
        FUNCTION = "work"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            return {"required": {"a": ("*",)}}

        async def work(self, a: Any) -> tuple[Any]:
            async with self.gate:
                with counter:
                    await door.stop()
                    return (a,)

    return Limited


async def test_resource_limits_of_a_semaphore_hold_across_prompts() -> None:
    counter = Counter()
    door = Door()
    shown = Shown()

    def prompt(first: int) -> dict[str, Any]:
        return {**{str(index): node("Limited", a=first + index) for index in range(4)},
                **{f"s{index}": node("Show", a=[str(index), 0]) for index in range(4)}}

    async with studio_with(Limited=limited_class(counter, door), Show=shown.node()) as (_, client):
        prompt_ids = [await client.submit(prompt(0)), await client.submit(prompt(10))]
        for _ in range(8):  # all of them were started, and six of them wait
            await client.until("executing")
        await door.reached(2)
        assert counter.now == 2
        door.open()
        ends = set()
        while len(ends) < 2:
            ends.add((await client.until("executing", node=None))[-1].data["prompt_id"])
    assert ends == set(prompt_ids)
    assert counter.most == 2
    assert sorted(shown.values) == [0, 1, 2, 3, 10, 11, 12, 13]


async def test_resource_limits_of_a_contended_semaphore_hold_on_every_loop_turn() -> None:
    """A second prompt finds the semaphore that the first one fought for, on the same loop."""
    counter = Counter()
    shown = Shown()
    gate = asyncio.Semaphore(1)

    async def work(a: Any) -> tuple[Any]:
        async with gate:
            with counter:
                await asyncio.sleep(0)
        return (a,)

    async with studio_with(List=source([1, 2, 3, 4], as_list=True), Work=make_node(work, NOT_IDEMPOTENT=True),
                           Show=shown.node()) as (_, client):
        for first in ("1", "x"):
            prompt = {first: node("List"), "2": node("Work", a=[first, 0]), "3": node("Show", a=["2", 0], b=first)}
            assert (await client.run(prompt)).succeeded
    assert counter.most == 1
    assert shown.values == [1, 2, 3, 4] * 2


async def test_resource_limits_of_a_pool_hold_back_async_nodes() -> None:
    counter = Counter()
    shown = Shown()

    async def download(a: Any) -> tuple[Any]:
        with counter:
            for _ in range(5):
                await asyncio.sleep(0)
        return (a,)

    prompt = {**{str(index): node("Download", a=index) for index in range(6)},
              **{f"s{index}": node("Show", a=[str(index), 0]) for index in range(6)}}
    async with studio_with({"pool": [("line", 2)]}, Show=shown.node(),
                           Download=make_node(download, RESOURCES={"line": 1})) as (studio, client):
        assert (await client.run(prompt)).succeeded
        assert studio.engine.pools()["line"] == (0, 2)
    assert counter.most == 2
    assert sorted(shown.values) == list(range(6))


async def test_resource_limits_that_can_never_be_met_are_refused() -> None:
    async def greedy(a: Any) -> tuple[Any]:
        return (a,)

    async with studio_with({"pool": [("line", 2)]},
                           Greedy=make_node(greedy, output=True, RESOURCES={"line": 3})) as (_, client):
        refused = await client.refusal({"1": node("Greedy", a=1)})
    (error,) = refused["node_errors"]["1"]["errors"]
    assert "line" in error["details"]


# --- batch processing ----------------------------------------------------------------------------------------------


async def test_batch_processing_gathers_and_shows_progress() -> None:
    async def one(item: int, bar: ProgressBar) -> int:
        await asyncio.sleep(0)
        bar.update(1)
        return item * item

    async def batch(items: list[int], unique_id: str) -> tuple[Any]:
        bar = ProgressBar(len(items), node_id=unique_id)
        return (await asyncio.gather(*(one(item, bar) for item in items)),)

    shown = Shown()
    prompt = {"1": node("Items"), "7": node("Batch", items=["1", 0]), "3": node("Show", a=["7", 0])}
    async with studio_with(Items=source([*range(50)]), Batch=make_node(batch), Show=shown.node()) as (_, client):
        run = await client.run(prompt)
    assert shown.values == [[item * item for item in range(50)]]
    ticks = run.of("progress")
    assert {(tick["node"], tick["max"]) for tick in ticks} == {("7", 50)}
    assert ticks[-1]["value"] == 50
    values = [tick["value"] for tick in ticks]
    assert values == sorted(values)
    row = run.of("progress_state")[-1]["nodes"]["7"]
    assert (row["value"], row["max"], row["state"]) == (50, 50, "finished")


async def test_batch_processing_of_a_list_runs_all_indices_at_once() -> None:
    meeting = Meeting(3)
    seen: list[tuple[Any, Any, Any]] = []

    async def each(a: Any) -> tuple[Any]:
        context = get_current_node()
        before = context and context.list_index
        await meeting.join()
        after = get_current_node()
        seen.append((a, before, after and after.list_index))
        return (a * 10,)

    shown = Shown()
    async with studio_with(List=source([1, 2, 3], as_list=True), Each=make_node(each), Show=shown.node()
                           ) as (_, client):
        run = await client.run({"1": node("List"), "2": node("Each", a=["1", 0]), "3": node("Show", a=["2", 0])})
    assert run.succeeded
    assert sorted(seen) == [(1, 0, 0), (2, 1, 1), (3, 2, 2)]
    assert shown.values == [10, 20, 30]
    assert run.started.count("2") == 1


async def test_batch_processing_reports_the_first_failure_once_all_indices_have_ended() -> None:
    door = Door()
    ended: list[int] = []

    async def each(a: int) -> tuple[Any]:
        if a == 3:
            door.open()
            raise ValueError("third")
        await door.stop()
        ended.append(a)
        if a == 2:
            raise ValueError("second")
        return (a,)

    async with studio_with(List=source([1, 2, 3], as_list=True), Each=make_node(each, output=True)) as (_, client):
        run = await client.run({"1": node("List"), "2": node("Each", a=["1", 0])})
    assert run.error["exception_message"] == "second\n"
    assert run.error["current_inputs"] == {"a": [1, 2, 3]}
    assert ended == [1, 2]


# --- concurrent limits ---------------------------------------------------------------------------------------------


async def test_concurrent_limits_inside_one_node() -> None:
    counter = Counter()

    async def bounded(items: list[int], limit: int) -> tuple[Any]:
        gate = asyncio.Semaphore(limit)

        async def one(item: int) -> int:
            async with gate:
                with counter:
                    await asyncio.sleep(0)
                    return -item

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
        return ([task.result() for task in tasks],)

    shown = Shown()
    prompt = {"1": node("Items"), "2": node("Bounded", items=["1", 0], limit=3), "3": node("Show", a=["2", 0])}
    async with studio_with(Items=source([1, 2, 3, 4, 5, 6, 7]), Bounded=make_node(bounded), Show=shown.node()
                           ) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert counter.most == 3
    assert shown.values == [[-1, -2, -3, -4, -5, -6, -7]]


async def test_concurrent_limits_there_are_none_for_nodes_that_wait() -> None:
    """Twenty prompts of one client that all wait hold no place: with default settings they wait at the same time."""
    meeting = Meeting(20)

    async def wait(a: Any) -> tuple[Any]:
        await meeting.join()
        return (a,)

    async with studio_with(Wait=make_node(wait, output=True)) as (_, client):
        prompt_ids = [await client.submit({"1": node("Wait", a=index)}) for index in range(20)]
        for prompt_id in prompt_ids:
            if not await client.get(f"/history/{prompt_id}"):
                await client.until("executing", node=None, prompt_id=prompt_id)
        for prompt_id in prompt_ids:
            assert (await client.history(prompt_id))["status"]["status_str"] == "success"


async def test_concurrent_limits_of_running_prompts_hold_for_nodes_that_compute() -> None:
    door = Door()

    def compute(a: Any) -> tuple[Any]:
        door.stop_plain()
        return (a,)

    async with studio_with({"max_running_prompts": 2}, Compute=make_node(compute, output=True)) as (_, client):
        prompt_ids = [await client.submit({"1": node("Compute", a=index)}) for index in range(3)]
        await door.reached()
        queue = await client.get("/queue")
        assert [item[1] for item in queue["queue_running"]] == prompt_ids[:2]
        assert [item[1] for item in queue["queue_pending"]] == prompt_ids[2:]
        door.open()
        await client.until("executing", node=None, prompt_id=prompt_ids[2])


# --- mixed sync and async ------------------------------------------------------------------------------------------


async def test_mixed_sync_async_run_side_by_side() -> None:
    """The plain node ends only after the async one has run, and that one only after the plain node has begun."""
    door = Door()
    threads: dict[str, int] = {}

    def plain(a: Any) -> tuple[Any]:
        threads["plain"] = threading.get_ident()
        door.stop_plain()
        return (f"plain {a}",)

    async def waiting(a: Any) -> tuple[Any]:
        threads["async"] = threading.get_ident()
        await door.reached()
        door.open()
        return (f"async {a}",)

    shown = Shown()
    prompt = {"1": node("Plain", a=1), "2": node("Waiting", a=2), "3": node("Show", a=["1", 0], b=["2", 0])}
    async with studio_with(Plain=make_node(plain), Waiting=make_node(waiting), Show=shown.node()) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.calls == [{"a": "plain 1", "b": "async 2"}]
    assert threads["async"] == threading.get_ident() != threads["plain"]


async def test_mixed_sync_async_chain() -> None:
    def plain(a: list[str]) -> tuple[Any]:
        return ([*a, "plain"],)

    async def waiting(a: list[str]) -> tuple[Any]:
        await asyncio.sleep(0)
        return ([*a, "async"],)

    shown = Shown()
    prompt = {"0": node("Start"), **{str(index + 1): node("Plain" if index % 2 else "Waiting", a=[str(index), 0])
                                     for index in range(6)}, "9": node("Show", a=["6", 0])}
    async with studio_with(Start=source([]), Plain=make_node(plain), Waiting=make_node(waiting), Show=shown.node()
                           ) as (_, client):
        run = await client.run(prompt)
    assert shown.values == [["async", "plain"] * 3]
    assert run.started == ["0", "1", "2", "3", "4", "5", "6", "9"]


async def test_mixed_sync_async_a_blocked_plain_node_delays_no_reply_and_no_frame() -> None:
    door = Door()

    def block(a: Any) -> tuple[Any]:
        door.stop_plain()
        return (a,)

    async def quick(a: Any) -> dict[str, Any]:
        return {"ui": {"a": [a]}, "result": (a,)}

    async with (studio_with(Block=make_node(block, output=True), Quick=make_node(quick, output=True))
                as (studio, client), connect(studio.url, "client-b") as other):
        blocked = await client.submit({"1": node("Block", a=1)})
        await door.reached()
        assert (await client.get("/queue"))["queue_running"][0][1] == blocked
        run = await other.run({"1": node("Quick", a=2)})
        assert run.shown == {"1": {"a": [2]}}
        door.open()
        assert (await client.end_of(blocked)).succeeded


async def test_mixed_sync_async_plain_nodes_of_serial_hosts_never_overlap() -> None:
    counter = Counter()
    lock = threading.Lock()

    def serial(a: Any) -> tuple[Any]:
        assert lock.acquire(blocking=False), "two plain nodes ran beside each other"
        with counter:
            threading.Event().wait(0.001)
        lock.release()
        return (a,)

    def prompt(first: int) -> dict[str, Any]:
        return {str(index): node("Serial", a=first + index) for index in range(5)}

    async with studio_with(Serial=make_node(serial, output=True)) as (_, client):
        prompt_ids = [await client.submit(prompt(number * 100)) for number in range(3)]
        ends = set()
        while len(ends) < 3:
            ends.add((await client.until("executing", node=None))[-1].data["prompt_id"])
        for prompt_id in prompt_ids:
            assert (await client.history(prompt_id))["status"]["status_str"] == "success"


async def test_mixed_sync_async_plain_nodes_with_a_pool_do_overlap() -> None:
    meeting = threading.Barrier(3, timeout=30)

    def overlap(a: Any) -> tuple[Any]:
        meeting.wait()
        return (a,)

    async with studio_with({"pool": [("mine", 3)]},
                           Overlap=make_node(overlap, output=True, RESOURCES={"mine": 1})) as (_, client):
        assert (await client.run({str(index): node("Overlap", a=index) for index in range(3)})).succeeded


async def test_mixed_sync_async_a_plain_function_may_return_an_awaitable() -> None:
    """It is awaited on the loop, after its token was given back: a second plain node runs meanwhile."""
    door = Door()

    def starts(a: Any) -> Any:
        async def rest() -> tuple[Any]:
            await door.stop()
            return (a + 1,)

        return rest()

    def opens(a: Any) -> tuple[Any]:
        return (a,)

    shown = Shown()
    prompt = {"1": node("Starts", a=1), "2": node("Show", a=["1", 0])}
    async with studio_with(Starts=make_node(starts), Opens=make_node(opens, output=True), Show=shown.node()
                           ) as (_, client):
        waiting = await client.submit(prompt)
        await door.reached()
        assert (await client.run({"1": node("Opens", a=5)})).succeeded
        door.open()
        assert (await client.end_of(waiting)).succeeded
    assert shown.values == [2]


async def test_mixed_sync_async_a_plain_node_may_run_a_loop_of_its_own() -> None:
    def own_loop(a: Any) -> tuple[Any]:
        return (asyncio.run(asyncio.sleep(0, a * 2)),)

    shown = Shown()
    async with studio_with(Own=make_node(own_loop), Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("Own", a=4), "2": node("Show", a=["1", 0])})).succeeded
    assert shown.values == [8]


async def test_mixed_sync_async_two_prompts_share_one_running_call() -> None:
    door = Door()
    calls: list[Any] = []

    async def slow(a: Any) -> tuple[Any]:
        calls.append(a)
        await door.stop()
        return (a * 2,)

    shown = Shown()
    prompt = {"1": node("Slow", a=4), "2": node("Show", a=["1", 0])}
    async with (studio_with(Slow=make_node(slow), Show=shown.node()) as (studio, client),
                connect(studio.url, "client-b") as other):
        first = await client.submit(prompt)
        await door.reached()
        second = await other.submit(prompt)
        await other.until("executing", node="1")  # the second prompt is told that it runs, too
        door.open()
        assert (await client.end_of(first)).succeeded
        assert (await other.end_of(second)).succeeded
    assert calls == [4]
    assert shown.values == [8, 8]


# --- async expansion -----------------------------------------------------------------------------------------------


def expander(meeting: Meeting) -> type:
    """Builds its subgraph after it met the others: whose turn it is then says nothing of whose node it is."""
    async def grow(a: Any) -> dict[str, Any]:
        await meeting.join()
        graph = GraphBuilder()
        first = graph.node("Double", a=a)
        await asyncio.sleep(0)
        second = graph.node("Double", a=first.out(0))
        return {"result": (second.out(0),), "expand": graph.finalize()}

    return make_node(grow)


async def double(a: int) -> tuple[int]:
    await asyncio.sleep(0)
    return (a * 2,)


async def test_async_expansion_after_an_await_and_in_parallel() -> None:
    shown = Shown()
    prompt = {"4": node("Grow", a=1), "5": node("Grow", a=10), "6": node("Show", a=["4", 0], b=["5", 0])}
    async with studio_with(Grow=expander(Meeting(2)), Double=make_node(double), Show=shown.node()) as (_, client):
        run = await client.run(prompt)
        again = await client.run(prompt)
    assert shown.calls == [{"a": 4, "b": 40}]
    assert {one for one in run.started if "." in one} == {"4.0.0.1", "4.0.0.2", "5.0.0.1", "5.0.0.2"}
    assert {(data["node"], data["display_node"]) for data in run.of("executing") if data["node"]
            and "." in data["node"]} == {("4.0.0.1", "4"), ("4.0.0.2", "4"), ("5.0.0.1", "5"), ("5.0.0.2", "5")}
    assert again.started == []


async def test_async_expansion_of_each_index_of_a_list() -> None:
    shown = Shown()
    prompt = {"1": node("List"), "4": node("Grow", a=["1", 0]), "6": node("Show", a=["4", 0])}
    async with studio_with(List=source([1, 2, 3], as_list=True), Grow=expander(Meeting(3)), Double=make_node(double),
                           Show=shown.node()) as (_, client):
        run = await client.run(prompt)
    assert shown.values == [4, 8, 12]
    assert {one for one in run.started if "." in one} == {f"4.{index}.0.{number}" for index in range(3)
                                                          for number in (1, 2)}


async def test_async_expansion_that_repeats_itself() -> None:
    """A loop: each turn expands into the next, and the first node waits for the last."""
    async def count(a: int, left: int) -> Any:
        await asyncio.sleep(0)
        if left == 0:
            return (a,)
        graph = GraphBuilder()
        doubled = graph.node("Double", a=a)
        rest = graph.node("Count", a=doubled.out(0), left=left - 1)
        return {"result": (rest.out(0),), "expand": graph.finalize()}

    shown = Shown()
    prompt = {"1": node("Count", a=1, left=8), "2": node("Show", a=["1", 0])}
    async with studio_with(Count=make_node(count), Double=make_node(double), Show=shown.node()) as (_, client):
        run = await client.run(prompt)
    assert run.succeeded
    assert shown.values == [256]
    row = run.of("progress_state")[-1]["nodes"]["1.0.0.2.0.0.1"]
    assert (row["parent_node_id"], row["real_node_id"]) == ("1.0.0.2", "1")


async def test_async_expansion_children_of_two_expansions_run_at_once() -> None:
    meeting = Meeting(2)

    async def meet(a: Any) -> tuple[Any]:
        await meeting.join()
        return (a,)

    async def grow(a: Any) -> dict[str, Any]:
        graph = GraphBuilder()
        return {"result": (graph.node("Meet", a=a).out(0),), "expand": graph.finalize()}

    shown = Shown()
    prompt = {"1": node("Grow", a=1), "2": node("Grow", a=2), "3": node("Show", a=["1", 0], b=["2", 0])}
    async with studio_with(Grow=make_node(grow), Meet=make_node(meet), Show=shown.node()) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.calls == [{"a": 1, "b": 2}]


async def test_async_expansion_whose_child_fails_names_the_node_of_the_graph() -> None:
    async def fail(a: Any) -> tuple[Any]:
        await asyncio.sleep(0)
        raise ValueError("deep down")

    async def grow(a: Any) -> dict[str, Any]:
        graph = GraphBuilder()
        return {"result": (graph.node("Fail", a=a).out(0),), "expand": graph.finalize()}

    async with studio_with(Grow=make_node(grow, output=True), Fail=make_node(fail)) as (_, client):
        run = await client.run({"1": node("Grow", a=1)})
    assert (run.error["node_id"], run.error["node_type"]) == ("1", "Grow")
    assert run.error["exception_message"] == "deep down\n"


# --- cancellation --------------------------------------------------------------------------------------------------


async def test_cancellation_reaches_an_awaiting_node_which_cleans_up() -> None:
    door = Door()
    story: list[str] = []

    async def wait(a: Any) -> tuple[Any]:
        try:
            await door.stop()
        except asyncio.CancelledError:
            story.append("cancelled")
            await asyncio.sleep(0)
            story.append("cleaned")
            raise
        return (a,)

    async with studio_with(Wait=make_node(wait, output=True)) as (studio, client):
        prompt_id = await client.submit({"5": node("Wait", a=1)})
        await door.reached()
        assert await client.send("/interrupt") == 200
        run = await client.end_of(prompt_id)
        assert story == ["cancelled", "cleaned"]
        history = await client.history(prompt_id)
        assert studio.engine.remaining == 0
    (interrupted,) = run.of("execution_interrupted")
    assert (interrupted["node_id"], interrupted["node_type"]) == ("5", "Wait")
    assert not run.of("execution_error")
    assert not run.succeeded
    assert history["status"]["status_str"] == "error"


async def test_cancellation_ends_all_siblings_and_the_next_prompt_runs() -> None:
    door = Door()
    cancelled: list[Any] = []

    async def wait(a: Any) -> tuple[Any]:
        try:
            await door.stop()
        except asyncio.CancelledError:
            cancelled.append(a)
            raise
        return (a,)

    prompt = {str(index): node("Wait", a=index) for index in range(4)}
    async with studio_with(Wait=make_node(wait, output=True)) as (_, client):
        prompt_id = await client.submit(prompt)
        await door.reached(4)
        await client.send("/interrupt", {"prompt_id": prompt_id})
        await client.end_of(prompt_id)
        assert sorted(cancelled) == [0, 1, 2, 3]
        door.open()
        assert (await client.run(prompt)).succeeded  # nothing of the cancelled calls was kept


async def test_cancellation_of_one_prompt_leaves_the_others_alone() -> None:
    door = Door()

    async def wait(a: Any) -> tuple[Any]:
        await door.stop()
        return (a,)

    async with studio_with(Wait=make_node(wait, output=True)) as (_, client):
        first = await client.submit({"1": node("Wait", a=1)})
        second = await client.submit({"1": node("Wait", a=2)})
        await door.reached(2)
        await client.send("/interrupt", {"prompt_id": first})
        assert (await client.end_of(first)).of("execution_interrupted")
        door.open()
        run = await client.end_of(second)
    assert run.succeeded
    assert not run.of("execution_interrupted")


async def test_cancellation_of_one_prompt_keeps_the_call_that_another_shares() -> None:
    door = Door()
    calls: list[Any] = []

    async def slow(a: Any) -> tuple[Any]:
        calls.append(a)
        await door.stop()
        return (a,)

    shown = Shown()
    prompt = {"1": node("Slow", a=4), "2": node("Show", a=["1", 0])}
    async with studio_with(Slow=make_node(slow), Show=shown.node()) as (_, client):
        first = await client.submit(prompt)
        await door.reached()
        second = await client.submit(prompt)
        await client.until("executing", node="1", prompt_id=second)
        await client.send("/interrupt", {"prompt_id": first})
        assert (await client.end_of(first)).of("execution_interrupted")
        door.open()
        assert (await client.end_of(second)).succeeded
    assert calls == [4]
    assert shown.values == [4]


async def test_cancellation_that_a_node_swallows_is_waited_for_no_longer_than_its_grace() -> None:
    door = Door()
    stubborn_ended = asyncio.Event()

    async def stubborn(a: Any) -> tuple[Any]:
        try:
            await door.stop()
        except asyncio.CancelledError:
            while not door._for_tasks.is_set():
                try:
                    await door.stop()
                except asyncio.CancelledError:
                    continue
        stubborn_ended.set()
        return (a,)

    async with studio_with({"cancel_grace": 0.05}, Stubborn=make_node(stubborn, output=True),
                           Show=Shown().node()) as (_, client):
        prompt_id = await client.submit({"1": node("Stubborn", a=1)})
        await door.reached()
        await client.send("/interrupt")
        assert (await client.end_of(prompt_id)).of("execution_interrupted")
        assert not stubborn_ended.is_set()
        assert (await client.run({"1": node("Show", a=1)})).succeeded
        door.open()
        await stubborn_ended.wait()
        await turns_of_the_loop()


async def test_cancellation_too_late_does_not_harm_the_result() -> None:
    """A node that catches the cancellation and returns has still been interrupted: its prompt is not a success."""
    door = Door()

    async def keeps(a: Any) -> tuple[Any]:
        try:
            await door.stop()
        except asyncio.CancelledError:
            pass
        return (a,)

    async with studio_with(Keeps=make_node(keeps, output=True)) as (_, client):
        prompt_id = await client.submit({"1": node("Keeps", a=1)})
        await door.reached()
        await client.send("/interrupt")
        run = await client.end_of(prompt_id)
    assert run.of("execution_interrupted")
    assert not run.succeeded


@pytest.mark.parametrize("stops_at", ["progress", "check"])
async def test_cancellation_stops_a_plain_node_where_it_asks(stops_at: str) -> None:
    door = Door()
    stopped: list[str] = []

    def work(a: Any, unique_id: str) -> tuple[Any]:
        bar = ProgressBar(10, node_id=unique_id)
        door.stop_plain()
        try:
            if stops_at == "progress":
                while True:
                    bar.update(1)
            while True:
                check_interrupted()
        except InterruptProcessing:
            stopped.append("interrupted")
            raise

    async with studio_with(Work=make_node(work, output=True)) as (_, client):
        prompt_id = await client.submit({"1": node("Work", a=1)})
        await door.reached()
        await client.send("/interrupt")
        door.open()
        run = await client.end_of(prompt_id)
    assert run.of("execution_interrupted")[0]["node_id"] == "1"
    assert stopped == ["interrupted"]


async def test_cancellation_of_a_plain_node_that_never_asks_keeps_its_token() -> None:
    door = Door()
    shown = Shown()

    def stuck(a: Any) -> tuple[Any]:
        door.stop_plain()
        return (a,)

    async with studio_with(Stuck=make_node(stuck, output=True), Show=shown.node()) as (studio, client):
        prompt_id = await client.submit({"1": node("Stuck", a=1)})
        await door.reached()
        await client.send("/interrupt")
        assert (await client.end_of(prompt_id)).of("execution_interrupted")  # abandoned after a second
        assert studio.engine.pools()["gpu"] == (1, 1)
        waits = await client.submit({"1": node("Show", a=2)})
        await client.until("execution_cached", prompt_id=waits)
        assert shown.calls == []
        door.open()
        assert (await client.end_of(waits)).succeeded
        assert studio.engine.pools()["gpu"] == (0, 1)
    assert shown.values == [2]


async def test_cancellation_of_a_prompt_that_waits_for_a_token() -> None:
    door = Door()
    ran: list[Any] = []

    def work(a: Any) -> tuple[Any]:
        ran.append(a)
        door.stop_plain()
        return (a,)

    async with studio_with(Work=make_node(work, output=True)) as (_, client):
        first = await client.submit({"1": node("Work", a=1)})
        await door.reached()
        second = await client.submit({"1": node("Work", a=2)})
        await client.until("execution_cached", prompt_id=second)
        await client.send("/interrupt", {"prompt_id": second})
        assert (await client.end_of(second)).of("execution_interrupted")
        door.open()
        assert (await client.end_of(first)).succeeded
    assert ran == [1]


# --- context in threads and tasks ----------------------------------------------------------------------------------


def here() -> tuple[str, str, int | None] | None:
    """Where this code believes to be."""
    context = get_current_node()
    return None if context is None else (context.prompt_id, context.unique_id, context.list_index)


@pytest.mark.may_block  # its node waits for a thread pool of its own
async def test_context_in_threads_and_tasks() -> None:
    """Two prompts at the same time, in lists: each piece of code knows whose it is."""
    meeting = Meeting(4)
    places: dict[str, list[Any]] = {}

    async def in_a_task() -> Any:
        await asyncio.sleep(0)
        return here()

    async def work(a: Any, unique_id: str) -> tuple[Any]:
        loop = asyncio.get_running_loop()
        await meeting.join()
        found = {"itself": here(), "to_thread": await asyncio.to_thread(here), "task": await asyncio.create_task(
            in_a_task())}
        found["gather"] = await asyncio.gather(in_a_task(), asyncio.to_thread(here))
        with ThreadPoolExecutor(1) as pool:
            copied = contextvars.copy_context()
            found["pool with a copied context"] = await loop.run_in_executor(pool, copied.run, here)
            found["pool without"] = await loop.run_in_executor(pool, here)
        found["call_soon"] = await soon(loop)
        places.setdefault(str(a), []).append(found)
        return (a,)

    async def soon(loop: asyncio.AbstractEventLoop) -> Any:
        future: asyncio.Future[Any] = loop.create_future()
        loop.call_soon(lambda: future.set_result(here()))
        return await future

    shown = Shown()
    async with studio_with(List=source(["x", "y"], as_list=True), List2=source(["v", "w"], as_list=True),
                           Work=make_node(work), Show=shown.node()) as (_, client):
        ids = {}
        for kind, node_id in (("List", "one"), ("List2", "two")):
            ids[kind] = await client.submit({"1": node(kind), node_id: node("Work", a=["1", 0]),
                                             "9": node("Show", a=[node_id, 0])})
        ends = set()
        while len(ends) < 2:
            ends.add((await client.until("executing", node=None))[-1].data["prompt_id"])
    expected = {"x": (ids["List"], "one", 0), "y": (ids["List"], "one", 1),
                "v": (ids["List2"], "two", 0), "w": (ids["List2"], "two", 1)}
    assert places.keys() == expected.keys()
    for value, place in expected.items():
        (found,) = places[value]
        assert found.pop("pool without") is None
        assert found.pop("gather") == [place, place]
        assert set(found.values()) == {place}, found


async def test_context_of_a_callback_from_a_nodes_own_thread() -> None:
    """It lands on the server's loop, with the node's context, also when the thread was started plainly."""
    async def on_the_loop() -> Any:
        await asyncio.sleep(0)
        return here(), threading.get_ident()

    async def work(a: Any) -> tuple[Any]:
        loop = asyncio.get_running_loop()
        own = get_current_node()
        assert own is not None
        done: asyncio.Future[Any] = loop.create_future()

        def thread() -> None:
            with CurrentNodeContext(own.prompt_id, own.unique_id, own.list_index):
                called = asyncio.run_coroutine_threadsafe(on_the_loop(), loop).result(30)
                loop.call_soon_threadsafe(lambda: done.set_result((called, here(), threading.get_ident())))

        running = threading.Thread(target=thread)
        running.start()
        result = await done
        await asyncio.to_thread(running.join)
        return (result,)

    shown = Shown()
    async with studio_with(Work=make_node(work), Show=shown.node()) as (_, client):
        run = await client.run({"7": node("Work", a=1), "8": node("Show", a=["7", 0])})
    place = (run.prompt_id, "7", 0)
    loop_thread = threading.get_ident()
    assert shown.values == [((place, loop_thread), place, loop_thread)]


async def test_context_of_plain_nodes_in_threads_of_their_own() -> None:
    def work(a: Any) -> tuple[Any]:
        with ThreadPoolExecutor(2) as pool:
            contexts = [contextvars.copy_context() for _ in range(2)]
            return ([here(), *pool.map(lambda context: context.run(here), contexts)],)

    shown = Shown()
    async with studio_with(List=source([1, 2], as_list=True), Work=make_node(work), Show=shown.node()) as (_, client):
        run = await client.run({"1": node("List"), "2": node("Work", a=["1", 0]), "3": node("Show", a=["2", 0])})
    assert shown.values == [[(run.prompt_id, "2", index)] * 3 for index in range(2)]


async def test_context_progress_from_threads_and_tasks_lands_on_its_node() -> None:
    """Two prompts with one node id: ticks from a bare thread, a pool and a task reach the right one."""
    meeting = Meeting(2)

    async def work(total: int, unique_id: str) -> tuple[Any]:
        bar = ProgressBar(total, node_id=unique_id)
        await meeting.join()

        def bare() -> None:
            bar.update(1)

        thread = threading.Thread(target=bare)
        thread.start()
        await asyncio.to_thread(thread.join)
        await asyncio.to_thread(bar.update, 1)

        async def task() -> None:
            ProgressBar(total, node_id=unique_id).update_absolute(total)

        await asyncio.create_task(task())
        return (total,)

    async with studio_with(Work=make_node(work, output=True)) as (_, client):
        totals = {await client.submit({"same": node("Work", total=total)}): total for total in (10, 20)}
        frames = []
        while sum(frame.kind == "executing" and frame.data["node"] is None for frame in frames) < 2:
            frames.append(await client.receive())
    ticks = [frame.data for frame in frames if frame.kind == "progress"]
    for prompt_id, total in totals.items():
        own = [tick for tick in ticks if tick["prompt_id"] == prompt_id]
        assert {(tick["node"], tick["max"]) for tick in own} == {("same", total)}
        assert own[-1]["value"] == total


async def test_context_of_a_bar_made_in_a_thread_without_one() -> None:
    """`ProgressBar(total, node_id=unique_id)` is enough for a thread that knows nothing else."""
    def work(a: Any, unique_id: str) -> tuple[Any]:
        thread = threading.Thread(target=lambda: ProgressBar(4, node_id=unique_id).update_absolute(3))
        thread.start()
        thread.join()
        return (a,)

    async with studio_with(Work=make_node(work, output=True)) as (_, client):
        run = await client.run({"5": node("Work", a=1)})
    (tick,) = run.of("progress")
    assert (tick["node"], tick["value"], tick["max"]) == ("5", 3, 4)


async def test_context_does_not_leak_from_one_call_to_the_next() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    async def waiting(a: Any) -> tuple[Any]:
        seen.append(variable.get())
        variable.set("async")
        return (a,)

    def plain(a: Any) -> tuple[Any]:
        seen.append(variable.get())
        variable.set("plain")
        return (a,)

    prompt = {"0": node("Start"), **{str(index + 1): node("Plain" if index % 2 else "Waiting", a=[str(index), 0])
                                     for index in range(4)}, "9": node("Show", a=["4", 0])}
    async with studio_with(Start=source(1), Plain=make_node(plain), Waiting=make_node(waiting), Show=Shown().node()
                           ) as (studio, client):
        assert (await client.run(prompt)).succeeded
        add_nodes(studio, Late=make_node(plain, output=True))
        assert (await client.run({"1": node("Late", a=1)})).succeeded
    assert seen == ["unset"] * 5
    assert here() is None
