"""What the scheduler is told. Each `CallNode` ends in exactly one of the endings below."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from .events import NodeError
from .identifiers import CallId, ClientId, NodeId, PromptId
from .node_interface import CodeOf, PromptScope
from .node_values import NO_SIZE, OutputRecord, ValueSize
from .prompt_graph import GraphNode, Link
from .signatures import Signature


class Stimulus(Struct, kw_only=True):
    """A fact, told once."""


class PromptSubmitted(Stimulus):
    """A valid prompt wants to run."""

    prompt_id: PromptId
    client_id: ClientId | None
    number: int | float
    """Smaller numbers run first; arrival decides between equal ones."""
    scope: PromptScope
    outputs: Sequence[NodeId]
    order: Sequence[NodeId]
    """All nodes, sources first."""
    line: str | None = None
    """Prompts of one line run one after the other."""
    goes_on_after_errors: bool = False
    """A node that fails stops what depends on it, and nothing else."""
    is_restored: bool = False
    """It was accepted before this process began."""
    attempt: int = 0
    """How often it was started by processes that ended while it ran."""
    was_started: bool = False
    """Somebody saw it start in an earlier process, however that ended."""
    suspects: Sequence[NodeId] = ()
    """Nodes that ran when the process ended. It runs alone until they are over."""
    is_start_on_record: bool = False
    """As if it had started already: nobody knew what would keep it from that."""


class StartStored(Stimulus):
    """It is on record that a prompt has started: whatever its nodes do now, it is known who did it."""

    call_id: CallId


class PauseRequested(Stimulus):
    """Start no more prompts, or go on starting them. Those that run go on."""

    is_paused: bool


class TurnPassed(Stimulus):
    """A good moment to start what may start, and to go on with what was put off."""


class CancelRequested(Stimulus):
    """Stop this running prompt; None means all of them. Pending prompts stay."""

    prompt_id: PromptId | None


class PendingRemoved(Stimulus):
    """Take these pending prompts from the queue; None means all of them."""

    prompt_ids: Sequence[PromptId] | None


class PendingMoved(Stimulus):
    """A pending prompt wants another place in the queue: by its number, or as the one at a position."""

    prompt_id: PromptId
    number: int | float | None = None
    position: int | None = None
    """1 is the next one to start; one past the end is the last."""


class MemoryWanted(Stimulus):
    """Drop what no running prompt holds."""


class CallEnding(Stimulus):
    """How a call ended."""

    call_id: CallId


class NodeReturned(CallEnding):
    """The node's function ran to its end, or none of its indices was to be called."""

    record: OutputRecord
    blocked: Sequence[str] = ()
    """Messages of the blockers that kept some index of it from being called."""
    copy: Any = None
    """Of its outputs as they are now, for a slower tier of the cache, if that was asked for and makes sense."""
    goes_on: bool = False
    """Its thread has begun with the call that it was to go on with."""


class NodeExpanded(CallEnding):
    """The node put a subgraph in its own place."""

    nodes: Sequence[GraphNode]
    pieces: Sequence[Sequence[Link | Sequence[Any]]]
    """For each output its parts, in index order: the values of a call, or where in the subgraph they come from."""
    fingerprints: Mapping[NodeId, Any]
    scope: PromptScope
    """Knows the classes of the nodes: that of the prompt for which the call was started."""
    ui: Mapping[str, Any] | None = None
    blocked: Sequence[str] = ()
    size: ValueSize = NO_SIZE
    """Of the values among the pieces."""


class InputsWanted(CallEnding):
    """The node's lazy check asked for inputs that are not evaluated yet."""

    names: Sequence[str]


class NodeRaised(CallEnding):
    error: NodeError
    node_id: NodeId | None = None
    """Which node, if the call was for several: the change checks at the start of a prompt."""


class NodeCancelled(CallEnding):
    """The call stopped because it was cancelled, or because the node asked for its prompt to be interrupted."""


class NodeLost(CallEnding):
    """Whatever ran the call is gone."""

    reason: str


class NodeAbandoned(CallEnding):
    """The call did not stop in time. It has ended for its prompt; its tokens stay taken until CallReturned."""


class FingerprintsTaken(CallEnding):
    """The change checks of a prompt have answered."""

    fingerprints: Mapping[NodeId, Any]
    signatures: dict[NodeId, Signature] | None = None
    """Those of all nodes, if they were asked for."""


class RetryDue(CallEnding):
    """The time before a node is tried again is over."""


class OutputsFound(CallEnding):
    """The slower tier of the cache had the outputs that were looked up."""

    record: OutputRecord


class OutputsMissing(CallEnding):
    """It does not have them any more, or they were damaged."""


class OutputsStored(Stimulus):
    """The slower tier has these outputs now."""

    signatures: Sequence[Signature]


class OutputsDropped(Stimulus):
    """It does not have these any more."""

    signatures: Sequence[Signature]


class OutsideTierChanged(Stimulus):
    """There is, or is no more, a tier of the cache that does not say what it has. Prompts that are submitted from now
    on look there."""

    is_there: bool
    code_of: CodeOf | None = None
    """Asked for the code of classes from now on, if nobody is yet."""


class CallOverdue(Stimulus):
    """A call takes longer than it may."""

    call_id: CallId
    error: NodeError


class CallReturned(Stimulus):
    """The code of an abandoned call has really ended."""

    call_id: CallId


class CallLeftLane(Stimulus):
    """A plain call returned an awaitable: it goes on as an async one, and gives its tokens back first."""

    call_id: CallId
