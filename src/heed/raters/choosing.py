"""Which method of aggregation suits some votes: the one that best predicts votes it has not seen.

Votes are dealt into parts; each method is fitted without one part and says how likely each vote of it was, given the item
and the rater. The method whose votes were likeliest on average is chosen. Known labels are never looked at here: they would
make the choice fit them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from heed.errors import DataError
from heed.lazily import np
from heed.raters.consensus import Consensus
from heed.raters.glad import glad
from heed.raters.labels import LEAST, dawid_skene, majority, one_coin
from heed.raters.mace import mace
from heed.raters.votes import Codes, Votes
from heed.statistics import Array, Interval, mean_interval
from heed.texts import counted

METHODS: Mapping[str, Callable[..., Consensus]] = {
    "majority": majority,
    "one-coin": one_coin,
    "dawid-skene": dawid_skene,
    "glad": glad,
    "mace": mace,
}
"""By the name on the command line, the simplest first."""

TITLES: Mapping[str, str] = {
    "majority": "majority vote",
    "one-coin": "one-coin",
    "dawid-skene": "Dawid-Skene",
    "glad": "GLAD",
    "mace": "MACE",
}
"""What people call them."""

EXPLAINED: Mapping[str, str] = {
    "majority": "the label with the most answers, all raters alike",
    "one-coin": "learns how often each rater is right",
    "dawid-skene": "learns each rater's typical mistakes",
    "glad": "learns each rater's skill and how hard each item is",
    "mace": "learns how often each rater answers without looking",
}
"""What they do, in half a sentence."""

_TRUSTING = ("majority", "mace")
"""Take for granted that most raters mean what they say, and cannot follow known labels that contradict these."""

_TRIAL: Mapping[str, Mapping[str, float]] = {"mace": {"restarts": 3, "tolerance": 1e-4}}
"""Where a method is only tried, fewer starts do."""

FEWEST_VOTES = 50
"""With fewer votes, what is held out says too little."""

MOST_VOTES = 100_000
"""To choose by. Of more votes those on some items, drawn by chance, are taken."""


@dataclass(frozen=True)
class Candidate:
    """How well a method predicts votes that it has not seen.

    Attributes:
        method: its name.
        score: mean log-likelihood of such a vote (nats).
        behind: how far that is below the best method's, with an interval clustered by item; of the best itself 0.
    """

    method: str
    score: float
    behind: Interval


@dataclass(frozen=True)
class Choice:
    """A consensus by the method that was chosen, why, and how all of them did, the best first."""

    consensus: Consensus
    method: str
    reason: str
    candidates: tuple[Candidate, ...]


def choose(votes: Votes, gold: Codes | None = None, *, folds: int = 5, seed: int = 0) -> Choice:
    """The consensus by the method that predicts held-out votes best.

    Args:
        votes: what was said.
        gold: known labels [items], -1 where there are none: they are fixed in the consensus and play no part in the choice.
        folds: parts that the votes are dealt into.
        seed: of the dealing.

    Raises:
        DataError: there are no votes, too many classes, or ``gold`` does not fit; or there are fewer than two folds.
    """
    if folds < 2:
        raise DataError(f"{folds} folds", "one is held out and another learned from.", "Use 2 or more.")
    plain = _why_not_choose(votes)
    if plain:
        consensus, method = majority(votes, gold), "majority"
        if consensus.direction.by == "unidentifiable":
            consensus, method = dawid_skene(votes, gold), "dawid-skene"
            plain = f"{plain} {_doubted('majority')}."
        return Choice(consensus, method, plain, ())
    sample = _sample(votes, seed)
    scores = held_out_scores(sample, folds, seed)
    means = {method: float(score.mean()) for method, score in scores.items()}
    ranked = sorted(means, key=lambda method: -means[method])
    items = [sample.items[code] for code in sample.item.tolist()]
    candidates = tuple(
        Candidate(method, means[method], mean_interval(scores[ranked[0]] - scores[method], items)) for method in ranked
    )
    reason, method = _reason(candidates, sample, votes), ranked[0]
    consensus = METHODS[method](votes, gold)
    if method in _TRUSTING and consensus.direction.by == "unidentifiable":
        method = next(other for other in ranked if other not in _TRUSTING)
        consensus = METHODS[method](votes, gold)
        reason = (
            f"{_doubted(ranked[0])}. Of the methods that do not, this one predicts answers that it has not seen best."
        )
    return Choice(consensus, method, reason, candidates)


def _doubted(method: str) -> str:
    """Why a method that takes for granted that raters mean what they say is not taken, without the full stop."""
    title = TITLES[method]
    return (
        f"{title[:1].upper()}{title[1:]} takes for granted that most raters mean what they say, which is in doubt here"
    )


def _why_not_choose(votes: Votes) -> str:
    """Why nothing can be learned from held-out votes, or nothing."""
    if votes.size < FEWEST_VOTES:
        few = f"{counted(votes.size, 'answer')} {'is' if votes.size == 1 else 'are'} too few"
        return f"{few} to compare methods; {FEWEST_VOTES} are needed."
    if len(votes.labels) == 1:
        return "All answers are the same."
    if np.bincount(votes.item).max() < 2:
        return "No item has two answers, so nothing tells good raters from bad ones."
    if np.unique(votes.rater).size < 3:
        return "Of fewer than three raters nobody can say whom to believe."
    return ""


def _sample(votes: Votes, seed: int) -> Votes:
    """The votes, or of very many those on some of the items."""
    if votes.size <= MOST_VOTES:
        return votes
    items = len(votes.items)
    order = np.random.default_rng(seed).permutation(items)
    counts = np.cumsum(np.bincount(votes.item, minlength=items)[order])
    taken = np.zeros(items, np.bool_)
    taken[order[: int(np.searchsorted(counts, MOST_VOTES)) + 1]] = True
    return votes.where(taken[votes.item])


def held_out_scores(votes: Votes, folds: int = 5, seed: int = 0) -> dict[str, Array]:
    """Log-likelihood (nats) of each vote [votes] by each method, fitted to the votes without those of the vote's part."""
    part = np.random.default_rng(seed).permutation(votes.size) % folds
    scores = {method: np.empty(votes.size) for method in METHODS}
    for number in range(folds):
        held, learned = votes.where(part == number), votes.where(part != number)
        for method, fit in METHODS.items():
            chances = fit(learned, **_TRIAL.get(method, {})).chances(held.item, held.rater)
            said = chances[np.arange(held.size), held.label]
            scores[method][part == number] = np.log(np.maximum(said, LEAST))
    return scores


def _reason(candidates: tuple[Candidate, ...], sample: Votes, votes: Votes) -> str:
    """Why the first of the candidates was chosen, in a sentence."""
    first, second = candidates[:2]
    share, other = 100 * np.exp(first.score), 100 * np.exp(second.score)
    clearly = "clearly " if second.behind.above(0) else ""
    only = "" if sample.size == votes.size else f" of a sample of {sample.size:,}"
    return (
        f"It predicts answers{only} that it has not seen {clearly}best: it gives them a chance of {share:.1f} % on (geometric) "
        f"average, {TITLES[second.method]} {other:.1f} %."
    )
