"""One label an item from many raters' votes, kept as probabilities: majority, one accuracy a rater, and Dawid-Skene.

All three say that an item has one true class, and that a rater who looks at class k says l with a chance of the rater's
own: a confusion matrix [classes true, classes said]. They differ in how much of it is learned. EM finds it (Dawid & Skene
1979, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm"), or a search where it is one number for
all raters. With the votes as one sparse matrix of counts [items, raters x classes], its step E is a product with that matrix
and step M one with its transpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from heed.errors import DataError
from heed.lazily import np
from heed.raters.consensus import Consensus
from heed.raters.votes import Codes, Votes
from heed.statistics import Array

LEAST = 1e-12
"""No probability is taken to be smaller: an answer that never came so far is not impossible."""

_A_LITTLE = 1e-6
_RUNGS = 40
"""Accuracies at which is looked first, evenly spaced in their log-odds."""

MOST_CLASSES = 500
MOST_CELLS = 20_000_000
"""Of all raters' confusion matrices together."""

Step: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]
"""Step M: emissions [raters, said, true] and chances of the classes [classes] from the expected counts [raters, said, true] of
answers and the probabilities [classes, items]."""


class VoteMatrix:
    """Votes as counts, by item and by answer, an answer being a rater with what was said.

    Here and in EM a class is a row, [classes, items]: sums over a few long rows are much quicker than over many short ones.
    """

    def __init__(self, votes: Votes) -> None:
        from scipy.sparse import csr_matrix

        self.items, self.raters, self.classes = votes.shape
        ones, every = np.ones(votes.size), np.arange(votes.size + 1, dtype=np.int32)
        # One row a vote, turned: the votes by item, without a sort.
        by_item = csr_matrix((ones, votes.item.astype(np.int32), every), shape=(votes.size, self.items)).tocsc()
        answer = (votes.rater * self.classes + votes.label).astype(np.int32)
        shape = (self.items, self.raters * self.classes)
        self._by_item: Any = csr_matrix((ones, answer[by_item.indices], by_item.indptr), shape=shape)
        self._by_answer: Any = self._by_item.T.tocsr()
        self._answers = np.bincount(answer, minlength=shape[1]).astype(np.float64)
        cells = votes.label * self.items + votes.item
        self._counts = np.bincount(cells, minlength=self.items * self.classes).reshape(self.classes, self.items)

    def joint(self, emission: Array, prior: Array) -> tuple[Array, float]:
        """Log-probability [classes, items] of each class together with all votes on the item, less a number of the item's.

        Returns:
            The log-probabilities, and the sum of the numbers that were taken off: that of the votes if all were of class 0.
        """
        logs = np.log(emission).reshape(-1, self.classes).T
        columns = np.empty((self.classes, self.items))
        columns[0] = 0.0
        for k in range(1, self.classes):
            columns[k] = self._by_item @ (logs[k] - logs[0])
        columns += np.log(prior)[:, None]
        return columns, float(self._answers @ logs[0])

    def said(self, probabilities: Array) -> Array:
        """Expected counts [raters, said, true] of answers, when items are of the classes with ``probabilities``."""
        found = np.empty((self.classes, self._answers.size))
        for k in range(1, self.classes):
            found[k] = self._by_answer @ probabilities[k]
        found[0] = np.maximum(self._answers - found[1:].sum(axis=0), 0.0)
        return np.ascontiguousarray(found.T).reshape(self.raters, self.classes, self.classes)

    def joint_alike(self, accuracy: float) -> Array:
        """Log-probability [classes, items] of all votes on each item given its class, when all raters have one accuracy."""
        wrong = max((1 - accuracy) / max(self.classes - 1, 1), LEAST)
        totals = self._counts.sum(axis=0)
        return np.asarray(self._counts * (np.log(accuracy) - np.log(wrong)) + totals * np.log(wrong))

    def shares(self) -> Array:
        """The share [classes, items] of each item's votes that each label has; equal where there is none."""
        totals = self._counts.sum(axis=0)
        return np.where(totals > 0, self._counts / np.maximum(totals, 1), 1 / self.classes)


