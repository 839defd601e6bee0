"""How firm the first place of a ranking is: the fewest comparisons that, left out, would give it to another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from heed.lazily import np
from heed.raters.bradley_terry import AHEAD, WEAK_PRIOR, Duels, Scores, bradley_terry, win_probability
from heed.statistics import Array

if TYPE_CHECKING:
    from heed.raters.bradley_terry import Codes


@dataclass(frozen=True)
class Flip:
    """How firm the first place is.

    Attributes:
        winner, runner_up: the first, and whoever would be first without these comparisons.
        votes: comparisons that make the difference (places [V]); with them left out, ``runner_up`` is first.
        helpful: all that speak for the winner against this rival, the most influential first: ``votes`` are its beginning.
    """

    winner: int
    runner_up: int
    votes: Codes
    helpful: Codes


def fewest_to_flip(duels: Duels, fitted: Scores, prior: float = WEAK_PRIOR, rivals: int = 5) -> Flip | None:
    """The fewest comparisons found that, left out, give the first place to another; None where none do.

    Comparisons are ordered by their influence on the lead, the first-order effect of leaving one out (Broderick, Giordano
    and Meager 2020, "An Automatic Finite-Sample Robustness Metric", section 2, as Huang et al. 2025 use it on leaderboards),
    and the count is then made sure by fitting without them. It is an upper bound: fewer may do.

    Args:
        duels: the comparisons.
        fitted: their scores, by the model "half".
        prior: as in :func:`bradley_terry`.
        rivals: how many of the next places are looked at (count).
    """
    order = np.argsort(-np.where(fitted.group == fitted.group[np.argmax(fitted.scores)], fitted.scores, -np.inf))
    order = order[np.isfinite(fitted.scores[order]) & (fitted.group[order] == fitted.group[order[0]])]
    winner, best = int(order[0]), None
    for rival in order[1 : rivals + 1]:
        found = _flip_by(duels, fitted, prior, winner, int(rival), None if best is None else best.votes.size)
        if found is not None and (best is None or found.votes.size < best.votes.size):
            best = found
    return best


def _flip_by(
    duels: Duels, fitted: Scores, prior: float, winner: int, rival: int, fewer_than: int | None
) -> Flip | None:
    p = win_probability(fitted, duels.left, duels.right)
    lead = _solve(duels, p, prior, winner, rival)
    # Leaving a comparison out moves the lead by minus its own pull on it.
    pull = duels.weights * (duels.outcome - p) * (lead[duels.left] - lead[duels.right])
    helpful = np.argsort(-pull)[: int((pull > 0).sum())]
    low, high = 1, helpful.size if fewer_than is None else min(helpful.size, fewer_than - 1)
    if high < 1 or _first_without(duels, fitted, prior, winner, helpful[:high]) == winner:
        return None
    while low < high:
        middle = (low + high) // 2
        if _first_without(duels, fitted, prior, winner, helpful[:middle]) != winner:
            high = middle
        else:
            low = middle + 1
    return Flip(winner, _first_without(duels, fitted, prior, winner, helpful[:high]), helpful[:high], helpful)


def _first_without(duels: Duels, fitted: Scores, prior: float, winner: int, without: Codes) -> int:
    """Who of the winner's group is first when some comparisons are left out: the winner, unless another is surely ahead."""
    weight = duels.weights.copy()
    weight[without] = 0
    return first_of(bradley_terry(replace(duels, weight=weight), "half", prior, fitted).scores, fitted.group, winner)


def first_of(scores: Array, group: Codes, winner: int) -> int:
    """Who is first by ``scores`` [items] in the group of ``winner``: the winner, unless another is ahead beyond rounding."""
    best = int(np.argmax(np.where(group == group[winner], scores, -np.inf)))
    return best if scores[best] > scores[winner] + AHEAD else winner


def _solve(duels: Duels, p: Array, prior: float, winner: int, rival: int) -> Array:
    """The Hessian's inverse [items] on the difference of two scores."""
    from scipy.sparse import coo_array, diags_array
    from scipy.sparse.linalg import cg

    weight = duels.weights * p * (1 - p)
    links = coo_array((weight, (duels.left, duels.right)), shape=(duels.items, duels.items)).tocsr()
    links = links + links.T
    diagonal = np.asarray(links.sum(axis=1)).ravel() + prior
    target = np.zeros(duels.items)
    target[[winner, rival]] = 1.0, -1.0
    hessian = diags_array(diagonal) - links
    return np.asarray(cg(hessian, target, rtol=1e-8, M=diags_array(1 / diagonal))[0])
