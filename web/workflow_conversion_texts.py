"""What editors do to texts before they post them: choices in prompts are drawn, and file names are filled in."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

NAMED_FILES = frozenset({"SaveImage", "SaveAnimatedPNG", "SaveAnimatedWEBP", "SaveAudio", "SaveVideo", "SaveSVGNode"})
"""Classes whose `filename_prefix` may hold `%date:yyyy-MM-dd%` and `%node.widget%`."""
LONGEST_FILLED = 200
"""Characters that one such text is replaced with."""

_COMMENT = re.compile(r"/\*|//")
_PLACEHOLDER = re.compile(r"%([^%]+)%")
_NOT_IN_FILE_NAMES = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')
_PARTS_OF_A_DATE = re.compile("d{1,2}|M{1,2}|yyyy|yy|h{1,2}|m{1,2}|s{1,2}")


def drawn_choices(text: str, chance: random.Random) -> str:
    """A text without comments, and with one of `{several|choices}` each. `\\{`, `\\|` and `\\}` are no choices.

    Groups may lie within others; a brace that has no counterpart stays.
    """
    text = _without_comments(text)
    # Each open group: its finished choices, and the one that is being read. What is drawn is put into the group
    # around it as it is, and joined once, at the end.
    groups: list[list[Parts]] = [[[]]]
    at = 0
    while at < len(text):
        sign = text[at]
        if sign == "\\" and text[at + 1:at + 2] in ("{", "}", "|"):
            at += 1
            groups[-1][-1].append(text[at])
        elif sign == "{":
            groups.append([[]])
        elif sign == "|" and len(groups) > 1:
            groups[-1].append([])
        elif sign == "}" and len(groups) > 1:
            drawn = chance.choice(groups.pop())
            groups[-1][-1].append(drawn)
        else:
            groups[-1][-1].append(sign)
        at += 1
    while len(groups) > 1:
        unfinished = groups.pop()
        for number, choice in enumerate(unfinished):
            groups[-1][-1] += ["|" if number else "{", choice]
    return _joined(groups[0][0])


Parts = list[Any]
"""Texts, and lists of the same."""


def _joined(parts: Parts) -> str:
    joined: list[str] = []
    waiting = [iter(parts)]
    while waiting:
        for part in waiting[-1]:
            if isinstance(part, list):
                waiting.append(iter(part))
                break
            joined.append(part)
        else:
            waiting.pop()
    return "".join(joined)


def _without_comments(text: str) -> str:
    """Without `/* ... */`, and `//` to the end of its line."""
    kept: list[str] = []
    at, last_end = 0, text.rfind("*/")
    for found in _COMMENT.finditer(text):
        begin = found.start()
        if begin < at:
            continue
        if found[0] == "//":
            end = text.find("\n", begin)
            end = len(text) if end < 0 else end
        elif begin + 2 <= last_end:
            end = text.index("*/", begin + 2) + 2
        else:
            continue
        kept.append(text[at:begin])
        at = end
    return "".join([*kept, text[at:]])


def filled_name(text: str, value_of: Callable[[str, str], Any], now: datetime) -> str:
    """A name of a file with its dates and values of widgets put in; what means neither stays as it is.

    :param value_of: the value of a widget by the names of its node and itself, None if there is none.
    """
    def filled(found: re.Match[str]) -> str:
        said = found[1]
        if said.startswith("date:"):
            return _NOT_IN_FILE_NAMES.sub("_", formatted_date(said[5:], now))[:LONGEST_FILLED]
        node, dot, widget = said.partition(".")
        value = value_of(node, widget) if dot else None
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str) and not (isinstance(value, (int, float)) and abs(value) < 1e300):
            return found[0]
        return _NOT_IN_FILE_NAMES.sub("_", str(value)[:LONGEST_FILLED])

    return _PLACEHOLDER.sub(filled, text)


def formatted_date(form: str, now: datetime) -> str:
    """`yyyy-MM-dd hh:mm:ss`, each part with one letter or two; hours are counted to 24."""
    parts = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def part(found: re.Match[str]) -> str:
        letters = found[0]
        if letters[0] == "y":
            return f"{now.year:04}"[-len(letters):]
        return f"{parts[letters[0]]:0{len(letters)}}"

    return _PARTS_OF_A_DATE.sub(part, form)
