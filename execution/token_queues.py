"""Calls that wait for tokens, and which of them is next: by the number of their prompt, its arrival, then the longer
remaining path.

A call that does not fit holds back those behind it that want a pool it wants, so that it is not starved.
"""

import heapq

from .prompt_run import Call, CallState
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


def _still_waits(entry: _Entry) -> bool:
    call = entry[4]
    return call.state is CallState.WAITING and bool(call.nodes) and not call.tokens_held \
        and call.nodes[0].run.arrival == entry[1]
