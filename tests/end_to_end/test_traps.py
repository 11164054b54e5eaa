"""The rows of node-api.md, section 6, that concern class-attribute nodes, each as what a person at a script sees.

The number of a test is that of its row. Where `protocol-2026.md` 12 or the rulings have changed a row, it says so.
"""

import asyncio
import threading
from typing import Any

import pytest

from execution import ExecutionBlocker, GraphBuilder, get_current_node
from tests.inference.made_nodes import ANY, Door, Meeting, Shown, make_node, source, studio_with
from tests.inference.studio_client import Message, Run, StudioClient, connect, node

# --- lists ---------------------------------------------------------------------------------------------------------


async def test_1_shorter_lists_repeat_their_last_value() -> None:
    shown = Shown()
    prompt = {"1": node("Numbers"), "2": node("Letters"), "3": node("Show", a=["1", 0], b=["2", 0])}
    async with studio_with(Numbers=source([1, 2, 3], as_list=True), Letters=source(["a", "b"], as_list=True),
                           Show=shown.node()) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.calls == [{"a": 1, "b": "a"}, {"a": 2, "b": "b"}, {"a": 3, "b": "b"}]
    assert shown.indices == [0, 1, 2]


async def test_2_an_empty_list_beside_a_hidden_input_fails() -> None:
    shown = Shown()
    async with studio_with(Empty=source([], as_list=True), Show=shown.node()) as (_, client):
        run = await client.run({"1": node("Empty"), "2": node("Show", a=["1", 0])})
    assert run.error["exception_type"] == "IndexError"
    assert run.error["exception_message"] == "list index out of range\n"
    assert run.error["node_id"] == "2"
    assert shown.calls == []


async def test_3_an_empty_list_alone_calls_once_with_nothing() -> None:
    calls: list[dict[str, Any]] = []

    def one(**inputs: Any) -> tuple[()]:
        calls.append(inputs)
        return ()

    def needs(a: Any) -> tuple[()]:
        return ()

    async with studio_with(Empty=source([], as_list=True), One=make_node(one, output=True),
                           Needs=make_node(needs, output=True)) as (_, client):
        assert (await client.run({"1": node("Empty"), "2": node("One", a=["1", 0])})).succeeded
        run = await client.run({"1": node("Empty"), "2": node("Needs", a=["1", 0])})
    assert calls == [{}]
    assert run.error["exception_type"] == "TypeError"
    assert "missing" in run.error["exception_message"]


async def test_4_an_empty_list_for_a_node_that_takes_lists() -> None:
    shown = Shown()
    async with studio_with(Empty=source([], as_list=True), Show=shown.node(INPUT_IS_LIST=True)) as (_, client):
        assert (await client.run({"1": node("Empty"), "2": node("Show", a=["1", 0], b=5)})).succeeded
    assert shown.calls == [{"a": [], "b": [5]}]


BLOCKED_IN_THE_MIDDLE = source([1, ExecutionBlocker(None), 3], as_list=True)


async def test_5_a_blocker_in_a_list_skips_its_index() -> None:
    shown = Shown()
    async with studio_with(List=BLOCKED_IN_THE_MIDDLE, Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("List"), "2": node("Show", a=["1", 0])})).succeeded
    assert shown.values == [1, 3]
    assert shown.indices == [0, 2]


async def test_6_a_blocker_in_a_list_skips_the_whole_call_of_a_node_that_takes_lists() -> None:
    shown = Shown()
    async with studio_with(List=BLOCKED_IN_THE_MIDDLE, Show=shown.node(INPUT_IS_LIST=True)) as (_, client):
        run = await client.run({"1": node("List"), "2": node("Show", a=["1", 0])})
    assert run.succeeded
    assert shown.calls == []
    assert run.shown == {}


async def test_7_outputs_that_are_missing_read_as_none() -> None:
    shown = Shown()
    short = make_node(lambda: (1,), returns=("*", "*"))
    async with studio_with(Short=short, Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("Short"), "2": node("Show", a=["1", 0], b=["1", 1])})).succeeded
    assert shown.calls == [{"a": 1, "b": None}]


# --- results and UI ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("returned", [None, 5])
async def test_8_what_has_no_length_is_no_result(returned: Any) -> None:
    async with studio_with(Node=make_node(lambda: returned, output=True)) as (_, client):
        run = await client.run({"1": node("Node")})
    assert run.error["exception_type"] == "TypeError"
    assert run.error["exception_message"] == f"object of type '{type(returned).__name__}' has no len()\n"


async def test_9_a_text_as_ui_is_split() -> None:
    async with studio_with(Node=make_node(lambda: {"ui": {"text": "abc"}}, output=True)) as (_, client):
        run = await client.run({"1": node("Node")})
        history = await client.history(run.prompt_id)
    assert run.shown == {"1": {"text": ["a", "b", "c"]}}
    assert history["outputs"] == {"1": {"text": ["a", "b", "c"]}}


async def test_10_ui_keys_that_differ_between_indices_fail() -> None:
    def show(a: str) -> dict[str, Any]:
        return {"ui": {a: [1]}}

    async with studio_with(List=source(["x", "y"], as_list=True), Node=make_node(show, output=True)) as (_, client):
        run = await client.run({"1": node("List"), "2": node("Node", a=["1", 0])})
    assert run.error["exception_type"] == "KeyError"
    assert run.error["node_id"] == "2"


async def test_11_ui_that_is_no_json_fails_its_node_alone() -> None:
    shown = Shown()
    bad = make_node(lambda: {"ui": {"numbers": [{1, 2}]}}, output=True)
    async with studio_with(Bad=bad, Show=shown.node()) as (_, client):
        run = await client.run({"1": node("Bad")})
        assert run.error["node_id"] == "1"
        assert (await client.run({"1": node("Show", a=1)})).succeeded


async def test_12_a_tensor_as_a_list_output_is_taken_row_by_row() -> None:
    import torch

    shown = Shown()
    rows = source(torch.tensor([[1.0], [2.0]]), as_list=True)
    async with studio_with(Rows=rows, Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("Rows"), "2": node("Show", a=["1", 0])})).succeeded
    assert [(tuple(value.shape), value.item()) for value in shown.values] == [((1,), 1.0), ((1,), 2.0)]


async def test_13_lists_of_mapped_calls_are_joined_flat() -> None:
    def two(a: int) -> tuple[list[int]]:
        return ([a, a * 10],)

    shown = Shown()
    prompt = {"1": node("List"), "2": node("Two", a=["1", 0]), "3": node("Show", a=["2", 0])}
    async with studio_with(List=source([1, 2], as_list=True), Two=make_node(two, OUTPUT_IS_LIST=(True,)),
                           Show=shown.node(INPUT_IS_LIST=True)) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.values == [[1, 10, 2, 20]]


