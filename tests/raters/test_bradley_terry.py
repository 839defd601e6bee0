"""Scores from comparisons, against another library, a generic optimiser, finite differences and brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from heed.errors import DataError
from heed.raters.bradley_terry import (
    TIES,
    Duels,
    Ties,
    bootstrap,
    bradley_terry,
    score_errors,
    win_probability,
)
from heed.raters.bradley_terry import _first_parameters as first_parameters
from heed.raters.bradley_terry import _losses_of as losses_of
from heed.raters.firmness import fewest_to_flip


def simulated(items: int, n: int, seed: int, tie: float = 0.0) -> tuple[Duels, np.ndarray]:
    """Comparisons drawn from known scores; with ``tie`` by thresholds at that distance, and strengths at 1 and 2."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=items)
    truth -= truth.mean()
    left = rng.integers(items, size=n)
    right = (left + rng.integers(1, items, size=n)) % items
    lead = truth[left] - truth[right] + rng.logistic(size=n)
    outcome = np.where(np.abs(lead) <= tie, 0.5, (lead > 0).astype(float))
    strength = np.where(outcome == 0.5, 0, 1 + (np.abs(lead) > 1.0) + (np.abs(lead) > 2.0))
    return Duels(left, right, outcome, items, strength=strength if tie else None), truth


def test_scores_are_those_of_choix() -> None:
    duels, _ = simulated(12, 400, 0)
    wins = [(a, b) if y else (b, a) for a, b, y in zip(duels.left, duels.right, duels.outcome, strict=True)]
    # choix adds alpha times the sum of squares, of which the precision of a normal prior is twice as much.
    expected = choix.opt_pairwise(12, wins, alpha=0.05, method="Newton-CG", tol=1e-10)
    found = bradley_terry(duels, prior=0.1).scores
    assert np.allclose(found, expected - expected.mean(), atol=2e-4)


def test_two_things_have_the_log_odds_of_their_wins() -> None:
    duels = Duels(np.zeros(10, int), np.ones(10, int), np.array([1.0] * 7 + [0.0] * 3), 2)
    scores = bradley_terry(duels, prior=1e-9).scores
    assert scores[0] - scores[1] == pytest.approx(np.log(7 / 3), abs=1e-4)


def test_a_tie_is_half_a_win_each() -> None:
    ties = Duels(np.zeros(4, int), np.ones(4, int), np.array([1.0, 1.0, 0.5, 0.5]), 2)
    split = Duels(np.zeros(4, int), np.ones(4, int), np.array([1.0, 1.0, 1.0, 0.0]), 2)
    assert np.allclose(bradley_terry(ties).scores, bradley_terry(split).scores, atol=1e-4)


@pytest.mark.parametrize("ties", TIES)
def test_slopes_are_those_of_finite_differences(ties: Ties) -> None:
    duels, _ = simulated(5, 60, 1, tie=0.5)
    rng = np.random.default_rng(2)
    difference, parameters = rng.normal(size=60) * 3, first_parameters(duels, ties) + 0.1
    losses = losses_of(duels, ties)
    loss, slope, by_parameter = losses(difference, parameters)
    step = 1e-6
    numeric = (losses(difference + step, parameters)[0] - losses(difference - step, parameters)[0]) / (2 * step)
    assert np.allclose(slope, numeric, atol=1e-6)
    for place in range(parameters.size):
        moved = np.zeros(parameters.size)
        moved[place] = step
        numeric = (losses(difference, parameters + moved)[0] - losses(difference, parameters - moved)[0]) / (2 * step)
        assert np.allclose(by_parameter[place], numeric, atol=1e-6)
    assert np.isfinite(loss).all()


@pytest.mark.parametrize("ties", TIES)
def test_probabilities_of_all_outcomes_sum_to_one(ties: Ties) -> None:
    difference = np.linspace(-6, 6, 13)
    outcomes = [(1.0, 0), (0.0, 0)] + ([] if ties == "half" else [(0.5, 0)])
    if ties == "graded":
        outcomes = [(y, s) for y in (0.0, 1.0) for s in (1, 2, 3)] + [(0.5, 0)]
    total = np.zeros(13)
    for outcome, strength in outcomes:
        column = np.full(13, strength)
        duels = Duels(np.zeros(13, int), np.ones(13, int), np.full(13, outcome), 2, strength=column)
        parameters = np.log([0.3, 0.9, 1.1]) if ties == "graded" else first_parameters(duels, ties) - 0.7
        total += np.exp(-losses_of(duels, ties)(difference, parameters)[0])
    assert np.allclose(total, 1.0)


def test_thresholds_of_ties_and_strengths_are_recovered() -> None:
    duels, truth = simulated(8, 10_000, 3, tie=0.4)
    found = bradley_terry(duels, "graded")
    assert np.allclose(np.cumsum(np.exp(found.parameters)), [0.4, 1.0, 2.0], atol=0.08)
    assert np.allclose(found.scores, truth, atol=0.15)


