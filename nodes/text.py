"""Values shown as text, and what Python's `str` can do with texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any


def as_text(value: Any) -> str:
    """Text as it is, numbers, booleans and None as Python writes them, else JSON, else what `str` says."""
    if isinstance(value, str):
        return value
    # A value of any class may fail in any way to show itself; that is no reason to fail the prompt.
    if value is not None and not isinstance(value, (bool, int, float)):
        try:
            return json.dumps(value)
        except Exception:
            pass
    try:
        return str(value)
    except Exception:
        return "This value can be shown neither as JSON nor as text."


class PreviewAny:
    """Shows any value as text; see `as_text`."""

    DESCRIPTION = "Shows any value as text."
    CATEGORY = "utils"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "main"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"source": ("*", {})}}

    def main(self, source: Any = None) -> dict[str, Any]:
        return {"ui": {"text": [as_text(source)]}}


# --- strings ---------------------------------------------------------------------------------------------


def multiline() -> tuple[str, dict[str, Any]]:
    """How an input that takes a text is declared."""
    return "STRING", {"multiline": True}


def choice(*options: str) -> tuple[str, dict[str, Any]]:
    """How an input that takes one of these is declared."""
    return "COMBO", {"multiselect": False, "options": list(options)}


def unknown_mode(mode: str, known: Iterable[str]) -> ValueError:
    """What to raise at a mode that came by a link, or from a caller in Python."""
    return ValueError(f"unknown mode {mode!r}; there are {', '.join(known)}")


def folded_case(case_sensitive: bool, *strings: str) -> tuple[str, ...]:
    """The strings as they are to be compared: lower-cased, not case-folded, unless case counts."""
    return strings if case_sensitive else tuple(string.lower() for string in strings)


CASES: dict[str, Callable[[str], str]] = {
    "UPPERCASE": str.upper, "lowercase": str.lower, "Capitalize": str.capitalize, "Title Case": str.title,
}  # fmt: skip
TRIMS: dict[str, Callable[[str], str]] = {"Both": str.strip, "Left": str.lstrip, "Right": str.rstrip}
COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "Starts With": str.startswith, "Ends With": str.endswith, "Equal": str.__eq__,
}  # fmt: skip


class StringConcatenate:
    """Both strings with the delimiter between them."""

    DESCRIPTION = "Joins two texts."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        delimiter = ("STRING", {"default": "", "multiline": False})
        return {"required": {"string_a": multiline(), "string_b": multiline(), "delimiter": delimiter}}

    @classmethod
    def execute(cls, string_a: str, string_b: str, delimiter: str) -> tuple[str]:
        return (string_a + delimiter + string_b,)


class StringSubstring:
    """From `start` to before `end`; negative positions count from the end, and what is out of range is cut."""

    DESCRIPTION = "Cuts a part out of a text."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"string": multiline(), "start": ("INT", {}), "end": ("INT", {})}}

    @classmethod
    def execute(cls, string: str, start: int, end: int) -> tuple[str]:
        return (string[start:end],)


class StringLength:
    """How many code points."""

    DESCRIPTION = "Counts the characters of a text."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("INT",)
    RETURN_NAMES = ("length",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"string": multiline()}}

    @classmethod
    def execute(cls, string: str) -> tuple[int]:
        return (len(string),)


class CaseConverter:
    """Upper case, lower case, or a capital at the start of the text or of each word; see `CASES`."""

    DESCRIPTION = "Changes upper and lower case."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"string": multiline(), "mode": choice(*CASES)}}

    @classmethod
    def execute(cls, string: str, mode: str) -> tuple[str]:
        if mode not in CASES:
            raise unknown_mode(mode, CASES)
        return (CASES[mode](string),)


class StringTrim:
    """Without the white space at its ends."""

    DESCRIPTION = "Removes white space at the ends of a text."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"string": multiline(), "mode": choice(*TRIMS)}}

    @classmethod
    def execute(cls, string: str, mode: str) -> tuple[str]:
        if mode not in TRIMS:
            raise unknown_mode(mode, TRIMS)
        return (TRIMS[mode](string),)


class StringReplace:
    """Every occurrence, literally. An empty `find` is found between all characters and at both ends."""

    DESCRIPTION = "Replaces a text within a text."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"string": multiline(), "find": multiline(), "replace": multiline()}}

    @classmethod
    def execute(cls, string: str, find: str, replace: str) -> tuple[str]:
        return (string.replace(find, replace),)


class StringContains:
    """Whether the substring occurs; an empty one does."""

    DESCRIPTION = "Tells whether a text contains another."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("BOOLEAN",)
    RETURN_NAMES = ("contains",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        case_sensitive = ("BOOLEAN", {"default": True})
        return {"required": {"string": multiline(), "substring": multiline(), "case_sensitive": case_sensitive}}

    @classmethod
    def execute(cls, string: str, substring: str, case_sensitive: bool) -> tuple[bool]:
        string, substring = folded_case(case_sensitive, string, substring)
        return (substring in string,)


class StringCompare:
    """Whether `string_a` begins with, ends with or is `string_b`."""

    DESCRIPTION = "Compares two texts."
    CATEGORY = "utils/string"
    RETURN_TYPES = ("BOOLEAN",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "string_a": multiline(),
                "string_b": multiline(),
                "mode": choice(*COMPARISONS),
                "case_sensitive": ("BOOLEAN", {"default": True}),
            }
        }

    @classmethod
    def execute(cls, string_a: str, string_b: str, mode: str, case_sensitive: bool) -> tuple[bool]:
        if mode not in COMPARISONS:
            raise unknown_mode(mode, COMPARISONS)
        return (COMPARISONS[mode](*folded_case(case_sensitive, string_a, string_b)),)
