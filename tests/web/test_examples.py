"""The page's examples and those to post are the same graphs, and the server would take each of them."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OF_THE_PAGE = ROOT / "web" / "ui" / "examples"
TO_POST = ROOT / "examples" / "workflows"
NAMES = sorted(file.name for file in OF_THE_PAGE.glob("*.json") if file.name != "index.json")


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def test_the_page_lists_all_that_there_are_and_each_can_be_posted() -> None:
    assert sorted(read(OF_THE_PAGE / "index.json")) == NAMES
    assert sorted(file.name for file in TO_POST.glob("*.json")) == NAMES
    assert len(NAMES) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_the_page_and_the_folder_have_the_same_graph(name: str) -> None:
    shown, posted = read(OF_THE_PAGE / name), read(TO_POST / name)
    assert set(posted) == {"prompt"}
    assert posted["prompt"] == shown["prompt"]
    assert set(shown) == {"title", "description", "prompt", "editable"}
    for node, name_of_input, label in shown["editable"]:
        assert not isinstance(shown["prompt"][node]["inputs"][name_of_input], list), "a link cannot be edited"
        assert label
    assert len({label for *_, label in shown["editable"]}) == len(shown["editable"])


@pytest.mark.parametrize("name", NAMES)
async def test_the_server_takes_the_graph_and_knows_what_can_be_edited(serve: Any, name: str) -> None:
    """Each waits behind a prompt that does not end, so none of them runs."""
    async with serve(max_running_prompts=1) as live:
        await live.blocked()
        answer = await live.post("/prompt", read(TO_POST / name))
        assert (answer.status, answer.json().get("node_errors")) == (200, {}), answer.body
        shown = read(OF_THE_PAGE / name)
        for node, name_of_input, _ in shown["editable"]:
            class_type = shown["prompt"][node]["class_type"]
            declared = (await live.get(f"/object_info/{class_type}")).json()[class_type]["input"]
            assert name_of_input in {**declared.get("required", {}), **declared.get("optional", {})}

        spoilt = read(TO_POST / name)["prompt"]
        next(iter(spoilt.values()))["class_type"] += "X"
        assert (await live.submit(spoilt)).status == 400


def test_titles_and_keys_differ() -> None:
    examples = [read(OF_THE_PAGE / name) for name in NAMES]
    assert len({example["title"] for example in examples}) == len(examples)  # the page finds a run's example by it
