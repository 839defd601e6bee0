"""Batches of pairs drawn one by one, each with a probability that is known and kept, and what each then speaks for.

Within a batch no prompt comes twice before every prompt has come once: draws go in passes, in each of which a prompt gives at
most one pair. At every draw a share is left to chance, so that whatever may still be drawn has a probability above zero.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heed.feedback.worth import Codes, Worth
from heed.lazily import np
from heed.statistics import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Pairs in the order in which they were drawn.

    Attributes:
        pairs: [N], places among those that were there to be drawn from.
        probability: [N], with which each was drawn at its turn, given those before it.
        eligible: [N], how many could have been drawn at that turn (count).
        speaks_for: [N], how many pairs of a uniform draw each counts for: the mean of ``speaks_for`` times any figure of the
            pairs drawn is an unbiased estimate of that figure's mean over all that could be drawn.
        by_chance: [N], whether it is from the share that was left to chance.
    """

    pairs: Codes
    probability: Array
    eligible: Codes
    speaks_for: Array
    by_chance: NDArray[np.bool_]


@dataclass(frozen=True)
class _Draw:
    pair: int
    probability: float
    of_its_prompt: float
    """Probability given that a pair of its prompt was drawn."""
    eligible: int
    by_chance: bool


def draw_batch(
    worth: Worth, prompts: Codes, count: int, chance_share: float, sharpness: float, rng: random.Random
) -> Batch:
    """Draw ``count`` pairs, or all if fewer.

    With the share ``chance_share`` a pair is drawn uniformly, else in proportion to its worth to the power of ``sharpness``:
    0 is chance, 1 in proportion, infinity the best one. Where nothing is worth anything, all is chance.

    Args:
        worth: of the P pairs.
        prompts: [P], codes of their prompts from 0.
        count: pairs wanted.
        chance_share: above 0, up to 1.
        sharpness: at least 0.
        rng: where chance comes from.
    """
    left, passes = np.ones(len(prompts), bool), []
    while count and left.any():
        allowed, drawn = left.copy(), []
        pool, groups = int(left.sum()), len(np.unique(prompts[left]))
        while count and allowed.any():
            draw = _draw(worth, prompts, allowed, chance_share, sharpness, rng)
            worth.take(draw.pair)
            drawn.append(draw)
            left[draw.pair] = False
            allowed &= prompts != prompts[draw.pair]
            count -= 1
        passes.append((drawn, pool, groups))
    draws = [draw for drawn, _, _ in passes for draw in drawn]
    return Batch(
        np.array([draw.pair for draw in draws], np.intp),
        np.array([draw.probability for draw in draws]),
        np.array([draw.eligible for draw in draws], np.intp),
        _speaks_for(passes),
        np.array([draw.by_chance for draw in draws], bool),
    )


def _draw(
    worth: Worth,
    prompts: Codes,
    allowed: NDArray[np.bool_],
    chance_share: float,
    sharpness: float,
    rng: random.Random,
) -> _Draw:
    places = np.flatnonzero(allowed)
    preferred = sharpened(worth.weights()[places], sharpness)
    total = float(preferred.sum())
    even = np.full(places.size, 1 / places.size)
    wanted = preferred / total if total > 0 else even
    probabilities = chance_share * even + (1 - chance_share) * wanted
    by_chance = rng.random() < chance_share or not total > 0
    # By the sums of what may be drawn: a draw beyond the last one, by rounding, is the last one that may.
    reached = np.cumsum(even if by_chance else wanted)
    at = int(np.searchsorted(reached, rng.random() * reached[-1], side="right"))
    at = min(at, int(np.flatnonzero(even if by_chance else wanted)[-1]))
    same = prompts[places] == prompts[places[at]]
    probability = float(probabilities[at])
    return _Draw(
        int(places[at]), probability, probability / float(probabilities[same].sum()), places.size, bool(by_chance)
    )


def sharpened(worth: Array, sharpness: float) -> Array:
    """[P] to the power of ``sharpness``, the largest being 1; all 0 where nothing is worth anything."""
    most = float(worth.max(initial=0.0))
    if most <= 0:
        return np.zeros(len(worth))
    shares = np.maximum(worth, 0.0) / most
    return (shares == 1.0).astype(np.float64) if np.isinf(sharpness) else shares**sharpness


def _speaks_for(passes: list[tuple[list[_Draw], int, int]]) -> Array:
    """What each draw counts for: levelled unbiased weights, for prompts drawn without replacement, pass by pass.

    The estimator R_LURE of Farquhar, Gal and Rainforth 2021, "On Statistical Bias in Active Learning: How and When to Fix
    It": each draw gives an unbiased estimate of the sum over all prompts, from itself and from those drawn before; the
    estimates are averaged so that uniform draws come to count one each. Here the sum over a prompt is itself estimated
    from the one pair drawn of it; and what was drawn in earlier passes is known, so only the rest is estimated.
    """
    total, whole = sum(len(drawn) for drawn, _, _ in passes), passes[0][1] if passes else 0
    weights: list[Array] = []
    for drawn, _, groups in passes:
        share = len(drawn) / total
        weights = [earlier + share for earlier in weights]
        turn = np.arange(1, len(drawn) + 1)
        levels, after = _levels(groups, len(drawn), turn)
        own = np.array([1 / draw.probability for draw in drawn])
        prompt = np.array([1 / draw.of_its_prompt for draw in drawn])
        weights.append(share * (levels * own + after * prompt))
    return np.concatenate(weights) * (total / whole) if weights else np.zeros(0)


def _levels(groups: int, drawn: int, turn: Codes) -> tuple[Array, Array]:
    """Share of each turn's estimate in the average, and of all turns after it."""
    if drawn == groups:  # the last estimate has seen every prompt, and needs no others
        return (turn == drawn).astype(np.float64), (turn < drawn).astype(np.float64)
    spare = groups - drawn
    levels = groups * spare / ((groups - turn) * (groups - turn + 1) * drawn)
    return levels, 1 - spare * turn / (drawn * (groups - turn))
