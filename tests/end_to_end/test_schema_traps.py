"""The rows of node-api.md, section 6, that concern nodes described by a schema, each as a person at a script sees it.

The number of a test is that of its row. Where `protocol-2026.md` 12 or the rulings have changed a row, it says so.
"""

from typing import Any

import pytest

from execution import ExecutionBlocker, GraphBuilder, get_current_node
from nodes.packs.schema import io_words as io
from nodes.packs.schema.api import ComfyAPI, ComfyAPISync
from tests.inference import made_nodes
from tests.inference.studio_client import Binary, connect, node
from tests.support.schema_nodes import Shown, any_input, errors_of, schema_node, source, studio_with

# --- lists ---------------------------------------------------------------------------------------------------------


async def test_1_shorter_lists_repeat_their_last_value() -> None:
    shown = Shown()
    prompt = {"1": node("Numbers"), "2": node("Letters"), "3": node("Show", a=["1", 0], b=["2", 0])}
    async with studio_with(Numbers=source([1, 2, 3], as_list=True), Letters=source(["a", "b"], as_list=True),
                           Show=shown.node()) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.calls == [{"a": 1, "b": "a"}, {"a": 2, "b": "b"}, {"a": 3, "b": "b"}]


async def test_4_a_node_that_takes_lists_gets_all_inputs_as_lists() -> None:
    shown = Shown()
    async with studio_with(Empty=source([], as_list=True), Show=shown.node(is_input_list=True)) as (_, client):
        assert (await client.run({"1": node("Empty"), "2": node("Show", a=["1", 0], b=5)})).succeeded
    assert shown.calls == [{"a": [], "b": [5]}]


async def test_5_a_blocker_in_a_list_skips_its_index() -> None:
    shown = Shown()
    blocked = source([1, ExecutionBlocker(None), 3], as_list=True)
    async with studio_with(List=blocked, Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("List"), "2": node("Show", a=["1", 0])})).succeeded
    assert shown.values == [1, 3]


async def test_13_lists_of_mapped_calls_are_joined_flat() -> None:
    def two(cls: Any, a: int) -> Any:
        return io.NodeOutput([a, a * 10])

    shown = Shown()
    doubled = schema_node(two, inputs=[any_input("a")], outputs=[io.Int.Output(is_output_list=True)])
    prompt = {"1": node("List"), "2": node("Two", a=["1", 0]), "3": node("Show", a=["2", 0])}
    async with studio_with(List=source([1, 2], as_list=True), Two=doubled,
                           Show=shown.node(is_input_list=True)) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.values == [[1, 10, 2, 20]]


# --- what is returned ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("returned", [[1, 2], 5, "text"])
async def test_8_what_is_no_result_fails_and_says_so(returned: Any) -> None:
    def give(cls: Any) -> Any:
        return returned

    async with studio_with(Node=schema_node(give, is_output_node=True)) as (_, client):
        run = await client.run({"1": node("Node")})
    assert run.error["exception_type"] == "TypeError"
    assert run.error["exception_message"].startswith("Invalid return type from node")


async def test_8_none_is_a_result_without_outputs() -> None:
    def give(cls: Any) -> None:
        return None

    shown = Shown()
    async with studio_with(Node=schema_node(give, outputs=[io.Int.Output()]), Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("Node"), "2": node("Show", a=["1", 0])})).succeeded
    assert shown.values == [None]


@pytest.mark.parametrize("values", [(), (1, 2)])
@pytest.mark.parametrize("message", ["m", ""])
async def test_61_block_execution_blocks_with_and_without_values(values: tuple[int, ...], message: str) -> None:
    """Overruled there: consumers run with None where there are no values."""
    def give(cls: Any) -> Any:
        return io.NodeOutput(*values, block_execution=message)

    shown = Shown()
    blocking = schema_node(give, outputs=[io.Int.Output(), io.Int.Output()])
    prompt = {"1": node("Node"), "2": node("Show", a=["1", 0]), "3": node("Show", a=["1", 1])}
    async with studio_with(Node=blocking, Show=shown.node()) as (_, client):
        run = await client.run(prompt)
    assert run.succeeded
    assert shown.calls == []
    assert [(error["node_id"], error["exception_message"]) for error in run.of("execution_error")] == [
        ("2", f"Execution Blocked: {message}"), ("3", f"Execution Blocked: {message}")]


