"""Every name of the contract can be imported, and does what the table says when it is called."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.packs.contract_names import ABSENT, ABSENT_COROUTINES, ABSENT_NODES, MODULES, OFFERED, OPTIONS
from tests.nodes.packs.pack_process import in_process

CORE_NODES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "core-nodes.json").read_text())

PROGRAM = """
import importlib
import types
from tests.nodes.packs.contract_names import ABSENT, ABSENT_COROUTINES, ABSENT_NODES, MODULES, OFFERED
packs.install()
from nodes.packs.not_offered import NotOffered
import torch

def refusal_of(call):
    try:
        call()
    except NotOffered as error:
        return str(error)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"

answers = {}
for name in [*MODULES.split(), *ABSENT, *OFFERED]:
    try:
        importlib.import_module(name)
        answers[name] = "there"
    except ImportError as error:
        answers[name] = str(error)

for module, names in ABSENT.items():
    for name in names.split():
        found = getattr(importlib.import_module(module), name)
        answers[f"{module}.{name}"] = refusal_of(found)
        if isinstance(found, type):
            Own = type("Own", (found,), {"__init__": lambda self, a: setattr(self, "a", a)})
            assert Own(3).a == 3
import nodes
for name in ABSENT_NODES.split():
    found = getattr(nodes, name)
    node = type("Own", (found,), {})()
    shown = [isinstance(found.INPUT_TYPES()["required"], dict), len(found.RETURN_TYPES) > 0]
    answers[f"nodes.{name}"] = refusal_of(getattr(node, found.FUNCTION)) if all(shown) else "is no node"
for module, names in ABSENT_COROUTINES.items():
    for name in names.split():
        coroutine = getattr(importlib.import_module(module), name)("x") if name.startswith("load") else \\
            getattr(importlib.import_module(module), name)()
        answers[f"{module}.{name}"] = refusal_of(lambda: coroutine.send(None))

class x(types.SimpleNamespace):
    i = torch.rand(1, 3, 9, 11)

known = {"t": torch, "x": x, "tmp": str(packs.base), "loop": asyncio.get_running_loop(),
         **{name.partition(".")[0]: importlib.import_module(name.partition(".")[0]) for name in OFFERED}}
for module, calls in OFFERED.items():
    for expression, _ in calls:
        try:
            answers[expression] = eval(expression, known)
            json.dumps(answers[expression])
        except BaseException as error:
            answers[expression] = f"{type(error).__name__}: {error}"
return answers
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process with packs says of all of them."""
    answers: dict[str, Any] = in_process(tmp_path_factory.mktemp("base"), PROGRAM)
    return answers


@pytest.mark.parametrize("module", sorted({*MODULES.split(), *ABSENT, *OFFERED}))
def test_a_module_can_be_imported(module: str, answers: dict[str, Any]) -> None:
    assert answers[module] == "there"


@pytest.mark.parametrize("name", [f"{module}.{name}" for table in (ABSENT, ABSENT_COROUTINES, {"nodes": ABSENT_NODES})
                                  for module, names in table.items() for name in names.split()])
def test_calling_what_is_not_offered_says_what_it_is_and_what_to_use(name: str, answers: dict[str, Any]) -> None:
    said, _, instead = answers[name].partition(" is not offered by Hanzo Studio: ")
    assert said == name
    assert len(instead.split()) >= 4, "it names something to use instead"


@pytest.mark.parametrize(("expression", "value"), [call for calls in OFFERED.values() for call in calls])
def test_a_name_does_what_it_says(expression: str, value: object, answers: dict[str, Any]) -> None:
    assert answers[expression] == value


def test_built_in_nodes_are_in_the_modules_that_packs_import_them_from(tmp_path: Path) -> None:
    missing = in_process(tmp_path, textwrap.dedent("""
        import importlib
        packs.install()
        from nodes import CATALOGUE
        wanted = json.loads((Path("tests") / "nodes" / "core-nodes.json").read_text())
        missing = []
        for name, entry in wanted.items():
            found = getattr(importlib.import_module(entry["python_module"]), entry["python_class"], None)
            is_ours = name not in CATALOGUE or issubclass(found, CATALOGUE[name])
            if found is None or not is_ours:
                missing.append(name)
        return missing
    """))
    assert missing == []


def test_every_option_of_the_host_is_on_args_filled_from_ours(tmp_path: Path) -> None:
    answer = in_process(tmp_path, f"""
        import server
        from nodes.packs import surface_modules
        surface = surface_modules.install(packs.messages)
        from comfy.cli_args import args
        names = [flag.replace("-", "_") for flag in {OPTIONS.split()!r}]
        without = [name for name in names if not hasattr(args, name)]
        options = server.build_parser().parse_args(
            ["--port", "9000", "--fast", "fp16_accumulation", "--preview-method", "auto", "--cpu",
             "--base-directory", "/somewhere", "--default-hashing-function", "md5"])
        surface_modules.install(packs.messages, options=options)
        import node_helpers
        return [without, [name for name in names if not hasattr(args, name)], args.port,
                [one.value for one in args.fast], args.preview_method.name, args.cpu, args.base_directory,
                node_helpers.hasher()().name]
    """)
    assert answer == [[], [], 9000, ["fp16_accumulation"], "Auto", True, "/somewhere", "md5"]
