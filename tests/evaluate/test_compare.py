import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from heed.errors import DataError
from heed.evaluate.compare import (
    length_controlled_win_rate,
    mean_difference,
    outcomes_from_scores,
    reward_against_kl,
    undefined_win_rate,
    win_rate,
    win_rates,
)


def names(n, samples=1):
    return [f"p{i // samples}" for i in range(n)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def biased(rng, n, theta, phi, mean_gap=6.0):
    """Comparisons in which a longer policy completion wins more often than it should."""
    reference = rng.integers(10, 40, n)
    policy = np.maximum(1, reference + np.round(rng.normal(mean_gap, 8, n)).astype(int))
    gap = policy - reference
    p = sigmoid(theta + phi * np.tanh(gap / gap.std()))
    return (rng.random(n) < p).astype(float), policy, reference


def test_outcomes_from_scores():
    assert outcomes_from_scores([3, 1, 2, 2.05], [1, 3, 2, 2], 0.1).tolist() == [1, 0, 0.5, 0.5]
    assert outcomes_from_scores([2.05], [2]).tolist() == [1]
    with pytest.raises(DataError, match="2 policy scores, 1"):
        outcomes_from_scores([1, 2], [1])


def test_win_rate_counts_ties_as_half():
    found = win_rate([1, 1, 0, 0.5], names(4))
    assert (found.estimate, found.prompts, found.n) == (0.625, 4, 4)
    with pytest.raises(DataError, match=r"outcome 1 is 0\.7"):
        win_rate([1, 0.7], names(2))


def test_length_control_is_the_penalised_regression():
    y, policy, reference = biased(np.random.default_rng(0), 60, 0.4, 1.0)
    y[:5] = 0.5
    gap = policy - reference
    X = np.stack([np.ones(60), np.tanh(gap / gap.std())], 1)

    def penalised(beta):
        p = sigmoid(X @ beta)
        information = X.T @ (X * (p * (1 - p))[:, None])
        return -(y * np.log(p) + (1 - y) * np.log1p(-p)).sum() - 0.5 * np.linalg.slogdet(information)[1]

    beta = minimize(penalised, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    found = length_controlled_win_rate(y, policy, reference, names(60))
    assert found.estimate == pytest.approx(sigmoid(beta[0]), abs=1e-6)


@pytest.mark.slow
def test_length_control_agrees_with_plain_regression_where_there_is_much_data():
    y, policy, reference = biased(np.random.default_rng(1), 4000, 0.3, 0.8)
    gap = policy - reference
    x = np.tanh(gap / gap.std())[:, None]
    plain = LogisticRegression(C=np.inf, tol=1e-10).fit(x, y)
    found = length_controlled_win_rate(y, policy, reference, names(4000, 4))
    assert found.estimate == pytest.approx(sigmoid(plain.intercept_[0]), abs=1e-3)


def test_length_control_takes_off_a_pure_length_effect():
    y, policy, reference = biased(np.random.default_rng(2), 2000, 0.0, 1.5)
    found = win_rates(y, policy, reference, names(2000))
    assert found.above(0.5)
    assert found.length_controlled.low < 0.5 < found.length_controlled.high


def test_length_control_is_antisymmetric_and_repeats():
    y, policy, reference = biased(np.random.default_rng(3), 120, 0.7, 0.5)
    found = length_controlled_win_rate(y, policy, reference, names(120, 2), seed=5)
    swapped = length_controlled_win_rate(1 - y, reference, policy, names(120, 2), seed=5)
    assert swapped.estimate == pytest.approx(1 - found.estimate, abs=1e-9)
    assert (1 - swapped.high, 1 - swapped.low) == pytest.approx((found.low, found.high), abs=1e-9)
    assert length_controlled_win_rate(y, policy, reference, names(120, 2), seed=5) == found
    assert length_controlled_win_rate(y, policy, reference, names(120, 2), seed=6) != found


def test_length_control_stays_finite_when_length_separates_wins_from_losses():
    policy, reference = np.arange(40) + 1, np.full(40, 20)
    y = (policy > reference).astype(float)
    found = length_controlled_win_rate(y, policy, reference, names(40))
    assert 0 < found.low <= found.estimate <= found.high < 1
    assert found.estimate == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_length_control_covers_the_truth():
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(60):
        y, policy, reference = biased(rng, 150, 0.6, 0.8)
        found = length_controlled_win_rate(y, policy, reference, names(150))
        covered += found.low <= sigmoid(0.6) <= found.high
    assert covered >= 52


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 4), st.integers(0, 4), st.sampled_from("abcd")),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_length_control_of_a_handful_is_finite_or_says_why(rows):
    found = length_controlled_win_rate(*([row[i] for row in rows] for i in range(4)))
    if found.estimate is None:
        assert found.reason
    else:
        assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_length_control_counts_the_resamples_it_cannot_use():
    found = length_controlled_win_rate([1, 0, 1], [5, 5, 9], [5, 5, 5], names(3))
    left_out = int(re.search(r"(\d+) of 1,000 resamples left out", found.method)[1])
    assert left_out == pytest.approx(1000 * ((2 / 3) ** 3 + (1 / 3) ** 3), abs=60)


