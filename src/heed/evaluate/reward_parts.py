"""How often a reward model is right, by what the judgments differ in: kind, strength, rater, group, source, length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field
from scipy import stats

from heed.evaluate.metrics import accuracy
from heed.statistics import (
    Array,
    Interval,
    Record,
    cluster_variance,
    finite_vector,
    prompt_codes,
    undefined_interval,
)

_MOST_OF_ONE = 5_000
"""Judgments of one rater that are compared pair by pair (count): as many as take a moment."""
_ROWS = 512


By = Literal["kind", "strength", "gap", "length", "group", "rater", "source", "subset"]


class Part(Record):
    """The comparisons of one part of the judgments."""

    name: str = Field(description="which part")
    accuracy: Interval = Field(description="share right, ties left out, clustered by prompt (0 to 1)")
    ties: int = Field(ge=0, description="comparisons in which neither text is better: left out (count)")


FEWEST_SHOWN = 10
"""Comparisons below which a part is not shown to people, whose interval would span nearly everything (count)."""


class Division(Record):
    """The comparisons, parted by one thing."""

    by: By = Field(description="what parts them")
    parts: list[Part] = Field(description="the parts, in their order")
    reason: str | None = Field(None, description="why there are no parts; null where there are")


def telling(parts: Sequence[Part]) -> tuple[list[Part], int]:
    """The parts of enough comparisons to be shown to people, and how many others there are."""
    shown = [part for part in parts if part.accuracy.n >= FEWEST_SHOWN]
    return shown, len(parts) - len(shown)


def parted(
    by: By,
    labels: Sequence[str],
    differences: Array,
    outcomes: Array,
    prompt_ids: Sequence[str],
    confidence: float,
    order: Sequence[str] = (),
) -> Division:
    """Accuracy of score differences [N] in each part.

    Args:
        by: what parts them.
        labels: [N], the part of each claim; claims labelled "" belong to none.
        differences: [N], score of the first less score of the second.
        outcomes: [N], 1, 0.5 or 0.
        prompt_ids: [N].
        confidence: coverage of the intervals.
        order: of the parts; those that are not named come after, the largest first.
    """
    label = np.asarray(labels, dtype=object)
    names, counts = np.unique(label[label != ""].astype(str), return_counts=True)
    sizes = dict(zip(names.tolist(), counts.tolist(), strict=True))
    places = {name: place for place, name in enumerate(order)}
    parts = []
    for name in sorted(sizes, key=lambda name: (places.get(name, len(places)), -sizes[name], name)):
        chosen = np.flatnonzero(label == name)
        ids = [prompt_ids[i] for i in chosen.tolist()]
        found = accuracy(differences[chosen], outcomes[chosen], ids, confidence)
        parts.append(Part(name=name, accuracy=found.clustered, ties=found.ties))
    reason = None if parts else _NOTHING.get(by, "No judgment says.")
    return Division(by=by, parts=parts, reason=reason)


_NOTHING: dict[By, str] = {
    "group": "No rater belongs to a group.",
    "subset": "The judgments belong to no subset of a benchmark.",
    "source": "No judgment says where it was given.",
}


def quarters(values: Array, unit: str) -> tuple[list[str], list[str]]:
    """A label [N] for each value, by the quarter of all values in which it lies, and the labels in order.

    Equal values are never parted, so there may be fewer than four.
    """
    if not values.size:
        return [], []
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
    place = np.searchsorted(edges, values)  # a value at an edge goes below it
    names = {}
    for number in np.unique(place).tolist():
        inside = values[place == number]
        low, high = (f"{end:,.3g}" for end in (inside.min(), inside.max()))
        names[number] = f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
    if len(set(names.values())) < len(names):  # so close that three digits do not tell them apart
        names = {number: f"{name} ({number + 1})" for number, name in names.items()}
    return [names[number] for number in place.tolist()], list(names.values())


def concordance(
    scores: Sequence[float],
    values: Sequence[float],
    raters: Sequence[str],
    prompt_ids: Sequence[str],
    confidence: float,
) -> Interval:
    """How often, of two texts to which one rater gave different values, the one of the larger value scores higher.

    Of thumbs that is the area under the ROC curve (Hanley & McNeil 1982). Raters weigh as many judgments as they gave, for
    each has a scale of its own. The interval takes each judgment's share in the statistic (DeLong et al. 1988) and adds those
    of a prompt up (Obuchowski 1997); equal scores count as half.

    Args:
        scores: [N] by the reward model.
        values: [N] given.
        raters: [N].
        prompt_ids: [N].
        confidence: coverage of the interval.

    Raises:
        DataError: the lengths differ or a number is not finite.
    """
    method = "concordance within raters, clustered by prompt"
    s, v = finite_vector("scores", scores), finite_vector("values", values)
    clusters, owner = prompt_codes(prompt_ids, v.size), prompt_codes(raters, s.size)
    compared = []
    for rater in range(int(owner.max()) + 1 if owner.size else 0):
        mine = np.flatnonzero(owner == rater)
        mine = mine[np.linspace(0, mine.size - 1, min(mine.size, _MOST_OF_ONE)).astype(int)]
        right, pairs = _pairs(s[mine], v[mine])
        if pairs.sum():
            share = float(right.sum() / pairs.sum())
            compared.append((mine, share, 2 * (right - share * pairs) / pairs.sum()))
    if not compared:
        return undefined_interval("No rater has given two different values.", method, confidence, n=int(v.size))
    used = np.concatenate([mine for mine, _, _ in compared])
    estimate = sum(mine.size / used.size * share for mine, share, _ in compared)
    influence = np.concatenate([mine.size / used.size * shares for mine, _, shares in compared])
    cluster = np.unique(clusters[used], return_inverse=True)[1]
    prompts = int(cluster.max()) + 1
    if prompts < 2:
        reason = "One prompt alone gives no interval."
        return undefined_interval(reason, method, confidence, prompts, used.size, estimate)
    half = stats.t.ppf(0.5 + confidence / 2, prompts - 1) * cluster_variance(influence, cluster) ** 0.5
    return Interval(
        estimate=estimate,
        low=max(0.0, estimate - half),
        high=min(1.0, estimate + half),
        confidence=confidence,
        prompts=prompts,
        n=used.size,
        method=method,
    )


def _pairs(scores: Array, values: Array) -> tuple[Array, Array]:
    """For each judgment [n] with how many of different value it is ordered rightly, and with how many it is compared."""
    right, pairs = np.zeros(values.size), np.zeros(values.size)
    for start in range(0, values.size, _ROWS):
        rows = slice(start, start + _ROWS)
        higher = np.sign(values[rows, None] - values[None, :])
        agreed = 0.5 + 0.5 * higher * np.sign(scores[rows, None] - scores[None, :])
        pairs[rows] = (higher != 0).sum(1)
        right[rows] = (agreed * (higher != 0)).sum(1)
    return right, pairs
