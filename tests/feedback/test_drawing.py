"""Batches: frequencies against the probabilities that are kept, unbiasedness, and no prompt twice too early."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from heed.feedback.drawing import Batch, draw_batch, sharpened
from heed.feedback.worth import Fixed, Information


def batch_of(worth, prompts, count: int, seed: int, chance: float = 0.2, sharpness: float = 2.0) -> Batch:
    return draw_batch(worth, np.asarray(prompts), count, chance, sharpness, random.Random(seed))


PROMPTS = np.array([0, 0, 1, 2, 2, 2])
WORTH = np.array([0.1, 1.0, 2.0, 0.0, 3.0, 0.5])


def test_the_first_pair_is_drawn_as_often_as_its_probability_says() -> None:
    draws = [batch_of(Fixed(WORTH), PROMPTS, 1, seed) for seed in range(3000)]
    kept = {int(batch.pairs[0]): float(batch.probability[0]) for batch in draws}
    assert set(kept) == set(range(6)), "chance reaches what is worth nothing too"
    assert sum(kept.values()) == pytest.approx(1)
    counted = Counter(int(batch.pairs[0]) for batch in draws)
    expected = [3000 * kept[pair] for pair in range(6)]
    assert stats.chisquare([counted[pair] for pair in range(6)], expected).pvalue > 1e-3


def test_later_pairs_are_drawn_as_often_as_their_probabilities_say() -> None:
    """Given the first pair, which decides what is left and what it is worth, the second follows what is kept."""
    features = np.random.default_rng(0).normal(size=(6, 2))
    by_first: dict[int, list[tuple[int, float]]] = {}
    for seed in range(4000):
        batch = batch_of(Information(features, np.full(6, 0.5), 0.2), PROMPTS, 2, seed, 0.3, 3.0)
        by_first.setdefault(int(batch.pairs[0]), []).append((int(batch.pairs[1]), float(batch.probability[1])))
    for first, seconds in by_first.items():
        probability = dict(seconds)
        allowed = [pair for pair in range(6) if PROMPTS[pair] != PROMPTS[first]]
        assert set(probability) <= set(allowed)
        if len(seconds) < 200:
            continue
        assert sum(probability.values()) == pytest.approx(1)
        counted = Counter(pair for pair, _ in seconds)
        told = [len(seconds) * probability[pair] for pair in allowed]
        assert stats.chisquare([counted[pair] for pair in allowed], told).pvalue > 1e-4


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=40),
    st.integers(1, 60),
    st.sampled_from([0.0, 1.0, 4.0, np.inf]),
    st.integers(0, 1000),
)
def test_no_prompt_comes_again_before_all_have_come(codes: list[int], count: int, sharpness: float, seed: int) -> None:
    prompts = np.unique(codes, return_inverse=True)[1]
    worth = np.random.default_rng(seed).uniform(0, 1, len(prompts)) * (seed % 3 > 0)
    batch = batch_of(Fixed(worth), prompts, count, seed, 0.1, sharpness)
    assert len(batch.pairs) == len(set(batch.pairs.tolist())) == min(count, len(prompts))
    drawn, left = prompts[batch.pairs].tolist(), Counter(prompts.tolist())
    while drawn:
        turn = drawn[: len(left)]
        assert len(set(turn)) == len(turn)
        drawn = drawn[len(left) :]
        left -= Counter(left.keys())
    assert ((batch.probability > 0) & (batch.probability <= 1)).all()
    assert (batch.eligible >= 1).all()
    assert (batch.probability >= 0.1 / batch.eligible - 1e-12).all()


def mean_by_batches(prompts: np.ndarray, values: np.ndarray, worth: np.ndarray, count: int, sharpness: float) -> tuple:
    estimates, plain = [], []
    for seed in range(1200):
        batch = batch_of(Fixed(worth), prompts, count, seed, 0.3, sharpness)
        estimates.append(float((batch.speaks_for * values[batch.pairs]).mean()))
        plain.append(float(values[batch.pairs].mean()))
    return np.array(estimates), np.array(plain)


@pytest.mark.parametrize(("count", "sharpness"), [(2, 1.0), (4, 2.0), (5, 1.0), (8, 2.0)])
def test_what_pairs_speak_for_makes_an_unbiased_mean_of_all_pairs(count: int, sharpness: float) -> None:
    """Within a pass, at its end, and in the next one; prompts of different size, values that go with what is preferred."""
    prompts = np.array([0, 0, 0, 1, 2, 2, 3, 4, 4])
    worth = np.array([1.0, 3.0, 0.5, 2.0, 0.2, 4.0, 1.0, 0.3, 2.5])
    values = worth + np.array([0, 1, 0, 0, 1, 0, 1, 1, 0])
    estimates, plain = mean_by_batches(prompts, values, worth, count, sharpness)
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - values.mean()) < 4.5 * error
    if count < 8:
        assert plain.mean() - values.mean() > 6 * error, "uncorrected it would be far off"


def test_pairs_of_a_uniform_draw_speak_for_themselves() -> None:
    batch = batch_of(Fixed(np.ones(12)), np.repeat(np.arange(6), 2), 4, 0, 1.0, 0.0)
    assert batch.speaks_for == pytest.approx(np.ones(4))
    assert batch.by_chance.all()


def test_a_seed_draws_the_same_and_another_one_does_not() -> None:
    prompts, worth = np.arange(50), np.random.default_rng(0).uniform(size=50)
    one, same, other = (batch_of(Fixed(worth), prompts, 20, seed) for seed in (1, 1, 2))
    assert one.pairs.tolist() == same.pairs.tolist() != other.pairs.tolist()


def test_sharpness_goes_from_chance_to_the_best_alone() -> None:
    worth = np.array([1.0, 2.0, 0.0])
    assert sharpened(worth, 0.0).tolist() == [1, 1, 1]
    assert sharpened(worth, 1.0).tolist() == [0.5, 1, 0]
    assert sharpened(worth, np.inf).tolist() == [0, 1, 0]
    assert sharpened(np.zeros(2), 2.0).tolist() == [0, 0]
