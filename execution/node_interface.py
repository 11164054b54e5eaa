"""All that the engine knows of a node, whatever generation it was written for, and all that a node knows of us.

`NodeDefinition` is what an adapter of `nodes/packs` makes of a class. `NodeInterface` is what that class declares
for one prompt. `CurrentNodeContext` is the node's only way out: progress, previews, and whether to stop.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from msgspec import Struct

from .identifiers import CallId, NodeId, PromptId
from .node_values import NodeResult
from .prompt_scope import PromptScope

CONVERSIONS: Mapping[str, type] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


class InputSpec(Struct, frozen=True, gc=False):
    """One declared input."""

    name: str
    type: Any
    """A type name (often a `str` subclass with an opinion of its own on equality), or a list of choices."""
    is_required: bool
    is_lazy: bool = False
    wants_link: bool = False
    """The function receives the link itself instead of the value behind it."""
    convert: type | None = None
    minimum: Any = None
    maximum: Any = None
    choices: Sequence[Any] | None = None
    is_multiple: bool = False
    """Each member of the value must be one of the choices."""
    declared: Any = None
    """`[type, options]`, as it is shown in error reports."""


class NodeInterface:
    """What a class declares for one prompt. Specs are compiled when they are first asked for.

    :param entries: declared inputs by name, and whether each is required.
    :param compile_spec: makes the spec of one input from its declaration.
    :param hidden: values that the function gets beside its inputs, by parameter: what selects each.
    :param has_own_identity: the node's id counts in its signature.
    :param is_shareable: two prompts that reach the same signature at the same time may share one call.
    """

    __slots__ = ("_compile", "_optional", "_required", "_specs", "accepts_everything", "has_own_identity", "hidden",
                 "is_shareable", "required_names")

    def __init__(self, required: Mapping[str, Any], optional: Mapping[str, Any],
                 compile_spec: Callable[[str, Any, bool], InputSpec], *, hidden: Mapping[str, Any] | None = None,
                 has_own_identity: bool = False, is_shareable: bool = True,
                 accepts_everything: bool = False) -> None:
        self._required = required
        self._optional = optional
        self._compile = compile_spec
        self._specs: dict[str, InputSpec | None] = {}
        self.required_names: Sequence[str] = tuple(required)
        self.hidden: Mapping[str, Any] = hidden or {}
        self.has_own_identity = has_own_identity
        self.is_shareable = is_shareable
        self.accepts_everything = accepts_everything

    def spec(self, name: str) -> InputSpec | None:
        """The declaration of an input, or None if there is none."""
        try:
            return self._specs[name]
        except KeyError:
            pass
        found: InputSpec | None = None
        if name in self._required:
            found = self._compile(name, self._required[name], True)
        elif name in self._optional:
            found = self._compile(name, self._optional[name], False)
        self._specs[name] = found
        return found

    def passes_constant(self, name: str) -> bool:
        """Whether a constant under this name reaches the function."""
        return self.accepts_everything or self.spec(name) is not None or name in self.hidden


@dataclass(frozen=True, slots=True)
class Hook:
    """A callable that a node offers beside its function.

    `call` is called with keywords; `parameters` are the names that it takes, None meaning all of them.
    """

    call: Callable[..., Any]
    is_async: bool
    parameters: frozenset[str] | None
    replaces_checks: bool = True
    """As a validator: what it takes is not checked for range and choices any more."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Hook":
        """Read off a callable what it takes. Keyword-only names and `*args` are not considered."""
        parameters = inspect.signature(function).parameters.values()
        takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
        names = frozenset(one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD)
        return cls(function, inspect.iscoroutinefunction(function), None if takes_all else names)

    def takes(self, name: str) -> bool:
        return self.parameters is None or name in self.parameters

    def owns(self, name: str) -> bool:
        return self.replaces_checks and self.takes(name)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NodeDefinition:
    """One class of nodes, ready to be called."""

    class_type: str
    origin: str
    """The module that it comes from, for logs and error reports."""
    describe: Callable[[], NodeInterface]
    """What it declares now. Plain code of the node: called off the loop."""
    create: Callable[[], Any]
    """Makes an instance. Plain code of the node unless `creates_in_place`."""
    function: Callable[[Any], Callable[..., Any]]
    """The function of an instance."""
    is_async: bool
    read_result: Callable[[Any], NodeResult]
    """Turns what the function returned into the engine's words; raises what its author should see."""
    hidden_values: Callable[[NodeInterface, PromptScope, NodeId, bool], dict[str, Any]]
    """Values of the hidden inputs; the last argument asks for the reduced ones that hooks get."""
    info: Callable[[], Mapping[str, Any]]
    """How clients are told of it. Plain code of the node."""
    creates_in_place: bool = False
    """The constructor is `object`'s own, so that it may be called anywhere."""
    is_output: bool = False
    input_is_list: bool = False
    output_types: Sequence[Any] = ()
    output_is_list: Sequence[bool] = ()
    needs: tuple[tuple[str, int], ...] = ()
    """Tokens that a call holds while it runs: (pool, how many), sorted by pool."""
    validate: Hook | None = None
    fingerprint: Hook | None = None
    lazy_check: Callable[[Any], Callable[..., Any]] | None = None
    lazy_check_is_async: bool = False


class InterruptProcessing(Exception):
    """Raised inside a node to stop it: the user cancelled its prompt."""


class NodeCall:
    """One call of a node while it lasts. A call that several prompts share belongs to the first of them, and
    passes to the next when that one is cancelled: `prompt_id` and `node_id` change then."""

    is_cancelled = False
    has_reported = False
    """It told progress: what it told last goes out before its end."""

    def __init__(self, call_id: CallId, prompt_id: PromptId, node_id: NodeId, definition: NodeDefinition,
                 report: "ProgressReport") -> None:
        self.call_id = call_id
        self.prompt_id = prompt_id
        self.node_id = node_id
        self.definition = definition
        self.report = report


class ProgressReport(Protocol):
    """Takes what a node tells of itself, from any thread."""

    def __call__(self, call: NodeCall, node_id: NodeId, value: float, maximum: float, preview: Any,
                 registry_only: bool) -> None: ...


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
    candidates: list[NodeCall] = [call for book in list(books_of_open_calls) for call in list(book.values())
                                  if node_id is None or call.node_id == node_id]
    if len({call.prompt_id for call in candidates}) != 1:
        return None
    return candidates[-1]


def check_interrupted() -> None:
    """Stop here if the user cancelled this prompt. Long plain nodes call this now and then.

    :raises InterruptProcessing: the prompt of this node was cancelled.
    """
    call = find_call()
    if call is not None and call.is_cancelled:
        raise InterruptProcessing
