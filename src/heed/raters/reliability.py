"""How far each rater can be trusted: three estimates side by side, what they come to, and what an answer then counts.

Reliability is on one scale throughout: 1 heeds the truth every time, 0 has nothing to do with it, -1 says the opposite. Of a
hundred choices between two, 50 (1 + r) are on the right side.

    gold        known answers met, less what is met by chance, Wilson's interval
    agreement   how far others who are reliable themselves say the same (see ``fellows``)
    joint       learned together with the scores of what was compared (see ``crowd_bt``)

What could not be checked has no estimate, says why, and counts for nothing against the rater.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from heed.lazily import np
from heed.raters.agreement import Measured, measured, undefined
from heed.raters.columns import Answers, Ints, Mask
from heed.raters.fellows import Direction, Fellows, camps_of, direction_of
from heed.raters.judged import FIRST, Judged
from heed.statistics import Array, wilson_interval

FEWEST_ITEMS = 5
"""Items shared with others (count): with fewer, agreement says nothing."""

CONFIDENCE = 0.95
_SIDED = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)

_USUAL, _USUAL_SPREAD = 0.6, 0.3
_FEWEST_FOR_USUAL = 5
_LEAST_SPREAD = 0.1
_COIN = 0.5

Basis = Literal["gold", "agreement", "joint"]
NOT_THE_WAY = "The raters fall into camps that answer against each other, and no gold item says which camp is right."


@dataclass(frozen=True)
class Estimates:
    """[raters]: what each basis says, with its standard error (nan where it says nothing), and the intervals for people.

    ``direction`` is what decided which way is up, for each rater.
    """

    gold: tuple[Measured, ...]
    agreement: tuple[Measured, ...]
    joint: tuple[Measured, ...]
    direction: tuple[Direction | None, ...]


def error_of(found: Measured) -> float:
    """Standard error that the interval of an estimate comes to; infinite where there is none."""
    if found.estimate is None or found.low is None or found.high is None:
        return float("inf")
    # An end that was cut off at -1 or 1 would make it look surer than it is.
    half = max(found.high - found.estimate, found.estimate - found.low)
    return max(half / _SIDED, 1e-3)


# Gold


def chance_of(judged: Judged, question: str) -> float:
    """Share of a question's known answers that is met without looking: a half where sides are chosen, else what is common."""
    found = [
        _COIN if part.scale == "side" else float(chance) if part.scale == "label" else _near_by_chance(judged, number)
        for number, (part, chance) in enumerate(zip(judged.parts, judged.chance, strict=True))
        if part.question == question
    ]
    return float(np.mean(found)) if found else _COIN


def _near_by_chance(judged: Judged, part: int) -> float:
    """Share of two scores of a part, drawn at random from all that were given, that are near each other."""
    rows = judged.part == part
    said, tolerance = np.sort(judged.said[rows]), float(judged.tolerance[rows].max(initial=0.0)) + 1e-9
    if not said.size:
        return 0.0
    within = np.searchsorted(said, said + tolerance, "right") - np.searchsorted(said, said - tolerance, "left")
    return float(within.sum() / said.size**2)


def known_outcomes(answers: Answers) -> tuple[Mask, Array]:
    """Which answers are to gold items that could be compared, and how far each met what is known [answers], 0 to 1.

    Whoever calls two equal of which one is known to be better is half right, as by a coin.
    """
    gold = answers.is_of("gold") & np.isfinite(answers.correct)
    neither = (answers.tied >= 0) & (answers.left < 0)
    return gold, np.where(neither & (answers.correct <= 0), 0.5, np.nan_to_num(answers.correct))


def gold_reliability(answers: Answers, judged: Judged) -> list[Measured]:
    """[raters]: reliability by known answers, what is met by chance taken off."""
    gold, met = known_outcomes(answers)
    chances = np.array([chance_of(judged, question) for question in answers.questions])
    method = "known answers met less those met by chance; Wilson score"
    found = []
    for rater in range(len(answers.raters)):
        mine = gold & (answers.rater == rater)
        if not mine.any():
            found.append(undefined("nothing", "No gold item has been answered yet.", method))
            continue
        chance = min(float(chances[answers.question[mine]].mean()), 0.95)
        shares = wilson_interval(min(float(met[mine].sum()), int(mine.sum())), int(mine.sum()), CONFIDENCE)
        ends = (_beyond(share, chance) for share in (shares.estimate, shares.low, shares.high))
        names = ("estimate", "low", "high")
        found.append(measured(shares.model_copy(update=dict(zip(names, ends, strict=True)) | {"method": method})))
    return found


def _beyond(share: float | None, chance: float) -> float | None:
    """A share as reliability: how far it lies beyond ``chance``, of how far it could."""
    return None if share is None else max(-1.0, (share - chance) / (1 - chance))


# Agreement


