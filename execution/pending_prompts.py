"""Prompts that have not started: which is next, and which have to wait for another one of their line.

Prompts of one line run strictly one after the other, in the order of the queue; the others of the queue pass them by.
"""

import heapq
from collections.abc import Collection, Sequence

from .identifiers import PromptId
from .prompt_run import PromptRun

_Entry = tuple[tuple[bool, float, int], PromptRun]


def _entry(run: PromptRun) -> _Entry:
    """Those that ran when an earlier process ended come first, in the order in which they come back."""
    return (not run.attempt, 0 if run.attempt else run.number, run.arrival), run


class PendingPrompts:
    """A queue by number, then arrival. What ran before and comes back is at its front."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._held: dict[str, list[_Entry]] = {}
        """Heaps of those whose line is occupied, or has its next one in the heap above already."""
        self._occupied: set[str] = set()
        self._in_order: list[PromptRun] | None = []

    def __len__(self) -> int:
        return len(self._heap) + sum(map(len, self._held.values()))

    def add(self, run: PromptRun) -> None:
        self._in_order = None
        if run.line in self._occupied:
            self._hold(run.line, _entry(run))
        else:
            heapq.heappush(self._heap, _entry(run))

    def put_back(self, run: PromptRun) -> None:
        """It was taken, and does not start yet."""
        self.finished(run)
        self.add(run)

    def take_next(self) -> PromptRun | None:
        """The next one that may start. It occupies its line until it is `finished`."""
        while self._heap:
            entry = heapq.heappop(self._heap)
            line = entry[1].line
            if line is not None:
                if line in self._occupied:
                    self._hold(line, entry)
                    continue
                self._occupied.add(line)
            self._in_order = None
            return entry[1]
        return None

    def finished(self, run: PromptRun) -> None:
        """A prompt that was taken has ended: the next of its line may start."""
        if run.line is not None:
            self._occupied.discard(run.line)
            self._bring_next(run.line)

    def remove(self, prompt_ids: Collection[PromptId] | None) -> list[PromptRun]:
        """Take prompts out; None takes all. Returns those that were there, the next one first."""
        gone = [run for run in self.in_order() if prompt_ids is None or run.prompt_id in prompt_ids]
        if gone:
            self._in_order = None
            self._heap = _without(gone, self._heap)
            for line, held in list(self._held.items()):
                self._held[line] = _without(gone, held)
                self._bring_next(line)
        return gone

    def in_order(self) -> Sequence[PromptRun]:
        """All of them, the next one first, as if none had to wait for its line."""
        if self._in_order is None:
            entries = self._heap + [entry for held in self._held.values() for entry in held]
            self._in_order = [run for _, run in sorted(entries, key=lambda entry: entry[0])]
        return self._in_order

    def _hold(self, line: str | None, entry: _Entry) -> None:
        assert line is not None
        heapq.heappush(self._held.setdefault(line, []), entry)

    def _bring_next(self, line: str) -> None:
        """Unless the line is occupied, its next one stands with the others."""
        held = self._held.get(line)
        if held and line not in self._occupied:
            heapq.heappush(self._heap, heapq.heappop(held))
        if not held:
            self._held.pop(line, None)


def _without(gone: Sequence[PromptRun], entries: list[_Entry]) -> list[_Entry]:
    ids = {run.prompt_id for run in gone}
    kept = [entry for entry in entries if entry[1].prompt_id not in ids]
    heapq.heapify(kept)
    return kept
