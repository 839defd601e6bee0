"""Who won, by a column of words: the name of one of the two, a side, a number, or a word for a tie.

A name goes before a word, in whatever case it is written: a thing may be called b. A letter goes with the column that bears it.
Numbers are sides where the column has 1 and 2 alone, and scores of the left one where it has 0, 0.5 and 1 alone. What can be read
in two ways is refused.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from heed.errors import DataError
from heed.lazily import np
from heed.raters.coded_tables import CodedTable
from heed.raters.column_names import PAIR_WORDS, plain_name, quoted, turned_pairs
from heed.raters.votes import Codes, Mask
from heed.statistics import Array
from heed.texts import counted, cut, shown

TIE_WORDS = (
    *("tie", "tie (bothbad)", "both_bad", "bothbad", "both bad", "equal", "draw", "same", "neither", "both"),
    "no preference",
)
NO_ANSWER = ("", "none", "null", "nan", "n/a", "#n/a", "na", "<na>")
"""What programs write where nothing was said."""

NOBODY, UNANSWERED = -1.0, -2.0
"""In place of an outcome: that none can be told; that nothing was said."""

_A_SIDE = re.compile(r"(?:model|item|system|candidate|option|response|answer|assistant)[ _-]?(a|b|1|2)")
"""A thing, its number or letter behind it, is a side as well: model_a."""

_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_WHOLE = re.compile(r"(\d+)\.0*")
_NUMBERED, _SCORED = {1.0: 1.0, 2.0: 0.0}, {1.0: 1.0, 0.0: 0.0, 0.5: 0.5}
_SHOWN, _NUMBERS_SHOWN = 60, 8


def plain_word(word: str) -> str:
    """A word or a name without what the form of its characters adds: case, width, invisible ones, and the ``.0`` of 1.0."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", word)).casefold().strip()
    whole = _WHOLE.fullmatch(plain)
    return whole[1] if whole else plain


def number_of(word: str) -> float | None:
    """The number that a word is, or None."""
    with suppress(ValueError):
        number = float(word)
        return number if math.isfinite(number) else None
    return None


def number_system(words: Iterable[str]) -> Mapping[float, float]:
    """What the numbers among the words of columns mean; nothing where there is any that one system has not."""
    numbers = {number for word in words if (number := number_of(word)) is not None}
    if 2 in numbers and numbers <= set(_NUMBERED):
        return _NUMBERED
    return _SCORED if 0.5 in numbers and numbers <= set(_SCORED) else {}


