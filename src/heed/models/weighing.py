"""Other weights for a reward model that is trained: the scale of its scores follows without a text being read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from heed.errors import ModelError, TrainingError
from heed.models.batch import microbatches
from heed.models.reward import Encoded, RewardModel

MOMENTS = "moments"
"""In the card: mean of the components by member [M, P] and covariance of their means [P, P] over samples of the reference."""


@torch.no_grad()
def keep_moments(model: RewardModel, encoded: Sequence[Encoded], tokens_per_microbatch: int = 16384) -> None:
    """Put the moments of the components over these texts, samples of the reference policy, into the card."""
    if model.members[0].components is None or not encoded:
        return
    each = _values(model, encoded, tokens_per_microbatch).double()
    centred = each.mean(0) - each.mean((0, 1))
    model.card[MOMENTS] = [each.mean(1).tolist(), (centred.T @ centred / len(encoded)).tolist()]


def _values(model: RewardModel, encoded: Sequence[Encoded], tokens_per_microbatch: int) -> Tensor:
    """The components' values by each member [M, N, P]."""
    found = []
    for rows in microbatches([len(text.ids) for text in encoded], tokens_per_microbatch):
        texts = [encoded[row] for row in rows]
        each = [m.components.values(m.outputs(texts, model.pooling)) for m in model.members if m.components is not None]
        found.append(torch.stack(each))
    return torch.cat(found, 1)


def reweigh(model: RewardModel, weights: Mapping[str, float]) -> None:
    """Make the reward the sum of other components, scaled to the reference policy's samples as before.

    Nothing is trained. Probabilities are no longer calibrated: the temperature becomes 1.

    Raises:
        ModelError: the model knows nothing beside the reward, or has a scorer of words, which is of one mind.
        ConfigError: a name is unknown, a weight is too large, or all are 0. TrainingError: all samples would score the same.
    """
    moments = model.card.get(MOMENTS)
    if moments is None or model.words is not None:
        raise ModelError(
            "this reward model cannot be weighed anew",
            "it has a scorer of words, which learned one thing only."
            if model.words is not None
            else "it knows neither attributes nor defects.",
            "Train one from ratings or critiques, with words set to false.",
        )
    known = [member.components for member in model.members if member.components is not None]
    for components in known:
        components.set_weights(weights)
    by = torch.tensor([float(weights.get(name, 0.0)) for name in known[0].names], dtype=torch.float64)
    means, covariance = (torch.tensor(part, dtype=torch.float64) for part in moments)
    std = float((by @ covariance @ by).clamp_min(0.0).sqrt())
    if not std > 1e-6:
        raise TrainingError(
            "the reward model would give every completion the same score",
            f"with these weights its spread over samples of the reference is {std:.1g}.",
            "Give other components weights.",
        )
    model.mean, model.std, model.temperature = float((means @ by).mean()), std, 1.0
    model.centres = (means @ by).tolist()
    model.card["weights"] = {name: float(weights.get(name, 0.0)) for name in known[0].names}
    model.card["temperature_note"] = "weighed anew: probabilities are not calibrated"
