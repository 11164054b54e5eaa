from typing import Any

import numpy
import pytest
import torch

from execution import ExecutionBlocker
from execution.node_values import NO_SIZE, ValueSize
from execution.value_size import TakesLong, measure, refuse_what_takes_long


def size_of(*values: Any) -> ValueSize:
    return measure([values])


def bytes_of(*values: Any) -> int:
    size = size_of(*values)
    assert size.is_known
    return size.own_bytes + sum(size.shared.values())


def test_numbers_are_not_worth_counting() -> None:
    assert measure([[1, 2.5, True], [None, 1j, ExecutionBlocker(None)]]) is NO_SIZE
    assert measure([]) is NO_SIZE


@pytest.mark.parametrize("value", [b"x" * 10_000, bytearray(10_000), memoryview(bytes(10_000)), "x" * 10_000,
                                   numpy.zeros(10_000, "uint8"), torch.zeros(10_000, dtype=torch.uint8)])
def test_what_holds_bytes_counts_at_least_them(value: Any) -> None:
    assert 10_000 <= bytes_of(value) <= 41_000


def test_a_view_of_numbers_counts_bytes_not_items() -> None:
    assert bytes_of(memoryview(numpy.zeros(1000, "float64"))) >= 8000


@pytest.mark.parametrize("wrap", [lambda one: [one], lambda one: (one,), lambda one: {"samples": one},
                                  lambda one: [{"deep": (one, 5)}, "text"]])
def test_tensors_are_found_in_containers(wrap: Any) -> None:
    assert 4000 <= bytes_of(wrap(torch.zeros(1000))) < 5000


def test_a_storage_counts_once_however_many_views() -> None:
    whole = torch.zeros(1000)
    assert 4000 <= bytes_of(whole, whole[10:], [whole.reshape(10, 100)]) < 4600
    size = size_of(whole[5:])
    assert list(size.shared.values()) == [4000], "a view holds all of its storage"


def test_views_in_different_outputs_of_different_nodes_have_the_same_identity() -> None:
    whole = torch.zeros(1000)
    assert size_of(whole[1:]).shared.keys() == size_of(whole[:5]).shared.keys()


def test_views_of_arrays_share_the_memory_of_their_base() -> None:
    base = numpy.zeros((100, 100))
    assert size_of(base[5:, 3]).shared == size_of(base).shared
    assert list(size_of(base).shared.values()) == [80_000]


def test_a_tensor_over_an_array_is_not_counted_twice() -> None:
    array = numpy.zeros(1000, "float32")
    assert bytes_of(array, torch.from_numpy(array)) < 4600


def test_modules_count_their_parameters_and_buffers() -> None:
    module = torch.nn.Linear(100, 10)
    module.register_buffer("extra", torch.zeros(50))
    assert 4 * (1000 + 10 + 50) <= bytes_of(module) < 5000


def test_an_object_may_say_which_tensors_it_holds() -> None:
    class Holder:
        def _comfy_cache_tensors(self) -> list[Any]:
            return [torch.zeros(1000)]

    assert 4000 <= bytes_of(Holder()) < 5000


@pytest.mark.parametrize("value", [object(), [object()], {"a": [1, object()]}, lambda: None,
                                   torch.eye(2).to_sparse()])
def test_anything_else_is_unknown(value: Any) -> None:
    assert not size_of(value).is_known


def test_what_is_known_beside_the_unknown_is_counted() -> None:
    size = size_of(torch.zeros(1000), object())
    assert not size.is_known
    assert sum(size.shared.values()) == 4000


def test_a_list_in_itself_is_unknown_and_soon_told() -> None:
    loop: list[Any] = []
    loop += [loop, loop]
    assert not size_of(loop).is_known


def test_what_has_too_many_items_to_look_at_is_unknown_and_soon_told() -> None:
    assert not size_of([0] * 1_000_000).is_known
    doubled: list[Any] = [b"leaf"]
    for _ in range(45):
        doubled = [doubled, doubled]
    assert not size_of(doubled).is_known
    assert size_of([[1, 2]] * 1000).is_known


@pytest.mark.parametrize("value", [list(range(2000)), [[0] * 600, [0] * 600], "x" * 200_000, {"a": object()}, object(),
                                   dict.fromkeys(range(1500), 0)])
def test_what_takes_long_to_look_at_is_not_for_the_loop(value: object) -> None:
    with pytest.raises(TakesLong):
        refuse_what_takes_long((value,))


def test_a_few_plain_values_and_tensors_of_any_size_are_quick() -> None:
    refuse_what_takes_long(([1, "text", None, {"a": (2.0, b"bytes")}], torch.zeros(10**6), numpy.zeros(10**6)), None)
