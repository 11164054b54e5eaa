"""The repository guards its own shape: which room may know which, read from the imports by ast.

The rooms and their layers are explained in docs/design.md. A new file in execution/ gets its row in LAYERS.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS: dict[str, set[str]] = {
    "words": {"identifiers", "errors", "events", "run_rules"},
    "contracts": {"node_values", "node_interface", "node_context", "node_registry", "prompt_graph", "node_errors",
                  "graph_builder", "validation", "signatures", "value_size", "call_slices"},
    "decisions": {"stimuli", "commands", "resource_pools", "token_queues", "output_cache", "prompt_run",
                  "pending_prompts", "call_chains", "scheduler"},
    "effects": {"clock", "node_caller", "node_code", "node_hooks", "node_instances", "node_lanes", "progress",
                "event_broadcast", "event_journal", "call_watch", "failpoints", "restored_jobs", "loop_watchdog",
                "store", "disk_tier", "slower_tiers", "engine"},
}
"""The files of execution/ by layer; an import goes to the same layer or to one above it in this list."""

OUR_ROOMS = {"execution", "nodes", "web", "server"}
PURE = {"words", "contracts", "decisions"}
"""Layers that need nothing but the standard library and msgspec."""
NOT_IN: dict[str, set[str]] = {
    "words": {"asyncio"},
    "contracts": {"asyncio"},
    "decisions": {"asyncio", "threading", "time", "random", "logging"},
    "effects": {"aiohttp"},
}

HEAVY = {"torch", "numpy", "PIL", "av"}
"""What takes long to import: the port must be open, and the nodes listed, before it is there."""
SURFACE = "nodes/packs/surface/"
"""Names that packs import: their file names and imports are not ours to choose."""

DOORS_FOR_NODES = {"execution"}
"""Modules of execution/ that nodes/ may import from."""

CALLERS_OF_NODES = {"execution/node_caller.py", "execution/node_code.py"}
CODE_OF_NODES = {"function", "create", "lazy_check", "describe"}
"""Attributes of a NodeDefinition that run code of the node when they are called."""
HOOKS_OF_NODES = {"validate", "fingerprint"}
"""Attributes of a NodeDefinition whose `.call` runs code of the node."""

NAMES_OF_A_GENERATION = re.compile(
    r"INPUT_TYPES|RETURN_TYPES|NODE_CLASS_MAPPINGS|define_schema|(?i:comfy)|(?i:match_?type)|_V\d\b")
WORDS_OF_OTHERS = {"auth_token_comfy_org", "api_key_comfy_org", "_comfy_cache_tensors",
                   "_DYNAMICCOMBO_V3", "_DYNAMICGROUP_V3", "_DYNAMICSLOT_V3",
                   "Comfy-Usage-Source", "comfy_usage_source",
                   "Comfy-User", "comfy-user", "comfy.settings.json",
                   "comfyui", "comfyui-frontend-package", "comfyui-workflow-templates", "comfyui-embedded-docs",
                   "--comfy-api-base", "--disable-comfy-compiler"}
"""Keys that clients send or read, what values are asked for, and options of start scripts, under these names."""

SECOND_LOOPS = re.compile(
    r"(asyncio|uvloop)\.(run|Runner|new_event_loop|set_event_loop)|.*\.run_(until_complete|forever)")
VAGUE_WORDS = {"util", "utils", "helper", "helpers", "misc", "common", "manager", "managers", "stuff"}


class Import(NamedTuple):
    """One imported module, and whether importing the file imports it at once."""

    module: str
    names: tuple[str, ...]
    line: int
    is_at_once: bool


def python_files(*rooms: str) -> list[Path]:
    found: list[Path] = []
    for room in rooms:
        path = ROOT / room
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.is_file() else []
    return found


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_of(path: Path) -> list[Import]:
    """Every import of a file, in functions and for type checkers too, relative ones made absolute."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found: list[Import] = []

    def visit(node: ast.AST, is_at_once: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, (), node.lineno, is_at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.append(Import(module, tuple(alias.name for alias in node.names), node.lineno, is_at_once))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            is_at_once = False
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                visit(child, False)
            for child in node.orelse:
                visit(child, is_at_once)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, is_at_once)

    visit(parse(path), True)
    return found


def engine_modules_of(one: Import) -> set[str]:
    """The files of execution/ that an import names, by `from . import x` too; '' is the package itself."""
    head, *rest = one.module.split(".")
    if head != "execution":
        return set()
    if rest:
        return {rest[0]}
    known = set().union(*LAYERS.values())
    return {name if name in known else "" for name in one.names} or {""}


