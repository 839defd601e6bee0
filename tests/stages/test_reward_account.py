"""What training a reward says of itself: how many judgments it learned from, what a linear reward reaches, which way it points."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from heed.config import RewardSettings
from heed.errors import DataError
from heed.evaluate.verdict import beside_a_coin
from heed.stages.data import FIRST, SECOND, ComparisonRow
from heed.stages.judgments import Judgment, Known
from heed.stages.reward import train_reward
from heed.stages.reward_rows import as_judgments
from tiny_models import byte_policy

FILLER = ["tea", "sun", "mat", "oak", "sea", "ink", "fog", "elm"]
SMALL: dict[str, Any] = {"epochs": 0.5, "prompts_per_step": 32, "validation_fraction": 0.1}


pytestmark = pytest.mark.usefixtures("own_cache")


def pairs(count: int, seed: int, name: str) -> list[ComparisonRow]:
    """Of two texts of the same words but one, the one with "good" instead of "bad" is better."""
    rng, rows = random.Random(seed), []
    for n in range(count):
        words = rng.sample(FILLER, 5)
        good, bad = (" ".join([*words[:3], word, *words[3:]]) for word in ("good", "bad"))
        first = rng.random() < 0.5
        a, b = (good, bad) if first else (bad, good)
        rows.append(ComparisonRow(f"{name} {n}", a, b, FIRST if first else SECOND, rater="heeds"))
    return rows


def turned(row: ComparisonRow, rater: str) -> ComparisonRow:
    return row._replace(outcome=1 - row.outcome, rater=rater)


def camps(count: int = 120) -> tuple[list[ComparisonRow], list[Known]]:
    """The same pairs by one who heeds and one who inverts, and answers to gold items that tell who is which."""
    rows = pairs(count, 1, "prompt")
    gold = []
    for row in pairs(10, 2, "gold"):
        (right,) = as_judgments([row])
        gold += [Known(right, right), Known(*as_judgments([turned(row, "inverts"), row]))]
    return [answer for row in rows for answer in (row, turned(row, "inverts"))], gold


@pytest.mark.parametrize("backbone", ["network", "pairwise"])
def test_the_baseline_is_the_linear_reward_of_the_same_data_and_gold(
    model: Path, tmp_path: Path, backbone: Any
) -> None:
    """Half of the answers are inverted: without gold and the raters' weights a linear reward is right on half."""
    rows, gold = camps()
    test = pairs(60, 3, "test")
    linear = train_reward("", rows, tmp_path / "linear", RewardSettings(backbone="linear"), test=test, gold=gold)
    reached = linear.metrics["accuracy"]["clustered"]["estimate"]
    assert reached > 0.95
    settings = RewardSettings(backbone=backbone, **SMALL)
    done = train_reward(model, rows, tmp_path / "out", settings, test=test, gold=gold)
    told = done.metrics["linear"]["accuracy"]["clustered"]
    assert told["estimate"] == reached
    assert told["n"] == 60
    equal = settings.model_copy(update={"raters": "equal"})
    done = train_reward(model, rows, tmp_path / "equal", equal, test=test, gold=gold)
    assert done.metrics["linear"]["accuracy"]["clustered"]["estimate"] < 0.8


def test_thumbs_teach_the_baseline_what_they_teach_a_linear_reward(model: Path, tmp_path: Path) -> None:
    """One thumb a prompt implies no comparison at all, and a linear reward learns from thumbs."""
    thumbs = [
        Judgment("thumb", f"prompt {n}", (text,), up)
        for n, row in enumerate(pairs(80, 5, "prompt"))
        for text, up in [(row.a, row.outcome == FIRST)]
    ]
    done = train_reward(model, thumbs, tmp_path / "out", RewardSettings(**SMALL), test=pairs(60, 3, "test"))
    assert done.metrics["linear"]["accuracy"]["clustered"]["estimate"] > 0.95


def test_a_baseline_that_cannot_be_fitted_is_said(model: Path, tmp_path: Path) -> None:
    rows, _ = camps()
    thumbs = [
        Known(
            Judgment("thumb", f"thumb {n}", ("tea",), who == "heeds", who),
            Judgment("thumb", f"thumb {n}", ("tea",), True),
        )
        for n in range(12)
        for who in ("heeds", "inverts")
    ]
    done = train_reward(model, rows, tmp_path / "out", RewardSettings(**SMALL), test=pairs(20, 3, "test"), gold=thumbs)
    assert "which way the reward points cannot be told" in done.metrics["linear"]["reason"]
    assert "could not be fitted beside it: which way" in done.verdict


