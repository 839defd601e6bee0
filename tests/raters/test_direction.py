"""Which label is which: said where raters or known labels say so, and not guessed where nothing does."""

from __future__ import annotations

import numpy as np
import pytest

from crowds import Crowd, camps, coins, crowd
from heed.raters.choosing import METHODS
from heed.raters.labels import dawid_skene, majority, one_coin

TURNING = ("one-coin", "dawid-skene", "glad")
"""Methods that know of raters who turn labels around."""


def right(found: np.ndarray, made: Crowd) -> float:
    return float((found == made.truth).mean())


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("seed", range(3))
def test_sixty_percent_turned_raters_are_said_to_be_undecidable(name: str, seed: int) -> None:
    made = camps(np.random.default_rng(seed), 200, 5, 20, turned=0.6)
    found = METHODS[name](made.votes)
    assert found.direction.by == "unidentifiable"
    assert "two camps" in found.direction.reason
    assert found.direction.turned_order == (1, 0)
    assert found.probabilities == pytest.approx(0.5)
    assert (found.labels() == -1).all()
    if name in TURNING:  # which items are alike is known all the same
        parted = right(found.fitted.argmax(axis=1), made)
        assert min(parted, 1 - parted) < 0.1


@pytest.mark.parametrize("name", TURNING)
@pytest.mark.parametrize("seed", range(3))
def test_ten_known_labels_turn_a_crowd_of_which_sixty_percent_is_turned(name: str, seed: int) -> None:
    made = camps(np.random.default_rng(seed), 200, 5, 20, turned=0.6)
    found = METHODS[name](made.votes, made.gold(10))
    assert found.direction.by == "gold"
    assert right(found.labels(), made) > 0.9
    turned = np.arange(20) < 12
    assert ((found.raters.high < 0.5) == turned).mean() > 0.9
    assert ((found.raters.low > 0.5) == ~turned).mean() > 0.9


@pytest.mark.parametrize("turned", [0.4, 0.5, 0.6, 0.7])
def test_it_is_undecidable_whichever_camp_is_the_larger(turned: float) -> None:
    made = camps(np.random.default_rng(11), 300, 4, 30, turned=turned)
    assert dawid_skene(made.votes).direction.by == "unidentifiable"


@pytest.mark.parametrize("turned", [0.0, 0.1])
def test_a_few_turned_raters_are_outvoted(turned: float) -> None:
    made = camps(np.random.default_rng(12), 300, 5, 30, turned=turned)
    found = dawid_skene(made.votes)
    assert found.direction.by == "majority"
    assert (
        f"{found.direction.straight} of {found.direction.straight + found.direction.turned} raters"
        in found.direction.reason
    )
    assert found.direction.turned == round(turned * 30)
    assert right(found.labels(), made) > 0.9


def test_majority_and_mace_do_not_follow_known_labels_into_a_camp() -> None:
    made = camps(np.random.default_rng(13), 200, 5, 20, turned=0.6)
    found = majority(made.votes, made.gold(10))
    assert found.direction.by == "unidentifiable"
    assert "one-coin, dawid-skene or glad" in found.direction.reason
    assert found.labels()[:10].tolist() == made.truth[:10].tolist()


@pytest.mark.parametrize("name", ["majority", "mace"])
def test_one_camp_against_the_known_labels_is_not_called_two(name: str) -> None:
    made = crowd(np.random.default_rng(17), 60, 5, coins(np.full(5, 0.95)))
    opposite = np.where(np.arange(60) < 5, 1 - made.truth, -1)
    found = METHODS[name](made.votes, opposite)
    assert (found.direction.straight, found.direction.turned) == (0, 5)
    assert found.direction.by == "unidentifiable"
    assert "All 5 raters who can be told apart from chance use the labels another way round" in found.direction.reason
    assert "two camps" not in found.direction.reason
    assert not found.direction.lacks_labels
    followed = one_coin(made.votes, opposite)
    assert followed.direction.by == "gold"
    assert "Check the known labels: they turn around what most raters say" in followed.direction.reason
    assert (followed.labels() == 1 - made.truth).mean() > 0.95


