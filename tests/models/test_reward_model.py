"""Reward models: pooling, company, padding, ensembles, files, and what cannot be scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import DataError, ModelError
from heed.feedback.kinds import Message
from heed.models.batch import TokenBatch
from heed.models.policy import Policy
from heed.models.reward import Encoded, RewardModel, is_encoder, scalar_head
from tiny_models import (
    byte_policy,
    causal_model,
    encoder_model,
    letter_tokenizer,
    ragged,
    tiny_policy,
    wordpiece_tokenizer,
)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoder")
    tiny_policy("llama-grouped").save(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = wordpiece_tokenizer()
    encoder_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


PROMPTS, TEXTS = ["abc", "d", "efgh"], ["ab", "ponmlkj", "c"]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_score_is_the_head_on_the_pooled_hidden_states_of_the_completion(
    decoder: Path, pooling: Literal["mean", "last"]
) -> None:
    """By transformers' own forward pass, one text at a time; the end token belongs to the completion."""
    model = RewardModel.new(decoder, pooling, 2, seed=0)
    model.mean, model.std = 0.3, 2.0
    tokenizer = letter_tokenizer()
    expected = []
    for prompt, text in zip(PROMPTS, TEXTS, strict=True):
        first, whole = tokenizer(prompt)["input_ids"], tokenizer(prompt + text)["input_ids"] + [16]
        members = []
        for member in model.members:
            with torch.no_grad():
                states = member.backbone(torch.tensor([whole])).last_hidden_state[0, len(first) :]
                members.append(float(member.head(states.mean(0) if pooling == "mean" else states[-1])))
        expected.append((sum(members) / 2 - 0.3) / 2.0)
    assert model.score(PROMPTS, TEXTS).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=6), st.integers(16, 90))
def test_scores_and_gradients_do_not_depend_on_company(
    kind: str, models: dict[str, RewardModel], shape: list[tuple[int, int]], limit: int
) -> None:
    model = models[kind]
    texts = [
        Encoded(tuple(ids), p, p + c) for ids, (p, c) in zip(ragged([p + c for p, c in shape], 17), shape, strict=True)
    ]
    alone = torch.cat([model.score_encoded([text]) for text in texts])
    assert model.score_encoded(texts, limit).tolist() == pytest.approx(alone.tolist(), abs=1e-5)
    gradients = []
    for pieces in ([texts], [[text] for text in texts]):
        for piece in pieces:
            model.raw(piece).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        for parameter in model.parameters():
            parameter.grad = None
    torch.testing.assert_close(*gradients, atol=1e-5 * float(gradients[0].abs().max()), rtol=1e-3)


@pytest.fixture(scope="module")
def models(decoder: Path, encoder: Path) -> dict[str, RewardModel]:
    return {"decoder": RewardModel.new(decoder, "mean", 1, 0), "encoder": RewardModel.new(encoder, "mean", 1, 0)}


@pytest.mark.parametrize("side", ["left", "right"])
def test_scores_equal_transformers_in_a_padded_batch(models: dict[str, RewardModel], side: str) -> None:
    model = models["decoder"]
    texts = [Encoded(tuple(ids), 2, len(ids)) for ids in ragged([5, 17, 9], 17)]
    ids, mask = TokenBatch.of([text.ids for text in texts]).padded(side, fill=4)
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    with torch.no_grad():
        member = model.members[0]
        states = member.backbone(ids, attention_mask=mask, position_ids=positions).last_hidden_state
        each = member.head(states)[..., 0].masked_fill((positions < 2) | (mask == 0), 0.0)
    expected = each.sum(1) / torch.tensor([len(text.ids) - 2 for text in texts])
    torch.testing.assert_close(model.score_encoded(texts), expected, atol=1e-5, rtol=1e-5)


def test_encoder_reads_prompt_and_completion_as_a_pair(models: dict[str, RewardModel]) -> None:
    model = models["encoder"]
    encoded = model.reader.encode("ab", "cde")
    tokens = model.reader.tokenizer.convert_ids_to_tokens(list(encoded.ids))
    assert tokens[0] == "[CLS]"
    assert tokens[encoded.start : encoded.end] == ["c", "##d", "##e"]
    assert float(model.score(["ab"], ["cde"])) != float(model.score(["ab"], ["edc"]))
    talk = (Message(role="user", content="ab"),)
    assert torch.isfinite(model.score([talk], ["cde"])).all()


def test_encoders_and_decoders_are_told_apart(models: dict[str, RewardModel]) -> None:
    assert models["encoder"].reader.encoder
    assert not models["decoder"].reader.encoder
    for name in ("gpt2", "qwen3", "gpt_neox", "opt", "bloom"):
        assert not is_encoder(causal_model(name, 17).config)


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_save_and_load_are_exact(kind: str, decoder: Path, encoder: Path, tmp_path: Path) -> None:
    model = RewardModel.new({"decoder": decoder, "encoder": encoder}[kind], "last", 2, seed=3)
    model.mean, model.std, model.temperature = 0.1234567890123, 1.7, 0.6
    model.card = {"ties": "davidson", "tie_parameter": [0.1, 0.2]}
    model.save(tmp_path / "out")
    again = RewardModel.load(tmp_path / "out")
    assert torch.equal(model.score(PROMPTS, TEXTS), again.score(PROMPTS, TEXTS))
    assert (again.pooling, again.mean, again.std, again.temperature) == ("last", model.mean, 1.7, 0.6)
    assert again.card == model.card
    assert {file.suffix for file in (tmp_path / "out").rglob("*") if file.is_file()} <= {
        ".json",
        ".safetensors",
        ".jinja",
    }


