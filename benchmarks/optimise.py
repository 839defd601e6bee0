"""What each way to optimise a policy reaches on the built-in world: true win rate and KL to the reference, at equal tokens.

    python benchmarks/optimise.py [--only ALGORITHM ...] [--seed N ...]

Each seed collects 2,000 comparisons of simulated raters and trains one reward model, as the demonstration does; every algorithm
starts from the same tuned policy. Those that sample see that reward alone and sample 5,120 completions, at the demonstration's
learning rate; those that learn from judgments see the comparisons alone, once, at heed's default rate for them.
Judged is by the true utility, on prompts that nobody has seen.

A whole run takes about an hour and goes on where it was stopped; at its end it writes ``docs/optimised.md`` and its picture anew.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from common import Report, Row, report, results_folder
from heed.algorithms import ALGORITHMS
from heed.config import GROUPED, ILQLSettings, PolicySettings, PreferenceSettings
from heed.demo import create_sandbox
from heed.evaluate.frontier import Sweep, SweepRun, frontier, settings_of
from heed.evaluate.frontier_chart import picture
from heed.fitting import fitted
from heed.project import Project
from heed.questions import judgments_in
from heed.rounds import Rounds
from heed.sandbox.utility import support_desk
from heed.stages.evaluation import Evaluation, evaluate_policy
from heed.stages.ilql import train_ilql
from heed.stages.judgments import Judgment
from heed.stages.policy import train_policy
from heed.stages.preference import train_preferences
from heed.statistics import Interval, Undefined, undefined_interval
from heed.train.progress import Watcher

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_SEEDS = (0, 1, 2)
_COMPLETIONS, _GROUP = 128, 8


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
    one = ALGORITHMS[name]
    if name == "ilql":
        own = ILQLSettings(test_fraction=0.0, epochs=1)
        return train_ilql(start.policy, start.judgments, out, own, seed, start.reliability, "cpu").tokens
    if one.on_judgments:
        settings = PreferenceSettings(test_fraction=0.0)
        done = train_preferences(start.policy, start.judgments, out, name, settings, seed, start.reliability, "cpu")
        return done.tokens
    each = _GROUP if name in GROUPED and name not in ("rloo", "online_dpo") else 2
    values = fitted(start.policy_settings, name)[0].model_dump()
    values |= {"samples_per_prompt": each, "prompts_per_step": _COMPLETIONS // each}
    if name != "ppo":  # which passes over a rollout as often as in the demonstration
        values["epochs"] = None
    online = PolicySettings.model_validate(values)
    return train_policy(start.policy, start.reward, start.prompts, out, online, seed, device="cpu").tokens


def judged(start: Start, policy: Path, seed: int) -> Evaluation:
    longest = start.policy_settings.max_new_tokens
    return evaluate_policy(policy, start.policy, start.held_out, None, longest, seed, truth=support_desk, device="cpu")


def one_run(name: str, start: Start, seed: int) -> SweepRun:
    """Train by one algorithm and judge what came of it."""
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        tokens = trained(name, start, Path(folder) / name, seed)
        return run_of(name, seed, judged(start, Path(folder) / name, seed), tokens, begun)


def _code() -> str:
    """A hash of heed and of this file: what figures depend on beside the machine."""
    files = sorted([Path(__file__), *(Path(__file__).resolve().parent.parent / "src" / "heed").rglob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _done(partial: Path | None) -> list[SweepRun]:
    """The runs that a stopped run of this very code has done; begins the file of them anew where there is none."""
    if partial is None:
        return []
    lines = partial.read_text(encoding="utf-8").splitlines() if partial.is_file() else []
    if lines[:1] != [_code()]:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(_code() + "\n", encoding="utf-8")
        return []
    return [SweepRun.model_validate_json(line) for line in lines[1:]]


def runs(made: Report, names: list[str], seeds: tuple[int, ...], partial: Path | None = None) -> Sweep:
    """Every algorithm on every seed, a row each, and a row of the mean over the seeds of each algorithm.

    As many run at once as there are cores, each on one: models as small as these gain little from a second. What a stopped run has
    done of a whole one is taken from ``partial`` as long as heed is the same.
    """
    found = [run for run in _done(partial) if run.seed in seeds and run.name in names]
    for run in found:
        _add(made, run)
    left = [
        (name, seed) for seed in seeds for name in names if (name, seed) not in {(run.name, run.seed) for run in found}
    ]
    workers = ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), torch.set_num_threads, (1,))
    with TemporaryDirectory() as folder, workers:
        starts = {
            seed: workers.submit(begin, Path(folder) / str(seed), seed)
            for seed in dict.fromkeys(seed for _, seed in left)
        }
        asked = [workers.submit(one_run, name, starts[seed].result(), seed) for name, seed in left]
        failed: list[BaseException] = []
        for ended in as_completed(asked):
            if (error := ended.exception()) is not None:
                # An hour's figures of the others are not to be lost with it.
                failed.append(error)
                print(f"failed: {error!r}", file=sys.stderr)
                continue
            found.append(ended.result())
            _add(made, found[-1])
            if partial is not None:
                with partial.open("a", encoding="utf-8") as file:
                    file.write(found[-1].model_dump_json() + "\n")
    if failed:
        raise failed[0]
    found.sort(key=lambda run: (seeds.index(run.seed), names.index(run.name)))
    sweep = Sweep(measure="true win rate against the policy at the start", nothing=0.5, is_truth=True, runs=found)
    for one in settings_of(sweep) if len(seeds) > 1 else ():
        kls, gains = (
            [ends.estimate or 0.0 for ends in column]
            for column in ([r.kl for r in one.runs], [r.gain for r in one.runs])
        )
        details = {"KL": one.kl, "KL least": min(kls), "KL most": max(kls), "least": min(gains), "most": max(gains)}
        what = f"{one.name}: true win rate, mean of the seeds, ends of their intervals"
        made.add(Row(what, one.gain, "", one.low, one.high, seeds=seeds, details=details))
    return sweep


def run_of(name: str, seed: int, found: Evaluation, tokens: int, begun: float) -> SweepRun:
    unknown = undefined_interval("It cannot be told.", "none", 0.95)
    kl = unknown if isinstance(found.kl, Undefined) else found.kl.per_completion
    win = Interval(**found.true.model_dump(exclude={"length_controlled"}))
    seconds = time.monotonic() - begun
    return SweepRun(name=name, algorithm=name, changes={}, seed=seed, kl=kl, gain=win, tokens=tokens, seconds=seconds)


def _add(made: Report, run: SweepRun) -> None:
    what = f"{run.name}, seed {run.seed}: true win rate"
    details = {"KL": run.kl.estimate, "KL from": run.kl.low, "KL to": run.kl.high, "tokens": run.tokens}
    win = run.gain
    made.add(Row(what, win.estimate, "", win.low, win.high, seeds=(run.seed,), seconds=run.seconds, details=details))


def document(sweep: Sweep, seeds: tuple[int, ...]) -> None:
    """Write the table and the picture that the guide shows."""
    settings = settings_of(sweep)
    edge = {one.name for one in frontier(settings, sweep.nothing)}
    lines = [
        "# What each algorithm reaches",
        "",
        f"`make bench-optimise` wrote this page, on the built-in world, seeds {', '.join(map(str, seeds))}. Each algorithm starts from the",
        "same tuned policy of a million parameters. Those that sample are taught by one reward model, fitted to 2,000 comparisons, and",
        "sample 5,120 completions at the demonstration's learning rate; the others learn from the comparisons themselves, at their default",
        "rate. Judged is by the true utility, on prompts that nobody has seen, against the policy at the start. None was tuned: this shows",
        "how the algorithms behave beside each other on one small problem, not which is best on yours. `heed sweep` makes the same of your own.",
        "",
        "![True win rate against the KL to the reference, a mark an algorithm](images/optimised.svg)",
        "",
        "| algorithm | true win rate, mean of the seeds | ends of their 95 % intervals | KL (nats a completion) | |",
        "|---|---|---|---|---|",
    ]
    for one in sorted(settings, key=lambda s: -s.gain):
        told = "not beaten in both" if one.name in edge else ""
        lines.append(
            f"| `{one.name}` | {100 * one.gain:.1f} % | {100 * one.low:.1f} to {100 * one.high:.1f} | {one.kl:.1f} | {told} |"
        )
    (_DOCS / "optimised.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    title = "True win rate against the KL to the reference"
    (_DOCS / "images" / "optimised.svg").write_text(str(picture(sweep, title)) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", choices=list(ALGORITHMS), metavar="ALGORITHM", help="one of them alone"
    )
    parser.add_argument("--seed", type=int, action="append", help=f"instead of {_SEEDS}; may be given again")
    options = parser.parse_args(arguments)
    made = report("optimise", whole=not arguments)
    seeds = tuple(options.seed or _SEEDS)
    partial = None if arguments else results_folder() / "optimise.partial.jsonl"
    sweep = runs(made, options.only or list(ALGORITHMS), seeds, partial)
    if partial is not None:
        document(sweep, seeds)
    made.finish()
    if partial is not None:
        partial.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
