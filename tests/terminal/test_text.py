from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.terminal.text import counted, duration, one_line, safe


@given(st.text())
def test_nothing_that_commands_a_terminal_is_left(text: str) -> None:
    left = {unicodedata.category(character) for character in safe(text) if character != "\n"}
    assert not left & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(safe(text)) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert safe(text) == text


@given(st.text())
def test_what_is_harmless_stays_so(text: str) -> None:
    assert safe(safe(text)) == safe(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "␛[2J␛]0;title␇"),
        ("\x9b2J", "<U+009B>2J"),
        ("a\r\nb", "a\nb"),
        ("good\rbad", "good␍bad"),
        ("\tx", "    x"),
        ("abc\u202edef", "abc<U+202E>def"),
        ("\x7f", "␡"),
        ("[bold]x[/bold] :smile: 中文 é", "[bold]x[/bold] :smile: 中文 é"),
    ],
)
def test_each_kind_of_control_is_made_visible(text: str, shown: str) -> None:
    assert safe(text) == shown


@given(st.text(), st.integers(1, 30))
def test_one_line_keeps_to_its_width(text: str, width: int) -> None:
    line = one_line(text, width)
    assert len(line) <= width
    assert "\n" not in line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_have_their_number() -> None:
    assert [counted(count, "row") for count in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