@dataclass(frozen=True)
class Fit:
    """Where EM has come to: probabilities [classes, items], chances of the classes [classes], emissions [raters, said, true].

    ``log_likelihood`` is that of the votes and of the known labels (nats).
    """

    probabilities: Array
    prior: Array
    emission: Array
    log_likelihood: float
    iterations: int
    converged: bool


def majority(votes: Votes, gold: Codes | None = None, *, right: float = 3.0, wrong: float = 1.0) -> Consensus:
    """Majority vote: all raters are equally good and all classes equally common.

    The label with the most votes is the likeliest, and labels with equally many are equally likely. How likely follows from
    the one accuracy that all raters share: a single vote is not certain, and three votes against one are surer than one
    alone. The accuracy is the one of the highest posterior under a Beta prior, as Raykar et al. 2010 ("Learning From Crowds",
    JMLR 11) regularise theirs. By likelihood alone a few votes come to absurd accuracies: where each of three items has two
    votes against one the likeliest accuracy is that of a coin, and where each has one vote it is any at all.

    Args:
        votes: what was said.
        gold: the known label of each item [items], -1 where it is not known; such items are fixed.
        right, wrong: answers (count) that the accuracy is taken to have been seen on before, right and wrong ones; the
            prior is Beta(right + 1, wrong + 1). By default a rater of whom nothing is known is right three times in four.

    Raises:
        DataError: there are no votes, too many classes, ``gold`` does not fit, or a count is negative.
    """
    _check_counts(right=right, wrong=wrong)
    matrix, known = _prepared(votes, gold)
    flat = np.full(matrix.classes, 1 / matrix.classes)

    def evidence_at(accuracy: float) -> tuple[Array, Array]:
        return posterior(matrix.joint_alike(accuracy) + np.log(flat[0]), known)

    def height(accuracy: float) -> float:
        prior = right * np.log(accuracy) + wrong * np.log(max(1 - accuracy, LEAST))
        return float(evidence_at(accuracy)[1].sum() + prior)

    accuracy, looked = _highest(height, 1 / matrix.classes) if matrix.classes > 1 else (1.0, 1)
    probabilities, evidence = evidence_at(accuracy)
    emission = _coins(np.full(matrix.raters, accuracy), matrix.classes)
    fit = Fit(probabilities, flat, emission, float(evidence.sum()), looked, True)
    return _consensus("majority", votes, fit, known, witness=lambda: dawid_skene(votes, gold))


def _highest(height: Callable[[float], float], chance: float) -> tuple[float, int]:
    """The accuracy above ``chance`` that is highest, and at how many it was looked; the hill may have several peaks."""
    from scipy.optimize import minimize_scalar
    from scipy.special import expit, logit

    # Where raters agree no more than by chance, more votes are still a little better than fewer.
    ladder = np.linspace(logit(chance + _A_LITTLE), logit(1 - LEAST), _RUNGS)
    top = int(np.argmax([height(float(expit(rung))) for rung in ladder]))
    between = (ladder[max(top - 1, 0)], ladder[min(top + 1, _RUNGS - 1)])
    found = minimize_scalar(
        lambda x: -height(float(expit(x))), bounds=between, method="bounded", options={"xatol": 1e-9}
    )
    best_of = max((float(ladder[top]), float(found.x)), key=lambda x: height(float(expit(x))))
    return float(expit(best_of)), _RUNGS + int(found.nfev)


