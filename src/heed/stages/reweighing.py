"""Other weights for a reward model, as a stage: nothing is trained."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from heed.stages.identity import model_identity
from heed.stages.results import TRAINED_ON, Output, StageResult, output_folder, prepare_machine


def reweigh_reward(
    reward: str | Path, weights: Mapping[str, float], out: str | Path, device: str = "cpu"
) -> StageResult:
    """Write to ``out`` the reward model in the folder ``reward`` with other weights of what it knows.

    Raises:
        ModelError: it is no reward model, or knows nothing beside the reward. ConfigError: a weight is of nothing it knows, or too large.
        ProjectError: the folder is in the way.
    """
    from heed.models.reward import RewardModel
    from heed.models.weighing import reweigh

    folder = output_folder(out, [reward])
    output = Output(folder, "reward", {"reward": model_identity(reward), "weights": dict(weights)})
    with output.claimed() as finished:
        if finished is not None:
            return finished
        network = RewardModel.load(reward, prepare_machine(device))
        before = network.card.get("weights", {})
        reweigh(network, weights)
        with output.writing():
            network.save(output.folder)
            # It is still the prompts of the first model that this one has learned from.
            if (Path(reward) / TRAINED_ON).is_file():
                shutil.copyfile(Path(reward) / TRAINED_ON, output.folder / TRAINED_ON)
        kept = ", ".join(f"{name} {weight:g}" for name, weight in network.card["weights"].items() if weight)
        metrics = {"weights": network.card["weights"], "weights_before": before}
        return output.finish(metrics, f"The reward is now the sum of {kept}; nothing was trained.", 0)
