"""Raters who say the same more often than being right explains: copying, answering by agreement, one person's accounts.

Two reliable raters say the same because both are right. What betrays copying is that they err alike. For each two raters the
answers they were both asked for are compared with how often two of their reliabilities say the same,

    P(same) = b + d a r_i r_j        (b and d per part of a question, from all pairs; r without the pair itself)

by a beta-binomial test, whose spread takes in how much pairs differ anyway (people are like-minded in part) and how sure the
reliabilities are. The p-values of all pairs are corrected by Holm, so that in a team without copying any pair is suspected in
5 % of looks at most. Two accounts of one person are also never at work at once, which is told by shifting one's hours against
the other's.
"""

from __future__ import annotations

from dataclasses import dataclass

from heed.lazily import np
from heed.raters.columns import Answers, Ints, Mask
from heed.raters.counting import summed
from heed.raters.fellows import Fellows, fit_fellows, standing_out
from heed.raters.judged import Judged, Pairs
from heed.raters.testing import LEVEL, holm
from heed.statistics import Array

FEWEST_SHARED = 10
"""Items that two raters both judged (count): with fewer they are not compared."""

_LEAST_SPREAD, _UNKNOWN_SPREAD = 0.001, 0.02
"""Intraclass correlation of pairs, at least, and where there are too few of them to tell: people are like-minded in part."""

_LEAST_TOLD = 3.0
_SHIFTS = 400
_SHIFT_SECONDS = (120.0, 1200.0)
_FEWEST_CLASHES = 5.0
_RHYTHM_LEVEL = 0.01


@dataclass(frozen=True)
class Alike:
    """Two raters who say the same more often than their reliabilities explain.

    Attributes:
        first, second: names; where one mostly answers after the other, it is the ``second``.
        items: that both judged (count).
        same: of these, answered the same (count; a part of an answer counts in part).
        expected: how many would be, by their reliabilities (count).
        p: of the test, corrected for all pairs.
        later: of those answered the same, how often the second came after the first (share); None where it says nothing.
        clashes, usual_clashes: answers of one during one of the other, and how many there would be if their hours had
            nothing to do with each other; None where they were never at work at the same time of the day.
        one_person: whether the hours, too, look like those of one person.
    """

    first: str
    second: str
    items: int
    same: float
    expected: float
    p: float
    later: float | None
    clashes: int | None
    usual_clashes: float | None
    one_person: bool


@dataclass(frozen=True)
class Copying:
    """All that was found, the most certain first; how many pairs were compared, and how many had too little in common.

    ``with_others``: [raters], with how many others each was compared.
    """

    found: tuple[Alike, ...]
    compared: int
    unknown: int
    with_others: Ints


@dataclass(frozen=True)
class _Shared:
    """Columns of two raters each: i, j, items in common, of these the same, the same by their reliabilities, its spread."""

    i: Ints
    j: Ints
    items: Array
    same: Array
    chance: Array
    unsure: Array


def copying_of(answers: Answers, judged: Judged, pairs: Pairs, seed: int = 0) -> Copying:
    """Pairs of raters who are suspiciously alike.

    Args:
        pairs: of answers that are compared; where groups of raters part, of raters of one group alone.
        seed: of the shifts of hours.
    """
    if not pairs.one.size:
        return Copying((), 0, 0, np.zeros(len(judged.raters), np.int64))
    fellows = fit_fellows(judged, pairs, standing_out(judged, pairs))
    shared = _shared(judged, pairs, fellows)
    known = np.isfinite(shared.chance)
    p = _p_values(shared, known)
    adjusted = holm(p)
    found = [
        _alike(answers, judged, pairs, shared, int(place), float(adjusted[place]), seed)
        for place in np.flatnonzero(adjusted < LEVEL)
    ]
    found.sort(key=lambda one: one.p)
    both = np.concatenate([shared.i[known], shared.j[known]])
    return Copying(tuple(found), int(known.sum()), int((~known).sum()), np.bincount(both, minlength=len(judged.raters)))


def suspected(judged: Judged, pairs: Pairs, copying: Copying) -> Mask:
    """Which ``pairs`` of answers are of two raters who are suspected: what they say tells nothing about each other."""
    number = {name: code for code, name in enumerate(judged.raters)}
    codes = [sorted((number[one.first], number[one.second])) for one in copying.found]
    size = len(judged.raters)
    both = judged.rater[pairs.one] * size + judged.rater[pairs.other]
    return np.isin(both, [low * size + high for low, high in codes])


