"""Whom to trust, and why: what is known of each rater's reliability, what speaks against them, and what a lead might do.

Nothing follows by itself: a suggestion names its reason, and a person decides. Each kind of flag is raised against anybody at
all in a team without fault in at most 5 % of looks (``testing``); carelessness has bounds of its own (``concerns``).

Where declared groups part by opinion (``groups``), raters are compared with their own group alone, and disagreement with the
other counts against nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from heed.lazily import np
from heed.raters.agreement import Measured, measured, undefined
from heed.raters.columns import Answers, Ints
from heed.raters.copying import Alike, Copying, copying_of, suspected
from heed.raters.drift import Drift, Pattern, drifts_of, patterns_of
from heed.raters.fellows import Direction, fit_fellows
from heed.raters.groups import GroupScale, Parted, Parting, group_codes, group_scales, parted_items, parting_of
from heed.raters.judged import Judged, Pairs, judged_of, pairs_of
from heed.raters.reliability import (
    CONFIDENCE,
    Combined,
    Estimates,
    chance_of,
    combined,
    error_of,
    estimates_of,
    known_outcomes,
)
from heed.raters.testing import LEVEL, holm
from heed.statistics import Array, Interval, Record

FlagKind = Literal["inverted", "chance", "copying", "one_person", "drift", "pattern"]
Verdict = Literal["high", "good", "low", "chance", "against", "unsure", "unchecked"]
Suggestion = Literal["none", "look", "exclude"]

HARDLY_BETTER = 0.25
"""Reliability below which somebody is hardly better than a coin: 62 of 100 choices right, where a coin gets 50."""

_RELIABLE = 0.5
_SIDED = 1.959964


class Flag(Record):
    """Something that speaks against a rater, beyond what chance explains in the whole team."""

    kind: FlagKind
    partner: str | None = Field(None, description="the other rater, where it is about two")
    value: float = Field(
        description="what was found: a reliability, a count of answers that are the same, of runs of a side"
    )
    expected: float = Field(description="what it is compared with, in the same unit")
    n: int = Field(ge=0, description="answers behind it (count)")
    since: float | None = Field(None, description="of a drift: when it began to show (seconds since 1970)")
    p: float = Field(description="how likely chance alone gives it anywhere in the team (probability)")
    by_gold: bool = Field(False, description="whether known answers alone show it")


class RaterTrust(Record):
    """How far to trust one rater. Reliability is 1 where every answer heeds the truth, 0 by chance, -1 for the opposite."""

    rater: str
    verdict: Verdict
    reliability: Measured = Field(description="gold and agreement together, drawn towards the team's; -1 to 1")
    weight: float = Field(ge=0, le=1, description="what an answer counts: reliability squared, 0 where it is below 0")
    gold: Measured = Field(description="reliability by known answers alone; -1 to 1")
    agreement: Measured = Field(description="reliability by agreement with others, corrected for theirs; -1 to 1")
    joint: Measured = Field(description="reliability learned together with what was compared; -1 to 1")
    direction: Direction | None = Field(description="what decided which way is up; null where nobody was compared")
    usual: float | None = Field(
        description="what is usual in the team, towards which the reliability is drawn; -1 to 1"
    )
    compared_for_copying: int = Field(
        ge=0, description="others with whom enough items are shared to look for copying (count)"
    )
    flags: tuple[Flag, ...] = ()
    suggestion: Suggestion = Field(description="what a lead might do; nothing happens by itself")


class Team(Record):
    """What is known of the raters as a team."""

    usual: float | None = Field(description="reliability that is usual in the team; null where nobody could be checked")
    pairs_compared: int = Field(
        ge=0, description="pairs of raters with enough items in common to look for copying (count)"
    )
    pairs_unknown: int = Field(ge=0, description="pairs of whom nothing can be said (count)")
    level: float = Field(
        description="chance, at most, of any false flag of one kind in a team without fault (probability)"
    )


@dataclass(frozen=True)
class Trust:
    """Everything that was found.

    Attributes:
        raters: by name.
        team: as one.
        alike: pairs of raters who are suspiciously alike, the most certain first.
        parting: whether the declared groups part.
        parted: where they do, the most certain first; empty where they do not beyond chance.
        scales: how groups use the scales of ratings.
    """

    raters: Mapping[str, RaterTrust]
    team: Team
    alike: tuple[Alike, ...]
    parting: Parting
    parted: tuple[Parted, ...]
    scales: tuple[GroupScale, ...]


def trust_of(answers: Answers, groups: Mapping[str, str], seed: int = 0) -> Trust:
    """How far each rater can be trusted, by all answers that stand.

    Args:
        groups: of raters by name; "" or none for who is in no group.
        seed: of everything drawn.
    """
    judged = judged_of(answers)
    pairs = pairs_of(judged)
    group, names = group_codes(judged.raters, groups)
    shared = _shared_items(judged, pairs)
    parting = parting_of(judged, pairs, fit_fellows(judged, pairs), group, names, seed)
    camp = None
    if parting.parted:
        camp = group + 1
        pairs = pairs.where(camp[judged.rater[pairs.one]] == camp[judged.rater[pairs.other]])
    copying = copying_of(answers, judged, pairs, seed)
    fellows = fit_fellows(judged, pairs, suspected(judged, pairs, copying))
    estimates = estimates_of(answers, judged, fellows, camp, shared)
    whole = combined(estimates.gold, estimates.agreement)
    flags = _flags(answers, judged, estimates, copying, drifts_of(judged, pairs, fellows), patterns_of(answers))
    return Trust(
        raters={
            name: _rater(name, code, estimates, whole, flags[name], int(copying.with_others[code]))
            for code, name in enumerate(judged.raters)
        },
        team=Team(usual=whole.usual, pairs_compared=copying.compared, pairs_unknown=copying.unknown, level=LEVEL),
        alike=copying.found,
        parting=parting,
        parted=tuple(parted_items(judged, answers.items, answers.places, group, names)) if parting.parted else (),
        scales=tuple(group_scales(judged, group, names)),
    )


def _shared_items(judged: Judged, pairs: Pairs) -> Ints:
    """[raters]: how many items others judged too (count)."""
    size = int(judged.item.max(initial=0)) + 1
    ends = np.concatenate([judged.rater[pairs.one], judged.rater[pairs.other]])
    both = np.unique(ends * size + np.tile(judged.item[pairs.one], 2))
    return np.bincount(both // size, minlength=len(judged.raters))


# Flags


def _flags(
    answers: Answers,
    judged: Judged,
    estimates: Estimates,
    copying: Copying,
    drifts: tuple[Drift, ...],
    patterns: tuple[Pattern, ...],
) -> dict[str, list[Flag]]:
    found: dict[str, list[Flag]] = {name: [] for name in judged.raters}
    _flag_unreliable(answers, judged, estimates, found)
    for pair in copying.found:
        kind: FlagKind = "one_person" if pair.one_person else "copying"
        for name, partner in ((pair.first, pair.second), (pair.second, pair.first)):
            flag = Flag(kind=kind, partner=partner, value=pair.same, expected=pair.expected, n=pair.items, p=pair.p)
            found[name].append(flag)
    for drift in drifts:
        flag = Flag(
            kind="drift", value=drift.after, expected=drift.before, n=drift.answers, since=drift.since, p=drift.p
        )
        found[drift.rater].append(flag)
    for pattern in patterns:
        flag = Flag(kind="pattern", value=pattern.runs, expected=pattern.expected, n=pattern.answers, p=pattern.p)
        found[pattern.rater].append(flag)
    return found


def _flag_unreliable(answers: Answers, judged: Judged, estimates: Estimates, found: dict[str, list[Flag]]) -> None:
    """Flag who says the opposite of what is right, and who is hardly better than a coin."""
    inverted, by_gold = _below(answers, judged, estimates, 0.0)
    chance, by_gold_too = _below(answers, judged, estimates, HARDLY_BETTER)
    for code, name in enumerate(judged.raters):
        values = [(one.estimate, one.n) for one in (estimates.gold[code], estimates.agreement[code])]
        known = [(value, n) for value, n in values if value is not None]
        if not known:
            continue
        value, n = min(known)[0], sum(count for _, count in known)
        if inverted[code] < LEVEL:
            gold = bool(by_gold[code] < LEVEL)
            found[name].append(
                Flag(kind="inverted", value=value, expected=0.0, n=n, p=float(inverted[code]), by_gold=gold)
            )
        elif chance[code] < LEVEL:
            gold = bool(by_gold_too[code] < LEVEL)
            found[name].append(
                Flag(kind="chance", value=value, expected=HARDLY_BETTER, n=n, p=float(chance[code]), by_gold=gold)
            )


def _below(answers: Answers, judged: Judged, estimates: Estimates, bound: float) -> tuple[Array, Array]:
    """[raters]: corrected p-values of a reliability that is not below ``bound``: by both bases, and by gold alone."""
    from scipy.special import stdtr

    p_gold = _gold_below(answers, judged, bound)
    p_agreement = np.full(p_gold.size, np.nan)
    for code, one in enumerate(estimates.agreement):
        if one.estimate is not None and one.low is not None:
            p_agreement[code] = stdtr(max(one.prompts - 1, 1), (one.estimate - bound) / error_of(one))
    both = np.stack([p_gold, p_agreement])
    bases = np.isfinite(both).sum(axis=0)
    least = np.where(bases > 0, np.nan_to_num(both, nan=1.0).min(axis=0) * bases, np.nan)
    return holm(np.minimum(least, 1.0)), holm(p_gold)


def _gold_below(answers: Answers, judged: Judged, bound: float) -> Array:
    """[raters]: p-values of so few known answers met, by somebody whose reliability is ``bound``; exact."""
    from scipy.special import bdtr

    gold, met = known_outcomes(answers)
    chances = np.array([chance_of(judged, question) for question in answers.questions])
    p = np.full(len(judged.raters), np.nan)
    for code in np.unique(answers.rater[gold]).tolist():
        mine = gold & (answers.rater == code)
        chance = float(chances[answers.question[mine]].mean())
        p[code] = bdtr(np.ceil(met[mine].sum() - 1e-9), int(mine.sum()), chance + (1 - chance) * bound)
    return p


# What it comes to


def _rater(name: str, code: int, estimates: Estimates, whole: Combined, flags: list[Flag], compared: int) -> RaterTrust:
    reliability = _reliability(code, whole, estimates)
    return RaterTrust(
        rater=name,
        verdict=_verdict(reliability),
        reliability=reliability,
        weight=float(min(whole.weight[code], 1.0)),
        gold=estimates.gold[code],
        agreement=estimates.agreement[code],
        joint=estimates.joint[code],
        direction=estimates.direction[code],
        usual=whole.usual,
        compared_for_copying=compared,
        flags=tuple(flags),
        suggestion=_suggestion(flags),
    )


def _reliability(code: int, whole: Combined, estimates: Estimates) -> Measured:
    method = "gold and agreement by their precision, drawn towards the team's"
    if not whole.checked[code]:
        reason = "Neither gold items nor answers of others to the same items could check this rater."
        return undefined("nothing", reason, method, CONFIDENCE)
    r, half = float(whole.reliability[code]), _SIDED * float(whole.error[code])
    bases = [one for one in (estimates.gold[code], estimates.agreement[code]) if one.estimate is not None]
    return measured(
        Interval(
            estimate=r,
            low=max(-1.0, r - half),
            high=min(1.0, r + half),
            confidence=CONFIDENCE,
            prompts=sum(one.prompts for one in bases),
            n=sum(one.n for one in bases),
            method=method,
        )
    )


def _verdict(found: Measured) -> Verdict:
    """The interval in a word: it decides where it is narrow enough, and nothing is said where it is not."""
    if found.estimate is None or found.low is None or found.high is None:
        return "unchecked"
    if found.high < 0:
        return "against"
    if found.high < HARDLY_BETTER:
        return "chance"
    if found.low >= _RELIABLE:
        return "high"
    if found.low >= HARDLY_BETTER:
        return "good"
    return "low" if found.high < _RELIABLE else "unsure"


def _suggestion(flags: list[Flag]) -> Suggestion:
    """To exclude where known answers alone show that somebody is no use; to look where anything else was found.

    Who disagrees with everybody may be the one who sees what others miss, as long as no known answer says otherwise.
    """
    if any(flag.kind in ("inverted", "chance") and flag.by_gold for flag in flags):
        return "exclude"
    return "look" if flags else "none"
