"""Tells packs that replace names of the host what becomes of that: some are never called, some only beside a run.

An assignment always works, so nobody would find out otherwise. Said once in the log, and in the report of the pack.
"""

import functools
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .pack_import import PackPlace
from .pack_reports import PackReport

logger = logging.getLogger(__name__)

_WITH_EFFECT = frozenset({
    "execution.validate_prompt", "PromptQueue.put", "PromptServer.trigger_on_prompt",
    "PromptServer.add_on_prompt_handler", "nodes.NODE_CLASS_MAPPINGS", "nodes.NODE_DISPLAY_NAME_MAPPINGS",
    "nodes.EXTENSION_WEB_DIRS", "nodes.LOADED_MODULE_DIRS"})
_BESIDE_RUNS = frozenset({
    "execution.PromptExecutor", "execution.get_input_data", "PromptExecutor.__init__", "PromptExecutor.execute",
    "PromptExecutor.execute_async", "PromptExecutor.handle_execution_error", "PromptExecutor.reset",
    "PromptServer.send_sync"})

_MISSING = object()


class ReplacedNames:
    """What packs have put in place of names of the host, as of the last look.

    :param written: where what packs assign to our modules ends up, by module.
    :param before: the names that packs see there before the first one assigned any.
    :param methods: of our classes that packs replace: class -> name -> what we have there.
    :param objects: the objects of these classes that there are one of: packs replace methods on them, too.
    """

    def __init__(self, written: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]],
                 methods: Mapping[type, Mapping[str, Any]], objects: Sequence[object]) -> None:
        self._written = written
        self._before = {module: dict(names) for module, names in before.items()}
        self._methods = methods
        self._objects = objects
        self._packs: dict[str, tuple[PackPlace, PackReport]] = {}
        self._seen: dict[str, Any] = {}
        self._told: set[tuple[str, str]] = set()

    def look(self, place: PackPlace | None = None, report: PackReport | None = None) -> None:
        """Say what is new. On the server's loop.

        :param place: of the pack that has just been imported, with its report; it is blamed for what nobody owns.
        """
        if place is not None and report is not None:
            self._packs[place.name] = (place, report)
            self._seen = {name: value for name, value in self._seen.items() if not _belongs_to(value, place)}
        for name, value in self._replaced():
            if self._seen.get(name, _MISSING) is value:
                continue
            self._seen[name] = value
            sentence = _sentence_about(name)
            if sentence is not None:
                self._tell(name, value, sentence, place)

    def _replaced(self) -> Iterator[tuple[str, Any]]:
        for module, names in self._written.items():
            before = self._before[module]
            for name, value in list(names.items()):
                if name in before and before[name] is not value:
                    yield f"{module}.{name}", value
        for one in self._objects:
            for name in self._methods[type(one)]:
                if name in vars(one):
                    yield f"{type(one).__name__}.{name}", vars(one)[name]
        for owner, originals in self._methods.items():
            for name, original in originals.items():
                if (value := owner.__dict__.get(name, original)) is not original:
                    yield f"{owner.__name__}.{name}", value

    def _tell(self, name: str, value: Any, sentence: str, loading: PackPlace | None) -> None:
        owners = [known for known in self._packs.values() if _belongs_to(value, known[0])]
        if not owners and loading is not None:
            owners = [self._packs[loading.name]]
        pack = ""
        if owners:
            pack, report = owners[0][0].name, owners[0][1]
            if sentence not in report.notes:
                report.notes.append(sentence)
        if (name, pack) not in self._told:
            self._told.add((name, pack))
            logger.warning("%s: %s", f"pack {pack}" if pack else "a pack", sentence)


def _sentence_about(name: str) -> str | None:
    if name in _WITH_EFFECT:
        return None
    if name in _BESIDE_RUNS:
        return (f"It replaces {name}, which is called beside the run of a prompt here: the run does not wait for it, "
                "and what it changes has no effect.")
    return f"It replaces {name}, which this server never calls: what was put there has no effect on prompts."


def _belongs_to(value: Any, place: PackPlace) -> bool:
    """Whether the code of what was put in place of a name lies in a pack."""
    return place.holds(_file_of(value))


def _file_of(value: Any) -> str:
    """Where code lies. Not where it says it does: `functools.wraps` copies that from what it wraps."""
    while isinstance(value, (functools.partial, staticmethod, classmethod)):
        value = value.func if isinstance(value, functools.partial) else value.__func__
    function: Callable[..., Any] = getattr(value, "__func__", value)
    code = getattr(function, "__code__", None)
    if code is not None:
        return str(code.co_filename)
    owner = value if isinstance(value, type) else type(value)
    return str(getattr(sys.modules.get(owner.__module__), "__file__", None) or "")
