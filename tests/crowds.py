"""Crowds whose truth is known: votes drawn from the models that the methods assume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heed.raters.votes import Votes


@dataclass(frozen=True)
class Crowd:
    """Votes, the true class of each item [items], and what each rater says of each class [raters, true, said]."""

    votes: Votes
    truth: np.ndarray
    confusion: np.ndarray
    prior: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """Of each rater [raters], on an item drawn from all."""
        return np.einsum("k,rkk->r", self.prior, self.confusion)

    def gold(self, known: int) -> np.ndarray:
        """The labels of the first items, -1 for the others."""
        return np.where(np.arange(self.truth.size) < known, self.truth, -1)


def coins(accuracy: np.ndarray, classes: int = 2) -> np.ndarray:
    """Confusion matrices of raters who are right with ``accuracy`` [raters] whatever the class."""
    wrong = (1 - accuracy) / (classes - 1)
    return np.where(np.eye(classes, dtype=bool), accuracy[:, None, None], wrong[:, None, None])


def rows(raters: int, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Confusion matrices with different rows, mostly right."""
    return np.stack(
        [[rng.dirichlet(np.where(np.arange(classes) == k, 8, 2.5)) for k in range(classes)] for _ in range(raters)]
    )


def crowd(
    rng: np.random.Generator, items: int, overlap: int, confusion: np.ndarray, prior: np.ndarray | None = None
) -> Crowd:
    """``overlap`` raters drawn for each item, who answer by ``confusion`` [raters, true, said]."""
    raters, classes = confusion.shape[:2]
    shares = np.full(classes, 1 / classes) if prior is None else prior
    truth = rng.choice(classes, items, p=shares)
    item = np.repeat(np.arange(items), overlap)
    rater = rng.random((items, raters)).argsort(axis=1)[:, :overlap].ravel()
    cumulative = confusion[rater, truth[item]].cumsum(axis=1)
    label = (rng.random(item.size)[:, None] > cumulative[:, :-1]).sum(axis=1)
    names = ([f"{prefix}{number:04d}" for number in range(count)] for prefix, count in (("i", items), ("r", raters)))
    return Crowd(Votes(item, rater, label, *names, [str(k) for k in range(classes)]), truth, confusion, shares)


def camps(rng: np.random.Generator, items: int, overlap: int, raters: int, turned: float, classes: int = 2) -> Crowd:
    """Raters of whom a share ``turned`` says the next class to the one that they mean; all are right on 85 %."""
    straight = coins(np.full(raters, 0.85), classes)
    confusion = straight.copy()
    count = round(turned * raters)
    confusion[:count] = np.roll(straight[:count], 1, axis=2)
    return crowd(rng, items, overlap, confusion)
