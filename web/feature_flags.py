"""Feature flags that whoever starts the server adds to those that clients read. Only the standard library."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple


class KnownFlag(NamedTuple):
    """A flag that front ends are known to read. All of them are yes or no."""

    default: bool
    description: str


KNOWN_FLAGS = {
    "show_signin_button": KnownFlag(False, "the front end offers to sign in"),
    "enable_telemetry": KnownFlag(False, "the front end may report how it is used"),
    "partner_run_gate_enabled": KnownFlag(False, "the front end asks before it runs paid nodes"),
}

FLAGS_OF_THE_SERVER = frozenset({
    "supports_preview_metadata", "max_upload_size", "supports_model_type_tags", "extension", "node_replacements",
    "assets", "supports_progress_text_metadata",
})
"""They say what the server can do, so an option cannot change them."""


def read_flags(texts: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """The flags that texts like `KEY` and `KEY=VALUE` set, and a sentence for each one that is left out.

    A bare key is true. The value of a known flag is `true` or `false`, that of any other stays text.
    """
    flags: dict[str, Any] = {}
    problems = []
    for text in texts:
        key, sign, value = text.partition("=")
        key = key.strip()
        if not key:
            problems.append(f"--feature-flag {text}: it has no name")
        elif key in FLAGS_OF_THE_SERVER:
            problems.append(f"--feature-flag {key}: the server itself says what it can do")
        elif not sign:
            flags[key] = True
        elif key in KNOWN_FLAGS and value.strip().lower() not in ("true", "false"):
            problems.append(f"--feature-flag {key}: {value!r} is neither true nor false")
        else:
            flags[key] = value.strip().lower() == "true" if key in KNOWN_FLAGS else value
    return flags, problems


def known_flags_as_json() -> str:
    """What `--list-feature-flags` prints."""
    return json.dumps({key: {"type": "bool", "default": flag.default, "description": flag.description}
                       for key, flag in KNOWN_FLAGS.items()}, indent=2)