def _shared(judged: Judged, pairs: Pairs, fellows: Fellows) -> _Shared:
    """What each two raters have in common, where it is enough to compare them."""
    raters = len(judged.raters)
    i, j = judged.rater[pairs.one], judged.rater[pairs.other]
    code, cell = np.unique(i * raters + j, return_inverse=True)
    cell = cell.reshape(-1)
    expected = _same_by_reliability(judged, pairs, fellows, cell, i, j)
    # An item of several parts counts once, by the share of them that is the same.
    items, of_item = np.unique(
        cell * (int(judged.item.max(initial=0)) + 1) + judged.item[pairs.one], return_inverse=True
    )
    of_item = of_item.reshape(-1)
    parts = np.maximum(summed(of_item, size=items.size), 1)
    where = items // (int(judged.item.max(initial=0)) + 1)
    same = summed(where, summed(of_item, pairs.equal, items.size) / parts, code.size)
    chance = summed(where, summed(of_item, expected.chance, items.size) / parts, code.size)
    count = summed(where, size=code.size)
    unsure = summed(cell, expected.unsure, code.size) / np.maximum(summed(cell, size=code.size), 1)
    kept = count >= FEWEST_SHARED
    chance = np.where(kept, chance / np.maximum(count, 1), np.nan)
    return _Shared(
        *((code // raters)[kept], (code % raters)[kept], count[kept], same[kept], chance[kept], unsure[kept])
    )


@dataclass(frozen=True)
class _Expected:
    """[pairs]: how likely the two say the same by their reliabilities, and the variance of that, from theirs."""

    chance: Array
    unsure: Array


def _same_by_reliability(judged: Judged, pairs: Pairs, fellows: Fellows, cell: Ints, i: Ints, j: Ints) -> _Expected:
    part = judged.part[pairs.one]
    r_i, r_j = _without_each_other(pairs, fellows, cell, i, j)
    error = np.nan_to_num(fellows.error, nan=1.0)
    a = fellows.clarity[part]
    both = np.clip(a * r_i * r_j, -1.0, 1.0)
    variance = a**2 * ((r_j * error[i]) ** 2 + (r_i * error[j]) ** 2)
    chance, unsure = np.full(i.size, np.nan), np.full(i.size, np.nan)
    for number in range(len(judged.parts)):
        rows = np.flatnonzero((part == number) & np.isfinite(both))
        if not rows.size:
            continue
        columns = np.stack([np.ones(rows.size), fellows.expected[rows]], axis=1)
        base, slope = np.linalg.lstsq(columns, pairs.equal[rows], rcond=None)[0]
        chance[rows] = np.clip(base + slope * both[rows], 0.02, 0.98)
        unsure[rows] = slope**2 * variance[rows]
    return _Expected(chance, unsure)


def _without_each_other(pairs: Pairs, fellows: Fellows, cell: Ints, i: Ints, j: Ints) -> tuple[Array, Array]:
    """[pairs]: the reliability of each by their agreement with everybody but the other; nan where that is too little."""
    raters, ends = fellows.reliability.size, (i, j)
    # What each pair says of the reliability of its two: sums over all pairs of a rater, and over those with this one other.
    told = [fellows.weight[:, side] for side in (0, 1)]
    above = [np.nan_to_num(fellows.pull[:, side] + told[side] * fellows.reliability[ends[side]]) for side in (0, 1)]
    every_above = summed(i, above[0], raters) + summed(j, above[1], raters)
    every = summed(i, told[0], raters) + summed(j, told[1], raters)
    found = []
    for side, of in enumerate(ends):
        rest = every[of] - summed(cell, told[side])[cell]
        others = every_above[of] - summed(cell, above[side])[cell]
        alone = np.divide(others, rest, out=np.full(of.size, np.nan), where=rest > _LEAST_TOLD)
        found.append(np.clip(alone, -1.0, 1.0))
    return found[0], found[1]


def _p_values(shared: _Shared, known: Mask) -> Array:
    """[pairs of raters]: how likely so many of their answers are the same by chance, beta-binomial.

    Those who do not agree more than is expected are not looked at closer: 1 stands for their p-value.
    """
    p = np.full(shared.i.size, np.nan)
    p[known] = 1.0
    # A part of an answer that is the same counts as such; the test is of whole answers, rounded against suspicion.
    same, n = np.floor(shared.same + 1e-9), shared.items
    more = np.flatnonzero(known & (same > n * np.nan_to_num(shared.chance, nan=1.0)))
    if not more.size:
        return p
    chance = shared.chance[more]
    spread = np.clip(_spread(shared, known) + shared.unsure[more] / (chance * (1 - chance)), _LEAST_SPREAD, 0.9)
    strength = (1 - spread) / spread
    p[more] = _beta_binomial_tail(same[more], n[more], chance * strength, (1 - chance) * strength)
    return p


def _beta_binomial_tail(least: Array, n: Array, a: Array, b: Array) -> Array:
    """Chance that at least ``least`` of ``n`` are the same, their probability being drawn from Beta(a, b)."""
    from scipy.special import betaln, gammaln

    k = least[:, None] + np.arange(int((n - least).max()) + 1)
    within = k <= n[:, None]
    k, n, a, b = np.where(within, k, 0), n[:, None], a[:, None], b[:, None]
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    mass = np.exp(ways + betaln(k + a, n - k + b) - betaln(a, b))
    return np.minimum((mass * within).sum(axis=1), 1.0)


def _spread(shared: _Shared, known: Mask) -> float:
    """Intraclass correlation: how much pairs differ beyond chance, from those who agree less than expected.

    Copying makes pairs agree more, never less; like- and unlike-mindedness go both ways. One standard error is added: with
    few pairs it may be larger than it seems.
    """
    n, chance = shared.items[known], shared.chance[known]
    below = shared.same[known] < n * chance
    if below.sum() < FEWEST_SHARED:
        return _UNKNOWN_SPREAD
    squares = (shared.same[known] - n * chance) ** 2 / (n * chance * (1 - chance))
    beyond = (squares[below] - 1).sum() + (2 * below.sum()) ** 0.5
    return float(np.clip(beyond / (n[below] - 1).sum(), _LEAST_SPREAD, 0.5))


def _alike(answers: Answers, judged: Judged, pairs: Pairs, shared: _Shared, place: int, p: float, seed: int) -> Alike:
    i, j = int(shared.i[place]), int(shared.j[place])
    rows = (judged.rater[pairs.one] == i) & (judged.rater[pairs.other] == j) & (pairs.equal > 0)
    after = judged.created[pairs.other[rows]] > judged.created[pairs.one[rows]]
    timed = judged.created[pairs.other[rows]] != judged.created[pairs.one[rows]]
    later = float(after[timed].mean()) if timed.any() else None
    first, second = (i, j) if later is None or later >= 0.5 else (j, i)
    clashes, usual, p_rhythm = _rhythm(answers, i, j, seed)
    return Alike(
        first=judged.raters[first],
        second=judged.raters[second],
        items=int(shared.items[place]),
        same=float(shared.same[place]),
        expected=float(shared.items[place] * shared.chance[place]),
        p=p,
        later=None if later is None else max(later, 1 - later),
        clashes=clashes,
        usual_clashes=usual,
        one_person=p_rhythm is not None and p_rhythm < _RHYTHM_LEVEL,
    )


def _rhythm(answers: Answers, i: int, j: int, seed: int) -> tuple[int | None, float | None, float | None]:
    """How often one of two answers while the other does, how often by chance, and how likely so seldom is by chance.

    The hours of one are shifted by some minutes against those of the other: this keeps the rhythm of both, and at which time
    of the day they work, and takes away what one has to do with the other.
    """
    begin_i, end_i = _spans(answers, i)
    begin_j, end_j = _spans(answers, j)

    def clashes(shift: float) -> int:
        # Spans of one that begin before one of the other ends, and end after it begins.
        before = np.searchsorted(begin_i, end_j + shift, "left")
        gone = np.searchsorted(end_i, begin_j + shift, "right")
        return int((before > gone).sum())

    low, high = _SHIFT_SECONDS
    rng = np.random.default_rng([seed, i, j])
    shifts = rng.uniform(low, high, _SHIFTS) * rng.choice([-1.0, 1.0], _SHIFTS)
    shifted = np.array([clashes(shift) for shift in shifts])
    if shifted.mean() < _FEWEST_CLASHES:
        return None, None, None
    seen = clashes(0.0)
    return seen, float(shifted.mean()), (1 + int((shifted <= seen).sum())) / (_SHIFTS + 1)


def _spans(answers: Answers, rater: int) -> tuple[Array, Array]:
    """When each answer of a rater began and ended (seconds since 1970), one after another."""
    mine = np.flatnonzero(answers.rater == rater)
    ends = np.sort(answers.created[mine])
    seconds = answers.active_seconds[mine][np.argsort(answers.created[mine], kind="stable")]
    begins = ends - seconds
    # A pause within an answer does not count as active: the span then begins too late, never before the one before it ended.
    begins[1:] = np.maximum(begins[1:], ends[:-1])
    return begins, ends
