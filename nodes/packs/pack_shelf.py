"""The packs of a running server: what each brought, and how one of them is loaded anew while prompts run.

Everything here is called on the server's loop. Only the import of a pack that is loaded anew happens on a thread,
since prompts go on meanwhile.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import model_folders
from .loader import (
    DISABLED,
    Announce,
    PackOffer,
    SurfaceTables,
    find_disabled_packs,
    find_packs,
    load_pack,
    log_report,
    read_offer,
    register_offer,
    show_anew,
)
from .loop_stand_in import LoopStandIn, running_loop_stands_in
from .pack_import import ImportInProgress, PackPlace, drop_modules, import_pack, name_of, put_back_modules
from .pack_registry import PackRegistry
from .pack_reports import PackFailed, PackReport, note_failure
from .pack_web_folders import web_directories_of

if TYPE_CHECKING:
    from .surface_modules import Surface

logger = logging.getLogger(__name__)

SECONDS_FOR_AN_IMPORT = 60.0


class NoSuchPack(Exception):
    """No pack goes by this name. The message is a sentence."""


class ReloadInProgress(Exception):
    """Another pack is being loaded anew, and imports change what all code shares. The message is a sentence."""


class PackShelf:
    """All packs that were found, by name, in the order in which they were loaded.

    :param only: names of the packs that may be loaded; None for all.
    :param prompts_forget: drops kept outputs: those of old code are not those of the new.
    :param import_seconds: how long an import may take while prompts run.
    """

    def __init__(self, registry: PackRegistry, surface: "Surface", *, only: Collection[str] | None = None,
                 prompts_forget: Callable[[], None] = lambda: None,
                 import_seconds: float = SECONDS_FOR_AN_IMPORT) -> None:
        self._registry = registry
        self._surface = surface
        self._only = only
        self._prompts_forget = prompts_forget
        self._reloads = 0
        self._import_seconds = import_seconds
        self._offers: dict[Path, PackOffer] = {}
        self._importing: Reload | None = None

    async def load(self, packs: Iterable[Path], announce: Announce | None = None) -> None:
        """Load them one after the other, on this loop; tasks that a pack creates get a turn after it."""
        for pack in packs:
            self._offers[pack] = await load_pack(pack, self._registry, self._surface, announce)
            await asyncio.sleep(0)

    def reports(self) -> list[PackReport]:
        """One for each pack that was loaded or failed, in that order."""
        return [offer.report for offer in self._offers.values()]

    def listing(self) -> list[PackReport]:
        """The reports, and what else lies in the folders of packs now. Reads folders: call it on a thread."""
        known = dict(self._offers)
        return [*(offer.report for offer in known.values()), *other_packs(known, self._only)]

    @property
    def directories(self) -> Mapping[str, str]:
        """The folders of all packs that are folders, by name; those that failed too. Follows what is loaded."""
        return LiveTable(lambda: {offer.place.name: str(offer.place.path) for offer in list(self._offers.values())
                                  if offer.place.is_folder})

    @property
    def web_directories(self) -> Mapping[str, str]:
        """Folders with files for the browser, by the name they are served under. Follows what packs write."""
        return LiveTable(lambda: self._surface.web_directories)

    # -- loading anew -----------------------------------------------------------------------------------------------

    async def reload(self, name: str) -> PackReport:
        """Load one pack anew, or one that has come since the start, and answer its report.

        If it fails, the nodes from before stay, and the report that is answered says so. Prompts that run keep the
        definitions that they have.

        :raises NoSuchPack: there is none of this name, or it is disabled.
        :raises ReloadInProgress: try again later.
        """
        if self._importing is not None:
            raise ReloadInProgress(f"Another pack is being loaded: {self._importing.described()}.")
        reload = self._importing = Reload(name)
        try:
            await asyncio.to_thread(self._find, reload)
            report = await self._reload(reload)
        finally:
            if not reload.goes_on:
                self._importing = None
        log_report(report)
        return report

    async def _reload(self, reload: "Reload") -> PackReport:
        pack = reload.place.path
        old, tables = self._offers.get(pack), SurfaceTables(self._surface)
        offer = PackOffer(place=reload.place, report=PackReport(name=reload.place.name, path=str(pack)))
        started = time.perf_counter()
        routes_before = len(self._surface.prompt_server.routes)
        try:
            await read_offer(offer, await self._import_on_thread(reload, offer), tables)
        except (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
            raise
        except BaseException as error:
            await asyncio.to_thread(note_failure, offer.report, error, pack)  # it reads lines of code
            if not reload.goes_on:  # else what it writes cannot be taken back before it ends
                put_back_modules(reload.place, reload.dropped)
                tables.restore()
            self._keep(pack, old, offer)
        else:
            if old is not None:
                self._withdraw(old, offer)
                self._reloads += 1
                offer.definitions = {name: replace(definition, revision=self._reloads)
                                     for name, definition in offer.definitions.items()}
            register_offer(offer, self._registry, self._surface)
            self._offers.pop(pack, None)  # the last one wins a name, and this one is the last now
            self._offers[pack] = offer
            self._prompts_forget()
        self._surface.replaced.look(reload.place, self._offers[pack].report)
        offer.report.seconds = time.perf_counter() - started
        if reload.adds_routes or len(self._surface.prompt_server.routes) > routes_before:
            offer.report.notes.append("Its routes need a restart of the server; those from before still answer.")
        if old is None and reload.has_prestartup_script:
            offer.report.notes.append("Its prestartup_script.py runs at the next start of the server.")
        return offer.report

    def _keep(self, pack: Path, old: PackOffer | None, failed: PackOffer) -> None:
        """After a failure: what was loaded before stays, if there was something."""
        if old is None or old.report.error is not None:
            self._offers[pack] = failed
            return
        old.report.reload_error = failed.report.error
        failed.report.node_names = old.report.node_names

    def _find(self, reload: "Reload") -> None:
        """Say where the pack lies."""
        name, folders = reload.name, model_folders.pack_folders()
        found = [offer.place.path for offer in list(self._offers.values()) if offer.place.name == name][-1:] or \
            [pack for pack in find_packs(folders, self._only) if name_of(pack) == name]
        if found:
            reload.place = PackPlace.of(found[0])
            reload.has_prestartup_script = (found[0] / "prestartup_script.py").is_file()
            return
        if any(_plain_name(pack) == name for pack in [*find_disabled_packs(folders), *find_packs(folders)]):
            raise NoSuchPack(f"The pack {name} is disabled; enable it first.")
        raise NoSuchPack(f"There is no pack {name}.")

    async def _import_on_thread(self, reload: "Reload", offer: PackOffer) -> ModuleType:
        loop = asyncio.get_running_loop()
        stand_in = LoopStandIn(loop)
        done: asyncio.Future[ModuleType | BaseException] = loop.create_future()

        def finish(outcome: ModuleType | BaseException) -> None:
            if not done.done():
                done.set_result(outcome)
                return
            # Nobody waits any more. Whatever came of it, the pack from before is the one that counts.
            self._importing = None
            put_back_modules(reload.place, reload.dropped)
            logger.warning("the import of pack %s has ended after all; load it anew to use it", reload.name)

        def import_beside_the_loop() -> None:
            outcome: ModuleType | BaseException
            with ImportInProgress(reload.place) as reload.progress, running_loop_stands_in(stand_in):
                try:
                    reload.dropped.update(drop_modules(reload.place))
                    outcome = import_pack(reload.place)
                    offer.web_directories = web_directories_of(reload.place, outcome)
                except BaseException as error:
                    outcome = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
                loop.call_soon_threadsafe(finish, outcome)

        with _routes_aside(self._surface.prompt_server, reload):
            threading.Thread(target=import_beside_the_loop, name=f"studio-import-{reload.name}", daemon=True).start()
            try:
                # Whoever asked may go away; the import goes on all the same.
                outcome = await asyncio.wait_for(asyncio.shield(done), self._import_seconds)
            except TimeoutError:
                reload.goes_on = done.cancel()
                place = None if reload.progress is None else reload.progress.place()
                raise PackFailed(f"its import does not end: after {self._import_seconds:g} seconds it is at "
                                 f"{place or 'no line of its own'}") from None
            except asyncio.CancelledError:
                reload.goes_on = done.cancel()
                raise
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _withdraw(self, old: PackOffer, new: PackOffer) -> None:
        """Take back what a pack brought, before it brings what `new` holds."""
        surface = self._surface
        for name, folder in old.web_directories.items():
            if name not in new.web_directories and surface.web_directories.get(name) == folder:
                del surface.web_directories[name]
        for name in old.report.node_names:
            if name in new.definitions or self._registry.get(name) is not old.definitions[name]:
                continue
            self._registry.remove(name)
            if surface.class_mappings.get(name) is old.classes[name]:
                del surface.class_mappings[name]
            for other in self._offers.values():
                if other is not old and name in other.report.node_names:
                    self._registry.add(other.definitions[name])
                    surface.class_mappings[name] = other.classes[name]
        for name, shown in old.shown.items():
            if name not in new.names_shown and surface.display_names.get(name) == shown:
                del surface.display_names[name]
                if name in old.shown_before:
                    surface.display_names[name] = old.shown_before[name]
                show_anew(new.report, name, self._registry, surface)


def _plain_name(pack: Path) -> str:
    return pack.name.removesuffix(DISABLED).removesuffix(".py")


def other_packs(known: Container[Path], only: Collection[str] | None) -> list[PackReport]:
    """What lies in the folders of packs and is not known: what is disabled, and what has come since the start.

    :param only: names of the packs that may be loaded; None for all.
    """
    folders = model_folders.pack_folders()
    wanted = set(find_packs(folders, only))
    return [*(PackReport(name=_plain_name(pack), path=str(pack), state="disabled")
              for pack in find_disabled_packs(folders)),
            *(PackReport(name=name_of(pack), path=str(pack), state="new" if pack in wanted else "disabled")
              for pack in find_packs(folders) if pack not in known)]


class Reload:
    """One pack on its way to be loaded anew."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = PackPlace(Path(), False)
        self.has_prestartup_script = False
        self.dropped: dict[str, ModuleType] = {}
        """The modules from before."""
        self.progress: ImportInProgress | None = None
        self.adds_routes = False
        """Whether it gave routes to the application itself."""
        self.goes_on = False
        """Its thread has not ended although nobody waits for it."""

    def described(self) -> str:
        return f"loading pack {self.name}" if self.progress is None else self.progress.described()


class LiveTable(Mapping[str, str]):
    """A table as it is whenever it is read."""

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read

    def __getitem__(self, key: str) -> str:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._read()))

    def __len__(self) -> int:
        return len(self._read())


@contextlib.contextmanager
def _routes_aside(server: Any, reload: Reload) -> Iterator[None]:
    """Have a pack add its routes where they do no harm: the application takes none once it runs."""
    from aiohttp import web

    own, server.app = server.app, web.Application()
    try:
        yield
    finally:
        reload.adds_routes = len(server.app.router.resources()) > 0
        server.app = own
