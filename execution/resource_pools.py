"""Who holds how much of which pool. Tokens never go below zero, and each is given back exactly once."""

from collections.abc import Mapping

from .errors import InvariantViolated

Needs = tuple[tuple[str, int], ...]
"""What a call asks for: (pool, tokens), sorted by pool."""

DEFAULT_CAPACITY = 16


class ResourcePools:
    """Named pools of tokens. A pool that nobody configured has `DEFAULT_CAPACITY`.

    :param capacities: tokens of each pool, at least one.
    """

    def __init__(self, capacities: Mapping[str, int]) -> None:
        for name, capacity in capacities.items():
            if capacity < 1:
                raise ValueError(f"pool {name!r} needs at least one token, not {capacity}")
        self._capacities = dict(capacities)
        self._held: dict[str, int] = {}
        self._paused: dict[str, str] = {}

    def capacity(self, pool: str) -> int:
        return self._capacities.get(pool, DEFAULT_CAPACITY)

    def held(self, pool: str) -> int:
        return self._held.get(pool, 0)

    def impossible(self, needs: Needs) -> str | None:
        """A sentence on why these needs can never be met, or None if they can."""
        for pool, tokens in needs:
            if tokens > self.capacity(pool):
                return f"it needs {tokens} of pool '{pool}', which has {self.capacity(pool)}"
        return None

    def can_grant(self, needs: Needs) -> bool:
        if self._paused and any(pool in self._paused for pool, _ in needs):
            return False
        return all(self._held.get(pool, 0) + tokens <= self.capacity(pool) for pool, tokens in needs)

    def whole(self, needs: Needs) -> Needs:
        """All tokens of the pools of these needs: whoever has them is alone there."""
        return tuple((pool, self.capacity(pool)) for pool, _ in needs)

    def pause(self, pool: str, reason: str) -> None:
        """Grant nothing of a pool any more. What is held stays held."""
        self._paused[pool] = reason

    def resume(self) -> bool:
        """Grant again of all pools. Returns whether one of them was paused."""
        was_paused, self._paused = bool(self._paused), {}
        return was_paused

    @property
    def paused(self) -> Mapping[str, str]:
        """Pools of which nothing is granted, and why."""
        return self._paused

    def grant(self, needs: Needs) -> None:
        for pool, tokens in needs:
            held = self._held.get(pool, 0) + tokens
            if held > self.capacity(pool):
                raise InvariantViolated(f"pool {pool!r}: {held} of {self.capacity(pool)} tokens given out")
            self._held[pool] = held

    def give_back(self, needs: Needs) -> None:
        for pool, tokens in needs:
            held = self._held.get(pool, 0) - tokens
            if held < 0:
                raise InvariantViolated(f"pool {pool!r}: more tokens given back than were taken")
            self._held[pool] = held

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """Pool -> (held, capacity), for each pool that is configured or was ever used."""
        return {pool: (self.held(pool), self.capacity(pool)) for pool in {**self._capacities, **self._held}}
