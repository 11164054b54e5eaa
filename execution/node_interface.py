"""All that the engine knows of a node, whatever generation it was written for.

`NodeDefinition` is what an adapter of `nodes/packs` makes of a class, `NodeInterface` what that class declares for one
prompt, and `PromptScope` what the adapters may know of that prompt.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec import Struct

from .identifiers import NodeId, PromptId
from .node_values import NodeResult
from .prompt_graph import GraphNode
from .run_rules import NO_LIMITS, TimeLimits

T = TypeVar("T")


class EveryType(str):
    """The name of a type that fits every other: what it stands for is for somebody else to see to."""

    __slots__ = ()


class InputSpec(Struct, frozen=True, gc=False):
    """One declared input."""

    name: str
    type: Any
    """A type name (often a `str` subclass with an opinion of its own on equality, or `EveryType`), or a list of
    choices."""
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
    :param for_given: what is declared for a node that is given these inputs, where that depends on them. This one says
        then what a name may be declared as, whatever else is given.
    :param takes_secrets: it gets a key or token of whoever submits.
    :param misfits: names that no declaration has a place for.
    :param has_groups: names may be `group.name`.
    """

    __slots__ = (
        "_compile",
        "_for_given",
        "_optional",
        "_required",
        "accepts_everything",
        "has_groups",
        "has_own_identity",
        "hidden",
        "is_shareable",
        "misfits",
        "required_names",
        "specs",
        "takes_secrets",
    )

    def __init__(self, required: Mapping[str, Any], optional: Mapping[str, Any],
                 compile_spec: Callable[[str, Any, bool], InputSpec], *, hidden: Mapping[str, Any] | None = None,
                 has_own_identity: bool = False, is_shareable: bool = True,
                 accepts_everything: bool = False,
                 for_given: "Callable[[Mapping[str, Any]], NodeInterface] | None" = None,
                 misfits: Sequence[str] = (), has_groups: bool = False, takes_secrets: bool = False) -> None:
        self._required = required
        self._optional = optional
        self._compile = compile_spec
        self.specs: dict[str, InputSpec] = {}
        """Those that were asked for so far. Only declared ones, else clients could fill it: a class that declares the
        same each time has one interface for all prompts."""
        self.required_names: Sequence[str] = tuple(required)
        self.hidden: Mapping[str, Any] = hidden or {}
        self.has_own_identity = has_own_identity
        self.is_shareable = is_shareable
        self.accepts_everything = accepts_everything
        self._for_given = for_given
        self.misfits = misfits
        self.has_groups = has_groups
        self.takes_secrets = takes_secrets

    @property
    def depends_on_given(self) -> bool:
        """What is declared depends on what a node is given."""
        return self._for_given is not None

    def for_given(self, inputs: Mapping[str, Any]) -> "NodeInterface":
        """What is declared for a node that is given these inputs."""
        return self if self._for_given is None else self._for_given(inputs)

    def spec(self, name: str) -> InputSpec | None:
        """The declaration of an input, or None if there is none."""
        try:
            return self.specs[name]
        except KeyError:
            pass
        if name in self._required:
            found = self._compile(name, self._required[name], True)
        elif name in self._optional:
            found = self._compile(name, self._optional[name], False)
        else:
            return None
        self.specs[name] = found
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


class PromptScope:
    """One prompt as its nodes see it: its settings and its graph, expansions included.

    Adapters keep what belongs to a generation of nodes (a mutable copy of the prompt, say) under a key of their
    own with `kept`; the engine never looks at it.
    """

    __slots__ = ("_kept", "definitions", "displays", "extra_data", "fingerprints", "interfaces", "limits", "nodes",
                 "parents", "prompt_id", "secrets", "submitted")

    def __init__(self, prompt_id: PromptId, submitted: Mapping[str, Any], extra_data: Mapping[str, Any],
                 nodes: Mapping[NodeId, GraphNode], definitions: "dict[str, NodeDefinition]",
                 interfaces: dict[str, NodeInterface]) -> None:
        self.prompt_id = prompt_id
        self.submitted = submitted
        """The prompt as it was posted, with its constants converted."""
        self.extra_data = extra_data
        self.limits = NO_LIMITS
        """What whoever submitted it says of how long a call may take."""
        self.secrets: Mapping[str, Any] = {}
        """What belongs to `extra_data` for nodes and is shown to nobody else."""
        self.nodes: dict[NodeId, GraphNode] = dict(nodes)
        self.definitions = definitions
        self.interfaces = interfaces
        """What the classes of this prompt declare; each was asked once. Expansions add theirs."""
        self.fingerprints: dict[NodeId, Any] = {}
        """What the change checks of nodes answered."""
        self.parents: dict[NodeId, NodeId] = {}
        """For a node of an expansion: the node that it replaces."""
        self.displays: dict[NodeId, NodeId] = {}
        self._kept: dict[str, Any] = {}

    def kept(self, key: str, make: Callable[["PromptScope"], T]) -> T:
        """What an adapter keeps for this prompt; made on first use."""
        if key not in self._kept:
            self._kept.setdefault(key, make(self))  # whoever asks on another thread meanwhile gets the same one
        value: T = self._kept[key]
        return value

    def added_nodes(self) -> Iterator[NodeId]:
        """Ids of the nodes that expansions brought, oldest first."""
        return iter(self.parents)


def revisions_of(definitions: "Mapping[str, NodeDefinition]") -> dict[str, int]:
    """Of the classes that were loaded anew."""
    return {name: definition.revision for name, definition in definitions.items() if definition.revision}


CodeOf = Callable[["NodeDefinition"], str | None]
"""Answers what tells the code of a class from other code under the same name, in another process too, or None if
that cannot be told. Never waits."""


def codes_of(definitions: "Mapping[str, NodeDefinition]", code_of: CodeOf | None) -> dict[str, str | None] | None:
    """The same for several classes; None if nobody is to be asked."""
    return None if code_of is None else {name: code_of(definition) for name, definition in definitions.items()}


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
    """How clients are told of it; the same object again says that nothing changed. Plain code of the node."""
    describe_in_place: Callable[[], NodeInterface | None] | None = None
    """The same without running any code of the node, for a class that declares the same each time; None where that
    cannot be told. To be called on the loop."""
    creates_in_place: bool = False
    """The constructor is `object`'s own, so that it may be called anywhere."""
    is_output: bool = False
    revision: int = 0
    """Another one each time that the code of the class was loaded anew: older results are not taken for its own."""
    is_shown_again: bool = False
    """What it shows is told again when its outputs come from the cache, though it is no output node."""
    input_is_list: bool = False
    output_types: Sequence[Any] = ()
    output_is_list: Sequence[bool] = ()
    needs: tuple[tuple[str, int], ...] = ()
    """Tokens that a call holds while it runs: (pool, how many), sorted by pool."""
    validate: Hook | None = None
    fingerprint: Hook | None = None
    lazy_check: Callable[[Any], Callable[..., Any]] | None = None
    lazy_check_is_async: bool = False
    limits: TimeLimits = NO_LIMITS
    """What its author says of how long a call may take."""
    retries: int = 0
    """How often it is called again after an error that it calls transient."""
    transient_errors: tuple[type[BaseException], ...] = ()
    """What it calls transient beside `TransientError`."""

    @property
    def checks_apart(self) -> bool:
        """The check of lazy inputs is called by itself, without tokens: a coroutine's, while the function is plain."""
        return self.lazy_check_is_async and not self.is_async and self.lazy_check is not None
