from collections.abc import Callable
from typing import Any

from hypothesis import Phase, find, given, settings

from execution.prompt_graph import is_link
from tests.support.random_graphs import CLASSES, LAZY, SHOWING, equal_nodes, prompts, submission_of


def links_of(prompt: dict[str, Any]) -> list[tuple[str, str]]:
    return [(node_id, value[0]) for node_id, entry in prompt.items() for value in entry["inputs"].values()
            if is_link(value)]


@given(prompts())
def test_a_random_prompt_is_valid_and_ends_in_an_output(prompt: dict[str, Any]) -> None:
    ids = list(prompt)
    assert prompt[ids[-1]]["class_type"] in SHOWING
    assert all(ids.index(source) < ids.index(node_id) for node_id, source in links_of(prompt))
    submitted = submission_of(prompt, "p", 7)
    assert list(submitted.scope.nodes) == ids
    assert set(submitted.order) == set(ids)
    assert ids[-1] in submitted.outputs


def test_random_prompts_have_what_makes_scheduling_hard() -> None:
    assert_found(lambda prompt: len(links_of(prompt)) > 6)
    assert_found(lambda prompt: any(len(group) > 1 for group in equal_nodes(prompt)))
    assert_found(lambda prompt: any(is_link(entry["inputs"].get(LAZY[0])) for entry in prompt.values()))
    for class_type in CLASSES:
        assert_found(lambda prompt, wanted=class_type: any(
            entry["class_type"] == wanted for entry in prompt.values()))


def assert_found(is_so: Callable[[dict[str, Any]], bool]) -> None:
    """`find` fails if there is none; it need not be the smallest."""
    find(prompts(), is_so, settings=settings(phases=[Phase.generate], max_examples=3000, database=None))


def test_equal_nodes_are_told_apart_by_class_constants_and_sources() -> None:
    def node(class_type: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": class_type, "inputs": inputs}

    nan = float("nan")
    prompt = {"1": node("Async", a=1), "2": node("Async", a=True), "3": node("Async", a=2),
              "4": node("Plain", a=["1", 0]), "5": node("Plain", a=["2", 0]), "6": node("Plain", a=["3", 0]),
              "7": node("Async", a=nan), "8": node("Async", a=nan),
              "9": node("Named"), "10": node("Named")}
    groups = sorted(sorted(group) for group in equal_nodes(prompt))
    assert groups == [["1", "2"], ["10"], ["3"], ["4", "5"], ["6"], ["7"], ["8"], ["9"]]
