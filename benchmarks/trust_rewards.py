"""Rewards from raters of every sort and feedback of every kind, in the built-in world where the truth is known.

    python benchmarks/trust_rewards.py [--only mixture|inverted|kinds|speed] [--seed N ...]

The raters are simulated: 40 % careful, 20 % noisy, 15 % who mostly take what stands left, 15 % who like what is long, 10 %
who invert; three judge each pair. Replies are of the grammar's own mixture. Accuracy is how often the reward orders held-out
pairs of replies, to test prompts, as the true utility does; nothing else reads it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from common import Report, Row, report
from heed.config import RewardSettings
from heed.errors import DataError
from heed.feedback.kinds import PromptContent
from heed.models.reward import RewardModel
from heed.rater_settings import BehaviourName
from heed.raters.simulated import SimulatedRater
from heed.sandbox import grammar
from heed.sandbox.utility import support_desk
from heed.sandbox.world import base_model
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow
from heed.stages.judgments import Judgment, Known
from heed.stages.reward import train_reward
from heed.train.judgments import fit_judgments
from heed.train.likelihoods import Judged
from trust_kinds import comparisons_of_minutes, forms_of_minutes, seconds_of

_SEEDS = (0, 1, 2, 3, 4, 5)
_PARTS = ("mixture", "inverted", "kinds", "speed")
_ITEMS, _TEST, _OVERLAP, _GOLD = 500, 2000, 3, 10
_MIXTURE: dict[BehaviourName, int] = {"careful": 8, "noisy": 4, "lazy_left": 3, "lazy_long": 3, "inverted": 2}
_CAMPS: dict[BehaviourName, int] = {"careful": 8, "inverted": 12}
_MINUTES = 240.0
_DRAWS = 2000

# Fixed beforehand and the same for all arms: as many judgments a step, as many passes, no early stop.
_SETTINGS = RewardSettings(epochs=3, prompts_per_step=32, test_fraction=0.0, validation_fraction=0.0)


@dataclass(frozen=True)
class Pair:
    """Two replies to a message."""

    prompt: PromptContent
    a: str
    b: str


def pairs(split: grammar.Split, seed: int, count: int) -> list[Pair]:
    """Pairs of different replies, one a message."""
    rng = random.Random(f"trust {split} {seed}")
    found = []
    for prompt in grammar.prompts(split, seed, count):
        situation = grammar.parse(prompt)
        a = b = grammar.reply(situation, grammar.mixture_dials(rng), rng)
        while b == a:
            b = grammar.reply(situation, grammar.mixture_dials(rng), rng)
        found.append(Pair(prompt, a, b))
    return found


def raters(mixture: dict[BehaviourName, int], seed: int) -> list[SimulatedRater]:
    return [
        SimulatedRater(f"{behaviour} {n}", behaviour, support_desk, seed=seed)
        for behaviour, count in mixture.items()
        for n in range(count)
    ]


def vote(rater: SimulatedRater, pair: Pair, key: str, left_is_a: bool) -> ComparisonRow:
    choice, strength = rater.compare(pair.prompt, pair.a, pair.b, left_is_a, key)
    outcome = {"a": FIRST, "b": SECOND}.get(choice, TIE)
    return ComparisonRow(pair.prompt, pair.a, pair.b, outcome, strength or 0, rater.name, 0 if left_is_a else 1)


def votes(asked: Sequence[Pair], people: Sequence[SimulatedRater], seed: int) -> list[ComparisonRow]:
    """Each pair by ``_OVERLAP`` raters, all raters about equally often."""
    rng = random.Random(f"trust votes {seed}")
    rows, deck = [], list[SimulatedRater]()
    for number, pair in enumerate(asked):
        chosen: list[SimulatedRater] = []
        while len(chosen) < _OVERLAP:
            if not deck:
                deck = rng.sample(list(people), len(people))
            rater = deck.pop()
            if rater in chosen:
                deck.insert(0, rater)
            else:
                chosen.append(rater)
        rows += [vote(rater, pair, f"{seed}:{number}", rng.random() < 0.5) for rater in chosen]
    return rows


def gold(people: Sequence[SimulatedRater], seed: int) -> list[Known]:
    """``_GOLD`` pairs on which the utility parts clearly, answered by everybody."""
    rng = random.Random(f"trust gold {seed}")
    clear = [p for p in pairs("train", 90_000 + seed, 400) if abs(_lead(p)) > support_desk.span[1] / 5]
    found = []
    for number, pair in enumerate(clear[:_GOLD]):
        right = _as_judgment(ComparisonRow(pair.prompt, pair.a, pair.b, FIRST if _lead(pair) > 0 else SECOND))
        for rater in people:
            said = vote(rater, pair, f"gold {seed}:{number}", rng.random() < 0.5)
            found.append(Known(_as_judgment(said), right))
    return found


def _as_judgment(row: ComparisonRow) -> Judgment:
    from heed.stages.judgments import judgment_of_row

    return judgment_of_row(row)


def _lead(pair: Pair) -> float:
    return support_desk(pair.prompt, pair.a) - support_desk(pair.prompt, pair.b)


class Bench:
    """Fits reward models on the base model and measures them on one held-out set a seed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base, self.fits = folder, base_model(), 0
        self._tests: dict[int, list[Pair]] = {}

    def test(self, seed: int) -> list[Pair]:
        if seed not in self._tests:
            self._tests[seed] = [p for p in pairs("test", seed, _TEST) if abs(_lead(p)) > 1e-9]
        return self._tests[seed]

    def fit(
        self, rows: Sequence[ComparisonRow | Judgment], seed: int, known: Sequence[Known] = (), **changes: Any
    ) -> Any:
        """The result of the stage; accuracy against the truth stands in its metrics as "true"."""
        self.fits += 1
        out = self.folder / str(self.fits)
        settings = _SETTINGS.model_copy(update=changes)
        done = train_reward(self.base, rows, out, settings, seed, device="cpu", gold=known)
        done.metrics["true"] = accuracy(RewardModel.load(out), self.test(seed))
        return done


