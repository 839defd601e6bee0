"""Groups of raters: whether they part by opinion rather than by error, where, and how differently they use a scale.

Disagreement is opinion where raters of a group agree with each other more than with those of other groups, beyond what their
reliabilities and chance explain. That is tested by dealing the groups out to the raters anew: if groups meant nothing, the
difference between agreement inside and across would as often be as large. Such disagreement is kept, not corrected away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heed.lazily import np
from heed.raters.agreement import Measured, measured, undefined
from heed.raters.columns import Ints, Mask
from heed.raters.counting import summed
from heed.raters.fellows import Fellows
from heed.raters.judged import Judged, Pairs
from heed.raters.testing import benjamini_hochberg
from heed.statistics import Array, Interval, cluster_variance

PARTED = 0.01
"""Groups are said to part where chance alone would part them as far in at most this share of deals."""

FEWEST_MEMBERS = 2
"""Raters of a group (count): of fewer nobody can say whether they agree inside."""

_DEALS = 999
_FALSE_SHARE = 0.1
_QUANTILE = 1.96


@dataclass(frozen=True)
class Parting:
    """How far declared groups agree inside and across.

    Attributes:
        groups: names, with how many raters each has.
        inside, across: share of pairs of answers that are the same, of raters of one group, and of two.
        p: how often groups dealt by chance part as far; None where that cannot be told, and ``reason`` says why.
        parted: whether they do beyond chance.
    """

    groups: tuple[tuple[str, int], ...]
    inside: Measured
    across: Measured
    p: float | None
    parted: bool
    reason: str = ""


@dataclass(frozen=True)
class Parted:
    """A part of an item on which two groups differ.

    Attributes:
        item, question, field: ids and name. place: which completion or pair it is about.
        groups: for each, its name, answers (count), and mean value: from -1 (second) to 1 (first) of a comparison, in standard
            deviations of a rating, share (0 to 1) of its most common name of a label.
        difference: of the two that are farthest apart.
        q: share of false ones among those with so small a value or smaller (Benjamini-Hochberg).
        sure: whether q is at most a tenth.
    """

    item: str
    question: str
    field: str
    place: str
    groups: tuple[tuple[str, int, float], ...]
    difference: float
    q: float
    sure: bool


def group_codes(raters: tuple[str, ...], groups: Mapping[str, str]) -> tuple[Ints, tuple[str, ...]]:
    """[raters], the code of each rater's group, -1 for none, and the names of the groups."""
    names = tuple(sorted({groups[name] for name in raters if groups.get(name)}))
    number = {name: code for code, name in enumerate(names)}
    return np.array([number.get(groups.get(name, ""), -1) for name in raters], np.int64), names


def parting_of(
    judged: Judged, pairs: Pairs, fellows: Fellows, group: Ints, names: tuple[str, ...], seed: int = 0
) -> Parting:
    """Whether groups agree inside and part from each other.

    Args:
        group: [raters], codes of ``names``, -1 for none.
        seed: of the deals.
    """
    i, j = judged.rater[pairs.one], judged.rater[pairs.other]
    both = (group[i] >= 0) & (group[j] >= 0)
    own = both & (group[i] == group[j])
    seen = np.unique(np.concatenate([i[both], j[both]]))
    sizes = np.bincount(group[seen], minlength=len(names))
    told = tuple(zip(names, sizes.tolist(), strict=True))
    inside = _same(pairs, judged, own, "Nobody of one group has answered the same items.")
    across = _same(pairs, judged, both & ~own, "Nobody of two groups has answered the same items.")
    if (sizes >= FEWEST_MEMBERS).sum() < 2 or inside.estimate is None or across.estimate is None:
        reason = "Two groups are needed, of two raters each who answered the same items."
        return Parting(told, inside, across, None, False, reason)
    p = _dealt(judged, pairs, fellows, group, both, seed)
    return Parting(told, inside, across, p, p <= PARTED)


