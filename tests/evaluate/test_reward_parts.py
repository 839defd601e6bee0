"""Shares right by part, and the order of single texts: closed forms, scikit-learn, and coverage."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from heed.evaluate.compare import win_rate
from heed.evaluate.reward_parts import concordance, parted, quarters


def test_parts_are_the_accuracies_of_their_claims() -> None:
    differences = np.array([1.0, -1.0, 2.0, 0.0, 1.0, 3.0])
    outcomes = np.array([1.0, 1.0, 0.5, 1.0, 0.0, 1.0])
    labels = ["a", "a", "a", "b", "b", ""]
    ids = ["p", "q", "p", "p", "q", "q"]
    found = parted("kind", labels, differences, outcomes, ids, 0.95, ("b", "a"))
    assert [(part.name, part.accuracy.n, part.ties) for part in found.parts] == [("b", 2, 0), ("a", 2, 1)]
    assert [part.accuracy.estimate for part in found.parts] == [0.25, 0.5]
    assert found.parts[1].accuracy == win_rate([1.0, 0.0], ["p", "q"])
    assert found.reason is None


def test_parts_without_an_order_come_the_largest_first() -> None:
    found = parted("rater", ["x", "y", "y"], np.ones(3), np.ones(3), ["p", "q", "r"], 0.95)
    assert [part.name for part in found.parts] == ["y", "x"]


def test_nothing_to_part_says_why() -> None:
    found = parted("group", ["", ""], np.ones(2), np.ones(2), ["p", "q"], 0.95)
    assert (found.parts, found.reason) == ([], "No rater belongs to a group.")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (range(1, 9), ["1 to 2 words", "3 to 4 words", "5 to 6 words", "7 to 8 words"]),
        ([5, 5, 5, 5, 5, 5, 9], ["5 words", "9 words"]),
        ([3, 3, 3], ["3 words"]),
        ([], []),
    ],
)
def test_quarters_never_part_equal_values(values: list[float], names: list[str]) -> None:
    x = np.array(list(values), dtype=float)
    labels, order = quarters(x, "words")
    assert order == names
    for value in set(x.tolist()):
        assert len({label for label, v in zip(labels, x.tolist(), strict=True) if v == value}) == 1


def test_concordance_of_thumbs_is_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    scores, up = rng.normal(size=300).round(1), rng.random(300) < 0.4
    found = concordance(scores.tolist(), up.astype(float).tolist(), ["ann"] * 300, [str(i) for i in range(300)], 0.95)
    assert found.estimate == pytest.approx(roc_auc_score(up, scores), abs=1e-12)
    assert (found.n, found.prompts) == (300, 300)


def test_raters_are_compared_with_themselves_alone_and_weigh_what_they_gave() -> None:
    scores, values = [1.0, 2.0, 3.0, 9.0, 8.0], [0.0, 1.0, 2.0, 0.0, 1.0]
    raters = ["ann", "ann", "ann", "bob", "bob"]
    found = concordance(scores, values, raters, list("pqrst"), 0.95)
    assert found.estimate == pytest.approx((3 * 1.0 + 2 * 0.0) / 5)


@pytest.mark.parametrize("values", [[], [1.0, 1.0, 1.0]])
def test_without_two_different_values_there_is_no_order(values: list[float]) -> None:
    found = concordance([0.5] * len(values), values, ["ann"] * len(values), [str(i) for i in range(len(values))], 0.95)
    assert found.estimate is None
    assert found.reason == "No rater has given two different values."


@pytest.mark.parametrize("shared", [0.0, 1.0], ids=["independent", "prompts-share"])
def test_its_interval_covers_the_true_area(shared: float) -> None:
    """Scores are normal, 1 apart between thumbs up and down, with a share that the four judgments of a prompt have in common:
    the area is Phi(1 / sqrt(2 (1 + shared^2)))."""
    truth = NormalDist().cdf(1 / np.sqrt(2 * (1 + shared**2)))
    rng, covered, repeats = np.random.default_rng(1), 0, 300
    ids = [f"p{i // 4}" for i in range(160)]
    for _ in range(repeats):
        up = rng.random(160) < 0.5
        scores = up + rng.normal(size=160) + shared * np.repeat(rng.normal(size=40), 4)
        found = concordance(scores.tolist(), up.astype(float).tolist(), ["ann"] * 160, ids, 0.95)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / repeats <= 0.98
