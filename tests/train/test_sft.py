"""Supervised tuning: the loss of transformers on completion tokens only, and what it makes of a policy."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from heed.config import SamplingSettings, SFTSettings
from heed.errors import DataError
from heed.models.decode import sample
from heed.models.policy import Policy
from heed.train.optimise import FitSettings
from heed.train.supervised import CompletionTask, mean_loss, pretrain, tune
from tiny_models import ragged, tiny_policy

EXAMPLES = list(zip(ragged([3, 9, 1, 5], 17, 1), ragged([4, 2, 8, 1], 17, 2), strict=True))


def hf_loss(policy: Policy, masked: bool = True) -> torch.Tensor:
    """Sum over the examples of transformers' own cross entropy, one at a time, prompts labelled -100, over all tokens."""
    total, count = torch.zeros(()), 0
    for prompt, completion in EXAMPLES:
        ids = torch.tensor([prompt + completion])
        labels = torch.tensor(
            [[-100] * (len(prompt) if masked else 1) + (prompt + completion)[len(prompt) if masked else 1 :]]
        )
        logits = policy.model(input_ids=ids).logits
        total = total + F.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum", ignore_index=-100)
        count += int((labels != -100).sum())
    return total / count


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2", "opt"])
def test_loss_and_gradient_are_transformers_on_completions_only(name: str) -> None:
    policy = tiny_policy(name)
    task = CompletionTask(policy, EXAMPLES)
    rows = range(len(EXAMPLES))
    assert task.count(rows) == 15
    gradients = []
    for loss in (task.loss(rows, 15), hf_loss(policy)):
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in policy.model.parameters()]))
        policy.model.zero_grad()
    assert float(task.loss(rows, 15).detach()) == pytest.approx(float(hf_loss(policy).detach()), abs=1e-5)
    torch.testing.assert_close(*gradients, atol=1e-6 + 1e-5 * float(gradients[1].abs().max()), rtol=1e-3)


@pytest.mark.parametrize("tokens", [1, 9, 1000])
def test_mean_loss_is_over_tokens_whatever_the_split(tokens: int) -> None:
    policy = tiny_policy()
    assert mean_loss(policy, EXAMPLES, tokens) == pytest.approx(float(hf_loss(policy).detach()), abs=1e-5)


def test_pretraining_follows_its_own_schedule_on_given_examples() -> None:
    policy = tiny_policy()
    examples = [((prompt + completion)[:1], (prompt + completion)[1:]) for prompt, completion in EXAMPLES]
    settings = FitSettings(steps=1, prompts_per_step=4, tokens_per_microbatch=16, learning_rate=0.0)
    expected = float(hf_loss(policy, masked=False).detach())
    assert pretrain(policy, examples, settings, 0).history[0]["loss"] == pytest.approx(expected, abs=1e-5)


def test_tuning_teaches_the_demonstrations() -> None:
    """Four prompts with one answer each: after tuning the greedy text is the answer, its end included."""
    policy = tiny_policy("llama-tied")
    examples = [
        (policy.encode_prompt(p), policy.encode_completion(p, c))
        for p, c in (("ab", "cde"), ("b", "f"), ("c", "gh"), ("dd", "ee"))
    ]
    before = mean_loss(policy, examples)
    settings = SFTSettings(epochs=60, prompts_per_step=4, learning_rate=1e-2)
    fit = tune(policy, examples, settings, 0)
    assert mean_loss(policy, examples) < 0.05 < before
    assert fit.history[0]["loss"] == pytest.approx(before, abs=1e-5)
    greedy = SamplingSettings(temperature=0.0, samples_per_prompt=1, max_new_tokens=8)
    samples = sample(policy, [prompt for prompt, _ in examples], greedy, 0)
    assert samples.texts == ["cde", "f", "gh", "ee"]
    assert all(samples.finished)


def test_microbatches_change_no_weight() -> None:
    tuned = []
    for tokens in (16, 10_000):
        policy = tiny_policy()
        fit = tune(policy, EXAMPLES, SFTSettings(epochs=5, prompts_per_step=4, tokens_per_microbatch=tokens), 0)
        tuned.append((torch.cat([p.detach().flatten() for p in policy.model.parameters()]), fit.tokens))
    torch.testing.assert_close(tuned[0][0], tuned[1][0], atol=1e-6, rtol=1e-5)
    assert tuned[0][1] == tuned[1][1] == 5 * 33


def test_fewer_examples_than_a_step_holds_still_get_all_their_epochs() -> None:
    fit = tune(tiny_policy(), EXAMPLES, SFTSettings(epochs=3, prompts_per_step=32), 0)
    assert len(fit.history) == 3
    assert fit.tokens == 3 * 33


def test_same_seed_same_weights_and_another_seed_others() -> None:
    def weights(seed: int) -> torch.Tensor:
        policy = tiny_policy()
        tune(policy, EXAMPLES, SFTSettings(epochs=2, prompts_per_step=2), seed)
        return torch.cat([p.detach().flatten() for p in policy.model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_no_demonstration_is_said() -> None:
    with pytest.raises(DataError, match="no demonstration to tune on"):
        tune(tiny_policy(), [], SFTSettings(), 0)
