"""Text from outside: what can be kept at all, what can be a name, and what of it fits into a message. Ground floor."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from typing import Any

LONGEST_NAME = 200
"""Characters of a rater's or a group's name: the database keeps 255, and an id of another program fits as well."""

PATH_STEPS = (".", "..")
"""What browsers take for steps of a path however it is spelled, and take out of an address."""

_SHOWN = 80
_LARGEST = 2**53

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# Bidirectional controls could make text read otherwise than it stands, or leak into the page around it.
_BIDIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def text_fault(text: str) -> str | None:
    """Why ``text`` cannot be kept, or None: lone surrogates have no UTF-8, and PostgreSQL holds no NUL character."""
    if "\x00" in text:
        return f"character {text.index(chr(0))} is NUL, which a database cannot hold"
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"character {error.start} is a lone surrogate (U+{ord(text[error.start]):04X}), which has no UTF-8 form"
    return None


def json_fault(value: Any, deepest: int = 20, most: int = 20_000) -> str | None:
    """Why ``value``, as a reader of JSON made it, cannot be kept and sent again as JSON, or None.

    Args:
        value: lists, dictionaries, texts, numbers, true, false and null.
        deepest: levels of lists and dictionaries.
        most: values in all.
    """
    waiting: list[tuple[Any, int]] = [(value, 0)]
    seen = 0
    while waiting:
        one, depth = waiting.pop()
        seen += 1
        if seen > most:
            return f"it holds more than {most:,} values"
        if depth > deepest:
            return f"it is nested more than {deepest} levels deep"
        if isinstance(one, dict):
            waiting += [(part, depth + 1) for pair in one.items() for part in pair]
        elif isinstance(one, list):
            waiting += [(part, depth + 1) for part in one]
        elif isinstance(one, str):
            if fault := text_fault(one):
                return fault
        elif isinstance(one, int | float) and not abs(one) <= _LARGEST:
            return "a number is not finite, or larger than JSON keeps exactly"
    return None


def spelled(text: str) -> str:
    """``text`` with the characters that cannot be kept spelled out, as a message about a file of odd name may hold them."""
    return text.replace("\x00", "\\x00").encode("utf-8", errors="backslashreplace").decode("utf-8")


def name_fault(name: str) -> str | None:
    """Why ``name`` cannot be the name of a rater or of a group of raters, or None."""
    if not name.strip():
        return "the name is empty"
    if len(name) > LONGEST_NAME:
        return f"the name has {len(name):,} characters, and {LONGEST_NAME} is the most"
    odd = next((place for place, character in enumerate(name) if not character.isprintable()), None)
    return None if odd is None else f"character {odd} of the name (U+{ord(name[odd]):04X}) cannot be printed"


def rater_name_fault(name: str) -> str | None:
    """Why somebody new cannot have ``name`` as a rater or for an account, or None.

    What is in a database already may have such a name, and is read as it is.
    """
    if unicodedata.normalize("NFKC", name).strip() in PATH_STEPS:
        return "in an address it would be a step of the path, so that no link could lead to it"
    return name_fault(name)


def checked_name(name: str) -> str:
    """``name``, if a rater or a group of raters can be called so.

    Raises:
        ValueError: it cannot, with the reason.
    """
    fault = name_fault(name)
    if fault:
        raise ValueError(fault)
    return name


def visible(text: str) -> str:
    """``text`` with control characters as signs one can see, and without bidirectional controls.

    The page sets each text's own direction by itself, so that Arabic and Hebrew still read rightly.
    """
    shown = _CONTROL.sub(lambda m: "␡" if m[0] == "\x7f" else chr(0x2400 + ord(m[0])), text.replace("\r\n", "\n"))
    return _BIDIRECTIONAL.sub(lambda m: f"[U+{ord(m[0]):04X}]", shown)


def counted(count: int, singular: str, plural: str = "") -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def cut(text: str, longest: int = _SHOWN) -> str:
    """``text``, or its beginning where it has more than ``longest`` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


class _Brief(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxstring = self.maxother = self.maxlong = _SHOWN

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write very long numbers out, and reprlib asks it to before it cuts.
        return super().repr_int(x, level) if x.bit_length() < 10_000 else f"a number of {x.bit_length():,} bits"


_BRIEF = _Brief()


def shown(value: Any) -> str:
    """``repr(value)``, cut to what a message can hold, however large or deeply nested ``value`` is."""
    return cut(_BRIEF.repr(value), 2 * _SHOWN)
