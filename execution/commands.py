"""What the scheduler wants done. The engine performs commands in their order; an `Event` among them is announced."""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any

from msgspec import Struct

from .identifiers import CallId, NodeId, PromptId
from .node_interface import NodeDefinition, NodeInterface, PromptScope
from .node_values import OutputRecord
from .signatures import Signature


class Command(Struct):
    """An instruction."""


class CallPart(Enum):
    """Which part of a node a call is."""

    WHOLE = auto()
    CHECK = auto()
    """Only the check of lazy inputs: a coroutine's, of a node whose function is plain, so it needs no tokens."""
    FUNCTION = auto()
    """Only the function: the check has said that it wants no more."""


class CallNode(Command):
    """Call a node. The tokens that it needs are granted already."""

    call_id: CallId
    prompt_id: PromptId
    node_id: NodeId
    definition: NodeDefinition
    interface: NodeInterface
    scope: PromptScope
    inputs: Mapping[str, Sequence[Any]]
    """For each input the list of its values."""
    unevaluated: Sequence[str]
    """Lazy inputs that nobody has evaluated; their values read as None."""
    part: CallPart = CallPart.WHOLE
    is_worth_a_copy: bool = False
    """A slower tier of the cache takes its outputs: if making them took long, a copy of them goes with the ending."""
    is_alone: bool = False
    """It was granted all tokens of its pools."""
    then: "CallNode | None" = None
    """What its thread may go on with by itself, with the same tokens, once this one has returned; nothing keeps it from
    being the next. That it did is told with the ending, and only then is it a call like any other."""
    awaited: Mapping[str, int] = {}
    """Inputs that the call before this one gives, and which of its outputs they are."""


class StoreStart(Command):
    """Answer with StartStored once it is on record that this prompt has started."""

    call_id: CallId
    prompt_id: PromptId


class TakeFingerprints(Command):
    """Ask the change checks of these nodes, each once; then sign the prompt, if it is large."""

    call_id: CallId
    prompt_id: PromptId
    node_ids: Sequence[NodeId]
    scope: PromptScope
    given: Mapping[NodeId, Any]
    """Fingerprints that the client brought along."""
    sign_order: Sequence[NodeId] = ()
    """All nodes, sources first, if they are to be signed."""
    run_label: str = ""
    """What makes transient signatures unique."""
    codes: Mapping[str, str | None] | None = None
    """What tells the code of each class from other code, if signatures are to outlive the process."""


class WaitToRetry(Command):
    """Answer with RetryDue after a while. It may be cancelled as a call is."""

    call_id: CallId
    prompt_id: PromptId
    node_id: NodeId
    definition: NodeDefinition
    seconds: float


class SignedCall(Struct, frozen=True):
    """A call of a node, as whoever keeps outputs elsewhere knows it."""

    prompt_id: PromptId
    node_id: NodeId
    class_type: str
    signature: Signature
    """A lasting one."""
    output_is_list: tuple[bool, ...] = ()
    """For each output, whether it may be a list without any value."""

    @property
    def key(self) -> str:
        """Hex SHA-256, the same in every process for the same call."""
        return self.signature[1:].hex()


class LookUpOutputs(Command):
    """Answer with OutputsFound or OutputsMissing. It may be cancelled as a call is."""

    call_id: CallId
    prompt_id: PromptId
    signature: Signature
    outside: SignedCall | None = None
    """What the tier that does not say what it has is asked, if the disk has nothing."""


class StoreOutputs(Command):
    """Give the slower tier of the cache the outputs of a call. Nobody waits for it."""

    prompt_id: PromptId
    """The prompt that they were made for."""
    signature: Signature
    copy: Any


class OfferOutputs(Command):
    """Give outputs to the tier that does not say what it has. Nobody waits for it."""

    call: SignedCall
    record: OutputRecord


class CancelCall(Command):
    """Make a call stop. It still ends in one of the endings."""

    call_id: CallId


class HandOverCall(Command):
    """A shared call goes on for another prompt."""

    call_id: CallId
    prompt_id: PromptId
    node_id: NodeId


class EndChain(Command):
    """A thread that runs this call does not go on by itself any more: there is something else to be called first."""

    call_id: CallId


class ComeBack(Command):
    """Come back with TurnPassed in the next turn, once whoever waits for this one has been answered."""


class KeepInstances(Command):
    """A prompt has ended: instances of these (node id, class) stay, all others go."""

    nodes: Mapping[NodeId, str]


class ReleaseMemory(Command):
    """Outputs were dropped because memory is short: give it back to the system."""


class ReleaseToRetry(Command):
    """The same, for a node that ran out of memory and is called once more: answer with RetryDue when it is done."""

    call_id: CallId
    prompt_id: PromptId
