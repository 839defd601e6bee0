"""Rollout arithmetic against loops over single completions, closed forms and Monte-Carlo returns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heed.losses import generalized_advantages, masked_mean, masked_sum, rewards_with_kl, whiten
from heed.losses.advantages import vtrace_advantages


def random_rollout(seed: int, rows: int = 5, length: int = 9, holes: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, values and a mask that has at least one real position in each row."""
    B, T = rows, length
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, B, T, generator=generator, dtype=torch.float64)
    if holes:
        mask = torch.rand(B, T, generator=generator) < 0.6
        mask[torch.arange(B), torch.randint(T, (B,), generator=generator)] = True
    else:
        lengths = torch.randint(1, T + 1, (B, 1), generator=generator)
        mask = torch.arange(T).expand(B, T) < lengths
    return rewards, values, mask


def advantages_by_definition(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """Equation 16 as written: a sum of discounted TD errors, for one completion without padding."""
    nexts = [*values[1:], 0.0]
    deltas = [r + gamma * n - v for r, n, v in zip(rewards, nexts, values, strict=True)]
    return [sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, len(deltas))) for t in range(len(deltas))]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), gamma=st.floats(0, 1), lam=st.floats(0, 1), holes=st.booleans())
def test_advantages_are_equation_16_over_the_real_tokens(seed: int, gamma: float, lam: float, holes: bool) -> None:
    rewards, values, mask = random_rollout(seed, holes=holes)
    advantages, returns = generalized_advantages(rewards, values, mask, gamma, lam)
    for row in range(len(mask)):
        real = mask[row]
        expected = advantages_by_definition(rewards[row][real].tolist(), values[row][real].tolist(), gamma, lam)
        assert advantages[row][real].tolist() == pytest.approx(expected, abs=1e-10)
    torch.testing.assert_close(returns[mask], (advantages + values)[mask])
    assert not advantages[~mask].any()
    assert not returns[~mask].any()


def test_lambda_one_gamma_one_is_reward_to_go_less_value() -> None:
    rewards, values, mask = random_rollout(1, holes=False)
    advantages, returns = generalized_advantages(rewards, values, mask, 1.0, 1.0)
    to_go = (rewards * mask).flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(advantages, (to_go - values) * mask)
    torch.testing.assert_close(returns, to_go * mask)


def test_lambda_zero_is_the_td_error() -> None:
    rewards, values, mask = random_rollout(2, holes=False)
    kept = values * mask
    following = torch.cat([kept[:, 1:], torch.zeros(len(kept), 1, dtype=kept.dtype)], 1)
    advantages, _ = generalized_advantages(rewards, values, mask, 0.9, 0.0)
    torch.testing.assert_close(advantages, (rewards + 0.9 * following - values) * mask)


def test_left_and_right_padding_give_the_same_advantages() -> None:
    rewards, values, _ = random_rollout(3, rows=1, length=4)
    blank = torch.zeros(1, 3, dtype=torch.float64)
    real, padding = torch.ones(1, 4), torch.zeros(1, 3)
    right, _ = generalized_advantages(
        torch.cat([rewards, blank], 1), torch.cat([values, blank], 1), torch.cat([real, padding], 1), 0.99, 0.95
    )
    left, _ = generalized_advantages(
        torch.cat([blank, rewards], 1), torch.cat([blank, values], 1), torch.cat([padding, real], 1), 0.99, 0.95
    )
    assert torch.equal(right[:, :4], left[:, 3:])


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -1e30])
def test_padding_content_never_leaks(garbage: float) -> None:
    rewards, values, mask = random_rollout(4)
    padded = ~mask
    dirty_rewards, dirty_values = rewards.masked_fill(padded, garbage), values.masked_fill(padded, garbage)
    for clean, dirty in zip(
        generalized_advantages(rewards, values, mask, 0.99, 0.95),
        generalized_advantages(dirty_rewards, dirty_values, mask, 0.99, 0.95),
        strict=True,
    ):
        assert torch.equal(clean, dirty)
    assert torch.equal(whiten(rewards, mask), whiten(dirty_rewards, mask))
    assert torch.equal(whiten(rewards, mask, shift_mean=False), whiten(dirty_rewards, mask, shift_mean=False))
    scores = rewards[:, 0]
    assert torch.equal(rewards_with_kl(scores, values, mask, 0.1), rewards_with_kl(scores, dirty_values, mask, 0.1))
    leaf = dirty_rewards.clone().requires_grad_()
    masked_mean(leaf, mask).square().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, 2 * masked_mean(rewards, mask) * mask / mask.sum())


def test_advantages_are_targets_without_gradient() -> None:
    rewards, values, mask = random_rollout(5)
    rewards.requires_grad_()
    values.requires_grad_()
    advantages, returns = generalized_advantages(rewards, values, mask, 1.0, 0.95)
    assert not advantages.requires_grad
    assert not returns.requires_grad


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), shift_mean=st.booleans())
def test_whiten_agrees_with_numpy(seed: int, shift_mean: bool) -> None:
    x, _, mask = random_rollout(seed)
    x = 3 * x + 2
    real = x[mask].numpy()
    expected = (real - np.mean(real)) / np.sqrt(np.var(real) + 1e-8) + (0 if shift_mean else np.mean(real))
    whitened = whiten(x, mask.float(), shift_mean)
    np.testing.assert_allclose(whitened[mask].numpy(), expected, rtol=1e-9, atol=1e-9)
    assert not whitened[~mask].any()


