"""The disk tier of outputs by itself: what it keeps, whose, how much of it, and what it does with damaged files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution import DiskTier, Leaf
from execution.disk_tier import disk_tier, entry_files
from execution.disk_tier.entry_files import Damaged, read_entry, write_entry
from execution.disk_tier.plain_records import NotPlain, RecordPlan
from execution.identifiers import PromptId
from execution.node_values import OutputRecord
from execution.signatures import Signature

P, Q = PromptId("p"), PromptId("../q\ud800")


class NoForms:
    """Nothing but values of the language."""

    def leaf_of(self, value: Any) -> Leaf | None:
        return None

    def content_of(self, value: Any) -> bytes:
        raise AssertionError

    def make(self, leaf: Leaf, content: bytearray) -> Any:
        raise AssertionError


def signature(name: str) -> Signature:
    return Signature(b"s" + hashlib.sha256(name.encode()).digest())


A, B, C, D = (signature(name) for name in "ABCD")


def holding(value: Any) -> OutputRecord:
    return OutputRecord(([value],))


class Opened:
    """A tier, and what it told."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.tier = DiskTier(folder, NoForms(), **{"bound": 10**6, "after": 0, **settings})
        self.known: set[Signature] = set()

    def stored(self, signatures: Collection[Signature]) -> None:
        self.known.update(signatures)

    def dropped(self, signatures: Collection[Signature]) -> None:
        assert self.known >= set(signatures)
        self.known -= set(signatures)

    def store(self, prompt_id: PromptId, signature: Signature, value: Any) -> None:
        copy = self.tier.copy(holding(value))
        assert copy is not None
        self.tier.store(prompt_id, signature, copy)

    async def settle(self) -> None:
        """Everything that was handed in is done, what that led to as well."""
        for _ in range(3):
            await self.tier._writer.call(lambda: None)

    async def find(self, signature: Signature) -> OutputRecord | None:
        answer: asyncio.Future[OutputRecord | None] = asyncio.get_running_loop().create_future()
        self.tier.look_up(signature, answer.set_result)
        return await answer

    def end(self, prompt_id: PromptId, **heirs: PromptId) -> None:
        self.tier.end_job(prompt_id, lambda signatures: {
            signature(name): heir for name, heir in heirs.items() if signature(name) in signatures})


@asynccontextmanager
async def opened(folder: Path, unfinished: Collection[PromptId] = (), **settings: Any) -> AsyncIterator[Opened]:
    one = Opened(folder, **settings)
    await one.tier.open(unfinished, one.stored, one.dropped)
    yield one
    await one.tier.close()


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# -- plain forms --------------------

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
                    st.sampled_from(["\ud800", -0.0, 2**70, ["leaf", 0], "leaf", ""]))
KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.tuples(st.integers(), st.text()))
VALUES = st.recursive(SCALARS, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(KEYS, inner, max_size=4),
    st.binary().map(bytearray)), max_leaves=12)


def same(left: Any, right: Any) -> bool:
    """Equal and of the same types throughout, in the same order; NaN is itself, and -0.0 is not 0.0."""
    if left.__class__ is not right.__class__:
        return False
    if isinstance(left, float):
        return math.isnan(right) if math.isnan(left) else left == right and \
            math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@settings(max_examples=200)
@given(outputs=st.lists(st.lists(VALUES, max_size=3), max_size=3),
       ui=st.one_of(st.none(), st.dictionaries(st.text(), st.lists(VALUES, max_size=2), max_size=2)))
def test_values_of_the_language_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, outputs: Any,
                                                       ui: Any) -> None:
    folder = tmp_path_factory.mktemp("entry")
    path = write_entry(folder, A, RecordPlan(OutputRecord(tuple(outputs), ui), NoForms()).taken())
    found = read_entry(path, NoForms())
    assert same(found.outputs, tuple(outputs))
    assert same(found.ui, ui)
    assert files_below(folder) == [path]


class Text(str):
    pass


@pytest.mark.parametrize("value", [
    object(), {1}, Text("a"), 1j, float, [object()], {"a": (object(),)}, range(3), type("Number", (int,), {})(3),
    10**5000], ids=lambda value: type(value).__name__)
def test_what_is_something_else_has_no_plain_form(value: Any) -> None:
    with pytest.raises(NotPlain):
        RecordPlan(holding(value), NoForms())


def test_what_has_no_end_or_very_many_members_has_none_either() -> None:
    around: list[Any] = []
    around.append(around)
    for value in (around, [0] * 200_001, "a" * (16 * 2**20 + 1)):
        with pytest.raises(NotPlain):
            RecordPlan(holding(value), NoForms())


