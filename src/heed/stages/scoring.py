"""Scoring completions with a reward of any kind: how good, how sure, and whether it knows such texts at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from heed.feedback.kinds import PromptContent
from heed.stages.results import prepare_machine
from heed.train.optimise import memory_errors


class Scored(NamedTuple):
    """What a reward makes of completions, an entry each.

    Attributes:
        scores: in standard deviations of the reference policy's samples.
        deviations: of the members of the reward, in the same unit; None where it has one member only.
        outside: whether the text is unlike what the reward was trained on; None where it does not know.
        warning: a sentence about texts outside; empty where there is nothing to warn of.
    """

    scores: list[float]
    deviations: list[float] | None
    outside: list[bool] | None
    warning: str


@memory_errors("Give fewer or shorter texts, or a device with more memory.")
def score_all(reward: str | Path, rows: Sequence[tuple[PromptContent, str]], device: str = "auto") -> Scored:
    """Score each (prompt, completion).

    Raises:
        ModelError: ``reward`` is no reward model. DataError: a text is longer than its context, or a pairwise reward knows
        no sample of the reference for a prompt.
    """
    from heed.models.rewards import load_reward
    from heed.models.surroundings import told_outside

    model = load_reward(reward, prepare_machine(device))
    if not rows:
        return Scored([], None, None, "")
    prompts, completions = [prompt for prompt, _ in rows], [text for _, text in rows]
    members = model.member_scores(prompts, completions)
    deviations = members.std(0).tolist() if len(members) > 1 else None
    outside = model.outside(prompts, completions)
    warning = "" if outside is None else told_outside(int(outside.sum()), len(rows))
    scores = [float(value) for value in members.mean(0)]
    return Scored(scores, deviations, None if outside is None else outside.tolist(), warning)
