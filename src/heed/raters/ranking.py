"""A ranking of named things from comparisons, with intervals, the raters behind it, and how firm its first place is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from heed.errors import DataError
from heed.lazily import np
from heed.raters.bradley_terry import (
    AHEAD,
    Duels,
    Scores,
    Ties,
    bootstrap,
    bradley_terry,
    score_errors,
    sigmoid,
    win_probability,
)
from heed.raters.crowd_bt import CrowdRanking, crowd_bradley_terry
from heed.raters.duel_files import NamedDuels
from heed.raters.firmness import Flip, fewest_to_flip, first_of
from heed.raters.plackett_luce import elo
from heed.statistics import Array, Interval, Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heed.raters.bradley_terry import Codes

Method = Literal["bradley-terry", "crowd-bt"]
METHODS: tuple[Method, ...] = ("bradley-terry", "crowd-bt")

FEW_EACH = 20
"""Comparisons of each thing (mean count) below which its score bends to what raters said, and they look too reliable."""

_FOLDS = 5
_FEWEST_RATERS, _FEWEST_EACH = 3, 10
_FEWEST_DRAWS = 40
"""Bootstrap draws below which the ends of a 95 % interval are the outermost of them, or beyond."""

_MOST_REFITTED = 100_000
"""Comparisons above which it is not tried how firm the first place is by Crowd-BT, which must then learn all anew each time."""

_FARTHER = 1.25
_EQUAL = 1e-4
"""Nats a comparison: losses of two methods that are nearer than this are equal."""

TITLES: Mapping[Method, str] = {
    "bradley-terry": "Bradley-Terry (scores from wins, all raters alike)",
    "crowd-bt": "Crowd-BT (scores from wins, and learns how far each rater can be relied on)",
}
"""What people call the methods, and what they do."""

_SCORE = "percentile bootstrap over comparisons"
_NORMAL = "normal approximation from the information, of scores and raters' shares together"
_SAME_SCORES = "normal approximation from the information, as all bootstrap draws are alike"
_ENDLESS = (
    "It has won or lost every comparison with some of the others, or ties with none: how far apart they are has no end that "
    "the comparisons could tell."
)


class Place(Record):
    """One thing in the ranking."""

    item: str
    place: int = Field(ge=1, description="from the score, 1 is best; equals share a place")
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
        DataError: raters are asked for and not named; nothing says which way is up; a model of ties is asked of Crowd-BT, which
            has none; or too few draws.
    """
    if 0 < draws < _FEWEST_DRAWS:
        why = f"the ends of a 95 % interval need at least {_FEWEST_DRAWS}."
        raise DataError(f"{draws:,} bootstrap draw{'s' if draws > 1 else ''}", why, "Give more, or 0 for no intervals.")
    chosen, why = _chosen(named, method, ties, seed)
    if chosen == "crowd-bt":
        return _by_crowd(named, why)
    duels = named.duels
    fitted = bradley_terry(duels, ties)
    drawn = []
    for number, scores in enumerate(bootstrap(duels, fitted, draws, seed), 1):
        drawn.append(scores)
        progress(number, draws)
    plain = fitted if ties == "half" else bradley_terry(duels)
    intervals = _intervals(duels, fitted, np.array(drawn))
    return _board("bradley-terry", why, duels, named.items, fitted.scores, intervals, _flip(duels, plain))


def _intervals(duels: Duels, fitted: Scores, drawn: Array) -> list[Interval]:
    """Of each score, from bootstrap draws [draws, items]."""
    counts, sets = _comparisons(duels), duels.tied_together()
    alone = 2 * np.bincount(sets)[sets] <= np.bincount(fitted.group)[fitted.group]
    errors = None
    intervals = []
    for item in range(duels.items):
        estimate, n = float(fitted.scores[item]), int(counts[item])
        if not drawn.size:
            intervals.append(_undefined(estimate, n, "No draws were asked for."))
        elif alone[item]:
            intervals.append(_undefined(estimate, n, _ENDLESS))
        elif np.ptp(drawn[:, item]) < AHEAD:
            errors = score_errors(duels, fitted) if errors is None else errors
            intervals.append(_normal(estimate, errors[item], n, method=_SAME_SCORES))
        else:
            intervals.append(_drawn(estimate, drawn[:, item], n))
    return intervals


