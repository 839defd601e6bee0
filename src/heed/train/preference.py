"""Fitting a reward model to comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from heed.config import RewardSettings
from heed.errors import DataError
from heed.losses.reward import TIE
from heed.models.reward import Encoded, RewardModel, ScalarModel
from heed.train.checkpoint import Checkpoints
from heed.train.judgments import JudgmentTask, fit_judgments, task_of
from heed.train.likelihoods import ComparisonPart, Judged
from heed.train.optimise import Fit
from heed.train.parts import plan_of
from heed.train.progress import Watcher
from heed.train.raters import Gold, Raters


class Pair(NamedTuple):
    """One comparison: two encoded completions of a prompt; 0 = the first preferred, 1 = the second, 2 = a tie; how
    strongly, 1 to 3 (0: not said)."""

    first: Encoded
    second: Encoded
    outcome: int
    weight: float = 1.0
    strength: int = 0


def judged_of(pairs: Sequence[Pair], texts: dict[Encoded, int]) -> list[Judged]:
    """Pairs as judgments; ``texts`` numbers each text once, and new ones are added."""

    def number(text: Encoded) -> int:
        return texts.setdefault(text, len(texts))

    return [
        Judged("comparison", (number(p.first), number(p.second)), (p.outcome, p.strength), weight=p.weight)
        for p in pairs
    ]


class ComparisonTask(JudgmentTask):
    """Comparisons alone and of nobody in particular, a mean over comparisons."""

    def __init__(
        self,
        member: ScalarModel,
        pooling: Literal["mean", "last"],
        ties: Literal["graded", "davidson", "rao_kupper", "half"],
        train: Sequence[Pair],
        held_out: Sequence[Pair],
        tokens_per_microbatch: int,
    ) -> None:
        texts: dict[Encoded, int] = {}
        rows, others = judged_of(train, texts), judged_of(held_out, texts)
        settings = RewardSettings(pooling=pooling, ties=ties, tokens_per_microbatch=tokens_per_microbatch)
        plan, nobody = plan_of(rows, settings, 0), Raters(0, False, Gold.of(()))
        made = task_of(member, plan, list(texts), rows, others, settings, nobody, None)
        super().__init__(**{entry.name: getattr(made, entry.name) for entry in fields(JudgmentTask) if entry.init})

    @property
    def parameters(self) -> ComparisonPart:
        """What the model of ties learns beside the scores."""
        (part,) = self.likelihood.parts
        assert isinstance(part, ComparisonPart)
        return part


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
    for number in range(len(model.members)) if left_out else ():
        check_pairs([pair for pair, out in zip(train, left_out, strict=True) if out != number])
    texts: dict[Encoded, int] = {}
    rows, others = judged_of(train, texts), judged_of(validation, texts)
    equal = settings.model_copy(update={"kind": "comparison", "raters": "equal"})
    return fit_judgments(
        model, list(texts), rows, others, equal, seed, checkpoints=checkpoints, watcher=watcher, left_out=left_out
    ).fits


@torch.no_grad()
def score_differences(model: RewardModel, pairs: Sequence[Pair], tokens_per_microbatch: int = 16384) -> Tensor:
    """Score of the first minus score of the second completion [N], in the model's own scale."""
    encoded = [text for pair in pairs for text in (pair.first, pair.second)]
    scores = model.score_encoded(encoded, tokens_per_microbatch).view(-1, 2)
    return scores[:, 0] - scores[:, 1]