async def test_61_a_bare_blocker_blocks_every_output_silently() -> None:
    def give(cls: Any) -> Any:
        return ExecutionBlocker(None)

    shown = Shown()
    blocking = schema_node(give, outputs=[io.Int.Output(), io.Int.Output()])
    async with studio_with(Node=blocking, Show=shown.node()) as (_, client):
        run = await client.run({"1": node("Node"), "2": node("Show", a=["1", 1])})
    assert (run.succeeded, shown.calls, run.of("execution_error")) == (True, [], [])


@pytest.mark.parametrize(("returned", "values"), [
    ({"result": (3,)}, [3]), ({"result": [4], "ui": {"text": ["t"]}}, [4]), ({"ui": {"text": ["t"]}}, [None]),
    ({}, [None]), ({"result": ExecutionBlocker(None)}, [])])
async def test_62_a_dict_is_a_result(returned: dict[str, Any], values: list[Any]) -> None:
    """Changed since: it works there now, too."""
    def give(cls: Any) -> Any:
        return returned

    shown = Shown()
    async with studio_with(Node=schema_node(give, outputs=[io.Int.Output()]), Show=shown.node()) as (_, client):
        run = await client.run({"1": node("Node"), "2": node("Show", a=["1", 0])})
    assert run.succeeded
    assert shown.values == values
    assert run.shown.get("1") == returned.get("ui")


async def test_a_single_tuple_in_an_output_is_one_value() -> None:
    shown = Shown()
    async with studio_with(Node=source((1, 2)), Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("Node"), "2": node("Show", a=["1", 0])})).succeeded
    assert shown.values == [(1, 2)]


# --- the class -----------------------------------------------------------------------------------------------------


async def test_63_the_class_of_a_call_cannot_be_written_to() -> None:
    def write(cls: Any) -> Any:
        cls.foo = 1

    async with studio_with(Node=schema_node(write, is_output_node=True)) as (_, client):
        run = await client.run({"1": node("Node")})
    assert run.error["exception_type"] == "AttributeError"
    assert run.error["exception_message"].startswith("Cannot modify class attribute")


async def test_64_a_lazy_input_without_a_check_of_its_own_stays_none() -> None:
    def never(cls: Any) -> Any:
        raise AssertionError("nobody asked for it")

    shown = Shown()
    async with studio_with(Never=schema_node(never, outputs=[io.Int.Output()]),
                           Show=shown.node(any_input("a", lazy=True))) as (_, client):
        run = await client.run({"1": node("Never"), "2": node("Show", a=["1", 0])})
    assert run.succeeded
    assert shown.values == [None]


@pytest.mark.parametrize("is_async", [False, True])
async def test_39_a_lazy_input_is_evaluated_when_the_check_names_it(is_async: bool) -> None:
    def needed(cls: Any, a: Any, b: Any) -> list[str]:
        return ["a"]

    async def needed_async(cls: Any, a: Any, b: Any) -> list[str]:
        return ["a"]

    asked: list[Any] = []

    def pick(cls: Any, a: Any, b: Any) -> Any:
        asked.append((a, b))
        return {}

    picking = schema_node(pick, inputs=[any_input("a", lazy=True), any_input("b", lazy=True)], is_output_node=True,
                          lazy_check=needed_async if is_async else needed)
    async with studio_with(One=source(1), Two=source(2), Pick=picking) as (_, client):
        run = await client.run({"1": node("One"), "2": node("Two"), "3": node("Pick", a=["1", 0], b=["2", 0])})
    assert run.succeeded
    assert asked == [(1, None)]
    assert "1" in run.started
    assert "2" not in run.started


