"""Services of the host that packs look for: they can be read, and calling one says what to use."""

from pathlib import Path

from tests.nodes.packs.pack_process import in_process


def test_a_service_that_is_not_there_names_itself_when_it_is_asked(tmp_path: Path) -> None:
    answer = in_process(tmp_path, """
        packs.install()
        from nodes.packs.not_offered import NotOffered
        from server import PromptServer
        server, answers = PromptServer.instance, {}
        for name in ("user_manager", "node_replace_manager", "subgraph_manager", "asset_manager"):
            service = getattr(server, name)
            assert service, name
            try:
                service.anything_at_all()
            except NotOffered as error:
                answers[name] = str(error)
        return answers
    """)
    assert set(answer) == {"user_manager", "node_replace_manager", "subgraph_manager", "asset_manager"}
    for name, said in answer.items():
        named, _, instead = said.partition(" is not offered by Hanzo Studio: ")
        assert named == f"PromptServer.{name}.anything_at_all"
        assert len(instead.split()) >= 2, said


def test_each_method_of_the_list_of_nodes_that_wait_names_itself(tmp_path: Path) -> None:
    answer = in_process(tmp_path, """
        packs.install()
        from comfy_execution.graph import ExecutionList
        from nodes.packs.not_offered import NotOffered
        class Own(ExecutionList):
            def __init__(self):
                pass
        calls = {"inhibit_nodes": [["1"]], "add_external_block": ["1"], "release_external_block": ["1", "value"],
                 "get_external_block_result": ["1"], "add_node": ["1"], "add_strong_link": ["1", 0, "2"],
                 "make_input_strong_link": ["2", "a"], "get_ready_nodes": [], "pop_node": ["1"], "is_empty": []}
        answers = {}
        for name, arguments in calls.items():
            for owner, first in ((Own(), []), (ExecutionList, [None])):
                try:
                    getattr(owner, name)(*first, *arguments)
                except NotOffered as error:
                    answers.setdefault(name, []).append(str(error))
        return answers
    """)
    assert len(answer) == 10
    for name, (said, said_by_class) in answer.items():
        named, _, instead = said.partition(" is not offered by Hanzo Studio: ")
        assert named == f"comfy_execution.graph.ExecutionList.{name}"
        assert len(instead.split()) >= 4
        assert said_by_class == said
    assert "async" in answer["add_external_block"][0]
    assert "ExecutionBlocker" in answer["inhibit_nodes"][0]
    assert "TopologicalSort" in answer["add_node"][0]
