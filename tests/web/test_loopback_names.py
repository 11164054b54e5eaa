"""Which host names mean this machine: asked once, off the loop, and never for long."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from web.loopback_names import KEPT_FOR, LONGEST_NAME, MOST_AT_ONCE, MOST_KEPT, LoopbackNames, is_loopback


class Resolver:
    """Knows a few names, counts what it is asked, and can be kept from answering."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = known
        self.asked: list[str] = []
        self.threads: set[int] = set()
        self.open = threading.Event()
        self.open.set()

    def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        self.threads.add(threading.get_ident())
        assert self.open.wait(30)
        if name == "raises":
            raise UnicodeError("no such name")
        return self.known.get(name, ())


@pytest.mark.parametrize(("address", "expected"), [
    ("127.0.0.1", True), ("127.255.0.9", True), ("::1", True), ("0.0.0.0", True), ("::", True),
    ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("fe80::1", False), ("localhost", False), ("", False),
    ("::ffff:10.0.0.1", False), ("127.0.0", False),
])
def test_addresses_of_this_machine(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(("name", "expected"), [
    ("ours", True), ("both", False), ("theirs", False), ("unknown", False), ("raises", True),
])
async def test_a_name_is_ours_if_all_its_addresses_are(name: str, expected: bool) -> None:
    resolver = Resolver(ours=["127.0.0.1", "::1"], both=["127.0.0.1", "10.0.0.1"], theirs=["10.0.0.1"])
    assert await LoopbackNames(resolver).may_contain(name) is expected
    assert threading.get_ident() not in resolver.threads


async def test_an_answer_is_remembered_for_a_while() -> None:
    now = [100.0]
    resolver = Resolver(moves=["127.0.0.1"])
    names = LoopbackNames(resolver, clock=lambda: now[0])
    assert await names.may_contain("moves")
    resolver.known["moves"] = ["10.0.0.1"]
    now[0] += KEPT_FOR - 1
    assert await names.may_contain("moves")
    assert resolver.asked == ["moves"]
    now[0] += 2
    assert not await names.may_contain("moves")
    assert resolver.asked == ["moves", "moves"]


async def test_no_more_than_so_many_answers_are_kept() -> None:
    resolver = Resolver()
    names = LoopbackNames(resolver)
    for number in range(MOST_KEPT + 1):
        await names.may_contain(f"n{number}")
    await names.may_contain(f"n{MOST_KEPT}")
    assert len(resolver.asked) == MOST_KEPT + 1
    await names.may_contain("n0")
    assert len(resolver.asked) == MOST_KEPT + 2


async def test_who_does_not_answer_is_not_waited_for_and_counts_as_ours() -> None:
    resolver = Resolver(slow=["10.0.0.1"])
    resolver.open.clear()
    names = LoopbackNames(resolver, patience=0.01)
    try:
        assert await names.may_contain("slow")
        assert await names.may_contain("slow")
        assert resolver.asked == ["slow"], "the question is asked once"
        for number in range(MOST_AT_ONCE + 5):
            assert await names.may_contain(f"other{number}")
        assert len(resolver.asked) == MOST_AT_ONCE, "and there are never many threads"
    finally:
        resolver.open.set()
    assert not await LoopbackNames(resolver).may_contain("slow")


async def test_a_late_answer_counts_for_the_next() -> None:
    resolver = Resolver(slow=["10.0.0.1"])
    resolver.open.clear()
    names = LoopbackNames(resolver, patience=0.01)
    assert await names.may_contain("slow")
    waits = LoopbackNames.may_contain
    names._patience = 30
    resolver.open.set()
    assert not await waits(names, "slow")
    assert resolver.asked == ["slow"]


async def test_what_is_too_long_for_a_name_is_not_asked_for() -> None:
    resolver = Resolver()
    assert not await LoopbackNames(resolver).may_contain("a" * (LONGEST_NAME + 1))
    assert resolver.asked == []