async def test_65_a_list_of_choices_has_to_be_wrapped() -> None:
    shown = Shown()
    choices = io.MultiCombo.Input("a", options=["x", "y", "z"])
    async with studio_with(Show=shown.node(choices)) as (_, client):
        bare = await client.refusal({"1": node("Show", a=["x"])})
        wrong = await client.refusal({"1": node("Show", a={"__value__": ["x", "no"]})})
        assert (await client.run({"1": node("Show", a={"__value__": ["x", "z"]})})).succeeded
    assert [kind for kind, _, _ in errors_of(bare)] == ["bad_linked_input"]
    assert errors_of(wrong) == [("value_not_in_list", "a: 'no' not in ['x', 'y', 'z']", "a")]
    assert shown.values == [["x", "z"]]


@pytest.mark.parametrize("is_async", [False, True])
async def test_66_progress_goes_to_the_registry_alone(is_async: bool) -> None:
    """Changed since: it works there now, too."""
    from PIL import Image

    def report(cls: Any) -> Any:
        ComfyAPISync().execution.set_progress(1, 3, preview_image=Image.new("RGB", (32, 16)))

    async def report_async(cls: Any) -> Any:
        await ComfyAPI().execution.set_progress(1, 3, preview_image=Image.new("RGB", (32, 16)))

    reporting = schema_node(report_async if is_async else report, is_output_node=True,
                            hidden=[io.Hidden.unique_id])  # so that the second run is none of the first one's
    async with studio_with(Node=reporting) as (studio, old_client):
        assert not [frame for frame in (await old_client.run({"1": node("Node")})).frames if isinstance(frame, Binary)]
        async with connect(studio.url, "client-b", supports_preview_metadata=True) as client:
            run = await client.run({"2": node("Node")})
    rows = [data["nodes"]["2"] for data in run.of("progress_state")]
    assert (3, "finished") in [(row["max"], row["state"]) for row in rows]
    assert run.of("progress") == []
    [preview] = [frame for frame in run.frames if isinstance(frame, Binary)]
    assert preview.event == 4
    assert b'"image/jpeg"' in preview.payload


async def test_66_progress_outside_of_a_node_needs_the_name_of_one() -> None:
    with pytest.raises(ValueError, match="name one"):
        await ComfyAPI().execution.set_progress(1, 2)


async def test_71_a_node_that_asks_who_it_is_shares_no_result() -> None:
    """Overruled there: both get the result of one."""
    def who(cls: Any) -> Any:
        return io.NodeOutput(cls.hidden.unique_id)

    shown = Shown()
    prompt = {"1": node("Who"), "2": node("Who"), "3": node("Show", a=["1", 0], b=["2", 0])}
    asking = schema_node(who, outputs=[io.String.Output()], hidden=[io.Hidden.unique_id])
    async with studio_with(Who=asking, Show=shown.node()) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.calls == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(("options", "calls"), [({}, 1), ({"not_idempotent": True}, 2)])
async def test_30_identical_nodes_share_a_result_unless_they_say_otherwise(options: dict[str, Any],
                                                                           calls: int) -> None:
    called: list[int] = []

    def count(cls: Any) -> Any:
        called.append(1)
        return io.NodeOutput(len(called))

    counting = schema_node(count, outputs=[io.Int.Output()], **options)
    prompt = {"1": node("Count"), "2": node("Count"), "3": node("Show", a=["1", 0], b=["2", 0])}
    async with studio_with(Count=counting, Show=Shown().node()) as (_, client):
        assert (await client.run(prompt)).succeeded
        again = await client.run(prompt)
    assert len(called) == calls
    assert set(again.cached) == {"1", "2", "3"}


# --- constants and hooks -------------------------------------------------------------------------------------------


async def test_14_constants_are_converted() -> None:
    shown = Shown()
    typed = shown.node(io.Int.Input("i"), io.Boolean.Input("b"), io.String.Input("s"), io.Float.Input("f"))
    async with studio_with(Show=typed) as (_, client):
        assert (await client.run({"1": node("Show", i=7.9, b="false", s=None, f="1.5")})).succeeded
    assert shown.calls == [{"i": 7, "b": True, "s": "None", "f": 1.5}]


