"""Errors that say whose fault it is. What a node raises is none of these: it becomes an event."""

from collections.abc import Mapping
from typing import Any


class StudioError(Exception):
    """Base of all errors that the engine raises on purpose."""


class PromptRejected(StudioError):
    """The caller's fault: the prompt cannot run. `error` and `node_errors` say every reason found."""

    def __init__(self, error: Mapping[str, Any], node_errors: Mapping[str, Any] | None = None) -> None:
        super().__init__(error.get("message", "the prompt was rejected"))
        self.error = dict(error)
        self.node_errors = dict(node_errors or {})


class PromptConflict(StudioError):
    """The caller's fault: this id belongs to another prompt that is queued or running."""


class PromptUnknown(StudioError, KeyError):
    """No prompt has this id."""


class EngineClosed(StudioError):
    """The engine is shutting down and takes nothing more."""


class InvariantViolated(StudioError):
    """Our fault: the scheduler reached a state that it must never reach."""


class NodeInputError(StudioError):
    """A node's fault: it asked for an input that it does not have."""


class DependencyCycleError(StudioError):
    """A node's fault: its expansion made a cycle."""


class DuplicateNodeError(StudioError):
    """A node's fault: its expansion holds a node id that already exists."""


class ImpossibleResourcesError(StudioError):
    """A node's fault: its expansion holds a node that needs more of a pool than there is."""


class NodeNotFoundError(StudioError):
    """A node's fault: its expansion links to a node that does not exist, or names an unknown class."""
