"""Supervised tuning: the loss is on what is learned of each text, completions or all that an assistant says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from heed.config import SFTSettings
from heed.errors import DataError
from heed.models.adapters import trained_part
from heed.models.batch import TokenBatch
from heed.models.conversations import Masked
from heed.models.policy import Policy, token_scores
from heed.train.checkpoint import Checkpoints
from heed.train.optimise import Fit, FitSettings, fit
from heed.train.progress import Watcher

TokenPair = tuple[Sequence[int], Sequence[int]]
"""Prompt ids and completion ids, both not empty: the completion is learned."""


@dataclass
class CompletionTask:
    """Negative log-likelihood of the tokens that are learned given those before them, a mean over them.

    Attributes:
        examples: texts with what is learned of them. A text's weight multiplies its part of the sum and not the count.
    """

    policy: Policy
    examples: Sequence[Masked | TokenPair]
    networks: dict[str, nn.Module] = field(init=False)
    lengths: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.networks = {"policy": trained_part(self.policy.model)}
        self.texts = [one if isinstance(one, Masked) else Masked.of(*one) for one in self.examples]
        self.lengths = [len(text.ids) for text in self.texts]

    def count(self, rows: Sequence[int]) -> int:
        return sum(self.texts[row].taught for row in rows)

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        texts = [self.texts[row] for row in rows]
        places = [[place for place, own in enumerate(text.learned) if own] for text in texts]
        # What stands from the last learned token on predicts nothing that is needed, so it is left out of the forward pass.
        batch = TokenBatch.of(
            [text.ids[: own[-1]] for text, own in zip(texts, places, strict=True)],
            self.policy.device,
            [own[0] for own in places],
        )
        predictors = [batch.starts[row] + place - 1 for row, own in enumerate(places) for place in own]
        targets = [text.ids[place] for text, own in zip(texts, places, strict=True) for place in own]
        hidden = self.policy.body.hidden(batch, torch.tensor(predictors, device=self.policy.device))
        found = token_scores(self.policy, hidden, torch.tensor(targets, device=self.policy.device)).logprobs
        if any(text.weight != 1.0 for text in texts):
            weights = [text.weight for text, own in zip(texts, places, strict=True) for _ in own]
            found = found * torch.tensor(weights, device=found.device)
        return -found.sum() / count

    def validate(self) -> float | None:
        return None


def tune(
    policy: Policy,
    examples: Sequence[Masked | TokenPair],
    settings: SFTSettings,
    seed: int,
    checkpoints: Checkpoints | None = None,
    watcher: Watcher | None = None,
) -> Fit:
    """Tune ``policy`` in place on what is learned of each text.

    Raises:
        DataError: there is nothing to tune on. Stopped, TrainingError: see ``optimise.fit``.
    """
    if not examples:
        raise DataError("no demonstration to tune on", "the list is empty.", "Give at least one prompt and completion.")
    return fit(CompletionTask(policy, examples), FitSettings.of(settings, len(examples)), seed, checkpoints, watcher)


def pretrain(
    policy: Policy,
    examples: Sequence[TokenPair],
    settings: FitSettings,
    seed: int,
    checkpoints: Checkpoints | None = None,
    watcher: Watcher | None = None,
) -> Fit:
    """Train a fresh ``policy`` in place on (prompt ids, completion ids), by a schedule of steps instead of epochs."""
    return fit(CompletionTask(policy, examples), settings, seed, checkpoints, watcher)


@torch.no_grad()
def mean_loss(policy: Policy, examples: Sequence[Masked | TokenPair], tokens_per_microbatch: int = 16384) -> float:
    """Mean negative log-likelihood of the tokens that are learned (nats a token)."""
    from heed.models.batch import microbatches

    task = CompletionTask(policy, examples)
    count = task.count(range(len(examples)))
    return sum(float(task.loss(rows, count)) for rows in microbatches(task.lengths, tokens_per_microbatch))
