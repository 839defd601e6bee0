"""Raters who are not as the people are whom a model is for: weights that make up for it, and what they cost.

Post-stratification (Holt and Smith 1979): each group counts as much as it does in the target population, whatever its share of
the answers. The price is precision, told by Kish's effective sample size (1965), the sum of weights squared over the sum of
their squares: a small group that has to stand for many makes every estimate less sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from heed.errors import DataError
from heed.lazily import np
from heed.statistics import Array, Interval, undefined_interval

_WHOLE = 1e-6


@dataclass(frozen=True)
class Reweighted:
    """Weights for answers.

    Attributes:
        weights: by group, what one of its answers counts; 1 on average over all answers.
        answers: there are (count).
        effective: as many unweighted answers would tell as much (count).
    """

    weights: Mapping[str, float]
    answers: int
    effective: float


def reweighted(groups: Sequence[str], target: Mapping[str, float]) -> Reweighted:
    """Weights by which answers of ``groups`` stand for a population.

    Args:
        groups: [N], the group of each answer.
        target: share of each group in the population; the shares sum to 1.

    Raises:
        DataError: the shares are none, a group of the target has no answer, or one of the answers is not in the target.
    """
    if not target or min(target.values()) < 0 or abs(sum(target.values()) - 1) > _WHOLE:
        told = ", ".join(f"{name} {share:g}" for name, share in target.items()) or "nothing"
        raise DataError(f"target shares {told}", "they are no shares that sum to 1.", "Give the share of every group.")
    names, counts = np.unique(np.asarray(groups, dtype=object).astype(str), return_counts=True)
    given = dict(zip(names.tolist(), counts.tolist(), strict=True))
    wanted = {name: share for name, share in target.items() if share > 0}
    missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(target))
    if missing:
        raise DataError(
            f"group '{missing[0]}' of the target",
            f"it is {wanted[missing[0]]:.0%} of the population and has no answer, so that nobody can stand for it.",
            "Ask some of its people, or merge it with a group that is like it.",
        )
    if unknown:
        raise DataError(
            f"group '{unknown[0]}'",
            f"it gave {given[unknown[0]]} answers and the target does not name it.",
            "Give its share of the population, 0 to leave it out.",
        )
    total = sum(given.values())
    weights = {name: target[name] * total / count for name, count in given.items()}
    squares = sum(weights[name] ** 2 * count for name, count in given.items())
    return Reweighted(weights, total, total**2 / squares)


def weighted_share(
    outcomes: Array, groups: Sequence[str], target: Mapping[str, float], confidence: float = 0.95
) -> Interval:
    """A share (of outcomes 0 to 1) as it would be in the target population, with its interval.

    The variance is that of a stratified sample: within each group, its share squared times its own variance over its answers.

    Raises:
        DataError: as :func:`reweighted`.
    """
    method = "post-stratified, stratified variance"
    if not outcomes.size:
        return undefined_interval("There are no observations.", method, confidence)
    reweighted(groups, target)
    codes = np.asarray(groups, dtype=object).astype(str)
    share, variance = 0.0, 0.0
    for name, part in target.items():
        own = outcomes[codes == name]
        if part <= 0:
            continue
        if own.size < 2:
            reason = f"Group '{name}' has one answer: nothing tells how much its answers vary."
            return undefined_interval(reason, method, confidence, n=outcomes.size)
        share += part * float(own.mean())
        # Where all of a group's answers are alike, they are taken to vary as one more that differs would make them.
        spread = max(float(own.var(ddof=1)), 1 / (own.size + 2))
        variance += part**2 * spread / own.size
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * variance**0.5
    return Interval(
        estimate=share,
        low=max(0.0, share - half),
        high=min(1.0, share + half),
        confidence=confidence,
        prompts=outcomes.size,
        n=outcomes.size,
        method=method,
    )
