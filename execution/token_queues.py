"""Calls that wait for tokens, and which of them is next: by the number of their prompt, its arrival, then the longer
remaining path.

A call that does not fit holds back those behind it that want a pool it wants, so that it is not starved.
"""

import heapq

from .prompt_run import Call, CallState, NodeRun
from .resource_pools import Needs, ResourcePools

_Entry = tuple[float, int, int, int, Call]


class TokenQueues:
    """A queue for each combination of needs, since those that need the same wait for the same."""

    def __init__(self, pools: ResourcePools) -> None:
        self._pools = pools
        self._heaps: dict[Needs, list[_Entry]] = {}

    def add(self, call: Call) -> None:
        """A call waits for its tokens, at the place of its first node."""
        node = call.nodes[0]
        heapq.heappush(self._heaps.setdefault(call.needs, []),
                       (node.run.number, node.run.arrival, -node.rank, call.call_id, call))

    def would_be_next(self, node: NodeRun, needs: Needs) -> bool:
        """Whether a call of this node would be granted its tokens before every call that waits now and wants some of
        the same pools."""
        place = node.run.number, node.run.arrival, -node.rank
        return not any(heap and heap[0][:3] <= place and _overlap(needs, others)
                       for others, heap in self._heaps.items())

    @staticmethod
    def comes_before(call: Call, other: Call) -> bool:
        """Whether a call that is queued now is granted its tokens before one that would be queued later, and they want
        some of the same pools."""
        ours, theirs = call.nodes[0], other.nodes[0]
        return ((ours.run.number, ours.run.arrival, -ours.rank)
                <= (theirs.run.number, theirs.run.arrival, -theirs.rank)) and _overlap(call.needs, other.needs)

    def next_granted(self) -> Call | None:
        """The next call that can have its tokens; they are granted to it. None if none can."""
        withheld: set[str] = set()
        while True:
            best: tuple[Needs, list[_Entry]] | None = None
            for needs, heap in self._heaps.items():
                while heap and not _still_waits(heap[0]):
                    heapq.heappop(heap)
                if not heap or any(pool in withheld for pool, _ in needs):
                    continue
                if best is None or heap[0] < best[1][0]:
                    best = (needs, heap)
            if best is None:
                return None
            needs, heap = best
            if self._pools.can_grant(needs):
                call = heapq.heappop(heap)[4]
                self._pools.grant(needs)
                call.tokens_held = True
                return call
            withheld.update(pool for pool, _ in needs)

    def forget_withdrawn(self) -> None:
        """Calls that wait no more are not kept until it would be their turn, which may be long behind a stuck one."""
        for heap in self._heaps.values():
            if not all(map(_still_waits, heap)):
                heap[:] = filter(_still_waits, heap)
                heapq.heapify(heap)

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))


def _overlap(needs: Needs, others: Needs) -> bool:
    return any(pool == other for pool, _ in needs for other, _ in others)


def _still_waits(entry: _Entry) -> bool:
    call = entry[4]
    return call.state is CallState.WAITING and bool(call.nodes) and not call.tokens_held \
        and call.nodes[0].run.arrival == entry[1]
