"""Who agrees with whom, before there is a reward: the shares that simulated raters answer in are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heed.losses.raters import HEEDS, INVERTS, LEFT
from heed.raters.crowd_answers import WAYS_PRIOR
from heed.train.agreement import ways_by_agreement
from tiny_judgments import World

CAREFUL, TURNED, LEFTIST = (0.94, 0.02, 0.02, 0.02), (0.04, 0.9, 0.03, 0.03), (0.2, 0.0, 0.75, 0.05)
TEAM = [CAREFUL] * 4 + [TURNED, LEFTIST]
WRONG, RIGHT = (-3.0, -0.05, -0.05, -3.0), (-0.05, -3.0, -0.05, -3.0)
"""Log-probability in each way of an answer to gold, both of them left."""


def sharp_world(texts: int, seed: int) -> World:
    """One in which most pairs are easy to tell apart."""
    world = World(texts, seed)
    world.worths = [4 * one for one in world.worths]
    return world


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_ways_of_a_team_are_found_from_three_answers_a_pair(seed: int) -> None:
    found = ways_by_agreement(sharp_world(80, seed).pairs(400, TEAM, 3), len(TEAM))
    assert found is not None
    torch.testing.assert_close(found.sum(1), torch.ones(len(TEAM)))
    assert (found[:4, HEEDS] > 0.75).all()
    assert found[4, INVERTS] > 0.7
    assert found[5, LEFT] > 0.55


def test_where_nobody_knows_what_stood_left_it_tells_of_no_habit() -> None:
    rows = sharp_world(80, 0).pairs(400, [CAREFUL] * 4, 3)
    # As preference files come: the winner first, whatever was shown.
    turned = [row if row.said[0] != 1 else row._replace(texts=row.texts[::-1], said=(0, 0)) for row in rows]
    found = ways_by_agreement([row._replace(shown=None) for row in turned], 4)
    assert found is not None
    assert (found[:, LEFT:] < 0.25).all()
    assert (found[:, HEEDS] > 0.7).all()


@pytest.mark.parametrize("sides", [True, False], ids=["sides known", "sides not known"])
def test_gold_says_which_of_two_camps_is_right(sides: bool) -> None:
    rows = sharp_world(80, 1).pairs(300, [CAREFUL] * 2 + [TURNED] * 3, 3)
    without = ways_by_agreement(rows, 5)
    gold = [(rater, RIGHT if rater < 2 else WRONG) for rater in range(5) for _ in range(10)]
    told = ways_by_agreement(rows, 5, gold if sides else [(rater, (*ways[:2], -0.7, -0.7)) for rater, ways in gold])
    assert without is not None
    assert told is not None
    assert (told[:2, HEEDS] > 0.7).all()
    assert (told[2:, INVERTS] > 0.7).all()
    assert (without[:2, INVERTS] > without[:2, HEEDS]).all()  # alone, the larger camp is taken to heed


def test_without_a_second_opinion_and_gold_nothing_is_said() -> None:
    world = World(40, 3)
    pairs = {tuple(sorted(row.texts)): row for row in world.pairs(60, TEAM)}
    assert ways_by_agreement(list(pairs.values()), len(TEAM)) is None
    assert ways_by_agreement(world.thumbs(20), len(TEAM)) is None


def test_who_compared_nothing_begins_as_anybody_does() -> None:
    found = ways_by_agreement(World(40, 4).pairs(50, TEAM[:3], 2), 4)
    assert found is not None
    np.testing.assert_allclose(found[3], np.array(WAYS_PRIOR) / sum(WAYS_PRIOR), rtol=1e-6)
