"""What an error says, in the language of whoever reads it.

Errors are written in English, where they are raised. What they say in another language stands in
``texts/errors/LANGUAGE.json`` under the English sentence, in which ``{1}``, ``{2}`` ... stand for the values. So an error
that was stored, such as that of an import, can be told in any language too. A test reads the sentences from the source and
sees that none is missing there and none is left over.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from heed.errors import HeedError
from heed.web.language import DEFAULT_LANGUAGE

_FOLDER = Path(__file__).parent / "texts" / "errors"
_VALUE = re.compile(r"\{(\d)\}")
_QUOTED = re.compile(r"'[^']*'")
_MOST_LOOKED_AT = 2000
"""Characters of a text that is looked up; longer ones are told as they are."""
_DEEPEST = 4
"""Sentences within sentences."""
_MOST_STOPS = 4
"""Of a stored line, counted from its end: what to do about an error is a sentence or two."""


@dataclass(frozen=True)
class Told:
    """An error in words.

    Attributes:
        what: could not be done.
        why: not.
        fix: what to do about it.
        reason: what and why in one sentence.
        line: all of it.
        language: in which it is told; English where the sentence is not known otherwise.
    """

    what: str
    why: str
    fix: str
    reason: str
    line: str
    language: str


@dataclass(frozen=True)
class _Sentence:
    """A sentence with values: its literal pieces in English, the number of the value after each, and what it is elsewhere."""

    pieces: tuple[str, ...]
    numbers: tuple[str, ...]
    elsewhere: str

    def values(self, text: str) -> dict[str, str] | None:
        """The values by which ``text`` is this sentence, or None."""
        first, *middle, last = self.pieces
        end = len(text) - len(last)
        if end < len(first) or not text.startswith(first) or not text.endswith(last):
            return None
        place, found = len(first), []
        if not first and ": " in text[: text.find(middle[0] if middle else last)]:
            return None  # what stands before a colon is a sentence of its own
        if not last and text.endswith("."):
            return None  # the stop is none of a value
        for piece in middle:
            there = text.find(piece, place, end)
            if there < 0:
                return None
            found.append(text[place:there])
            place = there + len(piece)
        return dict(zip(self.numbers, [*found, text[place:end]], strict=True))

    def elsewhere_with(self, values: dict[str, str]) -> str:
        """The sentence in its other language."""
        return _VALUE.sub(lambda place: values[place[1]], self.elsewhere)


@cache
def catalogue_of_errors(language: str) -> dict[str, str]:
    """What is said in a language, by the English sentence; nothing for English."""
    file = _FOLDER / f"{language}.json"
    found: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


@cache
def _with_values(language: str) -> tuple[_Sentence, ...]:
    """The sentences that hold values, those that say most by themselves first."""
    made = [
        _Sentence(tuple(_VALUE.split(english)[::2]), tuple(_VALUE.findall(english)), elsewhere)
        for english, elsewhere in catalogue_of_errors(language).items()
        if _VALUE.search(english)
    ]
    return tuple(sorted(made, key=lambda one: -sum(map(len, one.pieces))))


def in_language(text: str, language: str, depth: int = 0) -> str | None:
    """A part of an error in a language; None where it is not known in it."""
    if language == DEFAULT_LANGUAGE:
        return text
    if len(text) > _MOST_LOOKED_AT or depth > _DEEPEST:
        return None
    if (whole := catalogue_of_errors(language).get(text)) is not None:
        return whole
    for sentence in _with_values(language):
        values = sentence.values(text)
        if values is not None:
            known = {number: in_language(value, language, depth + 1) or value for number, value in values.items()}
            return sentence.elsewhere_with(known)
    return _around_a_reason(text, language, depth)


def _around_a_reason(text: str, language: str, depth: int) -> str | None:
    """A reason with a stop behind it, or with what it is about before it."""
    if text.endswith(".") and (reason := in_language(text[:-1], language, depth + 1)) is not None:
        return f"{reason}。"
    about, colon, rest = text.partition(": ")
    if colon and (reason := in_language(rest, language, depth + 1)) is not None:
        return f"{in_language(about, language, depth + 1) or about}：{reason}"
    return text if _QUOTED.fullmatch(text) else None


def line_in_language(line: str, language: str) -> str:
    """A line that was stored, as one error made it or as the reason alone, in a language; as it is where it is not known."""
    known = in_language(line, language)
    if known is not None:
        return known
    stops = [place.start() for place in re.finditer(r"(?<=\.) ", line[:_MOST_LOOKED_AT])]
    for stop in stops[-_MOST_STOPS:]:
        reason, fix = in_language(line[:stop], language), in_language(line[stop + 1 :], language)
        if reason is not None and fix is not None:
            return reason + fix
    return line


def tell(error: HeedError, language: str) -> Told:
    """An error in a language; in English where any part of it is not known in it, rather than half of each."""
    parts = [in_language(part, language) for part in (error.what, error.why, error.fix)]
    if language != DEFAULT_LANGUAGE and None not in parts:
        what, why, fix = (part or "" for part in parts)
        return Told(what, why, fix, f"{what}：{why}", f"{what}：{why}{fix}", language)
    reason = f"{error.what}: {error.why}"
    return Told(error.what, error.why, error.fix, reason, f"{reason} {error.fix}", DEFAULT_LANGUAGE)
