"""The registry of a server that has packs: some classes are left out."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from execution import NodeDefinition, NodeRegistry


class PackRegistry(NodeRegistry):
    """Definitions by class name, as the engine looks them up.

    :param left_out: names that are never taken, whoever offers them.
    """

    def __init__(self, left_out: Collection[str] = ()) -> None:
        super().__init__()
        self.left_out = frozenset(left_out)

    def add(self, definition: NodeDefinition, *, built_in: bool = False) -> bool:
        return definition.class_type not in self.left_out and super().add(definition, built_in=built_in)


def read_left_out(file: Path) -> frozenset[str]:
    """Names of classes in a YAML file: a list, or several of them under headings.

    :raises ValueError: it is something else. The message names the file.
    :raises OSError: it cannot be read.
    """
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    return frozenset(_names_in(said, file))


def _names_in(said: Any, file: Path) -> list[str]:
    if said is None:
        return []
    if isinstance(said, dict):
        return [name for names in said.values() for name in _names_in(names, file)]
    if isinstance(said, list) and all(isinstance(name, str) for name in said):
        return said
    raise ValueError(f"{file}: it should be a list of class names, or lists of them under headings")
