"""The graded likelihood against the logistic distribution it is cut from, Rao-Kupper, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import logistic

from heed.losses.reward import A_PREFERRED, B_PREFERRED, TIE, graded_loss, rao_kupper_loss

GAPS = torch.tensor([0.3, 0.9, 1.7], dtype=torch.float64)
THRESHOLDS = [0.3, 1.2, 2.9]


def _probability(difference: float, outcome: int, strength: int) -> float:
    loss = graded_loss(
        torch.tensor([difference], dtype=torch.float64),
        torch.tensor([outcome]),
        torch.tensor([strength]),
        GAPS.log(),
        1,
    )
    return math.exp(-float(loss))


@given(st.floats(-6, 6))
@settings(max_examples=30, deadline=None)
def test_probabilities_are_slices_of_the_logistic_distribution(difference: float) -> None:
    edges = [-math.inf, *(-c for c in reversed(THRESHOLDS)), *THRESHOLDS, math.inf]
    answers = [(B_PREFERRED, 3), (B_PREFERRED, 2), (B_PREFERRED, 1), (TIE, 0)]
    answers += [(A_PREFERRED, 1), (A_PREFERRED, 2), (A_PREFERRED, 3)]
    for (outcome, strength), low, high in zip(answers, edges[:-1], edges[1:], strict=True):
        expected = logistic.cdf(high - difference) - logistic.cdf(low - difference)
        assert _probability(difference, outcome, strength) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_without_strengths_it_is_rao_kupper() -> None:
    generator = torch.Generator().manual_seed(0)
    difference = torch.randn(50, generator=generator, dtype=torch.float64)
    outcomes = torch.randint(0, 3, (50,), generator=generator)
    # Rao and Kupper's theta is the exponential of the tie threshold.
    log_theta_minus_one = math.log(math.exp(THRESHOLDS[0]) - 1)
    graded = graded_loss(difference, outcomes, torch.zeros(50, dtype=torch.long), GAPS.log(), 50)
    assert float(graded) == pytest.approx(float(rao_kupper_loss(difference, outcomes, log_theta_minus_one, 50)))


def test_gradients_agree_with_finite_differences() -> None:
    difference = torch.tensor([-1.3, 0.2, 2.5, 0.0, 4.0], dtype=torch.float64, requires_grad=True)
    log_gaps = GAPS.log().requires_grad_(True)
    outcomes, strengths = torch.tensor([0, 1, 0, 2, 1]), torch.tensor([1, 2, 3, 0, 0])
    assert torch.autograd.gradcheck(lambda d, g: graded_loss(d, outcomes, strengths, g, 5), (difference, log_gaps))


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_differences_in_float32_stay_finite(size: float) -> None:
    difference = torch.tensor([size, -size, size, -size, size], requires_grad=True)
    outcomes, strengths = torch.tensor([0, 0, 1, 2, 0]), torch.tensor([1, 3, 2, 0, 0])
    loss = graded_loss(difference, outcomes, strengths, GAPS.float().log(), 5)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(difference.grad).all()
