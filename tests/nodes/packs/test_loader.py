"""Finding and loading packs: real packs in a folder, imported for real, in a process of their own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.packs.loader import find_packs
from tests.nodes.packs.pack_process import ROOT, in_process, node, pack_of, write_packs

SHOW_REPORTS = """
reports = await packs.load()
return {one.name: [one.node_names, one.error, one.refused_nodes] for one in reports}
"""


# --- finding


@pytest.fixture
def two_folders(tmp_path: Path) -> list[Path]:
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first / "zebra", first / "Ant", first / ".hidden", first / "__pycache__", first / "gone.disabled",
                 second / "bee"):
        path.mkdir(parents=True)
    for name in ("single.py", "notes.txt", "off.py.disabled"):
        (first / name).touch()
    return [first, tmp_path / "missing", second]


def test_packs_are_directories_and_python_files_sorted_folder_by_folder(two_folders: list[Path]) -> None:
    assert [path.name for path in find_packs(two_folders)] == [".hidden", "Ant", "single.py", "zebra", "bee"]


def test_a_list_of_names_leaves_out_all_others(two_folders: list[Path]) -> None:
    assert [path.name for path in find_packs(two_folders, ["single", "bee"])] == ["single.py", "bee"]
    assert [path.name for path in find_packs(two_folders, ["single.py"])] == ["single.py"]
    assert find_packs(two_folders, []) == []


def test_a_folder_that_is_given_twice_is_searched_once(two_folders: list[Path]) -> None:
    assert find_packs([two_folders[0], *two_folders]) == find_packs(two_folders)


def test_a_folder_that_cannot_be_read_is_passed_over(two_folders: list[Path],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Path.iterdir

    def refused(path: Path) -> Iterator[Path]:
        if path == two_folders[0]:
            raise PermissionError(path)
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    assert [path.name for path in find_packs(two_folders)] == ["bee"]


# --- importing


def test_packs_are_imported_on_the_loop_under_the_name_of_their_path(tmp_path: Path) -> None:
    base = write_packs(tmp_path / "a.b", {
        "deep.pack/__init__.py": """
            import asyncio, sys, threading
            from .inner.values import NODE_CLASS_MAPPINGS
            FOUND_ITSELF = sys.modules[__name__].__name__ == __name__
            THREAD = threading.get_ident()
            DONE = []
            async def later():
                DONE.append(1)
            TASK = asyncio.get_running_loop().create_task(later())
        """,
        "deep.pack/inner/__init__.py": "",
        "deep.pack/inner/values.py": "from ..nodes_of_mine import NODE_CLASS_MAPPINGS\n",
        "deep.pack/nodes_of_mine.py": pack_of("Mine"),
        "single.py": pack_of("Single"),
    })
    answer = in_process(base, """
        import threading
        reports = await packs.load()
        deep = packs.pack("deep.pack")
        return {
            "nodes": [one.node_names for one in reports], "failed": [one.error for one in reports],
            "names": [deep.__name__, packs.pack("single").__name__], "found itself": deep.FOUND_ITSELF,
            "thread": deep.THREAD == threading.get_ident(), "task ran": list(deep.DONE),
            "single": packs.registry.get("Single").origin,
            "from": sys.modules["nodes"].NODE_CLASS_MAPPINGS["Mine"].RELATIVE_PYTHON_MODULE,
            "timed": all(one.seconds > 0 for one in reports),
        }
    """)
    folder = str(base / "custom_nodes").replace(".", "_x_")
    assert answer == {
        "nodes": [["Mine"], ["Single"]], "failed": [None, None],
        "names": [f"{folder}/deep_x_pack", f"{folder}/single"], "found itself": True, "thread": True,
        "task ran": [1], "single": "custom_nodes.single", "from": "custom_nodes.deep.pack", "timed": True,
    }


FAILING = {
    "exits": ("import sys; sys.exit(3)", "it raised SystemExit: 3"),
    "cancels": ("import asyncio; raise asyncio.CancelledError", "it raised CancelledError"),
    "raises": ("raise ValueError('no\\n  good')", "it raised ValueError: no good"),
    "unprintable": ("class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E",
                    "it raised E: (E, which cannot be printed)"),
    "lacks": ("import nowhere_to_be_found.part", "it imports the module 'nowhere_to_be_found', which is not installed"),
    "lacks_ours": ("import comfy.no_such_part",
                   "it imports the module 'comfy.no_such_part', which Hanzo Studio does not offer"),
    "empty": ("", "it has neither NODE_CLASS_MAPPINGS nor comfy_entrypoint, so it offers no nodes"),
    "none": ("NODE_CLASS_MAPPINGS = None", "it has neither NODE_CLASS_MAPPINGS nor comfy_entrypoint, "
                                           "so it offers no nodes"),
    "list": ("NODE_CLASS_MAPPINGS = []", "its NODE_CLASS_MAPPINGS is not a dict but a list"),
    "schema": ("async def comfy_entrypoint(): raise RuntimeError('no')", "it raised RuntimeError: no"),
}


def test_a_pack_that_fails_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    files = {f"{name}/__init__.py": source for name, (source, _) in FAILING.items()}
    base = write_packs(tmp_path, {**files, "no_module/readme.txt": "", "a_good.py": pack_of("A"),
                                  "z_good.py": pack_of("Z"), "zz_empty.py": "NODE_CLASS_MAPPINGS = {}",
                                  "half/__init__.py": "from comfy.utils import nothing_of_the_kind",
                                  "words/__init__.py": "def (:"})
    answer = in_process(base, SHOW_REPORTS)
    assert answer["a_good"] == [["A"], None, {}]
    assert answer["z_good"] == [["Z"], None, {}]
    assert answer["zz_empty"] == [[], None, {}]
    assert answer["no_module"][1] == "it has no __init__.py, so it is not a pack"
    assert "'nothing_of_the_kind' from 'comfy.utils'" in answer["half"][1]
    assert answer["half"][1].endswith("and Hanzo Studio does not offer that")
    assert "line 1" in answer["words"][1]
    assert {name: answer[name] for name in FAILING} == {name: [[], error, {}] for name, (_, error) in FAILING.items()}


def test_a_failure_is_logged_with_the_name_of_its_pack_and_the_traceback_inside_it(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"bad/__init__.py": "from . import part", "bad/part.py": "1 / 0"})
    answer = in_process(base, """
        lines = []
        logging.getLogger().addHandler(handler := logging.Handler())
        handler.emit = lambda record: lines.append(record.getMessage())
        [report] = await packs.load()
        return {"lines": lines, "traceback": report.traceback, "stays": packs.pack("bad").__name__}
    """)
    [line] = answer["lines"]
    assert line.startswith("pack bad failed after ")
    assert answer["traceback"] in line
    assert 'part.py", line 1' in answer["traceback"]
    assert "loader.py" not in answer["traceback"]
    assert answer["stays"].endswith("/bad")


def test_an_interrupt_from_the_keyboard_ends_the_start(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"stop.py": "raise KeyboardInterrupt"})
    assert in_process(base, """
        try:
            await packs.load()
        except KeyboardInterrupt:
            return "raised"
    """) == "raised"


def test_one_class_that_is_no_node_fails_alone(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"mixed.py": node("Good") + """
class Bad:
    RETURN_TYPES = ()

