"""Scores of things and the reliability of raters, learned together from comparisons.

Each rater answers in one of four ways, in shares of their own: heeds the order of the two, inverts it, says left, says right.

    P(left wins | rater) = heeds sigmoid(d) + inverts sigmoid(-d) + left,   d = score of the left one - score of the right one

With two ways this is Crowd-BT of Chen, Bennett, Collins-Thompson and Horvitz, WSDM 2013, section 3.2, whose eta below a half
is somebody who inverts; the two that do not read are the bias of factorBT (Bugakova, Fedorova, Gusev and Drutsa 2019). The
reliability is heeds - inverts, from -1 to 1. Turning all scores around and swapping the first two ways explains comparisons
just as well, so which way is up must come from gold items, or from a clear majority; where neither is there, it is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from heed.errors import DataError
from heed.lazily import np
from heed.raters.bradley_terry import Duels, bradley_terry
from heed.raters.crowd_answers import HEEDS, INVERTS, LEFT, RIGHT, WAYS_PRIOR, CrowdAnswers
from heed.raters.crowd_errors import standard_errors
from heed.raters.direction import DECISIVE, gold_contradicts, gold_decides, gold_leaves_open
from heed.statistics import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heed.raters.crowd_answers import Codes

SCORE_PRIOR = 0.1
"""Precision of the normal prior of a score (1 / log-odds squared). Where odd answers can be laid at the door of a rater, what
is left is often so orderly that scores without a firm prior would run away from one another."""

CLEAR_MAJORITY = 3 / 4
"""Least share of what reliable answers there are that must point one way for it to be taken as up, where there is no gold."""

_SURELY = 2.0
"""Standard errors that a reliability must be away from 0: the prior alone brings it to one."""

Direction = Literal["gold", "majority", "unidentifiable"]


@dataclass(frozen=True)
class CrowdRanking:
    """What was learned.

    Attributes:
        scores, score_errors: [items], log-odds, and their standard errors.
        ways: [raters, 4], shares that heed, invert, say left and say right; rows sum to 1.
        reliability, reliability_errors: [raters], -1 to 1, and their standard errors.
        left_bias: [raters], share that says left less share that says right, whatever is shown.
        weight: [raters], what an answer of theirs tells beside one of a rater who always heeds, 0 to 1.
        direction: what decided which way is up.
        reason: the same, a sentence.
        loss: negative log-posterior (nats).
    """

    scores: Array
    score_errors: Array
    ways: Array
    reliability: Array
    reliability_errors: Array
    left_bias: Array
    weight: Array
    direction: Direction
    reason: str
    loss: float


def crowd_bradley_terry(
    left: Codes,
    right: Codes,
    outcome: Array,
    rater: Codes,
    *,
    gold: Array | None = None,
    items: int | None = None,
    raters: int | None = None,
    prior: float = SCORE_PRIOR,
    ways_prior: tuple[float, float, float, float] = WAYS_PRIOR,
) -> CrowdRanking:
    """Maximum a posteriori scores and shares.

    Args:
        left, right: [N], codes of what stood where.
        outcome: [N], 1 left is better, 0 right is, 0.5 neither: half an answer each way.
        rater: [N], code of who answered.
        gold: [N], 1 or 0 where it is known which one is better, else nan; such answers tell of the rater alone.
        items, raters: things and raters there are (counts); None: as many as the codes say.
        prior: precision of the normal prior on each score.
        ways_prior: Dirichlet prior of each rater's shares, all above 0.

    Raises:
        DataError: columns of different length, codes or outcomes that are none, or a prior that is none.
    """
    left, right, rater = (np.asarray(column, dtype=np.intp) for column in (left, right, rater))
    outcome = np.asarray(outcome, dtype=np.float64)
    items = int(max(left.max(initial=-1), right.max(initial=-1))) + 1 if items is None else items
    duels = Duels(left, right, outcome, items)
    if rater.shape != left.shape or rater.min() < 0:
        raise DataError(f"{rater.size} raters for {left.size} comparisons", "each needs one.", "Pass one code each.")
    raters = int(rater.max()) + 1 if raters is None else raters
    if min(ways_prior) <= 0:
        raise DataError(f"prior of the ways {ways_prior}", "shares could be pushed off their end.", "Give above 0.")
    known = np.full(left.size, np.nan) if gold is None else np.asarray(gold, dtype=np.float64)
    if known.shape != left.shape or not np.isin(known[np.isfinite(known)], (0.0, 1.0)).all():
        raise DataError("gold", "it is not one of 1, 0 and nan for each comparison.", "Correct it.")
    data = CrowdAnswers.of(duels, rater, known, raters, prior, np.array(ways_prior))
    candidates = [data.fit(scores, ways) for scores, ways in _starts(data, duels)]
    best = min(candidates, key=lambda fitted: fitted[2])
    return _told(data, *best)


def _starts(data: CrowdAnswers, duels: Duels) -> Iterator[tuple[Array, Array]]:
    """Where to begin: with everybody heeding alike; with what gold tells of each; and that one turned around.

    The likelihood has a mirror image, and answers to gold must be able to pull the search into the other one.
    """
    prior = data.ways_prior / data.ways_prior.sum()
    alike = np.tile(prior, (data.raters, 1))
    plain = bradley_terry(duels, prior=data.prior).scores
    yield plain, alike
    if not data.gold_counts.any():
        return
    known = data.gold_counts.sum(axis=(1, 2))
    wrong = known - data.gold_right
    ways = alike * data.ways_prior.sum()
    ways[:, HEEDS] += data.gold_right
    ways[:, INVERTS] += wrong
    ways /= ways.sum(axis=1, keepdims=True)
    trusted = ((data.gold_right - wrong) / (known + 2))[data.rater]
    turned = (1 + data.sign * np.where(trusted < 0, -1.0, 1.0)) / 2
    weighed = Duels(data.left, data.right, turned, data.items, data.weight * (np.abs(trusted) + 1e-3))
    scores = bradley_terry(weighed, prior=data.prior).scores
    yield scores, ways
    yield -plain, ways


def _told(data: CrowdAnswers, scores: Array, ways: Array, loss: float) -> CrowdRanking:
    reliability = ways[:, HEEDS] - ways[:, INVERTS]
    score_errors, errors = standard_errors(data, scores, ways)
    direction, reason = _direction(data, ways, reliability, errors)
    return CrowdRanking(
        scores=scores - scores.mean(),
        score_errors=score_errors,
        ways=ways,
        reliability=reliability,
        reliability_errors=errors,
        left_bias=ways[:, LEFT] - ways[:, RIGHT],
        weight=reliability**2,
        direction=direction,
        reason=reason,
        loss=loss,
    )


def _direction(data: CrowdAnswers, ways: Array, reliability: Array, errors: Array) -> tuple[Direction, str]:
    """What decides which way is up: gold answers, or that of all that reliable answers tell most points one way."""
    known, favour = int(data.gold_counts.sum()), data.gold_favour(ways)
    if favour >= DECISIVE:
        return "gold", gold_decides(known)
    if favour <= -DECISIVE:
        return "unidentifiable", gold_contradicts(known)
    answers = np.bincount(data.rater, minlength=data.raters)
    # Only who surely reads counts: a reliability that could as well be nothing points nowhere.
    tells = answers * np.where(np.abs(reliability) > _SURELY * errors, reliability, 0.0)
    up, down = float(tells[tells > 0].sum()), float(-tells[tells < 0].sum())
    lack = gold_leaves_open(known)
    if up + down == 0:
        reason = "No rater's answers fit those of the others, so that nothing says which way is up."
        return "unidentifiable", f"{reason}{lack}"
    share, camp = max(up, down) / (up + down), int((tells < 0).sum())
    if share < CLEAR_MAJORITY:
        reason = (
            f"The raters fall into two camps that answer against each other, {int((tells > 0).sum())} and {camp} of them, "
            f"and the larger holds {share:.0%} of what their answers tell, less than {CLEAR_MAJORITY:.0%}: which camp "
            f"is right cannot be known from the answers alone.{lack} Ask both about a few gold items."
        )
        return "unidentifiable", reason
    if not camp:
        return "majority", f"All raters whose answers tell anything point the same way.{lack}"
    against = "1 rater answers" if camp == 1 else f"{camp} raters answer"
    return "majority", f"The clear majority decides which way is up; {against} against it.{lack}"
