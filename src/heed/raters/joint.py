"""Reliability of raters learned together with what they compared, where each pair was compared by a few only.

Each rater answers in one of four ways, in shares of their own, as in ``crowd_bt``: heeds the order, inverts it, says left, says
right. There the scores are fitted too, which needs many comparisons of each thing: fitted to three answers a pair, each pair
seems to have been as its raters said, and they seem too reliable. Here the difference d of each pair is summed out, normal with
mean 0 and a spread that is learned, so that the reliabilities are right however few answers a pair has (marginal maximum
likelihood, Bock and Aitkin 1981). EM over the
differences and the ways.

Three answers a pair cannot tell whether raters err or pairs are hard to tell apart: the spread then comes from its prior, and
how little is known of it widens the intervals of all reliabilities together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heed.lazily import np
from heed.raters.columns import Ints
from heed.raters.counting import summed
from heed.raters.crowd_answers import HEEDS, INVERTS, LEFT, OF_GOLD, RIGHT, WAYS_PRIOR
from heed.statistics import Array

_RELIABILITY = (1.0, -1.0, 0.0, 0.0)
_NODES, _WIDEST = 24, 3.5
"""Nodes, evenly spaced, none at 0: it would stand for two things that are exactly equal. The outermost, in spreads."""

_CYCLES, _CLOSE, _FARTHEST = 100, 1e-3, 20.0
_USUAL_SPREAD, _SPREAD_PRIOR, _LEAST_SPREAD, _MOST_SPREAD = 2.0, 0.5, 0.2, 12.0
"""Middle of the log-normal prior of the spread, its standard deviation in logarithms, and the ends of what is looked at."""

_RIGHT_SAID, _LEFT_SAID, _TIE_SAID = range(3)


@dataclass(frozen=True)
class Joint:
    """What was learned.

    Attributes:
        ways: [raters, 4], shares that heed, invert, say left and say right.
        reliability, error: [raters], heeds - inverts, and its standard error.
        spread: standard deviation of the differences (log-odds).
        better: [pairs], how likely the first of each pair is the better one (0 to 1).
    """

    ways: Array
    reliability: Array
    error: Array
    spread: float
    better: Array


@dataclass(frozen=True)
class _Rows:
    """Answers by pair and by kind: a kind is who said what of which order, a cell of tables [raters, 2, 3].

    Attributes:
        pair, kind: [N]. counts: [pairs, kinds] sparse, how many of each; by_kind: the same the other way around.
        pairs, raters: how many there are.
        gold: [raters, 2, 2], answers to gold: where right or left is better, right or left said.
    """

    pair: Ints
    kind: Ints
    counts: Any
    by_kind: Any
    pairs: int
    raters: int
    gold: Array

    def weights(self, logs: Array, base: Array) -> Array:
        """[pairs, nodes]: how likely each difference is, given what was said (``logs`` [kinds, nodes])."""
        total = base + self.counts @ logs
        total -= total.max(axis=1, keepdims=True)
        found = np.exp(total)
        return np.asarray(found / found.sum(axis=1, keepdims=True))


def joint_model(
    pair: Ints, first_left: Ints, outcome: Array, rater: Ints, gold: Array, start: Array, raters: int
) -> Joint:
    """Shares of the ways of each rater.

    Args:
        pair: [N], what was compared, codes from 0 without gaps; where ``gold`` is known the code does not matter.
        first_left: [N], 1 where the first of the pair stood left, 0 where it stood right.
        outcome: [N], 1 left is better, 0 right is, 0.5 neither: half an answer each way.
        rater: [N], code of who answered.
        gold: [N], 1 where left is known to be better, 0 where right is, else nan; such answers tell of the rater alone.
        start: [raters], reliabilities to begin with; their signs decide which way is up.
        raters: there are (count).
    """
    rows = _sorted(pair, first_left, outcome, rater, gold, raters)
    point = np.append(np.log(_first_ways(start)).ravel(), np.log(_USUAL_SPREAD))
    for _ in range(_CYCLES):
        first = _stepped(rows, point)
        second = _stepped(rows, first)
        step, bend = first - point, second - 2 * first + point
        # As far ahead as the two steps show where they are heading (SQUAREM, Varadhan and Roland 2008, scheme S3).
        far = max(float(np.linalg.norm(step)) / max(float(np.linalg.norm(bend)), 1e-12), 1.0)
        ahead = point + 2 * min(far, _FARTHEST) * step + min(far, _FARTHEST) ** 2 * bend
        before, point = point, _stepped(rows, _bounded(ahead, raters))
        if np.abs(_told(point, raters) - _told(before, raters)).max() < _CLOSE:
            break
    ways, spread = _ways(point, raters), float(np.exp(point[-1]))
    nodes, base = _nodes()
    tables = _tables(ways, spread * nodes)
    weights = rows.weights(_logs(tables), base) if rows.pairs else np.zeros((0, _NODES))
    return Joint(
        ways=ways,
        reliability=ways[:, HEEDS] - ways[:, INVERTS],
        error=_errors(rows, tables, ways, weights, spread * nodes),
        spread=spread,
        better=weights @ _sigmoid(spread * nodes),
    )


def _ways(point: Array, raters: int) -> Array:
    """[raters, 4]: the shares that the logarithms at the beginning of a point come to."""
    ways = np.exp(point[:-1].reshape(raters, 4))
    return np.asarray(ways / ways.sum(axis=1, keepdims=True))


def _bounded(point: Array, raters: int) -> Array:
    """A point within what shares and the spread may be."""
    ways = np.maximum(_ways(np.append(np.clip(point[:-1], -30, 30), 0.0), raters), 1e-4)
    return np.append(np.log(ways).ravel(), np.clip(point[-1], np.log(_LEAST_SPREAD), np.log(_MOST_SPREAD)))


def _told(point: Array, raters: int) -> Array:
    """What is looked at to see whether the search has ended: the reliabilities, and the spread."""
    return np.append(_ways(point, raters) @ _RELIABILITY, point[-1])


def _stepped(rows: _Rows, point: Array) -> Array:
    """One step of EM: what the shares and the spread would be, were the differences and the ways as they now seem."""
    ways, spread = _ways(point, rows.raters), float(np.exp(point[-1]))
    nodes, base = _nodes()
    tables = _tables(ways, spread * nodes)
    weights = rows.weights(_logs(tables), base) if rows.pairs else np.zeros((0, _NODES))
    counts = _way_counts(rows, tables, ways, weights) + np.array(WAYS_PRIOR) - 1
    squares = float((weights @ nodes**2).sum()) * spread**2
    shares = np.log(counts / counts.sum(axis=1, keepdims=True)).ravel()
    return _bounded(np.append(shares, _likeliest_spread(squares, rows.pairs, point[-1])), rows.raters)


def _likeliest_spread(squares: float, pairs: int, start: float) -> float:
    """Logarithm of the spread of ``pairs`` differences whose squares sum to this, with its prior; by Newton's method."""
    found, precision = start, 1 / _SPREAD_PRIOR**2
    for _ in range(30):
        pull = squares * np.exp(-2 * found) - pairs - precision * (found - np.log(_USUAL_SPREAD))
        step = pull / (2 * squares * np.exp(-2 * found) + precision)
        found += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-9:
            break
    return found


