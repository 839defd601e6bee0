"""How far raters are right, with intervals that know that the truth is only known in part.

The information that votes give on raters is what they would give if every item's class were known, less what is missing
because it is not (Louis 1982, "Finding the Observed Information Matrix when Using the EM Algorithm", equation 3.2). Its
inverse gives the variance of an accuracy; Wilson's interval at the number of answers that has this variance keeps within 0
and 1 and does not shrink to a point where all are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

from heed.lazily import np
from heed.raters.votes import Codes, Votes
from heed.statistics import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[np.intp]"

MOST_NUMBERS = 800
MOST_PAIRS = 5_000_000
"""Of numbers that describe the raters, and of pairs of them in one item: with more, each rater's interval takes the others'
accuracies as known."""

WHOLE = "Wilson score at the observed information of all raters together (Louis)"
ALONE = "Wilson score at the observed information of each rater, the others' taken as known (Louis)"


@dataclass(frozen=True)
class RaterTable:
    """How far each rater is right: columns [raters], not a number where it is not known.

    Attributes:
        accuracy: probability that an answer is right; of Dawid-Skene, on an item drawn from all.
        low, high: ends of its interval.
        answers: votes (count).
        method: how the interval was made.
        confidence: coverage that it aims at.
        reason: why there are no intervals, or, where the accuracies are not known either, no accuracies; None where there are.
    """

    accuracy: Array
    low: Array
    high: Array
    answers: Ints
    method: str
    confidence: float = 0.95
    reason: str | None = None


def undefined_table(votes: Votes, reason: str, confidence: float = 0.95) -> RaterTable:
    """The raters of ``votes``, of none of whom it can be said how far they are right."""
    nothing = np.full(len(votes.raters), np.nan)
    answers = np.bincount(votes.rater, minlength=len(votes.raters))
    return RaterTable(nothing, nothing, nothing, answers, WHOLE, confidence, reason)


def rater_table(
    votes: Votes,
    probabilities: Array,
    prior: Array,
    confusion: Array,
    gold: Codes,
    row_prior: float | None,
    confidence: float = 0.95,
) -> RaterTable:
    """The accuracy of each rater with its interval.

    Args:
        votes: what was said.
        probabilities: of the classes of the items [items, classes].
        prior: how common each class is [classes].
        confusion: what each rater says of each class [raters, classes true, classes said].
        gold: known labels [items], -1 where there are none.
        row_prior: answers that were added to each row of ``confusion``; None where a rater is described by one accuracy.
        confidence: coverage that the intervals aim at.
    """
    _, raters, classes = votes.shape
    answers = np.bincount(votes.rater, minlength=raters)
    right = probabilities[votes.item, votes.label]
    totals = np.bincount(votes.rater, weights=right, minlength=raters)
    if row_prior is None:
        accuracy = np.divide(totals, answers, out=np.full(raters, np.nan), where=answers > 0)
    else:
        accuracy = np.where(answers > 0, np.einsum("k,rkk->r", prior, confusion), np.nan)
    inside = (totals + 0.5) / (answers + 1)
    if _is_small(votes, 1 if row_prior is None else classes * (classes - 1)):
        if row_prior is None:
            variance = _variance_of_coins(votes, probabilities, prior, inside, answers)
        else:
            variance = _variance_of_rows(votes, probabilities, prior, confusion, row_prior)
        method = WHOLE
    else:
        missing = np.bincount(votes.rater, weights=right * (1 - right), minlength=raters)
        spread = inside * (1 - inside)
        information = answers / spread - missing / spread**2
        variance, method = np.where(information > 0, 1 / np.maximum(information, 1e-12), np.inf), ALONE
    if variance is None:
        nothing = np.full(raters, np.nan)
        reason = "The answers do not say enough: raters who are right more or less often would have given the same ones as likely."
        return RaterTable(accuracy, nothing, nothing, answers, method, confidence, reason)
    spread = accuracy * (1 - accuracy) if row_prior is not None else inside * (1 - inside)
    low, high = _wilson(accuracy, spread / variance, confidence)
    return RaterTable(accuracy, low, high, answers, method, confidence)


def _wilson(p: Array, n: Array, confidence: float) -> tuple[Array, Array]:
    """Wilson's score bounds of proportions ``p`` of ``n`` trials each; ``n`` need not be whole."""
    quantile = NormalDist().inv_cdf(0.5 + confidence / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = quantile**2 / n
        centre = (p + spread / 2) / (1 + spread)
        half = quantile / (1 + spread) * np.sqrt(p * (1 - p) / n + spread / (4 * n))
        low, high = np.clip(centre - half, 0, p), np.clip(centre + half, p, 1)
    unknown = np.isfinite(p) & ~(n > 0)
    return np.where(unknown, 0.0, low), np.where(unknown, 1.0, high)


def _is_small(votes: Votes, each: int) -> bool:
    """Whether the information of all raters together, ``each`` described by so many numbers, can be had in a moment."""
    per_item = np.bincount(votes.item, minlength=len(votes.items)).astype(np.float64) * each
    return len(votes.raters) * each <= MOST_NUMBERS and float(per_item @ per_item) <= MOST_PAIRS


def _variance_of_coins(
    votes: Votes, probabilities: Array, prior: Array, accuracy: Array, answers: Ints
) -> Array | None:
    """Variance of each rater's one accuracy [raters]; None where the votes do not pin them down."""
    items, raters, classes = votes.shape
    spread = accuracy * (1 - accuracy)
    # How right a vote is, less its mean, over the spread: the mean is the same for all classes and drops out.
    scores = []
    for k in range(classes):
        chosen = votes.label == k
        scores.append(
            _sparse(1 / spread[votes.rater[chosen]], votes.item[chosen], votes.rater[chosen], (items, raters))
        )
    whole = np.zeros((raters + classes - 1,) * 2)
    whole[range(raters), range(raters)] = np.maximum(answers, 1e-9) / spread
    inverse = _inverse(whole, scores, probabilities, prior)
    return None if inverse is None else np.diag(inverse)[:raters]


def _variance_of_rows(
    votes: Votes, probabilities: Array, prior: Array, confusion: Array, row_prior: float
) -> Array | None:
    """Variance of each rater's accuracy [raters] where all rows of a confusion matrix are free; None as above.

    The numbers are the logits of each row against its last cell. Column (r K + k)(K - 1) + l is that of rater r, class k,
    answer l.
    """
    items, raters, classes = votes.shape
    free = classes - 1
    numbers = raters * classes * free
    rows = confusion[:, :, :free]
    scores, counts = [], np.empty((raters, classes))
    every = np.arange(free)
    for k in range(classes):
        values = (votes.label[:, None] == every) - rows[votes.rater, k]
        columns = ((votes.rater * classes + k) * free)[:, None] + every
        scores.append(_sparse(values.ravel(), np.repeat(votes.item, free), columns.ravel(), (items, numbers)))
        counts[:, k] = np.bincount(votes.rater, weights=probabilities[votes.item, k], minlength=raters)
    whole = np.zeros((numbers + free,) * 2)
    blocks = (counts + row_prior + 1e-9)[:, :, None, None] * (
        rows[..., None] * np.eye(free) - rows[..., :, None] * rows[..., None, :]
    )
    places = np.arange(numbers).reshape(raters * classes, free)
    whole[places[:, :, None], places[:, None, :]] = blocks.reshape(raters * classes, free, free)
    inverse = _inverse(whole, scores, probabilities, prior)
    if inverse is None:
        return None
    own = confusion[:, range(classes), range(classes)]
    slope = np.zeros((raters, numbers + free))
    turn = np.eye(classes)[:, :free] - rows
    own_slope = (prior * own)[:, :, None] * turn
    slope[np.arange(raters)[:, None], places.reshape(raters, -1)] = own_slope.reshape(raters, -1)
    slope[:, numbers:] = prior[:free] * (own[:, :free] - (own @ prior)[:, None])
    return np.einsum("ri,ij,rj->r", slope, inverse, slope, optimize=True)


def _inverse(whole: Array, scores: list[Any], probabilities: Array, prior: Array) -> Array | None:
    """Inverse of the observed information; None where it is not positive.

    Args:
        whole: the information if all classes were known [numbers, numbers]; that of the classes' chances, which are the last
            of the numbers, is put in here.
        scores: for each class the derivatives [items, numbers of the raters] that the items' votes have if they are of it.
        probabilities: of the classes of the items [items, classes].
        prior: how common each class is [classes].
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    items, free = probabilities.shape[0], prior.size - 1
    numbers = whole.shape[0] - free
    mean = sum((score.multiply(column[:, None]).tocsr() for score, column in zip(scores, probabilities.T, strict=True)))
    chances = probabilities[:, :free]
    missing = np.zeros_like(whole)
    parts = (score.T @ score.multiply(column[:, None]) for score, column in zip(scores, probabilities.T, strict=True))
    missing[:numbers, :numbers] = (sum(parts) - mean.T @ mean).toarray()
    for k in range(free):
        weighed = scores[k].T @ probabilities[:, k] - mean.T @ probabilities[:, k]
        missing[:numbers, numbers + k] = missing[numbers + k, :numbers] = weighed
    missing[numbers:, numbers:] = np.diag(chances.sum(axis=0)) - chances.T @ chances
    shares = prior[:free]
    whole[numbers:, numbers:] = items * (np.diag(shares) - np.outer(shares, shares))
    try:
        factor = cho_factor(whole - missing)
    except LinAlgError:
        return None
    return np.asarray(cho_solve(factor, np.eye(whole.shape[0])))


def _sparse(values: Array, rows: Codes, columns: Codes, shape: tuple[int, int]) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((values, (rows, columns)), shape=shape)
