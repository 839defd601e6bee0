"""Advantages of samples that are compared with each other, returns to go, and the losses without and with wider ratios."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import zscore

from heed.losses.advantages import best_of_group, group_relative, leave_one_out, preferred_pair, returns_to_go
from heed.losses.policy import clipped_ratio_loss, score_function_loss, sequence_logprobs

scores_of = st.integers(2, 6).flatmap(
    lambda each: st.tuples(
        st.just(each),
        st.lists(st.lists(st.floats(-50, 50), min_size=each, max_size=each), min_size=1, max_size=5),
    )
)


@given(scores_of)
def test_leave_one_out_is_each_less_the_mean_of_the_others(drawn: tuple[int, list[list[float]]]) -> None:
    each, groups = drawn
    found = leave_one_out(torch.tensor(groups, dtype=torch.float64).flatten(), each).view(-1, each).numpy()
    for group, advantages in zip(groups, found, strict=True):
        for place, advantage in enumerate(advantages):
            others = [score for other, score in enumerate(group) if other != place]
            assert advantage == pytest.approx(group[place] - np.mean(others), abs=1e-9)
        assert advantages.sum() == pytest.approx(0, abs=1e-9)


def test_of_two_it_is_the_difference_of_the_pair() -> None:
    found = leave_one_out(torch.tensor([3.0, 1.0, -2.0, 5.0]), 2)
    assert found.tolist() == [2.0, -2.0, -7.0, 7.0]


def test_groups_are_standardised_as_scipy_does_and_groups_all_alike_are_nothing() -> None:
    scores = torch.tensor(np.random.default_rng(0).normal(3, 2, (4, 5)))
    found = group_relative(scores.flatten(), 5, scaled=True).view(4, 5).numpy()
    np.testing.assert_allclose(found, zscore(scores.numpy(), axis=1, ddof=1), atol=1e-5)
    centred = group_relative(scores.flatten(), 5, scaled=False).view(4, 5).numpy()
    np.testing.assert_allclose(centred, scores.numpy() - scores.numpy().mean(1, keepdims=True), atol=1e-12)
    for alike in (torch.full((3,), 0.1), torch.full((3,), 1e4) + torch.tensor([0.0, 1e-3, 0.0])):
        assert group_relative(alike, 3, scaled=True).abs().max() < 1e-3, "rounding is no difference"


def test_one_sample_has_nothing_to_be_compared_with() -> None:
    for refuses in (lambda: leave_one_out(torch.ones(3), 1), lambda: group_relative(torch.ones(3), 1, True)):
        with pytest.raises(ValueError, match="group of one"):
            refuses()


def test_the_best_of_each_group_is_the_first_of_equals() -> None:
    assert best_of_group(torch.tensor([1.0, 3.0, 3.0, -1.0, -2.0, -3.0]), 3).tolist() == [0, 1, 0, 1, 0, 0]


def test_scores_that_differ_by_rounding_alone_are_alike() -> None:
    hair = torch.tensor([1.0, 1.0 + 2e-7, -1.0, -1.0 - 2e-7])
    assert best_of_group(hair, 4).tolist() == [1, 0, 0, 0]
    assert best_of_group(torch.tensor([1.0, 2.0, -3e6]), 3).tolist() == [0, 1, 0]
    pair = preferred_pair(hair, torch.zeros(4), 4, 0.5)
    assert pair.tolist() == [0.25, 0, -0.25, 0]
    assert preferred_pair(hair[:2], torch.zeros(2), 2, 0.5).tolist() == [0, 0]


@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
def test_returns_to_go_are_sums_of_what_follows(gamma: float) -> None:
    rng = np.random.default_rng(1)
    rewards, mask = rng.normal(size=(3, 6)), rng.random((3, 6)) < 0.7
    found = returns_to_go(torch.tensor(rewards), torch.tensor(mask), gamma).numpy()
    for row in range(3):
        real = np.flatnonzero(mask[row])
        for number, place in enumerate(real):
            wanted = sum(gamma**later * rewards[row, at] for later, at in enumerate(real[number:]))
            assert found[row, place] == pytest.approx(wanted)
        assert (found[row, ~mask[row]] == 0).all()


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logprobs, advantages = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    mask = torch.rand(4, 6, generator=generator) < 0.7
    mask[:, 0] = True
    return logprobs, advantages, mask


def test_the_plain_policy_gradient_is_the_clipped_one_where_the_policy_has_not_moved() -> None:
    logprobs, advantages, mask = batch(0)
    count, gradients = float(mask.sum()), []
    for loss in (
        lambda x: score_function_loss(x, logprobs, advantages, mask, count).loss,
        lambda x: clipped_ratio_loss(x, logprobs, advantages, mask, 0.2, count).loss,
    ):
        leaf = logprobs.clone().requires_grad_()
        loss(leaf).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(gradients[0], -advantages * mask / count)
    leaf = logprobs.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: score_function_loss(x, logprobs, advantages, mask, count).loss, [leaf])


def test_a_higher_clip_lets_ratios_rise_further_and_fall_no_further() -> None:
    for log_ratio, advantage in itertools.product(np.linspace(-0.6, 0.6, 13), (-1.0, 1.0)):
        old = torch.zeros(1, 1)
        now = torch.full((1, 1), float(log_ratio), requires_grad=True)
        got = clipped_ratio_loss(now, old, torch.full((1, 1), advantage), torch.ones(1, 1), 0.2, 1.0, 0.5)
        ratio = float(np.exp(log_ratio))
        assert float(got.loss.detach()) == pytest.approx(
            -min(ratio * advantage, float(np.clip(ratio, 0.8, 1.5)) * advantage), abs=1e-6
        )


def test_of_sequences_the_ratio_is_that_of_whole_completions_a_token() -> None:
    old, change, mask = batch(3)
    logprobs = (old + 0.1 * change).requires_grad_()
    found = sequence_logprobs(logprobs, old, mask) - old
    for row in range(4):
        real = mask[row]
        wanted = float((0.1 * change[row][real]).mean())
        torch.testing.assert_close(found[row], torch.full((6,), wanted, dtype=torch.float64))
    found[0, 0].backward()
    torch.testing.assert_close(logprobs.grad[0], mask[0] / mask[0].sum().double())


@given(scores_of, st.floats(0.01, 3), st.integers(0, 1000))
def test_the_preferred_pair_is_weighed_as_dpo_s_gradient_weighs_it(
    drawn: tuple[int, list[list[float]]], beta: float, seed: int
) -> None:
    each = drawn[0]
    groups = [[round(score, 3) for score in group] for group in drawn[1]]  # either alike or further apart than rounding
    scores = torch.tensor(groups, dtype=torch.float64)
    ratios = torch.randn(scores.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    leaves = ratios.clone().requires_grad_(True)
    for row, group in enumerate(groups):
        if len(set(group)) > 1:
            best, worst = group.index(max(group)), group.index(min(group))
            F.logsigmoid(beta * (leaves[row, best] - leaves[row, worst])).backward()
    expected = torch.zeros_like(scores) if leaves.grad is None else leaves.grad
    torch.testing.assert_close(preferred_pair(scores.flatten(), ratios.flatten(), each, beta), expected.flatten())


def test_one_sample_is_no_pair() -> None:
    with pytest.raises(ValueError, match="no pair"):
        preferred_pair(torch.ones(2), torch.ones(2), 1, 0.1)
