"""What the raters' agreement with one another says of each of them, before there is any reward to hold them against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from heed.losses.raters import HEEDS, INVERTS, LEFT, RIGHT
from heed.losses.reward import A_PREFERRED, TIE
from heed.raters.crowd_answers import WAYS_PRIOR
from heed.raters.joint import joint_model
from heed.train.likelihoods import Judged

_SMALLEST = 1e-3
"""Of a share to begin with: from nothing it could hardly grow."""


def ways_by_agreement(
    rows: Sequence[Judged], raters: int, gold: Sequence[tuple[int, Sequence[float]]] = ()
) -> Tensor | None:
    """The shares of the ways in which each rater answers, from what several said of the same pairs and from gold alone.

    A reward that begins to learn from everybody alike takes over what is wrong, and then finds those right who said so. Three
    answers to each pair tell who inverts and who does not read before it begins.

    Args:
        rows: judgments; comparisons of pairs count, and no others.
        raters: raters (count).
        gold: (rater, log-probability in each way) of answers to gold items.

    Returns:
        [raters, 4], rows sum to 1; None where no pair was compared twice and nobody answered gold.
    """
    compared = [(number, row) for number, row in enumerate(rows) if row.kind == "comparison"]
    pairs: dict[tuple[int, int], int] = {}
    codes, sides, outcomes, who = list[int](), list[int](), list[float](), list[int]()
    for number, row in compared:
        first, second = sorted(row.texts)
        codes.append(pairs.setdefault((first, second), len(pairs)))
        # Where it is not known what stood left, sides are dealt out in turn, so that they tell of no habit.
        a_left = row.shown[0] == 0 if row.shown is not None else number % 2 == 0
        sides.append(int(a_left == (row.texts[0] == first)))
        outcome = row.said[0]
        outcomes.append(0.5 if outcome == TIE else float((outcome == A_PREFERRED) == a_left))
        who.append(row.rater)
    known = [(rater, ways) for rater, ways in gold if ways[HEEDS] != ways[INVERTS]]
    if len(pairs) == len(compared) and not known:
        return None
    truth = [float("nan")] * len(codes)
    # As if everybody had answered gold twice, with one answer that tells: nobody begins at either end.
    start, answers = np.full(raters, 1.0), np.full(raters, 2.0)
    for number, (rater, ways) in enumerate(known):
        said_left = number % 2 == 0 if ways[LEFT] == ways[RIGHT] else ways[LEFT] > ways[RIGHT]
        right = ways[HEEDS] > ways[INVERTS]
        codes.append(0)
        sides.append(1)
        outcomes.append(float(said_left))
        who.append(rater)
        truth.append(float(said_left == right))
        start[rater] += 1 if right else -1
        answers[rater] += 1
    found = joint_model(
        np.array(codes), np.array(sides), np.array(outcomes), np.array(who), np.array(truth), start / answers, raters
    )
    shares = np.clip(found.ways, _SMALLEST, None)
    shares[~np.isin(np.arange(raters), who)] = WAYS_PRIOR
    return torch.tensor(shares / shares.sum(1, keepdims=True), dtype=torch.get_default_dtype())