class WhoWon:
    """Who won by the words of a column.

    Attributes:
        outcome: [rows], 1 left won, 0 right, 0.5 neither, ``UNANSWERED`` where it says nothing, ``NOBODY`` where it is not told.
    """

    def __init__(
        self,
        path: Path,
        read: CodedTable,
        part: str,
        items: list[str],
        left: Codes,
        right: Codes,
        system: Mapping[float, float],
        *,
        ties: bool,
    ) -> None:
        self._path, self._read, self._ties, self._system = path, read, ties, system
        self._part = part
        self._words, self._codes = read.names(part), read.codes(part)
        self._plain = [plain_word(word) for word in self._words]
        self._read_from = read.columns.name(part)
        self._columns = {plain_name(read.columns.name("left")): 1.0, plain_name(read.columns.name("right")): 0.0}
        self._turned = turned_pairs(*self._columns) if len(self._columns) == 2 else []
        by_name = self._by_name(items, left, right)
        by_word = np.array([self._side(word) for word in self._plain] + [UNANSWERED])[self._codes]
        self.outcome: Array = np.where(by_name == NOBODY, by_word, by_name)
        self._doubtful: Mask = (by_name != NOBODY) & (by_word != NOBODY) & (by_name != by_word)
        self._by_word: Mask = (by_name == NOBODY) & (by_word >= 0)
        self._check_two_readings((by_name == NOBODY) & (by_word != NOBODY))
        if ((by_name != NOBODY) & (by_word == NOBODY)).any():
            # The column has names, and so this is the name of a third thing.
            things = {plain_word(item) for item in items}
            third = np.array([word in things for word in self._plain] + [False])[self._codes]
            self.outcome = np.where(
                (by_name == NOBODY) & third & (by_word >= 0) & (by_word != 0.5), NOBODY, self.outcome
            )
        self._check_turned()
        self._check_numbers()

    def _by_name(self, items: list[str], left: Codes, right: Codes) -> Array:
        """Who won by name [rows]: as it is written, or else in other case or form where only one of the two is called so."""
        place = {name: code for code, name in enumerate(items)}
        exact = np.array([place.get(word, -1) for word in self._words] + [-2], np.intp)[self._codes]
        keys: dict[str, int] = {}
        alike = np.array([keys.setdefault(plain_word(item), len(keys)) for item in items], np.intp)
        word = np.array([keys.get(plain, -1) for plain in self._plain] + [-2], np.intp)[self._codes]
        is_left, is_right = word == alike[left], word == alike[right]
        roughly = np.where(is_left & ~is_right, 1.0, np.where(is_right & ~is_left, 0.0, NOBODY))
        return np.where(exact == left, 1.0, np.where(exact == right, 0.0, roughly))

    def _side(self, word: str) -> float:
        """What a word says, whatever is compared."""
        if plain_name(word) in self._columns:
            return self._columns[plain_name(word)]
        pair, first = _pair_of(word)
        if pair:
            if not self._turned or (pair == PAIR_WORDS[0] and pair not in self._turned):
                return 1.0 if first else 0.0
            return NOBODY if pair not in self._turned else 0.0 if first else 1.0
        if word in TIE_WORDS:
            return 0.5 if self._ties else NOBODY
        if word in NO_ANSWER:
            return UNANSWERED
        number = number_of(word)
        if number is None or self._turned:
            return NOBODY
        outcome = self._system.get(number, NOBODY)
        return NOBODY if outcome == 0.5 and not self._ties else outcome

    def _check_two_readings(self, as_words: Mask) -> None:
        """See that words of one kind are not names in some rows, at odds with the side, and sides in others.

        Raises:
            DataError: they are.
        """
        kinds = [_kind(word) for word in self._plain] + [""]
        kind = np.unique(np.array(kinds), return_inverse=True)[1].reshape(-1)[self._codes]
        both = np.intersect1d(kind[self._doubtful], kind[as_words & (self._codes >= 0)])
        if not both.size:
            return
        name, side = (int(np.flatnonzero(rows & (kind == both[0]))[0]) for rows in (self._doubtful, as_words))
        raise self._refusal(
            f"line {self._read.lines[name]}: {self._shown(name)} is the name of one of the two and may be another answer as "
            f"well; line {self._read.lines[side]}: {self._shown(side)} is the name of neither. Whether names or sides won "
            "cannot be told."
        )

    def _check_turned(self) -> None:
        """See that the sides are not named by letters of one kind where the columns bear those of another, turned round.

        Raises:
            DataError: they are.
        """
        if not self._turned:
            return
        beside = [bool(_pair_of(word)[0]) or number_of(word) is not None for word in self._plain]
        rows = np.flatnonzero((self.outcome == NOBODY) & np.array([*beside, False])[self._codes])
        if rows.size:
            left, right = self._columns
            raise self._refusal(
                f"line {self._read.lines[rows[0]]}: {self._shown(rows[0])} may be either, as the left one stands in {quoted(left)} "
                f"and the right one in {quoted(right)}, the other way round than these are called."
            )

    def _check_numbers(self) -> None:
        """See that numbers do not say more than sides, or leave open whether they are sides or scores.

        Raises:
            DataError: they do, and no more rows say who won in another way.
        """
        numbers = {code: number for code, word in enumerate(self._plain) if (number := number_of(word)) is not None}
        told = (self.outcome >= 0) & (self.outcome != 0.5)
        lost = (self.outcome == NOBODY) & np.isin(self._codes, list(numbers))
        if lost.any() and lost.sum() >= told.sum() and not self._system:
            values = sorted({numbers[code] for code in self._codes[lost].tolist()})
            some = ", ".join(f"{value:g}" for value in values[:_NUMBERS_SHOWN])
            more = f" and {len(values) - _NUMBERS_SHOWN:,} more" if len(values) > _NUMBERS_SHOWN else ""
            raise self._refusal(
                f"it holds the numbers {some}{more}; whether such numbers are sides or scores cannot be told. 1 and 2 alone are "
                "sides, 0, 0.5 and 1 alone scores of the left one."
            )

    def _refusal(self, why: str) -> DataError:
        ways = "left, right or tie" if self._ties else "left or right"
        fix = f"Write {ways} there. How much better one was can stand in a column strength, as 1, 2 or 3."
        return DataError(f"{self._path}, column {quoted(self._read_from)}", why, fix)

    def _shown(self, row: int) -> str:
        return shown(self._words[self._codes[row]])

    def fault(self, row: int) -> str:
        """Why a row does not say who won."""
        words = "left, right or tie" if self._ties else "left or right"
        text = cut(self._words[self._codes[row]], _SHOWN)
        return f"its {self._part} is {text!r}, which is neither the name of one of the two nor {words}"

    def notes(self) -> list[str]:
        """What somebody should know of how the words were taken."""
        notes = []
        used = set(self._codes[self._by_word].tolist())
        if self._system and any(number_of(word) is not None for code, word in enumerate(self._plain) if code in used):
            means = (
                "1 as left and 2 as right" if self._system is _NUMBERED else "1 as left, 0 as right and 0.5 as a tie"
            )
            notes.append(f"the numbers in {self._read_from!r} were read as sides: {means}.")
        if doubtful := int(self._doubtful.sum()):
            rows = f"{counted(doubtful, 'row')} name{'s' * (doubtful == 1)}"
            notes.append(
                f"{rows} a winner that is called as the other side is, or a tie: the name was taken, not the side."
            )
        return notes


def _pair_of(word: str) -> tuple[tuple[str, str] | tuple[()], bool]:
    """The words for sides that a word is one of, and whether it is the first of them."""
    thing = _A_SIDE.fullmatch(word)
    bare = thing[1] if thing else word
    for pair in PAIR_WORDS:
        # Alone a number is read with the others of its column.
        if bare in pair and (thing or number_of(bare) is None):
            return pair, bare == pair[0]
    return (), False


def _kind(word: str) -> str:
    """Of what kind a word is beside a name; words of one kind mean alike."""
    pair, _ = _pair_of(word)
    if pair:
        return pair[0]
    kinds: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("tie", lambda word: word in TIE_WORDS),
        ("no answer", lambda word: word in NO_ANSWER),
        ("number", lambda word: number_of(word) is not None),
    )
    return next((kind for kind, is_one in kinds if is_one(word)), f"word {word}")