async def test_17_choices_are_checked_unless_they_come_from_elsewhere() -> None:
    """Changed since: the `COMBO` form is checked as well."""
    shown, remote = Shown(), io.RemoteOptions("/choices", refresh_button=True)
    async with studio_with(Show=shown.node(io.Combo.Input("a", options=["p", "q"])),
                           Remote=shown.node(io.Combo.Input("a", remote=remote))) as (_, client):
        refused = await client.refusal({"1": node("Show", a="NOPE")})
        assert (await client.run({"1": node("Remote", a="NOPE")})).succeeded
    assert errors_of(refused) == [("value_not_in_list", "a: 'NOPE' not in ['p', 'q']", "a")]


@pytest.mark.parametrize("is_async", [False, True])
async def test_18_a_validator_owns_the_bounds_of_what_it_names(is_async: bool) -> None:
    def validate(cls: Any, n: int) -> Any:
        return n != 13 or "unlucky"

    async def validate_async(cls: Any, n: int) -> Any:
        return n != 13 or "unlucky"

    def run(cls: Any, n: int, mode: str) -> None:
        return None

    validated = schema_node(run, inputs=[io.Int.Input("n", max=5), io.Combo.Input("mode", options=["p"])],
                            is_output_node=True, validate=validate_async if is_async else validate)
    async with studio_with(Node=validated) as (_, client):
        assert (await client.run({"1": node("Node", n=50, mode="p")})).succeeded
        unlucky = await client.refusal({"1": node("Node", n=13, mode="p")})
        wrong = await client.refusal({"1": node("Node", n=50, mode="NOPE")})
    assert errors_of(unlucky) == [("custom_validation_failed", "n - unlucky", "n")]
    assert [kind for kind, _, _ in errors_of(wrong)] == ["value_not_in_list"]


async def test_19_hooks_get_reduced_hidden_values_and_none_for_links() -> None:
    seen: list[Any] = []

    def note(cls: Any, a: Any, n: int) -> Any:
        hidden = cls.hidden
        seen.append((a, n, hidden.unique_id, hidden.prompt, hidden.dynprompt, hidden.no_such_thing))
        return True

    def run(cls: Any, a: Any, n: int) -> None:
        seen.append((a, n, cls.hidden.unique_id, sorted(cls.hidden.prompt), cls.hidden.dynprompt.get_node("1"),
                     cls.hidden.no_such_thing))

    noting = schema_node(run, inputs=[any_input("a"), io.Int.Input("n")], is_output_node=True, validate=note,
                         fingerprint=note, hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.dynprompt])
    async with studio_with(One=source(1), Node=noting) as (_, client):
        assert (await client.run({"1": node("One"), "2": node("Node", a=["1", 0], n=4)})).succeeded
    assert seen == [(None, 4, "2", {}, None, None), (None, 4, "2", {}, None, None),
                    (1, 4, "2", ["1", "2"], {"class_type": "One", "inputs": {}}, None)]


async def test_34_a_fingerprint_decides_whether_a_node_runs_again() -> None:
    """By rulings 11 every answer is a fingerprint, True and texts too."""
    marks: list[Any] = [True, True, "no", float("nan"), float("nan")]
    ran: list[bool] = []

    def fingerprint(cls: Any, n: int) -> Any:
        return marks.pop(0)

    def run(cls: Any, n: int) -> None:
        ran.append(True)

    marked = schema_node(run, inputs=[io.Int.Input("n")], is_output_node=True, fingerprint=fingerprint)
    runs = []
    async with studio_with(Node=marked) as (_, client):
        while marks:
            assert (await client.run({"1": node("Node", n=1)})).succeeded
            runs.append(len(ran))
    assert runs == [1, 1, 2, 3, 4]


async def test_26_undeclared_constants_are_passed_only_where_all_inputs_are_accepted() -> None:
    strict, open_minded = Shown(), Shown()
    async with studio_with(Strict=strict.node(any_input("a")),
                           Open=open_minded.node(any_input("a"), accept_all_inputs=True)) as (_, client):
        assert (await client.run({"1": node("Strict", a=1, more=2)})).succeeded
        assert (await client.run({"1": node("Open", a=1, more=2)})).succeeded
    assert strict.calls == [{"a": 1}]
    assert open_minded.calls == [{"a": 1, "more": 2}]