def ratings(prompts: int, each: int, prefix: str = "rated") -> list[Judgment]:
    """``each`` ratings of different scores for every prompt, by one rater."""
    return [
        Judgment("rating", f"{prefix} {n}", (f"text {n} {k}",), {"quality": (1 + (n + k) % 4, 1, 5, 1)}, "ann")
        for n in range(prompts)
        for k in range(each)
    ]


@pytest.mark.parametrize("backbone", ["pairwise", "cross"])
def test_the_account_counts_what_was_learned_from(model: Path, tmp_path: Path, backbone: Any) -> None:
    """Twelve prompts of two ratings make twelve comparisons; thirty ratings that stand alone make none."""
    rows = [*ratings(12, 2), *ratings(30, 1, "alone")]
    settings = RewardSettings(backbone=backbone, **{**SMALL, "test_fraction": 0, "validation_fraction": 0})
    done = train_reward(model, rows, tmp_path / "out", settings)
    figures = done.metrics
    assert (figures["judgments"], figures["trained_on"], figures["alone"]) == (54, 24, 30)
    assert figures["comparisons_trained_on"] == 12
    assert figures["kinds"] == {"rating": 24}
    assert "Learned from 24 of 54 judgments, which make 12 comparisons (30 left out:" in done.verdict


def test_texts_that_do_not_fit_are_accounted_for(tmp_path: Path) -> None:
    short = tmp_path / "short"
    byte_policy(initializer_range=0.05, max_position_embeddings=96).save(short)
    long = [ComparisonRow(f"long {n}", "a" * 90, "b" * 90, FIRST) for n in range(4)]
    settings = RewardSettings(backbone="cross", **{**SMALL, "test_fraction": 0, "validation_fraction": 0})
    done = train_reward(short, [*pairs(12, 1, "p"), *long], tmp_path / "out", settings)
    assert (done.metrics["trained_on"], done.metrics["too_long"], done.metrics["comparisons_too_long"]) == (12, 4, 4)


@pytest.mark.parametrize("backbone", ["pairwise", "cross"])
def test_too_few_comparisons_are_refused(model: Path, tmp_path: Path, backbone: Any) -> None:
    settings = RewardSettings(backbone=backbone, **{**SMALL, "test_fraction": 0, "validation_fraction": 0})
    with pytest.raises(DataError, match="comparisons with a winner to learn from: 1:") as caught:
        train_reward(model, [*ratings(1, 2), *ratings(38, 1, "alone")], tmp_path / "few", settings)
    assert "38 of the 40 judgments imply none" in caught.value.why
    assert "linear" in caught.value.fix
    with pytest.raises(DataError, match="comparisons with a winner to learn from: 0:"):
        train_reward(model, ratings(40, 1), tmp_path / "none", settings)
    with pytest.raises(DataError, match="comparisons with a winner to learn from: 9:") as caught:
        train_reward(model, pairs(9, 1, "p"), tmp_path / "nine", settings)
    assert "imply none" not in caught.value.why


def test_a_reward_that_is_surely_worse_than_a_coin_says_that_it_points_the_wrong_way(tmp_path: Path) -> None:
    rows, test = pairs(120, 1, "prompt"), [turned(row, "who") for row in pairs(60, 3, "test")]
    done = train_reward("", rows, tmp_path / "out", RewardSettings(backbone="linear"), test=test)
    assert done.metrics["accuracy"]["clustered"]["high"] < 0.5
    assert "surely worse than a coin: the reward points the wrong way" in done.verdict
    assert not re.search(r"collect more|not surely better than a coin", done.verdict)


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0.51, 0.9, "^$"), (0.5, 0.9, "^That is not surely"), (0.1, 0.5, "^That is not surely"), (0.1, 0.49, "wrong way")],
)
def test_an_interval_is_told_by_the_side_of_a_half_on_which_it_lies(low: float, high: float, told: str) -> None:
    assert re.search(told, beside_a_coin(low, high))


def test_without_an_interval_nothing_is_sure() -> None:
    assert "not surely better than a coin: collect more judgments" in beside_a_coin(None, None, "judgments")