def one_coin(
    votes: Votes,
    gold: Codes | None = None,
    *,
    smoothing: float = 0.01,
    pooling: float = 2.0,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Consensus:
    """One accuracy a rater, whatever the class; a wrong answer is any of the others alike.

    Args:
        votes: what was said.
        gold: as for :func:`majority`.
        smoothing: answers (count) added to those that are right and to those that are wrong.
        pooling: answers (count) added that are right as often as all raters' together, so that raters of few answers are
            taken to be like the others.
        iterations: most iterations.
        tolerance: largest change of a probability in the last one.

    Raises:
        DataError: as for :func:`majority`, or a count is negative.
    """
    _check_counts(smoothing=smoothing, pooling=pooling)
    matrix, known = _prepared(votes, gold)

    def step(said: Array, probabilities: Array) -> tuple[Array, Array]:
        right, answers = np.einsum("rkk->r", said), said.sum(axis=(1, 2))
        pooled = right.sum() / max(answers.sum(), LEAST)
        weight = answers + 2 * smoothing + pooling
        accuracy = np.divide(
            right + smoothing + pooling * pooled, weight, out=np.full(weight.shape, 0.5), where=weight > 0
        )
        return _coins(accuracy, matrix.classes), _class_shares(probabilities)

    fit = _fitted(matrix, step, known, iterations, tolerance)
    return _consensus("one coin", votes, fit, known)


def dawid_skene(
    votes: Votes,
    gold: Codes | None = None,
    *,
    smoothing: float = 0.01,
    pooling: float = 2.0,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Consensus:
    """Dawid and Skene's model: a whole confusion matrix a rater (Dawid & Skene 1979, section 2).

    Each row of it has a Dirichlet prior. With ``smoothing`` and ``pooling`` zero it is the paper's estimate.

    Args:
        votes: what was said.
        gold: as for :func:`majority`.
        smoothing: answers (count) added to each cell of a confusion matrix.
        pooling: answers (count) added to each row, divided as all raters' together are.
        iterations: most iterations.
        tolerance: largest change of a probability in the last one.

    Raises:
        DataError: as for :func:`one_coin`, or the confusion matrices are too large.
    """
    _check_counts(smoothing=smoothing, pooling=pooling)
    matrix, known = _prepared(votes, gold)

    def step(said: Array, probabilities: Array) -> tuple[Array, Array]:
        filled = said + smoothing
        if pooling:
            together = said.sum(axis=0) + LEAST
            filled += pooling * together / together.sum(axis=0)
        totals = filled.sum(axis=1, keepdims=True)
        rows = np.divide(filled, totals, out=np.full_like(filled, 1 / matrix.classes), where=totals > 0)
        return np.maximum(rows, LEAST), _class_shares(probabilities)

    fit = _fitted(matrix, step, known, iterations, tolerance)
    return _consensus("Dawid-Skene", votes, fit, known, row_prior=matrix.classes * smoothing + pooling)


# EM


def expectation_maximisation(
    matrix: VoteMatrix,
    start: tuple[Array, Array],
    step: Step,
    gold: Codes,
    iterations: int,
    tolerance: float,
) -> Fit:
    """EM from ``start``, emissions and chances of the classes, until nothing moves by more than ``tolerance``."""
    emission, prior = start
    joint, base = matrix.joint(emission, prior)
    probabilities, evidence = posterior(joint, gold)
    iteration, settled = 1, False
    while iteration < iterations and not settled:
        emission, prior = step(matrix.said(probabilities), probabilities)
        joint, base = matrix.joint(emission, prior)
        before = probabilities
        probabilities, evidence = posterior(joint, gold)
        iteration, settled = iteration + 1, bool(np.abs(probabilities - before).max() < tolerance)
    return Fit(probabilities, prior, emission, base + float(evidence.sum()), iteration, settled)


def posterior(joint: Array, gold: Codes) -> tuple[Array, Array]:
    """Probabilities [classes, items] and log-evidence [items] from joint log-probabilities [classes, items].

    Items of a known label are what they are, and their evidence is that of it.
    """
    most = joint.max(axis=0)
    probabilities = np.exp(joint - most)
    totals = probabilities.sum(axis=0)
    probabilities /= totals
    evidence = most + np.log(totals)
    known = np.flatnonzero(gold >= 0)
    if known.size:
        evidence[known] = joint[gold[known], known]
        probabilities[:, known] = np.eye(joint.shape[0])[:, gold[known]]
    return probabilities, evidence


def _fitted(matrix: VoteMatrix, step: Step, gold: Codes, iterations: int, tolerance: float) -> Fit:
    """EM from the shares of the votes (Dawid & Skene 1979, equation 3.1).

    The likelihood has a peak for every order of the classes, and from the shares EM finds the one that most votes speak for.
    Known labels may tell that it is another: then EM is also begun from the classes that votes alone show, named by them.
    """

    def climb(start: tuple[Array, Array], known: Codes) -> Fit:
        return expectation_maximisation(matrix, start, step, known, iterations, tolerance)

    shares = matrix.shares()
    known = np.flatnonzero(gold >= 0)
    if not known.size:
        return climb(step(matrix.said(shares), shares), gold)
    alone = climb(step(matrix.said(shares), shares), np.full(matrix.items, -1))
    named = _named_by(matrix.joint(alone.emission, alone.prior)[0][:, known], gold[known])
    shares[:, known] = np.eye(matrix.classes)[:, gold[known]]
    starts = [step(matrix.said(shares), shares), (alone.emission[:, :, named], alone.prior[named])]
    return best(climb(start, gold) for start in starts)


def _named_by(joint: Array, gold: Codes) -> Codes:
    """Which of the classes of ``joint`` [classes, known items] each class is by the labels known of the items."""
    from scipy.optimize import linear_sum_assignment

    fits = np.stack([np.bincount(gold, weights=row, minlength=len(joint)) for row in joint], axis=1)
    return np.asarray(linear_sum_assignment(fits, maximize=True)[1])


def best(fits: Iterable[Fit]) -> Fit:
    """The likeliest; the first of those that are."""
    return max(fits, key=lambda fit: fit.log_likelihood)


def _coins(accuracy: Array, classes: int) -> Array:
    """Emissions [raters, said, true] of raters who are right with ``accuracy`` [raters] and else say anything alike."""
    wrong = (1 - accuracy) / max(classes - 1, 1)
    emission = np.where(np.eye(classes, dtype=bool), accuracy[:, None, None], wrong[:, None, None])
    return np.maximum(emission, LEAST)


def _class_shares(probabilities: Array) -> Array:
    return np.maximum(probabilities.mean(axis=1), LEAST)


def _prepared(votes: Votes, gold: Codes | None) -> tuple[VoteMatrix, Codes]:
    check_votes(votes)
    return VoteMatrix(votes), checked_gold(votes, gold)


def check_votes(votes: Votes) -> None:
    """See that there is something to aggregate.

    Raises:
        DataError: there is not, or the labels are no classes.
    """
    _, raters, classes = votes.shape
    if not votes.size:
        raise DataError("no answers", "there is nothing to aggregate.", "Give at least one answer.")
    if classes > MOST_CLASSES or raters * classes**2 > MOST_CELLS:
        raise DataError(
            f"{classes:,} different labels of {raters:,} raters",
            f"classes are counted for every rater, and {MOST_CLASSES} classes and {MOST_CELLS:,} cells are the most.",
            "Give labels that are classes: no texts, and no measurements.",
        )


def checked_gold(votes: Votes, gold: Codes | None) -> Codes:
    """The known labels [items], none where ``gold`` is None.

    Raises:
        DataError: there is not one for each item, or one is no label.
    """
    items, _, classes = votes.shape
    if gold is None:
        return np.full(items, -1, np.intp)
    known = np.asarray(gold)
    if known.shape != (items,) or not np.issubdtype(known.dtype, np.integer):
        raise DataError(
            f"known labels of shape {known.shape}",
            f"{items} whole numbers are needed, one an item.",
            "Use -1 for none.",
        )
    if known.min(initial=-1) < -1 or known.max(initial=-1) >= classes:
        raise DataError(
            "known labels",
            f"they run from {known.min()} to {known.max()}, not from -1 to {classes - 1}.",
            "Code them anew.",
        )
    return known.astype(np.intp)


def confusion_of(chances: Array) -> Array:
    """Confusion matrices [raters, true, said]; where there is one label alone nobody can say anything else."""
    return np.ones_like(chances) if chances.shape[1] == 1 else chances


def _check_counts(**counts: float) -> None:
    if not all(0 <= count < np.inf for count in counts.values()):
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(told, "they are numbers of answers.", "Give numbers of at least 0.")


def _consensus(
    method: str,
    votes: Votes,
    fit: Fit,
    gold: Codes,
    row_prior: float | None = None,
    witness: Callable[[], Consensus] | None = None,
) -> Consensus:
    return Consensus(
        votes=votes,
        method=method,
        fitted=np.ascontiguousarray(fit.probabilities.T),
        prior=fit.prior,
        confusion=confusion_of(fit.emission.transpose(0, 2, 1)),
        log_likelihood=fit.log_likelihood,
        iterations=fit.iterations,
        converged=fit.converged,
        gold=gold,
        row_prior=row_prior,
        witness=witness,
    )
