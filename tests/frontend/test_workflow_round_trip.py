"""Saved workflows are made into the same prompts here as by the front end that saved them.

The page builds the workflows (`export_workflows.mjs`), saves each, and says what it would post.
"""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.frontend import programs
from tests.frontend.served_studio import HERE, served_studio
from web.workflow_conversion import convert_workflow

OLD, NEWEST = "1.27.10", "newest"
SECONDS_TO_EXPORT = 55

LATER_EDITORS = "later versions do what is done here"
DIFFERENT_IN_OLD = {
    "mutedNumber": f"an input that a muted node fed is missing, though its widget has a value; {LATER_EDITORS}",
    "mutedReroute": f"a muted reroute passes its input on; {LATER_EDITORS}",
    "mutedSubgraph": f"what is in it runs, unless its own nodes are muted; {LATER_EDITORS}",
    "bypassedSubgraph": f"what is in it runs besides, unless its own nodes are bypassed; {LATER_EDITORS}",
}
WORKFLOWS = (
    "widgets", "titles", "seeds", "primitives", "mutedPrimitive", "reroutes", "mutedReroute", "reroutesOfLinks",
    "notes", "muted", "mutedNumber", "bypassed", "bypassedWithoutInput", "bypassedNumber", "subgraph",
    "subgraphWithLinkedWidget", "subgraphWithWidget", "subgraphsWithinEachOther", "subgraphTwice",
    "subgraphThatPassesOn", "subgraphWithBypassedNode", "bypassedSubgraph", "mutedSubgraph")


@dataclass(frozen=True)
class Exports:
    version: str
    url: str
    classes: dict[str, Any]
    workflows: dict[str, Any]


@pytest.fixture(scope="module", params=[NEWEST, OLD])
def exports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exports]:
    environment = {**os.environ, "CHROMIUM": programs.chromium(), "PLAYWRIGHT_FOLDER": str(programs.playwright())}
    version = programs.newest_version() if request.param == NEWEST else request.param
    with served_studio(tmp_path_factory.mktemp("round_trip") / "base", programs.front_end(version)) as studio:
        generation = "old" if request.param == OLD else "new"
        done = subprocess.run(["node", str(HERE / "export_workflows.mjs"), studio.url, generation], env=environment,
                              text=True, capture_output=True, timeout=SECONDS_TO_EXPORT, check=False)
        assert done.returncode == 0, done.stderr
        with urllib.request.urlopen(f"{studio.url}/object_info") as answer:
            classes = json.load(answer)
        yield Exports(request.param, studio.url, classes, json.loads(done.stdout))


def without_titles(prompt: dict[str, Any]) -> dict[str, Any]:
    return {node_id: {"class_type": node["class_type"], "inputs": node["inputs"]} for node_id, node in prompt.items()}


def test_every_workflow_that_is_built_is_compared(exports: Exports) -> None:
    assert set(exports.workflows) == set(WORKFLOWS)


@pytest.mark.parametrize("name", WORKFLOWS)
@pytest.mark.parametrize("saved", ["file", "kept"])
def test_a_workflow_becomes_the_prompt_that_its_editor_posts(exports: Exports, name: str, saved: str) -> None:
    exported = exports.workflows[name]
    converted = without_titles(convert_workflow(exported[saved], exports.classes.get))
    if exports.version == OLD and name in DIFFERENT_IN_OLD:
        assert converted != without_titles(exported["output"]), f"no longer true: {DIFFERENT_IN_OLD[name]}"
    else:
        assert converted == without_titles(exported["output"])


def test_titles_are_those_of_the_editor(exports: Exports) -> None:
    exported = exports.workflows["titles"]
    assert convert_workflow(exported["file"], exports.classes.get) == exported["output"]


def test_the_server_runs_a_file_as_its_editor_would(exports: Exports) -> None:
    exported = exports.workflows["subgraphsWithinEachOther"]
    request = urllib.request.Request(f"{exports.url}/api/prompt", json.dumps(exported["file"]).encode())
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["node_errors"] == {}
