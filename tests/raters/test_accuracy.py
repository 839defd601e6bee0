"""Intervals of raters' accuracies: against numeric second derivatives, and how often they cover the truth."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from crowds import coins, crowd, rows
from heed.raters import accuracy
from heed.raters.labels import dawid_skene, one_coin
from heed.raters.votes import Votes

Z = NormalDist().inv_cdf(0.975)


def hessian(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Second derivatives by central differences."""
    n = at.size
    found, eye = np.empty((n, n)), np.eye(n) * step
    for i in range(n):
        for j in range(n):
            corners = [function(at + a * eye[i] + b * eye[j]) * a * b for a in (1, -1) for b in (1, -1)]
            found[i, j] = sum(corners) / (4 * step**2)
    return found


def softmax(logits: np.ndarray) -> np.ndarray:
    """Chances [..., n] from logits [..., n - 1], the last of which is zero."""
    full = np.concatenate([logits, np.zeros((*logits.shape[:-1], 1))], axis=-1)
    shares = np.exp(full - full.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def height(votes: Votes, prior: np.ndarray, confusion: np.ndarray) -> float:
    """Log-likelihood of the votes."""
    logs = np.log(confusion)[votes.rater, :, votes.label]
    joint = np.log(prior) + np.zeros((len(votes.items), 1))
    np.add.at(joint, votes.item, logs)
    return float(np.logaddexp.reduce(joint, axis=1).sum())


def wilson(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre, half = (
        (p + Z**2 / (2 * n)) / (1 + Z**2 / n),
        Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)),
    )
    return centre - half, centre + half


