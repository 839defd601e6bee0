"""Choosing a method by held-out votes: it finds the model that the votes were drawn from, and never looks at known labels."""

from __future__ import annotations

import numpy as np
import pytest

from crowds import Crowd, camps, coins, crowd, rows
from heed.errors import DataError
from heed.raters import choosing
from heed.raters.choosing import METHODS, choose, held_out_scores
from heed.raters.consensus import Consensus
from heed.raters.votes import Votes


def biased_crowd(seed: int, items: int = 300) -> Crowd:
    """Raters who each lean to one label: only whole rows of a confusion matrix say so."""
    lean = np.where(np.arange(12) % 2, 0.95, 0.55)
    confusion = np.stack([np.stack([lean, 1 - lean], 1), np.stack([lean - 0.5, 1.5 - lean], 1)], axis=1)
    return crowd(np.random.default_rng(seed), items, 6, confusion)


def test_raters_who_lean_to_a_label_call_for_dawid_skene() -> None:
    made = biased_crowd(0)
    found = choose(made.votes)
    assert found.method == "dawid-skene"
    assert found.consensus.method == "Dawid-Skene"
    assert (found.consensus.labels() == made.truth).mean() > (
        METHODS["majority"](made.votes).labels() == made.truth
    ).mean()
    behind = {one.method: one.behind for one in found.candidates}
    assert behind["majority"].above(0)
    assert behind["dawid-skene"].estimate == 0
    assert "has not seen clearly best" in found.reason


def test_raters_who_are_alike_call_for_few_numbers() -> None:
    made = crowd(np.random.default_rng(1), 250, 4, coins(np.full(25, 0.75)))
    found = choose(made.votes)
    behind = {one.method: one.behind.estimate for one in found.candidates}
    assert found.method in ("majority", "one-coin")
    assert behind["dawid-skene"] > 0


def test_scores_are_of_the_model_that_was_fitted_without_the_vote() -> None:
    """With the true model each vote's mean log-likelihood is known: no method can be better in the long run."""
    rng = np.random.default_rng(2)
    made = crowd(rng, 500, 5, rows(8, 2, rng))
    votes = made.votes
    scores = held_out_scores(votes, 5, 0)
    logs = np.log(made.confusion)[votes.rater, :, votes.label]
    joint = np.zeros((500, 2)) + np.log(0.5)
    np.add.at(joint, votes.item, logs)
    others = joint[votes.item] - logs
    chances = np.exp(others - np.logaddexp.reduce(others, axis=1, keepdims=True))
    best = np.log((chances * np.exp(logs)).sum(axis=1))
    error = best.std() / votes.size**0.5
    for score in scores.values():
        assert score.shape == (votes.size,)
        assert score.mean() < best.mean() + 2 * error
    assert scores["dawid-skene"].mean() > best.mean() - 0.05


def test_known_labels_play_no_part_in_the_choice() -> None:
    made = biased_crowd(3, items=100)
    without, found = choose(made.votes), choose(made.votes, made.gold(50))
    assert found.candidates == without.candidates
    assert (found.consensus.fitted[:50].argmax(axis=1) == made.truth[:50]).all()


def test_the_same_seed_deals_the_same() -> None:
    votes = crowd(np.random.default_rng(4), 40, 3, coins(np.linspace(0.6, 0.9, 9))).votes
    first, second, other = (held_out_scores(votes, 2, seed) for seed in (1, 1, 2))
    assert all((first[method] == second[method]).all() for method in METHODS)
    assert not any((first[method] == other[method]).all() for method in METHODS)


@pytest.mark.parametrize(
    ("votes", "words"),
    [
        (Votes.of([0, 0, 1], ["a", "b", "a"], ["x", "y", "x"]), "3 answers are too few"),
        (Votes.of([*range(20)] * 3, ["a"] * 20 + ["b"] * 20 + ["c"] * 20, ["x"] * 60), "All answers are the same"),
        (Votes.of(range(60), ["a", "b", "c"] * 20, ["x", "y"] * 30), "No item has two answers"),
        (Votes.of([*range(40), *range(40)], ["a"] * 40 + ["b"] * 40, ["x", "y"] * 40), "Of fewer than three raters"),
    ],
)
def test_where_nothing_can_be_compared_the_majority_counts_and_says_why(votes: Votes, words: str) -> None:
    found = choose(votes)
    assert (found.method, found.candidates) == ("majority", ())
    assert words in found.reason


def test_a_method_that_trusts_raters_is_not_taken_against_the_known_labels() -> None:
    made = crowd(np.random.default_rng(0), 80, 5, coins(np.full(6, 0.8)))
    straight = choose(made.votes)
    assert straight.method == "majority"
    found = choose(made.votes, np.where(np.arange(80) < 10, 1 - made.truth, -1))
    assert found.candidates == straight.candidates
    assert found.method == next(one.method for one in found.candidates if one.method not in ("majority", "mace"))
    assert "takes for granted that most raters mean what they say, which is in doubt here" in found.reason
    assert found.consensus.direction.by == "gold"
    assert (found.consensus.labels() == 1 - made.truth).mean() > 0.95


def test_of_too_few_votes_too_the_known_labels_are_followed() -> None:
    made = crowd(np.random.default_rng(9), 15, 3, coins(np.full(3, 0.99)))
    assert choose(made.votes).method == "majority"
    found = choose(made.votes, np.where(np.arange(15) < 10, 1 - made.truth, -1))
    assert found.method == "dawid-skene"
    assert "45 answers are too few to compare methods; 50 are needed. Majority vote takes for granted" in found.reason
    assert (found.consensus.labels() == 1 - made.truth).all()


def test_very_many_votes_are_sampled_by_item(monkeypatch: pytest.MonkeyPatch) -> None:
    made = biased_crowd(5)
    monkeypatch.setattr(choosing, "MOST_VOTES", 600)
    fitted: list[Votes] = []

    def watched(votes: Votes, gold: np.ndarray | None = None) -> Consensus:
        fitted.append(votes)
        return METHODS["majority"](votes, gold)

    monkeypatch.setattr(choosing, "METHODS", {"majority": watched, "one-coin": METHODS["one-coin"]})
    found = choose(made.votes)
    assert "of a sample of 600" in found.reason
    learned = fitted[:5]
    assert sum(votes.size for votes in learned) == 4 * 600
    assert all(votes.size < 600 for votes in learned)
    assert found.consensus.votes.size == made.votes.size


def test_folds_have_to_leave_something() -> None:
    with pytest.raises(DataError, match="1 folds"):
        choose(biased_crowd(6).votes, folds=1)


def test_a_crowd_in_two_camps_is_chosen_for_by_its_votes_alone() -> None:
    """Whichever camp is right, both methods that know of turned raters predict votes better than one that does not."""
    made = camps(np.random.default_rng(7), 200, 5, 20, turned=0.6)
    found = choose(made.votes)
    assert found.method in ("one-coin", "dawid-skene", "glad")
    assert found.consensus.direction.by == "unidentifiable"
