"""Kappas: agreement of two raters, or of many, beyond what chance gives; and agreement by parts of the votes.

Cohen's kappa compares two raters who keep each to their own habits (Cohen 1960, "A Coefficient of Agreement for Nominal
Scales"), with weights where some disagreements are worse than others (Cohen 1968). Fleiss' kappa takes raters for
interchangeable (Fleiss 1971, "Measuring Nominal Scale Agreement Among Many Raters"). Intervals draw items with
replacement. An item counts only by what kind it is, a cell of a table or a row of counts, so that all draws are made at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Literal

from pydantic import Field

from heed.errors import DataError
from heed.lazily import np
from heed.raters.agreement import (
    FEWEST_ITEMS,
    Codes,
    Column,
    Level,
    Measured,
    Why,
    krippendorff_alpha,
    percent_agreement,
    undefined,
)
from heed.statistics import Array, Record
from heed.texts import counted

Weights = Literal["equal", "linear", "quadratic"]
"""How bad it is to be some places apart in the order of the labels: always the same, or by the distance or its square."""

_CELLS_AT_ONCE = 2_000_000


class PairKappa(Record):
    """How two raters agree."""

    first: str
    second: str
    items: int = Field(ge=0, description="items that both judged (count)")
    same: float = Field(description="share of these on which they said the same")
    kappa: Measured


class PartAgreement(Record):
    """How raters agree in one part of the votes."""

    part: str
    votes: int = Field(ge=0, description="votes in this part (count)")
    alpha: Measured
    percent: Measured


def cohen_kappa(
    first: Column,
    second: Column,
    *,
    weights: Weights = "equal",
    order: Sequence[Hashable] | None = None,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Measured:
    """Cohen's kappa of two raters' labels of the same items, 1 for full agreement, 0 for what chance gives.

    Args:
        first: what one said of each item.
        second: what the other said, in the same order of the items.
        weights: how bad each disagreement is.
        order: of the labels, for weights that look at it; else numbers ascending.
        draws: draws of items for the interval; it is undefined with none.
        confidence: coverage that the interval aims at.
        seed: of the draws.

    Raises:
        DataError: columns of different length, unknown weights, weights without an order, or a label that it lacks.
    """
    if len(first) != len(second):
        raise DataError(
            f"{len(first)} and {len(second)} labels", "two raters of the same items are compared.", "Pair them by item."
        )
    _check_weights(weights)
    if not len(first):
        return undefined("no_overlap", "The two have judged no item in common.", _cohens(weights), confidence)
    codes, size = _ordered([*first, *second], weights, order)
    rng = np.random.default_rng(seed)
    return _cohen(codes[: len(first)], codes[len(first) :], size, weights, draws, confidence, rng)


def pairwise_kappas(
    items: Column,
    raters: Column,
    values: Column,
    *,
    weights: Weights = "equal",
    order: Sequence[Hashable] | None = None,
    fewest: int = FEWEST_ITEMS,
    most: int = 5_000,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[list[PairKappa], int]:
    """Cohen's kappa of every two raters who share at least ``fewest`` items, those with the most shared items first.

    Args:
        items: what each judgment is of.
        raters: who gave it; one rater judges an item at most once.
        values: the labels.
        weights, order, draws, confidence, seed: as for :func:`cohen_kappa`.
        fewest: items that two have to share (count).
        most: pairs to compare, the first so many: those of very many raters are very many.

    Returns:
        The pairs, and how many more there are.

    Raises:
        DataError: as for :func:`cohen_kappa`, or a rater judged one item twice.
    """
    _check_weights(weights)
    if not len(items):
        return [], 0
    codes, size = _ordered(values, weights, order)
    rater, names = _named(raters)
    pair, one, other = _pairs(_named(items)[0], rater)
    sorted_ = np.argsort(pair, kind="stable")
    every, starts, shared = np.unique(pair[sorted_], return_index=True, return_counts=True)
    kept = np.flatnonzero(shared >= fewest)
    rng, found = np.random.default_rng(seed), []
    for place in kept[np.argsort(-shared[kept], kind="stable")][:most].tolist():
        its = sorted_[starts[place] : starts[place] + shared[place]]
        left, right = codes[one[its]], codes[other[its]]
        kappa = _cohen(left, right, size, weights, draws, confidence, rng)
        low, high = divmod(int(every[place]), len(names))
        same = float((left == right).mean())
        found.append(PairKappa(first=names[low], second=names[high], items=its.size, same=same, kappa=kappa))
    return found, kept.size - len(found)


def fleiss_kappa(
    items: Column,
    values: Column,
    *,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Measured:
    """Fleiss' kappa of the labels of items that have two or more.

    Fleiss takes as many labels of each item. Where their numbers differ, each item still counts once, with the share of its
    pairs of labels that agree, and labels are as common as among all labels of these items.

    Args:
        items: what each judgment is of.
        values: the labels.
        draws: draws of items for the interval; it is undefined with none.
        confidence: coverage that the interval aims at.
        seed: of the draws.

    Raises:
        DataError: columns of different length.
    """
    if len(items) != len(values):
        raise DataError(f"{len(items)} items and {len(values)} labels", "each judgment needs both.", "Pair them.")
    method = "Fleiss' kappa; percentile bootstrap over items"
    if not len(items):
        return undefined("nothing", "There are no answers yet.", method, confidence)
    item, label = _named(items)[0], _named(values)[0]
    size = int(label.max()) + 1
    counts = np.bincount(item * size + label, minlength=(int(item.max()) + 1) * size).reshape(-1, size)
    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts):
        return undefined("no_overlap", "No item has two answers yet.", method, confidence, n=len(items))
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    totals = kinds.sum(axis=1)
    if np.ptp(totals):
        method = f"{method}; items have {totals.min()} to {totals.max()} answers and count once each"
    agree = (kinds * (kinds - 1)).sum(axis=1) / (totals * (totals - 1))
    sums = np.column_stack([kinds, agree]).astype(np.float64)

    def kappas(drawn: Array) -> Array:
        found = drawn @ sums
        shares = found[:, :-1] / found[:, :-1].sum(axis=1, keepdims=True)
        chance = (shares**2).sum(axis=1)
        return _beyond_chance(found[:, -1] / drawn.sum(axis=1), chance)

    return _with_draws(
        times.astype(np.float64), kappas, method, draws, confidence, np.random.default_rng(seed), int(counts.sum())
    )


def agreement_by(
    parts: Column,
    items: Column,
    raters: Column,
    values: Column,
    level: Level,
    *,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[PartAgreement]:
    """Agreement within each part of the votes: a question, a group of raters, a stretch of time.

    Args:
        parts: which part each judgment belongs to; parts come out in the order of their names, numbers ascending.
        items: what each judgment is of.
        raters: who gave it; in a part one rater judges an item at most once.
        values: what it says.
        level, draws, confidence, seed: as for :func:`heed.raters.agreement.krippendorff_alpha`.

    Raises:
        DataError: columns of different length, or as for :func:`heed.raters.agreement.krippendorff_alpha`.
    """
    if not len(parts) == len(items) == len(raters) == len(values):
        raise DataError(
            f"{len(parts)} parts of {len(items)} judgments",
            "each judgment is in one part.",
            "Pass columns of equal length.",
        )
    columns = [np.asarray(column) if level != "nominal" else _named(column)[0] for column in (values,)]
    item, rater, value = _named(items)[0], _named(raters)[0], columns[0]
    found = []
    part_of, names = _named(parts)
    for part in sorted(range(len(names)), key=lambda code: _sort_key(names[code])):
        chosen = part_of == part
        its = (item[chosen], rater[chosen], value[chosen])
        alpha = krippendorff_alpha(*its, level, draws=draws, confidence=confidence, seed=seed)
        percent = percent_agreement(*its, draws=draws, confidence=confidence, seed=seed)
        found.append(PartAgreement(part=names[part], votes=int(chosen.sum()), alpha=alpha, percent=percent))
    return found


def time_windows(created: Array, seconds: float) -> Array:
    """When the window begins that each moment of ``created`` [votes] lies in; windows of ``seconds`` from the first moment on.

    Raises:
        DataError: windows have no length, or a moment is no number.
    """
    moments = np.asarray(created, dtype=np.float64)
    if not seconds > 0 or not np.isfinite(moments).all():
        raise DataError(
            f"windows of {seconds:g} s", "windows need a length, and votes a time.", "Leave votes without a time out."
        )
    first = moments.min(initial=np.inf)
    return np.asarray(first + np.floor((moments - first) / seconds) * seconds)


# Columns


def _named(column: Column) -> tuple[Codes, list[str]]:
    """Numbers from 0 for what stands in a column, and its names."""
    if isinstance(column, np.ndarray):
        names, codes = np.unique(column, return_inverse=True)
        return codes, [str(name) for name in names.tolist()]
    known: dict[Hashable, int] = {}
    codes = np.fromiter((known.setdefault(value, len(known)) for value in column), np.intp, len(column))
    return codes, [str(name) for name in known]


def _sort_key(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), ""
    except ValueError:
        return 1, 0.0, name


def _check_weights(weights: str) -> None:
    if weights not in ("equal", "linear", "quadratic"):
        raise DataError(f"weights {weights!r}", "kappa has none such.", "Use equal, linear or quadratic.")


def _ordered(values: Column, weights: Weights, order: Sequence[Hashable] | None) -> tuple[Codes, int]:
    """Places of the values in the order of the labels, and how many labels there are.

    Raises:
        DataError: the order matters and is not known, or lacks a value.
    """
    if order is not None:
        places = {label: place for place, label in enumerate(order)}
        missing = next((value for value in values if value not in places), None)
        if missing is not None:
            raise DataError(f"label {missing!r}", "the order of labels does not have it.", "Name all labels in order.")
        return np.fromiter((places[value] for value in values), np.intp, len(values)), len(places)
    if weights == "equal":
        codes, names = _named(values)
        return codes, len(names)
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"{weights} weights", "a label is no number, and the order of the labels is not given.", "Give their order."
        ) from None
    distinct, codes = np.unique(numbers, return_inverse=True)
    return codes, distinct.size


def _pairs(item: Codes, rater: Codes) -> tuple[Codes, Codes, Codes]:
    """For every two judgments of one item: the pair of raters, lower code first, and the places of the judgments.

    Raises:
        DataError: a rater judged one item twice.
    """
    order = np.argsort(item, kind="stable")
    starts = np.flatnonzero(np.diff(item[order], prepend=-1))
    sizes = np.diff(starts, append=item.size)
    nothing = np.zeros(0, np.intp)
    found = [(nothing, nothing)]
    for count in np.unique(sizes[sizes > 1]).tolist():
        rows = order[starts[sizes == count][:, None] + np.arange(count)]
        left, right = np.triu_indices(count, 1)
        found.append((rows[:, left].ravel(), rows[:, right].ravel()))
    a, b = (np.concatenate(column) for column in zip(*found, strict=True))
    if (rater[a] == rater[b]).any():
        raise DataError("judgments", "a rater judged one item twice.", "Keep the answer that stands.")
    one, other = np.where(rater[a] < rater[b], a, b), np.where(rater[a] < rater[b], b, a)
    return rater[one] * (int(rater.max()) + 1) + rater[other], one, other


# Kappas and their draws


def _beyond_chance(seen: Array, chance: Array) -> Array:
    """(seen - chance) / (1 - chance), not a number where chance is certain."""
    room = 1 - chance
    return np.divide(seen - chance, room, out=np.full(room.shape, np.nan), where=room > 1e-12)


def _cohens(weights: Weights) -> str:
    return f"Cohen's kappa, {weights} weights; percentile bootstrap over items"


def _cohen(
    first: Codes, second: Codes, size: int, weights: Weights, draws: int, confidence: float, rng: np.random.Generator
) -> Measured:
    """Kappa of two raters' labels, as places among ``size`` labels in order."""
    kinds, times = np.unique(first * size + second, return_counts=True)
    left, right = kinds // size, kinds % size
    used, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    apart = np.abs(used[:, None] - used) / max(size - 1, 1)
    alike = 1 - {"equal": (apart > 0).astype(np.float64), "linear": apart, "quadratic": apart**2}[weights]
    here, there = np.eye(used.size)[places[: kinds.size]], np.eye(used.size)[places[kinds.size :]]
    same = alike[places[: kinds.size], places[kinds.size :]]

    def kappas(drawn: Array) -> Array:
        shares = drawn / drawn.sum(axis=1, keepdims=True)
        chance = ((shares @ here) @ alike * (shares @ there)).sum(axis=1)
        return _beyond_chance(shares @ same, chance)

    return _with_draws(times.astype(np.float64), kappas, _cohens(weights), draws, confidence, rng, 2 * first.size)


