"""Agreement against published figures and against its definition, pair by pair."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import DataError
from heed.raters.agreement import LEVELS, Level, krippendorff_alpha, percent_agreement

FOUR_CODERS = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: coders by units."""

THREE_CODERS = """
. . . . . 3 4 1 2 1 1 3 3 . 3
1 . 2 1 3 3 4 3 . . . . . . .
. . 2 1 3 4 4 . 2 1 1 3 3 . 4
"""
"""The example of the Wikipedia article "Krippendorff's alpha"."""

Columns = tuple[list[int], list[int], list[float]]


def columns(table: str) -> Columns:
    judgments = [
        (item, rater, float(value))
        for rater, line in enumerate(table.split("\n")[1:-1])
        for item, value in enumerate(line.split())
        if value != "."
    ]
    items, raters, values = zip(*judgments, strict=True)
    return list(items), list(raters), list(values)


@pytest.mark.parametrize(
    ("table", "level", "published"),
    [
        (FOUR_CODERS, "nominal", 0.743),
        (FOUR_CODERS, "ordinal", 0.815),
        (FOUR_CODERS, "interval", 0.849),
        (FOUR_CODERS, "ratio", 0.797),
        (THREE_CODERS, "nominal", 0.691),
        (THREE_CODERS, "interval", 0.811),
    ],
)
def test_alpha_is_the_published_one(table: str, level: Level, published: float) -> None:
    found = krippendorff_alpha(*columns(table), level)
    assert found.estimate == pytest.approx(published, abs=5e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < published < found.high


def distance(level: Level, c: float, k: float, pool: list[float]) -> float:
    if level == "nominal":
        return float(c != k)
    if level == "interval":
        return (c - k) ** 2
    if level == "ratio":
        return ((c - k) / (c + k)) ** 2 if c + k else 0.0
    low, high = min(c, k), max(c, k)
    between = sum(low <= value <= high for value in pool) - (pool.count(c) + pool.count(k)) / 2
    return 0.0 if c == k else between**2


def by_definition(judgments: list[tuple[int, int, float]], level: Level) -> float | None:
    by_item: dict[int, list[float]] = {}
    for item, _, value in judgments:
        by_item.setdefault(item, []).append(value)
    shared = [values for values in by_item.values() if len(values) >= 2]
    pool = [value for values in shared for value in values]
    if len(set(pool)) < 2:
        return None
    seen = sum(
        distance(level, *pair, pool) / (len(values) - 1) for values in shared for pair in permutations(values, 2)
    ) / len(pool)
    chance = sum(distance(level, *pair, pool) for pair in permutations(pool, 2)) / (len(pool) * (len(pool) - 1))
    return 1 - seen / chance


judgment_lists = st.dictionaries(
    st.tuples(st.integers(0, 6), st.integers(0, 4)), st.sampled_from([0.0, 1.0, 2.0, 2.5, 7.0]), min_size=1, max_size=30
).map(lambda cells: [(item, rater, value) for (item, rater), value in cells.items()])


@settings(max_examples=150, deadline=None)
@given(judgment_lists, st.sampled_from(LEVELS))
def test_alpha_is_its_definition_pair_by_pair(judgments: list[tuple[int, int, float]], level: Level) -> None:
    items, raters, values = (list(column) for column in zip(*judgments, strict=True))
    found = krippendorff_alpha(items, raters, values, level, draws=0)
    expected = by_definition(judgments, level)
    if expected is None or len(set(raters)) < 2:
        assert found.estimate is None
        assert found.reason
    else:
        assert found.estimate == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(judgment_lists)
def test_percent_agreement_weighs_each_judgment_by_how_many_others_said_the_same(
    judgments: list[tuple[int, int, float]],
) -> None:
    items, raters, values = (list(column) for column in zip(*judgments, strict=True))
    shares = [
        np.mean([other == value for there, by, other in judgments if there == item and by != rater])
        for item, rater, value in judgments
        if items.count(item) > 1
    ]
    found = percent_agreement(items, raters, values, draws=0)
    assert found.estimate == (pytest.approx(np.mean(shares)) if shares else None)


def test_names_may_be_any_words_and_missing_answers_are_left_out() -> None:
    items, raters, values = columns(FOUR_CODERS)
    words = [f"défaut {value}" for value in values]
    assert krippendorff_alpha(items, raters, words, "nominal").estimate == pytest.approx(0.743, abs=5e-4)


@pytest.mark.parametrize(
    ("items", "raters", "values", "words"),
    [
        ([], [], [], "no answers yet"),
        (["i", "j"], ["ann", "ann"], ["a", "b"], "Only one rater"),
        (["i", "j"], ["ann", "bob"], ["a", "b"], "No item has answers of two raters"),
        (["i", "i", "j", "j"], ["ann", "bob"] * 2, ["a"] * 4, "nothing varies"),
    ],
)
def test_what_does_not_exist_says_why(items: list[str], raters: list[str], values: list[str], words: str) -> None:
    found = krippendorff_alpha(items, raters, values, "nominal")
    assert found.estimate is None
    assert words in (found.reason or "")


def test_too_few_items_give_an_estimate_without_an_interval() -> None:
    found = krippendorff_alpha(["i", "i", "j", "j"], ["ann", "bob"] * 2, ["a", "a", "b", "a"], "nominal")
    assert found.estimate is not None
    assert found.low is None
    assert "too few" in (found.reason or "")


def test_full_agreement_is_not_called_certain() -> None:
    items = [item for item in range(20) for _ in range(2)]
    values = [item % 2 for item in range(20) for _ in range(2)]
    raters = ["ann", "bob"] * 20
    share = percent_agreement(items, raters, values)
    assert share.estimate == 1.0
    assert share.low is not None
    assert 0.7 < share.low < 0.9
    alpha = krippendorff_alpha(items, raters, values, "nominal")
    assert alpha.estimate == 1.0
    assert alpha.low is None
    assert "agree alike" in (alpha.reason or "")


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Two raters who copy a fair coin with error 0.2: alpha is 1 - 2 * 0.32 = 0.36 in the long run."""
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(100):
        truth = rng.integers(0, 2, 150)
        answers = truth[:, None] ^ (rng.random((150, 2)) < 0.2)
        items, raters = np.repeat(np.arange(150), 2).tolist(), [0, 1] * 150
        found = krippendorff_alpha(items, raters, answers.ravel().tolist(), "nominal", seed=trial)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.36 <= found.high
    assert covered >= 88


def test_parts_of_one_item_are_drawn_together() -> None:
    """Every item counted ten times over, as ten parts that agree alike, makes nobody surer."""
    rng = np.random.default_rng(5)
    answers = rng.integers(0, 3, (60, 2))
    answers[:30, 1] = answers[:30, 0]
    items = np.repeat(np.arange(60), 2).tolist()
    once = krippendorff_alpha(items, [0, 1] * 60, answers.ravel().tolist(), "nominal")
    parts = [(item, part) for part in range(10) for item in items]
    clusters = [item for item, _ in parts]
    tenfold = krippendorff_alpha(parts, [0, 1] * 600, answers.ravel().tolist() * 10, "nominal", clusters=clusters)
    assert once.low is not None
    assert tenfold.low is not None
    assert tenfold.low == pytest.approx(once.low, abs=0.03)
    assert tenfold.prompts == once.prompts == 60


@pytest.mark.parametrize(
    ("items", "raters", "values", "level"),
    [
        (["i", "i"], ["ann", "ann"], [1, 2], "nominal"),
        (["i", "i"], ["ann", "bob"], [1], "nominal"),
        (["i", "i"], ["ann", "bob"], ["a", "b"], "interval"),
        (["i", "i"], ["ann", "bob"], [1, -1], "ratio"),
        (["i", "i"], ["ann", "bob"], [1, float("nan")], "interval"),
        (["i", "i"], ["ann", "bob"], [1, 2], "cardinal"),
    ],
)
def test_what_cannot_be_judgments_is_refused(
    items: list[str], raters: list[str], values: list[object], level: Level
) -> None:
    with pytest.raises(DataError):
        krippendorff_alpha(items, raters, values, level)  # type: ignore[arg-type]