def agreement_reliability(
    judged: Judged, fellows: Fellows, gold: list[Measured]
) -> tuple[list[Measured], list[Direction | None]]:
    """[raters]: reliability by agreement with its sign, and what decided the sign; None where there is no agreement."""
    from scipy.special import stdtrit

    method = "agreement corrected for the reliability of the others; sandwich by item, t"
    towards = np.array([np.nan if one.estimate is None else one.estimate / error_of(one) for one in gold])
    found = [_not_compared(fellows, rater, method) for rater in range(len(judged.raters))]
    directions: list[Direction | None] = [None] * len(judged.raters)
    for members in camps_of(fellows):
        direction, sign = direction_of(fellows, members, towards)
        for rater in members.tolist():
            items = int(fellows.items[rater])
            if items < FEWEST_ITEMS:
                continue
            directions[rater] = direction
            if direction == "unidentifiable":
                found[rater] = undefined("no_direction", NOT_THE_WAY, method, CONFIDENCE, items, items)
                continue
            estimate = float(np.clip(sign * fellows.reliability[rater], -1, 1))
            half = float(stdtrit(items - 1, 0.5 + CONFIDENCE / 2) * fellows.error[rater])
            found[rater] = _interval(estimate, half, items, method)
    return found, directions


def _not_compared(fellows: Fellows, rater: int, method: str) -> Measured:
    items, others = int(fellows.items[rater]), int(fellows.others[rater])
    if not others:
        return undefined("no_overlap", "Nobody else has answered the same items yet.", method)
    if items < FEWEST_ITEMS:
        reason = f"{items} items shared with others are too few; {FEWEST_ITEMS} are needed."
        return undefined("few", reason, method, CONFIDENCE, items, items)
    reason = "Of two who answer alike or not, nobody can say which is the reliable one: a third is needed."
    return undefined("two_raters", reason, method, CONFIDENCE, items, items)


def _interval(estimate: float, half: float, n: int, method: str) -> Measured:
    return Measured(
        estimate=estimate,
        low=max(-1.0, estimate - half),
        high=min(1.0, estimate + half),
        confidence=CONFIDENCE,
        prompts=n,
        n=n,
        method=method,
    )


# The joint model

_SCORE_PRIOR = 0.5
"""Precision of a score's prior in the joint model: two things differ by some 2 log-odds, as where people mostly agree."""


def joint_reliability(answers: Answers, judged: Judged) -> list[Measured]:
    """[raters]: reliability learned with the scores of what was compared and ranked, gold items among it."""
    from heed.raters.crowd_bt import crowd_bradley_terry

    method = "comparisons and rankings, learned with the scores of what was compared"
    raters = len(answers.raters)
    rows = _shared_sides(judged)
    items = np.bincount(judged.rater[rows], minlength=raters)
    if not rows.size:
        reason = "No comparison and no ranking has answers of two raters: ratings and labels are judged by agreement."
        return [undefined("no_comparisons", reason, method)] * raters
    duels = _duels(answers, judged, rows)
    found = crowd_bradley_terry(*duels[:4], gold=duels[4], raters=raters, prior=_SCORE_PRIOR)
    if found.direction == "unidentifiable":
        return [undefined("no_direction", found.reason, method, n=int(n)) for n in items]
    return [
        _interval(float(r), float(_SIDED * error), int(n), method)
        if n >= FEWEST_ITEMS
        else undefined("few", f"{n} comparisons shared with others are too few; {FEWEST_ITEMS} are needed.", method)
        for r, error, n in zip(found.reliability, found.reliability_errors, items, strict=True)
    ]


def _shared_sides(judged: Judged) -> Ints:
    """Rows that say which of two is better, of units that several raters judged."""
    sides = np.array([part.scale == "side" for part in judged.parts], bool)
    if not judged.size:
        return np.zeros(0, np.int64)
    rows = np.flatnonzero(sides[judged.part])
    counts = np.bincount(judged.unit[rows], minlength=int(judged.unit.max()) + 1)
    return rows[counts[judged.unit[rows]] >= 2]


def _duels(answers: Answers, judged: Judged, rows: Ints) -> tuple[Ints, Ints, Array, Ints, Array]:
    """Columns for the joint model: what stood left and right, the outcome, the rater, and what is known."""
    first, second = _compared_things(answers, judged, rows)
    chose_left = answers.left[judged.answer[rows]]
    value = judged.value[rows]
    # Where neither won, and in rankings, the order on the screen is not told: any order will do.
    turned = (chose_left >= 0) & ((value == FIRST) != (chose_left == 1))
    left, right = np.where(turned, second, first), np.where(turned, first, second)
    outcome = np.where(turned, -value, value) / 2 + 0.5
    gold_rater, gold_said, gold_truth = _gold_duels(answers)
    # Things of gold items are apart from all others: such answers tell of the rater alone.
    beyond = int(max(left.max(), right.max())) + 1
    size = gold_rater.size
    return (
        np.concatenate([left, np.full(size, beyond)]),
        np.concatenate([right, np.full(size, beyond + 1)]),
        np.concatenate([outcome, gold_said]),
        np.concatenate([judged.rater[rows], gold_rater]),
        np.concatenate([np.full(rows.size, np.nan), gold_truth]),
    )


