"""What a lead should look at in a rater, with the figures that say so.

A concern is raised only where the whole interval lies beyond a bound, so chance alone seldom raises one, and never with few
answers. It says nothing about why: a rater who is quick may be good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import Field

from heed.lazily import np
from heed.raters.agreement import Measured
from heed.raters.statistics import RaterStatistics
from heed.statistics import Interval, Record

Topic = Literal["left", "right", "agreement", "gold", "repeat", "tie", "skip", "speed"]

FEWEST_ANSWERS = 20
FEWEST_KNOWN = 5
"""Known and repeated answers are rarer, and fewer of them tell: they should come out right."""

FEWEST_RATERS = 3
"""Fewer raters than this have no usual value that one of them could be far from."""

_SIDE_SLACK = 0.05
_AGREEMENT_SLACK = 0.05
_GOLD_MARK = 0.7
_REPEAT_MARK = 0.6
_TIE_MARK = 0.5
_SKIP_MARK = 0.3
_QUICK = 1 / 3


class Concern(Record):
    """Something about a rater that a lead should look at."""

    concern: Topic
    value: float = Field(description="what was found: a share, or seconds for speed")
    low: float | None = Field(description="lower end of its interval")
    high: float | None = Field(description="upper end of its interval")
    n: int = Field(ge=0, description="answers behind it (count)")
    expected: float = Field(description="what it is compared with")
    field: str | None = Field(None, description="the field that it is about; null: the answers as a whole")
    question: str | None = Field(None, description="id of the question whose field that is; null without a field")
    reason: str = Field(description="a sentence for people")


def concerns_of(everybody: Mapping[str, RaterStatistics], excluded: Collection[str] = ()) -> dict[str, list[Concern]]:
    """What concerns each rater of whom there is anything. What is usual is told by those who are not ``excluded``."""
    trusted = {name: one for name, one in everybody.items() if name not in excluded}
    usual, by_field = _usual(trusted), _usual_by_field(trusted)
    found = {name: _of_one(one, *usual, by_field) for name, one in everybody.items()}
    return {name: its for name, its in found.items() if its}


def _usual(everybody: Mapping[str, RaterStatistics]) -> tuple[float | None, float | None]:
    """Median of the raters' agreement and of their median active seconds; None where there are too few raters."""
    steady = [one for one in everybody.values() if one.answers >= FEWEST_ANSWERS]
    agreements = [one.agreement.estimate for one in steady if one.agreement.estimate is not None]
    seconds = [one.speed.median for one in steady if one.speed.median is not None]
    return (
        float(np.median(agreements)) if len(agreements) >= FEWEST_RATERS else None,
        float(np.median(seconds)) if len(seconds) >= FEWEST_RATERS else None,
    )


def _usual_by_field(everybody: Mapping[str, RaterStatistics]) -> dict[tuple[str, str], float]:
    """Median of the raters' agreement in each (question, field) that enough raters answered often enough."""
    known: dict[tuple[str, str], list[float]] = {}
    for one in everybody.values():
        for its in one.by_field:
            if _enough(its.agreement) and its.agreement.estimate is not None:
                known.setdefault((its.question, its.field), []).append(its.agreement.estimate)
    return {key: float(np.median(shares)) for key, shares in known.items() if len(shares) >= FEWEST_RATERS}


def _disagreements(
    one: RaterStatistics, usual: float | None, by_field: Mapping[tuple[str, str], float]
) -> list[Concern]:
    """Agreement that is low in a field, or in all together where there is only one or none stands out."""
    does, found = "agrees with the others in", []
    for its in one.by_field if len(one.by_field) > 1 else ():
        expected = by_field.get((its.question, its.field))
        if expected is not None and _enough(its.agreement) and its.agreement.below(expected - _AGREEMENT_SLACK):
            concern = _concern("agreement", its.agreement, expected, f"{its.field}: {does}")
            found.append(concern.model_copy(update={"field": its.field, "question": its.question}))
    if not found and usual is not None and _enough(one.agreement) and one.agreement.below(usual - _AGREEMENT_SLACK):
        found.append(_concern("agreement", one.agreement, usual, does))
    return found


def _of_one(
    one: RaterStatistics,
    usual_agreement: float | None,
    usual_seconds: float | None,
    by_field: Mapping[tuple[str, str], float],
) -> list[Concern]:
    found = []
    if _enough(one.left) and one.left.above(0.5 + _SIDE_SLACK):
        found.append(_concern("left", one.left, 0.5, "chooses left in"))
    if _enough(one.left) and one.left.below(0.5 - _SIDE_SLACK):
        found.append(_concern("right", _mirrored(one.left), 0.5, "chooses right in"))
    found += _disagreements(one, usual_agreement, by_field)
    if _enough(one.gold, FEWEST_KNOWN) and one.gold.below(_GOLD_MARK):
        found.append(_concern("gold", one.gold, _GOLD_MARK, "agrees with the known answers in"))
    if _enough(one.repeat, FEWEST_KNOWN) and one.repeat.below(_REPEAT_MARK):
        found.append(_concern("repeat", one.repeat, _REPEAT_MARK, "answers the same again in"))
    if _enough(one.tie) and one.tie.above(_TIE_MARK):
        found.append(_concern("tie", one.tie, _TIE_MARK, "calls it a tie in"))
    if _enough(one.skip_rate) and one.skip_rate.above(_SKIP_MARK):
        found.append(_concern("skip", one.skip_rate, _SKIP_MARK, "skips"))
    if usual_seconds is not None and one.answers >= FEWEST_ANSWERS and one.speed.median is not None:
        found += _quick(one, one.speed.median, usual_seconds)
    return found


def _enough(interval: Interval, fewest: int = FEWEST_ANSWERS) -> bool:
    return interval.n >= fewest


def _mirrored(interval: Measured) -> Measured:
    """The interval of the other side."""
    low, high, estimate = (None if end is None else 1 - end for end in (interval.high, interval.low, interval.estimate))
    return interval.model_copy(update={"estimate": estimate, "low": low, "high": high})


def _concern(concern: Topic, interval: Interval, expected: float, does: str) -> Concern:
    estimate, low, high = interval.estimate or 0.0, interval.low or 0.0, interval.high or 0.0
    reason = (
        f"{does} {estimate:.0%} of {interval.n:,}, 95 % interval {low:.0%} to {high:.0%}; compared with {expected:.0%}"
    )
    return Concern(
        concern=concern,
        value=estimate,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        expected=expected,
        reason=reason,
    )


def _quick(one: RaterStatistics, median: float, usual: float) -> list[Concern]:
    if median >= _QUICK * usual:
        return []
    reason = f"half of {one.answers:,} answers took less than {median:.1f} s; the usual is {usual:.1f} s"
    return [Concern(concern="speed", value=median, low=None, high=None, n=one.answers, expected=usual, reason=reason)]