def _dealt(judged: Judged, pairs: Pairs, fellows: Fellows, group: Ints, both: Mask, seed: int) -> float:
    """How often groups that are dealt out anew part as far as these do."""
    i, j, raters = judged.rater[pairs.one][both], judged.rater[pairs.other][both], group.size
    # Beyond what two raters of the same opinion and of such reliabilities agree, whichever side they are on.
    sizes = np.abs(np.nan_to_num(fellows.reliability))
    rest = pairs.product[both] - fellows.clarity[judged.part[pairs.one][both]] * sizes[i] * sizes[j]
    code, cell = np.unique(i * raters + j, return_inverse=True)
    count, total = summed(cell.reshape(-1)), summed(cell.reshape(-1), rest)
    one, other = code // raters, code % raters

    def apart(dealt: Ints) -> float:
        own = dealt[one] == dealt[other]
        if own.all() or not own.any():
            return 0.0
        return float(total[own].sum() / count[own].sum() - total[~own].sum() / count[~own].sum())

    members, rng = np.flatnonzero(group >= 0), np.random.default_rng(seed)
    found, as_far = apart(group), 0
    for _ in range(_DEALS):
        dealt = group.copy()
        dealt[members] = rng.permutation(group[members])
        as_far += apart(dealt) >= found - 1e-12
    return (1 + as_far) / (_DEALS + 1)


def _same(pairs: Pairs, judged: Judged, chosen: Mask, reason: str) -> Measured:
    """Share of pairs that are the same, its interval clustered by item."""
    method = "share of equal pairs, clustered by item"
    equal = pairs.equal[chosen]
    if not equal.size:
        return undefined("no_overlap", reason, method)
    items = np.unique(judged.item[pairs.one[chosen]], return_inverse=True)[1].reshape(-1)
    return _mean(equal, items, method)


def _mean(values: Array, clusters: Ints, method: str, ends: tuple[float, float] = (0.0, 1.0)) -> Measured:
    mean, n, count = float(values.mean()), values.size, int(clusters.max()) + 1
    common = {"estimate": mean, "confidence": 0.95, "prompts": count, "n": n, "method": method}
    if count < 2:
        return undefined("few", "One item alone gives no interval.", method, 0.95, count, n, mean)
    half = _QUANTILE * cluster_variance((values - mean) / n, clusters) ** 0.5
    return measured(Interval(**common, low=max(ends[0], mean - half), high=min(ends[1], mean + half)))


# Where groups part


