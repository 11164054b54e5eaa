"""Our modules `server`, `nodes` and `execution` as packs see them.

What packs read, assign and delete there lives in a namespace apart, behind a `__class__` that these three modules
get, so that our own names stay as they are.
"""

import importlib
import logging
import sys
from collections.abc import Iterable, MutableMapping
from types import ModuleType
from typing import Any, ClassVar

logger = logging.getLogger("nodes.packs.surface_modules")


class Face(ModuleType):
    """One of our modules as packs see it: `pack_names` first, our own names behind them, written to never."""

    pack_names: ClassVar[MutableMapping[str, Any]]

    def __getattribute__(self, name: str) -> Any:
        pack_names = type(self).pack_names
        if name == "__all__":
            return [one for one in pack_names if not one.startswith("_")]
        if name in pack_names:
            return pack_names[name]
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_for_python(name, value):
            super().__setattr__(name, value)
        elif self._is_own(name):
            logger.warning("a pack assigned %s.%s, which is Hanzo Studio's own and stays as it is",
                           self.__name__, name)
        else:
            type(self).pack_names[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del type(self).pack_names[name]
        except KeyError:
            raise AttributeError(f"{self.__name__}.{name} cannot be deleted: no pack assigned it") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *type(self).pack_names})

    def _is_own(self, name: str) -> bool:
        return name == "__all__" or (name in vars(self) and name not in type(self).pack_names)

    def _is_for_python(self, name: str, value: Any) -> bool:
        """`import nodes.image` binds `nodes.image`, and reloading a module writes `__spec__` and the like."""
        if isinstance(value, ModuleType):
            return sys.modules.get(f"{self.__name__}.{name}") is value
        return name != "__all__" and name.startswith("__") and name.endswith("__")


def give_face(module_name: str, names: MutableMapping[str, Any]) -> None:
    """Have packs see these names in one of our modules from now on."""
    module = importlib.import_module(module_name)
    module.__class__ = type("Face", (Face,), {"pack_names": names})


def take_faces(module_names: Iterable[str]) -> None:
    """Make modules plain again."""
    for name in module_names:
        if isinstance(module := sys.modules.get(name), Face):
            module.__class__ = ModuleType
