"""What a reward was trained on, so that it can say which texts lie outside of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from heed.errors import DataError

FILE = "surroundings.safetensors"
EXPECTED_OUTSIDE = 0.01
"""Share of texts like those trained on that lie outside, by the choice of the limit."""

WHY_IT_MATTERS = (
    "Nobody has judged texts like these, so their scores are guesses: a policy that is optimised against them learns the "
    "errors of the reward. Have some of them judged, and train the reward again."
)
_FOLDS = 5
# Rows that mean and covariance are taken from (count): more change nothing that matters.
_ENOUGH = 20_000

Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Surroundings:
    """The training texts' features as one normal distribution; a text outside is further from its mean than almost all.

    The distance is that of Mahalanobis 1936, as a detector of what is new in Lee et al. 2018, "A Simple Unified Framework
    for Detecting Out-of-Distribution Samples", section 2.1; the covariance, of columns brought to deviation 1, is shrunk
    towards a multiple of the identity as in Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional
    covariance matrices", section 3.

    Attributes:
        mean: [D] of the features. whitening: [D, D]; (x - mean) @ whitening has the unit matrix as covariance.
        limit: distance that all but ``EXPECTED_OUTSIDE`` of such texts stay within.
        texts: training texts behind it (count).
    """

    mean: Matrix
    whitening: Matrix
    limit: float
    texts: int

    @classmethod
    def of(cls, features: NDArray[np.floating], groups: Sequence[str]) -> Surroundings:
        """Learn from the training texts' features [N, D].

        The limit is taken from distances to mean and covariance of the other groups: a text is always near to what it
        has itself shaped.

        Args:
            groups: [N], of the same name where texts belong together (a prompt).

        Raises:
            DataError: there are fewer than two groups.
        """
        kept = np.random.default_rng(0).permutation(len(features))[:_ENOUGH]
        x = np.asarray(features, dtype=np.float64)[kept]
        codes = (
            np.unique(np.asarray(groups, dtype=object).astype(str)[kept], return_inverse=True)[1] if len(x) else kept
        )
        if len(np.unique(codes)) < 2:
            raise DataError(
                f"{len(np.unique(codes))} prompts to learn surroundings from",
                "what is usual shows only between prompts.",
                "Give texts of more prompts.",
            )
        distances = np.empty(len(x))
        for fold in range(_FOLDS):
            left_out = codes % _FOLDS == fold
            if left_out.any() and not left_out.all():
                distances[left_out] = _distances(x[left_out], *_normal(x[~left_out]))
        limit = float(np.quantile(distances, 1 - EXPECTED_OUTSIDE))
        return cls(*_normal(x), limit, len(features))

    @classmethod
    def known(cls, features: NDArray[np.floating], groups: Sequence[str]) -> Surroundings | None:
        """The same; None where there is one group only, which says nothing of what is usual."""
        return cls.of(features, groups) if len(set(groups)) > 1 else None

    def distances(self, features: NDArray[np.floating]) -> Matrix:
        """Mahalanobis distances [N] of features [N, D]."""
        return _distances(np.asarray(features, dtype=np.float64), self.mean, self.whitening)

    def outside(self, features: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the texts [N] lie outside."""
        return self.distances(features) > self.limit

    def save(self, folder: Path) -> None:
        """Write ``surroundings.safetensors``."""
        numbers = {"limit": np.array([self.limit]), "texts": np.array([self.texts])}
        save_file({"mean": self.mean, "whitening": self.whitening, **numbers}, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Surroundings | None:
        """Read what ``save`` wrote; None where there is nothing."""
        if not (folder / FILE).is_file():
            return None
        found = load_file(folder / FILE)
        return cls(found["mean"], found["whitening"], float(found["limit"][0]), int(found["texts"][0]))


def _normal(x: Matrix) -> tuple[Matrix, Matrix]:
    """Mean and whitening of rows, by the shrunk covariance of their standardised columns."""
    from scipy.linalg import solve_triangular
    from sklearn.covariance import ledoit_wolf

    mean, spread = x.mean(0), x.std(0)
    # A column that never varied keeps its unit: any change of it is new.
    spread = np.where(spread > 1e-12, spread, 1.0)
    covariance, _ = ledoit_wolf((x - mean) / spread, assume_centered=True)
    # Where all rows are alike there is nothing to shrink to, and the smallest ridge keeps the factor.
    lower = np.linalg.cholesky(covariance + 1e-9 * np.eye(x.shape[1]))
    whitening = solve_triangular(lower, np.eye(x.shape[1]), lower=True).T / spread[:, None]
    return mean, np.ascontiguousarray(whitening)


def _distances(x: Matrix, mean: Matrix, whitening: Matrix) -> Matrix:
    found: Matrix = np.sqrt((((x - mean) @ whitening) ** 2).sum(1))
    return found


def told_outside(outside: int, texts: int) -> str:
    """A sentence about texts outside; empty where there are no more than are to be expected."""
    # Two standard errors of the expected number above it: a handful is chance.
    expected = EXPECTED_OUTSIDE * texts
    if outside <= expected + 2 * (expected * (1 - EXPECTED_OUTSIDE)) ** 0.5 + 1:
        return ""
    return (
        f"{outside} of {texts} texts ({100 * outside / texts:.0f} %) are unlike what the reward was trained on, where "
        f"about {100 * EXPECTED_OUTSIDE:.0f} % are. {WHY_IT_MATTERS}"
    )
