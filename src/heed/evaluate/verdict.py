"""The verdict: one sentence a person can read, and what speaks against taking it at its word."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from heed.evaluate.compare import WinRate
from heed.statistics import Interval, Record


class Verdict(Record):
    """What the comparison comes to."""

    outcome: Literal["better", "worse", "undecided", "unknown"] = Field(
        description="better or worse: the interval lies on one side of one half; undecided: it does not; "
        "unknown: there is no win rate"
    )
    by: Literal["true", "judged", "proxy", "none"] = Field(
        description="the win rate it rests on: true utility, else held-out raters, else only the reward model"
    )
    sentence: str = Field(description="the verdict in one sentence")
    caveats: list[str] = Field(default_factory=list, description="what speaks against taking it at its word")


def percent(share: float) -> str:
    """``share`` (0 to 1) as people read it, with one decimal."""
    return f"{100 * share:.1f} %"


def beside_a_coin(low: float | None, high: float | None, what: str = "comparisons") -> str:
    """What to make of the interval of an accuracy (0 to 1) that holds a half or lies below it; "" where it lies above.

    Args:
        low, high: its ends; None where there is none.
        what: of which more are to be collected.
    """
    if low is not None and low > 0.5:
        return ""
    if high is not None and high < 0.5:
        return (
            f"That is surely worse than a coin: the reward points the wrong way, and more {what} will not turn it. See "
            "whether the known answers (gold), the chosen and rejected texts or the measured answers are the wrong way "
            "round, and whether most raters answer against the others. Do not optimise against it."
        )
    return f"That is not surely better than a coin: collect more {what} before you optimise against it."


def _outcome(rate: Interval) -> Literal["better", "worse", "undecided"]:
    if rate.above(0.5):
        return "better"
    return "worse" if rate.below(0.5) else "undecided"


_CLAIMS = {
    "better": "The policy is better than its reference",
    "worse": "The policy is worse than its reference",
    "undecided": "Whether the policy is better than its reference is not decided",
}
_JUDGES: dict[Literal["true", "judged", "proxy"], str] = {
    "true": "by true utility",
    "judged": "by held-out raters",
    "proxy": "by the reward model",
}


def verdict(true: WinRate, judged: WinRate, proxy: WinRate, seen: int = 0) -> Verdict:
    """The verdict of three win rates: it rests on the truest that is defined. ``seen`` of the prompts were trained on.

    Caveats are added where prompts were trained on, where only the proxy speaks, where the proxy saw a gain that the truth does not show, where
    held-out raters contradict the truth, and where the gain is not there at equal length.
    """
    rates: dict[Literal["true", "judged", "proxy"], WinRate] = {"true": true, "judged": judged, "proxy": proxy}
    by = next((name for name, rate in rates.items() if rate.estimate is not None), None)
    if by is None:
        return Verdict(outcome="unknown", by="none", sentence=f"Whether the policy is better is unknown: {true.reason}")
    rate = rates[by]
    estimate = rate.estimate or 0.0
    outcome = _outcome(rate)
    if rate.low is None or rate.high is None:
        spread = "no interval"
    else:
        spread = f"{100 * rate.confidence:.4g} % interval {100 * rate.low:.1f} to {percent(rate.high)}"
    noun = f"{'' if seen else 'held-out '}{'prompt' if rate.prompts == 1 else 'prompts'}"
    told = f"{seen:,} of the prompts are ones that the policy was trained on: they were not held out."
    return Verdict(
        outcome=outcome,
        by=by,
        sentence=f"{_CLAIMS[outcome]}: it wins {percent(estimate)} of the comparisons on {rate.prompts:,} {noun} "
        f"{_JUDGES[by]} ({spread}).",
        caveats=[*([told] if seen else []), *_caveats(by, rate, judged, proxy)],
    )


def _caveats(by: Literal["true", "judged", "proxy"], rate: WinRate, judged: WinRate, proxy: WinRate) -> list[str]:
    found = []
    if by == "proxy":
        found.append(
            "Only the reward model says so: of a policy that was trained to please it, or on the same judgments, that proves nothing."
        )
    elif proxy.above(0.5) and not rate.above(0.5):
        found.append(
            f"The reward model sees {percent(proxy.estimate or 0.0)} wins, which {_JUDGES[by]} are not there: the policy "
            "has learned to please the reward model."
        )
    if by == "true" and {_outcome(judged), _outcome(rate)} == {"better", "worse"}:
        found.append(f"Held-out raters see the opposite: {percent(judged.estimate or 0.0)} wins.")
    controlled = rate.length_controlled
    if rate.above(0.5) and controlled.estimate is not None and not controlled.above(0.5):
        found.append(f"At equal length it wins {percent(controlled.estimate)}: the gain may be one of length.")
    return found
