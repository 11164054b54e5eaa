"""What a hard review of the engine found, each with the smallest story that showed it."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import threading
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest

from execution import (
    CacheRule,
    GraphBuilder,
    NodeId,
    NodeProgressed,
    NodeResult,
    Outcome,
    OutputCache,
    ProgressBar,
    PromptRejected,
    commands,
)
from execution.prompt_graph import GraphNode, parse_links
from execution.signatures import sign
from execution.value_size import measure
from tests.execution.test_engine import NEVER, running, shows, turns_until
from tests.execution.test_scheduler import expand, show, started
from tests.support.gated_nodes import GatedNode
from tests.support.node_definitions import define, node

# -- whatever a node raises -------------------------------------------------------------------------------------------


class EndsTheServer(Exception):
    def __str__(self) -> str:
        raise SystemExit("bye")


class Unspeakable:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_error_whose_text_would_end_the_server_is_told_like_any_other(is_async: bool) -> None:
    async def makes() -> Any:
        return Unspeakable()

    def raises(x: Any) -> None:
        raise EndsTheServer

    async def raises_later(x: Any) -> None:
        raise EndsTheServer

    async with running(define("Makes", makes), define("Bad", raises_later if is_async else raises)) as studio:
        failed = await studio.error_of({"0": node("Makes"), "1": node("Bad", x=["0", 0]), "2": shows("1")})
    assert "cannot be printed" in failed.error.exception_message
    assert failed.error.current_inputs == {"x": ["(Unspeakable, which cannot be printed)"]}


@pytest.mark.parametrize("is_async", [False, True])
async def test_values_are_never_put_into_words_on_the_loop(is_async: bool) -> None:
    loop_thread, on_loop = threading.get_ident(), []

    class Slow:
        def __repr__(self) -> str:
            on_loop.append(threading.get_ident() == loop_thread)
            return "slow"

    async def makes() -> Any:
        return Slow()

    def raises(x: Any) -> None:
        raise ValueError

    async def raises_later(x: Any) -> None:
        raise ValueError

    async with running(define("Makes", makes), define("Bad", raises_later if is_async else raises)) as studio:
        failed = await studio.error_of({"0": node("Makes"), "1": node("Bad", x=["0", 0]), "2": shows("1")})
    assert failed.error.current_inputs == {"x": ["slow"]}
    assert on_loop == [False]


async def test_a_number_that_cannot_be_written_out_harms_nobody() -> None:
    huge = 10 ** 5000

    async def makes() -> int:
        return huge

    async def raises(x: int) -> None:
        raise ValueError("no")

    async def expands() -> NodeResult:
        return NodeResult(outputs=(["e", 0],), expansion={"e": {"class_type": "Same", "inputs": {"x": huge}}})

    async def same(x: int) -> int:
        return x + 1 - x

    async with running(define("Makes", makes), define("Bad", raises), define("Expands", expands),
                       define("Same", same)) as studio:
        failed = await studio.error_of({"0": node("Makes"), "1": node("Bad", x=["0", 0]), "2": shows("1")})
        assert isinstance(failed.error.current_inputs, dict)
        (told,) = failed.error.current_inputs["x"]
        assert isinstance(told, str)
        assert await studio.shown_by({"1": node("Expands"), "2": shows("1")}) == {"2": {"from_1": [1]}}


def test_a_constant_that_cannot_be_signed_equals_nothing() -> None:
    inputs = {"x": 10 ** 5000}
    graph_node = GraphNode(NodeId("1"), "Same", inputs, parse_links(inputs))
    assert sign(graph_node, {}, fingerprint=None, identity=None, run="a") != \
        sign(graph_node, {}, fingerprint=None, identity=None, run="b")


# -- hooks ------------------------------------------------------------------------------------------------------------


async def test_the_time_of_a_validator_is_its_own_not_that_of_those_before_it() -> None:
    async def works(x: int) -> None: ...

    def slow(x: int) -> bool:
        threading.Event().wait(0.1)
        return True

    async with running(define("Slow", works, is_output=True, validate=slow), hook_timeout=0.35) as studio:
        accepted = await studio.engine.submit(_submission({str(one): node("Slow", x=one) for one in range(6)}))
    assert accepted.node_errors == {}


async def test_the_time_of_a_declaration_is_its_own_not_that_of_those_before_it() -> None:
    async def works() -> None: ...

    def slow(made: Any) -> Any:
        def describe() -> Any:
            threading.Event().wait(0.1)
            return made.describe()
        return describe

    made = [define(f"Slow{one}", works, is_output=True) for one in range(6)]
    slow_ones = [define(one.class_type, works, is_output=True, describe=slow(one)) for one in made]
    async with running(*slow_ones, hook_timeout=0.35) as studio:
        accepted = await studio.engine.submit(_submission({one.class_type: node(one.class_type) for one in made}))
    assert accepted.node_errors == {}


async def test_a_class_that_hangs_is_named_and_costs_the_others_nothing_in_the_catalogue(
        caplog: pytest.LogCaptureFixture) -> None:
    from web.node_routes import ClassNotDescribed, NodeCatalogue
    hangs = GatedNode("Hangs", plain=True)

    async def works() -> None: ...

    late = replace(define("Late", works, origin="slow_pack"), info=hangs.definition.function(None))
    async with running(late, define("Other", works), hook_timeout=0.25) as studio:
        catalogue = NodeCatalogue(studio.engine)
        for _ in range(2):
            body, _tag = await catalogue.all()
            assert sorted(json.loads(body)) == ["Other", "Show"]
        assert len(hangs.calls) == 1, "asked again, it would cost another thread"
        with pytest.raises(ClassNotDescribed, match="Late"):
            await catalogue.one("Late")
        hangs.open({})
        assert json.loads(await catalogue.one("Late")) == {"Late": {}}
        assert "Late" in json.loads((await catalogue.all())[0])
    assert "Late (slow_pack)" in caplog.text


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_validator_whose_error_would_end_the_server_refuses(is_async: bool) -> None:
    def judges(x: int) -> Any:
        raise EndsTheServer

    async def judges_later(x: int) -> Any:
        raise EndsTheServer

    async def works(x: int) -> None: ...

    judged = define("Judged", works, is_output=True, validate=judges_later if is_async else judges)
    async with running(judged) as studio:
        with pytest.raises(PromptRejected) as rejected:
            await studio.engine.submit(_submission({"1": node("Judged", x=1)}))
    assert "cannot be printed" in rejected.value.node_errors["1"]["errors"][0]["details"]


async def test_a_validator_that_was_given_up_asks_nobody_else_when_it_comes_back() -> None:
    asked: list[int] = []
    hang, done = threading.Event(), threading.Event()

    async def works(x: int) -> None: ...

    def judges(x: int) -> bool:
        asked.append(x)
        if x == 0:
            hang.wait(30)
        elif x == 1:
            hang.set()  # the one that was given up comes back while the others are asked
            done.wait(0.1)
        return True

    async with running(define("Judged", works, is_output=True, validate=judges), hook_timeout=0.25) as studio:
        with pytest.raises(PromptRejected) as rejected:
            await studio.engine.submit(_submission({"0": node("Judged", x=0)}))
        assert "did not answer" in rejected.value.node_errors["0"]["errors"][0]["details"]
        hang.clear()
        asked.clear()
        accepted = await studio.engine.submit(_submission({str(one): node("Judged", x=one) for one in range(4)}))
    assert list(accepted.node_errors) == ["0"]
    assert asked == [0, 1, 2, 3]


async def test_async_validators_end_with_the_submission_that_asked_them() -> None:
    async def works(x: int) -> None: ...

    plain, awaits = GatedNode("Plain", plain=True), GatedNode("Awaits")
    judged = [define(name, works, is_output=True, validate=gate.definition.function(None))
              for name, gate in (("A", plain), ("B", awaits))]
    async with running(*judged) as studio:
        submission = asyncio.ensure_future(studio.engine.submit(_submission({"1": node("A", x=1),
                                                                             "2": node("B", x=1)})))
        await plain.arrived()
        await awaits.arrived()
        submission.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submission
        assert awaits.calls[0].was_cancelled
        plain.open()


async def test_a_class_of_an_expansion_that_hangs_when_it_is_asked_what_it_takes_is_named() -> None:
    hangs = GatedNode("Hangs", plain=True)

    async def works() -> None: ...

    async def expands() -> NodeResult:
        return NodeResult(outputs=(["e", 0],), expansion={"e": {"class_type": "Hangs", "inputs": {}}})

    late = define("Hangs", works, describe=lambda: hangs.definition.function(None)(), origin="slow_pack")
    async with running(late, define("Expands", expands), hook_timeout=0.25) as studio:
        failed = await studio.error_of({"1": node("Expands"), "2": shows("1")})
        hangs.open()
    assert failed.error.exception_type == "TimeoutError"
    assert "Hangs (slow_pack)" in failed.error.exception_message


async def test_a_change_check_of_an_expansion_that_hangs_is_named() -> None:
    async def works() -> None: ...

    hangs = GatedNode("Hangs")

    async def expands() -> NodeResult:
        return NodeResult(outputs=(["e", 0],), expansion={"e": {"class_type": "Late", "inputs": {}}})

    late = define("Late", works, fingerprint=hangs.definition.function(None), origin="slow_pack")
    async with running(late, define("Expands", expands), hook_timeout=0.1) as studio:
        failed = await studio.error_of({"1": node("Expands"), "2": shows("1")})
    assert failed.error.exception_type == "TimeoutError"
    assert "Late (slow_pack)" in failed.error.exception_message


async def test_change_checks_of_a_pack_stay_one_at_a_time_after_one_hung() -> None:
    at_once, most = [0], [0]
    hangs, lock = threading.Event(), threading.Lock()

    def checks(x: int) -> int:
        if x == 0:
            hangs.wait(30)
            return 0
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        threading.Event().wait(0.02)
        with lock:
            at_once[0] -= 1
        return x

    async def works(x: int) -> None: ...

    async with running(define("Watched", works, fingerprint=checks), hook_timeout=0.25) as studio:
        await studio.error_of({"1": node("Watched", x=0), "2": shows("1")})
        hangs.set()
        prompts = [await studio.submit({"1": node("Watched", x=one), "2": shows("1")}) for one in range(1, 7)]
        for prompt_id in prompts:
            await studio.events.end_of(prompt_id)
    assert most == [1]


async def test_prompts_whose_change_checks_only_await_hold_no_place() -> None:
    async def works() -> None: ...

    awaits = GatedNode("Awaits")
    watched = define("Watched", works, fingerprint=awaits.definition.function(None))
    async with running(watched, max_running_prompts=2, hook_timeout=NEVER) as studio:
        waiting = [await studio.submit({"1": node("Watched"), "2": shows("1")}) for _ in range(2)]
        await awaits.arrived(2)
        assert (await studio.run({"1": node("Show", x=1)})).outcome is Outcome.SUCCEEDED
        awaits.open()
        for prompt_id in waiting:
            await studio.events.end_of(prompt_id)


variable: ContextVar[str] = ContextVar("variable", default="clean")


async def test_no_plain_hook_finds_what_another_left_in_its_context() -> None:
    found: dict[str, list[str]] = {}

    def leaves(what: str) -> None:
        found.setdefault(what, []).append(variable.get())
        variable.set(what)

    class Made:
        def __init__(self) -> None:
            leaves("constructor")

    async def works(x: int) -> None: ...

    def judges(x: int) -> bool:
        leaves("validator")
        return True

    def checks(x: int) -> int:
        leaves("change check")
        return x

    plain = define("Judged", works, create=Made, validate=judges, fingerprint=checks)

    def describe() -> Any:
        leaves("declaration")
        return plain.describe()

    judged = define("Judged", works, create=Made, validate=judges, fingerprint=checks, describe=describe)
    async with running(judged) as studio:
        await studio.run({**{str(one): node("Judged", x=one) for one in range(8)},
                          "show": shows(*map(str, range(8)))})
        await studio.run({"9": node("Judged", x=9), "show": shows("9")})
    assert set(found) == {"constructor", "validator", "change check", "declaration"}
    assert {one for answers in found.values() for one in answers} == {"clean"}


# -- threads of async nodes -------------------------------------------------------------------------------------------


async def test_lazy_checks_that_block_do_not_keep_submissions_waiting() -> None:
    async def works(x: int) -> None: ...

    blocks = GatedNode("Blocks", plain=True)
    lazy = define("Lazy", works, lazy_check=blocks.definition.function(None))
    async with running(lazy) as studio:
        waiting = await studio.submit({**{str(one): node("Lazy", x=one) for one in range(4)},
                                       "show": shows(*map(str, range(4)))})
        await blocks.arrived(4)
        await asyncio.wait_for(studio.run({"1": node("Show", x=1)}), 10)
        blocks.open()
        await studio.events.end_of(waiting)


@pytest.mark.parametrize("where", ["constructor", "lazy check"])
async def test_a_cancelled_async_node_is_paid_for_until_its_thread_returns(where: str) -> None:
    async def works() -> None: ...

    blocks = GatedNode("Blocks", plain=True)
    blocked = blocks.definition.function(None)
    more = {"create": blocked} if where == "constructor" else {"lazy_check": blocked}
    async with running(define("Taking", works, needs={"cpu": 1}, **more), cancel_grace=0.01) as studio:
        prompt_id = await studio.submit({"1": node("Taking"), "2": shows("1")})
        await blocks.arrived()
        studio.engine.interrupt()
        await studio.events.end_of(prompt_id)
        assert studio.tokens_taken("cpu") == 1
        blocks.open()
        await studio.until_tokens_are_back()


async def test_awaitables_that_nobody_comes_to_await_are_closed() -> None:
    made: list[Any] = []

    async def fails(x: int) -> None:
        raise ValueError("no")

    def returns(x: int) -> Any:
        made.append(fails(x))
        return made[-1]

    several = define("Several", lambda: ([1, 2, 3],), output_is_list=(True,))
    async with running(several, define("Returns", returns)) as studio:
        await studio.error_of({"0": node("Several"), "1": node("Returns", x=["0", 0]), "2": shows("1")})
    assert [inspect.getcoroutinestate(one) for one in made] == [inspect.CORO_CLOSED] * 3


ENDS_IN_A_TASK_OF_ITS_OWN = """
import asyncio
from execution import Engine, PromptFinished, PromptSubmission
from tests.support.node_definitions import define, node, registry_of, show

