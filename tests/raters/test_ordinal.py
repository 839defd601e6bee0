"""Ratings by raters with habits: gradients by finite differences, habits and quality recovered."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from heed.errors import DataError
from heed.raters.ordinal import _Ratings as Ratings
from heed.raters.ordinal import rated_quality


def rated(seed: int, items: int = 150, raters: int = 8, levels: int = 5) -> tuple[np.ndarray, ...]:
    """Ratings of every thing by every rater: half lenient, one upside down, one who shuns the ends."""
    rng = np.random.default_rng(seed)
    quality, shift = rng.normal(size=items), np.where(np.arange(raters) % 2, 0.8, -0.8)
    scale = np.ones(raters)
    scale[0] = -1.0
    thresholds = np.tile(np.linspace(-2, 2, levels - 1), (raters, 1))
    thresholds[1, [0, -1]] += [-1.5, 1.5]
    item, rater = np.repeat(np.arange(items), raters), np.tile(np.arange(raters), items)
    place = 1.7 * scale[rater] * (quality[item] - shift[rater]) + rng.logistic(size=item.size)
    level = (place[:, None] > thresholds[rater]).sum(axis=1)
    return item, rater, level, quality, shift, scale


def test_gradients_are_those_of_finite_differences() -> None:
    item, rater, level, *_ = rated(0, items=6, raters=3)
    ratings = Ratings(item, rater, level, 6, 3, 5)
    rng = np.random.default_rng(1)
    raw = np.concatenate([[-1.5], np.log([0.9, 1.0, 1.2])])
    x = np.concatenate([rng.normal(size=3), rng.normal(size=3), [0.4], raw, 0.1 * rng.normal(size=12)])
    numeric = approx_fprime(x, lambda at: ratings.posterior(at)[0], 1e-6)
    assert np.allclose(ratings.posterior(x)[1], numeric, atol=2e-4)


def test_quality_and_habits_are_recovered() -> None:
    item, rater, level, quality, shift, scale = rated(2)
    found = rated_quality(item, rater, level, 5)
    assert np.corrcoef(found.quality, quality)[0, 1] > 0.9
    assert np.sign(found.scale).tolist() == np.sign(scale).tolist()
    assert np.corrcoef(found.shift[1:], shift[1:])[0, 1] > 0.95
    assert found.moves[1, 0] < -0.4
    assert found.moves[1, -1] > 0.4


def test_habits_known_beat_the_plain_mean() -> None:
    item, rater, level, quality, *_ = rated(3)
    found = rated_quality(item, rater, level, 5)
    mean = np.bincount(item, level) / np.bincount(item)
    assert np.corrcoef(found.quality, quality)[0, 1] > np.corrcoef(mean, quality)[0, 1] + 0.03


def test_errors_of_the_quality_are_of_the_right_size() -> None:
    item, rater, level, quality, *_ = rated(4, items=400)
    found = rated_quality(item, rater, level, 5)
    centred = found.quality - found.quality.mean() - (quality - quality.mean())
    assert 0.85 < np.std(centred / found.quality_errors) < 1.2


def test_one_rating_and_two_levels_are_enough_to_say_something() -> None:
    found = rated_quality(np.array([0, 1]), np.array([0, 0]), np.array([0, 1]), 2)
    assert found.quality[1] > found.quality[0]


@pytest.mark.parametrize(("level", "levels"), [([5], 5), ([-1], 5), ([0], 1), ([], 5)])
def test_ratings_that_are_none_are_refused(level: list[int], levels: int) -> None:
    codes = np.zeros(len(level), int)
    with pytest.raises(DataError):
        rated_quality(codes, codes, np.array(level, int), levels)
