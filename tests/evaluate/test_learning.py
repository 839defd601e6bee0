"""The learning curve: laws found again, intervals that cover, and advice that says which way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from heed.errors import DataError
from heed.evaluate.learning import LearningCurve, fit_power_law, learning_curve, sentence, surely_too_dear
from heed.statistics import Undefined

SIZES = np.array([50.0, 100, 200, 400, 800])


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.1, 1.5, 0.5), (0.0, 0.9, 0.3), (0.2, 3.0, 1.0)])
def test_a_law_without_noise_is_found_again(floor: float, scale: float, exponent: float) -> None:
    errors = floor + scale * SIZES**-exponent
    (law,) = fit_power_law(SIZES, errors[None], np.ones(5))
    assert [1 - law.accuracy(n) for n in (50, 800, 1600)] == pytest.approx(
        [floor + scale * n**-exponent for n in (50, 800, 1600)], abs=2e-3
    )


@pytest.mark.parametrize("seed", range(4))
def test_no_other_law_is_nearer_than_a_general_minimiser_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors, weights = 0.15 + SIZES**-0.5 + rng.normal(0, 0.01, 5), rng.uniform(1, 5, 5)

    def loss(values: np.ndarray) -> float:
        return float(weights @ (errors - values[0] - values[1] * SIZES ** -values[2]) ** 2)

    (law,) = fit_power_law(SIZES, errors[None], weights)
    found = loss(np.array([law.floor, law.scale, law.exponent]))
    starts = [(0.1, 1.0, 0.3), (0.0, 0.5, 0.1), (0.2, 5.0, 1.0)]
    bounds = [(0, 1), (0, None), (0.05, 2.0)]
    best = min(optimize.minimize(loss, start, bounds=bounds, method="L-BFGS-B").fun for start in starts)
    assert found <= best + 2e-6


def test_errors_that_rise_are_a_flat_line() -> None:
    (law,) = fit_power_law(SIZES, np.linspace(0.2, 0.3, 5)[None], np.ones(5))
    assert law.scale == 0
    assert law.floor == pytest.approx(0.25)


def measured(rng: np.random.Generator, prompts: int = 120, repetitions: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Held-out results of a learner of a known curve: what was learned moves all, and prompts differ in difficulty."""
    counted = rng.integers(1, 4, prompts).astype(float)[None].repeat(repetitions, 0)
    moved = rng.normal(0, 0.008, (repetitions, 1, SIZES.size))
    hard = rng.normal(0, 0.06, (1, prompts, 1))
    right = np.clip(1 - (0.12 + 1.6 * SIZES**-0.5) + moved + hard, 0, 1)
    return rng.binomial(counted[..., None].astype(int), right).astype(float), counted


def test_intervals_cover_the_gain_and_the_accuracy() -> None:
    truth = [1 - 0.12 - 1.6 * n**-0.5 for n in (1000, 1100)]
    gains = accuracies = 0
    for seed in range(100):
        found = learning_curve(SIZES.tolist(), *measured(np.random.default_rng(seed)), 1000, seed=seed)
        assert isinstance(found, LearningCurve)
        assert found.gain.low is not None
        assert found.gain.high is not None
        assert found.now.low is not None
        assert found.now.high is not None
        gains += found.gain.low <= truth[1] - truth[0] <= found.gain.high
        accuracies += found.now.low <= truth[0] <= found.now.high
    assert gains >= 90
    assert accuracies >= 90


def curve(cost_free: bool = True) -> LearningCurve:
    found = learning_curve(SIZES.tolist(), *measured(np.random.default_rng(1), 2000), 1000, 100, "a learner")
    assert isinstance(found, LearningCurve)
    return found


def test_the_sentence_weighs_the_gain_against_the_cost() -> None:
    found = curve()
    assert "The next 100 labels would raise accuracy by" in sentence(found)
    assert "cost" not in sentence(found)
    assert "stop" in sentence(found, label_cost=1000.0, accuracy_value=1.0)
    assert "go on" in sentence(found, label_cost=1e-6, accuracy_value=1.0)
    even = (found.gain.estimate or 0.0) * 100 * 10 / 100
    assert "not sure" in sentence(found, label_cost=even, accuracy_value=10.0)
    assert "unknown: too few" in sentence(Undefined(reason="too few"))


def test_what_lies_far_beyond_the_labels_is_called_a_guess_and_the_end_of_the_curve_has_an_interval() -> None:
    far = learning_curve(SIZES.tolist(), *measured(np.random.default_rng(1), 400), 1000, 3001)
    assert isinstance(far, LearningCurve)
    assert "it is a guess" in sentence(far)
    assert "guess" not in sentence(curve())
    assert far.ceiling.low is not None
    assert far.ceiling.high is not None
    assert far.ceiling.low < 0.88 < far.ceiling.high, "the law that was measured levels off at 0.88"


def test_too_little_is_undefined_and_what_does_not_fit_is_refused() -> None:
    right, counted = measured(np.random.default_rng(0), prompts=5)
    few = learning_curve(SIZES.tolist(), right, counted, 100)
    assert isinstance(few, Undefined)
    assert "5" in few.reason
    with pytest.raises(DataError):
        learning_curve([1.0], right, counted, 100)


def test_a_curve_survives_its_record() -> None:
    found = curve()
    assert LearningCurve.model_validate(found.model_dump(mode="json")) == found


def test_only_a_gain_whose_whole_interval_is_too_small_is_surely_too_dear() -> None:
    found = curve()
    low, high = (100 * end for end in (found.gain.low, found.gain.high))
    assert surely_too_dear(found, label_cost=high / 100 * 1.001, accuracy_value=1.0)
    assert not surely_too_dear(found, label_cost=(low + high) / 200, accuracy_value=1.0)
    assert not surely_too_dear(found, label_cost=0.0, accuracy_value=1.0)
    assert not surely_too_dear(found, label_cost=1.0, accuracy_value=0.0)
    assert not surely_too_dear(Undefined(reason="too few"), label_cost=1.0, accuracy_value=1.0)
