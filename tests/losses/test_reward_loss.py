"""Models of comparisons against the worths formulas of their papers, in plain floats, and at the extremes."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from heed.losses import (
    A_PREFERRED,
    B_PREFERRED,
    TIE,
    TieModel,
    bradley_terry_loss,
    davidson_loss,
    preference_loss,
    preference_probabilities,
    rao_kupper_loss,
    strength_margin,
)

MODELS: tuple[TieModel, ...] = get_args(TieModel)
differences = st.floats(-15, 15)
parameters = st.floats(-4, 4)


def by_worths(difference: float, model: TieModel, parameter: float) -> tuple[float, float, float]:
    """P(a), P(b), P(tie) from worths p = exp(r), as the papers write them."""
    a, b = math.exp(difference / 2), math.exp(-difference / 2)
    if model == "davidson":
        tie = math.exp(parameter) * math.sqrt(a * b)
        return a / (a + b + tie), b / (a + b + tie), tie / (a + b + tie)
    theta = 1 + math.exp(parameter) if model == "rao_kupper" else 1.0
    tie = (theta**2 - 1) * a * b / ((a + theta * b) * (theta * a + b))
    return a / (a + theta * b), b / (theta * a + b), tie


@settings(max_examples=100, deadline=None)
@given(difference=differences, parameter=parameters, model=st.sampled_from(MODELS))
def test_probabilities_are_those_of_the_papers(difference: float, parameter: float, model: TieModel) -> None:
    got = preference_probabilities(torch.tensor([difference], dtype=torch.float64), model, parameter)
    assert got.shape == (1, 3)
    assert got[0].tolist() == pytest.approx(by_worths(difference, model, parameter), rel=1e-9)
    assert float(got.sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_sum_to_one_and_swap_at_the_extremes(model: TieModel, dtype: torch.dtype) -> None:
    sizes = torch.tensor([0.0, 1e-6, 1.0, 20.0, 90.0, 1e3, 1e4], dtype=dtype)
    for parameter in (-30.0, 0.0, 3.0):
        forward = preference_probabilities(sizes, model, parameter)
        backward = preference_probabilities(-sizes, model, parameter)
        torch.testing.assert_close(forward.sum(-1), torch.ones_like(sizes))
        assert torch.equal(forward[:, [B_PREFERRED, A_PREFERRED, TIE]], backward)
        assert bool((forward >= 0).all())


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(differences, st.integers(0, 2), st.floats(0, 3)), min_size=1, max_size=8),
    parameter=parameters,
    model=st.sampled_from(MODELS),
)
def test_loss_is_the_weighted_negative_log_likelihood(
    rows: list[tuple[float, int, float]], parameter: float, model: TieModel
) -> None:
    expected = 0.0
    for difference, outcome, weight in rows:
        a, b, tie = by_worths(difference, model, parameter)
        half = -0.5 * (math.log(a) + math.log(b))
        expected += weight * (half if model == "half" and outcome == TIE else -math.log((a, b, tie)[outcome]))
    columns = [torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True)]
    got = preference_loss(columns[0], columns[1].long(), model, parameter, 5, columns[2])
    assert float(got) == pytest.approx(expected / 5, rel=1e-9)


def test_the_named_losses_are_the_ones_dispatched_to() -> None:
    difference, outcomes = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([0, 1, 2])
    assert preference_loss(difference, outcomes, "half", 0.7, 3) == bradley_terry_loss(difference, outcomes, 3)
    assert preference_loss(difference, outcomes, "davidson", 0.7, 3) == davidson_loss(difference, outcomes, 0.7, 3)
    assert preference_loss(difference, outcomes, "rao_kupper", 0.7, 3) == rao_kupper_loss(difference, outcomes, 0.7, 3)


def test_bradley_terry_is_binary_cross_entropy_with_half_labels() -> None:
    difference = 3 * torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outcomes = torch.arange(40) % 3
    labels = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)[outcomes]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(difference, labels)
    torch.testing.assert_close(bradley_terry_loss(difference, outcomes, 40), expected)


def test_without_ties_davidson_and_rao_kupper_become_bradley_terry() -> None:
    difference, outcomes = torch.linspace(-5, 5, 21), torch.arange(21) % 2
    expected = bradley_terry_loss(difference, outcomes, 21)
    torch.testing.assert_close(davidson_loss(difference, outcomes, -40.0, 21), expected)
    torch.testing.assert_close(rao_kupper_loss(difference, outcomes, -40.0, 21), expected)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("margins", [False, True])
def test_gradients_agree_with_finite_differences(model: TieModel, margins: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    difference = (3 * torch.randn(9, generator=generator, dtype=torch.float64)).requires_grad_()
    parameter = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    outcomes, weights = torch.arange(9) % 3, torch.rand(9, generator=generator, dtype=torch.float64)
    margin = strength_margin(torch.arange(9) % 4, 1.0).double() if margins else None
    assert torch.autograd.gradcheck(
        lambda d, p: preference_loss(d, outcomes, model, p, 4, weights, margin), (difference, parameter)
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("outcome", [A_PREFERRED, B_PREFERRED, TIE])
@pytest.mark.parametrize("size", [-1e4, -300.0, 300.0, 1e4])
def test_extreme_differences_in_float32_keep_loss_and_gradient(model: TieModel, outcome: int, size: float) -> None:
    difference = torch.tensor([size], requires_grad=True)
    parameter = torch.tensor(0.5, requires_grad=True)
    loss = preference_loss(difference, torch.tensor([outcome]), model, parameter, 1)
    loss.backward()
    # Far out, the loss is linear: the whole lead on the wrong side, half of it at a tie (Rao-Kupper: all of it).
    slope = {A_PREFERRED: float(size < 0), B_PREFERRED: float(size > 0), TIE: 1.0 if model == "rao_kupper" else 0.5}
    assert loss.item() == pytest.approx(slope[outcome] * abs(size), abs=2.0)
    assert difference.grad is not None
    assert float(difference.grad) == pytest.approx(math.copysign(slope[outcome], size), abs=1e-5)
    assert parameter.grad is None or bool(parameter.grad.isfinite())


@pytest.mark.parametrize("model", MODELS)
def test_swapping_the_sides_changes_nothing(model: TieModel) -> None:
    difference = 4 * torch.randn(30, generator=torch.Generator().manual_seed(1))
    outcomes = torch.arange(30) % 3
    margin = strength_margin(torch.arange(30) % 4, 3.0)
    swapped = torch.tensor([B_PREFERRED, A_PREFERRED, TIE])[outcomes]
    torch.testing.assert_close(
        preference_loss(difference, outcomes, model, 0.2, 30, margin=margin),
        preference_loss(-difference, swapped, model, 0.2, 30, margin=margin),
    )


@pytest.mark.parametrize("model", MODELS)
def test_splitting_into_micro_batches_changes_nothing(model: TieModel) -> None:
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(11, generator=generator, dtype=torch.float64)
    outcomes, weights = torch.arange(11) % 3, torch.rand(11, generator=generator, dtype=torch.float64)

    def run(parts: list[slice]) -> tuple[float, Tensor, Tensor]:
        difference = values.clone().requires_grad_()
        parameter = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        total = 0.0
        for p in parts:
            loss = preference_loss(difference[p], outcomes[p], model, parameter, weights.sum(), weights[p])
            loss.backward()
            total += float(loss.detach())
        assert difference.grad is not None
        return total, difference.grad, torch.zeros(()) if parameter.grad is None else parameter.grad

    whole, parts = run([slice(None)]), run([slice(0, 4), slice(4, 5), slice(5, 11)])
    assert parts[0] == pytest.approx(whole[0])
    torch.testing.assert_close(parts[1], whole[1])
    torch.testing.assert_close(parts[2], whole[2])


@pytest.mark.parametrize("model", ["davidson", "rao_kupper"])
@pytest.mark.parametrize("parameter", [-1.5, 0.0, 1.0])
def test_a_fit_to_expected_outcomes_finds_the_parameters_again(model: TieModel, parameter: float) -> None:
    truth = torch.tensor([-2.0, -0.5, 0.4, 1.7], dtype=torch.float64)
    # Every outcome of every pair, weighted by its probability: the likelihood's optimum is then the truth itself.
    weights = torch.tensor([by_worths(d, model, parameter) for d in truth.tolist()], dtype=torch.float64).flatten()
    outcomes = torch.tensor([0, 1, 2]).repeat(4)

    def objective(x: list[float]) -> tuple[float, list[float]]:
        point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        loss = preference_loss(point[:4].repeat_interleave(3), outcomes, model, point[4], 4, weights)
        loss.backward()
        assert point.grad is not None
        return float(loss.detach()), point.grad.tolist()

    fitted = minimize(objective, [0.0] * 5, jac=True, method="BFGS", options={"gtol": 1e-9})
    assert fitted.x.tolist() == pytest.approx([*truth.tolist(), parameter], abs=1e-5)


def test_margin_is_taken_off_the_preferred_sides_lead_and_not_off_a_tie() -> None:
    difference = torch.tensor([2.0, 2.0, 2.0], dtype=torch.float64)
    margin = torch.tensor([0.5, 0.5, 0.5], dtype=torch.float64)
    got = [
        float(bradley_terry_loss(difference[k : k + 1], torch.tensor([k]), 1, margin=margin[k : k + 1]))
        for k in range(3)
    ]
    log_loss = [math.log1p(math.exp(-1.5)), math.log1p(math.exp(2.5))]
    assert got == pytest.approx([*log_loss, 0.5 * (math.log1p(math.exp(-2)) + math.log1p(math.exp(2)))])


def test_strength_margins_are_the_published_ones() -> None:
    strengths = torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(strength_margin(strengths, 1.0), torch.tensor([0, 1 / 3, 2 / 3, 1]))
    torch.testing.assert_close(strength_margin(strengths, 3.0), torch.tensor([0.0, 1.0, 2.0, 3.0]))


@pytest.mark.parametrize("model", MODELS)
def test_an_outcome_that_does_not_exist_is_an_error(model: TieModel) -> None:
    with pytest.raises((IndexError, RuntimeError)):
        preference_loss(torch.zeros(1), torch.tensor([3]), model, 0.0, 1)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no tie model 'elo'"):
        preference_probabilities(torch.zeros(1), "elo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no tie model 'elo'"):
        preference_loss(torch.zeros(1), torch.tensor([0]), "elo", 0.0, 1)  # type: ignore[arg-type]
