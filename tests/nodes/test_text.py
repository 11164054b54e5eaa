"""String nodes, held to results that were written down by hand."""

import pytest

from nodes import CATALOGUE


def ask(name, *arguments):
    """What a node answers, asked as packs do: on the class."""
    (answer,) = CATALOGUE[name].execute(*arguments)
    return answer


def test_concatenate_puts_the_delimiter_between():
    assert ask("StringConcatenate", "a", "b", "") == "ab"
    assert ask("StringConcatenate", "a\n", "", ", ") == "a\n, "


@pytest.mark.parametrize(
    ("start", "end", "part"),
    [(0, 3, "hél"), (1, -1, "éll"), (-2, 5, "lo"), (3, 1, ""), (0, 999, "héllo"), (-999, 1, "h"), (9, 12, "")],
)
def test_substring_is_cut_and_never_an_error(start, end, part):
    assert ask("StringSubstring", "héllo", start, end) == part


def test_length_counts_code_points():
    assert ask("StringLength", "") == 0
    assert ask("StringLength", "né\n") == 3
    assert ask("StringLength", "👩‍🚀") == 3  # a woman, a joiner and a rocket


def test_replace_is_literal():
    assert ask("StringReplace", "a.b.c", ".", "-") == "a-b-c"
    assert ask("StringReplace", "aaa", "aa", "b") == "ba"
    assert ask("StringReplace", "ab", "", "-") == "-a-b-"
    assert ask("StringReplace", "ab", "x", "-") == "ab"


@pytest.mark.parametrize(
    ("mode", "string", "converted"),
    [
        ("UPPERCASE", "straße", "STRASSE"),
        ("lowercase", "ÀB", "àb"),
        ("Capitalize", "hELLO wORLD", "Hello world"),
        ("Title Case", "it's ONE of them", "It'S One Of Them"),
        ("Title Case", "", ""),
    ],
)
def test_case(mode, string, converted):
    assert ask("CaseConverter", string, mode) == converted


@pytest.mark.parametrize(("mode", "trimmed"), [("Both", "a b"), ("Left", "a b\t\n"), ("Right", "\u2003 a b")])
def test_trim_knows_every_white_space(mode, trimmed):
    assert ask("StringTrim", "\u2003 a b\t\n", mode) == trimmed


@pytest.mark.parametrize(
    ("string", "substring", "case_sensitive", "contains"),
    [
        ("Hello", "ell", True, True),
        ("Hello", "ELL", True, False),
        ("Hello", "ELL", False, True),
        ("Hello", "", True, True),
        ("straße", "SS", False, False),
    ],
)
def test_contains(string, substring, case_sensitive, contains):
    assert ask("StringContains", string, substring, case_sensitive) is contains


@pytest.mark.parametrize(
    ("mode", "a", "b", "case_sensitive", "holds"),
    [
        ("Starts With", "Hello", "He", True, True),
        ("Starts With", "Hello", "hE", True, False),
        ("Starts With", "Hello", "hE", False, True),
        ("Ends With", "Hello", "LO", False, True),
        ("Ends With", "Hello", "Hel", True, False),
        ("Equal", "Hello", "hello", True, False),
        ("Equal", "Hello", "hello", False, True),
        ("Equal", "ß", "SS", False, False),
        ("Equal", "", "", True, True),
    ],
)
def test_compare(mode, a, b, case_sensitive, holds):
    assert ask("StringCompare", a, b, mode, case_sensitive) is holds


@pytest.mark.parametrize(("name", "rest"), [("CaseConverter", ()), ("StringTrim", ()), ("StringCompare", (True,))])
def test_a_mode_that_came_by_a_link_is_named(name, rest):
    strings = ("a", "b") if rest else ("a",)
    with pytest.raises(ValueError, match="unknown mode 'Sideways'"):
        ask(name, *strings, "Sideways", *rest)


def test_packs_that_change_what_one_class_declares_change_no_other():
    CATALOGUE["StringLength"].INPUT_TYPES()["required"]["string"][1]["multiline"] = None
    for name in ("StringLength", "StringTrim"):
        assert CATALOGUE[name].INPUT_TYPES()["required"]["string"] == ("STRING", {"multiline": True})
