"""Judgments of every kind about tiny texts of known worth, by raters who answer in known ways."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from heed.models.reward import Encoded, RewardModel
from heed.train.likelihoods import Judged
from tiny_models import ragged, tiny_policy
from tiny_training import reward_model_of

VALUES = torch.linspace(-3, 3, 16)  # what each letter is worth
HEEDS, INVERTS, LEFT, RIGHT = range(4)


def texts_of(count: int, seed: int) -> list[Encoded]:
    return [Encoded((*ids, 16), 2, 11) for ids in ragged([10] * count, 17, seed)]


def worth(text: Encoded) -> float:
    """Linear in the letters of the completion; standard deviation about 2."""
    return 3 * float(VALUES[list(text.ids[2:10])].mean())


def small_model(members: int = 1) -> RewardModel:
    return reward_model_of(tiny_policy(), members=members, initializer_range=0.05)


class World:
    """Texts, and judgments of them drawn from a seed."""

    def __init__(self, texts: int, seed: int) -> None:
        self.texts = texts_of(texts, seed)
        self.worths = [worth(text) for text in self.texts]
        self.rng = np.random.default_rng(seed)

    def chance(self, logit: float) -> bool:
        return bool(self.rng.random() < 1 / (1 + math.exp(-logit)))

    def pairs(self, count: int, ways: Sequence[Sequence[float]], each: int = 1) -> list[Judged]:
        """Comparisons of random pairs, each by ``each`` raters, who answer in these shares of the four ways."""
        rows = []
        for _ in range(count):
            a, b = (int(n) for n in self.rng.choice(len(self.texts), 2, replace=False))
            for rater in self.rng.choice(len(ways), each, replace=False):
                rows.append(self.compare(a, b, int(rater), int(self.rng.choice(4, p=ways[int(rater)]))))
        return rows

    def compare(self, a: int, b: int, rater: int, way: int) -> Judged:
        shown = (0, 1) if self.rng.random() < 0.5 else (1, 0)
        first = self.chance(self.worths[a] - self.worths[b])
        outcome = {HEEDS: int(not first), INVERTS: int(first), LEFT: shown[0], RIGHT: shown[1]}[way]
        return Judged("comparison", (a, b), (outcome, 0), rater, shown)

    def rankings(self, count: int, size: int, rater: int = 0) -> list[Judged]:
        """Orders drawn from Plackett-Luce by adding Gumbel noise."""
        rows = []
        for _ in range(count):
            chosen = [int(n) for n in self.rng.choice(len(self.texts), size, replace=False)]
            seen = [self.worths[n] + self.rng.gumbel() for n in chosen]
            order = sorted(range(size), key=lambda place: -seen[place])
            places = tuple(order.index(place) for place in range(size))
            rows.append(Judged("ranking", tuple(chosen), places, rater))
        return rows

    def thumbs(self, count: int, rater: int = 0, bias: float = 0.0) -> list[Judged]:
        chosen = [int(n) for n in self.rng.choice(len(self.texts), count)]
        return [Judged("thumb", (n,), self.chance(self.worths[n] + bias), rater) for n in chosen]

    def ratings(
        self, count: int, rater: int = 0, step: float | None = 1.0, names: Sequence[str] = ("good",)
    ) -> list[Judged]:
        """Scores from 1 to 5 of logistic noise around the worth; every further attribute is turned around."""
        rows = []
        for n in self.rng.choice(len(self.texts), count):
            said = {}
            for number, name in enumerate(names):
                seen = 3 + 0.6 * (-1) ** number * self.worths[int(n)] + 0.3 * self.rng.logistic()
                score = min(5.0, max(1.0, seen))
                said[name] = (round(score) if step else score, 1.0, 5.0, step)
            rows.append(Judged("rating", (int(n),), said, rater))
        return rows

    def edits(self, count: int) -> list[Judged]:
        rows = []
        for _ in range(count):
            a, b = (int(n) for n in self.rng.choice(len(self.texts), 2, replace=False))
            better = (a, b) if self.chance(self.worths[a] - self.worths[b]) else (b, a)
            rows.append(Judged("edit", better, None))
        return rows

    def demonstrations(self, count: int, samples: int) -> list[Judged]:
        rows = []
        for _ in range(count):
            chosen = [int(n) for n in self.rng.choice(len(self.texts), samples + 1, replace=False)]
            first = max(chosen, key=lambda n: self.worths[n] + self.rng.gumbel())
            rows.append(Judged("demonstration", (first, *(n for n in chosen if n != first)), None))
        return rows

    def critiques(self, count: int) -> list[Judged]:
        """The defect "bad" of what is worth little, and "odd" of nothing in particular."""
        rows = []
        for n in self.rng.choice(len(self.texts), count):
            bad = self.chance(-self.worths[int(n)] - 1)
            odd = bool(self.rng.random() < 0.3)
            rows.append(Judged("critique", (int(n),), ("bad",) * bad + ("odd",) * odd))
        return rows
