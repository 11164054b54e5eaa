"""Prompts that name classes which are gone: what packs registered to stand for them is put in their place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Replacement = Mapping[str, Any]


def replace_old_classes(prompt: Any, replacements: Mapping[str, Sequence[Replacement]],
                        is_known: Callable[[str], bool]) -> None:
    """Rewrite, in place, each node whose class is unknown and has a replacement that is known: its first one.

    Whatever is no node is passed over, and so is a replacement that makes no sense.
    """
    if not replacements or not isinstance(prompt, dict):
        return
    slots: dict[str, Mapping[int, int]] = {}
    for node_id, node in prompt.items():
        found = _replacement_of(node, replacements, is_known)
        if found is not None:
            node["class_type"] = found["new_node_id"]
            mapping = found.get("input_mapping")
            if mapping is not None:
                node["inputs"] = _mapped_inputs(node["inputs"], mapping)
            slots[node_id] = {one["old_idx"]: one["new_idx"] for one in found.get("output_mapping") or ()
                              if isinstance(one.get("old_idx"), int) and isinstance(one.get("new_idx"), int)}
    if any(slots.values()):
        _follow(prompt, slots)


def _replacement_of(node: Any, replacements: Mapping[str, Sequence[Replacement]],
                    is_known: Callable[[str], bool]) -> Replacement | None:
    if not isinstance(node, dict) or not isinstance(node.get("inputs"), dict):
        return None
    class_type = node.get("class_type")
    if not isinstance(class_type, str) or class_type not in replacements or is_known(class_type):
        return None
    offered = replacements[class_type]
    if not offered:
        return None
    new_class = offered[0].get("new_node_id")
    return offered[0] if isinstance(new_class, str) and is_known(new_class) else None


def _mapped_inputs(inputs: Mapping[str, Any], mapping: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Inputs under their new names. One that the mapping does not name is gone, and one that is not there stays so."""
    mapped: dict[str, Any] = {}
    for one in mapping:
        if not isinstance(one.get("new_id"), str):
            continue
        if "set_value" in one:
            mapped[one["new_id"]] = one["set_value"]
        elif isinstance(one.get("old_id"), str) and one["old_id"] in inputs:
            mapped[one["new_id"]] = inputs[one["old_id"]]
    return mapped


def _follow(prompt: Mapping[str, Any], slots: Mapping[str, Mapping[int, int]]) -> None:
    """Have links from the nodes that were rewritten lead to the slots that their outputs have now."""
    for node in prompt.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if not isinstance(inputs, dict):
            continue
        for name, value in inputs.items():
            if not isinstance(value, list) or len(value) != 2:
                continue
            source, slot = value
            moved = slots.get(source) if isinstance(source, str) else None
            if moved and slot.__class__ is int and slot in moved:
                inputs[name] = [source, moved[slot]]
