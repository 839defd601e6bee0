"""What raters said, on scales on which one can reckon how far two of them say the same.

Each unit of an answer becomes a number of mean about 0 and square about 1, such that the product of two raters' numbers is 1
where they fully agree, 0 on average where one of them answers without looking, and below 0 where they say the opposite:

    side    which of two is better: 1, -1, or 0 for neither
    score   a rating, less the rater's own mean and over the rater's own spread
    label   a name; two raters' product is (same - p(x) - p(y) + c) / (1 - c), p how common a name is, c the sum of p squared
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from heed.lazily import np
from heed.raters.columns import Answers, Ints, Mask
from heed.raters.counting import summed
from heed.statistics import Array

Scale = Literal["side", "score", "label"]

FIRST, SECOND, NEITHER = 1.0, -1.0, 0.0
_SIDES = {"a": FIRST, "first": FIRST, "b": SECOND, "second": SECOND, "tie": NEITHER, "both_bad": NEITHER}

FEWEST_FOR_SPREAD = 5
"""Scores (count) from which on a rater's own mean and spread are known."""

_FARTHEST = 3.0
"""Scores farther from a rater's mean count as this far (standard deviations)."""


class Part(NamedTuple):
    """A part of a question that is judged: its field, and on which scale."""

    question: str
    field: str
    scale: Scale


@dataclass(frozen=True)
class Judged:
    """Columns [rows] of units of answers to work, of all raters.

    Attributes:
        item, rater, part, place: codes; ``parts`` says what the parts are, the answers' ``places`` what the places.
        unit: code of what rows can be compared: a part of an item, at one place of it.
        answer: row of the answers that it is from.
        value: on its scale; the code of a name on a scale of labels.
        said, tolerance: what was said, as a number; two say the same where they differ by the tolerance at most.
        created: when it was said (seconds since 1970).
        common: on a scale of labels, how common the value is (0 to 1).
        chance: [parts], how often two names are equal by chance (0 to 1); 0 on other scales.
    """

    item: Ints
    rater: Ints
    part: Ints
    place: Ints
    unit: Ints
    answer: Ints
    value: Array
    said: Array
    tolerance: Array
    created: Array
    common: Array
    chance: Array
    parts: tuple[Part, ...]
    raters: tuple[str, ...]

    @property
    def size(self) -> int:
        """Rows (count)."""
        return int(self.item.size)


@dataclass(frozen=True)
class Pairs:
    """Columns [pairs] of two rows that judge the same unit.

    Attributes:
        one, other: rows; ``one`` is of the rater of the lower code.
        product: of their numbers (see above).
        equal: 1 where they say the same, else 0.
    """

    one: Ints
    other: Ints
    product: Array
    equal: Array

    def where(self, chosen: Mask) -> Pairs:
        """Those that are ``chosen``."""
        return Pairs(*(column[chosen] for column in vars(self).values()))


def judged_of(answers: Answers) -> Judged:
    """The units of answers to work items that can be compared between raters."""
    work = answers.is_of("work")
    units = answers.units.where(work[answers.units.answer]) if answers.units.answer.size else answers.units
    question, item, rater = (column[units.answer] for column in (answers.question, answers.item, answers.rater))
    fields = max(len(answers.fields), 1)
    codes, part = np.unique(question * fields + units.field, return_inverse=True)
    part = part.reshape(-1)
    parts, value, common, chance = [], units.value.astype(np.float64), np.zeros(part.size), np.zeros(codes.size)
    for number, code in enumerate(codes.tolist()):
        of_question, of_field = divmod(code, fields)
        rows = np.flatnonzero(part == number)
        name, level = answers.fields[of_field]
        scale: Scale = "label" if level == "nominal" else "score"
        if level == "nominal":
            words = [answers.values[int(one)] for one in np.unique(value[rows])]
            if set(words) <= set(_SIDES):
                scale = "side"
                value[rows] = _sides(value[rows], answers.values)
            else:
                common[rows], chance[number] = _commonness(value[rows])
        else:
            value[rows] = _standardised(value[rows], rater[rows])
        parts.append(Part(answers.questions[of_question], name, scale))
    return Judged(
        item=item,
        rater=rater,
        part=part,
        place=units.place,
        unit=_codes(item, units.field, units.place),
        answer=units.answer,
        value=value,
        said=units.value,
        tolerance=units.tolerance,
        created=answers.created[units.answer],
        common=common,
        chance=chance,
        parts=tuple(parts),
        raters=tuple(answers.raters),
    )


