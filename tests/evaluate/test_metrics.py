import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from heed.errors import DataError
from heed.evaluate.metrics import (
    accuracy,
    calibration,
    distinct_n,
    expected_calibration_error,
    fit_temperature,
    kl_summary,
    length_statistics,
    self_bleu,
    text_statistics,
    words,
)
from heed.statistics import Undefined


def test_words():
    assert words("Don't go — 3.5 kg!") == ["Don", "'", "t", "go", "—", "3", ".", "5", "kg", "!"]
    assert words("我们OK吗?") == ["我", "们", "OK", "吗", "?"]
    assert words(" \n") == []


def test_distinct_n_by_hand():
    texts = ["a b a b", "a b c"]  # pairs: ab ba ab | ab bc
    assert distinct_n(texts, 1) == 3 / 7
    assert distinct_n(texts, 2) == 3 / 5
    assert distinct_n([[1, 2, 1], [2, 1]], 2) == 2 / 3
    assert isinstance(distinct_n(["a", ""], 2), Undefined)


def naive_bleu(candidate, references):
    order = min(4, len(candidate))
    total = 0.0
    for n in range(1, order + 1):
        grams = Counter(tuple(candidate[i : i + n]) for i in range(len(candidate) - n + 1))
        matched = 0
        for gram, count in grams.items():
            most = max(sum(tuple(r[i : i + n]) == gram for i in range(len(r) - n + 1)) for r in references)
            matched += min(count, most)
        if not matched:
            return 0.0
        total += math.log(matched / sum(grams.values())) / order
    nearest = min((abs(len(r) - len(candidate)), len(r)) for r in references)[1]
    return min(1.0, math.exp(1 - nearest / len(candidate))) * math.exp(total)


def test_self_bleu_by_hand():
    assert self_bleu(["the same words again here"] * 3) == pytest.approx(1)
    assert self_bleu(["a b c d", "e f g h"]) == 0
    # "a b": precisions 1 and 1, but shorter than "a b c": exp(1 - 3/2); "a b c": 2/3, 1/2 and 0 of its trigrams.
    assert self_bleu(["a b", "a b c"]) == pytest.approx(math.exp(-0.5) / 2)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=2, max_size=7))
@settings(max_examples=150, deadline=None)
def test_self_bleu_is_the_mean_of_naive_bleus(texts):
    expected = np.mean([naive_bleu(t, texts[:i] + texts[i + 1 :]) for i, t in enumerate(texts)])
    assert self_bleu(texts) == pytest.approx(expected, abs=1e-12)


def test_self_bleu_undefined():
    assert isinstance(self_bleu(["one text", ""]), Undefined)


def test_length_statistics():
    found = length_statistics([1, 2, 3, 10], [True, True, False, True])
    assert (found.mean, found.median, found.longest, found.unfinished) == (4, 2.5, 10, 1)
    assert found.sd == pytest.approx(np.std([1, 2, 3, 10]))
    assert length_statistics([3]).unfinished is None
    assert isinstance(length_statistics([]), Undefined)


def test_text_statistics():
    found = text_statistics(["a b", "a c"], [2, 2])
    assert (found.completions, found.distinct_1, found.lengths.mean) == (2, 0.75, 2)


def test_kl_summary():
    found = kl_summary([4.0, -1.0, 3.0, 6.0], [2, 2, 1, 3], ["a", "b", "c", "d"])
    assert (found.per_completion.estimate, found.per_token) == (3.0, 1.5)
    assert found.p95 == pytest.approx(5.7)
    assert isinstance(kl_summary([], [], []), Undefined)
    with pytest.raises(DataError, match="1 KL values, 2"):
        kl_summary([1.0], [1, 2], ["a"])


def test_accuracy_leaves_ties_out_and_halves_equal_scores():
    found = accuracy([2, -1, 1, 0, 3], [1, 0, 0, 1, 0.5], list("abcde"))
    assert found.clustered.estimate == found.wilson.estimate == 2.5 / 4
    assert (found.ties, found.wilson.n, found.clustered.prompts) == (1, 4, 4)
    expected = stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert accuracy([1, 1, 1, 1], [1, 1, 1, 0], list("abcd")).wilson.low == pytest.approx(expected.low)
    assert accuracy([1.0], [0.5], ["a"]).clustered.reason


