"""Plackett-Luce with ties and gaps, and first choices: by hand, by all orders, by choix, by finite differences."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from splits import gradients_of_splits
from torch import Tensor

from heed.losses.rankings import UNRANKED, edit_logprobs, first_choice_logprobs, plackett_luce_logprobs
from heed.losses.reward import A_PREFERRED, bradley_terry_loss

GENERATOR = torch.Generator().manual_seed(3)
SCORES = 2 * torch.randn(11, 5, generator=GENERATOR, dtype=torch.float64)
PLACES = torch.tensor(
    [
        [0, 1, 2, 3, 4],
        [4, 3, 2, 1, 0],
        [0, 0, 1, 2, 3],
        [0, 0, 0, 1, 1],
        [1, 0, UNRANKED, UNRANKED, 2],
        [0, 0, 0, 0, 0],
        [2, 2, 1, 0, 0],
        [UNRANKED, 0, UNRANKED, 1, UNRANKED],
        [0, 1, 1, 1, UNRANKED],
        [3, 1, 2, 0, 4],
        [UNRANKED, UNRANKED, 0, 0, UNRANKED],
    ]
)


def by_hand(scores: list[float], places: list[int]) -> float:
    """The product of choices, with Efron's average among equals."""
    total = 0.0
    for place in sorted({p for p in places if p != UNRANKED}):
        equals = [math.exp(s) for s, p in zip(scores, places, strict=True) if p == place]
        below = sum(math.exp(s) for s, p in zip(scores, places, strict=True) if p > place)
        for gone, worth in enumerate(equals):
            total += math.log(worth / (below + sum(equals) * (1 - gone / len(equals))))
    return total


def test_the_likelihood_is_the_product_of_choices() -> None:
    expected = [by_hand(s, p) for s, p in zip(SCORES.tolist(), PLACES.tolist(), strict=True)]
    assert plackett_luce_logprobs(SCORES, PLACES).tolist() == pytest.approx(expected)


def test_probabilities_of_all_orders_add_up_to_one() -> None:
    orders = torch.tensor(list(permutations(range(5))))
    logprobs = plackett_luce_logprobs(SCORES[:1].expand(len(orders), -1), orders)
    assert float(logprobs.exp().sum()) == pytest.approx(1.0)


def test_a_ranking_of_two_is_bradley_terry_and_a_tie_half_a_win_each() -> None:
    difference = SCORES[:, 0] - SCORES[:, 1]
    won = plackett_luce_logprobs(SCORES[:, :2], torch.tensor([[0, 1]]).expand(11, -1))
    torch.testing.assert_close(-won.sum(), bradley_terry_loss(difference, torch.full((11,), A_PREFERRED), 1))
    tied = plackett_luce_logprobs(SCORES[:, :2], torch.zeros(11, 2).long())
    # Half of what the two wins together would say, up to a constant: the same gradient.
    halves = torch.nn.functional.logsigmoid(difference) + torch.nn.functional.logsigmoid(-difference)
    torch.testing.assert_close(tied, halves + math.log(2))


def test_the_order_of_the_columns_and_what_is_not_ranked_change_nothing() -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(
        plackett_luce_logprobs(SCORES[:, order], PLACES[:, order]), plackett_luce_logprobs(SCORES, PLACES)
    )
    changed = torch.where(PLACES == UNRANKED, 77.0, SCORES)
    torch.testing.assert_close(plackett_luce_logprobs(changed, PLACES), plackett_luce_logprobs(SCORES, PLACES))


def test_scores_of_rankings_agree_with_choix() -> None:
    choix = pytest.importorskip("choix")
    rng = np.random.default_rng(0)
    rankings = [rng.permutation(8) for _ in range(60)]
    expected = choix.opt_rankings(8, rankings, alpha=0.05)
    places = torch.tensor(np.argsort(np.array(rankings), axis=1))
    scores = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=200, tolerance_grad=1e-10)

    def closure() -> Tensor:
        optimizer.zero_grad()
        # choix penalises alpha |scores|^2.
        loss = -plackett_luce_logprobs(scores.expand(60, -1), places).sum() + 0.05 * scores.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = scores.detach().numpy()
    assert found - found.mean() == pytest.approx(expected - expected.mean(), abs=1e-4)


def _ranking(part: slice, leaves: list[Tensor]) -> Tensor:
    return plackett_luce_logprobs(leaves[0][part], PLACES[part])


def _first(part: slice, leaves: list[Tensor]) -> Tensor:
    present = torch.ones(11, 5).bool()
    present[::2, 3:] = False
    return first_choice_logprobs(leaves[0][part], present[part])


def _edit(part: slice, leaves: list[Tensor]) -> Tensor:
    return edit_logprobs(leaves[0][part, 0], leaves[0][part, 1])


@pytest.mark.parametrize("logprobs", [_ranking, _first, _edit])
def test_gradients_agree_with_finite_differences_and_any_split(logprobs) -> None:  # type: ignore[no-untyped-def]
    leaf = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: logprobs(slice(None), [scores]), [leaf])
    whole, split = gradients_of_splits(logprobs, [SCORES], 11)
    assert split[0] == pytest.approx(whole[0])
    torch.testing.assert_close(split[1][0], whole[1][0])


@pytest.mark.parametrize("size", [300.0, 1e4])
def test_extreme_scores_in_float32_keep_values_and_gradients(size: float) -> None:
    scores = (SCORES.float() * size).requires_grad_()
    present = torch.tensor([[True, True, False, True, False]]).expand(11, -1)
    total = plackett_luce_logprobs(scores, PLACES).sum() + first_choice_logprobs(scores, present).sum()
    total.backward()
    assert bool(total.isfinite())
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())


def test_a_first_choice_of_two_is_an_edit_and_padding_takes_no_part() -> None:
    two = torch.tensor([[True, True, False, False, False]]).expand(11, -1)
    torch.testing.assert_close(first_choice_logprobs(SCORES, two), edit_logprobs(SCORES[:, 0], SCORES[:, 1]))
    everything = first_choice_logprobs(SCORES, torch.ones(11, 5).bool())
    torch.testing.assert_close(everything, torch.log_softmax(SCORES, 1)[:, 0])