def test_davidson_gives_ties_the_odds_they_have_between_equals() -> None:
    outcome = np.array([1.0] * 30 + [0.0] * 30 + [0.5] * 40)
    duels = Duels(np.zeros(100, int), np.ones(100, int), outcome, 2)
    assert bradley_terry(duels, "davidson").parameters[0] == pytest.approx(np.log(40 / 30), abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_sides_and_the_order_of_rows_changes_nothing(seed: int) -> None:
    duels, _ = simulated(6, 50, seed)
    order = np.random.default_rng(seed).permutation(50)
    turned = Duels(duels.right[order], duels.left[order], 1 - duels.outcome[order], 6)
    assert np.allclose(bradley_terry(duels).scores, bradley_terry(turned).scores, atol=1e-3)


def test_what_no_comparison_connects_is_apart_and_what_never_lost_has_a_score() -> None:
    duels = Duels(np.array([0, 0, 2]), np.array([1, 1, 3]), np.ones(3), 5)
    found = bradley_terry(duels)
    assert found.groups == 3
    assert found.group[0] == found.group[1] != found.group[2]
    assert np.isfinite(found.scores).all()
    assert found.scores[4] == 0


def test_the_gradient_at_the_scores_found_is_none() -> None:
    duels, _ = simulated(7, 300, 4)
    found = bradley_terry(duels, prior=0.5)

    def posterior(scores: np.ndarray) -> float:
        d = scores[duels.left] - scores[duels.right]
        return float((np.logaddexp(0, d) - duels.outcome * d).sum() + 0.25 * scores @ scores)

    assert np.abs(approx_fprime(found.scores, posterior, 1e-6)).max() < 2e-3


@pytest.mark.slow
def test_bootstrap_intervals_cover_what_they_say() -> None:
    inside = []
    for seed in range(200):
        duels, truth = simulated(5, 300, seed)
        fitted = bradley_terry(duels)
        draws = np.array(list(bootstrap(duels, fitted, 200, seed)))
        low, high = np.percentile(draws, (2.5, 97.5), axis=0)
        inside += ((low <= truth) & (truth <= high)).tolist()
    assert 0.93 <= np.mean(inside) <= 0.97


def test_bootstrap_by_clusters_draws_whole_ones() -> None:
    # One rater of two says one thing always: single answers drawn anew hardly move, whole raters do.
    outcome = np.array([1.0] * 50 + [0.0] * 50)
    duels = Duels(np.zeros(100, int), np.ones(100, int), outcome, 2)
    fitted = bradley_terry(duels)
    raters = np.repeat([0, 1], 50)
    single = np.array(list(bootstrap(duels, fitted, 100, 0)))[:, 0]
    whole = np.array(list(bootstrap(duels, fitted, 100, 0, raters)))[:, 0]
    assert single.std() < 0.2
    assert whole.std() > 1.0


def brute_force_flip(duels: Duels) -> int:
    """The truly fewest comparisons whose absence changes who is first."""
    first = int(np.argmax(bradley_terry(duels).scores))
    for size in range(1, duels.left.size):
        for without in combinations(range(duels.left.size), size):
            weight = np.ones(duels.left.size)
            weight[list(without)] = 0
            scores = bradley_terry(replace(duels, weight=weight)).scores
            if scores.max() > scores[first] + 1e-3:
                return size
    raise AssertionError("nothing flips it")


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_fewest_votes_to_flip_are_enough_and_nearly_the_fewest(seed: int) -> None:
    duels, _ = simulated(3, 9, seed)
    fitted = bradley_terry(duels)
    found = fewest_to_flip(duels, fitted)
    fewest = brute_force_flip(duels)
    assert found is not None
    weight = np.ones(9)
    weight[found.votes] = 0
    again = bradley_terry(replace(duels, weight=weight)).scores
    assert again[found.runner_up] > again[found.winner]
    assert fewest <= found.votes.size <= fewest + 1


def test_a_lead_that_no_comparison_carries_cannot_be_flipped() -> None:
    # The winner lost never and stood against one thing only: without its comparisons it is no better than any other.
    duels = Duels(np.array([0, 0]), np.array([1, 1]), np.ones(2), 2)
    assert fewest_to_flip(duels, bradley_terry(duels)) is None


def test_errors_from_the_information_are_those_of_the_bootstrap() -> None:
    duels, _ = simulated(6, 3_000, 7)
    fitted = bradley_terry(duels)
    drawn = np.array(list(bootstrap(duels, fitted, 400, seed=1)))
    assert np.allclose(score_errors(duels, fitted), drawn.std(axis=0), rtol=0.12)


def test_things_are_tied_together_where_each_has_beaten_the_other_by_way_of_others() -> None:
    # 0 > 1 > 2 > 0 in a round, 3 tied with 2; 4 beats one of them and never loses.
    duels = Duels(np.array([0, 1, 2, 3, 4]), np.array([1, 2, 0, 2, 0]), np.array([1.0, 1.0, 1.0, 0.5, 1.0]), 5)
    sets = duels.tied_together()
    assert len({int(code) for code in sets[:4]}) == 1
    assert sets[4] != sets[0]


def test_win_probabilities_follow_the_scores() -> None:
    duels, truth = simulated(6, 20_000, 5)
    left, right = np.array([0, 1, 2]), np.array([3, 4, 5])
    found = win_probability(bradley_terry(duels), left, right)
    assert np.allclose(found, 1 / (1 + np.exp(truth[right] - truth[left])), atol=0.03)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (([], [], []), "no comparison"),
        (([0], [0], [1.0]), "with itself"),
        (([0], [2], [1.0]), "not within"),
        (([0], [1], [0.3]), "none of 1"),
        (([0], [1], [np.nan]), "none of 1"),
        (([0, 1], [1, 0], [1.0]), "shapes"),
    ],
)
def test_columns_that_are_none_are_refused(columns: tuple[list, list, list], said: str) -> None:
    left, right, outcome = columns
    with pytest.raises(DataError) as refused:
        Duels(np.array(left, int), np.array(right, int), np.array(outcome, float), 2)
    assert said in str(refused.value)


def test_a_prior_of_nothing_and_an_unknown_model_are_refused() -> None:
    duels, _ = simulated(3, 9, 0)
    with pytest.raises(DataError):
        bradley_terry(duels, prior=0.0)
    with pytest.raises(DataError):
        bradley_terry(duels, "guess")  # type: ignore[arg-type]