async def ends():
    raise SystemExit(7)

async def works():
    await asyncio.gather(ends())

async def main():
    async with Engine(registry_of([show(), define("Works", works)])) as engine:
        events = engine.subscribe()
        await engine.submit(PromptSubmission(prompt={"1": node("Works"), "2": node("Show", a=["1", 0])}))
        async for event in events:
            if isinstance(event, PromptFinished):
                return

asyncio.run(main())
"""


async def test_a_system_exit_in_a_task_of_the_nodes_own_ends_its_prompt_alone() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ENDS_IN_A_TASK_OF_ITS_OWN, stderr=-3)
    assert await process.wait() == 0


# -- sharing ----------------------------------------------------------------------------------------------------------


async def test_progress_of_a_shared_call_lands_on_the_heirs_node_after_a_hand_over() -> None:
    told, go_on = asyncio.Event(), asyncio.Event()

    async def works(x: int) -> int:
        bar = ProgressBar(10)
        bar.update_absolute(1)
        told.set()
        await go_on.wait()
        bar.update_absolute(7)
        return x

    async with running(define("Works", works)) as studio:
        owner = await studio.submit({"1": node("Works", x=5), "2": shows("1")})
        await told.wait()
        heir = await studio.submit({"7": node("Works", x=5), "1": shows("7")})
        await studio.events.until(lambda event: getattr(event, "prompt_id", "") == heir
                                  and type(event).__name__ == "NodeStarted")
        studio.engine.interrupt(owner)  # type: ignore[arg-type]
        await studio.events.end_of(owner)
        go_on.set()
        await studio.events.end_of(heir)
        ticks = studio.events.of(NodeProgressed, prompt_id=heir)
    assert [(tick.place.node_id, tick.value) for tick in ticks][-1:] == [("7", 7)]
    assert {tick.place.node_id for tick in ticks} == {"7"}


# -- values -----------------------------------------------------------------------------------------------------------


def test_what_an_expansion_links_to_is_not_computed_a_second_time_without_a_cache() -> None:
    driver = started({"0": node("Async"), "1": node("Expander", a=["0", 0]), "2": show("1")},
                     cache=OutputCache(CacheRule.NONE))
    driver.return_(driver.call_of("p0", "0"))
    expand(driver, driver.call_of("p0", "1"), {"1.a": node("Async", a=["0", 0])}, ("1.a", 0))
    assert driver.called() == ["0", "1", "1.a"]


def test_bytes_that_several_outputs_hold_count_once() -> None:
    value = bytes(10_000)
    cache = OutputCache(CacheRule.BYTES, 10**9)
    for index in range(5):
        inputs = {"x": index}
        signature = sign(GraphNode(NodeId("1"), "Same", inputs, {}), {}, fingerprint=None, identity=None, run="")
        cache.store(signature, _record([[value]]))
    assert cache.total_bytes < 11_000
    cache.validate()


async def test_values_that_an_expansion_returns_beside_links_are_measured_and_links_count_once() -> None:
    large, linked = 10_000, 40_000

    async def makes() -> tuple[Any, Any]:
        return bytearray(linked), [1] * 1000

    async def expands() -> NodeResult:
        return NodeResult(outputs=(["e", 0], ["e", 1], bytearray(large)),
                          expansion={"e": {"class_type": "Makes", "inputs": {}}})

    cache = OutputCache(CacheRule.BYTES, 10**9)
    async with running(define("Makes", makes, outputs=("*", "*")), define("Expands", expands, outputs=("*",) * 3),
                       cache=cache) as studio:
        await studio.run({"1": node("Expands"), "2": node("Show", a=["1", 2], x=["1", 0])})
    alone = measure([[bytearray(linked)], [[1] * 1000]]).own_bytes
    assert linked + large <= cache.total_bytes <= linked + large + 2 * alone + 5_000


def test_count_spares_all_that_the_current_prompt_uses_though_nobody_asked_for_it() -> None:
    chain = {"1": node("Async"), "2": node("Async", a=["1", 0])}
    driver = started({**chain, "3": show("2")}, cache=OutputCache(CacheRule.COUNT, 3))
    _run_all(driver)
    for name, prompt in (("again", {**chain, "3": show("2")}),
                         ("other", {"1": node("Async", b=1), "2": node("Async", b=2), "3": show("1", "2")}),
                         ("again2", {**chain, "3": show("2")})):
        _run(driver, prompt, name)
    assert driver.called("again") == []
    assert set(driver.called("again2")) <= {"1", "2", "3"}
    _run(driver, {**chain, "3": show("2"), "4": node("Show", c=4)}, "grown")
    assert driver.called("grown") == ["4"]
    _run(driver, {**chain, "5": show("1"), "6": show("2")}, "uses both")
    assert "1" not in driver.called("uses both")


def test_running_out_of_memory_frees_what_the_failed_prompt_computed_too() -> None:
    driver = started({"1": node("Async"), "2": node("Async", a=["1", 0]), "3": show("2")})
    driver.return_(driver.call_of("p0", "1"))
    driver.fail(driver.call_of("p0", "2"), out_of_memory=True)
    (once_more,) = driver.open
    driver.retry(once_more)
    driver.fail(driver.call_of("p0", "2"), out_of_memory=True)
    assert len(driver.cache) == 0


# -- instances and contexts -------------------------------------------------------------------------------------------


async def test_the_instance_that_was_kept_stays_and_the_second_one_goes() -> None:
    gates: list[asyncio.Event] = []
    used: list[int] = []

    class Counting:
        pass

    def bind(instance: Any) -> Any:
        async def works(x: int) -> int:
            used.append(id(instance))
            kept.append(instance)
            gate = asyncio.Event()
            gates.append(gate)
            await gate.wait()
            return x
        return works

    kept: list[Any] = []

    async def shape(x: int) -> None: ...

    counting = define("Counting", shape, create=Counting, bind=bind, is_shareable=False)
    async with running(counting) as studio:
        first = await studio.submit({"1": node("Counting", x=1), "2": shows("1")})
        await turns_until(lambda: len(gates) == 1)
        second = await studio.submit({"1": node("Counting", x=2), "2": shows("1")})
        await turns_until(lambda: len(gates) == 2)
        gates[1].set()
        await studio.events.end_of(second)
        gates[0].set()
        await studio.events.end_of(first)
        third = await studio.submit({"1": node("Counting", x=3), "2": shows("1")})
        await turns_until(lambda: len(gates) == 3)
        gates[2].set()
        await studio.events.end_of(third)
    assert used[2] == used[0] != used[1]


async def test_builders_and_hooks_of_an_expansion_are_not_in_the_context_of_its_node() -> None:
    from execution import get_current_node
    found: list[Any] = []

    async def checks() -> int:
        found.append(get_current_node())
        return 1

    async def works() -> int:
        return 1

    async def expands() -> NodeResult:
        graph = GraphBuilder()
        made = graph.node("Watched")
        return NodeResult(outputs=(made.out(0),), expansion=graph.finalize())

    async with running(define("Watched", works, fingerprint=checks), define("Expands", expands)) as studio:
        await studio.run({"1": node("Expands"), "2": shows("1")})
    assert found == [None]


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_tells_the_end_of_a_prompt_whose_preview_is_still_being_made() -> None:
    is_encoding, go_on = threading.Event(), threading.Event()

    def encode(preview: Any) -> tuple[str, bytes]:
        is_encoding.set()
        go_on.wait(30)
        return "PNG", b""

    told: list[str] = []

    async def works() -> None:
        ProgressBar(2).update_absolute(1, preview=("PNG", None, None))
        await asyncio.Event().wait()

    async with running(define("Works", works), encode_preview=encode) as studio:
        studio.engine.add_listener(lambda event: told.append(type(event).__name__))
        await studio.submit({"1": node("Works"), "2": shows("1")})
        await turns_until(is_encoding.is_set)
    go_on.set()
    assert told[-1] == "PromptFinished"


async def test_two_threads_that_ask_at_once_get_the_same_kept_thing() -> None:
    from execution import PromptId, PromptScope
    scope = PromptScope(PromptId("p"), {}, {}, {}, {}, {})
    barrier = threading.Barrier(2, timeout=5)
    got: list[Any] = []

    def make(_: PromptScope) -> object:
        barrier.wait()
        return object()

    threads = [threading.Thread(target=lambda: got.append(scope.kept("key", make))) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        await asyncio.to_thread(one.join)
    assert got[0] is got[1]


def _submission(prompt: dict[str, Any]) -> Any:
    from execution import PromptSubmission
    return PromptSubmission(prompt=prompt)


def _record(outputs: Any) -> Any:
    from execution.node_values import OutputRecord
    return OutputRecord(tuple(outputs), None, measure(outputs))


def _run(driver: Any, prompt: dict[str, Any], name: str) -> None:
    from tests.support.random_graphs import submission_of
    driver.submit(submission_of(prompt, name))
    driver.start_prompts()
    _run_all(driver)


def _run_all(driver: Any) -> None:
    while driver.open:
        call_id, call = next(iter(driver.open.items()))
        assert isinstance(call, commands.CallNode)
        driver.return_(call_id)
