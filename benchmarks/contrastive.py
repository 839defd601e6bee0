"""Whether contrastive pretraining of its backbone helps a reward model: accuracy on the built-in world at equal labels.

    python benchmarks/contrastive.py [--only METHOD ...] [--labels N ...] [--texts N] [--seed N ...]

Every reward model learns from the same comparisons of two replies, by a rater who errs where replies are nearly equal, and is
measured on the same comparisons that nobody has seen, by the true utility. One starts from the base model; the others from a
backbone that was pretrained on the texts of these comparisons and on others that nobody judged. "views" looks at no judgment;
simclr, moco and swav look at those that the reward model learns from. Gains are of the same test comparisons with and without.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from common import Report, Row, report
from heed.config import RewardSettings
from heed.feedback.kinds import PromptContent, prompt_id
from heed.sandbox import grammar
from heed.sandbox.utility import support_desk
from heed.sandbox.world import base_model
from heed.stages.contrastive import Written, pretrain
from heed.stages.data import FIRST, SECOND, ComparisonRow
from heed.stages.judgments import judgment_of_row
from heed.stages.results import prepare_machine
from heed.stages.reward import train_reward
from heed.stages.scoring import score_all
from heed.statistics import mean_interval
from heed.training_settings import ContrastiveSettings

METHODS = ("views", "simclr", "moco", "swav")
_SEEDS, _LABELS, _TEXTS, _TESTED = (0, 1, 2), (200, 1000), 4000, 1000
_NOISE = 0.3
"""Of the rater (utility units): two replies that are so far apart are told the right way round in three of four cases."""

Pair = tuple[PromptContent, str, str]


def pairs_of(split: grammar.Split, seed: int, count: int) -> list[Pair]:
    """Prompts with two different replies of the mixture."""
    rng = random.Random(f"contrastive {split} {seed}")
    found: list[Pair] = []
    for prompt in grammar.prompts(split, 1_000 * seed, count):
        situation = grammar.parse(prompt)
        one, other = (grammar.reply(situation, grammar.mixture_dials(rng), rng) for _ in range(2))
        if one != other:
            found.append((prompt, one, other))
    return found


def judged(pairs: Sequence[Pair], seed: int, noise: float) -> list[ComparisonRow]:
    """Comparisons as a rater makes them, or with no noise as they are; equal replies are left out."""
    rng, rows = random.Random(f"rater {seed}"), []
    for prompt, one, other in pairs:
        lead = support_desk(prompt, one) - support_desk(prompt, other)
        if lead == 0:
            continue
        first = lead > 0 if noise == 0 else rng.random() < 1 / (1 + math.exp(-lead / noise))
        rows.append(ComparisonRow(prompt, one, other, FIRST if first else SECOND))
    return rows


def right(reward: Path, rows: Sequence[ComparisonRow]) -> np.ndarray:
    """Whether a reward model tells each comparison the right way round [N]; half where it says that they are equal."""
    scores = score_all(reward, [(row.prompt, text) for row in rows for text in (row.a, row.b)], "cpu").scores
    leads = np.diff(np.array(scores).reshape(-1, 2), axis=1)[:, 0]
    outcome = np.array([1 if row.outcome == SECOND else -1 for row in rows])
    return 0.5 + 0.5 * np.sign(leads) * outcome


def backbone_of(
    method: str, texts: Sequence[tuple[PromptContent, str]], rows: Sequence[ComparisonRow], out: Path, seed: int
) -> dict[str, Any]:
    """Pretrain the base model; what it came to."""
    settings = ContrastiveSettings(pooling="last", epochs=2.0, quality=method != "views", test_fraction=0.0)
    # The judgments are those that the reward model learns from: what is measured on is not among them.
    written = Written(list(texts), [judgment_of_row(row) for row in rows])
    done = pretrain(base_model(), written, out, "simclr" if method == "views" else method, settings, seed, "cpu")
    return {name: done.metrics[name]["uniformity"] for name in ("before", "after")}


def rows(made: Report, methods: Sequence[str], labels: Sequence[int], texts: int, seeds: Sequence[int]) -> None:
    """Accuracy of each on each seed, and the gains over all seeds."""
    gains: dict[tuple[str, int], list[tuple[np.ndarray, list[str]]]] = {}
    for seed in seeds:
        pool = pairs_of("train", seed, max(texts // 2, *labels))
        said = judged(pool, seed, _NOISE)
        tested = judged(pairs_of("test", seed, _TESTED), seed, 0.0)
        prompts = [f"{seed}:{prompt_id(row.prompt)}" for row in tested]
        written = list(dict.fromkeys((prompt, text) for prompt, *own in pool[: texts // 2] for text in own))
        with TemporaryDirectory() as folder:
            views: dict[str, Any] | None = None
            for count in labels:
                learned = said[:count]
                plain = _measured(made, "no pretraining", count, seed, base_model(), learned, tested, Path(folder), {})
                for method in methods:
                    out = Path(folder) / (method if method == "views" else f"{method}-{count}")
                    begun = time.monotonic()
                    if method != "views" or views is None:
                        told = backbone_of(method, written, learned, out, seed)
                        views = told if method == "views" else views
                    told = views if method == "views" and views is not None else told
                    details = {"pretraining_s": time.monotonic() - begun, **told}
                    found = _measured(made, method, count, seed, out, learned, tested, Path(folder), details)
                    gains.setdefault((method, count), []).append((found - plain, prompts))
    for (method, count), parts in gains.items():
        difference = np.concatenate([each for each, _ in parts])
        names = [name for _, own in parts for name in own]
        gain = mean_interval(100 * difference, names)
        what = f"{method}, {count} labels: gain in accuracy over no pretraining"
        made.add(Row(what, gain.estimate, "points", gain.low, gain.high, seeds=tuple(seeds), details=_by_seed(parts)))


def _by_seed(parts: Sequence[tuple[np.ndarray, list[str]]]) -> dict[str, Any]:
    """The gain on each seed: how far seeds differ, of which the interval over prompts knows nothing."""
    means = [100 * float(difference.mean()) for difference, _ in parts]
    return {"least": min(means), "most": max(means)}


def _measured(
    made: Report,
    method: str,
    count: int,
    seed: int,
    backbone: Path,
    learned: list[ComparisonRow],
    tested: list[ComparisonRow],
    folder: Path,
    details: dict[str, Any],
) -> np.ndarray:
    """Train a reward model and add its row; which of the tested it tells right."""
    begun = time.monotonic()
    settings = RewardSettings(pooling="last", epochs=4, prompts_per_step=32, learning_rate=1e-3, raters="equal")
    out = folder / f"reward-{method.replace(' ', '-')}-{count}"
    done = train_reward(backbone, learned, out, settings, seed, test=tested, device="cpu")
    accuracy = done.metrics["accuracy"]["clustered"]
    what = f"{method}, {count} labels, seed {seed}: accuracy"
    row = Row(
        what,
        accuracy["estimate"],
        "",
        accuracy["low"],
        accuracy["high"],
        seeds=(seed,),
        seconds=time.monotonic() - begun,
        details=details,
    )
    made.add(row)
    return right(out, tested)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=METHODS, metavar="METHOD", help="one of them alone")
    parser.add_argument("--labels", type=int, action="append", help=f"instead of {_LABELS}; may be given again")
    parser.add_argument("--texts", type=int, default=_TEXTS, help="texts to pretrain on (count)")
    parser.add_argument("--seed", type=int, action="append", help=f"instead of {_SEEDS}; may be given again")
    options = parser.parse_args(arguments)
    prepare_machine("cpu")
    made = report("contrastive", whole=not arguments)
    rows(made, options.only or METHODS, options.labels or _LABELS, options.texts, options.seed or _SEEDS)
    made.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
