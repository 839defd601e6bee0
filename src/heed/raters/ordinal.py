"""Quality of things from ratings on a scale, where each rater uses the scale in a way of their own.

    P(rating <= c | thing, rater) = sigmoid(threshold_c + move_rc - pace scale_r (quality - shift_r)),   quality ~ N(0, 1)

The graded response model of Samejima 1969, "Estimation of Latent Ability Using a Response Pattern of Graded Scores", with
raters in the place of questions: what differs between them is a shift (lenient or strict), a scale (how far they part good
from bad; negative: upside down), and moves of single thresholds (whoever shuns the ends). All three are drawn to the usual
by normal priors, since few ratings tell little. The quality is summed out while habits are learned (Bock and Aitkin 1981,
"Marginal Maximum Likelihood Estimation of Item Parameters", Psychometrika 46): found together with them, it would make
everybody look surer than they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from heed.errors import DataError
from heed.lazily import np
from heed.raters.bradley_terry import sigmoid
from heed.statistics import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes: TypeAlias = NDArray[np.intp]

SHIFT_SPREAD, SCALE_SPREAD, MOVE_SPREAD = 1.0, 0.5, 0.5
"""Standard deviations of the priors: of a shift in units of quality, of a scale beside 1, of a move in logits."""

_NODES = 21
_FIRST_PACE = 1.7
"""At the start; about where one unit of quality is one standard deviation of the logistic noise."""
_CLOSEST = 1e-6
"""Moves can bring two bounds of a rater together or past each other: such a rating has next to no probability."""


@dataclass(frozen=True)
class RatedQuality:
    """What was learned.

    Attributes:
        quality, quality_errors: [items], posterior mean and standard deviation; over all things about N(0, 1).
        shift: [raters], how much better a thing must be for them to give the same rating as the usual rater.
        scale: [raters], beside 1 of the usual rater; negative: they rate upside down.
        pace: logits that one unit of quality moves the usual rater.
        thresholds: [levels - 1], of the usual rater, ascending (logits).
        moves: [raters, levels - 1], of each rater's thresholds (logits).
        loss: negative marginal log-likelihood, with the priors (nats).
    """

    quality: Array
    quality_errors: Array
    shift: Array
    scale: Array
    pace: float
    thresholds: Array
    moves: Array
    loss: float


def rated_quality(item: Codes, rater: Codes, level: Codes, levels: int) -> RatedQuality:
    """Posterior quality of things, and maximum a posteriori habits of raters.

    Args:
        item, rater: [N], codes of what was rated and by whom.
        level: [N], 0 (worst) to ``levels`` - 1.
        levels: of the scale (count), at least 2.

    Raises:
        DataError: there is no rating, columns differ in length, or a level is none of the scale.
    """
    item, rater, level = (np.asarray(column, dtype=np.intp) for column in (item, rater, level))
    if not item.shape == rater.shape == level.shape or item.ndim != 1 or not item.size:
        what = f"{item.size} items, {rater.size} raters, {level.size} levels"
        raise DataError(what, "each rating needs one of each.", "Pass columns of equal length.")
    if levels < 2 or level.min() < 0 or level.max() >= levels:
        raise DataError(f"levels {level.min()} to {level.max()}", f"the scale has {levels}, from 0.", "Correct them.")
    return _Ratings(item, rater, level, int(item.max()) + 1, int(rater.max()) + 1, levels).fit()


@dataclass(frozen=True)
class _Habits:
    """What the search moves: see :class:`RatedQuality`; ``raw`` is the first threshold and the logs of the gaps."""

    shift: Array
    scale: Array
    log_pace: Array
    raw: Array
    moves: Array

    @property
    def thresholds(self) -> Array:
        return np.asarray(self.raw[0] + np.concatenate([[0.0], np.cumsum(np.exp(self.raw[1:]))]))


@dataclass(frozen=True)
class _Ratings:
    item: Codes
    rater: Codes
    level: Codes
    items: int
    raters: int
    levels: int

    def fit(self) -> RatedQuality:
        from scipy.optimize import minimize

        share = np.cumsum(np.bincount(self.level, minlength=self.levels) + 0.5)
        first = np.log(share[:-1] / (share[-1] - share[:-1]))
        start = [np.zeros(self.raters), np.ones(self.raters), np.log([_FIRST_PACE]), first[:1]]
        start += [np.log(np.maximum(np.diff(first), 0.05)), np.zeros(self.raters * (self.levels - 1))]
        options = {"maxcor": 30, "gtol": 1e-4, "ftol": 1e-12, "maxiter": 2000, "maxfun": 4000}
        found = minimize(self.posterior, np.concatenate(start), jac=True, method="L-BFGS-B", options=options)
        habits = self._habits(found.x)
        nodes, weights = _nodes()
        chances = self._chances(habits, nodes)[0]
        share = self._shares(chances, weights)[0]
        quality = share @ nodes
        return RatedQuality(
            quality=quality,
            quality_errors=np.sqrt(np.maximum(share @ nodes**2 - quality**2, 0.0)),
            shift=habits.shift,
            scale=habits.scale,
            pace=float(np.exp(habits.log_pace[0])),
            thresholds=habits.thresholds,
            moves=habits.moves,
            loss=float(found.fun),
        )

    def _habits(self, x: Array) -> _Habits:
        bounds = self.levels - 1
        ends = np.cumsum([self.raters, self.raters, 1, bounds])
        shift, scale, log_pace, raw, moves = np.split(x, ends)
        return _Habits(shift, scale, log_pace, raw, moves.reshape(self.raters, bounds))

    def posterior(self, x: Array) -> tuple[float, Array]:
        """Negative marginal log-likelihood with the priors, and its gradient by all habits."""
        habits = self._habits(x)
        nodes, weights = _nodes()
        losses, by_place, by_lower, by_upper = self._chances(habits, nodes)
        share, marginal = self._shares(losses, weights)
        mine = share[self.item]
        by_place, by_lower, by_upper = by_place * mine, (by_lower * mine).sum(axis=1), (by_upper * mine).sum(axis=1)
        distance = nodes[None, :] - habits.shift[self.rater][:, None]
        pace = float(np.exp(habits.log_pace[0]))
        reach = np.bincount(self.rater, (by_place * distance).sum(axis=1), self.raters)
        by_shift = -pace * habits.scale * np.bincount(self.rater, by_place.sum(axis=1), self.raters)
        bound = np.zeros((self.raters, self.levels + 1))
        np.add.at(bound, (self.rater, self.level), by_lower)
        np.add.at(bound, (self.rater, self.level + 1), by_upper)
        inner = bound[:, 1:-1]
        beyond = np.cumsum(inner.sum(axis=0)[::-1])[::-1]
        gradient = [
            by_shift + habits.shift / SHIFT_SPREAD**2,
            pace * reach + (habits.scale - 1) / SCALE_SPREAD**2,
            np.array([pace * float(habits.scale @ reach)]),
            beyond[:1],
            beyond[1:] * np.exp(habits.raw[1:]),
            (inner + habits.moves / MOVE_SPREAD**2).ravel(),
        ]
        priors = (habits.shift**2).sum() / SHIFT_SPREAD**2 + ((habits.scale - 1) ** 2).sum() / SCALE_SPREAD**2
        priors += (habits.moves**2).sum() / MOVE_SPREAD**2
        return float(0.5 * priors - marginal), np.concatenate(gradient)

    def _chances(self, habits: _Habits, nodes: Array) -> tuple[Array, Array, Array, Array]:
        """Loss [N, nodes] of each rating if its thing had the quality of each node; slopes by its place and bounds."""
        ends = np.full((self.raters, self.levels + 1), np.inf)
        ends[:, 0] = -np.inf
        ends[:, 1:-1] = habits.thresholds + habits.moves
        lower, upper = ends[self.rater, self.level][:, None], ends[self.rater, self.level + 1][:, None]
        pace = (np.exp(habits.log_pace[0]) * habits.scale)[self.rater][:, None]
        place = pace * (nodes[None, :] - habits.shift[self.rater][:, None])
        between = np.exp(-np.maximum(upper - lower, _CLOSEST))
        loss = np.logaddexp(0, place - upper) + np.logaddexp(0, lower - place) - np.log1p(-between)
        over, under = sigmoid(place - upper), sigmoid(lower - place)
        shared = np.where(upper - lower > _CLOSEST, between / (1 - between), 1 / _CLOSEST)
        by_lower = np.where(np.isfinite(lower), under + shared, 0.0)
        by_upper = np.where(np.isfinite(upper), -(over + shared), 0.0)
        return loss, over - under, by_lower, by_upper

    def _shares(self, losses: Array, weights: Array) -> tuple[Array, float]:
        """How likely each node is for each thing [items, nodes], and the marginal log-likelihood of all ratings."""
        summed = np.stack([np.bincount(self.item, column, self.items) for column in losses.T], axis=1)
        joint = np.log(weights) - summed
        most = joint.max(axis=1, keepdims=True)
        share = np.exp(joint - most)
        total = share.sum(axis=1, keepdims=True)
        return share / total, float((np.log(total) + most).sum())


def _nodes() -> tuple[Array, Array]:
    """Nodes and weights of Gauss and Hermite for the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()
