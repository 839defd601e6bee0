"""A ranking of named things from comparisons, with intervals, the raters behind it, and how firm its first place is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from heed.errors import DataError
from heed.lazily import np
from heed.raters.bradley_terry import (
    Duels,
    Scores,
    Ties,
    bootstrap,
    bradley_terry,
    fewest_to_flip,
    sigmoid,
    win_probability,
)
from heed.raters.crowd_bt import CrowdRanking, crowd_bradley_terry
from heed.raters.duel_files import NamedDuels
from heed.raters.plackett_luce import elo
from heed.statistics import Array, Interval, Record

if TYPE_CHECKING:
    from heed.raters.bradley_terry import Codes

Method = Literal["bradley-terry", "crowd-bt"]
METHODS: tuple[Method, ...] = ("bradley-terry", "crowd-bt")

FEW_EACH = 20
"""Comparisons of each thing (mean count) below which its score bends to what raters said, and they look too reliable."""

_FOLDS = 5
_FEWEST_RATERS, _FEWEST_EACH = 3, 10
_SCORE = "percentile bootstrap over comparisons"
_NORMAL = "normal approximation from the information, raters' shares held fixed"


class Place(Record):
    """One thing in the ranking."""

    item: str
    place: int = Field(ge=1, description="from the score, 1 is best")
    score: Interval = Field(description="log-odds; 0 is the mean of the things compared with one another")
    elo: float = Field(description="Elo rating in the order of the file, for display only")
    comparisons: int = Field(ge=0, description="in which it stood (count)")
    group: int = Field(ge=0, description="things of different groups were never compared, not even by way of others")


class RankingRater(Record):
    """One rater behind the ranking."""

    rater: str
    reliability: Interval = Field(description="share that heeds the order less share that inverts it, -1 to 1")
    left_bias: float = Field(description="share that says left unread less share that says right unread, -1 to 1")
    answers: int = Field(ge=0, description="comparisons (count)")


class Leaderboard(Record):
    """Scores of things, and what they rest on."""

    method: Method
    why: str = Field(description="why this method, a sentence")
    places: tuple[Place, ...]
    raters: tuple[RankingRater, ...] = Field(description="empty by Bradley-Terry, which takes all alike")
    direction: str = Field(description="what says which way is up, a sentence; empty by Bradley-Terry")
    groups: int = Field(ge=1, description="groups that no comparison connects (count)")
    fewest_to_flip: int | None = Field(
        description="comparisons that, left out, give the first place to another: at most so many are needed; null: none found"
    )
    flips_to: str | None = Field(description="who would be first without them")
    comparisons: int = Field(ge=0, description="behind the ranking (count)")


def rank(
    named: NamedDuels,
    method: Method | Literal["auto"] = "auto",
    ties: Ties = "half",
    draws: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Leaderboard:
    """Rank things by comparisons.

    Args:
        named: the comparisons.
        method: which; "auto" takes the one that foretells held-out comparisons better.
        ties: model of ties of Bradley-Terry.
        draws: bootstrap draws for its intervals (count); with none there are no intervals.
        seed: of the draws and of what is held out.
        progress: hears of the draws, done and all.

    Raises:
        DataError: raters are asked for and not named; or nothing says which way is up.
    """
    chosen, why = _chosen(named, method, seed)
    if chosen == "crowd-bt":
        return _by_crowd(named, why, seed)
    duels = named.duels
    fitted = bradley_terry(duels, ties)
    drawn = []
    for number, scores in enumerate(bootstrap(duels, fitted, draws, seed), 1):
        drawn.append(scores)
        progress(number, draws)
    counts = _comparisons(duels)
    intervals = [
        _drawn(fitted.scores[item], np.array([d[item] for d in drawn]), int(counts[item]))
        for item in range(duels.items)
    ]
    plain = fitted if ties == "half" else bradley_terry(duels)
    return _board("bradley-terry", why, named, fitted.scores, fitted.group, intervals, plain)


def _chosen(named: NamedDuels, method: str, seed: int) -> tuple[Method, str]:
    if method == "bradley-terry":
        return "bradley-terry", "It was asked for."
    if named.rater is None:
        if method == "crowd-bt":
            raise DataError("Crowd-BT without raters", "the file has no column 'rater'.", "Use bradley-terry.")
        return "bradley-terry", "The file does not say who compared: all comparisons count alike."
    if method == "crowd-bt":
        return "crowd-bt", "It was asked for."
    answers = np.bincount(named.rater)
    if int((answers >= _FEWEST_EACH).sum()) < _FEWEST_RATERS:
        few = f"Fewer than {_FEWEST_RATERS} raters have {_FEWEST_EACH} comparisons: too few to tell them apart."
        return "bradley-terry", few
    if named.gold is not None:
        return "crowd-bt", "There are gold items, which tell raters apart."
    plain, crowd = held_out_losses(named, seed)
    better: Method = "crowd-bt" if crowd < plain else "bradley-terry"
    other = "all raters alike" if better == "crowd-bt" else "each rater's reliability"
    return better, (
        f"It foretells held-out comparisons better than with {other}: {min(plain, crowd):.4f} nats each, not "
        f"{max(plain, crowd):.4f}."
    )


def held_out_losses(named: NamedDuels, seed: int = 0) -> tuple[float, float]:
    """Mean loss (nats) of comparisons held out in turn: by Bradley-Terry, and with raters told apart."""
    assert named.rater is not None
    duels, rater = named.duels, named.rater
    fold = np.random.default_rng(seed).permutation(duels.left.size) % _FOLDS
    losses = np.zeros(2)
    for number in range(_FOLDS):
        seen, out = fold != number, fold == number
        part = Duels(duels.left[seen], duels.right[seen], duels.outcome[seen], duels.items)
        scores = bradley_terry(part)
        plain = win_probability(scores, duels.left[out], duels.right[out])
        crowd = crowd_bradley_terry(
            part.left, part.right, part.outcome, rater[seen], items=duels.items, raters=len(named.raters)
        )
        told = said_left(crowd, duels.left[out], duels.right[out], rater[out])
        for place, p in enumerate((plain, told)):
            p, y = np.clip(p, 1e-9, 1 - 1e-9), duels.outcome[out]
            losses[place] -= float(y @ np.log(p) + (1 - y) @ np.log1p(-p))
    return float(losses[0] / fold.size), float(losses[1] / fold.size)


def said_left(crowd: CrowdRanking, left: Codes, right: Codes, rater: Codes) -> Array:
    """Probability [N] that each rater says left."""
    p = sigmoid(crowd.scores[left] - crowd.scores[right])
    ways = crowd.ways[rater]
    return np.asarray(ways[:, 0] * p + ways[:, 1] * (1 - p) + ways[:, 2])


def _by_crowd(named: NamedDuels, why: str, seed: int) -> Leaderboard:
    duels, rater = named.duels, named.rater
    assert rater is not None
    crowd = crowd_bradley_terry(
        duels.left, duels.right, duels.outcome, rater, gold=named.gold, items=duels.items, raters=len(named.raters)
    )
    if crowd.direction == "unidentifiable":
        raise DataError("which way is up cannot be known", crowd.reason, "Add a column 'gold' for a few comparisons.")
    counts, answers = _comparisons(duels), np.bincount(rater, minlength=len(named.raters))
    columns = (crowd.scores.tolist(), crowd.score_errors.tolist(), counts.tolist())
    scores = [_normal(score, error, n) for score, error, n in zip(*columns, strict=True)]
    behind = tuple(
        RankingRater(
            rater=name,
            reliability=_normal(crowd.reliability[code], crowd.reliability_errors[code], int(answers[code]), 1.0),
            left_bias=float(crowd.left_bias[code]),
            answers=int(answers[code]),
        )
        for code, name in enumerate(named.raters)
    )
    # How firm the first place is, as if each rater's answers counted what they tell, turned where they invert.
    turned = np.where(crowd.reliability[rater] < 0, 1 - duels.outcome, duels.outcome)
    weighed = replace(duels, outcome=turned, weight=crowd.weight[rater], strength=None)
    board = _board("crowd-bt", why, named, crowd.scores, duels.groups(), scores, bradley_terry(weighed), weighed)
    return board.model_copy(update={"raters": behind, "direction": crowd.reason})


def _board(
    method: Method,
    why: str,
    named: NamedDuels,
    scores: Array,
    group: Codes,
    intervals: list[Interval],
    plain: Scores,
    weighed: Duels | None = None,
) -> Leaderboard:
    duels = named.duels
    flip = fewest_to_flip(weighed or duels, plain)
    if flip is not None and flip.winner != int(np.argmax(scores)):
        flip = None
    counts, shown = _comparisons(duels), elo(duels)
    places = tuple(
        Place(
            item=named.items[item],
            place=number,
            score=intervals[item],
            elo=float(shown[item]),
            comparisons=int(counts[item]),
            group=int(group[item]),
        )
        for number, item in enumerate(np.argsort(-scores, kind="stable").tolist(), 1)
    )
    return Leaderboard(
        method=method,
        why=why,
        places=places,
        raters=(),
        direction="",
        groups=int(group.max()) + 1,
        fewest_to_flip=None if flip is None else int(flip.votes.size),
        flips_to=None if flip is None else named.items[flip.runner_up],
        comparisons=int(duels.left.size),
    )


def _comparisons(duels: Duels) -> Codes:
    return np.bincount(np.concatenate([duels.left, duels.right]), minlength=duels.items)


def _drawn(estimate: float, draws: Array, n: int) -> Interval:
    low, high = np.percentile(draws, (2.5, 97.5)) if draws.size else (None, None)
    reason = None if draws.size else "No draws were asked for."
    return Interval(
        estimate=float(estimate), low=low, high=high, confidence=0.95, prompts=0, n=n, method=_SCORE, reason=reason
    )


def _normal(estimate: float, error: float, n: int, bound: float = np.inf) -> Interval:
    half = 1.959964 * float(error)
    low, high = max(float(estimate) - half, -bound), min(float(estimate) + half, bound)
    return Interval(
        estimate=float(estimate), low=low, high=high, confidence=0.95, prompts=0, n=n, method=_NORMAL, reason=None
    )
