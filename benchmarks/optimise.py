"""What each way to optimise a policy reaches on the built-in world: true win rate and KL to the reference, at equal tokens.

    python benchmarks/optimise.py [--only ALGORITHM ...] [--seed N ...]

Each seed collects 2,000 comparisons of simulated raters and trains one reward model, as the demonstration does; every algorithm
starts from the same tuned policy. Those that sample see that reward alone and sample 5,120 completions; those that learn from
judgments see the comparisons alone, as many tokens of them. Judged is by the true utility, on prompts that nobody has seen.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from common import Report, Row, report
from heed.algorithms import ALGORITHMS
from heed.config import GROUPED, PolicySettings, PreferenceSettings
from heed.demo import create_sandbox
from heed.project import Project
from heed.questions import judgments_in
from heed.rounds import Rounds
from heed.sandbox.utility import support_desk
from heed.stages.evaluation import Evaluation, evaluate_policy
from heed.stages.judgments import Judgment
from heed.stages.policy import train_policy
from heed.stages.preference import train_preferences
from heed.train.progress import Watcher

_SEEDS = (0, 1, 2)
_COMPLETIONS, _GROUP = 128, 8
_RATE = 5e-4
"""Learning rate of all, as in the demonstration."""


@dataclass(frozen=True)
class Start:
    """What every algorithm starts from: a policy, a reward model, judgments, and prompts to roll out and to judge on."""

    policy: Path
    reward: Path
    judgments: list[Judgment]
    reliability: dict[str, float]
    prompts: list[Any]
    held_out: list[Any]
    policy_settings: PolicySettings


def begin(folder: Path, seed: int) -> Start:
    """Collect judgments and train a reward model in a project of the built-in world."""
    with create_sandbox(folder, f"optimise, seed {seed}", seed, Watcher()) as project:
        rounds = Rounds(project, Watcher())
        rounds.check()
        rounds.train_sft()
        rounds.sample(1)
        rounds.collect(1)
        reward = rounds.train_reward(1)
        learned, _ = judgments_in(project.store, "joint")
        told = reward.metrics.get("raters", {})
        return Start(
            Path(rounds.reference_policy()[0]),
            project.artifact("model", reward.id),
            learned.rows,
            {name: rater["reliability"] for name, rater in told.items()},
            _prompts(project, "train"),
            _prompts(project, "test"),
            project.settings.policy,
        )


def _prompts(project: Project, split: str) -> list[Any]:
    return [prompt.content for prompt in project.store.prompts(split=split)]


def trained(name: str, start: Start, out: Path, seed: int) -> int:
    """Train a policy by one algorithm; the tokens that it cost."""
    if ALGORITHMS[name].family == "offline":
        settings = PreferenceSettings(prompts_per_step=32, learning_rate=_RATE, test_fraction=0.0)
        done = train_preferences(start.policy, start.judgments, out, name, settings, seed, start.reliability, "cpu")
        return done.tokens
    each = _GROUP if name in GROUPED and name != "rloo" else 2
    values = start.policy_settings.model_dump()
    values |= {"algorithm": name, "epochs": None, "samples_per_prompt": each, "prompts_per_step": _COMPLETIONS // each}
    if name == "trpo":
        values |= {"value_model": "separate", "entropy_coefficient": 0.0}
    online = PolicySettings.model_validate(values)
    return train_policy(start.policy, start.reward, start.prompts, out, online, seed, device="cpu").tokens


def judged(start: Start, policy: Path, seed: int) -> Evaluation:
    longest = start.policy_settings.max_new_tokens
    return evaluate_policy(policy, start.policy, start.held_out, None, longest, seed, truth=support_desk, device="cpu")


def rows(made: Report, names: list[str], seeds: tuple[int, ...]) -> None:
    """Every algorithm on every seed, and the mean over seeds of each."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for seed in seeds:
        with TemporaryDirectory() as folder:
            start = begin(Path(folder) / "project", seed)
            for name in names:
                begun = time.monotonic()
                tokens = trained(name, start, Path(folder) / name, seed)
                evaluation = judged(start, Path(folder) / name, seed)
                seconds = time.monotonic() - begun
                _add(made, name, seed, evaluation, tokens, seconds, found[name])
    for name, pairs in found.items():
        if len(pairs) > 1:
            wins, kls = (np.array(column) for column in zip(*pairs, strict=True))
            details = {"KL": float(kls.mean()), "KL least": float(kls.min()), "KL most": float(kls.max())}
            what = f"{name}: true win rate, mean of the seeds"
            made.add(
                Row(
                    what,
                    float(wins.mean()),
                    "",
                    float(wins.min()),
                    float(wins.max()),
                    None,
                    seeds=seeds,
                    details=details,
                )
            )


def _add(
    made: Report, name: str, seed: int, found: Evaluation, tokens: int, seconds: float, pairs: list[tuple[float, float]]
) -> None:
    kl = getattr(found.kl, "per_completion", None)
    mean = float("nan") if kl is None or kl.estimate is None else kl.estimate
    pairs.append((found.true.estimate or 0.0, mean))
    details = {"KL": mean, "tokens": tokens, "length": getattr(found.policy_texts.lengths, "mean", None)}
    what = f"{name}, seed {seed}: true win rate"
    made.add(
        Row(
            what,
            found.true.estimate,
            "",
            found.true.low,
            found.true.high,
            None,
            seeds=(seed,),
            seconds=seconds,
            details=details,
        )
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", choices=list(ALGORITHMS), metavar="ALGORITHM", help="one of them alone"
    )
    parser.add_argument("--seed", type=int, action="append", help=f"instead of {_SEEDS}; may be given again")
    options = parser.parse_args(arguments)
    made = report("optimise", whole=not arguments)
    rows(made, options.only or list(ALGORITHMS), tuple(options.seed or _SEEDS))
    made.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
