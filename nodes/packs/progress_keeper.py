"""Keeps the registries that packs ask for in step with an engine, and tells the handlers of packs.

Events are told late, once they are on record, so a registry that is read looks at the engine as it is by then. Handlers
are called on the thread of whoever watches for packs, in order.
"""

from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from typing import Any

from execution import Engine, NodeFinished, NodeProgressed, NodeStarted, PromptFinished, PromptId

from . import progress_registry
from .dynamic_prompt import DynamicPrompt
from .progress_registry import NodeProgressState, Preview, ProgressHandler, ProgressRegistry, kept
from .prompt_server import PromptServer


class ProgressKeeper:
    """Made on the loop.

    :param submitted: the prompts that wait or run, by id, as they were submitted.
    :param do: has a function called with its arguments on the thread that watches for packs.
    """

    def __init__(self, engine: Engine, server: PromptServer, submitted: Callable[[str], Mapping[str, Any] | None],
                 do: Callable[..., None]) -> None:
        self._engine = engine
        self._server = server
        self._submitted = submitted
        self._do = do
        progress_registry.prompts = self

    def close(self) -> None:
        if progress_registry.prompts is self:
            progress_registry.prompts = None

    # -- from any thread ----------------------------------------------------------------------------------------------

    def prompt_of_caller(self) -> str | None:
        """See `progress_registry.Prompts`."""
        return self._server.last_prompt_id

    def begin_registry(self, prompt_id: str) -> ProgressRegistry:
        """See `progress_registry.Prompts`."""
        return self._server.messenger.on_loop(lambda: self._begin(prompt_id))

    # -- on the loop --------------------------------------------------------------------------------------------------

    def _begin(self, prompt_id: str) -> ProgressRegistry:
        prompt = self._submitted(prompt_id)
        if prompt is None:
            return progress_registry.new_registry(prompt_id)  # it has ended; this code runs on, and nobody waits for it
        registry = progress_registry.new_registry(prompt_id, partial(DynamicPrompt.of_submitted, prompt))
        registry.refresh = partial(self._server.messenger.on_loop, partial(self._show, registry, PromptId(prompt_id)))
        return kept.put(prompt_id, registry, unless_known=True)

    def _show(self, registry: ProgressRegistry, prompt_id: PromptId) -> None:
        registry.show(self._engine.progress_of(prompt_id).values())

    @property
    def is_asked(self) -> bool:
        """Whether a pack has a registry of a prompt that runs."""
        return bool(kept)

    def take(self, event: NodeStarted | NodeProgressed | NodeFinished) -> None:
        registry = kept.find(event.prompt_id)
        if registry is None or _is_shown_to_nobody(event):
            return
        entry, handlers = registry.note(event), registry.watchers
        if handlers:
            self._do(_tell, event, handlers, entry)

    def take_end(self, event: PromptFinished) -> None:
        registry = kept.pop(event.prompt_id)
        if registry is None:
            return
        registry.refresh = None
        if registry.watchers:
            self._do(_reset, event, registry)


def _is_shown_to_nobody(event: Any) -> bool:
    """What is cached and no output is in no table."""
    return event.__class__ is NodeFinished and event.from_cache and not event.is_output and not event.from_disk


def _tell(event: NodeStarted | NodeProgressed | NodeFinished, handlers: list[ProgressHandler],
          entry: NodeProgressState) -> None:
    node_id, prompt_id = event.place.node_id, event.prompt_id
    image = _image_of(event) if isinstance(event, NodeProgressed) else None
    for handler in handlers:
        if isinstance(event, NodeStarted):
            handler.start_handler(node_id, entry, prompt_id)
        elif isinstance(event, NodeProgressed):
            handler.update_handler(node_id, event.value, event.maximum, entry, prompt_id, image)
        else:
            handler.finish_handler(node_id, entry, prompt_id)


def _image_of(event: NodeProgressed) -> Preview | None:
    """The preview of a tick as clients get it: made small already, so there is no size that it is to have."""
    if event.preview is None:
        return None
    from PIL import Image

    return event.preview_format, Image.open(BytesIO(event.preview)), None


def _reset(event: PromptFinished, registry: ProgressRegistry) -> None:
    registry.reset_handlers()
