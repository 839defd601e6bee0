"""Answers in columns of numbers, so that a hundred thousand of them are counted in a moment and weigh some megabytes.

A row goes in with its words, a column keeps numbers and each word once. What an answer says is split into *units*, the
smallest things that two raters can agree on (see ``forms.comparable_values``).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from heed.feedback.fields.base import Level
from heed.feedback.studio_schema import PURPOSES
from heed.lazily import np
from heed.statistics import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[np.int64]"
Mask: TypeAlias = "NDArray[np.bool_]"


class Unit(NamedTuple):
    """A part of an answer that can be compared with the same part of another.

    ``place`` tells parts of one item apart (the second completion's score); values agree that differ by ``tolerance`` at most.
    """

    field: str
    place: str
    level: Level
    value: str | float
    tolerance: float = 0.0


class AnswerRow(NamedTuple):
    """An answer as the database has it; ``supersedes`` is the number of the answer that it takes the place of.

    ``purpose`` is "" of what says nothing itself: it takes a decision back.
    """

    number: int
    item: str
    question: str
    rater: str
    purpose: str
    created: datetime
    active_seconds: float
    units: tuple[Unit, ...] = ()
    correct: float | None = None
    chose_left: bool | None = None
    tied: bool | None = None
    supersedes: int | None = None


class Words:
    """Numbers from 0 for words, in the order in which they first come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.names: list[str] = []

    def number(self, word: str) -> int:
        """The number of ``word``, a new one where it is new."""
        found = self._numbers.setdefault(word, len(self.names))
        if found == len(self.names):
            self.names.append(word)
        return found

    def find(self, word: str) -> int:
        """The number of ``word``, -1 where it never came."""
        return self._numbers.get(word, -1)


@dataclass(frozen=True)
class Units:
    """The units of answers: ``answer`` is a position in the answers' columns. Values of names are the numbers of words."""

    answer: Ints
    field: Ints
    place: Ints
    value: Array
    tolerance: Array

    def where(self, chosen: Mask) -> Units:
        """Those that are ``chosen``."""
        return Units(*(column[chosen] for column in vars(self).values()))


@dataclass(frozen=True)
class Answers:
    """Columns [answers] of answers that stand: those that another one superseded are not among them.

    ``created`` counts seconds since 1970; ``correct`` is not a number where there is no known answer; ``left`` and ``tied``
    are 1, 0, or -1 where the question does not arise. ``places`` and ``values`` are the words of the units.
    """

    item: Ints
    question: Ints
    rater: Ints
    purpose: Ints
    created: Array
    active_seconds: Array
    correct: Array
    left: Ints
    tied: Ints
    units: Units
    items: list[str]
    questions: list[str]
    raters: list[str]
    fields: list[tuple[str, Level]]
    places: list[str] = dataclass_field(default_factory=list)
    values: list[str] = dataclass_field(default_factory=list)

    @property
    def size(self) -> int:
        return self.item.size

    def is_of(self, *purposes: str) -> Mask:
        """Which were given for one of ``purposes``."""
        return np.isin(self.purpose, [PURPOSES.index(purpose) for purpose in purposes])


_COLUMNS = {
    "number": "q",
    "item": "q",
    "question": "q",
    "rater": "q",
    "purpose": "q",
    "created": "d",
    "active_seconds": "d",
    "correct": "d",
    "left": "q",
    "tied": "q",
    "superseded": "q",
}
_UNIT_COLUMNS = {"answer": "q", "field": "q", "place": "q", "value": "d", "tolerance": "d"}


class AnswerColumns:
    """Answers as they come in, in any order; each is taken once."""

    def __init__(self, rows: Iterable[AnswerRow] = ()) -> None:
        self._items, self._questions, self._raters = Words(), Words(), Words()
        self._places, self._values, self._fields = Words(), Words(), Words()
        self._levels: list[Level] = []
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in _COLUMNS.items()}
        self._units: dict[str, array[Any]] = {name: array(code) for name, code in _UNIT_COLUMNS.items()}
        for row in rows:
            self.add(row)

    def __len__(self) -> int:
        return len(self._columns["number"])

    def add(self, row: AnswerRow) -> None:
        """Take one more."""
        answer = len(self)
        values = {
            "number": row.number,
            "item": self._items.number(row.item),
            "question": self._questions.number(row.question),
            "rater": self._raters.number(row.rater),
            "purpose": PURPOSES.index(row.purpose) if row.purpose else -1,
            "created": row.created.timestamp(),
            "active_seconds": row.active_seconds,
            "correct": float("nan") if row.correct is None else row.correct,
            "left": -1 if row.chose_left is None else int(row.chose_left),
            "tied": -1 if row.tied is None else int(row.tied),
            "superseded": -1 if row.supersedes is None else row.supersedes,
        }
        for name, value in values.items():
            self._columns[name].append(value)
        for unit in row.units:
            self._add_unit(answer, unit)

    def _add_unit(self, answer: int, unit: Unit) -> None:
        field = self._fields.number(unit.field)
        if field == len(self._levels):
            self._levels.append(unit.level)
        value = float(self._values.number(unit.value)) if isinstance(unit.value, str) else unit.value
        places = (answer, field, self._places.number(unit.place), value, unit.tolerance)
        for column, part in zip(self._units.values(), places, strict=True):
            column.append(part)

    def answers(self) -> Answers:
        """What stands now. The columns are copies: what comes in later does not change them."""
        columns = {name: np.array(column) for name, column in self._columns.items()}
        number, superseded = columns.pop("number"), columns.pop("superseded")
        stands = ~np.isin(number, superseded[superseded >= 0])
        units = Units(**{name: np.array(column) for name, column in self._units.items()})
        kept = units.where(stands[units.answer]) if units.answer.size else units
        new_place = np.cumsum(stands) - 1
        return Answers(
            **{name: column[stands] for name, column in columns.items()},
            units=Units(new_place[kept.answer] if kept.answer.size else kept.answer, *list(vars(kept).values())[1:]),
            items=list(self._items.names),
            questions=list(self._questions.names),
            raters=list(self._raters.names),
            fields=list(zip(self._fields.names, self._levels, strict=True)),
            places=list(self._places.names),
            values=list(self._values.names),
        )