def accuracy(model: RewardModel, test: Sequence[Pair]) -> float:
    """Share of the pairs that the reward orders as the utility does."""
    texts = [(p.prompt, text) for p in test for text in (p.a, p.b)]
    scores = model.score([prompt for prompt, _ in texts], [text for _, text in texts]).view(-1, 2)
    leads = (scores[:, 0] - scores[:, 1]).tolist()
    return sum((lead > 0) == (_lead(p) > 0) for lead, p in zip(leads, test, strict=True)) / len(test)


def over_seeds(figure: Callable[[Any], float], *columns: Sequence[float]) -> tuple[float, float, float]:
    """A figure of the means over seeds, and its 95 % interval by resampling the seeds (all columns together)."""
    table = np.array(columns)
    rng = np.random.default_rng(0)
    drawn = [figure(table[:, rng.integers(0, table.shape[1], table.shape[1])].mean(1)) for _ in range(_DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return figure(table.mean(1)), float(low), float(high)


def won_back(means: Any) -> float:
    """Share of the gap between naive training and careful labels alone that the joint model closes."""
    naive, careful, joint = means
    return float((joint - naive) / (careful - naive))


def mixture(rows: Report, bench: Bench, seeds: Sequence[int]) -> None:
    """Naive training, training on the careful raters alone, and the joint model."""
    start, arms = time.monotonic(), {"naive": list[float](), "careful": list[float](), "joint": list[float]()}
    for seed in seeds:
        said = votes(pairs("train", seed, _ITEMS), raters(_MIXTURE, seed), seed)
        careful = [row for row in said if row.rater.startswith("careful")]
        arms["naive"].append(bench.fit(said, seed, raters="equal").metrics["true"])
        arms["careful"].append(bench.fit(careful, seed, raters="equal").metrics["true"])
        arms["joint"].append(bench.fit(said, seed).metrics["true"])
    shared: dict[str, Any] = {"seeds": tuple(seeds), "seconds": time.monotonic() - start}
    details = {f"accuracy {name}": float(np.mean(values)) for name, values in arms.items()}
    value, low, high = over_seeds(won_back, *arms.values())
    what = "mixed raters: share of the accuracy gap won back"
    rows.add(Row(what, value, "", low, high, 0.8, details={**details, "votes": len(said)}, **shared))
    gap, low, high = over_seeds(lambda m: float(100 * (m[1] - m[0])), arms["naive"], arms["careful"])
    rows.add(Row("mixed raters: the gap itself", gap, "points", low, high, **shared))


def inverted(rows: Report, bench: Bench, seeds: Sequence[int]) -> None:
    """Six of ten raters invert: with ten gold items each, and without any."""
    start, arms, told = time.monotonic(), {"naive": list[float](), "careful": list[float](), "joint": list[float]()}, 0
    for seed in seeds:
        people = raters(_CAMPS, seed)
        said = votes(pairs("train", seed, _ITEMS), people, seed)
        careful = [row for row in said if row.rater.startswith("careful")]
        arms["naive"].append(bench.fit(said, seed, raters="equal").metrics["true"])
        arms["careful"].append(bench.fit(careful, seed, raters="equal").metrics["true"])
        arms["joint"].append(bench.fit(said, seed, gold(people, seed)).metrics["true"])
        try:
            bench.fit(said, seed)
        except DataError as error:
            told += "cannot be told" in error.what
    shared: dict[str, Any] = {"seeds": tuple(seeds), "seconds": time.monotonic() - start}
    details = {f"accuracy {name}": float(np.mean(values)) for name, values in arms.items()}
    value, low, high = over_seeds(won_back, *arms.values())
    what = f"60 % inverted, {_GOLD} gold items each: share of the accuracy gap won back"
    rows.add(Row(what, value, "", low, high, 0.8, details=details, **shared))
    value = told / len(seeds)
    rows.add(Row("60 % inverted, no gold: said to be unidentifiable", value, "of seeds", target=1.0, **shared))


def kinds(rows: Report, bench: Bench, seeds: Sequence[int]) -> None:
    """Forms of all kinds against comparisons alone, for the same minutes of the same simulated people."""
    start, alone, together = time.monotonic(), list[float](), list[float]()
    counts: dict[str, int] = {}
    for seed in seeds:
        people = raters(_MIXTURE, seed)
        compared = comparisons_of_minutes(_MINUTES, people, seed)
        everything, counts = forms_of_minutes(_MINUTES, people, seed)
        alone.append(bench.fit(compared, seed).metrics["true"])
        together.append(bench.fit(everything, seed).metrics["true"])
    shared: dict[str, Any] = {"seeds": tuple(seeds), "seconds": time.monotonic() - start}
    value, low, high = over_seeds(lambda m: float(100 * (m[1] - m[0])), alone, together)
    details = {"accuracy comparisons": float(np.mean(alone)), "accuracy all kinds": float(np.mean(together))}
    details |= {"minutes": _MINUTES, "comparisons": len(compared), **{f"of {kind}": n for kind, n in counts.items()}}
    what = "all kinds less comparisons alone, same minutes"
    rows.add(Row(what, value, "points", low, high, 0.0, details=details, **shared))
    rows.add(Row("the same, lower end of the interval", low, "points", target=0.0, details=seconds_of(), **shared))


def speed(rows: Report, bench: Bench) -> None:
    """Texts a second of rankings of eight, and of their 28 pairs one by one."""
    ranked = 24
    model = RewardModel.new(bench.base, "mean", 1, 0)
    texts = list(_replies(8 * ranked))
    encoded = [model.reader.encode(prompt, text) for prompt, text in texts]
    rankings = [Judged("ranking", tuple(range(8 * n, 8 * n + 8)), tuple(range(8))) for n in range(ranked)]
    singles = [
        Judged("comparison", (8 * n + i, 8 * n + j), (FIRST, 0))
        for n in range(ranked)
        for i in range(8)
        for j in range(i + 1, 8)
    ]
    rates: dict[str, list[float]] = {"ranking": [], "comparison": []}
    start = time.monotonic()
    for turn in range(4):
        for kind, judged, per_step in (("ranking", rankings, 8), ("comparison", singles, 32)):
            settings = RewardSettings(kind=kind, raters="equal", epochs=1, prompts_per_step=per_step)
            fresh = RewardModel.new(bench.base, "mean", 1, turn)
            begun = time.perf_counter()
            fit_judgments(fresh, encoded, judged, [], settings, turn)
            rates[kind].append(len(encoded) / (time.perf_counter() - begun))
    fast, slow = (np.array(rates[kind][1:]) for kind in ("ranking", "comparison"))
    details = {"texts a second, rankings": float(np.median(fast)), "28 pairs": float(np.median(slow))}
    ratios = fast / slow
    rows.add(
        Row(
            "reward step on rankings of 8: texts a second, beside their 28 pairs one by one",
            float(np.median(ratios)),
            "times",
            float(ratios.min()),
            float(ratios.max()),
            4.0,
            seeds=(0,),
            seconds=time.monotonic() - start,
            details=details,
        )
    )


def _replies(count: int) -> Iterator[tuple[PromptContent, str]]:
    rng = random.Random("trust speed")
    for prompt in grammar.prompts("train", 7, count // 8):
        situation, seen = grammar.parse(prompt), set[str]()
        while len(seen) < 8:
            text = grammar.reply(situation, grammar.mixture_dials(rng), rng)
            if text not in seen:
                seen.add(text)
                yield prompt, text


def rows(report: Report, seeds: Sequence[int] = _SEEDS, parts: Sequence[str] = _PARTS) -> None:
    """Add the rows of the chosen parts to the report."""
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name, part in (("mixture", mixture), ("inverted", inverted), ("kinds", kinds)):
            if name in parts:
                part(report, bench, seeds)
        if "speed" in parts:
            speed(report, bench)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=_PARTS, help="one part alone")
    parser.add_argument("--seed", type=int, action="append", help=f"instead of {_SEEDS}; may be given again")
    options = parser.parse_args(arguments)
    made = report("trust_rewards", whole=not options.only and not options.seed)
    torch.set_num_threads(max(1, torch.get_num_threads()))
    rows(made, options.seed or _SEEDS, (options.only,) if options.only else _PARTS)
    made.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
