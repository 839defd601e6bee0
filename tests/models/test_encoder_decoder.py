"""T5 and BART as policies: the prompt goes to the encoder, the completion comes from the decoder, and transformers agrees."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

from heed.config import SamplingSettings
from heed.errors import ModelError
from heed.models.adapters import adapt, without_adapter
from heed.models.conversations import Masked
from heed.models.decode import sample, stream
from heed.models.policy import Continuations, Policy, token_scores
from heed.models.reward import RewardModel
from heed.stages.preview import Looked, faults_of
from heed.train.rollout import completion_logprobs
from heed.tuning_settings import LoraSettings
from tiny_models import ENCODER_DECODER, causal_model, letter_tokenizer, ragged, tiny_policy

PROMPTS = ragged([5, 1, 12, 3], 17)
COMPLETIONS = ragged([4, 7, 1, 9], 17, seed=1)
policy_of = cache(tiny_policy)
each_shape = pytest.mark.parametrize("name", ENCODER_DECODER)


def transformers_logprobs(model: object, prompt: list[int], completion: list[int], start: int = 0) -> Tensor:
    """Log-probability of each completion token by the Hugging Face model, one text alone and without padding."""
    with torch.no_grad():
        logits = model(  # type: ignore[operator]
            input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[start, *completion[:-1]]])
        ).logits[0]
    return logits.log_softmax(-1)[torch.arange(len(completion)), torch.tensor(completion)]


@each_shape
def test_logprobs_equal_transformers_in_any_company(name: str) -> None:
    policy = policy_of(name)
    for limit in (1, 20, 1000):
        ours = completion_logprobs(policy, PROMPTS, COMPLETIONS, 1.0, limit)
        for row, (prompt, completion) in enumerate(zip(PROMPTS, COMPLETIONS, strict=True)):
            theirs = transformers_logprobs(policy.model, prompt, completion)
            assert len(completion) < 3 or theirs.std() > 0.1
            torch.testing.assert_close(ours[row, : len(completion)], theirs, atol=2e-5, rtol=1e-4)


@each_shape
def test_greedy_equals_generate_and_draws_are_as_probable_as_transformers_says(name: str) -> None:
    policy = policy_of(name)
    greedy = sample(policy, PROMPTS, SamplingSettings(temperature=0.0, samples_per_prompt=1, max_new_tokens=9), 0)
    for prompt, tokens in zip(PROMPTS, greedy.tokens, strict=True):
        theirs = policy.model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=9, eos_token_id=16, pad_token_id=16
        )
        assert tokens == theirs[0, 1:].tolist()
    drawn = sample(policy, PROMPTS, SamplingSettings(samples_per_prompt=3, max_new_tokens=9), 4)
    assert len({tuple(tokens) for tokens in drawn.tokens}) > len(PROMPTS)
    for row, (tokens, logprobs) in enumerate(zip(drawn.tokens, drawn.logprobs, strict=True)):
        theirs = transformers_logprobs(policy.model, PROMPTS[row // 3], tokens)
        assert logprobs == pytest.approx(theirs.tolist(), abs=2e-5)
        assert (16 in tokens) == drawn.finished[row]


@each_shape
def test_gradients_equal_transformers_and_reach_the_encoder(name: str) -> None:
    policy = policy_of(name)
    laid = Continuations.of(PROMPTS[:1], COMPLETIONS[:1])
    token_scores(policy, policy.body.hidden(laid.batch, laid.predictors), laid.targets).logprobs.sum().backward()
    ours = {n: p.grad.clone() for n, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad()
    logits = policy.model(
        input_ids=torch.tensor(PROMPTS[:1]), decoder_input_ids=torch.tensor([[0, *COMPLETIONS[0][:-1]]])
    ).logits[0]
    logits.log_softmax(-1)[torch.arange(4), torch.tensor(COMPLETIONS[0])].sum().backward()
    theirs = {n: p.grad.clone() for n, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad()
    assert ours.keys() == theirs.keys()
    assert any("encoder" in name and value.abs().max() > 1e-3 for name, value in ours.items())
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], atol=2e-5 * max(1.0, float(value.abs().max())), rtol=1e-3)


@each_shape
def test_folders_go_both_ways_bit_for_bit(name: str, tmp_path: Path) -> None:
    policy = policy_of(name)
    policy.save(tmp_path / "model")
    again = Policy.load(tmp_path / "model")
    assert again.encoder_decoder
    assert Policy.without_weights(tmp_path / "model").encoder_decoder
    before, after = (completion_logprobs(p, PROMPTS, COMPLETIONS, 1.0, 64) for p in (policy, again))
    assert torch.equal(before, after)
    plain = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "model")
    theirs = transformers_logprobs(plain, PROMPTS[0], COMPLETIONS[0])
    torch.testing.assert_close(before[0, :4], theirs, atol=2e-5, rtol=1e-4)


@each_shape
def test_an_adapter_is_put_on_both_sides_and_merged(name: str, tmp_path: Path) -> None:
    policy_of(name).save(tmp_path / "base")
    base = completion_logprobs(policy_of(name), PROMPTS, COMPLETIONS, 1.0, 64)
    policy = Policy.load(tmp_path / "base")
    adapt(policy, LoraSettings(rank=2), 0)
    with torch.no_grad():
        for key, parameter in policy.model.named_parameters():
            if "lora_B" in key:
                parameter.fill_(0.05)
    learned = completion_logprobs(policy, PROMPTS, COMPLETIONS, 1.0, 64)
    assert (learned - base).abs().max() > 0.05
    torch.testing.assert_close(completion_logprobs(without_adapter(policy), PROMPTS, COMPLETIONS, 1.0, 64), base)
    policy.save(tmp_path / "adapter")
    merged = completion_logprobs(Policy.load(tmp_path / "adapter"), PROMPTS, COMPLETIONS, 1.0, 64)
    torch.testing.assert_close(merged, learned, atol=5e-5, rtol=1e-4)


def test_texts_of_prompt_and_completion_are_apart() -> None:
    tokenizer = letter_tokenizer()
    policy = Policy.of(causal_model("t5", 17), tokenizer)
    assert policy.encode_completion("ab", "cd") == [2, 3, 16]
    assert policy.decode([0, 1], [2, 3, 16]) == "cd"
    assert not faults_of(policy, Looked("1", "ab", "cd"), Masked.of([0, 1, 16], [2, 3, 16]))
    settings = SamplingSettings(max_new_tokens=6)
    single = settings.model_copy(update={"samples_per_prompt": 1})
    assert "".join(stream(policy, [0, 1], settings, 3)) == sample(policy, [[0, 1]], single, 3).texts[0]


def test_as_a_reward_model_it_is_refused(tmp_path: Path) -> None:
    policy_of("t5").save(tmp_path / "t5")
    with pytest.raises(ModelError, match="encoder-decoder, whose states"):
        RewardModel.new(tmp_path / "t5", "mean", 1, 0)
