"""Comparisons of named things from plain files, tables as :mod:`heed.raters.tables` reads them.

A table has the columns left, right and winner, and where known rater, strength and gold, under any of the usual names; in place
of the winner it may have a column of 0 and 1 for each side. Who won is said by name, by side or by number, see :class:`_Said`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from heed.errors import DataError
from heed.feedback.formats.rows import BrokenRow
from heed.lazily import np
from heed.raters.bradley_terry import Duels
from heed.raters.coded_tables import CodedTable, Progress, names_unknown, nothing_read, read_table
from heed.raters.column_names import ONE_HOT, plain_name
from heed.raters.misspelt import alike_told, trimmed_told
from heed.raters.votes import Codes, Mask
from heed.texts import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heed.statistics import Array

PARTS, OPTIONAL = ("left", "right", "winner"), ("rater", "strength", "gold")

LEFT_WORDS, RIGHT_WORDS = ("left", "a", "first"), ("right", "b", "second")
TIE_WORDS = (
    *("tie", "tie (bothbad)", "both_bad", "bothbad", "both bad", "equal", "draw", "same", "neither", "both"),
    *("no preference", "none"),
)
"""What says who won, beside the names of the two. A thing, its number or letter behind it, is a side as well: model_a."""

_A_SIDE = re.compile(r"(?:model|item|system|candidate|option|response|answer|assistant)[ _-]?(a|b|1|2)")
_NUMBERED = {"1": 1.0, "2": 0.0}
_SCORED = {"1": 1.0, "0": 0.0, "0.5": 0.5}
_YES, _NO = ("1", "true", "yes", "1.0"), ("0", "false", "no", "", "0.0")
_STRENGTHS = ("", "0", "1", "2", "3")
_SHOWN = 60
_NOBODY = -1.0
"""In place of an outcome: that none can be told."""


@dataclass
class NamedDuels:
    """Comparisons of a file with the names behind the codes.

    Attributes:
        duels: the comparisons.
        items: names of what was compared. raters: names of who compared; empty where the file does not say.
        rater: [N], code of the rater; None where the file does not say.
        gold: [N], 1 or 0 where the better side is known, else nan; None where the file has no such column.
        broken: rows that could not be used.
        read_as: which column was read as what, a sentence.
        notes: what somebody should know who reads numbers of it, sentences.
    """

    duels: Duels
    items: list[str]
    raters: list[str]
    rater: NDArray[np.intp] | None
    gold: Array | None
    broken: list[BrokenRow] = field(default_factory=list)
    read_as: str = ""
    notes: list[str] = field(default_factory=list)


def read_duels(
    path: Path, named: Mapping[str, str] | None = None, progress: Progress = lambda rows: None
) -> NamedDuels:
    """The comparisons of a file.

    Args:
        path: of a file as the module describes it.
        named: what the columns of parts are called, where it is none of the usual names.
        progress: hears of the rows.

    Raises:
        DataError: the file cannot be read, has no column for what was compared or who won, or no good row.
        ConfigError: a column was named for a part that comparisons have not.
    """
    read = read_table(path, PARTS, (), named, optional=OPTIONAL, progress=progress)
    if not len(read.lines):
        raise nothing_read(path, "comparison", read, PARTS)
    items, left, right = _items(read)
    faults = _Faults(read)
    faults.add(left == right, lambda row: f"it compares {cut(items[left[row]], _SHOWN)!r} with itself")
    notes = read.columns.doubts()
    if "winner" in read.known:
        said = _Said(read, "winner", items, left, right, ties=True)
        outcome = said.outcome
        notes += said.notes()
        faults.add(outcome == _NOBODY, said.fault)
    else:
        outcome, count = _marked(read)
        faults.add(outcome == _NOBODY, lambda row: f"its columns say that {count[row]} of the sides won, not one")
    gold = None
    if "gold" in read.known:
        known = _Said(read, "gold", items, left, right, ties=False)
        gold = np.where(read.codes("gold") < 0, np.nan, known.outcome)
        faults.add(gold == _NOBODY, known.fault)
    strength = _strengths(read, faults)
    good = ~faults.bad
    if not good.any():
        if read.headless is not None:
            raise names_unknown(path, read, PARTS)
        first = faults.broken()[0]
        raise DataError(f"{path} has no comparison", f"line {first.line}: {first.reason}.", EXAMPLE)
    if read.headless is not None and not good[0] and read.lines[0] == read.headless:
        raise names_unknown(path, read, PARTS)
    rater = read.codes("rater")[good] if "rater" in read.known else None
    (left, right), items = _used((left[good], right[good]), items)
    raters: list[str] = []
    if rater is not None:
        (rater,), raters = _used((rater,), read.names("rater"))
    for part in (*PARTS[:2], *(("rater",) if rater is not None else ())):
        notes += trimmed_told(part, read.known[part].trimmed())
    duels = Duels(left, right, outcome[good], len(items), strength=strength[good] if strength[good].any() else None)
    found = NamedDuels(duels, items, raters, rater, None, faults.broken(), read.columns.told(), notes)
    if gold is not None and np.isfinite(gold[good]).any():
        found.gold = gold[good]
    found.notes += _alike(found)
    return found


EXAMPLE = "The first line names the columns: left,right,winner,rater; each further one is a comparison: A,B,left,ann."


class _Faults:
    """Rows that cannot be used, each with its first fault."""

    def __init__(self, read: CodedTable) -> None:
        self._read = read
        self._reasons: dict[int, str] = {}
        self.bad: Mask = np.zeros(len(read.lines), np.bool_)

    def add(self, rows: Mask, reason: Callable[[int], str]) -> None:
        """Take in the ``rows`` [rows] that have a fault."""
        self._reasons |= {row: reason(row) for row in np.flatnonzero(rows & ~self.bad).tolist()}
        self.bad |= rows

    def broken(self) -> list[BrokenRow]:
        """Those rows, and those that could not even be read, by line."""
        found = [BrokenRow(self._read.lines[row], reason) for row, reason in self._reasons.items()]
        return sorted([*self._read.broken, *found], key=lambda row: row.line)


def _items(read: CodedTable) -> tuple[list[str], Codes, Codes]:
    """The things that were compared, by one list of names, and the codes of those on both sides [rows]."""
    names = {name: code for code, name in enumerate(read.names("left"))}
    of_right = [names.setdefault(name, len(names)) for name in read.names("right")]
    return list(names), read.codes("left"), np.array(of_right, np.intp)[read.codes("right")]


class _Said:
    """Who won by a column of words: the name of one of the two, a side, a number, or a word for a tie.

    A name goes before a word: a thing may be called b. Numbers are sides where the column has 1 and 2, and scores of the left
    one where it has 0, 0.5 and 1; 0 and 1 alone are either, and say nothing.

    Attributes:
        outcome: [rows], 1 left won, 0 right, 0.5 neither, ``_NOBODY`` where it does not say.
    """

    def __init__(self, read: CodedTable, part: str, items: list[str], left: Codes, right: Codes, *, ties: bool) -> None:
        self._part = part
        self._words, self._codes, self._ties = read.names(part), read.codes(part), ties
        self._read_from = read.columns.name(part)
        plain = [word.lower() for word in self._words]
        sides = {plain_name(read.columns.name("left")): 1.0, plain_name(read.columns.name("right")): 0.0}
        place = {name: code for code, name in enumerate(items)}
        named = np.array([place.get(word, -1) for word in self._words] + [-2], np.intp)[self._codes]
        self._numbers = {word for word, name in zip(plain, self._words, strict=True) if name not in place}
        by_word = np.array([self._side(word, sides) for word in plain] + [_NOBODY])[self._codes]
        by_name = np.where(named == left, 1.0, np.where(named == right, 0.0, _NOBODY))
        self.outcome: Array = np.where(by_name == _NOBODY, by_word, by_name)
        self._doubtful = int(
            ((by_name != _NOBODY) & (by_word != _NOBODY) & (by_name != by_word) & (by_word != 0.5)).sum()
        )

    def _side(self, word: str, sides: Mapping[str, float]) -> float:
        """What a word says, whatever is compared."""
        thing = _A_SIDE.fullmatch(word)
        bare = thing[1] if thing else word
        if bare in LEFT_WORDS or plain_name(word) in sides or (thing and bare == "1"):
            return sides.get(plain_name(word), 1.0)
        if bare in RIGHT_WORDS or (thing and bare == "2"):
            return 0.0
        if self._ties and word in TIE_WORDS:
            return 0.5
        return self._number_system().get(word, _NOBODY) if word in self._numbers else _NOBODY

    def _number_system(self) -> Mapping[str, float]:
        """What the numbers of the column mean."""
        if "2" in self._numbers and "0" not in self._numbers:
            return _NUMBERED
        return _SCORED if self._ties and "0.5" in self._numbers and "2" not in self._numbers else {}

    def fault(self, row: int) -> str:
        """Why a row does not say who won."""
        code = self._codes[row]
        words = "left, right or tie" if self._ties else "left or right"
        if code < 0:
            return f"it does not say who won: give the name of one of the two, {words}"
        text = self._words[code]
        told = f"its {self._part} is {cut(text, _SHOWN)!r}, which is neither the name of one of the two nor {words}"
        if text in ("0", "1", "2", "-1"):
            told += "; whether such numbers are sides or scores cannot be told: write left and right"
        return told

    def notes(self) -> list[str]:
        """What somebody should know of how the words were taken."""
        notes = []
        system = self._number_system()
        if system:
            means = "1 as left and 2 as right" if system is _NUMBERED else "1 as left, 0 as right and 0.5 as a tie"
            notes.append(f"the numbers in {self._read_from!r} were read as sides: {means}.")
        if self._doubtful:
            rows = "1 row names" if self._doubtful == 1 else f"{self._doubtful:,} rows name"
            notes.append(f"{rows} a winner that is called as the other side is: the name was taken, not the side.")
        return notes


def _marked(read: CodedTable) -> tuple[Array, Codes]:
    """Who won by a column of 0 and 1 for each side [rows], and how many are said to have won."""
    won = {}
    for part in ONE_HOT:
        if part in read.known:
            plain = [name.lower() for name in read.names(part)]
            marks = np.array([1 if name in _YES else 0 if name in _NO else 9 for name in plain] + [0], np.intp)
            won[part] = marks[read.codes(part)]
    count = np.sum(list(won.values()), axis=0)
    outcome = np.where(won["won_left"] == 1, 1.0, np.where(won["won_right"] == 1, 0.0, 0.5))
    # Without a column for ties a row in which nobody won is one.
    nobody = count != 1 if "won_neither" in won else count > 1
    return np.where(nobody, _NOBODY, outcome), count


def _strengths(read: CodedTable, faults: _Faults) -> Codes:
    """How much better [rows], 0 where it was not said."""
    if "strength" not in read.known:
        return np.zeros(len(read.lines), np.intp)
    names, codes = read.names("strength"), read.codes("strength")
    numbers = np.array([int(name) if name in _STRENGTHS else -1 for name in names] + [0], np.intp)[codes]
    faults.add(
        numbers < 0,
        lambda row: (
            f"strength is {cut(names[codes[row]], _SHOWN)!r}, not 1, 2 or 3, nor 0 or empty where it was not said"
        ),
    )
    return numbers


def _used(columns: tuple[Codes, ...], names: list[str]) -> tuple[list[Codes], list[str]]:
    """Codes without the names that none of them has."""
    there = np.zeros(len(names), np.bool_)
    for column in columns:
        there[column] = True
    new = np.cumsum(there) - 1
    return [new[column] for column in columns], [name for name, kept in zip(names, there.tolist(), strict=True) if kept]


def _alike(found: NamedDuels) -> list[str]:
    """Names that may be the same. Things are often called nearly alike on purpose, raters are not."""
    both = np.concatenate([found.duels.left, found.duels.right])
    counts = np.bincount(both, minlength=len(found.items)).tolist()
    told = alike_told("item", found.items, counts, "comparison", slips=False)
    if found.rater is not None:
        counts = np.bincount(found.rater, minlength=len(found.raters)).tolist()
        told += alike_told("rater", found.raters, counts, "comparison", slips=True)
    return told