def test_expected_calibration_error_by_hand():
    p, y = [0.1, 0.2, 0.6, 0.9], [0, 1, 1, 1]
    # Widths: {.1 .2} off by .35, {.6 .9} by .25; two equal halves are the same bins; one bin is off by .3.
    assert expected_calibration_error(p, y, 2, "width") == pytest.approx((2 * 0.35 + 2 * 0.25) / 4)
    assert expected_calibration_error(p, y, 2, "mass") == pytest.approx(0.3)
    assert expected_calibration_error(p, y, 1) == pytest.approx(0.3)
    # Four equal widths: {.1 .2} off by .35, nothing in the second, .6 by .4, .9 by .1. Masses of three: 2, 1, 1.
    assert expected_calibration_error(p, y, 4, "width") == pytest.approx((2 * 0.35 + 0.4 + 0.1) / 4)
    assert expected_calibration_error(p, y, 3, "mass") == pytest.approx((2 * 0.35 + 0.4 + 0.1) / 4)
    assert expected_calibration_error([0.0, 1.0], [0, 1], 5, "width") == 0
    assert isinstance(expected_calibration_error([], []), Undefined)
    with pytest.raises(DataError, match="probabilities"):
        expected_calibration_error([2.0], [1])


def test_temperature_is_recovered_and_is_the_optimum():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1.5, 20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(-truth))).astype(float)
    found = fit_temperature(3.0 * truth, y)
    assert found == pytest.approx(3.0, rel=0.05)
    slope = ((1 / (1 + np.exp(-3 * truth / found)) - y) * truth).mean()  # gradient of the NLL by 1 / T
    assert slope == pytest.approx(0, abs=1e-5)


@given(st.floats(1e-6, 1e6))
@settings(max_examples=30, deadline=None)
def test_temperature_scales_with_the_scores(scale):
    d, y = np.array([2.0, 1.0, -1.0, 0.5]), [1, 1, 0, 0]
    assert fit_temperature(scale * d, y) == pytest.approx(scale * fit_temperature(d, y), rel=1e-5)


@pytest.mark.parametrize(
    ("d", "y", "word"),
    [
        ([1, -2], [1, 0], "rightly"),
        ([1, -2], [0, 1], "chance"),
        ([1, -1], [0.5, 0.5], "chance"),
        ([0, 0], [1, 0], "zero"),
        ([], [], "no comparisons"),
    ],
)
def test_temperature_says_why_it_is_undefined(d, y, word):
    assert word in fit_temperature(d, y).reason


def test_calibration_of_true_probabilities_is_near_zero_and_covers_the_diagonal():
    rng = np.random.default_rng(2)
    d = rng.normal(0, 2, 6000)
    y = (rng.random(6000) < 1 / (1 + np.exp(-d))).astype(float)
    found = calibration(d, y, [str(i) for i in range(6000)])
    assert found.ece < 0.025
    assert found.ece_equal_width < 0.025
    assert found.temperature == pytest.approx(1, rel=0.1)
    assert len(found.curve) == 10
    assert sum(b.observed.low <= b.predicted <= b.observed.high for b in found.curve) >= 8
    assert calibration(4 * d, y, [str(i) for i in range(6000)]).ece > 0.1


def test_calibration_does_not_depend_on_which_side_stands_first():
    rng = np.random.default_rng(3)
    d, y = rng.normal(size=50), rng.choice([0, 0.5, 1], 50)
    ids = [str(i % 20) for i in range(50)]
    turn = rng.choice([-1, 1], 50)
    found, turned = calibration(d, y, ids), calibration(d * turn, np.where(turn == 1, y, 1 - y), ids)
    assert (turned.ece, turned.ece_equal_width, turned.curve) == (found.ece, found.ece_equal_width, found.curve)
    assert turned.temperature == pytest.approx(found.temperature, rel=1e-5)
    assert isinstance(calibration([], [], []), Undefined)


def test_calibration_needs_a_prompt_for_each():
    with pytest.raises(DataError, match="prompt ids"):
        calibration([1.0], [1], [])
