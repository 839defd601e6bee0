"""Fitting to judgments of every kind: each text once, any split, every kind finds the reward, and raters are found out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.config import RewardSettings
from heed.models.batch import microbatches
from heed.train.checkpoint import Checkpoints
from heed.train.judgments import MOST_TOGETHER, JudgmentTask, examples_of, fit_judgments, task_of, together
from heed.train.likelihoods import Judged
from heed.train.parts import plan_of
from heed.train.progress import Watcher
from heed.train.raters import Gold, Raters, RaterTable
from tiny_judgments import World, small_model, texts_of, worth

CAREFUL, TURNED, LEFTIST = (0.94, 0.02, 0.02, 0.02), (0.04, 0.9, 0.03, 0.03), (0.2, 0.0, 0.75, 0.05)
QUICK = RewardSettings(epochs=3, prompts_per_step=16, learning_rate=5e-3)


def mixed(world: World) -> list[Judged]:
    """Some of every kind, by three raters."""
    rows = [
        *world.pairs(8, [CAREFUL, TURNED, LEFTIST], 2),
        *world.rankings(3, 5, rater=1),
        *world.thumbs(6, rater=2),
        *world.ratings(6, rater=1, names=("good", "poor")),
        *world.ratings(4, step=None, names=("long",)),
        *world.edits(4),
        *world.demonstrations(3, 3),
        *world.critiques(6),
    ]
    return [rows[int(n)] for n in world.rng.permutation(len(rows))]


def task(rows: list[Judged], world: World, raters: int, **changes: Any) -> JudgmentTask:
    settings = RewardSettings(**changes)
    model = small_model()
    plan = plan_of(rows, settings, raters)
    member = model.members[0]
    if plan.columns > 1:
        from heed.models.components import Components

        member.components = Components(plan.components, member.head.weight.shape[1], 0)
    gold = Gold.of([(1, (-3.0, -0.05, -0.7, -0.7))] if raters else [])
    return task_of(member, plan, world.texts, rows, rows[:9], settings, Raters(raters, True, gold), None)


@pytest.mark.parametrize("raters", [0, 3])
def test_every_text_goes_through_the_network_once_a_micro_batch(raters: int) -> None:
    world = World(12, 0)
    made = task(mixed(world), world, raters)
    asked: list[int] = []
    score = made.score

    def counted(numbers: Any) -> torch.Tensor:
        asked.extend(numbers)
        return score(numbers)

    made.score = counted
    made.loss(range(len(made.lengths)), 40)
    assert sorted(asked) == sorted({text for row in made.train.rows for text in row.texts})
    assert made.count(range(len(made.lengths))) == len(made.train.rows)


@pytest.mark.parametrize("raters", [0, 3])
def test_loss_and_gradient_are_the_same_in_any_micro_batch_split(raters: int) -> None:
    world = World(60, 1)
    found = []
    for tokens in (1, 200, 100_000):
        made = task(mixed(world) if not found else found[0][2], world, raters)
        with torch.no_grad():
            for number, parameter in enumerate(made.likelihood.parameters()):
                parameter.add_(0.05 * (1 + number % 3)) if parameter.requires_grad else None
        rows, total = list(range(len(made.lengths))), 0.0
        for batch in microbatches(made.lengths, tokens):
            loss = made.loss(batch, made.count(rows))
            loss.backward()
            total += float(loss.detach())
        gradients = [p.grad.flatten() for net in made.networks.values() for p in net.parameters() if p.grad is not None]
        found.append((total, torch.cat(gradients), list(made.train.rows)))
        with torch.no_grad():
            made.tokens_per_microbatch = tokens
            found[-1] += (made.validate(),)  # type: ignore[operator]
    for total, gradients, _, validated in found[1:]:  # type: ignore[misc]
        assert total == pytest.approx(found[0][0], abs=1e-5)
        assert validated == pytest.approx(found[0][3], abs=1e-5)  # type: ignore[misc]
        torch.testing.assert_close(gradients, found[0][1], atol=2e-5, rtol=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True), min_size=1, max_size=30))
def test_examples_hold_every_judgment_once_and_keep_together_what_shares_texts(texts: list[list[int]]) -> None:
    rows = [Judged("ranking", tuple(chosen), tuple(range(len(chosen)))) for chosen in texts]
    examples = together(rows).examples
    assert sorted(number for example in examples for number in example) == list(range(len(rows)))
    of = [{text for number in example for text in rows[number].texts} for example in examples]
    assert all(len(held) <= MOST_TOGETHER for held in of)
    if len({text for row in rows for text in row.texts}) <= MOST_TOGETHER:
        assert all(not one & other for n, one in enumerate(of) for other in of[n + 1 :])


def test_comparisons_of_nobody_in_particular_are_taken_one_by_one() -> None:
    world = World(4, 2)
    rows = world.pairs(9, [CAREFUL, TURNED])
    assert [list(example) for example in examples_of(rows, 0).examples] == [[n] for n in range(9)]
    assert len(examples_of(rows, 2).examples) == 1


def correlation(model: Any, seed: int = 77) -> float:
    texts = texts_of(300, seed)
    scores = model.score_encoded(texts).numpy()
    return float(np.corrcoef(scores, [worth(text) for text in texts])[0, 1])


KINDS: dict[str, tuple[Callable[[World], list[Judged]], float]] = {
    "ranking": (lambda world: world.rankings(110, 5), 0.85),
    "thumb": (lambda world: world.thumbs(600, bias=1.0), 0.85),
    "rating": (lambda world: world.ratings(450), 0.85),
    "edit": (lambda world: world.edits(500), 0.85),
    "demonstration": (lambda world: world.demonstrations(250, 3), 0.85),
    "critique": (lambda world: world.critiques(600), 0.75),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_finds_a_known_reward(kind: str) -> None:
    rows_of, least = KINDS[kind]
    world, model = World(500, 3), small_model()
    changes: dict[str, Any] = {"weights": {"bad": -1.0}} if kind == "critique" else {}
    fit_judgments(model, world.texts, rows_of(world), [], QUICK.model_copy(update={"kind": kind, **changes}), 0)
    assert correlation(model) > least


@pytest.mark.parametrize("ratings", ["regression", "levels"])
def test_ratings_are_found_by_least_squares_and_by_a_classifier_of_levels(ratings: str) -> None:
    """The reward is then a share of the scale: of those who rate 1 to 5, the mean level that a text gets."""
    world, model = World(500, 4), small_model()
    rows = world.ratings(500, step=None if ratings == "regression" else 1.0)
    update = {"kind": "rating", "ratings": ratings, "epochs": 6.0}
    fit_judgments(model, world.texts, rows, [], QUICK.model_copy(update=update), 0)
    assert correlation(model) > 0.85
    texts = texts_of(200, 5)
    expected = np.array([min(1.0, max(0.0, (2 + 0.6 * worth(text)) / 4)) for text in texts])
    assert model.raw(texts).detach().numpy() == pytest.approx(expected, abs=0.35)
    assert np.abs(model.raw(texts).detach().numpy() - expected).mean() < 0.13


def test_two_attributes_have_outputs_of_their_own_and_weights_make_the_reward_of_them() -> None:
    world, model = World(500, 6), small_model()
    rows = world.ratings(500, names=("good", "poor"))
    settings = QUICK.model_copy(update={"kind": "rating", "weights": {"good": 1.0}, "epochs": 4.0})
    fit_judgments(model, world.texts, rows, [], settings, 0)
    assert correlation(model) > 0.85
    components = model.members[0].components
    assert components is not None
    components.set_weights({"poor": 1.0})
    assert correlation(model) < -0.85
    components.set_weights({"poor": -1.0, "good": 1.0})
    assert correlation(model) > 0.85


def test_a_frozen_backbone_stays_as_it_was_and_its_scores_are_those_of_the_states_kept() -> None:
    world, model = World(200, 7), small_model(members=2)
    before = [p.detach().clone() for p in model.members[0].backbone.parameters()]
    settings = QUICK.model_copy(update={"frozen": True, "learning_rate": 3e-2, "epochs": 8.0})
    fit_judgments(model, world.texts, world.rankings(150, 4), [], settings, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.members[0].backbone.parameters(), strict=True))
    assert not torch.equal(model.members[0].head.weight, model.members[1].head.weight)
    assert correlation(model) > 0.5


def raters_fitted(ways: list[tuple[float, ...]], gold: list[tuple[int, tuple[float, ...]]], seed: int = 8) -> Any:
    world, model = World(240, seed), small_model()
    rows = world.pairs(260, ways, each=3)
    settings = QUICK.model_copy(update={"epochs": 4.0, "prompts_per_step": 32})
    done = fit_judgments(model, world.texts, rows, [], settings, 0, len(ways), gold)
    assert done.raters is not None
    return model, done.raters


def test_raters_who_invert_and_who_take_what_stands_left_are_found_out() -> None:
    model, table = raters_fitted([CAREFUL] * 5 + [TURNED, LEFTIST], [])
    assert min(table.reliability[:5]) > 0.6
    assert table.reliability[5] < -0.4
    assert table.ways[6][2] > 0.4
    assert table.direction()[0] == "majority"
    assert correlation(model) > 0.8


RIGHT, WRONG = (-0.05, -3.7, -0.8, -0.8), (-3.7, -0.05, -0.8, -0.8)
CAMPS = [TURNED] * 4 + [CAREFUL] * 3


def test_gold_finds_the_right_way_up_where_most_raters_invert() -> None:
    gold = [(rater, WRONG if rater < 4 else RIGHT) for rater in range(7) for _ in range(10)]
    model, table = raters_fitted(CAMPS, gold)
    assert max(table.reliability[:4]) < -0.5
    assert min(table.reliability[4:]) > 0.5
    assert table.direction()[0] == "gold"
    assert correlation(model) > 0.8


def test_without_gold_two_camps_are_said_to_be_unidentifiable() -> None:
    _, table = raters_fitted(CAMPS, [])
    direction, reason = table.direction()
    assert direction == "unidentifiable"
    assert "two camps" in reason


def test_the_direction_follows_the_stated_criterion() -> None:
    def direction(
        reliability: list[float], judgments: list[int], error: float = 0.1, gold: int = 0, favour: float = 0.0
    ) -> str:
        zeros = [0.0] * len(reliability)
        ways = [[0.25] * 4] * len(reliability)
        table = RaterTable(
            ways, reliability, [error] * len(reliability), zeros, zeros, zeros, judgments, [gold] * len(zeros), favour
        )
        return table.direction()[0]

    assert direction([0.8, 0.8, -0.8], [10, 10, 10]) == "majority"
    assert direction([0.8, 0.8, -0.8], [10, 10, 11]) == "unidentifiable"
    assert direction([0.8, 0.8, -0.8], [10, 10, 11], gold=1, favour=3.1) == "gold"
    assert direction([0.8, 0.8, -0.8], [10, 10, 11], gold=1, favour=2.9) == "unidentifiable", "it may be a slip"
    assert direction([0.8, 0.8, -0.8], [10, 10, 10], gold=1, favour=2.9) == "majority"
    assert direction([0.8, 0.8, 0.8], [10, 10, 10], gold=4, favour=-3.1) == "unidentifiable"
    assert direction([0.8, 0.8, -0.19], [10, 10, 10_000]) == "majority", "who may as well read nothing points nowhere"
    assert direction([0.1, -0.1], [10, 10]) == "prior"


class _Copier(Watcher):
    """Copies the folder of checkpoints when so many steps are done, as it would lie there after a stop."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder, self.step = folder, step

    def advance(self, done: int, total: int, line: str) -> None:
        if done == self.step:
            shutil.copytree(self.folder, self.folder.with_name("stopped"))


def test_resumed_equals_uninterrupted_raters_and_all(tmp_path: Path) -> None:
    world = World(60, 9)
    rows = mixed(world) * 3
    settings = QUICK.model_copy(update={"checkpoint_every": 2, "prompts_per_step": 8, "epochs": 4.0})

    def fitted(folder: Path, watcher: Watcher) -> tuple[torch.Tensor, Any]:
        model = small_model()
        done = fit_judgments(
            model, world.texts, rows, rows[:9], settings, 5, 3, checkpoints=[Checkpoints(folder, "p")], watcher=watcher
        )
        return torch.cat([p.detach().flatten() for p in model.parameters()]), (done.raters, done.fits[0].history)

    whole = fitted(tmp_path / "whole", _Copier(tmp_path / "whole", 8))
    resumed = fitted(tmp_path / "stopped", Watcher())
    assert torch.equal(whole[0], resumed[0])
    assert whole[1] == resumed[1]
