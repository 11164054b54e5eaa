"""`server`, `nodes` and `execution` as packs see them, and as we still see them."""

from pathlib import Path

from tests.nodes.packs.pack_process import in_process, write_packs


def test_packs_find_their_names_on_our_modules(tmp_path: Path) -> None:
    answer = in_process(tmp_path, """
        packs.install()
        import nodes, server
        from server import BinaryEventTypes, PromptServer
        from nodes import MAX_RESOLUTION, NODE_CLASS_MAPPINGS, LoadImage, SaveImage
        star = {}
        exec("from nodes import *", star)
        return {
            "instance": PromptServer.instance is server.PromptServer.instance is packs.surface.prompt_server,
            "number": MAX_RESOLUTION, "text": BinaryEventTypes.TEXT,
            "classes": [NODE_CLASS_MAPPINGS["SaveImage"] is SaveImage, LoadImage.__name__],
            "star": [name in star for name in ("SaveImage", "MAX_RESOLUTION", "NODE_DISPLAY_NAME_MAPPINGS",
                                               "LOADED_MODULE_DIRS", "EXTENSION_WEB_DIRS", "interrupt_processing")],
            "ours in star": "CATALOGUE" in star,
            "dir": [name in dir(nodes) for name in ("NODE_CLASS_MAPPINGS", "CATALOGUE", "Sleep")],
            "missing": hasattr(nodes, "NoSuchSampler"),
        }
    """)
    assert answer == {"instance": True, "number": 16384, "text": 3, "classes": [True, "LoadImage"],
                      "star": [True] * 6, "ours in star": False, "dir": [True] * 3, "missing": False}


def test_what_packs_assign_is_theirs_and_never_ours(tmp_path: Path) -> None:
    answer = in_process(tmp_path, """
        import execution, nodes
        before = {one: dict(vars(one)) for one in (nodes, execution)}
        packs.install()
        lines = []
        logging.getLogger().addHandler(handler := logging.Handler())
        handler.emit = lambda record: lines.append(record.getMessage())

        execution.PromptQueue = "queue of a pack"
        nodes.SaveImage = "class of a pack"
        execution.nodes = nodes
        execution.Engine = "not theirs"
        execution.__all__ = []
        read = [execution.PromptQueue, nodes.SaveImage, execution.nodes is nodes]
        listed = ["PromptQueue" in dir(execution), "PromptQueue" in execution.__all__]
        from execution import Engine, PromptQueue
        from nodes.image_files import SaveImage
        ours = [Engine is before[execution]["Engine"], nodes.CATALOGUE["SaveImage"] is SaveImage]

        del execution.PromptQueue, nodes.SaveImage
        gone = [hasattr(execution, "PromptQueue"), nodes.SaveImage is SaveImage]
        refused = []
        for module, name in ((execution, "Engine"), (nodes, "SaveImage"), (nodes, "nothing_of_the_kind")):
            try:
                delattr(module, name)
            except AttributeError:
                refused.append(name)
        return {
            "read": read, "listed": listed, "imported": PromptQueue, "ours": ours, "gone": gone, "refused": refused,
            "logged": lines, "untouched": all(dict(vars(one)) == before[one] for one in before),
        }
    """)
    assert answer == {
        "read": ["queue of a pack", "class of a pack", True], "listed": [True, True], "imported": "queue of a pack",
        "ours": [True, True], "gone": [False, True], "refused": ["Engine", "SaveImage", "nothing_of_the_kind"],
        "logged": [f"a pack assigned execution.{name}, which is Hanzo Studio's own and stays as it is"
                   for name in ("Engine", "__all__")],
        "untouched": True,
    }


def test_our_modules_can_still_be_imported_piece_by_piece(tmp_path: Path) -> None:
    """Importing a part of a package binds it there, which is no assignment of a pack."""
    assert in_process(tmp_path, """
        import nodes
        packs.install()
        for name in [name for name in sys.modules if name == "nodes.address_guard"]:
            del sys.modules[name]
        vars(nodes).pop("address_guard", None)
        import nodes.address_guard
        return [vars(nodes)["address_guard"].__name__, "address_guard" in nodes.__all__]
    """) == ["nodes.address_guard", False]