def test_an_object_that_is_there_twice_is_one_object_again(tmp_path: Path) -> None:
    shared = bytearray(b"shared")
    path = write_entry(tmp_path, A, RecordPlan(OutputRecord(([shared], [(shared, 1)])), NoForms()).taken())
    found = read_entry(path, NoForms())
    assert found.outputs[0][0] is found.outputs[1][0][0]


def test_a_copy_is_of_the_moment_when_it_was_taken(tmp_path: Path) -> None:
    value = {"list": [1], "bytes": bytearray(b"ab")}
    copy = RecordPlan(holding(value), NoForms()).taken()
    value["list"].append(2)  # type: ignore[union-attr]
    value["bytes"][0] = 0  # type: ignore[index]
    found = read_entry(write_entry(tmp_path, A, copy), NoForms())
    assert found.outputs[0][0] == {"list": [1], "bytes": bytearray(b"ab")}


# -- files --------------------


def test_a_file_is_in_the_safetensors_format(tmp_path: Path) -> None:
    path = write_entry(tmp_path, A, RecordPlan(holding([b"one", b"three"]), NoForms()).taken())
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    head = json.loads(content[8:8 + length])
    assert all(isinstance(value, str) for value in head.pop("__metadata__").values())
    assert head == {"0": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
                    "1": {"dtype": "U8", "shape": [5], "data_offsets": [3, 8]}}
    assert content[8 + length:] == b"onethree"
    assert length % 8 == 0


@pytest.mark.parametrize("has_blake3", [True, False])
def test_one_changed_bit_anywhere_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             has_blake3: bool) -> None:
    if not has_blake3:
        monkeypatch.setitem(__import__("sys").modules, "blake3", None)
    path = write_entry(tmp_path, A, RecordPlan(holding(["text", b"bytes"]), NoForms()).taken())
    assert (".b3-" in path.name) is has_blake3
    content = path.read_bytes()
    read_entry(path, NoForms())
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1:])
        with pytest.raises(Damaged):
            read_entry(path, NoForms())
    for cut in (b"", content[:7], content[:-1], content + b"\0"):
        path.write_bytes(cut)
        with pytest.raises(Damaged):
            read_entry(path, NoForms())


def test_what_was_digested_with_a_library_that_is_gone_is_a_miss(tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_entry(tmp_path, A, RecordPlan(holding(1), NoForms()).taken())
    monkeypatch.setitem(__import__("sys").modules, "blake3", None)
    with pytest.raises(Damaged):
        read_entry(path, NoForms())


def test_a_file_of_another_format_is_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_files, "FORMAT", "0")
    path = write_entry(tmp_path, A, RecordPlan(holding(1), NoForms()).taken())
    monkeypatch.undo()
    with pytest.raises(Damaged, match="format 0"):
        read_entry(path, NoForms())


# -- the tier --------------------


async def test_what_was_stored_is_found_by_the_next_process_if_its_job_is_unfinished(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        first.store(P, A, {"of": "p"})
        first.store(Q, B, "of q")
        await first.settle()
        assert first.known == {A, B}
    async with opened(tmp_path, unfinished=[Q]) as second:
        assert second.known == {B}
        found = await second.find(B)
        assert found is not None
        assert found.outputs == (["of q"],)
        assert await second.find(A) is None
        assert len(files_below(tmp_path)) == 1
    assert {path.parent.parent for path in files_below(tmp_path)} == {tmp_path}, "ids are no paths"


async def test_what_is_on_its_way_when_it_closes_is_written(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        for name in "ABCD":
            first.store(P, signature(name), name)
    async with opened(tmp_path, unfinished=[P]) as second:
        assert second.known == {A, B, C, D}


async def test_outputs_go_when_their_job_ends(tmp_path: Path) -> None:
    async with opened(tmp_path) as one:
        one.store(P, A, 1)
        one.store(Q, B, 2)
        await one.settle()
        one.store(P, C, 3)  # on its way
        one.end(P)
        await one.settle()
        assert one.known == {B}
        assert len(files_below(tmp_path)) == 1
        assert len(list(tmp_path.iterdir())) == 1, "no empty folder stays"
        one.store(P, A, 1)  # the same id runs again
        await one.settle()
        assert one.known == {A, B}


async def test_outputs_pass_to_a_job_that_goes_on_with_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as one:
        one.store(P, A, 1)
        one.store(P, B, 2)
        await one.settle()
        one.store(P, C, 3)
        one.store(P, D, 4)
        one.end(P, A=Q, C=Q)
        await one.settle()
        assert one.known == {A, C}
        assert await one.find(C) is not None
    async with opened(tmp_path, unfinished=[Q]) as again:
        assert again.known == {A, C}
        again.end(Q)
        await again.settle()
        assert files_below(tmp_path) == []


async def test_outputs_that_move_while_they_are_read_are_found(tmp_path: Path) -> None:
    async with opened(tmp_path) as one:
        one.store(P, A, "here")
        await one.settle()
        reading = one.find(A)
        one.end(P, A=Q)
        await one.settle()
        found = await reading
        assert found is not None
        entry = one.tier._entries[A]
        there, entry.path = entry.path, tmp_path / "before" / entry.path.name
        answer: asyncio.Future[OutputRecord | None] = asyncio.get_running_loop().create_future()
        one.tier.look_up(A, answer.set_result)
        entry.path = there
        assert await answer is not None


async def test_jobs_that_end_only_because_the_process_does_keep_theirs(tmp_path: Path) -> None:
    async with opened(tmp_path) as one:
        one.store(P, A, 1)
        await one.settle()
        one.tier.leave()
        one.end(P)
    async with opened(tmp_path, unfinished=[P]) as again:
        assert again.known == {A}


async def test_they_can_be_kept_for_jobs_to_come(tmp_path: Path) -> None:
    async with opened(tmp_path, keeps=True) as one:
        one.store(P, A, 1)
        await one.settle()
        one.end(P)
        assert await one.find(A) is not None
    async with opened(tmp_path, keeps=True) as again:
        assert again.known == {A}
    async with opened(tmp_path) as without:
        assert without.known == set()
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(path.read_bytes()[:-3]), lambda path: path.unlink(),
                                   lambda path: path.write_bytes(b"")], ids=["cut", "gone", "empty"])
