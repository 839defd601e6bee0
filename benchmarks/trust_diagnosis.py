"""What a diagnosis of a reward model finds in the built-in world, where the truth is known.

Each seed makes a project of its own: a tuned policy samples, simulated raters compare, a tenth of the judgments is turned
round, a reward model learns from all of them. The diagnosis knows neither the truth nor which were turned round.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from common import Report, Row
from heed.demo import create_sandbox
from heed.evaluate.reward_diagnosis import RewardDiagnosis
from heed.feedback.kinds import Comparison
from heed.project import Project
from heed.rounds import Rounds
from heed.sandbox.utility import support_desk
from heed.stages.reward_evaluation import evaluate_project_reward
from heed.statistics import wilson_interval
from heed.train.progress import Watcher

_SEEDS = (0, 1, 2)
_TURNED = 0.1
_LOOKED_AT = (20, 50, 100)
_OTHER: dict[str, Any] = {"a": "b", "b": "a"}


def rows(report: Report, seeds: Sequence[int] = _SEEDS) -> None:
    """Of the judgments that the reward model contradicts most surely: how many were turned round, how many are wrong."""
    for seed in seeds:
        start = time.monotonic()
        with TemporaryDirectory() as folder:
            project = create_sandbox(Path(folder) / "project", f"diagnosis, seed {seed}", seed, Watcher())
            with project:
                turned, found = _diagnosed(project, seed)
                wrong = _wrong(project)
        _add(report, seed, found, turned, wrong, time.monotonic() - start)


def _diagnosed(project: Project, seed: int) -> tuple[set[str], RewardDiagnosis]:
    """Ids of the judgments that were turned round, and what the diagnosis found."""
    stages = Rounds(project, Watcher())
    stages.check()
    stages.train_sft()
    stages.sample()
    stages.collect()
    turned, rng = set(), random.Random(seed)
    for stored in project.store.feedback(kinds=["comparison"]):
        said = stored.feedback
        if isinstance(said, Comparison) and said.choice in _OTHER and rng.random() < _TURNED:
            other = said.model_copy(update={"choice": _OTHER[said.choice], "supersedes": stored.id})
            project.store.add_feedback([other])
            turned.add(other.id)
    stages.train_reward()
    reward = project.latest("reward")
    assert reward is not None
    return turned, RewardDiagnosis.model_validate(evaluate_project_reward(project, reward).metrics)


def _wrong(project: Project) -> dict[str, bool]:
    """For each judgment with a winner whether the truth prefers the other text."""
    stored = project.store.feedback(kinds=["comparison"])
    texts = {
        c.id: c.text for c in project.store.completions(ids=[i for s in stored for i in s.feedback.completion_ids])
    }
    prompts = {p.id: p.content for p in project.store.prompts()}
    found = {}
    for one in stored:
        said = one.feedback
        if isinstance(said, Comparison) and said.choice in _OTHER:
            a, b = (support_desk(prompts[said.prompt_id], texts[identity]) for identity in said.completion_ids)
            found[one.id] = a != b and (a > b) != (said.choice == "a")
    return found


def _add(
    report: Report, seed: int, found: RewardDiagnosis, turned: set[str], wrong: dict[str, bool], seconds: float
) -> None:
    base = float(np.mean(list(wrong.values())))
    details = {
        "turned round": len(turned) / len(wrong),
        "wrong of all": base,
        "accuracy": found.accuracy.clustered.estimate,
    }
    for count in _LOOKED_AT:
        picked = [one.feedback for one in found.contested[:count]]
        for what, hits in (
            ("wrong by the truth", sum(wrong[identity] for identity in picked)),
            ("turned round", sum(identity in turned for identity in picked)),
        ):
            share = wilson_interval(hits, len(picked))
            report.add(
                Row(
                    f"built-in world, seed {seed}: of the {count} judgments contradicted most surely, {what}",
                    share.estimate,
                    "share",
                    share.low,
                    share.high,
                    seeds=(seed,),
                    seconds=seconds,
                    details=details,
                )
            )