async def test_an_omitted_optional_input_has_the_default_of_the_schema_if_the_function_has_none() -> None:
    seen: list[Any] = []

    def run(cls: Any, n: int, m: int = 7, **rest: Any) -> None:
        seen.append((n, m, rest))

    defaulting = schema_node(run, is_output_node=True, inputs=[
        io.Int.Input("n", optional=True, default=3), io.Int.Input("m", optional=True, default=4),
        io.Int.Input("o", optional=True, default=5)])
    async with studio_with(Node=defaulting) as (_, client):
        assert (await client.run({"1": node("Node")})).succeeded
        assert (await client.run({"1": node("Node", n=1, m=2, o=3)})).succeeded
    assert seen == [(3, 7, {}), (1, 2, {"o": 3})]


# --- types ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "taken", "fits"), [
    (io.Image, io.AnyType, True), (io.AnyType, io.Image, True), (io.Int, io.Float, False), (io.Image, io.Mask, False),
    (io.Combo, io.Combo, True), (io.Custom("FLOAT,INT"), io.Int, True)])
async def test_21_types_fit_by_their_names(given: Any, taken: Any, fits: bool) -> None:
    """Changed since: `*` matches everything, and a combo's output is a `COMBO`."""
    def give(cls: Any) -> Any:
        return io.NodeOutput("x")

    giving = schema_node(give, outputs=[given.Output()])
    prompt = {"1": node("Give"), "2": node("Show", a=["1", 0])}
    async with studio_with(Give=giving, Show=Shown().node(taken.Input("a"))) as (_, client):
        if fits:
            assert (await client.run(prompt)).succeeded
        else:
            refused = await client.refusal(prompt)
            assert [kind for kind, _, _ in errors_of(refused, "2")] == ["return_type_mismatch"]


async def test_the_two_generations_mix_in_a_graph() -> None:
    shown = made_nodes.Shown()
    doubled = made_nodes.make_node(lambda a: (a * 2,))
    prompt = {"1": node("Give"), "2": node("Double", a=["1", 0]), "3": node("Show", a=["2", 0])}
    async with studio_with(Give=source(4), Double=doubled, Show=shown.node()) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.values == [8]


# --- expansion -----------------------------------------------------------------------------------------------------


async def test_48_an_expansion_runs_in_place_of_each_call() -> None:
    def expand(cls: Any, a: int) -> Any:
        graph = GraphBuilder()
        inner = graph.node("Show", a=a)
        return io.NodeOutput(a * 2, expand=graph.finalize(), ui={"outer": [inner.id]})

    expanding = schema_node(expand, inputs=[any_input("a")], outputs=[io.Int.Output()], is_output_node=True,
                            enable_expand=True)
    shown = Shown()
    async with studio_with(List=source([1, 2], as_list=True), Expand=expanding, Show=shown.node()) as (_, client):
        run = await client.run({"1": node("List"), "4": node("Expand", a=["1", 0])})
    assert run.succeeded
    assert sorted(shown.values) == [1, 2]
    assert run.shown["4"] == {"outer": ["4.0.0.1", "4.1.0.1"]}
    assert {"4.0.0.1", "4.1.0.1"} <= set(run.started)


async def test_an_expansion_has_to_be_announced_in_the_schema() -> None:
    def expand(cls: Any) -> Any:
        return io.NodeOutput(expand={})

    async with studio_with(Node=schema_node(expand, is_output_node=True)) as (_, client):
        run = await client.run({"1": node("Node")})
    assert "enable_expand" in run.error["exception_message"]


async def test_the_context_of_a_call_names_its_node() -> None:
    contexts: list[Any] = []

    async def note(cls: Any, a: int) -> None:
        context = get_current_node()
        assert context is not None
        contexts.append((context.node_id, context.list_index))

    noting = schema_node(note, inputs=[any_input("a")], is_output_node=True)
    async with studio_with(List=source([1, 2], as_list=True), Note=noting) as (_, client):
        assert (await client.run({"1": node("List"), "2": node("Note", a=["1", 0])})).succeeded
    assert contexts == [("2", 0), ("2", 1)]
