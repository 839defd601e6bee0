"""Raters who get worse with time, and raters whose sides follow a pattern.

Drift is told by how far each answer agrees with those of the others, less what is usual for the rater: without drift the sums of
these residuals in order of time wander like a Brownian bridge, and their highest point S, in standard deviations, lies above x
with probability exp(-2 x^2) (score-based tests of parameter change: Zeileis and Hornik 2007, "Generalized M-fluctuation tests
for parameter instability", section 3). What happened to all raters at the same time, such as harder items, is taken off first.

Sides are shuffled for each showing, so the sides that an honest rater chooses are a row of coin tosses: too few or too many
changes of side tell of answers given without looking (runs test, Wald and Wolfowitz 1940).
"""

from __future__ import annotations

from dataclasses import dataclass

from heed.lazily import np
from heed.raters.columns import Answers, Ints
from heed.raters.counting import summed
from heed.raters.fellows import Fellows
from heed.raters.judged import Judged, Pairs
from heed.raters.testing import LEVEL, holm
from heed.statistics import Array

FEWEST_ANSWERS = 30
"""Answers compared with others (count): with fewer no drift and no pattern is looked for."""

_TIMES = 20
_LEAST_RUN = 10


@dataclass(frozen=True)
class Drift:
    """A rater who got worse.

    Attributes:
        rater: the name.
        since: the answer after which it shows most (seconds since 1970).
        before, after: reliability of the answers up to then, and of those after.
        answers: compared with others (count).
        p: of the test, corrected for all raters.
    """

    rater: str
    since: float
    before: float
    after: float
    answers: int
    p: float


@dataclass(frozen=True)
class Pattern:
    """A rater whose chosen sides are no row of coin tosses.

    Attributes:
        rater: the name.
        runs: stretches of one side (count); expected: how many coin tosses would have.
        answers: comparisons with a winner (count).
        p: of the test, corrected for all raters.
    """

    rater: str
    runs: int
    expected: float
    answers: int
    p: float


def drifts_of(judged: Judged, pairs: Pairs, fellows: Fellows) -> tuple[Drift, ...]:
    """Raters who get worse, the most certain first."""
    rows, told = np.concatenate([pairs.one, pairs.other]), np.concatenate(list(fellows.weight.T))
    # Towards the rater's own side of things, whichever that is: who gets worse comes nearer to 0.
    side = np.where(np.nan_to_num(fellows.reliability) >= 0, 1.0, -1.0)
    pull = np.concatenate(list(fellows.pull.T)) * side[judged.rater[rows]]
    pull -= told * np.tile(_of_the_time(judged, pairs, pull, told), 2)
    _, first, place = np.unique(judged.answer[rows], return_index=True, return_inverse=True)
    pulls, weights = summed(place.reshape(-1), pull), summed(place.reshape(-1), told)
    rater, created = judged.rater[rows][first], judged.created[rows][first]
    found, p = [], np.full(len(judged.raters), np.nan)
    for code in range(len(judged.raters)):
        mine = np.flatnonzero((rater == code) & (weights > 0))
        if mine.size < FEWEST_ANSWERS or not fellows.known[code]:
            continue
        mine = mine[np.argsort(created[mine], kind="stable")]
        turn, p[code] = _highest(pulls[mine], weights[mine])
        r = abs(float(fellows.reliability[code]))
        before, after = (
            r + float(pulls[part].sum() / weights[part].sum()) for part in (mine[: turn + 1], mine[turn + 1 :])
        )
        found.append((code, float(created[mine[turn]]), before, after, mine.size))
    adjusted = holm(p)
    drifts = [
        Drift(
            rater=judged.raters[code],
            since=since,
            before=float(np.clip(before, -1, 1)),
            after=float(np.clip(after, -1, 1)),
            answers=size,
            p=float(adjusted[code]),
        )
        for code, since, before, after, size in found
        if adjusted[code] < LEVEL
    ]
    return tuple(sorted(drifts, key=lambda one: one.p))


def _of_the_time(judged: Judged, pairs: Pairs, pull: Array, told: Array) -> Array:
    """[pairs]: by how much all pairs of about the same time agree more or less than expected, over what they count."""
    when = np.maximum(judged.created[pairs.one], judged.created[pairs.other])
    times = np.minimum(np.argsort(np.argsort(when, kind="stable")) * _TIMES // max(when.size, 1), _TIMES - 1)
    above, below = (summed(np.tile(times, 2), column, _TIMES) for column in (pull, told))
    return np.asarray((above / np.maximum(below, 1e-9))[times])


def _highest(pulls: Array, weights: Array) -> tuple[int, float]:
    """Where the sums of what is left of ``pulls`` in order of time are highest, and the p-value of so high a point.

    The last answer is never that point: there the sums are back at 0.
    """
    rest = pulls - weights * (pulls.sum() / weights.sum())
    spread = float(np.sqrt((rest**2).sum()))
    if spread <= 0:
        return 0, 1.0
    sums = np.cumsum(rest) / spread
    within = sums[:-1] if sums.size <= 2 * _LEAST_RUN else sums[_LEAST_RUN - 1 : -_LEAST_RUN]
    turn = int(np.argmax(within)) + (0 if sums.size <= 2 * _LEAST_RUN else _LEAST_RUN - 1)
    return turn, float(min(1.0, np.exp(-2 * max(float(sums[turn]), 0.0) ** 2)))


def patterns_of(answers: Answers) -> tuple[Pattern, ...]:
    """Raters whose sides follow a pattern, the most certain first."""
    sides = answers.is_of("work", "gold", "repeat") & (answers.left >= 0)
    raters = len(answers.raters)
    runs, expected, counts = np.zeros(raters, np.int64), np.zeros(raters), np.zeros(raters, np.int64)
    p = np.full(raters, np.nan)
    for code in range(raters):
        mine = np.flatnonzero(sides & (answers.rater == code))
        if mine.size < FEWEST_ANSWERS:
            continue
        chosen = answers.left[mine[np.argsort(answers.created[mine], kind="stable")]]
        counts[code] = mine.size
        runs[code] = 1 + int((np.diff(chosen) != 0).sum())
        expected[code], p[code] = _runs(chosen, int(runs[code]))
    adjusted = holm(p)
    found = [
        Pattern(answers.raters[code], int(runs[code]), float(expected[code]), int(counts[code]), float(adjusted[code]))
        for code in np.flatnonzero(adjusted < LEVEL)
    ]
    return tuple(sorted(found, key=lambda one: one.p))


def _runs(chosen: Ints, runs: int) -> tuple[float, float]:
    """Runs expected of a row of coin tosses with as many of either side, and the two-sided p-value of ``runs``."""
    from scipy.special import ndtr

    left = int(chosen.sum())
    right, n = chosen.size - left, chosen.size
    expected = 1 + 2 * left * right / n
    variance = (expected - 1) * (expected - 2) / (n - 1)
    if variance <= 0:
        return expected, 1.0  # all on one side: that is another concern
    # A half is taken off, as runs are whole.
    distance = max(abs(runs - expected) - 0.5, 0.0) / variance**0.5
    return expected, float(2 * ndtr(-distance))
