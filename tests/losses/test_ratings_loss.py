"""Likelihoods of single completions: closed forms, finite differences, extremes, and habits recovered from samples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import norm
from splits import gradients_of_splits
from torch import Tensor

from heed.losses.ratings import (
    NARROWEST,
    defect_logprobs,
    expected_ordinal_share,
    expected_share,
    level_logprobs,
    ordered_thresholds,
    ordinal_logprobs,
    quality_score,
    regression_logprobs,
    severity_levels,
    thumb_logprobs,
)

GENERATOR = torch.Generator().manual_seed(0)
PLACE = 3 * torch.randn(11, generator=GENERATOR, dtype=torch.float64)
CUTS = torch.tensor([-1.5, 0.0, 0.7, 2.0], dtype=torch.float64)
LEVELS = torch.arange(11) % 5


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@settings(max_examples=60, deadline=None)
@given(place=st.floats(-12, 12), first=st.floats(-4, 4), gaps=st.lists(st.floats(-3, 2), min_size=0, max_size=5))
def test_ordinal_probabilities_are_differences_of_the_logistic_distribution(
    place: float, first: float, gaps: list[float]
) -> None:
    cuts = ordered_thresholds(torch.tensor(first, dtype=torch.float64), torch.tensor(gaps, dtype=torch.float64))
    ends = [-math.inf, *np.cumsum([first, *(max(math.exp(g), NARROWEST) for g in gaps)]), math.inf]
    assert cuts.tolist() == pytest.approx(ends[1:-1], abs=1e-12)
    levels = torch.arange(len(ends) - 1)
    got = ordinal_logprobs(torch.full(levels.shape, place, dtype=torch.float64), levels, cuts).exp()
    above = [1.0, *(1 - sigmoid(end - place) for end in ends[1:-1]), 0.0]
    assert got.tolist() == pytest.approx([a - b for a, b in itertools.pairwise(above)], rel=1e-6, abs=1e-12)
    assert float(got.sum()) == pytest.approx(1.0, abs=1e-9)


def test_two_levels_are_a_thumb() -> None:
    place, up = PLACE, LEVELS > 2
    bias = 0.4
    as_levels = ordinal_logprobs(place, up.long(), torch.tensor([-bias], dtype=torch.float64))
    torch.testing.assert_close(thumb_logprobs(place, up, bias), as_levels)
    expected = -torch.nn.functional.binary_cross_entropy_with_logits(place + bias, up.double(), reduction="none")
    torch.testing.assert_close(thumb_logprobs(place, up, bias), expected)


def test_a_negative_scale_rates_upside_down() -> None:
    """Turning the place around is turning levels and thresholds around."""
    turned = ordinal_logprobs(-PLACE, LEVELS, CUTS)
    torch.testing.assert_close(turned, ordinal_logprobs(PLACE, 4 - LEVELS, -CUTS.flip(0)))


def test_each_rater_may_have_thresholds_of_their_own() -> None:
    own = CUTS + torch.linspace(-1, 1, 11, dtype=torch.float64)[:, None]
    each = [ordinal_logprobs(PLACE[n : n + 1], LEVELS[n : n + 1], own[n]) for n in range(11)]
    torch.testing.assert_close(ordinal_logprobs(PLACE, LEVELS, own), torch.cat(each))


def test_regression_is_the_normal_density() -> None:
    observed = torch.linspace(-2, 2, 11, dtype=torch.float64)
    got = regression_logprobs(PLACE, observed, math.log(0.7))
    assert got.numpy() == pytest.approx(norm.logpdf(observed.numpy(), PLACE.numpy(), 0.7))


def test_classifier_of_levels_and_its_expected_level() -> None:
    logits = torch.randn(11, 5, generator=GENERATOR, dtype=torch.float64)
    expected = -torch.nn.functional.cross_entropy(logits, LEVELS, reduction="none")
    torch.testing.assert_close(level_logprobs(logits, LEVELS), expected)
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    assert expected_share(logits).numpy() == pytest.approx(shares @ np.linspace(0, 1, 5))


def test_expected_ordinal_level_is_the_mean_over_levels() -> None:
    probabilities = torch.stack([ordinal_logprobs(PLACE, torch.full((11,), k), CUTS).exp() for k in range(5)], 1)
    mean = probabilities @ torch.linspace(0, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(expected_ordinal_share(PLACE, CUTS), mean)


def test_defects_are_independent_and_what_was_not_asked_does_not_count() -> None:
    logits = torch.randn(7, 3, generator=GENERATOR, dtype=torch.float64)
    ticked = torch.rand(7, 3, generator=GENERATOR) < 0.4
    expected = torch.where(ticked, logits.sigmoid(), 1 - logits.sigmoid()).prod(1)
    torch.testing.assert_close(defect_logprobs(logits, ticked).exp(), expected)
    asked = torch.tensor([True, False, True]).expand(7, -1)
    torch.testing.assert_close(
        defect_logprobs(logits, ticked, asked), defect_logprobs(logits[:, [0, 2]], ticked[:, [0, 2]])
    )


def test_severity_is_that_of_the_worst_defect_and_quality_the_weighted_sum() -> None:
    ticked = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1]]).bool()
    assert severity_levels(ticked, torch.tensor([1, 3, 2])).tolist() == [0, 1, 3, 3]
    values = torch.tensor([[0.5, 1.0], [1.0, 0.0]])
    assert quality_score(values, torch.tensor([2.0, -1.0])).tolist() == [0.0, 2.0]


def _ordinal(part: slice, leaves: list[Tensor]) -> Tensor:
    place, first, gaps = leaves
    return ordinal_logprobs(place[part], LEVELS[part], ordered_thresholds(first, gaps))


def _regression(part: slice, leaves: list[Tensor]) -> Tensor:
    return regression_logprobs(leaves[0][part], PLACE.flip(0)[part], leaves[1])


def _thumb(part: slice, leaves: list[Tensor]) -> Tensor:
    return thumb_logprobs(leaves[0][part], (LEVELS > 2)[part], leaves[1])


def _levels(part: slice, leaves: list[Tensor]) -> Tensor:
    return level_logprobs(leaves[0].view(11, -1)[part], LEVELS[part])


def _defects(part: slice, leaves: list[Tensor]) -> Tensor:
    return defect_logprobs(leaves[0].view(11, -1)[part] + leaves[1], (torch.arange(55).view(11, 5) % 3 == 0)[part])


GAPS = torch.tensor([0.1, -0.5, 0.6], dtype=torch.float64)
WIDE = torch.linspace(-3, 3, 55, dtype=torch.float64)
CASES = {
    "ordinal": (_ordinal, [PLACE, CUTS[0], GAPS]),
    "regression": (_regression, [PLACE, torch.tensor(-0.3, dtype=torch.float64)]),
    "thumb": (_thumb, [PLACE, torch.tensor(0.2, dtype=torch.float64)]),
    "levels": (_levels, [WIDE]),
    "defects": (_defects, [WIDE, torch.tensor(0.2, dtype=torch.float64)]),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    logprobs, values = CASES[name]
    leaves = [value.clone().requires_grad_() for value in values]
    assert torch.autograd.gradcheck(lambda *leaves: logprobs(slice(None), list(leaves)), leaves)


@pytest.mark.parametrize("name", CASES)
def test_splitting_into_micro_batches_changes_nothing(name: str) -> None:
    logprobs, values = CASES[name]
    whole, split = gradients_of_splits(logprobs, values, 11)
    assert split[0] == pytest.approx(whole[0])
    for one, other in zip(whole[1], split[1], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [-1e4, -300.0, 0.0, 300.0, 1e4])
def test_extreme_places_in_float32_keep_values_and_gradients(size: float) -> None:
    place = torch.full((5,), size, requires_grad=True)
    cuts = ordered_thresholds(torch.tensor(-1.0), torch.tensor([-30.0, 0.0, 3.0]))
    thumbs = thumb_logprobs(place, torch.arange(5) % 2 == 0, 1.0)
    levels = level_logprobs(place[:, None] * torch.linspace(-1, 1, 5), torch.arange(5))
    defects = defect_logprobs(place[:, None].expand(-1, 3), torch.ones(5, 3).bool())
    total = ordinal_logprobs(place, torch.arange(5), cuts).sum() + thumbs.sum() + levels.sum() + defects.sum()
    total.backward()
    assert bool(total.isfinite())
    assert place.grad is not None
    assert bool(place.grad.isfinite().all())


def test_a_raters_shift_and_negative_scale_are_found_again() -> None:
    """Ratings drawn from a known quality by a rater who is upside down and strict."""
    rng = np.random.default_rng(0)
    quality = torch.tensor(rng.normal(size=4000))
    scale, shift = -1.4, 0.8
    noise = torch.tensor(rng.logistic(size=4000))
    levels = (scale * quality + shift + noise).unsqueeze(1).gt(CUTS).sum(1)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.tensor(x, requires_grad=True)
        loss = -ordinal_logprobs(at[0] * quality + at[1], levels, CUTS).sum()
        loss.backward()
        assert at.grad is not None
        return float(loss.detach()), at.grad.numpy()

    found = minimize(objective, np.array([1.0, 0.0]), jac=True, method="BFGS")
    errors = np.sqrt(np.diag(found.hess_inv))
    assert np.abs(found.x - [scale, shift]).max() < 4 * errors.max()
    assert errors.max() < 0.1
