"""Scores of things from rankings of several: Plackett-Luce with partial and tied ranks; and Elo, for display.

A ranking is a list of groups of codes, best first, equals in one group; what is not in it says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from heed.errors import DataError
from heed.lazily import np
from heed.raters.bradley_terry import WEAK_PRIOR, Duels
from heed.statistics import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes: TypeAlias = NDArray[np.intp]

ELO_START, ELO_SCALE = 1000.0, 400.0


@dataclass(frozen=True)
class _Choices:
    """Rankings as choices, one row of each for every thing that was chosen before others.

    ``members`` [E] holds the things still there at each choice, ``choice`` [E] which choice that is, and ``share`` [E] how
    much of each counts: less than 1 for equals of which some are gone, though not known which.
    """

    winners: Codes
    weight: Array
    members: Codes
    choice: Codes
    share: Array
    starts: Codes


def plackett_luce(
    rankings: Sequence[Sequence[Sequence[int]]],
    items: int,
    weight: Sequence[float] | None = None,
    prior: float = WEAK_PRIOR,
) -> Array:
    """Maximum a posteriori scores [items], log-odds with mean 0.

    Luce 1959, "Individual Choice Behavior", and Plackett 1975, "The Analysis of Permutations", JRSS C 24, section 2: the
    best is chosen of all, the next of those left, each in proportion to exp(score). Equals are chosen one after the other,
    each choice of those below and of the average of what is left of the equals, as Efron 1977, "The Efficiency of Cox's
    Likelihood Function for Censored Data", JASA 72, section 6, treats deaths at one time: it draws their scores together, as
    half a win of each does where two are compared. Two things make this Bradley-Terry, with a tie as a win of each.

    Args:
        rankings: groups of codes, best first.
        items: things there are (count).
        weight: what each ranking counts, at least 0.
        prior: precision of the normal prior on each score, above 0.

    Raises:
        DataError: there is no ranking, a code is none, or a thing stands twice in one ranking.
    """
    from scipy.optimize import minimize

    if not prior > 0:
        raise DataError(f"prior {prior}", "without one, what is always last has no score.", "Give a number above 0.")
    chosen = _choices(rankings, items, weight)
    often = np.bincount(chosen.members, chosen.weight[chosen.choice], items)
    step = 1 / np.sqrt(often / 4 + prior)
    wins = np.bincount(chosen.winners, chosen.weight, items)

    def objective(x: Array) -> tuple[float, Array]:
        scores = x * step
        worth = chosen.share * np.exp(scores - scores.max())[chosen.members]
        total = np.add.reduceat(worth, chosen.starts)
        loss = float(chosen.weight @ (np.log(total) + scores.max())) - float(wins @ scores)
        each = worth * (chosen.weight / total)[chosen.choice]
        gradient = np.bincount(chosen.members, each, items) - wins + prior * scores
        return loss + 0.5 * prior * float(scores @ scores), gradient * step

    options = {"maxcor": 20, "gtol": 1e-5, "ftol": 1e-15, "maxiter": 10_000, "maxfun": 20_000}
    found = minimize(objective, np.zeros(items), jac=True, method="L-BFGS-B", options=options).x * step
    return np.asarray(found - found.mean())


def _choices(rankings: Sequence[Sequence[Sequence[int]]], items: int, weight: Sequence[float] | None) -> _Choices:
    if not rankings:
        raise DataError("no ranking", "there is nothing to learn scores from.", "Collect some first.")
    counts = [1.0] * len(rankings) if weight is None else list(weight)
    if len(counts) != len(rankings) or min(counts) < 0:
        raise DataError(
            f"{len(counts)} weights of {len(rankings)} rankings", "each needs one of 0 or more.", "Correct it."
        )
    winners: list[int] = []
    weights: list[float] = []
    members: list[int] = []
    choice: list[int] = []
    shares: list[float] = []
    for ranking, count in zip(rankings, counts, strict=True):
        left = [code for group in ranking for code in group]
        if len(set(left)) != len(left) or not all(0 <= code < items for code in left):
            raise DataError(
                f"ranking {list(map(list, ranking))}", f"its codes are not distinct ones below {items}.", "Correct it."
            )
        for group in ranking:
            below = left[len(group) :]
            # The last one standing is no choice.
            for gone, winner in enumerate(group):
                if not below and len(group) == 1:
                    break
                number = len(winners)
                winners.append(winner)
                weights.append(count)
                members += [*group, *below]
                choice += [number] * (len(group) + len(below))
                shares += [1 - gone / len(group)] * len(group) + [1.0] * len(below)
            left = below
    if not winners:
        raise DataError("rankings of one thing each", "they compare nothing.", "Rank two or more.")
    choices = np.array(choice, dtype=np.intp)
    starts = np.flatnonzero(np.diff(choices, prepend=-1))
    return _Choices(
        np.array(winners, dtype=np.intp),
        np.array(weights),
        np.array(members, dtype=np.intp),
        choices,
        np.array(shares),
        starts,
    )


def elo(duels: Duels, k: float = 16.0) -> Array:
    """Elo ratings [items] after the comparisons in their order: for display only, since they depend on that order.

    Elo 1978, "The Rating of Chessplayers", section 1.6; 400 points are odds of 10 to 1.
    """
    ratings = [ELO_START] * duels.items
    columns = (duels.left.tolist(), duels.right.tolist(), duels.outcome.tolist(), duels.weights.tolist())
    for left, right, outcome, weight in zip(*columns, strict=True):
        expected = 1 / (1 + 10 ** ((ratings[right] - ratings[left]) / ELO_SCALE))
        change = weight * k * (outcome - expected)
        ratings[left] += change
        ratings[right] -= change
    return np.array(ratings)
