import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from execution.errors import InvariantViolated
from execution.resource_pools import DEFAULT_CAPACITY, Needs, ResourcePools

CAPACITIES = {"gpu": 1, "cpu": 4}


def test_tokens_are_granted_up_to_the_capacity_and_not_beyond() -> None:
    pools = ResourcePools(CAPACITIES)
    pools.grant((("cpu", 3),))
    assert pools.can_grant((("cpu", 1),))
    assert not pools.can_grant((("cpu", 2),))
    with pytest.raises(InvariantViolated, match="5 of 4"):
        pools.grant((("cpu", 2),))
    assert pools.held("cpu") == 3


def test_needs_of_several_pools_can_be_granted_when_all_of_them_have_room() -> None:
    pools = ResourcePools(CAPACITIES)
    assert pools.can_grant((("cpu", 1), ("gpu", 1)))
    pools.grant((("gpu", 1),))
    assert not pools.can_grant((("cpu", 1), ("gpu", 1)))
    assert pools.can_grant((("cpu", 1),))


def test_tokens_come_back_once() -> None:
    pools = ResourcePools(CAPACITIES)
    pools.grant((("gpu", 1),))
    pools.give_back((("gpu", 1),))
    with pytest.raises(InvariantViolated, match="more tokens given back"):
        pools.give_back((("gpu", 1),))
    assert pools.held("gpu") == 0


def test_needs_that_can_never_be_met_are_told_in_a_sentence() -> None:
    pools = ResourcePools(CAPACITIES)
    assert pools.impossible((("cpu", 4), ("gpu", 1))) is None
    assert pools.impossible((("cpu", 5),)) == "it needs 5 of pool 'cpu', which has 4"
    assert pools.impossible((("unheard of", DEFAULT_CAPACITY),)) is None
    assert pools.impossible((("unheard of", DEFAULT_CAPACITY + 1),)) is not None


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_pool_without_tokens_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="'gpu'"):
        ResourcePools({"gpu": capacity})


def test_the_snapshot_shows_configured_and_used_pools() -> None:
    pools = ResourcePools({"gpu": 1})
    pools.grant((("net", 2),))
    assert pools.snapshot() == {"gpu": (0, 1), "net": (2, DEFAULT_CAPACITY)}
    assert pools.capacity("net") == DEFAULT_CAPACITY


class PoolsMachine(RuleBasedStateMachine):
    """Grants and returns in any order: what is held is what was granted and not given back."""

    def __init__(self) -> None:
        super().__init__()
        self.pools = ResourcePools(CAPACITIES)
        self.granted: list[Needs] = []

    @rule(needs=st.dictionaries(st.sampled_from(["gpu", "cpu", "net"]), st.integers(1, 3)))
    def grant(self, needs: dict[str, int]) -> None:
        asked = tuple(sorted(needs.items()))
        if self.pools.can_grant(asked):
            self.pools.grant(asked)
            self.granted.append(asked)

    @rule(index=st.integers(0, 20))
    def give_back(self, index: int) -> None:
        if index < len(self.granted):
            self.pools.give_back(self.granted.pop(index))

    @invariant()
    def what_is_held_is_what_was_granted(self) -> None:
        for pool, (held, capacity) in self.pools.snapshot().items():
            assert held == sum(dict(needs).get(pool, 0) for needs in self.granted) <= capacity


TestPoolsMachine = PoolsMachine.TestCase
