"""What packs may have of the running server, from any thread: frames of their own, and whose prompt is whose."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from execution import Engine, PromptId

from .websocket import ClientConnections


class Messenger:
    """Made on the loop. What a node sends goes out before its end is told."""

    def __init__(self, engine: Engine, connections: ClientConnections) -> None:
        self._engine = engine
        self._connections = connections
        self._loop_thread = threading.get_ident()

    def send(self, event: str | int, data: Any, sid: str | None) -> None:
        """A JSON message `{type, data}` for a text, a binary frame for a number; without `sid` to everybody."""
        self._on_loop(lambda _: self._connections.send(event, data, sid))

    def client_of(self, prompt_id: str) -> str | None:
        """The client that posted a prompt."""
        return self._connections.client_of(prompt_id)

    def node_of(self, prompt_id: str) -> str | None:
        """The node of a running prompt that was called last."""
        return self._engine.running_node_of(PromptId(prompt_id))

    def running_prompts(self) -> Sequence[str]:
        return [entry.prompt_id for entry in self._engine.snapshot().running]

    def interrupt(self, prompt_id: str | None) -> None:
        """Cancel a running prompt, or all of them."""
        self._on_loop(lambda _: self._engine.interrupt(None if prompt_id is None else PromptId(prompt_id)))

    def _on_loop(self, function: Callable[[Any], Any]) -> None:
        if threading.get_ident() == self._loop_thread:
            function(None)
        else:
            self._engine.post(function, None)
