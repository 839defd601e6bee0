"""Low-rank adapters: equal to PEFT's own forward, off for the reference, read by plain PEFT, merged, refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from heed.config import SamplingSettings
from heed.errors import ConfigError, ModelError
from heed.models import adapters
from heed.models.adapters import adapt, trained_part, without_adapter
from heed.models.batch import TokenBatch
from heed.models.decode import sample
from heed.models.policy import Policy
from heed.models.reward import RewardModel
from heed.stages.identity import model_identity
from heed.tuning_settings import LoraSettings
from tiny_models import ragged, tiny_policy

SHAPES = [
    "llama-grouped",
    "llama-biases",
    "qwen3",
    "mistral",
    "gpt2",
    "gpt2-relu-inner",
    "gpt_neox",
    "opt",
    "gemma",
    "gemma2",
]
BATCH = TokenBatch.of(ragged([5, 9, 3], 17))


def logits(policy: Policy) -> Tensor:
    with torch.no_grad():
        return policy.logits(policy.body.hidden(BATCH))


def adapted(name: str, folder: Path, moved: bool = True, **settings: object) -> Policy:
    """A policy saved in ``folder`` with an adapter that has learned something, or nothing yet."""
    tiny_policy(name).save(folder)
    policy = Policy.load(folder)
    adapt(policy, LoraSettings(**{"rank": 3, **settings}), seed=1)
    if moved:
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in policy.parameters():
                if parameter.requires_grad:
                    parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return policy


def transformers_logits(model: object) -> Tensor:
    ids, mask = BATCH.padded("right")
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits[mask.bool()]  # type: ignore[operator]


@pytest.mark.parametrize("name", SHAPES)
def test_logits_equal_pefts_own_and_the_reference_stays_the_base(name: str, tmp_path: Path) -> None:
    base = logits(tiny_policy(name))
    policy = adapted(name, tmp_path / "base")
    assert policy.body.fast == tiny_policy(name).body.fast, "an adapter costs no shape its fast path"
    ours = logits(policy)
    assert (ours - base).abs().max() > 0.5, "the adapter must change enough for the comparison to mean something"
    exact = adapted(name, tmp_path / "exact")
    if exact.body.fast:  # what stays different is what transformers' norms compute in float32 even so
        exact.model.double()
    theirs = transformers_logits(exact.model)
    torch.testing.assert_close(logits(exact), theirs, atol=2e-5, rtol=1e-4)
    # In float32 some processors' products round these sums by more than that: by the largest of what is added up.
    torch.testing.assert_close(ours, theirs.float(), atol=2e-5 * max(1.0, float(theirs.abs().max())), rtol=1e-4)
    reference = without_adapter(policy)
    assert reference.model is policy.model, "no second copy of the weights"
    torch.testing.assert_close(logits(reference), base, atol=0, rtol=0)
    torch.testing.assert_close(logits(policy), ours, atol=0, rtol=0)


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2", "opt"])
def test_samples_of_the_reference_are_those_of_the_base(name: str, tmp_path: Path) -> None:
    settings = SamplingSettings(max_new_tokens=6, samples_per_prompt=2)
    expected = sample(tiny_policy(name), [[1, 2], [3]], settings, 5)
    policy = adapted(name, tmp_path / "base")
    drawn = sample(without_adapter(policy), [[1, 2], [3]], settings, 5)
    assert drawn.tokens == expected.tokens
    for ours, theirs in zip(drawn.logprobs, expected.logprobs, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert sample(policy, [[1, 2], [3]], settings, 5).tokens != expected.tokens


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2", "opt"])
def test_a_new_adapter_changes_nothing_and_depends_on_the_seed_alone(name: str, tmp_path: Path) -> None:
    policy = adapted(name, tmp_path / "base", moved=False)
    torch.testing.assert_close(logits(policy), logits(tiny_policy(name)), atol=1e-6, rtol=0)
    torch.manual_seed(99)
    again = adapted(name, tmp_path / "again", moved=False)
    pairs = zip(policy.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2"])
def test_gradients_reach_the_adapter_alone_and_equal_pefts(name: str, tmp_path: Path) -> None:
    policy = adapted(name, tmp_path / "base")
    policy.model.double()
    weights = torch.randn(17, 17, generator=torch.Generator().manual_seed(1))
    ids, mask = BATCH.padded("right")
    found = []
    for made in (
        policy.logits(policy.body.hidden(BATCH)),
        policy.model(input_ids=ids, attention_mask=mask).logits[mask.bool()],
    ):
        (made.log_softmax(-1) * weights).sum().backward()
        found.append({n: p.grad.clone() for n, p in policy.model.named_parameters() if p.grad is not None})
        policy.model.zero_grad()
    assert found[0].keys() == found[1].keys()
    assert all("lora_" in name for name in found[0])
    for key, ours in found[0].items():
        scale = max(1.0, float(found[1][key].abs().max()))
        torch.testing.assert_close(ours, found[1][key], atol=2e-5 * scale, rtol=1e-3, msg=key)


@pytest.mark.parametrize("name", ["llama-grouped", "gpt2", "opt"])
def test_saved_in_pefts_layout_read_by_plain_peft_and_merged_for_plain_transformers(name: str, tmp_path: Path) -> None:
    policy = adapted(name, tmp_path / "base", alpha=7.0)
    policy.save(tmp_path / "adapter")
    assert {p.name for p in (tmp_path / "adapter").iterdir() if "token" not in p.name} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    held = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    trained = {n: p for n, p in policy.model.named_parameters() if p.requires_grad}
    assert {f"base_model.model.{n.replace('.default', '')}": p.tolist() for n, p in trained.items()} == {
        n: p.tolist() for n, p in held.items()
    }
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    torch.testing.assert_close(transformers_logits(theirs), logits(policy), atol=2e-5, rtol=1e-4)
    loaded = Policy.load(tmp_path / "adapter")
    torch.testing.assert_close(logits(loaded), logits(policy), atol=5e-5, rtol=1e-4)
    assert loaded.encode_prompt("abc") == [0, 1, 2]
    loaded.save(tmp_path / "merged")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(transformers_logits(plain), logits(policy), atol=5e-5, rtol=1e-4)


def test_only_some_layers_have_an_adapter_where_some_are_named(tmp_path: Path) -> None:
    policy = adapted("llama-grouped", tmp_path / "base", modules=["v_proj", "down_proj"])
    names = {name.split(".")[-4] for name, p in policy.model.named_parameters() if p.requires_grad}
    assert names == {"v_proj", "down_proj"}
    torch.testing.assert_close(logits(policy), transformers_logits(policy.model), atol=2e-5, rtol=1e-4)
    part = trained_part(policy.model)
    assert sum(p.numel() for p in part.parameters()) == 2 * (3 * (32 + 16) + 3 * (48 + 32))
    assert trained_part(tiny_policy().model).state_dict().keys() == tiny_policy().model.state_dict().keys()


@pytest.mark.parametrize("name", ["lm_head", "embed_tokens", "q_projection"])
def test_layers_that_take_no_adapter_are_told(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"names '{name}'.*down_proj, gate_proj"):
        adapt(tiny_policy(), LoraSettings(rank=2, modules=[name]), 0)


def test_an_adapter_that_is_more_than_two_matrices_goes_through_transformers(tmp_path: Path) -> None:
    """DoRA scales columns too: read as plain LoRA its log-probabilities would be wrong."""
    policy = tiny_policy("llama-grouped")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"], use_dora=True, init_lora_weights=False)
    peft.get_peft_model(policy.model, config)
    again = Policy.of(policy.model, policy.tokenizer)
    assert not again.body.fast
    torch.testing.assert_close(logits(again), transformers_logits(policy.model), atol=2e-5, rtol=1e-4)


def test_adapters_of_others_are_merged_as_peft_merges_them(tmp_path: Path) -> None:
    tiny_policy("llama-grouped").save(tmp_path / "base")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "up_proj"], use_dora=True, use_rslora=True, init_lora_weights=False
    )
    theirs = peft.get_peft_model(base, config).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    tiny_policy("llama-grouped").tokenizer.save_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(
        logits(Policy.load(tmp_path / "adapter")), transformers_logits(theirs), atol=5e-5, rtol=1e-4
    )


def test_an_adapter_serves_as_the_base_of_another_and_as_a_backbone(tmp_path: Path) -> None:
    first = adapted("llama-grouped", tmp_path / "base")
    first.save(tmp_path / "first")
    second = Policy.load(tmp_path / "first")
    adapt(second, LoraSettings(rank=2), seed=4)
    with torch.no_grad():
        for name, parameter in second.model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    second.save(tmp_path / "second")
    torch.testing.assert_close(logits(Policy.load(tmp_path / "second")), logits(second), atol=5e-5, rtol=1e-4)
    torch.testing.assert_close(logits(without_adapter(second)), logits(first), atol=5e-5, rtol=1e-4)
    assert Policy.without_weights(tmp_path / "second").context == first.context
    reward = RewardModel.new(tmp_path / "first", "mean", 1, seed=0)
    with torch.no_grad():
        torch.testing.assert_close(reward.members[0].body.hidden(BATCH), first.body.hidden(BATCH), atol=5e-5, rtol=1e-4)


def test_an_adapter_is_known_by_its_base_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEED_CACHE", str(tmp_path / "cache"))
    adapted("llama", tmp_path / "base").save(tmp_path / "adapter")
    before = model_identity(tmp_path / "adapter")
    assert before == model_identity(tmp_path / "adapter")
    tiny_policy("llama", seed=3).save(tmp_path / "base")
    assert model_identity(tmp_path / "adapter") != before


def changed(folder: Path, **values: object) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_adapters_that_cannot_be_put_on_their_base_are_told(tmp_path: Path) -> None:
    place = tmp_path / "adapter"
    adapted("llama", tmp_path / "base").save(place)
    base = json.loads((place / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert base == str(tmp_path / "base"), "wherever somebody stands"
    for values, told in (
        ({"base_model_name_or_path": "/nowhere/at/all"}, "the base of the adapter .* is not there"),
        ({"base_model_name_or_path": None}, "the base of the adapter .* is not there"),
        ({"base_model_name_or_path": str(place)}, "names itself"),
        ({"peft_type": "IA3"}, "an adapter of the kind 'IA3'"),
        ({"megatron_config": {"a": 1}}, "an adapter of the kind"),
        ({"r": 5}, "cannot put the adapter"),
        ({"target_modules": ["nothing"]}, "cannot put the adapter"),
    ):
        changed(place, **{"base_model_name_or_path": base, "peft_type": "LORA", "megatron_config": None, **values})
        with pytest.raises(ModelError, match=told):
            Policy.load(place)
    (place / "adapter_config.json").write_text("[]")
    with pytest.raises(ModelError, match="does not say base_model_name_or_path and peft_type"):
        Policy.load(place)


def test_pickled_adapters_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "adapter"
    adapted("llama", tmp_path / "base").save(place)
    torch.save(load_file(place / "adapter_model.safetensors"), place / "adapter_model.bin")
    (place / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="read from safetensors alone"):
        Policy.load(place)


def test_without_peft_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ModelError, match=r"pip install 'heed\[lora\]'"):
        adapters.adapt(tiny_policy(), LoraSettings(rank=2), 0)
