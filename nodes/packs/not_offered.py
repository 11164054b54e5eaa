"""Names that packs import and that nothing stands behind here: they can be named and subclassed, not called."""

from collections.abc import Callable
from typing import Any, NoReturn


class NotOffered(NotImplementedError):
    """A pack called something that Hanzo Studio has by its name only. The message says what to use instead."""

    def __init__(self, name: str, instead: str) -> None:
        super().__init__(f"{name} is not offered by Hanzo Studio: {instead}")
        self.offered_name = name
        self.instead = instead


def absent_function(name: str, instead: str) -> Callable[..., NoReturn]:
    """A function that raises NotOffered.

    :param name: with its module, `comfy.sd.load_unet`, say.
    """
    def absent(*_: Any, **__: Any) -> NoReturn:
        raise NotOffered(name, instead)

    absent.__module__, _, absent.__name__ = name.rpartition(".")
    absent.__qualname__ = absent.__name__
    absent.__doc__ = f"Not offered: {instead}."
    return absent


def absent_class(name: str, instead: str, **attributes: Any) -> type:
    """A class whose constructor raises NotOffered. Packs subclass it; a subclass with a constructor of its own works.

    :param attributes: what the class has for real.
    """
    module, _, short = name.rpartition(".")

    def __init__(self: Any, *_: Any, **__: Any) -> None:
        raise NotOffered(name, instead)

    return type(short, (), {"__init__": __init__, "__module__": module, "__qualname__": short,
                            "__doc__": f"Not offered: {instead}.", **attributes})


def absent(name: str, instead: str) -> Any:
    """A class for a name that begins with a capital, a function for any other."""
    short = name.rpartition(".")[2].lstrip("_")
    return absent_class(name, instead) if short[:1].isupper() else absent_function(name, instead)