def test_length_control_counts_clusters():
    y, policy, reference = biased(np.random.default_rng(6), 80, 0.6, 0.8)
    once = length_controlled_win_rate(y, policy, reference, names(80))
    copied = length_controlled_win_rate(np.repeat(y, 6), np.repeat(policy, 6), np.repeat(reference, 6), names(480, 6))
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.15)


def test_length_control_without_differences_in_length_is_the_win_rate():
    y = [1, 0, 1, 1, 0.5]
    assert length_controlled_win_rate(y, [9] * 5, [9] * 5, names(5)) == win_rate(y, names(5))


@pytest.mark.parametrize(
    ("y", "policy", "reference", "ids", "word"),
    [
        ([1, 1, 1], [4, 5, 6], [3, 3, 3], names(3), "outcomes are the same"),
        ([1, 0, 1], [4, 5, 6], [3, 4, 5], names(3), "same 1"),
        ([1, 0], [4, 5], [3, 3], ["a", "a"], "two prompts"),
        ([], [], [], [], "two prompts"),
    ],
)
def test_length_control_says_why_it_is_undefined(y, policy, reference, ids, word):
    found = length_controlled_win_rate(y, policy, reference, ids)
    assert found.estimate is None
    assert word in found.reason


def test_length_control_needs_every_length():
    with pytest.raises(DataError, match="1 lengths for 2"):
        length_controlled_win_rate([1, 0], [4], [3], names(2))


def test_undefined_win_rate():
    nothing = undefined_win_rate("there are no raters")
    assert nothing.reason == nothing.length_controlled.reason == "there are no raters"


def test_difference_is_the_paired_t_test_where_prompts_are_shared():
    rng = np.random.default_rng(7)
    before = rng.normal(size=40)
    after = before + rng.normal(0.3, 0.4, 40)
    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    found = mean_difference(after, names(40), before, names(40))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    shuffled = rng.permutation(40)
    same = mean_difference(after, names(40), before[shuffled], [names(40)[i] for i in shuffled])
    assert (same.low, same.high) == pytest.approx((found.low, found.high))


def test_difference_of_unpaired_sides_is_wider_and_close_to_welch():
    rng = np.random.default_rng(8)
    before, after = rng.normal(size=300), rng.normal(0.5, 2, 400)
    expected = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
    found = mean_difference(after, [f"a{i}" for i in range(400)], before, [f"b{i}" for i in range(300)])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.005)


def test_difference_undefined_and_wrong():
    assert mean_difference([], [], [1.0], ["a"]).reason == "One side has no observations."
    assert mean_difference([2.0], ["a"], [1.0], ["a"]).estimate == 1.0
    with pytest.raises(DataError, match="prompt ids"):
        mean_difference([1.0], [], [1.0], ["a"])


def test_reward_against_kl_is_in_the_references_spread_and_ordered_by_kl():
    found = reward_against_kl(
        [0, 20, 10], [0.0, 8.0, 3.0], [1.0, 5.0, 3.0], [0.0, 1.0, 2.0], [4, 4, 6], [2.0, 4.0, 6.0]
    )
    assert [(p.step, p.kl, p.proxy, p.true) for p in found] == [(0, 0, 0, 0), (10, 3, 2, 1), (20, 8, 4, 0)]
    assert reward_against_kl([0], [0.0], [1.0], [0.0, 2.0])[0].true is None


def test_reward_against_kl_refuses_what_has_no_scale():
    with pytest.raises(DataError, match="no spread"):
        reward_against_kl([0], [0.0], [1.0], [2.0, 2.0])
    with pytest.raises(DataError, match="differ in length"):
        reward_against_kl([0, 1], [0.0], [1.0], [1.0, 2.0])