# --- constants and validation --------------------------------------------------------------------------------------


def typed(kind: Any, options: dict[str, Any] | None = None, **attributes: Any) -> tuple[Shown, type]:
    """An output node whose input `a` is of this type."""
    shown = Shown()
    return shown, shown.node(types={"a": (kind, options or {})}, **attributes)


def errors_of(refused: dict[str, Any], node_id: str = "1") -> list[tuple[str, str]]:
    return [(error["type"], error["details"]) for error in refused["node_errors"][node_id]["errors"]]


@pytest.mark.parametrize(("kind", "posted", "converted"), [
    ("INT", 7.9, 7), ("INT", "7", 7), ("FLOAT", "1.5", 1.5), ("FLOAT", 2, 2.0), ("BOOLEAN", "false", True),
    ("BOOLEAN", 0, False), ("STRING", None, "None"), ("STRING", 5, "5"), ("*", "7", "7")])
async def test_14_constants_are_converted_and_shown_so(kind: str, posted: Any, converted: Any) -> None:
    shown, show = typed(kind)
    async with studio_with(Show=show) as (_, client):
        run = await client.run({"1": node("Show", a=posted)})
        history = await client.history(run.prompt_id)
    assert shown.values == [converted]
    assert type(shown.values[0]) is type(converted)
    assert history["prompt"][2]["1"]["inputs"]["a"] == converted


async def test_15_a_list_as_a_constant_has_to_be_wrapped() -> None:
    shown, show = typed("*")
    async with studio_with(Show=show) as (_, client):
        refused = await client.refusal({"1": node("Show", a=[1, 2, 3])})
        assert (await client.run({"1": node("Show", a={"__value__": [1, 2]})})).succeeded
    assert [kind for kind, _ in errors_of(refused)] == ["bad_linked_input"]
    assert shown.values == [[1, 2]]


async def test_16_linked_values_are_not_checked_for_range() -> None:
    shown, show = typed("INT", {"max": 10})
    async with studio_with(Big=make_node(lambda: (200,), returns=("INT",)), Show=show) as (_, client):
        assert (await client.run({"1": node("Big"), "2": node("Show", a=["1", 0])})).succeeded
        assert errors_of(await client.refusal({"1": node("Show", a=200)})) == [("value_bigger_than_max", "a")]
    assert shown.values == [200]


@pytest.mark.parametrize(("kind", "options"), [(["p", "q"], {}), ("COMBO", {"options": ["p", "q"]})])
async def test_17_choices_are_checked_in_both_forms(kind: Any, options: dict[str, Any]) -> None:
    """Changed since: the `COMBO` form is checked as well, unless its choices come from elsewhere."""
    shown, show = typed(kind, options)
    _, remote = typed("COMBO", {"options": ["p"], "remote": {"route": "/x"}})
    async with studio_with(Show=show, Remote=remote) as (_, client):
        assert (await client.run({"1": node("Show", a="q")})).succeeded
        refused = await client.refusal({"1": node("Show", a="NOPE")})
        assert (await client.run({"1": node("Remote", a="NOPE")})).succeeded
    assert errors_of(refused) == [("value_not_in_list", "a: 'NOPE' not in ['p', 'q']")]
    assert shown.values == ["q"]


async def test_18_a_validator_owns_the_bounds_of_what_it_names() -> None:
    def check(cls: type, a: int) -> bool:
        return True

    shown = Shown()
    show = shown.node(types={"a": ("INT", {"max": 5}), "b": (["p", "q"],)}, VALIDATE_INPUTS=check)
    async with studio_with(Show=show) as (_, client):
        assert (await client.run({"1": node("Show", a=50, b="p")})).succeeded
        refused = await client.refusal({"1": node("Show", a=50, b="r")})
    assert [kind for kind, _ in errors_of(refused)] == ["value_not_in_list"]
    assert shown.values == [50]


async def test_19_a_validator_that_takes_all_gets_hidden_values_too() -> None:
    seen: list[dict[str, Any]] = []

    def check(cls: type, **inputs: Any) -> bool:
        seen.append(inputs)
        return True

    def show(a: int, b: str, c: Any, unique_id: str, prompt: Any, dynprompt: Any) -> tuple[()]:
        return ()

    show_class = make_node(show, output=True, types={"a": ("INT", {"max": 5}), "b": (["p", "q"],)},
                           VALIDATE_INPUTS=check)
    async with studio_with(Source=source(1), Show=show_class) as (_, client):
        run = await client.run({"1": node("Source"), "2": node("Show", a=50, b="r", c=["1", 0], undeclared=1)})
    assert run.succeeded
    assert seen == [{"a": 50, "b": "r", "c": None, "unique_id": "2", "prompt": {}, "dynprompt": None}]


@pytest.mark.parametrize(("answer", "details"), [(None, "{} - None"), (1, "{} - 1"), (False, "{}"), ("no", "{} - no")])
async def test_20_a_validator_answers_true_or_refuses_each_input_it_got(answer: Any, details: str) -> None:
    def check(cls: type, a: Any, b: Any) -> Any:
        return answer

    async with studio_with(Show=Shown().node(VALIDATE_INPUTS=check)) as (_, client):
        refused = await client.refusal({"1": node("Show", a=1, b=2)})
    assert errors_of(refused) == [("custom_validation_failed", details.format(name)) for name in "ab"]


def gives(kind: Any, value: Any = 1) -> type:
    return make_node(lambda: (value,), returns=(kind,))


@pytest.mark.parametrize(("given", "taken", "fits"), [
    ("IMAGE", "*", True), ("*", "IMAGE", True), ("IMAGE", ANY, True), (ANY, "IMAGE", True),
    ("IMAGE", "LATENT", False), ("IMAGE", "LATENT,IMAGE", True), ("A,B", "B,C", True), ("A,B", "C", False),
    (["p", "q"], "COMBO", True), (["p", "q"], ["p", "q"], True), (["p", "q"], ["p"], False),
    ("STRING", ["p", "q"], False)])
async def test_21_types_that_fit(given: Any, taken: Any, fits: bool) -> None:
    """Changed since: a plain `*` fits everything, on either side."""
    shown, show = typed(taken)
    prompt = {"1": node("Give"), "2": node("Show", a=["1", 0])}
    async with studio_with(Give=gives(given), Show=show) as (_, client):
        if fits:
            assert (await client.run(prompt)).succeeded
            assert shown.values == [1]
        else:
            assert [kind for kind, _ in errors_of(await client.refusal(prompt), "2")] == ["return_type_mismatch"]


