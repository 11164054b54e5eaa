"""Importing the modules of a pack, and dropping them so that they can be imported anew.

A pack's module is named after its path, so that no two share a name and relative imports work.
"""

import importlib
import importlib.util
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType, ModuleType
from typing import NamedTuple

from .pack_reports import PackFailed

logger = logging.getLogger(__name__)

SECONDS_UNTIL_LOGGED = 10.0
"""How long an import may take before the log says where it is."""
_COMPILED = (".so", ".pyd", ".dylib")


class PackPlace(NamedTuple):
    """Where a pack lies, as it was when the disk was asked. Nothing here asks it again."""

    path: Path
    is_folder: bool

    @classmethod
    def of(cls, path: Path) -> "PackPlace":
        return cls(path, path.is_dir())

    @property
    def name(self) -> str:
        return self.path.name if self.is_folder else self.path.stem

    @property
    def folder(self) -> Path:
        """The pack's own one, or the one that its file lies in."""
        return self.path if self.is_folder else self.path.parent

    @property
    def module_name(self) -> str:
        """The absolute path with `_x_` for each dot: relative imports work, and no two packs share a name."""
        return module_name_of(self.path if self.is_folder else self.path.with_suffix(""))

    def holds(self, file: str) -> bool:
        """Whether a file of code is the pack's."""
        return file.startswith(f"{self.path}{os.sep}") if self.is_folder else file == str(self.path)


def name_of(pack: Path) -> str:
    return PackPlace.of(pack).name


def module_name_of(path: Path) -> str:
    return str(path).replace(".", "_x_")


def import_pack(place: PackPlace) -> ModuleType:
    """Execute a pack, a folder or a file, on this thread. It stays in `sys.modules` even if it raises.

    :raises PackFailed: it is a folder without an `__init__.py`, or is gone.
    """
    file = place.path / "__init__.py" if place.is_folder else place.path
    if not file.is_file():
        raise PackFailed("it has no __init__.py, so it is not a pack" if place.path.is_dir() else "it is gone")
    return execute_file(file, place.module_name)


def execute_file(file: Path, name: str) -> ModuleType:
    """Execute a file as the module of this name, which is registered before it runs."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# --- importing anew ----------------------------------------------------------------------------------------


def modules_of(place: PackPlace) -> dict[str, ModuleType]:
    """The modules that were imported from a pack's folder, under whatever name, or as the pack itself.

    Compiled ones are left out: a process cannot load them twice. So are libraries that lie in the folder.
    """
    name = place.module_name
    found = {}
    for key, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(module, ModuleType) or (isinstance(file, str) and file.endswith(_COMPILED)):
            continue
        is_inside = isinstance(file, str) and place.holds(file) and "site-packages" not in file
        if key == name or key.startswith(f"{name}.") or is_inside:
            found[key] = module
    return found


def drop_modules(place: PackPlace) -> dict[str, ModuleType]:
    """Take a pack's modules out of `sys.modules`, so that they are read again; answers them, to be put back."""
    dropped = modules_of(place)
    for name, module in dropped.items():
        del sys.modules[name]
        # A compiled file counts as new for a second, and while the size is the same: an edit may be quicker.
        cached = getattr(module, "__cached__", None)
        if isinstance(cached, str):
            try:
                Path(cached).unlink(missing_ok=True)
            except OSError:
                pass  # it is a cache; Python looks at the times
    importlib.invalidate_caches()
    return dropped


def put_back_modules(place: PackPlace, dropped: dict[str, ModuleType]) -> None:
    """Undo `drop_modules` after an import that failed."""
    for name in modules_of(place):
        del sys.modules[name]
    sys.modules.update(dropped)


# --- where an import is ------------------------------------------------------------------------------------


class ImportInProgress:
    """An import that is under way on the thread that made this: for how long, and at which line of the pack.

    Used as a context; the log is told the line when it takes long, since nothing else can be done about it.
    """

    def __init__(self, place: PackPlace, log_after: float = SECONDS_UNTIL_LOGGED) -> None:
        self._place = place
        self._thread = threading.get_ident()
        self._began = time.monotonic()
        self._timer = threading.Timer(log_after, self._log)
        self._timer.daemon = True

    def __enter__(self) -> "ImportInProgress":
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()

    def described(self) -> str:
        """What is being imported, and after the first second where it is. Can be asked from any thread."""
        text = f"loading pack {self._place.name}"
        seconds = time.monotonic() - self._began
        if seconds < 1:
            return text
        place = self.place()
        return f"{text} for {seconds:.0f} seconds" + (f", now at {place}" if place else "")

    def place(self) -> str | None:
        """`file.py line 3 in function`: the innermost line of the pack that its import is at; None if at none."""
        frame = sys._current_frames().get(self._thread)
        inside = _innermost_inside(frame, self._place)
        if inside is None:
            return None
        code = inside.f_code
        shown = Path(code.co_filename).relative_to(self._place.folder)
        return f"{shown} line {inside.f_lineno}" + ("" if code.co_name == "<module>" else f" in {code.co_name}")

    def _log(self) -> None:
        frame = sys._current_frames().get(self._thread)
        logger.warning("%s\n%s", self.described(), "".join(traceback.format_stack(frame)[-8:]) if frame else "")


def _innermost_inside(frame: FrameType | None, place: PackPlace) -> FrameType | None:
    while frame is not None and not place.holds(frame.f_code.co_filename):
        frame = frame.f_back
    return frame