def parted_items(
    judged: Judged, items: list[str], places: list[str], group: Ints, names: tuple[str, ...], most: int = 50
) -> list[Parted]:
    """Parts of items on which groups differ, the most certain first.

    Args:
        items, places: words of the codes, as the answers have them.
        group: [raters], codes of ``names``, -1 for none.
        most: so many are told.
    """
    rows = np.flatnonzero(group[judged.rater] >= 0)
    if len(names) < 2 or not rows.size:
        return []
    value, unit = _values(judged)[rows], judged.unit[rows]
    cells, cell = np.unique(unit * len(names) + group[judged.rater[rows]], return_inverse=True)
    cell = cell.reshape(-1)
    count = summed(cell)
    mean = summed(cell, value) / count
    noise = float(np.sqrt(((value - mean[cell]) ** 2).sum() / max(value.size - cells.size, 1))) or 1.0
    lowest, highest, several = _ends(cells // len(names), mean)
    if not lowest.size:
        return []
    difference = mean[highest] - mean[lowest]
    p = _two_sided(difference / (noise * np.sqrt(1 / count[lowest] + 1 / count[highest])))
    # The two groups that are farthest apart were chosen among all pairs of groups.
    q = benjamini_hochberg(np.minimum(p * several * (several - 1) / 2, 1.0))
    row_of = dict(zip(unit.tolist(), rows.tolist(), strict=True))
    found = []
    for k in np.lexsort((-difference, q))[:most].tolist():
        code = int(cells[lowest[k]]) // len(names)
        row, own = row_of[code], np.arange(*np.searchsorted(cells, [code * len(names), (code + 1) * len(names)]))
        part = judged.parts[int(judged.part[row])]
        found.append(
            Parted(
                item=items[int(judged.item[row])],
                question=part.question,
                field=part.field,
                place=places[int(judged.place[row])].strip("@"),
                groups=tuple((names[int(cells[c]) % len(names)], int(count[c]), float(mean[c])) for c in own),
                difference=float(difference[k]),
                q=float(q[k]),
                sure=bool(q[k] <= _FALSE_SHARE),
            )
        )
    return found


def _ends(unit: Ints, mean: Array) -> tuple[Ints, Ints, Ints]:
    """Of each unit with two groups or more the cells of the lowest and of the highest mean, and how many groups it has."""
    order = np.lexsort((mean, unit))
    starts = np.flatnonzero(np.diff(unit[order], prepend=-1))
    ends = np.append(starts[1:], unit.size) - 1
    several = ends > starts
    return order[starts[several]], order[ends[several]], (ends - starts + 1)[several]


def _two_sided(z: Array) -> Array:
    from scipy.special import ndtr

    return np.asarray(2 * ndtr(-np.abs(z)))


def _values(judged: Judged) -> Array:
    """What rows say as numbers that have a mean: of a label, whether it is the most common one of its part."""
    value = judged.value.copy()
    for number, part in enumerate(judged.parts):
        if part.scale == "label":
            rows = judged.part == number
            value[rows] = judged.common[rows] >= judged.common[rows].max(initial=0.0) - 1e-12
    return value


# How groups use a scale


@dataclass(frozen=True)
class GroupScale:
    """How a group uses a scale beside the others, on what both rated.

    Attributes:
        field, question, group: what, and who.
        shift: how much higher it scores the same things (units of the scale).
        stretch: spread of its scores over that of the others on the same things; None where those do not vary.
    """

    question: str
    field: str
    group: str
    shift: Measured
    stretch: float | None


def group_scales(judged: Judged, group: Ints, names: tuple[str, ...]) -> list[GroupScale]:
    """How each group uses each scale of ratings, against all other groups on the same things."""
    found = []
    for number, part in enumerate(judged.parts):
        if part.scale != "score":
            continue
        rows = np.flatnonzero((judged.part == number) & (group[judged.rater] >= 0))
        for code, name in enumerate(names):
            own = group[judged.rater[rows]] == code
            if own.any() and not own.all():
                found.append(_scale_of(judged, rows, own, part.question, part.field, name))
    return found


def _scale_of(judged: Judged, rows: Ints, own: Mask, question: str, field: str, name: str) -> GroupScale:
    method = "mean difference on the same things, clustered by item"
    unit = np.unique(judged.unit[rows], return_inverse=True)[1].reshape(-1)
    size = int(unit.max()) + 1
    counts = [summed(unit[mask], size=size) for mask in (own, ~own)]
    shared = np.flatnonzero((counts[0] > 0) & (counts[1] > 0))
    if not shared.size:
        return GroupScale(
            question, field, name, undefined("no_overlap", "No other group rated the same.", method), None
        )
    means = [
        summed(unit[mask], judged.said[rows][mask], size)[shared] / count[shared]
        for mask, count in zip((own, ~own), counts, strict=True)
    ]
    first = np.zeros(size, np.int64)
    first[unit] = judged.item[rows]
    clusters = np.unique(first[shared], return_inverse=True)[1].reshape(-1)
    shift = _mean(means[0] - means[1], clusters, method, (-np.inf, np.inf))
    others = float(means[1].std())
    return GroupScale(question, field, name, shift, float(means[0].std()) / others if others > 1e-9 else None)


def on_one_scale(scores: Array, group: Ints, scales: Mapping[int, GroupScale]) -> Array:
    """``scores`` of one field as the other groups would have given them: less their group's shift, over its stretch.

    Args:
        scores: [N].
        group: [N], codes of groups.
        scales: by group; a group without one stays as it is, as does one whose shift or stretch is not known.
    """
    moved = scores.astype(np.float64, copy=True)
    for code, scale in scales.items():
        rows = group == code
        if scale.shift.estimate is None or not rows.any():
            continue
        middle = float(moved[rows].mean())
        stretch = scale.stretch or 1.0
        moved[rows] = middle - scale.shift.estimate + (moved[rows] - middle) / stretch
    return moved
