"""Pairwise preferences: antisymmetric by construction, with what no score can hold, and as a reward against references."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.config import RewardSettings
from heed.errors import DataError, ModelError
from heed.losses.reward import preference_probabilities
from heed.models.features import FrozenFeatures
from heed.models.pairwise import CrossPairs, FeaturePairs, PairHead, PairwiseReward
from heed.models.rewards import load_reward
from heed.models.surroundings import Surroundings
from heed.train.pairwise import HeadTask, Side, fit_member, resampled
from tiny_models import LETTERS, encoder_model, tiny_policy, wordpiece_tokenizer

PROMPTS, FIRST, SECOND = ["abc", "d", "abc"], ["ab", "ponm", "c"], ["ponm", "aa", "fed"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {kind: tmp_path_factory.mktemp(kind) for kind in ("encoder", "decoder")}
    tokenizer = wordpiece_tokenizer()
    encoder_model(len(tokenizer)).save_pretrained(found["encoder"])
    tokenizer.save_pretrained(found["encoder"])
    tiny_policy("llama-grouped").save(found["decoder"])
    return found


def random_head(width: int, seed: int) -> PairHead:
    head = PairHead(width, 8, seed)
    with torch.no_grad():
        for number, parameter in enumerate(head.parameters()):
            generator = torch.Generator().manual_seed(seed * 10 + number)
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return head


def comparer_of(kind: str, folders: dict[str, Path], members: int = 2) -> FeaturePairs | CrossPairs:
    where, _, how = kind.partition(" ")
    if how == "cross":
        return CrossPairs.new(folders[where], members, 1)
    frozen = FrozenFeatures.load(folders[where])
    return FeaturePairs(frozen, [random_head(frozen.width + 4, seed) for seed in range(members)])


KINDS = ["encoder features", "decoder features", "encoder cross", "decoder cross"]
texts = st.text(alphabet=LETTERS, min_size=1, max_size=9)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=4))
def test_the_lead_of_the_first_is_the_second_ones_with_the_other_sign(
    folders: dict[str, Path], kind: str, rows: list[tuple[str, str, str]]
) -> None:
    comparer = _once(kind, folders)
    prompts, first, second = (list(column) for column in zip(*rows, strict=True))
    forth, back = comparer.leads(prompts, first, second), comparer.leads(prompts, second, first)
    assert forth.shape == (2, len(rows))
    torch.testing.assert_close(forth, -back, atol=1e-4, rtol=1e-4)
    same = comparer.leads(prompts, first, first)
    torch.testing.assert_close(same, torch.zeros_like(same), atol=1e-4, rtol=0)


_MADE: dict[str, Any] = {}


def _once(kind: str, folders: dict[str, Path]) -> Any:
    if kind not in _MADE:
        _MADE[kind] = comparer_of(kind, folders)
    return _MADE[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_and_the_other_text_are_seen(folders: dict[str, Path], kind: str) -> None:
    comparer = _once(kind, folders)
    base = comparer.leads(["abc"], ["ab"], ["ponm"])
    assert not torch.allclose(base, comparer.leads(["ddd"], ["ab"], ["ponm"]), atol=1e-3)
    # A difference of scores is additive; what sees both texts need not be.
    around = base + comparer.leads(["abc"], ["ponm"], ["fed"]) + comparer.leads(["abc"], ["fed"], ["ab"])
    assert around.abs().max() > 1e-3


def test_a_cross_encoder_pools_both_texts_in_both_orders(folders: dict[str, Path]) -> None:
    """By transformers' own forward pass, one sequence at a time."""
    comparer = CrossPairs.new(folders["encoder"], 1, 1)
    tokenizer, (member,) = comparer.reader.tokenizer, comparer.members
    ids = {name: tokenizer(name, add_special_tokens=False)["input_ids"] for name in ("abc", "ab", "fed")}
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    values = []
    for a, b in (("ab", "fed"), ("fed", "ab")):
        start = [cls, *ids["abc"], sep]
        whole = [*start, *ids[a], sep, *ids[b], sep]
        with torch.no_grad():
            states = member.backbone(torch.tensor([whole])).last_hidden_state[0, len(start) : -1]
            values.append(float(member.head(states.mean(0))))
    assert float(comparer.leads(["abc"], ["ab"], ["fed"])) == pytest.approx(values[0] - values[1], abs=1e-5)
    with pytest.raises(DataError, match="cannot be scored"):
        comparer.encode("a", "b " * 30, "c " * 30)


