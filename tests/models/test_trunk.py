"""Our forward passes against transformers' own, and design invariant 3: lengths are data."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_models
from heed.errors import ModelError
from heed.models.batch import TokenBatch, microbatches
from heed.models.policy import Continuations, Policy, token_scores
from tiny_models import FAST, GENERIC, letter_tokenizer, ragged, tiny_policy

VOCABULARY = 17
policy_of = cache(tiny_policy)


def hf_logits(model: Any, batch: TokenBatch, side: str) -> torch.Tensor:
    """Logits [N, V] of the packed tokens by the Hugging Face model on a padded batch with explicit positions."""
    ids, mask = batch.padded(side, fill=3)
    extra = {}
    if model.config.model_type not in ("bloom",):
        extra = {"position_ids": (mask.cumsum(-1) - 1).clamp_min(0)}
    return model(input_ids=ids, attention_mask=mask, **extra).logits[mask.bool()]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", [*FAST, *GENERIC])
def test_logits_equal_transformers(name: str, side: str) -> None:
    policy = policy_of(name)
    batch = TokenBatch.of(ragged([3, 9, 1, 7, 30, 9], VOCABULARY))
    with torch.no_grad():
        ours, theirs = policy.logits(policy.body.hidden(batch)), hf_logits(policy.model, batch, side)
    assert theirs.std() > 0.5, "logits must differ enough for the comparison to mean something"
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", FAST)
def test_these_shapes_take_the_fast_path(name: str) -> None:
    assert policy_of(name).body.fast


@pytest.mark.parametrize("name", GENERIC)
def test_these_shapes_take_the_generic_path(name: str) -> None:
    assert not policy_of(name).body.fast


def test_a_window_as_long_as_the_context_is_no_window() -> None:
    assert tiny_policy("mistral", sliding_window=96).body.fast
    assert not tiny_policy("mistral", sliding_window=95).body.fast


def test_logits_that_the_head_does_not_make_are_refused() -> None:
    class Odd(transformers.OPTForCausalLM):
        def forward(self, *inputs: Any, **named: Any) -> Any:
            out = super().forward(*inputs, **named)
            out.logits = out.logits - out.logits.mean()
            return out

    model = Odd(tiny_models.causal_model("opt", VOCABULARY).config)
    with pytest.raises(ModelError, match="not what its head makes"):
        Policy.of(model, letter_tokenizer(), "odd")


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2", "opt"])
def test_keep_selects_states(name: str) -> None:
    policy = policy_of(name)
    batch = TokenBatch.of(ragged([4, 11, 2], VOCABULARY))
    keep = torch.tensor([16, 3, 9, 0])
    with torch.no_grad():
        torch.testing.assert_close(policy.body.hidden(batch, keep), policy.body.hidden(batch)[keep])


@pytest.mark.parametrize("name", [*FAST, "opt"])
def test_gradients_of_every_weight_equal_transformers(name: str) -> None:
    policy = policy_of(name)
    batch = TokenBatch.of(ragged([5, 12, 2], VOCABULARY))
    weights = torch.randn(19, VOCABULARY, generator=torch.Generator().manual_seed(1))
    gradients = []
    for logits in (policy.logits(policy.body.hidden(batch)), hf_logits(policy.model, batch, "left")):
        (logits.log_softmax(-1) * weights).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in policy.model.named_parameters()})
        policy.model.zero_grad()
    for parameter, ours in gradients[0].items():
        theirs = gradients[1][parameter]
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, atol=1e-5 * max(1.0, scale), rtol=1e-3, msg=parameter)


def logprobs(policy: Policy, prompts: list[list[int]], completions: list[list[int]], limit: int) -> list[list[float]]:
    """Log-probabilities of completions in micro-batches of at most ``limit`` tokens."""
    out: list[list[float]] = []
    for rows in microbatches([len(p) + len(c) for p, c in zip(prompts, completions, strict=True)], limit):
        laid = Continuations.of([prompts[r] for r in rows], [completions[r] for r in rows])
        grid = laid.grid(token_scores(policy, policy.body.hidden(laid.batch, laid.predictors), laid.targets).logprobs)
        out += [row[: len(completions[r])].tolist() for r, row in zip(rows, grid, strict=True)]
    return out


TEXTS = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 12)), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["llama-grouped", "gpt2", "qwen3", "opt", "bloom"]),
    TEXTS,
    st.integers(1, 99),
    st.integers(0, 9),
)
def test_logprobs_do_not_depend_on_company(name: str, shape: list[tuple[int, int]], limit: int, seed: int) -> None:
    """Alone, packed, in any micro-batch split, and as transformers computes them padded left or right: the same."""
    policy = policy_of(name)
    prompts = ragged([p for p, _ in shape], VOCABULARY + 1, seed)
    completions = ragged([c for _, c in shape], VOCABULARY + 1, seed + 1)
    with torch.no_grad():
        split = logprobs(policy, prompts, completions, limit)
        alone = [logprobs(policy, [p], [c], 1)[0] for p, c in zip(prompts, completions, strict=True)]
        batch = TokenBatch.of([p + c for p, c in zip(prompts, completions, strict=True)])
        sides = [hf_logits(policy.model, batch, side).log_softmax(-1) for side in ("left", "right")]
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        assert split[row] == pytest.approx(alone[row], abs=1e-5)
        places = torch.tensor(batch.span(row, len(prompt) - 1, len(prompt) + len(completion) - 1))
        for log_p in sides:
            theirs = log_p[places, torch.tensor(completion)].tolist()
            assert split[row] == pytest.approx(theirs, abs=2e-5)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["llama-grouped", "gpt2", "opt"]), TEXTS, st.integers(1, 99))
def test_gradients_do_not_depend_on_the_split(name: str, shape: list[tuple[int, int]], limit: int) -> None:
    policy = policy_of(name)
    prompts = ragged([p for p, _ in shape], VOCABULARY, 1)
    completions = ragged([c for _, c in shape], VOCABULARY, 2)
    gradients = []
    for tokens in (limit, 10_000):
        policy.model.zero_grad()
        for rows in microbatches([len(p) + len(c) for p, c in zip(prompts, completions, strict=True)], tokens):
            laid = Continuations.of([prompts[r] for r in rows], [completions[r] for r in rows])
            hidden = policy.body.hidden(laid.batch, laid.predictors)
            token_scores(policy, hidden, laid.targets).logprobs.sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in policy.model.parameters()]))
    policy.model.zero_grad()
    torch.testing.assert_close(*gradients, atol=1e-5 * float(gradients[1].abs().max()), rtol=1e-3)
