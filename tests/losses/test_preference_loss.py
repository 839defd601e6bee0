"""Preference losses: formulas written anew in double precision, finite differences, and optima that theory names."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from torch import Tensor

from heed.losses import preference
from heed.losses.preference import Coefficients, Side

BY = Coefficients(beta=0.3, label_smoothing=0.1, margin=0.7, supervised=0.2, desirable=1.3, undesirable=0.8)
PAIRS: dict[str, Callable[[Side, Side, Coefficients], Tensor]] = {
    name: getattr(preference, name) for name in ("dpo", "ipo", "simpo", "slic", "orpo")
}


def sides(count: int, seed: int) -> tuple[Side, Side]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(2):
        lengths = torch.randint(1, 9, (count,), generator=generator).double()
        logprobs = -lengths * (0.05 + 3 * torch.rand(count, generator=generator, dtype=torch.float64))
        reference = logprobs + torch.randn(count, generator=generator, dtype=torch.float64)
        made.append(Side(logprobs, reference, lengths))
    return made[0], made[1]


def by_hand(name: str, better: Side, worse: Side) -> np.ndarray:
    """The papers' equations, with numpy and without the code's helpers."""
    (won, won_before, won_tokens), (lost, lost_before, lost_tokens) = ([x.numpy() for x in s] for s in (better, worse))
    lead = (won - won_before) - (lost - lost_before)
    if name == "dpo":
        return -0.9 * np.log(expit(0.3 * lead)) - 0.1 * np.log(expit(-0.3 * lead))
    if name == "ipo":
        return (lead - 1 / 0.6) ** 2
    if name == "simpo":
        z = 0.3 / won_tokens * won - 0.3 / lost_tokens * lost - 0.7
        return -0.9 * np.log(expit(z)) - 0.1 * np.log(expit(-z))
    if name == "slic":
        return np.maximum(0, 0.7 - won + lost) - 0.2 * won
    p, q = np.exp(won / won_tokens), np.exp(lost / lost_tokens)
    return -won / won_tokens - 0.3 * np.log(expit(np.log((p / (1 - p)) / (q / (1 - q)))))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("seed", range(3))
def test_each_pair_loss_is_its_paper_s_equation(name: str, seed: int) -> None:
    better, worse = sides(50, seed)
    np.testing.assert_allclose(PAIRS[name](better, worse, BY).numpy(), by_hand(name, better, worse), rtol=1e-9)


def test_where_policy_and_reference_agree_dpo_is_log_two() -> None:
    better, worse = sides(5, 0)
    same = [Side(side.reference, side.reference, side.lengths) for side in (better, worse)]
    expected = torch.full((5,), math.log(2), dtype=torch.float64)
    torch.testing.assert_close(preference.dpo(same[0], same[1], BY), expected)
    torch.testing.assert_close(preference.ipo(same[0], same[1], BY), torch.full_like(expected, (1 / 0.6) ** 2))


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_of_pair_losses_are_finite_differences(name: str) -> None:
    better, worse = sides(7, 4)

    def loss(one: Tensor, other: Tensor) -> Tensor:
        return PAIRS[name](better._replace(logprobs=one), worse._replace(logprobs=other), BY)

    leaves = [side.logprobs.clone().requires_grad_() for side in (better, worse)]
    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize("name", PAIRS)
def test_pair_losses_and_gradients_are_finite_at_extremes(name: str) -> None:
    values = torch.tensor([-0.0, -1e-7, -1e-3, -50.0, -1e4])
    one, other = (grid.flatten() for grid in torch.meshgrid(values, values, indexing="ij"))
    one.requires_grad_()
    ones = torch.ones_like(other)
    loss = PAIRS[name](Side(one, other.flip(0), ones), Side(other, -ones, ones), BY)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(one.grad).all()


@given(st.floats(-700, -1e-12))
def test_log_odds_keep_their_digits(logprob: float) -> None:
    found = float(preference.log_odds(torch.tensor([logprob], dtype=torch.float64)))
    wide = np.longdouble(logprob)
    assert found == pytest.approx(float(wide - np.log(-np.expm1(wide))), rel=1e-9, abs=1e-9)


def test_log_odds_are_logit_of_the_probability() -> None:
    p = np.linspace(0.01, 0.99, 25)
    np.testing.assert_allclose(preference.log_odds(torch.tensor(np.log(p))).numpy(), logit(p), rtol=1e-12, atol=1e-12)


# One text


def kto_by_hand(gain: np.ndarray, liked: np.ndarray, z: float) -> np.ndarray:
    """lambda_y less the value of each text, with the value function written out."""
    value = np.where(liked, 1.3 * expit(0.3 * (gain - z)), 0.8 * expit(0.3 * (z - gain)))
    return np.where(liked, 1.3, 0.8) - value


def test_kto_is_its_paper_s_equation_and_its_gradient_a_finite_difference() -> None:
    side, _ = sides(20, 1)
    liked = torch.arange(20) % 3 == 0
    baseline = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    found = preference.kto(side, liked, baseline, BY)
    expected = kto_by_hand(side.gain.numpy(), liked.numpy(), 0.4)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9)
    leaf = side.logprobs.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: preference.kto(side._replace(logprobs=x), liked, baseline, BY), [leaf])
    assert torch.autograd.grad(found.sum() + 0 * baseline, baseline)[0] == 0, "the reference point is no target"


def test_the_reference_point_is_a_mean_and_never_below_nothing() -> None:
    now, before = torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([-2.0, -4.0, -5.0])
    assert float(preference.kto_baseline(now, before)) == pytest.approx(4 / 3)
    assert float(preference.kto_baseline(before, now)) == 0


# Several texts


def test_a_ranking_of_two_is_dpo_and_of_three_its_paper_s_equation() -> None:
    better, worse = sides(6, 2)
    plain = Coefficients(beta=0.3)
    logprobs, reference = (torch.stack([better[k], worse[k]], 1) for k in (0, 1))
    places = torch.tensor([[0, 1]] * 6)
    pairwise = preference.dpo(better, worse, plain)
    torch.testing.assert_close(preference.listwise_dpo(logprobs, reference, places, plain), pairwise)
    turned = preference.listwise_dpo(logprobs.flip(1), reference.flip(1), places.flip(1), plain)
    torch.testing.assert_close(turned, pairwise)
    three = torch.tensor([[-1.0, -3.0, -2.0]], dtype=torch.float64)
    order = torch.tensor([[1, 0, 2]])  # the second is best, then the first, then the third
    r = 0.3 * three[0].numpy()
    expected = -(r[1] - np.log(np.exp(r).sum()) + r[0] - np.log(np.exp(r[0]) + np.exp(r[2])))
    found = preference.listwise_dpo(three, torch.zeros_like(three), order, plain)
    assert float(found) == pytest.approx(expected, rel=1e-9)


# Optima


def minimise(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Logits at which an expected loss is least, by L-BFGS in double precision."""
    logits = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(torch.log_softmax(logits, -1))
        value.backward()
        return value

    optimizer.step(closure)
    return torch.log_softmax(logits.detach(), -1)


