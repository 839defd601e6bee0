"""For agents of Stable-Baselines3: how they see a text."""

from __future__ import annotations

from heed.errors import ConfigError

try:
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
except ImportError as error:
    raise ConfigError(
        "heed.environments.sb3", "the package stable-baselines3 is not installed.", "Run: pip install 'heed[control]'"
    ) from error

import torch
from gymnasium import spaces
from torch import Tensor, nn


class TextFeatures(BaseFeaturesExtractor):
    """The embedding of the last token beside the mean embedding of the prompt.

    Under an LSTM, as in ``RecurrentPPO``, this is a language model: embedding, LSTM, a linear head over the tokens. The LSTM
    meets an episode at its first observation, in which the prompt stands whole; the mean is how it knows of it.

    Args:
        observation_space: of ``heed/Text-v0``.
        width: of an embedding; there are twice as many features.
    """

    def __init__(self, observation_space: spaces.Dict, width: int = 32) -> None:
        super().__init__(observation_space, 2 * width)
        tokens = observation_space["tokens"]
        assert isinstance(tokens, spaces.Box)
        self.embedding = nn.Embedding(int(tokens.high.max()) + 1, width)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Features [B, 2 * width] of a batch of observations, as Stable-Baselines3 encodes them: lengths one-hot."""
        tokens = observations["tokens"].long()
        length, prompt = (observations[name].flatten(1).argmax(1, keepdim=True) for name in ("length", "prompt_length"))
        # Between the texts of a batch recurrent agents put observations of zeros, which are masked afterwards.
        last = self.embedding(tokens.gather(1, (length - 1).clamp_min(0))[:, 0])
        in_prompt = (torch.arange(tokens.shape[1], device=tokens.device)[None] < prompt)[..., None]
        return torch.cat([last, (self.embedding(tokens) * in_prompt).sum(1) / prompt.clamp_min(1)], 1)
