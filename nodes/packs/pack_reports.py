"""What became of a pack, as data: its nodes, what was refused, and why it failed, in one sentence."""

import re
import traceback
from pathlib import Path

from msgspec import Struct, field

from execution import text_of

LONGEST_SENTENCE = 300

_NAME_IN_MESSAGE = re.compile(r"cannot import name '([^']+)' from (?:partially initialized module )?'([^']+)'")


class PackFailed(Exception):
    """A pack is not made as a pack should be. The message is a sentence for its author."""


class PackReport(Struct, kw_only=True):
    """How the import of one pack went."""

    name: str
    path: str
    state: str = "loading"
    """`loading`, `loaded`, `failed`, `disabled`, or `new`: it has come since the start. A loaded pack may have refused
    nodes all the same."""
    seconds: float = 0.0
    node_names: list[str] = field(default_factory=list)
    """The classes that prompts can use now."""
    refused_nodes: dict[str, str] = field(default_factory=dict)
    """Classes that could not be taken, and why; the pack's others are there."""
    error: str | None = None
    """Why the whole pack failed, in one sentence."""
    missing_name: str | None = None
    """What it imports and does not get: a module, or a name of one, with dots."""
    traceback: str | None = None
    reload_error: str | None = None
    """Why it could not be loaded anew; its nodes are those from before."""
    notes: list[str] = field(default_factory=list)
    """What its user should know although nothing failed, a sentence each."""


def note_failure(report: PackReport, error: BaseException, pack: Path) -> None:
    """Write into the report why the whole pack failed."""
    report.state = "failed"
    report.error = sentence_of(error)
    report.missing_name = missing_name_of(error)
    report.traceback = _traceback_within(error, pack)


def _traceback_within(error: BaseException, pack: Path) -> str:
    """The traceback from where it enters the pack; our own frames tell its author nothing. Empty if it never did."""
    if isinstance(error, PackFailed):
        return ""
    frame = error.__traceback__
    while frame is not None and not frame.tb_frame.f_code.co_filename.startswith(str(pack)):
        frame = frame.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__))
    except BaseException:  # the error is of a pack, and may not be printable
        return ""


def sentence_of(error: BaseException) -> str:
    """What went wrong, on one line, in words that name what is missing."""
    text = " ".join(text_of(error).split())
    if isinstance(error, PackFailed):
        sentence = text
    elif isinstance(error, ImportError) and error.name is not None:
        from .surface_modules import is_name_for_packs

        ours = is_name_for_packs(error.name)
        if isinstance(error, ModuleNotFoundError):
            missing = "which Hanzo Studio does not offer" if ours else "which is not installed"
            sentence = f"it imports the module {error.name!r}, {missing}"
        else:
            found = _NAME_IN_MESSAGE.match(text)  # the path of a file of ours behind it helps nobody
            sentence = f"it {found[0] if found and ours else text}"
            sentence += ", and Hanzo Studio does not offer that" if ours else ""
    else:
        sentence = f"it raised {type(error).__name__}" + (f": {text}" if text else "")
    return sentence if len(sentence) <= LONGEST_SENTENCE else f"{sentence[:LONGEST_SENTENCE - 1]}…"


def missing_name_of(error: BaseException) -> str | None:
    """The name that an import, or a module, did not have: `comfy.utils.something`; None if it is no such error."""
    if isinstance(error, ModuleNotFoundError):
        return error.name
    if isinstance(error, ImportError):
        found = _NAME_IN_MESSAGE.match(str(error))
        return error.name if found is None else f"{found[2]}.{found[1]}"
    if isinstance(error, AttributeError) and isinstance(error.obj, type(re)):
        return f"{error.obj.__name__}.{error.name}"
    return None
