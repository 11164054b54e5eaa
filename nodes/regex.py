"""Nodes around Python's regular expressions. They are searched in a process of their own; see `regex_process.py`."""

from __future__ import annotations

import re
from typing import Any

from nodes.regex_process import processes
from nodes.regex_worker import MODES
from nodes.text import choice, multiline

Flags = tuple[bool, bool, bool]
"""Case does not count; `^` and `$` match at each line; `.` matches line breaks."""


def declared_flags() -> dict[str, Any]:
    """How the inputs for `Flags` are declared."""
    defaults = {"case_insensitive": True, "multiline": False, "dotall": False}
    return {name: ("BOOLEAN", {"default": default}) for name, default in defaults.items()}


def found(operation: str, string: str, pattern: str, flags: Flags, **arguments: Any) -> Any:
    """What an operation of `regex_worker.OPERATIONS` answers.

    Raises `re.error` for a pattern or a replacement that cannot be used, ValueError for what is no text or no
    mode at all, and what `RegexProcess.ask` raises.
    """
    answer = processes.ask(
        {
            "operation": operation,
            "pattern": (pattern, *map(bool, flags)),
            "arguments": {"string": string, **arguments},
        }
    )
    if "problem" in answer:
        raise re.error(answer["problem"])
    if "failure" in answer:
        raise ValueError(answer["failure"])
    return answer["answer"]


class RegexMatch:
    """Whether the pattern matches anywhere; one that is no pattern does not."""

    DESCRIPTION = "Tells whether a regular expression matches a text."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("BOOLEAN",)
    RETURN_NAMES = ("matches",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"string": multiline(), "regex_pattern": multiline(), **declared_flags()}}

    @classmethod
    def execute(
        cls, string: str, regex_pattern: str, case_insensitive: bool, multiline: bool, dotall: bool
    ) -> tuple[bool]:
        try:
            return (found("matches", string, regex_pattern, (case_insensitive, multiline, dotall)),)
        except re.error:
            return (False,)


class RegexExtract:
    """What the pattern finds, see `regex_worker.extracted`; "" for one that is no pattern."""

    DESCRIPTION = "Takes out of a text what a regular expression finds."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "string": multiline(),
                "regex_pattern": multiline(),
                "mode": choice(*MODES),
                **declared_flags(),
                "group_index": ("INT", {"default": 1, "min": 0, "max": 100}),
            }
        }

    @classmethod
    def execute(
        cls,
        string: str,
        regex_pattern: str,
        mode: str,
        case_insensitive: bool,
        multiline: bool,
        dotall: bool,
        group_index: int,
    ) -> tuple[str]:
        flags = (case_insensitive, multiline, dotall)
        try:
            return (found("extracted", string, regex_pattern, flags, mode=mode, group_index=group_index),)
        except re.error:
            return ("",)


class RegexReplace:
    """Every match replaced, or the first `count`; `replace` may name groups as Python does (`\\1`, `\\g<name>`).

    Raises `re.error` for a pattern or a replacement that cannot be used.
    """

    DESCRIPTION = "Replaces what a regular expression finds in a text."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"string": multiline(), "regex_pattern": multiline(), "replace": multiline()},
            "optional": {**declared_flags(), "count": ("INT", {"default": 0, "min": 0, "max": 100})},
        }

    @classmethod
    def execute(
        cls,
        string: str,
        regex_pattern: str,
        replace: str,
        case_insensitive: bool = True,
        multiline: bool = False,
        dotall: bool = False,
        count: int = 0,
    ) -> tuple[str]:
        flags = (case_insensitive, multiline, dotall)
        return (found("replaced", string, regex_pattern, flags, replace=replace, count=count),)
