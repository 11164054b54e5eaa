"""Loading one pack anew while the server runs: what replaces what, and what stays when it fails."""

from pathlib import Path

from tests.nodes.packs.pack_process import in_process, node, pack_of, write_packs


def test_the_nodes_of_a_reloaded_pack_are_replaced_and_those_it_dropped_are_gone(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {
        "mine/__init__.py": "from .part import NODE_CLASS_MAPPINGS\nWEB_DIRECTORY = 'js'",
        "mine/part.py": pack_of("Kept", "Dropped"), "mine/js/a.js": "",
        "other.py": pack_of("Other"),
    })
    answer = in_process(base, f"""
        forgotten = []
        shelf = await packs.load_shelf(prompts_forget=lambda: forgotten.append(1))
        old = packs.registry.get("Kept")
        web = dict(shelf.web_directories)
        folder = packs.base / "custom_nodes" / "mine"
        (folder / "part.py").write_text({(node("Kept") + node("Added") + '''
NODE_CLASS_MAPPINGS = {"Kept": Kept, "Added": Added}
''')!r})
        (folder / "__init__.py").write_text("from .part import NODE_CLASS_MAPPINGS")
        report = await shelf.reload("mine")
        import nodes
        new = packs.registry.get("Kept")
        return {{
            "report": [report.state, report.error, report.node_names, report.notes],
            "listed": [[one.name, one.node_names] for one in shelf.reports()],
            "is new": new is not old and new.create is packs.pack("mine").NODE_CLASS_MAPPINGS["Kept"],
            "old one works": old.create().run(),
            "there": [name in packs.registry for name in ("Kept", "Added", "Dropped", "Other", "SaveImage")],
            "tables": ["Dropped" in nodes.NODE_CLASS_MAPPINGS,
                       nodes.NODE_CLASS_MAPPINGS["Kept"] is new.create],
            "web": [list(web), list(shelf.web_directories)], "forgotten": forgotten,
        }}
    """)
    assert answer == {
        "report": ["loaded", None, ["Kept", "Added"], []],
        "listed": [["other", ["Other"]], ["mine", ["Kept", "Added"]]],
        "is new": True, "old one works": [1], "there": [True, True, False, True, True], "tables": [False, True],
        "web": [["mine"], []], "forgotten": [1],
    }


def test_an_edit_of_the_same_size_within_a_second_is_seen(tmp_path: Path) -> None:
    """Python would take the compiled file for new."""
    base = write_packs(tmp_path, {"mine/__init__.py": "from .part import VALUE\nNODE_CLASS_MAPPINGS = {}",
                                  "mine/part.py": "VALUE = 1"})
    assert in_process(base, """
        import os
        shelf = await packs.load_shelf()
        part = packs.base / "custom_nodes" / "mine" / "part.py"
        times = part.stat()
        part.write_text("VALUE = 2")
        os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
        await shelf.reload("mine")
        return packs.pack("mine").VALUE
    """) == 2


def test_when_the_new_code_fails_the_old_stays_as_if_nothing_had_happened(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"mine/__init__.py": "from . import part\n" + pack_of("Mine"),
                                  "mine/part.py": "X = 1"})
    answer = in_process(base, """
        forgotten = []
        shelf = await packs.load_shelf(prompts_forget=lambda: forgotten.append(1))
        import nodes
        old, module = packs.registry.get("Mine"), packs.pack("mine")
        tables = [dict(nodes.NODE_CLASS_MAPPINGS), dict(nodes.NODE_DISPLAY_NAME_MAPPINGS)]
        (packs.base / "custom_nodes" / "mine" / "__init__.py").write_text("\\n".join([
            "import nodes", "from . import part, another", "nodes.NODE_CLASS_MAPPINGS['SaveImage'] = int",
            "nodes.NODE_DISPLAY_NAME_MAPPINGS['Mine'] = 'Other'", "import comfy.utils",
            "comfy.utils.nothing_of_the_kind"]))
        (packs.base / "custom_nodes" / "mine" / "another.py").write_text("")
        report = await shelf.reload("mine")
        again = packs.pack("mine")
        return {
            "report": [report.state, report.error, report.missing_name, report.node_names],
            "listed": [[one.state, one.error, one.reload_error == report.error] for one in shelf.reports()],
            "same": [packs.registry.get("Mine") is old, again is module, sys.modules[module.__name__ + ".part"].X],
            "half": module.__name__ + ".another" in sys.modules,
            "tables": [dict(nodes.NODE_CLASS_MAPPINGS), dict(nodes.NODE_DISPLAY_NAME_MAPPINGS)] == tables,
            "forgotten": forgotten,
        }
    """)
    assert answer == {
        "report": ["failed", "it raised AttributeError: module 'comfy.utils' has no attribute 'nothing_of_the_kind'",
                   "comfy.utils.nothing_of_the_kind", ["Mine"]],
        "listed": [["loaded", None, True]], "same": [True, True, 1], "half": False, "tables": True, "forgotten": [],
    }


