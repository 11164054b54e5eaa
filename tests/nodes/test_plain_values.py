"""Tensors on the disk tier: they come back with their numbers, type and shape, whatever lay behind them in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.disk_tier.entry_files import read_entry, write_entry
from execution.disk_tier.plain_records import NotPlain, RecordPlan
from execution.node_values import OutputRecord
from execution.signatures import Signature
from nodes.packs.weight_files import load_torch_file
from nodes.plain_values import TensorForms

FORMS = TensorForms()
KEY = Signature(b"s" + bytes(32))
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8, torch.int16,
          torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2)
KINDS = ("whole", "turned", "every second", "spread", "one of a batch", "channels last")


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty(tensor.nelement(), dtype=tensor.dtype).copy_(tensor.flatten()).view(torch.uint8)


def assert_same(left: torch.Tensor, right: torch.Tensor) -> None:
    assert (left.dtype, left.shape, left.device) == (right.dtype, right.shape, right.device)
    assert torch.equal(bits(left), bits(right))


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    count = torch.Size(shape).numel()
    raw = torch.randint(0, 2 if dtype is torch.bool else 256, (count * dtype.itemsize,), dtype=torch.uint8,
                        generator=torch.Generator().manual_seed(draw(st.integers(0, 1000))))
    made = (raw.view(dtype) if count else torch.empty(0, dtype=dtype)).reshape(shape)
    match draw(st.sampled_from(KINDS)):
        case "turned" if made.dim() > 1:
            return made.transpose(0, -1)
        case "every second" if made.dim():
            return made[::2]
        case "spread":
            return made.expand(3, *made.shape)
        case "one of a batch" if made.dim() and made.shape[0]:
            return made[-1]
        case "channels last" if made.dim() == 4:
            return made.contiguous(memory_format=torch.channels_last)
    return made


@settings(max_examples=200)
@given(st.lists(tensors(), min_size=1, max_size=3), st.booleans())
def test_tensors_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, values: list[torch.Tensor],
                                        in_inference_mode: bool) -> None:
    with torch.inference_mode(in_inference_mode):
        values = [value.clone(memory_format=torch.preserve_format) for value in values]
        record = OutputRecord((values, [{"samples": values[0], "more": (values[0], 1)}]))
    folder = tmp_path_factory.mktemp("entry")
    found = read_entry(write_entry(folder, KEY, RecordPlan(record, FORMS).taken()), FORMS)
    for value, again in zip(values, found.outputs[0], strict=True):
        assert_same(value, again)
    (inside,) = found.outputs[1]
    assert inside["samples"] is inside["more"][0] is found.outputs[0][0]


def test_each_has_memory_of_its_own_which_can_be_written_to(tmp_path: Path) -> None:
    record = OutputRecord(([torch.ones(3)], [torch.zeros(1000)]))
    found = read_entry(write_entry(tmp_path, KEY, RecordPlan(record, FORMS).taken()), FORMS)
    small, large = found.outputs[0][0], found.outputs[1][0]
    small += 1
    assert small.tolist() == [2, 2, 2]
    assert small.untyped_storage().nbytes() == 12
    assert sorted(found.size.shared.values()) == [12, large.nbytes]


def test_what_changes_a_tensor_in_place_later_does_not_reach_the_copy(tmp_path: Path) -> None:
    value = torch.arange(6.0)
    copy = RecordPlan(OutputRecord(([value],)), FORMS).taken()
    value.mul_(0)
    found = read_entry(write_entry(tmp_path, KEY, copy), FORMS)
    assert found.outputs[0][0].tolist() == [0, 1, 2, 3, 4, 5]


def test_programs_of_others_can_read_the_numbers(tmp_path: Path) -> None:
    value = torch.randn(2, 3).to(torch.bfloat16)
    path = write_entry(tmp_path, KEY, RecordPlan(OutputRecord(([value],)), FORMS).taken())
    loaded: Any = load_torch_file(str(path))
    assert_same(loaded["0"], value)


@pytest.mark.parametrize("value", [
    torch.nn.Parameter(torch.ones(2)), torch.ones(2, requires_grad=True), torch.ones(2).to_sparse(),
    torch.ones(2, dtype=torch.complex64), torch.ones(2, device="meta"), torch.nn.Linear(2, 2)],
    ids=lambda value: str(type(value)))
def test_what_is_more_than_numbers_has_no_plain_form(value: Any) -> None:
    with pytest.raises(NotPlain):
        RecordPlan(OutputRecord(([value],)), FORMS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_of_a_device_come_back_to_it(tmp_path: Path) -> None:
    value = torch.arange(5, device="cuda")
    found = read_entry(write_entry(tmp_path, KEY, RecordPlan(OutputRecord(([value],)), FORMS).taken()), FORMS)
    assert_same(value, found.outputs[0][0])


def test_a_device_that_is_not_there_any_more_is_memory() -> None:
    described = FORMS.leaf_of(torch.ones(2))
    assert described is not None
    away = type(described)(described.dtype, described.shape, described.length, "cuda:77")
    assert FORMS.make(away, bytearray(FORMS.content_of(torch.ones(2)))).device.type == "cpu"
