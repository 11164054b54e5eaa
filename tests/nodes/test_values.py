"""Primitives and PreviewAny: a value goes through unchanged, and every value can be shown."""

import pytest
import torch

from nodes import CATALOGUE
from nodes.text import PreviewAny


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PrimitiveInt", 2**63 - 1),
        ("PrimitiveFloat", -0.0),
        ("PrimitiveString", "é\n"),
        ("PrimitiveStringMultiline", "a\nb"),
        ("PrimitiveBoolean", False),
    ],
)
def test_primitives_hand_on_their_value(name, value):
    node = CATALOGUE[name]
    assert node.execute(value)[0] is value
    assert getattr(node(), node.FUNCTION)(value=value) == (value,)


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a "text"', 'a "text"'),
        (16, "16"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (True, "True"),
        (None, "None"),
        ([1, "é"], '[1, "\\u00e9"]'),
        ((1, None, float("nan")), "[1, null, NaN]"),
        ({"a": [True]}, '{"a": [true]}'),
        (torch.tensor([1, 2]), "tensor([1, 2])"),
        ({1}, "{1}"),
        (Unprintable(), "This value can be shown neither as JSON nor as text."),
        ([Unprintable()], "This value can be shown neither as JSON nor as text."),
        pytest.param(10**5000, "This value can be shown neither as JSON nor as text.", id="huge"),
    ],
)
def test_preview_any_shows(value, text):
    assert PreviewAny().main(source=value) == {"ui": {"text": [text]}}


def test_preview_any_of_a_value_that_holds_itself():
    value: list = []
    value.append(value)
    assert PreviewAny().main(value) == {"ui": {"text": ["[[...]]"]}}
