"""Text from models, files and raters, made harmless for a terminal: what it says is shown, what it commands is not."""

from __future__ import annotations

import unicodedata
from functools import cache

from heed.texts import counted

__all__ = ["counted", "duration", "one_line", "safe"]

_TAB_WIDTH = 4
# Invisible characters that reorder or hide the text around them; a terminal that honours them would show another text
# than the one that is judged ("Trojan Source", Boucher & Anderson 2021).
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@cache
def _visible(character: str) -> str:
    code = ord(character)
    if character == "\t":
        return " " * _TAB_WIDTH
    if code < 0x20:
        return chr(0x2400 + code)  # the picture of the control character: ␛ for escape
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    if character in _REORDERING or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return f"<U+{code:04X}>"
    return character


def safe(text: str) -> str:
    """``text`` with every control character as something to look at; line breaks stay.

    Escape sequences lose their effect: ESC becomes ``␛``, C1 controls and characters that reorder a line their code
    point, such as ``<U+202E>``.
    """
    return "".join(
        character if character == "\n" or " " <= character <= "~" else _visible(character)
        for character in text.replace("\r\n", "\n")
    )


def one_line(text: str, width: int) -> str:
    """``text`` on one line of at most ``width`` characters, harmless for a terminal."""
    line = safe(" ".join(text.split()))
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def duration(seconds: float) -> str:
    """A time for people: ``8 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
