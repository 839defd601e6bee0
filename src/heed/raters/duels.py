"""Comparisons and rankings of answers in the columns that models of what is better read."""

from __future__ import annotations

from dataclasses import dataclass

from heed.lazily import np
from heed.raters.columns import Answers, Ints
from heed.raters.judged import FIRST, Judged
from heed.statistics import Array


@dataclass(frozen=True)
class Duels:
    """Columns [N] of comparisons of two things, those to gold items last.

    Attributes:
        left, right: codes of what stood where; in rankings, whose order on the screen is not told, in the item's order.
        pair: code of the two together.
        first_left: 1 where the item's first one stood left, else 0.
        outcome: 1 left is better, 0 right is, 0.5 neither.
        rater: code of who answered.
        gold: 1 where left is known to be better, 0 where right is, nan where neither is known.
    """

    left: Ints
    right: Ints
    pair: Ints
    first_left: Ints
    outcome: Array
    rater: Ints
    gold: Array

    @classmethod
    def of(cls, answers: Answers, judged: Judged, rows: Ints, camp: Ints) -> Duels:
        """The ``rows`` of judged units that say which of two is better, and what was answered to gold comparisons.

        Args:
            camp: [raters], code of who shares an opinion; what raters of two camps compared is taken for different things.
        """
        first, second = _things(answers, judged, rows, camp)
        chose_left, value = answers.left[judged.answer[rows]], judged.value[rows]
        # Where neither won the order on the screen is not told either: any order will do.
        turned = (chose_left >= 0) & ((value == FIRST) != (chose_left == 1))
        rater, said, truth = _gold(answers)
        # Things of gold items are apart from all others: such answers tell of the rater alone.
        beyond, size = int(max(first.max(initial=-1), second.max(initial=-1))) + 1, rater.size
        pair = np.unique(_by_camp(judged, rows, camp), return_inverse=True)[1].reshape(-1)
        return cls(
            left=np.concatenate([np.where(turned, second, first), np.full(size, beyond)]),
            right=np.concatenate([np.where(turned, first, second), np.full(size, beyond + 1)]),
            pair=np.concatenate([pair, np.full(size, int(pair.max(initial=-1)) + 1)]),
            first_left=np.concatenate([1 - turned.astype(np.int64), np.ones(size, np.int64)]),
            outcome=np.concatenate([np.where(turned, -value, value) / 2 + 0.5, said]),
            rater=np.concatenate([judged.rater[rows], rater]),
            gold=np.concatenate([np.full(rows.size, np.nan), truth]),
        )


def shared_sides(judged: Judged, camp: Ints) -> Ints:
    """Rows that say which of two is better, of units that several raters of one camp judged."""
    if not judged.size:
        return np.zeros(0, np.int64)
    sides = np.array([part.scale == "side" for part in judged.parts], bool)
    rows = np.flatnonzero(sides[judged.part])
    _, unit, counts = np.unique(_by_camp(judged, rows, camp), return_inverse=True, return_counts=True)
    return rows[counts[unit.reshape(-1)] >= 2] if rows.size else rows


def _by_camp(judged: Judged, rows: Ints, camp: Ints) -> Ints:
    return judged.unit[rows] * (int(camp.max(initial=0)) + 1) + camp[judged.rater[rows]]


def _things(answers: Answers, judged: Judged, rows: Ints, camp: Ints) -> tuple[Ints, Ints]:
    """Codes of the two things that each row compares: the two of an item, or those of a ranking by their places."""
    table = np.array([_place_pair(word) for word in answers.places], np.int64).reshape(-1, 2)
    item = judged.item[rows] * (int(camp.max(initial=0)) + 1) + camp[judged.rater[rows]]
    both = item[:, None] * (int(table.max(initial=1)) + 1) + table[judged.place[rows]]
    codes = np.unique(both, return_inverse=True)[1].reshape(both.shape)
    return codes[:, 0], codes[:, 1]


def _place_pair(word: str) -> tuple[int, int]:
    """The two places that a unit of a ranking compares, from words like "0-2@"; those of a comparison are 0 and 1."""
    first, _, second = word.partition("@")[0].partition("-")
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else (0, 1)


def _gold(answers: Answers) -> tuple[Ints, Array, Array]:
    """Answers to gold comparisons that chose a side: the rater, 1 where left was said, 1 where left is known to be better."""
    gold = answers.is_of("gold") & (answers.left >= 0) & np.isin(answers.correct, (0.0, 1.0))
    said = answers.left[gold].astype(np.float64)
    return answers.rater[gold], said, np.where(answers.correct[gold] == 1, said, 1 - said)
