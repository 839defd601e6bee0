"""Every shape of model through every family of training, and on to plain transformers; encoders as reward backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from heed.algorithms import algorithm_named
from heed.config import PolicySettings, PreferenceSettings, SFTSettings
from heed.models.policy import Policy
from heed.models.reward import RewardModel, ScalarModel, is_encoder
from heed.stages.supervised import train_sft
from heed.train.checkpoint import adamw
from heed.train.online import OnlineTrainer
from heed.train.online_loop import Prompt
from heed.train.preferences import Example, PreferenceTask, Text, coefficients, learn_preferences, text_logprobs
from tiny_models import ENCODER_DECODER, LETTERS, causal_model, letter_tokenizer, wordpiece_tokenizer
from tiny_project import letters
from tiny_training import letter_share

SHAPES = [
    "llama-grouped",
    "mistral",
    "qwen2",
    "qwen3",
    "gpt2",
    "gpt_neox",
    "gemma",
    "gemma2",
    "gemma3",
    *ENCODER_DECODER,
]
PROMPTS = [letters(n, 3) for n in range(8)]
LIKED, DISLIKED = "aab", "dcb"


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Policy:
    """A policy of a shape, its weights narrow enough for a few steps to tell."""
    narrow = {"t5": "initializer_factor", "bart": "init_std"}.get(request.param, "initializer_range")
    # transformers reads Qwen's tokenizers as its own class, which adds a token.
    model = causal_model(request.param, 24, 1, **{narrow: 1.0 if request.param == "t5" else 0.08})
    return Policy.of(model, letter_tokenizer(), request.param)


each_shape = pytest.mark.parametrize("policy", SHAPES, indirect=True)


def texts(policy: Policy) -> list[Text]:
    return [
        Text(tuple(policy.encode_prompt(prompt)), tuple(policy.encode_completion(prompt, text)))
        for prompt in PROMPTS
        for text in (LIKED, DISLIKED)
    ]


@each_shape
def test_tuned_on_demonstrations_saved_and_read_by_plain_transformers(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path / "base")
    settings = SFTSettings(epochs=4, prompts_per_step=8, learning_rate=5e-3)
    done = train_sft(tmp_path / "base", [(p, LIKED) for p in PROMPTS], tmp_path / "tuned", settings)
    assert done.metrics["loss_after"] < done.metrics["loss_before"] - 0.3
    tuned = Policy.load(tmp_path / "tuned")
    shown = texts(tuned)
    before, after = (text_logprobs(one, shown, 512) for one in (Policy.load(tmp_path / "base"), tuned))
    assert (after - before)[::2].mean() > 0.3
    tuned.save(tmp_path / "again")
    assert torch.equal(text_logprobs(Policy.load(tmp_path / "again"), shown, 512), after)
    loader = transformers.AutoModelForSeq2SeqLM if tuned.encoder_decoder else transformers.AutoModelForCausalLM
    plain = loader.from_pretrained(tmp_path / "tuned")
    prompt, completion = (torch.tensor(ids) for ids in shown[0])
    with torch.no_grad():
        if tuned.encoder_decoder:
            start = torch.tensor([plain.config.decoder_start_token_id])
            fed = {"input_ids": prompt[None], "decoder_input_ids": torch.cat([start, completion[:-1]])[None]}
            logits = plain(**fed).logits[0]
        else:
            logits = plain(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1]
    theirs = logits.log_softmax(-1).gather(1, completion[:, None]).sum()
    torch.testing.assert_close(after[0], theirs, atol=1e-4, rtol=1e-4)


@each_shape
def test_learns_from_preferences_and_from_a_reward(policy: Policy) -> None:
    shown = texts(policy)
    examples = [Example((n, n + 1), (0, 1)) for n in range(0, len(shown), 2)]
    algorithm, settings = algorithm_named("dpo"), PreferenceSettings(epochs=3, prompts_per_step=8, learning_rate=5e-3)
    task = PreferenceTask(policy, algorithm, shown, examples, [], coefficients(algorithm, settings), 512)
    task.check_start()
    done = learn_preferences(task, settings, 0)
    assert done.history[0]["loss"] == pytest.approx(0.6931, abs=1e-3), "log 2 where nothing has been learned"
    gain = text_logprobs(policy, shown, 512) - task.reference
    assert (gain[::2] > gain[1::2]).all()
    reference = Policy.of(type(policy.model)(policy.model.config), policy.tokenizer, policy.source)
    reference.model.load_state_dict(policy.model.state_dict())
    small: dict[str, Any] = {"steps": 2, "prompts_per_step": 4, "max_new_tokens": 5, "algorithm": "rloo"}
    online = PolicySettings(**small, learning_rate=5e-3, missing_end_penalty=0.0, warmup_steps=0)
    prompts = [Prompt(p, policy.encode_prompt(p)) for p in PROMPTS]
    result = OnlineTrainer(policy, reference, letter_share, prompts, online, 0).run()
    assert abs(result.history[0]["kl"]) < 1e-4
    assert (text_logprobs(policy, shown, 512) - text_logprobs(reference, shown, 512)).abs().max() > 1e-2
    assert result.history[0]["first_ratio_max"] == pytest.approx(1, abs=1e-3)


ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {}),
    # MiniLM is of BERT's shape, narrow; XLM-RoBERTa and MPNet count positions from the padding's place.
    "minilm": ("Bert", {"hidden_size": 24, "num_attention_heads": 12, "hidden_act": "gelu"}),
    "xlm-roberta": ("XLMRoberta", {"pad_token_id": 0, "max_position_embeddings": 66}),
    "mpnet": ("MPNet", {"pad_token_id": 0, "max_position_embeddings": 66}),
    "distilbert": ("DistilBert", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
}
_ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.1,
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_serve_as_reward_backbones(name: str, tmp_path: Path) -> None:
    kind, settings = ENCODERS[name]
    tokenizer = wordpiece_tokenizer()
    shape = settings if name == "distilbert" else _ENCODER | settings
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), **shape)
        backbone = getattr(transformers, f"{kind}Model")(config).eval()
    backbone.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    model = RewardModel.new(tmp_path / "base", "mean", 1, seed=0)
    assert is_encoder(model.members[0].backbone.config)
    encoded = [model.reader.encode(prompt, text) for prompt in PROMPTS for text in (LIKED, DISLIKED, LETTERS)]
    with torch.no_grad():
        together = model.raw(encoded)
    for row, one in enumerate(encoded):
        with torch.no_grad():
            states = backbone(torch.tensor([one.ids])).last_hidden_state[0, one.start : one.end]
            alone = float(model.members[0].head(states).mean())
        assert float(together[row]) == pytest.approx(alone, abs=1e-5)
    member: ScalarModel = model.members[0]
    optimizer = adamw([{"params": model.parameters(), "lr": 3e-3}])
    losses = []
    for _ in range(6):
        scores = member.pooled(encoded, "mean").view(-1, 3)
        loss = -torch.nn.functional.logsigmoid(scores[:, 0] - scores[:, 1]).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1
    model.save(tmp_path / "reward")
    with torch.no_grad():
        assert torch.equal(RewardModel.load(tmp_path / "reward").raw(encoded), model.raw(encoded))
