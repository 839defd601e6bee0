"""What training computes in and keeps in memory: equal gradients when layers are computed again, bfloat16 beside float32 weights,
and what a machine without the hardware is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from heed.config import PolicySettings, PreferenceSettings, SamplingSettings, SFTSettings, parse_settings
from heed.errors import ConfigError, ModelError
from heed.models.adapters import adapt
from heed.models.decode import sample
from heed.models.policy import Continuations, Policy, token_scores
from heed.models.tuning import check_machine, load_tuned, set_up
from heed.stages.data import FIRST, ComparisonRow
from heed.stages.policy import train_policy
from heed.stages.preference import train_preferences
from heed.stages.supervised import train_sft
from heed.train.rollout import completion_logprobs
from heed.tuning_settings import LoraSettings, TunedSettings
from tiny_models import ragged, tiny_policy
from tiny_project import letters

SHAPES = ["llama-grouped", "gpt2", "gpt_neox", "gemma", "gemma2", "opt", "t5", "bart"]
PROMPTS, COMPLETIONS = ragged([5, 2, 9], 17), ragged([4, 7, 3], 17, seed=1)
HALF, AGAIN = TunedSettings(dtype="bfloat16"), TunedSettings(gradient_checkpointing=True)
TEXTS = [letters(n, 3) for n in range(12)]


def gradients(policy: Policy) -> dict[str, Tensor]:
    """Of the completions' log-probability by every weight."""
    policy.model.zero_grad()
    laid = Continuations.of(PROMPTS, COMPLETIONS)
    total = token_scores(policy, policy.body.hidden(laid.batch, laid.predictors), laid.targets).logprobs.sum()
    total.backward()
    return {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("rank", [0, 2])
def test_computed_again_the_gradients_are_the_same(name: str, rank: int) -> None:
    policy = tiny_policy(name, **({"dropout": 0.3} if name in ("opt", "bart") else {}))
    adapt(policy, LoraSettings(rank=rank), 0)
    expected = gradients(policy)
    set_up(policy.body, AGAIN)
    found = gradients(policy)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], atol=1e-6 * max(1.0, float(value.abs().max())), rtol=1e-4)
    kept = completion_logprobs(policy, PROMPTS, COMPLETIONS, 1.0, 64)
    set_up(policy.body, TunedSettings())
    torch.testing.assert_close(completion_logprobs(policy, PROMPTS, COMPLETIONS, 1.0, 64), kept, atol=0, rtol=0)
    assert not any(part.training for part in policy.model.modules())


@pytest.mark.parametrize("name", ["llama-grouped", "opt", "t5"])
def test_layers_are_computed_a_second_time_in_the_backward_pass(name: str) -> None:
    """Counted by what the backward pass keeps: far fewer numbers."""

    def kept(policy: Policy) -> int:
        sizes = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal sizes
            sizes += tensor.numel()
            return tensor

        laid = Continuations.of(PROMPTS, COMPLETIONS)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            policy.body.hidden(laid.batch, laid.predictors)
        return sizes

    policy = tiny_policy(name)
    whole = kept(policy)
    set_up(policy.body, AGAIN)
    assert kept(policy) < 0.4 * whole


@pytest.mark.parametrize("name", SHAPES)
def test_bfloat16_is_near_float32_and_leaves_the_weights_as_they_are(name: str) -> None:
    policy = tiny_policy(name, **{"initializer_factor": 1.0} if name == "t5" else {})
    exact, exact_gradients = completion_logprobs(policy, PROMPTS, COMPLETIONS, 1.0, 64), gradients(policy)
    set_up(policy.body, HALF)
    half, half_gradients = completion_logprobs(policy, PROMPTS, COMPLETIONS, 1.0, 64), gradients(policy)
    assert half.dtype == torch.float32
    assert 1e-5 < (half - exact).abs().max() < 0.3, "rounded, and no more than that"
    assert {p.dtype for p in policy.parameters()} == {torch.float32}
    one, other = (torch.cat([g.flatten() for g in found.values()]) for found in (exact_gradients, half_gradients))
    assert other.dtype == torch.float32
    assert torch.cosine_similarity(one, other, dim=0) > 0.98
    drawn = sample(policy, PROMPTS, SamplingSettings(max_new_tokens=6), 0)
    ids = [prompt for prompt in PROMPTS for _ in range(2)]
    again = completion_logprobs(policy, ids, drawn.tokens, 1.0, 64)
    for row, logprobs in enumerate(drawn.logprobs):
        assert logprobs == pytest.approx(again[row, : len(logprobs)].tolist(), abs=0.15)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny_policy("llama-grouped", initializer_range=0.05).save(folder)
    return folder


def test_all_families_train_in_bfloat16_with_layers_computed_again(model: Path, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"dtype": "bfloat16", "gradient_checkpointing": True, "learning_rate": 1e-2}
    fixed = quick | {"epochs": 3, "prompts_per_step": 6}
    tuned = train_sft(model, [(text, "aab") for text in TEXTS], tmp_path / "sft", SFTSettings(**fixed))
    assert tuned.metrics["loss_after"] < tuned.metrics["loss_before"] - 0.3
    rows = [ComparisonRow(text, "aaa", "bcd", FIRST) for text in TEXTS]
    preferred = train_preferences(model, rows, tmp_path / "dpo", "dpo", PreferenceSettings(**fixed))
    assert preferred.metrics["history"][-1]["loss"] < preferred.metrics["history"][0]["loss"]
    settings = PolicySettings(**quick, steps=2, prompts_per_step=4, max_new_tokens=5, lora=LoraSettings(rank=2))
    policy = train_policy(model, lambda prompt, text: float(text.count("b")), TEXTS, tmp_path / "ppo", settings)
    assert len(policy.metrics["history"]) == 2
    assert {p.dtype for p in Policy.load(tmp_path / "sft").parameters()} == {torch.float32}


def test_what_the_machine_cannot_do_is_told_before_anything_is_loaded(model: Path) -> None:
    few = TunedSettings(quantization="4bit", lora=LoraSettings(rank=4))
    with pytest.raises(ConfigError, match=r"quantization 4bit on cpu: .*CUDA devices alone"):
        load_tuned(model, few, "cpu", 0)
    check_machine(HALF, "cpu")
    with pytest.raises(ConfigError, match=r"cannot be trained, only adapters.*lora\.rank"):
        parse_settings(SFTSettings, {"quantization": "8bit"}, "--set")
    with pytest.raises(ConfigError, match="bfloat16 would round away"):
        parse_settings(PolicySettings, {"algorithm": "trpo", "dtype": "bfloat16"}, "--set")


def test_quantised_weights_are_asked_of_bitsandbytes_and_never_of_an_adapter(model: Path, tmp_path: Path) -> None:
    """Here without the package: the error is transformers' own."""
    with pytest.raises(ModelError, match=r"cannot load the model"):
        Policy.load(model, quantization="8bit")
    policy = Policy.load(model)
    adapt(policy, LoraSettings(rank=2), 0)
    policy.save(tmp_path / "adapter")
    with pytest.raises(ModelError, match="heed merge"):
        Policy.load(tmp_path / "adapter", quantization="4bit")
