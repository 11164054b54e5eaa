"""The copy of a prompt that authors may change."""

from execution import NodeId, PromptId, PromptScope
from nodes.packs.dynamic_prompt import DynamicPrompt


def test_a_change_of_the_copy_reaches_nothing_of_the_prompt_and_every_node_gets_the_same_copy() -> None:
    table = {"rows": [[1, 2], {"deep": ["text", None, 1.5, True]}]}
    submitted = {"1": {"class_type": "A", "inputs": {"link": ["2", 0], "table": table, "data": {1, 2}}},
                 "2": {"class_type": "B", "inputs": {}}}
    scope = PromptScope(PromptId("p"), submitted, {}, {}, {}, {})
    scope.fingerprints[NodeId("2")] = [5]
    prompt = DynamicPrompt.of(scope)
    assert prompt is DynamicPrompt.of(scope)
    assert prompt.original_prompt["1"] == submitted["1"]
    assert prompt.get_node("2") == {"class_type": "B", "inputs": {}, "is_changed": [5]}
    inputs = prompt.get_node("1")["inputs"]
    inputs["link"][0] = "9"
    inputs["table"]["rows"][1]["deep"].append("more")
    inputs["data"].add(3)
    assert submitted["1"]["inputs"] == {"link": ["2", 0], "data": {1, 2},
                                        "table": {"rows": [[1, 2], {"deep": ["text", None, 1.5, True]}]}}
    assert "is_changed" not in submitted["2"]
