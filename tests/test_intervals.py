import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from heed.errors import DataError
from heed.statistics import Interval, Undefined, mean_interval, proportion_interval, wilson_interval


def ids(prompts, samples=1):
    return [f"p{i}" for i in range(prompts) for _ in range(samples)]


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 7), (7, 7), (180, 200), (1, 1)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_wilson_is_scipys(k, n, confidence):
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    found = wilson_interval(k, n, confidence)
    assert (found.estimate, found.n) == (k / n, n)
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_mean_of_one_observation_a_prompt_is_the_t_interval():
    x = np.random.default_rng(0).normal(3, 2, 23)
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.9)
    found = mean_interval(x, ids(23), 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_copies_of_an_observation_add_no_certainty():
    x = np.random.default_rng(1).normal(size=30)
    once, copied = mean_interval(x, ids(30)), mean_interval(np.repeat(x, 5), ids(30, 5))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert (copied.prompts, copied.n) == (30, 150)
    y = (x > 0.2).astype(float)
    once, copied = proportion_interval(y, ids(30)), proportion_interval(np.repeat(y, 5), ids(30, 5))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_prompts_of_unequal_size_by_hand():
    # Residuals around 3 are -2 | 1, 3 | -2: sums -2, 4, -2; variance 3/2 * (4 + 16 + 4) / 16.
    found = mean_interval([1, 4, 6, 1], ["a", "b", "b", "c"])
    half = stats.t.ppf(0.975, 2) * (1.5 * 24 / 16) ** 0.5
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))


@pytest.mark.parametrize("prompts", [5, 12, 40])
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("rate", [0.03, 0.5, 0.9])
@pytest.mark.parametrize("likeness", [0.0, 0.6])
def test_proportion_covers_the_truth(prompts, samples, rate, likeness):
    """Beta-binomial prompts, few and near the edges too. A t interval is a point where all agree: with 5 prompts and a
    rate of 0.03 it covers one time in seven."""
    rng = np.random.default_rng([prompts, samples, int(100 * rate), int(10 * likeness)])
    runs, names = 400, ids(prompts, samples)
    if likeness:
        size = (1 - likeness) / likeness
        p = rng.beta(rate * size, (1 - rate) * size, (runs, prompts, 1))
    else:
        p = np.full((runs, prompts, 1), rate)
    outcomes = (rng.random((runs, prompts, samples)) < p).astype(float).reshape(runs, -1)
    found = [proportion_interval(row, names) for row in outcomes]
    covered = np.mean([i.low <= rate <= i.high for i in found])
    assert covered >= 0.915  # 0.95 less some three standard errors of 400 runs
    if prompts >= 40:
        assert covered <= 0.995


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 9)), min_size=1, max_size=60),
    st.floats(0.6, 0.99),
)
@settings(max_examples=150, deadline=None)
def test_ends_are_ordered_within_0_and_1_and_symmetric(rows, confidence):
    y, names = [r[0] for r in rows], [str(r[1]) for r in rows]
    found, other = proportion_interval(y, names, confidence), proportion_interval([1 - v for v in y], names, confidence)
    if len(set(names)) == 1:
        assert found.low is None
        assert "One prompt" in (found.reason or "")
        return
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert found.low < found.high
    assert (1 - other.high, 1 - other.low) == pytest.approx((found.low, found.high))


def test_what_is_undefined_says_why():
    assert proportion_interval([], []).reason == "There are no observations."
    assert mean_interval([], []).estimate is None
    assert wilson_interval(0, 0).reason
    alone = mean_interval([2.0, 4.0], ["a", "a"])
    assert (alone.estimate, alone.low, alone.prompts) == (3.0, None, 1)
    assert not alone.above(0)
    assert not alone.below(9)


@pytest.mark.parametrize(
    ("values", "names", "word"),
    [
        ([0.1, float("nan")], ["a", "b"], "entry 1"),
        ([[0.1]], ["a"], "shape"),
        ([0.1, 0.2], ["a"], "1 prompt ids for 2"),
        ([0.1, 1.2], ["a", "b"], "1.2"),
    ],
)
def test_bad_input_is_named(values, names, word):
    with pytest.raises(DataError, match=word):
        proportion_interval(values, names)


def test_impossible_successes():
    with pytest.raises(DataError, match="8"):
        wilson_interval(8, 7)


def test_records_hold_no_nan_and_are_frozen():
    with pytest.raises(ValidationError):
        Interval(estimate=float("nan"), low=0, high=1, confidence=0.95, prompts=1, n=1, method="m")
    with pytest.raises(ValidationError):
        Undefined(reason="")
    found = mean_interval([1, 2], ["a", "b"])
    with pytest.raises(ValidationError):
        found.low = 0.0
    assert Interval.model_validate_json(found.model_dump_json()) == found
