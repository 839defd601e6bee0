"""Comparisons of named things from plain files, tables as :mod:`heed.raters.tables` reads them.

A table has the columns left, right and winner, and where known rater, strength and gold, under any of the usual names; in place
of the winner it may have a column of 0 and 1 for each side. Who won is said by name, by side or by number, see
:mod:`heed.raters.who_won`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from heed.errors import DataError
from heed.feedback.formats.rows import BrokenRow
from heed.lazily import np
from heed.raters.bradley_terry import Duels
from heed.raters.coded_tables import CodedTable, Progress, names_unknown, nothing_read, read_table
from heed.raters.column_names import ONE_HOT
from heed.raters.misspelt import alike_told, trimmed_told
from heed.raters.votes import Codes, Mask
from heed.raters.who_won import NO_ANSWER, NOBODY, UNANSWERED, WhoWon, number_of, number_system, plain_word
from heed.texts import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heed.statistics import Array

PARTS, OPTIONAL = ("left", "right", "winner"), ("rater", "strength", "gold")

_YES, _NO = ("1", "true", "yes"), ("0", "false", "no", *NO_ANSWER)
_STRENGTHS = {0.0: 0, 1.0: 1, 2.0: 2, 3.0: 3}
_SHOWN = 60


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
    # Of the gold few rows say anything: their numbers mean what those of the winners do.
    system = number_system(
        plain_word(word) for part in ("winner", "gold") if part in read.known for word in read.names(part)
    )
    if "winner" in read.known:
        said = WhoWon(path, read, "winner", items, left, right, system, ties=True)
        outcome = said.outcome
        notes += said.notes()
        faults.add(outcome == NOBODY, said.fault)
    else:
        outcome, count = _marked(read)
        faults.add(outcome == NOBODY, lambda row: f"its columns say that {count[row]} of the sides won, not one")
    gold = None
    if "gold" in read.known:
        known = WhoWon(path, read, "gold", items, left, right, system, ties=False)
        gold = np.where(known.outcome == UNANSWERED, np.nan, known.outcome)
        faults.add(gold == NOBODY, known.fault)
    strength = _strengths(read, faults)
    unanswered = (outcome == UNANSWERED) & ~faults.bad
    good = ~faults.bad & ~unanswered
    if not good.any():
        if read.headless is not None:
            raise names_unknown(path, read, PARTS)
        first = next(iter(faults.broken()), None)
        why = f"line {first.line}: {first.reason}." if first else "no row says who won."
        raise DataError(f"{path} has no comparison", why, EXAMPLE)
    if read.headless is not None and faults.bad[0] and read.lines[0] == read.headless:
        raise names_unknown(path, read, PARTS)
    if count_unanswered := int(unanswered.sum()):
        rows = "1 row does" if count_unanswered == 1 else f"{count_unanswered:,} rows do"
        notes.append(f"{rows} not say who won: no answer, not a tie; left out.")
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


def _marked(read: CodedTable) -> tuple[Array, Codes]:
    """Who won by a column of 0 and 1 for each side [rows], and how many are said to have won."""
    won = {}
    for part in ONE_HOT:
        if part in read.known:
            plain = [plain_word(name) for name in read.names(part)]
            marks = np.array([1 if name in _YES else 0 if name in _NO else 9 for name in plain] + [0], np.intp)
            won[part] = marks[read.codes(part)]
    count = np.sum(list(won.values()), axis=0)
    outcome = np.where(won["won_left"] == 1, 1.0, np.where(won["won_right"] == 1, 0.0, 0.5))
    return np.where(count == 0, UNANSWERED, np.where(count == 1, outcome, NOBODY)), count


def _strengths(read: CodedTable, faults: _Faults) -> Codes:
    """How much better [rows], 0 where it was not said."""
    if "strength" not in read.known:
        return np.zeros(len(read.lines), np.intp)
    names, codes = read.names("strength"), read.codes("strength")
    numbers = np.array([_strength(plain_word(name)) for name in names] + [0], np.intp)[codes]
    faults.add(
        numbers < 0,
        lambda row: (
            f"strength is {cut(names[codes[row]], _SHOWN)!r}, not 1, 2 or 3, nor 0 or empty where it was not said"
        ),
    )
    return numbers


def _strength(word: str) -> int:
    """The strength that a word is, -1 where it is none."""
    if word in NO_ANSWER:
        return 0
    number = number_of(word)
    return -1 if number is None else _STRENGTHS.get(number, -1)


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
