"""The word scorer: against scikit-learn's own features, a known sparse truth, and every script's idea of a word."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import ModelError
from heed.models.words import FILE, WordScorer

GOOD, BAD = ("glad", "safe", "warm"), ("hurt", "mess", "scared")
FILLER = tuple(f"word{n}" for n in range(60))


def texts_of(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice([*FILLER, *GOOD, *BAD], 12)) for _ in range(count)]


def truth(text: str) -> float:
    words = text.split()
    return float(sum(words.count(w) for w in GOOD) - sum(words.count(w) for w in BAD))


def learned(count: int, seed: int = 0) -> WordScorer:
    first, second = texts_of(count, seed), texts_of(count, seed + 1)
    lead = [truth(a) - truth(b) for a, b in zip(first, second, strict=True)]
    return WordScorer.fit(first, second, lead, [str(n // 2) for n in range(count)])


def test_a_sparse_truth_is_found_among_words_that_say_nothing() -> None:
    scorer = learned(300)
    assert {word for word, _ in scorer.telling(6)} == {*GOOD, *BAD}
    assert [weight > 0 for _, weight in scorer.telling(6)] == [True] * 3 + [False] * 3
    fresh = texts_of(400, 9)
    assert np.corrcoef(scorer.score(fresh), [truth(t) for t in fresh])[0, 1] > 0.9


def test_a_score_is_the_weighted_sum_of_logged_counts_over_their_length() -> None:
    scorer = WordScorer(("a", "b", "c"), np.array([1.0, -2.0, 0.5]))
    counts = np.array([1 + math.log(3), 1.0, 0.0])
    expected = counts @ scorer.weights / np.linalg.norm(counts)
    assert scorer.score(["A b, a ... unknown a!"]).tolist() == pytest.approx([expected])
    assert scorer.score(["unknown", ""]).tolist() == [0.0, 0.0]
    assert scorer.score([]).shape == (0,)


def test_a_script_without_spaces_has_a_word_for_each_sign() -> None:
    first, second = ["我很高兴", "她很高兴"] * 30, ["我很难过", "她很难过"] * 30
    scorer = WordScorer.fit(first, second, [2] * 60, [str(n) for n in range(60)])
    assert {"高", "兴", "难", "过"} >= {word for word, _ in scorer.telling(10)} != set()
    assert scorer.score(["他高兴"])[0] > scorer.score(["他难过"])[0]


@pytest.mark.parametrize(
    ("first", "second", "lead", "groups"),
    [
        ([], [], [], []),
        (["", "!!"], ["?", ""], [1, -1], ["a", "b"]),
        (["good good"], ["bad good"], [1], ["a"]),
        (["good", "good"], ["bad", "bad"], [0, 0], ["a", "b"]),
        (["same", "same"], ["same", "same"], [2, -2], ["a", "b"]),
    ],
    ids=["none", "no words", "one prompt", "only ties", "equal texts"],
)
def test_where_nothing_can_be_learned_every_text_scores_alike(
    first: list[str], second: list[str], lead: list[float], groups: list[str]
) -> None:
    assert WordScorer.fit(first, second, lead, groups).score(["good", "bad"]).tolist() == [0.0, 0.0]


def test_sides_are_mirrored() -> None:
    first, second = texts_of(80, 3), texts_of(80, 4)
    lead = [truth(a) - truth(b) for a, b in zip(first, second, strict=True)]
    groups = [str(n) for n in range(80)]
    one = WordScorer.fit(first, second, lead, groups)
    other = WordScorer.fit(second, first, [-x for x in lead], groups)
    assert other.weights.tolist() == pytest.approx(one.weights.tolist(), abs=1e-9)


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_gets_a_finite_score_and_keeps_it_when_saved(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("words")
    scorer = WordScorer(("good", "naïve", "高"), np.array([0.1, -1 / 3, 2.0]))
    scorer.save(folder)
    scores = scorer.score(texts)
    assert np.isfinite(scores).all()
    assert WordScorer.load(folder).score(texts).tolist() == scores.tolist()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"vocabulary": ["a"], "weights": []}', '{"vocabulary": ["a"]}'])
def test_a_damaged_file_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ModelError, match=r"words\.json cannot be read"):
        WordScorer.load(tmp_path)
