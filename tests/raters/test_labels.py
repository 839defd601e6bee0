"""Majority, one coin and Dawid-Skene: against crowd-kit, against their definitions, and on crowds whose truth is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene, MajorityVote, OneCoinDawidSkene
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from crowds import Crowd, coins, crowd, rows
from heed.errors import DataError
from heed.raters.choosing import METHODS, choose
from heed.raters.consensus import Consensus
from heed.raters.labels import MOST_CLASSES, dawid_skene, majority, one_coin
from heed.raters.vote_files import read_gold, read_votes
from heed.raters.votes import Votes

pytestmark = pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword")

DATA = Path(os.environ.get("HEED_DATA", Path(__file__).parents[3] / "shared" / "data"))

Method = Callable[..., Consensus]


def frame(votes: Votes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": [votes.items[code] for code in votes.item],
            "worker": [votes.raters[code] for code in votes.rater],
            "label": [votes.labels[code] for code in votes.label],
        }
    )


def some_crowd(seed: int = 0, classes: int = 3) -> Crowd:
    rng = np.random.default_rng(seed)
    return crowd(rng, 120, 5, rows(14, classes, rng), prior=np.array([0.5, 0.3, 0.2])[:classes])


# Against crowd-kit


@pytest.mark.parametrize(("mine", "theirs"), [(dawid_skene, DawidSkene), (one_coin, OneCoinDawidSkene)])
@pytest.mark.parametrize("iterations", [1, 12])
def test_every_iteration_is_crowd_kits(mine: Method, theirs: type, iterations: int) -> None:
    votes = some_crowd().votes
    other = theirs(n_iter=iterations, tol=-1.0).fit(frame(votes))
    found = mine(votes, smoothing=0, pooling=0, iterations=iterations, tolerance=0)
    expected = other.probas_.loc[list(votes.items), list(votes.labels)].to_numpy()
    assert found.fitted == pytest.approx(expected, abs=1e-7)


def test_the_majoritys_label_is_the_one_with_the_most_votes() -> None:
    votes = some_crowd(1).votes
    found = majority(votes).labels()
    shares = MajorityVote().fit_predict_proba(frame(votes)).loc[list(votes.items), list(votes.labels)].to_numpy()
    tied = np.sort(shares, axis=1)[:, -1] - np.sort(shares, axis=1)[:, -2] < 1e-12
    assert tied.any()
    assert (found[tied] == -1).all()
    assert (found[~tied] == shares.argmax(axis=1)[~tied]).all()


# Against definitions


def log_likelihood(votes: Votes, prior: np.ndarray, confusion: np.ndarray, gold: np.ndarray) -> float:
    """Vote by vote, as the model says it."""
    total = 0.0
    for item in range(len(votes.items)):
        its = votes.item == item
        joint = [
            prior[k] * np.prod(confusion[votes.rater[its], k, votes.label[its]])
            for k in range(prior.size)
            if gold[item] in (-1, k)
        ]
        total += np.log(sum(joint))
    return float(total)


@pytest.mark.parametrize("method", [majority, one_coin, dawid_skene])
@pytest.mark.parametrize("known", [0, 12])
def test_the_log_likelihood_is_that_of_the_votes(method: Method, known: int) -> None:
    made = some_crowd(2)
    found = method(made.votes, made.gold(known))
    expected = log_likelihood(made.votes, found.prior, found.confusion, made.gold(known))
    assert found.log_likelihood == pytest.approx(expected, rel=1e-9)


vote_lists = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(0, 2)),
    min_size=1,
    max_size=40,
    unique_by=lambda v: v[:2],
)


@settings(max_examples=30, deadline=None)
@given(vote_lists, st.sampled_from([one_coin, dawid_skene]))
def test_em_never_makes_the_votes_less_likely(votes: list[tuple[int, int, int]], method: Method) -> None:
    columns = Votes.of(*(list(column) for column in zip(*votes, strict=True)))
    options = {"smoothing": 0, "pooling": 0}
    heights = [method(columns, iterations=n, tolerance=0, **options).log_likelihood for n in range(1, 12)]
    assert (np.diff(heights) > -1e-6).all()


@settings(max_examples=30, deadline=None)
@given(vote_lists, st.sampled_from([(3.0, 1.0), (0.0, 0.0), (1.0, 5.0)]))
def test_no_other_accuracy_has_a_higher_posterior_than_the_majoritys(
    votes: list[tuple[int, int, int]], prior: tuple[float, float]
) -> None:
    columns = Votes.of(*(list(column) for column in zip(*votes, strict=True)))
    items, raters, classes = columns.shape
    none, right, wrong = np.full(items, -1), *prior

    def height(accuracy: float) -> float:
        confusion = np.maximum(coins(np.full(raters, accuracy), classes), 1e-12)
        told = log_likelihood(columns, np.full(classes, 1 / classes), confusion, none)
        return told + float(beta(right + 1, wrong + 1).logpdf(accuracy))

    found = majority(columns, right=right, wrong=wrong)
    if classes > 1:
        mine = height(float(found.confusion[0, 0, 0]))
        others = [height(accuracy) for accuracy in np.linspace(1 / classes + 1e-6, 1 - 1e-9, 60)]
        assert mine >= max(others) - 1e-6


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # The posterior is highest at 2/3, where p^3 (1 - p) times p^2 (1 - p) + p (1 - p)^2 = p (1 - p) is.
        (["yes yes no"], [2 / 3]),
        # Of three such items, where p^3 (1 - p) times (p (1 - p))^3 is.
        (["yes yes no", "no no yes", "yes yes no"], [0.6, 0.6, 0.6]),
        # One vote an item tells nothing of the accuracy: its prior stays.
        (["yes", "no", "no"], [0.75, 0.75, 0.75]),
    ],
)
def test_the_probabilities_of_few_votes_follow_them(said: list[str], expected: list[float]) -> None:
    rows = [(item, rater, label) for item, words in enumerate(said) for rater, label in enumerate(words.split())]
    found = majority(Votes.of(*(list(column) for column in zip(*rows, strict=True))))
    assert found.converged
    assert found.fitted.max(axis=1) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("items", "overlap", "classes"), [(1, 3, 2), (3, 2, 2), (3, 3, 2), (10, 1, 2), (5, 3, 4)])
def test_the_majority_of_few_votes_is_as_often_right_as_it_says(items: int, overlap: int, classes: int) -> None:
    """In crowds of a few votes whose raters are right in a half to all, three quarters on average."""
    claimed, right = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        made = crowd(rng, items, overlap, coins(rng.uniform(0.5, 1.0, 5), classes))
        found = majority(made.votes).fitted
        best = found.max(axis=1, keepdims=True)
        ways = np.isclose(found, best)
        claimed.append(best.mean())
        right.append((ways / ways.sum(axis=1, keepdims=True))[np.arange(items), made.truth].mean())
    error = np.std(right) / 300**0.5
    assert np.mean(claimed) == pytest.approx(np.mean(right), abs=0.03 + 2 * error)


@settings(max_examples=20, deadline=None)
@given(vote_lists, st.sampled_from(sorted(METHODS)))
def test_probabilities_sum_to_one(votes: list[tuple[int, int, int]], name: str) -> None:
    columns = Votes.of(*(list(column) for column in zip(*votes, strict=True)))
    found = METHODS[name](columns)
    assert found.fitted.sum(axis=1) == pytest.approx(1.0)
    assert found.confusion.sum(axis=2) == pytest.approx(1.0)
    assert found.prior.sum() == pytest.approx(1.0)
    assert found.labels().shape == (len(columns.items),)
    assert np.isfinite(found.log_likelihood)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_neither_the_order_of_votes_nor_names_matter(name: str) -> None:
    votes = some_crowd(9).votes
    mixed = votes.where(np.random.default_rng(9).permutation(votes.size))
    renamed = Votes.of(
        [f"item {votes.items[code]}" for code in mixed.item],
        [f"rater {votes.raters[code]}" for code in mixed.rater],
        [votes.labels[code] for code in mixed.label],
    )
    found, again = METHODS[name](votes), METHODS[name](renamed)
    places = [list(renamed.items).index(f"item {item}") for item in votes.items]
    assert again.fitted[places] == pytest.approx(found.fitted, abs=2e-3)


def test_a_vote_for_certain_is_none_and_more_votes_are_surer() -> None:
    rng = np.random.default_rng(3)
    made = crowd(rng, 300, 5, coins(np.full(20, 0.8)))
    found = majority(made.votes)
    counts = np.bincount(made.votes.item * 2 + made.votes.label, minlength=600).reshape(300, 2)
    by_margin = [found.fitted[counts[:, 1] == votes, 1].mean() for votes in range(6)]
    assert (np.diff(by_margin) > 0).all()
    assert by_margin[3] == pytest.approx(0.8, abs=0.05)  # three against two is one vote more, right in 80 %


def test_items_without_a_vote_are_as_classes_are_in_general() -> None:
    made = some_crowd(4)
    kept = made.votes.where(made.votes.item != 5)
    found = dawid_skene(kept)
    assert found.fitted[5] == pytest.approx(found.prior)


def test_pooling_draws_raters_of_few_answers_to_the_others() -> None:
    made = some_crowd(5)
    few = made.votes.where((made.votes.rater != 0) | (made.votes.item < 6))
    alone, drawn = dawid_skene(few, pooling=0), dawid_skene(few, pooling=50)
    usual = drawn.confusion[1:].mean(axis=0)
    assert np.abs(drawn.confusion[0] - usual).max() < 0.5 * np.abs(alone.confusion[0] - usual).max()


# Known labels


@pytest.mark.parametrize("name", sorted(METHODS))
def test_known_labels_are_fixed_and_help(name: str) -> None:
    made = some_crowd(6)
    without, found = METHODS[name](made.votes), METHODS[name](made.votes, made.gold(60))
    assert found.probabilities[:60] == pytest.approx(np.eye(3)[made.truth[:60]])
    right = (without.labels()[60:] == made.truth[60:]).mean(), (found.labels()[60:] == made.truth[60:]).mean()
    assert right[1] >= right[0] - 0.05
    assert found.direction.by == "gold"


def test_a_known_label_that_nobody_said_is_a_class_too() -> None:
    votes = Votes.of(["a", "a", "b", "b"], ["r", "s", "r", "s"], ["x", "y", "x", "x"])
    wider, known, unknown = votes.with_gold({"a": "z", "b": "x", "gone": "x"})
    assert (list(wider.labels), known.tolist(), unknown) == (["x", "y", "z"], [2, 0], 1)
    assert dawid_skene(wider, known).labels().tolist() == [2, 0]


# Recovery


def test_dawid_skene_finds_the_raters_and_the_truth() -> None:
    rng = np.random.default_rng(7)
    made = crowd(rng, 3000, 6, rows(12, 3, rng), prior=np.array([0.5, 0.3, 0.2]))
    found = dawid_skene(made.votes)
    assert found.converged
    assert found.prior == pytest.approx(made.prior, abs=0.03)
    # The standard error of a cell of 0.8 from 1,500 answers, a fifth of them in its row, is 0.023 if all truth were known.
    assert np.abs(found.confusion - made.confusion).max() < 0.12
    assert np.abs(found.confusion - made.confusion).mean() < 0.02
    better = (found.labels() == made.truth).mean()
    assert better > (majority(made.votes).labels() == made.truth).mean()
    sure = found.probabilities.max(axis=1)
    for low, high in ((0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        chosen = (sure >= low) & (sure < high)
        claimed, true = sure[chosen].mean(), (found.labels()[chosen] == made.truth[chosen]).mean()
        assert true == pytest.approx(claimed, abs=3.5 * (claimed * (1 - claimed) / chosen.sum()) ** 0.5 + 0.01)


# What cannot be aggregated


@pytest.mark.parametrize("name", sorted(METHODS))
def test_one_label_alone_is_certain(name: str) -> None:
    votes = Votes.of([0, 0, 1, 1], ["a", "b", "a", "b"], ["x"] * 4)
    found = METHODS[name](votes)
    assert found.labels().tolist() == [0, 0]
    assert found.fitted.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_wrong_votes_are_refused(name: str) -> None:
    method = METHODS[name]
    votes = Votes.of([0, 1], ["a", "b"], ["x", "y"])
    with pytest.raises(DataError, match="no answers"):
        method(votes.where(np.zeros(2, bool)))
    many = list(range(MOST_CLASSES + 1))
    with pytest.raises(DataError, match="classes are counted for every rater"):
        method(Votes.of(many, many, many))
    for gold in (np.array([0]), np.array([0.0, 1.0]), np.array([0, 2]), np.array([0, -2])):
        with pytest.raises(DataError, match="known labels"):
            method(votes, gold)


def test_wrong_counts_are_refused() -> None:
    votes = Votes.of([0, 1], ["a", "b"], ["x", "y"])
    for options in ({"smoothing": -1.0}, {"pooling": float("nan")}, {"pooling": float("inf")}):
        with pytest.raises(DataError, match="numbers of answers"):
            dawid_skene(votes, **options)
    for options in ({"right": -1.0}, {"wrong": float("nan")}):
        with pytest.raises(DataError, match="numbers of answers"):
            majority(votes, **options)
    with pytest.raises(DataError, match="each vote needs one of each"):
        Votes.of([0], ["a", "b"], ["x", "y"])


# On real votes


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "least"), [("bluebird", 0.895), ("rte", 0.925)])
def test_the_method_chosen_without_known_labels_is_right_on_real_votes(folder: str, least: float) -> None:
    place = DATA / f"crowd_{folder}"
    if not place.is_dir():
        pytest.skip(f"{place} is not there")
    votes, gold, _ = read_votes(place / f"{folder}_crowd.txt.gz").votes.with_gold(
        read_gold(place / f"{folder}_truth.txt.gz")
    )
    right = choose(votes).consensus.labels() == gold
    assert right[gold >= 0].mean() >= least
