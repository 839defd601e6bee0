"""heed's LSTM trains by the same algorithms as any other policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heed.models.reward import ScalarModel
from heed.train.checkpoint import Checkpoints
from heed.train.learner import value_model_for
from heed.train.online import OnlineTrainer
from tiny_training import trainer_of

WAYS: dict[str, dict[str, Any]] = {
    "ppo-separate": {"shared": False},
    "ppo-shared": {"shared": True},
    "reinforce": {"shared": False, "algorithm": "reinforce", "epochs": None, "minibatches": 1, "learning_rate": 1e-2},
}


def lstm_trainer(way: str, **changes: Any) -> OnlineTrainer:
    common = {"prompts_per_step": 8, "samples_per_prompt": 4, "minibatches": 2, "epochs": 3, "kl_coefficient": 0.01}
    return trainer_of(**(common | {"value_coefficient": 0.5} | WAYS[way] | changes), name="lstm")


@pytest.mark.parametrize("way", WAYS)
def test_reward_rises(way: str) -> None:
    trainer = lstm_trainer(way, steps=40 if way == "reinforce" else 15)
    history = trainer.run().history
    assert history[0]["reward"] < 0.35
    assert np.mean([row["reward"] for row in history[-3:]]) > 0.7
    assert history[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert history[-1]["kl"] > 0.5


@pytest.mark.parametrize("way", WAYS)
def test_a_stopped_run_goes_on_bit_for_bit(way: str, tmp_path: Path) -> None:
    whole = lstm_trainer(way, steps=4, checkpoint_every=2)
    whole.run()
    before = lstm_trainer(way, steps=4, checkpoint_every=2)
    for step in range(2):
        before.step(step)
    checkpoints = Checkpoints(tmp_path, "p")
    checkpoints.save(2, *before.state())
    after = lstm_trainer(way, steps=4, checkpoint_every=2)
    after.run(checkpoints)
    assert after.result.history == whole.result.history
    for name, parameter in whole.parameters.items():
        assert torch.equal(parameter, after.parameters[name])


def test_values_have_an_lstm_of_their_own() -> None:
    trainer = lstm_trainer("ppo-separate")
    values = value_model_for(trainer.policy, trainer.scorer, trainer.settings, seed=1)
    assert isinstance(values, ScalarModel)
    assert values.backbone is not trainer.policy.model.base_model
    assert values.backbone.config.model_type == "heed_lstm"
    assert not values.head.weight.any()
