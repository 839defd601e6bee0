"""Aggregation of labels and agreement: published tables, real crowds, opposed camps, and speed beside crowd-kit."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np

from common import Report, Row, data_folder, median_interval
from heed.raters.agreement import LEVELS, krippendorff_alpha
from heed.raters.choosing import METHODS, choose
from heed.raters.labels import dawid_skene
from heed.raters.vote_files import read_gold, read_votes
from heed.raters.votes import Codes, Votes
from heed.statistics import wilson_interval

CROWDS = (("bluebird", 0.895), ("rte", 0.925))
SEEDS = (0, 1, 2)
CAMP_SEEDS = tuple(range(20))
VOTES, RATERS, ITERATIONS, REPEATS = 500_000, 500, 20, 5

_FOUR_CODERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
_PUBLISHED_ALPHA = {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849, "ratio": 0.797}
"""Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C."""
_DUCK = {"majority": 0.759, "Dawid-Skene": 0.898}
"""The same votes as "Duck": majority, and Dawid-Skene with 0.01 answers added to each cell."""


def rows(report: Report) -> None:
    """All rows of this part."""
    published(report)
    for name, target in CROWDS:
        real_crowd(name, target, report)
    opposed_camps(report)
    speed(report)


# Tables in print


def published(report: Report) -> None:
    """How many of the printed figures come out otherwise when rounded as they are."""
    cells = [
        (item, rater, float(v)) for rater, line in enumerate(_FOUR_CODERS) for item, v in enumerate(line) if v != "."
    ]
    items, coders, values = ([cell[place] for cell in cells] for place in range(3))
    found = {f"alpha {level}": krippendorff_alpha(items, coders, values, level, draws=0).estimate for level in LEVELS}
    printed = {f"alpha {level}": _PUBLISHED_ALPHA[level] for level in LEVELS}
    add_differing("alpha of 4 coders and 12 units", found, printed, report)
    folder = data_folder() / "crowd_bluebird"
    if not folder.is_dir():
        report.skip("Duck", f"{folder} is not there")
        return
    votes, gold = _real("bluebird")
    methods = {"majority": METHODS["majority"](votes), "Dawid-Skene": dawid_skene(votes, smoothing=0.01, pooling=0)}
    shares = {name: float((made.labels() == gold).mean()) for name, made in methods.items()}
    add_differing("Duck, 108 items by 39 raters", shares, _DUCK, report)


def add_differing(what: str, found: Mapping[str, float | None], printed: Mapping[str, float], report: Report) -> None:
    differing = [name for name, value in printed.items() if round(found[name] or 0.0, 3) != value]
    report.add(
        Row(f"published: {what}, figures that differ", len(differing), "", target=0, at="most", details=dict(found))
    )


# Real crowds


def _real(name: str) -> tuple[Votes, Codes]:
    folder = data_folder() / f"crowd_{name}"
    read = read_votes(folder / f"{name}_crowd.txt.gz")
    votes, gold, _ = read.votes.with_gold(read_gold(folder / f"{name}_truth.txt.gz"))
    return votes, gold


def real_crowd(name: str, target: float, report: Report) -> None:
    """The accuracy of the method that is chosen without known labels, with all methods' beside it; a tie counts as wrong."""
    what = f"{name}: accuracy of the chosen aggregate"
    if not (data_folder() / f"crowd_{name}").is_dir():
        report.skip(what, f"{data_folder() / f'crowd_{name}'} is not there")
        return
    votes, gold = _real(name)
    begun = time.perf_counter()
    choices = [choose(votes, seed=seed) for seed in SEEDS]
    spent = time.perf_counter() - begun
    right = [int((choice.consensus.labels() == gold).sum()) for choice in choices]
    known = int((gold >= 0).sum())
    interval = wilson_interval(min(right), known)
    others = {method: float((fit(votes).labels() == gold)[gold >= 0].mean()) for method, fit in METHODS.items()}
    scores = {f"held out, {one.method}": round(one.score, 4) for one in choices[0].candidates}
    details = {"chosen": sorted({choice.method for choice in choices}), "items": known, **others, **scores}
    report.add(
        Row(
            what,
            min(right) / known,
            "",
            interval.low,
            interval.high,
            target,
            seeds=SEEDS,
            seconds=spent,
            details=details,
        )
    )


# Two camps


