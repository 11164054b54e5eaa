"""Names that are found by the import finder: other names of the same modules, and modules that are no files."""

from pathlib import Path

from tests.nodes.packs.pack_process import in_process, pack_of, write_packs


def test_names_of_the_studio_are_the_same_modules_with_their_class_names_too(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        import comfy.utils, comfy.comfy_types.node_typing, comfy_execution.graph_utils, comfy_extras.nodes_mask
        import studio, studio.utils, studio_execution.graph_utils, studio_extras.nodes_mask
        from studio.studio_types import IO, StudioNodeABC
        from studio.studio_types.node_typing import StudioNodeABC as again
        from comfy.comfy_types import ComfyNodeABC
        import studio.sd, studio.ldm.modules.attention
        spec = comfy.utils.__spec__
        return [studio is comfy, studio.utils is comfy.utils,
                studio_execution.graph_utils is comfy_execution.graph_utils,
                studio_extras.nodes_mask is comfy_extras.nodes_mask, StudioNodeABC is ComfyNodeABC is again,
                IO is comfy.comfy_types.IO, studio.sd is sys.modules["comfy.sd"], spec.name, comfy.utils.__name__,
                hasattr(comfy.utils, "__path__")]
    """) == [True] * 7 + ["comfy.utils"] * 2 + [False]


def test_a_module_that_there_is_not_is_missed_by_the_name_that_was_asked_for(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        missing = []
        for name in ("studio.nothing", "studio_nothing", "comfy.nothing", "comfy_extras.nodes_nothing", "comfy.sd.part",
                     "custom_nodes.nothing", "model_management.part"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                missing.append(error.name)
        for module in ("comfy.utils", "studio.utils", "comfy.sd", "nodes"):
            try:
                exec(f"from {module} import nothing")
            except ImportError as error:
                missing.append(error.name)
        return missing
    """) == ["studio.nothing", "studio_nothing", "comfy.nothing", "comfy_extras.nodes_nothing", "comfy.sd.part",
             "custom_nodes.nothing", "model_management.part", "comfy.utils", "comfy.utils", "comfy.sd", "nodes"]


def test_a_pack_is_imported_by_its_folder_without_a_second_copy(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {
        "first/__init__.py": "COUNT = []\nCOUNT.append(1)\nfrom . import part\n" + pack_of("First"),
        "first/part.py": "VALUE = object()\n",
        "second.py": "import custom_nodes.first\nfrom custom_nodes.first.part import VALUE\n"
                     "COUNT = custom_nodes.first.COUNT\n" + pack_of("Second"),
        "third/__init__.py": "import custom_nodes.third as me\nimport custom_nodes.third.late\n"
                             "import sys\nSAME = me is sys.modules[__name__]\n" + pack_of("Third"),
        "third/late.py": "VALUE = 3\n",
    })
    assert in_process(base, """
        reports = await packs.load()
        first, second, third = packs.pack("first"), packs.pack("second"), packs.pack("third")
        return [[one.error for one in reports], second.COUNT is first.COUNT, len(first.COUNT),
                second.VALUE is first.part.VALUE, third.SAME, third.late.VALUE]
    """) == [[None] * 3, True, 1, True, True, 3]


def test_old_names_and_star_imports_work_as_packs_write_them(tmp_path: Path) -> None:
    base = write_packs(tmp_path, {"old.py": """
        import model_management
        from model_management import get_torch_device
        from nodes import *
        from execution import *
        import nodes
        nodes.EXTENSION_WEB_DIRS["mine"] = "/somewhere"
        nodes.NODE_CLASS_MAPPINGS["Mine"] = type("Mine", (EmptyImage,), {})
        nodes.NODE_CLASS_MAPPINGS = {**nodes.NODE_CLASS_MAPPINGS, "Other": type("Other", (SaveImage,), {})}
        NAMES = [MAX_RESOLUTION, PromptQueue.__name__, ConditioningCombine.__name__, KSampler.FUNCTION]
        NODE_CLASS_MAPPINGS = {}
    """})
    assert in_process(base, """
        [report] = await packs.load()
        import comfy.model_management
        old = packs.pack("old")
        return [report.error, report.node_names, old.NAMES, packs.surface.web_directories,
                old.model_management is comfy.model_management]
    """) == [None, ["Mine", "Other"], [16384, "PromptQueue", "ConditioningCombine", "sample"],
             {"mine": "/somewhere"}, True]


def test_the_finder_goes_with_the_surface(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        from nodes.packs.name_finder import NameFinder
        packs.install()
        packs.install()
        before = [type(one) is NameFinder for one in sys.meta_path].count(True)
        packs.surface.remove()
        return [before, any(isinstance(one, NameFinder) for one in sys.meta_path)]
    """) == [1, False]


def test_what_packs_replaced_on_classes_is_taken_back(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        import execution, server
        original = execution.PromptQueue.put
        execution.PromptQueue.put = lambda self, item: None
        server.PromptServer.send_sync = None
        packs.install()
        return [execution.PromptQueue.put is original, callable(server.PromptServer.send_sync)]
    """) == [True, True]


def test_schema_nodes_called_as_a_library_return_a_node_output(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        from comfy_extras.nodes_string import StringConcatenate
        from comfy_extras.nodes_primitive import Int
        joined = StringConcatenate.execute("a", "b", delimiter="-")
        return [list(joined.args), list(Int.execute(3).args), type(joined).__name__]
    """) == [["a-b"], [3], "NodeOutput"]


def test_a_schema_node_looked_up_in_the_table_of_all_nodes_is_the_one_of_its_module(tmp_path: Path) -> None:
    assert in_process(tmp_path, """
        packs.install()
        import nodes
        from comfy_extras.nodes_string import StringLength
        found = nodes.NODE_CLASS_MAPPINGS["StringLength"]
        return [found is StringLength, found.execute("abc").result[0], getattr(found(), found.FUNCTION)("ab")[0],
                nodes.NODE_CLASS_MAPPINGS["SaveImage"] is nodes.SaveImage, found.RELATIVE_PYTHON_MODULE]
    """) == [True, 3, 2, True, "comfy_extras.nodes_string"]
