"""The prompt as authors of class-attribute nodes see it: dicts that they may read, walk and change.

The engine reads an immutable graph. This is one mutable copy for each prompt, made when a node first asks for it.
"""

import copy
from collections.abc import Mapping
from typing import Any

from execution import PromptScope

_KEY = "class_nodes.dynamic_prompt"
_PLAIN = frozenset({str, int, float, bool, type(None)})


def _copied(value: Any) -> Any:
    """A deep copy. What came as JSON is copied many times faster than `copy.deepcopy` does it: for an async node that
    takes the prompt this happens on the loop."""
    kind = value.__class__
    if kind is dict:
        return {name: item if item.__class__ in _PLAIN else _copied(item) for name, item in value.items()}
    if kind is list:
        return [item if item.__class__ in _PLAIN else _copied(item) for item in value]
    return value if kind in _PLAIN else copy.deepcopy(value)


class DynamicPrompt:
    """All nodes of a prompt by id, expansions included. `get_node` returns the live dict of a node.

    :param original_prompt: the prompt as it was submitted, with converted constants.
    """

    def __init__(self, original_prompt: dict[str, Any]) -> None:
        self.original_prompt = original_prompt
        self.ephemeral_prompt: dict[str, Any] = {}
        self.ephemeral_parents: dict[str, str] = {}
        self.ephemeral_display: dict[str, str] = {}
        self._scope: PromptScope | None = None

    @classmethod
    def of_submitted(cls, prompt: Mapping[str, Any]) -> "DynamicPrompt":
        """A copy of a prompt as its client sent it. It knows nothing of expansions."""
        return cls(_copied(dict(prompt)))

    @classmethod
    def of(cls, scope: PromptScope) -> "DynamicPrompt":
        """The one copy of this prompt."""
        return scope.kept(_KEY, cls._copy_of)

    @classmethod
    def _copy_of(cls, scope: PromptScope) -> "DynamicPrompt":
        prompt = cls(_copied(dict(scope.submitted)))
        for node_id, fingerprint in list(scope.fingerprints.items()):  # another thread may add some
            if node_id in prompt.original_prompt:
                prompt.original_prompt[node_id]["is_changed"] = fingerprint
        prompt._scope = scope
        return prompt

    def get_node(self, node_id: str) -> dict[str, Any]:
        """The live dict of a node: `class_type`, `inputs`, and whatever was submitted with them.

        :raises KeyError: there is no such node.
        """
        if node_id not in self.original_prompt and node_id not in self.ephemeral_prompt:
            self._copy_added(node_id)
        found = self.ephemeral_prompt.get(node_id)
        node: dict[str, Any] = self.original_prompt[node_id] if found is None else found
        return node

    def has_node(self, node_id: str) -> bool:
        return node_id in self.original_prompt or node_id in self.ephemeral_prompt or (
            self._scope is not None and node_id in self._scope.parents)

    def add_ephemeral_node(self, node_id: str, node_info: dict[str, Any], parent_id: str, display_id: str) -> None:
        """Add a node to this copy. The engine does not run it: return it under `expand` for that."""
        self.ephemeral_prompt[node_id] = node_info
        self.ephemeral_parents[node_id] = parent_id
        self.ephemeral_display[node_id] = display_id

    def override_node(self, node_id: str, node_info: dict[str, Any]) -> None:
        """Replace a node in this copy without touching the submitted prompt."""
        self.ephemeral_prompt[node_id] = node_info

    def get_parent_node_id(self, node_id: str) -> str | None:
        if node_id in self.ephemeral_parents or self._scope is None:
            return self.ephemeral_parents.get(node_id)
        return self._scope.parents.get(node_id)  # type: ignore[call-overload, no-any-return]

    def get_real_node_id(self, node_id: str) -> str:
        """The node of the submitted prompt that a node came from."""
        while (parent := self.get_parent_node_id(node_id)) is not None:
            node_id = parent
        return node_id

    def get_display_node_id(self, node_id: str) -> str:
        """The node that a front end should light up for a node."""
        if node_id in self.ephemeral_display:
            return self.ephemeral_display[node_id]
        return node_id if self._scope is None else self._scope.displays.get(node_id, node_id)  # type: ignore[call-overload, no-any-return]

    def all_node_ids(self) -> set[str]:
        added = set() if self._scope is None else set(self._scope.parents)
        return {*self.original_prompt, *self.ephemeral_prompt, *added}

    def get_original_prompt(self) -> dict[str, Any]:
        return self.original_prompt

    def _copy_added(self, node_id: str) -> None:
        scope = self._scope
        node = None if scope is None else scope.nodes.get(node_id)  # type: ignore[call-overload]
        if node is None or scope is None:
            raise KeyError(node_id)
        self.ephemeral_prompt[node_id] = {"class_type": node.class_type, "inputs": dict(node.inputs)}
        self.ephemeral_parents[node_id] = scope.parents[node_id]  # type: ignore[index]
        self.ephemeral_display[node_id] = scope.displays[node_id]  # type: ignore[index]
