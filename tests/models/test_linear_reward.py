"""The linear reward: features against scikit-learn's, files without pickle that give the same bits, honest uncertainty."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from heed.errors import ModelError, TrainingError
from heed.models.linear_reward import LinearReward, TextBlocks
from heed.models.reward import RewardModel
from heed.models.rewards import load_reward, pessimistic
from heed.models.surroundings import Surroundings
from heed.models.text_features import SURFACE, TfIdf, surface

TEXTS = [
    "The cat sat on the mat.",
    "A dog, a cat and THE mat!",
    "No pets at all?",
    "the mat, the mat",
    "我很高兴 the cat",
    "",
    "!!",
]


def reward_of(members: int = 2, names: Any = ("words", "characters", "length", "style"), seed: int = 0) -> LinearReward:
    """A reward with random weights, scaled to ``TEXTS``."""
    rng = np.random.default_rng(seed)
    blocks = TextBlocks.fit(names, TEXTS)
    made = blocks.of([""] * len(TEXTS), TEXTS)
    weights = {name: rng.normal(size=(x.shape[1], members)) for name, x in made.items()}
    reward = LinearReward(blocks, weights, np.zeros(members), temperature=0.7, card={"note": "é"})
    reward.calibrate_scale(made)
    reward.surroundings = Surroundings.of(blocks.around(made, TEXTS), [str(n) for n in range(len(TEXTS))])
    return reward


@pytest.mark.parametrize("grams", ["words", "characters"])
def test_terms_are_weighed_as_scikit_learn_does(grams: Any) -> None:
    settings_of: dict[str, Any] = {
        "words": {
            "token_pattern": r"(?u)[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+"
        },
        "characters": {"analyzer": "char_wb"},
    }
    ranges = {"words": (1, 2), "characters": (2, 4)}
    theirs = TfidfVectorizer(min_df=2, sublinear_tf=True, ngram_range=ranges[grams], **settings_of[grams]).fit(TEXTS)
    mine = TfIdf.fit(grams, TEXTS)
    assert list(mine.vocabulary) == theirs.get_feature_names_out().tolist()
    fresh = ["the cat and the dog", "mats", "", "很高"]
    assert mine.transform(fresh).toarray() == pytest.approx(theirs.transform(fresh).toarray(), abs=1e-12)


def test_unknown_words_are_those_of_no_training_text() -> None:
    terms = TfIdf.fit("words", ["a b", "a b", "c"])
    assert terms.unknown(["a b", "A x", "x y z", "", "!"]).tolist() == [0.0, 0.5, 1.0, 0.0, 0.0]
    assert TfIdf.fit("words", ["x", "y"]).transform(["x"]).shape == (1, 0)


def test_length_and_style_count_what_their_names_say() -> None:
    text = "Look! THE DOG, at http://a.b eats 12 sausages.\nWhy?"
    length = dict(zip(SURFACE["length"][1], surface("length", [text])[0], strict=True))
    style = dict(zip(SURFACE["style"][1], surface("style", [text])[0], strict=True))
    words = ["Look", "THE", "DOG", "at", "http", "a", "b", "eats", "12", "sausages", "Why"]
    assert length["log words"] == pytest.approx(math.log(12))
    assert length["log characters"] == pytest.approx(math.log(1 + len(text)))
    assert length["log sentences"] == pytest.approx(math.log(3))
    assert style["letters a word"] == pytest.approx(sum(map(len, words)) / 11)
    assert style["share of long words"] == pytest.approx(1 / 11)
    assert style["commas a word"] == pytest.approx(1 / 11)
    assert style["question marks a sentence"] == style["exclamation marks a sentence"] == pytest.approx(1 / 3)
    assert style["share of words in capitals"] == pytest.approx(2 / 11)
    assert style["log links"] == style["log line breaks"] == pytest.approx(math.log(2))
    assert (style["begins in lower case"], style["ends with a full stop"]) == (0.0, 1.0)


@settings(max_examples=15)
@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_text_gets_finite_scores_and_the_same_bits_after_saving(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    reward, folder = reward_of(3), tmp_path_factory.mktemp("linear")
    reward.save(folder)
    again = load_reward(folder)
    prompts = ["p"] * len(texts)
    found = reward.member_scores(prompts, texts)
    assert torch.isfinite(found).all()
    assert torch.equal(again.member_scores(prompts, texts), found)
    assert torch.equal(again.score(prompts, texts), reward.score(prompts, texts))
    assert (again.temperature, again.card) == (0.7, {"note": "é"})
    if texts:
        assert again.outside(prompts, texts).tolist() == reward.outside(prompts, texts).tolist()  # type: ignore[union-attr]
    assert {file.suffix for file in folder.rglob("*") if file.is_file()} == {".json", ".safetensors"}


def test_scores_are_scaled_to_the_given_texts_and_their_mean_is_the_members() -> None:
    reward = reward_of(4)
    members = reward.member_scores([""] * len(TEXTS), TEXTS).double()
    scores = reward.score([""] * len(TEXTS), TEXTS).double()
    assert members.mean(1).tolist() == pytest.approx([0] * 4, abs=1e-5)
    assert float(scores.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert scores.tolist() == pytest.approx(members.mean(0).tolist(), abs=1e-6)
    flat = reward_of(1, ("length",))
    flat.weights["length"] *= 0
    with pytest.raises(TrainingError, match="the same score"):
        flat.calibrate_scale(flat.blocks.of(["", ""], ["a", "b c"]))


def test_telling_features_are_named() -> None:
    reward = reward_of(1, ("words", "style"))
    told = reward.telling(3)
    assert set(told) == {"words", "style"}
    biggest = max(zip(np.abs(reward.weights["style"][:, 0]), SURFACE["style"][1], strict=True))[1]
    assert biggest in {name for name, _ in told["style"]}
    assert [weight for _, weight in told["words"]] == sorted((w for _, w in told["words"]), reverse=True)


def test_pessimism_takes_off_what_members_disagree_on() -> None:
    members = torch.tensor([[1.0, 2.0, 0.0], [1.0, 0.0, 2.0]])
    assert pessimistic(members, 0.0).tolist() == [1.0, 1.0, 1.0]
    # The deviation of two numbers a distance of 2 apart is the root of 2.
    assert pessimistic(members, 1.5).tolist() == pytest.approx([1.0, 1 - 1.5 * 2**0.5, 1 - 1.5 * 2**0.5])
    assert pessimistic(members[:1], 0.0).tolist() == [1.0, 2.0, 0.0]
    with pytest.raises(ModelError, match="one member"):
        pessimistic(members[:1], 1.0)


def test_frozen_features_without_a_backbone_are_refused() -> None:
    with pytest.raises(ModelError, match="no backbone"):
        TextBlocks.fit(["words", "frozen"], TEXTS)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "oracle"}, "kind 'oracle'"),
        ({"std": 0}, "cannot be worked with"),
        ({"temperature": "warm"}, "ValueError"),
        ({"blocks": ["words", "smell"]}, "blocks"),
        ({"blocks": ["words", "frozen"]}, "backbone"),
        ({"card": None}, "TypeError"),
    ],
)
def test_a_damaged_linear_reward_is_said(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    reward_of().save(tmp_path)
    card = json.loads((tmp_path / "reward.json").read_text())
    (tmp_path / "reward.json").write_text(json.dumps(card | change))
    with pytest.raises(ModelError) as caught:
        load_reward(tmp_path)
    assert told in str(caught.value)


def test_missing_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no reward model"):
        load_reward(tmp_path)
    reward_of().save(tmp_path)
    (tmp_path / "vocabulary.json").write_text('{"words": []}')
    with pytest.raises(ModelError, match="is damaged"):
        load_reward(tmp_path)
    with pytest.raises(ModelError, match="another kind"):
        RewardModel.load(tmp_path)
