"""Supervised tuning: the loss is on completions only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from heed.config import SFTSettings
from heed.errors import DataError
from heed.models.adapters import trained_part
from heed.models.policy import Continuations, Policy, token_scores
from heed.train.checkpoint import Checkpoints
from heed.train.optimise import Fit, FitSettings, fit
from heed.train.progress import Watcher

TokenPair = tuple[Sequence[int], Sequence[int]]


@dataclass
class CompletionTask:
    """Negative log-likelihood of completions given their prompts, a mean over completion tokens.

    Attributes:
        examples: (prompt ids, completion ids), both not empty.
    """

    policy: Policy
    examples: Sequence[TokenPair]
    networks: dict[str, nn.Module] = field(init=False)
    lengths: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.networks = {"policy": trained_part(self.policy.model)}
        self.lengths = [len(p) + len(c) for p, c in self.examples]

    def count(self, rows: Sequence[int]) -> int:
        return sum(len(self.examples[row][1]) for row in rows)

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        prompts, completions = zip(*(self.examples[row] for row in rows), strict=True)
        laid = Continuations.of(prompts, completions, self.policy.device)
        hidden = self.policy.body.hidden(laid.batch, laid.predictors)
        return -token_scores(self.policy, hidden, laid.targets).logprobs.sum() / count

    def validate(self) -> float | None:
        return None


def tune(
    policy: Policy,
    examples: Sequence[TokenPair],
    settings: SFTSettings,
    seed: int,
    checkpoints: Checkpoints | None = None,
    watcher: Watcher | None = None,
) -> Fit:
    """Tune ``policy`` in place on (prompt ids, completion ids).

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
def mean_loss(policy: Policy, examples: Sequence[TokenPair], tokens_per_microbatch: int = 16384) -> float:
    """Mean negative log-likelihood of completion tokens (nats a token)."""
    from heed.models.batch import microbatches

    task = CompletionTask(policy, examples)
    count = task.count(range(len(examples)))
    return sum(float(task.loss(rows, count)) for rows in microbatches(task.lengths, tokens_per_microbatch))
