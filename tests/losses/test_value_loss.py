"""The clipped value loss against a scalar loop, explained variance against scikit-learn."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import explained_variance_score
from torch import Tensor

from heed.losses import clipped_value_loss, explained_variance

CLIP = 0.2


def random_values(seed: int, rows: int = 4, length: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values, old values, returns, mask; moves on both sides of the clip."""
    generator = torch.Generator().manual_seed(seed)
    old, change, returns = torch.randn(3, rows, length, generator=generator, dtype=torch.float64)
    mask = torch.rand(rows, length, generator=generator) < 0.7
    mask[0, :2] = True
    return old + 0.4 * change, old, returns, mask


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_loss_matches_its_formula_token_by_token(seed: int) -> None:
    values, old, returns, mask = random_values(seed)
    count, total, clipped = int(mask.sum()), 0.0, 0
    for b, t in itertools.product(*map(range, mask.shape)):
        if mask[b, t]:
            V, V_old, R = float(values[b, t]), float(old[b, t]), float(returns[b, t])
            plain, bounded = (V - R) ** 2, (min(max(V, V_old - CLIP), V_old + CLIP) - R) ** 2
            total += 0.5 * max(plain, bounded)
            clipped += abs(V - V_old) > CLIP and bounded > plain
    loss, clip_fraction = clipped_value_loss(values, old, returns, mask, CLIP, count)
    assert loss == pytest.approx(total / count)
    assert clip_fraction == pytest.approx(clipped / count)


def test_gradient_agrees_with_finite_differences() -> None:
    values, old, returns, mask = random_values(1)
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: clipped_value_loss(x, old, returns, mask, CLIP, 9).loss, values)


def test_without_a_clip_it_is_half_the_mean_squared_error() -> None:
    values, old, returns, _ = random_values(2)
    everything = torch.ones_like(values)
    loss, clip_fraction = clipped_value_loss(values, old, returns, everything, math.inf, values.numel())
    torch.testing.assert_close(loss, 0.5 * torch.nn.functional.mse_loss(values, returns))
    assert clip_fraction == 0


def test_no_gradient_past_the_clip_towards_the_target() -> None:
    values = torch.tensor([[0.5, 0.1, -0.5]], requires_grad=True)
    clipped_value_loss(values, torch.zeros(1, 3), torch.ones(1, 3), torch.ones(1, 3), CLIP, 1).loss.backward()
    # Past the clip towards the target nothing is won; within it, or past it the wrong way, the error pulls.
    torch.testing.assert_close(values.grad, torch.tensor([[0.0, -0.9, -1.5]]))


def test_moves_within_the_clip_never_count_as_clipped_by_rounding() -> None:
    old, values, returns = torch.randn(3, 1, 5000, generator=torch.Generator().manual_seed(5))
    old, values = 0.09 * old.tanh(), 0.09 * values.tanh()
    assert bool((old + (values - old) != values).any())  # the rounding that is meant
    got = clipped_value_loss(values, old, returns, torch.ones(1, 5000), CLIP, 5000)
    assert got.clip_fraction == 0
    torch.testing.assert_close(got.loss, 0.5 * torch.nn.functional.mse_loss(values, returns))


def test_splitting_into_micro_batches_changes_nothing() -> None:
    values, old, returns, mask = random_values(3, rows=7)
    count = mask.sum()

    def run(parts: list[slice]) -> tuple[float, float, Tensor]:
        leaf = values.clone().requires_grad_()
        results = [clipped_value_loss(leaf[p], old[p], returns[p], mask[p], CLIP, count) for p in parts]
        for result in results:
            result.loss.backward()
        assert leaf.grad is not None
        return sum(r.loss.item() for r in results), sum(r.clip_fraction.item() for r in results), leaf.grad

    whole, parts = run([slice(None)]), run([slice(0, 2), slice(2, 3), slice(3, 7)])
    assert parts[:2] == pytest.approx(whole[:2])
    torch.testing.assert_close(parts[2], whole[2])


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -1e30])
def test_padding_content_reaches_neither_value_nor_gradient(garbage: float) -> None:
    values, old, returns, mask = random_values(4)

    def run(fill: float) -> list[Tensor]:
        leaf, dirty_old, dirty_returns = (x.masked_fill(~mask, fill) for x in (values, old, returns))
        leaf.requires_grad_()
        result = clipped_value_loss(leaf, dirty_old, dirty_returns, mask.double(), CLIP, 11)
        result.loss.backward()
        assert leaf.grad is not None
        return [*result, leaf.grad, explained_variance(leaf, dirty_returns, mask)]

    assert all(torch.equal(a, b) for a, b in zip(run(0.0), run(garbage), strict=True))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_explained_variance_agrees_with_scikit_learn(seed: int) -> None:
    values, _, returns, mask = random_values(seed)
    expected = explained_variance_score(returns[mask].numpy(), values[mask].numpy())
    assert explained_variance(values, returns, mask) == pytest.approx(expected)


def test_explained_variance_of_perfect_and_constant_values() -> None:
    returns = torch.tensor([[1.0, 2.0, 4.0]])
    everything = torch.ones(1, 3)
    assert explained_variance(returns + 5, returns, everything) == pytest.approx(1.0)
    assert explained_variance(torch.full((1, 3), 9.0), returns, everything) == pytest.approx(0.0)


@pytest.mark.parametrize("mask", [[[1, 1, 0]], [[0, 0, 1]], [[0, 0, 0]]])
def test_explained_variance_without_variance_is_undefined(mask: list[list[int]]) -> None:
    returns = torch.tensor([[0.1, 0.1, 4.0]])
    assert math.isnan(explained_variance(torch.randn(1, 3), returns, torch.tensor(mask)))