def _flip(duels: Duels, fitted: Scores) -> Flip | None:
    """How firm the first place is; nothing where there are several groups, whose scores cannot be compared."""
    return fewest_to_flip(duels, fitted) if fitted.groups == 1 else None


def _chosen(named: NamedDuels, method: str, ties: Ties, seed: int) -> tuple[Method, str]:
    if ties != "half" and method == "crowd-bt":
        raise DataError(
            f"ties {ties} of Crowd-BT", "it takes a tie for half a win each.", "Leave --ties out, or use bradley-terry."
        )
    if method == "bradley-terry":
        return "bradley-terry", "It was asked for."
    if named.rater is None:
        if method == "crowd-bt":
            raise DataError(
                "Crowd-BT without raters",
                "the file has no column 'rater'.",
                "Say which it is: --column rater=NAME. Or use bradley-terry.",
            )
        return "bradley-terry", "The file does not say who compared: all comparisons count alike."
    if method == "crowd-bt":
        return "crowd-bt", "It was asked for."
    if ties != "half":
        return "bradley-terry", f"Ties by {ties} were asked for, which no other method has."
    answers = np.bincount(named.rater)
    if int((answers >= _FEWEST_EACH).sum()) < _FEWEST_RATERS:
        few = f"Fewer than {_FEWEST_RATERS} raters have {_FEWEST_EACH} comparisons: too few to tell them apart."
        return "bradley-terry", few
    if named.gold is not None:
        return "crowd-bt", "There are gold items, which tell raters apart."
    plain, crowd = held_out_losses(named, seed)
    if abs(plain - crowd) < _EQUAL:
        return (
            "bradley-terry",
            f"It predicts comparisons that it has not seen as well as with each rater's reliability: {_chance(plain)}.",
        )
    better: Method = "crowd-bt" if crowd < plain else "bradley-terry"
    other = "all raters alike" if better == "crowd-bt" else "each rater's reliability"
    return better, (
        f"It predicts comparisons that it has not seen better than with {other}: it gives what was said a chance of "
        f"{_chance(min(plain, crowd))} on (geometric) average, not {_chance(max(plain, crowd))}."
    )


def _chance(loss: float) -> str:
    """A mean loss (nats) as the chance that was given to what was said."""
    return f"{100 * np.exp(-loss):.2f} %"


def held_out_losses(named: NamedDuels, seed: int = 0) -> tuple[float, float]:
    """Mean loss (nats) of comparisons held out in turn: by Bradley-Terry, and with raters told apart."""
    assert named.rater is not None
    duels, rater = named.duels, named.rater
    fold = np.random.default_rng(seed).permutation(duels.left.size) % _FOLDS
    losses = np.zeros(2)
    for number in range(_FOLDS):
        seen, out = fold != number, fold == number
        part = duels.only(seen)
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


def _by_crowd(named: NamedDuels, why: str) -> Leaderboard:
    duels, rater = named.duels, named.rater
    assert rater is not None
    told = _told(named)
    if not told.any():
        raise DataError(
            "nothing to rank by",
            "every comparison has a known answer: such answers tell of the raters alone.",
            "Leave 'gold' empty where the ranking is to rest on what was said, or use --method bradley-terry.",
        )
    crowd = _learned(named, np.ones(rater.size, bool))
    if crowd.direction == "unidentifiable":
        fix = "Add a column 'gold' for a few comparisons."
        if named.gold is not None:
            fix = "See whether the gold answers are right, and add some for more comparisons of each rater."
        raise DataError("which way is up cannot be known", crowd.reason, fix)
    ranked = duels.only(told)
    counts, answers = _comparisons(ranked), np.bincount(rater, minlength=len(named.raters))
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
    flip = crowd_flip(named, crowd)
    board = _board("crowd-bt", why, ranked, named.items, crowd.scores, scores, flip)
    return board.model_copy(update={"raters": behind, "direction": crowd.reason})


def _learned(named: NamedDuels, rows: NDArray[np.bool_]) -> CrowdRanking:
    """Scores and raters from these rows [N]."""
    assert named.rater is not None
    duels = named.duels.only(rows)
    gold = None if named.gold is None else named.gold[rows]
    return crowd_bradley_terry(
        duels.left,
        duels.right,
        duels.outcome,
        named.rater[rows],
        gold=gold,
        items=duels.items,
        raters=len(named.raters),
    )


