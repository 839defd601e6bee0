"""What pairs are worth: against brute force, closed forms and simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.feedback.worth import Fixed, Information, disagreement, gap, in_turn, thompson


def log_determinant(rows: np.ndarray, prior: float) -> float:
    return float(np.linalg.slogdet(prior * np.eye(rows.shape[1]) + rows.T @ rows)[1])


def scaled(features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return features * np.sqrt(probabilities * (1 - probabilities))[:, None]


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 4), past=st.integers(0, 5))
def test_each_pair_is_worth_what_it_adds_to_the_log_determinant(seed: int, size: int, past: int) -> None:
    rng = np.random.default_rng(seed)
    features, earlier = rng.normal(size=(7, size)), rng.normal(size=(past, size))
    odds, before = rng.uniform(0.02, 0.98, 7), rng.uniform(0.02, 0.98, past)
    information = Information(features, odds, 0.3, earlier, before)
    known, open_ = scaled(earlier, before), scaled(features, odds)
    for taken in (4, 0, 4, 6):  # the same pair may be asked about again
        now = log_determinant(known, 0.3)
        added = [log_determinant(np.vstack([known, row]), 0.3) - now for row in open_]
        assert information.weights() == pytest.approx(added, abs=1e-9)
        information.take(taken)
        known = np.vstack([known, open_[taken]])


def test_the_greedy_design_comes_near_the_best_of_all_designs() -> None:
    """Nemhauser, Wolsey and Fisher 1978: at least 1 - 1/e of the best gain, as the gain is submodular."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        features, odds = rng.normal(size=(9, 3)), np.full(9, 0.5)
        worth = in_turn(Information(features, odds, 1.0), np.arange(9), 3)
        taken = np.argsort(-worth)[:3]
        rows = scaled(features, odds)
        best = max(log_determinant(rows[list(three)], 1.0) for three in combinations(range(9), 3))
        assert log_determinant(rows[taken], 1.0) >= (1 - 1 / np.e) * best
        assert log_determinant(rows[taken], 1.0) == pytest.approx(np.sort(worth)[-3:].sum())


def test_the_design_spreads_out_where_the_best_pairs_are_alike() -> None:
    features = np.array([[5.0, 0.0], [5.0, 0.01], [4.9, 0.0], [0.0, 2.0]])
    worth = in_turn(Information(features, np.full(4, 0.5), 1.0), np.arange(4), 2)
    assert set(np.argsort(-worth)[:2]) & {3}
    same = in_turn(Information(features, np.full(4, 0.5), 1.0), np.array([0, 0, 0, 1]), 4)
    assert (same > 0).sum() == 2, "one a prompt"


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 4)), min_size=1, max_size=30),
    st.integers(0, 40),
)
def test_in_turn_leaves_each_prompt_one_pair_and_never_raises_a_worth(
    pairs: list[tuple[float, int]], most: int
) -> None:
    given_worth = np.array([worth for worth, _ in pairs])
    prompts = np.array([prompt for _, prompt in pairs])
    found = in_turn(Fixed(given_worth), prompts, most)
    assert (found <= given_worth + 1e-12).all()
    for prompt in set(prompts.tolist()):
        mine = found[prompts == prompt]
        best = given_worth[prompts == prompt].max()
        assert ((mine > 0).sum() <= 1) or len(set(given_worth[(prompts == prompt) & (found > 0)])) == 1
        assert (mine.max() > 0) == (best > 0)


def test_disagreement_is_the_variance_of_the_votes_of_a_large_committee() -> None:
    rng = np.random.default_rng(0)
    centre, spread = rng.normal(size=6), rng.uniform(0.2, 2, 6)
    committee = centre[:, None] + spread[:, None] * rng.standard_normal((6, 20_000))
    votes = (committee > 0).mean(axis=1)
    assert disagreement(committee) == pytest.approx(4 * votes * (1 - votes), abs=0.02)
    assert disagreement(np.array([[0.0, 0.0], [1.0, 1.0]])).tolist() == [0, 0]
    assert disagreement(np.array([[3.0]])).tolist() == [0]
    assert disagreement(np.array([[-2.0, 2.0]])).tolist() == [1]


def test_gap_is_the_mean_and_a_deviation_whichever_side_leads() -> None:
    assert gap(np.array([[1.0, 3.0], [-1.0, -3.0], [2.0, 2.0]])).tolist() == [3, 3, 2]


def double_thompson(worths: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """One draw, as the algorithm is written."""
    best = worths.argmax(axis=0)
    first = int(rng.choice(best))
    if len(set(best.tolist())) == 1:
        return first, int(rng.choice([c for c in range(len(worths)) if c != first]))
    while (second := int(rng.choice(best))) == first:
        pass
    return first, second


@pytest.mark.parametrize("seed", range(3))
def test_thompson_weighs_pairs_as_often_as_the_algorithm_draws_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    worths = rng.normal(size=(4, 5)) + (np.array([[4.0], [0], [0], [0]]) if seed == 2 else 0)
    pairs = list(combinations(range(4), 2))
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    expected = thompson(worths, np.zeros(4, int), first, second)
    assert expected.sum() == pytest.approx(1)
    draws = 4000
    drawn = [tuple(sorted(double_thompson(worths, rng))) for _ in range(draws)]
    shares = np.array([drawn.count(pair) / draws for pair in pairs])
    assert shares == pytest.approx(expected, abs=4.5 * 0.5 / draws**0.5)


def test_thompson_keeps_prompts_apart_and_leaves_completions_out_that_are_in_no_pair() -> None:
    worths = np.array([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0], [4.0, 4.0]])
    prompts = np.array([0, 0, 0, 1, 1])
    found = thompson(worths, prompts, np.array([1, 3]), np.array([2, 4]))
    assert found == pytest.approx([1, 1]), (
        "the first completion, the best of its prompt, was judged with all others before"
    )