def _sides(values: Array, words: list[str]) -> Array:
    table = np.array([_SIDES.get(word, NEITHER) for word in words])
    return np.asarray(table[values.astype(np.int64)])


def _commonness(values: Array) -> tuple[Array, float]:
    """How common the name of each row is, and how often two names drawn at random are equal."""
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    shares = counts / counts.sum()
    return shares[code.reshape(-1)], float(shares @ shares)


def _standardised(scores: Array, rater: Ints) -> Array:
    """Scores less their rater's mean, over their rater's spread; over those of all for who gave few."""
    everyone = float(scores.std()) or 1.0
    counts = summed(rater)
    safe = np.maximum(counts, 1)
    mean = summed(rater, scores) / safe
    spread = np.sqrt(np.maximum(summed(rater, scores**2) / safe - mean**2, 0.0))
    known = counts >= FEWEST_FOR_SPREAD
    mean = np.where(known, mean, scores.mean())
    # Whoever gives everything the same score says nothing: all their numbers are 0.
    spread = np.where(known, np.where(spread > 1e-9 * everyone, spread, np.inf), everyone)
    return np.clip((scores - mean[rater]) / spread[rater], -_FARTHEST, _FARTHEST)


def _codes(*columns: Ints) -> Ints:
    """A number from 0 for each distinct row of ``columns``."""
    found = np.zeros(columns[0].size, np.int64)
    for column in columns:
        if not column.size:
            return found
        found = np.unique(found * (int(column.max()) + 1) + column, return_inverse=True)[1].reshape(-1)
    return found


def pairs_of(judged: Judged) -> Pairs:
    """Each two rows of one unit by different raters."""
    parts = list(_pairs_by_size(judged.unit))
    if not parts:
        none = np.zeros(0, np.int64)
        return Pairs(none, none, np.zeros(0), np.zeros(0))
    one, other = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    swap = judged.rater[one] > judged.rater[other]
    one, other = np.where(swap, other, one), np.where(swap, one, other)
    differ = judged.rater[one] != judged.rater[other]
    one, other = one[differ], other[differ]
    scales = np.array([("side", "score", "label").index(part.scale) for part in judged.parts])
    scale, x, y = scales[judged.part[one]], judged.value[one], judged.value[other]
    chance = judged.chance[judged.part[one]]
    same = np.abs(judged.said[one] - judged.said[other]) <= judged.tolerance[one] + 1e-9
    centred = same - judged.common[one] - judged.common[other] + chance
    labels = np.divide(centred, 1 - chance, out=np.zeros_like(centred), where=chance < 1)
    product = np.where(scale == 2, labels, x * y)
    return Pairs(one, other, product, same.astype(np.float64))


def _pairs_by_size(unit: Ints) -> Iterator[tuple[Ints, Ints]]:
    """(one, other) for all pairs of rows of one unit, unit size by unit size."""
    order = np.argsort(unit, kind="stable")
    starts = np.flatnonzero(np.diff(unit[order], prepend=-1))
    sizes = np.diff(starts, append=unit.size)
    for size in np.unique(sizes[sizes > 1]):
        rows = order[starts[sizes == size][:, None] + np.arange(size)]
        first, second = np.triu_indices(size, 1)
        yield rows[:, first].ravel(), rows[:, second].ravel()
