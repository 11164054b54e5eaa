"""The progress of a prompt as packs know it: one registry a prompt, and handlers that are told what happens.

Nothing is kept of a prompt unless a pack asks. Handlers are called on a thread of their own, in order.
"""

import threading
from enum import Enum
from typing import Any, TypedDict

from execution import (
    NodeFinished,
    NodeProgressed,
    NodeStarted,
    PromptFinished,
    get_current_node,
    report_progress,
    report_text,
)
from nodes.environment import environment


class NodeState(Enum):
    """How far a node is."""

    Pending = "pending"
    Running = "running"
    Finished = "finished"
    Error = "error"


class NodeProgressState(TypedDict):
    """A row of a table of progress."""

    state: NodeState
    value: float
    max: float


class ProgressHandler:
    """Is told of the progress of one prompt. To be subclassed.

    :param name: by which it can be disabled and taken out again.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.enabled = True

    def set_registry(self, registry: "ProgressRegistry") -> None:
        """It was registered."""

    def start_handler(self, node_id: str, state: NodeProgressState, prompt_id: str) -> None:
        """A node begins."""

    def update_handler(self, node_id: str, value: float, max_value: float, state: NodeProgressState, prompt_id: str,
                       image: Any = None) -> None:
        """A node tells how far it is."""

    def finish_handler(self, node_id: str, state: NodeProgressState, prompt_id: str) -> None:
        """A node has ended."""

    def reset(self) -> None:
        """Its prompt has ended."""

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False


class CLIProgressHandler(ProgressHandler):
    """Writes nothing: the log of the server says what it has to."""

    def __init__(self) -> None:
        super().__init__("cli")


class WebUIProgressHandler(ProgressHandler):
    """Sends nothing: the server tells clients of progress by itself."""

    def __init__(self, server_instance: Any) -> None:
        super().__init__("webui")
        self.server_instance = server_instance


class ProgressRegistry:
    """The progress of the nodes of one prompt."""

    def __init__(self, prompt_id: str | None, dynprompt: Any = None) -> None:
        self.prompt_id = prompt_id
        self.dynprompt = dynprompt
        self.nodes: dict[str, NodeProgressState] = {}
        self.handlers: dict[str, ProgressHandler] = {}

    # -- handlers ---------------------------------------------------------------------------------------------------

    def register_handler(self, handler: ProgressHandler) -> None:
        self.handlers[handler.name] = handler
        handler.set_registry(self)

    def unregister_handler(self, handler_name: str) -> None:
        self.handlers.pop(handler_name, None)

    def enable_handler(self, handler_name: str) -> None:
        if handler_name in self.handlers:
            self.handlers[handler_name].enable()

    def disable_handler(self, handler_name: str) -> None:
        if handler_name in self.handlers:
            self.handlers[handler_name].disable()

    def reset_handlers(self) -> None:
        for handler in list(self.handlers.values()):
            handler.reset()

    # -- progress, told by nodes --------------------------------------------------------------------------------------

    def ensure_entry(self, node_id: str) -> NodeProgressState:
        """The row of a node; a new one is pending."""
        return self.nodes.setdefault(node_id, {"state": NodeState.Pending, "value": 0, "max": 1})

    def start_progress(self, node_id: str) -> None:
        self._told(node_id, 0.0, 1.0)

    def update_progress(self, node_id: str, value: float, max_value: float, image: Any = None) -> None:
        """Tell how far a node is.

        :param image: a PIL image, or (`PNG` or `JPEG`, PIL image, longest side or None).
        """
        self._told(node_id, value, max_value, image)

    def finish_progress(self, node_id: str) -> None:
        entry = self.ensure_entry(node_id)
        self._told(node_id, entry["max"], entry["max"])

    def set_activity(self, node_id: str, text: str | None) -> None:
        """Show a line of text on a node, or none."""
        report_text(text or "", node_id)

    def _told(self, node_id: str, value: float, max_value: float, image: Any = None) -> None:
        entry = self.ensure_entry(node_id)
        entry.update(state=NodeState.Running, value=value, max=max_value)
        preview = image if image is None or isinstance(image, tuple) else ("PNG", image, environment.preview_size)
        report_progress(value, max_value, node_id, preview)

    # -- progress, told by the engine ---------------------------------------------------------------------------------

    def take(self, event: NodeStarted | NodeProgressed | NodeFinished) -> None:
        """Note what happened to a node, and tell the handlers."""
        node_id, prompt_id = event.place.node_id, event.prompt_id
        entry = self.ensure_entry(node_id)
        handlers = [one for one in list(self.handlers.values()) if one.enabled]
        if isinstance(event, NodeStarted):
            entry.update(state=NodeState.Running, value=0.0, max=1.0)
            for handler in handlers:
                handler.start_handler(node_id, entry, prompt_id)
        elif isinstance(event, NodeProgressed):
            entry.update(state=NodeState.Running, value=event.value, max=event.maximum)
            for handler in handlers:
                handler.update_handler(node_id, event.value, event.maximum, entry, prompt_id)
        else:
            entry.update(state=NodeState.Finished, value=entry["max"])
            for handler in handlers:
                handler.finish_handler(node_id, entry, prompt_id)


_registries: dict[str, ProgressRegistry] = {}
_writing = threading.Lock()
_MOST_REGISTRIES = 256


def get_progress_state() -> ProgressRegistry:
    """The registry of the prompt that this code runs for; outside of one, one that belongs to none."""
    context = get_current_node()
    if context is None:
        return ProgressRegistry(None)
    with _writing:
        found = _registries.get(context.prompt_id)
        if found is None:
            found = _registries[context.prompt_id] = ProgressRegistry(context.prompt_id)
            while len(_registries) > _MOST_REGISTRIES:  # of prompts whose end nobody told: no server listens
                _registries.pop(next(iter(_registries)))
    return found


def reset_progress_state(prompt_id: str, dynprompt: Any) -> None:
    """Begin the registry of a prompt anew."""
    with _writing:
        _registries[prompt_id] = ProgressRegistry(prompt_id, dynprompt)


def add_progress_handler(handler: ProgressHandler) -> None:
    """Have a handler told of the prompt that this code runs for, until its end."""
    get_progress_state().register_handler(handler)


def has_handlers(prompt_id: str) -> bool:
    registry = _registries.get(prompt_id)
    return registry is not None and bool(registry.handlers)


def take(event: NodeStarted | NodeProgressed | NodeFinished) -> None:
    """Tell the handlers of a prompt what happened."""
    registry = _registries.get(event.prompt_id)
    if registry is not None:
        registry.take(event)


def forget(event: PromptFinished) -> None:
    """The prompt has ended."""
    with _writing:
        registry = _registries.pop(event.prompt_id, None)
    if registry is not None:
        registry.reset_handlers()
