"""A real engine on nodes that stop at doors: what runs beside what, how prompts end, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import replace
from typing import Any

import pytest

from execution import (
    CacheRule,
    CallerSettings,
    CurrentNodeContext,
    Engine,
    EngineClosed,
    EngineSettings,
    Event,
    ExecutionBlocker,
    GraphBuilder,
    InterruptProcessing,
    InvariantViolated,
    NodeBlocked,
    NodeDefinition,
    NodeFailed,
    NodeFinished,
    NodeProgressed,
    NodeResult,
    NodesCached,
    NodeStarted,
    Outcome,
    OutputCache,
    ProgressBar,
    PromptConflict,
    PromptDropped,
    PromptFinished,
    PromptId,
    PromptQueued,
    PromptRejected,
    PromptStarted,
    PromptSubmission,
    SchedulerSettings,
    check_interrupted,
    get_current_node,
)
from tests.support.event_recorder import EventRecorder
from tests.support.gated_nodes import GatedNode
from tests.support.node_definitions import define, node, registry_of, show

POOLS = {"gpu": 1, "cpu": 2}
NEVER = 3600.0
SOON = 0.01
"""A grace that is over at once, where a test wants it to be over."""


class Running:
    """An engine with a recorder on it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events = EventRecorder(engine)
        self._numbers = 0

    async def submit(self, prompt: dict[str, Any], **fields: Any) -> str:
        accepted = await self.engine.submit(PromptSubmission(prompt=prompt, **fields))
        return accepted.prompt_id

    async def run(self, prompt: dict[str, Any], **fields: Any) -> PromptFinished:
        """Submit a prompt and wait for its end."""
        return await self.events.end_of(await self.submit(prompt, **fields))

    async def shown_by(self, prompt: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Run a prompt, which must succeed, and say what its nodes showed."""
        prompt_id = await self.submit(prompt, **fields)
        assert (await self.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED, self.failure_of(prompt_id)
        return {event.place.node_id: event.ui for event in self.events.of(NodeFinished, prompt_id=prompt_id)
                if event.ui is not None}

    async def error_of(self, prompt: dict[str, Any]) -> NodeFailed:
        """Run a prompt, which must fail, and say how."""
        prompt_id = await self.submit(prompt)
        assert (await self.events.end_of(prompt_id)).outcome is Outcome.FAILED
        failed = self.failure_of(prompt_id)
        assert failed is not None
        return failed

    def failure_of(self, prompt_id: str) -> NodeFailed | None:
        return next(iter(self.events.of(NodeFailed, prompt_id=prompt_id)), None)

    def tokens_taken(self, pool: str = "gpu") -> int:
        return self.engine.pools()[pool][0]

    async def until_tokens_are_back(self) -> None:
        await turns_until(lambda: not any(taken for taken, _ in self.engine.pools().values()))


async def turns_until(is_so: Callable[[], bool]) -> None:
    """Turns of the loop until something is so that no event tells; the guard of all tests ends it if it never is."""
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0)


@asynccontextmanager
async def running(*definitions: NodeDefinition | GatedNode, max_running_prompts: int = 4,
                  plain_grace: float = NEVER, cancel_grace: float = NEVER, hook_timeout: float = 30,
                  cache: OutputCache | None = None, **options: Any) -> AsyncIterator[Running]:
    made = [one.definition if isinstance(one, GatedNode) else one for one in definitions]
    settings = EngineSettings(
        scheduler=SchedulerSettings(max_running_prompts=max_running_prompts, pools=POOLS),
        caller=CallerSettings(plain_grace=plain_grace, cancel_grace=cancel_grace, hook_timeout=hook_timeout))
    async with Engine(registry_of([show(), *made]), settings, cache=cache, **options) as engine:
        yield Running(engine)


def shows(*sources: str) -> dict[str, Any]:
    """An output node that shows the first output of some nodes."""
    return node("Show", **{f"from_{source}": [source, 0] for source in sources})


# -- one prompt -------------------------------------------------------------------------------------------------------


async def test_a_prompt_from_its_submission_to_its_end() -> None:
    async def doubles(x: int) -> int:
        return 2 * x

    def adds(x: int) -> int:
        return x + 1

    prompt = {"1": node("Double", x=4), "2": node("Add", x=["1", 0]), "3": shows("2")}
    async with running(define("Double", doubles), define("Add", adds)) as studio:
        prompt_id = await studio.submit(prompt)
        end = await studio.events.end_of(prompt_id)
        assert studio.events.story(prompt_id, PromptQueued, PromptStarted, NodesCached, NodeStarted, NodeFinished,
                                   PromptFinished) == [
            "PromptQueued", "PromptStarted", "NodesCached", "NodeStarted 1", "NodeFinished 1", "NodeStarted 2",
            "NodeFinished 2", "NodeStarted 3", "NodeFinished 3", "PromptFinished"]
        assert (end.outcome, end.executed, end.remaining) == (Outcome.SUCCEEDED, ["1", "2", "3"], 0)
        entry = await studio.engine.history.get(PromptId(prompt_id))
        assert entry is not None
        assert entry.outputs == {"3": {"from_2": [9]}}
        numbers = [event.sequence for event in studio.events.events]
        assert numbers == sorted(set(numbers))


async def test_an_async_node_does_not_hold_up_what_else_is_ready() -> None:
    waits, plain = GatedNode("Waits"), GatedNode("Plain", plain=True)
    prompt = {"1": node("Waits"), "2": node("Plain"), "3": node("Waits", x=1), "4": shows("1", "2", "3")}
    async with running(waits, plain) as studio:
        prompt_id = await studio.submit(prompt)
        await waits.arrived(2)
        await plain.arrived()
        assert studio.events.of(NodeFinished) == []
        for call in (*waits.calls, *plain.calls):
            call.let_go("done")
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED


async def test_plain_nodes_run_off_the_loop_on_one_thread_for_life() -> None:
    threads: list[int] = []

    def notes(x: int) -> None:
        threads.append(threading.get_ident())

    async with running(define("Notes", notes)) as studio:
        for x in range(2):
            await studio.run({"1": node("Notes", x=x), "2": node("Notes", x=x + 10), "3": shows("1", "2")})
    assert len(threads) == 4
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


async def test_plain_code_on_the_thread_of_the_loop_is_a_broken_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def plain() -> None:
        called.append("it ran")

    async with running(define("Plain", plain)) as studio:
        caller = studio.engine._caller
        monkeypatch.setattr(caller._lanes, "lane_for", lambda needs: OnTheLoop())
        failed = await studio.error_of({"1": node("Plain"), "2": shows("1")})
        assert failed.error.exception_type.endswith(InvariantViolated.__name__)
        with pytest.raises(InvariantViolated, match="thread of the loop"):
            caller.hooks.info_of(define("Plain", plain))
    assert called == []


class OnTheLoop:
    """A lane that gets it wrong."""

    def submit(self, job: Callable[[], None]) -> None:
        job()

    def close(self) -> None: ...


async def test_a_node_that_blocks_its_thread_does_not_delay_the_loop() -> None:
    blocks = GatedNode("Blocks", plain=True)

    async def quick() -> str:
        return "quick"

    async with running(blocks, define("Quick", quick)) as studio:
        blocked = await studio.submit({"1": node("Blocks"), "2": shows("1")})
        await blocks.arrived()
        assert await studio.shown_by({"1": node("Quick"), "2": shows("1")}) == {"2": {"from_1": ["quick"]}}
        assert [entry.prompt_id for entry in studio.engine.snapshot().running] == [blocked]
        blocks.open()
        await studio.events.end_of(blocked)


async def test_indices_of_an_async_node_run_side_by_side_and_keep_their_order() -> None:
    gate = GatedNode("Gate")

    async def three() -> tuple[list[int]]:
        return ([1, 2, 3],)

    async with running(gate, define("Three", three, output_is_list=(True,))) as studio:
        prompt_id = await studio.submit({"1": node("Three"), "2": node("Gate", x=["1", 0]), "3": shows("2")})
        calls = await gate.arrived(3)
        assert [call.context and call.context.list_index for call in calls] == [0, 1, 2]
        for call in reversed(calls):
            call.let_go(call.arguments["x"] * 10)
        await studio.events.end_of(prompt_id)
        entry = await studio.engine.history.get(PromptId(prompt_id))
        assert entry is not None
        assert [ui["from_2"] for ui in entry.outputs.values()] == [[10, 20, 30]]


# -- pools ------------------------------------------------------------------------------------------------------------


async def test_plain_nodes_never_overlap_unless_they_declare_a_pool_that_allows_it() -> None:
    plain, cpu = GatedNode("Plain", plain=True), GatedNode("Cpu", plain=True, needs={"cpu": 1})
    prompt = {**{f"p{x}": node("Plain", x=x) for x in range(3)}, **{f"c{x}": node("Cpu", x=x) for x in range(3)}}
    prompt["end"] = shows(*prompt)
    async with running(plain, cpu) as studio:
        prompt_id = await studio.submit(prompt)
        await plain.arrived(1)
        await cpu.arrived(2)
        assert (studio.tokens_taken("gpu"), studio.tokens_taken("cpu")) == (1, 2)
        assert (len(plain.calls), len(cpu.calls)) == (1, 2)
        cpu.open()
        for count in range(1, 4):
            calls = await plain.arrived(count)
            assert len(calls) == count
            assert studio.tokens_taken("gpu") == 1
            calls[-1].let_go()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        assert (studio.tokens_taken("gpu"), studio.tokens_taken("cpu")) == (0, 0)


async def test_an_async_node_may_take_tokens_too() -> None:
    gate = GatedNode("Gate", needs={"cpu": 2})
    async with running(gate) as studio:
        prompt_id = await studio.submit({"1": node("Gate", x=1), "2": node("Gate", x=2), "3": shows("1", "2")})
        (first,) = await gate.arrived()
        assert studio.tokens_taken("cpu") == 2
        first.let_go()
        (await gate.arrived(2))[1].let_go()
        await studio.events.end_of(prompt_id)
        assert studio.tokens_taken("cpu") == 0


async def test_tokens_go_to_the_smaller_number_then_to_who_came_first() -> None:
    gate = GatedNode("Gate", plain=True)
    async with running(gate) as studio:
        prompts = []
        for index, number in enumerate((5, 7, 3, 7)):
            prompts.append(await studio.submit({"1": node("Gate", x=index), "2": shows("1")}, number=number))
            await studio.events.until(PromptStarted, prompt_id=prompts[-1])
        for count in range(1, 5):
            (await gate.arrived(count))[-1].let_go()
        for prompt_id in prompts:
            await studio.events.end_of(prompt_id)
        order = [call.arguments["x"] for call in gate.calls]
        assert order == [0, 2, 1, 3], "the first had its token before the others came"


async def test_an_expansion_that_needs_more_than_there_is_fails_and_holds_nobody_up() -> None:
    async def expands() -> NodeResult:
        graph = GraphBuilder()
        return NodeResult(outputs=(graph.node("Greedy").out(0),), expansion=graph.finalize())

    greedy = GatedNode("Greedy", needs={"gpu": 2})
    async with running(define("Expands", expands), greedy, define("Plain", lambda: 1)) as studio:
        failed = await studio.error_of({"1": node("Expands"), "2": shows("1")})
        assert "it needs 2 of pool 'gpu', which has 1" in failed.error.exception_message
        assert await studio.shown_by({"1": node("Plain"), "2": shows("1")}) == {"2": {"from_1": [1]}}
    assert greedy.calls == []


# -- several prompts --------------------------------------------------------------------------------------------------


async def test_a_prompt_that_only_awaits_holds_no_place() -> None:
    waits, blocks = GatedNode("Waits"), GatedNode("Blocks", plain=True)
    async with running(waits, blocks, max_running_prompts=2) as studio:
        waiting = [await studio.submit({"1": node("Waits", x=x), "2": shows("1")}) for x in range(5)]
        await waits.arrived(5)
        blocking = [await studio.submit({"1": node("Blocks", x=x), "2": shows("1")}) for x in range(3)]
        await blocks.arrived(1)
        await studio.events.until(PromptStarted, prompt_id=blocking[1])
        assert [entry.prompt_id for entry in studio.engine.snapshot().pending] == [blocking[2]], \
            "two have a call on a lane or waiting for a token"
        blocks.open()
        waits.open()
        for prompt_id in (*waiting, *blocking):
            assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED


async def test_with_one_running_prompt_they_run_strictly_one_after_the_other() -> None:
    waits = GatedNode("Waits")
    async with running(waits, max_running_prompts=1) as studio:
        first, second = [await studio.submit({"1": node("Waits", x=x), "2": shows("1")}) for x in range(2)]
        (call,) = await waits.arrived()
        await studio.events.until(NodeStarted, prompt_id=first)
        assert [entry.prompt_id for entry in studio.engine.snapshot().pending] == [second]
        waits.open()
        await studio.events.end_of(second)
        assert call.has_ended
        kinds = [(type(event), event.prompt_id) for event in studio.events.events
                 if isinstance(event, (PromptStarted, PromptFinished))]
        assert kinds == [(PromptStarted, first), (PromptFinished, first),
                         (PromptStarted, second), (PromptFinished, second)]


async def test_pending_prompts_can_be_taken_from_the_queue() -> None:
    waits = GatedNode("Waits")
    async with running(waits, max_running_prompts=1) as studio:
        first = await studio.submit({"1": node("Waits"), "2": shows("1")})
        await waits.arrived()
        rest = [await studio.submit({"1": node("Waits", x=x), "2": shows("1")}) for x in range(3)]
        studio.engine.remove_pending([PromptId(rest[1]), PromptId(first)])
        assert [entry.prompt_id for entry in studio.engine.snapshot().pending] == [rest[0], rest[2]]
        studio.engine.remove_pending()
        assert studio.engine.remaining == 1
        waits.open()
        await studio.events.end_of(first)
        assert [event.prompt_id for event in studio.events.of(PromptDropped)] == [rest[1], rest[0], rest[2]]


async def test_front_and_numbers_decide_the_order() -> None:
    waits = GatedNode("Waits")
    async with running(waits, max_running_prompts=1) as studio:
        first = await studio.submit({"1": node("Waits"), "2": shows("1")})
        await waits.arrived()
        submitted = {name: await studio.submit({"1": node("Waits", x=name), "2": shows("1")}, **fields)
                     for name, fields in {"counted": {}, "front": {"front": True}, "early": {"number": 0.5}}.items()}
        assert [entry.prompt_id for entry in studio.engine.snapshot().pending] == [
            submitted["front"], submitted["early"], submitted["counted"]]
        waits.open()
        await studio.events.end_of(first)


# -- sharing and caching ----------------------------------------------------------------------------------------------


async def test_prompts_that_reach_the_same_call_at_the_same_time_share_it() -> None:
    gate = GatedNode("Gate")
    async with running(gate) as studio:
        prompts = [await studio.submit({name: node("Gate", x=1), "2": shows(name)}) for name in ("a", "b")]
        await gate.arrived()
        for prompt_id, name in zip(prompts, "ab", strict=True):
            await studio.events.until(NodeStarted, name, prompt_id=prompt_id)
        gate.calls[0].let_go("shared")
        for prompt_id in prompts:
            assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        assert len(gate.calls) == 1


async def test_a_shared_call_passes_to_the_next_prompt_when_its_own_is_cancelled() -> None:
    gate = GatedNode("Gate")
    async with running(gate) as studio:
        first, second = [await studio.submit({name: node("Gate", x=1), "2": shows(name)}) for name in ("a", "b")]
        (call,) = await gate.arrived()
        await studio.events.until(NodeStarted, "b", prompt_id=second)
        context = call.context
        assert context is not None
        assert (context.prompt_id, context.unique_id) == (first, "a")
        studio.engine.interrupt(PromptId(first))
        assert (await studio.events.end_of(first)).outcome is Outcome.INTERRUPTED
        assert (context.prompt_id, context.unique_id) == (second, "b")
        assert not call.has_ended
        call.let_go("kept")
        assert (await studio.events.end_of(second)).outcome is Outcome.SUCCEEDED
        assert (len(gate.calls), call.was_cancelled) == (1, False)


async def test_a_shared_call_is_cancelled_with_its_last_prompt() -> None:
    gate = GatedNode("Gate")
    async with running(gate) as studio:
        prompts = [await studio.submit({name: node("Gate", x=1), "2": shows(name)}) for name in ("a", "b")]
        (call,) = await gate.arrived()
        await studio.events.until(NodeStarted, "b")
        studio.engine.interrupt()
        for prompt_id in prompts:
            assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        assert call.was_cancelled


async def test_a_failure_of_a_shared_call_fails_all_that_wait_for_it() -> None:
    gate = GatedNode("Gate")
    async with running(gate) as studio:
        prompts = [await studio.submit({name: node("Gate", x=1), "2": shows(name)}) for name in ("a", "b")]
        (call,) = await gate.arrived()
        await studio.events.until(NodeStarted, "b")
        call.fail(ValueError("for all"))
        for prompt_id, name in zip(prompts, "ab", strict=True):
            assert (await studio.events.end_of(prompt_id)).outcome is Outcome.FAILED
            failed = studio.failure_of(prompt_id)
            assert failed is not None
            assert failed.place.node_id == name


async def test_an_expansion_of_a_shared_call_that_was_handed_over_runs_in_the_heir() -> None:
    gate = GatedNode("Gate")

    async def inner() -> str:
        return "from inside"

    async with running(gate, define("Inner", inner)) as studio:
        first, second = [await studio.submit({name: node("Gate", x=1), "2": shows(name)}) for name in ("a", "b")]
        (call,) = await gate.arrived()
        await studio.events.until(NodeStarted, "b", prompt_id=second)
        studio.engine.interrupt(PromptId(first))
        await studio.events.end_of(first)
        call.let_go(NodeResult(outputs=(["in", 0],), expansion={"in": node("Inner")}))
        assert (await studio.events.end_of(second)).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("options", [{"is_shareable": False}, {"has_own_identity": True}])
async def test_what_must_not_be_shared_runs_for_each_prompt(options: dict[str, Any]) -> None:
    gate = GatedNode("Gate", **options)
    async with running(gate) as studio:
        prompts = [await studio.submit({name: node("Gate", x=1), "2": shows(name)}) for name in ("a", "b")]
        await gate.arrived(2)
        gate.open()
        for prompt_id in prompts:
            assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        assert len(gate.calls) == 2


async def test_an_unchanged_prompt_runs_nothing_again() -> None:
    counted: list[int] = []

    async def counts(x: int) -> int:
        counted.append(x)
        return x

    prompt = {"1": node("Counts", x=1), "2": node("Counts", x=["1", 0]), "3": shows("2")}
    async with running(define("Counts", counts)) as studio:
        await studio.run(prompt)
        again = await studio.submit(prompt)
        end = await studio.events.end_of(again)
        assert (end.outcome, end.executed) == (Outcome.SUCCEEDED, [])
        assert studio.events.of(NodesCached, prompt_id=again)[0].nodes == ["1", "2", "3"]
        assert studio.events.of(NodeStarted, prompt_id=again) == []
        (shown,) = studio.events.of(NodeFinished, prompt_id=again)
        assert (shown.place.node_id, shown.ui, shown.from_cache) == ("3", {"from_2": [1]}, True)
        studio.engine.free_memory()
        await studio.run(prompt)
    assert counted == [1, 1, 1, 1]


@pytest.mark.parametrize(("rule", "runs"), [
    (CacheRule.BYTES, ["a", "b"]), (CacheRule.CLASSIC, ["a", "b", "a"]), (CacheRule.NONE, ["a", "b", "a"])])
async def test_what_runs_again_after_another_prompt(rule: CacheRule, runs: list[str]) -> None:
    ran: list[str] = []

    async def notes(x: str) -> str:
        ran.append(x)
        return x

    async with running(define("Notes", notes), cache=OutputCache(rule)) as studio:
        for x in "aba":
            await studio.run({"1": node("Notes", x=x), "2": shows("1")})
    assert ran == runs


async def test_a_value_that_equals_nothing_lives_until_the_end_of_its_prompt_and_no_longer() -> None:
    ran: list[str] = []

    async def notes(**inputs: Any) -> str:
        ran.append("ran")
        return "value"

    def wants_late(early: Any, late: Any = None) -> list[str]:
        return ["late"]

    async def lazy(early: Any, late: Any) -> Any:
        return late

    prompt = {"1": node("Notes", x=float("nan")), "2": node("Notes", x=["1", 0]),
              "3": node("Lazy", early=["2", 0], late=["1", 0]), "4": shows("3")}
    lazy_node = define("Lazy", lazy, required={"early": ("*",)}, optional={"late": ("*", {"lazy": True})},
                       lazy_check=wants_late)
    async with running(define("Notes", notes), lazy_node) as studio:
        await studio.run(prompt)
        assert ran == ["ran", "ran"], "node 1 was done with before it was wanted again"
        await studio.run(prompt)
        assert ran == ["ran"] * 4


class Holder:
    """A value whose end can be seen."""


async def test_an_interrupted_prompt_keeps_no_value_alive() -> None:
    holders: list[weakref.ref[Holder]] = []
    gate, waiting = GatedNode("Gate", plain=True, stops=True), GatedNode("Waiting", plain=True)

    async def makes() -> Holder:
        value = Holder()
        holders.append(weakref.ref(value))
        return value

    prompt = {"1": node("Makes"), "2": node("Gate", x=["1", 0]), "3": node("Waiting", x=["1", 0]), "4": shows("2", "3")}
    async with running(define("Makes", makes), gate, waiting, cache=OutputCache(CacheRule.NONE)) as studio:
        prompt_id = await studio.submit(prompt)
        await turns_until(lambda: bool(gate.calls or waiting.calls))
        studio.engine.interrupt()
        waiting.open()
        await studio.events.end_of(prompt_id)
        await studio.until_tokens_are_back()
        gate.calls.clear()
        waiting.calls.clear()
        gc.collect()
        await turns_until(lambda: [one() for one in holders] == [None])  # its thread is on its way to the next job


# -- hooks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
async def test_lazy_inputs_are_evaluated_when_they_are_asked_for(is_async: bool) -> None:
    ran: list[str] = []

    async def notes(name: str) -> str:
        ran.append(name)
        return name

    async def asks(x: Any = None, y: Any = None) -> list[str]:
        assert threading.get_ident() == loop_thread
        return ["y"]

    def asks_plainly(x: Any = None, y: Any = None) -> list[str]:
        assert threading.get_ident() != loop_thread
        return ["y"]

    async def picks(x: Any, y: Any) -> str:
        return f"{x} {y}"

    loop_thread = threading.get_ident()
    lazy = ("*", {"lazy": True})
    picker = define("Picks", picks, optional={"x": lazy, "y": lazy}, lazy_check=asks if is_async else asks_plainly)
    async with running(define("Notes", notes), picker) as studio:
        assert await studio.shown_by({"1": node("Notes", name="one"), "2": node("Notes", name="two"),
                                      "3": node("Picks", x=["1", 0], y=["2", 0]), "4": shows("3")}) == {
            "4": {"from_3": ["None two"]}}
    assert ran == ["two"]


async def test_a_lazy_check_that_asks_for_what_is_no_input_is_the_nodes_fault() -> None:
    async def works() -> None: ...

    odd = define("Odd", works, lazy_check=lambda: ["unheard of"])
    async with running(odd) as studio:
        failed = await studio.error_of({"1": node("Odd"), "2": shows("1")})
        assert failed.error.exception_type.endswith("NodeInputError")
        assert "unheard of" in failed.error.exception_message


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_change_check_decides_what_runs_again(is_async: bool) -> None:
    state = {"version": 1}
    ran: list[int] = []

    def version() -> int:
        assert threading.get_ident() != loop_thread
        return state["version"]

    async def awaited_version() -> int:
        return state["version"]

    async def works() -> None:
        ran.append(state["version"])

    loop_thread = threading.get_ident()
    watched = define("Watched", works, fingerprint=awaited_version if is_async else version)
    prompt = {"1": node("Watched"), "2": shows("1")}
    async with running(watched) as studio:
        for number in (1, 1, 2):
            state["version"] = number
            await studio.run(prompt)
    assert ran == [1, 2]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("its own"), SystemExit(1), KeyboardInterrupt(),
                                   asyncio.CancelledError(), StopIteration()])
async def test_a_change_check_that_raises_makes_its_node_run_each_time(error: BaseException, is_async: bool) -> None:
    ran: list[str] = []

    def raises() -> None:
        raise error

    async def raises_later() -> None:
        await asyncio.sleep(0)
        raise error

    async def works() -> None:
        ran.append("ran")

    watched = define("Watched", works, fingerprint=raises_later if is_async else raises)
    async with running(watched) as studio:
        for _ in range(2):
            assert (await studio.run({"1": node("Watched"), "2": shows("1")})).outcome is Outcome.SUCCEEDED
    assert ran == ["ran", "ran"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_change_check_that_hangs_is_named(is_async: bool) -> None:
    async def works() -> None: ...

    hangs = GatedNode("Hangs", plain=not is_async)
    late = define("Late", works, fingerprint=hangs.definition.function(None), origin="slow_pack")
    async with running(late, hook_timeout=0.25) as studio:
        failed = await studio.error_of({"0": node("Show", x=1), "1": node("Late"), "2": shows("1")})
        assert "Late (slow_pack) did not answer within 0.25 s" in failed.error.exception_message
        assert failed.place.node_id == "1"
        hangs.open()


class SeveralTurns:
    """A clean-up that takes several turns of the loop."""

    async def wait(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def test_change_checks_beside_one_that_hangs_are_not_left_behind() -> None:
    async def works() -> None: ...

    checks = GatedNode("First"), GatedNode("Second")
    watched = [define(name, works, fingerprint=check.definition.function(None))
               for name, check in zip(("A", "B"), checks, strict=True)]
    for check in checks:
        check.cleans_up = SeveralTurns()  # type: ignore[assignment]
    ended: list[bool] = []
    async with running(*watched, hook_timeout=0.25) as studio:
        studio.engine.add_listener(lambda event: ended.extend(check.calls[0].has_ended for check in checks)
                                   if isinstance(event, NodeFailed) else None)
        await studio.error_of({"1": node("A"), "2": node("B"), "3": shows("1", "2")})
    assert ended == [True, True]


@pytest.mark.parametrize("is_async", [False, True])
async def test_validators_are_asked_off_the_loop_or_awaited_on_it(is_async: bool) -> None:
    loop_thread = threading.get_ident()
    on_loop: list[bool] = []

    def judges(x: int) -> Any:
        on_loop.append(threading.get_ident() == loop_thread)
        return x < 5 or "too large"

    async def awaits(x: int) -> Any:
        await asyncio.sleep(0)
        return judges(x)

    async def works(x: int) -> None: ...

    judged = define("Judged", works, required={"x": ("INT",)}, is_output=True, validate=awaits if is_async else judges)
    async with running(judged) as studio:
        assert (await studio.run({"1": node("Judged", x=1)})).outcome is Outcome.SUCCEEDED
        with pytest.raises(PromptRejected) as rejected:
            await studio.submit({"1": node("Judged", x=9)})
        (error,) = rejected.value.node_errors["1"]["errors"]
        assert error["details"] == "x - too large"
    assert on_loop == [is_async, is_async]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt(), TimeoutError("its own"),
                                   asyncio.CancelledError()])
async def test_a_validator_that_raises_refuses_and_the_server_lives(error: BaseException, is_async: bool) -> None:
    def raises(x: int) -> None:
        raise error

    async def raises_later(x: int) -> None:
        await asyncio.sleep(0)
        raise error

    async def works(x: int) -> None: ...

    judged = define("Judged", works, is_output=True, validate=raises_later if is_async else raises)
    async with running(judged) as studio:
        with pytest.raises(PromptRejected) as rejected:
            await studio.submit({"1": node("Judged", x=1)})
        (found,) = rejected.value.node_errors["1"]["errors"]
        assert found["type"] == "exception_during_validation"
        assert found["extra_info"]["exception_type"].endswith(type(error).__name__)
        assert found["details"] == str(error)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_validator_that_hangs_is_named_and_the_others_are_asked(is_async: bool) -> None:
    async def works(x: int) -> None: ...

    hangs = GatedNode("Hangs", plain=not is_async)
    late = define("Late", works, is_output=True, validate=hangs.definition.function(None), origin="slow_pack")
    other = define("Other", works, is_output=True, validate=lambda x: "refused")
    async with running(late, other, hook_timeout=0.25) as studio:
        with pytest.raises(PromptRejected) as rejected:
            await studio.submit({"1": node("Late", x=1), "2": node("Other", x=1)})
        errors = rejected.value.node_errors
        assert "Late (slow_pack)" in errors["1"]["errors"][0]["details"]
        assert errors["2"]["errors"][0]["details"] == "x - refused"
        hangs.open()


@pytest.mark.parametrize("error", [ValueError("no types"), SystemExit("bye"), KeyboardInterrupt("bye")])
async def test_a_class_that_raises_when_it_is_asked_what_it_takes_costs_its_prompt_alone(error: BaseException) -> None:
    async def works() -> None: ...

    def describe() -> Any:
        raise error

    async with running(define("Broken", works, is_output=True, describe=describe)) as studio:
        with pytest.raises(PromptRejected) as rejected:
            await studio.submit({"1": node("Broken")})
        assert rejected.value.node_errors["1"]["errors"][0]["details"] == str(error)
        assert await studio.shown_by({"1": node("Show", x=1)}) == {"1": {"x": [1]}}


async def test_a_class_that_hangs_when_it_is_asked_what_it_takes_is_named() -> None:
    async def works() -> None: ...

    hangs = GatedNode("Hangs", plain=True)
    async with running(define("Late", works, is_output=True, describe=hangs.definition.function(None)),
                       hook_timeout=0.25) as studio:
        with pytest.raises(PromptRejected) as rejected:
            await studio.submit({"1": node("Late")})
        assert "'Late'" in str(rejected.value)
        hangs.open()


# -- cancelling -------------------------------------------------------------------------------------------------------


async def test_an_awaiting_node_is_cancelled_at_once_and_its_clean_up_is_awaited() -> None:
    gate = GatedNode("Gate")
    gate.cleans_up = asyncio.Event()
    async with running(gate) as studio:
        prompt_id = await studio.submit({"1": node("Gate"), "2": node("Gate", x=1), "3": shows("1", "2")})
        await gate.arrived(2)
        assert studio.engine.interrupt(PromptId(prompt_id))
        await asyncio.sleep(0)
        assert all(call.was_cancelled for call in gate.calls), "all of them, at once"
        assert studio.engine.remaining == 1, "the prompt waits for their clean-up"
        gate.cleans_up.set()
        end = await studio.events.end_of(prompt_id)
        assert end.outcome is Outcome.INTERRUPTED
        assert end.interrupted is not None
        assert end.interrupted == studio.events.of(NodeStarted)[0].place, "the one that ran longest"
        assert end.interrupted_type == "Gate"
        assert all(call.has_ended for call in gate.calls)


async def test_a_targeted_interrupt_touches_that_prompt_alone() -> None:
    gate = GatedNode("Gate")
    async with running(gate) as studio:
        first, second = [await studio.submit({"1": node("Gate", x=x), "2": shows("1")}) for x in range(2)]
        await gate.arrived(2)
        assert studio.engine.interrupt(PromptId(first))
        assert not studio.engine.interrupt(PromptId("unheard of"))
        assert (await studio.events.end_of(first)).outcome is Outcome.INTERRUPTED
        assert [call.was_cancelled for call in gate.calls] == [True, False]
        gate.open()
        assert (await studio.events.end_of(second)).outcome is Outcome.SUCCEEDED
        assert not studio.engine.interrupt()


@pytest.mark.parametrize("way", ["check", "progress"])
async def test_a_plain_node_stops_where_it_looks(way: str) -> None:
    arrived, go_on, reached = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def works() -> None:
        bar = ProgressBar(2)
        loop.call_soon_threadsafe(arrived.set)
        assert go_on.wait(30)
        check_interrupted() if way == "check" else bar.update(1)
        reached.append("too far")

    async with running(define("Works", works)) as studio:
        prompt_id = await studio.submit({"1": node("Works"), "2": shows("1")})
        await arrived.wait()
        studio.engine.interrupt()
        assert studio.engine.remaining == 1
        go_on.set()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        assert reached == []
        assert studio.tokens_taken() == 0


async def test_a_cancelled_plain_node_is_not_called_for_its_further_indices() -> None:
    gate = GatedNode("Gate", plain=True)

    async def three() -> tuple[list[int]]:
        return ([1, 2, 3],)

    async with running(gate, define("Three", three, output_is_list=(True,))) as studio:
        prompt_id = await studio.submit({"1": node("Three"), "2": node("Gate", x=["1", 0]), "3": shows("2")})
        (call,) = await gate.arrived()
        studio.engine.interrupt()
        call.let_go()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        assert len(gate.calls) == 1


async def test_a_plain_node_that_never_looks_is_abandoned_and_keeps_its_token_until_it_returns(
        caplog: pytest.LogCaptureFixture) -> None:
    stuck = GatedNode("Stuck", plain=True)
    async with running(stuck, define("Plain", lambda: 1), plain_grace=SOON) as studio:
        prompt_id = await studio.submit({"1": node("Stuck"), "2": shows("1")})
        (call,) = await stuck.arrived()
        studio.engine.interrupt()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        assert "node 1 (Stuck) did not stop" in caplog.text
        assert not call.has_ended
        assert studio.tokens_taken() == 1
        behind = await studio.submit({"1": node("Plain"), "2": shows("1")})
        await studio.events.until(PromptStarted, prompt_id=behind)
        assert studio.events.of(NodeStarted, prompt_id=behind) == []
        call.let_go("too late")
        assert (await studio.events.end_of(behind)).outcome is Outcome.SUCCEEDED
        assert studio.tokens_taken() == 0


async def test_an_async_node_that_will_not_stop_is_abandoned_too() -> None:
    stubborn = GatedNode("Stubborn", needs={"gpu": 1})
    stubborn.cleans_up = asyncio.Event()
    async with running(stubborn, cancel_grace=SOON) as studio:
        prompt_id = await studio.submit({"1": node("Stubborn"), "2": shows("1")})
        await stubborn.arrived()
        studio.engine.interrupt()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        assert studio.tokens_taken() == 1
        stubborn.cleans_up.set()
        await stubborn.ended()
        await studio.until_tokens_are_back()


@pytest.mark.parametrize("outcome", ["expands", "awaitable", "value", "raises"])
async def test_a_cancelled_plain_node_ends_its_prompt_whatever_it_returns(outcome: str) -> None:
    gate, awaited = GatedNode("Gate", plain=True), []

    async def later() -> str:
        awaited.append("awaited")
        return "later"

    async with running(gate) as studio:
        prompt_id = await studio.submit({"1": node("Gate"), "2": shows("1")})
        (call,) = await gate.arrived()
        studio.engine.interrupt()
        match outcome:
            case "expands":
                call.let_go(NodeResult(outputs=(["x", 0],), expansion={"x": node("Show")}))
            case "awaitable":
                call.let_go(later())
            case "value":
                call.let_go("value")
            case "raises":
                call.fail(ValueError("late"))
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        await studio.until_tokens_are_back()
    assert awaited == []


async def test_a_node_may_interrupt_its_own_prompt() -> None:
    async def stops() -> None:
        raise InterruptProcessing

    async with running(define("Stops", stops)) as studio:
        end = await studio.run({"1": node("Stops"), "2": shows("1")})
        assert end.outcome is Outcome.INTERRUPTED
        assert end.interrupted is not None
        assert end.interrupted.node_id == "1"


async def test_a_prompt_can_be_interrupted_while_its_change_checks_are_asked() -> None:
    async def works() -> None: ...

    check = GatedNode("Check")
    async with running(define("Watched", works, fingerprint=check.definition.function(None))) as studio:
        prompt_id = await studio.submit({"1": node("Watched"), "2": shows("1")})
        await check.arrived()
        studio.engine.interrupt()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        assert check.calls[0].was_cancelled


async def test_an_error_cancels_the_siblings_and_waits_for_them() -> None:
    gate, fails = GatedNode("Gate"), GatedNode("Fails")
    gate.cleans_up = asyncio.Event()
    async with running(gate, fails) as studio:
        prompt_id = await studio.submit({"1": node("Gate"), "2": node("Fails"), "3": shows("1", "2")})
        await gate.arrived()
        (await fails.arrived())[0].fail(ValueError("no"))
        failed = await studio.events.until(NodeFailed)
        assert failed.place.node_id == "2"
        assert studio.engine.remaining == 1
        gate.cleans_up.set()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.FAILED
        assert gate.calls[0].was_cancelled


# -- errors -----------------------------------------------------------------------------------------------------------


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


ERRORS: list[BaseException] = [
    ValueError("wrong"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration("stop"),
    StopAsyncIteration("stop"), ExceptionGroup("several", [ValueError("one"), TypeError("two")]),
    BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("one")]), Unprintable(), asyncio.CancelledError(),
    TimeoutError("late"), RecursionError("deep"), BaseException("base")]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_whatever_a_node_raises_ends_its_prompt_with_one_error_that_names_it(error: BaseException,
                                                                                  plain: bool) -> None:
    def raises(x: int) -> None:
        raise error

    async def raises_later(x: int) -> None:
        await asyncio.sleep(0)
        raise error

    async with running(define("Raises", raises if plain else raises_later)) as studio:
        failed = await studio.error_of({"7": node("Raises", x=5), "8": shows("7")})
        assert (failed.place.node_id, failed.node_type) == ("7", "Raises")
        if isinstance(error, StopIteration) and not plain:  # Python itself makes another error of it
            assert "StopIteration" in failed.error.exception_message
        else:
            assert failed.error.exception_type.endswith(type(error).__name__)
            assert any("raises" in line for line in failed.error.traceback)
        assert failed.error.exception_message.endswith("\n")
        assert failed.error.current_inputs == {"x": [5]}
        assert len(studio.events.of(NodeFailed)) == 1
        assert await studio.shown_by({"1": node("Show", x=1)}) == {"1": {"x": [1]}}, "the next prompt is unharmed"
        assert studio.tokens_taken() == 0


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("wrong")])
async def test_one_index_that_raises_fails_its_node_once_all_have_ended(error: BaseException) -> None:
    gate = GatedNode("Gate")

    async def two() -> tuple[list[int]]:
        return ([1, 2],)

    async with running(gate, define("Two", two, output_is_list=(True,))) as studio:
        prompt_id = await studio.submit({"1": node("Two"), "2": node("Gate", x=["1", 0]), "3": shows("2")})
        first, second = await gate.arrived(2)
        first.fail(error)
        await gate.ended()
        assert studio.engine.remaining == 1, "the other index still runs"
        second.let_go()
        await studio.events.end_of(prompt_id)
        failed = studio.failure_of(prompt_id)
        assert failed is not None
        assert failed.error.exception_type == type(error).__name__


async def test_an_exception_group_tells_all_that_is_in_it() -> None:
    async def raises() -> None:
        raise ExceptionGroup("several", [ValueError("the first"), TypeError("the second")])

    async with running(define("Raises", raises)) as studio:
        told = "".join((await studio.error_of({"1": node("Raises"), "2": shows("1")})).error.traceback)
        assert "the first" in told
        assert "the second" in told


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [ValueError("no instance"), StopIteration(), SystemExit(1)])
async def test_a_constructor_that_raises_fails_its_node(error: BaseException, is_async: bool) -> None:
    def create() -> None:
        raise error

    async def works() -> None: ...

    definition = define("Broken", works if is_async else (lambda: None), create=create)
    async with running(definition) as studio:
        failed = await studio.error_of({"1": node("Broken"), "2": shows("1")})
        assert failed.place.node_id == "1"
        assert await studio.shown_by({"1": node("Show", x=1)}) == {"1": {"x": [1]}}


async def test_running_out_of_memory_drops_the_cache_and_the_queue_goes_on() -> None:
    released, ran = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    async def keeps(x: int) -> int:
        ran.append(x)
        return x

    async def hungry() -> None:
        raise MemoryError("no room")

    kept = {"1": node("Keeps", x=1), "2": shows("1")}
    cache = OutputCache()
    async with running(define("Keeps", keeps), define("Hungry", hungry), cache=cache,
                       release_memory=lambda: loop.call_soon_threadsafe(released.set)) as studio:
        await studio.run(kept)
        assert len(cache) == 2
        failed = await studio.error_of({"1": node("Hungry"), "2": shows("1")})
        assert failed.error.out_of_memory
        assert "ran out of memory" in failed.error.exception_message
        assert len(cache) == 0
        await released.wait()
        assert (await studio.run(kept)).outcome is Outcome.SUCCEEDED
    assert ran == [1, 1]


async def test_a_blocker_skips_who_consumes_it_and_the_prompt_goes_on() -> None:
    async def blocks() -> ExecutionBlocker:
        return ExecutionBlocker("because")

    called: list[str] = []

    async def notes(x: Any) -> None:
        called.append("called")

    async with running(define("Blocks", blocks), define("Notes", notes)) as studio:
        prompt_id = await studio.submit({"1": node("Blocks"), "2": node("Notes", x=["1", 0]), "3": shows("2"),
                                         "4": node("Show", y=1)})
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        assert [(event.place.node_id, event.message) for event in studio.events.of(NodeBlocked)] == [("2", "because")]
        assert [event.place.node_id for event in studio.events.of(NodeFinished) if event.ui] == ["4"]
    assert called == []


# -- instances --------------------------------------------------------------------------------------------------------


class Instance:
    """A node that counts its calls."""

    made: list[tuple[Instance, int]] = []

    def __init__(self) -> None:
        self.calls = 0
        self.made.append((self, threading.get_ident()))

    async def works(self, x: int) -> int:
        self.calls += 1
        return self.calls

    def works_plainly(self, x: int) -> int:
        self.calls += 1
        return self.calls


@pytest.fixture(autouse=True)
def _no_instances() -> None:
    Instance.made.clear()


def instanced(is_async: bool) -> NodeDefinition:
    async def awaits() -> None: ...

    return define("Instanced", awaits if is_async else (lambda: None), create=Instance,
                  bind=lambda one: one.works if is_async else one.works_plainly)


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_instance_is_made_off_the_loop_and_kept_for_its_node_id(is_async: bool) -> None:
    async with running(instanced(is_async)) as studio:
        shown = [await studio.shown_by({"1": node("Instanced", x=x), "2": shows("1")}) for x in range(3)]
        assert [one["2"]["from_1"] for one in shown] == [[1], [2], [3]]
        assert len(Instance.made) == 1
        assert Instance.made[0][1] != threading.get_ident()
        await studio.run({"other": node("Instanced", x=9), "2": shows("other")})
        assert len(Instance.made) == 2, "another id, another instance"
        await studio.run({"1": node("Instanced", x=10), "2": shows("1")})
        assert len(Instance.made) == 3, "a prompt without the pair ended in between"


@pytest.mark.parametrize("is_async", [False, True])
async def test_without_a_cache_equal_nodes_each_run_and_no_instance_stays(is_async: bool) -> None:
    async with running(instanced(is_async), cache=OutputCache(CacheRule.NONE)) as studio:
        prompt = {"1": node("Instanced", x=1), "2": node("Instanced", x=1), "3": shows("1", "2")}
        for made in (2, 4):
            shown = await studio.shown_by(prompt)
            assert shown["3"] == {"from_1": [1], "from_2": [1]}
            assert len(Instance.made) == made


async def test_without_a_cache_running_prompts_share_no_call() -> None:
    gate = GatedNode("Gate", create=Instance)
    async with running(gate, cache=OutputCache(CacheRule.NONE)) as studio:
        prompts = [await studio.submit({"1": node("Gate", x=1), "2": shows("1")}) for _ in range(2)]
        await gate.arrived(2)
        assert len(Instance.made) == 2
        gate.open()
        for prompt_id in prompts:
            await studio.events.end_of(prompt_id)


@pytest.mark.parametrize("is_async", [False, True])
async def test_without_a_cache_a_node_that_wants_inputs_is_called_again_on_the_same_instance(is_async: bool) -> None:
    async def gives() -> int:
        return 5

    class Asks:
        made = 0

        def __init__(self) -> None:
            type(self).made += 1
            self.asked = False

        def wants(self, x: Any = None) -> list[str]:
            self.asked = True
            return ["x"]

        async def wants_later(self, x: Any = None) -> list[str]:
            return self.wants(x)

        def works(self, x: int) -> bool:
            return self.asked

    check = Asks.wants_later if is_async else Asks.wants
    asks = replace(define("Asks", lambda: None, create=Asks, bind=lambda one: one.works,
                          optional={"x": ("*", {"lazy": True})}, lazy_check=check),
                   lazy_check=lambda one: one.wants_later if is_async else one.wants)
    async with running(define("Gives", gives), asks, cache=OutputCache(CacheRule.NONE)) as studio:
        prompt = {"1": node("Gives"), "2": node("Asks", x=["1", 0]), "3": shows("2")}
        for made in (1, 2):
            assert (await studio.shown_by(prompt))["3"] == {"from_2": [True]}
            assert Asks.made == made


async def test_freeing_memory_drops_the_instances() -> None:
    async with running(instanced(True)) as studio:
        await studio.run({"1": node("Instanced", x=1), "2": shows("1")})
        studio.engine.free_memory()
        await studio.run({"1": node("Instanced", x=2), "2": shows("1")})
    assert len(Instance.made) == 2


async def test_an_instance_is_in_one_call_at_a_time_and_one_that_was_abandoned_is_not_used_again() -> None:
    gate = GatedNode("Gate", plain=True, create=Instance, needs={"cpu": 1})
    async with running(gate, plain_grace=SOON) as studio:
        prompts = [await studio.submit({"1": node("Gate", x=x), "2": shows("1")}) for x in range(2)]
        await gate.arrived(2)
        assert len(Instance.made) == 2
        studio.engine.interrupt()
        for prompt_id in prompts:
            await studio.events.end_of(prompt_id)
        gate.open()
        await studio.until_tokens_are_back()
        await studio.run({"1": node("Gate", x=3), "2": shows("1")})
        assert len(Instance.made) == 3


async def test_a_kept_instance_that_is_busy_is_not_given_to_a_second_call() -> None:
    gate = GatedNode("Gate", plain=True, needs={"cpu": 1}, create=Instance)
    async with running(gate) as studio:
        prompts = [await studio.submit({"1": node("Gate", x=0), "2": shows("1")})]
        (await gate.arrived())[0].let_go()
        await studio.events.end_of(prompts[0])
        assert len(Instance.made) == 1
        prompts += [await studio.submit({"1": node("Gate", x=x), "2": shows("1")}) for x in (1, 2)]
        await gate.arrived(3)
        assert len(Instance.made) == 2, "one call has the kept one, the other its own"
        gate.open()
        for prompt_id in prompts:
            await studio.events.end_of(prompt_id)


async def test_constructors_of_a_prompt_share_one_hop() -> None:
    async with running(instanced(True)) as studio:
        await studio.run({**{str(x): node("Instanced", x=x) for x in range(5)}, "end": shows(*map(str, range(5)))})
    assert len(Instance.made) == 5
    assert len({thread for _, thread in Instance.made}) == 1


# -- contexts ---------------------------------------------------------------------------------------------------------


def where() -> tuple[str, str, int | None]:
    context = get_current_node()
    assert context is not None
    return context.prompt_id, context.unique_id, context.list_index


async def test_the_context_is_right_in_threads_tasks_and_gathers_of_a_node() -> None:
    seen: dict[str, Any] = {}

    async def looks(x: int) -> int:
        own, pool = where(), ThreadPoolExecutor(1)
        found = [where(), await asyncio.to_thread(where), *await asyncio.gather(*(later() for _ in range(2))),
                 await asyncio.create_task(later()),
                 await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, where)]
        pool.shutdown(wait=False)
        assert found == [own] * len(found)
        seen[f"{own[0]} {own[1]}"] = own[2]
        return x

    async def later() -> tuple[str, str, int | None]:
        await asyncio.sleep(0)
        return where()

    async with running(define("Looks", looks)) as studio:
        prompts = [await studio.submit({"a": node("Looks", x=x), "b": node("Looks", x=x + 10), "c": shows("a", "b")})
                   for x in range(2)]
        for prompt_id in prompts:
            assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED, studio.failure_of(prompt_id)
        assert seen == {f"{prompt_id} {name}": 0 for prompt_id in prompts for name in "ab"}
    assert get_current_node() is None


async def test_a_plain_node_has_its_context_on_its_thread_and_leaves_none_behind() -> None:
    seen: list[Any] = []

    def looks(x: int) -> None:
        seen.append(where())

    def looks_around() -> bool:
        seen.append(get_current_node())
        return True

    async with running(define("Looks", looks, validate=looks_around)) as studio:
        prompt_id = await studio.submit({"5": node("Looks", x=1), "6": shows("5")})
        await studio.events.end_of(prompt_id)
    assert seen == [None, (prompt_id, "5", 0)]


async def test_a_context_within_a_context_ends_with_its_block() -> None:
    async def looks() -> tuple[str, ...]:
        with CurrentNodeContext("p", "other", 3) as inner:
            assert where() == ("p", "other", 3)
            assert inner.node_id == "other"
        return where()[1]

    async with running(define("Looks", looks)) as studio:
        assert await studio.shown_by({"1": node("Looks"), "2": shows("1")}) == {"2": {"from_1": ["1"]}}


async def test_progress_from_a_nodes_own_thread_lands_on_the_right_node_of_the_right_prompt() -> None:
    async def works(x: int) -> None:
        bar = ProgressBar(100)
        await asyncio.to_thread(bar.update_absolute, x)

    async with running(define("Works", works)) as studio:
        prompts = [await studio.submit({name: node("Works", x=x), "end": shows(name)})
                   for name, x in (("a", 10), ("b", 20))]
        for prompt_id in prompts:
            assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED
        assert sorted((event.prompt_id, event.place.node_id, event.value)
                      for event in studio.events.of(NodeProgressed)) == sorted(
            [(prompts[0], "a", 10), (prompts[1], "b", 20)])
        for prompt_id, name in zip(prompts, "ab", strict=True):
            story = studio.events.story(prompt_id, NodeStarted, NodeProgressed, NodeFinished)
            assert story[:3] == [f"NodeStarted {name}", f"NodeProgressed {name}", f"NodeFinished {name}"]


async def test_a_thread_that_outlives_its_node_tells_nothing_more() -> None:
    bars: list[ProgressBar] = []

    async def leaves_a_bar() -> None:
        bars.append(ProgressBar(10))

    gate = GatedNode("Gate")
    async with running(define("Leaves", leaves_a_bar), gate) as studio:
        prompt_id = await studio.submit({"1": node("Leaves"), "2": node("Gate", x=["1", 0]), "3": shows("2")})
        await gate.arrived()
        await asyncio.to_thread(bars[0].update_absolute, 5)
        gate.open()
        await studio.events.end_of(prompt_id)
        assert studio.events.of(NodeProgressed) == []


# -- what a plain function may return ---------------------------------------------------------------------------------


async def test_an_awaitable_from_a_plain_function_is_awaited_on_the_loop_after_its_token_was_given_back() -> None:
    gate, loop_thread = GatedNode("Inner"), threading.get_ident()

    def returns_awaitable(x: int) -> Any:
        assert threading.get_ident() != loop_thread
        return gate.definition.function(None)(x=x)

    async with running(define("Wraps", returns_awaitable), define("Plain", lambda: 1)) as studio:
        prompt_id = await studio.submit({"1": node("Wraps", x=3), "2": shows("1")})
        (call,) = await gate.arrived()
        assert call.thread == loop_thread
        assert call.context is not None
        assert (call.context.prompt_id, call.context.unique_id) == (prompt_id, "1")
        assert studio.tokens_taken() == 0
        assert await studio.shown_by({"1": node("Plain"), "2": shows("1")}) == {"2": {"from_1": [1]}}
        call.let_go("awaited")
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.SUCCEEDED


async def test_a_returned_awaitable_is_cancelled_like_an_async_node() -> None:
    gate = GatedNode("Inner")
    async with running(define("Wraps", lambda: gate.definition.function(None)())) as studio:
        prompt_id = await studio.submit({"1": node("Wraps"), "2": shows("1")})
        await gate.arrived()
        studio.engine.interrupt()
        assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
        assert gate.calls[0].was_cancelled


@pytest.mark.parametrize("plain", [False, True])
async def test_an_expansion_runs_in_the_place_of_its_node(plain: bool) -> None:
    def build(x: int) -> NodeResult:
        graph = GraphBuilder()
        inner = graph.node("Add", x=x)
        outer = graph.node("Add", x=inner.out(0))
        return NodeResult(outputs=(outer.out(0),), expansion=graph.finalize())

    async def build_later(x: int) -> NodeResult:
        await asyncio.sleep(0)
        return build(x)

    def adds(x: int) -> int:
        return x + 1

    async with running(define("Expands", build if plain else build_later), define("Add", adds)) as studio:
        prompt_id = await studio.submit({"4": node("Expands", x=5), "5": shows("4")})
        await studio.events.end_of(prompt_id)
        entry = await studio.engine.history.get(PromptId(prompt_id))
        assert entry is not None
        assert entry.outputs == {"5": {"from_4": [7]}}
        inner = await studio.events.until(NodeStarted, "4.0.0.2")
        assert (inner.place.display_id, inner.place.parent_id, inner.place.real_id) == ("4", "4", "4")
        assert studio.events.story(prompt_id, NodeFinished)[-2:] == ["NodeFinished 4", "NodeFinished 5"]


async def test_an_expansion_that_makes_a_cycle_fails_its_prompt() -> None:
    async def expands(x: Any) -> NodeResult:
        return NodeResult(outputs=(["inner", 0],), expansion={"inner": node("Pass", x=["1", 0])})

    async def passes(x: Any) -> Any:
        return x

    async with running(define("Expands", expands), define("Pass", passes)) as studio:
        failed = await studio.error_of({"1": node("Expands", x=1), "2": shows("1")})
        assert failed.error.exception_type == "graph.DependencyCycleError"
        assert failed.place.real_id == "1"


async def test_an_expansion_of_a_class_that_does_not_exist_fails_its_node() -> None:
    async def expands() -> NodeResult:
        return NodeResult(outputs=(["inner", 0],), expansion={"inner": node("Nope")})

    async with running(define("Expands", expands)) as studio:
        failed = await studio.error_of({"1": node("Expands"), "2": shows("1")})
        assert "'Nope'" in failed.error.exception_message


# -- submitting -------------------------------------------------------------------------------------------------------


async def test_the_same_submission_again_is_the_same_prompt_and_another_one_is_a_conflict() -> None:
    gate = GatedNode("Gate")
    prompt = {"1": node("Gate"), "2": shows("1")}
    async with running(gate) as studio:
        fields: dict[str, Any] = {"prompt_id": PromptId("mine"), "content_key": "k"}
        first = await studio.engine.submit(PromptSubmission(prompt=prompt, **fields))
        again = await studio.engine.submit(PromptSubmission(prompt=prompt, **fields))
        assert again == first
        assert studio.engine.remaining == 1
        with pytest.raises(PromptConflict):
            await studio.engine.submit(PromptSubmission(prompt=prompt, prompt_id=PromptId("mine"), content_key="other"))
        gate.open()
        await studio.events.end_of("mine")
        first_run = len(studio.events.events)
        await studio.engine.submit(PromptSubmission(prompt=prompt, **fields))
        await studio.events.until(lambda event: isinstance(event, PromptQueued) and event.sequence > first_run)


async def test_a_rejected_prompt_leaves_its_id_free_and_nothing_queued() -> None:
    async with running() as studio:
        with pytest.raises(PromptRejected):
            await studio.submit({"1": node("Nope")}, prompt_id=PromptId("mine"))
        assert studio.engine.remaining == 0
        assert (await studio.run({"1": node("Show")}, prompt_id=PromptId("mine"))).prompt_id == "mine"


async def test_the_counter_advances_with_every_submission_rejected_ones_too() -> None:
    async with running() as studio:
        with pytest.raises(PromptRejected):
            await studio.submit({})
        accepted = await studio.engine.submit(PromptSubmission(prompt={"1": node("Show")}))
        assert accepted.number == 1


# -- closing ----------------------------------------------------------------------------------------------------------


async def test_closing_ends_everything_and_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    gate, plain = GatedNode("Gate"), GatedNode("Plain", plain=True, stops=True)
    async with running(gate, plain, max_running_prompts=1) as studio:
        first = await studio.submit({"1": node("Gate"), "2": node("Plain"), "3": shows("1", "2")})
        await gate.arrived()
        await plain.arrived()
        second = await studio.submit({"1": node("Gate", x=1), "2": shows("1")})
        engine = studio.engine
    assert gate.calls[0].was_cancelled
    assert plain.calls[0].has_ended
    assert (await studio.events.end_of(first)).outcome is Outcome.INTERRUPTED
    assert [event.prompt_id for event in studio.events.of(PromptDropped)] == [second]
    assert engine.remaining == 0
    assert asyncio.all_tasks() == before
    with pytest.raises(EngineClosed):
        await engine.submit(PromptSubmission(prompt={"1": node("Show")}))


async def test_closing_with_a_node_that_will_not_stop_ends_its_prompt_and_does_not_wait_for_it() -> None:
    stuck = GatedNode("Stuck", plain=True)
    async with running(stuck, plain_grace=SOON) as studio:
        prompt_id = await studio.submit({"1": node("Stuck"), "2": shows("1")})
        await stuck.arrived()
    assert (await studio.events.end_of(prompt_id)).outcome is Outcome.INTERRUPTED
    assert not stuck.calls[0].has_ended
    stuck.open()
    await studio.until_tokens_are_back()


async def test_threads_end_with_their_engine() -> None:
    def ours() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("studio-")}

    before = ours()
    async with running(define("Plain", lambda: 1), define("Watched", lambda: 2, fingerprint=lambda: 1)) as studio:
        await studio.run({"1": node("Plain"), "2": node("Watched"), "3": shows("1", "2")})
        started = ours() - before
        assert started
    for thread in started:
        await asyncio.to_thread(thread.join, 30)
        assert not thread.is_alive()


async def test_a_listener_that_raises_does_not_hurt_the_run(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise ValueError("broken listener")

    async with running() as studio:
        studio.engine.add_listener(broken)
        with caplog.at_level(logging.ERROR):
            assert (await studio.run({"1": node("Show", x=1)})).outcome is Outcome.SUCCEEDED
        assert "a listener failed" in caplog.text


async def test_a_prompt_can_be_checked_without_being_queued() -> None:
    def works(x: int) -> int:
        return x

    async with running(define("Works", works, is_output=True, required={"x": ("INT",)})) as studio:
        verdict = await studio.engine.check(PromptSubmission(
            prompt={"1": node("Works", x=1), "2": node("Works")}))
        assert verdict.outputs == ["1"]
        assert list(verdict.node_errors) == ["2"]
        with pytest.raises(PromptRejected):
            await studio.engine.check(PromptSubmission(prompt={"2": node("Works")}))
        assert studio.engine.remaining == 0
    assert await studio.engine.history.entries() == []