async def test_a_damaged_file_is_a_miss_and_goes(tmp_path: Path, spoil: Any) -> None:
    async with opened(tmp_path) as one:
        one.store(P, A, b"a value")
        await one.settle()
        await asyncio.to_thread(lambda: spoil(files_below(tmp_path)[0]))
        assert await one.find(A) is None
        await one.settle()
        assert one.known == set()
        assert files_below(tmp_path) == []
        one.store(P, A, b"a value")
        await one.settle()
        assert await one.find(A) is not None


async def test_the_least_recently_used_go_first_and_the_bound_holds(tmp_path: Path) -> None:
    def total() -> int:
        return sum(path.stat().st_size for path in files_below(tmp_path))

    async with opened(tmp_path, bound=40_000) as one:
        for name in "ABC":
            one.store(P, signature(name), bytes(12_000))
            await one.settle()
        await one.find(A)
        one.store(P, D, bytes(12_000))
        await one.settle()
        assert one.known == {A, C, D}
        assert await asyncio.to_thread(total) <= 40_000
        assert one.tier.copy(holding(bytes(40_001))) is None
    for path in files_below(tmp_path):
        used_at = 5 if path.name.startswith(C.hex()) else 4
        os.utime(path, (used_at, used_at))
    async with opened(tmp_path, unfinished=[P], bound=13_000) as smaller:
        assert smaller.known == {C}
        await smaller.settle()
        assert await asyncio.to_thread(total) <= 13_000


async def test_when_the_disk_does_not_keep_up_copies_are_not_taken(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_tier, "MOST_WAITING", 1000)
    door = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with opened(tmp_path) as one:
        one.tier._writer.submit(lambda: asyncio.run_coroutine_threadsafe(door.wait(), loop).result() and None)
        one.store(P, A, bytes(5000))  # alone it may be larger
        assert one.tier.copy(holding(bytes(10))) is None
        door.set()
        await one.settle()
        assert one.tier.copy(holding(bytes(10))) is not None


async def test_a_full_disk_is_said_once_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    def full(*_: Any) -> Path:
        raise OSError(28, "No space left on device")

    async with opened(tmp_path) as one:
        monkeypatch.setattr(disk_tier, "write_entry", full)
        with caplog.at_level(logging.WARNING):
            one.store(P, A, 1)
            one.store(P, B, 1)
            await one.settle()
        assert len(caplog.records) == 1
        assert one.known == set()
        monkeypatch.undo()
        one.store(P, A, 1)
        await one.settle()
        assert one.known == {A}
        one.end(P)


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    copy = RecordPlan(holding(1), NoForms()).taken()
    with pytest.raises(OSError):
        write_entry(tmp_path, A, copy)
    assert files_below(tmp_path) == []


async def test_a_folder_that_cannot_be_used_is_a_tier_that_keeps_nothing(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    async with opened(tmp_path / "file" / "folder") as one:
        assert "cannot be used" in caplog.text
        assert one.tier.copy(holding(1)) is None
        assert await one.find(A) is None
        one.end(P)


async def test_what_else_lies_in_its_folders_goes(tmp_path: Path) -> None:
    async with opened(tmp_path) as one:
        one.store(P, A, 1)
        await one.settle()
        (folder,) = tmp_path.iterdir()
    (folder / f"{A.hex()}.part").write_bytes(b"half")
    (tmp_path / "a file").write_bytes(b"")
    async with opened(tmp_path, unfinished=[P]) as again:
        assert again.known == {A}
        assert len(files_below(tmp_path)) == 1
