"""Scores of things from comparisons of two of them: Bradley-Terry, with ties and with how much better, and intervals.

A comparison stands in columns of equal length [N]: what stood left and right, the outcome (1 left is better, 0 right is, 0.5
neither), how much better it was said to be, and what it counts. A score is in log-odds: of two things one apart, the higher
wins 73 of 100 comparisons. Scores of one connected group of things have mean 0; what no comparison connects cannot be
compared, and is said to be apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from heed.errors import DataError
from heed.lazily import np
from heed.statistics import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes: TypeAlias = NDArray[np.intp]

Ties = Literal["half", "davidson", "graded"]
"""Ties as half a win to each side; Davidson 1970; or thresholds on the difference, Rao and Kupper 1967 with strengths."""

TIES: tuple[Ties, ...] = ("half", "davidson", "graded")

WEAK_PRIOR = 0.01
"""Precision of the normal prior of a score (1 / log-odds squared): a standard deviation of 10, for what never lost."""

_CLOSE = 1e-4
"""The search ends where every score is this close to the best one, in standard errors of its own."""

AHEAD = 1e-3
"""By how much (log-odds) one thing is surely ahead of another, and not by how close the search came."""

_MOST_TOGETHER = 1500
"""Items up to which errors come from the whole inverse."""

_STRENGTHS = 3
_FIRST_GAPS = (0.2, 1.0, 2.0)


@dataclass(frozen=True)
class Duels:
    """Comparisons in columns [N].

    Attributes:
        left, right: codes of what was compared, 0 to ``items`` - 1.
        outcome: 1, 0 or 0.5.
        items: things there are (count).
        weight: what each comparison counts, at least 0; None: 1 each.
        strength: 1 to 3, how much better, 0 where it was not said; None: never. Not read at ties.
    """

    left: Codes
    right: Codes
    outcome: Array
    items: int
    weight: Array | None = None
    strength: Codes | None = None

    def __post_init__(self) -> None:
        columns = [self.left, self.right, self.outcome, self.weight, self.strength]
        sizes = {column.shape for column in columns if column is not None}
        if len(sizes) != 1 or len(next(iter(sizes))) != 1:
            raise DataError(f"columns of shapes {sorted(sizes)}", "each comparison needs one of each.", "Pass rows.")
        if self.left.size == 0:
            raise DataError("no comparison", "there is nothing to learn scores from.", "Collect some first.")
        for side in (self.left, self.right):
            if side.min() < 0 or side.max() >= self.items:
                raise DataError(
                    "codes of what was compared", f"one is not within 0 and {self.items - 1}.", "Correct it."
                )
        if (self.left == self.right).any():
            place = int(np.flatnonzero(self.left == self.right)[0])
            raise DataError(f"comparison {place}", "it compares a thing with itself.", "Leave such comparisons out.")
        if not np.isin(self.outcome, (0.0, 0.5, 1.0)).all():
            raise DataError("outcomes", "one is none of 1 (left), 0 (right) and 0.5 (tie).", "Correct it.")
        if self.weight is not None and not (np.isfinite(self.weight).all() and self.weight.min() >= 0):
            raise DataError("weights", "one is negative or not a number.", "A comparison counts 0 or more.")
        if self.strength is not None and not np.isin(self.strength, range(_STRENGTHS + 1)).all():
            raise DataError("strengths", "one is none of 0, 1, 2 and 3.", "Correct it.")

    def only(self, rows: NDArray[np.bool_]) -> Duels:
        """Those where ``rows`` [N] is true.

        Raises:
            DataError: there is none.
        """
        weight = None if self.weight is None else self.weight[rows]
        strength = None if self.strength is None else self.strength[rows]
        return Duels(self.left[rows], self.right[rows], self.outcome[rows], self.items, weight, strength)

    def tied_together(self) -> Codes:
        """Codes [items] of who has beaten and been beaten by one another, by way of others too.

        Between two such sets one never lost to the other, so that no finite difference of scores is the likeliest (Ford
        1957, "Solution of a Ranking Problem from Binary Comparisons", American Mathematical Monthly 64).
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        won, lost = self.outcome > 0, self.outcome < 1
        ahead = np.concatenate([self.left[won], self.right[lost]])
        behind = np.concatenate([self.right[won], self.left[lost]])
        beat = coo_array((np.ones(ahead.size), (ahead, behind)), shape=(self.items, self.items))
        return np.asarray(connected_components(beat, connection="strong")[1], dtype=np.intp)

    @property
    def weights(self) -> Array:
        """What each comparison counts [N]."""
        return np.ones(self.left.size) if self.weight is None else self.weight

    def groups(self) -> Codes:
        """The connected group [items] of each thing; what was never compared is a group of its own."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        links = coo_array((np.ones(self.left.size), (self.left, self.right)), shape=(self.items, self.items))
        return np.asarray(connected_components(links, directed=False)[1], dtype=np.intp)


@dataclass(frozen=True)
class Scores:
    """Fitted scores.

    Attributes:
        scores: [items], log-odds; mean 0 within each connected group.
        group: [items], the connected group of each.
        ties: the model of ties. parameters: log nu of Davidson, or the logs of the gaps of the thresholds.
        loss: negative log-likelihood, with the prior (nats).
        evaluations: of the likelihood until it was found (count).
    """

    scores: Array
    group: Codes
    ties: Ties
    parameters: Array
    loss: float
    evaluations: int

    @property
    def groups(self) -> int:
        """Connected groups (count)."""
        return int(self.group.max()) + 1


def bradley_terry(duels: Duels, ties: Ties = "half", prior: float = WEAK_PRIOR, start: Scores | None = None) -> Scores:
    """Maximum a posteriori scores of comparisons.

    Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs: I", Biometrika 39, section 3. For the models of ties
    see Davidson 1970, JASA 65, section 2; Rao and Kupper 1967, JASA 62, section 2; with strengths the cumulative logit of
    McCullagh 1980, JRSS B 42, section 2.1, its thresholds symmetric about 0.

    Args:
        duels: the comparisons.
        ties: how ties are modelled; "half" reads no strength.
        prior: precision of the normal prior on each score, above 0: without it what never lost has no score.
        start: where the search begins, such as the scores of nearly the same comparisons.

    Raises:
        DataError: the prior is not above 0, or there is no such model.
    """
    from scipy.optimize import minimize

    if ties not in TIES:
        raise DataError(f"model of ties {ties!r}", "there is none of this name.", f"Use one of {', '.join(TIES)}.")
    if not prior > 0:
        raise DataError(f"prior {prior}", "without one, what never lost has no score.", "Give a number above 0.")
    losses = _losses_of(duels, ties)
    first = _first_parameters(duels, ties) if start is None else start.parameters
    weights = duels.weights
    information = (np.bincount(duels.left, weights, duels.items) + np.bincount(duels.right, weights, duels.items)) / 4
    # In steps of about one standard error each, scores with many and with few comparisons are equally quick to find.
    step = 1 / np.sqrt(information + prior)

    def objective(x: Array) -> tuple[float, Array]:
        scores, parameters = x[: duels.items] * step, x[duels.items :]
        loss, slope, by_parameter = losses(scores[duels.left] - scores[duels.right], parameters)
        slope *= weights
        pull = np.bincount(duels.left, slope, duels.items) - np.bincount(duels.right, slope, duels.items)
        gradient = pull + prior * scores
        value = float(weights @ loss) + 0.5 * prior * float(scores @ scores)
        return value, np.concatenate([gradient * step, by_parameter @ weights])

    begin = np.zeros(duels.items) if start is None else start.scores / step
    options = {"maxcor": 20, "gtol": _CLOSE, "ftol": 1e-15, "maxiter": 10_000, "maxfun": 20_000}
    found = minimize(objective, np.concatenate([begin, first]), jac=True, method="L-BFGS-B", options=options)
    scores, group = found.x[: duels.items] * step, duels.groups()
    middle = np.bincount(group, scores) / np.bincount(group)
    return Scores(scores - middle[group], group, ties, found.x[duels.items :], float(found.fun), int(found.nfev))


def win_probability(scores: Scores, left: Codes, right: Codes) -> Array:
    """Probability [N] that ``left`` is called better than ``right``, a tie as half of it."""
    difference = scores.scores[left] - scores.scores[right]
    if scores.ties == "half":
        return sigmoid(difference)
    ahead, behind = (
        np.exp(-_losses(scores.ties, np.full(difference.shape, y), None)(difference, scores.parameters)[0])
        for y in (1.0, 0.0)
    )
    return np.asarray(0.5 + (ahead - behind) / 2)


# The likelihoods: of differences [N] and parameters [P], the loss [N], its slope [N] and its gradient [P, N]

_Losses: TypeAlias = Callable[[Array, Array], tuple[Array, Array, Array]]


def _losses_of(duels: Duels, ties: Ties) -> _Losses:
    return _losses(ties, duels.outcome, duels.strength)


def _losses(ties: Ties, outcome: Array, strength: Codes | None) -> _Losses:
    if ties == "half":
        return lambda difference, _: _half(difference, outcome)
    if ties == "davidson":
        return lambda difference, parameters: _davidson(difference, outcome, parameters)
    return _Graded.of(outcome, strength)


def _first_parameters(duels: Duels, ties: Ties) -> Array:
    if ties == "half":
        return np.zeros(0)
    if ties == "davidson":
        return np.zeros(1)
    said = duels.strength is not None and bool(duels.strength.any())
    return np.log(_FIRST_GAPS[: _STRENGTHS if said else 1])


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), elementwise."""
    from scipy.special import expit

    return np.asarray(expit(x))