async def test_22_int_into_float_is_a_mismatch_unless_the_validator_looks_at_types() -> None:
    seen: list[Any] = []

    def check(cls: type, input_types: dict[str, Any]) -> bool:
        seen.append(input_types)
        return True

    _, strict = typed("FLOAT")
    shown, lenient = typed("FLOAT", VALIDATE_INPUTS=check)
    async with studio_with(Give=gives("INT"), Strict=strict, Lenient=lenient) as (_, client):
        refused = await client.refusal({"1": node("Give"), "2": node("Strict", a=["1", 0])})
        assert (await client.run({"1": node("Give"), "2": node("Lenient", a=["1", 0], b=3)})).succeeded
    (error,) = refused["node_errors"]["2"]["errors"]
    assert (error["type"], error["extra_info"]["received_type"]) == ("return_type_mismatch", "INT")
    assert seen == [{"a": "INT"}]
    assert shown.values == [1]


async def test_23_one_good_output_is_enough() -> None:
    shown = Shown()
    async with studio_with(Show=shown.node()) as (_, client):
        status, answer = await client.post({"1": node("Show", a=1), "2": node("Show")})
        assert status == 200
        run = await client.end_of(answer["prompt_id"])
    assert errors_of(answer, "2") == [("required_input_missing", "a")]
    assert answer["node_errors"]["2"]["dependent_outputs"] == ["2"]
    assert run.succeeded
    assert shown.values == [1]


async def test_24_a_static_cycle_is_named() -> None:
    """Changed since: `node_errors` names each node of the cycle."""
    passes = make_node(lambda a: (a,))
    prompt = {"1": node("Pass", a=["2", 0]), "2": node("Pass", a=["1", 0]), "3": node("Show", a=["2", 0])}
    async with studio_with(Pass=passes, Show=Shown().node()) as (_, client):
        refused = await client.refusal(prompt)
    assert refused["error"]["type"] == "prompt_outputs_failed_validation"
    assert set(refused["node_errors"]) == {"1", "2"}
    for node_id in "12":
        (error,) = refused["node_errors"][node_id]["errors"]
        assert error["type"] == "dependency_cycle"
        assert set(error["extra_info"]["cycle_nodes"]) == {"1", "2"}
        assert error["details"].count("->") == 2


async def test_25_a_cycle_made_by_an_expansion_is_an_error_of_its_parent() -> None:
    """Ours: an error in the history too."""
    def grow(a: Any) -> dict[str, Any]:
        graph = GraphBuilder()
        first, second = graph.node("Pass"), graph.node("Pass")
        first.set_input("a", second.out(0))
        second.set_input("a", first.out(0))
        return {"result": (first.out(0),), "expand": graph.finalize()}

    async with studio_with(Grow=make_node(grow), Pass=make_node(lambda a: (a,)), Show=Shown().node()) as (_, client):
        run = await client.run({"4": node("Grow", a=1), "5": node("Show", a=["4", 0])})
        history = await client.history(run.prompt_id)
    assert run.error["exception_type"] == "graph.DependencyCycleError"
    assert run.error["exception_message"] == "Dependency cycle detected"
    assert (run.error["node_id"], run.error["node_type"]) == ("4", "Grow")
    assert history["status"]["status_str"] == "error"


async def test_26_undeclared_constants_are_dropped_and_undeclared_links_passed() -> None:
    calls: list[dict[str, Any]] = []

    def strict(a: Any) -> tuple[()]:
        calls.append({"a": a})
        return ()

    def open_to_all(a: Any, **more: Any) -> tuple[()]:
        calls.append({"a": a, **more})
        return ()

    async with studio_with(Source=source(9), Strict=make_node(strict, output=True),
                           Open=make_node(open_to_all, output=True)) as (_, client):
        assert (await client.run({"1": node("Strict", a=1, extra=2)})).succeeded
        assert (await client.run({"1": node("Source"), "2": node("Open", a=1, extra=["1", 0], other=3)})).succeeded
        run = await client.run({"1": node("Source"), "2": node("Strict", a=1, extra=["1", 0])})
    assert calls == [{"a": 1}, {"a": 1, "extra": 9}]
    assert run.error["exception_type"] == "TypeError"
    assert "unexpected keyword" in run.error["exception_message"]


# --- caching -------------------------------------------------------------------------------------------------------


def counting(**attributes: Any) -> tuple[list[Any], type]:
    """A node that passes its input on, and the inputs of its calls."""
    calls: list[Any] = []

    def count(a: Any) -> tuple[Any]:
        calls.append(a)
        return (a,)

    return calls, make_node(count, **attributes)


@pytest.mark.parametrize(("settings", "runs_again"), [({}, False), ({"cache_classic": True}, True),
                                                      ({"cache_lru": 4}, False), ({"cache_lru": 1}, True),
                                                      ({"cache_none": True}, True)])
async def test_27_a_b_a(settings: dict[str, Any], runs_again: bool) -> None:
    """By rulings 8 the default keeps outputs across prompts; `--cache-classic` is as the row has it."""
    calls, count = counting()
    a, b = ({"1": node("Count", a=letter), "2": node("Show", a=["1", 0])} for letter in "ab")
    async with studio_with(settings, Count=count, Show=Shown().node()) as (_, client):
        for prompt in (a, b, a):
            assert (await client.run(prompt)).succeeded
    assert calls == (["a", "b", "a"] if runs_again else ["a", "b"])


async def test_28_the_same_again_shows_the_same() -> None:
    calls, count = counting()
    shown = Shown()
    prompt = {"1": node("Count", a=1), "2": node("Show", a=["1", 0])}
    async with studio_with(Count=count, Show=shown.node()) as (_, client):
        first = await client.run(prompt)
        again = await client.run(prompt)
    assert again.cached == ["1", "2"]
    assert again.started == []
    assert again.shown == first.shown == {"2": {"shown": ["1"]}}
    assert len(again.of("executed")) == 1
    assert again.succeeded
    assert (calls, shown.values) == ([1], [1])


