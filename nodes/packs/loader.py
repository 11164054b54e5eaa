"""Packs: found in their folders, imported, their nodes handed to the registry. What fails is reported, as data.

At the start all of this runs on the server's loop: packs may ask for the running loop, create tasks and add routes.
The names that packs import are the business of `surface_modules`, which is not imported before there is a pack.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from execution import NodeDefinition, NodeRegistry
from nodes import CATALOGUE

from .core_library import is_built_in
from .entrypoint import offered_by_entrypoint
from .node_definitions import define_built_in_node, define_node
from .pack_import import ImportInProgress, PackPlace, execute_file, import_pack, module_name_of, name_of
from .pack_reports import PackFailed, PackReport, note_failure, sentence_of
from .pack_web_folders import web_directories_of

if TYPE_CHECKING:
    from .surface_modules import Surface

logger = logging.getLogger(__name__)

DISABLED = ".disabled"

Announce = Callable[[ImportInProgress], None]
"""Is told of each import before it begins."""


class PackOffer(Struct, kw_only=True):
    """What a pack brings: defined, and not registered yet."""

    place: PackPlace
    report: PackReport
    definitions: dict[str, NodeDefinition] = field(default_factory=dict)
    classes: dict[str, Any] = field(default_factory=dict)
    """The class of each definition."""
    shown: dict[str, Any] = field(default_factory=dict)
    """How it wants nodes to be shown, its own and those of others, by class name."""
    shown_before: dict[str, Any] = field(default_factory=dict)
    """How those of them were shown that had a name before."""
    names_shown: set[str] = field(default_factory=set)
    """All class names that its own table of shown names has, changed or not."""
    web_directories: dict[str, str] = field(default_factory=dict)


# --- finding -----------------------------------------------------------------------------------------------


def find_packs(folders: Iterable[Path], only: Collection[str] | None = None) -> list[Path]:
    """Every directory and every `.py` file in the folders; sorted within each folder, each once.

    :param only: names of the packs that may be loaded, with or without `.py`; None for all.
    """
    return [entry for entry in _entries(folders)
            if _is_candidate(entry) and (only is None or entry.name in only or name_of(entry) in only)]


def find_disabled_packs(folders: Iterable[Path]) -> list[Path]:
    """What `find_packs` would find if it were not for the ending `.disabled`."""
    return [entry for entry in _entries(folders)
            if entry.name.endswith(DISABLED) and (entry.is_dir() or entry.name.endswith(f".py{DISABLED}"))]


def _entries(folders: Iterable[Path]) -> list[Path]:
    entries: dict[Path, None] = {}
    for folder in folders:
        try:
            entries.update((entry, None) for entry in sorted(folder.absolute().iterdir()) if folder.is_dir())
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("the folder of packs %s cannot be read: %s", folder, error)
    return list(entries)


def _is_candidate(entry: Path) -> bool:
    if entry.name == "__pycache__" or entry.name.endswith(DISABLED):
        return False
    return entry.is_dir() or (entry.suffix == ".py" and entry.is_file())


# --- before anything else ----------------------------------------------------------------------------------


def run_prestartup_scripts(packs: Iterable[Path], announce: Announce | None = None) -> list[PackReport]:
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
        report = PackReport(name=name_of(pack), path=str(script), state="loaded")
        started = time.perf_counter()
        with ImportInProgress(PackPlace.of(pack)) as progress:
            if announce is not None:
                announce(progress)
            try:
                execute_file(script, module_name_of(script.with_suffix("")))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                note_failure(report, error, pack)
                logger.error("prestartup script of pack %s failed, and is ignored: %s\n%s",
                             report.name, report.error, report.traceback)
        report.seconds = time.perf_counter() - started
        reports.append(report)
    return reports


# --- loading -----------------------------------------------------------------------------------------------


async def load_packs(packs: Iterable[Path], registry: NodeRegistry, surface: "Surface",
                     announce: Announce | None = None) -> list[PackReport]:
    """Load one pack after the other, on the loop that runs this; tasks that a pack creates get a turn after it.

    :param registry: already holds the built-in nodes.
    """
    reports = []
    for pack in packs:
        reports.append((await load_pack(pack, registry, surface, announce)).report)
        await asyncio.sleep(0)
    return reports


async def load_pack(pack: Path, registry: NodeRegistry, surface: "Surface",
                    announce: Announce | None = None) -> PackOffer:
    """Import one pack and register its nodes. Whatever it raises but KeyboardInterrupt ends up in the report."""
    place = PackPlace.of(pack)
    offer = PackOffer(place=place, report=PackReport(name=place.name, path=str(pack)))
    started = time.perf_counter()
    tables = SurfaceTables(surface)
    with ImportInProgress(place) as progress:
        if announce is not None:
            announce(progress)
        try:
            module = import_pack(place)
            offer.web_directories = web_directories_of(place, module)
            await read_offer(offer, module, tables)
            register_offer(offer, registry, surface)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            note_failure(offer.report, error, pack)
    surface.replaced.look(place, offer.report)
    offer.report.seconds = time.perf_counter() - started
    log_report(offer.report)
    return offer


class SurfaceTables:
    """The tables that packs read and write, as they were before an import."""

    def __init__(self, surface: "Surface") -> None:
        self.surface = surface
        self.classes, self.shown = dict(surface.class_mappings), dict(surface.display_names)
        self.web, self.directories = dict(surface.web_directories), dict(surface.module_directories)

    def restore(self) -> None:
        """Take back what was written since."""
        for table, before in ((self.surface.class_mappings, self.classes), (self.surface.display_names, self.shown),
                              (self.surface.web_directories, self.web),
                              (self.surface.module_directories, self.directories)):
            for key in [key for key, value in table.items() if before.get(key, table) is not value]:
                del table[key]
            table.update(before)


async def read_offer(offer: PackOffer, module: ModuleType, tables: SurfaceTables) -> None:
    """Ask a module, which was just imported, for its nodes, and define them.

    :param tables: as they were before the import.
    :raises PackFailed: it offers none.
    """
    surface = tables.surface
    surface.module_directories[offer.place.name] = str(offer.place.folder)
    surface.web_directories.update(offer.web_directories)
    offered = _mapping_of(module, "NODE_CLASS_MAPPINGS")
    names_shown = _mapping_of(module, "NODE_DISPLAY_NAME_MAPPINGS") or {}
    if offered is None:
        by_entrypoint = await offered_by_entrypoint(module)
        if by_entrypoint is None:
            raise PackFailed("it has neither NODE_CLASS_MAPPINGS nor comfy_entrypoint, so it offers no nodes")
        offered, names_shown = by_entrypoint.classes, {**names_shown, **by_entrypoint.shown}
    surface.display_names.update(names_shown)
    # Some packs write into the table of all nodes instead of, or beside, having one of their own.
    written = {name: node_class for name, node_class in surface.class_mappings.items()
               if tables.classes.get(name) is not node_class}
    offer.shown = {name: shown for name, shown in surface.display_names.items() if tables.shown.get(name) != shown}
    offer.names_shown = {*names_shown, *offer.shown}
    offer.shown_before = {name: tables.shown[name] for name in offer.shown if name in tables.shown}
    _define(offer, {**written, **offered}, surface)


def _mapping_of(module: ModuleType, name: str) -> Mapping[Any, Any] | None:
    mapping = getattr(module, name, None)
    if mapping is not None and not isinstance(mapping, Mapping):
        raise PackFailed(f"its {name} is not a dict but a {type(mapping).__name__}")
    return mapping


def _define(offer: PackOffer, offered: Mapping[Any, Any], surface: "Surface") -> None:
    origin = f"custom_nodes.{offer.report.name}"
    for name, node_class in offered.items():
        try:
            if not isinstance(name, str):
                raise TypeError(f"the name of a class should be text, and this one is {name!r}")
            offer.definitions[name] = define_node(name, node_class, origin, _shown_name(name, surface))
            offer.classes[name] = node_class
            _say_where_from(node_class, origin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            offer.report.refused_nodes[str(name)] = sentence_of(error)


def _say_where_from(node_class: Any, origin: str) -> None:
    """Packs read this of their classes. A pack that offers one of ours under another name does not own it."""
    if not is_built_in(node_class):
        try:
            node_class.RELATIVE_PYTHON_MODULE = origin
        except (AttributeError, TypeError):
            pass  # a class that cannot be written to; nothing of ours reads it


def _shown_name(name: str, surface: "Surface") -> str | None:
    shown = surface.display_names.get(name)
    return shown if isinstance(shown, str) else None


# --- registering -------------------------------------------------------------------------------------------


def register_offer(offer: PackOffer, registry: NodeRegistry, surface: "Surface") -> None:
    """Have prompts use the nodes of a pack from now on."""
    report = offer.report
    for name, definition in offer.definitions.items():
        if not registry.add(definition):
            logger.info("pack %s: %r is the name of a built-in node, which stays, or of one that is left out",
                        report.name, name)
            continue
        report.node_names.append(name)
        surface.class_mappings[name] = offer.classes[name]
    for name in offer.shown:
        if name not in report.node_names:
            show_anew(report, name, registry, surface)
    report.state = "loaded"


def show_anew(report: PackReport, name: str, registry: NodeRegistry, surface: "Surface") -> None:
    """A pack may say how the nodes of others are shown, built-in ones too: those are defined anew."""
    definition = registry.get(name)
    node_class = CATALOGUE.get(name, surface.class_mappings.get(name))
    if definition is None or node_class is None:
        return
    try:
        shown = _shown_name(name, surface)
        again = define_built_in_node(name, node_class, shown) if name in CATALOGUE \
            else define_node(name, node_class, definition.origin, shown)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        report.refused_nodes[name] = sentence_of(error)
    else:
        registry.add(replace(again, revision=definition.revision), built_in=name in CATALOGUE)


def log_report(report: PackReport) -> None:
    if report.error is None:
        logger.info("pack %s: %d nodes in %.2f seconds", report.name, len(report.node_names), report.seconds)
    else:
        logger.error("pack %s failed after %.2f seconds (%s): %s%s", report.name, report.seconds, report.path,
                     report.error, f"\n{report.traceback}" if report.traceback else "")
    for name, reason in report.refused_nodes.items():
        logger.error("pack %s: node %s cannot be used: %s", report.name, name, reason)
