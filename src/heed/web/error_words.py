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
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_SENTENCE_ENDS = re.compile("[:.] ")
_LABEL = re.compile(rf"[^\s'\"]+|{_QUOTED.pattern}|line \d+|[A-Z]+ /\S*")
"""What a reason may be about, told as it is: a name, a quoted value, a line of a file, an address with its method."""
_MOST_LOOKED_AT = 2000
"""Characters of a text that is looked up; longer ones are told as they are."""
_MOST_COLONS = 16
"""Places at which a text may come apart; one with more is told as it is."""
_MOST_TRIES = 12
"""Places at which a value may end."""
_MOST_STOPS = 4
"""Of a stored line, counted from its end: what to do about an error is a sentence or two."""
_WORDS = {
    "HH-RLHF has no place for a {1}": "1",
    "TRL has no place for a {1}": "1",
    "a {1} {2} does not fit a TRL file of {3} {4}s": "1234",
    "completion {1}: {2}": "2",
    "not CSV: {1}": "1",
    "not JSON: {1} at character {2}": "1",
    "{1} has no place for a comparison without winner ('{2}')": "2",
    "{1} has its content in parts (multimodal); heed reads text only": "1",
    "{1} is {2}, not a list of messages": "2",
    "{1} is {2}, not an object with role and content": "12",
    "{1} is {2}, not text": "2",
}
"""Sentences of which a value is words of the program, to be known in the language too. Every other value stays as it is."""
_FILES = {
    "{1} has no header",
    "{1} has no usable header",
    "{1} holds no feedback",
    "{1} holds no items",
    "{1} is not UTF-8 text",
    "{1}, line {2} could be {3}",
}
"""Sentences that begin with the name of a file, which may hold a colon."""


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
    """A sentence with values.

    Attributes:
        pieces: its literal pieces in English.
        numbers: the number of the value after each piece but the last.
        elsewhere: what it is in the other language.
        words: the numbers of the values that are words of the program.
        of_file: its first value is the name of a file.
    """

    pieces: tuple[str, ...]
    numbers: tuple[str, ...]
    elsewhere: str
    words: str
    of_file: bool

    def values(self, text: str) -> dict[str, str] | None:
        """The values by which ``text`` is this sentence, or None."""
        first, *middle, last = self.pieces
        end = len(text) - len(last)
        if end < len(first) or not text.startswith(first) or not text.endswith(last):
            return None
        if not last and text.endswith("."):
            return None  # the stop is none of a value
        place, found = len(first), list[str]()
        for piece in middle:
            there = text.find(piece, place, end)
            for _ in range(_MOST_TRIES):
                if there < 0 or self._is_whole(len(found), text[place:there]):
                    break
                there = text.find(piece, there + 1, end)
            else:
                return None
            if there < 0:
                return None
            found.append(text[place:there])
            place = there + len(piece)
        found.append(text[place:end])
        return dict(zip(self.numbers, found, strict=True)) if self._is_whole(len(found) - 1, found[-1]) else None

    def _is_whole(self, place: int, value: str) -> bool:
        """Whether a value is no more than one: outside quotation marks it has no colon and no stop, where a sentence ends."""
        if self.numbers[place] in self.words or (self.of_file and not place):
            return True
        if self.pieces[place].endswith("'") and self.pieces[place + 1].startswith("'"):
            return "': " not in value and "'. " not in value
        bare = _QUOTED.sub("", value)
        torn = value[:1] in {"'", '"'} and not value.endswith("…") and ("'" in bare or '"' in bare)
        return bool(value) and not torn and not _SENTENCE_ENDS.search(bare)

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
def _exactly(language: str) -> dict[str, str]:
    """The catalogue, each sentence with its stop and without: some reasons are told in the middle of a line."""
    given = catalogue_of_errors(language)
    found = dict(given)
    for english, elsewhere in given.items():
        if not english.endswith("."):
            found.setdefault(f"{english}.", elsewhere if elsewhere.endswith("？") else f"{elsewhere}。")
        elif not english.endswith("..."):
            found.setdefault(english.removesuffix("."), elsewhere.removesuffix("。"))
    return found


@cache
def _with_values(language: str) -> dict[str, tuple[_Sentence, ...]]:
    """The sentences that hold values by their first word, "" where it is not whole; those that say most come first."""
    found: dict[str, list[_Sentence]] = {}
    for english, elsewhere in _exactly(language).items():
        if not _VALUE.search(english):
            continue
        pieces, bare = tuple(_VALUE.split(english)[::2]), english.removesuffix(".")
        made = _Sentence(pieces, tuple(_VALUE.findall(english)), elsewhere, _WORDS.get(bare, ""), bare in _FILES)
        word, space, _ = pieces[0].partition(" ")
        found.setdefault(word if space else "", []).append(made)
    return {word: tuple(sorted(some, key=lambda one: -sum(map(len, one.pieces)))) for word, some in found.items()}


class _Reader:
    """Reads one text in a language; what it has read of it already it does not read again."""

    def __init__(self, language: str) -> None:
        self._exactly, self._with_values = _exactly(language), _with_values(language)
        self._read: dict[str, str | None] = {}

    def part(self, text: str) -> str | None:
        """A part of an error, with what it is about before it or not; None where it is not known whole."""
        if text not in self._read:
            self._read[text] = self._part(text)
        return self._read[text]

    def _part(self, text: str) -> str | None:
        apart = []
        for colon in re.finditer(": ", text):
            about, reason = text[: colon.start()], self.part(text[colon.end() :])
            if reason is not None:
                apart.append((about, reason))
        for about, reason in apart:
            if (known := self._sentence(about)) is not None:
                return f"{known}：{reason}"
        if (whole := self._sentence(text)) is not None:
            return whole
        labels = (f"{about}：{reason}" for about, reason in apart if _LABEL.fullmatch(about))
        return next(labels, None)

    def _sentence(self, text: str) -> str | None:
        """A text that is one sentence of the catalogue."""
        if (exactly := self._exactly.get(text)) is not None:
            return exactly
        word, space, _ = text.partition(" ")
        for sentence in (*(self._with_values.get(word, ()) if space else ()), *self._with_values.get("", ())):
            values = sentence.values(text)
            told = None if values is None else self._told(sentence, values)
            if told is not None:
                return told
        return None

    def _told(self, sentence: _Sentence, values: dict[str, str]) -> str | None:
        for number in sentence.words:
            words = self.part(values[number])
            if words is None and not _LABEL.fullmatch(values[number]):
                return None  # half of each language otherwise
            values[number] = words or values[number]
        return sentence.elsewhere_with(values)


def in_language(text: str, language: str) -> str | None:
    """A part of an error in a language; None where any of it is not known in it."""
    if language == DEFAULT_LANGUAGE:
        return text
    if len(text) > _MOST_LOOKED_AT or text.count(": ") > _MOST_COLONS:
        return None
    return _Reader(language).part(text)


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
    if parts[0] is None and _QUOTED.fullmatch(error.what):
        parts[0] = error.what  # the name of what was sent
    if language != DEFAULT_LANGUAGE and None not in parts:
        what, why, fix = (part or "" for part in parts)
        return Told(what, why, fix, f"{what}：{why}", f"{what}：{why}{fix}", language)
    reason = f"{error.what}: {error.why}"
    return Told(error.what, error.why, error.fix, reason, f"{reason} {error.fix}", DEFAULT_LANGUAGE)