async def test_what_an_intermediate_node_showed_is_told_again_at_the_very_end_when_it_is_cached() -> None:
    shown = Shown()

    def between(a: Any) -> dict[str, Any]:
        return {"ui": {"text": [f"saw {a}"]}, "result": (a,)}

    prompt = {"1": node("Between", a=1), "2": node("Plain", a=["1", 0]), "3": node("Show", a=["2", 0])}
    async with studio_with(Between=make_node(between, HAS_INTERMEDIATE_OUTPUT=True), Plain=make_node(between),
                           Show=shown.node()) as (_, client):
        first = await client.run(prompt)
        again = await client.run(prompt)
    assert first.shown == {"1": {"text": ["saw 1"]}, "2": {"text": ["saw 1"]}, "3": {"shown": ["1"]}}
    assert again.shown == {"3": {"shown": ["1"]}, "1": {"text": ["saw 1"]}}
    assert [message["node"] for message in again.of("executed")] == ["3", "1"]
    assert again.started == []


async def test_29_new_ids_still_match_unless_the_id_counts() -> None:
    calls, count = counting()
    own_calls, own = counting(NOT_IDEMPOTENT=True)
    shown = Shown()  # takes UNIQUE_ID

    def prompt(x: str, y: str, z: str) -> dict[str, Any]:
        return {x: node("Count", a=1), y: node("Own", a=2), z: node("Show", a=[x, 0], b=[y, 0])}

    async with studio_with(Count=count, Own=own, Show=shown.node()) as (_, client):
        await client.run(prompt("1", "2", "3"))
        again = await client.run(prompt("7", "8", "9"))
    assert again.cached == ["7"]
    assert (calls, own_calls, shown.values) == ([1], [2, 2], [1, 1])


async def test_30_equal_nodes_run_once() -> None:
    calls, count = counting()
    own_calls, own = counting(NOT_IDEMPOTENT=True)
    shown = Shown()
    prompt = {"1": node("Count", a=5), "2": node("Count", a=5), "3": node("Show", a=["1", 0], b=["2", 0]),
              "4": node("Own", a=6), "5": node("Own", a=6), "6": node("Show", a=["4", 0], b=["5", 0])}
    async with studio_with(Count=count, Own=own, Show=shown.node()) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert (calls, own_calls) == ([5], [6, 6])
    assert sorted(shown.values) == [5, 6]


async def test_31_not_idempotent_is_still_cached() -> None:
    calls, count = counting(NOT_IDEMPOTENT=True)
    prompt = {"1": node("Count", a=1), "2": node("Show", a=["1", 0])}
    async with studio_with(Count=count, Show=Shown().node()) as (_, client):
        await client.run(prompt)
        assert (await client.run(prompt)).cached == ["1", "2"]
    assert calls == [1]


async def test_32_one_and_true_are_the_same_constant() -> None:
    calls, count = counting()
    shown = Shown()
    async with studio_with(Count=count, Show=shown.node()) as (_, client):
        for number, value in enumerate((1, True, 1.0)):
            run = await client.run({"1": node("Count", a=value), str(number + 2): node("Show", a=["1", 0])})
            assert ("1" in run.cached) == (number > 0)
    assert len(calls) == 1
    assert [(value, type(value)) for value in shown.values] == [(1, int)] * 3


async def test_33_an_instance_belongs_to_an_id_and_a_class() -> None:
    class Counter:
        instances = 0
        RETURN_TYPES = ("*",)
        FUNCTION = "count"

        def __init__(self) -> None:
            type(self).instances += 1
            self.number, self.calls = type(self).instances, 0

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            return {"required": {"a": ("*",)}}

        def count(self, a: Any) -> tuple[Any]:
            self.calls += 1
            return ((self.number, self.calls, a),)

    shown = Shown()
    async with studio_with(Count=Counter, Show=shown.node()) as (_, client):
        for node_id, value in (("1", 1), ("1", 2), ("9", 3), ("1", 4)):
            await client.run({node_id: node("Count", a=value), "s": node("Show", a=[node_id, 0])})
    assert shown.values == [(1, 1, 1), (1, 2, 2), (2, 1, 3), (3, 1, 4)]


async def test_34_a_change_check_that_raises_never_matches() -> None:
    def check(cls: type, a: Any) -> Any:
        raise OSError("gone")

    calls, count = counting(IS_CHANGED=check)
    prompt = {"1": node("Count", a=1), "2": node("Show", a=["1", 0])}
    async with studio_with(Count=count, Show=Shown().node()) as (_, client):
        assert (await client.run(prompt)).succeeded
        again = await client.run(prompt)
    assert again.succeeded
    assert again.cached == []
    assert calls == [1, 1]


async def test_35_a_change_check_gets_no_linked_values() -> None:
    seen: list[dict[str, Any]] = []

    def check(cls: type, a: Any, b: Any, unique_id: Any, prompt: Any, dynprompt: Any) -> int:
        seen.append({"a": a, "b": b, "unique_id": unique_id, "prompt": prompt, "dynprompt": dynprompt})
        return 7

    def show(a: Any, b: Any, unique_id: str, prompt: Any, dynprompt: Any) -> tuple[()]:
        return ()

    prompt = {"1": node("Source"), "2": node("Show", a=["1", 0], b=4)}
    async with studio_with(Source=source(1), Show=make_node(show, output=True, IS_CHANGED=check)) as (_, client):
        await client.run(prompt)
        assert (await client.run(prompt)).cached == ["1", "2"]
    assert seen == [{"a": None, "b": 4, "unique_id": "2", "prompt": {}, "dynprompt": None}] * 2


def takes_all_by_keyword(cls: type, *, a: Any, unique_id: str) -> bool:
    return True


def takes_too_little(cls: type, a: Any) -> bool:
    return True


def takes_an_instance(self: Any, **inputs: Any) -> bool:
    return True


@pytest.mark.parametrize(("check", "runs_again"), [
    (takes_all_by_keyword, False), (takes_too_little, True), (takes_an_instance, True)])
async def test_a_change_check_gets_every_input_by_name_and_one_that_cannot_take_them_has_its_node_run_each_time(
        check: Any, runs_again: bool) -> None:
    shown = Shown()
    async with studio_with(Show=shown.node(IS_CHANGED=check)) as (_, client):
        for _ in range(2):
            assert (await client.run({"1": node("Show", a=3)})).succeeded
    assert shown.values == [3, 3][:1 + runs_again]


async def test_36_a_prompt_may_bring_the_answer_of_a_change_check() -> None:
    asked: list[Any] = []

    def check(cls: type, a: Any) -> float:
        asked.append(a)
        return float("nan")

    calls, count = counting(IS_CHANGED=check)
    prompt = {"1": {**node("Count", a=1), "is_changed": [5]}, "2": node("Show", a=["1", 0])}
    async with studio_with(Count=count, Show=Shown().node()) as (_, client):
        await client.run(prompt)
        assert (await client.run(prompt)).cached == ["1", "2"]
    assert asked == []
    assert calls == [1]


