"""Whether a reward model leans to the longer text, or to a place: where it is right, and where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from heed.evaluate.compare import mean_difference
from heed.statistics import (
    Array,
    Interval,
    Record,
    Undefined,
    mean_interval,
    proportion_interval,
)


class Lean(Record):
    """Decided comparisons, parted by which of two sides the raters preferred."""

    raters: Interval = Field(description="share of comparisons in which the raters preferred the first side (0 to 1)")
    reward: Interval = Field(description="share of the same comparisons in which the reward does (0 to 1)")
    first: Interval = Field(
        description="how often the reward is right where the raters preferred the first side (0 to 1)"
    )
    second: Interval = Field(description="how often it is right where they preferred the second side (0 to 1)")
    gap: Interval = Field(
        description="the first less the second; above 0 the reward leans to the first side more than they"
    )


class PairOrder(Record):
    """A model that sees both texts, asked in both orders."""

    changed: Interval = Field(description="share of pairs whose better text changes with the order (0 to 1)")
    first_place: Interval = Field(description="log-odds that standing first is worth, on average; 0 is right")


def lean(
    differences: Array, outcomes: Array, towards: NDArray[np.int64], prompt_ids: Sequence[str], confidence: float
) -> Lean | Undefined:
    """How far a reward leans to one of two sides of a pair.

    Args:
        differences: [N], score of the first text less that of the second.
        outcomes: [N], 1, 0.5 or 0.
        towards: [N], 1 where the first text is on the first side (the longer one, or left), -1 where the second is, 0
            where neither is or it is not known.
        prompt_ids: [N].
        confidence: coverage of the intervals.
    """
    chosen = np.flatnonzero((towards != 0) & (outcomes != 0.5))
    if not chosen.size:
        return Undefined(reason="No comparison with a winner tells the two sides apart.")
    ids = [prompt_ids[i] for i in chosen.tolist()]
    d, preferred, side = differences[chosen], np.sign(outcomes[chosen] - 0.5), towards[chosen]
    right = 0.5 + 0.5 * np.sign(d) * preferred
    on_first = preferred * side > 0
    places = [np.flatnonzero(on_first), np.flatnonzero(~on_first)]
    sides = [(right[part], [ids[i] for i in part.tolist()]) for part in places]
    return Lean(
        raters=proportion_interval(on_first.astype(float), ids, confidence),
        reward=proportion_interval(0.5 + 0.5 * np.sign(d) * side, ids, confidence),
        first=proportion_interval(*sides[0], confidence),
        second=proportion_interval(*sides[1], confidence),
        gap=mean_difference(*sides[0], *sides[1], confidence),
    )


def pair_order(forth: Array, back: Array, prompt_ids: Sequence[str], confidence: float) -> PairOrder:
    """What the order means to a model that sees both texts.

    Args:
        forth: [N], log-odds that text one is better where it stands first.
        back: [N], log-odds that text two is better where that stands first.
        prompt_ids: [N].
        confidence: coverage of the intervals.
    """
    changed = np.where(forth * back == 0, 0.5, (forth * back > 0).astype(float))
    return PairOrder(
        changed=proportion_interval(changed, prompt_ids, confidence),
        first_place=mean_interval((forth + back) / 2, prompt_ids, confidence),
    )
