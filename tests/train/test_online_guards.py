"""What keeps PPO honest: constraints, the KL coefficient and budget, alarms, and what people are told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from heed.config import PolicySettings
from heed.models.decode import Samples
from heed.models.policy import Policy
from heed.train.constraints import Constraints
from heed.train.online_loop import live_line, verdict
from heed.train.progress import Watcher
from tiny_training import trainer_of


def first_token(policy: Policy, ids: list[int]) -> Tensor:
    """Exact distribution of the token after ``ids``."""
    with torch.no_grad():
        return policy.model(torch.tensor([ids])).logits[0, -1].double().softmax(-1)


class Ears(Watcher):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.alarms: list[str] = []
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def alarm(self, text: str) -> None:
        self.alarms.append(text)

    def advance(self, done: int, total: int, line: str) -> None:
        self.lines.append(line)


def samples_of(tokens: list[list[int]], finished: list[bool]) -> Samples:
    return Samples(tokens, finished, [[0.0] * len(t) for t in tokens], None, [""] * len(tokens))


@pytest.mark.parametrize(
    ("target", "expected"), [(0, [0.0, 0.5, 0.5]), (3, [0.0, 0.5, 0.5 + 0.25 * 7]), (2, [0.25, 0.5, 2.5])]
)
def test_constraints_closed_form(target: int, expected: list[float]) -> None:
    samples = samples_of([[1] * 3, [1] * 2, [1] * 10], [True, False, False])
    settings = PolicySettings(missing_end_penalty=0.5, length_target=target, length_penalty=0.25)
    stated = Constraints(settings)([""] * 3, samples)
    assert (-stated.total(torch.zeros(3))).tolist() == expected


def test_the_missing_end_penalty_teaches_to_end() -> None:
    def zero(prompts: Any, prompt_ids: Any, samples: Samples) -> Tensor:
        return torch.zeros(len(samples.tokens))

    trainer = trainer_of(
        False,
        scorer=zero,
        steps=20,
        prompts_per_step=8,
        samples_per_prompt=4,
        missing_end_penalty=2.0,
        kl_coefficient=0.01,
    )
    history = trainer.run().history
    assert history[0]["ended"] < 0.8
    assert np.mean([row["ended"] for row in history[-3:]]) > 0.95


def test_the_kl_budget_stops_a_run_and_says_so() -> None:
    ears = Ears()
    trainer = trainer_of(
        False, steps=60, prompts_per_step=8, learning_rate=2e-2, kl_coefficient=0.0, kl_control="fixed", kl_budget=0.3,
        warmup_steps=0, update_kl_limit=100.0,
    )  # fmt: skip
    result = trainer.run(watcher=ears)
    assert len(result.history) < 60
    assert all(row["kl"] > 0.3 for row in result.history[-3:])
    assert not all(row["kl"] > 0.3 for row in result.history[-4:-1])
    assert "KL stayed above its budget of 0.3 nats" in result.ended
    assert ears.alarms[-1] == result.ended
    assert sum(alarm.startswith("KL alarm") for alarm in result.alarms) == 1
    assert "stopped early" in verdict(result)


def test_the_adaptive_coefficient_follows_ziegler() -> None:
    trainer = trainer_of(
        False, steps=6, kl_control="adaptive", kl_coefficient=0.1, kl_target=0.02, kl_horizon=80, learning_rate=1e-2
    )
    history = trainer.run().history
    coefficient = 0.1
    for row in history:
        assert row["kl_coefficient"] == pytest.approx(coefficient, rel=1e-12)
        coefficient *= 1 + min(0.2, max(-0.2, max(0.0, row["kl"]) / 0.02 - 1)) * 8 / 80
    assert trainer.control.coefficient == pytest.approx(coefficient, rel=1e-12)
    assert len({row["kl_coefficient"] for row in history}) > 3


def test_epochs_are_skipped_once_the_policy_has_left_its_rollout() -> None:
    free = trainer_of(False, epochs=4, learning_rate=1e-2, warmup_steps=0, update_kl_limit=100.0)
    bound = trainer_of(False, epochs=4, learning_rate=1e-2, warmup_steps=0, update_kl_limit=1e-4)
    assert free.step(0)["epochs_done"] == 4
    figures = bound.step(0)
    assert figures["epochs_done"] == 2, (
        "the first epoch starts at the rollout's own policy, so the second is the first over"
    )
    assert figures["update_kl"] > 1e-4


def test_alarms_for_entropy_and_length_come_once() -> None:
    ears = Ears()
    trainer = trainer_of(False, steps=4, entropy_floor=50.0, length_drift=1.0001)
    trainer.run(watcher=ears)
    kinds = [alarm.split(" alarm")[0] for alarm in trainer.result.alarms]
    assert kinds.count("entropy") == 1
    assert kinds.count("length") <= 1
    assert ears.alarms == trainer.result.alarms
    assert "entropy alarm at step 1" in verdict(trainer.result)


def test_a_falling_truth_under_a_rising_reward_raises_the_alarm() -> None:
    truths = iter([1.0, 0.9, 0.2, 0.1, 0.0])
    trainer = trainer_of(False, steps=9, audit_every=2, prompts_per_step=8, learning_rate=1e-2)
    trainer.audit = lambda policy: {"true": next(truths), "true_se": 0.01}
    trainer.run()
    assert [row["step"] for row in trainer.result.history if "true" in row] == [1, 3, 5, 7, 9]
    assert any(alarm.startswith("truth alarm at step 5") for alarm in trainer.result.alarms)


def test_entropy_bonus_keeps_the_policy_more_random() -> None:
    def zero(prompts: Any, prompt_ids: Any, samples: Samples) -> Tensor:
        return torch.zeros(len(samples.tokens))

    changes: dict[str, Any] = {"steps": 10, "kl_coefficient": 0.0, "kl_control": "fixed", "whiten_advantages": False}
    plain = trainer_of(False, scorer=zero, entropy_coefficient=0.0, value_learning_rate=0.0, **changes)
    bonus = trainer_of(False, scorer=zero, entropy_coefficient=1.0, value_learning_rate=0.0, **changes)
    before = first_token(plain.policy, [1])
    for trainer in (plain, bonus):
        trainer.run()
    entropy = [float(-(p * p.log()).sum()) for p in (before, first_token(bonus.policy, [1]))]
    assert entropy[1] > entropy[0] + 0.01
    assert entropy[1] <= math.log(7) + 1e-9


def test_lines_for_people() -> None:
    trainer, ears = trainer_of(False, steps=2), Ears()
    result = trainer.run(watcher=ears)
    assert ears.lines == [live_line(row) for row in result.history]
    assert f"reward {result.history[0]['reward']:+.2f}" in ears.lines[0]
    assert verdict(result).startswith("2 steps, all steps done.")
    assert result.tokens == sum(round(row["length"] * 8) for row in result.history)
    assert any(text.startswith("self-check passed") for text in ears.said)