async def test_37_the_hidden_prompt_tells_what_change_checks_said() -> None:
    prompts: list[dict[str, Any]] = []

    def check(cls: type, a: Any) -> str:
        return "digest"

    def look(a: Any, prompt: dict[str, Any]) -> tuple[()]:
        prompts.append(prompt)
        return ()

    _, count = counting(IS_CHANGED=check)
    prompt = {"1": node("Count", a=1), "2": node("Look", a=["1", 0])}
    async with studio_with(Count=count, Look=make_node(look, output=True)) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert prompts[0]["1"]["is_changed"] == ["digest"]
    assert prompts[0]["2"]["inputs"] == {"a": ["1", 0]}


# --- lazy inputs and raw links -------------------------------------------------------------------------------------


LAZY = {"a": ("*", {"lazy": True}), "b": ("*", {"lazy": True})}


async def run_lazy(check: Any) -> tuple[list[Any], list[Any], Run]:
    """A node with a lazy input that is linked: calls of its source, what it was called with, and the run."""
    calls, count = counting()
    shown = Shown()
    attributes = {} if check is None else {"check_lazy_status": check}
    show = shown.node(types=LAZY, **attributes)
    async with studio_with(Count=count, Show=show) as (_, client):
        run = await client.run({"1": node("Count", a=1), "2": node("Show", a=["1", 0], b=5)})
    return calls, shown.calls, run


async def test_38_a_lazy_input_that_nobody_asks_for() -> None:
    calls, shown, run = await run_lazy(None)
    assert run.succeeded
    assert calls == []
    assert shown == [{"a": None, "b": 5}]


async def test_39_lazy_inputs_are_evaluated_as_they_are_asked_for() -> None:
    assert (await run_lazy(lambda self, **inputs: ["a"]))[:2] == ([1], [{"a": 1, "b": 5}])
    for nothing in (None, (), ("a",), {"a"}):
        assert (await run_lazy(lambda self, answer=nothing, **inputs: answer))[:2] == ([], [{"a": None, "b": 5}])


async def test_40_a_lazy_input_that_does_not_exist() -> None:
    calls, shown, run = await run_lazy(lambda self, **inputs: ["c"])
    assert run.error["exception_type"] == "execution.NodeInputError"
    assert "needs input c" in run.error["exception_message"]
    assert (calls, shown) == ([], [])
    # A constant that is there already is fine to ask for.
    assert (await run_lazy(lambda self, **inputs: ["b"]))[1] == [{"a": None, "b": 5}]


async def test_41_a_raw_link_is_still_a_dependency() -> None:
    def fail() -> tuple[Any]:
        raise ValueError("no")

    shown, show = typed("*", {"rawLink": True})
    async with studio_with(Fail=make_node(fail), Good=source(1), Show=show) as (_, client):
        assert (await client.run({"1": node("Fail"), "2": node("Show", a=["1", 0])})).error["node_id"] == "1"
        run = await client.run({"1": node("Good"), "2": node("Show", a=["1", 0])})
    assert run.started == ["1", "2"]
    assert shown.values == [["1", 0]]


# --- blocking ------------------------------------------------------------------------------------------------------


def blocking(message: str | None) -> type:
    return source(ExecutionBlocker(message), "open")


async def test_42_a_blocker_with_a_message_is_told_of_once() -> None:
    calls, count = counting()
    shown = Shown()
    prompt = {"1": node("Block"), "2": node("Count", a=["1", 0]), "3": node("Show", a=["2", 0]),
              "4": node("Show", a=["1", 1])}
    async with studio_with(Block=blocking("why"), Count=count, Show=shown.node()) as (_, client):
        run = await client.run(prompt)
        history = await client.history(run.prompt_id)
        again = await client.run(prompt)
    assert run.error["node_id"] == "2"
    assert run.error["exception_type"] == "ExecutionBlocked"
    assert run.error["exception_message"] == "Execution Blocked: why"
    assert "timestamp" not in run.error
    assert run.succeeded
    assert list(run.shown) == ["4"]
    assert (calls, shown.values) == ([], ["open"])
    assert [kind for kind, _ in history["status"]["messages"]] == ["execution_start", "execution_cached",
                                                                  "execution_success"]
    assert again.of("execution_error") == []
    assert again.succeeded


async def test_42_a_blocker_without_a_message_is_silent() -> None:
    calls, count = counting()
    prompt = {"1": node("Block"), "2": node("Count", a=["1", 0]), "3": node("Show", a=["2", 0])}
    async with studio_with(Block=blocking(None), Count=count, Show=Shown().node()) as (_, client):
        run = await client.run(prompt)
    assert run.succeeded
    assert run.of("execution_error") == run.of("executed") == []
    assert calls == []


async def test_73_each_direct_consumer_of_a_blocker_tells_of_it() -> None:
    _, count = counting(NOT_IDEMPOTENT=True)
    prompt = {"1": node("Block"), "2": node("Count", a=["1", 0]), "3": node("Count", a=["1", 0]),
              "4": node("Show", a=["2", 0], b=["3", 0])}
    async with studio_with(Block=blocking("why"), Count=count, Show=Shown().node()) as (_, client):
        run = await client.run(prompt)
    assert {error["node_id"] for error in run.of("execution_error")} == {"2", "3"}
    assert len(run.of("execution_error")) == 2
    assert run.succeeded


# --- async nodes ---------------------------------------------------------------------------------------------------


async def test_43_all_indices_of_an_async_node_run_at_once() -> None:
    meeting = Meeting(3)
    story: list[Any] = []

    async def each(a: int) -> tuple[int]:
        story.append(("start", a))
        await meeting.join()
        context = get_current_node()
        story.append(("end", a, context and context.list_index))
        return (a,)

    shown = Shown()
    async with studio_with(List=source([1, 2, 3], as_list=True), Each=make_node(each), Show=shown.node()
                           ) as (_, client):
        await client.run({"1": node("List"), "2": node("Each", a=["1", 0]), "3": node("Show", a=["2", 0])})
    assert story[:3] == [("start", 1), ("start", 2), ("start", 3)]
    assert sorted(story[3:]) == [("end", 1, 0), ("end", 2, 1), ("end", 3, 2)]
    assert shown.values == [1, 2, 3]


