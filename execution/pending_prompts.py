"""Prompts that have not started: which is next, and which have to wait for another one of their line.

Prompts of one line run strictly one after the other, in the order of the queue; the others of the queue pass them by.
"""

import heapq
import itertools
import math
from collections.abc import Collection, Mapping, Sequence

from .identifiers import PromptId
from .prompt_run import PromptRun

LARGEST_WHOLE = 2**53
"""From here on not every whole number is one for clients that know floats alone."""
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

    def __bool__(self) -> bool:
        return bool(self._heap or self._held)  # asked with every stimulus

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

    def renumber(self, numbers: Mapping[PromptId, int | float]) -> None:
        """Give prompts that are here other numbers."""
        for run in self.remove(numbers.keys()):
            run.number = numbers[run.prompt_id]
            self.add(run)

    def position_of(self, prompt_id: PromptId) -> int | None:
        """Its place in the queue, 1 for the next one; None if it is not here."""
        return next((place for place, run in enumerate(self.in_order(), 1) if run.prompt_id == prompt_id), None)

    def numbers_to_be_at(self, prompt_id: PromptId, position: int) -> Mapping[PromptId, int | float]:
        """The numbers that bring a prompt to a position: one for itself, and some for those behind it where there is no
        room between those of its neighbours. Those that come first because they ran before keep their places.
        """
        others = [run for run in self.in_order() if run.prompt_id != prompt_id and not run.attempt]
        ahead = len(self) - len(others) - 1
        index = min(max(0, position - 1 - ahead), len(others))
        low = others[index - 1].number if index else None
        moved = [prompt_id]
        for run in (*others[index:], None):
            if run is None or len(moved).bit_count() == 1:  # looked at ever more rarely: they may be thousands
                found = _numbers_between(low, None if run is None else run.number, len(moved))
                if found is not None:
                    return dict(zip(moved, found, strict=True))
            if run is not None:
                moved.append(run.prompt_id)
        order = [*(run.prompt_id for run in others[:index]), *moved]  # the largest numbers that there are
        return dict(zip(order, range(len(order)), strict=True))

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


def _numbers_between(low: float | None, high: float | None, count: int) -> Sequence[int | float] | None:
    """So many numbers that grow, above one and below the other, whole ones if they fit. None if there is no room."""
    found: Sequence[int | float]
    first = 0 if low is None else math.floor(low) + 1
    if low is None and high is not None:
        first = math.ceil(high) - count
    found = range(first, first + count)
    if not _grows((low, *found, high)):
        if low is None or high is None:
            return None
        step = (high - low) / (count + 1)
        found = [low + step * (place + 1) for place in range(count)]
    return found if _grows((low, *found, high)) else None


def _grows(numbers: Sequence[float | None]) -> bool:
    """Whether each is larger than the one before, and a whole one is one that every database and client can hold."""
    known = [number for number in numbers if number is not None]
    return all(one < other for one, other in itertools.pairwise(known)) \
        and all(isinstance(number, float) or abs(number) < LARGEST_WHOLE for number in known)