def camps(seed: int, turned: float = 0.6, items: int = 500, raters: int = 50, overlap: int = 3) -> tuple[Votes, Codes]:
    """Votes of raters who are right on 85 %, of whom a share says the opposite, and the truth; each judges the first 10 items."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, items)
    drawn = rng.random((items, raters)).argsort(axis=1) < overlap
    drawn[:10] = True
    item, rater = np.nonzero(drawn)
    right = rng.random(item.size) < 0.85
    label = np.where(right ^ (rater < round(turned * raters)), truth[item], 1 - truth[item])
    return Votes(item, rater, label, _names(items), _names(raters), ["0", "1"]), truth


def opposed_camps(report: Report) -> None:
    """60 % of the raters turn labels around: said to be undecidable without known labels, recovered with 10 of them."""
    said, accuracy, begun = [], [], time.perf_counter()
    for seed in CAMP_SEEDS:
        votes, truth = camps(seed)
        said.append(choose(votes, seed=seed).consensus.direction.by == "unidentifiable")
        known = np.where(np.arange(truth.size) < 10, truth, -1)
        accuracy.append(float((choose(votes, known, seed=seed).consensus.labels() == truth)[10:].mean()))
    spent = time.perf_counter() - begun
    shared: dict[str, Any] = {"seeds": CAMP_SEEDS, "seconds": spent}
    share = wilson_interval(sum(said), len(said))
    report.add(
        Row(
            "60 % turned, nothing known: said undecidable",
            float(np.mean(said)),
            "",
            share.low,
            share.high,
            1.0,
            **shared,
        )
    )
    half = 1.96 * float(np.std(accuracy, ddof=1)) / len(accuracy) ** 0.5
    middle = float(np.mean(accuracy))
    what = "60 % turned, 10 known items each: accuracy on the others"
    details = {"least": min(accuracy)}
    report.add(Row(what, middle, "", middle - half, middle + half, 0.9, details=details, **shared))


# Speed


def large_crowd(seed: int = 0) -> tuple[Votes, Codes]:
    """Binary votes of raters who are right on 55 to 95 %, differently for each class, five an item; and the truth."""
    rng = np.random.default_rng(seed)
    items = VOTES // 5
    truth = (rng.random(items) < 0.4).astype(np.intp)
    item = np.repeat(np.arange(items), 5)
    rater = rng.integers(0, RATERS, VOTES)
    accuracy = rng.uniform(0.55, 0.95, (2, RATERS))
    right = rng.random(VOTES) < accuracy[truth[item], rater]
    order = rng.permutation(VOTES)
    label = np.where(right, truth[item], 1 - truth[item])
    return Votes(item[order], rater[order], label[order], _names(items), _names(RATERS), ["0", "1"]), truth


def time_heed() -> dict[str, Any]:
    votes, truth = large_crowd()
    dawid_skene(votes.where(np.arange(1000)), iterations=2).labels()  # what is imported when it is first used
    before, seconds, with_table = _peak(), [], []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        found = dawid_skene(votes, iterations=ITERATIONS, tolerance=0)
        labels = found.labels()
        seconds.append(time.perf_counter() - begun)
        assert found.raters.reason is None
        with_table.append(time.perf_counter() - begun)
    accuracy = float((labels == truth).mean())
    return {"seconds": seconds, "with_table": with_table, "mib": _peak() - before, "accuracy": accuracy}


def time_crowd_kit() -> dict[str, Any]:
    """crowd-kit on the same votes, codes in a data frame; as many iterations, which its tolerance would else cut short."""
    votes, truth = large_crowd()
    pandas, kit = import_module("pandas"), import_module("crowdkit.aggregation")
    frame = pandas.DataFrame({"task": votes.item, "worker": votes.rater, "label": votes.label})
    kit.DawidSkene(n_iter=2).fit(frame[:1000])
    before, seconds = _peak(), []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        found = kit.DawidSkene(n_iter=ITERATIONS, tol=-1.0).fit(frame)
        seconds.append(time.perf_counter() - begun)
    labels = found.labels_.sort_index().to_numpy()
    return {"seconds": seconds, "mib": _peak() - before, "accuracy": float((labels == truth).mean())}


def _peak() -> float:
    """Most memory of this process so far (MiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def speed(report: Report) -> None:
    """Dawid-Skene on many votes beside crowd-kit, each in a process of its own, one after the other."""
    begun = time.perf_counter()
    mine, theirs = _timed("heed"), _timed("crowd-kit")
    spent = time.perf_counter() - begun
    what = f"Dawid-Skene, {VOTES:,} binary votes by {RATERS} raters, {ITERATIONS} iterations"
    details: dict[str, Any] = {"accuracy": mine["accuracy"], "memory_mib": mine["mib"], "runs": len(mine["seconds"])}
    if "missing" in theirs:
        report.skip(f"{what}, crowd-kit", theirs["missing"])
    else:
        details |= {
            "crowd_kit_s": median(theirs["seconds"]),
            "crowd_kit_accuracy": theirs["accuracy"],
            "crowd_kit_memory_mib": theirs["mib"],
        }
    for name, times in (("", mine["seconds"]), (", with the raters' intervals", mine["with_table"])):
        value, low, high = median_interval(lambda own: own, times)
        report.add(Row(f"{what}{name}", value, "s", low, high, 0.6, "most", (0,), spent, details))
    if "missing" not in theirs:
        ratio, low, high = median_interval(lambda own, other: other / own, mine["seconds"], theirs["seconds"])
        report.add(Row(f"{what}, times as fast as crowd-kit", ratio, "times", low, high, seeds=(0,), seconds=spent))


def _timed(task: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-W", "ignore", __file__, task], capture_output=True, text=True)
    if done.returncode:
        if task == "crowd-kit" and "ModuleNotFoundError" in done.stderr:
            return {"missing": "crowd-kit is not installed"}
        raise RuntimeError(f"{task} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _names(count: int) -> Sequence[str]:
    return [str(number) for number in range(count)]


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps({"heed": time_heed, "crowd-kit": time_crowd_kit}[sys.argv[1]]()))
    else:
        own = Report("trust_labels", sys.stdout, sys.stderr, None)
        rows(own)
        own.finish()