async def test_44_a_chain_of_plain_nodes_runs_while_async_ones_wait() -> None:
    door = Door()

    async def wait(a: Any) -> tuple[Any]:
        await door.stop()
        return (a,)

    def last(a: Any) -> tuple[Any]:
        door.open()
        return (a,)

    calls, count = counting()
    shown = Shown()
    prompt = {"1": node("Wait", a=1), "2": node("Wait", a=2), "3": node("Show", a=["1", 0], b=["2", 0]),
              "4": node("Count", a=3), "5": node("Count", a=["4", 0]), "6": node("Last", a=["5", 0])}
    async with studio_with(Wait=make_node(wait), Count=count, Last=make_node(last, output=True), Show=shown.node()
                           ) as (_, client):
        run = await client.run(prompt)
        await door.reached(2)
    assert run.succeeded
    assert calls == [3, 3]
    assert shown.calls == [{"a": 1, "b": 2}]


async def test_45_an_async_error_cancels_siblings_at_once() -> None:
    door = Door()
    cancelled: list[bool] = []

    async def wait(a: Any) -> tuple[Any]:
        try:
            await door.stop()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return (a,)

    async def fail(a: Any) -> tuple[Any]:
        await door.reached()
        raise ValueError("now")

    prompt = {"1": node("Wait", a=1), "2": node("Fail", a=2), "3": node("Show", a=["1", 0], b=["2", 0])}
    async with studio_with(Wait=make_node(wait), Fail=make_node(fail), Show=Shown().node()) as (_, client):
        run = await client.run(prompt)
    assert run.error["node_id"] == "2"
    assert cancelled == [True]
    kinds = [message.kind for message in run.messages if message.kind != "progress_state"]
    assert kinds[-3:] == ["execution_error", "status", "executing"]


async def test_46_an_interrupt_ends_an_async_node_and_names_it() -> None:
    """Ours: at once, and the node that waits is the one that is named."""
    door = Door()

    async def wait(a: Any) -> tuple[Any]:
        await door.stop()
        return (a,)

    async with studio_with(Wait=make_node(wait), Show=Shown().node()) as (_, client):
        prompt_id = await client.submit({"1": node("Wait", a=1), "2": node("Show", a=["1", 0])})
        await door.reached()
        await client.send("/interrupt")
        run = await client.end_of(prompt_id)
        history = await client.history(prompt_id)
    (interrupted,) = run.of("execution_interrupted")
    assert (interrupted["node_id"], interrupted["node_type"], interrupted["executed"]) == ("1", "Wait", [])
    assert history["status"]["status_str"] == "error"
    assert history["status"]["messages"][-1][0] == "execution_interrupted"
    assert run.started == ["1"]


async def test_47_an_interrupt_while_idle_is_lost() -> None:
    async with studio_with(Show=Shown().node()) as (_, client):
        assert await client.send("/interrupt") == 200
        assert (await client.run({"1": node("Show", a=1)})).succeeded


# --- expansion -----------------------------------------------------------------------------------------------------


def growing(build: Any, **attributes: Any) -> type:
    """A node that expands into what `build(graph, a)` makes; its answer is the result."""
    def grow(a: Any) -> dict[str, Any]:
        graph = GraphBuilder()
        result = build(graph, a)
        return {"result": result, "expand": graph.finalize()}

    return make_node(grow, **attributes)


async def test_48_ids_and_ui_of_an_expansion() -> None:
    def build(graph: GraphBuilder, a: Any) -> tuple[Any]:
        kept = graph.node("Count", a=a)
        graph.node("Show", a=kept.out(0))
        return (kept.out(0),)

    def outer(a: Any) -> dict[str, Any]:
        return {"ui": {"outer": [a]}, **growing(build).run(a)}

    _, count = counting()
    shown = Shown()
    prompt = {"1": node("List"), "4": node("Grow", a=["1", 0]), "5": node("Show", a=["4", 0])}
    async with studio_with(List=source([1, 2], as_list=True), Grow=make_node(outer), Count=count, Show=shown.node()
                           ) as (_, client):
        run = await client.run(prompt)
        history = await client.history(run.prompt_id)
        again = await client.run(prompt)
        second = await client.history(again.prompt_id)
    children = ["4.0.0.1", "4.0.0.2", "4.1.0.1", "4.1.0.2"]
    assert sorted(one for one in run.started if "." in one) == children
    assert sorted(history["outputs"]) == ["4", "4.0.0.2", "4.1.0.2", "5"]
    assert history["outputs"]["4"] == {"outer": [1, 2]}
    assert history["meta"]["4.1.0.2"] == {"node_id": "4.1.0.2", "display_node": "4", "parent_node": "4",
                                          "real_node_id": "4"}
    assert again.started == []
    assert set(second["outputs"]) == {"5"}  # what ran or was sent again: the output node alone
    assert sorted(shown.values) == [1, 1, 2, 2]


async def test_48_what_a_cached_node_of_an_expansion_showed_is_told_when_its_expander_runs_again() -> None:
    shown = Shown()

    def expands(a: Any, other: Any) -> dict[str, Any]:
        graph = GraphBuilder()
        graph.node("Show", a=a)
        return {"result": (a,), "expand": graph.finalize()}

    async with studio_with(Grow=make_node(expands), Show=shown.node()) as (_, client):
        first = await client.run({"1": node("Grow", a=1, other=1), "2": node("Show", a=["1", 0])})
        again = await client.run({"1": node("Grow", a=1, other=2), "2": node("Show", a=["1", 0])})
    assert sorted(first.shown) == sorted(again.shown) == ["1.0.0.1", "2"]
    assert again.shown["1.0.0.1"] == {"shown": ["1"]}
    assert "1.0.0.1" not in again.started


async def test_39_an_input_that_was_not_evaluated_is_a_tuple_for_a_node_that_takes_lists() -> None:
    seen: list[Any] = []

    def check(self: Any, a: Any, b: Any) -> list[str]:
        seen.append(b)
        return ["b"] if b == (None,) else []

    def takes(a: Any, b: Any) -> tuple[()]:
        seen.append(b)
        return ()

    lazy = make_node(takes, output=True, types={"b": ("*", {"lazy": True})}, INPUT_IS_LIST=True,
                     check_lazy_status=check)
    async with studio_with(One=source(1), Lazy=lazy) as (_, client):
        assert (await client.run({"1": node("One"), "2": node("Lazy", a=3, b=["1", 0])})).succeeded
    assert seen == [(None,), [1], [1]]


async def test_an_error_in_a_constructor_tells_no_inputs() -> None:
    class Breaks(make_node(lambda self, a: (a,), output=True)):  # type: ignore[misc]
        def __init__(self) -> None:
            raise ValueError("no")

    async with studio_with(Breaks=Breaks) as (_, client):
        run = await client.run({"1": node("Breaks", a=1)})
    assert run.error["exception_type"] == "ValueError"
    assert run.error["current_inputs"] == {}


