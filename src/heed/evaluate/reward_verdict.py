"""What a diagnosis of a reward model comes to, in sentences for people who are no statisticians."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.special import expit, logit

from heed.evaluate.verdict import beside_a_coin, percent
from heed.statistics import Interval, Undefined

if TYPE_CHECKING:
    from heed.evaluate.reward_diagnosis import RewardDiagnosis
    from heed.evaluate.reward_parts import Division
    from heed.evaluate.reward_style import StyleEffect

SURE = 0.9
"""Probability of the other text from which on a contradicted judgment is worth a look by itself."""

_SHARP, _BLUNT = 1.25, 0.8
"""Best temperatures beyond which predicted probabilities are off by enough to matter."""
_SAID = 0.8
"""The probability by which people are told how far predicted ones are off."""
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
            which = f"{found.learned_from:,} of the {found.judgments:,}"
            if found.learned_from == found.judgments:
                which = f"All {found.judgments:,}"
            why += f" {which} judgments are of prompts that it learned from."
        return f"How often the reward model is right is unknown: {why}"
    prompts = f"{right.prompts:,} prompt{'' if right.prompts == 1 else 's'}"
    text = f"The reward model is right on {share(right)} of {right.n:,} held-out comparisons of {prompts}"
    text += f"; ties, left out: {found.accuracy.ties:,}." if found.accuracy.ties else "."
    return f"{text} {beside_a_coin(right.low, right.high, 'judgments')}".rstrip()


def notes_on(found: RewardDiagnosis) -> list[str]:
    """What to look at, the weightiest first."""
    return [
        *_on_raters(found),
        *_on_groups(found),
        *_on_length(found),
        *_on_styles(found),
        *_on_position(found),
        *_on_calibration(found),
        *_on_contested(found),
        *_on_what_is_missing(found),
    ]


def what_now(found: RewardDiagnosis) -> str:
    """What to do next, by what was found."""
    right = found.accuracy.clustered
    if right.estimate is None:
        return (
            "Hold it against judgments of prompts that it has not learned from: collect some, or keep a share back when it "
            "is trained (test_fraction, or cross_fit with several members)."
        )
    if right.below(0.5):
        return "Find out what is the wrong way round, as said above, and train the reward again."
    if not right.above(0.5):
        return "Collect more judgments (heed ask, or the studio) and train the reward again."
    steps = []
    if any(part.accuracy.below(0.5) for part in _division(found, "rater").parts):
        steps.append("see on the page of each rater whom it contradicts (studio, People) what their trust rests on")
    if _surely_contested(found):
        steps.append(
            "go through the judgments that it contradicts most surely (studio, Disagreements), and overrule wrong ones"
        )
    steps += [
        f"collect more judgments of texts that differ in {effect.style}, or state a limit as a constraint of the policy"
        for effect in found.styles
        if effect.excess.above(0.0)
    ]
    if _no_better_than_length(found):
        steps.append("collect more judgments: it has not shown that it has learned more than length")
    if not steps and found.notes:
        return "Weigh what is said above before a policy is trained against it (heed train policy)."
    if not steps:
        return "Nothing found here speaks against training a policy against it (heed train policy)."
    listed = steps[0] if len(steps) == 1 else "; ".join(f"({number}) {step}" for number, step in enumerate(steps, 1))
    return f"Before a policy is trained against it: {listed}. Then train the reward again and look here once more."


def _division(found: RewardDiagnosis, by: str) -> Division:
    (one,) = (division for division in found.by if division.by == by)
    return one


def _on_raters(found: RewardDiagnosis) -> list[str]:
    against = [part for part in _division(found, "rater").parts if part.accuracy.below(0.5)]
    told = [
        f"It contradicts {part.name} more often than not: right on {share(part.accuracy)} of {part.accuracy.n:,} comparisons. "
        "Either this rater means the opposite of the others, or knows something that they do not."
        for part in against[:_MOST_TOLD]
    ]
    more = len(against) - _MOST_TOLD
    return told + ([f"So it does {more:,} more raters."] if more > 0 else [])


def _on_groups(found: RewardDiagnosis) -> list[str]:
    groups = _division(found, "group").parts
    known = [part for part in groups if part.accuracy.low is not None and part.accuracy.high is not None]
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


def _on_length(found: RewardDiagnosis) -> list[str]:
    """Being right less often where raters preferred the longer text is no leaning by itself: whoever knows that shorter ones
    are mostly preferred, and is not sure, is right less often about the longer ones too."""
    length = found.length
    if isinstance(length, Undefined):
        return []
    beside = []
    if _no_better_than_length(found):
        longer = length.raters.estimate or 0.0
        better = "longer" if longer >= 0.5 else "shorter"
        alone = percent(max(longer, 1 - longer))
        beside = [
            f"Taking the {better} text alone is right on {alone}: this reward model is not surely better than that."
        ]
    if not (length.gap.above(0.0) or length.gap.below(0.0)):
        return beside
    oftener, seldomer, first, second = "longer", "shorter", length.first, length.second
    if length.gap.below(0.0):
        oftener, seldomer, first, second = seldomer, oftener, second, first
    told = (
        f"It is right on {share(first)} where raters preferred the {oftener} text, on {share(second)} where they preferred "
        f"the {seldomer} one."
    )
    (paid,) = (effect.excess for effect in found.styles if effect.style == "length")
    if paid.estimate is None:
        return [*beside, f"{told} Whether it pays too much for length cannot be told: {paid.reason}"]
    if not (paid.above(0.0) or paid.below(0.0)):
        told += f" That it pays too much for length is not shown: raters preferred the longer one in {share(length.raters)}, "
        told += f"and it in {share(length.reward)}."
    return [*beside, told]


def told_sides(effect: StyleEffect) -> str:
    """Which of two texts that are otherwise as good a reward should give one half."""
    return f"Otherwise as good, {_having_more(effect)}"


def _having_more(effect: StyleEffect) -> str:
    """The text with more of a style."""
    if effect.style == "length":
        return "the longer text"
    return f"the text with more {'bold type' if effect.style == 'bold' else effect.style}"


def _no_better_than_length(found: RewardDiagnosis) -> bool:
    """Whether taking the longer text, or the shorter, whichever is oftener preferred, is right as often as the interval allows."""
    length, right = found.length, found.accuracy.clustered
    if isinstance(length, Undefined) or length.raters.estimate is None:
        return False
    return right.low is not None and right.low <= max(length.raters.estimate, 1 - length.raters.estimate)


def _on_styles(found: RewardDiagnosis) -> list[str]:
    told = []
    for effect in found.styles:
        if effect.excess.above(0.0) or effect.excess.below(0.0):
            amount = "too much" if effect.excess.above(0.0) else "too little"
            told.append(
                f"It pays {amount} for {effect.style}: of two texts that are otherwise as good it gives {_having_more(effect)} "
                f"{share(effect.favour)} in place of 50 %."
            )
    return told


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
    holds = float(expit(logit(_SAID) / best))
    return [f"It is {how}: where it says {100 * _SAID:.0f} %, {100 * holds:.0f} % come true."]


def _on_contested(found: RewardDiagnosis) -> list[str]:
    sure = _surely_contested(found)
    if not sure:
        return []
    return [
        f"It contradicts {sure:,} judgment{'' if sure == 1 else 's'} with {100 * SURE:.0f} % or more. Look at them: often "
        "the judgment is wrong, and where it is not, the reward model has something to learn."
    ]


def _surely_contested(found: RewardDiagnosis) -> int:
    return sum(one.probability >= SURE for one in found.contested)


def _on_what_is_missing(found: RewardDiagnosis) -> list[str]:
    told = []
    if found.too_long:
        told.append(f"Comparisons left out, of texts longer than it reads: {found.too_long:,}.")
    if found.compares_nothing:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in found.compares_nothing.items())
        told.append(f"Judgments that compare nothing with anything: {kinds}.")
    return told
