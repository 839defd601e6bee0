"""Fitting a reward model to comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from heed.config import RewardSettings
from heed.errors import DataError
from heed.losses.reward import TIE, graded_loss, preference_loss
from heed.models.batch import microbatches
from heed.models.reward import Encoded, RewardModel, ScalarModel
from heed.train.checkpoint import Checkpoints
from heed.train.optimise import Fit, FitSettings, fit
from heed.train.progress import Watcher


class Pair(NamedTuple):
    """One comparison: two encoded completions of a prompt; 0 = the first preferred, 1 = the second, 2 = a tie; how
    strongly, 1 to 3 (0: not said)."""

    first: Encoded
    second: Encoded
    outcome: int
    weight: float = 1.0
    strength: int = 0


class _TieParameters(nn.Module):
    """What the model of ties learns beside the scores: log nu of Davidson, log(theta - 1) of Rao and Kupper, or the logs
    of the gaps between the thresholds of a graded answer (tie, slightly, clearly, by far)."""

    def __init__(self, ties: str) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor([0.2, 1.0, 2.0]).log() if ties == "graded" else torch.zeros(()))


@dataclass
class ComparisonTask:
    """Bradley-Terry with ties on the difference of two scores, a mean over comparisons."""

    member: ScalarModel
    pooling: str
    ties: str
    train: Sequence[Pair]
    held_out: Sequence[Pair]
    tokens_per_microbatch: int
    networks: dict[str, nn.Module] = field(init=False)
    lengths: list[int] = field(init=False)
    parameters: _TieParameters = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = _TieParameters(self.ties).to(self.member.head.weight.device)
        self.networks = {"member": self.member, "ties": self.parameters}
        self.lengths = [_length(pair) for pair in self.train]

    def count(self, rows: Sequence[int]) -> int:
        return len(rows)

    def loss(self, rows: Sequence[int], count: int) -> Tensor:
        return self._loss([self.train[row] for row in rows], count)

    def _loss(self, pairs: Sequence[Pair], count: int) -> Tensor:
        encoded = [text for pair in pairs for text in (pair.first, pair.second)]
        scores = self.member.pooled(encoded, self.pooling).view(-1, 2)
        device = scores.device
        outcomes = torch.tensor([pair.outcome for pair in pairs], device=device)
        weights = torch.tensor([pair.weight for pair in pairs], device=device)
        difference = scores[:, 0] - scores[:, 1]
        if self.ties == "graded":
            strengths = torch.tensor([pair.strength for pair in pairs], device=device)
            return graded_loss(difference, outcomes, strengths, self.parameters.values, count, weights)
        return preference_loss(difference, outcomes, self.ties, self.parameters.values, count, weights)  # type: ignore[arg-type]

    def validate(self) -> float | None:
        if not self.held_out:
            return None
        lengths = [_length(pair) for pair in self.held_out]
        pieces = microbatches(lengths, self.tokens_per_microbatch)
        return sum(float(self._loss([self.held_out[row] for row in rows], len(lengths))) for rows in pieces)


def _length(pair: Pair) -> int:
    return len(pair.first.ids) + len(pair.second.ids)


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Refuse comparisons that no reward can be learned from.

    Raises:
        DataError: there are none, or only ties.
    """
    if not pairs:
        raise DataError(
            "no comparison to learn from", "the list is empty.", "Collect some with 'heed ask' or import them."
        )
    if all(pair.outcome == TIE for pair in pairs):
        raise DataError(
            f"all {len(pairs)} comparisons are ties",
            "ties alone do not say which completion is better.",
            "Collect comparisons of completions that differ more (raise the sampling temperature).",
        )


def fit_reward(
    model: RewardModel,
    train: Sequence[Pair],
    validation: Sequence[Pair],
    settings: RewardSettings,
    seed: int,
    checkpoints: Sequence[Checkpoints] = (),
    watcher: Watcher | None = None,
    left_out: Sequence[int] = (),
) -> list[Fit]:
    """Fit every member of ``model`` in place; ``validation`` decides when to stop. One ``Checkpoints`` a member, or none.

    With ``left_out``, one number for each pair of ``train``, the member of that number never sees the pair.

    Raises:
        DataError: see ``check_pairs``. Stopped, TrainingError: see ``optimise.fit``.
    """
    check_pairs(train)
    fits = []
    for number, member in enumerate(model.members):
        seen = [pair for pair, out in zip(train, left_out, strict=True) if out != number] if left_out else train
        check_pairs(seen)
        fitted = FitSettings.of(settings, len(seen))
        if validation:
            per_epoch = fitted.steps / settings.epochs
            fitted.validate_every = max(1, round(per_epoch / settings.validations_per_epoch))
            fitted.patience = settings.patience
        task = ComparisonTask(member, model.pooling, settings.ties, seen, validation, settings.tokens_per_microbatch)
        saved = checkpoints[number] if checkpoints else None
        fits.append(fit(task, fitted, seed * 1_000 + number, saved, watcher))
        model.card.setdefault("tie_parameters", []).append(task.parameters.values.detach().tolist())
    model.card["ties"] = settings.ties
    return fits


@torch.no_grad()
def score_differences(model: RewardModel, pairs: Sequence[Pair], tokens_per_microbatch: int = 16384) -> Tensor:
    """Score of the first minus score of the second completion [N], in the model's own scale."""
    encoded = [text for pair in pairs for text in (pair.first, pair.second)]
    scores = model.score_encoded(encoded, tokens_per_microbatch).view(-1, 2)
    return scores[:, 0] - scores[:, 1]
