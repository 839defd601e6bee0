"""Fitting preferences that see both texts: heads on frozen features, or a backbone that reads both together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from heed.config import RewardSettings
from heed.losses.reward import preference_loss
from heed.models.batch import microbatches
from heed.models.pairwise import BothWays, CrossPairs, PairHead, Ties, length_of
from heed.models.reward import ScalarModel
from heed.train.checkpoint import Checkpoints
from heed.train.optimise import Fit, FitSettings, fit
from heed.train.progress import Watcher

# A head on features that are there already costs nothing beside them: many passes, stopped by what is held out.
_HEAD_EPOCHS = 60


class Side(NamedTuple):
    """Comparisons of some texts: outcomes [N] (0 = the first preferred, 1 = the second, 2 = a tie) and weights [N]."""

    outcomes: Tensor
    weights: Tensor


class TieParameter(nn.Module):
    """What the model of ties learns beside the leads: see ``losses.reward.preference_probabilities``."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))


def _total(leads: Tensor, side: Side, rows: Sequence[int], ties: Ties, parameter: Tensor, count: int) -> Tensor:
    chosen = torch.tensor(rows, device=leads.device)
    outcomes, weights = side.outcomes[chosen], side.weights[chosen]
    return preference_loss(leads, outcomes, ties, parameter, count, weights)


@dataclass
class HeadTask:
    """A head on features [T, D]; comparisons name the rows of their prompt and their two texts [N, 3]."""

    head: PairHead
    ties: Ties
    features: Tensor
    train: tuple[Tensor, Side]
    held_out: tuple[Tensor, Side]
    networks: dict[str, nn.Module] = field(init=False)
    lengths: list[int] = field(init=False)
    parameter: TieParameter = field(init=False)

    def __post_init__(self) -> None:
        self.parameter = TieParameter().to(self.features.device)
        self.networks = {"head": self.head, "ties": self.parameter}
        self.lengths = [1] * len(self.train[0])

    def count(self, rows: Sequence[int]) -> int:
        return len(rows)

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        return self._loss(self.train, rows, count)

    def _loss(self, part: tuple[Tensor, Side], rows: Sequence[int], count: int) -> Tensor:
        named = self.features[part[0][list(rows)]]
        leads = self.head(named[:, 0], named[:, 1], named[:, 2])
        return _total(leads, part[1], rows, self.ties, self.parameter.value, count)

    def validate(self) -> float | None:
        held = len(self.held_out[0])
        return float(self._loss(self.held_out, range(held), held)) if held else None


@dataclass
class CrossTask:
    """A backbone that reads both texts, in both orders."""

    pairs: CrossPairs
    member: ScalarModel
    ties: Ties
    train: tuple[Sequence[BothWays], Side]
    held_out: tuple[Sequence[BothWays], Side]
    tokens_per_microbatch: int
    networks: dict[str, nn.Module] = field(init=False)
    lengths: list[int] = field(init=False)
    parameter: TieParameter = field(init=False)

    def __post_init__(self) -> None:
        self.parameter = TieParameter().to(self.member.head.weight.device)
        self.networks = {"member": self.member, "ties": self.parameter}
        self.lengths = [length_of(pair) for pair in self.train[0]]

    def count(self, rows: Sequence[int]) -> int:
        return len(rows)

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        return self._loss(self.train, rows, count)

    def _loss(self, part: tuple[Sequence[BothWays], Side], rows: Sequence[int], count: int) -> Tensor:
        leads = self.pairs.lead(self.member, [part[0][row] for row in rows])
        return _total(leads, part[1], rows, self.ties, self.parameter.value, count)

    def validate(self) -> float | None:
        held = len(self.held_out[0])
        if not held:
            return None
        pieces = microbatches([length_of(pair) for pair in self.held_out[0]], self.tokens_per_microbatch)
        return sum(float(self._loss(self.held_out, rows, held)) for rows in pieces)


class FittedMember(NamedTuple):
    """How a member's fit went, and what it learned of ties."""

    fit: Fit
    tie_parameter: float


def fit_member(
    task: HeadTask | CrossTask,
    settings: RewardSettings,
    seed: int,
    checkpoints: Checkpoints | None = None,
    watcher: Watcher | None = None,
) -> FittedMember:
    """Fit one member in place; where comparisons are held out, their loss decides when to stop.

    Raises:
        Stopped, TrainingError: see ``optimise.fit``.
    """
    head = isinstance(task, HeadTask)
    fitted = FitSettings.of(settings, len(task.lengths))
    epochs = float(_HEAD_EPOCHS) if head else settings.epochs
    if head:
        fitted = replace(fitted, steps=math.ceil(fitted.steps * epochs / settings.epochs))
    if len(task.held_out[0]):
        fitted.validate_every = max(1, round(fitted.steps / epochs / settings.validations_per_epoch))
        fitted.patience = settings.patience * (2 if head else 1)
    done = fit(task, fitted, seed, checkpoints, watcher)
    return FittedMember(done, float(task.parameter.value.detach()))


def resampled(groups: Sequence[int], seed: int) -> Tensor:
    """How often each comparison [N] counts when whole groups are drawn with replacement, as many as there are."""
    count = max(groups) + 1
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(count, (count,), generator=generator)
    times = torch.bincount(drawn, minlength=count).float()
    return times[torch.tensor(list(groups))]
