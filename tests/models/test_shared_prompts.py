"""Prompts that several completions share are computed once: the same numbers as each completion by itself, for less work."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heed.models.policy import Continuations, Policy, token_scores
from tiny_models import FAST, ragged, tiny_policy

VOCABULARY = 17
policy_of = cache(tiny_policy)

# Of each completion: which of three prompts it answers, and its length.
ASKED = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), min_size=1, max_size=8)
PROMPTS = st.tuples(*[st.integers(1, 30)] * 3)


def texts(prompts: tuple[int, ...], asked: list[tuple[int, int]], seed: int) -> tuple[list[list[int]], list[list[int]]]:
    pool = ragged(list(prompts), VOCABULARY, seed)
    return [pool[which] for which, _ in asked], ragged([length for _, length in asked], VOCABULARY, seed + 1)


def logprobs(policy: Policy, prompts: list[list[int]], completions: list[list[int]]) -> Tensor:
    """Of every completion token, one completion after another."""
    laid = Continuations.of(prompts, completions)
    return token_scores(policy, policy.body.hidden(laid.batch, laid.predictors), laid.targets).logprobs


def gradients(policy: Policy, value: Tensor) -> dict[str, Tensor]:
    value.backward()
    found = {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad()
    return found


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(FAST)), PROMPTS, ASKED, st.integers(0, 9))
def test_the_same_numbers_as_each_by_itself(
    name: str, lengths: tuple[int, ...], asked: list[tuple[int, int]], seed: int
) -> None:
    policy = policy_of(name)
    prompts, completions = texts(lengths, asked, seed)
    weights = torch.randn(sum(map(len, completions)), generator=torch.Generator().manual_seed(seed))
    together = logprobs(policy, prompts, completions)
    alone = torch.cat([logprobs(policy, [p], [c]) for p, c in zip(prompts, completions, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    ours, theirs = (gradients(policy, (weights * values).sum()) for values in (together, alone))
    for parameter, gradient in ours.items():
        scale = max(1.0, float(theirs[parameter].abs().max()))
        torch.testing.assert_close(gradient, theirs[parameter], atol=1e-5 * scale, rtol=1e-3, msg=parameter)


@settings(max_examples=60, deadline=None)
@given(PROMPTS, ASKED)
def test_each_prompt_is_computed_once(lengths: tuple[int, ...], asked: list[tuple[int, int]]) -> None:
    prompts, completions = texts(lengths, asked, 0)
    batch = Continuations.of(prompts, completions).batch
    least = sum(map(len, {tuple(p) for p in prompts})) + sum(len(c) - 1 for c in completions)
    computed = batch.computed[0].numel()
    assert least <= computed <= batch.ids.numel()
    # What saves next to nothing is left as it is.
    assert computed == least or least > 0.84 * batch.ids.numel()


@pytest.mark.parametrize("name", [name for name in FAST if "lstm" not in name])
def test_the_layers_see_each_prompt_once(name: str) -> None:
    policy = policy_of(name)
    prompts, completions = texts((30, 20, 1), [(0, 5)] * 6 + [(1, 3)] * 2, 0)
    laid = Continuations.of(prompts, completions)
    trunk = policy.body.trunk
    assert trunk is not None
    seen: list[int] = []
    qkv = trunk.qkv
    try:
        trunk.qkv = lambda layer, hidden, rotary: seen.append(len(hidden)) or qkv(layer, hidden, rotary)  # type: ignore[method-assign]
        policy.body.hidden(laid.batch, laid.predictors)
    finally:
        del trunk.qkv
    assert set(seen) == {30 + 20 + 6 * 4 + 2 * 2}


def test_computed_again_in_the_backward_pass_it_gives_the_same_gradients() -> None:
    policy = tiny_policy("llama-grouped")
    prompts, completions = texts((9, 4, 7), [(0, 5), (1, 2), (0, 1), (2, 6), (0, 3), (2, 2)], 3)
    kept = gradients(policy, logprobs(policy, prompts, completions).sum())
    policy.body.recompute = True
    again = gradients(policy, logprobs(policy, prompts, completions).sum())
    for parameter, gradient in kept.items():
        torch.testing.assert_close(again[parameter], gradient, msg=parameter)