def test_whiten_of_equal_values_is_zero() -> None:
    assert torch.equal(whiten(torch.full((2, 3), 7.0), torch.ones(2, 3)), torch.zeros(2, 3))


def test_masked_mean_adds_up_over_micro_batches_and_is_undefined_on_nothing() -> None:
    x, _, mask = random_rollout(6)
    count = int(mask.sum())
    parts = sum(masked_mean(x[i : i + 1], mask[i : i + 1], count) for i in range(len(x)))
    assert parts == pytest.approx(np.mean(x[mask].numpy()))
    assert masked_mean(x, mask) == pytest.approx(np.mean(x[mask].numpy()))
    nothing = torch.zeros_like(mask)
    assert math.isnan(masked_mean(x, nothing))
    assert masked_sum(x, nothing) == 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), coefficient=st.floats(0, 2))
def test_token_rewards_match_a_loop(seed: int, coefficient: float) -> None:
    kl, other, mask = random_rollout(seed)
    scores = other[:, 0]
    rewards = rewards_with_kl(scores, kl, mask, coefficient)
    expected = torch.zeros_like(kl)
    for row in range(kl.shape[0]):
        real = [t for t in range(kl.shape[1]) if mask[row, t]]
        for t in real:
            expected[row, t] = -coefficient * kl[row, t]
        expected[row, real[-1]] += scores[row]
    torch.testing.assert_close(rewards, expected)


def test_a_completion_without_tokens_is_refused() -> None:
    mask = torch.tensor([[1, 0], [0, 0]])
    with pytest.raises(ValueError, match=r"\[1\] have no real token"):
        rewards_with_kl(torch.ones(2), torch.zeros(2, 2), mask, 0.1)


# V-trace


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), gamma=st.floats(0, 1), lam=st.floats(0, 1), most=st.floats(0.2, 3.0))
def test_vtrace_is_equation_1_over_the_real_tokens(seed: int, gamma: float, lam: float, most: float) -> None:
    rewards, values, mask = random_rollout(seed)
    log_ratio = torch.randn(mask.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    advantages, targets = vtrace_advantages(
        rewards, values, log_ratio.masked_fill(~mask, math.nan), mask, gamma, lam, most
    )
    for row in range(len(mask)):
        r, v, ratio = (x[row][mask[row]].tolist() for x in (rewards, values, log_ratio.exp()))
        rho, n = [min(most, one) for one in ratio], len(r)
        ahead = [*v[1:], 0.0]
        sums = [
            v[s]
            + sum(
                (gamma * lam) ** (t - s) * math.prod(rho[s:t]) * rho[t] * (r[t] + gamma * ahead[t] - v[t])
                for t in range(s, n)
            )
            for s in range(n)
        ]
        beyond = [*(sums[t] - v[t] for t in range(1, n)), 0.0]
        expected = [rho[t] * (r[t] + gamma * (ahead[t] + lam * beyond[t]) - v[t]) for t in range(n)]
        assert targets[row][mask[row]].tolist() == pytest.approx(sums, abs=1e-9)
        assert advantages[row][mask[row]].tolist() == pytest.approx(expected, abs=1e-9)
    assert not advantages[~mask].any()


def test_vtrace_of_the_policy_s_own_samples_is_generalized_advantages() -> None:
    rewards, values, mask = random_rollout(4)
    found = vtrace_advantages(rewards, values, torch.zeros_like(rewards), mask, 0.9, 0.7)
    for one, other in zip(found, generalized_advantages(rewards, values, mask, 0.9, 0.7), strict=True):
        torch.testing.assert_close(one, other)


def test_uncut_vtrace_expects_the_present_policy_s_value_whoever_sampled() -> None:
    """All sequences of three tokens of two kinds, weighed by how often the other policy writes them."""
    sequences = torch.cartesian_prod(*[torch.arange(2)] * 3)
    reward = torch.tensor([[0.3, -1.0], [0.0, 2.0], [1.0, 0.5]], dtype=torch.float64)
    present, other = (torch.tensor(p, dtype=torch.float64) for p in ([0.2, 0.8], [0.7, 0.3]))
    values = torch.tensor([[0.4, -0.2, 0.1]], dtype=torch.float64).expand(len(sequences), -1)
    rewards = reward[torch.arange(3), sequences]
    log_ratio = (present / other)[sequences].log()
    _, targets = vtrace_advantages(rewards, values, log_ratio, torch.ones(8, 3), 0.9, 1.0, math.inf)
    expected = float((other[sequences].prod(1) * targets[:, 0]).sum())
    assert expected == pytest.approx(float(sum(0.9**t * (present * reward[t]).sum() for t in range(3))))
