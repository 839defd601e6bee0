"""The four ways to answer: the mixture's gradient, EM against a general optimiser, and errors that cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from heed.losses.raters import (
    HEEDS,
    INVERTS,
    fitted_ways,
    mixture_logprobs,
    reliability,
    reliability_errors,
    responsibilities,
)

PRIOR = torch.tensor([4.0, 1.5, 1.25, 1.25], dtype=torch.float64)
RIGHT_SIDE = 3


def said_by(ways: Tensor, votes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Log-probability in each way of answers to comparisons of known rewards, and who gave them."""
    rng = np.random.default_rng(seed)
    rater = np.repeat(np.arange(len(ways)), votes)
    lead = rng.normal(scale=2.5, size=rater.size)  # of the left one over the right one
    left_better = 1 / (1 + np.exp(-lead))
    way = (rng.random(rater.size)[:, None] > ways.numpy().cumsum(1)[rater, :3]).sum(1)
    said_left = (
        rng.random(rater.size)
        < np.stack([left_better, 1 - left_better, np.ones_like(lead), 0 * lead])[way, range(rater.size)]
    )
    by_way = np.stack(
        [
            np.where(said_left, left_better, 1 - left_better),
            np.where(said_left, 1 - left_better, left_better),
            np.where(said_left, 1.0, 1e-3),
            np.where(said_left, 1e-3, 1.0),
        ],
        1,
    )
    return torch.tensor(np.log(by_way)), torch.tensor(rater)


WAYS = torch.tensor(
    [[0.9, 0.04, 0.03, 0.03], [0.1, 0.8, 0.05, 0.05], [0.25, 0.05, 0.65, 0.05], [0.4, 0.1, 0.25, 0.25]],
    dtype=torch.float64,
)


def test_the_mixture_is_the_sum_over_ways_and_its_gradient_weighs_by_responsibility() -> None:
    by_way = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    log_ways = WAYS[torch.arange(9) % 4].log()
    got = mixture_logprobs(by_way, log_ways)
    torch.testing.assert_close(got.exp(), (by_way.exp() * log_ways.exp()).sum(1))
    assert torch.autograd.gradcheck(lambda b: mixture_logprobs(b, log_ways), [by_way])
    got.sum().backward()
    torch.testing.assert_close(by_way.grad, responsibilities(by_way, log_ways).detach())


def test_extreme_log_probabilities_keep_a_finite_mixture() -> None:
    by_way = torch.tensor([[-1e4, -2e4, -1e4, 0.0], [0.0, -1e4, -7.0, -7.0]], requires_grad=True)
    got = mixture_logprobs(by_way, WAYS[:2].float().log())
    got.sum().backward()
    assert bool(got.isfinite().all())
    assert by_way.grad is not None
    assert bool(by_way.grad.isfinite().all())


def test_em_ends_where_a_general_optimiser_ends() -> None:
    by_way, rater = said_by(WAYS, 60, 1)
    start = (PRIOR / PRIOR.sum()).repeat(4, 1)
    found = fitted_ways(by_way, rater, start, PRIOR, turns=3000)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.tensor(x, requires_grad=True)
        logs = torch.log_softmax(at.view(4, 4), 1)
        loss = -mixture_logprobs(by_way, logs[rater]).sum() - (logs * (PRIOR - 1)).sum()
        loss.backward()
        assert at.grad is not None
        return float(loss.detach()), at.grad.numpy()

    best = minimize(objective, np.log(start.numpy()).ravel(), jac=True, method="L-BFGS-B", options={"ftol": 1e-15})
    expected = torch.softmax(torch.tensor(best.x).view(4, 4), 1)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_no_step_of_em_lowers_the_posterior() -> None:
    by_way, rater = said_by(WAYS, 30, 2)
    ways = (PRIOR / PRIOR.sum()).repeat(4, 1)
    before = -np.inf
    for _ in range(30):
        ways = fitted_ways(by_way, rater, ways, PRIOR, turns=1)
        value = float(mixture_logprobs(by_way, ways[rater].log()).sum() + (ways.log() * (PRIOR - 1)).sum())
        assert value >= before - 1e-9
        before = value


def test_without_judgments_the_prior_stands_and_a_weight_of_two_is_twice_the_judgment() -> None:
    start = torch.full((2, 4), 0.25, dtype=torch.float64)
    nothing = fitted_ways(torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0).long(), start, PRIOR)
    mode = (PRIOR - 1) / (PRIOR - 1).sum()
    torch.testing.assert_close(nothing, mode.repeat(2, 1))
    by_way, rater = said_by(WAYS[:2], 10, 3)
    twice = fitted_ways(torch.cat([by_way, by_way]), torch.cat([rater, rater]), start, PRIOR)
    weighed = fitted_ways(by_way, rater, start, PRIOR, torch.full((20,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(weighed, twice)


def test_turning_the_reward_around_swaps_the_first_two_ways() -> None:
    by_way, rater = said_by(WAYS, 50, 4)
    flat = torch.full((4,), 1.5, dtype=torch.float64)
    start = torch.full((4, 4), 0.25, dtype=torch.float64)
    turned = by_way[:, [INVERTS, HEEDS, 2, 3]]
    one, other = (fitted_ways(b, rater, start, flat, turns=200) for b in (by_way, turned))
    torch.testing.assert_close(one[:, [INVERTS, HEEDS, 2, 3]], other)
    torch.testing.assert_close(reliability(one), -reliability(other))


def test_intervals_of_the_reliability_cover_the_truth() -> None:
    """Of 1,000 raters drawn from the prior, as the posterior's errors are meant, each with 150 answers."""
    truth = torch.tensor(np.random.default_rng(5).dirichlet(PRIOR.numpy(), size=1000))
    by_way, rater = said_by(truth, 150, 6)
    ways = fitted_ways(by_way, rater, (PRIOR / PRIOR.sum()).repeat(1000, 1), PRIOR, turns=40)
    errors = reliability_errors(by_way, rater, ways, PRIOR)
    covered = float(((reliability(ways) - reliability(truth)).abs() < 1.96 * errors).double().mean())
    assert 0.93 < covered < 0.97


def test_errors_are_those_of_the_second_derivative() -> None:
    """By central differences of the log-posterior in three free shares."""
    by_way, rater = said_by(WAYS[:1], 80, 6)
    ways = fitted_ways(by_way, rater, (PRIOR / PRIOR.sum()).repeat(1, 1), PRIOR, turns=3000)

    def posterior(free: Tensor) -> Tensor:
        shares = torch.cat([free, 1 - free.sum(0, keepdim=True)])
        return mixture_logprobs(by_way, shares.log()).sum() + (shares.log() * (PRIOR - 1)).sum()

    hessian = torch.autograd.functional.hessian(posterior, ways[0, :RIGHT_SIDE])
    contrast = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    expected = float((torch.linalg.inv(-hessian) @ contrast @ contrast).sqrt())
    assert float(reliability_errors(by_way, rater, ways, PRIOR)) == pytest.approx(expected, rel=1e-6)
