"""Comparisons of named things from a plain table: CSV with the columns left, right, winner, and where known rater, strength,
gold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from heed.errors import DataError
from heed.feedback.formats import BrokenRow
from heed.feedback.formats.lines import read_lines
from heed.feedback.formats.table import MOST_COLUMNS, as_written, read_records
from heed.lazily import np
from heed.raters.bradley_terry import Duels
from heed.texts import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heed.statistics import Array

SYNONYMS = {
    "left": ("left", "model_a", "a", "item_a"),
    "right": ("right", "model_b", "b", "item_b"),
    "winner": ("winner", "outcome", "choice", "label"),
    "rater": ("rater", "worker", "performer", "judge", "annotator"),
    "strength": ("strength",),
    "gold": ("gold",),
}
"""Columns, and under which names other programs write them."""

_LEFT, _RIGHT = ("left", "model_a", "a"), ("right", "model_b", "b")
_TIE = ("tie", "tie (bothbad)", "both_bad", "bothbad", "equal")
_ROWS_BETWEEN_WORDS = 20_000
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
        notes: what a reader should know of how the file was taken, sentences.
    """

    duels: Duels
    items: list[str]
    raters: list[str]
    rater: NDArray[np.intp] | None
    gold: Array | None
    broken: list[BrokenRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_duels(path: Path, progress: Callable[[int], None] = lambda rows: None) -> NamedDuels:
    """The comparisons of a CSV file, also packed with gzip.

    The winner is the name of one of the two, left or right (or a, b, model_a, model_b), or tie. ``progress`` hears how many
    rows have been read, now and then.

    Raises:
        DataError: the file cannot be read, has no column for what was compared or who won, or no good row.
    """
    records = read_records(read_lines(path))
    header = next(records, None)
    if header is None or isinstance(header, BrokenRow):
        raise DataError(f"{path} has no comparison", header.reason if header else "it is empty.", _EXAMPLE)
    columns = _columns(path, header[1])
    reader = _Reader(columns, len(header[1]))
    for number, record in enumerate(records, 1):
        if isinstance(record, BrokenRow):
            reader.broken.append(record)
        else:
            reader.take(*record)
        if number % _ROWS_BETWEEN_WORDS == 0:
            progress(number)
    found = reader.done(path)
    found.notes += _passed_over(header[1], columns)
    return found


_EXAMPLE = "The first line names the columns: left,right,winner,rater; each further one is a comparison: A,B,left,ann."


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{path} has {len(names):,} columns", f"a table has at most {MOST_COLUMNS:,}.", _EXAMPLE)
    found = {}
    for column, synonyms in SYNONYMS.items():
        places = [names.index(name) for name in synonyms if name in names]
        if places:
            found[column] = places[0]
    missing = [column for column in ("left", "right", "winner") if column not in found]
    if missing:
        shown = cut(", ".join(names), _SHOWN)
        raise DataError(f"{path} has no column {' and no column '.join(missing)}", f"it has: {shown}.", _EXAMPLE)
    return found


def _passed_over(header: list[str], columns: dict[str, int]) -> list[str]:
    """What is said of columns that are not read."""
    names = [cut(header[place].strip(), _SHOWN) for place in range(len(header)) if place not in columns.values()]
    if not names:
        return []
    return [f"not read: {'column' if len(names) == 1 else 'columns'} {cut(', '.join(map(repr, names)), 5 * _SHOWN)}"]


class _Reader:
    """Collects rows; what cannot be used is kept with its line and reason."""

    def __init__(self, columns: dict[str, int], width: int) -> None:
        self._columns, self._width = columns, width
        self._items: dict[str, int] = {}
        self._raters: dict[str, int] = {}
        self._rows: list[tuple[int, int, float, int, int, float]] = []
        self._doubtful = 0
        self.broken: list[BrokenRow] = []

    def take(self, line: int, cells: list[str]) -> None:
        """Keep a row, or why it cannot be used."""
        try:
            self._rows.append(self._row(cells))
        except ValueError as error:
            self.broken.append(BrokenRow(line, str(error)))

    def _row(self, cells: list[str]) -> tuple[int, int, float, int, int, float]:
        if len(cells) != self._width:
            raise ValueError(f"it has {len(cells)} cells, the header {self._width}")
        said = {column: as_written(cells[place].strip()) for column, place in self._columns.items()}
        if any("\udc80" <= character <= "\udcff" for text in said.values() for character in text):
            raise ValueError("it is not UTF-8")
        left, right = said["left"], said["right"]
        if not left or not right:
            raise ValueError("it does not say what was compared")
        if left == right:
            raise ValueError(f"it compares {cut(left, _SHOWN)!r} with itself")
        outcome = _side(said["winner"], left, right, ties=True)
        self._doubtful += _means_two(said["winner"], left, right)
        strength = said.get("strength", "")
        if strength not in ("", "0", "1", "2", "3"):
            raise ValueError(
                f"strength is {cut(strength, _SHOWN)!r}, not 1, 2 or 3, nor 0 or empty where it was not said"
            )
        gold = _side(said["gold"], left, right, ties=False) if said.get("gold") else np.nan
        if "rater" in said and not said["rater"]:
            raise ValueError("it does not say who compared")
        rater = self._raters.setdefault(said["rater"], len(self._raters)) if "rater" in said else 0
        a, b = (self._items.setdefault(name, len(self._items)) for name in (left, right))
        return a, b, outcome, rater, int(strength or 0), gold

    def done(self, path: Path) -> NamedDuels:
        """The columns of all rows.

        Raises:
            DataError: there is no good row.
        """
        if not self._rows:
            first = f"line {self.broken[0].line}: {self.broken[0].reason}." if self.broken else "it has a header alone."
            raise DataError(f"{path} has no comparison", first, _EXAMPLE)
        left, right, outcome, rater, strength, gold = (np.array(column) for column in zip(*self._rows, strict=True))
        duels = Duels(left, right, outcome, len(self._items), strength=strength if strength.any() else None)
        told = "rater" in self._columns
        known = gold if np.isfinite(gold).any() else None
        found = NamedDuels(duels, list(self._items), list(self._raters), rater if told else None, known, self.broken)
        if self._doubtful:
            rows = "1 row names" if self._doubtful == 1 else f"{self._doubtful:,} rows name"
            found.notes.append(f"{rows} a winner that is called as the other side is: the name was taken, not the side")
        return found


def _means_two(text: str, left: str, right: str) -> bool:
    """Whether a winner is the name of one and the word for the side of the other."""
    return (text == right and text.lower() in _LEFT) or (text == left and text.lower() in _RIGHT)


def _side(text: str, left: str, right: str, ties: bool) -> float:
    """1 for the left one, 0 for the right one, 0.5 for neither. A name goes before a word: a thing may be called b."""
    if text in (left, right):
        return float(text == left)
    word = text.lower()
    if word in _LEFT:
        return 1.0
    if word in _RIGHT:
        return 0.0
    if ties and word in _TIE:
        return 0.5
    allowed = "the name of one of the two, left, right" + (" or tie" if ties else "")
    raise ValueError(f"{cut(text, _SHOWN)!r} won, which is none of {allowed}")
