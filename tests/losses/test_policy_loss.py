"""The clipped objective against a scalar loop, KL estimators against exact divergences, the controller against its paper."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heed.losses import (
    AdaptiveKL,
    FixedKL,
    PolicyLoss,
    clipped_ratio_loss,
    entropy,
    kl_k1,
    kl_k2,
    kl_k3,
)

CLIP = 0.2


def random_batch(seed: int, rows: int = 4, length: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities, old ones, advantages, mask; ratios on both sides of the clip."""
    generator = torch.Generator().manual_seed(seed)
    old, change, advantages = torch.randn(3, rows, length, generator=generator, dtype=torch.float64)
    mask = torch.rand(rows, length, generator=generator) < 0.7
    mask[0, 0] = True
    return old + 0.4 * change, old, advantages, mask


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_loss_matches_equation_7_token_by_token(seed: int) -> None:
    logprobs, old, advantages, mask = random_batch(seed)
    count = int(mask.sum())
    total, clipped, k3, largest = 0.0, 0, 0.0, 0.0
    for b, t in itertools.product(*map(range, mask.shape)):
        if mask[b, t]:
            log_ratio, A = float(logprobs[b, t] - old[b, t]), float(advantages[b, t])
            ratio = math.exp(log_ratio)
            bounded = min(max(ratio, 1 - CLIP), 1 + CLIP)
            total -= min(ratio * A, bounded * A)
            clipped += bounded * A < ratio * A
            k3 += ratio - 1 - log_ratio
            largest = max(largest, ratio)
    got = clipped_ratio_loss(logprobs, old, advantages, mask, CLIP, count)
    assert got.loss == pytest.approx(total / count)
    assert got.clip_fraction == pytest.approx(clipped / count)
    assert got.approximate_kl == pytest.approx(k3 / count)
    assert got.ratio_max == pytest.approx(largest)


def test_gradient_agrees_with_finite_differences() -> None:
    logprobs, old, advantages, mask = random_batch(1)
    logprobs.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: clipped_ratio_loss(x, old, advantages, mask, CLIP, mask.sum()).loss, logprobs
    )


def test_at_the_old_policy_the_gradient_is_the_policy_gradient() -> None:
    _, old, advantages, mask = random_batch(2)
    logprobs = old.clone().requires_grad_()
    got = clipped_ratio_loss(logprobs, old, advantages, mask, CLIP, 10)
    got.loss.backward()
    torch.testing.assert_close(logprobs.grad, -advantages * mask / 10)
    assert (got.ratio_max, got.approximate_kl, got.clip_fraction) == (1.0, 0.0, 0.0)


def test_splitting_into_micro_batches_changes_nothing() -> None:
    logprobs, old, advantages, mask = random_batch(3, rows=7)
    count = mask.sum()

    def run(parts: list[slice]) -> tuple[list[PolicyLoss], Tensor]:
        leaf = logprobs.clone().requires_grad_()
        results = [clipped_ratio_loss(leaf[p], old[p], advantages[p], mask[p], CLIP, count) for p in parts]
        for result in results:
            result.loss.backward()
        assert leaf.grad is not None
        return [PolicyLoss(*(x.detach() for x in result)) for result in results], leaf.grad

    [whole], whole_gradient = run([slice(None)])
    parts, gradient = run([slice(0, 1), slice(1, 5), slice(5, 7)])
    torch.testing.assert_close(gradient, whole_gradient)
    for name in ("loss", "clip_fraction", "approximate_kl"):
        assert sum(getattr(p, name) for p in parts) == pytest.approx(float(getattr(whole, name)))
    assert max(p.ratio_max for p in parts) == whole.ratio_max


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_padding_content_reaches_neither_value_nor_gradient(garbage: float) -> None:
    logprobs, old, advantages, mask = random_batch(4)

    def run(fill: float) -> tuple[PolicyLoss, Tensor]:
        dirty, dirty_old, dirty_advantages = (x.masked_fill(~mask, fill) for x in (logprobs, old, advantages))
        leaf = dirty.requires_grad_()
        result = clipped_ratio_loss(leaf, dirty_old, dirty_advantages, mask.double(), CLIP, 11)
        result.loss.backward()
        assert leaf.grad is not None
        return result, leaf.grad

    clean, clean_gradient = run(0.0)
    dirty, dirty_gradient = run(garbage)
    assert all(torch.equal(a, b) for a, b in zip(clean, dirty, strict=True))
    assert torch.equal(clean_gradient, dirty_gradient)


@pytest.mark.parametrize("advantage", [1.0, 0.0])
def test_an_overflowing_ratio_is_clipped_without_nan(advantage: float) -> None:
    logprobs = torch.tensor([[200.0]], requires_grad=True)
    got = clipped_ratio_loss(logprobs, torch.zeros(1, 1), torch.full((1, 1), advantage), torch.ones(1, 1), CLIP, 1)
    got.loss.backward()
    assert got.loss.item() == pytest.approx(-1.2 * advantage)
    assert logprobs.grad == 0
    assert got.clip_fraction == (advantage != 0)
    assert got.ratio_max == math.inf


