"""Merging of JSON values, by the name that packs know."""

from typing import Any


def merge_json_recursive(base: Any, update: Any) -> Any:
    """`base` with what `update` has: dicts are merged key by key, in place; lists joined; anything else replaced."""
    if isinstance(base, dict) and isinstance(update, dict):
        for key, value in update.items():
            base[key] = merge_json_recursive(base[key], value) if key in base else value
        return base
    if isinstance(base, list) and isinstance(update, list):
        return base + update
    return update
