"""How far raters agree beyond chance: Krippendorff's alpha and percent agreement, each with an interval.

A judgment stands in three columns of equal length: the item it is of, who gave it, and its value. Answers that are missing
are simply not there. Whatever does not exist says why: agreement of one rater, of values that never differ, of items that
nobody shares.

Alpha is 1 - D_o / D_e, the disagreement seen within items over the disagreement between any two values (Krippendorff 2011,
"Computing Krippendorff's Alpha-Reliability"). Intervals come from drawing whole items with replacement, since the answers to
one item belong together. Both disagreements are sums over items, so a draw is a weighted sum and never builds its data anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field

from heed.errors import DataError
from heed.lazily import np
from heed.statistics import Array, Interval, undefined_interval, wilson_interval
from heed.texts import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

Level = Literal["nominal", "ordinal", "interval", "ratio"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval", "ratio")
"""Of measurement: names; an order; differences that mean something; a zero that means nothing is there."""

Why = Literal[
    "nothing",
    "one_rater",
    "no_overlap",
    "no_variety",
    "few",
    "alike",
    "not_asked",
    "no_direction",
    "two_raters",
    "no_comparisons",
    "no_shared",
    "set_aside",
]

Codes: TypeAlias = "NDArray[np.intp]"
Column: TypeAlias = "Sequence[Hashable] | NDArray[Any]"
"""One thing for each judgment; columns of numpy are read much quicker than lists."""


class Measured(Interval):
    """An interval whose reason for what is missing also has a word, for whoever says it in another language."""

    why: Why | None = Field(None, description="the reason in a word; null where nothing is missing")


FEWEST_ITEMS = 5
"""Fewer items than this are too few to draw from: their interval would look surer than anybody can be."""

_ROWS_AT_ONCE = 512


def measured(interval: Interval, why: Why | None = None) -> Measured:
    """``interval`` with a word for the reason of what it lacks."""
    return Measured(**interval.model_dump(exclude={"why"}), why=why)


def undefined(
    why: Why,
    reason: str,
    method: str,
    confidence: float = 0.95,
    items: int = 0,
    n: int = 0,
    estimate: float | None = None,
) -> Measured:
    """No interval, and no estimate unless one is given, with the reason."""
    return measured(undefined_interval(reason, method, confidence, items, n, estimate), why)


@dataclass(frozen=True)
class _Missing:
    """Why something does not exist: in a word, and as a sentence."""

    why: Why
    reason: str


@dataclass(frozen=True)
class _Shared:
    """The judgments of units that have at least two of them, sorted by unit.

    ``numbers`` holds the values that occur, ascending; for names merely their codes.
    """

    unit: Codes
    value: Codes
    starts: Codes
    sizes: Array
    cluster_of_unit: Codes
    clusters: int
    numbers: Array

    @property
    def n(self) -> int:
        return self.value.size

    def totals(self, unit_weights: Array) -> Array:
        """How often each value occurs [values], each unit counted ``unit_weights`` [units] times."""
        counted = np.bincount(self.value, weights=unit_weights[self.unit], minlength=self.numbers.size)
        return counted.astype(np.float64, copy=False)

    def within(self, per_judgment: Array) -> Array:
        """Sums [units] of ``per_judgment`` [judgments] over the judgments of each unit."""
        return np.add.reduceat(per_judgment, self.starts)


def krippendorff_alpha(
    items: Column,
    raters: Column,
    values: Column,
    level: Level,
    *,
    clusters: Column | None = None,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> Measured:
    """Krippendorff's alpha of judgments, 1 for full agreement, 0 for no more than chance gives.

    Args:
        items: what each judgment is of.
        raters: who gave it; one rater judges an item at most once.
        values: names for the level "nominal", else finite numbers; not below zero for "ratio".
        level: how far apart two values are.
        clusters: what is drawn for the interval, where several ``items`` belong to one thing; else the items.
        draws: draws for the interval; it is undefined with none.
        confidence: coverage that the interval aims at.
        seed: of the draws.

    Raises:
        DataError: columns of different length, an unknown level, a value that does not fit it, or a rater who judged one
            item twice.
    """
    method = f"Krippendorff's alpha, {level}; percentile bootstrap over items"
    if level not in LEVELS:
        raise DataError(
            f"level {level!r}", "there is no such level of measurement.", f"Use one of {', '.join(LEVELS)}."
        )
    data = _shared(items, raters, values, level, clusters)
    if isinstance(data, _Missing):
        return undefined(data.why, data.reason, method, confidence, n=len(items))
    once = np.ones(data.starts.size)
    statistic = _alpha_of(data, level)
    estimate = statistic(once)
    if estimate is None:
        same = "the same" if level == "nominal" else f"{data.numbers[0]:g}"
        reason = f"All {data.n} values are {same}: where nothing varies, agreement cannot be told from chance."
        return undefined("no_variety", reason, method, confidence, data.clusters, data.n)
    return _with_bootstrap(data, statistic, estimate, method, draws, confidence, seed)


def percent_agreement(
    items: Column,
    raters: Column,
    values: Column,
    *,
    clusters: Column | None = None,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> Measured:
    """Share, 0 to 1, of pairs of judgments of one item that are equal; items weigh as in :func:`krippendorff_alpha`.

    Where all agree, drawing items again says nothing: the interval is then Wilson's with one trial an item.

    Raises:
        DataError: as for :func:`krippendorff_alpha`.
    """
    method = "share of equal pairs; percentile bootstrap over items"
    data = _shared(items, raters, values, "nominal", clusters)
    if isinstance(data, _Missing):
        return undefined(data.why, data.reason, method, confidence, n=len(items))
    apart = _nominal_disagreement(data)

    def share(unit_weights: Array) -> float:
        return 1.0 - float(unit_weights @ apart) / float(unit_weights @ data.sizes)

    if not apart.any():
        sure = wilson_interval(data.clusters, data.clusters, confidence)
        return measured(sure).model_copy(
            update={"n": data.n, "method": "share of equal pairs; Wilson score over items"}
        )
    return _with_bootstrap(data, share, share(np.ones(data.starts.size)), method, draws, confidence, seed)


# Reading the columns


def _codes(values: Column) -> Codes:
    """Numbers from 0 for distinct values."""
    if isinstance(values, np.ndarray):
        return np.unique(values, return_inverse=True)[1]
    known: dict[Hashable, int] = {}
    return np.fromiter((known.setdefault(value, len(known)) for value in values), np.intp, len(values))


def _numbers(values: Column, level: Level) -> tuple[Codes, Array]:
    """Codes of the values and what stands behind each, ascending.

    Raises:
        DataError: something is no finite number, or below zero at the level "ratio".
    """
    if level == "nominal":
        codes = _codes(values)
        return codes, np.arange(codes.max() + 1, dtype=np.float64)
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"values at the level {level}", "one is not a number.", "Use the level nominal.") from None
    broken = ~np.isfinite(numbers) | ((numbers < 0) if level == "ratio" else False)
    if broken.any():
        fault = f"{numbers[np.flatnonzero(broken)[0]]:g} does not fit."
        raise DataError(f"values at the level {level}", fault, "Leave such judgments out.")
    distinct, codes = np.unique(numbers, return_inverse=True)
    return codes, distinct


def _shared(
    items: Column,
    raters: Column,
    values: Column,
    level: Level,
    clusters: Column | None,
) -> _Shared | _Missing:
    """What can be compared, or the reason why nothing can."""
    if not len(items) == len(raters) == len(values) == len(items if clusters is None else clusters):
        raise DataError(
            f"{len(items)} items, {len(raters)} raters and {len(values)} values",
            "each judgment needs one of each.",
            "Pass columns of equal length.",
        )
    if not len(items):
        return _Missing("nothing", "There are no answers yet.")
    unit, rater = _codes(items), _codes(raters)
    pairs = unit * (int(rater.max()) + 1) + rater
    if np.unique(pairs).size != pairs.size:
        raise DataError("judgments", "a rater judged one item twice.", "Keep the answer that stands.")
    if rater.max() == 0:
        return _Missing("one_rater", "Only one rater has answered: agreement needs at least two.")
    kept = np.bincount(unit)[unit] >= 2
    if not kept.any():
        return _Missing("no_overlap", "No item has answers of two raters yet.")
    cluster = unit if clusters is None else _codes(clusters)
    order = np.flatnonzero(kept)[np.argsort(unit[kept], kind="stable")]
    _, starts, unit_codes, sizes = np.unique(unit[order], return_index=True, return_inverse=True, return_counts=True)
    value, numbers = _numbers(
        values[order] if isinstance(values, np.ndarray) else [values[place] for place in order], level
    )
    cluster_codes = np.unique(cluster[order][starts], return_inverse=True)[1]
    return _Shared(
        unit_codes, value, starts, sizes.astype(np.float64), cluster_codes, int(cluster_codes.max()) + 1, numbers
    )


# Disagreement within units and between all values


def _nominal_disagreement(data: _Shared) -> Array:
    """For each unit [units] the pairs of different values, over its judgments but one."""
    width = data.numbers.size
    cells, counts = np.unique(data.unit * width + data.value, return_counts=True)
    equal = np.bincount(cells // width, weights=counts.astype(np.float64) ** 2, minlength=data.starts.size)
    return (data.sizes**2 - equal) / (data.sizes - 1)


def _square_disagreement(data: _Shared, places: Array) -> Array:
    """For each unit [units] the squared distances of all its pairs, over its judgments but one; values at ``places``."""
    x = places[data.value]
    squares = data.sizes * data.within(x**2) - data.within(x) ** 2
    return 2 * np.maximum(squares, 0.0) / (data.sizes - 1)


def _ratio_distance(left: Array, right: Array) -> Array:
    """((c - k) / (c + k)) squared, 0 where both are 0."""
    total = left + right
    apart = np.divide(left - right, total, out=np.zeros_like(total), where=total > 0)
    return np.square(apart, out=apart)


def _ratio_disagreement(data: _Shared) -> Array:
    x, found = data.numbers[data.value], np.empty(data.starts.size)
    for size in np.unique(data.sizes).astype(int):
        chosen = np.flatnonzero(data.sizes == size)
        rows = x[data.starts[chosen][:, None] + np.arange(size)]
        apart = sum(_ratio_distance(rows, np.roll(rows, shift, axis=1)).sum(axis=1) for shift in range(1, size))
        found[chosen] = apart / (size - 1)
    return found


def _expected_names(totals: Array) -> float:
    """How many pairs of values that occur ``totals`` times are of different names."""
    return float(totals.sum() ** 2 - totals @ totals)


def _expected_squares(totals: Array, places: Array) -> float:
    """Squared distances of all pairs of values at ``places`` that occur ``totals`` times."""
    centred = places - (totals @ places) / totals.sum()
    return 2 * float(totals.sum() * (totals @ centred**2))


def _expected_ratio(numbers: Array, totals: Array) -> float:
    parts = range(0, numbers.size, _ROWS_AT_ONCE)
    rows = (slice(start, start + _ROWS_AT_ONCE) for start in parts)
    return float(sum(totals[part] @ (_ratio_distance(numbers[part, None], numbers[None, :]) @ totals) for part in rows))


def _alpha_of(data: _Shared, level: Level) -> Callable[[Array], float | None]:
    """Alpha as a function of how often each unit counts; None where all values that count are the same."""
    if level == "ordinal":

        def by_rank(unit_weights: Array) -> float | None:
            totals = data.totals(unit_weights)
            # The distance of two ordinal values is the distance of their mid-ranks among all values.
            ranks = np.cumsum(totals) - totals / 2
            ranks -= totals.sum() / 2
            return _alpha(
                totals, float(unit_weights @ _square_disagreement(data, ranks)), _expected_squares(totals, ranks)
            )

        return by_rank
    if level == "nominal":
        apart = _nominal_disagreement(data)
        expected: Callable[[Array], float] = _expected_names
    elif level == "interval":
        places = data.numbers - data.numbers.mean()
        apart = _square_disagreement(data, places)
        expected = partial(_expected_squares, places=places)
    else:
        apart = _ratio_disagreement(data)
        expected = partial(_expected_ratio, data.numbers)

    def by_distance(unit_weights: Array) -> float | None:
        totals = data.totals(unit_weights)
        return _alpha(totals, float(unit_weights @ apart), expected(totals))

    return by_distance


def _alpha(totals: Array, observed: float, expected: float) -> float | None:
    if np.count_nonzero(totals) < 2:
        return None
    return 1.0 - (float(totals.sum()) - 1.0) * observed / expected


# Intervals


def _with_bootstrap(
    data: _Shared,
    statistic: Callable[[Array], float | None],
    estimate: float,
    method: str,
    draws: int,
    confidence: float,
    seed: int,
) -> Measured:
    """``estimate`` with the interval of ``draws`` draws of whole clusters."""
    found, missing = _drawn(data, statistic, draws, seed)
    if missing is not None:
        return undefined(missing.why, missing.reason, method, confidence, data.clusters, data.n, estimate)
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Measured(
        estimate=estimate,
        low=min(float(low), estimate),
        high=max(float(high), estimate),
        confidence=confidence,
        prompts=data.clusters,
        n=data.n,
        method=method,
    )


def _drawn(
    data: _Shared, statistic: Callable[[Array], float | None], draws: int, seed: int
) -> tuple[list[float], _Missing | None]:
    """The statistic of each draw in which it exists, or why they make no interval."""
    if draws < 1:
        return [], _Missing("not_asked", "No draws were asked for.")
    if data.clusters < FEWEST_ITEMS:
        reason = f"{counted(data.clusters, 'item')} with two answers {'is' if data.clusters == 1 else 'are'} too few for an interval; {FEWEST_ITEMS} are needed."
        return [], _Missing("few", reason)
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        times = np.bincount(rng.integers(0, data.clusters, data.clusters), minlength=data.clusters)
        value = statistic(times.astype(np.float64)[data.cluster_of_unit])
        if value is not None:
            found.append(value)
    if len(found) < 0.9 * draws:
        reason = "In many draws of the items all values are the same: there is too little variety for an interval."
        return found, _Missing("no_variety", reason)
    if max(found) - min(found) < 1e-12:
        reason = "All items agree alike, so drawing them again says nothing of how sure this is."
        return found, _Missing("alike", reason)
    return found, None
