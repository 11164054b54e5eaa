"""What is done with regular expressions, and the process that does it: lines of JSON in, lines of JSON out.

Some patterns backtrack for ever, and Python keeps its interpreter's lock all the while: on a thread of the server
one such pattern would stop everything. `regex_process.py` runs this file as a process, which can be ended. So it
imports nothing but the standard library, and little of that.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import IO, Any


class BadPattern(ValueError):
    """The pattern or the replacement cannot be used."""


def compiled(pattern: str, case_insensitive: bool, multiline: bool, dotall: bool) -> re.Pattern[str]:
    """Raises BadPattern."""
    flags = re.IGNORECASE * case_insensitive | re.MULTILINE * multiline | re.DOTALL * dotall
    try:
        return re.compile(pattern, flags)
    # Python has more words for it than its own: counts too large, nesting too deep, flags that exclude each other.
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        raise BadPattern(str(error)) from error


def matches(string: str, pattern: re.Pattern[str]) -> bool:
    """Whether it matches anywhere."""
    return pattern.search(string) is not None


MODES = ("First Match", "All Matches", "First Group", "All Groups")


def extracted(string: str, pattern: re.Pattern[str], mode: str, group_index: int) -> str:
    """What the pattern found.

    `First Match` and `All Matches` are whole matches, but of a pattern with groups the latter is the first group of
    each. `First Group` and `All Groups` take the group that `group_index` names, 0 for the whole match. Several are
    joined by line breaks. A group that does not exist or took no part is "", and so is no match.
    """
    found = pattern.finditer(string)
    if mode == "First Match":
        return next((match[0] for match in found), "")
    if mode == "All Matches":
        return "\n".join(_group(match, 1 if pattern.groups else 0) for match in found)
    if mode == "First Group":
        return next((_group(match, group_index) for match in found), "")
    if mode == "All Groups":
        # Even the whole match, unless the pattern has a group.
        has_it = pattern.groups > 0 and 0 <= group_index <= pattern.groups
        return "\n".join(_group(match, group_index) for match in found) if has_it else ""
    raise ValueError(f"unknown mode {mode!r}; there are {', '.join(MODES)}")


def _group(match: re.Match[str], index: int) -> str:
    return (match[index] or "") if 0 <= index <= match.re.groups else ""


def replaced(string: str, pattern: re.Pattern[str], replace: str, count: int) -> str:
    """At most `count` matches replaced, all for 0; `replace` as Python writes it. Raises BadPattern."""
    try:
        return pattern.sub(replace, string, count=count)
    except (re.error, IndexError) as error:
        raise BadPattern(str(error)) from error


OPERATIONS: dict[str, Callable[..., Any]] = {"matches": matches, "extracted": extracted, "replaced": replaced}


def answer_of(request: dict[str, Any]) -> dict[str, Any]:
    """`answer`; or the text of a `problem` with the pattern, or of a `failure` for any other reason.

    The request names the operation, the pattern with its flags, and the operation's other arguments.
    """
    try:
        pattern = compiled(*request["pattern"])
        return {"answer": OPERATIONS[request["operation"]](pattern=pattern, **request["arguments"])}
    except BadPattern as problem:
        return {"problem": str(problem)}
    except Exception as error:
        return {"failure": f"{type(error).__name__}: {error}"}


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """One line for each line, until there are no more."""
    for line in requests:
        answers.write(json.dumps(answer_of(json.loads(line))).encode() + b"\n")
        answers.flush()


def end_with(parent: int) -> None:
    """Who waits for a line notices the end of the parent; who is busy has to look, each second that it is busy."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the server, which then ends us
    if not hasattr(signal, "setitimer"):
        return

    def look(*_: Any) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGVTALRM, look)
    signal.setitimer(signal.ITIMER_VIRTUAL, 1, 1)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    serve(sys.stdin.buffer, sys.stdout.buffer)