async def test_a_class_that_nobody_needs_and_that_does_not_declare_itself_harms_nobody() -> None:
    class Broken(make_node(lambda self, a: (a,))):  # type: ignore[misc]
        @classmethod
        def INPUT_TYPES(cls) -> Any:
            raise ValueError("no")

    shown = Shown()
    async with studio_with(Broken=Broken, One=source(1), Show=shown.node()) as (_, client):
        run = await client.run({"1": node("One"), "2": node("Show", a=["1", 0]), "3": node("Broken", a=1)})
    assert run.succeeded
    assert shown.values == [1]


async def test_an_unknown_class_in_an_expansion_is_a_key_error() -> None:
    def expands(a: Any) -> dict[str, Any]:
        return {"result": (a,), "expand": {"x": {"class_type": "NoSuchClass", "inputs": {}}}}

    async with studio_with(Grow=make_node(expands), Show=Shown().node()) as (_, client):
        run = await client.run({"1": node("Grow", a=1), "2": node("Show", a=["1", 0])})
    assert run.error["exception_type"] == "KeyError"
    assert "NoSuchClass" in run.error["exception_message"]


async def test_49_an_error_inside_an_expansion_names_the_node_of_the_graph() -> None:
    def fail(a: Any) -> tuple[Any]:
        raise ValueError("inside")

    grow = growing(lambda graph, a: (graph.node("Fail", a=a).out(0),))
    async with studio_with(Grow=grow, Fail=make_node(fail), Show=Shown().node()) as (_, client):
        run = await client.run({"4": node("Grow", a=1), "5": node("Show", a=["4", 0])})
    assert (run.error["node_id"], run.error["node_type"]) == ("4", "Grow")
    assert run.error["exception_message"] == "inside\n"


async def test_50_constants_of_an_expansion_are_passed_as_they_are() -> None:
    shown = Shown()
    thing = object()
    taken = shown.node(types={"a": ("INT", {"max": 3})})
    grow = growing(lambda graph, a: (graph.node("Take", a="notint", b=thing).out(0),), output=True)
    async with studio_with(Grow=grow, Take=taken) as (_, client):
        assert (await client.run({"4": node("Grow", a=1)})).succeeded
    assert shown.calls == [{"a": "notint", "b": thing}]


async def test_51_ids_that_exist_already_are_an_error() -> None:
    def grow(a: Any) -> dict[str, Any]:
        return {"result": (["fixed", 0],), "expand": {"fixed": node("Count", a=a)}}

    _, count = counting()
    prompt = {"1": node("List"), "4": node("Grow", a=["1", 0]), "5": node("Show", a=["4", 0])}
    clash = {"fixed": node("Count", a=1), "4": node("Grow", a=["fixed", 0]), "5": node("Show", a=["4", 0])}
    async with studio_with(List=source([1, 2], as_list=True), Grow=make_node(grow), Count=count, Show=Shown().node()
                           ) as (_, client):
        runs = [await client.run(prompt), await client.run(clash)]
    for run in runs:
        assert run.error["exception_type"] == "execution.DuplicateNodeError"
        assert "fixed" in run.error["exception_message"]
        assert run.error["node_id"] == "4"


async def test_52_a_list_output_of_an_expansion_keeps_its_place() -> None:
    """Ours: output 0 is the list and output 1 the constant."""
    grow = growing(lambda graph, a: (graph.node("List").out(0), "constant"), returns=("*", "*"))
    shown = Shown()
    async with studio_with(Grow=grow, List=source([7, 8, 9], as_list=True), Show=shown.node()) as (_, client):
        assert (await client.run({"4": node("Grow", a=1), "5": node("Show", a=["4", 0], b=["4", 1])})).succeeded
    assert shown.calls == [{"a": number, "b": "constant"} for number in (7, 8, 9)]


async def test_53_expansions_work_without_a_cache() -> None:
    def build(graph: GraphBuilder, a: int) -> tuple[Any]:
        kept = graph.node("Count", a=a)
        return (kept.out(0) if a == 0 else graph.node("Grow", a=a - 1).out(0),)

    calls, count = counting()
    shown = Shown()
    prompt = {"4": node("Grow", a=3), "5": node("Show", a=["4", 0])}
    async with studio_with({"cache_none": True}, Grow=growing(build), Count=count, Show=shown.node()) as (_, client):
        for _ in range(2):
            run = await client.run(prompt)
            assert run.succeeded
            assert run.cached == []
    assert calls == [0, 0]
    assert shown.values == [0, 0]


async def test_54_a_semaphore_of_a_class_serves_all_prompts() -> None:
    gate = asyncio.Semaphore(2)
    inside: list[int] = [0, 0]

    async def work(a: Any) -> tuple[Any]:
        async with gate:
            inside[0] += 1
            inside[1] = max(inside)
            await asyncio.sleep(0)
            inside[0] -= 1
        return (a,)

    shown = Shown()
    async with studio_with(List=source([1, 2, 3, 4], as_list=True), Work=make_node(work, NOT_IDEMPOTENT=True),
                           Show=shown.node()) as (_, client):
        for node_id in ("2", "3"):
            prompt = {"1": node("List"), node_id: node("Work", a=["1", 0]), "9": node("Show", a=[node_id, 0])}
            assert (await client.run(prompt)).succeeded
    assert inside == [0, 2]
    assert shown.values == [1, 2, 3, 4] * 2


async def test_55_values_are_passed_by_reference() -> None:
    def change(a: list[int]) -> tuple[Any]:
        a.append(2)
        return (a,)

    shown = Shown()
    prompt = {"1": node("Source"), "2": node("Change", a=["1", 0]), "3": node("Show", a=["2", 0], b=["1", 0])}
    async with studio_with(Source=source([1]), Change=make_node(change), Show=shown.node()) as (_, client):
        assert (await client.run(prompt)).succeeded
    assert shown.calls == [{"a": [1, 2], "b": [1, 2]}]
    assert shown.calls[0]["a"] is shown.calls[0]["b"]


async def test_56_output_node_has_to_be_true_itself() -> None:
    async with studio_with(One=make_node(lambda: (), OUTPUT_NODE=1)) as (_, client):
        refused = await client.refusal({"1": node("One")})
    assert refused["error"]["type"] == "prompt_no_outputs"


