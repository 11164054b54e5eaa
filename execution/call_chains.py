"""What a thread goes on with by itself: the nodes of a line, one after the other, without a hop to the loop and back,
which costs more than many a node.

A plan changes nothing in what is called when: only nodes are in it that would be granted the same tokens next in any
case, and something better that comes along ends it. Until a thread has begun with a follower, that is in no other book:
it holds no place and no tokens, and its node knows nothing of it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from .commands import CallNode
from .identifiers import CallId
from .output_cache import OutputCache
from .prompt_run import Call, NodeRun
from .resource_pools import Needs
from .signatures import Signature
from .token_queues import TokenQueues

MOST_AHEAD = 32
"""Followers of one plan."""


class _Chain:
    """A call that runs, and what its thread may go on with, the next one first."""

    __slots__ = ("call", "followers", "is_over")

    def __init__(self, call: Call, followers: deque[Call]) -> None:
        self.call = call
        self.followers = followers
        self.is_over = False
        """The thread was told not to go on. It may have been too late."""


class CallChains:
    """Plans, and what has become of them.

    :param shared: calls that others may join.
    :param new_id: makes the id of a call.
    """

    def __init__(self, cache: OutputCache, waiting: TokenQueues, shared: Mapping[Signature, Call],
                 new_id: Callable[[], CallId]) -> None:
        self._cache = cache
        self._waiting = waiting
        self._shared = shared
        self._new_id = new_id
        self._chains: dict[CallId, _Chain] = {}

    def plan(self, call: Call, command: CallNode) -> None:
        """Put into the command of a call that starts what its thread may go on with."""
        node = call.nodes[0]
        run = node.run
        if node.definition.is_async or run.attempt:  # of one that ended a process it has to be known what it ran
            return
        followers: deque[Call] = deque()
        while len(followers) < run.most_ahead:
            source, following = node, run.next_in_line(node)
            if following is None or not self._may_follow(following, call.needs):
                break
            node = following
            inputs, missing = run.inputs_of(node, self._cache)
            links = node.graph_node.links
            if not all(links[name].source == source.place.node_id for name in missing):
                break  # an input that is lazy, and that nobody asks for
            follower = Call(self._new_id(), run, node, call.needs, on_lane=True)
            followers.append(follower)
            command.then = CallNode(
                follower.call_id, run.prompt_id, node.place.node_id, node.definition, node.interface, run.scope, inputs,
                (), is_worth_a_copy=node.is_worth_a_copy(self._cache),
                awaited={name: links[name].slot for name in missing})
            command = command.then
        if followers:
            self._chains[call.call_id] = _Chain(call, followers)

    def _may_follow(self, node: NodeRun, needs: Needs) -> bool:
        """Whether a node that waits for one other would be called next, with the tokens of that one. Its hidden inputs
        may tell how far the prompt is, and that is known on the loop alone."""
        definition = node.definition
        return (definition.needs == needs and not definition.is_async and definition.lazy_check is None
                and not node.interface.hidden and not node.runs_alone
                and node.signature not in self._cache and node.signature not in self._shared
                and not self._cache.lies_on_disk(node.signature) and not node.run.may_be_outside(node)
                and self._waiting.would_be_next(node, needs))

    def next_of(self, call: Call) -> Call:
        """The thread of a call has begun with this one, which has the rest of the plan now."""
        chain = self._chains.pop(call.call_id)
        then = chain.followers.popleft()
        if chain.followers:
            chain.call = then
            self._chains[then.call_id] = chain
        else:
            then.run.most_ahead = min(2 * then.run.most_ahead, MOST_AHEAD)
        return then

    def leave(self, call: Call) -> None:
        """A call has ended, and its thread did not go on: it will not be told so much the next time."""
        if self._chains.pop(call.call_id, None) is not None:
            call.run.most_ahead = max(call.run.most_ahead // 2, 1)

    def end(self, call: Call) -> bool:
        """Whether the thread of a call has to be told now that it may not go on any more."""
        chain = self._chains.get(call.call_id)
        if chain is None or chain.is_over:
            return False
        chain.is_over = True
        return True

    def behind(self, call: Call) -> Iterator[Call]:
        """Calls with a plan in which something comes after this one, which is queued for its tokens now."""
        return (chain.call for chain in self._chains.values()
                if self._waiting.comes_before(call, chain.followers[-1]))

    def calls(self) -> list[Call]:
        """Those that have a plan."""
        return [chain.call for chain in self._chains.values()]

    def validate(self, known: Mapping[CallId, Call]) -> None:
        """Assert what must always hold. For tests."""
        for call_id, chain in self._chains.items():
            assert known[call_id] is chain.call
            assert chain.followers
            assert not any(one.call_id in known or one.tokens_held for one in chain.followers)
