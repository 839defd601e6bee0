"""A replay buffer: completions with their rewards, the newest so many, to be learned from more than once.

Mnih et al. 2015, methods, "Training algorithm for deep Q-networks", after Lin 1992.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Episode(NamedTuple):
    """A prompt and a completion (token ids, both not empty), and the reward that came at its end (reward units)."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    reward: float


class ReplayBuffer:
    """Episodes, of which the oldest fall out.

    Attributes:
        added: how many have ever been put in (count).
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.added = 0
        self._kept: deque[Episode] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def fallen_out(self) -> int:
        """How many have been put in and are no more."""
        return self.added - len(self._kept)

    def add(self, episodes: Iterable[Episode]) -> None:
        """Put episodes in, in their order."""
        for episode in episodes:
            self._kept.append(episode)
            self.added += 1

    def draw(self, count: int, seed: int) -> list[Episode]:
        """``count`` different episodes by chance, or all where there are no more; the same for the same seed."""
        order = torch.randperm(len(self._kept), generator=torch.Generator().manual_seed(seed % 2**63)).tolist()
        return [self._kept[place] for place in order[:count]]

    def state(self) -> dict[str, Tensor]:
        """All that is kept as a few tensors, which a checkpoint holds."""
        flat = [token for episode in self._kept for part in (episode.prompt, episode.tokens) for token in part]
        return {
            "buffer/tokens": torch.tensor(flat, dtype=torch.int32),
            "buffer/prompt_lengths": torch.tensor([len(e.prompt) for e in self._kept], dtype=torch.int32),
            "buffer/lengths": torch.tensor([len(e.tokens) for e in self._kept], dtype=torch.int32),
            # Python's own numbers: in 32 bits a resumed run would learn from other rewards.
            "buffer/rewards": torch.tensor([e.reward for e in self._kept], dtype=torch.float64),
            "buffer/added": torch.tensor(self.added),
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``state`` took."""
        flat, start = tensors["buffer/tokens"].tolist(), 0
        sizes = (tensors[f"buffer/{name}"].tolist() for name in ("prompt_lengths", "lengths", "rewards"))
        self._kept.clear()
        for prompt, length, reward in zip(*sizes, strict=True):
            middle, end = start + prompt, start + prompt + length
            self._kept.append(Episode(tuple(flat[start:middle]), tuple(flat[middle:end]), reward))
            start = end
        self.added = int(tensors["buffer/added"])
