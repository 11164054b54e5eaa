"""Classes of nodes that took the place of others, as packs tell. Whoever serves prompts and clients reads the table."""

from collections.abc import Mapping
from typing import Any

NODE_REPLACEMENTS: dict[str, list[dict[str, Any]]] = {}
"""By the class that is gone: what stands for it, the one that was registered first in front. As clients read it."""


def register_replacement(replacement: Mapping[str, Any]) -> None:
    """Take a replacement, `NodeReplace.as_dict()`; one of the same two classes as before is passed over.

    :raises TypeError: it does not name two classes, or its mappings are no lists of dicts.
    """
    old, new = replacement["old_node_id"], replacement["new_node_id"]
    if not isinstance(old, str) or not isinstance(new, str):
        raise TypeError(f"a replacement names two classes, and not {old!r} and {new!r}")
    for key in ("input_mapping", "output_mapping"):
        mapping = replacement[key]
        if mapping is not None and not (isinstance(mapping, list) and all(isinstance(one, dict) for one in mapping)):
            raise TypeError(f"{key} of the replacement of {old!r} is a list of dicts, and not {mapping!r}")
    known = NODE_REPLACEMENTS.setdefault(old, [])
    if all(one["new_node_id"] != new for one in known):
        known.append(dict(replacement))