def layer_of(module: str) -> str | None:
    return next((layer for layer, modules in LAYERS.items() if module in modules), None)


def engine_files() -> Iterator[tuple[Path, str, str]]:
    """Files of execution/ with module and layer; the package's own `__init__` stands above the layers."""
    for path in python_files("execution"):
        module = path.relative_to(ROOT / "execution").with_suffix("").parts[0]
        if module != "__init__":
            yield path, module, layer_of(module) or ""


def without_docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node of a file but strings that stand alone as statements: they are for readers."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        yield node
        stack.extend(ast.iter_child_nodes(node))


def assert_none(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


# execution/: the layers


def test_every_file_of_the_engine_has_a_layer() -> None:
    assert_none([
        f"{shown(path)} is in no layer: add {module!r} to one of LAYERS in tests/test_architecture.py, "
        "and to the map in docs/design.md"
        for path, module, layer in engine_files() if not layer
    ])


def test_imports_of_the_engine_point_only_upward() -> None:
    order = list(LAYERS)
    problems = []
    for path, module, layer in engine_files():
        for one in imports_of(path):
            for target in engine_modules_of(one) - {module}:
                where = f"{shown(path)}:{one.line}"
                if target == "":
                    problems.append(f"{where} imports the package `execution`, which imports this file")
                elif (above := layer_of(target)) is None:
                    problems.append(f"{where} imports {target!r}, which is in no layer")
                elif layer and order.index(above) > order.index(layer):
                    problems.append(f"{where} ({layer}) imports {target!r}, which is further down ({above})")
    assert_none(problems)


def test_the_engine_has_no_circles() -> None:
    """Within a layer files may import each other, but never in a circle, inside functions neither."""
    arrows: dict[str, set[str]] = {}
    for path, module, _ in engine_files():
        targets = {target for one in imports_of(path) for target in engine_modules_of(one)}
        arrows.setdefault(module, set()).update(targets - {module, ""})
    while leaves := {module for module, targets in arrows.items() if not targets & arrows.keys()}:
        for leaf in leaves:
            del arrows[leaf]
    assert not arrows, f"these files of execution/ import each other in a circle: {sorted(arrows)}"


def test_each_layer_stays_within_its_means() -> None:
    problems = []
    for path, _, layer in engine_files():
        for one in imports_of(path):
            top = one.module.split(".")[0]
            where = f"{shown(path)}:{one.line} ({layer})"
            if top in NOT_IN.get(layer, ()):
                problems.append(f"{where} imports {top}, which this layer must not need")
            elif layer in PURE and top not in sys.stdlib_module_names | {"execution", "msgspec"}:
                problems.append(f"{where} imports {top}; here: the standard library and msgspec only")
    assert_none(problems)


def test_the_engine_knows_nothing_of_the_other_rooms() -> None:
    assert_none([
        f"{shown(path)}:{one.line} imports {one.module}; the engine knows nothing of it"
        for path in python_files("execution") for one in imports_of(path)
        if one.module.split(".")[0] in OUR_ROOMS - {"execution"}
    ])


# The other rooms


def test_web_knows_the_engine_by_its_public_names_only() -> None:
    problems = []
    for path in python_files("web"):
        for one in imports_of(path):
            head, *rest = one.module.split(".")
            if head in {"nodes", "server"} or (head == "execution" and (rest or not one.names)):
                problems.append(f"{shown(path)}:{one.line} imports {one.module}; web/ takes the names that "
                                "`from execution import ...` offers, and no others of ours")
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Attribute) and node.attr in {"scheduler", "_scheduler"}:
                problems.append(f"{shown(path)}:{node.lineno} reads a scheduler; ask for a snapshot")
    assert_none(problems)


def test_nodes_know_the_engine_by_its_public_names_only() -> None:
    problems = []
    for path in python_files("nodes"):
        for one in imports_of(path):
            top = one.module.split(".")[0]
            if top in {"web", "server"} and not shown(path).startswith(SURFACE):
                problems.append(f"{shown(path)}:{one.line} imports {one.module}; nodes know nothing of it")
            if top == "execution" and one.module not in DOORS_FOR_NODES:
                problems.append(f"{shown(path)}:{one.line} imports {one.module}; nodes come in by "
                                f"{sorted(DOORS_FOR_NODES)} only")
    assert_none(problems)


