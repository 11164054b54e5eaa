"""Services of the host that packs look for on the server: they can be read, and calling one says what to use."""

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