NODE_CLASS_MAPPINGS = {"Bad": Bad, 7: Good, "Good": Good}
"""})
    [names, error, refused] = in_process(base, SHOW_REPORTS)["mixed"]
    assert (names, error) == (["Good"], None)
    assert "INPUT_TYPES" in refused["Bad"]
    assert "should be text" in refused["7"]


# --- names


def test_built_in_nodes_stay_but_may_be_shown_under_another_name(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"bold.py": pack_of("SaveImage", "Other") + """
NODE_DISPLAY_NAME_MAPPINGS = {"SaveImage": "Keep It", "Other": "Another One"}
"""})
    answer = in_process(base, """
        [report] = await packs.load()
        import nodes
        from nodes.image_files import SaveImage
        saved = packs.registry.get("SaveImage")
        return {
            "taken": report.node_names, "error": report.error, "origin": saved.origin,
            "ours": saved.create is SaveImage and nodes.NODE_CLASS_MAPPINGS["SaveImage"] is SaveImage,
            "shown": [saved.info()["display_name"], packs.registry.get("Other").info()["display_name"]],
            "still built in": packs.registry.add(packs.registry.get("Other")) and not packs.registry.add(saved),
        }
    """)
    assert answer == {"taken": ["Other"], "error": None, "origin": "nodes", "ours": True,
                      "shown": ["Keep It", "Another One"], "still built in": True}


def test_a_built_in_node_that_is_shown_under_another_name_is_shown_like_before_otherwise(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"shown.py": """
NODE_CLASS_MAPPINGS = {}
NODE_DISPLAY_NAME_MAPPINGS = {"ImageBlend": "Mix", "CropMask": "Cut"}
"""})
    before, after = in_process(base, """
        from nodes import CATALOGUE
        from nodes.packs.node_definitions import define_built_in_node
        names = ["ImageBlend", "CropMask"]
        await packs.load()
        return [[define_built_in_node(name, CATALOGUE[name]).info() for name in names],
                [packs.registry.get(name).info() for name in names]]
    """)
    assert [one["display_name"] for one in after] == ["Mix", "Cut"]
    assert [{**one, "display_name": None} for one in after] == [{**one, "display_name": None} for one in before]


def test_between_packs_the_last_one_wins(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"a.py": pack_of("Same"), "b.py": pack_of("Same")})
    assert in_process(base, """
        await packs.load()
        return packs.registry.get("Same").origin
    """) == "custom_nodes.b"


def test_a_pack_may_write_into_the_table_of_all_nodes(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {
        "a.py": node("Written") + "import nodes\nnodes.NODE_CLASS_MAPPINGS['Written'] = Written\n"
                                  "nodes.NODE_DISPLAY_NAME_MAPPINGS['Written'] = 'By Hand'\nNODE_CLASS_MAPPINGS = {}",
        "b.py": "import nodes\nNODE_CLASS_MAPPINGS = {'Again': nodes.NODE_CLASS_MAPPINGS['Written']}",
        "c.py": "import nodes\nnodes.NODE_CLASS_MAPPINGS = 3\nNODE_CLASS_MAPPINGS = {}",
        "d.py": pack_of("After"),
    })
    assert in_process(base, """
        reports = await packs.load()
        shown = packs.registry.get("Written").info()["display_name"]
        return [[one.node_names for one in reports], [one.error for one in reports], shown]
    """) == [[["Written"], ["Again"], [], ["After"]], [None] * 4, "By Hand"]


def test_a_pack_does_not_become_the_owner_of_a_built_in_class(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"alias.py": "import nodes\nNODE_CLASS_MAPPINGS = {'Mine': nodes.SaveImage}"})
    assert in_process(base, """
        await packs.load()
        from nodes.image_files import SaveImage
        return [packs.registry.get("Mine").origin, hasattr(SaveImage, "RELATIVE_PYTHON_MODULE")]
    """) == ["custom_nodes.alias", False]


def test_a_node_that_returns_what_a_schema_node_gave_it_gives_the_same(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"borrowed.py": """
import nodes
from comfy_api.latest import io, ui
from comfy_extras.nodes_string import StringLength