def _compared_things(answers: Answers, judged: Judged, rows: Ints) -> tuple[Ints, Ints]:
    """Codes of the two things that each row compares: the two of an item, or those of a ranking by their places."""
    unit_place = _places_of_units(answers, judged, rows)
    pairs = [_place_pair(word) for word in answers.places]
    table = np.array(pairs, np.int64).reshape(-1, 2)
    both = judged.item[rows][:, None] * (int(table.max(initial=1)) + 1) + table[unit_place]
    _, codes = np.unique(both, return_inverse=True)
    codes = codes.reshape(both.shape)
    return codes[:, 0], codes[:, 1]


def _places_of_units(answers: Answers, judged: Judged, rows: Ints) -> Ints:
    work = answers.is_of("work")
    return answers.units.place[np.flatnonzero(work[answers.units.answer])][rows]


def _place_pair(word: str) -> tuple[int, int]:
    """The two places that a unit of a ranking compares, from words like "0-2@"; those of a comparison are 0 and 1."""
    first, _, second = word.partition("@")[0].partition("-")
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else (0, 1)


def _gold_duels(answers: Answers) -> tuple[Ints, Array, Array]:
    """Answers to gold comparisons that chose a side: the rater, 1 where left was said, and 1 where left is known to be better."""
    gold = answers.is_of("gold") & (answers.left >= 0) & np.isin(answers.correct, (0.0, 1.0))
    said = answers.left[gold].astype(np.float64)
    right = answers.correct[gold] == 1
    return answers.rater[gold], said, np.where(right, said, 1 - said)


# What they come to


@dataclass(frozen=True)
class Combined:
    """[raters]: reliability of all that could be checked, its standard error, and what an answer counts.

    ``usual`` is what somebody is taken for of whom nothing is known; ``checked`` whether anything was.
    """

    reliability: Array
    error: Array
    weight: Array
    checked: Mask
    usual: float | None


def combined(gold: list[Measured], agreement: list[Measured]) -> Combined:
    """Gold and agreement as one, which rest on different answers, drawn towards what is usual in the team.

    The reliability is the mean of both and of the usual one, each by its precision; an answer counts r squared, what it
    tells beside an answer of somebody who always heeds, and nothing where r is below 0. Who could not be checked counts as is
    usual, and where nobody could, all count 1.
    """
    estimates = np.array(
        [[np.nan if one.estimate is None else one.estimate for one in row] for row in (gold, agreement)]
    )
    errors = np.array([[error_of(one) for one in row] for row in (gold, agreement)])
    precision = np.where(np.isfinite(estimates), 1 / errors**2, 0.0)
    checked = precision.sum(axis=0) > 0
    if not checked.any():
        n = len(gold)
        return Combined(np.full(n, np.nan), np.full(n, np.nan), np.ones(n), checked, None)
    own = np.divide(
        (precision * np.nan_to_num(estimates)).sum(axis=0),
        precision.sum(axis=0),
        out=np.full(len(gold), np.nan),
        where=checked,
    )
    usual, spread = _usual(own[checked])
    total = precision.sum(axis=0) + 1 / spread**2
    reliability = (precision.sum(axis=0) * np.nan_to_num(own) + usual / spread**2) / total
    weight = np.maximum(reliability, 0.0) ** 2
    return Combined(reliability, 1 / np.sqrt(total), weight, checked, usual)


def _usual(reliabilities: Array) -> tuple[float, float]:
    """Middle and spread of a team's reliabilities; what is usual anywhere for a small team. Some who err do not move it."""
    if reliabilities.size < _FEWEST_FOR_USUAL:
        return _USUAL, _USUAL_SPREAD
    middle = float(np.median(reliabilities))
    spread = 1.4826 * float(np.median(np.abs(reliabilities - middle)))
    return middle, min(max(spread, _LEAST_SPREAD), _USUAL_SPREAD)


def estimates_of(answers: Answers, judged: Judged, fellows: Fellows, with_joint: bool = True) -> Estimates:
    """All three estimates of every rater."""
    gold = gold_reliability(answers, judged)
    agreement, direction = agreement_reliability(judged, fellows, gold)
    joint = joint_reliability(answers, judged) if with_joint else [_not_asked()] * len(gold)
    return Estimates(tuple(gold), tuple(agreement), tuple(joint), tuple(direction))


def _not_asked() -> Measured:
    return undefined("not_asked", "The joint model was not asked for.", "joint model")