def test_an_empty_micro_batch_adds_nothing() -> None:
    logprobs, old, advantages, mask = random_batch(5)
    got = clipped_ratio_loss(logprobs, old, advantages, torch.zeros_like(mask), CLIP, 3)
    assert [float(x) for x in got] == [0.0, 0.0, 0.0, 0.0]


def test_kl_estimators_average_to_the_exact_divergence() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 50, generator=generator, dtype=torch.float64).log_softmax(-1)
    exact = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=p), torch.distributions.Categorical(logits=q)
    )
    # An expectation over all 50 tokens, so no sampling error: k1 and k3 must hit the divergence, k2 its own formula.
    assert (p.exp() * kl_k1(p, q)).sum() == pytest.approx(float(exact))
    assert (p.exp() * kl_k3(p, q)).sum() == pytest.approx(float(exact))
    assert (p.exp() * kl_k2(p, q)).sum() == pytest.approx(float((p.exp() * (p - q) ** 2).sum() / 2))


def test_k2_is_close_to_the_divergence_of_near_policies() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, change = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    p, q = logits.log_softmax(-1), (logits + 0.01 * change).log_softmax(-1)
    exact = float((p.exp() * (p - q)).sum())
    assert float((p.exp() * kl_k2(p, q)).sum()) == pytest.approx(exact, rel=0.02)


@settings(max_examples=200, deadline=None)
@given(difference=st.floats(-80, 80, width=32))
def test_k3_is_never_negative_and_zero_only_at_equality(difference: float) -> None:
    x = torch.tensor(difference, dtype=torch.float32)
    k3 = float(kl_k3(torch.zeros(()), x))
    assert k3 >= 0
    assert k3 == pytest.approx(math.expm1(difference) - difference, rel=1e-4, abs=1e-7 * abs(difference))
    assert kl_k3(x, x) == 0


def test_entropy_agrees_with_torch_distributions() -> None:
    logits = 5 * torch.randn(3, 4, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(entropy(logits), torch.distributions.Categorical(logits=logits).entropy())
    assert entropy(torch.full((8,), 3.0)) == pytest.approx(math.log(8))
    leaf = logits[0, 0].clone().requires_grad_()
    assert torch.autograd.gradcheck(entropy, leaf)


def test_tokens_ruled_out_leave_entropy_and_gradient_finite() -> None:
    logits = torch.tensor([1.0, 2.0, -math.inf], dtype=torch.float64, requires_grad=True)
    value = entropy(logits)
    value.backward()
    kept = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    expected = torch.distributions.Categorical(logits=kept).entropy()
    expected.backward()
    torch.testing.assert_close(value, expected)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:2], kept.grad)
    assert logits.grad[2] == 0


@pytest.mark.parametrize(
    ("kl", "factor"),
    [(6.0, 1.0), (6.6, 1 + 0.1 * 0.5), (5.4, 1 - 0.1 * 0.5), (60.0, 1 + 0.2 * 0.5), (0.0, 1 - 0.2 * 0.5)],
)
def test_adaptive_control_corrects_in_proportion_within_a_fifth(kl: float, factor: float) -> None:
    control = AdaptiveKL(0.1, target=6.0, horizon=1000)
    control.update(kl, episodes=500)
    assert control.coefficient == pytest.approx(0.1 * factor)


def test_adaptive_control_settles_a_policy_at_its_target() -> None:
    control = AdaptiveKL(1.0, target=8.0, horizon=1000)
    for _ in range(300):
        control.update(kl=2.0 / control.coefficient, episodes=100)  # a policy whose KL falls as the penalty grows
    assert 2.0 / control.coefficient == pytest.approx(8.0, rel=1e-3)


def test_a_restored_controller_goes_on_as_if_uninterrupted() -> None:
    straight = AdaptiveKL(0.1, 6.0, 100)
    for kl in (1.0, 9.0, 7.0):
        straight.update(kl, 32)
    before = AdaptiveKL(0.1, 6.0, 100)
    before.update(1.0, 32)
    after = AdaptiveKL(0.1, 6.0, 100)
    after.load_state_dict(before.state_dict())
    for kl in (9.0, 7.0):
        after.update(kl, 32)
    assert after.coefficient == straight.coefficient


def test_controllers_refuse_what_would_break_them() -> None:
    with pytest.raises(ValueError, match="coefficient 0"):
        AdaptiveKL(0.0, 6.0, 100)
    with pytest.raises(ValueError, match="target nan"):
        AdaptiveKL(0.1, math.nan, 100)
    with pytest.raises(ValueError, match="not a number"):
        AdaptiveKL(0.1, 6.0, 100).update(math.nan, 10)
    with pytest.raises(ValueError, match="horizon must be above 200"):
        AdaptiveKL(0.1, 6.0, 100).update(1.0, 1000)
    with pytest.raises(ValueError, match="-1"):
        FixedKL(-1.0)


def test_fixed_control_stays() -> None:
    control = FixedKL(0.3)
    control.update(100.0, 64)
    assert control.coefficient == 0.3
    other = FixedKL(0.0)
    other.load_state_dict(control.state_dict())
    assert other.coefficient == 0.3
