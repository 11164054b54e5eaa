"""Which nodes of a prompt that comes back may have ended the process: it runs alone until they are over."""

from __future__ import annotations

import msgspec

from execution import HistoryEntry, NodeId, PromptId
from execution.prompt_graph import GraphNode, parse_links
from execution.restored_jobs import suspects_of
from execution.store import NewJob, UnfinishedJob

ORDER = [NodeId(one) for one in ("load", "other", "sample", "decode", "save")]
SOURCES = {"sample": "load", "decode": "sample", "save": "decode"}
OUTPUTS = [NodeId("save")]


def graph() -> dict[NodeId, GraphNode]:
    nodes = {}
    for node_id in ORDER:
        inputs = {"x": [SOURCES[node_id], 0]} if node_id in SOURCES else {}
        nodes[node_id] = GraphNode(node_id, "Any", inputs, parse_links(inputs))
    return nodes


def suspects(*open_nodes: str, attempt: int = 1) -> list[str]:
    left = UnfinishedJob(
        job=NewJob(entry=HistoryEntry(
            prompt_id=PromptId("p"), client_id=None, number=1, prompt=msgspec.Raw(b"{}"), extra_data={},
            outputs_wanted=OUTPUTS, queued_at=1, attempt=attempt), submitted=b"{}"),
        open_nodes=[NodeId(one) for one in open_nodes])
    return [str(one) for one in suspects_of(left, graph(), ORDER, OUTPUTS)]


def test_one_that_never_ran_has_none() -> None:
    assert suspects(attempt=0) == []


def test_what_hangs_on_an_open_node_may_have_started_without_a_record_of_it() -> None:
    assert suspects("sample") == ["sample", "decode", "save"]


def test_a_node_beside_it_is_none() -> None:
    assert suspects("other") == ["other"]


def test_if_no_node_is_known_to_have_started_it_may_have_been_any() -> None:
    assert suspects() == ["save"], "with its outputs it is past all of them"


def test_a_node_of_an_expansion_is_one_although_the_prompt_does_not_know_it() -> None:
    assert suspects("sample.0.1") == ["sample.0.1"]
