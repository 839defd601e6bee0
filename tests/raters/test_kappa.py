"""Kappas against scikit-learn and statsmodels, by hand where nothing is defined, and how often their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa as theirs

from heed.errors import DataError
from heed.raters.agreement import krippendorff_alpha, percent_agreement
from heed.raters.kappa import agreement_by, cohen_kappa, fleiss_kappa, pairwise_kappas, time_windows

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@given(pairs, st.sampled_from(["equal", "linear", "quadratic"]))
def test_cohens_kappa_is_scikit_learns(labels: list[tuple[int, int]], weights: str) -> None:
    first, second = (list(column) for column in zip(*labels, strict=True))
    found = cohen_kappa(first, second, weights=weights, order=range(5), draws=0)
    if len(set(first) | set(second)) < 2:
        assert found.estimate is None
        assert found.why == "no_variety"
        return
    kind = None if weights == "equal" else weights
    expected = cohen_kappa_score(first, second, labels=list(range(5)), weights=kind)
    assert found.estimate == pytest.approx(expected)


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=15))
def test_fleiss_kappa_is_statsmodels(table: list[list[int]]) -> None:
    items = [item for item, row in enumerate(table) for _ in row]
    values = [value for row in table for value in row]
    found = fleiss_kappa(items, values, draws=0)
    if len(set(values)) < 2:
        assert found.why == "no_variety"
        return
    counts = np.array([[row.count(value) for value in range(4)] for row in table])
    assert found.estimate == pytest.approx(theirs(counts))


def test_items_with_different_numbers_of_labels_count_once_each() -> None:
    """By hand: of a a b one pair in three agrees, of a b none, of b b all; labels are a three times and b four times."""
    found = fleiss_kappa([0, 0, 0, 1, 1, 2, 2, 3], [*list("aababbb"), "a"], draws=0)
    chance = (3 / 7) ** 2 + (4 / 7) ** 2
    assert found.estimate == pytest.approx(((1 / 3 + 0 + 1) / 3 - chance) / (1 - chance))
    assert "2 to 3 answers" in found.method


def test_distances_of_labels_follow_their_order() -> None:
    first, second = ["bad", "fair", "good", "good"], ["fair", "fair", "good", "bad"]
    given_order = cohen_kappa(first, second, weights="linear", order=["bad", "fair", "good"], draws=0)
    numbered = cohen_kappa([0, 1, 2, 2], [1, 1, 2, 0], weights="linear", draws=0)
    assert given_order.estimate == pytest.approx(numbered.estimate)
    with pytest.raises(DataError, match="order of the labels is not given"):
        cohen_kappa(first, second, weights="linear")
    with pytest.raises(DataError, match="does not have it"):
        cohen_kappa(first, second, weights="linear", order=["bad", "good"])
    with pytest.raises(DataError, match="kappa has none such"):
        cohen_kappa(first, second, weights="cubic")  # type: ignore[arg-type]


def test_what_does_not_exist_says_why() -> None:
    assert cohen_kappa([], []).why == "no_overlap"
    assert fleiss_kappa([], []).why == "nothing"
    assert fleiss_kappa([0, 1], ["a", "b"]).why == "no_overlap"
    assert cohen_kappa(["a"] * 9, ["a"] * 9).why == "no_variety"
    assert fleiss_kappa([0, 0, 1, 1], ["a"] * 4).why == "no_variety"
    few = cohen_kappa(["a", "b", "a"], ["a", "b", "b"])
    assert (few.why, few.low) == ("few", None)
    assert few.estimate is not None
    alike = cohen_kappa(["a", "b"] * 10, ["a", "b"] * 10)
    assert (alike.why, alike.estimate) == ("alike", 1.0)
    assert cohen_kappa(["a", "b"] * 10, ["a", "b"] * 10, draws=0).why == "not_asked"
    rare = cohen_kappa(["a"] * 29 + ["b"], ["a"] * 29 + ["b"])
    assert rare.why == "no_variety"
    for measured in (few, alike, rare):
        assert measured.reason
    with pytest.raises(DataError, match="Pair them by item"):
        cohen_kappa(["a"], ["a", "b"])
    with pytest.raises(DataError, match="needs both"):
        fleiss_kappa([0], ["a", "b"])


def judged(rng: np.random.Generator, items: int, raters: int, error: float) -> np.ndarray:
    """Labels [items, raters] that copy a fair coin with an error: all kappas are (1 - 2 error) squared in the long run."""
    return rng.integers(0, 2, (items, 1)) ^ (rng.random((items, raters)) < error)


@pytest.mark.parametrize("kind", ["cohen", "fleiss"])
def test_intervals_cover_the_truth_as_often_as_they_say(kind: str) -> None:
    covered = []
    for repeat in range(400):
        table = judged(np.random.default_rng(repeat), 150, 2 if kind == "cohen" else 4, 0.15)
        if kind == "cohen":
            found = cohen_kappa(table[:, 0], table[:, 1], seed=repeat, draws=500)
        else:
            found = fleiss_kappa(np.repeat(np.arange(150), 4), table.ravel(), seed=repeat, draws=500)
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= 0.49 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_every_two_raters_are_compared_on_what_both_judged() -> None:
    rng = np.random.default_rng(5)
    table = judged(rng, 40, 5, 0.2)
    there = rng.random((40, 5)) < np.array([1.0, 0.9, 0.8, 0.5, 0.1])
    items, raters = np.nonzero(there)
    mixed = rng.permutation(items.size)
    names = np.array(list("edcba"))
    found, more = pairwise_kappas(items[mixed], names[raters[mixed]], table[items, raters][mixed], fewest=8, draws=50)
    expected = {}
    for i in range(5):
        for j in range(i):
            both = there[:, i] & there[:, j]
            if both.sum() >= 8:
                pair = frozenset((names[i], names[j]))
                same = float((table[both, i] == table[both, j]).mean())
                expected[pair] = (int(both.sum()), same, cohen_kappa_score(table[both, i], table[both, j]))
    assert {frozenset((one.first, one.second)) for one in found} == set(expected)
    for one in found:
        shared, same, kappa = expected[frozenset((one.first, one.second))]
        assert (one.items, one.same) == (shared, pytest.approx(same))
        assert one.kappa.estimate == pytest.approx(kappa)
    assert [one.items for one in found] == sorted((one.items for one in found), reverse=True)
    assert more == 0
    some, left = pairwise_kappas(items, names[raters], table[items, raters], fewest=8, draws=50, most=2)
    assert (len(some), left) == (2, len(found) - 2)
    assert pairwise_kappas([], [], []) == ([], 0)
    assert pairwise_kappas([0, 1], ["a", "b"], ["x", "y"]) == ([], 0)
    with pytest.raises(DataError, match="judged one item twice"):
        pairwise_kappas([0, 0], ["a", "a"], ["x", "y"])


def test_parts_are_measured_as_if_they_were_alone() -> None:
    rng = np.random.default_rng(6)
    table = judged(rng, 60, 3, 0.2)
    items, raters = np.repeat(np.arange(60), 3), np.tile(["a", "b", "c"], 60)
    parts = np.where(items < 25, "first", "second").tolist()
    found = agreement_by(parts, items, raters, table.ravel().tolist(), "nominal", draws=40)
    assert [one.part for one in found] == ["first", "second"]
    for one, chosen in zip(found, (items < 25, items >= 25), strict=True):
        its = items[chosen], raters[chosen], table.ravel()[chosen]
        assert one.votes == chosen.sum()
        assert one.alpha.estimate == krippendorff_alpha(*its, "nominal", draws=0).estimate
        assert one.percent.estimate == percent_agreement(*its, draws=0).estimate
    alone = agreement_by(raters, items, raters, table.ravel(), "interval")
    assert [one.alpha.why for one in alone] == ["one_rater"] * 3
    with pytest.raises(DataError, match="each judgment is in one part"):
        agreement_by(["x"], items, raters, table.ravel(), "nominal")


def test_windows_of_time_begin_with_the_first_moment() -> None:
    moments = np.array([100.0, 109.9, 110.0, 145.0, 100.0])
    assert time_windows(moments, 10.0).tolist() == [100.0, 100.0, 110.0, 140.0, 100.0]
    assert time_windows(np.zeros(0), 10.0).size == 0
    for created, seconds in ((moments, 0.0), (np.array([np.nan]), 1.0)):
        with pytest.raises(DataError, match="windows need a length"):
            time_windows(created, seconds)
