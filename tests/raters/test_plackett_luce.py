"""Scores from rankings, against choix, against comparisons, and Elo by hand."""

from __future__ import annotations

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from heed.errors import DataError
from heed.raters.bradley_terry import Duels, bradley_terry
from heed.raters.plackett_luce import elo, plackett_luce


def drawn(truth: np.ndarray, n: int, size: int, seed: int) -> list[list[list[int]]]:
    """Rankings of ``size`` things each: Gumbel noise on the worth gives Plackett-Luce."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        among = rng.choice(truth.size, size, replace=False)
        order = among[np.argsort(-(truth[among] + rng.gumbel(size=size)))]
        found.append([[int(code)] for code in order])
    return found


def test_scores_are_those_of_choix() -> None:
    rankings = drawn(np.random.default_rng(0).normal(size=8), 60, 5, 1)
    flat = [[group[0] for group in ranking] for ranking in rankings]
    expected = choix.opt_rankings(8, flat, alpha=0.05, method="Newton-CG", tol=1e-10)
    assert np.allclose(plackett_luce(rankings, 8, prior=0.1), expected - expected.mean(), atol=2e-4)


def test_scores_of_whole_rankings_are_recovered() -> None:
    truth = np.random.default_rng(2).normal(size=8)
    found = plackett_luce(drawn(truth, 4000, 8, 3), 8)
    assert np.allclose(found, truth - truth.mean(), atol=0.08)


def test_two_things_make_bradley_terry_with_a_tie_as_a_win_of_each() -> None:
    rng = np.random.default_rng(4)
    left = rng.integers(5, size=80)
    right = (left + rng.integers(1, 5, size=80)) % 5
    outcome = rng.choice([0.0, 0.5, 1.0], size=80)
    rankings = [
        [[int(a), int(b)]] if y == 0.5 else [[int(a)], [int(b)]] if y else [[int(b)], [int(a)]]
        for a, b, y in zip(left, right, outcome, strict=True)
    ]
    # Half a win each, counted twice, is a win of each.
    duels = Duels(left, right, outcome, 5, weight=np.where(outcome == 0.5, 2.0, 1.0))
    assert np.allclose(plackett_luce(rankings, 5), bradley_terry(duels).scores, atol=1e-3)


def test_equals_are_drawn_together_and_have_no_order_among_themselves() -> None:
    strict = drawn(np.array([1.5, 0.5, -0.5, -1.5]), 200, 4, 6)
    some = [[ranking[0], [*ranking[1], *ranking[2]], ranking[3]] for ranking in strict]
    turned = [[first, middle[::-1], last] for first, middle, last in some]
    apart, together = plackett_luce(strict, 4), plackett_luce(some, 4)
    assert np.allclose(together, plackett_luce(turned, 4), atol=1e-3)
    assert together[1] - together[2] < 0.8 * (apart[1] - apart[2])
    assert np.allclose(plackett_luce([[[0, 1, 2, 3]]] * 10, 4), 0.0, atol=1e-6)


def test_the_choice_of_an_equal_is_of_the_average_that_is_left() -> None:
    # Two equals above a third, in closed form: e^(a+b) / ((A + B + C) ((A + B) / 2 + C)), at its best point with a = b.
    found = plackett_luce([[[0, 1], [2]]] * 1000, 3, prior=1e-3)

    def loss(x: float) -> float:
        a, c = np.exp(x / 3), np.exp(-2 * x / 3)
        return 1000 * (np.log(2 * a + c) + np.log(a + c) - 2 * x / 3) + 0.0005 * (2 * (x / 3) ** 2 + (2 * x / 3) ** 2)

    assert found[0] - found[2] == pytest.approx(minimize_scalar(loss, bounds=(0, 40), method="bounded").x, rel=1e-2)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(5)), st.integers(0, 1000))
def test_names_of_things_do_not_matter(names: list[int], seed: int) -> None:
    rankings = drawn(np.linspace(-1, 1, 5), 10, 3, seed)
    renamed = [[[names[code] for code in group] for group in ranking] for ranking in rankings]
    assert np.allclose(plackett_luce(renamed, 5)[names], plackett_luce(rankings, 5), atol=1e-3)


@pytest.mark.parametrize("rankings", [[], [[[0]]], [[[0], [0]]], [[[0], [9]]]])
def test_rankings_that_are_none_are_refused(rankings: list[list[list[int]]]) -> None:
    with pytest.raises(DataError):
        plackett_luce(rankings, 3)


def test_elo_by_hand() -> None:
    duels = Duels(np.array([0, 0]), np.array([1, 1]), np.array([1.0, 0.5]), 2)
    first = 16 * 0.5
    expected = 1 / (1 + 10 ** (-2 * first / 400))
    second = 16 * (0.5 - expected)
    assert elo(duels) == pytest.approx([1000 + first + second, 1000 - first - second])