def test_a_pack_that_failed_and_one_that_came_later_can_be_loaded(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"bad/__init__.py": "1 / 0", "off.py.disabled": ""})
    answer = in_process(base, f"""
        from nodes.packs.pack_shelf import NoSuchPack
        shelf = await packs.load_shelf()
        folder = packs.base / "custom_nodes"
        (folder / "bad" / "__init__.py").write_text({pack_of("Good")!r})
        (folder / "late").mkdir()
        (folder / "late" / "__init__.py").write_text({pack_of("Late")!r})
        (folder / "late" / "prestartup_script.py").write_text("")
        before = [[one.name, one.state] for one in shelf.listing()]
        reports = [await shelf.reload("bad"), await shelf.reload("late")]
        refused = []
        for name in ("off", "nowhere", "../custom_nodes", ""):
            try:
                await shelf.reload(name)
            except NoSuchPack as error:
                refused.append(str(error))
        return [before, [[one.node_names, one.error, one.notes] for one in reports], refused,
                [[one.name, one.state] for one in shelf.listing()]]
    """)
    assert answer == [
        [["bad", "failed"], ["off", "disabled"], ["late", "new"]],
        [[["Good"], None, []], [["Late"], None, ["Its prestartup_script.py runs at the next start of the server."]]],
        ["The pack off is disabled; enable it first.", "There is no pack nowhere.",
         "There is no pack ../custom_nodes.", "There is no pack ."],
        [["bad", "loaded"], ["late", "loaded"], ["off", "disabled"]],
    ]


def test_a_node_that_a_pack_gives_up_is_that_of_the_pack_before_again(tmp_path: Path) -> None:
    shown = "NODE_DISPLAY_NAME_MAPPINGS = {'SaveImage': 'Keep It'}"
    base = write_packs(tmp_path, {"a.py": pack_of("Same"), "b.py": pack_of("Same") + shown})
    assert in_process(base, """
        shelf = await packs.load_shelf()
        def now():
            return [packs.registry.get("Same").origin, packs.registry.get("SaveImage").info()["display_name"]]
        before = now()
        (packs.base / "custom_nodes" / "b.py").write_text("NODE_CLASS_MAPPINGS = {}")
        await shelf.reload("b")
        import nodes
        return [before[0], before[1], now()[0], now()[1] == "Keep It",
                nodes.NODE_CLASS_MAPPINGS["Same"] is packs.pack("a").Same]
    """) == ["custom_nodes.b", "Keep It", "custom_nodes.a", False, True]


def test_code_that_is_imported_anew_finds_the_running_loop_and_its_tasks_run_there(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"mine.py": """
        import asyncio, threading
        NODE_CLASS_MAPPINGS = {}
        THREAD = threading.get_ident()
        LOOP = asyncio.get_running_loop()
        RAN_ON = []
        async def later():
            RAN_ON.append(threading.get_ident())
        TASK = asyncio.create_task(later())
        LOOP.call_soon(RAN_ON.append, 0)
        try:
            coroutine = later()
            asyncio.run(coroutine)
        except RuntimeError as error:
            coroutine.close()
            REFUSED = str(error)
    """})
    answer = in_process(base, """
        import threading
        shelf = await packs.load_shelf()
        [report] = [await shelf.reload("mine")]
        mine, here = packs.pack("mine"), threading.get_ident()
        await mine.TASK
        await mine.LOOP.create_task(mine.later())
        return [report.error, mine.THREAD == here, [one == here for one in mine.RAN_ON if one], 0 in mine.RAN_ON,
                mine.REFUSED]
    """)
    assert answer == [None, False, [True, True], True, "asyncio.run() cannot be called from a running event loop"]


