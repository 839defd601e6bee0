"""How many labels each selector needs for what 1,000 random comparisons teach, on the built-in world.

The pool is every pair of four samples each of 1,000 training prompts, by the base model, some 6,000 pairs; careful and noisy
simulated raters judge them, as in the demonstration. The learner is a linear reward on the base model's frozen features (means
of the completion's hidden states), with one ridge penalty for all; a tie counts as half a win. It learns anew after every 50
labels, from 100 random ones on. Right is who orders pairs of samples of 500 test prompts as the true utility does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from common import Report, Row
from heed.config import SamplingSettings
from heed.feedback import worth
from heed.feedback.chances import corrected_mean
from heed.feedback.drawing import draw_batch
from heed.feedback.selectors import SHARPNESS
from heed.feedback.worth import Fixed, Information, Worth
from heed.statistics import Array

SEEDS = (10, 11, 12, 13, 14)
"""Others than those on which the selectors' sharpness was settled: chosen on seeds 0 to 4, it would look too good there."""
REPEATS = 6
_PROMPTS, _TEST_PROMPTS, _SAMPLES = 1000, 500, 4
_FIRST, _STEP, _LAST, _REFERENCE = 100, 50, 1200, 1000
_PENALTY, _COMMITTEE, _CHANCE = 30.0, 8, 0.1
_DRAWS = 2000
_BEHAVIOURS = ("careful", "noisy", "careful", "noisy")
_CHOICES = {"a": 1.0, "b": 0.0}


@dataclass(frozen=True)
class World:
    """A pool of pairs and a test set.

    Attributes:
        features: [C, D] of the completions, in deviations of a difference.
        first, second, prompts: [P], completions and prompt of each pair.
        answers: [P], 1 where its rater prefers the first, 0 the second, half a tie.
        tests: [T, D], differences of features; test_first: [T], whether the first is truly better.
    """

    features: Array
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    prompts: NDArray[np.intp]
    answers: Array
    tests: Array
    test_first: NDArray[np.bool_]

    def differences(self, pairs: NDArray[np.intp]) -> Array:
        return self.features[self.first[pairs]] - self.features[self.second[pairs]]

    def accuracy(self, head: Array) -> float:
        return float(((self.tests @ head > 0) == self.test_first).mean())


def build(seed: int) -> World:
    """The world of a seed: its prompts, samples, raters and who judges what are its own."""
    from heed.raters.simulated import SimulatedRater
    from heed.sandbox.utility import support_desk

    texts, features, pairs = _sampled("train", seed, _PROMPTS)
    raters = [
        SimulatedRater(f"rater-{n}", name, support_desk, seed=seed)  # type: ignore[arg-type]
        for n, name in enumerate(_BEHAVIOURS)
    ]
    rng = random.Random(f"asking:{seed}")
    answers = []
    for a, b, _ in pairs.tolist():
        rater, (prompt, text) = rng.choice(raters), texts[a]
        choice, _strength = rater.compare(prompt, text, texts[b][1], rng.random() < 0.5, f"{a}:{b}")
        answers.append(_CHOICES.get(choice, 0.5))
    scale = (features[pairs[:, 0]] - features[pairs[:, 1]]).std(axis=0)
    test_texts, test_features, test_pairs = _sampled("test", seed, _TEST_PROMPTS)
    worths = np.array([support_desk(prompt, text) for prompt, text in test_texts])
    lead = worths[test_pairs[:, 0]] - worths[test_pairs[:, 1]]
    test_pairs, lead = test_pairs[np.abs(lead) > 1e-9], lead[np.abs(lead) > 1e-9]
    tests = (test_features[test_pairs[:, 0]] - test_features[test_pairs[:, 1]]) / scale
    first, second, prompts = pairs.T
    return World(features / scale, first, second, prompts, np.array(answers), tests, lead > 0)


