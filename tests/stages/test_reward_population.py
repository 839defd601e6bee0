"""A reward for a population: groups of opposed tastes count as they do among the people, whatever their share of the answers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from heed.config import RewardSettings
from heed.errors import DataError
from heed.models.reward import RewardModel
from heed.stages.data import FIRST, SECOND, ComparisonRow
from heed.stages.judgments import judgment_of_row
from heed.stages.population import standing_of
from heed.stages.reward import train_reward
from tiny_models import tiny_policy
from tiny_project import letters

GROUPS = {"ann": "north", "amy": "north", "bob": "south"}
QUICK = RewardSettings(
    epochs=4, prompts_per_step=16, learning_rate=1e-2, test_fraction=0.0, validation_fraction=0.0, raters="equal"
)


def votes(count: int) -> list[ComparisonRow]:
    """Two of three raters, of the north, want the letter a, and one of the south does not."""
    rng, rows = random.Random(0), []
    for number in range(count):
        with_a, without = "a" * rng.randint(2, 4) + "b", "b" * rng.randint(3, 5)
        for rater, group in GROUPS.items():
            texts = (with_a, without) if rng.random() < 0.5 else (without, with_a)
            liked = texts.index(with_a if group == "north" else without)
            rows.append(ComparisonRow(letters(number, 3), *texts, (FIRST, SECOND)[liked], rater=rater))
    return rows


@pytest.mark.parametrize("south", [0.0, 0.2, 0.9])
def test_the_larger_part_of_the_population_has_its_way(tmp_path: Path, south: float) -> None:
    tiny_policy(initializer_range=0.05).save(tmp_path / "model")
    settings = QUICK.model_copy(update={"population": {"north": 1 - south, "south": south}})
    done = train_reward(tmp_path / "model", votes(60), tmp_path / "reward", settings, groups=GROUPS)
    model = RewardModel.load(tmp_path / "reward")
    with_a, without = model.score([letters(99, 3)] * 2, ["aaab", "bbbb"]).tolist()
    assert (with_a > without) == (south < 0.5)
    counts = done.metrics["population"]["counts"]
    assert counts["north"] == pytest.approx((1 - south) * 3 / 2)
    assert counts["south"] == pytest.approx(south * 3)
    assert model.card["population"] == done.metrics["population"]


def test_the_same_votes_of_other_groups_are_another_result(tmp_path: Path) -> None:
    tiny_policy(initializer_range=0.05).save(tmp_path / "model")
    settings = QUICK.model_copy(update={"population": {"north": 0.5, "south": 0.5}})
    rows = votes(20)
    one = train_reward(tmp_path / "model", rows, tmp_path / "reward", settings, groups=GROUPS)
    again = train_reward(tmp_path / "model", rows, tmp_path / "reward", settings, groups=GROUPS)
    assert again.metrics == one.metrics
    moved = {**GROUPS, "amy": "south"}
    other = train_reward(tmp_path / "model", rows, tmp_path / "elsewhere", settings, groups=moved)
    assert other.metrics["population"] != one.metrics["population"]


def test_who_belongs_to_no_group_stands_for_nobody() -> None:
    rows = [judgment_of_row(row) for row in votes(4)]
    with pytest.raises(DataError, match=r"1 of 3 raters belong to no group: 'amy'"):
        standing_of(rows, {"ann": "north", "bob": "south", "amy": ""}, {"north": 0.5, "south": 0.5})
    with pytest.raises(DataError, match="group 'west' of the target"):
        standing_of(rows, GROUPS, {"north": 0.5, "west": 0.5})
    assert standing_of(rows, {}, {}).metrics() == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"population": {"north": 0.5}}, "sum to 0.5, not to 1"),
        ({"population": {"north": -0.5, "south": 1.5}}, "greater than or equal to 0"),
        ({"population": {"north": 1.0}, "raters": "learned"}, "raters: equal first"),
        ({"population": {"north": 1.0}, "raters": "equal", "backbone": "linear"}, "backbone: network"),
    ],
)
def test_what_is_no_population_is_refused(changes: dict, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RewardSettings(**changes)
