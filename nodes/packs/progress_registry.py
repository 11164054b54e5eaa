"""The progress of a prompt as packs know it: one registry a prompt, and handlers that are told what happens.

Nothing is kept of a prompt unless a pack asks: `progress_keeper` makes a registry then, and keeps it up to date.
"""

import threading
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Protocol, TypedDict

from execution import (
    NodeFinished,
    NodeProgressed,
    NodeStarted,
    ProgressRow,
    get_current_node,
    report_progress,
    report_text,
)
from nodes.environment import environment

from .dynamic_prompt import DynamicPrompt

Preview = tuple[str, Any, int | None]
"""(`JPEG` or `PNG`, PIL image, the longest side that it is to have or None)."""


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
                       image: Preview | None = None) -> None:
        """A node tells how far it is, and perhaps shows its work in progress."""

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
    """Stands for what clients are told. It sends nothing: the server does that, whoever takes this one out."""

    def __init__(self, server_instance: Any) -> None:
        super().__init__("webui")
        self.server_instance = server_instance


class ProgressRegistry:
    """The progress of the nodes of one prompt.

    :param dynprompt: the prompt, or what makes it when it is first asked for.
    """

    refresh: Callable[[], None] | None = None
    """Has what is so by now shown here. Events alone tell it late: they wait until they are on record."""

    def __init__(self, prompt_id: str | None, dynprompt: Any = None) -> None:
        self.prompt_id = prompt_id
        self.handlers: dict[str, ProgressHandler] = {}
        self._nodes: dict[str, NodeProgressState] = {}
        self._told_here: set[str] = set()
        """Nodes whose progress was told by way of this registry: it knows of it first."""
        self._dynprompt = dynprompt
        self._added: dict[str, tuple[str, str]] = {}
        """Nodes of expansions: the node that each came from, and the one that is shown for it."""

    @property
    def nodes(self) -> dict[str, NodeProgressState]:
        """Nodes that run or ran."""
        refresh = self.refresh
        if refresh is not None:
            refresh()
        return self._nodes

    @property
    def dynprompt(self) -> Any:
        """The prompt. Of expansions it knows which node they came from, and which is shown for them."""
        if callable(self._dynprompt):
            self._dynprompt = self._dynprompt()
        if isinstance(self._dynprompt, DynamicPrompt):
            for node_id, (parent_id, display_id) in list(self._added.items()):
                self._dynprompt.ephemeral_parents.setdefault(node_id, parent_id)
                self._dynprompt.ephemeral_display.setdefault(node_id, display_id)
        return self._dynprompt

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
        return self._nodes.setdefault(node_id, {"state": NodeState.Pending, "value": 0, "max": 1})

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
        self._told_here.add(node_id)
        entry.update(state=NodeState.Running, value=value, max=max_value)
        preview = image if image is None or isinstance(image, tuple) else ("PNG", image, environment.preview_size)
        report_progress(value, max_value, node_id, preview)

    # -- progress, told by the engine, on its loop ------------------------------------------------------------------

    @property
    def watchers(self) -> list[ProgressHandler]:
        """Handlers that want to be told, but for those that stand for what clients are told anyway."""
        return [one for one in list(self.handlers.values())
                if one.enabled and one.__class__ not in (WebUIProgressHandler, CLIProgressHandler)]

    def note(self, event: NodeStarted | NodeProgressed | NodeFinished) -> NodeProgressState:
        """Take what happened to a node, in the order of events. Answers how the node was then."""
        place = event.place
        entry = self.ensure_entry(place.node_id)
        if place.parent_id is not None:
            self.note_place(place.node_id, place.parent_id, place.display_id)
        if isinstance(event, NodeStarted):
            then = NodeProgressState(state=NodeState.Running, value=0.0, max=1.0)
        elif isinstance(event, NodeProgressed):
            then = NodeProgressState(state=NodeState.Running, value=event.value, max=event.maximum)
        else:
            then = NodeProgressState(state=NodeState.Finished, value=entry["max"], max=entry["max"])
        # Events are told behind their record, so the registry may have been made of what came after them.
        is_old = entry["state"] is NodeState.Finished or (
            isinstance(event, NodeStarted) and entry["state"] is NodeState.Running)
        if not is_old:
            entry.update(then)
        return then

    def show(self, rows: Iterable[ProgressRow]) -> None:
        """Take how far nodes are."""
        for row in rows:
            if row.parent_node_id is not None:
                self.note_place(row.node_id, row.parent_node_id, row.display_node_id)
            state = NodeState(row.state)
            if state is NodeState.Finished or row.node_id not in self._told_here:
                self.ensure_entry(row.node_id).update(state=state, value=row.value, max=row.max)

    def note_place(self, node_id: str, parent_id: str, display_id: str) -> None:
        """A node of an expansion: the node that it came from, and the one that is shown for it."""
        self._added[node_id] = (parent_id, display_id)


class Prompts(Protocol):
    """The prompts of a running server. From any thread."""

    def prompt_of_caller(self) -> str | None:
        """The prompt that this code runs for; without a context the only one that runs."""
        ...

    def begin_registry(self, prompt_id: str) -> ProgressRegistry:
        """One that shows how far a prompt is. It is `kept` while that runs."""
        ...


_MOST_REGISTRIES = 256


class _Kept:
    """Registries by prompt, while that runs."""

    def __init__(self) -> None:
        self._registries: dict[str, ProgressRegistry] = {}
        self._writing = threading.Lock()
        self.find = self._registries.get

    def __len__(self) -> int:
        return len(self._registries)

    def put(self, prompt_id: str, registry: ProgressRegistry, *, unless_known: bool = False) -> ProgressRegistry:
        """Answers the one that is kept: what another thread put meanwhile, if that stays."""
        with self._writing:
            known = self._registries.get(prompt_id)
            if unless_known and known is not None:
                return known
            self._registries[prompt_id] = registry
            while len(self._registries) > _MOST_REGISTRIES:  # of prompts whose end nobody told: no server listens
                self._registries.pop(next(iter(self._registries)))
            return registry

    def pop(self, prompt_id: str) -> ProgressRegistry | None:
        with self._writing:
            return self._registries.pop(prompt_id, None)


kept = _Kept()
prompts: Prompts | None = None
"""Of the server that runs, set by `progress_keeper`."""


def new_registry(prompt_id: str | None, dynprompt: Any = None) -> ProgressRegistry:
    """One as a prompt begins with: nothing has run, and there is the handler that stands for clients."""
    from .prompt_server import PromptServer

    registry = ProgressRegistry(prompt_id, dynprompt)
    registry.register_handler(WebUIProgressHandler(getattr(PromptServer, "instance", None)))
    return registry


def get_progress_state() -> ProgressRegistry:
    """The registry of the prompt that this code runs for; outside of one, one that belongs to none."""
    source, context = prompts, get_current_node()
    prompt_id = context.prompt_id if context is not None else source.prompt_of_caller() if source is not None else None
    if not prompt_id:
        return ProgressRegistry(None)
    found = kept.find(prompt_id)
    if found is not None:
        return found
    if source is not None:
        return source.begin_registry(prompt_id)
    return kept.put(prompt_id, new_registry(prompt_id), unless_known=True)


def reset_progress_state(prompt_id: str, dynprompt: Any) -> None:
    """Begin the registry of a prompt anew."""
    kept.put(prompt_id, new_registry(prompt_id, dynprompt))


def add_progress_handler(handler: ProgressHandler) -> None:
    """Have a handler told of the prompt that this code runs for, until its end."""
    get_progress_state().register_handler(handler)
