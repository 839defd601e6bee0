"""The linear fit: against closed forms and scikit-learn's own estimators, mirrored, blind to what is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from heed.errors import DataError
from heed.train import linear
from heed.train.linear import Judged, fit_linear, folds, log_loss, refit, stack

RNG = np.random.default_rng(0)


def world(count: int, noise: float, seed: int = 0, texts: int = 120, width: int = 5) -> tuple[Any, Judged, Any]:
    """Texts of random features, comparisons by a linear worth plus logistic noise, and that worth."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(texts, width)) * np.array([1.0, 3.0, 0.1, 1.0, 20.0])[:width]
    truth = np.array([1.0, -0.5, 0.0, 2.0, 0.0])[:width]
    first, second = (rng.integers(texts, size=count) for _ in range(2))
    second = np.where(second == first, (second + 1) % texts, second)
    lead = (features[first] - features[second]) @ truth + noise * rng.logistic(size=count)
    groups = [str(n // 3) for n in range(count)]
    return features, Judged.of(first.tolist(), second.tolist(), (lead > 0).astype(float).tolist(), groups), truth


def test_the_truth_is_recovered_up_to_its_scale_and_leads_are_log_odds() -> None:
    features, judged, truth = world(3000, 1.0)
    fitted, spread = fit_linear({"all": features}, judged), features.std(0)
    # In the features' own units: a weight on what hardly varies is not known well.
    assert spread * fitted.weights["all"] == pytest.approx(spread * truth, abs=0.25)
    # With logistic noise of scale 2 the log-odds are half of the leads, whatever the penalty did before the stacking.
    noisy, judged, _ = world(6000, 2.0, seed=1)
    assert spread * fit_linear({"all": noisy}, judged).weights["all"] == pytest.approx(spread * truth / 2, abs=0.25)


def test_ridge_is_the_closed_form_of_the_differences() -> None:
    features, judged, _ = world(400, 1.0)
    fitted = fit_linear({"all": features}, judged, "ridge")
    scale = features.std(0) * features.shape[1] ** 0.5
    x = (features[judged.first] - features[judged.second]) / scale
    y = 2 * judged.better - 1
    expected = np.linalg.solve(x.T @ x + fitted.penalties["all"] * np.eye(5), x.T @ y) / scale
    assert fitted.weights["all"] == pytest.approx(fitted.shares["all"] * expected, rel=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
def test_logistic_regression_minimises_its_own_objective(sparse: bool) -> None:
    """By a general minimiser on the soft-label loss, penalty included; ties and weights count as they should."""
    features, judged, _ = world(300, 1.0, seed=2)
    better = judged.better.copy()
    better[::7] = 0.5
    better[1::7] = 0.8
    soft = Judged.of(
        judged.first.tolist(),
        judged.second.tolist(),
        better.tolist(),
        judged.group.tolist(),
        RNG.uniform(0.2, 3, 300).tolist(),
    )
    blocks = {"all": csr_matrix(features) if sparse else features}
    fitted = fit_linear(blocks, soft)
    scale = np.ones(5) if sparse else features.std(0) * 5**0.5
    x = (features[soft.first] - features[soft.second]) / scale
    strength = fitted.penalties["all"]

    def objective(w: Any) -> float:
        z = x @ w
        return float((soft.weight * (np.logaddexp(0, z) - soft.better * z)).sum() + strength * w @ w / 2)

    best = minimize(objective, np.zeros(5), tol=1e-10).x
    assert fitted.weights["all"] == pytest.approx(fitted.shares["all"] * best / scale, rel=2e-2, abs=1e-3)


@pytest.mark.parametrize("learner", ["logistic", "ridge", "svm"])
@settings(max_examples=8)
@given(st.integers(0, 1000))
def test_turning_all_comparisons_round_changes_nothing(learner: Any, seed: int) -> None:
    features, judged, _ = world(60, 2.0, seed=seed, texts=30)
    turned = Judged.of(
        judged.second.tolist(), judged.first.tolist(), (1 - judged.better).tolist(), judged.group.tolist()
    )
    one, other = (fit_linear({"all": features}, rows, learner).weights["all"] for rows in (judged, turned))
    assert other == pytest.approx(one, rel=1e-2, abs=1e-3 * float(np.abs(one).max() + 1e-9))


def test_a_thumb_says_as_much_as_a_comparison_with_the_middle() -> None:
    """Single judgments teach the same worth as comparisons, whatever the threshold of thumbs is."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(4000, 3))
    truth = np.array([1.5, -1.0, 0.5])
    up = features @ truth + 2.0 + rng.logistic(size=4000) > 0
    groups = [str(n) for n in range(4000)]
    single = Judged.of(range(4000), [-1] * 4000, up.astype(float).tolist(), groups)
    assert fit_linear({"all": features}, single).weights["all"] == pytest.approx(truth, abs=0.15)
    pairs = Judged.of([0], [1], [1.0], ["pair"])
    assert fit_linear({"all": features}, pairs.joined(single)).weights["all"] == pytest.approx(truth, abs=0.15)


def test_a_block_that_says_nothing_gets_next_to_no_share() -> None:
    features, judged, _ = world(800, 1.0)
    noise = np.random.default_rng(5).normal(size=(len(features), 40))
    shares = fit_linear({"told": features, "noise": noise}, judged).shares
    told = fit_linear({"told": features}, judged).shares["told"]
    assert shares["told"] == pytest.approx(told, rel=0.1)


def test_weights_never_see_the_prompts_that_their_penalty_is_chosen_on() -> None:
    _, judged, _ = world(90, 1.0)
    measured = np.concatenate([to_measure for _, to_measure in folds(judged)])
    assert sorted(measured.tolist()) == list(range(90))
    for to_fit, to_measure in folds(judged):
        assert not set(judged.group[to_fit]) & set(judged.group[to_measure])


def test_comparisons_of_one_prompt_are_parted_by_their_texts() -> None:
    _, judged, _ = world(300, 1.0)
    same = Judged.of(judged.first.tolist(), judged.second.tolist(), judged.better.tolist(), ["one"] * 300)
    splits = folds(same)
    assert splits
    for to_fit, to_measure in splits:
        fitted, measured = (set(same.first[rows]) | set(same.second[rows]) for rows in (to_fit, to_measure))
        assert not fitted & measured
    leads = fit_linear({"all": world(300, 1.0)[0]}, same).left_out_leads
    told = np.concatenate([to_measure for _, to_measure in splits])
    assert np.isnan(np.delete(leads, told)).all()
    assert np.isfinite(leads[told]).all()


@pytest.mark.parametrize("group", ["own", "one"])
def test_of_very_many_rows_some_are_enough_to_choose_penalties_on(monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    features, judged, truth = world(4000, 1.0)
    if group == "one":
        judged = Judged.of(judged.first.tolist(), judged.second.tolist(), judged.better.tolist(), ["one"] * 4000)
    whole = fit_linear({"all": features}, judged)
    monkeypatch.setattr(linear, "_ENOUGH", 1200)
    some = fit_linear({"all": features}, judged)
    told = np.isfinite(some.left_out_leads)
    assert 0 < told.sum() < np.isfinite(whole.left_out_leads).sum() / 2
    if group == "own":
        assert not set(judged.group[told]) & set(judged.group[~told])
        assert 1000 < told.sum() <= 1200
    spread = features.std(0)
    assert spread * some.weights["all"] == pytest.approx(spread * whole.weights["all"], abs=0.3)
    assert spread * some.weights["all"] == pytest.approx(spread * truth, abs=0.4)


def test_pure_noise_is_not_believed() -> None:
    rng = np.random.default_rng(7)
    features = rng.normal(size=(200, 30))
    first, second = rng.integers(100, size=400), 100 + rng.integers(100, size=400)
    better = rng.integers(2, size=400).astype(float)
    judged = Judged.of(first.tolist(), second.tolist(), better.tolist(), [str(n) for n in first])
    fitted = fit_linear({"all": features}, judged)
    leads = (features[first] - features[second]) @ fitted.weights["all"]
    assert np.abs(leads).mean() < 0.25


def test_the_held_out_loss_is_that_of_the_best_slope() -> None:
    rng = np.random.default_rng(8)
    truth = rng.normal(size=5000) * 2
    better = (truth + rng.logistic(size=5000) > 0).astype(float)
    ones = np.ones(5000)
    best = float(np.mean(np.logaddexp(0, truth) - better * truth))
    assert log_loss(truth * 1000, better, ones) == pytest.approx(best, abs=1e-3)
    assert log_loss(-truth, better, ones) == pytest.approx(np.log(2), abs=1e-6)
    assert log_loss(np.zeros(5000), better, ones) == pytest.approx(np.log(2))
    assert np.isfinite(stack(truth[:, None], (truth > 0).astype(float), ones)).all()


def test_resampled_heads_spread_as_fisher_information_says() -> None:
    """The deviations over 40 bootstrap heads against the inverse information of logistic regression (they are known to
    11 % only, and the penalty makes them a little smaller)."""
    features, judged, truth = world(900, 1.0, width=2)
    fitted = fit_linear({"all": features}, judged)
    heads = np.array([refit({"all": features}, judged, fitted, "logistic", seed)["all"] for seed in range(40)])
    assert (refit({"all": features}, judged, fitted, "logistic", 3)["all"] == heads[3]).all()
    x = features[judged.first] - features[judged.second]
    p = 1 / (1 + np.exp(-(x @ truth)))
    expected = np.sqrt(np.diag(np.linalg.inv(x.T @ (x * (p * (1 - p))[:, None]))))
    assert heads.std(0) == pytest.approx(expected, rel=0.4)
    assert heads.mean(0) == pytest.approx(fitted.weights["all"], abs=0.05)


@pytest.mark.parametrize(
    ("better", "second", "told"), [([], [], "no judgment"), ([0.5, 0.5], [1, 0], "comparisons are ties")]
)
def test_what_teaches_nothing_is_refused(better: list[float], second: list[int], told: str) -> None:
    rows = Judged.of([0, 1][: len(better)], second, better, ["a", "b"][: len(better)])
    with pytest.raises(DataError, match=told):
        fit_linear({"all": np.ones((2, 1))}, rows)


@pytest.mark.parametrize("learner", ["logistic", "ridge", "svm"])
def test_one_comparison_is_enough_to_learn_a_direction(learner: Any) -> None:
    fitted = fit_linear({"all": np.array([[1.0], [0.0]])}, Judged.of([0], [1], [1.0], ["a"]), learner)
    assert fitted.weights["all"][0] > 0
