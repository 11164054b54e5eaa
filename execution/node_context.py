"""What a node knows of us while it is called, found through one context variable: which node it is, whether to stop,
and where its progress goes.
"""

from contextvars import ContextVar, Token
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from .identifiers import CallId, NodeId, PromptId
from .node_interface import NodeDefinition


class TransientError(Exception):
    """Raised by a node whose call may well succeed when it is tried again: a service that is busy, a connection that
    broke. Its class says with `RETRIES` how often that is done (3 times if it says nothing)."""


class InterruptProcessing(Exception):
    """Raised inside a node to stop it: the user cancelled its prompt."""


class NodeCall:
    """One call of a node while it lasts. A call that several prompts share belongs to the first of them, and
    passes to the next when that one is cancelled: `prompt_id` and `node_id` change then."""

    is_cancelled = False
    has_reported = False
    """It told progress: what it told last goes out before its end."""
    has_ended = False
    """What it tells from now on is dropped."""
    went_on_with: "NodeCall | None" = None
    """What its thread runs instead, after it returned: it has ended, though the loop does not know yet."""
    heard_at = 0.0
    """When it told something last, or was started; by the engine's clock."""

    def __init__(self, call_id: CallId, prompt_id: PromptId, node_id: NodeId, definition: NodeDefinition,
                 desk: "CallDesk") -> None:
        self.call_id = call_id
        self.prompt_id = prompt_id
        self.node_id = node_id
        self.definition = definition
        self.desk = desk


class CallDesk(Protocol):
    """Takes what a node tells of itself, from any thread."""

    def report(self, call: NodeCall, node_id: NodeId, value: float, maximum: float, preview: Any,
               registry_only: bool) -> None: ...

    def say(self, call: NodeCall, node_id: NodeId, text: str) -> None: ...


C = TypeVar("C", bound=NodeCall)


class OpenCalls(dict[CallId, C]):
    """Calls that have not ended, of one engine."""

    __hash__ = object.__hash__  # type: ignore[assignment]


books_of_open_calls: WeakSet[OpenCalls[Any]] = WeakSet()
"""Those of all engines of this process: where a thread without a context finds its node."""


class CurrentNodeContext:
    """Which node is being called, for the code that it calls. As a context manager it says so to what is inside.

    `prompt_id` and `unique_id` name prompt and node (`node_id` is the same), `list_index` the element of a mapped
    call, or None. It follows the code into tasks, `asyncio.to_thread` and thread pools entered with a copied
    context.
    """

    call: NodeCall | None = None
    numbering: Any = None
    """Counts the subgraphs that this call builds; kept for the builder of graphs."""
    _outer: "CurrentNodeContext | None" = None
    _tokens: "list[Token[CurrentNodeContext | None]] | None" = None

    def __init__(self, prompt_id: str, unique_id: str, list_index: int | None = None, *,
                 call: NodeCall | None = None) -> None:
        self._prompt_id = prompt_id
        self._node_id = unique_id
        self.list_index = list_index
        if call is not None:
            self.call = call
            return
        outer = _current_node.get()
        if outer is not None and outer.prompt_id == prompt_id:
            self.call = outer.call
            if outer.unique_id == unique_id and outer.list_index == list_index:
                self._outer = outer

    @property
    def prompt_id(self) -> str:
        call = self.call
        return self._prompt_id if call is None else call.prompt_id

    @property
    def unique_id(self) -> str:
        # Empty where the engine made this context: then it follows a shared call to its next prompt.
        return self._node_id or (self.call.node_id if self.call is not None else "")

    @property
    def node_id(self) -> str:
        return self.unique_id

    @property
    def outermost(self) -> "CurrentNodeContext":
        """The first of the contexts within each other that name the same node and index."""
        return self if self._outer is None else self._outer.outermost

    def __enter__(self) -> "CurrentNodeContext":
        if self._tokens is None:
            self._tokens = []
        self._tokens.append(_current_node.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        assert self._tokens is not None
        _current_node.reset(self._tokens.pop())

    def __repr__(self) -> str:
        return f"CurrentNodeContext({self.prompt_id!r}, {self.unique_id!r}, {self.list_index!r})"


_current_node: ContextVar[CurrentNodeContext | None] = ContextVar("current_node", default=None)


def get_current_node() -> CurrentNodeContext | None:
    """The node that this code runs for, or None outside of one."""
    return _current_node.get()


def enter_node(context: CurrentNodeContext) -> None:
    """Set the context for the rest of this task or copied context. For the caller of nodes alone."""
    _current_node.set(context)


def find_call(node_id: str | None = None) -> NodeCall | None:
    """The call that this code belongs to; without a context the only one that it can be, else None."""
    context = _current_node.get()
    if context is not None and context.call is not None:
        return context.call
    running = [_running_by(call) for book in list(books_of_open_calls) for call in list(book.values())]
    candidates = [call for call in running if node_id is None or call.node_id == node_id]
    if len({call.prompt_id for call in candidates}) != 1:
        return None
    return candidates[-1]


def _running_by(call: NodeCall) -> NodeCall:
    while (following := call.went_on_with) is not None:
        call = following
    return call


def check_interrupted() -> None:
    """Stop here if the user cancelled this prompt. Long plain nodes call this now and then.

    :raises InterruptProcessing: the prompt of this node was cancelled.
    """
    call = find_call()
    if call is not None and call.is_cancelled:
        raise InterruptProcessing