@pytest.mark.parametrize("name", sorted(METHODS))
def test_how_far_raters_are_right_is_undefined_where_the_order_is(name: str) -> None:
    made = camps(np.random.default_rng(18), 200, 5, 20, turned=0.5)
    table = METHODS[name](made.votes).raters
    for column in (table.accuracy, table.low, table.high):
        assert np.isnan(column).all()
    assert table.answers.sum() == made.votes.size
    assert table.reason is not None
    assert "whoever is right one way round is wrong the other" in table.reason


def test_one_known_label_is_told_in_the_singular() -> None:
    made = crowd(np.random.default_rng(19), 60, 4, coins(np.full(6, 0.9)))
    assert one_coin(made.votes, made.gold(1)).direction.reason.startswith("1 known label; ")
    parted = camps(np.random.default_rng(20), 200, 5, 20, turned=0.4)
    surest = one_coin(parted.votes).fitted.max(axis=1).argmax()
    gold = np.where(np.arange(200) == surest, parted.truth, -1)
    assert one_coin(parted.votes, gold).direction.reason.startswith("1 known label decides it; ")


@pytest.mark.parametrize("raters", [5, 25])
@pytest.mark.parametrize("name", TURNING)
def test_one_known_label_alone_turns_no_crowd(name: str, raters: int) -> None:
    made = crowd(np.random.default_rng(21), 60, raters, coins(np.full(raters, 0.95)))
    one, four = (METHODS[name](made.votes, np.where(np.arange(60) < k, 1 - made.truth, -1)) for k in (1, 4))
    assert (one.labels() == 1 - made.truth)[1:].mean() < 0.1
    if name == "glad":  # it may call the item hard instead
        return
    assert one.direction.by == "unidentifiable"
    assert f"All {raters} raters" in one.direction.reason
    assert "the known labels (1) do not decide between them" in one.direction.reason
    assert one.direction.lacks_labels
    assert four.direction.by == "gold"
    assert (four.labels() == 1 - made.truth).mean() > 0.9


def test_camps_that_turn_three_labels_in_a_ring_are_found_and_named() -> None:
    made = camps(np.random.default_rng(14), 300, 5, 20, turned=0.6, classes=3)
    found = dawid_skene(made.votes)
    assert found.direction.by == "unidentifiable"
    assert found.direction.turned_order in ((1, 2, 0), (2, 0, 1))
    # Two of the three labels stay possible for an item, and the true one is one of them.
    possible = found.probabilities[np.arange(300), made.truth]
    assert (possible > 0.4).mean() > 0.9
    named = dawid_skene(made.votes, made.gold(10))
    assert named.direction.by == "gold"
    assert right(named.labels(), made) > 0.9


def test_known_labels_that_are_too_few_decide_nothing() -> None:
    """One known label of an item on which the two camps' raters are not told apart."""
    made = camps(np.random.default_rng(15), 200, 5, 20, turned=0.5)
    ambiguous = np.abs(dawid_skene(made.votes).fitted[:, 0] - 0.5).argmin()
    gold = np.full(200, -1)
    gold[ambiguous] = made.truth[ambiguous]
    found = dawid_skene(made.votes, gold)
    assert found.direction.by == "unidentifiable"
    assert "do not decide" in found.direction.reason
    assert found.probabilities[ambiguous, made.truth[ambiguous]] == 1.0


def test_raters_who_answer_by_chance_or_by_habit_are_in_no_camp() -> None:
    guessing, habit = np.full((10, 2, 2), 0.5), np.tile([0.9, 0.1], (10, 2, 1))
    confusion = np.concatenate([coins(np.full(10, 0.85)), guessing, habit])
    made = crowd(np.random.default_rng(16), 400, 6, confusion, np.array([0.7, 0.3]))
    found = dawid_skene(made.votes)
    assert found.direction.by == "majority"
    assert found.direction.straight + found.direction.turned <= 14
    assert found.direction.turned <= 2
    assert one_coin(made.votes, made.gold(20)).direction.by == "gold"
