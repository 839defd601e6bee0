"""What a diagnosis of a reward model comes to, in sentences for people who are no statisticians."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from heed.evaluate.verdict import beside_a_coin, percent
from heed.statistics import Interval, Undefined

if TYPE_CHECKING:
    from heed.evaluate.reward_bias import Lean
    from heed.evaluate.reward_diagnosis import RewardDiagnosis

SURE = 0.9
"""Probability of the other text from which on a contradicted judgment is worth a look by itself."""

_SHARP, _BLUNT = 1.25, 0.8
"""Best temperatures beyond which predicted probabilities are off by enough to matter."""
_MOST_TOLD = 3
_ORDER_MATTERS = 0.05


def share(interval: Interval) -> str:
    """A share (0 to 1) with its interval."""
    if interval.estimate is None:
        return "an unknown share"
    if interval.low is None or interval.high is None:
        return percent(interval.estimate)
    return f"{percent(interval.estimate)} ({100 * interval.low:.1f} to {percent(interval.high)})"


def sentence_on(found: RewardDiagnosis) -> str:
    """The verdict."""
    right = found.accuracy.clustered
    if right.estimate is None:
        why = right.reason or "nothing was measured."
        if found.learned_from:
            why += f" All but {found.judgments - found.learned_from:,} of the judgments are of prompts that it learned from."
        return f"How often the reward model is right is unknown: {why}"
    prompts = f"{right.prompts:,} prompt{'' if right.prompts == 1 else 's'}"
    text = f"The reward model is right on {share(right)} of {right.n:,} held-out comparisons of {prompts}"
    text += f"; beside them, ties: {found.accuracy.ties:,}." if found.accuracy.ties else "."
    return f"{text} {beside_a_coin(right.low, right.high, 'judgments')}".rstrip()


def notes_on(found: RewardDiagnosis) -> list[str]:
    """What to look at, the weightiest first."""
    return [
        *_on_raters(found),
        *_on_groups(found),
        *_on_length(found.length),
        *_on_styles(found),
        *_on_position(found),
        *_on_calibration(found),
        *_on_contested(found),
        *_on_what_is_missing(found),
    ]


def _on_raters(found: RewardDiagnosis) -> list[str]:
    (raters,) = (division for division in found.by if division.by == "rater")
    against = [part for part in raters.parts if part.accuracy.below(0.5)]
    told = [
        f"It contradicts {part.name} more often than not: right on {share(part.accuracy)} of {part.accuracy.n:,} comparisons. "
        "Either this rater means the opposite of the others, or knows something that they do not."
        for part in against[:_MOST_TOLD]
    ]
    more = len(against) - _MOST_TOLD
    return told + ([f"So it does {more:,} more raters."] if more > 0 else [])


def _on_groups(found: RewardDiagnosis) -> list[str]:
    (groups,) = (division for division in found.by if division.by == "group")
    known = [part for part in groups.parts if part.accuracy.low is not None and part.accuracy.high is not None]
    if len(known) < 2:
        return []
    best = max(known, key=lambda part: part.accuracy.low or 0.0)
    worst = min(known, key=lambda part: part.accuracy.high or 1.0)
    if not (best.accuracy.low or 0.0) > (worst.accuracy.high or 1.0):
        return []
    return [
        f"It speaks for some people more than for others: right on {share(best.accuracy)} of the comparisons of group "
        f"{best.name}, on {share(worst.accuracy)} of those of group {worst.name}."
    ]


def _on_length(length: Lean | Undefined) -> list[str]:
    if isinstance(length, Undefined) or not (length.gap.above(0.0) or length.gap.below(0.0)):
        return []
    leans = "longer" if length.gap.above(0.0) else "shorter"
    return [
        f"It leans to the {leans} text: right on {share(length.first)} where raters preferred the longer one, on "
        f"{share(length.second)} where they preferred the shorter one."
    ]


def _on_styles(found: RewardDiagnosis) -> list[str]:
    told = []
    for effect in found.styles:
        excess = effect.excess
        if excess.above(0.0) or excess.below(0.0):
            amount = "too much" if excess.above(0.0) else "too little"
            wins, low, high = (_of_hundred(value or 0.0) for value in (excess.estimate, excess.low, excess.high))
            told.append(
                f"For a usual difference in {effect.style} it pays {amount}: of two texts that raters like equally, the one "
                f"with more of it wins {wins} of 100 ({low} to {high}; 50 is right)."
            )
    return told


def _of_hundred(score: float) -> str:
    """How often of a hundred the text that scores so much more wins."""
    return f"{100 / (1 + math.exp(-score)):.0f}"


def _on_position(found: RewardDiagnosis) -> list[str]:
    told, position = [], found.position
    if not isinstance(position, Undefined) and (position.gap.above(0.0) or position.gap.below(0.0)):
        told.append(
            f"Raters chose the left text in {share(position.raters)} of their comparisons. Where they did, it agrees with "
            f"{share(position.first)}, where they chose the right one with {share(position.second)}: some choose a side "
            "without reading."
        )
    if not isinstance(found.order, Undefined) and found.order.changed.above(_ORDER_MATTERS):
        told.append(
            f"Asked again with the texts in the other order, it changes its mind on {share(found.order.changed)}."
        )
    return told


def _on_calibration(found: RewardDiagnosis) -> list[str]:
    fitted = found.calibration
    if isinstance(fitted, Undefined) or isinstance(fitted.temperature, Undefined):
        return []
    best = fitted.temperature
    if _BLUNT <= best <= _SHARP:
        return []
    how = "surer of itself than it may be" if best > _SHARP else "less sure of itself than it could be"
    return [f"It is {how}: its scores fit best divided by {best:.2f}."]


def _on_contested(found: RewardDiagnosis) -> list[str]:
    sure = sum(one.probability >= SURE for one in found.contested)
    if not sure:
        return []
    return [
        f"It contradicts {sure:,} judgment{'' if sure == 1 else 's'} with {100 * SURE:.0f} % or more. Look at them: often "
        "the judgment is wrong, and where it is not, the reward model has something to learn."
    ]


def _on_what_is_missing(found: RewardDiagnosis) -> list[str]:
    told = []
    if found.too_long:
        told.append(f"Comparisons left out, about texts longer than it reads: {found.too_long:,}.")
    if found.compares_nothing:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in found.compares_nothing.items())
        told.append(f"Judgments that compare nothing with anything: {kinds}.")
    return told