def _half(difference: Array, outcome: Array) -> tuple[Array, Array, Array]:
    # One exponential serves both the loss and its slope: this is where the time goes with millions of comparisons.
    small = np.exp(-np.abs(difference))
    ahead = np.where(difference >= 0, 1.0, small) / (1 + small)
    loss = np.log1p(small) + np.maximum(difference, 0) - outcome * difference
    return loss, ahead - outcome, np.zeros((0, difference.size))


def _davidson(difference: Array, outcome: Array, parameters: Array) -> tuple[Array, Array, Array]:
    half, tie = difference / 2, parameters[0]
    total = np.logaddexp(np.logaddexp(half, -half), tie)
    left, right, even = np.exp(half - total), np.exp(-half - total), np.exp(tie - total)
    tied = outcome == 0.5
    loss = total - np.where(tied, tie, (2 * outcome - 1) * half)
    slope = (left - right) / 2 - np.where(tied, 0.0, outcome - 0.5)
    return loss, slope, (even - tied)[None, :]


@dataclass(frozen=True)
class _Graded:
    """Thresholds c_0 < c_1 < c_2 on the lead of the better side; ``lower`` and ``upper`` [N] say which bound an answer."""

    sign: Array
    tied: NDArray[np.bool_]
    lower: Codes
    upper: Codes

    @classmethod
    def of(cls, outcome: Array, strength: Codes | None) -> _Graded:
        said = np.zeros(outcome.size, np.intp) if strength is None else strength
        tied = outcome == 0.5
        lower = np.where(tied, 0, np.maximum(said - 1, 0))
        # Beyond the last threshold there is none: a place of its own holds infinity.
        upper = np.where(tied, 0, np.where((said == 0) | (said == _STRENGTHS), _STRENGTHS, said))
        return cls(np.where(outcome == 0.0, -1.0, 1.0), tied, lower, upper)

    def __call__(self, difference: Array, parameters: Array) -> tuple[Array, Array, Array]:
        gaps = np.exp(parameters)
        thresholds = np.full(_STRENGTHS + 1, np.inf)
        thresholds[: gaps.size] = np.cumsum(gaps)
        lead = self.sign * difference
        upper = thresholds[self.upper]
        lower = np.where(self.tied, -thresholds[0], thresholds[self.lower])
        # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)): no difference of two numbers close to 1.
        between = np.exp(lower - upper)
        loss = np.logaddexp(0, lead - upper) + np.logaddexp(0, lower - lead) - np.log1p(-between)
        over, under = sigmoid(lead - upper), sigmoid(lower - lead)
        shared = between / (1 - between)
        by_upper, by_lower = -(over + shared), under + shared
        rows = []
        for place in range(gaps.size):
            # A gap moves its own threshold and all beyond it; at a tie the lower bound moves the other way.
            up = (self.upper >= place) & (self.upper < _STRENGTHS)
            down = np.where(self.tied, -(place == 0), self.lower >= place)
            rows.append(gaps[place] * (by_upper * up + by_lower * down))
        return loss, self.sign * (over - under), np.array(rows)