@pytest.mark.parametrize("seed", range(5))
def test_dpo_ends_where_the_reward_less_kl_is_largest(seed: int) -> None:
    """With all pairs by Bradley-Terry on a known reward: log policy = log reference + reward / beta + a constant (Rafailov et al.
    2023, eq. 4)."""
    generator = torch.Generator().manual_seed(seed)
    reward, start = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    reference = torch.log_softmax(start, -1)
    by = Coefficients(beta=0.5)
    ones = torch.ones((), dtype=torch.float64)

    def expected(logprobs: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for i in range(5):
            for j in range(5):
                pair = (Side(logprobs[k], reference[k], ones) for k in (i, j))
                total = total + torch.sigmoid(reward[i] - reward[j]) * preference.dpo(*pair, by)
        return total

    found = minimise(expected, start)
    wanted = torch.log_softmax(reference + reward / by.beta, -1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sure", [0.5, 0.7, 1.0])
def test_two_arms_end_where_each_paper_says(sure: float) -> None:
    """IPO parts them by (2 p - 1) / (2 beta), however sure raters are (Azar et al. 2024, section 5); conservative DPO by the
    log-odds of who is right, over beta."""
    start = torch.tensor([0.3, -0.2], dtype=torch.float64)
    reference = torch.log_softmax(start, -1)
    ones = torch.ones((), dtype=torch.float64)

    def gap(loss: Callable[[Side, Side, Coefficients], Tensor], by: Coefficients) -> float:
        def expected(logprobs: Tensor) -> Tensor:
            first, second = (Side(logprobs[k], reference[k], ones) for k in (0, 1))
            return sure * loss(first, second, by) + (1 - sure) * loss(second, first, by)

        found = minimise(expected, start) - reference
        return float(found[0] - found[1])

    assert gap(preference.ipo, Coefficients(beta=0.25)) == pytest.approx((2 * sure - 1) / 0.5, abs=1e-6)
    smoothed = sure * 0.9 + (1 - sure) * 0.1
    assert gap(preference.dpo, Coefficients(beta=0.25, label_smoothing=0.1)) == pytest.approx(
        logit(smoothed) / 0.25, abs=1e-4
    )


def test_slic_stops_at_its_margin_and_simpo_counts_by_the_token() -> None:
    ones = torch.ones(1)
    by = Coefficients(margin=1.0)
    far = torch.tensor([-1.0], requires_grad=True)
    preference.slic(Side(far, ones, ones), Side(torch.tensor([-2.5]), ones, ones), by).sum().backward()
    assert float(far.grad) == 0
    longer = [Side(torch.tensor([v * n]), ones, torch.tensor([float(n)])) for v, n in ((-1.0, 3), (-2.0, 7))]
    shorter = [Side(torch.tensor([v]), ones, ones) for v in (-1.0, -2.0)]
    simpo = Coefficients(beta=2.0, margin=0.5)
    torch.testing.assert_close(preference.simpo(*longer, simpo), preference.simpo(*shorter, simpo))
