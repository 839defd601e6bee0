"""Text from outside: what can be kept, who can be called what, and how much of a value a message shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.texts import LONGEST_NAME, checked_name, cut, name_fault, shown, spelled, text_fault

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)


@given(ANY_TEXT)
def test_what_can_be_kept_is_what_utf8_and_every_database_hold(text: str) -> None:
    keepable = "\x00" not in text and text.encode("utf-8", errors="ignore").decode() == text
    assert (text_fault(text) is None) == keepable
    assert text_fault(spelled(text)) is None
    if keepable:
        assert spelled(text) == text


def test_what_cannot_be_kept_is_spelled_out() -> None:
    assert spelled("a\udcffb\x00") == "a\\udcffb\\x00"


@pytest.mark.parametrize(
    "name", ["ann", "张三", "x" * LONGEST_NAME, "a b", "0", "ann@example.org", "'; DROP TABLE raters"]
)
def test_ordinary_names_serve(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("x" * (LONGEST_NAME + 1), "201 characters"),
        ("x" * 255, "255 characters"),
        ("a\tb", "U+0009"),
        ("a\n", "U+000A"),
        ("\x1b[31m", "U+001B"),
        ("\u202eann", "U+202E"),
        ("\udcff", "U+DCFF"),
        ("\x00", "U+0000"),
    ],
)
def test_names_that_nobody_could_read_again_are_refused(name: str, fault: str) -> None:
    assert fault in (name_fault(name) or "")
    with pytest.raises(ValueError, match=fault.replace("+", r"\+")):
        checked_name(name)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value] * 10
    return value


def recursive() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def test_a_value_is_shown_in_one_line_however_much_there_is_of_it() -> None:
    values = ["x" * 10**7, 16**100_000, nested(50), recursive(), {"k": {"k": {"k": nested(50)}}}, b"x" * 10**7]
    for text in map(shown, values):
        assert len(text) <= 160
        assert "\n" not in text


def test_a_small_value_is_shown_as_it_is() -> None:
    for value in (5, "a", [1, 2], {"a": None}, 2**70, float("nan")):
        assert shown(value) == repr(value)
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
