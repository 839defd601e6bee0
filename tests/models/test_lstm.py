"""The LSTM language model: against its definition, and as transformers and heed load, run and train it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from heed.config import SamplingSettings
from heed.errors import ModelError
from heed.models.batch import TokenBatch
from heed.models.decode import sample
from heed.models.lstm import HeedLstmConfig, HeedLstmForCausalLM, HeedLstmModel
from heed.models.policy import Body, Policy
from heed.models.reward import RewardModel
from heed.models.small import lstm_policy
from tiny_models import causal_model, letter_tokenizer, ragged, tiny_policy

VOCABULARY = 17
BOTH = pytest.mark.parametrize("name", ["lstm", "lstm-untied"])
policy_of = cache(tiny_policy)


def by_definition(model: Any, ids: list[int]) -> Any:
    """Logits [T, V] by Hochreiter and Schmidhuber's cell with forget gates, gate by gate, in double precision."""
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    states = weights["model.embed_tokens.weight"][ids]
    for layer in range(model.config.num_hidden_layers):
        own = {
            part: weights[f"model.lstm.{part}_l{layer}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        hidden = cell = np.zeros(model.config.hidden_size)
        out = []
        for x in states:
            summed = own["weight_ih"] @ x + own["bias_ih"] + own["weight_hh"] @ hidden + own["bias_hh"]
            into, forget, new, shown = np.split(summed, 4)
            into, forget, shown = (1 / (1 + np.exp(-gate)) for gate in (into, forget, shown))
            cell = forget * cell + into * np.tanh(new)
            hidden = shown * np.tanh(cell)
            out.append(hidden)
        states = np.array(out)
    return states @ weights["lm_head.weight"].T


@BOTH
def test_logits_are_those_of_the_definition(name: str) -> None:
    policy = policy_of(name)
    for ids in ragged([1, 7, 20], VOCABULARY):
        with torch.no_grad():
            ours = policy.logits(policy.body.hidden(TokenBatch.of([ids])))
            theirs = policy.model(torch.tensor([ids])).logits[0]
        np.testing.assert_allclose(ours, by_definition(policy.model, ids), atol=1e-4)
        np.testing.assert_allclose(theirs, ours, atol=1e-6)


@settings(max_examples=25)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5), st.integers(0, 9))
def test_nothing_that_the_mask_hides_is_read(mask: list[list[bool]], seed: int) -> None:
    """Wherever padding stands, in the middle too, and whatever token fills it; a row may be padding alone."""
    model = policy_of("lstm").model
    ids = torch.tensor(ragged([6] * len(mask), VOCABULARY, seed))
    real = torch.tensor(mask)
    with torch.no_grad():
        logits = model(ids, attention_mask=real.long()).logits
        refilled = model(ids.masked_fill(~real, 5), attention_mask=real.long()).logits
        for row, own in enumerate(real):
            if own.any():
                alone = model(ids[row, own][None]).logits[0]
                torch.testing.assert_close(logits[row, own], alone, atol=1e-5, rtol=1e-4)
    assert torch.equal(logits, refilled)
    assert not logits[~real].any()


@BOTH
def test_a_saved_model_is_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    policy = policy_of(name)
    policy.save(tmp_path)
    again = Policy.load(tmp_path)
    assert isinstance(again.model, HeedLstmForCausalLM)
    assert again.body.fast
    assert (again.context, again.end_ids) == (96, policy.end_ids)
    before, after = policy.model.state_dict(), again.model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    tied = again.model.lm_head.weight.data_ptr() == again.model.model.embed_tokens.weight.data_ptr()
    assert tied == again.model.config.tie_word_embeddings == (name == "lstm")
    batch = TokenBatch.of(ragged([4, 9], VOCABULARY))
    with torch.no_grad():
        assert torch.equal(policy.body.hidden(batch), again.body.hidden(batch))
    assert not list(tmp_path.glob("*.bin"))


def test_transformers_knows_it_by_its_name(tmp_path: Path) -> None:
    policy_of("lstm").save(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), HeedLstmConfig)
    assert isinstance(AutoModel.from_pretrained(tmp_path), HeedLstmModel)
    assert isinstance(AutoModelForCausalLM.from_pretrained(tmp_path), HeedLstmForCausalLM)


def test_a_token_costs_one_step_whatever_stands_before_it() -> None:
    policy = tiny_policy("lstm")
    read = []
    policy.model.model.lstm.register_forward_hook(lambda module, given, out: read.append(_tokens(given[0])))
    prompts = ragged([30, 2], VOCABULARY)
    sampling = SamplingSettings(samples_per_prompt=2, max_new_tokens=5)
    sample(policy_never_ending(policy), prompts, sampling, seed=0)
    assert read == [32, 4, 4, 4, 4]


def policy_never_ending(policy: Policy) -> Policy:
    policy.end_ids = frozenset()
    return policy


def _tokens(given: Any) -> int:
    """Tokens that the LSTM was given: packed ones [N, D], or one for each of R rows [1, R, D]."""
    return int(getattr(given, "data", given).shape[0 if hasattr(given, "batch_sizes") else 1])


def test_evaluation_leaves_the_lstm_able_to_learn_under_cudnn() -> None:
    """Its backward pass refuses a module in evaluation mode, in which heed keeps all policies."""
    policy = tiny_policy("lstm")
    policy.model.eval()
    assert not policy.model.training
    assert policy.model.model.lstm.training
    assert policy.model.model.lstm.dropout == 0


def test_where_a_part_is_replaced_it_runs_through_its_own_forward_pass() -> None:
    """As adapters do: reading the weights past such a part would leave it out."""

    class Doubled(nn.Embedding):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(ids)

    model = causal_model("lstm", VOCABULARY)
    model.model.embed_tokens.__class__ = Doubled
    assert not Body(model.model).fast


def test_a_reward_model_may_stand_on_it(tmp_path: Path) -> None:
    policy_of("lstm").save(tmp_path / "base")
    reward = RewardModel.new(tmp_path / "base", "mean", members=2, seed=1)
    reward.save(tmp_path / "reward")
    again = RewardModel.load(tmp_path / "reward")
    prompts, texts = ["abc", "d", "efgh"], ["a", "bcdefgh", "dd"]
    together = reward.score(prompts, texts)
    assert torch.equal(together, again.score(prompts, texts))
    alone = torch.cat([reward.score([p], [t]) for p, t in zip(prompts, texts, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert len(set(together.tolist())) == 3


def test_a_new_one_is_made_by_its_seed_and_leaves_other_draws_alone() -> None:
    torch.manual_seed(3)
    first = lstm_policy(letter_tokenizer(), hidden_size=8, layers=2, context=20, seed=1)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    same, other = (lstm_policy(letter_tokenizer(), hidden_size=8, layers=2, context=20, seed=seed) for seed in (1, 2))
    weights = [policy.model.state_dict()["model.lstm.weight_hh_l1"] for policy in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert (first.context, first.end_ids) == (20, frozenset({16}))
    # Input, forget, cell and output gates; of the two biases that torch adds up, one is 1 at the forget gates.
    for layer in range(2):
        gates = (
            first.model.state_dict()[f"model.lstm.bias_ih_l{layer}"]
            + first.model.state_dict()[f"model.lstm.bias_hh_l{layer}"]
        )
        assert gates.view(4, 8).tolist() == [[value] * 8 for value in (0.0, 1.0, 0.0, 0.0)]


def test_texts_must_be_able_to_end() -> None:
    tokenizer = letter_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-text token"):
        lstm_policy(tokenizer)