class Longer(StringLength):
    pass


class Shown:
    RETURN_TYPES = ("INT",)
    FUNCTION = "run"
    INPUT_TYPES = classmethod(lambda cls: {"required": {}})

    def run(self):
        return io.NodeOutput(1, ui=ui.PreviewText("seen"))


class Blocked(Shown):
    def run(self):
        return io.NodeOutput(block_execution="why")


NODE_CLASS_MAPPINGS = {"Longer": Longer, "Same": nodes.NODE_CLASS_MAPPINGS["StringLength"], "Shown": Shown,
                       "Blocked": Blocked}
"""})
    assert in_process(base, """
        await packs.load()
        def result(name, **inputs):
            definition = packs.registry.get(name)
            return definition.read_result(definition.function(definition.create())(**inputs))
        shown, blocked = result("Shown"), result("Blocked")
        return [list(result("Longer", string="abc").outputs), list(result("Same", string="ab").outputs),
                list(shown.outputs), list(shown.ui["text"]), blocked.blocker.message,
                dict(packs.registry.get("Same").needs), dict(packs.registry.get("Longer").needs),
                packs.registry.get("StringLength").create().RESOURCES]
    """) == [[3], [2], [1], ["seen"], "why", {"cpu": 1}, {"gpu": 1}, {"cpu": 1}]


def test_folders_of_packs_and_their_files_for_the_browser_are_noted(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {
        "webby/__init__.py": "WEB_DIRECTORY = './js'\nNODE_CLASS_MAPPINGS = {}",
        "webby/js/a.js": "", "webby/dist/b.js": "",
        "webby/pyproject.toml": "[project]\nname = 'webby-project'\n[tool.comfy]\nweb = 'dist'\n",
        "broken/__init__.py": "WEB_DIRECTORY = 'missing'\nNODE_CLASS_MAPPINGS = {}", "broken/pyproject.toml": "[[",
    })
    answer = in_process(base, """
        reports = await packs.load()
        return [[one.error for one in reports], packs.surface.web_directories, packs.surface.module_directories]
    """)
    folder = base / "custom_nodes"
    assert answer == [[None, None],
                      {"webby-project": str(folder / "webby/dist"), "webby": str(folder / "webby/js")},
                      {"broken": str(folder / "broken"), "webby": str(folder / "webby")}]


# --- before anything else


def test_prestartup_scripts_run_before_torch_and_may_fail(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {
        "a/prestartup_script.py": "import sys\nsys.exit(1)", "a/__init__.py": "NODE_CLASS_MAPPINGS = {}",
        "b/prestartup_script.py": "import folder_paths, sys\nBASE = folder_paths.base_path\n"
                                  "TORCH = 'torch' in sys.modules or 'aiohttp' in sys.modules",
        "c.py": "",
    })
    answer = in_process(base, """
        from nodes.packs import loader, model_folders
        reports = loader.run_prestartup_scripts(loader.find_packs(model_folders.pack_folders()))
        script = packs.pack("b/prestartup_script")
        return [[[one.name, one.error] for one in reports], script.BASE, script.TORCH]
    """)
    assert answer == [[["a", "it raised SystemExit: 1"], ["b", None]], str(base), False]


def test_a_process_without_packs_never_loads_the_surface(tmp_path: Path) -> None:
    (tmp_path / "custom_nodes").mkdir()
    assert in_process(tmp_path, """
        import execution, nodes, server
        from types import ModuleType
        from nodes.packs import loader, model_folders
        found = loader.find_packs(model_folders.pack_folders())
        loader.run_prestartup_scripts(found)
        loaded = [name for name, module in sys.modules.items()
                  if "surface" in name or "packs/surface" in (getattr(module, "__file__", None) or "")]
        plain = all(type(one) is ModuleType for one in (server, nodes, execution))
        return [found, loaded, [one for one in sys.path if "surface" in one], plain]
    """) == [[], [], [], True]


def test_each_name_of_the_surface_is_found_by_an_import_from_anywhere(tmp_path: Path) -> None:
    """From another working directory too: nothing depends on where the server was started."""
    source = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'nodes/packs/surface')!r}]\n"
    source += "\n".join(f"import {name}" for name in (
        "comfy.utils", "comfy.model_management", "comfy_execution.graph", "comfy_execution.graph_utils",
        "comfy_execution.utils", "comfy_execution.progress", "folder_paths", "nest_asyncio"))
    source += "\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "error", "-c", source], cwd=tmp_path, capture_output=True, text=True,
                          timeout=50, check=False)
    assert done.returncode == 0, done.stderr