def test_heavy_libraries_are_imported_on_first_use() -> None:
    problems = []
    for path in python_files("execution", "nodes", "web", "server.py"):
        if shown(path).startswith("nodes/packs/"):
            continue
        forbidden = HEAVY | {"aiohttp"} if shown(path).startswith("nodes/") else HEAVY
        problems += [f"{shown(path)}:{one.line} imports {one.module} at once; import it on first use"
                     for one in imports_of(path) if one.is_at_once and one.module.split(".")[0] in forbidden]
    assert_none(problems)


def test_no_name_of_a_generation_of_packs_outside_of_its_adapter() -> None:
    problems = []
    needed = set()
    for path in python_files("execution", "web", "server.py"):
        for node in without_docstrings(parse(path)):
            where = f"{shown(path)}:{getattr(node, 'lineno', '?')}"
            spelled = [value for _, value in ast.iter_fields(node) if isinstance(value, str)]
            named = [word for word in spelled if NAMES_OF_A_GENERATION.search(word)]
            needed |= WORDS_OF_OTHERS & set(named)
            problems += [f"{where} says {word!r}, which belongs in nodes/packs/"
                         for word in named if word not in WORDS_OF_OTHERS]
    problems += [f"nobody says {word!r}: take it from WORDS_OF_OTHERS" for word in sorted(WORDS_OF_OTHERS - needed)]
    assert_none(problems)


def test_only_the_node_caller_calls_a_node() -> None:
    problems = []
    for path in python_files("execution", "web", "server.py"):
        if shown(path) in CALLERS_OF_NODES:
            continue
        for node in ast.walk(parse(path)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value
            runs_hook = (node.func.attr == "call" and isinstance(owner, ast.Attribute)
                         and owner.attr in HOOKS_OF_NODES)
            asks_the_caller = ast.unparse(owner) == "self._caller"
            if (node.func.attr in CODE_OF_NODES and not asks_the_caller) or runs_hook:
                problems.append(f"{shown(path)}:{node.lineno} calls {ast.unparse(node.func)}; "
                                f"only {sorted(CALLERS_OF_NODES)} may run code of a node")
    assert_none(problems)


def test_there_is_only_one_event_loop() -> None:
    """The server's. Only `server.py` starts one."""
    problems = []
    for path in python_files("execution", "web", "nodes"):
        if shown(path).startswith(SURFACE):
            continue
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Attribute) and SECOND_LOOPS.fullmatch(said := ast.unparse(node)):
                problems.append(f"{shown(path)}:{node.lineno} says {said}; the server's is the only loop")
    assert_none(problems)


def test_file_names_say_something() -> None:
    assert_none([
        f"{shown(path)}: a name that says nothing; what does this file own?"
        for path in python_files("execution", "nodes", "web", "tests", "benchmarks", "examples", "server.py")
        if VAGUE_WORDS & set(path.stem.lower().split("_")) and not shown(path).startswith(SURFACE)
    ])


# As Python sees it

IMPORT_EACH_ALONE = """
import importlib, os, sys, traceback, warnings
failed = 0
for name in sys.argv[1:]:
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            warnings.simplefilter("error")
            importlib.import_module(name)
            heavy = sorted({"torch", "numpy", "PIL", "av"} & sys.modules.keys())
            if heavy and not name.startswith("nodes.packs"):
                raise ImportError(f"importing {name} alone imports {heavy}")
            code = 0
        except BaseException:
            print(f"--- {name}", file=sys.stderr)
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    failed += os.waitpid(child, 0)[1] != 0
sys.exit(failed != 0)
"""
"""Each module in a process of its own, forked from one that has imported nothing yet."""


PARTS = 4
"""of all modules, since a process for each takes its time"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("part", range(PARTS))
def test_each_module_can_be_imported_alone_without_a_warning(part: int) -> None:
    modules = [module_name(path) for path in python_files("execution", "nodes", "web", "server.py")
               if not shown(path).startswith(SURFACE)][part::PARTS]
    assert modules
    done = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT_EACH_ALONE, *modules],
                          cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, "\n" + done.stderr


def test_the_public_names_are_sorted_and_complete() -> None:
    import execution

    path = ROOT / "execution" / "__init__.py"
    listed = execution.__all__
    imported = {name for one in imports_of(path) for name in one.names} | {
        node.name for node in parse(path).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    public = {name for name in imported if not name.startswith("_")}
    assert set(listed) == public, f"only in __all__ or only imported: {sorted(set(listed) ^ public)}"
    assert list(listed) == sorted(listed, key=as_ruff_sorts)
    assert all(hasattr(execution, name) for name in listed)


def as_ruff_sorts(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name
