"""The one import finder for names that packs know a module by, beside the files of `surface/`.

- `studio`, `studio_api` … are `comfy`, `comfy_api` …: the same modules, in which class names with `Comfy` are
  there with `Studio` too.
- `custom_nodes.<folder>` is the pack that was loaded from that folder; bare `model_management` is comfy's.
- Modules of built-in nodes (`comfy_extras.nodes_mask` …), and those that have nothing but names.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from . import model_folders
from .absent_names import ABSENT_MODULES, AbsentModule, names_of, open_package_of
from .core_library import names_of_module
from .core_modules import CORE_MODULES
from .not_offered import absent

OLD_NAMES = {"model_management": "comfy.model_management"}
PACKAGES = frozenset({"comfy_extras"})
"""Packages without a file of their own."""
PACKS = "custom_nodes"


class NameFinder:
    """Put into `sys.meta_path` while packs are there."""

    def install(self) -> None:
        """First, since folders called `studio` or `custom_nodes` may lie where Python looks too."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        real = real_name_of(name)
        if real is not None:
            return ModuleSpec(name, AliasLoader(real))  # no package: its path is the real one's
        if name == PACKS:
            return ModuleSpec(name, FolderLoader(), is_package=True)
        if name in PACKAGES or name in CORE_MODULES or name in ABSENT_MODULES:
            return ModuleSpec(name, NamesLoader(), is_package=_is_package(name))
        about = open_package_of(name)
        return None if about is None else ModuleSpec(name, OpenLoader(about), is_package=True)


def _is_package(name: str) -> bool:
    return name in PACKAGES or (name in ABSENT_MODULES and ABSENT_MODULES[name].is_package)


def real_name_of(name: str) -> str | None:
    """The module that a name stands for, if it is another one."""
    top, dot, rest = name.partition(".")
    if top in OLD_NAMES:
        return OLD_NAMES[top] + dot + rest
    if top == "studio" or top.startswith("studio_"):
        return ".".join(["comfy" + top.removeprefix("studio"), *map(_in_their_words, rest.split("."))]).rstrip(".")
    if top == PACKS and rest:
        folder, dot, rest = rest.partition(".")
        loaded = _loaded_pack(folder)
        return None if loaded is None else loaded + dot + rest
    return None


def _in_their_words(part: str) -> str:
    return "comfy" + part.removeprefix("studio") if part.startswith("studio_") else part


def _loaded_pack(folder: str) -> str | None:
    """The module of a pack, by the folder that it is in."""
    for parent in model_folders.pack_folders():
        name = str(parent.absolute() / folder).replace(".", "_x_")
        if name in sys.modules:
            return name
    return None


class AliasLoader:
    """Gives a module that has another name. It stays as it is: one module, two names."""

    def __init__(self, real: str) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        try:
            module = importlib.import_module(self._real)
        except ModuleNotFoundError as error:
            if error.name == self._real:  # say the name that was asked for
                raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name) from None
            raise
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put the alias's there
        if self._real.partition(".")[0].startswith("comfy"):
            _name_classes_twice(module)


def _name_classes_twice(module: ModuleType) -> None:
    for name, value in list(vars(module).items()):
        if isinstance(value, ModuleType):
            inner = vars(value).get("__name__", "")
            if inner.startswith(f"{module.__name__}."):
                _name_classes_twice(value)
        elif "Comfy" in name:
            vars(module).setdefault(name.replace("Comfy", "Studio"), value)


class FolderLoader:
    """`custom_nodes`: the folders that packs lie in, for what is no loaded pack."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__path__ = [str(folder) for folder in model_folders.pack_folders()]


class NamesLoader:
    """Makes a module of the tables."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if name in CORE_MODULES:
            vars(module).update(names_of_module(name))
        elif name in ABSENT_MODULES:
            about = ABSENT_MODULES[name]
            vars(module).update(names_of(name))
            module.__doc__ = f"Names only: {about.instead}."
            if about.is_open:
                _open(module, about)


class OpenLoader:
    """A module that nobody has listed, below one whose names are all there."""

    def __init__(self, about: AbsentModule) -> None:
        self._about = about

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        _open(module, self._about)


def _open(module: ModuleType, about: AbsentModule) -> None:
    """Whatever name is asked of the module is there, as something that cannot be called."""
    def __getattr__(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        made = vars(module)[name] = absent(f"{module.__name__}.{name}", about.instead)
        return made

    vars(module)["__getattr__"] = __getattr__


finder = NameFinder()
