import gc
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from execution import CacheRule, NodeResult, OutputCache
from execution.call_slices import Slice, join_results
from execution.node_values import NO_SIZE, OutputRecord, ValueSize
from execution.signatures import Signature
from tests.support.node_definitions import define


@pytest.fixture(autouse=True)
def entries_take_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of small numbers are easier to read."""
    monkeypatch.setattr("execution.output_cache.ENTRY_BYTES", 0)


def test_numbers_alone_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("execution.output_cache.ENTRY_BYTES", 100)
    cache = OutputCache(CacheRule.BYTES, 1_000)
    for number in range(50):
        cache.store(signature(str(number)), OutputRecord(((number,),), None, NO_SIZE))
    assert len(cache) == 10
    assert signature("49") in cache


def test_kept_outputs_of_plain_values_leave_the_collector_of_garbage_nothing_to_visit() -> None:
    """Each object costs the loop a third of a microsecond whenever it is visited, and there may be millions."""
    adds = define("Adds", lambda: None)
    cache = OutputCache(CacheRule.BYTES, 2**30)

    def visited_after(entries: int) -> int:
        for _ in range(entries):
            joined = join_results(adds, [Slice({}, 0)], [NodeResult(outputs=(len(cache), "text"))])
            cache.store(signature(str(len(cache))), joined.record)
        gc.collect()
        gc.collect()  # tuples of tuples are let go of with the second
        return len(gc.get_objects())

    before = visited_after(10)
    assert visited_after(1_000) - before < 100
    assert len(cache) == 1_010


def test_an_output_larger_than_the_bound_drives_nothing_out() -> None:
    cache = OutputCache(CacheRule.BYTES, 10)
    cache.store(A, record(4))
    cache.store(B, record(11))
    assert kept(cache) == {A}


def signature(name: str) -> Signature:
    return Signature(b"s" + name.encode())


A, B, C, D = (signature(name) for name in "ABCD")
TRANSIENT = Signature(b"t" + b"any")


def record(own: int = 0, *, known: bool = True, **shared: int) -> OutputRecord:
    """A record of a size: its own bytes, and storages by name."""
    return OutputRecord(((own,),), None, ValueSize(own, {hash(name): held for name, held in shared.items()}, known))


def kept(cache: OutputCache) -> set[Signature]:
    return {one for one in (A, B, C, D) if one in cache}


def test_what_is_stored_is_found_until_it_is_dropped() -> None:
    cache, outputs = OutputCache(), record(5)
    assert cache.lookup(A) is None
    cache.store(A, outputs)
    assert cache.lookup(A) is outputs
    assert (len(cache), cache.total_bytes) == (1, 5)
    cache.drop(A)
    cache.drop(A)
    assert cache.lookup(A) is None
    assert (len(cache), cache.total_bytes) == (0, 0)


def test_bytes_are_bounded_and_the_least_recently_used_goes_first() -> None:
    cache = OutputCache(CacheRule.BYTES, 10)
    cache.store(A, record(4))
    cache.store(B, record(4))
    cache.lookup(A)
    cache.store(C, record(4))
    assert kept(cache) == {A, C}
    assert cache.total_bytes == 8


def test_storing_again_replaces_and_does_not_count_twice() -> None:
    cache = OutputCache(CacheRule.BYTES, 10)
    cache.store(A, record(4))
    cache.store(A, record(6))
    assert cache.total_bytes == 6


def test_what_is_larger_than_the_bound_is_not_kept() -> None:
    cache = OutputCache(CacheRule.BYTES, 10)
    cache.store(A, record(11))
    assert kept(cache) == set()
    assert cache.total_bytes == 0


def test_outputs_without_a_size_are_kept_beside_a_full_cache() -> None:
    cache = OutputCache(CacheRule.BYTES, 10)
    cache.store(A, OutputRecord(((1,),), None, NO_SIZE))
    cache.store(B, record(10))
    assert kept(cache) == {A, B}


def test_a_storage_that_several_outputs_view_counts_once() -> None:
    cache = OutputCache(CacheRule.BYTES, 100)
    cache.store(A, record(1, image=50))
    cache.store(B, record(1, image=50))
    assert cache.total_bytes == 52
    cache.drop(A)
    assert cache.total_bytes == 51
    cache.drop(B)
    assert cache.total_bytes == 0


@pytest.mark.parametrize("rule", list(CacheRule))
def test_what_equals_nothing_is_never_kept(rule: CacheRule) -> None:
    cache = OutputCache(rule, 100)
    cache.store(TRANSIENT, record(1))
    assert len(cache) == 0


def test_none_keeps_nothing() -> None:
    cache = OutputCache(CacheRule.NONE)
    cache.store(A, record(1))
    assert len(cache) == 0


def test_classic_keeps_what_the_next_prompt_uses() -> None:
    cache = OutputCache(CacheRule.CLASSIC)
    for one in (A, B, C):
        cache.store(one, record(1))
    cache.begin_prompt({A, D}, in_use=[{B}])
    assert kept(cache) == {A, B}
    cache.begin_prompt({D})
    assert kept(cache) == set()


def test_classic_keeps_what_an_expansion_made_as_long_as_the_node_that_was_expanded() -> None:
    cache = OutputCache(CacheRule.CLASSIC)
    cache.store(A, record(1))
    cache.store(B, record(1), lives_with=A)
    cache.begin_prompt({A})
    assert kept(cache) == {A, B}
    cache.begin_prompt({C})
    assert kept(cache) == set()


def test_bytes_keep_everything_whatever_the_next_prompt_uses() -> None:
    cache = OutputCache(CacheRule.BYTES, 100)
    cache.store(A, record(1))
    cache.begin_prompt({B})
    assert kept(cache) == {A}


def test_values_of_unknown_size_follow_the_classic_rule_under_any_bound() -> None:
    cache = OutputCache(CacheRule.BYTES, 100)
    cache.store(A, record(1, known=False))
    cache.store(B, record(1))
    cache.begin_prompt({A})
    assert kept(cache) == {A, B}
    cache.begin_prompt({C})
    assert kept(cache) == {B}


def test_count_drops_those_of_the_least_recent_prompt_and_none_of_the_current_one() -> None:
    cache = OutputCache(CacheRule.COUNT, 2)
    cache.begin_prompt(set())
    cache.store(A, record())
    cache.store(B, record())
    cache.end_prompt()
    cache.begin_prompt(set())
    cache.lookup(A)
    cache.store(C, record())
    assert kept(cache) == {A, B, C}, "kept to at the end of a prompt"
    cache.end_prompt()
    assert kept(cache) == {A, C}
    cache.begin_prompt(set())
    for one in (B, C, D):
        cache.store(one, record())
    cache.end_prompt()
    assert kept(cache) == {B, C, D}, "one more than the count: all are of this prompt"


def test_freeing_drops_all_that_nobody_uses() -> None:
    cache = OutputCache()
    for one in (A, B, C):
        cache.store(one, record(3))
    cache.drop_unused([{A}, {C}])
    assert kept(cache) == {A, C}
    cache.drop_unused()
    assert (kept(cache), cache.total_bytes) == (set(), 0)


SIGNATURES = st.sampled_from([A, B, C, D, TRANSIENT])
SETS = st.sets(SIGNATURES)


class CacheMachine(RuleBasedStateMachine):
    """Anything in any order; `validate` adds up afresh, and the records found are those stored last."""

    @initialize(rule_=st.sampled_from(CacheRule), bound=st.integers(0, 40))
    def begin(self, rule_: CacheRule, bound: int) -> None:
        self.cache = OutputCache(rule_, bound)
        self.stored: dict[Signature, OutputRecord] = {}
        self.current: set[Signature] = set()

    @rule(one=SIGNATURES, own=st.integers(0, 20), storages=st.sets(st.sampled_from(["x", "y"])),
          known=st.booleans(), top=st.none() | SIGNATURES)
    def store(self, one: Signature, own: int, storages: set[str], known: bool, top: Signature | None) -> None:
        sizes: dict[str, Any] = {name: 7 if name == "x" else 12 for name in storages}
        self.stored[one] = record(own, known=known, **sizes)
        self.cache.store(one, self.stored[one], lives_with=top)
        self.current.add(one)

    @rule(one=SIGNATURES)
    def look_up(self, one: Signature) -> None:
        found = self.cache.lookup(one)
        assert found is None or found is self.stored[one]
        assert (found is not None) == (one in self.cache)
        if found is not None:
            self.current.add(one)

    @rule(one=SIGNATURES)
    def drop(self, one: Signature) -> None:
        self.cache.drop(one)
        assert one not in self.cache

    @rule(used=SETS, in_use=st.lists(SETS, max_size=2))
    def begin_prompt(self, used: set[Signature], in_use: list[set[Signature]]) -> None:
        wanted = used.union(*in_use)
        before = {one for one in self.stored if one in self.cache}
        self.cache.begin_prompt(used, in_use)
        assert all(one in self.cache for one in before & wanted), "what somebody uses stays"
        self.current = {one for one in used if one in self.cache}

    @rule()
    def end_prompt(self) -> None:
        before = {one for one in self.current if one in self.cache}
        self.cache.end_prompt()
        if self.cache.rule is CacheRule.COUNT:
            assert all(one in self.cache for one in before)
            assert len(self.cache) <= max(self.cache.bound, len(before))

    @rule(users=st.lists(SETS, max_size=2))
    def free(self, users: list[set[Signature]]) -> None:
        self.cache.drop_unused(users)
        assert all(any(one in user for user in users) for one in self.stored if one in self.cache)

    @invariant()
    def the_sums_are_right(self) -> None:
        if hasattr(self, "cache"):
            self.cache.validate()
            assert TRANSIENT not in self.cache
            assert self.cache.rule is not CacheRule.BYTES or self.cache.total_bytes <= self.cache.bound


TestCacheMachine = CacheMachine.TestCase