def test_members_differ_and_the_model_is_their_mean(decoder: Path) -> None:
    model = RewardModel.new(decoder, "mean", 3, seed=0)
    encoded = [model.reader.encode(p, t) for p, t in zip(PROMPTS, TEXTS, strict=True)]
    with torch.no_grad():
        each = torch.stack([member.pooled(encoded, "mean") for member in model.members])
    assert len({tuple(row) for row in each.tolist()}) == 3
    torch.testing.assert_close(model.score(PROMPTS, TEXTS), each.mean(0))


def test_scale_is_that_of_the_given_samples(decoder: Path) -> None:
    model = RewardModel.new(decoder, "mean", 1, seed=0)
    texts = [Encoded(tuple(ids), 1, len(ids)) for ids in ragged(list(range(2, 22)), 17)]
    raw = model.score_encoded(texts)
    model.calibrate_scale(texts)
    scores = model.score_encoded(texts).double()
    assert float(scores.mean()) == pytest.approx(0, abs=1e-5)
    assert float(scores.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert torch.equal(raw.argsort(), scores.argsort())
    model.calibrate_scale(texts)
    assert model.score_encoded(texts).tolist() == pytest.approx(scores.tolist(), abs=1e-5)


def test_initial_heads_have_the_published_scale() -> None:
    weights = torch.cat([scalar_head(999, seed).weight.detach()[0] for seed in range(20)])
    assert float(weights.std()) == pytest.approx(1000**-0.5, rel=0.03)
    assert not torch.equal(scalar_head(8, 0).weight, scalar_head(8, 1).weight)
    assert torch.equal(scalar_head(8, 1).weight, scalar_head(8, 1).weight)


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_texts_longer_than_the_context_are_refused(models: dict[str, RewardModel], kind: str) -> None:
    model = models[kind]
    with pytest.raises(DataError, match=f"reads at most {model.reader.context}"):
        model.score(["a"], ["b" * 96])


def test_folders_that_hold_no_reward_model_are_said(decoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no reward model"):
        RewardModel.load(decoder)
    (tmp_path / "reward.json").write_text("{")
    with pytest.raises(ModelError, match="is no reward model"):
        RewardModel.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"members": 0}, "IndexError"),
        ({"members": 5}, "member-1"),
        ({"members": "x"}, "TypeError"),
        ({"pooling": "loud"}, "pooling 'loud'"),
        ({"mean": float("nan")}, "nan"),
        ({"std": 0}, "cannot be worked with"),
        ({"temperature": "warm"}, "TypeError"),
        ([], "TypeError"),
        ({}, "head.safetensors"),
    ],
)
def test_a_damaged_reward_model_is_said(decoder: Path, tmp_path: Path, change: Any, told: str) -> None:
    RewardModel.new(decoder, "mean", 1, seed=1).save(tmp_path)
    card = json.loads((tmp_path / "reward.json").read_text())
    (tmp_path / "reward.json").write_text(json.dumps(card | change if isinstance(change, dict) else change))
    if change == {}:
        (tmp_path / "member-0" / "head.safetensors").unlink()
    with pytest.raises(ModelError, match="is damaged") as caught:
        RewardModel.load(tmp_path)
    assert told in caught.value.why


def test_a_backbone_whose_tokenizer_does_not_fit_is_refused(tmp_path: Path) -> None:
    causal_model("llama", 12).save_pretrained(tmp_path)
    letter_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="does not fit its model"):
        RewardModel.new(tmp_path, "mean", 1, 0)


def test_scoring_nothing_gives_nothing(models: dict[str, RewardModel]) -> None:
    assert models["decoder"].score([], []).tolist() == []


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_an_empty_completion_has_a_score(models: dict[str, RewardModel], kind: str) -> None:
    assert torch.isfinite(models[kind].score(["abc"], [""])).all()


def test_a_policy_with_another_tokenizer_is_scored_by_its_texts(decoder: Path, tmp_path: Path) -> None:
    from heed.models.decode import Samples
    from heed.train.rollout import ModelScorer

    model = RewardModel.new(decoder, "mean", 1, 0)
    same, other = Policy.load(decoder), byte_policy()
    scores = []
    for policy in (same, other):
        ids = [policy.encode_prompt(p) for p in PROMPTS]
        tokens = [policy.encode_completion(p, t) for p, t in zip(PROMPTS, TEXTS, strict=True)]
        samples = Samples(tokens, [True] * 3, [[0.0] * len(t) for t in tokens], None, TEXTS)
        scorer = ModelScorer(model, policy)
        assert scorer.by_ids == (policy is same)
        scores.append(scorer(list(PROMPTS), ids, samples).tolist())
    assert scores[0] == pytest.approx(model.score(PROMPTS, TEXTS).tolist(), abs=1e-6)
    assert scores[1] == pytest.approx(scores[0], abs=1e-6)
