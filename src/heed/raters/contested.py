"""Which items should be judged in further rounds, by raters who have not judged them yet.

An item is contested as far as its answers, each counted by its rater's weight, leave open what is right: by the entropy of what
is probably said next. That falls with answers that agree, stays where people are of two minds, and is high with few answers. So
that a further round brings something, what is of two minds after many answers comes after what few have judged: the entropy is
multiplied by how much one more answer would move it, 1 / (weight + 1).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from heed.lazily import np
from heed.raters.columns import Answers
from heed.raters.counting import summed
from heed.raters.judged import Judged
from heed.statistics import Array


@dataclass(frozen=True)
class Contested:
    """An item that is worth another round.

    Attributes:
        item, question: ids.
        open: how open it is what is right, 0 to 1 (entropy over its most, 1 bit).
        worth: ``open`` by how much one more answer moves it; what the list is sorted by.
        answers: given to it (count).
        judged_by: names of who has; they are not to be asked again.
        missing: groups of which nobody has judged it.
    """

    item: str
    question: str
    open: float
    worth: float
    answers: int
    judged_by: tuple[str, ...]
    missing: tuple[str, ...]


def contested_items(
    answers: Answers,
    judged: Judged,
    weight: Array,
    groups: dict[str, str],
    settled: Collection[str] = (),
    most: int = 50,
) -> list[Contested]:
    """Items that are worth another round, the most contested first.

    Args:
        weight: [raters], what an answer of each counts, 0 to 1.
        groups: of raters, by name.
        settled: ids of items that a lead has decided, or that are asked no more.
        most: so many are told.
    """
    if not judged.size:
        return []
    unit, counts = judged.unit, weight[judged.rater]
    size = int(unit.max()) + 1
    total = summed(unit, counts, size)
    said = _share_of_the_usual(judged, counts, total)
    # One answer each way is taken to have been given before the first: a single answer does not make a thing sure.
    share = (said * total + 0.5) / (total + 1)
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    item_of = np.zeros(size, np.int64)
    item_of[unit] = judged.item
    present = np.unique(unit)
    n_items = len(answers.items)
    parts = np.maximum(summed(item_of[present], size=n_items), 1)
    openness = summed(item_of[present], entropy[present], n_items) / parts
    worth = summed(item_of[present], entropy[present] / (total[present] + 1), n_items) / parts
    left_out = np.isin(answers.items, list(settled)) if settled else np.zeros(n_items, bool)
    decided = summed(answers.item[answers.is_of("adjudication")], size=n_items) > 0
    several = summed(np.unique(judged.item * len(judged.raters) + judged.rater) // len(judged.raters), size=n_items)
    order = np.argsort(-np.where(left_out | decided | (several < 2), -1.0, worth), kind="stable")[:most]
    every = sorted({group for group in groups.values() if group})
    return [
        _contested(answers, int(item), float(openness[item]), float(worth[item]), groups, every)
        for item in order
        if several[item] >= 2 and not left_out[item] and not decided[item]
    ]


def _share_of_the_usual(judged: Judged, counts: Array, total: Array) -> Array:
    """[units]: of what was said, weighted, the share of the value that is said most; of scores, those near the median."""
    size, unit = total.size, judged.unit
    order = np.lexsort((judged.said, unit))
    half = np.cumsum(counts[order]) - np.r_[0.0, np.cumsum(total)[:-1]][unit[order]] >= total[unit[order]] / 2
    middle = np.full(size, np.nan)
    middle[unit[order][half][::-1]] = judged.said[order][half][::-1]
    near = np.abs(judged.said - middle[unit]) <= judged.tolerance + 1e-9
    # Names have no middle: the most said one is the one whose answers weigh most.
    names = np.array([part.scale != "score" for part in judged.parts], bool)[judged.part]
    cells, cell = np.unique(np.stack([unit, judged.said.astype(np.int64)]), axis=1, return_inverse=True)
    weights = summed(cell.reshape(-1), counts)
    most = np.zeros(size)
    np.maximum.at(most, cells[0], weights)
    by_name = np.zeros(size, bool)
    by_name[unit] = names
    close = summed(unit, counts * near, size)
    return np.divide(np.where(by_name, most, close), total, out=np.full(size, 0.5), where=total > 0)


def _contested(
    answers: Answers, item: int, openness: float, worth: float, groups: dict[str, str], every: list[str]
) -> Contested:
    rows = np.flatnonzero((answers.item == item) & answers.is_of("work"))
    names = tuple(sorted({answers.raters[code] for code in answers.rater[rows].tolist()}))
    there = {groups.get(name, "") for name in names}
    return Contested(
        item=answers.items[item],
        question=answers.questions[int(answers.question[rows[0]])],
        open=openness,
        worth=worth,
        answers=int(rows.size),
        judged_by=names,
        missing=tuple(group for group in every if group not in there),
    )
