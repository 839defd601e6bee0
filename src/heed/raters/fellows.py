"""How reliable raters are by their agreement with each other, corrected for how reliable those others are.

Two raters who each heed the truth in part agree as often as both do so: the product of their numbers (see ``judged``) has mean

    E[y_ij] = a_part r_i r_j

r the raters' reliabilities, -1 to 1, and a how clear a part of a question is beside the others. So a rater is not blamed for
the company they are in, as by plain agreement. This is the one-coin model of Dawid and Skene (1979) by moments (Ghosh, Kale
and McAfee 2011; Bonald and Combes 2017), fitted to all pairs at once by least squares. Standard errors are those of the
sandwich, items as clusters. The model fits as well with all signs turned around: which way is up is decided apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from heed.lazily import np
from heed.raters.columns import Ints, Mask
from heed.raters.counting import summed
from heed.raters.judged import Judged, Pairs
from heed.statistics import Array

CLEAR_MAJORITY = 2 / 3
"""Least share of what reliable answers there are that must point one way for it to be taken as up, where there is no gold."""

MOST_DENSE = 1000
"""Raters (count) up to whom errors come from the whole inverse; beyond, from each rater alone, others held fixed."""

_STEPS, _CLOSE, _DAMPING = 500, 1e-7, 0.5
_FIRST = 0.7
_SMALL = 1e-9
_ROUNDS, _FAR = 8, 2.0

Direction = Literal["gold", "majority", "unidentifiable"]


@dataclass(frozen=True)
class Fellows:
    """The fitted model.

    Attributes:
        reliability, error: [raters], and its standard error; nan for who cannot be told.
        clarity: [parts], a.
        items: [raters], items on which each was compared with others (count).
        others: [raters], with how many raters each was compared (count).
        camp: [raters], code of those that are connected by shared items; only within one are signs comparable.
        expected: [pairs], a r_i r_j.
        pull: [pairs, 2], what a pair adds to the estimating equations of its two raters; 0 where it is not known.
        weight: [pairs, 2], what it counts in them.
        known: [raters], whether the reliability could be told.
    """

    reliability: Array
    error: Array
    clarity: Array
    items: Ints
    others: Ints
    camp: Ints
    expected: Array
    pull: Array
    weight: Array
    known: Mask


def fit_fellows(judged: Judged, pairs: Pairs, aside: Mask | None = None) -> Fellows:
    """The reliability of each rater by all ``pairs`` of answers but those ``aside``, of which only what is expected is told."""
    raters, i, j = len(judged.raters), judged.rater[pairs.one], judged.rater[pairs.other]
    part, item = judged.part[pairs.one], judged.item[pairs.one]
    used = np.ones(i.size, bool) if aside is None else ~aside
    camp, told = _camps(raters, i[used], j[used])
    kept = used & told[i]
    cells = _Cells.of(i[kept], j[kept], part[kept], pairs.product[kept], raters, len(judged.parts))
    reliability, clarity = cells.solve()
    reliability = np.where(told, reliability, np.nan)
    r_i, r_j, a = reliability[i], reliability[j], clarity[part]
    expected = a * r_i * r_j
    rest = pairs.product - expected
    pull = np.nan_to_num(np.stack([rest * a * r_j, rest * a * r_i], axis=1)) * used[:, None]
    weight = np.nan_to_num(np.stack([(a * r_j) ** 2, (a * r_i) ** 2], axis=1)) * used[:, None]
    ends = np.stack([i, j], axis=1)
    error = _errors(cells, reliability, clarity, ends, pull, item, told)
    return Fellows(
        reliability=reliability,
        error=error,
        clarity=clarity,
        items=_distinct(np.tile(item[used], 2), np.concatenate([i[used], j[used]]), raters),
        others=_distinct(np.concatenate([j[used], i[used]]), np.concatenate([i[used], j[used]]), raters),
        camp=camp,
        expected=np.nan_to_num(expected),
        pull=pull,
        weight=weight,
        known=told & np.isfinite(error),
    )


def _distinct(what: Ints, of: Ints, size: int) -> Ints:
    """For each code ``of`` below ``size``, how many different values of ``what`` go with it."""
    if not what.size:
        return np.zeros(size, np.int64)
    both = np.unique(of * (int(what.max()) + 1) + what)
    return np.bincount(both // (int(what.max()) + 1), minlength=size)


def _camps(raters: int, i: Ints, j: Ints) -> tuple[Ints, Mask]:
    """Who is connected by shared items [raters], and whose reliability that tells [raters].

    Of two, or of raters who all were only compared across two sides, nobody can say who is the reliable one: there must be
    three who were each compared with the other two, or a longer such ring of an odd number.
    """
    from scipy.sparse import bmat, coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(i.size), (i, j)), shape=(raters, raters))
    _, camp = connected_components(links, directed=False)
    # In the graph with each rater twice, a step leads to the other copy: both copies meet where there is an odd ring.
    doubled = bmat([[None, links + links.T], [links + links.T, None]])
    _, copies = connected_components(doubled, directed=False)
    linked = summed(np.concatenate([i, j]), size=raters) > 0
    return camp, linked & (copies[:raters] == copies[raters:])


def standing_out(judged: Judged, pairs: Pairs) -> Mask:
    """Which ``pairs`` are of two raters who agree far more than all the others make expect, two standard errors and beyond.

    Raters who copy from one another would otherwise lend each other the reliability by which they are to be judged.
    """
    raters, i, j = len(judged.raters), judged.rater[pairs.one], judged.rater[pairs.other]
    part = judged.part[pairs.one]
    both, cell = np.unique(i * raters + j, return_inverse=True)
    cell, count = cell.reshape(-1), summed(cell.reshape(-1), size=both.size)
    out = np.zeros(both.size, bool)
    for _ in range(_ROUNDS):
        used = ~out[cell]
        cells = _Cells.of(i[used], j[used], part[used], pairs.product[used], raters, len(judged.parts))
        r, a = cells.solve()
        rest = pairs.product - a[part] * r[i] * r[j]
        noise = float(rest[used].std()) or 1.0
        now = summed(cell, rest, both.size) > _FAR * noise * np.sqrt(count)
        if (now == out).all():
            break
        out = now
    return out[cell]


@dataclass(frozen=True)
class _Cells:
    """Pairs summed over all items: for each two raters and each part, how many, and the sum of their products."""

    i: Ints
    j: Ints
    part: Ints
    count: Array
    total: Array
    raters: int
    parts: int

    @classmethod
    def of(cls, i: Ints, j: Ints, part: Ints, product: Array, raters: int, parts: int) -> _Cells:
        codes, cell = np.unique((i * raters + j) * max(parts, 1) + part, return_inverse=True)
        cell = cell.reshape(-1)
        count, total = summed(cell), summed(cell, product)
        both, of_part = np.divmod(codes, max(parts, 1))
        return cls(both // raters, both % raters, of_part, count, total, raters, parts)

    def solve(self) -> tuple[Array, Array]:
        """Reliabilities [raters] and clarities [parts] of least squares; most raters are taken to be on the right side."""
        r, a = np.full(self.raters, _FIRST), np.ones(max(self.parts, 1))
        if not self.i.size:
            return r, a
        for _ in range(_STEPS):
            above, below = self._sums(r, a)
            wanted = np.clip(above / np.maximum(below, _SMALL), -1.0, 1.0)
            step = np.where(below > _SMALL, wanted - r, 0.0)
            r = r + _DAMPING * step
            a = self._clarities(r)
            if np.abs(step).max() < _CLOSE:
                break
        return r, a

    def _sums(self, r: Array, a: Array) -> tuple[Array, Array]:
        """For each rater the sums of a r_j y and of (a r_j) squared over their pairs."""
        by, over = a[self.part] * self.total, a[self.part] ** 2 * self.count
        above = summed(self.i, by * r[self.j], self.raters) + summed(self.j, by * r[self.i], self.raters)
        below = summed(self.i, over * r[self.j] ** 2, self.raters)
        below += summed(self.j, over * r[self.i] ** 2, self.raters)
        return above, below

    def _clarities(self, r: Array) -> Array:
        if self.parts < 2:
            return np.ones(max(self.parts, 1))
        both = r[self.i] * r[self.j]
        above = summed(self.part, self.total * both, self.parts)
        below = summed(self.part, self.count * both**2, self.parts)
        found = np.where(below > _SMALL, np.maximum(above, 0.0) / np.maximum(below, _SMALL), 1.0)
        # Clarity and reliability share one scale: the clarity is 1 on average over the pairs.
        mean = np.average(found, weights=summed(self.part, self.count, self.parts))
        return np.clip(found / max(mean, _SMALL), 0.05, 4.0)


def _errors(
    cells: _Cells, reliability: Array, clarity: Array, ends: Ints, pull: Array, item: Ints, told: Mask
) -> Array:
    """Standard errors [raters] by the sandwich, with items as clusters and the clarities held fixed."""
    from scipy.sparse import coo_array

    raters, r = reliability.size, np.nan_to_num(reliability)
    n_items = int(item.max()) + 1 if item.size else 0
    where = (np.tile(item, 2), ends.T.ravel())
    scores = coo_array((pull.T.ravel(), where), shape=(n_items, raters)).tocsr()
    items = np.maximum(np.diff(scores.tocsc().indptr), 1)
    _, below = cells._sums(r, clarity)
    slope = np.maximum(below, _SMALL)
    few = items / np.maximum(items - 1, 1)
    if raters > MOST_DENSE:
        variance = np.asarray(scores.multiply(scores).sum(axis=0)).ravel() / slope**2
    else:
        inverse = _inverse(cells, r, clarity, slope)
        meat = np.asarray((scores.T @ scores).todense())
        variance = ((inverse @ meat) * inverse).sum(axis=1)
    return np.where(told & (below > 1.0), np.sqrt(np.maximum(variance * few, 0.0)), np.nan)


def _inverse(cells: _Cells, r: Array, clarity: Array, slope: Array) -> Array:
    """Inverse of the matrix of the least squares [raters, raters], at its expected value."""
    bread = np.diag(slope)
    np.add.at(bread, (cells.i, cells.j), clarity[cells.part] ** 2 * cells.count * r[cells.i] * r[cells.j])
    np.add.at(bread, (cells.j, cells.i), clarity[cells.part] ** 2 * cells.count * r[cells.i] * r[cells.j])
    # What nothing pins down at all, such as a rater whom nobody was compared with, is held by a weak spring.
    inverse: Array = np.linalg.inv(bread + 1e-6 * np.diag(slope)).astype(np.float64, copy=False)
    return inverse


# Which way is up


def camps_of(fellows: Fellows) -> Iterator[Ints]:
    """The raters of each camp that can be told, as codes."""
    for camp in np.unique(fellows.camp[fellows.known]):
        yield np.flatnonzero(fellows.known & (fellows.camp == camp))


def direction_of(fellows: Fellows, members: Ints, gold: Array) -> tuple[Direction, int]:
    """What decides which way is up among the members of a camp, and the sign, 1 or -1, that their reliabilities are to get.

    Args:
        members: their codes.
        gold: [raters], the reliability by known answers over its standard error; nan where nothing is known.
    """
    r, error = fellows.reliability[members], fellows.error[members]
    known = np.isfinite(gold[members])
    # Only who surely reads counts: a reliability that could as well be nothing points nowhere.
    sure = np.where(np.abs(r) > 2 * error, r, 0.0)
    if known.any():
        pointing = float((sure[known] * gold[members][known]).sum())
        if abs(pointing) > 2 * float(np.sqrt((sure[known] ** 2).sum())):
            return "gold", 1 if pointing > 0 else -1
    tells = fellows.items[members] * sure
    up, down = float(tells[tells > 0].sum()), float(-tells[tells < 0].sum())
    if up + down == 0 or max(up, down) < CLEAR_MAJORITY * (up + down):
        return "unidentifiable", 1
    return "majority", 1 if up >= down else -1
