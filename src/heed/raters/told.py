"""Trust in English sentences, for reports; the pages of the board have their own in each language."""

from __future__ import annotations

from datetime import UTC, datetime

from heed.raters.copying import Alike
from heed.raters.groups import Parting
from heed.raters.trust import Flag, RaterTrust
from heed.texts import counted

_VERDICTS = {
    "high": "Can be relied on",
    "good": "Better than chance, but not always right",
    "low": "Little better than chance",
    "chance": "No better than guessing",
    "against": "Mostly says the opposite of what is right",
    "unsure": "Not clear yet",
}


def right(reliability: float) -> str:
    """Of a hundred choices between two, how many are on the right side."""
    return f"{50 * (1 + reliability):.0f}"


def sentence_of(one: RaterTrust) -> str:
    """How far to trust a rater, and everything that this rests on."""
    found = one.reliability
    if found.estimate is None or found.low is None or found.high is None:
        return f"Could not be checked, which counts for nothing against them. {one.agreement.reason or ''}".strip()
    parts = []
    if one.gold.estimate is not None:
        parts.append(counted(one.gold.n, "known answer"))
    if one.agreement.estimate is not None:
        parts.append(f"{counted(one.agreement.n, 'item')} that others answered too")
    usual = "" if one.usual is None else f", drawn towards the team's usual {right(one.usual)}"
    joint = ""
    if one.joint.estimate is not None:
        joint = f"; learned together with the texts, which changes no weight, it would be {right(one.joint.estimate)}"
    return (
        f"{_VERDICTS[one.verdict]}: of 100 choices between two about {right(found.estimate)} are right "
        f"({right(found.low)} to {right(found.high)}; guessing gets 50). This rests on {' and '.join(parts)}{usual}{joint}."
    )


def flag_told(flag: Flag) -> str:
    """What speaks against a rater."""
    n, partner = f"{flag.n:,}", flag.partner or ""
    same = f"answers {flag.value:,.0f} of {n} items as {partner} does, where being right explains about {flag.expected:,.0f}"
    if flag.kind == "inverted":
        return f"says the opposite more often than chance explains ({n} answers)"
    if flag.kind == "chance":
        return f"hardly better than guessing ({n} answers)"
    if flag.kind == "copying":
        return same
    if flag.kind == "one_person":
        return f"{same}, and is never at work at the same moment"
    if flag.kind == "drift":
        day = "" if flag.since is None else datetime.fromtimestamp(flag.since, UTC).date().isoformat()
        return f"of 100 choices about {right(flag.expected)} were right up to {day}, and {right(flag.value)} since"
    return (
        f"stays on one side {flag.value:,.0f} times in {n} comparisons, where shuffled sides give {flag.expected:,.0f}"
    )


def alike_told(pair: Alike) -> str:
    """What two raters have in common."""
    return (
        f"{pair.first} and {pair.second} answer {pair.same:,.0f} of {pair.items:,} items the same; being right explains "
        f"about {pair.expected:,.0f}."
    )


def parting_told(found: Parting) -> str:
    """Whether the declared groups part."""
    if found.p is None or found.inside.estimate is None or found.across.estimate is None:
        return f"Whether groups are of different opinions cannot be told. {found.reason}"
    figures = (
        f"raters of one group say the same in {found.inside.estimate:.0%}, of two groups in {found.across.estimate:.0%}"
    )
    if found.parted:
        return f"The groups are of different opinions: {figures}, which chance does not explain. Each rater is compared with the own group."
    return f"Nothing shows that the groups are of different opinions: {figures}, as chance may give it."
