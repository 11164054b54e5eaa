"""What happened: the one vocabulary that history, sockets, logs and tests all subscribe to.

An event is made by the scheduler or by the progress desk, stamped once by the engine with its time and its
place in the order of all events, and never changed after that.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from .identifiers import ClientId, NodeId, PromptId


class Outcome(StrEnum):
    """How a prompt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PARTLY_SUCCEEDED = "partial_success"
    """Some nodes failed, and what does not depend on them has ended well."""
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    """It was taken from the queue before it ran."""
    POISONED = "poisoned"
    """The process ended too often while it ran, or while it was judged at a start."""


class NodeError(Struct, frozen=True, kw_only=True):
    """What a node raised, in words: nothing here keeps a frame or a value alive."""

    exception_type: str
    exception_message: str
    traceback: Sequence[str] = ()
    current_inputs: Mapping[str, Any] | Sequence[Any] = {}
    out_of_memory: bool = False
    is_transient: bool = False
    """The node says that it may work when it is tried again."""


class NodePlace(Struct, frozen=True, gc=False):
    """Where a node stands: its own id, and what a front end should light up for it."""

    node_id: NodeId
    display_id: NodeId
    parent_id: NodeId | None
    real_id: NodeId
    """The node of the submitted graph that this one came from, through however many expansions."""


class Event(Struct, kw_only=True):
    at: int = 0
    """Milliseconds since the epoch."""
    sequence: int = 0
    """Grows by one with every event of this engine."""


class QueueChanged(Event):
    """Pending prompts were removed."""

    remaining: int
    """Pending and running prompts together."""


class PromptEvent(Event):
    prompt_id: PromptId


class PromptQueued(PromptEvent):
    """A prompt was accepted. Its place is kept until its PromptFinished or PromptDropped."""

    client_id: ClientId | None
    number: int | float
    prompt: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    outputs: Sequence[NodeId]
    remaining: int
    attempt: int = 0
    """How often it was started before, by a process that ended while it ran."""
    is_restored: bool = False
    """It was accepted before this process began."""


class PromptDropped(PromptEvent):
    """A pending prompt was taken from the queue; it never ran."""

    remaining: int = 0
    reason: str = ""


class PromptRequeued(PromptEvent):
    """The engine closes while it runs: it is pending again, for an engine to come. Nobody is to blame."""


class PromptMoved(PromptEvent):
    """A pending prompt has another number now."""

    number: int | float


class CancelAccepted(PromptEvent):
    """A running prompt was told to stop: whatever happens, it will not be started again."""


class PromptStarted(PromptEvent, omit_defaults=True):
    remaining: int
    is_on_record: bool = False
    """That it would start was put on record when it came."""


class StartPutOff(PromptEvent):
    """It was on record that a prompt would start when it came, and it has to wait after all."""


class NodesCached(PromptEvent):
    """Nodes whose results are there already: at the start those in memory, in the order of the prompt; later those that
    were found elsewhere."""

    nodes: Sequence[NodeId]


class PromptFinished(PromptEvent):
    """The last event of a prompt: each of its calls has ended or was abandoned."""

    outcome: Outcome
    remaining: int
    executed: Sequence[NodeId] = ()
    """Nodes that ran to their end in this run, those of expansions included."""
    interrupted: NodePlace | None = None
    """The node that an interrupt met: the one that had run longest."""
    interrupted_type: str = ""
    reason: str = ""
    """A sentence on why it ended, where neither a node nor a client is the reason."""


class ProgressRow(Struct, kw_only=True, gc=False):
    """One line of a table of progress, spelled as clients read it."""

    value: float
    max: float
    state: str
    node_id: NodeId
    prompt_id: PromptId
    display_node_id: NodeId
    parent_node_id: NodeId | None
    real_node_id: NodeId


class ProgressTabled(PromptEvent):
    """How far every node is that has started so far, in the order of starting."""

    rows: Mapping[NodeId, ProgressRow]


class NodeEvent(PromptEvent):
    place: NodePlace


class NodeStarted(NodeEvent):
    """A node is about to be called, or is called again with the lazy inputs that it asked for."""


class NodeProgressed(NodeEvent):
    value: float
    maximum: float
    registry_only: bool = False
    """Told without a progress bar: it stands in tables alone, its preview is for clients that asked for metadata."""
    preview: bytes | None = None
    """A picture of work in progress, encoded."""
    preview_format: str = ""
    """`JPEG` or `PNG`."""


class NodeSaid(NodeEvent):
    """A line of text that a node shows while it runs."""

    text: str


class NodeFinished(NodeEvent, omit_defaults=True):
    """A node's outputs are there, from this run or from the cache."""

    ui: Mapping[str, Any] | None
    is_output: bool
    from_cache: bool = False
    from_disk: bool = False
    """They come from a slower tier, which was not known when the kept ones were told at the start."""
    ui_was_shown: bool = False
    """A NodeShown told clients of `ui` before."""


class NodeShown(NodeEvent):
    """A node that goes on as a subgraph has something to show already."""

    ui: Mapping[str, Any]


class NodeBlocked(NodeEvent):
    """A blocker with a message kept a node from being called; the prompt goes on."""

    node_type: str
    message: str
    executed: Sequence[NodeId]


class NodeRetried(NodeEvent):
    """A node raised something that it calls transient: it is called again after a while."""

    error: NodeError
    attempt: int
    """The next one; the call that failed first was 1."""
    most_attempts: int
    seconds: float


class NodeFailed(NodeEvent):
    """A node raised: its prompt will end as failed, or as partly succeeded if it goes on after errors."""

    node_type: str
    error: NodeError
    executed: Sequence[NodeId]
    known: Sequence[NodeId]
    """All nodes of the run, those of expansions included."""
