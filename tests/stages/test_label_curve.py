"""The quick learner of the learning curve, and what a head sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heed.config import RewardSettings
from heed.evaluate.learning import LearningCurve
from heed.models.head_features import features_and_scores, pooled_features
from heed.stages.data import ComparisonRow
from heed.stages.labels import fit_head, label_curve, probe
from heed.statistics import Undefined
from tiny_models import tiny_policy
from tiny_training import pairs_of, reward_model_of


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_the_head_on_its_features_gives_the_scores(pooling) -> None:
    model = reward_model_of(tiny_policy(), members=3, pooling=pooling)
    texts = [text for pair in pairs_of(9, 0) for text in (pair.first, pair.second)]
    texts[3] = texts[3]._replace(ids=texts[3].ids[:5], end=4)
    features, scores = features_and_scores(model, texts, tokens_per_microbatch=40)
    head = model.members[0].head
    with torch.no_grad():
        assert torch.allclose(head(features)[:, 0], scores[:, 0], atol=1e-5)
        for number, member in enumerate(model.members):
            one_by_one = torch.cat([member.pooled([text], pooling) for text in texts])
            assert torch.allclose(scores[:, number], one_by_one, atol=1e-5)
        assert torch.allclose(pooled_features(model.members[0], texts[3:4], pooling)[0], features[3], atol=1e-5)


def test_the_head_is_where_the_likelihood_is_highest() -> None:
    rng = np.random.default_rng(0)
    x, first = rng.normal(size=(80, 3)), rng.uniform(size=80) < 0.5
    head = fit_head(x, first, 0.5)
    p = 1 / (1 + np.exp(-x @ head))
    assert 0.5 * x.T @ (p - first) + head == pytest.approx(np.zeros(3), abs=1e-4)


def test_winners_all_on_one_side_teach_the_same_as_turned_around() -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(40, 2)))
    turned = x * np.where(np.arange(40) % 3 == 0, 1, -1)[:, None]
    mixed = fit_head(turned, np.arange(40) % 3 == 0, 1.0)
    assert fit_head(x, np.ones(40, bool), 1.0) == pytest.approx(mixed, abs=1e-5)
    assert fit_head(x[:1], np.array([False]), 1.0) == pytest.approx(-x[0])


def test_no_prompt_is_held_out_from_itself_and_all_are_counted_once_a_repetition() -> None:
    """Every prompt has a feature of its own that tells its winner: only who had learned from it could know."""
    rng = np.random.default_rng(0)
    prompts = np.repeat(np.arange(60), 3)
    first = rng.uniform(size=180) < 0.5
    own = np.eye(60)[prompts] * np.where(first, 1.0, -1.0)[:, None]
    sizes, right, counted = probe(own * 5, first, prompts, np.ones(180), 0)
    assert sizes == sorted(sizes)
    assert counted == pytest.approx(np.full((4, 60), 3.0))
    assert right == pytest.approx(np.full(right.shape, 1.5)), "half right, as nothing is known"


def test_more_labels_are_more_often_right() -> None:
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=(600, 12)), rng.normal(size=12)
    first = rng.uniform(size=600) < 1 / (1 + np.exp(-x @ truth))
    _, right, counted = probe(x, first, np.repeat(np.arange(200), 3), np.ones(600), 0)
    shares = right.sum((0, 1)) / counted.sum()
    assert shares[-1] > shares[0] + 0.05


def test_a_curve_of_texts(tmp_path) -> None:
    tiny_policy().save(tmp_path / "model")
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), 5)) for _ in range(400)]
    rows = [
        ComparisonRow(words[n % 40], a, b, 2 if n % 10 == 0 else int(a.count("a") < b.count("a")))
        for n, (a, b) in enumerate(zip(words[::2], words[1::2], strict=True))
    ]
    settings = RewardSettings(pooling="mean")
    found = label_curve(tmp_path / "model", rows, np.ones(200), settings, further=50, device="cpu")
    assert isinstance(found, LearningCurve)
    assert (found.labels, found.further) == (200, 50)
    assert found.points[-1].labels <= 0.8 * 200 + 10, "ties are labels as well"
    few = label_curve(tmp_path / "model", rows[:20], np.ones(20), settings)
    assert isinstance(few, Undefined)
    assert "18" in few.reason
