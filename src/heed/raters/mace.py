"""MACE: a rater either knows the label or answers by habit (Hovy et al. 2013, "Learning Whom to Trust with MACE").

On each item rater r knows with chance knows_r, and then says what is true; else r answers with the rater's own habits, a
distribution over the labels that does not look at the item. All classes are equally common. EM either with a small count
added (section 2.1) or as variational Bayes with a Beta(1/2, 1/2) prior on knowing and a Dirichlet(10) prior on habits, as
the paper's experiments and its program have it; from several random starts, of which the likeliest is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from heed.errors import DataError
from heed.lazily import np
from heed.raters.consensus import Consensus
from heed.raters.labels import (
    LEAST,
    Fit,
    VoteMatrix,
    best,
    check_votes,
    checked_gold,
    confusion_of,
    dawid_skene,
    expectation_maximisation,
)
from heed.raters.votes import Codes, Votes
from heed.statistics import Array

Training = Literal["variational", "smoothed"]

_NOISE = 0.5
_KNOWS_PRIOR = 0.5
_HABIT_PRIOR = 10.0


@dataclass(frozen=True, kw_only=True)
class MaceConsensus(Consensus):
    """A consensus whose raters have a chance that each ``knows`` [raters], and ``habits`` [raters, classes]."""

    knows: Array
    habits: Array


def mace(
    votes: Votes,
    gold: Codes | None = None,
    *,
    training: Training = "variational",
    restarts: int = 10,
    iterations: int = 200,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> MaceConsensus:
    """Classes from votes, and how often each rater knows them.

    Args:
        votes: what was said.
        gold: the known label of each item [items], -1 where it is not known; such items are fixed.
        training: "variational" or "smoothed" EM.
        restarts: random starts.
        iterations: most iterations of each.
        tolerance: largest change of a probability in the last one.
        seed: of the starts.

    Raises:
        DataError: there are no votes, too many classes, ``gold`` does not fit, or ``training`` is unknown.
    """
    if training not in ("variational", "smoothed"):
        raise DataError(f"training {training!r}", "MACE is not trained so.", "Use variational or smoothed.")
    check_votes(votes)
    known = checked_gold(votes, gold)
    matrix = VoteMatrix(votes)
    rng = np.random.default_rng(seed)
    found: list[tuple[Fit, _Raters]] = []
    for _ in range(restarts):
        raters = _Raters(matrix.raters, matrix.classes, training, rng)
        flat = np.full(matrix.classes, 1 / matrix.classes)
        start = raters.emission(), flat
        found.append((expectation_maximisation(matrix, start, raters.step, known, iterations, tolerance), raters))
    chosen = best(fit for fit, _ in found)
    raters = next(raters for fit, raters in found if fit is chosen)
    knows, habits = raters.means()
    # The variational weights are no chances: they do not sum to 1. What is reported is made from the means.
    confusion = confusion_of(np.maximum(_emission(knows, habits), LEAST).transpose(0, 2, 1))
    return MaceConsensus(
        votes=votes,
        method="MACE",
        fitted=np.ascontiguousarray(chosen.probabilities.T),
        prior=chosen.prior,
        confusion=confusion,
        log_likelihood=chosen.log_likelihood,
        iterations=chosen.iterations,
        converged=chosen.converged,
        gold=known,
        witness=lambda: dawid_skene(votes, gold),
        knows=knows,
        habits=habits,
    )


def _emission(knows: Array, habits: Array) -> Array:
    """What raters say [raters, said, true]."""
    guessed = ((1 - knows)[:, None] * habits)[:, :, None]
    return guessed + knows[:, None, None] * np.eye(habits.shape[1])


class _Raters:
    """Step M: what each rater knows and does by habit, from expected counts."""

    def __init__(self, raters: int, classes: int, training: Training, rng: np.random.Generator) -> None:
        self._training = training
        known = 1 + _NOISE * rng.random((raters, 2))
        habits = 1 + _NOISE * rng.random((raters, classes))
        self._knows, self._guesses = (known / known.sum(axis=1, keepdims=True)).T
        self._habits = habits / habits.sum(axis=1, keepdims=True)
        self._counts: tuple[Array, Array, Array] | None = None

    def emission(self) -> Array:
        """What raters say [raters, said, true]; with variational weights less than a chance."""
        guessed = (self._guesses[:, None] * self._habits)[:, :, None]
        return np.maximum(guessed + self._knows[:, None, None] * np.eye(self._habits.shape[1]), LEAST)

    def step(self, said: Array, probabilities: Array) -> tuple[Array, Array]:
        """Of answers that were right, some were known; all others were habit."""
        classes = said.shape[1]
        right = np.einsum("rkk->rk", said)
        by_habit = self._guesses[:, None] * self._habits
        share = self._knows[:, None] / np.maximum(self._knows[:, None] + by_habit, LEAST)
        known = (right * share).sum(axis=1)
        habits = said.sum(axis=2) - right * share
        self._counts = known, habits.sum(axis=1), habits
        if self._training == "smoothed":
            small = 0.01 / classes
            total = known + habits.sum(axis=1) + 2 * small
            self._knows, self._guesses = (known + small) / total, (habits.sum(axis=1) + small) / total
            self._habits = (habits + small) / (habits + small).sum(axis=1, keepdims=True)
        else:
            pair = np.stack([known, habits.sum(axis=1)], axis=1)
            self._knows, self._guesses = _variational(pair + _KNOWS_PRIOR).T
            self._habits = _variational(habits + _HABIT_PRIOR)
        return self.emission(), np.full(classes, 1 / classes)

    def means(self) -> tuple[Array, Array]:
        """How often each rater knows [raters], and the habits [raters, classes]."""
        if self._training == "smoothed" or self._counts is None:
            return self._knows / (self._knows + self._guesses), self._habits
        known, guessed, habits = self._counts
        filled = habits + _HABIT_PRIOR
        return (known + _KNOWS_PRIOR) / (known + guessed + 2 * _KNOWS_PRIOR), filled / filled.sum(axis=1, keepdims=True)


def _variational(counts: Array) -> Array:
    """exp of the expected log of what has a Dirichlet distribution of these ``counts`` [rows, ...]."""
    from scipy.special import digamma

    return np.asarray(np.exp(digamma(counts) - digamma(counts.sum(axis=1, keepdims=True))))
