"""Packs: found in their folders, imported, their nodes handed to the registry. What fails is reported, as data.

Everything here runs on the caller's thread, which is the server's loop while it starts: packs may ask for the
running loop, create tasks and add routes. The names that packs import are the business of `surface_modules`,
which is not imported before there is a pack.
"""

import asyncio
import importlib.util
import logging
import sys
import time
import tomllib
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from execution import NodeRegistry
from nodes import CATALOGUE

from .class_nodes import define_class_node

if TYPE_CHECKING:
    from .surface_modules import Surface

logger = logging.getLogger(__name__)

LONGEST_SENTENCE = 300


class PackReport(Struct, kw_only=True):
    """How the import of one pack went."""

    name: str
    path: str
    seconds: float = 0.0
    node_names: list[str] = field(default_factory=list)
    """The classes that prompts can use now."""
    refused_nodes: dict[str, str] = field(default_factory=dict)
    """Classes that could not be taken, and why; the pack's others are there."""
    error: str | None = None
    """Why the whole pack failed, in one sentence."""
    traceback: str | None = None


class PackFailed(Exception):
    """A pack is not made as a pack should be. The message is a sentence for its author."""


# --- finding -----------------------------------------------------------------------------------------------


def find_packs(folders: Iterable[Path], only: Collection[str] | None = None) -> list[Path]:
    """Every directory and every `.py` file in the folders; sorted within each folder, each once.

    :param only: names of the packs that may be loaded, with or without `.py`; None for all.
    """
    packs: dict[Path, None] = {}
    for folder in folders:
        try:
            entries = sorted(folder.absolute().iterdir()) if folder.is_dir() else []
        except OSError as error:
            logger.warning("the folder of packs %s cannot be read: %s", folder, error)
            continue
        packs.update((entry, None) for entry in entries
                     if _is_candidate(entry) and (only is None or entry.name in only or _name_of(entry) in only))
    return list(packs)


def _is_candidate(entry: Path) -> bool:
    if entry.name == "__pycache__" or entry.name.endswith(".disabled"):
        return False
    return entry.is_dir() or (entry.suffix == ".py" and entry.is_file())


def _name_of(pack: Path) -> str:
    return pack.name if pack.is_dir() else pack.stem


# --- importing ---------------------------------------------------------------------------------------------


def run_prestartup_scripts(packs: Iterable[Path]) -> list[PackReport]:
    """Run `prestartup_script.py` of each pack that has one, before torch or any node is imported.

    One that fails is logged and changes nothing for its pack.
    """
    reports = []
    for pack in packs:
        script = pack / "prestartup_script.py"
        if not script.is_file():
            continue
        from .surface_modules import put_surface_first

        put_surface_first()
        report = PackReport(name=_name_of(pack), path=str(script))
        started = time.perf_counter()
        try:
            _execute(script, _module_name(script))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _note_failure(report, error, pack)
            logger.error("prestartup script of pack %s failed, and is ignored: %s\n%s",
                         report.name, report.error, report.traceback)
        report.seconds = time.perf_counter() - started
        reports.append(report)
    return reports


async def load_packs(packs: Iterable[Path], registry: NodeRegistry, surface: "Surface",
                     announce: Callable[[str], None] | None = None) -> list[PackReport]:
    """Load one pack after the other, on the loop that runs this; tasks that a pack creates get a turn after it.

    :param registry: already holds the built-in nodes.
    :param announce: is told the name of each pack before it is loaded.
    """
    reports = []
    for pack in packs:
        if announce is not None:
            announce(_name_of(pack))
        reports.append(load_pack(pack, registry, surface))
        await asyncio.sleep(0)
    return reports


def load_pack(pack: Path, registry: NodeRegistry, surface: "Surface") -> PackReport:
    """Import one pack and register its nodes. Whatever it raises but KeyboardInterrupt ends up in the report."""
    report = PackReport(name=_name_of(pack), path=str(pack))
    started = time.perf_counter()
    try:
        classes_before, shown_before = dict(surface.class_mappings), dict(surface.display_names)
        module = _import(pack)
        surface.module_directories[report.name] = str(pack if pack.is_dir() else pack.parent)
        _note_web_directories(pack, module, surface)
        offered = _mapping_of(module, "NODE_CLASS_MAPPINGS")
        if offered is None:
            raise PackFailed(_why_there_is_nothing(module))
        surface.display_names.update(_mapping_of(module, "NODE_DISPLAY_NAME_MAPPINGS") or {})
        # Some packs write into the table of all nodes instead of, or beside, having one of their own.
        written = {name: node_class for name, node_class in surface.class_mappings.items()
                   if classes_before.get(name) is not node_class}
        _register(report, {**written, **offered}, registry, surface)
        _show_other_names(report, shown_before, registry, surface)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _note_failure(report, error, pack)
    report.seconds = time.perf_counter() - started
    _log(report)
    return report


def _import(pack: Path) -> ModuleType:
    file = pack / "__init__.py" if pack.is_dir() else pack
    if not file.is_file():
        raise PackFailed("it has no __init__.py, so it is not a pack")
    return _execute(file, _module_name(pack))


def _module_name(path: Path) -> str:
    """The absolute path with `_x_` for each dot: relative imports work, and no two packs share a name."""
    return str(path if path.is_dir() else path.with_suffix("")).replace(".", "_x_")


