"""Answers of raters whose reliability is known, made in columns at once, so that hundreds of teams can be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from heed.feedback.studio_schema import PURPOSES
from heed.raters.columns import Answers, Units

WORDS = ["a", "b", "tie"]


@dataclass
class Team:
    """A team that compares pairs.

    Attributes:
        reliability: of each rater: that share heeds the truth (says the opposite, where below 0), the rest tosses a coin.
        items, overlap, gold: pairs, raters who judge each, and pairs with a known answer that all judge (counts).
        spread: standard deviation of the differences (log-odds); infinite: the truth is never in doubt.
        rings: raters who answer alike in 95 of 100 answers.
        drifting: raters whose reliability falls to a tenth in the middle of their work.
        opinion: for each rater the camp, 0 or 1; to the second camp the truth is the opposite.
        left: share of answers in which a rater takes the left one.
        ties: share of answers that call a pair equal.
    """

    reliability: Sequence[float]
    items: int = 300
    overlap: int = 3
    gold: int = 0
    spread: float = 4.0
    rings: Sequence[Sequence[int]] = ()
    drifting: Sequence[int] = ()
    opinion: Sequence[int] = ()
    left: dict[int, float] = field(default_factory=dict)
    ties: float = 0.0

    def answers(self, seed: int) -> Answers:
        """What they answer."""
        rng, raters = np.random.default_rng(seed), len(self.reliability)
        item = np.repeat(np.arange(self.items), self.overlap)
        rater = np.argsort(rng.random((self.items, raters)), axis=1)[:, : self.overlap].ravel()
        known = np.repeat(np.arange(self.items, self.items + self.gold), raters)
        item, rater = np.concatenate([item, known]), np.concatenate([rater, np.tile(np.arange(raters), self.gold)])
        order = rng.permutation(item.size)
        item, rater = item[order], rater[order]
        gold = item >= self.items
        scale = 1e3 if np.isinf(self.spread) else self.spread
        difference = np.append(rng.normal(0, scale, self.items), rng.choice([-1e3, 1e3], self.gold))
        first_wins = rng.random(item.size) < 1 / (1 + np.exp(-np.clip(difference[item], -500, 500)))
        if len(self.opinion):
            first_wins ^= (np.asarray(self.opinion)[rater] == 1) & ~gold
        said = self._said(rng, rater, first_wins)
        for members in self.rings:
            shared = rng.random(difference.size) < 0.5
            follows = np.isin(rater, members) & (rng.random(item.size) < 0.95) & ~gold
            said = np.where(follows, shared[item], said)
        first_left = rng.random(item.size) < 0.5
        for member, share in self.left.items():
            said = np.where((rater == member) & (rng.random(item.size) < share), first_left, said)
        tied = (rng.random(item.size) < self.ties) & ~gold
        nowhere = np.zeros(item.size, np.int64)
        return Answers(
            item=item,
            question=nowhere,
            rater=rater,
            purpose=np.where(gold, PURPOSES.index("gold"), PURPOSES.index("work")),
            created=np.arange(item.size) * 60.0,
            active_seconds=np.full(item.size, 20.0),
            correct=np.where(gold, (said == (difference[item] > 0)).astype(float), np.nan),
            left=np.where(tied, -1, (said == first_left).astype(np.int64)),
            tied=tied.astype(np.int64),
            units=Units(
                np.arange(item.size),
                nowhere,
                nowhere,
                np.where(tied, 2.0, np.where(said, 0.0, 1.0)),
                np.zeros(item.size),
            ),
            items=[f"i{number}" for number in range(difference.size)],
            questions=["q"],
            raters=[f"r{number}" for number in range(raters)],
            fields=[("better", "nominal")],
            places=["@"],
            values=WORDS,
        )

    def _said(self, rng: np.random.Generator, rater: np.ndarray, truth: np.ndarray) -> np.ndarray:
        own = np.asarray(self.reliability, float)[rater]
        for member in self.drifting:
            mine = np.flatnonzero(rater == member)
            worn = np.arange(mine.size) / mine.size
            own[mine] *= np.where(worn < 0.5, 1.0, 0.1)
        heeds = rng.random(rater.size) < np.abs(own)
        return np.where(heeds, np.where(own > 0, truth, ~truth), rng.random(rater.size) < 0.5)


HONEST = (0.95, 0.9, 0.9, 0.85, 0.8, 0.8, 0.7, 0.7, 0.6, 0.5)
"""Honest people: careful ones, and some who are not."""


def scored(values: np.ndarray, item: np.ndarray, rater: np.ndarray, tolerance: float = 0.0) -> Answers:
    """Ratings: one score an answer."""
    size, nowhere = values.size, np.zeros(values.size, np.int64)
    return Answers(
        item=item,
        question=nowhere,
        rater=rater,
        purpose=nowhere,
        created=np.arange(size) * 60.0,
        active_seconds=np.full(size, 20.0),
        correct=np.full(size, np.nan),
        left=np.full(size, -1),
        tied=np.full(size, -1),
        units=Units(np.arange(size), nowhere, nowhere, values.astype(float), np.full(size, tolerance)),
        items=[f"i{number}" for number in range(int(item.max()) + 1)],
        questions=["q"],
        raters=[f"r{number}" for number in range(int(rater.max()) + 1)],
        fields=[("score", "interval")],
        places=["@"],
        values=[],
    )


def labelled(labels: np.ndarray, item: np.ndarray, rater: np.ndarray, words: list[str]) -> Answers:
    """Labels: one an answer."""
    made = scored(labels, item, rater)
    made.fields[:] = [("label", "nominal")]
    made.values[:] = words
    return made
