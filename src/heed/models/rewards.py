"""What every kind of reward can do, and one loader for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from heed.errors import ModelError
from heed.feedback.kinds import PromptContent
from heed.models import linear_reward, pairwise
from heed.models.cards import NETWORK, read_card
from heed.models.reward import RewardModel
from heed.texts import shown


class Reward(Protocol):
    """A fitted reward: a network, a linear one, or a pairwise one against the reference's samples.

    Attributes:
        temperature: divides differences of ``score`` to make calibrated probabilities.
        card: what else belongs to it, JSON-able.
    """

    temperature: float
    card: dict[str, Any]

    def score(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> Tensor:
        """Scores [N], in standard deviations of the reference policy's samples."""

    def member_scores(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> Tensor:
        """Scores [M, N] by each of its members; their mean is ``score``."""

    def outside(self, prompts: Sequence[PromptContent], completions: Sequence[str]) -> NDArray[np.bool_] | None:
        """Which completions [N] are unlike what it was trained on; None where it does not know."""

    def save(self, folder: Path) -> None:
        """Write it to an empty folder, without pickle."""


def load_reward(folder: str | Path, device: str = "cpu") -> Reward:
    """The reward in ``folder``, of whatever kind its card names.

    Raises:
        ModelError: the folder is no reward, a damaged one, or one of a kind that this version does not know.
    """
    loaders: dict[str, Callable[..., Reward]] = {
        NETWORK: RewardModel.load,
        linear_reward.KIND: linear_reward.LinearReward.load,
        pairwise.KIND: pairwise.PairwiseReward.load,
    }
    kind = str(read_card(Path(folder)).get("kind", NETWORK))
    if kind not in loaders:
        raise ModelError(
            f"{folder} holds a reward of kind {shown(kind)}",
            f"this version of heed knows {', '.join(loaders)}.",
            "Use the version that made it, or make it again with 'heed train reward'.",
        )
    return loaders[kind](folder, device)


def pessimistic(members: Tensor, deviations: float) -> Tensor:
    """Scores [N] of a committee [M, N]: their mean less so many of their standard deviations.

    Where members agree it is their mean; where the data left them free to differ it is less, so that a policy gains
    nothing by going there. Coste et al. 2024, "Reward Model Ensembles Help Mitigate Overoptimization", section 3.2, with
    the deviation in the place of their variance, so that ``deviations`` has no unit.

    Raises:
        ModelError: a deviation is asked for, and there is one member.
    """
    if not deviations:
        return members.mean(0)
    if len(members) < 2:
        raise ModelError(
            f"pessimism {deviations:g} with a reward of one member",
            "how sure it is shows in how far its members differ.",
            "Train the reward with --set members=8, or set pessimism to 0.",
        )
    return members.mean(0) - deviations * members.std(0)
