"""The losses of learning by values: worked by hand, against scalar loops, finite differences, splits and padding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from heed.losses.q_learning import (
    advantage_shaped,
    annealed,
    conservative_loss,
    double_q,
    epsilon_greedy,
    expectile_loss,
    n_step_targets,
    q_of_logprobs,
    td_loss,
)


def grids(seed: int, rows: int = 4, length: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two grids, weights and a mask with gaps anywhere."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, rows, length, generator=generator, dtype=torch.float64)
    weights = torch.rand(rows, length, generator=generator, dtype=torch.float64) + 0.5
    mask = torch.rand(rows, length, generator=generator) < 0.7
    mask[:, 0] = True
    return 2 * a, b, weights, mask


def test_targets_worked_by_hand() -> None:
    """Three tokens worth 1, 2 and 4, states worth 10, 20 and 30, half of it a step later; a pad in between."""
    rewards = torch.tensor([[1.0, 99.0, 2.0, 4.0]])
    values = torch.tensor([[10.0, 99.0, 20.0, 30.0]])
    mask = torch.tensor([[1, 0, 1, 1]])
    by_steps = {steps: n_step_targets(rewards, values, mask, 0.5, steps)[0].tolist() for steps in (1, 2, 3, 9)}
    assert by_steps[1] == [1 + 10, 0, 2 + 15, 4]
    assert by_steps[2] == [1 + 0.5 * 2 + 0.25 * 30, 0, 2 + 0.5 * 4, 4]
    assert by_steps[3] == [1 + 1 + 0.25 * 4, 0, 4, 4]
    assert by_steps[9] == by_steps[3]
    with pytest.raises(ValueError, match="target of 0 steps"):
        n_step_targets(rewards, values, mask, 0.5, 0)


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 8))
def test_targets_match_their_sum_token_by_token(seed: int, steps: int) -> None:
    rewards, values, _, mask = grids(seed)
    found = n_step_targets(rewards, values, mask, 0.9, steps)
    for b in range(len(mask)):
        places = mask[b].nonzero()[:, 0].tolist()
        for number, t in enumerate(places):
            ahead = places[number : number + steps]
            expected = sum(0.9**k * float(rewards[b, place]) for k, place in enumerate(ahead))
            if number + steps < len(places):
                expected += 0.9**steps * float(values[b, places[number + steps]])
            assert float(found[b, t]) == pytest.approx(expected)
    assert not found[~mask].any()


def test_double_q_asks_one_network_what_the_other_chose() -> None:
    online = torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 1.0]])
    target = torch.tensor([[9.0, 0.5, 4.0], [1.0, 7.0, 7.0]])
    assert double_q(online, target).tolist() == [0.5, 1.0]
    assert double_q(target, target).tolist() == target.max(-1).values.tolist()


def test_the_maximum_of_noise_is_too_high_and_the_double_estimate_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 20_000, 8, generator=generator)
    assert float(double_q(noise[0], noise[0]).mean()) > 1.3  # of 8 normal numbers the largest is 1.42 on average
    assert abs(float(double_q(noise[0], noise[1]).mean())) < 0.03


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_q_values_of_any_kind_have_the_form_of_a_value_and_a_policy(temperature: float) -> None:
    q = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = temperature * (q / temperature).logsumexp(-1, keepdim=True)
    policy = (q / temperature).log_softmax(-1)
    torch.testing.assert_close(q_of_logprobs(values, policy, temperature), q)


@given(seed=st.integers(0, 10_000), delta=st.sampled_from([0.5, 1.0, math.inf]))
def test_losses_match_their_formulas_token_by_token(seed: int, delta: float) -> None:
    q, other, weights, mask = grids(seed)
    count, td, expectile, conservative = float(mask.sum()) + 3, 0.0, 0.0, 0.0
    for b, t in itertools.product(*map(range, mask.shape)):
        if mask[b, t]:
            error, weight = float(q[b, t] - other[b, t]), float(weights[b, t])
            td += weight * (0.5 * error**2 if abs(error) <= delta else delta * (abs(error) - delta / 2))
            over = float(other[b, t] - q[b, t])
            expectile += weight * abs(0.8 - (over < 0)) * over**2
            conservative -= weight * float(q[b, t])
    assert float(td_loss(q, other, mask, count, delta, weights)) == pytest.approx(td / count)
    assert float(expectile_loss(q, other, mask, count, 0.8, weights)) == pytest.approx(expectile / count)
    assert float(conservative_loss(q, mask, count, weights)) == pytest.approx(conservative / count)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]] = {
    "huber": lambda x, other, weights, mask, count: td_loss(x, other, mask, count, 1.0, weights),
    "squares": lambda x, other, weights, mask, count: td_loss(x, other, mask, count, weights=weights),
    "expectile": lambda x, other, weights, mask, count: expectile_loss(x, other, mask, count, 0.7, weights),
    "conservative": lambda x, other, weights, mask, count: conservative_loss(x, mask, count, weights),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences_and_with_any_split_and_order(name: str) -> None:
    x, other, weights, mask = grids(3)
    loss = LOSSES[name]
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda leaf: loss(leaf, other, weights, mask, 9.0), x)
    (whole,) = torch.autograd.grad(loss(x, other, weights, mask, 9.0), x)
    turned = [[3], [1, 0], [2]]
    parts = [loss(x[rows], other[rows], weights[rows], mask[rows], 9.0) for rows in turned]
    (split,) = torch.autograd.grad(torch.stack(parts).sum(), x)
    torch.testing.assert_close(split, whole)
    assert not whole[~mask].any()


@pytest.mark.parametrize("name", LOSSES)
def test_what_stands_in_padding_reaches_nothing(name: str) -> None:
    x, other, weights, mask = grids(4)
    whole = float(LOSSES[name](x, other, weights, mask, 9.0))
    for grid in (x, other):
        grid[~mask] = math.nan
    x.requires_grad_()
    loss = LOSSES[name](x, other, weights, mask, 9.0)
    assert float(loss.detach()) == pytest.approx(whole)
    (gradient,) = torch.autograd.grad(loss, x)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("expectile", "expected"), [(0.5, 0.5), (0.75, 0.75), (0.9, 0.9)])
def test_the_expectile_of_zero_and_one_is_its_own_share(expectile: float, expected: float) -> None:
    """The value v of least loss on 0 and 1: (1 - tau) v = tau (1 - v)."""
    q, mask = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.ones(1, 2)
    value = torch.full((1, 2), 0.3, dtype=torch.float64, requires_grad=True)
    for _ in range(300):
        (gradient,) = torch.autograd.grad(expectile_loss(value, q, mask, 1.0, expectile), value)
        value = (value - 0.2 * gradient.mean()).detach().requires_grad_()
    assert float(value[0, 0].detach()) == pytest.approx(expected, abs=1e-6)


def test_the_conservative_loss_is_log_sum_exp_less_what_was_taken() -> None:
    q = torch.tensor([[[1.0, 2.0, 3.0]]])
    found = conservative_loss(q.log_softmax(-1)[..., 1], torch.ones(1, 1), 1.0)
    assert float(found) == pytest.approx(math.log(sum(math.exp(x) for x in (1, 2, 3))) - 2, rel=1e-5)


def test_shaping_turns_a_policy_by_its_advantages_and_forgets_the_value() -> None:
    logits, q = torch.tensor([0.0, math.log(3)]), torch.tensor([2.0, 1.0])
    shaped = advantage_shaped(logits, q, torch.tensor(1.5), 2.0).exp().tolist()
    first, second = 0.25 * math.exp(2 * 2.0), 0.75 * math.exp(2 * 1.0)
    assert shaped == pytest.approx([first / (first + second), second / (first + second)], rel=1e-5)
    torch.testing.assert_close(advantage_shaped(logits, q, torch.tensor(-9.0), 2.0).exp(), torch.tensor(shaped))
    torch.testing.assert_close(advantage_shaped(logits, q, torch.tensor(0.0), 0.0), logits.log_softmax(-1))


def test_epsilon_greedy_takes_the_best_or_any_that_there_is() -> None:
    logits = torch.tensor([[0.0, 5.0, 5.0, 9.0], [3.0, 1.0, 0.0, -1.0]])
    found = epsilon_greedy(logits, 0.3, 3).exp()
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.1, 0.1, 0.7], [0.8, 0.1, 0.1, 0.0]]))
    assert epsilon_greedy(logits, 0.0, 3).exp().tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]


def test_what_is_annealed_goes_straight_and_stays() -> None:
    assert [annealed(1.0, 0.0, done) for done in (0.0, 0.25, 1.0, 3.0)] == [1.0, 0.75, 0.0, 0.0]