def test_installing_twice_starts_afresh_and_removing_leaves_plain_modules(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        import execution, nodes, server
        from types import ModuleType
        from nodes.packs import surface_modules
        folder = str(surface_modules.SURFACE)
        packs.install()
        first, execution.Odd = packs.surface, 1
        packs.install()
        fresh = [hasattr(execution, "Odd"), server.PromptServer.instance is first.prompt_server]
        places = [sys.path.index(folder), sys.path.count(folder)]
        packs.surface.remove()
        plain = [type(one) is ModuleType for one in (server, nodes, execution)]
        execution.ProgressBar = 3
        return [fresh, places, plain, folder in sys.path, hasattr(nodes, "NODE_CLASS_MAPPINGS"),
                vars(execution)["ProgressBar"]]
    """) == [[False, False], [0, 1], [True] * 3, False, False, 3]


def test_a_pack_adds_routes_and_asks_for_the_loop_at_import(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"routes.py": """
        import asyncio
        from server import PromptServer

        @PromptServer.instance.routes.get("/mine")
        async def mine(request): ...

        SAME_LOOP = PromptServer.instance.loop is asyncio.get_running_loop()
        NODE_CLASS_MAPPINGS = {}
    """})
    assert in_process(base, """
        [report] = await packs.load()
        server = packs.surface.prompt_server
        return [report.error, packs.pack("routes").SAME_LOOP, [one.path for one in server.routes], server.port,
                server.address, server.number, server.app]
    """) == [None, True, ["/mine"], 8188, "127.0.0.1", 0, None]


def test_messages_of_packs_reach_the_server_as_they_are(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        from server import BinaryEventTypes, PromptServer
        server = PromptServer.instance
        await asyncio.to_thread(server.send_sync, "mine", {"a": 1})
        server.send_sync("mine", {"a": 2}, "someone")
        await server.send("mine", 3)
        await server.send_json("mine", 4, sid="someone")
        await server.send_bytes(BinaryEventTypes.PREVIEW_IMAGE, b"\\x00\\xff", "someone")
        server.send_progress_text("hé", "7")
        server.send_progress_text(b"raw", "10.0", "someone")
        return packs.messages.sent
    """) == [
        ["mine", {"a": 1}, None], ["mine", {"a": 2}, "someone"], ["mine", 3, None], ["mine", 4, "someone"],
        [1, "00ff", "someone"],
        [3, (b"\0\0\0\x01" + b"7" + "hé".encode()).hex(), None],
        [3, (b"\0\0\0\x04" + b"10.0" + b"raw").hex(), "someone"],
    ]


def test_the_prompt_is_that_of_the_context_else_the_only_one_that_runs(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        from execution import CurrentNodeContext
        from server import PromptServer
        def told():
            server = PromptServer.instance
            return [server.last_prompt_id, server.client_id, server.last_node_id]
        answers = [told()]
        packs.messages.running = ["a"]
        answers.append(told())
        packs.messages.running = ["a", "b"]
        answers.append(told())
        with CurrentNodeContext("b", "5"):
            answers += [told(), await asyncio.to_thread(told)]
        return answers
    """) == [[None] * 3, ["a", "client of a", "node of a"], [None] * 3, *[["b", "client of b", "5"]] * 2]


def test_an_interrupt_means_the_prompt_of_the_context_else_all(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        import nodes
        from comfy.model_management import interrupt_current_processing
        from execution import CurrentNodeContext
        nodes.interrupt_processing(False)
        interrupt_current_processing()
        with CurrentNodeContext("b", "5"):
            nodes.interrupt_processing()
        return packs.messages.interrupted
    """) == [None, "b"]