def _sorted(pair: Ints, first_left: Ints, outcome: Array, rater: Ints, gold: Array, raters: int) -> _Rows:
    from scipy.sparse import coo_array

    unknown = np.flatnonzero(np.isnan(gold))
    order = unknown[np.argsort(pair[unknown], kind="stable")]
    said = np.where(outcome[order] == 0.5, _TIE_SAID, np.where(outcome[order] == 1, _LEFT_SAID, _RIGHT_SAID))
    kind = (rater[order] * 2 + first_left[order]) * 3 + said
    present, code = np.unique(pair[order], return_inverse=True)
    shape = (present.size, raters * 6)
    counted = coo_array((np.ones(order.size), (code.reshape(-1), kind)), shape=shape).tocsr()
    told = np.flatnonzero(~np.isnan(gold))
    cells = (rater[told] * 2 + gold[told].astype(np.int64)) * 2
    right_said, left_said = (summed(cells, share, raters * 4) for share in (1 - outcome[told], outcome[told]))
    known = np.stack([right_said[::2], left_said[::2]], axis=1).reshape(raters, 2, 2)
    return _Rows(code.reshape(-1), kind, counted, counted.T.tocsr(), present.size, raters, known)


def _nodes() -> tuple[Array, Array]:
    """Places and log-weights of the nodes for a standard normal: the trapezoidal rule, which is exact beyond need here."""
    places = np.linspace(-_WIDEST, _WIDEST, _NODES)
    logs = -(places**2) / 2
    return places, logs - np.log(np.exp(logs).sum())


def _first_ways(start: Array) -> Array:
    prior = np.array(WAYS_PRIOR) / sum(WAYS_PRIOR)
    ways = np.tile(prior, (start.size, 1))
    upside_down = start < 0
    ways[upside_down] = ways[upside_down][:, [INVERTS, HEEDS, LEFT, RIGHT]]
    return ways


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _ways_say_left(differences: Array) -> Array:
    """[2, 4, nodes]: how likely each way says left, where the first stands right, or left."""
    ahead = np.stack([_sigmoid(-differences), _sigmoid(differences)])
    return np.stack([ahead, 1 - ahead, np.ones_like(ahead), np.zeros_like(ahead)], axis=1)


