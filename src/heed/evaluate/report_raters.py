"""The part of the report about raters: how far to trust each, where groups part, and how the policy does in each group's eyes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import Field

from heed.evaluate.compare import WinRate
from heed.raters.agreement import Measured
from heed.raters.told import alike_told, flag_told, parting_told, sentence_of
from heed.raters.trust import RaterTrust, Trust
from heed.statistics import Record

MOST_SHOWN = 8


class TrustedRater(Record):
    """How far to trust one rater, in a sentence and in figures."""

    sentence: str = Field(description="how far to trust them and why, for people")
    against: list[str] = Field(description="what speaks against them, for people")
    trust: RaterTrust = Field(description="the figures")


class GroupMean(Record):
    """What one group said of something."""

    group: str = Field(description="name of the group")
    answers: int = Field(ge=0, description="answers (count)")
    mean: float = Field(
        description="mean answer: 1 all for the first, -1 all for the second; of ratings standard deviations"
    )


class PartedItem(Record):
    """Something on which groups part."""

    item: str = Field(description="how it begins, for people")
    field: str = Field(description="what was asked")
    groups: list[GroupMean] = Field(description="what each group said")
    sure: bool = Field(description="whether it is beyond chance: of all such at most a tenth are false")


class RatersPart(Record):
    """Whom the report's training listened to, and how far they can be trusted."""

    raters: list[TrustedRater] = Field(description="by name")
    alike: list[str] = Field(description="pairs of raters who answer too much alike, for people")
    groups: dict[str, int] = Field(description="raters in each declared group (count)")
    parting: str = Field(description="whether the groups part by opinion, for people")
    parted: bool = Field(description="whether they do")
    inside: Measured = Field(description="share of equal answers of two raters of one group (0 to 1)")
    across: Measured = Field(description="share of equal answers of raters of two groups (0 to 1)")
    where: list[PartedItem] = Field(description="where groups part, the surest first")
    win_rates: dict[str, WinRate] = Field(description="the policy's win rate by held-out raters of each group (0 to 1)")


def raters_part(trust: Trust, win_rates: Mapping[str, WinRate], beginning: Callable[[str], str]) -> RatersPart:
    """What the report says of raters.

    Args:
        win_rates: of the policy, by groups of held-out raters.
        beginning: gives how an item of the answers begins, for people.
    """
    where = [
        PartedItem(
            item=beginning(one.item),
            field=one.field,
            groups=[GroupMean(group=name, answers=n, mean=mean) for name, n, mean in one.groups],
            sure=one.sure,
        )
        for one in trust.parted[:MOST_SHOWN]
    ]
    return RatersPart(
        raters=[
            TrustedRater(sentence=sentence_of(one), against=[flag_told(flag) for flag in one.flags], trust=one)
            for _, one in sorted(trust.raters.items())
        ],
        alike=[alike_told(pair) for pair in trust.alike],
        groups=dict(trust.parting.groups),
        parting=parting_told(trust.parting),
        parted=trust.parting.parted,
        inside=trust.parting.inside,
        across=trust.parting.across,
        where=where,
        win_rates=dict(win_rates),
    )