def head_task(prompts: Any, outcomes: list[int], features: Any, named: Any, ties: Any, held: int) -> HeadTask:
    """A task whose last ``held`` comparisons are held out."""
    head = PairHead(features.shape[1], 16, 0)
    head.standardise(features)
    cut = len(outcomes) - held
    said, ones = torch.tensor(outcomes), torch.ones(len(outcomes))
    train = named[:cut], Side(said[:cut], ones[:cut])
    return HeadTask(head, ties, features, train, (named[cut:], Side(said[cut:], ones[cut:])))


def test_preferences_that_go_round_in_a_circle_are_learned() -> None:
    """Scissors, paper, stone with noise in their features: no score is right on more than two of the three pairs."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(3, size=400)
    features = torch.tensor(np.eye(3)[kinds] + 0.1 * rng.normal(size=(400, 3)), dtype=torch.float32)
    pairs = [(a, b) for a, b in rng.integers(400, size=(900, 2)).tolist() if kinds[a] != kinds[b]]
    outcomes = [0 if (kinds[a] - kinds[b]) % 3 == 1 else 1 for a, b in pairs]
    named = torch.tensor([[0, a, b] for a, b in pairs])
    features[0] = 0
    settings_ = RewardSettings(prompts_per_step=64, learning_rate=2e-2, epochs=2)
    task = head_task(None, outcomes, features, named, "half", 150)
    fit_member(task, settings_, seed=0)
    with torch.no_grad():
        leads = task.head(*(features[named[-150:, column]] for column in range(3)))
    right = ((leads > 0) == (torch.tensor(outcomes[-150:]) == 0)).float().mean()
    assert right > 0.95


def test_ties_are_learned_from_and_calibrated() -> None:
    """Rao and Kupper's threshold of the world is found, and outcomes come as often as they are said to."""
    rng = np.random.default_rng(1)
    features = torch.tensor(rng.normal(size=(600, 4)), dtype=torch.float32)
    worth = (features @ torch.tensor([1.5, -1.0, 0.0, 0.0])).numpy()
    named = np.concatenate([np.zeros((6000, 1), int), rng.integers(600, size=(6000, 2))], 1)
    perceived = worth[named[:, 1]] - worth[named[:, 2]] + rng.logistic(size=6000)
    outcomes = np.where(np.abs(perceived) < 0.8, 2, np.where(perceived > 0, 0, 1))
    settings_ = RewardSettings(prompts_per_step=128, learning_rate=1e-2, epochs=1)
    task = head_task(None, outcomes.tolist(), features, torch.tensor(named), "rao_kupper", 1500)
    found = fit_member(task, settings_, seed=0)
    # log theta = softplus(log(theta - 1)) is the threshold.
    assert float(np.logaddexp(0, found.tie_parameter)) == pytest.approx(0.8, abs=0.12)
    with torch.no_grad():
        leads = task.head(*(features[torch.tensor(named[-1500:, column])] for column in range(3)))
        told = preference_probabilities(leads, "rao_kupper", found.tie_parameter).numpy()
    seen = np.eye(3)[outcomes[-1500:]]
    for column in range(3):
        order = np.argsort(told[:, column])
        for part in np.array_split(order, 5):
            assert told[part, column].mean() == pytest.approx(seen[part, column].mean(), abs=0.09)


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_are_exact(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    comparer = comparer_of(kind, folders)
    seen = comparer.around(PROMPTS, FIRST)
    around = Surroundings.known(seen, ["a", "b", "c"])
    reward = PairwiseReward(comparer, "davidson", [0.1, -0.2], {}, 1.7, 0.6, around, {"accuracy": 0.7})
    reward.against(["abc", "d"], [["ab", "é"], ["c"]])
    reward.save(tmp_path)
    again = load_reward(tmp_path)
    assert isinstance(again, PairwiseReward)
    assert torch.equal(again.member_scores(PROMPTS, FIRST), reward.member_scores(PROMPTS, FIRST))
    assert torch.equal(again.compare(PROMPTS, FIRST, SECOND), reward.compare(PROMPTS, FIRST, SECOND))
    assert (again.references, again.std, again.temperature, again.card) == (reward.references, 1.7, 0.6, reward.card)
    assert again.outside(PROMPTS, FIRST).tolist() == reward.outside(PROMPTS, FIRST).tolist()  # type: ignore[union-attr]
    suffixes = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
    assert suffixes <= {".json", ".safetensors", ".jinja"}


def test_a_score_is_the_mean_lead_over_the_references_samples(folders: dict[str, Path]) -> None:
    reward = PairwiseReward(_once("decoder features", folders), "half", [0.0, 0.0], std=2.0)
    reward.against(["abc", "d"], [["ab", "fed", "ab"], ["c"]])
    found = reward.member_scores(["d", "abc"], ["ponm", "ponm"])
    each = [reward.comparer.leads(["abc"], ["ponm"], [text])[:, 0] for text in ("ab", "fed", "ab")]
    assert found[:, 1].tolist() == pytest.approx((sum(each) / 3 / 2).tolist(), abs=1e-5)  # type: ignore[union-attr]
    assert reward.score(["d"], ["c"]).tolist() == pytest.approx([0.0], abs=1e-5), (
        "a sample of the reference is no better"
    )
    assert reward.score([], []).tolist() == []
    with pytest.raises(DataError, match="no sample of the reference"):
        reward.score(["never seen"], ["a"])


def test_probabilities_are_the_tie_models_and_sum_to_one(folders: dict[str, Path]) -> None:
    reward = PairwiseReward(_once("encoder features", folders), "rao_kupper", [0.3, -0.4], temperature=1.5)
    told = reward.compare(PROMPTS, FIRST, SECOND)
    each = reward.comparer.leads(PROMPTS, FIRST, SECOND) / 1.5
    expected = sum(preference_probabilities(x, "rao_kupper", p) for x, p in zip(each, [0.3, -0.4], strict=True)) / 2
    torch.testing.assert_close(told, expected)
    assert told.sum(1).tolist() == pytest.approx([1.0] * 3)
    back = reward.compare(PROMPTS, SECOND, FIRST)
    torch.testing.assert_close(back, told[:, [1, 0, 2]], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "change", [{"comparer": "oracle"}, {"members": 3}, {"std": 0}, {"tie_parameters": []}, {"temperature": None}]
)
def test_a_damaged_pairwise_reward_is_said(folders: dict[str, Path], tmp_path: Path, change: dict[str, Any]) -> None:
    PairwiseReward(_once("encoder features", folders), "half", [0.0, 0.0]).save(tmp_path)
    card = json.loads((tmp_path / "reward.json").read_text())
    (tmp_path / "reward.json").write_text(json.dumps(card | change))
    with pytest.raises(ModelError, match="is damaged"):
        load_reward(tmp_path)


def test_whole_groups_are_drawn_as_often_as_there_are() -> None:
    groups = [random.Random(n).randrange(40) for n in range(300)]
    weights = resampled(groups, 5)
    by_group = {group: {float(w) for g, w in zip(groups, weights, strict=True) if g == group} for group in set(groups)}
    assert all(len(values) == 1 for values in by_group.values())
    assert torch.equal(weights, resampled(groups, 5))
    means = [float(resampled(list(range(50)), seed).mean()) for seed in range(30)]
    assert means == [1.0] * 30
    empty = np.mean([float((resampled(list(range(500)), seed) == 0).float().mean()) for seed in range(20)])
    assert empty == pytest.approx(np.exp(-1), abs=0.02)