def test_an_import_that_hangs_is_given_up_and_told_where_it_is(tmp_path: Path) -> None:
    """The old nodes stay, and others wait until its thread ends; then it can be tried again."""
    base = write_packs(tmp_path, {"mine/__init__.py": pack_of("Mine"), "mine/part.py": "",
                                  "other.py": pack_of("Other")})
    answer = in_process(base, f"""
        import asyncio, builtins, threading
        from nodes.packs.pack_shelf import ReloadInProgress
        shelf = await packs.load_shelf(import_seconds=0.2)
        builtins.door = threading.Event()
        old, module = packs.registry.get("Mine"), packs.pack("mine")
        mine = packs.base / "custom_nodes" / "mine"
        (mine / "part.py").write_text("def wait():\\n    door.wait()\\nwait()\\n")
        (mine / "__init__.py").write_text("from . import part\\n" + {pack_of("Mine", "More")!r})
        report = await shelf.reload("mine")
        try:
            await shelf.reload("other")
            busy = None
        except ReloadInProgress as error:
            busy = str(error)
        stays = packs.registry.get("Mine") is old
        door.set()
        while packs.pack("mine") is not module:
            await asyncio.sleep(0)
        shelf._import_seconds = 30
        after = await shelf.reload("other")
        (mine / "part.py").write_text("")
        again = await shelf.reload("mine")
        return [report.error, busy.partition(" for ")[0].rstrip("."), stays, after.error, again.node_names]
    """)
    assert answer == [
        "its import does not end: after 0.2 seconds it is at part.py line 2 in wait",
        "Another pack is being loaded: loading pack mine", True, None, ["Mine", "More"],
    ]


def test_routes_of_a_reloaded_pack_need_a_restart_and_it_says_so(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"mine.py": """
        from aiohttp import web
        from server import PromptServer
        NODE_CLASS_MAPPINGS = {}
        async def answer(request):
            return web.Response()
        WAY = 0
        if WAY == 0:
            PromptServer.instance.routes.get("/mine")(answer)
        elif PromptServer.instance.app is not None:
            PromptServer.instance.app.router.add_get("/mine", answer)
    """})
    answer = in_process(base, """
        shelf = await packs.load_shelf()
        first = await shelf.reload("mine")
        path = packs.base / "custom_nodes" / "mine.py"
        path.write_text(path.read_text().replace("WAY = 0", "WAY = 1"))
        second = await shelf.reload("mine")
        return [first.error, first.notes, second.error, second.notes]
    """)
    note = ["Its routes need a restart of the server; those from before still answer."]
    assert answer == [None, note, None, note]


def test_names_that_are_left_out_are_taken_from_nobody(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"mine.py": pack_of("Mine", "Unwanted")})
    assert in_process(base, """
        shelf = await packs.load_shelf(left_out=["Unwanted", "SaveImage"])
        return [shelf.reports()[0].node_names, "Unwanted" in packs.registry, "SaveImage" in packs.registry]
    """) == [["Mine"], False, False]


def test_what_may_not_load_is_listed_as_disabled_and_cannot_be_reloaded(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"mine.py": pack_of("Mine"), "other.py": pack_of("Other")})
    assert in_process(base, """
        from nodes.packs.pack_shelf import NoSuchPack
        shelf = await packs.load_shelf(only=["mine"])
        try:
            await shelf.reload("other")
        except NoSuchPack as error:
            return [str(error), [[one.name, one.state] for one in shelf.listing()]]
    """) == ["The pack other is disabled; enable it first.", [["mine", "loaded"], ["other", "disabled"]]]
