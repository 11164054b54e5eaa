"""Listens to an engine as any user would, and waits for what a test wants to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from execution import Engine, Event, PromptFinished
from execution.events import NodeEvent, PromptEvent

E = TypeVar("E", bound=Event)


class EventRecorder:
    """Takes notes of all events from now on."""

    def __init__(self, engine: Engine) -> None:
        self._subscription = engine.subscribe()
        self.events: list[Event] = []
        """What was read so far: everything up to the event that `until` found last, at least."""

    async def until(self, wanted: type[E] | Callable[[Event], bool], node: str | None = None, **fields: Any) -> E:
        """The first event of this kind, waiting for it if it has not come yet.

        :param node: of this node.
        :param fields: further attributes that it must have.
        """
        for event in self.events:
            if self._is(event, wanted, node, fields):
                return cast(E, event)
        async for event in self._subscription:
            self.events.append(event)
            if self._is(event, wanted, node, fields):
                return cast(E, event)
        raise AssertionError(f"the engine fell silent before {wanted!r} {node or ''} {fields}")

    async def end_of(self, prompt_id: str) -> PromptFinished:
        """Wait for the end of a prompt."""
        return await self.until(PromptFinished, prompt_id=prompt_id)

    def of(self, kind: type[E], node: str | None = None, **fields: Any) -> list[E]:
        """What was read so far of this kind."""
        return [cast(E, event) for event in self.events if self._is(event, kind, node, fields)]

    def story(self, prompt_id: str, *kinds: type[Event]) -> list[str]:
        """What happened to a prompt, in words: `PromptStarted`, `NodeStarted 1` …"""
        return [f"{type(event).__name__} {event.place.node_id}" if isinstance(event, NodeEvent)
                else type(event).__name__
                for event in self.events
                if isinstance(event, PromptEvent) and event.prompt_id == prompt_id
                and (not kinds or isinstance(event, kinds))]

    @staticmethod
    def _is(event: Event, wanted: type[Event] | Callable[[Event], bool], node: str | None,
            fields: dict[str, Any]) -> bool:
        if not (isinstance(event, wanted) if isinstance(wanted, type) else wanted(event)):
            return False
        if node is not None and not (isinstance(event, NodeEvent) and event.place.node_id == node):
            return False
        return all(getattr(event, name, None) == value for name, value in fields.items())