async def test_57_output_indices_count_from_the_end_but_not_beyond_it() -> None:
    shown = Shown()
    async with studio_with(Two=source("first", "last"), Show=shown.node()) as (_, client):
        assert (await client.run({"1": node("Two"), "2": node("Show", a=["1", -1])})).succeeded
        refused = [await client.refusal({"1": node("Two"), "2": node("Show", a=["1", index])}) for index in (2, -3)]
    assert shown.values == ["last"]
    for one in refused:
        assert errors_of(one, "2") == [("exception_during_validation", "tuple index out of range")]


async def test_58_a_prompt_without_a_client_is_seen_in_part_by_all() -> None:
    prompt = {"1": node("Block"), "2": node("Show", a=["1", 0]), "3": node("Show", a=["1", 1])}
    async with studio_with(Block=blocking("why"), Show=Shown().node()) as (_, client):
        prompt_id = await client.submit(prompt, client_id=None)
        frames = await client.until("status", status={"exec_info": {"queue_remaining": 0}})
        history = await client.history(prompt_id)
    assert {frame.kind for frame in frames if isinstance(frame, Message)} == {"status", "progress_state",
                                                                            "execution_error"}
    assert Run(prompt_id, frames).error["exception_message"] == "Execution Blocked: why"
    assert history["status"]["status_str"] == "success"
    assert list(history["outputs"]) == ["3"]


async def test_59_a_node_that_failed_never_finishes_in_the_table() -> None:
    def fail(a: Any) -> tuple[Any]:
        raise ValueError("no")

    prompt = {"1": node("Source"), "2": node("Fail", a=["1", 0])}
    async with studio_with(Source=source(1), Fail=make_node(fail, output=True)) as (_, client):
        run = await client.run(prompt)
    rows = run.of("progress_state")[-1]["nodes"]
    assert {node_id: row["state"] for node_id, row in rows.items()} == {"1": "finished", "2": "running"}


async def test_60_targets_of_a_partial_run_are_all_that_runs() -> None:
    """Changed since: old results of other output nodes are not in its history."""
    shown = Shown()
    prompt = {"2": node("Show", a=2), "3": node("Show", a=3)}
    async with studio_with(Show=shown.node()) as (_, client):
        await client.run({"2": prompt["2"]})
        run = await client.run(prompt, partial_execution_targets=["3"])
        history = await client.history(run.prompt_id)
        refused = [await client.refusal(prompt, partial_execution_targets=targets) for targets in ([], ["9"])]
    assert run.started == ["3"]
    assert shown.values == [2, 3]
    assert set(history["outputs"]) == {"3"}
    assert history["prompt"][4] == ["3"]
    assert {one["error"]["type"] for one in refused} == {"prompt_no_outputs"}


# --- the rest ------------------------------------------------------------------------------------------------------


async def test_69_a_node_without_inputs_key() -> None:
    async with studio_with(Show=Shown().node()) as (_, client):
        refused = await client.refusal({"3": {"class_type": "Show"}})
    assert errors_of(refused, "3") == [("exception_during_validation", "'inputs'")]


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])
async def test_70_torch_inside_a_node(is_async: bool) -> None:
    """Off the main thread for plain nodes alone: async ones run on the loop (rulings 3)."""
    import torch

    def state() -> dict[str, Any]:
        return {"inference": torch.is_inference_mode_enabled(), "grad": torch.is_grad_enabled(),
                "main thread": threading.current_thread() is threading.main_thread()}

    async def look() -> dict[str, Any]:
        before = state()
        await asyncio.sleep(0)
        assert before == state() == await asyncio.create_task(in_a_task())
        return {"ui": {"state": [before]}}

    async def in_a_task() -> dict[str, Any]:
        return state()

    def look_plainly() -> dict[str, Any]:
        return {"ui": {"state": [state()]}}

    async with studio_with(Look=make_node(look if is_async else look_plainly, output=True)) as (_, client):
        run = await client.run({"1": node("Look")})
    assert run.shown["1"]["state"] == [{"inference": True, "grad": False, "main thread": is_async}]


class EqualsEverything(str):
    """The type of packs that went too far."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


@pytest.mark.parametrize("constant", [5, "abc", 1.5])
async def test_72_a_type_that_equals_everything_converts_nothing(constant: Any) -> None:
    """Ours, as recommended: only a plain type name converts."""
    shown, show = typed(EqualsEverything("*"))
    async with studio_with(Show=show) as (_, client):
        assert (await client.run({"1": node("Show", a=constant)})).succeeded
    assert shown.values == [constant]
    assert type(shown.values[0]) is type(constant)


async def test_74_ids_of_expansions_belong_to_their_node() -> None:
    meeting = Meeting(2)

    def bare() -> dict[str, Any]:
        graph = GraphBuilder()
        return {"result": (graph.node("Count", a="bare").out(0),), "expand": graph.finalize()}

    async def late(a: Any) -> dict[str, Any]:
        await meeting.join()
        graph = GraphBuilder()
        return {"result": (graph.node("Count", a=a).out(0),), "expand": graph.finalize()}

    calls, count = counting()
    prompt = {"1": node("Bare"), "4": node("Late", a=1), "5": node("Late", a=2), "6": node("Show", a=["1", 0]),
              "7": node("Show", a=["4", 0], b=["5", 0])}
    async with studio_with(Bare=make_node(bare), Late=make_node(late), Count=count, Show=Shown().node()
                           ) as (_, client):
        run = await client.run(prompt)
    assert {one for one in run.started if "." in one} == {"1.0.0.1", "4.0.0.1", "5.0.0.1"}
    assert len(calls) == 3


@pytest.mark.parametrize(("answer", "details"), [("not like this", "not like this"), (False, "")])
async def test_75_a_validator_that_got_no_input_can_still_refuse(answer: Any, details: str) -> None:
    """Changed since: one error that names no input."""
    def check(cls: type, b: Any = None) -> Any:
        return answer

    async with studio_with(Show=Shown().node(VALIDATE_INPUTS=check)) as (_, client):
        refused = await client.refusal({"1": node("Show", a=1)})
    (error,) = refused["node_errors"]["1"]["errors"]
    assert (error["type"], error["details"], error["extra_info"]) == ("custom_validation_failed", details, {})


async def test_a_second_socket_does_not_change_who_is_told() -> None:
    """Row 58's other side: with a client id, nobody else hears of the nodes."""
    async with studio_with(Show=Shown().node()) as (studio, client), connect(studio.url, "client-b") as other:
        await client.run({"1": node("Show", a=1)})
        frames = await StudioClient.until(other, "status", status={"exec_info": {"queue_remaining": 0}})
    assert {frame.kind for frame in frames if isinstance(frame, Message)} == {"status"}