def _tables(ways: Array, differences: Array) -> tuple[Array, Array]:
    """[2, 4, nodes] of each way saying left, and [raters, 2, nodes] of each rater doing so."""
    by_way = _ways_say_left(differences)
    return by_way, np.clip(np.einsum("rw,owk->rok", ways, by_way), 1e-12, 1 - 1e-12)


def _logs(tables: tuple[Array, Array]) -> Array:
    """[raters * 2 * 3, nodes]: log-probabilities of what was said."""
    left, right = np.log(tables[1]), np.log1p(-tables[1])
    return np.stack([right, left, (left + right) / 2], axis=2).reshape(-1, _NODES)


def _way_counts(rows: _Rows, tables: tuple[Array, Array], ways: Array, weights: Array) -> Array:
    """[raters, 4]: how many of each rater's answers were probably given in which way."""
    counts = np.zeros_like(ways)
    if rows.pairs:
        by_way, said = tables
        cells = (rows.by_kind @ weights).reshape(rows.raters, 2, 3, _NODES)
        left, right = (cells[:, :, side] + cells[:, :, _TIE_SAID] / 2 for side in (_LEFT_SAID, _RIGHT_SAID))
        counts += np.einsum("rok,owk->rw", left / said, by_way)
        counts += np.einsum("rok,owk->rw", right / (1 - said), 1 - by_way)
    for truth, answered, one, other in OF_GOLD:
        share = rows.gold[:, truth, answered] / np.maximum(ways[:, one] + ways[:, other], 1e-12)
        counts[:, one] += share
        counts[:, other] += share
    return counts * ways


def _errors(rows: _Rows, tables: tuple[Array, Array], ways: Array, weights: Array, differences: Array) -> Array:
    """Standard errors [raters] of heeds - inverts, from the squares of the pairs' scores by all shares and the spread."""
    raters, everyone = rows.raters, np.arange(rows.raters)
    information = np.zeros((3 * raters + 1, 3 * raters + 1))
    if rows.pairs:
        scores = _scores(rows, tables, ways, weights, differences)
        information += np.asarray((scores.T @ scores).todense())
    information[-1, -1] += 1 / _SPREAD_PRIOR**2
    own = np.zeros((raters, 3, 3))
    steps = np.eye(4)[:, :3] - np.eye(4)[:, [RIGHT] * 3]
    for truth, answered, one, other in OF_GOLD:
        slope = (steps[one] + steps[other])[None, :] / (ways[:, one] + ways[:, other])[:, None]
        own += rows.gold[:, truth, answered][:, None, None] * slope[:, :, None] * slope[:, None, :]
    held = (np.array(WAYS_PRIOR) - 1) / ways**2
    own += held[:, RIGHT][:, None, None] + held[:, :RIGHT, None] * np.eye(3)
    places = 3 * everyone[:, None] + np.arange(3)
    information[places[:, :, None], places[:, None, :]] += own
    inverse = np.linalg.inv(information)
    contrast = np.array([1.0, -1.0, 0.0])
    blocks = inverse[places[:, :, None], places[:, None, :]]
    return np.sqrt(np.maximum(np.einsum("i,rij,j->r", contrast, blocks, contrast), 0.0))


def _scores(rows: _Rows, tables: tuple[Array, Array], ways: Array, weights: Array, differences: Array) -> Any:
    """[pairs, 3 raters + 1], sparse: the slope of each pair's log-likelihood by three free shares of each of its raters, and
    by the logarithm of the spread."""
    from scipy.sparse import coo_array

    by_way, said = tables
    free = by_way[:, :3] - by_way[:, RIGHT][:, None]
    ahead = by_way[:, HEEDS]
    heeded = (ways @ _RELIABILITY)[:, None, None] * (ahead * (1 - ahead))[None]
    by_spread = heeded * np.array([-1.0, 1.0])[None, :, None] * differences
    both = np.concatenate([np.broadcast_to(free[None], (rows.raters, *free.shape)), by_spread[:, :, None]], axis=2)
    left, right = both / said[:, :, None], -both / (1 - said)[:, :, None]
    slopes = np.stack([right, left, (left + right) / 2], axis=2).reshape(-1, 4, _NODES)
    expected = np.einsum("nk,nwk->nw", weights[rows.pair], slopes[rows.kind])
    columns = np.concatenate(
        [(rows.kind // 6)[:, None] * 3 + np.arange(3), np.full((rows.kind.size, 1), 3 * rows.raters)], axis=1
    )
    where = (np.repeat(rows.pair, 4), columns.ravel())
    return coo_array((expected.ravel(), where), shape=(rows.pairs, 3 * rows.raters + 1)).tocsr()