def _sampled(split: str, seed: int, prompts: int) -> tuple[list[tuple], Array, NDArray[np.intp]]:
    """(prompt, text) of each sample, their features [C, D], and all pairs of different texts [P, 3] with their prompt."""
    from heed.models.head_features import features_and_scores
    from heed.models.reward import RewardModel
    from heed.sandbox import grammar, world
    from heed.stages.sampling import sample

    base = world.base_model()
    settings = SamplingSettings(samples_per_prompt=_SAMPLES, max_new_tokens=72)
    drawn = sample(base, grammar.prompts(split, seed, prompts), settings, seed + 100, "cpu")  # type: ignore[arg-type]
    network = RewardModel.new(base, "mean", 1, 0)
    features, _ = features_and_scores(network, [network.reader.encode(c.prompt, c.text) for c in drawn])
    pairs = [
        (a, b, a // _SAMPLES)
        for a in range(len(drawn))
        for b in range(a + 1, (a // _SAMPLES + 1) * _SAMPLES)
        if drawn[a].text != drawn[b].text
    ]
    return [(c.prompt, c.text) for c in drawn], features.double().numpy(), np.array(pairs, np.intp)


def fit(differences: Array, answers: Array, start: Array | None = None, most: int = 25) -> Array:
    """A linear reward by Bradley-Terry with a ridge penalty, by Newton's method."""
    head = np.zeros(differences.shape[1]) if start is None else start.copy()
    for _ in range(most):
        p = _sigmoid(differences @ head)
        slope = differences.T @ (p - answers) + _PENALTY * head
        curvature = (differences * (p * (1 - p))[:, None]).T @ differences + _PENALTY * np.eye(head.size)
        step = np.linalg.solve(curvature, slope)
        head -= step
        if np.abs(step).max() < 1e-6:
            break
    return head


def worth_now(
    name: str, world: World, head: Array, known: NDArray[np.intp], left: NDArray[np.intp], rng: np.random.Generator
) -> Worth:
    """What a selector makes of the pairs ``left``, from the answers to ``known``."""
    if name == "random":
        return Fixed(np.ones(len(left)))
    open_, asked = world.differences(left), world.differences(known)
    if name == "d_optimal":
        return Information(open_, _sigmoid(open_ @ head), _PENALTY, asked, _sigmoid(asked @ head))
    drawn = [rng.choice(known, len(known)) for _ in range(_COMMITTEE)]
    committee = np.stack([fit(world.differences(some), world.answers[some], head, 4) for some in drawn], 1)
    if name == "thompson":
        owners = np.zeros(len(world.features), np.intp)
        owners[world.first] = owners[world.second] = world.prompts
        scores = world.features @ committee
        return Fixed(worth.thompson(scores, owners, world.first[left], world.second[left]))
    measure = worth.disagreement if name == "disagreement" else worth.gap
    return Fixed(measure(open_ @ committee))


def learn(world: World, name: str, seed: int) -> list[float]:
    """Accuracy after 100, 150, ... labels that the selector has chosen."""
    rng, chance = np.random.default_rng(seed), random.Random(seed)
    known, found = rng.permutation(len(world.first))[:_FIRST], list[float]()
    head: Array | None = None
    while True:
        head = fit(world.differences(known), world.answers[known], head)
        found.append(world.accuracy(head))
        if len(known) >= _LAST:
            return found
        left = np.setdiff1d(np.arange(len(world.first)), known)
        asked = worth_now(name, world, head, known, left, rng)
        batch = draw_batch(asked, world.prompts[left], _STEP, _CHANCE, SHARPNESS.get(name, 0.0), chance)
        known = np.concatenate([known, left[batch.pairs]])


def needed(curve: Array, accuracy: float) -> float:
    """Labels at which a curve, made to rise by isotonic regression, reaches an accuracy; infinity if it never does."""
    from scipy.optimize import isotonic_regression

    labels, rising = np.arange(_FIRST, _LAST + 1, _STEP), isotonic_regression(curve).x
    above = np.flatnonzero(rising >= accuracy)
    if not above.size:
        return float("inf")
    at = int(above[0])
    if at == 0:
        return float(labels[0])
    share = (accuracy - rising[at - 1]) / (rising[at] - rising[at - 1])
    return float(labels[at - 1] + share * _STEP)


def share_needed(curves: Array, by_chance: Array) -> float:
    """Labels on the mean of ``curves`` [seeds, repeats, sizes] over those by chance, for chance's accuracy at 1,000."""
    from scipy.optimize import isotonic_regression

    reference = isotonic_regression(by_chance.mean(axis=(0, 1))).x[(_REFERENCE - _FIRST) // _STEP]
    return needed(curves.mean(axis=(0, 1)), float(reference)) / _REFERENCE


def with_interval(
    figure: Callable[[Array, Array], float], curves: Array, by_chance: Array
) -> tuple[float, float, float]:
    """A figure of curves, and the ends of its 95 % interval from drawing seeds, and repeats within them, anew."""
    rng, (seeds, repeats) = np.random.default_rng(0), curves.shape[:2]
    drawn = []
    for _ in range(_DRAWS):
        some, each = rng.integers(seeds, size=(seeds, 1)), rng.integers(repeats, size=(seeds, repeats))
        other = rng.integers(repeats, size=(seeds, repeats))
        drawn.append(figure(curves[some, each], by_chance[some, other]))
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    return figure(curves, by_chance), float(low), float(high)


def gained(curves: Array, by_chance: Array, labels: int) -> float:
    """Percentage points of accuracy beyond chance after so many labels."""
    at = (labels - _FIRST) // _STEP
    return float(100 * (curves.mean(axis=(0, 1)) - by_chance.mean(axis=(0, 1)))[at])


def correction(world: World, seed: int) -> tuple[float, float, bool]:
    """Errors of the accuracy of a reward over the pool, from 300 answers chosen by disagreement: as they are, and
    corrected for how they were chosen; and whether the corrected interval covers the truth."""
    rng = np.random.default_rng(seed)
    decided = rng.permutation(np.flatnonzero(world.answers != 0.5))
    known, left = decided[:300], np.sort(decided[300:])
    head = fit(world.differences(known), world.answers[known])
    right = ((world.differences(left) @ head > 0) == (world.answers[left] > 0.5)).astype(np.float64)
    asked = worth_now("disagreement", world, head, known, left, rng)
    batch = draw_batch(
        asked, world.prompts[left], 300, _CHANCE, SHARPNESS["disagreement"], random.Random(f"correct:{seed}")
    )
    told, owners = right[batch.pairs], [str(one) for one in world.prompts[left[batch.pairs]]]
    found, truth = corrected_mean(told, batch.speaks_for, owners, shares=True), float(right.mean())
    covers = found.low is not None and found.high is not None and found.low <= truth <= found.high
    return float(told.mean()) - truth, (found.estimate or 0.0) - truth, covers


def rows(report: Report, seeds: Sequence[int] = SEEDS, repeats: int = REPEATS) -> None:
    """Rows of every selector, and of estimates corrected for choice."""
    worlds = [build(seed) for seed in seeds]
    curves, spent = dict[str, Array](), dict[str, float]()
    for name in ("random", *SHARPNESS):
        begun = time.monotonic()
        found = [
            [learn(world, name, 1000 * seed + n) for n in range(repeats)]
            for seed, world in zip(seeds, worlds, strict=True)
        ]
        curves[name], spent[name] = np.array(found), time.monotonic() - begun
    by_chance = curves["random"]
    best = min(SHARPNESS, key=lambda name: share_needed(curves[name], by_chance))
    for name in SHARPNESS:
        share, low, high = with_interval(share_needed, curves[name], by_chance)
        each = [needed(mine.mean(axis=0), _at(theirs)) for mine, theirs in zip(curves[name], by_chance, strict=True)]
        by_seed = [f"{one:.0f}" if np.isfinite(one) else f"over {_LAST}" for one in each]
        details = {"labels by seed": ", ".join(by_seed), "repeats": repeats, "of chance at 1,000": _mean_at(by_chance)}
        report.add(
            Row(
                f"asking: labels of {name} for what 1,000 random ones teach",
                100 * share if np.isfinite(share) else None,
                "%",
                100 * low if np.isfinite(low) else None,
                100 * high if np.isfinite(high) else None,
                70.0 if name == best else None,
                "most",
                tuple(seeds),
                spent[name],
                details,
                "" if np.isfinite(share) else f"not reached with {_LAST:,} labels",
            )
        )
    for name in SHARPNESS:
        for labels in (300, 1000):
            value, low, high = with_interval(partial(gained, labels=labels), curves[name], by_chance)
            harm = {"harms": "surely" if high < 0 else "no" if low > 0 else "not sure"}
            what = f"asking: accuracy of {name} beyond chance after {labels:,} labels"
            report.add(Row(what, value, "points", low, high, seeds=tuple(seeds), details=harm))
    _correction_rows(report, worlds, seeds, repeats)


def _at(curves: Array) -> float:
    """Accuracy of the mean of ``curves`` [repeats, sizes] after 1,000 labels, made to rise."""
    from scipy.optimize import isotonic_regression

    return float(isotonic_regression(curves.mean(axis=0)).x[(_REFERENCE - _FIRST) // _STEP])


def _mean_at(curves: Array) -> float:
    return float(curves[:, :, (_REFERENCE - _FIRST) // _STEP].mean())


def _correction_rows(report: Report, worlds: Sequence[World], seeds: Sequence[int], repeats: int) -> None:
    found = [
        correction(world, 100 * seed + n) for seed, world in zip(seeds, worlds, strict=True) for n in range(repeats)
    ]
    plain, corrected, covers = (np.array(column, np.float64) for column in zip(*found, strict=True))
    for name, errors in (("as they are", plain), ("corrected for how they were chosen", corrected)):
        half = 1.96 * errors.std(ddof=1) / len(errors) ** 0.5
        details = {"spread": 100 * float(errors.std()), "intervals that cover": float(covers.mean())}
        report.add(
            Row(
                f"asking: error of the pool's accuracy from 300 chosen answers, {name}",
                100 * float(errors.mean()),
                "points",
                100 * float(errors.mean() - half),
                100 * float(errors.mean() + half),
                seeds=tuple(seeds),
                details=details if errors is corrected else {"spread": details["spread"]},
            )
        )


def _sigmoid(odds: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))))


if __name__ == "__main__":
    import sys

    told = Report("trust-asking", sys.stdout, sys.stderr, None)
    rows(told)
    told.finish()