def _execute(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _mapping_of(module: ModuleType, name: str) -> Mapping[Any, Any] | None:
    mapping = getattr(module, name, None)
    if mapping is not None and not isinstance(mapping, Mapping):
        raise PackFailed(f"its {name} is not a dict but a {type(mapping).__name__}")
    return mapping


def _why_there_is_nothing(module: ModuleType) -> str:
    if hasattr(module, "comfy_entrypoint"):
        return ("it offers its nodes through comfy_entrypoint, which is not supported yet: "
                "only packs with NODE_CLASS_MAPPINGS are")
    return "it has neither NODE_CLASS_MAPPINGS nor comfy_entrypoint, so it offers no nodes"


def _note_web_directories(pack: Path, module: ModuleType, surface: "Surface") -> None:
    """Where a pack keeps files for the browser: as its pyproject.toml says, and as its module says."""
    folder = pack if pack.is_dir() else pack.parent
    if pack.is_dir() and (pack / "pyproject.toml").is_file():
        try:
            project = tomllib.loads((pack / "pyproject.toml").read_text(encoding="utf-8"))
            name, web = project["project"]["name"], project["tool"]["comfy"]["web"]
            if (folder / web).is_dir():
                surface.web_directories[str(name)] = str(folder / web)
        except (KeyError, TypeError):
            pass  # it says nothing of a web folder
        except (OSError, ValueError) as error:
            logger.warning("pack %s: its pyproject.toml cannot be read: %s", _name_of(pack), error)
    web = getattr(module, "WEB_DIRECTORY", None)
    if isinstance(web, str) and (folder / web).is_dir():
        surface.web_directories[_name_of(pack)] = str((folder / web).absolute())


# --- registering -------------------------------------------------------------------------------------------


def _register(report: PackReport, offered: Mapping[Any, Any], registry: NodeRegistry, surface: "Surface") -> None:
    origin = f"custom_nodes.{report.name}"
    for name, node_class in offered.items():
        try:
            if not isinstance(name, str):
                raise TypeError(f"the name of a class should be text, and this one is {name!r}")
            definition = define_class_node(name, node_class, origin, _shown_name(name, surface))
            _say_where_from(node_class, origin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            report.refused_nodes[str(name)] = _sentence(error)
            continue
        if not registry.add(definition):
            logger.info("pack %s: %r is the name of a built-in node, which stays", report.name, name)
            continue
        report.node_names.append(name)
        surface.class_mappings[name] = node_class


def _say_where_from(node_class: Any, origin: str) -> None:
    """Packs read this of their classes. A pack that offers one of ours under another name does not own it."""
    if not any(node_class is one for one in CATALOGUE.values()):
        try:
            node_class.RELATIVE_PYTHON_MODULE = origin
        except (AttributeError, TypeError):
            pass  # a class that cannot be written to; nothing of ours reads it


def _show_other_names(report: PackReport, before: Mapping[str, str], registry: NodeRegistry,
                      surface: "Surface") -> None:
    """A pack may say how the nodes of others are shown, built-in ones too: those are defined anew."""
    for name, shown in surface.display_names.items():
        if shown == before.get(name) or name in report.node_names:
            continue
        definition = registry.get(name)
        node_class = CATALOGUE.get(name, surface.class_mappings.get(name))
        if definition is None or node_class is None:
            continue
        try:
            again = define_class_node(name, node_class, definition.origin, _shown_name(name, surface))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            report.refused_nodes[name] = _sentence(error)
        else:
            registry.add(again, built_in=name in CATALOGUE)


def _shown_name(name: str, surface: "Surface") -> str | None:
    shown = surface.display_names.get(name)
    return shown if isinstance(shown, str) else None


# --- reporting ---------------------------------------------------------------------------------------------


def _log(report: PackReport) -> None:
    if report.error is None:
        logger.info("pack %s: %d nodes in %.2f seconds", report.name, len(report.node_names), report.seconds)
    else:
        logger.error("pack %s failed after %.2f seconds (%s): %s%s", report.name, report.seconds, report.path,
                     report.error, f"\n{report.traceback}" if report.traceback else "")
    for name, reason in report.refused_nodes.items():
        logger.error("pack %s: node %s cannot be used: %s", report.name, name, reason)


def _note_failure(report: PackReport, error: BaseException, pack: Path) -> None:
    report.error = _sentence(error)
    report.traceback = _traceback_within(error, pack)


def _traceback_within(error: BaseException, pack: Path) -> str:
    """The traceback from where it enters the pack; our own frames tell its author nothing. Empty if it never did."""
    if isinstance(error, PackFailed):
        return ""
    frame = error.__traceback__
    while frame is not None and not frame.tb_frame.f_code.co_filename.startswith(str(pack)):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__))


def _sentence(error: BaseException) -> str:
    """What went wrong, on one line, in words that name what is missing."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = "(it cannot be printed)"
    if isinstance(error, PackFailed):
        sentence = text
    elif isinstance(error, ImportError) and error.name is not None:
        from .surface_modules import is_name_for_packs

        ours = is_name_for_packs(error.name)
        if isinstance(error, ModuleNotFoundError):
            missing = "which Hanzo Studio does not offer" if ours else "which is not installed"
            sentence = f"it imports the module {error.name!r}, {missing}"
        else:
            sentence = f"it {text}" + (", and Hanzo Studio does not offer that" if ours else "")
    else:
        sentence = f"it raised {type(error).__name__}" + (f": {text}" if text else "")
    return sentence if len(sentence) <= LONGEST_SENTENCE else f"{sentence[:LONGEST_SENTENCE - 1]}…"
