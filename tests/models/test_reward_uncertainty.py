"""A network's committee: each member's scores, what they differ by, and what lies outside the training texts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from heed.models.decode import Samples
from heed.models.reward import Encoded, RewardModel
from heed.models.rewards import load_reward
from heed.models.surroundings import Surroundings
from heed.models.words import WordScorer
from heed.train.rollout import ModelScorer
from tiny_models import LETTERS, byte_policy, ragged, tiny_policy
from tiny_training import reward_model_of

PROMPTS, TEXTS = ["abc", "d", "efgh"], ["ab", "ponmlkj", "c"]


def committee(words: bool) -> RewardModel:
    """Three members on a common scale, whose own constants differ by much."""
    model = reward_model_of(tiny_policy(), members=3)
    with torch.no_grad():
        for number, member in enumerate(model.members):
            member.head.bias.fill_(100.0 * number)
    if words:
        model.words = WordScorer(tuple(LETTERS), torch.linspace(-1, 1, len(LETTERS)).double().numpy())
    encoded = [Encoded(tuple(ids), 1, len(ids)) for ids in ragged(list(range(2, 32)), 17)]
    model.calibrate_scale(encoded)
    seen = model.states(encoded)
    model.surroundings = Surroundings.of(seen, [str(n) for n in range(len(encoded))])
    return model


@pytest.mark.parametrize("words", [False, True])
def test_members_average_to_the_score_and_constants_of_their_own_are_no_uncertainty(words: bool) -> None:
    model = committee(words)
    members, scores = model.member_scores(PROMPTS, TEXTS), model.score(PROMPTS, TEXTS)
    assert members.mean(0).tolist() == pytest.approx(scores.tolist(), abs=1e-3)
    # The constants of 0, 100 and 200 are gone: what is left differs by what the texts do.
    assert float(members.std(0).max()) < 10
    encoded = [Encoded(tuple(ids), 1, len(ids)) for ids in ragged(list(range(2, 32)), 17)]
    assert model.member_scores_encoded(encoded).mean(1).tolist() == pytest.approx([0.0] * 3, abs=1e-3)


def test_uncertainty_and_surroundings_are_saved(tmp_path: Path) -> None:
    model = committee(words=True)
    model.save(tmp_path)
    again = load_reward(tmp_path)
    assert torch.equal(again.member_scores(PROMPTS, TEXTS), model.member_scores(PROMPTS, TEXTS))
    assert again.outside(PROMPTS, TEXTS).tolist() == model.outside(PROMPTS, TEXTS).tolist()  # type: ignore[union-attr]
    model.surroundings = None
    assert model.outside(PROMPTS, TEXTS) is None


@pytest.mark.parametrize("same_tokens", [True, False])
def test_a_scorer_takes_deviations_off_and_tells_what_is_outside(same_tokens: bool) -> None:
    model = committee(words=False)
    policy = tiny_policy() if same_tokens else byte_policy()
    ids = [policy.encode_prompt(p) for p in PROMPTS]
    tokens = [policy.encode_completion(p, t) for p, t in zip(PROMPTS, TEXTS, strict=True)]
    samples = Samples(tokens, [True] * 3, [[0.0] * len(t) for t in tokens], None, TEXTS)
    plain, wary = ModelScorer(model, policy), ModelScorer(model, policy, 2.0)
    members = model.member_scores(PROMPTS, TEXTS)
    assert plain.by_ids is same_tokens
    assert plain(list(PROMPTS), ids, samples).tolist() == pytest.approx(members.mean(0).tolist(), abs=1e-4)
    expected = members.mean(0) - 2 * members.std(0)
    assert wary(list(PROMPTS), ids, samples).tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    outside = model.outside(PROMPTS, TEXTS)
    assert outside is not None
    assert wary.outside == pytest.approx(float(outside.mean()))
