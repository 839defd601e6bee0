"""What a reward model knows of a completion beside how good it is: attributes on scales and defects, each with a weight.

The weights are no part of what is learned: the user sets them, and may change them afterwards without training again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heed.errors import ConfigError
from heed.losses.ratings import expected_ordinal_share, expected_share, quality_score
from heed.texts import shown

FILE = "components.safetensors"
LARGEST_WEIGHT = 1e6
"""As of ``RewardSettings.weights``, on either side of 0."""
REWARD = "reward"
"""The name of what is learned from all kinds of feedback together, beside those of attributes and defects."""

Link = Literal["reward", "share", "ordinal", "levels", "defect"]
"""How outputs become a value: as they are; as a share of a scale by regression, or the expected one of an ordinal model or a
classifier; or as the probability of a defect."""


class Component(NamedTuple):
    """One thing that is known of a completion: its outputs are ``size`` columns from ``column`` on."""

    name: str
    link: Link
    column: int = 0
    size: int = 1


class Components(nn.Module):
    """The outputs beside the reward's own, and the values that they come to.

    Args:
        parts: the components; the first is the reward itself.
        width: of the hidden states.
        seed: of the new outputs' weights.
    """

    def __init__(self, parts: Sequence[Component], width: int, seed: int) -> None:
        super().__init__()
        self.parts = tuple(parts)
        columns = max(part.column + part.size for part in parts) - 1
        self.linear = nn.Linear(width, columns) if columns else None
        if self.linear is not None:
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                self.linear.weight.copy_(torch.randn(columns, width, generator=generator) / (width + 1) ** 0.5)
                self.linear.bias.zero_()
        # Scale and offsets of each link, as the likelihood learned them of the usual rater; nothing trains them here.
        self.links: dict[str, Tensor] = {}
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor([1.0] + [0.0] * (len(parts) - 1)), persistent=False)

    @property
    def names(self) -> list[str]:
        return [part.name for part in self.parts]

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Let the reward be the sum of the named values by their weights; what is not named has none.

        Raises:
            ConfigError: a name is unknown, a weight is too large, or all are 0.
        """
        check_weights(weights, self.names)
        self.weights.copy_(torch.tensor([float(weights.get(name, 0.0)) for name in self.names]))

    def values(self, outputs: Tensor) -> Tensor:
        """Values [B, P] of outputs [B, C]: the reward in its own unit, shares of scales, probabilities of defects."""
        return torch.stack(
            [self._value(part, outputs[:, part.column : part.column + part.size]) for part in self.parts], 1
        )

    def _value(self, part: Component, outputs: Tensor) -> Tensor:
        if part.link == "reward":
            return outputs[:, 0]
        offsets = self._link(part, "offsets", outputs)
        if part.link == "levels":
            return expected_share(outputs + offsets)
        if part.link == "defect":
            return (outputs[:, 0] + offsets).sigmoid()
        place = self._link(part, "scale", outputs) * outputs[:, 0]
        return place + offsets if part.link == "share" else expected_ordinal_share(place, offsets)

    def _link(self, part: Component, name: str, like: Tensor) -> Tensor:
        return self.links[f"{part.name}/{name}"].to(like)

    def reward(self, outputs: Tensor) -> Tensor:
        """The weighted sum [B] of the values, reward units."""
        return quality_score(self.values(outputs), self.weights)

    def save(self, folder: Path) -> None:
        """Write ``components.safetensors``; what the parts are stands in the model's card."""
        tensors = {f"link/{name}": value.detach().cpu().contiguous() for name, value in self.links.items()}
        tensors |= {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file({**tensors, "weights": self.weights.detach().cpu()}, folder / FILE)

    @classmethod
    def load(cls, folder: Path, parts: Sequence[Sequence[Any]], width: int) -> Components:
        """Read what ``save`` wrote."""
        found = cls([Component(*part) for part in parts], width, 0)
        tensors = load_file(folder / FILE)
        found.weights.copy_(tensors.pop("weights"))
        links = [name for name in tensors if name.startswith("link/")]
        found.links = {name.removeprefix("link/"): tensors.pop(name) for name in links}
        found.load_state_dict(tensors)
        return found


def check_weights(weights: Mapping[str, float], names: Sequence[str]) -> None:
    """Refuse weights that make no reward of components with these names.

    Raises:
        ConfigError: a name is unknown, a weight lies beyond ``LARGEST_WEIGHT``, or all are 0.
    """
    for name in weights:
        if name not in names:
            raise ConfigError(
                f"a weight of {shown(name)}",
                "no attribute or defect of the judgments has this name.",
                f"Use {', '.join(names)}.",
            )
        if not abs(weights[name]) <= LARGEST_WEIGHT:
            raise ConfigError(
                f"a weight of {weights[name]:g} for {shown(name)}",
                f"a weight lies between -{LARGEST_WEIGHT:,.0f} and {LARGEST_WEIGHT:,.0f}: beyond, the others are lost in "
                "rounding and the sum is no number any more.",
                "Divide all weights by the same number.",
            )
    if not any(weights.values()):
        raise ConfigError(
            "weights that are all 0", "every completion would score the same.", "Give one another weight."
        )
