"""Prompts that had not ended when the process did: how they are submitted again, and why some of them are not."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .errors import PromptRejected
from .events import Event, NodeError, NodeFailed, NodePlace, Outcome, PromptFinished, PromptQueued
from .identifiers import NodeId
from .prompt_graph import GraphNode
from .store import NewJob, UnfinishedJob


class EndOfLeftover(NamedTuple):
    """Why a prompt is not taken up again."""

    outcome: Outcome
    error_type: str
    sentence: str

    @classmethod
    def rejected(cls, refusal: PromptRejected) -> "EndOfLeftover":
        """The nodes that there are now do not fit it."""
        details = refusal.error.get("details")
        said = f"{refusal.error.get('message', 'it is not valid')}{f' ({details})' if details else ''}"
        return cls(Outcome.FAILED, "PromptRejected", f"The prompt was accepted before the server started again, and "
                                                     f"cannot run any more: {said}")

    @classmethod
    def without_secrets(cls) -> "EndOfLeftover":
        return cls(Outcome.FAILED, "SecretsForgotten",
                   "The prompt came with a key or token, which is never written down, and the server has started again "
                   "since. Submit it again with the key.")


def reason_to_end(left: UnfinishedJob, most_attempts: int) -> EndOfLeftover | None:
    """What is known of a prompt alone that keeps it from being started again."""
    if left.is_cancelled:
        return EndOfLeftover(Outcome.INTERRUPTED, "", "It was cancelled before the server started again.")
    attempts = left.job.entry.attempt
    # A start that was only about to be told may not have come to anything. The next one is put on record by itself.
    if left.job.entry.started_at and attempts - (not left.was_started) >= most_attempts:
        nodes = ", ".join(map(str, left.open_nodes)) or "none that is on record"
        return EndOfLeftover(Outcome.POISONED, "PromptPoisoned",
                             f"The server process ended {_times(attempts)} while this prompt ran, so it is not started "
                             f"again. Running then: {nodes}.")
    if left.judgings >= most_attempts:
        return EndOfLeftover(Outcome.POISONED, "PromptPoisoned",
                             f"The server process ended {_times(left.judgings)} at its start, while validators and "
                             "declarations of this prompt's nodes were asked, so it is not started again.")
    return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def suspects_of(left: UnfinishedJob, nodes: Mapping[NodeId, GraphNode], order: Sequence[NodeId],
                outputs: Sequence[NodeId]) -> Sequence[NodeId]:
    """Nodes of which one may have ended the process: those that had started and not ended, and what hangs on them. The
    last steps before a crash are on no record, so one of these may have started, too. If no node is known to have
    started, it may have been any, and the prompt is past them all only with its outputs.

    :param order: all nodes, sources first.
    """
    if not left.job.entry.attempt:
        return ()
    if not left.open_nodes:
        return outputs
    found = dict.fromkeys(left.open_nodes)
    for node_id in order:
        if any(link.source in found for link in nodes[node_id].links.values()):
            found[node_id] = None
    return list(found)


def events_of_the_end(left: UnfinishedJob, end: EndOfLeftover, remaining: int) -> Sequence[Event]:
    """What is told of a prompt that ends without having been started again."""
    entry = left.job.entry
    prompt = decode_prompt(left.job.submitted)
    node_id = NodeId(str(next(iter(left.open_nodes), next(iter(entry.outputs_wanted), ""))))
    node = prompt.get(node_id) if isinstance(prompt, dict) else None
    node_type = str(node.get("class_type", "")) if isinstance(node, dict) else ""
    place = NodePlace(node_id, node_id, None, node_id)
    events: list[Event] = [PromptQueued(
        prompt_id=entry.prompt_id, client_id=entry.client_id, number=entry.number, prompt=prompt,
        extra_data=entry.extra_data, outputs=entry.outputs_wanted, remaining=remaining, attempt=entry.attempt,
        is_restored=True)]
    was_interrupted = end.outcome is Outcome.INTERRUPTED
    if not was_interrupted:
        events.append(NodeFailed(
            prompt_id=entry.prompt_id, place=place, node_type=node_type, executed=(), known=(),
            error=NodeError(exception_type=end.error_type, exception_message=f"{end.sentence}\n")))
    events.append(PromptFinished(
        prompt_id=entry.prompt_id, outcome=end.outcome, remaining=remaining, reason=end.sentence,
        interrupted=place if was_interrupted else None, interrupted_type=node_type if was_interrupted else ""))
    return events


def fields_of_submission(job: NewJob) -> dict[str, Any]:
    """What the prompt is submitted again with."""
    entry = job.entry
    return {"prompt": decode_prompt(job.submitted), "client_id": entry.client_id, "prompt_id": entry.prompt_id,
            "number": entry.number, "line": job.line, "extra_data": dict(entry.extra_data), "targets": job.targets,
            "content_key": job.content_key, "submitted": job.submitted, "rules": job.rules}


def decode_prompt(encoded: bytes) -> Any:
    return json.loads(encoded)