def _with_draws(
    times: Array,
    statistic: Callable[[Array], Array],
    method: str,
    draws: int,
    confidence: float,
    rng: np.random.Generator,
    n: int,
) -> Measured:
    """A statistic of how often each kind of item came [kinds], with the interval of ``draws`` draws of the items."""
    items = int(times.sum())

    def missing(why: Why, reason: str, estimate: float | None = None) -> Measured:
        return undefined(why, reason, method, confidence, items, n, estimate)

    estimate = float(statistic(times[None])[0])
    if not np.isfinite(estimate):
        return missing(
            "no_variety", "All labels are the same: where nothing varies, agreement cannot be told from chance."
        )
    if draws < 1:
        return missing("not_asked", "No draws were asked for.", estimate)
    if items < FEWEST_ITEMS:
        reason = f"{counted(items, 'item')} with two answers {'is' if items == 1 else 'are'} too few for an interval; {FEWEST_ITEMS} are needed."
        return missing("few", reason, estimate)
    at_once = max(1, _CELLS_AT_ONCE // times.size)
    sizes = [min(at_once, draws - begun) for begun in range(0, draws, at_once)]
    found = np.concatenate(
        [statistic(rng.multinomial(items, times / items, size).astype(np.float64)) for size in sizes]
    )
    found = found[np.isfinite(found)]
    if found.size < 0.9 * draws:
        reason = "In many draws of the items all labels are the same: there is too little variety for an interval."
        return missing("no_variety", reason, estimate)
    if np.ptp(found) < 1e-12:
        return missing(
            "alike", "All items agree alike, so drawing them again says nothing of how sure this is.", estimate
        )
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Measured(
        estimate=estimate,
        low=min(float(low), estimate),
        high=max(float(high), estimate),
        confidence=confidence,
        prompts=items,
        n=n,
        method=method,
    )
