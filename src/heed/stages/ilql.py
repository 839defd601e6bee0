"""Implicit language Q-learning on judgments, as a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heed.algorithms import algorithm_named
from heed.config import ILQLSettings
from heed.stages.data import ComparisonRow, share_of
from heed.stages.judgments import Judgment, rating_share
from heed.stages.plan import training_plan
from heed.stages.preference import (
    TOO_LONG,
    Said,
    Texts,
    judged_identity,
    moved,
    refuse_nothing,
    said_by,
    verdict_of_texts,
    weights_of,
)
from heed.stages.results import Output, StageResult, output_folder, prepare_machine, tell_trained_on
from heed.stages.reward_rows import as_judgments
from heed.train.optimise import memory_errors
from heed.train.progress import Watcher

if TYPE_CHECKING:
    from heed.train.ilql import Rewarded


@memory_errors()
def train_ilql(
    model: str | Path,
    judgments: Sequence[ComparisonRow | Judgment],
    out: str | Path,
    settings: ILQLSettings | None = None,
    seed: int = 0,
    reliability: Mapping[str, float] | None = None,
    device: str = "auto",
    watcher: Watcher | None = None,
) -> StageResult:
    """Learn from judged texts what their tokens were worth, and write the policy that leans to what is worth more to ``out``; the
    same call goes on where it was stopped.

    Args:
        model: the policy at the start.
        judgments: of any kind; see :func:`rewarded_by` for the reward of each.
        reliability: of raters; see :func:`heed.stages.preference.train_preferences`.

    Raises:
        ModelError, DataError, ProjectError, TrainingError: see their messages. Stopped: on Ctrl-C, after a checkpoint.
    """
    from heed.models.policy import Policy
    from heed.train.ilql import ILQLTask, lean, learn_values

    settings, watcher = settings or ILQLSettings(), watcher or Watcher()
    chosen, rows = algorithm_named("ilql"), as_judgments(judgments)
    folder = output_folder(out, [model])
    reliability = reliability if reliability and settings.raters == "weighed" else None
    output = Output(folder, "policy", judged_identity(model, chosen, rows, reliability, settings, seed))
    with output.claimed() as finished:
        if finished is not None:
            watcher.say(f"already done: {folder}")
            return finished
        policy = Policy.load(model, prepare_machine(device))
        left_out: Counter[str] = Counter()
        kept = [row for row in rows if share_of(row.prompt, "test") >= settings.test_fraction]
        held = [row for row in rows if share_of(row.prompt, "test") < settings.test_fraction]
        texts = Texts(policy, left_out)
        said = rewarded_by(kept, left_out)
        examples = _examples(texts, said, weights_of([one for one, _ in said], reliability, left_out), left_out)
        better = said_by(held, algorithm_named("dpo"), Counter())
        held_out = texts.examples(better, [1.0] * len(better))
        refuse_nothing(examples, chosen, len(rows), left_out)
        task = ILQLTask(policy, texts.texts, examples, settings)
        watcher.say(task.check_start())
        tokens = sum(task.lengths) / len(examples)
        watcher.plan(chosen.title, training_plan(policy.model, len(examples), tokens, settings))
        done = learn_values(task, seed, output.checkpoints(), watcher)
        lean(task)
        metrics = {
            "algorithm": chosen.name,
            "judgments": len(rows),
            "examples": len(examples),
            "mean_reward": sum(one.reward for one in examples) / len(examples),
            "held_out": len(held),
            "left_out": dict(left_out),
            "raters_weighed": reliability is not None,
            **moved(policy, task.reference, texts, held_out, settings.tokens_per_microbatch),
            "history": done.history,
        }
        with output.writing():
            policy.save(output.folder)
            tell_trained_on(folder, (one.prompt for one, _ in said))
        left = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)
        told = f"Implicit language Q-learning on {len(examples):,} judged texts" + (
            f" (left out: {left})." if left else "."
        )
        return output.finish(metrics, f"{told} {verdict_of_texts(metrics)}", done.tokens)


def rewarded_by(rows: Sequence[Judgment], left_out: Counter[str]) -> list[tuple[Said, float]]:
    """Judged texts with their rewards; what is left out is counted by reason.

    A rating is worth where it lies on its scales, from -1 (the lowest) to 1, the mean over its attributes. All else says good (1) or
    bad (-1): thumbs, critiques with and without defects, and of two texts the better and the worse.
    """
    found = []
    for row in rows:
        if row.kind == "rating":
            found.append((Said(row.prompt, row.texts[:1], (0,), row.rater), 2 * rating_share(row) - 1))
    others = [row for row in rows if row.kind != "rating"]
    return found + [(one, 1.0 - 2 * one.places[0]) for one in said_by(others, algorithm_named("kto"), left_out)]


def _examples(
    texts: Texts, said: Sequence[tuple[Said, float]], weights: Sequence[float], left_out: Counter[str]
) -> list[Rewarded]:
    """What fits the model's context and counts something."""
    from heed.train.ilql import Rewarded

    found = []
    for (one, reward), weight in zip(said, weights, strict=True):
        if weight == 0:
            continue
        number = texts.number(one.prompt, one.texts[0])
        if number is None:
            left_out[TOO_LONG] += 1
        else:
            found.append(Rewarded(number, reward, weight))
    return found
