"""Estimates corrected for choice: unbiased, with intervals that cover, and said where they were clipped."""

from __future__ import annotations

import numpy as np
import pytest

from heed.errors import DataError
from heed.feedback.chances import chance_weights, clipped, corrected_mean, weights_of
from heed.statistics import mean_interval, proportion_interval, weighted_mean_interval


def choices(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Right or wrong answers of a population of 2,000, chosen with replacement and the harder the oftener."""
    hard = rng.uniform(0, 1, 2000)
    right = (rng.uniform(size=2000) > 0.7 * hard).astype(float)
    probability = 0.3 / 2000 + 0.7 * hard**2 / (hard**2).sum()
    drawn = rng.choice(2000, count, p=probability)
    return right[drawn], chance_weights(probability[drawn], np.full(count, 2000)), drawn, float(right.mean())


def test_weighted_means_are_unbiased_where_plain_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    plain, weighted = [], []
    for _ in range(600):
        values, weights, _, truth = choices(rng, 100)
        plain.append(values.mean() - truth)
        weighted.append((weights * values).mean() - truth)
    error = np.std(weighted) / 600**0.5
    assert abs(np.mean(weighted)) < 4 * error
    assert np.mean(plain) < -10 * error


def test_intervals_of_corrected_means_cover_and_are_no_wider_than_they_must_be() -> None:
    rng, covered, widths, errors = np.random.default_rng(2), 0, [], []
    for _ in range(400):
        values, weights, drawn, truth = choices(rng, 150)
        found = corrected_mean(values, weights, [str(one) for one in drawn], shares=True)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
        widths.append(found.high - found.low)
        errors.append((found.estimate or 0.0) - truth)
    assert 0.93 <= covered / 400 <= 0.98
    assert np.mean(widths) < 1.25 * 2 * 1.96 * np.std(errors)


def test_equal_weights_change_nothing() -> None:
    rng = np.random.default_rng(0)
    values, prompts = rng.integers(0, 2, 60).astype(float), [str(p) for p in rng.integers(0, 20, 60)]
    even = np.full(60, 3.0)
    found, plain = weighted_mean_interval(values, even, prompts), mean_interval(values, prompts)
    assert found.estimate == pytest.approx(plain.estimate)
    share, plain_share = (
        weighted_mean_interval(values, even, prompts, shares=True),
        proportion_interval(values, prompts),
    )
    assert share.estimate == pytest.approx(plain_share.estimate)
    for one, other in ((found, plain), (share, plain_share)):
        assert one.low is not None
        assert other.low is not None
        # Prompts of unequal size are worth fewer equal ones, so the interval is a little wider.
        assert 0 <= other.low - one.low < 0.02


def test_whole_weights_count_as_so_many_observations() -> None:
    values, weights, prompts = [1.0, 0.0, 1.0, 0.0], [3.0, 1.0, 1.0, 2.0], ["a", "b", "c", "d"]
    repeated = [v for v, w in zip(values, weights, strict=True) for _ in range(int(w))]
    owners = [p for p, w in zip(prompts, weights, strict=True) for _ in range(int(w))]
    found = weighted_mean_interval(values, weights, prompts)
    plain = mean_interval(repeated, owners)
    assert found.estimate == pytest.approx(plain.estimate)
    assert found.prompts == plain.prompts


def test_clipping_is_said_and_bounds_what_one_answer_can_do() -> None:
    weights, count = clipped(np.array([1.0, 50.0, 20.0]), 20.0)
    assert (weights.tolist(), count) == ([1.0, 20.0, 20.0], 1)
    values, prompts = [0.0] * 50 + [1.0], [str(n) for n in range(51)]
    found = corrected_mean(values, [1.0] * 50 + [1000.0], prompts, shares=True)
    assert "1 of 51 clipped to 20" in found.method
    assert found.estimate == pytest.approx(20 / 70)
    assert corrected_mean(values, [1.0] * 50 + [1000.0], prompts, most=np.inf).estimate == pytest.approx(1000 / 1050)


def test_what_cannot_be_is_refused_and_what_is_undefined_says_why() -> None:
    for probabilities, eligible in (([0.0], [3]), ([1.2], [3]), ([0.5], [0])):
        with pytest.raises(DataError):
            chance_weights(probabilities, eligible)
    with pytest.raises(DataError, match="at least 0"):
        weighted_mean_interval([1.0], [-1.0], ["a"])
    assert corrected_mean([], [], []).reason
    assert weighted_mean_interval([1.0, 0.0], [1.0, 2.0], ["a", "a"]).low is None
    alike = weighted_mean_interval([1.0] * 9, [1.0] * 9, [str(n) for n in range(9)], shares=True)
    assert alike.low is not None
    assert alike.low < 0.75, "nine prompts that agree do not make certainty"


def test_what_nobody_chose_stands_for_itself() -> None:
    assert weights_of(["a", "b"], {"b": 0.5}).tolist() == [1.0, 0.5]
