"""How far jobs are, in percent: the nodes of a prompt, weighed by how long others of their classes took here."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from execution import (
    Engine,
    Event,
    HistoryEntry,
    NodeFinished,
    NodeId,
    NodeStarted,
    Outcome,
    ProgressRow,
    PromptDropped,
    PromptFinished,
    PromptId,
    PromptQueued,
)

MOST_WHILE_IT_RUNS = 99.9
MOST_WATCHED = 200
"""Nodes of a prompt that are timed. What a prompt of thousands takes is learnt from these, too."""


class _Asked(Struct):
    """A running job that somebody has asked about."""

    weights: Mapping[NodeId, float]
    """Of the nodes that its outputs need. They stay as they are, whatever else is learnt meanwhile."""
    told: float = 0.0
    """The most that was told of it: nodes that count anew do not take it back."""


class JobProgress:
    """Learns from events how long classes take; weighs a job when it is asked about it first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._prompts: dict[PromptId, Mapping[str, Any]] = {}
        self._started: dict[PromptId, dict[NodeId, int]] = {}
        """When nodes started that are timed; 0 once they have finished."""
        self._usual: dict[str, float] = {}
        """Milliseconds by class: of the last calls, later ones count for more."""
        self._asked: dict[PromptId, _Asked] = {}
        self._takers: dict[type, Callable[[Any], None]] = {
            PromptQueued: self._queued, NodeStarted: self._node_started, NodeFinished: self._node_finished,
            PromptFinished: self._forget, PromptDropped: self._forget}
        engine.add_listener(self._note, self._takers.keys())

    async def percent_of(self, job: HistoryEntry) -> float | None:
        """0 to 100, which only an end is; never less than was told before. None for what ended badly."""
        if job.outcome is not None:
            return 100.0 if job.outcome in (Outcome.SUCCEEDED, Outcome.PARTLY_SUCCEEDED) else None
        if not job.started_at:
            return 0.0
        asked = self._asked.get(job.prompt_id)
        if asked is None:
            asked = _Asked(await asyncio.to_thread(weights_of, job.prompt, job.outputs_wanted, dict(self._usual)))
            if job.prompt_id in self._prompts:
                asked = self._asked.setdefault(job.prompt_id, asked)
        done = share_done(asked.weights, job.cached, self._engine.progress_of(job.prompt_id))
        asked.told = max(asked.told, min(round(100 * done, 1), MOST_WHILE_IT_RUNS))
        return asked.told

    def _note(self, event: Event) -> None:
        self._takers[event.__class__](event)

    def _queued(self, event: PromptQueued) -> None:
        self._prompts[event.prompt_id] = event.prompt
        self._started[event.prompt_id] = {}

    def _node_started(self, event: NodeStarted) -> None:
        place, started = event.place, self._started.get(event.prompt_id)
        if place.parent_id is None and started is not None and len(started) < MOST_WATCHED:
            started[place.node_id] = event.at

    def _node_finished(self, event: NodeFinished) -> None:
        started, node_id = self._started.get(event.prompt_id), event.place.node_id
        began = started.get(node_id) if started is not None else None
        if not began or started is None:
            return
        started[node_id] = 0
        class_type = _class_of(self._prompts.get(event.prompt_id, {}).get(node_id))
        if class_type is not None:
            took = float(max(event.at - began, 1))
            self._usual[class_type] = (self._usual.get(class_type, took) + took) / 2

    def _forget(self, event: PromptFinished | PromptDropped) -> None:
        for known in (self._prompts, self._started, self._asked):
            known.pop(event.prompt_id, None)


def weights_of(prompt: Mapping[str, Any] | msgspec.Raw, outputs: Sequence[NodeId],
               usual: Mapping[str, float]) -> Mapping[NodeId, float]:
    """What each node counts that these outputs need.

    :param usual: milliseconds by class; any other counts like the mean of those here that are known.
    """
    graph: Any = msgspec.json.decode(prompt) if isinstance(prompt, msgspec.Raw) else prompt
    found: dict[NodeId, float | None] = {}
    waiting = list(outputs)
    while waiting:
        node_id = waiting.pop()
        node = graph.get(node_id)
        if node_id not in found and node is not None:
            found[node_id] = usual.get(_class_of(node) or "")
            waiting.extend(_sources_of(node))
    known = [weight for weight in found.values() if weight is not None]
    mean = sum(known) / len(known) if known else 1.0
    return {node_id: mean if weight is None else weight for node_id, weight in found.items()}


def share_done(weights: Mapping[NodeId, float], cached: Sequence[NodeId],
               rows: Mapping[NodeId, ProgressRow]) -> float:
    """0 to 1."""
    whole = sum(weights.values())
    done = sum(weights[node_id] for node_id in cached if node_id in weights)
    already = frozenset(cached)
    for node_id, row in rows.items():
        if node_id in weights and node_id not in already:
            share = 1.0 if row.state == "finished" else row.value / row.max if row.max > 0 else 0.0
            done += weights[node_id] * min(max(share, 0.0), 1.0)
    return done / whole if whole else 0.0


def _class_of(node: Any) -> str | None:
    class_type = node.get("class_type") if isinstance(node, Mapping) else None
    return class_type if isinstance(class_type, str) else None


def _sources_of(node: Any) -> Iterator[NodeId]:
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    for value in inputs.values() if isinstance(inputs, Mapping) else ():
        if isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], str):
            yield NodeId(value[0])