def test_the_information_on_one_accuracy_is_the_curvature_of_the_likelihood() -> None:
    made = crowd(np.random.default_rng(0), 250, 4, coins(np.array([0.6, 0.7, 0.75, 0.8, 0.85])), np.array([0.4, 0.6]))
    found = one_coin(made.votes, smoothing=0, pooling=0, iterations=5000, tolerance=1e-12)

    def function(numbers: np.ndarray) -> float:
        return height(made.votes, softmax(numbers[5:]), coins(numbers[:5]))

    at = np.append(found.raters.accuracy, np.log(found.prior[0] / found.prior[1]))
    variance = np.diag(np.linalg.inv(-hessian(function, at)))[:5]
    low, high = wilson(at[:5], at[:5] * (1 - at[:5]) / variance)
    assert found.raters.method == accuracy.WHOLE
    assert found.raters.low == pytest.approx(low, abs=5e-3)
    assert found.raters.high == pytest.approx(high, abs=5e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_information_on_whole_rows_is_the_curvature_of_the_posterior(classes: int) -> None:
    rng = np.random.default_rng(1)
    raters, smoothing, free = 4, 0.5, classes - 1
    made = crowd(
        rng, 300, 3, rows(raters, classes, rng), np.array([0.5, 0.3, 0.2])[:classes] / (0.8 if free == 1 else 1)
    )
    found = dawid_skene(made.votes, smoothing=smoothing, pooling=0, iterations=5000, tolerance=1e-12)

    def unpacked(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return softmax(numbers[:free]), softmax(numbers[free:].reshape(raters, classes, free))

    def function(numbers: np.ndarray) -> float:
        prior, confusion = unpacked(numbers)
        return height(made.votes, prior, confusion) + smoothing * float(np.log(confusion).sum())

    def right(numbers: np.ndarray) -> np.ndarray:
        prior, confusion = unpacked(numbers)
        return np.einsum("k,rkk->r", prior, confusion)

    logits = [np.log(chances[..., :free] / chances[..., free:]).ravel() for chances in (found.prior, found.confusion)]
    at = np.concatenate(logits)
    steps = np.eye(at.size) * 1e-5
    slope = np.stack([(right(at + step) - right(at - step)) / 2e-5 for step in steps], axis=1)
    variance = np.einsum("ri,ij,rj->r", slope, np.linalg.inv(-hessian(function, at)), slope)
    p = right(at)
    low, high = wilson(p, p * (1 - p) / variance)
    assert found.raters.accuracy == pytest.approx(p)
    assert found.raters.low == pytest.approx(low, abs=5e-3)
    assert found.raters.high == pytest.approx(high, abs=5e-3)


def coverage(
    method: Callable[..., object], repeats: int, items: int, overlap: int, confusion: np.ndarray, prior: np.ndarray
) -> float:
    """The share of intervals, of all raters and repeats, that hold the rater's true accuracy."""
    inside = []
    for repeat in range(repeats):
        made = crowd(np.random.default_rng(repeat), items, overlap, confusion, prior)
        table = method(made.votes).raters  # type: ignore[attr-defined]
        if table.reason is None:
            inside.append((table.low <= made.accuracy) & (made.accuracy <= table.high))
    assert len(inside) >= 0.98 * repeats
    return float(np.mean(inside))


def test_intervals_of_one_accuracy_cover_it_as_often_as_they_say() -> None:
    confusion = coins(np.linspace(0.6, 0.9, 15))
    assert 0.93 <= coverage(one_coin, 250, 150, 5, confusion, np.array([0.4, 0.6])) <= 0.97


@pytest.mark.slow
def test_intervals_of_whole_rows_cover_the_accuracy_as_often_as_they_say() -> None:
    confusion = rows(12, 2, np.random.default_rng(4))
    assert 0.93 <= coverage(dawid_skene, 250, 200, 5, confusion, np.array([0.4, 0.6])) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raters", "items", "overlap", "classes"), [(3, 2000, 3, 2), (39, 108, 39, 2), (10, 400, 4, 3)]
)
def test_intervals_cover_in_other_crowds_too(raters: int, items: int, overlap: int, classes: int) -> None:
    prior = np.array([0.4, 0.6]) if classes == 2 else np.array([0.5, 0.3, 0.2])
    confusion = rows(raters, classes, np.random.default_rng(5))
    assert 0.93 <= coverage(dawid_skene, 250, items, overlap, confusion, prior) <= 0.97


@pytest.mark.slow
def test_intervals_of_each_rater_alone_cover_where_raters_are_many() -> None:
    rng = np.random.default_rng(6)
    confusion, prior = rows(500, 2, rng), np.array([0.4, 0.6])
    found = [dawid_skene(crowd(np.random.default_rng(k), 10_000, 5, confusion, prior).votes).raters for k in range(10)]
    assert {table.method for table in found} == {accuracy.ALONE}
    truth = np.einsum("k,rkk->r", prior, confusion)
    assert 0.93 <= np.mean([(table.low <= truth) & (truth <= table.high) for table in found]) <= 0.97


def test_what_votes_cannot_say_has_no_interval() -> None:
    """One vote an item: raters of any accuracy would have voted so."""
    made = crowd(np.random.default_rng(7), 80, 1, coins(np.full(4, 0.8)))
    table = dawid_skene(made.votes, smoothing=0, pooling=0).raters
    wide = np.isnan(table.low) | (table.high - table.low > 0.5)
    assert wide.all()


def test_a_rater_without_votes_has_no_accuracy() -> None:
    made = crowd(np.random.default_rng(8), 60, 3, coins(np.full(6, 0.8)))
    kept = made.votes.where(made.votes.rater != 2)
    for method in (one_coin, dawid_skene):
        table = method(kept).raters
        assert np.flatnonzero(np.isnan(table.accuracy)).tolist() == [2]
        assert np.flatnonzero(np.isnan(table.low)).tolist() == [2]
        assert table.answers[2] == 0


def test_known_labels_leave_nothing_missing() -> None:
    """With every label known the interval is Wilson's of right answers."""
    made = crowd(np.random.default_rng(9), 100, 3, coins(np.linspace(0.6, 0.9, 6)))
    table = one_coin(made.votes, made.gold(100), smoothing=0, pooling=0).raters
    right = made.votes.label == made.truth[made.votes.item]
    shares = np.bincount(made.votes.rater, weights=right) / table.answers
    assert table.accuracy == pytest.approx(shares)
    low, high = wilson(shares, table.answers.astype(float))
    assert table.low == pytest.approx(low, abs=5e-3)
    assert table.high == pytest.approx(high, abs=5e-3)
