"""Raters told apart: shares and scores recovered, gradients by finite differences, which way is up, and when nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from heed.errors import DataError
from heed.raters.bradley_terry import Duels, bradley_terry
from heed.raters.crowd_answers import WAYS_PRIOR
from heed.raters.crowd_answers import CrowdAnswers as Data
from heed.raters.crowd_bt import CrowdRanking, crowd_bradley_terry

CAREFUL, INVERTED, LEFT, RANDOM = (
    (0.95, 0.01, 0.02, 0.02),
    (0.03, 0.95, 0.01, 0.01),
    (0.25, 0.03, 0.7, 0.02),
    (0.1, 0.1, 0.4, 0.4),
)


class World:
    """Things of known worth, and raters whose ways of answering are known."""

    def __init__(
        self, ways: list[tuple[float, float, float, float]], items: int, each: int, seed: int, gold: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.truth = rng.normal(size=items) * 1.5
        self.truth -= self.truth.mean()
        self.ways = np.array(ways)
        n = each * len(ways)
        self.rater = np.repeat(np.arange(len(ways)), each)
        self.left = rng.integers(items, size=n)
        self.right = (self.left + rng.integers(1, items, size=n)) % items
        difference = self.truth[self.left] - self.truth[self.right]
        known = np.tile(np.arange(each) < gold, len(ways))
        self.gold = np.where(known, (difference > 0).astype(float), np.nan)
        heeded = np.where(known, difference > 0, rng.random(n) < 1 / (1 + np.exp(-difference)))
        way = np.array([rng.choice(4, p=self.ways[rater]) for rater in self.rater])
        self.outcome = np.select([way == 0, way == 1, way == 2], [heeded, ~heeded, True], False).astype(float)

    def fit(self) -> CrowdRanking:
        return crowd_bradley_terry(self.left, self.right, self.outcome, self.rater, gold=self.gold)


def test_gradients_are_those_of_finite_differences() -> None:
    world = World([CAREFUL, INVERTED, LEFT], 5, 30, 0, gold=4)
    duels = Duels(world.left, world.right, world.outcome, 5)
    data = Data.of(duels, world.rater, world.gold, 3, 0.3, np.array(WAYS_PRIOR))
    rng = np.random.default_rng(1)
    scores, logits = rng.normal(size=5), rng.normal(size=(3, 4))
    _, by_score, by_logit = data.posterior(scores, logits)
    numeric = approx_fprime(scores, lambda s: data.posterior(s, logits)[0], 1e-6)
    assert np.allclose(by_score, numeric, atol=1e-4)
    numeric = approx_fprime(logits.ravel(), lambda x: data.posterior(scores, x.reshape(3, 4))[0], 1e-6)
    assert np.allclose(by_logit.ravel(), numeric, atol=1e-4)


def test_shares_and_scores_are_recovered() -> None:
    world = World([CAREFUL] * 7 + [LEFT] * 2 + [INVERTED], 30, 1500, 2)
    found = world.fit()
    assert found.direction == "majority"
    expected = world.ways[:, 0] - world.ways[:, 1]
    assert np.allclose(found.reliability, expected, atol=0.12)
    assert np.allclose(found.left_bias, world.ways[:, 2] - world.ways[:, 3], atol=0.1)
    assert np.corrcoef(found.scores, world.truth)[0, 1] > 0.99


def test_telling_raters_apart_beats_taking_them_alike() -> None:
    gains = []
    for seed in range(5):
        world = World([CAREFUL] * 5 + [RANDOM] * 2 + [LEFT] * 2 + [INVERTED], 40, 60, seed)
        plain = bradley_terry(Duels(world.left, world.right, world.outcome, 40)).scores
        gains.append(np.corrcoef(world.fit().scores, world.truth)[0, 1] - np.corrcoef(plain, world.truth)[0, 1])
    assert np.mean(gains) > 0.05
    assert min(gains) > 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_inverted_raters_in_the_majority_are_found_out_by_ten_gold_items_each(seed: int) -> None:
    world = World([CAREFUL] * 8 + [INVERTED] * 12, 40, 80, seed, gold=10)
    found = world.fit()
    assert found.direction == "gold"
    assert np.corrcoef(found.scores, world.truth)[0, 1] > 0.85
    assert (found.reliability[:8] > 0.3).all()
    assert (found.reliability[8:] < -0.3).all()


@pytest.mark.parametrize("inverted", [8, 10, 12])
def test_without_gold_two_camps_of_like_size_are_said_to_be_unidentifiable(inverted: int) -> None:
    found = World([CAREFUL] * (20 - inverted) + [INVERTED] * inverted, 40, 80, 3).fit()
    assert found.direction == "unidentifiable"
    assert "gold" in found.reason


def test_raters_who_do_not_read_point_nowhere() -> None:
    found = World([(0.0, 0.0, 1.0, 0.0)] * 5, 20, 50, 4).fit()
    assert found.direction == "unidentifiable"


def test_honest_raters_are_not_called_a_minority_by_chance() -> None:
    for seed in range(10):
        assert World([CAREFUL] * 10, 30, 40, seed).fit().direction == "majority"


def test_the_mirror_image_fits_as_well() -> None:
    world = World([CAREFUL] * 3 + [INVERTED] * 3, 10, 100, 5)
    duels = Duels(world.left, world.right, world.outcome, 10)
    even = np.array([2.0, 2.0, 1.25, 1.25])
    data = Data.of(duels, world.rater, np.full(world.left.size, np.nan), 6, 0.01, even)
    rng = np.random.default_rng(6)
    scores, logits = rng.normal(size=10), rng.normal(size=(6, 4))
    mirrored = logits[:, [1, 0, 2, 3]]
    assert data.posterior(scores, logits)[0] == pytest.approx(data.posterior(-scores, mirrored)[0])


@pytest.mark.slow
@pytest.mark.parametrize("each", [200, 400, 800])
def test_intervals_cover_what_they_say(each: int) -> None:
    """Of reliabilities and of scores, with so many answers a rater."""
    reliabilities, scores = list[bool](), list[bool]()
    for seed in range(200):
        ways = np.random.default_rng(1000 + seed).dirichlet(WAYS_PRIOR, size=8)
        world = World([tuple(row) for row in ways], 25, each, seed)
        found = world.fit()
        if found.direction != "majority":
            continue
        expected = world.ways[:, 0] - world.ways[:, 1]
        reliabilities += (np.abs(found.reliability - expected) <= 1.96 * found.reliability_errors).tolist()
        scores += (np.abs(found.scores - world.truth) <= 1.96 * found.score_errors).tolist()
    assert len(reliabilities) > 1000
    assert 0.93 <= np.mean(reliabilities) <= 0.97
    assert 0.93 <= np.mean(scores) <= 0.97


def test_errors_are_those_of_the_whole_information() -> None:
    """The information by finite differences of the gradient, inverted as a whole, against the errors by blocks."""
    world = World([CAREFUL] * 3 + [LEFT, RANDOM, INVERTED], 8, 120, 3)
    world.outcome[:20] = 0.5
    duels = Duels(world.left, world.right, world.outcome, 8)
    data = Data.of(duels, world.rater, world.gold, 6, 0.1, np.array(WAYS_PRIOR))
    found = world.fit()
    logits = np.log(found.ways)

    def gradient(x: np.ndarray) -> np.ndarray:
        _, by_score, by_logit = data.posterior(x[:8], x[8:].reshape(6, 4))
        return np.concatenate([by_score, by_logit.ravel()])

    best = minimize(
        lambda x: data.posterior(x[:8], x[8:].reshape(6, 4))[0], np.r_[found.scores, logits.ravel()], jac=gradient
    )
    at, step = best.x, 1e-5
    rows = [(gradient(at + step * one) - gradient(at - step * one)) / (2 * step) for one in np.eye(at.size)]
    covariance = np.linalg.pinv((np.array(rows) + np.array(rows).T) / 2, rcond=1e-9)
    drawn = np.random.default_rng(0).multivariate_normal(at[8:], covariance[8:, 8:], 200_000, check_valid="ignore")
    weights = np.exp(drawn.reshape(-1, 6, 4))
    shares = weights / weights.sum(axis=2, keepdims=True)
    assert found.reliability_errors == pytest.approx((shares[:, :, 0] - shares[:, :, 1]).std(axis=0), rel=0.03)


def test_an_answer_without_a_partner_and_wrong_columns_are_refused() -> None:
    one = np.array([0])
    with pytest.raises(DataError):
        crowd_bradley_terry(one, one + 1, np.array([1.0]), np.array([0, 1]))
    with pytest.raises(DataError):
        crowd_bradley_terry(one, one + 1, np.array([1.0]), one, gold=np.array([0.5]))
    with pytest.raises(DataError):
        crowd_bradley_terry(one, one + 1, np.array([1.0]), one, ways_prior=(1.0, 1.0, 0.0, 1.0))


def test_a_rater_without_answers_is_what_the_prior_says() -> None:
    found = crowd_bradley_terry(np.array([0, 0]), np.array([1, 1]), np.ones(2), np.array([0, 0]), raters=2)
    prior = np.array(WAYS_PRIOR) / np.sum(WAYS_PRIOR)
    assert found.ways[1] == pytest.approx(prior, abs=1e-2)
