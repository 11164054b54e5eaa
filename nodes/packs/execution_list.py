"""The host's list of nodes that wait, by its name and those of its methods: each says what to use instead."""

from typing import Any, NoReturn

from .absent_names import SCHEDULE
from .node_order import TopologicalSort
from .not_offered import NotOffered, absent_class

NAME = "comfy_execution.graph.ExecutionList"
_WAITS = "make the function of the node async, and await there what it waits for"
_ORDER = "the engine keeps the order by itself; to compute one, use comfy_execution.graph.TopologicalSort"
_INSTEAD = {
    "inhibit_nodes": "give out an ExecutionBlocker for those that must not run, or make their inputs lazy",
    "add_external_block": _WAITS, "release_external_block": _WAITS, "get_external_block_result": _WAITS,
    **{name: _ORDER for name, found in vars(TopologicalSort).items() if callable(found) and not name.startswith("_")},
}


def _absent_method(name: str, instead: str) -> Any:
    def absent(*_: Any, **__: Any) -> NoReturn:
        raise NotOffered(f"{NAME}.{name}", instead)

    absent.__name__, absent.__qualname__ = name, f"ExecutionList.{name}"
    absent.__doc__ = f"Not offered: {instead}."
    return absent


ExecutionList = absent_class(
    NAME, SCHEDULE, **{name: _absent_method(name, instead) for name, instead in _INSTEAD.items()})
