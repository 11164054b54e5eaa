"""The states of one prompt's nodes, and the table of moves between them.

A `PromptRun` knows which nodes are wanted, what each waits for, and what to do when one is done. It decides
nothing about pools, other prompts or the cache: `scheduler.py` holds it and asks it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, IntEnum, auto
from typing import Any

from .commands import CallPart
from .errors import DuplicateNodeError, InvariantViolated, NodeNotFoundError
from .events import NodePlace, Outcome
from .identifiers import CallId, ClientId, NodeId, PromptId
from .node_interface import CodeOf, NodeDefinition, NodeInterface, codes_of, revisions_of
from .node_values import NO_SIZE, OutputRecord, ValueSize
from .output_cache import CacheRule, OutputCache
from .prompt_graph import GraphNode, Link, order_by_sources, remaining_paths
from .resource_pools import Needs
from .signatures import Signature, is_lasting, is_transient, sign_all
from .stimuli import NodeExpanded, PromptSubmitted

FIRST_AHEAD = 8
"""Calls of a prompt that a thread may be told to go on with by itself, at first."""


class NodeState(IntEnum):
    """Where a wanted node is. Nodes that nobody wants have no state at all."""

    WAITING = auto()
    """for outputs of others"""
    READY = auto()
    """for tokens, for a call that another node started, or while its outputs are looked up"""
    RUNNING = auto()
    EXPANDED = auto()
    """its place was taken by a subgraph, whose outputs it waits for"""
    DONE = auto()
    STOPPED = auto()
    """it failed, or its prompt ended before it did"""


_MOVES: Mapping[NodeState, frozenset[NodeState]] = {
    NodeState.WAITING: frozenset({NodeState.READY, NodeState.DONE, NodeState.STOPPED}),
    # READY -> WAITING: its outputs were looked up and are not there, so its sources are wanted after all.
    NodeState.READY: frozenset({NodeState.RUNNING, NodeState.DONE, NodeState.STOPPED, NodeState.WAITING}),
    # RUNNING -> READY: a shared call expanded, and this node has to do it by itself.
    NodeState.RUNNING: frozenset({NodeState.DONE, NodeState.EXPANDED, NodeState.WAITING, NodeState.READY,
                                  NodeState.STOPPED}),
    NodeState.EXPANDED: frozenset({NodeState.DONE, NodeState.STOPPED}),
    NodeState.DONE: frozenset(),
    NodeState.STOPPED: frozenset(),
}


class NodeRun:
    """One wanted node of one prompt."""

    __slots__ = (
        "call",
        "consumers",
        "definition",
        "graph_node",
        "interface",
        "is_checked",
        "is_kept",
        "is_repeat",
        "is_root",
        "missing",
        "pieces",
        "pieces_size",
        "place",
        "rank",
        "record",
        "retries",
        "run",
        "runs_alone",
        "signature",
        "sources",
        "state",
        "story",
        "ui",
        "uses_left",
        "wanted",
    )

    def __init__(self, run: "PromptRun", graph_node: GraphNode, definition: NodeDefinition,
                 interface: NodeInterface, place: NodePlace, signature: Signature, rank: int) -> None:
        self.run = run
        self.graph_node = graph_node
        self.definition = definition
        self.interface = interface
        self.place = place
        self.signature = signature
        self.rank = rank
        """Nodes on the longest way from here to an end of the prompt."""
        self.state = NodeState.WAITING
        self.missing = 0
        """Sources that have no outputs yet."""
        self.sources: list[NodeRun] = []
        self.consumers: list[NodeRun] = []
        """Who waits for the outputs; empty once they are there."""
        self.uses_left = 0
        """Consumers that have not finished: while there are any, the outputs are held."""
        self.record: OutputRecord | None = None
        self.is_kept = False
        """Its outputs stay until the end of the prompt: no cache can hold them."""
        self.is_root = False
        self.is_repeat = False
        """It ran before in this prompt, and its outputs were let go."""
        self.runs_alone = False
        """It ran out of memory once: it has all tokens of its pools when it is called again."""
        self.retries = 0
        """How often it was called again after a transient error."""
        self.is_checked = False
        """A check that is called apart from the function wants no more inputs."""
        self.wanted: frozenset[str] = frozenset()
        """Lazy inputs that were asked for."""
        self.pieces: Sequence[Sequence[Link | Sequence[Any]]] = ()
        """Once it is expanded: for each output its parts, values and where in the subgraph they come from."""
        self.pieces_size = NO_SIZE
        """That of the values among them."""
        self.ui: Mapping[str, Any] | None = None
        self.call: Call | None = None
        self.story = [NodeState.WAITING]

    def move(self, to: NodeState) -> None:
        self.story.append(to)
        if to not in _MOVES[self.state]:
            path = " -> ".join(state.name.lower() for state in self.story)
            raise InvariantViolated(f"node {self.place.node_id} of {self.run.prompt_id}: {path}")
        self.state = to

    @property
    def may_outlive_prompt(self) -> bool:
        """Whether its outputs may be kept elsewhere. What was made with a key of somebody is written nowhere."""
        return (is_lasting(self.signature) and not self.definition.is_output
                and not self.interface.takes_secrets)

    def is_worth_a_copy(self, cache: OutputCache) -> bool:
        """Whether the disk is to have its outputs."""
        return cache.on_disk is not None and self.signature not in cache.on_disk and self.may_outlive_prompt

    def __repr__(self) -> str:
        return f"<NodeRun {self.place.node_id} {self.state.name.lower()}>"


class CallState(Enum):
    WAITING = "waiting"
    """for tokens"""
    RUNNING = "running"
    CANCELLING = "cancelling"
    """told to stop; nobody wants its outputs any more"""
    ABANDONED = "abandoned"
    """its prompt has gone on without it; it still holds its tokens"""


class Call:
    """One call of a node, which several nodes may wait for. The first of them is its owner."""

    __slots__ = ("call_id", "is_lookup", "needs", "nodes", "on_lane", "order", "part", "run", "shared_as", "state",
                 "tokens_held")

    def __init__(self, call_id: CallId, run: "PromptRun", node: NodeRun | None, needs: Needs, on_lane: bool) -> None:
        self.call_id = call_id
        self.run = run
        """The prompt whose place it takes: that of its owner."""
        self.nodes: list[NodeRun] = [] if node is None else [node]
        """Whoever waits for it, its owner first. None for the change checks at the start of a prompt."""
        self.needs = needs
        self.on_lane = on_lane
        """It occupies a thread, or will: then its prompt holds a place."""
        self.state = CallState.WAITING
        self.shared_as: Signature | None = None
        self.tokens_held = False
        self.part = CallPart.WHOLE
        self.is_lookup = False
        """No code of a node runs: its outputs are looked for in a slower tier of the cache."""
        self.order = 0
        """Calls in the order in which they started."""


class PromptRun:
    """One prompt from its submission to its end."""

    __slots__ = ("arrival", "asked_outside", "attempt", "calls", "client_id", "code_of", "dead_ends", "definitions",
                 "ending", "executed", "fingerprints", "goes_on_after_errors", "has_failures", "interfaces",
                 "interrupted", "is_start_on_record", "lane_calls", "line", "most_ahead", "movable", "nodes", "number",
                 "order", "outputs", "places", "prompt_id", "remaining_path", "roots_left", "scope", "shown_at_end",
                 "signatures", "started", "suspects", "to_look_up", "waits_for", "was_started")

    def __init__(self, submitted: PromptSubmitted, arrival: int, code_of: CodeOf | None = None) -> None:
        self.prompt_id: PromptId = submitted.prompt_id
        self.client_id: ClientId | None = submitted.client_id
        self.number = submitted.number
        self.line = submitted.line
        self.arrival = arrival
        self.code_of = code_of
        self.attempt = submitted.attempt
        self.was_started = submitted.was_started
        self.suspects = set(submitted.suspects)
        """Nodes that ran when an earlier process ended, and are not over yet."""
        self.is_start_on_record = submitted.is_start_on_record
        self.scope = submitted.scope
        self.outputs = submitted.outputs
        self.definitions = submitted.scope.definitions
        self.interfaces = submitted.scope.interfaces
        self.order = submitted.order
        self.remaining_path: dict[NodeId, int] = {}
        self.nodes: dict[NodeId, NodeRun] = {}
        self.places: dict[NodeId, NodePlace] = {}
        self.signatures: dict[NodeId, Signature] = {}
        self.fingerprints: dict[NodeId, Any] = {}
        self.roots_left = 0
        self.executed: list[NodeId] = []
        self.calls: dict[CallId, Call] = {}
        """Calls that a node of this prompt waits for, by tokens or by their end."""
        self.waits_for: set[CallId] = set()
        """Cancelled calls that must end, or be abandoned, before this prompt may finish."""
        self.lane_calls = 0
        """Calls on a lane or waiting for tokens: with any, the prompt holds a place among the running ones."""
        self.shown_at_end: Sequence[NodeId] = ()
        """Cached nodes that are no output nodes, and whose results are shown again all the same."""
        self.most_ahead = FIRST_AHEAD
        """Calls that a thread may be told to go on with; fewer if it did not last time."""
        self.movable: list[NodeRun] = []
        """Nodes that wait for nothing, and whose turn has not come yet."""
        self.goes_on_after_errors = submitted.goes_on_after_errors
        self.has_failures = False
        self.dead_ends: list[NodeRun] = []
        """Nodes that want outputs of one that has none and never will."""
        self.to_look_up: list[NodeRun] = []
        """Nodes whose outputs a slower tier of the cache may have: their sources are wanted only if that is not so."""
        self.asked_outside: set[Signature] | None = None
        """What the tier that does not say what it has was asked for already; None if there is none."""
        self.started = False
        self.ending: Outcome | None = None
        self.interrupted: NodeRun | None = None

    def place(self, node_id: NodeId) -> NodePlace:
        found = self.places.get(node_id)
        if found is None:
            found = self.places[node_id] = NodePlace(node_id, node_id, None, node_id)
        return found

    def class_of(self, node_id: NodeId) -> str:
        return self.scope.nodes[node_id].class_type

    def needs_fingerprints(self) -> list[NodeId]:
        """Nodes whose change check has to be asked; what the client brought along is taken as it is."""
        asked = {name for name, definition in self.definitions.items() if definition.fingerprint is not None}
        if not asked:
            return []
        found = []
        for node_id, node in self.scope.nodes.items():
            if node.class_type in asked:
                if node.given_fingerprint is not None:
                    self.fingerprints[node_id] = node.given_fingerprint
                else:
                    found.append(node_id)
        return found

    @property
    def has_plain_nodes(self) -> bool:
        """Whether it will occupy a thread."""
        return not all(definition.is_async for definition in self.definitions.values())

    def has_plain_checks(self, node_ids: Iterable[NodeId]) -> bool:
        """Whether asking the change checks of these nodes occupies a thread."""
        hooks = (self.definitions[self.class_of(node_id)].fingerprint for node_id in node_ids)
        return any(hook is not None and not hook.is_async for hook in hooks)

    def sign(self, order: Iterable[NodeId]) -> None:
        sign_all(order, self.scope.nodes, self.signatures, fingerprints=self.fingerprints,
                 identities={name: interface.has_own_identity for name, interface in self.interfaces.items()},
                 revisions=revisions_of(self.definitions), codes=codes_of(self.definitions, self.code_of),
                 run=self.label)

    @property
    def label(self) -> str:
        """Another one for each run, of the same prompt too."""
        return f"{self.prompt_id}/{self.arrival}"

    def may_be_outside(self, node: NodeRun) -> bool:
        """Whether the tier that does not say what it has is still to be asked for the outputs of a node."""
        return (self.asked_outside is not None and node.signature not in self.asked_outside
                and node.may_outlive_prompt)

    def stage_roots(self, cache: OutputCache) -> list[NodeRun]:
        """Want the output nodes. Returns those nodes, of all that are wanted now, that wait for nothing."""
        self.remaining_path = remaining_paths(self.scope.nodes, self.order)
        movable: list[NodeRun] = []
        for node_id in self.outputs:
            root = self._want(node_id, cache, movable)
            if root.state is not NodeState.DONE and not root.is_root:
                root.is_root = True
                self.roots_left += 1
        return movable

    def want_inputs(self, node: NodeRun, names: Iterable[str], cache: OutputCache) -> list[NodeRun]:
        """A node asked for lazy inputs: it waits for them now. Returns what may move."""
        node.wanted = node.wanted.union(names)
        movable: list[NodeRun] = []
        linked = {source.place.node_id for source in node.sources}
        for link in node.graph_node.links.values():
            if link.name in node.wanted and link.source not in linked:
                linked.add(link.source)
                self._connect(node, link.source, cache, movable)
        if not node.missing:
            movable.append(node)
        return movable

    def want_sources(self, node: NodeRun, cache: OutputCache) -> list[NodeRun]:
        """The outputs of a node were looked up in vain. Returns what may move."""
        movable: list[NodeRun] = []
        self._want_sources_of([node], cache, movable)
        return movable

    def expand(self, node: NodeRun, expanded: NodeExpanded, cache: OutputCache) -> list[NodeRun]:
        """Put a subgraph in the place of a node. Returns what may move; the node itself if it waits for nothing.

        :raises DuplicateNodeError: an id of the subgraph exists already.
        :raises NodeNotFoundError: a result of the subgraph, or a link in it, leads to nowhere.
        """
        added: dict[NodeId, GraphNode] = {}
        for graph_node in expanded.nodes:
            node_id = graph_node.node_id
            if node_id not in self.scope.nodes:
                added[node_id] = graph_node
            elif not (node.is_repeat and self.scope.parents.get(node_id) == node.place.node_id):
                raise DuplicateNodeError(f"Attempt to add duplicate node {node_id}")
            class_type = graph_node.class_type
            if class_type not in self.definitions:  # the call was started for another prompt
                self.definitions[class_type] = expanded.scope.definitions[class_type]
                self.interfaces[class_type] = expanded.scope.interfaces[class_type]
        for graph_node in added.values():
            self._add_node(graph_node, node)
        self.fingerprints.update(expanded.fingerprints)
        order = order_by_sources(added, added).order
        self.sign(order)
        remaining = remaining_paths(added, order)
        for node_id in order:
            self.remaining_path[node_id] = node.rank + remaining[node_id]
        movable: list[NodeRun] = []
        sources: dict[NodeId, None] = {}
        for output in expanded.pieces:
            for piece in output:
                if isinstance(piece, Link):
                    sources[piece.source] = None
        for graph_node in expanded.nodes:
            if self.definitions[graph_node.class_type].is_output:
                sources[graph_node.node_id] = None
        inputs, node.sources = node.sources, []
        node.pieces = expanded.pieces
        node.pieces_size = expanded.size
        node.ui = expanded.ui
        for source_id in sources:
            self._connect(node, source_id, cache, movable)
        for source in inputs:  # last: the subgraph may want them too
            self._release(source)
        if not node.missing:
            movable.append(node)
        return movable

    def expansion_record(self, node: NodeRun) -> OutputRecord:
        """The outputs of a node whose subgraph is done."""
        outputs = []
        records: dict[NodeId, OutputRecord] = {}
        for output in node.pieces:
            values: list[Any] = []
            for piece in output:
                if isinstance(piece, Link):
                    record = self.nodes[piece.source].record
                    assert record is not None
                    values.extend(record.values(piece.slot))
                    records[piece.source] = record
                else:
                    values.extend(piece)
            outputs.append(values)
        sizes = [node.pieces_size, *[record.size for record in records.values()]]
        shared = {identity: held for size in sizes for identity, held in size.shared.items()}
        size = ValueSize(sum(size.own_bytes for size in sizes), shared, all(size.is_known for size in sizes))
        return OutputRecord(tuple(outputs), node.ui, size)

    def complete(self, node: NodeRun, record: OutputRecord) -> list[NodeRun]:
        """A node has its outputs. Returns the nodes that wait for nothing any more."""
        node.move(NodeState.DONE)
        node.record = record
        node.call = None
        if node.is_root:
            self.roots_left -= 1
        for source in node.sources:
            self._release(source)
        node.sources = []
        movable = []
        for consumer in node.consumers:
            consumer.missing -= 1
            if not consumer.missing:
                movable.append(consumer)
        node.consumers = []
        if not node.uses_left and not node.is_kept:
            node.record = None
        return movable

    @staticmethod
    def next_in_line(node: NodeRun) -> NodeRun | None:
        """The node that waits for this one and for nothing else, if it is the only one that waits for it."""
        if len(node.consumers) != 1:
            return None
        (consumer,) = node.consumers
        return consumer if consumer.missing == 1 and consumer.state is NodeState.WAITING else None

    def give_up(self, node: NodeRun) -> None:
        """A node has no outputs and never will: nothing that waits for it runs, nor what only those want."""
        pending = [node]
        for one in pending:  # which grows
            if one.state in (NodeState.DONE, NodeState.STOPPED):
                continue
            one.move(NodeState.STOPPED)
            one.call = None
            if one.is_root:
                self.roots_left -= 1
            pending += one.consumers
            one.consumers = []
            sources, one.sources = one.sources, []
            for source in sources:
                self._release(source)
                if source.state is NodeState.WAITING and not source.uses_left and not source.is_root:
                    pending.append(source)

    def has_roots_done(self) -> bool:
        return any(node.is_root and node.state is NodeState.DONE for node in self.nodes.values())

    def inputs_of(self, node: NodeRun, cache: OutputCache) -> tuple[dict[str, Sequence[Any]], list[str]]:
        """Values of all inputs of a node that is about to be called, and the lazy ones without a value."""
        inputs: dict[str, Sequence[Any]] = {}
        unevaluated: list[str] = []
        graph_node, interface = node.graph_node, node.interface
        links, specs = graph_node.links, interface.specs
        for name, value in graph_node.inputs.items():
            spec = specs.get(name) or interface.spec(name)
            link = links.get(name)
            if link is None:
                if spec is not None or interface.passes_constant(name):
                    inputs[name] = (value,)
            elif spec is not None and spec.wants_link:
                inputs[name] = (value,)
            else:
                record = self._record_at(link.source, cache)
                if record is not None:
                    inputs[name] = record.values(link.slot)
                else:
                    inputs[name] = (None,)
                    unevaluated.append(name)
        return inputs, unevaluated

    def find_cycle(self) -> list[NodeRun]:
        """A cycle among the nodes that wait, in the order of their links; empty if there is none."""
        seen: set[NodeId] = set()
        for start in self.nodes.values():
            path: list[NodeRun] = []
            node: NodeRun | None = start
            while node is not None and node.state in (NodeState.WAITING, NodeState.EXPANDED):
                if node.place.node_id in seen:
                    if node in path:
                        return path[path.index(node):]
                    break
                seen.add(node.place.node_id)
                path.append(node)
                node = next((one for one in node.sources
                             if one.state in (NodeState.WAITING, NodeState.EXPANDED)), None)
        return []

    def unfinished(self) -> Iterator[NodeRun]:
        return (node for node in self.nodes.values() if node.state not in (NodeState.DONE, NodeState.STOPPED))

    def dissolve(self) -> None:
        """The prompt has ended: let go of everything at once, rather than at the next collection of circles."""
        for node in self.nodes.values():
            node.sources = node.consumers = []
            node.record = node.call = None
            node.pieces = ()
        self.nodes.clear()
        self.calls.clear()
        self.to_look_up = []
        self.interrupted = None

    def _record_at(self, node_id: NodeId, cache: OutputCache) -> OutputRecord | None:
        node = self.nodes.get(node_id)
        if node is not None and node.record is not None:
            return node.record
        if node is None or node.state is NodeState.DONE:
            return cache.lookup(self.signatures[node_id]) if node_id in self.signatures else None
        return None

    def _add_node(self, graph_node: GraphNode, parent: NodeRun) -> None:
        node_id = graph_node.node_id
        self.scope.nodes[node_id] = graph_node
        self.scope.parents[node_id] = parent.place.node_id
        display = graph_node.override_display_id
        if display is None:
            display = parent.place.display_id
        elif display in self.places:
            display = self.places[display].display_id
        self.scope.displays[node_id] = display
        self.places[node_id] = NodePlace(node_id, display, parent.place.node_id, parent.place.real_id)

    def _want(self, node_id: NodeId, cache: OutputCache, movable: list[NodeRun]) -> NodeRun:
        """Want a node and, as far as they are not there, its sources. Iterative: graphs may be deep."""
        pending: list[NodeRun] = []
        first = self._node(node_id, cache, pending)
        self._want_sources_of(pending, cache, movable)
        return first

    def _want_sources_of(self, pending: list[NodeRun], cache: OutputCache, movable: list[NodeRun]) -> None:
        for node in pending:  # which grows: level by level, so that what waits for nothing starts in the order written
            interface = node.interface
            seen = {source.place.node_id for source in node.sources} if node.sources else set()
            for link in node.graph_node.links.values():
                spec = interface.spec(link.name)
                if spec is not None and spec.is_lazy and link.name not in node.wanted:
                    continue
                if link.source not in seen:
                    seen.add(link.source)
                    self._wire(node, self._node(link.source, cache, pending))
            if not node.missing:
                movable.append(node)

    def _connect(self, node: NodeRun, source_id: NodeId, cache: OutputCache, movable: list[NodeRun]) -> None:
        self._wire(node, self._want(source_id, cache, movable))

    def _node(self, node_id: NodeId, cache: OutputCache, new: list[NodeRun]) -> NodeRun:
        """The run of a node. One that was not wanted before, or whose outputs were let go, is made and put into
        `new`, unless the cache has its outputs, or may find them elsewhere."""
        known = self.nodes.get(node_id)
        if known is not None and (known.state is not NodeState.DONE or known.record is not None):
            return known
        graph_node = self.scope.nodes.get(node_id)
        if graph_node is None:
            raise NodeNotFoundError(f"Node {node_id} not found")
        signature = self.signatures[node_id]
        class_type = graph_node.class_type
        interface = self.interfaces[class_type].for_given(graph_node.inputs)
        node = NodeRun(self, graph_node, self.definitions[class_type], interface,
                       self.place(node_id), signature, self.remaining_path.get(node_id, 0))
        node.is_repeat = known is not None
        node.is_kept = cache.rule is not CacheRule.NONE and is_transient(signature)
        self.nodes[node_id] = node
        record = cache.lookup(signature)
        if record is not None:
            node.move(NodeState.DONE)
            node.record = record
        elif cache.lies_on_disk(signature) or self.may_be_outside(node):
            self.to_look_up.append(node)
        else:
            new.append(node)
        return node

    def _wire(self, node: NodeRun, source: NodeRun) -> None:
        node.sources.append(source)
        source.uses_left += 1
        if source.state is not NodeState.DONE:
            node.missing += 1
            source.consumers.append(node)
            if source.state is NodeState.STOPPED:
                self.dead_ends.append(node)

    def _release(self, source: NodeRun) -> None:
        source.uses_left -= 1
        if not source.uses_left and not source.is_kept:
            source.record = None

    def validate(self) -> None:
        """Assert what must always hold. For tests."""
        if self.ending is None and self.started:
            assert self.roots_left == sum(one.is_root and one.state not in (NodeState.DONE, NodeState.STOPPED)
                                          for one in self.nodes.values())
        for node in self.nodes.values():
            if node.state is NodeState.STOPPED:
                continue
            unmet = [one for one in node.sources if one.state is not NodeState.DONE]
            assert node.missing == len(unmet), (node, node.story)
            assert all(node in one.consumers for one in unmet)
            if self.ending is None:
                assert all(one.record is not None for one in node.sources
                           if one.state is NodeState.DONE), (node, node.sources)
            if node.state in (NodeState.READY, NodeState.RUNNING):
                assert not node.missing
                assert self.ending is not None or node.call is not None, (node, node.story)
