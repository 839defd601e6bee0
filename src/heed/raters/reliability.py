"""How far each rater can be trusted: three estimates side by side, what they come to, and what an answer then counts.

Reliability is on one scale throughout: 1 heeds the truth every time, 0 has nothing to do with it, -1 says the opposite. Of a
hundred choices between two, 50 (1 + r) are on the right side.

    gold        known answers met, less what is met by chance, Wilson's interval
    agreement   how far others who are reliable themselves say the same (see ``fellows``)
    joint       learned together with the scores of what was compared (see ``crowd_bt``)

What could not be checked has no estimate, says why, and counts for nothing against the rater.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from heed.lazily import np
from heed.raters.agreement import Measured, measured, undefined
from heed.raters.columns import Answers, Ints, Mask
from heed.raters.duels import Duels, shared_sides
from heed.raters.fellows import Direction, Fellows, camps_of, direction_of
from heed.raters.judged import Judged
from heed.statistics import Array, wilson_interval

FEWEST_ITEMS = 5
"""Items shared with others (count): with fewer, agreement says nothing."""

CONFIDENCE = 0.95
_SIDED = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)

_USUAL, _FEWEST_FOR_USUAL = 0.6, 5
_SPREAD = 0.3
"""How far raters differ from what is usual, standard deviation: wide, so that who is checked well is judged as found."""

_COIN = 0.5

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
    judged: Judged, fellows: Fellows, gold: list[Measured], shared: Ints | None = None
) -> tuple[list[Measured], list[Direction | None]]:
    """[raters]: reliability by agreement with its sign, and what decided the sign; None where there is no agreement.

    ``shared``: [raters], items that others judged too, whether or not ``fellows`` compares with them; None: it does with all.
    """
    from scipy.special import stdtrit

    method = "agreement corrected for the reliability of the others; sandwich by item, t"
    towards = np.array([np.nan if one.estimate is None else one.estimate / error_of(one) for one in gold])
    shared = fellows.items if shared is None else shared
    found = [_not_compared(fellows, rater, int(shared[rater]), method) for rater in range(len(judged.raters))]
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


def _not_compared(fellows: Fellows, rater: int, shared: int, method: str) -> Measured:
    items, others = int(fellows.items[rater]), int(fellows.others[rater])
    if not others and shared:
        reason = (
            f"All {shared} items shared with others were judged by people of another group, or by somebody whose answers are "
            "suspiciously alike: that tells nothing."
        )
        return undefined("set_aside", reason, method, CONFIDENCE, shared, shared)
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

_MANY = 20
"""Comparisons of each thing (count) from which on its score is known well enough to be fitted rather than summed out."""


def joint_reliability(
    answers: Answers, judged: Judged, agreement: list[Measured], directions: list[Direction | None], camp: Ints
) -> list[Measured]:
    """[raters]: reliability learned with what was compared and ranked, gold items among it.

    Args:
        camp: [raters], code of who shares an opinion; only those are compared.
    """
    method = "comparisons and rankings, learned together with what was compared"
    raters, rows = len(answers.raters), shared_sides(judged, camp)
    if not rows.size:
        reason = "No comparison and no ranking has answers of two raters: ratings and labels are judged by agreement."
        return [undefined("no_comparisons", reason, method)] * raters
    reliability, error = _joint(Duels.of(answers, judged, rows, camp), agreement, raters)
    items = np.bincount(judged.rater[rows], minlength=raters)
    return [
        _joint_interval(float(reliability[rater]), float(error[rater]), int(items[rater]), directions[rater], method)
        for rater in range(raters)
    ]


def _joint(duels: Duels, agreement: list[Measured], raters: int) -> tuple[Array, Array]:
    """[raters]: reliability and its standard error."""
    from heed.raters.crowd_bt import crowd_bradley_terry
    from heed.raters.joint import joint_model

    things = np.unique(np.concatenate([duels.left, duels.right])).size
    if duels.left.size >= _MANY / 2 * things:
        found = crowd_bradley_terry(duels.left, duels.right, duels.outcome, duels.rater, gold=duels.gold, raters=raters)
        return found.reliability, found.reliability_errors
    start = np.array([1.0 if one.estimate is None else one.estimate for one in agreement])
    learned = joint_model(duels.pair, duels.first_left, duels.outcome, duels.rater, duels.gold, start, raters)
    return learned.reliability, learned.error


def _joint_interval(r: float, error: float, n: int, direction: Direction | None, method: str) -> Measured:
    if not n:
        return undefined("no_shared", "Nobody else has made the same comparisons yet.", method)
    if n < FEWEST_ITEMS:
        reason = f"{n} comparisons shared with others are too few; {FEWEST_ITEMS} are needed."
        return undefined("few", reason, method, CONFIDENCE, n, n)
    if direction in (None, "unidentifiable"):
        return undefined("no_direction", NOT_THE_WAY, method, CONFIDENCE, n, n)
    return _interval(r, _SIDED * error, n, method)


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


def combined(gold: Sequence[Measured], agreement: Sequence[Measured]) -> Combined:
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
    # Some who err do not move the middle; a team that is too small has that of any team.
    usual = float(np.median(own[checked])) if checked.sum() >= _FEWEST_FOR_USUAL else _USUAL
    total = precision.sum(axis=0) + 1 / _SPREAD**2
    reliability = (precision.sum(axis=0) * np.nan_to_num(own) + usual / _SPREAD**2) / total
    weight = np.maximum(reliability, 0.0) ** 2
    return Combined(reliability, 1 / np.sqrt(total), weight, checked, usual)


def estimates_of(
    answers: Answers, judged: Judged, fellows: Fellows, camp: Ints | None = None, shared: Ints | None = None
) -> Estimates:
    """All three estimates of every rater.

    Args:
        camp: [raters], code of who shares an opinion; None takes all as one camp. ``fellows`` compares only those.
        shared: [raters], items that others judged too (count), also others with whom ``fellows`` does not compare.
    """
    gold = gold_reliability(answers, judged)
    agreement, direction = agreement_reliability(judged, fellows, gold, shared)
    together = np.zeros(len(gold), np.int64) if camp is None else camp
    joint = joint_reliability(answers, judged, agreement, direction, together)
    return Estimates(tuple(gold), tuple(agreement), tuple(joint), tuple(direction))