def _told(named: NamedDuels) -> NDArray[np.bool_]:
    """Rows [N] that tell of what was compared: those whose answer is known tell of the raters alone."""
    return np.ones(named.duels.left.size, bool) if named.gold is None else np.isnan(named.gold)


def crowd_flip(named: NamedDuels, crowd: CrowdRanking) -> Flip | None:
    """How firm the first place by Crowd-BT is: comparisons, without those that have gold, whose absence gives it to another.

    Which ones matter most is looked for as if the raters were known; that another is first without them is made sure by
    learning all anew.
    """
    assert named.rater is not None
    told = _told(named)
    ranked = named.duels.only(told)
    if ranked.left.size > _MOST_REFITTED:
        return None
    rater = named.rater[told]
    turned = np.where(crowd.reliability[rater] < 0, 1 - ranked.outcome, ranked.outcome)
    weighed = replace(ranked, outcome=turned, weight=crowd.weight[rater], strength=None)
    flip, rows = _flip(weighed, bradley_terry(weighed)), np.flatnonzero(told)
    winner, group = int(np.argmax(crowd.scores)), ranked.groups()
    if flip is None or flip.winner != winner:
        return None
    count = flip.votes.size
    while True:
        left = np.ones(told.size, bool)
        left[rows[flip.helpful[:count]]] = False
        if not (left & told).any():
            return None
        again = _learned(named, left)
        if again.direction == "unidentifiable":
            return None
        first = first_of(again.scores, group, winner)
        if first != winner:
            return Flip(winner, first, flip.helpful[:count], flip.helpful)
        if count == flip.helpful.size:
            return None
        count = min(int(count * _FARTHER) + 1, flip.helpful.size)


def _board(
    method: Method,
    why: str,
    duels: Duels,
    names: list[str],
    scores: Array,
    intervals: list[Interval],
    flip: Flip | None,
) -> Leaderboard:
    group = duels.groups()
    counts, shown = _comparisons(duels), elo(duels)
    order = np.argsort(-scores, kind="stable").tolist()
    numbers = _places(scores[order])
    if numbers.count(1) > 1:
        flip = None  # there is no lead to lose
    places = tuple(
        Place(
            item=names[item],
            place=number,
            score=intervals[item],
            elo=float(shown[item]),
            comparisons=int(counts[item]),
            group=int(group[item]),
        )
        for item, number in zip(order, numbers, strict=True)
    )
    return Leaderboard(
        method=method,
        why=why,
        places=places,
        raters=(),
        direction="",
        groups=int(group.max()) + 1,
        fewest_to_flip=None if flip is None else int(flip.votes.size),
        flips_to=None if flip is None else names[flip.runner_up],
        comparisons=int(duels.left.size),
    )


def _places(falling: Array) -> list[int]:
    """Places from scores that fall: equals share the first of theirs."""
    places = list[int]()
    for number, score in enumerate(falling.tolist(), 1):
        equal = places and falling[number - 2] - score < AHEAD
        places.append(places[-1] if equal else number)
    return places


def _comparisons(duels: Duels) -> Codes:
    return np.bincount(np.concatenate([duels.left, duels.right]), minlength=duels.items)


def _drawn(estimate: float, draws: Array, n: int) -> Interval:
    low, high = np.percentile(draws, (2.5, 97.5))
    return Interval(estimate=estimate, low=low, high=high, confidence=0.95, prompts=0, n=n, method=_SCORE, reason=None)


def _undefined(estimate: float, n: int, reason: str) -> Interval:
    """A score without ends."""
    return Interval(
        estimate=estimate, low=None, high=None, confidence=0.95, prompts=0, n=n, method=_SCORE, reason=reason
    )


def _normal(estimate: float, error: float, n: int, bound: float = np.inf, method: str = _NORMAL) -> Interval:
    half = 1.959964 * float(error)
    low, high = max(float(estimate) - half, -bound), min(float(estimate) + half, bound)
    return Interval(
        estimate=float(estimate), low=low, high=high, confidence=0.95, prompts=0, n=n, method=method, reason=None
    )