# How sure the scores are


def bootstrap(
    duels: Duels,
    fitted: Scores,
    draws: int,
    seed: int = 0,
    clusters: Codes | None = None,
    prior: float = WEAK_PRIOR,
) -> Iterator[Array]:
    """Scores [items] of ``draws`` samples of the comparisons, drawn with replacement, one after another.

    Args:
        duels: the comparisons.
        fitted: their scores, from which each search begins.
        draws: samples (count).
        seed: of the draws.
        clusters: codes [N] of what is drawn as a whole, such as raters; None: single comparisons.
        prior: as in :func:`bradley_terry`.
    """
    rng = np.random.default_rng(seed)
    drawn = np.arange(duels.left.size) if clusters is None else clusters
    size = int(drawn.max()) + 1
    for _ in range(draws):
        often = np.bincount(rng.integers(size, size=size), minlength=size).astype(np.float64)
        again = replace(duels, weight=duels.weights * often[drawn])
        scores = bradley_terry(again, fitted.ties, prior, fitted).scores
        # A draw may fall apart where the whole does not; what counts is the distance within the groups of the whole.
        yield scores - (np.bincount(fitted.group, scores) / np.bincount(fitted.group))[fitted.group]


def score_errors(duels: Duels, fitted: Scores, prior: float = WEAK_PRIOR) -> Array:
    """Standard errors [items] of scores less the mean of their group, from the inverse of the information; where there
    are very many items, each by itself, the others held fixed.

    Ties count as half a win each, whatever model they were fitted by.
    """
    p = win_probability(fitted, duels.left, duels.right)
    weight, n = duels.weights * p * (1 - p), duels.items
    if n > _MOST_TOGETHER:
        return 1 / np.sqrt(np.bincount(duels.left, weight, n) + np.bincount(duels.right, weight, n) + prior)
    links = np.bincount(duels.left * n + duels.right, weight, n * n).reshape(n, n)
    links += links.T
    covariance = np.linalg.inv(np.diag(links.sum(axis=1) + prior) - links)
    same = fitted.group[:, None] == fitted.group
    centre = np.eye(n) - same / same.sum(axis=1)
    return np.sqrt(np.maximum(np.diag(centre @ covariance @ centre.T), 0.0))
